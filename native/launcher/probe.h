/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at an instance from outside: is it ready to take connections, and has it one? The program
 * is not asked and need not help.
 */
#ifndef USHER_LAUNCHER_PROBE_H
#define USHER_LAUNCHER_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;        /* its descendants are looked at as well */
    uint32_t inode;   /* of its listening socket */
    const char *path; /* the address that is bound to */
    uint16_t port;    /* of a TCP address; 0 = a UNIX socket */
    bool is_shared;   /* other instances listen at the same socket */
    /* kept between two looks */
    uint64_t asleep_since_ns; /* 0 = was not seen asleep; used where system calls are hidden */
    unsigned long long cpu_ticks;
    unsigned looks;
} probe_t;

/*
 * True when a process of the instance sleeps in accept(), poll(), select() or epoll_wait() for its
 * listening socket, or when it has taken a connection.
 */
bool probe_is_ready(probe_t *probe, uint64_t now_ns);

/*
 * Could the instance end now without a request's noticing? Its processes hold no accepted
 * connection, one of its threads waits for the next one, and all others sleep for something that is
 * no work. While it runs the answer is only worth a closer look: it may be wrong already.
 */
bool probe_seems_idle(const probe_t *probe);

/* Has every thread of its process group stopped, after SIGSTOP? */
bool probe_is_stopped(const probe_t *probe);
/* The same as above of one that has: true until it goes on. */
bool probe_is_idle(const probe_t *probe);

#endif
