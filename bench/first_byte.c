/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time until the first byte of one answer, taken outside of Node, whose own delays are of the
 * same size as what is measured:
 *
 *   first_byte http PORT PATH       from connect() to a server on 127.0.0.1
 *   first_byte fork SOCKET PROGRAM  from fork(): the program is started on a socket bound there,
 *                                   asked by FastCGI, and killed
 *
 * The query string is text=hello. Prints µs, and fails unless the answer is 200 with that text.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 60
#define ANSWER_MAX 65536
#define FCGI_BEGIN_REQUEST 1
#define FCGI_PARAMS 4
#define FCGI_STDIN 5

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "first_byte: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int connected(const struct sockaddr *address, socklen_t length) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, address, length) != 0) {
        fail("connect");
    }
    return fd;
}

static void send_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            fail("send");
        }
        bytes += sent;
        length -= (size_t)sent;
    }
}

/* Reads to the end; the time of the first byte. */
static uint64_t receive_all(int fd, char *answer, size_t *length) {
    uint64_t first_ns = 0;
    ssize_t got;
    *length = 0;
    while ((got = recv(fd, answer + *length, ANSWER_MAX - *length, 0)) > 0) {
        if (first_ns == 0) {
            first_ns = now_ns();
        }
        *length += (size_t)got;
    }
    return first_ns;
}

static void check(const char *answer, size_t length, const char *beginning) {
    size_t wanted = strlen(beginning);
    if (length < wanted || memcmp(answer, beginning, wanted) != 0 ||
        !memmem(answer, length, "hello", 5)) {
        fprintf(stderr, "first_byte: answered: %.*s\n", (int)length, answer);
        exit(1);
    }
}

/* ---- a request to a web server ----------------------------------------------------------- */

static uint64_t over_http(const char *port, const char *path, char *answer) {
    char request[2048];
    size_t length;
    int size = snprintf(request, sizeof(request),
                        "GET %s?text=hello HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                        "Connection: close\r\n\r\n",
                        path);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    uint64_t began_ns = now_ns();
    int fd = connected((struct sockaddr *)&address, sizeof(address));
    send_all(fd, request, (size_t)size);
    uint64_t first_ns = receive_all(fd, answer, &length);
    close(fd);
    check(answer, length, "HTTP/1.1 200 ");
    return first_ns - began_ns;
}

/* ---- a program of our own ---------------------------------------------------------------- */

static char *put_header(char *at, int type, size_t length) {
    char header[8] = {1, (char)type, 0, 1, (char)(length >> 8), (char)length, 0, 0};
    memcpy(at, header, sizeof(header));
    return at + sizeof(header);
}

static char *put_param(char *at, const char *name, const char *value) {
    *at++ = (char)strlen(name);
    *at++ = (char)strlen(value);
    at = stpcpy(at, name);
    return stpcpy(at, value);
}

static size_t fcgi_request(char *request) {
    char *at = put_header(request, FCGI_BEGIN_REQUEST, 8);
    memcpy(at, "\0\1\0\0\0\0\0\0", 8); /* a responder */
    char *params = at + 8;
    char *end = put_param(params + 8, "REQUEST_METHOD", "GET");
    end = put_param(end, "QUERY_STRING", "text=hello");
    end = put_param(end, "SCRIPT_NAME", "/echo");
    end = put_param(end, "SERVER_PROTOCOL", "HTTP/1.1");
    put_header(params, FCGI_PARAMS, (size_t)(end - params) - 8);
    end = put_header(end, FCGI_PARAMS, 0);
    end = put_header(end, FCGI_STDIN, 0);
    return (size_t)(end - request);
}

static int listening(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path)) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    strcpy(address->sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof(*address)) != 0 ||
        listen(fd, 128) != 0) {
        fail(path);
    }
    return fd;
}

static _Noreturn void become(const char *program, int listener) {
    setsid(); /* as Usher does: the kernel may share out the processors by session */
    char *const no_environment[] = {NULL};
    char *const arguments[] = {(char *)(uintptr_t)program, NULL};
    dup2(listener, 0);
    if (listener != 0) {
        close(listener);
    }
    execve(program, arguments, no_environment);
    _exit(127);
}

static uint64_t over_fork(const char *socket_path, const char *program, char *answer) {
    char request[512];
    size_t size = fcgi_request(request), length;
    struct sockaddr_un address;
    int listener = listening(socket_path, &address);

    uint64_t began_ns = now_ns();
    pid_t pid = fork();
    if (pid < 0) {
        fail("fork");
    }
    if (pid == 0) {
        become(program, listener);
    }
    close(listener);
    int fd = connected((struct sockaddr *)&address, sizeof(address));
    send_all(fd, request, size);
    shutdown(fd, SHUT_WR); /* else libfcgi lingers */
    uint64_t first_ns = receive_all(fd, answer, &length);
    close(fd);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    unlink(socket_path);
    check(answer, length, "\1\6"); /* a record of STDOUT */
    return first_ns - began_ns;
}

int main(int argc, char **argv) {
    static char answer[ANSWER_MAX];
    bool is_http = argc == 4 && strcmp(argv[1], "http") == 0;
    if (!is_http && (argc != 4 || strcmp(argv[1], "fork") != 0)) {
        fprintf(stderr, "usage: first_byte http PORT PATH | fork SOCKET PROGRAM\n");
        return 2;
    }
    alarm(PATIENCE_S);
    uint64_t took_ns =
        is_http ? over_http(argv[2], argv[3], answer) : over_fork(argv[2], argv[3], answer);
    printf("%.1f\n", (double)took_ns / 1000);
    return 0;
}
