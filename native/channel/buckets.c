/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's changes to the buckets: which key stands where. Workers read them meanwhile; find.c
 * says what they may see. A manager may be killed between any two stores, so the order of stores
 * leaves every entry but the one in hand reachable, and the next manager tidies up (recover).
 */
#include <string.h>

#include "channel/manager_internal.h"

#define MASK (USHER_BUCKETS - 1)

_Static_assert((USHER_BUCKETS & MASK) == 0 && USHER_BUCKETS > 2 * USHER_CLASSES_MAX, "buckets");

bool usher_bucket_find(const usher_table_t *table, const usher_class_identity_t *identity,
                       uint64_t hash) {
    for (uint32_t i = 0; i < USHER_BUCKETS; i++) {
        uint32_t entry = atomic_load(&table->buckets[(hash + i) & MASK]);
        if (entry == 0) {
            return false;
        }
        const usher_class_record_t *record = &table->classes[entry - 1];
        if (record->key_hash == hash && record->server_id == identity->server_id &&
            record->key_length == identity->key_length &&
            memcmp(record->key, identity->key, identity->key_length) == 0) {
            return true;
        }
    }
    return false;
}

void usher_bucket_insert(usher_table_t *table, uint32_t class_index) {
    uint64_t at = table->classes[class_index].key_hash & MASK;
    while (atomic_load(&table->buckets[at]) != 0) {
        at = (at + 1) & MASK; /* ends: there are more buckets than classes */
    }
    atomic_store(&table->buckets[at], class_index + 1);
}

/*
 * Take the entry at `gap` away and move later ones of its chain up, so that no chain is broken: an
 * entry may move to the gap unless that lies before its home. At every moment each entry but the
 * removed one is in the chain, one of them twice at most.
 */
static void close_gap(usher_table_t *table, uint32_t gap) {
    for (uint32_t at = (gap + 1) & MASK;; at = (at + 1) & MASK) {
        uint32_t entry = atomic_load(&table->buckets[at]);
        if (entry == 0) {
            break;
        }
        if (entry > USHER_CLASSES_MAX) {
            continue; /* damage: its turn to be removed comes */
        }
        uint32_t home = (uint32_t)table->classes[entry - 1].key_hash & MASK;
        if (((at - home) & MASK) >= ((at - gap) & MASK)) {
            atomic_store(&table->buckets[gap], entry);
            USHER_STEP("buckets: entry copied");
            gap = at;
        }
    }
    atomic_store(&table->buckets[gap], 0);
}

void usher_bucket_remove(usher_table_t *table, uint32_t class_index) {
    uint64_t home = table->classes[class_index].key_hash;
    for (uint32_t i = 0; i < USHER_BUCKETS; i++) {
        uint32_t at = (uint32_t)(home + i) & MASK;
        uint32_t entry = atomic_load(&table->buckets[at]);
        if (entry == class_index + 1) {
            close_gap(table, at);
            return;
        }
        if (entry == 0) {
            return;
        }
    }
}

/* Does the bucket hold what a manager in good order leaves there? */
static bool is_whole(const usher_table_t *table, uint32_t entry, const uint64_t *seen) {
    if (entry > USHER_CLASSES_MAX || usher_bit(seen, entry - 1)) {
        return false;
    }
    const usher_class_record_t *record = &table->classes[entry - 1];
    uint32_t state = atomic_load(&record->state);
    return atomic_load(&record->generation) != 0 && state != USHER_CLASS_FREE &&
           state <= USHER_CLASS_REFUSED;
}

/* The first bucket that is not whole, USHER_BUCKETS when there is none. */
static uint32_t find_broken(usher_manager_t *manager) {
    memset(manager->classes, 0, sizeof(manager->classes));
    for (uint32_t i = 0; i < USHER_BUCKETS; i++) {
        uint32_t entry = atomic_load(&manager->table->buckets[i]);
        if (entry == 0) {
            continue;
        }
        if (!is_whole(manager->table, entry, manager->classes)) {
            return i;
        }
        usher_set_bit(manager->classes, entry - 1, true);
    }
    return USHER_BUCKETS;
}

void usher_buckets_recover(usher_manager_t *manager) {
    uint32_t broken;
    while ((broken = find_broken(manager)) < USHER_BUCKETS) {
        close_gap(manager->table, broken); /* entries moved: look at all of them again */
    }
}
