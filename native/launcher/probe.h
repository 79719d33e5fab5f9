/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at an instance from outside: is it ready to take connections, and what is it doing? The
 * program is not asked and need not help.
 */
#ifndef USHER_LAUNCHER_PROBE_H
#define USHER_LAUNCHER_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;        /* its descendants are looked at as well */
    uint32_t inode;   /* of its listening socket */
    const char *path; /* the address that is bound to */
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

/* Write what the instance's processes are doing, for people: at most `size` bytes with NUL. */
size_t probe_describe(pid_t pid, char *text, size_t size);

/* Up to `max` pids of a process's children. */
size_t probe_children(pid_t pid, pid_t *pids, size_t max);

#endif
