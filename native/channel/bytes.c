/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that others may be writing meanwhile (internal.h). */
#include <string.h>

#include "channel/internal.h"

typedef uint64_t __attribute__((may_alias)) word_t;

#define WORD sizeof(word_t)

void usher_shared_read(void *copy, const void *shared, size_t bytes) {
    const word_t *from = shared;
    char *to = copy;
    for (size_t at = 0; at < bytes; at += WORD) {
        word_t word = __atomic_load_n(from++, __ATOMIC_ACQUIRE);
        memcpy(to + at, &word, WORD);
    }
}

void usher_shared_write(void *shared, const void *source, size_t bytes) {
    word_t *to = shared;
    const char *from = source;
    for (size_t at = 0; at < bytes; at += WORD) {
        word_t word = 0;
        memcpy(&word, from + at, bytes - at < WORD ? bytes - at : WORD);
        __atomic_store_n(to++, word, __ATOMIC_RELEASE);
    }
}

bool usher_shared_equal(const void *shared, const char *bytes, size_t length) {
    const word_t *word = shared;
    size_t at = 0;
    for (; at + WORD <= length; at += WORD) {
        word_t expected;
        memcpy(&expected, bytes + at, WORD);
        if (__atomic_load_n(word++, __ATOMIC_ACQUIRE) != expected) {
            return false;
        }
    }
    if (at < length) {
        word_t rest = __atomic_load_n(word, __ATOMIC_ACQUIRE);
        const char *byte = (const char *)&rest;
        while (at < length && *byte == bytes[at]) {
            byte++;
            at++;
        }
    }
    return at >= length;
}

uint32_t usher_count_down(_Atomic uint32_t *count) {
    uint32_t was = atomic_load_explicit(count, memory_order_relaxed);
    while (was > 0 && !atomic_compare_exchange_weak(count, &was, was - 1)) {
    }
    return was;
}
