/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing endpoints. A worker finds one through its class: slot → index and generation → record.
 * So a record is filled first, gets its generation next and is put into a slot last; it is taken
 * out in the opposite order of what a worker reads: slot, state, generation.
 */
#include <netinet/in.h>
#include <string.h>

#include "channel/manager_internal.h"

usher_endpoint_record_t *usher_endpoint_of(usher_manager_t *manager, usher_ref_t ref) {
    if (ref.index >= USHER_ENDPOINTS_MAX || !usher_bit(manager->endpoints, ref.index)) {
        return NULL;
    }
    usher_endpoint_record_t *record = &manager->table->endpoints[ref.index];
    return atomic_load(&record->generation) == ref.generation ? record : NULL;
}

bool usher_class_endpoint(const usher_class_record_t *record, uint32_t slot, uint32_t *index) {
    uint64_t entry = atomic_load(&record->endpoints[slot]);
    *index = (uint32_t)entry - 1;
    return entry != 0;
}

/* ---- adding ------------------------------------------------------------------------------ */

static bool is_address(const usher_endpoint_address_t *address) {
    bool has_nul =
        memchr(address->bytes, '\0',
               address->length < USHER_ADDRESS_MAX ? address->length : USHER_ADDRESS_MAX);
    switch (address->kind) {
    case USHER_ADDRESS_SERVER_SOCKET:
        return address->length > 0 &&
               address->length < sizeof(((struct sockaddr_un *)0)->sun_path) && !has_nul &&
               !memchr(address->bytes, '/', address->length);
    case USHER_ADDRESS_UNIX:
        return address->length > 0 &&
               address->length < sizeof(((struct sockaddr_un *)0)->sun_path) && !has_nul &&
               address->bytes[0] == '/';
    case USHER_ADDRESS_INET:
        return address->length == sizeof(struct sockaddr_in);
    case USHER_ADDRESS_INET6:
        return address->length == sizeof(struct sockaddr_in6);
    default:
        return false;
    }
}

static bool is_endpoint_state(usher_endpoint_state_t state) {
    return state >= USHER_ENDPOINT_STARTING && state <= USHER_ENDPOINT_DOWN;
}

/* A free record, if possible one that no request of a removed endpoint is counted at any more. */
static uint32_t find_free(usher_manager_t *manager) {
    uint32_t found = USHER_ENDPOINTS_MAX;
    for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX; i++) {
        if (usher_bit(manager->endpoints, i)) {
            continue;
        }
        if (usher_sum_cells(manager, i) == 0) {
            return i;
        }
        found = found < USHER_ENDPOINTS_MAX ? found : i;
    }
    return found;
}

static uint32_t find_free_slot(const usher_class_record_t *record) {
    uint32_t slot = 0;
    while (slot < USHER_CLASS_ENDPOINTS_MAX && atomic_load(&record->endpoints[slot]) != 0) {
        slot++;
    }
    return slot;
}

static void store_slot_count(usher_class_record_t *record) {
    uint32_t slots = USHER_CLASS_ENDPOINTS_MAX;
    while (slots > 0 && atomic_load(&record->endpoints[slots - 1]) == 0) {
        slots--;
    }
    atomic_store(&record->endpoint_slots, slots);
}

usher_status_t usher_manager_add_endpoint(usher_manager_t *manager, usher_ref_t class_ref,
                                          const usher_endpoint_address_t *address,
                                          uint32_t concurrency, usher_endpoint_state_t state,
                                          uint32_t pid, usher_ref_t *ref) {
    usher_class_record_t *class_record = usher_class_of(manager, class_ref);
    if (!class_record) {
        return USHER_STALE;
    }
    if (!is_address(address) || concurrency == 0 || !is_endpoint_state(state)) {
        return USHER_INVALID;
    }
    uint32_t slot = find_free_slot(class_record);
    uint32_t index = slot < USHER_CLASS_ENDPOINTS_MAX ? find_free(manager) : USHER_ENDPOINTS_MAX;
    if (index == USHER_ENDPOINTS_MAX) {
        return USHER_FULL;
    }
    usher_endpoint_record_t *record = &manager->table->endpoints[index];
    uint8_t bytes[USHER_ADDRESS_MAX] = {0};
    memcpy(bytes, address->bytes, address->length);
    atomic_store(&record->generation, 0); /* before any new byte, as in classes.c */
    USHER_SHARED_STORE(record->address_kind, (uint32_t)address->kind);
    USHER_SHARED_STORE(record->address_length, address->length);
    usher_shared_write(record->address, bytes, sizeof(bytes));
    atomic_store(&record->class_index, class_ref.index);
    atomic_store(&record->concurrency, concurrency);
    atomic_store(&record->pid, pid);
    uint32_t generation = usher_next_generation(&manager->table->header.endpoint_generation);
    atomic_store(&record->instance, generation);
    /* those of a removed endpoint give back what they took: begin with what is counted */
    atomic_store(&manager->places->places[index].in_use, usher_sum_cells(manager, index));
    atomic_store(&manager->places->places[index].kept, usher_sum_kept(manager, index));
    atomic_store(&manager->places->places[index].served, 0);
    atomic_store(&manager->places->places[index].unreached, 0);
    atomic_store(&record->state, (uint32_t)state);
    USHER_STEP("endpoint: written");
    atomic_store(&record->generation, generation);
    USHER_STEP("endpoint: numbered");
    atomic_store(&class_record->endpoints[slot], (uint64_t)generation << 32 | (index + 1));
    USHER_STEP("endpoint: listed");
    store_slot_count(class_record);
    usher_set_bit(manager->endpoints, index, true);
    usher_count_up_to(&manager->table->header.endpoints_used, index + 1);
    usher_publish(manager, class_ref.index);
    *ref = (usher_ref_t){.index = index, .generation = generation};
    return USHER_OK;
}

