/* SPDX-License-Identifier: Apache-2.0 */
/* The forker's end of the socket to the gateway. */
#ifndef USHER_FORKER_LINK_H
#define USHER_FORKER_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t type, program;
    const char *content;
    size_t length;
} frame_t;

int link_open(int fd);
/* The gateway is gone. */
bool link_has_ended(void);

/* The next whole frame; valid until the next call. */
bool link_next(frame_t *frame);
/* Is there one? */
bool link_has_next(void);

/* Queue a frame. `at_once`: it and all before it go out in this turn of the loop. */
void link_send(uint32_t type, uint32_t program, const void *content, size_t length, bool at_once);
/* The same for bytes that are read from `fd`, at most `most`. What read() gave. */
long link_send_from(int fd, uint32_t type, uint32_t program, size_t most);
/* Write what may go out. How long the loop may wait until it must be called again: ms, or -1. */
int link_flush(void);

#endif
