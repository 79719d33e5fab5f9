/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a web server shows of the channel, also while no manager is there. Nothing is locked and nobody
 * is asked, so parts of one class may be of different moments, but never of different classes: a
 * record's generation is read before and after it (find.c). Numbers that workers write may be any;
 * indices are loop variables of ours, or compared with their limits.
 */
#include <string.h>

#include "channel/internal.h"
#include "os/os.h"

#define TRIES 3u /* of a class that is replaced while it is read */

void usher_look_at_manager(const usher_channel_t *channel, usher_manager_look_t *look) {
    const usher_table_header_t *header = &channel->table->header;
    uint64_t seen_ns = atomic_load(&header->manager_seen_ns);
    uint64_t now_ns = usher_os_now_ns(); /* not before the beat that was read */
    *look = (usher_manager_look_t){
        .state = usher_channel_manager_state(channel),
        .answers = usher_manager_answers(channel, now_ns),
        .pid = atomic_load(&header->manager_pid),
        .silent_ms = seen_ns < now_ns ? (now_ns - seen_ns) / USHER_MS_NS : 0,
    };
}

void usher_look_at_server(const usher_channel_t *channel, usher_server_look_t *look) {
    uint32_t slots = usher_worker_slots(channel->cells);
    *look = (usher_server_look_t){
        .name = channel->server,
        .runtime_dir = channel->runtime_dir,
        .generation = atomic_load(&channel->cells->header.generation),
    };
    for (uint32_t slot = 0; slot < slots; slot++) {
        look->workers += atomic_load(&channel->cells->workers[slot].state) == USHER_WORKER_USED;
    }
}

uint32_t usher_look_count(const usher_channel_t *channel) {
    uint32_t used = atomic_load(&channel->table->header.classes_used);
    return used < USHER_CLASSES_MAX ? used : USHER_CLASSES_MAX;
}

/* ---- endpoints --------------------------------------------------------------------------- */

/* False: the slot is empty, or its endpoint is being taken away. */
static bool look_at_endpoint(const usher_channel_t *channel, uint64_t entry,
                             usher_endpoint_look_t *look) {
    uint32_t index = (uint32_t)entry - 1;
    uint32_t generation = (uint32_t)(entry >> 32);
    if (index >= USHER_ENDPOINTS_MAX) {
        return false;
    }
    const usher_endpoint_record_t *record = &channel->table->endpoints[index];
    if (generation == 0 || atomic_load(&record->generation) != generation) {
        return false;
    }
    *look = (usher_endpoint_look_t){
        .state = atomic_load(&record->state),
        .pid = atomic_load(&record->pid),
        .places = atomic_load(&record->concurrency),
        .in_use = usher_counted(atomic_load(&channel->places->places[index].in_use)),
        .hung = usher_is_hung(channel, index),
    };
    return atomic_load(&record->generation) == generation &&
           look->state >= USHER_ENDPOINT_STARTING && look->state <= USHER_ENDPOINT_DOWN;
}

static void look_at_endpoints(const usher_channel_t *channel, const usher_class_record_t *record,
                              usher_class_look_t *look) {
    uint32_t slots = atomic_load(&record->endpoint_slots);
    slots = slots < USHER_CLASS_ENDPOINTS_MAX ? slots : USHER_CLASS_ENDPOINTS_MAX;
    for (uint32_t slot = 0; slot < slots; slot++) {
        usher_endpoint_look_t *endpoint = &look->endpoints[look->endpoint_count];
        if (look_at_endpoint(channel, atomic_load(&record->endpoints[slot]), endpoint)) {
            look->endpoint_count++;
            look->load.in_flight += endpoint->in_use; /* at most 256 × 2^20 */
            look->places += endpoint->state == USHER_ENDPOINT_READY ? endpoint->places : 0;
        }
    }
}

/* ---- classes ----------------------------------------------------------------------------- */

