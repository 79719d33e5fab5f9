/* SPDX-License-Identifier: Apache-2.0 */
#include "forker/buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 4096

char *buffer_reserve(buffer_t *buffer, size_t length) {
    if (buffer->capacity - buffer->end >= length)
        return buffer->bytes + buffer->end;
    size_t used = buffer_length(buffer);
    if (buffer->start >= used && buffer->start > 0) { /* less is moved than was taken */
        memmove(buffer->bytes, buffer->bytes + buffer->start, used);
        buffer->start = 0;
        buffer->end = used;
    }
    if (buffer->capacity - buffer->end < length) {
        size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity;
        while (capacity - buffer->end < length)
            capacity *= 2;
        char *bytes = realloc(buffer->bytes, capacity);
        if (bytes == NULL) {
            fprintf(stderr, "usher-forker: no memory for %zu bytes\n", capacity);
            exit(1);
        }
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->end;
}

void buffer_add(buffer_t *buffer, size_t length) {
    buffer->end += length;
}

void buffer_append(buffer_t *buffer, const void *bytes, size_t length) {
    if (length == 0)
        return;
    memcpy(buffer_reserve(buffer, length), bytes, length);
    buffer_add(buffer, length);
}

void buffer_take(buffer_t *buffer, size_t length, size_t kept) {
    buffer->start += length;
    if (buffer->start < buffer->end)
        return;
    buffer->start = buffer->end = 0;
    if (buffer->capacity > kept)
        buffer_free(buffer);
}

void buffer_free(buffer_t *buffer) {
    free(buffer->bytes);
    memset(buffer, 0, sizeof(*buffer));
}