/* ---- changing ---------------------------------------------------------------------------- */

usher_status_t usher_manager_set_endpoint(usher_manager_t *manager, usher_ref_t ref,
                                          usher_endpoint_state_t state, uint32_t pid) {
    usher_endpoint_record_t *record = usher_endpoint_of(manager, ref);
    if (!record) {
        return USHER_STALE;
    }
    if (!is_endpoint_state(state)) {
        return USHER_INVALID;
    }
    if (state == USHER_ENDPOINT_STARTING) { /* another instance, which does not hang (hung.c) */
        atomic_store(&record->instance,
                     usher_next_generation(&manager->table->header.endpoint_generation));
    }
    atomic_store(&record->pid, pid);
    atomic_store(&record->state, (uint32_t)state); /* seq_cst: a drain begins here (places.c) */
    usher_publish(manager, atomic_load(&record->class_index));
    return USHER_OK;
}

usher_status_t usher_manager_remove_endpoint(usher_manager_t *manager, usher_ref_t ref) {
    usher_endpoint_record_t *record = usher_endpoint_of(manager, ref);
    if (!record) {
        return USHER_STALE;
    }
    uint32_t class_index = atomic_load(&record->class_index);
    usher_class_record_t *class_record = &manager->table->classes[class_index];
    for (uint32_t slot = 0; slot < USHER_CLASS_ENDPOINTS_MAX; slot++) {
        uint32_t index;
        if (usher_class_endpoint(class_record, slot, &index) && index == ref.index) {
            atomic_store(&class_record->endpoints[slot], 0);
        }
    }
    USHER_STEP("endpoint: unlisted");
    store_slot_count(class_record);
    atomic_store(&record->state, USHER_ENDPOINT_FREE);
    USHER_STEP("endpoint: freed");
    atomic_store(&record->generation, 0);
    usher_set_bit(manager->endpoints, ref.index, false);
    usher_publish(manager, class_index);
    return USHER_OK;
}

usher_status_t usher_manager_endpoint(usher_manager_t *manager, uint32_t index,
                                      usher_endpoint_info_t *info) {
    if (index >= USHER_ENDPOINTS_MAX || !usher_bit(manager->endpoints, index)) {
        return USHER_NOT_FOUND;
    }
    const usher_endpoint_record_t *record = &manager->table->endpoints[index];
    uint32_t class_index = atomic_load(&record->class_index);
    *info = (usher_endpoint_info_t){
        .ref = {.index = index, .generation = atomic_load(&record->generation)},
        .class_ref = {.index = class_index,
                      .generation = atomic_load(&manager->table->classes[class_index].generation)},
        .state = (usher_endpoint_state_t)atomic_load(&record->state),
        .concurrency = atomic_load(&record->concurrency),
        .pid = atomic_load(&record->pid),
        .address = {.kind = (usher_address_kind_t)record->address_kind,
                    .length = record->address_length},
    };
    memcpy(info->address.bytes, record->address, sizeof(info->address.bytes));
    return USHER_OK;
}

usher_status_t usher_manager_in_flight(usher_manager_t *manager, usher_ref_t ref,
                                       uint32_t *in_flight) {
    if (!usher_endpoint_of(manager, ref)) {
        return USHER_STALE;
    }
    *in_flight = usher_sum_cells(manager, ref.index);
    return USHER_OK;
}

usher_status_t usher_manager_served(usher_manager_t *manager, usher_ref_t ref, uint64_t *served) {
    if (!usher_endpoint_of(manager, ref)) {
        return USHER_STALE;
    }
    *served = atomic_load(&manager->places->places[ref.index].served);
    return USHER_OK;
}

usher_status_t usher_manager_unreached(usher_manager_t *manager, usher_ref_t ref,
                                       uint32_t *unreached) {
    if (!usher_endpoint_of(manager, ref)) {
        return USHER_STALE;
    }
    *unreached = atomic_load(&manager->places->places[ref.index].unreached);
    return USHER_OK;
}

/* ---- after a manager's death ------------------------------------------------------------- */

static bool is_linked(usher_manager_t *manager, uint32_t class_index, uint64_t entry) {
    uint32_t index = (uint32_t)entry - 1;
    if (index >= USHER_ENDPOINTS_MAX || usher_bit(manager->endpoints, index)) {
        return false;
    }
    const usher_endpoint_record_t *record = &manager->table->endpoints[index];
    return atomic_load(&record->generation) == (uint32_t)(entry >> 32) &&
           is_endpoint_state((usher_endpoint_state_t)atomic_load(&record->state)) &&
           atomic_load(&record->class_index) == class_index;
}

void usher_endpoints_recover(usher_manager_t *manager, uint32_t class_index) {
    usher_class_record_t *record = &manager->table->classes[class_index];
    for (uint32_t slot = 0; slot < USHER_CLASS_ENDPOINTS_MAX; slot++) {
        uint64_t entry = atomic_load(&record->endpoints[slot]);
        if (entry == 0) {
            continue;
        }
        if (is_linked(manager, class_index, entry)) {
            usher_set_bit(manager->endpoints, (uint32_t)entry - 1, true);
        } else {
            atomic_store(&record->endpoints[slot], 0);
        }
    }
    store_slot_count(record);
    uint32_t sequence = atomic_load(&record->reason_sequence);
    if (sequence % 2 != 0) { /* its reason was being written: readers may have it as it is */
        record->reason[USHER_REASON_MAX - 1] = '\0';
        atomic_store(&record->reason_sequence, sequence + 1);
    }
}
