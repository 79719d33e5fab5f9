/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load data as the manager sees it. Counters in the cells only grow and wrap at 2^32, through all
 * workers that a slot ever had, so what a class counted since the last look is the difference of
 * two sums, whoever died in between. Totals add up these differences: they never wrap or go back.
 * What cannot be is left out; what is only a lie costs the server's classes instances, up to their
 * limits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/manager_internal.h"

#define COUNTED_MAX (UINT32_C(1) << 28)
#define COUNTED_MAX_US (UINT64_C(1) << 48) /* nine years, in sum */

static bool take_sample(const usher_attached_t *server, uint32_t class_index, usher_sample_t *sum) {
    return usher_sample_take(server->cells, usher_server_slots(server), class_index, sum);
}

/* Nobody counts so much between two looks, or backwards: somebody wrote there who must not. */
static bool is_difference(const usher_sample_t *now, const usher_sample_t *before) {
    for (uint32_t i = 0; i < USHER_COUNTERS; i++) {
        if (now->counters[i] - before->counters[i] > COUNTED_MAX) {
            return false;
        }
    }
    return now->waiting_us - before->waiting_us <= COUNTED_MAX_US &&
           now->serving_us - before->serving_us <= COUNTED_MAX_US;
}

static void add_difference(usher_totals_t *totals, const usher_sample_t *now,
                           const usher_sample_t *before) {
    for (uint32_t i = 0; i < USHER_COUNTERS; i++) {
        totals->counters[i] += (uint32_t)(now->counters[i] - before->counters[i]);
    }
    totals->waiting_us += now->waiting_us - before->waiting_us;
    totals->serving_us += now->serving_us - before->serving_us;
}

/* Bring a class's totals up to date with one server. −1: out of memory. */
static int absorb(usher_manager_t *manager, usher_attached_t *server, uint32_t class_index) {
    usher_sample_t sample;
    if (!take_sample(server, class_index, &sample)) {
        return 0;
    }
    usher_sample_t **seen = &server->seen[class_index];
    usher_totals_t **totals = &manager->totals[class_index];
    if ((!*seen && !(*seen = calloc(1, sizeof(**seen)))) ||
        (!*totals && !(*totals = calloc(1, sizeof(**totals))))) {
        return -1;
    }
    if (is_difference(&sample, *seen)) {
        add_difference(*totals, &sample, *seen);
    } else {
        usher_note_damage(manager, server, class_index, USHER_DAMAGED_LOAD);
    }
    **seen = sample;
    return 0;
}

/* Remember what was counted so far as seen. */
static void skip(usher_attached_t *server, uint32_t class_index) {
    usher_sample_t sample;
    free(server->seen[class_index]);
    server->seen[class_index] = NULL;
    if (take_sample(server, class_index, &sample) &&
        (server->seen[class_index] = malloc(sizeof(sample)))) {
        *server->seen[class_index] = sample;
    }
}

void usher_totals_restart(usher_manager_t *manager, uint32_t class_index) {
    free(manager->totals[class_index]);
    manager->totals[class_index] = NULL;
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        if (manager->servers[i]) {
            skip(manager->servers[i], class_index);
        }
    }
}

static void begin_base(usher_attached_t *server, uint32_t class_index, uint32_t generation) {
    usher_base_store(server->cells, usher_server_slots(server), class_index, generation);
}

void usher_bases_begin(usher_manager_t *manager, uint32_t class_index, uint32_t generation) {
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        if (manager->servers[i]) {
            begin_base(manager->servers[i], class_index, generation);
        }
    }
}

/* What a class has counted under a former manager goes on to count for readers of its base. */
void usher_totals_attach(usher_manager_t *manager, usher_attached_t *server) {
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (usher_bit(manager->classes, i)) {
            uint32_t generation = atomic_load(&manager->table->classes[i].generation);
            skip(server, i);
            if (atomic_load(&server->cells->bases[i].generation) != generation) {
                begin_base(server, i, generation);
            }
        }
    }
}

void usher_totals_detach(usher_manager_t *manager, usher_attached_t *server) {
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (usher_bit(manager->classes, i)) {
            absorb(manager, server, i);
        }
    }
}

/* ---- gauges ------------------------------------------------------------------------------ */

