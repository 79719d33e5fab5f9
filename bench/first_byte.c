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
#include "ask.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 60
#define ANSWER_MAX 65536
#define QUERY "text=hello"

/* Reads to the end; the time of the first byte. */
static uint64_t receive_all(int fd, char *answer, size_t *length) {
    uint64_t first_ns = 0;
    ssize_t got;
    *length = 0;
    while ((got = recv(fd, answer + *length, ANSWER_MAX - *length, 0)) > 0) {
        if (first_ns == 0) {
            first_ns = ask_now_ns();
        }
        *length += (size_t)got;
    }
    return first_ns;
}

static uint64_t over_http(const char *port, const char *path, char *answer) {
    char request[ASK_REQUEST_MAX];
    size_t size = ask_http_request(request, path, QUERY), length;
    uint64_t began_ns = ask_now_ns();
    int fd = ask_connect_port(port);
    ask_send(fd, request, size);
    uint64_t first_ns = receive_all(fd, answer, &length);
    close(fd);
    ask_check(answer, length, "HTTP/1.1 200 ", "hello");
    return first_ns - began_ns;
}

static uint64_t over_fork(const char *socket_path, const char *program, char *answer) {
    char request[ASK_REQUEST_MAX];
    size_t size = ask_fcgi_request(request, QUERY), length;
    struct sockaddr_un address;
    int listener = ask_listen(socket_path, &address);

    uint64_t began_ns = ask_now_ns();
    pid_t pid = ask_start(program, listener);
    close(listener);
    int fd = ask_connect_socket(&address);
    ask_send(fd, request, size);
    shutdown(fd, SHUT_WR); /* else libfcgi lingers */
    uint64_t first_ns = receive_all(fd, answer, &length);
    close(fd);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    unlink(socket_path);
    ask_check(answer, length, "\1\6", "hello"); /* a record of STDOUT */
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
