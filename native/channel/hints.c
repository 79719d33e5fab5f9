/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager sees to it that what workers share is right again, whatever happened to it.
 *
 * Cells are kept right by their workers (own.c): the manager asks for a recount when it found a value
 * there that cannot be, when a worker died, and once in RECOUNT_NS anyway. Hints (places, gates, marks
 * of hung instances) it compares with the cells itself, once in AUDIT_NS. So no lie lasts longer than
 * both, unless it is told again and again.
 */
#include <limits.h>

#include "channel/manager_internal.h"
#include "os/os.h"

#define AUDIT_NS (500 * USHER_MS_NS)
#define RECOUNT_NS (10000 * USHER_MS_NS)

/* ---- what cells say ---------------------------------------------------------------------- */

static uint32_t counted(usher_manager_t *manager, usher_attached_t *server, uint32_t slot,
                        const _Atomic uint64_t *cell) {
    uint64_t value = atomic_load(cell);
    if ((uint32_t)value > USHER_COUNT_MAX) {
        usher_note_damage(manager, server, slot, USHER_DAMAGED_COUNT);
    }
    return usher_counted(value);
}

uint32_t usher_sum_cells(usher_manager_t *manager, uint32_t endpoint_index) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        usher_attached_t *server = manager->servers[i];
        uint32_t slots = server ? usher_server_slots(server) : 0;
        for (uint32_t slot = 0; slot < slots; slot++) {
            if (usher_slot_counts(server, slot)) {
                sum += counted(manager, server, slot,
                               &server->cells->workers[slot].counts[endpoint_index]);
            }
        }
    }
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

uint32_t usher_sum_kept(usher_manager_t *manager, uint32_t endpoint_index) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        usher_attached_t *server = manager->servers[i];
        uint32_t slots = server ? usher_server_slots(server) : 0;
        for (uint32_t slot = 0; slot < slots; slot++) {
            const usher_worker_record_t *worker = &server->cells->workers[slot];
            if (usher_slot_counts(server, slot) && atomic_load(&worker->has_kept) != 0) {
                sum += counted(manager, server, slot, &worker->kept[endpoint_index]);
            }
        }
    }
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

uint32_t usher_sum_waiting(usher_manager_t *manager, uint32_t class_index) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        usher_attached_t *server = manager->servers[i];
        uint32_t slots = server ? usher_server_slots(server) : 0;
        for (uint32_t slot = 0; slot < slots; slot++) {
            const usher_worker_record_t *worker = &server->cells->workers[slot];
            if (usher_slot_counts(server, slot) && usher_worker_knows_group(worker, class_index)) {
                sum += counted(manager, server, slot, &worker->load[class_index].waiting);
            }
        }
    }
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* ---- repairing hints --------------------------------------------------------------------- */

/*
 * A hint is wrong when it counts more than the cells. Whoever is counted in a hint was counted in
 * its cell before and will be until it has left the hint. So when the hint reads v first and all
 * cells read less after that, requests in v have given their places back meanwhile, and either the
 * hint has changed or as many others came: they must have come after their cells were looked at.
 *
 * Where all cells read 0, seeing that twice, with the same v before, between and at the compare-and-
 * swap, takes two such coincidences within microseconds; then the hint becomes too low by what runs
 * now, which lets in as many requests too many at worst and is right again when they have left (− 1
 * saturates). A hint that is really wrong stays v and is repaired.
 *
 * Above `limit` nobody comes at all: there v is wrong for certain, however much the cells count.
 */
static bool repair(usher_manager_t *manager, _Atomic uint32_t *hint, uint32_t limit, uint32_t index,
                   uint32_t (*sum)(usher_manager_t *, uint32_t)) {
    uint32_t wrong = atomic_load(hint);
    uint32_t right = wrong;
    for (uint32_t look = 0; look < 2; look++) {
        uint32_t now = wrong > 0 ? sum(manager, index) : 0;
        right = now < right ? now : right;
        if (now >= wrong || (now > 0 && wrong <= limit) || atomic_load(hint) != wrong) {
            return false;
        }
    }
    if (!atomic_compare_exchange_strong(hint, &wrong, right)) {
        return false;
    }
    if (wrong > limit) {
        usher_note_damage(manager, NULL, index, USHER_DAMAGED_HINT);
    }
    return true;
}

void usher_repair_gate(usher_manager_t *manager, uint32_t class_index, uint32_t *wrong) {
    usher_class_gate_t *gate = &manager->places->gates[class_index];
    *wrong += repair(manager, &gate->waiting, USHER_COUNT_MAX, class_index, usher_sum_waiting);
    /* who sleeps, waits; too low costs a sleeper the end of its slice (gate.c) */
    *wrong += repair(manager, &gate->sleepers, USHER_COUNT_MAX, class_index, usher_sum_waiting);
}

uint32_t usher_manager_repair_hints(usher_manager_t *manager, usher_ref_t class_ref) {
    const usher_class_record_t *record = usher_class_of(manager, class_ref);
    uint32_t wrong = 0;
    if (!record) {
        return 0;
    }
    usher_repair_gate(manager, class_ref.index, &wrong);
    uint32_t slots = atomic_load(&record->endpoint_slots);
    for (uint32_t slot = 0; slot < slots; slot++) {
        uint32_t index;
        if (usher_class_endpoint(record, slot, &index)) {
            uint32_t places = atomic_load(&manager->table->endpoints[index].concurrency);
            usher_place_t *place = &manager->places->places[index];
            wrong += repair(manager, &place->in_use, places, index, usher_sum_cells);
            wrong += repair(manager, &place->kept, places, index, usher_sum_kept);
            usher_repair_hung(manager, index, &wrong);
        }
    }
    return wrong;
}

/* ---- damage ------------------------------------------------------------------------------ */

void usher_note_damage(usher_manager_t *manager, usher_attached_t *server, uint32_t where,
                       usher_damage_kind_t what) {
    usher_damage_t *damage = server ? &server->damage : &manager->damage;
    *damage = (usher_damage_t){.times = damage->times + 1, .where = where, .what = what};
    manager->wants_recount = true;
}

usher_damage_t usher_manager_damage(usher_manager_t *manager, uint32_t handle) {
    usher_damage_t none = {.times = 0};
    usher_damage_t *damage = &manager->damage;
    if (handle != USHER_NO_SERVER) {
        if (handle >= USHER_SERVERS_MAX || !manager->servers[handle]) {
            return none;
        }
        damage = &manager->servers[handle]->damage;
    }
    usher_damage_t found = *damage;
    *damage = none;
    return found;
}

static void recount(usher_manager_t *manager, uint64_t now_ns) {
    _Atomic uint32_t *asked = &manager->table->header.recount;
    manager->wants_recount = false;
    manager->recounted_ns = now_ns;
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        if (manager->servers[i]) {
            manager->servers[i]->entries_left = 1; /* look at its start requests as well */
        }
    }
    atomic_fetch_add(asked, 1);
    usher_os_futex_wake(asked, INT_MAX);
}

void usher_audit(usher_manager_t *manager) {
    uint64_t now_ns = usher_os_now_ns();
    if (now_ns - manager->audited_ns < AUDIT_NS) {
        return;
    }
    manager->audited_ns = now_ns;
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (usher_bit(manager->classes, i)) {
            uint32_t generation = atomic_load(&manager->table->classes[i].generation);
            usher_manager_repair_hints(manager, (usher_ref_t){i, generation});
        }
    }
    if (manager->wants_recount || now_ns - manager->recounted_ns >= RECOUNT_NS) {
        recount(manager, now_ns);
    }
}
