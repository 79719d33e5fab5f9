/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: descriptors, timers, signals. Watches and timers lie inside what they belong to;
 * their callbacks find the owner with OWNER_OF. Everything in the launcher runs in a callback and
 * none of them waits.
 */
#ifndef USHER_LAUNCHER_LOOP_H
#define USHER_LAUNCHER_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OWNER_OF(member_pointer, type, member) \
    ((type *)(void *)((char *)(member_pointer)-offsetof(type, member)))

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull

typedef struct watch watch_t;
struct watch {
    int fd;
    void (*on_event)(watch_t *watch); /* readable, writable if asked for, hung up, or failed */
};

typedef struct alarm alarm_t;
struct alarm {
    uint64_t due_ns; /* CLOCK_MONOTONIC */
    size_t place;    /* in the heap + 1; 0 = not set */
    void (*on_due)(alarm_t *alarm);
};

/* `on_signal` is called for SIGCHLD (several may have become one), SIGTERM, SIGINT and SIGHUP. */
int loop_open(void (*on_signal)(int signal));
/* Returns when loop_stop was called, with its argument. */
int loop_run(void);
void loop_stop(int exit_code);

int watch_start(watch_t *watch);
/* The owner may be freed afterwards, also from inside any callback. Does not close the descriptor. */
void watch_stop(watch_t *watch);
void watch_writable(watch_t *watch, bool wanted);

/* Call on_due once at `due_ns`; replaces an earlier time. */
void alarm_set(alarm_t *alarm, uint64_t due_ns);
void alarm_cancel(alarm_t *alarm);

#endif
