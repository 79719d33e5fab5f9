/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load data: what a worker counts about a class. Only its own process writes a worker's record, so
 * single counters need no order among each other. They are published by the bit in `touched`: set
 * with release after the counters, taken by the manager with an acquiring exchange before it reads
 * them. Whatever was counted before the bit is seen, what comes later sets the bit again.
 *
 * A worker that may not block has one thread: a load and a store do, and save the bus lock.
 */
#include "channel/internal.h"

static void add_32(const usher_channel_t *channel, _Atomic uint32_t *counter, uint32_t amount) {
    if (channel->may_block) {
        atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
    } else {
        uint32_t value = atomic_load_explicit(counter, memory_order_relaxed);
        atomic_store_explicit(counter, value + amount, memory_order_relaxed);
    }
}

static void add_64(const usher_channel_t *channel, _Atomic uint64_t *counter, uint64_t amount) {
    if (channel->may_block) {
        atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
    } else {
        uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
        atomic_store_explicit(counter, value + amount, memory_order_relaxed);
    }
}

static usher_load_record_t *load_of(const usher_channel_t *channel, uint32_t class_index) {
    return &channel->worker->load[class_index];
}

/* Bucket b holds [2^b, 2^(b+1)) µs, the last one all that is longer. */
static uint32_t bucket_of(uint64_t us) {
    uint32_t bucket = us < 2 ? 0 : 63 - (uint32_t)__builtin_clzll(us);
    return bucket < USHER_HISTOGRAM_BUCKETS ? bucket : USHER_HISTOGRAM_BUCKETS - 1;
}

/* Before the first count of a group: nobody looks at its records without this bit. */
void usher_load_know(usher_channel_t *channel, uint32_t class_index) {
    uint32_t group = class_index / USHER_GROUP_CLASSES;
    if (!usher_worker_knows_group(channel->worker, class_index)) {
        atomic_fetch_or(&channel->worker->groups[group / 64], UINT64_C(1) << (group % 64));
    }
}

void usher_load_touch(usher_channel_t *channel, uint32_t class_index) {
    atomic_fetch_or_explicit(&channel->worker->touched[class_index / 64],
                             UINT64_C(1) << (class_index % 64), memory_order_release);
}

void usher_load_arrived(usher_channel_t *channel, uint32_t class_index) {
    usher_load_know(channel, class_index);
    add_32(channel, &load_of(channel, class_index)->arrivals, 1); /* the next step touches */
}

void usher_load_admitted(usher_channel_t *channel, uint32_t class_index, uint64_t waited_us) {
    usher_load_record_t *load = load_of(channel, class_index);
    add_32(channel, &load->admitted, 1);
    add_32(channel, &load->waiting_histogram[bucket_of(waited_us)], 1);
    if (waited_us > 0) {
        add_64(channel, &load->waiting_us, waited_us);
    }
    usher_load_touch(channel, class_index);
}

void usher_load_refused(usher_channel_t *channel, uint32_t class_index) {
    add_32(channel, &load_of(channel, class_index)->refused, 1);
    usher_load_touch(channel, class_index);
}

void usher_load_aborted(usher_channel_t *channel, uint32_t class_index) {
    add_32(channel, &load_of(channel, class_index)->aborted, 1);
    usher_load_touch(channel, class_index);
}

void usher_load_served(usher_channel_t *channel, uint32_t class_index, usher_outcome_t outcome,
                       uint64_t serving_us) {
    usher_load_record_t *load = load_of(channel, class_index);
    if (outcome == USHER_OUTCOME_ABORTED) {
        usher_load_aborted(channel, class_index);
        return;
    }
    add_32(channel, outcome == USHER_OUTCOME_FINISHED ? &load->finished : &load->failed, 1);
    add_32(channel, &load->serving_histogram[bucket_of(serving_us)], 1);
    add_64(channel, &load->serving_us, serving_us);
    usher_load_touch(channel, class_index);
}
