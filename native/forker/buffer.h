/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on their way: written at the end, taken from the beginning. */
#ifndef USHER_FORKER_BUFFER_H
#define USHER_FORKER_BUFFER_H

#include <stddef.h>

typedef struct {
    char *bytes;
    size_t start, end, capacity;
} buffer_t;

static inline size_t buffer_length(const buffer_t *buffer) {
    return buffer->end - buffer->start;
}

static inline const char *buffer_head(const buffer_t *buffer) {
    return buffer->bytes + buffer->start;
}

/* Room for `length` bytes at the end; valid until the next call. Ends the forker when there is no
 * memory: nothing it could tell the gateway would fit. */
char *buffer_reserve(buffer_t *buffer, size_t length);
/* So many of the reserved bytes were written. */
void buffer_add(buffer_t *buffer, size_t length);
void buffer_append(buffer_t *buffer, const void *bytes, size_t length);
/* The first bytes are no longer needed. Memory beyond `kept` is given back once it is empty. */
void buffer_take(buffer_t *buffer, size_t length, size_t kept);
void buffer_free(buffer_t *buffer);

#endif
