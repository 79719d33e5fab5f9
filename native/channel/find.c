/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking a class up in the table while the manager may be changing it.
 *
 * A record's generation is 0 while it is free or being written and unique otherwise. A reader loads
 * it, reads the record, all with acquire, and loads it again. The manager stores 0, then the new
 * bytes with release, last of all the new generation with release. A reader that saw one of the new
 * bytes therefore sees the 0 or a later generation at its second load, and takes the record for
 * another's; a reader whose two loads agree saw bytes of that generation.
 *
 * Buckets are an open hash with linear probing. Adding stores into an empty bucket. Removing closes
 * the gap: entries behind it move up, each copied first and overwritten afterwards, so there are no
 * tombstones that could fill the chains. A reader that comes past the gap before a move and past
 * the old bucket after it misses an entry that is there. That costs a start request for a class that
 * is known, which the manager only takes off the ring, and another look.
 */
#include <string.h>

#include "channel/internal.h"

/* Up to eight bytes. */
static uint64_t read_word(const char *bytes, size_t length) {
    uint64_t word = 0;
    if (length >= sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        return word;
    }
    for (size_t i = 0; i < length; i++) {
        word = word << 8 | (unsigned char)bytes[i];
    }
    return word;
}

/* A multiplication carries a word's bits upwards, the shift brings them down again. */
uint64_t usher_hash(const char *bytes, size_t length) {
    uint64_t hash = length;
    for (size_t at = 0; at < length; at += sizeof(uint64_t)) {
        hash ^= read_word(bytes + at, length - at);
        hash *= UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
        hash ^= hash >> 32;
    }
    return hash != 0 ? hash : 1;
}

/* The record's generation when it is the class sought, else 0; `*server_id` tells for whom. */
static uint32_t match(const usher_class_record_t *record, uint64_t hash, const char *key,
                      uint32_t key_length, uint64_t *server_id) {
    uint32_t generation = atomic_load_explicit(&record->generation, memory_order_acquire);
    if (generation == 0 || USHER_SHARED_LOAD(record->key_hash) != hash ||
        USHER_SHARED_LOAD(record->key_length) != key_length ||
        !usher_shared_equal(record->key, key, key_length)) {
        return 0;
    }
    *server_id = USHER_SHARED_LOAD(record->server_id);
    USHER_STEP("find: read");
    uint32_t again = atomic_load_explicit(&record->generation, memory_order_relaxed);
    return again == generation ? generation : 0;
}

usher_ref_t usher_find_class(const usher_table_t *table, uint64_t server_id, const char *key,
                             uint32_t key_length) {
    uint64_t hash = usher_hash(key, key_length);
    usher_ref_t found = {0, 0};
    for (uint32_t i = 0; i < USHER_BUCKETS; i++) {
        uint32_t entry =
            atomic_load_explicit(&table->buckets[(hash + i) % USHER_BUCKETS], memory_order_acquire);
        if (entry == 0) {
            break;
        }
        uint64_t visible_to = 0;
        uint32_t generation = entry > USHER_CLASSES_MAX ? 0
                                                        : match(&table->classes[entry - 1], hash,
                                                                key, key_length, &visible_to);
        if (generation == 0 || (visible_to != 0 && visible_to != server_id)) {
            continue;
        }
        found = (usher_ref_t){.index = entry - 1, .generation = generation};
        if (visible_to == server_id) {
            break; /* the server's own class goes before the one for all */
        }
    }
    return found;
}
