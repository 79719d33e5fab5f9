/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every call that only Linux has. A port to another system replaces os_linux.c; nothing else of
 * ours includes linux/ headers. Functions return 0 or a value, and -1 with errno set.
 */
#ifndef USHER_OS_H
#define USHER_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

uint64_t usher_os_now_ns(void);        /* CLOCK_MONOTONIC */
uint64_t usher_os_coarse_now_ns(void); /* CLOCK_MONOTONIC_COARSE: cheaper, a few ms late */

/* Futex on a word of a shared mapping (`word` points to a uint32_t, atomic or not). Wait: 0 woken,
 * -1 EAGAIN (value differs), ETIMEDOUT, EINTR. timeout_ns 0 returns ETIMEDOUT at once. */
int usher_os_futex_wait(const void *word, uint32_t value, uint64_t timeout_ns);
int usher_os_futex_wake(const void *word, int count);

/* Open-file-description write lock on one byte; -1 EAGAIN when another description holds it. */
int usher_os_lock_byte(int fd, off_t offset);
int usher_os_unlock_byte(int fd, off_t offset);
/* 1 another description holds the byte, 0 nobody else does. */
int usher_os_byte_is_locked(int fd, off_t offset);
/* One of the bytes from `offset` on that another description holds; -1 there is none. */
off_t usher_os_locked_byte(int fd, off_t offset);

int usher_os_pidfd_open(pid_t pid);
/* As vfork(), with a descriptor of the child, closed by exec: `run(argument)` has our memory, on the
 * stack that is given, while we stand still until it execs or ends. When it returns the child has
 * ended with `status`. No handler of ours may run in it. */
pid_t usher_os_spawn(void (*run)(void *), void *argument, void *stack, size_t stack_bytes,
                     int status, int *pidfd);
int usher_os_pidfd_send_signal(int pidfd, int signal);
/* A copy of another process's descriptor, closed by exec. Needs the right to trace that process. */
int usher_os_pidfd_getfd(int pidfd, int fd);
int usher_os_close_range(unsigned first, unsigned last);
int usher_os_close_range_at_exec(unsigned first, unsigned last); /* not before */
int usher_os_set_pipe_size(int fd, int bytes);
int usher_os_set_no_new_privs(void);
/* Give up every capability, also inheritable and ambient ones and their way through setuid(). */
int usher_os_drop_capabilities(void);
int usher_os_set_parent_death_signal(int signal);
int usher_os_set_name(const char *name); /* of this process, as ps shows it; 15 bytes */
int usher_os_become_subreaper(void);     /* orphans below this process become its children */

/* Connections waiting in accept() of the listening UNIX socket with inode
 * `inode`, by sock_diag. -1 ENOENT when there is no such socket. */
int usher_os_accept_queue(uint32_t inode);

typedef struct {
    int waiting;  /* in the accept queue */
    int accepted; /* by a program that has not closed them */
} usher_os_connections_t;

/* Connections of the listening socket with inode `inode`, bound to the UNIX path `path`, or to the
 * TCP port `port` when `path` is NULL. -1 ENOENT when there is no such listener. Costs a look at all
 * UNIX sockets of the system, or at the system's table of TCP connections, which takes milliseconds:
 * with `only_waiting` that is spared, and `accepted` is 0. */
int usher_os_connections(const char *path, uint16_t port, uint32_t inode, bool only_waiting,
                         usher_os_connections_t *connections);

typedef struct {
    pid_t pid;
    uid_t uid;
} usher_os_peer_t;

/* Who connected, or made, the other end of a connected UNIX socket. */
int usher_os_peer(int fd, usher_os_peer_t *peer);

#ifdef __cplusplus
}
#endif

#endif