static void look_at_load(const usher_channel_t *channel, uint32_t index, uint32_t generation,
                         usher_class_look_t *look) {
    usher_sample_t sample, base;
    if (!usher_base_read(channel->cells, index, generation, &base)) {
        return;
    }
    usher_sample_take(channel->cells, usher_worker_slots(channel->cells), index, &sample);
    usher_sample_subtract(&sample, &base);
    const uint32_t *counter = sample.counters;
    usher_load_t *load = &look->load;
    load->arrivals = *counter++;
    load->admitted = *counter++;
    load->finished = *counter++;
    load->failed = *counter++;
    load->aborted = *counter++;
    load->refused = *counter++;
    for (uint32_t i = 0; i < USHER_HISTOGRAM_BUCKETS; i++) {
        load->waiting_histogram[i] = counter[i];
        load->serving_histogram[i] = counter[USHER_HISTOGRAM_BUCKETS + i];
    }
    load->waiting_us = sample.waiting_us;
    load->serving_us = sample.serving_us;
    look->has_totals = true;
}

static void look_at_verdict(const usher_class_record_t *record, usher_class_look_t *look) {
    usher_verdict_t verdict;
    if (!usher_verdict_read(record, &verdict)) {
        look->state = atomic_load(&record->state); /* its manager was killed while it wrote */
        return;
    }
    look->state = verdict.state;
    if (verdict.state == USHER_CLASS_FAILED) {
        look->verdict_status = verdict.status;
        look->retry_after_s = verdict.retry_after_s;
        memcpy(look->reason, verdict.reason, sizeof(look->reason));
    }
}

static bool look_at_key(const usher_class_record_t *record, usher_class_look_t *look) {
    uint32_t length = USHER_SHARED_LOAD(record->key_length);
    if (length == 0 || length >= USHER_KEY_MAX) {
        return false;
    }
    usher_shared_read(look->key, record->key, length);
    look->key[length] = '\0';
    look->key_length = (uint32_t)strnlen(look->key, length);
    return true;
}

/* OK, NOT_FOUND, or STALE: it was another class before it was read to its end. */
static usher_status_t try_class(const usher_channel_t *channel, uint32_t index,
                                usher_class_look_t *look) {
    const usher_class_record_t *record = &channel->table->classes[index];
    memset(look, 0, sizeof(*look));
    uint32_t generation = atomic_load_explicit(&record->generation, memory_order_acquire);
    uint64_t visible_to = USHER_SHARED_LOAD(record->server_id);
    if (generation == 0 || (visible_to != 0 && visible_to != channel->server_id)) {
        return USHER_NOT_FOUND;
    }
    look->kind = USHER_SHARED_LOAD(record->kind);
    look->protocol =
        atomic_load(&record->flags) >> USHER_CLASS_PROTOCOL_SHIFT & USHER_CLASS_PROTOCOL_MASK;
    bool is_class = look_at_key(record, look);
    look_at_verdict(record, look);
    look_at_endpoints(channel, record, look);
    look->load.waiting = usher_counted(atomic_load(&channel->places->gates[index].waiting));
    look_at_load(channel, index, generation, look);
    USHER_STEP("look: read");
    if (atomic_load(&record->generation) != generation) {
        return USHER_STALE;
    }
    is_class = is_class && look->state >= USHER_CLASS_COLD && look->state <= USHER_CLASS_FAILED;
    return is_class ? USHER_OK : USHER_NOT_FOUND;
}

usher_status_t usher_look_at_class(const usher_channel_t *channel, uint32_t index,
                                   usher_class_look_t *look) {
    usher_status_t status = index < USHER_CLASSES_MAX ? USHER_STALE : USHER_NOT_FOUND;
    for (uint32_t i = 0; i < TRIES && status == USHER_STALE; i++) {
        status = try_class(channel, index, look);
    }
    return status == USHER_STALE ? USHER_NOT_FOUND : status;
}
