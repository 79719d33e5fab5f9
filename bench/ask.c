/* SPDX-License-Identifier: Apache-2.0 */
#include "ask.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FCGI_BEGIN_REQUEST 1
#define FCGI_PARAMS 4
#define FCGI_STDIN 5

_Noreturn void ask_fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

uint64_t ask_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- connections ------------------------------------------------------------------------- */

static int connected(const struct sockaddr *address, socklen_t length) {
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, address, length) != 0) {
        ask_fail("connect");
    }
    return fd;
}

int ask_connect_port(const char *port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    return connected((struct sockaddr *)&address, sizeof(address));
}

int ask_connect_socket(const struct sockaddr_un *address) {
    return connected((const struct sockaddr *)address, sizeof(*address));
}

void ask_send(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            ask_fail("send");
        }
        bytes += sent;
        length -= (size_t)sent;
    }
}

void ask_check(const char *answer, size_t length, const char *beginning, const char *part) {
    size_t wanted = strlen(beginning);
    if (length < wanted || memcmp(answer, beginning, wanted) != 0 ||
        !memmem(answer, length, part, strlen(part))) {
        fprintf(stderr, "answered: %.*s\n", (int)length, answer);
        exit(1);
    }
}

/* ---- requests ---------------------------------------------------------------------------- */

size_t ask_http_request(char *request, const char *path, const char *query) {
    int length =
        snprintf(request, ASK_REQUEST_MAX,
                 "GET %s?%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path, query);
    if (length >= ASK_REQUEST_MAX) {
        errno = ENAMETOOLONG;
        ask_fail(path);
    }
    return (size_t)length;
}

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

size_t ask_fcgi_request(char *request, const char *query) {
    char *at = put_header(request, FCGI_BEGIN_REQUEST, 8);
    memcpy(at, "\0\1\0\0\0\0\0\0", 8); /* a responder */
    char *params = at + 8;
    char *end = put_param(params + 8, "REQUEST_METHOD", "GET");
    end = put_param(end, "QUERY_STRING", query);
    end = put_param(end, "SCRIPT_NAME", "/echo");
    end = put_param(end, "SERVER_PROTOCOL", "HTTP/1.1");
    put_header(params, FCGI_PARAMS, (size_t)(end - params) - 8);
    end = put_header(end, FCGI_PARAMS, 0);
    end = put_header(end, FCGI_STDIN, 0);
    return (size_t)(end - request);
}

/* ---- a program of our own ---------------------------------------------------------------- */

int ask_listen(const char *path, struct sockaddr_un *address) {
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path)) {
        errno = ENAMETOOLONG;
        ask_fail(path);
    }
    strcpy(address->sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, sizeof(*address)) != 0 ||
        listen(fd, 128) != 0) {
        ask_fail(path);
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

pid_t ask_start(const char *program, int listener) {
    pid_t pid = fork();
    if (pid < 0) {
        ask_fail("fork");
    }
    if (pid == 0) {
        become(program, listener);
    }
    return pid;
}
