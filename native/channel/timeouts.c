/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager believes of hung instances: only what cells say, and not every server's. */
#include "channel/manager_internal.h"

/* Dead workers count as well: what they gave up may hang still. */
static uint32_t sum_server(const usher_attached_t *server, uint32_t endpoint_index,
                           uint32_t instance) {
    uint64_t sum = 0;
    uint32_t slots = usher_server_slots(server);
    for (uint32_t slot = 0; slot < slots; slot++) {
        sum += usher_timeouts_at(&server->cells->workers[slot], endpoint_index, instance);
    }
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* Nobody can be blamed by a server whose requests never get there. */
static bool may_use(const usher_attached_t *server, const usher_class_record_t *class_record) {
    return class_record->server_id == 0 || class_record->server_id == server->id;
}

static const usher_class_record_t *class_of(usher_manager_t *manager, uint32_t endpoint_index) {
    uint32_t class_index = atomic_load(&manager->table->endpoints[endpoint_index].class_index);
    return &manager->table->classes[class_index];
}

static uint32_t sum_timeouts(usher_manager_t *manager, uint32_t endpoint_index) {
    const usher_class_record_t *class_record = class_of(manager, endpoint_index);
    uint32_t instance = atomic_load(&manager->table->endpoints[endpoint_index].instance);
    uint64_t kept = manager->timed_out[endpoint_index];
    uint64_t sum = (uint32_t)(kept >> 32) == instance ? (uint32_t)kept : 0;
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        const usher_attached_t *server = manager->servers[i];
        if (server && may_use(server, class_record)) {
            sum += sum_server(server, endpoint_index, instance);
        }
    }
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

void usher_timeouts_detach(usher_manager_t *manager, const usher_attached_t *server) {
    for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX; i++) {
        if (!usher_bit(manager->endpoints, i) || !may_use(server, class_of(manager, i))) {
            continue;
        }
        uint32_t instance = atomic_load(&manager->table->endpoints[i].instance);
        if (sum_server(server, i, instance) > 0) {
            manager->timed_out[i] = (uint64_t)instance << 32 | sum_timeouts(manager, i);
        }
    }
}

usher_status_t usher_manager_hung(usher_manager_t *manager, usher_ref_t ref, uint32_t *count) {
    if (!usher_endpoint_of(manager, ref)) {
        return USHER_STALE;
    }
    *count = sum_timeouts(manager, ref.index);
    return USHER_OK;
}

void usher_repair_hung(usher_manager_t *manager, uint32_t endpoint_index, uint32_t *wrong) {
    _Atomic uint32_t *hung = &manager->places->places[endpoint_index].hung;
    uint32_t instance = atomic_load(&manager->table->endpoints[endpoint_index].instance);
    uint32_t mark = atomic_load(hung); /* before the cells: hung.c */
    bool hangs = class_of(manager, endpoint_index)->kind != USHER_KIND_EXTERNAL &&
                 sum_timeouts(manager, endpoint_index) > 0;
    if ((mark == instance) != hangs) {
        *wrong += atomic_compare_exchange_strong(hung, &mark, hangs ? instance : 0);
    }
}
