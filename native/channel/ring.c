/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start-request ring of one server: keys of classes that no table entry is known for. Workers
 * write it under the server's lock, so a key is entered once however many ask; the manager reads it
 * without the lock and frees entries.
 *
 * An entry goes FREE → WRITING → READY by a worker and READY → FREE by the manager. READY is stored
 * with release after the key, so the manager, which loads it with acquire, sees the whole key; FREE
 * is stored with release after the manager has copied it, so the worker that reuses the entry
 * overwrites nothing that is still being read. Under the lock any other state means that its writer
 * died, or damage: the entry is used when there is no free one.
 *
 * `asked` spares the manager a look at the ring where nobody asked since the last one. A worker makes
 * it + 1 after READY, also when it found its key in the ring, in case that who entered it was killed
 * before. The manager reads it before the ring.
 */
#include "channel/internal.h"

/* What a search of the ring found. */
typedef struct {
    bool known;                         /* the key is there */
    usher_start_request_record_t *free; /* an entry to use, NULL = the ring is full */
    usher_start_request_record_t *left; /* one that somebody left who may be stopped only */
} search_t;

static bool same_key(const usher_start_request_record_t *entry, uint64_t hash, const char *key,
                     uint32_t key_length) {
    return USHER_SHARED_LOAD(entry->key_hash) == hash &&
           USHER_SHARED_LOAD(entry->key_length) == key_length &&
           usher_shared_equal(entry->key, key, key_length);
}

static search_t search(usher_cells_t *cells, uint64_t hash, const char *key, uint32_t key_length) {
    search_t found = {0};
    for (uint32_t i = 0; i < USHER_START_REQUESTS_MAX && !found.known; i++) {
        usher_start_request_record_t *entry = &cells->ring[i];
        uint32_t state = atomic_load_explicit(&entry->state, memory_order_acquire);
        if (state == USHER_START_READY) {
            found.known = same_key(entry, hash, key, key_length);
        } else if (state == USHER_START_FREE) {
            found.free = found.free ? found.free : entry;
        } else {
            found.left = found.left ? found.left : entry;
        }
    }
    found.free = found.free ? found.free : found.left;
    return found;
}

static void write_entry(usher_channel_t *channel, usher_start_request_record_t *entry,
                        uint64_t hash, const char *key, uint32_t key_length, uint64_t now_ns) {
    atomic_store(&entry->state, USHER_START_WRITING);
    USHER_STEP("ring: writing");
    USHER_SHARED_STORE(entry->key_length, key_length);
    USHER_SHARED_STORE(entry->key_hash, hash);
    USHER_SHARED_STORE(entry->entered_ns, now_ns);
    USHER_SHARED_STORE(entry->worker, channel->slot);
    USHER_STEP("ring: half written");
    usher_shared_write(entry->key, key, key_length + 1);
    USHER_STEP("ring: written");
    atomic_store(&entry->state, USHER_START_READY);
    USHER_STEP("ring: ready");
}

usher_status_t usher_ring_enter(usher_channel_t *channel, const char *key, uint32_t key_length,
                                uint64_t now_ns, bool *entered) {
    *entered = false;
    uint64_t hash = usher_hash(key, key_length);
    char terminated[USHER_KEY_MAX];
    __builtin_memcpy(terminated, key, key_length);
    terminated[key_length] = '\0';

    usher_status_t status = usher_lock_take(channel, channel->may_block ? USHER_LOCK_WAIT_NS : 0);
    if (status != USHER_OK) {
        return status;
    }
    search_t found = search(channel->cells, hash, terminated, key_length);
    if (!found.known && found.free) {
        write_entry(channel, found.free, hash, terminated, key_length, now_ns);
        *entered = true;
    } else if (!found.known) {
        status = USHER_FULL;
    }
    atomic_fetch_add(&channel->cells->header.asked, 1);
    USHER_STEP("ring: asked");
    usher_lock_release(channel);
    return status;
}
