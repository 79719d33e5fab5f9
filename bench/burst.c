/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many at once, until the last byte of the last:
 *
 *   burst http PORT PATH COUNT MS       so many requests to a server on 127.0.0.1, each of which
 *                                       takes the program MS
 *   burst fork PREFIX PROGRAM COUNT     so many copies of the program, each on a socket PREFIX<n> of
 *                                       its own, until each has answered a request that takes no time
 *
 * Prints µs from the first connect() or fork(), and fails unless every answer is the right one.
 */
#include "ask.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 60
#define COUNT_MAX 256
#define ANSWER_MAX 4096

static struct pollfd connections[COUNT_MAX];
static char answers[COUNT_MAX][ANSWER_MAX];
static size_t lengths[COUNT_MAX];

/* Reads all connections to their ends; the time of the last byte. */
static uint64_t receive_all(int count) {
    for (int open = count; open > 0;) {
        if (poll(connections, (nfds_t)count, -1) < 0) {
            ask_fail("poll");
        }
        for (int i = 0; i < count; i++) {
            if (connections[i].fd < 0 || connections[i].revents == 0) {
                continue;
            }
            ssize_t got = recv(connections[i].fd, answers[i] + lengths[i], ANSWER_MAX - lengths[i],
                               MSG_DONTWAIT);
            if (got > 0) {
                lengths[i] += (size_t)got;
                continue;
            }
            close(connections[i].fd);
            connections[i].fd = -1; /* poll leaves it out */
            open--;
        }
    }
    return ask_now_ns();
}

static void begin(int i, int fd, const char *request, size_t size) {
    ask_send(fd, request, size);
    connections[i] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static uint64_t over_http(const char *port, const char *path, int count, const char *ms) {
    char request[ASK_REQUEST_MAX], query[64];
    snprintf(query, sizeof(query), "sleep=%s&text=hello", ms);
    size_t size = ask_http_request(request, path, query);
    uint64_t began_ns = ask_now_ns();
    for (int i = 0; i < count; i++) {
        begin(i, ask_connect_port(port), request, size);
    }
    uint64_t last_ns = receive_all(count);
    for (int i = 0; i < count; i++) {
        ask_check(answers[i], lengths[i], "HTTP/1.1 200 ", "hello");
    }
    return last_ns - began_ns;
}

static uint64_t over_fork(const char *prefix, const char *program, int count) {
    static struct sockaddr_un addresses[COUNT_MAX];
    static int listeners[COUNT_MAX];
    static pid_t pids[COUNT_MAX];
    char request[ASK_REQUEST_MAX], path[sizeof(addresses[0].sun_path) + 8];
    size_t size = ask_fcgi_request(request, "text=hello");
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s%d", prefix, i);
        listeners[i] = ask_listen(path, &addresses[i]);
    }
    uint64_t began_ns = ask_now_ns();
    for (int i = 0; i < count; i++) {
        pids[i] = ask_start(program, listeners[i]);
        close(listeners[i]);
    }
    for (int i = 0; i < count; i++) {
        int fd = ask_connect_socket(&addresses[i]);
        begin(i, fd, request, size);
        shutdown(fd, SHUT_WR); /* else libfcgi lingers */
    }
    uint64_t last_ns = receive_all(count);
    for (int i = 0; i < count; i++) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
        unlink(addresses[i].sun_path);
        ask_check(answers[i], lengths[i], "\1\6", "hello"); /* a record of STDOUT */
    }
    return last_ns - began_ns;
}

int main(int argc, char **argv) {
    int count = argc >= 5 ? atoi(argv[4]) : 0;
    bool is_http = argc == 6 && strcmp(argv[1], "http") == 0;
    bool is_fork = argc == 5 && strcmp(argv[1], "fork") == 0;
    if ((!is_http && !is_fork) || count < 1 || count > COUNT_MAX) {
        fprintf(stderr, "usage: burst http PORT PATH COUNT MS | fork PREFIX PROGRAM COUNT\n");
        return 2;
    }
    alarm(PATIENCE_S);
    uint64_t took_ns =
        is_http ? over_http(argv[2], argv[3], count, argv[5]) : over_fork(argv[2], argv[3], count);
    printf("%.1f\n", (double)took_ns / 1000);
    return 0;
}
