/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that others may be writing meanwhile (internal.h). */
#include <string.h>
#include <time.h>

#include "channel/internal.h"
#include "os/os.h"

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

void usher_count_down(_Atomic uint32_t *count) {
    uint32_t was = atomic_load_explicit(count, memory_order_relaxed);
    for (uint32_t i = 0; i < USHER_TRIES_MAX && was > 0; i++) {
        if (atomic_compare_exchange_weak(count, &was, was - 1)) {
            return;
        }
    }
}

void usher_count_up_to(_Atomic uint32_t *count, uint32_t least) {
    uint32_t was = atomic_load(count);
    for (uint32_t i = 0; i < USHER_TRIES_MAX && was < least; i++) {
        if (atomic_compare_exchange_weak(count, &was, least)) {
            return;
        }
    }
}

void usher_rest(uint64_t *since_ns, uint64_t rest_ns) {
    uint64_t now_ns = usher_os_now_ns();
    if (now_ns - *since_ns < rest_ns) {
        struct timespec rest = {.tv_nsec = (long)(*since_ns + rest_ns - now_ns)};
        nanosleep(&rest, NULL);
        now_ns = usher_os_now_ns();
    }
    *since_ns = now_ns;
}
