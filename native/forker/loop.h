/* SPDX-License-Identifier: Apache-2.0 */
/* The forker's event loop. Watches lie inside what they belong to. */
#ifndef USHER_FORKER_LOOP_H
#define USHER_FORKER_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OWNER_OF(member_pointer, type, member) \
    ((type *)(void *)((char *)(member_pointer)-offsetof(type, member)))

typedef struct watch watch_t;
struct watch {
    int fd; /* -1 = none */
    bool readable, writable;
    void (*on_event)(watch_t *watch, bool hung_up);
};

int loop_open(void);
/* One wait of at most `timeout_ms` (-1 = for ever), and its events. */
void loop_turn(int timeout_ms);

/* What is wanted of its descriptor; hanging up and errors are told too while anything is. */
int watch_change(watch_t *watch, bool readable, bool writable);
/* Closes the descriptor. The owner must live until the turn of the loop is over. */
void watch_close(watch_t *watch);

#endif