static uint32_t sum_in_flight(usher_manager_t *manager, const usher_class_record_t *record) {
    uint64_t sum = 0;
    uint32_t slots = atomic_load(&record->endpoint_slots);
    for (uint32_t slot = 0; slot < slots; slot++) {
        uint32_t index;
        if (usher_class_endpoint(record, slot, &index)) {
            sum += usher_sum_cells(manager, index);
        }
    }
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

static void fill_load(usher_load_t *load, const usher_totals_t *totals) {
    const uint64_t *counter = totals->counters;
    load->arrivals = *counter++;
    load->admitted = *counter++;
    load->finished = *counter++;
    load->failed = *counter++;
    load->aborted = *counter++;
    load->refused = *counter++;
    memcpy(load->waiting_histogram, counter, sizeof(load->waiting_histogram));
    memcpy(load->serving_histogram, counter + USHER_HISTOGRAM_BUCKETS,
           sizeof(load->serving_histogram));
    load->waiting_us = totals->waiting_us;
    load->serving_us = totals->serving_us;
}

usher_status_t usher_manager_load(usher_manager_t *manager, usher_ref_t class_ref,
                                  usher_load_t *load) {
    const usher_class_record_t *record = usher_class_of(manager, class_ref);
    if (!record) {
        return USHER_STALE;
    }
    memset(load, 0, sizeof(*load));
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        if (manager->servers[i] && absorb(manager, manager->servers[i], class_ref.index) != 0) {
            return USHER_SYSTEM;
        }
    }
    if (manager->totals[class_ref.index]) {
        fill_load(load, manager->totals[class_ref.index]);
    }
    load->waiting = usher_sum_waiting(manager, class_ref.index);
    load->in_flight = sum_in_flight(manager, record);
    return USHER_OK;
}

/* ---- what changed ------------------------------------------------------------------------ */

static void collect_touched(usher_manager_t *manager, const usher_attached_t *server) {
    uint32_t slots = usher_server_slots(server);
    for (uint32_t slot = 0; slot < slots; slot++) {
        usher_worker_record_t *worker = &server->cells->workers[slot];
        for (uint32_t i = 0; i < USHER_CLASSES_MAX / 64; i++) {
            if (atomic_load_explicit(&worker->touched[i], memory_order_relaxed) != 0) {
                manager->changed[i] |= atomic_exchange(&worker->touched[i], 0);
            }
        }
    }
}

static bool is_server_touched(const usher_attached_t *server) {
    uint32_t slots = usher_worker_slots(server->cells);
    for (uint32_t slot = 0; slot < slots; slot++) {
        const usher_worker_record_t *worker = &server->cells->workers[slot];
        for (uint32_t i = 0; i < USHER_CLASSES_MAX / 64; i++) {
            if (atomic_load_explicit(&worker->touched[i], memory_order_relaxed) != 0) {
                return true;
            }
        }
    }
    return false;
}

bool usher_is_touched(usher_manager_t *manager) {
    bool touched = false;
    pthread_mutex_lock(&manager->servers_mutex);
    for (uint32_t i = 0; i < USHER_SERVERS_MAX && !touched; i++) {
        touched = manager->servers[i] && is_server_touched(manager->servers[i]);
    }
    pthread_mutex_unlock(&manager->servers_mutex);
    return touched;
}

static uint32_t unrung(const usher_manager_t *manager, uint32_t class_index) {
    return usher_bit(manager->full, class_index) ? USHER_RUNG_NEEDLESS : USHER_RUNG_NOT;
}

static void collect_rung(usher_manager_t *manager) {
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (!usher_bit(manager->classes, i)) {
            continue;
        }
        /* seq_cst exchange before the gauges are read: gate.c */
        uint32_t quiet = unrung(manager, i);
        if (atomic_load_explicit(&manager->places->gates[i].rung, memory_order_relaxed) != quiet &&
            atomic_exchange(&manager->places->gates[i].rung, quiet) != quiet) {
            usher_set_bit(manager->changed, i, true);
        }
    }
}

usher_status_t usher_manager_set_full(usher_manager_t *manager, usher_ref_t ref, bool is_full) {
    if (!usher_class_of(manager, ref)) {
        return USHER_STALE;
    }
    usher_set_bit(manager->full, ref.index, is_full);
    if (atomic_exchange(&manager->places->gates[ref.index].rung, unrung(manager, ref.index)) ==
            USHER_RUNG ||
        !is_full) {
        usher_set_bit(manager->changed, ref.index, true); /* who waits since then did not ring */
    }
    return USHER_OK;
}

uint32_t usher_manager_changed(usher_manager_t *manager, uint32_t *indices, uint32_t max) {
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        if (manager->servers[i]) {
            collect_touched(manager, manager->servers[i]);
        }
    }
    collect_rung(manager);
    uint32_t count = 0;
    for (uint32_t i = 0; i < USHER_CLASSES_MAX && count < max; i++) {
        uint32_t index = (manager->changed_next + i) % USHER_CLASSES_MAX;
        if (!usher_bit(manager->changed, index)) {
            continue;
        }
        usher_set_bit(manager->changed, index, false);
        if (usher_bit(manager->classes, index)) {
            indices[count++] = index;
        }
    }
    /* begin behind the last one next time: a small `max` must not starve the others */
    manager->changed_next = count > 0 ? (indices[count - 1] + 1) % USHER_CLASSES_MAX : 0;
    return count;
}
