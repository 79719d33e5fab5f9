/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the workers of one server have counted of a class's index, in sum: through all workers that its
 * slots ever had, and all classes that the index ever had. What one class counted is the difference to
 * its base, which the manager stores before it publishes the class (layout.h).
 */
#include <string.h>

#include "channel/internal.h"

#define SINGLE_COUNTERS (USHER_COUNTERS - 2 * USHER_HISTOGRAM_BUCKETS)

/* What a worker counts once for several counters is added to each of them. */
static void add_record(usher_sample_t *sum, const usher_load_record_t *load) {
    uint32_t at_once = atomic_load(&load->at_once);
    uint32_t admitted = at_once;
    uint32_t *waiting = sum->counters + SINGLE_COUNTERS;
    uint32_t *serving = waiting + USHER_HISTOGRAM_BUCKETS;
    waiting[0] += at_once;
    for (uint32_t i = 0; i < USHER_HISTOGRAM_BUCKETS; i++) {
        uint32_t in_bucket = atomic_load(&load->waiting_histogram[i]);
        admitted += in_bucket;
        waiting[i] += in_bucket;
        serving[i] += atomic_load(&load->serving_histogram[i]);
    }
    const uint32_t single[SINGLE_COUNTERS] = {
        at_once + atomic_load(&load->arrivals),
        admitted,
        atomic_load(&load->finished),
        atomic_load(&load->failed),
        atomic_load(&load->aborted),
        atomic_load(&load->refused),
    };
    for (uint32_t i = 0; i < SINGLE_COUNTERS; i++) {
        sum->counters[i] += single[i];
    }
    sum->waiting_us += atomic_load(&load->waiting_us);
    sum->serving_us += atomic_load(&load->serving_us);
}

bool usher_sample_take(const usher_cells_t *cells, uint32_t slots, uint32_t class_index,
                       usher_sample_t *sum) {
    bool known = false;
    memset(sum, 0, sizeof(*sum));
    for (uint32_t slot = 0; slot < slots; slot++) {
        const usher_worker_record_t *worker = &cells->workers[slot];
        if (usher_worker_knows_group(worker, class_index)) {
            add_record(sum, &worker->load[class_index]);
            known = true;
        }
    }
    return known;
}

void usher_sample_subtract(usher_sample_t *now, const usher_sample_t *before) {
    for (uint32_t i = 0; i < USHER_COUNTERS; i++) {
        now->counters[i] -= before->counters[i];
    }
    now->waiting_us -= before->waiting_us;
    now->serving_us -= before->serving_us;
}

/*
 * The generation is 0 while the rest is written: who loads it, then the rest with acquire, and finds
 * the same generation again, has seen nothing of another base.
 */
void usher_base_store(usher_cells_t *cells, uint32_t slots, uint32_t class_index,
                      uint32_t generation) {
    usher_load_base_t *base = &cells->bases[class_index];
    usher_sample_t sample;
    usher_sample_take(cells, slots, class_index, &sample);
    atomic_store(&base->generation, 0);
    for (uint32_t i = 0; i < USHER_COUNTERS; i++) {
        atomic_store_explicit(&base->counters[i], sample.counters[i], memory_order_release);
    }
    atomic_store_explicit(&base->waiting_us, sample.waiting_us, memory_order_release);
    atomic_store_explicit(&base->serving_us, sample.serving_us, memory_order_release);
    USHER_STEP("base: written");
    atomic_store_explicit(&base->generation, generation, memory_order_release);
}

bool usher_base_read(const usher_cells_t *cells, uint32_t class_index, uint32_t generation,
                     usher_sample_t *base) {
    const usher_load_base_t *record = &cells->bases[class_index];
    if (atomic_load_explicit(&record->generation, memory_order_acquire) != generation) {
        return false;
    }
    for (uint32_t i = 0; i < USHER_COUNTERS; i++) {
        base->counters[i] = atomic_load_explicit(&record->counters[i], memory_order_acquire);
    }
    base->waiting_us = atomic_load_explicit(&record->waiting_us, memory_order_acquire);
    base->serving_us = atomic_load_explicit(&record->serving_us, memory_order_acquire);
    return atomic_load_explicit(&record->generation, memory_order_relaxed) == generation;
}
