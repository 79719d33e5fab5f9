/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange PROGRAM PROCESSES MS: the same short FastCGI request again and again, by as many threads as
 * there are processes, each with one of its own, a connection a request, and nothing else: what a way to
 * a program cannot be cheaper than. Prints JSON: exchanges, and the processor time of one in ns, here
 * and in the program.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ask.h"

#define PROCESSES_MAX 64

typedef struct {
    pthread_t thread;
    struct sockaddr_un address;
    pid_t pid;
    uint64_t exchanges;
} pair_t;

static pair_t pairs[PROCESSES_MAX];
static _Atomic int ends;

static void exchange(const pair_t *pair, const char *request, size_t length) {
    char answer[4096];
    size_t have = 0;
    int fd = ask_connect_socket(&pair->address);
    ask_send(fd, request, length);
    for (;;) {
        struct pollfd waits = {.fd = fd, .events = POLLIN};
        poll(&waits, 1, -1);
        ssize_t n = recv(fd, answer + have, sizeof(answer) - have, MSG_DONTWAIT);
        if (n <= 0) {
            ask_fail("an answer without its end");
        }
        have += (size_t)n;
        if (have >= 16 && answer[have - 15] == 3) { /* END_REQUEST is the last record */
            break;
        }
    }
    close(fd); /* at once: libfcgi waits for it */
    ask_check(answer, have, "\1\6", "hello");
}

static void *serve(void *data) {
    pair_t *pair = data;
    char request[ASK_REQUEST_MAX];
    size_t length = ask_fcgi_request(request, "text=hello");
    while (!atomic_load_explicit(&ends, memory_order_relaxed)) {
        exchange(pair, request, length);
        pair->exchanges++;
    }
    return NULL;
}

static uint64_t processor_ns(int who) {
    struct rusage used;
    getrusage(who, &used);
    return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000u;
}

int main(int argc, char **argv) {
    int processes = argc == 4 ? atoi(argv[2]) : 0;
    char directory[] = "/tmp/usher-bench-XXXXXX";
    char path[64];
    uint64_t exchanges = 0;
    if (processes < 1 || processes > PROCESSES_MAX || atoi(argv[3]) < 1) {
        fprintf(stderr, "usage: exchange PROGRAM PROCESSES (1 to %d) MS\n", PROCESSES_MAX);
        return 2;
    }
    if (!mkdtemp(directory)) {
        ask_fail(directory);
    }
    for (int i = 0; i < processes; i++) {
        snprintf(path, sizeof(path), "%s/%d", directory, i);
        int listener = ask_listen(path, &pairs[i].address);
        pairs[i].pid = ask_start(argv[1], listener);
        close(listener);
    }
    for (int i = 0; i < processes; i++) {
        pthread_create(&pairs[i].thread, NULL, serve, &pairs[i]);
    }
    usleep((useconds_t)atoi(argv[3]) * 1000);
    atomic_store(&ends, 1);
    for (int i = 0; i < processes; i++) {
        pthread_join(pairs[i].thread, NULL);
        exchanges += pairs[i].exchanges;
        kill(pairs[i].pid, SIGKILL);
        waitpid(pairs[i].pid, NULL, 0);
        unlink(pairs[i].address.sun_path);
    }
    rmdir(directory);
    printf("{\"exchanges\": %llu, \"clientNs\": %llu, \"programNs\": %llu}\n",
           (unsigned long long)exchanges,
           (unsigned long long)(processor_ns(RUSAGE_SELF) / exchanges),
           (unsigned long long)(processor_ns(RUSAGE_CHILDREN) / exchanges));
    return 0;
}
