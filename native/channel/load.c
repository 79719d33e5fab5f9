/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load data: what a worker counts about a class. Only its own process writes a worker's record, so
 * single counters need no order among each other. They are published by the bit in `touched`: set
 * after the counters, taken by the manager with an exchange before it reads them. Whatever was
 * counted before the bit is seen, what comes later sets the bit again.
 *
 * Who finds the bit set need not set it, if that means that the manager is still to look, and not
 * that it looks just now. It does when the counts, the finding, the exchange and the manager's
 * reading are seq_cst: a bit found set was found before the exchange, so what was counted before is
 * read after it. In a worker of threads each count is a read-modify-write operation in any case, and
 * seq_cst costs nothing extra.
 *
 * A worker that may not block has one thread: a load and a store do, and save the bus lock, but are
 * not in that order. So it sets the bit each time, but for an admission. There the cell was counted
 * before a fence (places.c): a manager that takes the bit just then sees that the class has a
 * request. The rest may be seen later, with its next look at a class that has one, and at the latest
 * with that which the request's end brings about.
 */
#include "channel/internal.h"

static void add_32(const usher_channel_t *channel, _Atomic uint32_t *counter, uint32_t amount) {
    if (channel->may_block) {
        atomic_fetch_add(counter, amount);
    } else {
        uint32_t value = atomic_load_explicit(counter, memory_order_relaxed);
        atomic_store_explicit(counter, value + amount, memory_order_relaxed);
    }
}

static void add_64(const usher_channel_t *channel, _Atomic uint64_t *counter, uint64_t amount) {
    if (channel->may_block) {
        atomic_fetch_add(counter, amount);
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

static bool is_touched(const usher_channel_t *channel, uint32_t class_index) {
    return atomic_load(&channel->worker->touched[class_index / 64]) >> (class_index % 64) & 1;
}

static void set_touched(usher_channel_t *channel, uint32_t class_index) {
    atomic_fetch_or(&channel->worker->touched[class_index / 64], UINT64_C(1) << (class_index % 64));
}

void usher_load_touch(usher_channel_t *channel, uint32_t class_index) {
    if (!channel->may_block || !is_touched(channel, class_index)) {
        set_touched(channel, class_index);
    }
}

static void touch_for_admission(usher_channel_t *channel, uint32_t class_index) {
    if (!is_touched(channel, class_index)) {
        set_touched(channel, class_index);
    }
}

void usher_load_arrived(usher_channel_t *channel, uint32_t class_index) {
    usher_load_know(channel, class_index);
    add_32(channel, &load_of(channel, class_index)->arrivals, 1); /* the next step touches */
}

void usher_load_admitted(usher_channel_t *channel, uint32_t class_index, uint64_t waited_us) {
    usher_load_record_t *load = load_of(channel, class_index);
    add_32(channel, &load->waiting_histogram[bucket_of(waited_us)], 1);
    add_64(channel, &load->waiting_us, waited_us);
    touch_for_admission(channel, class_index);
}

void usher_load_admitted_at_once(usher_channel_t *channel, uint32_t class_index) {
    usher_load_know(channel, class_index);
    add_32(channel, &load_of(channel, class_index)->at_once, 1);
    touch_for_admission(channel, class_index);
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
