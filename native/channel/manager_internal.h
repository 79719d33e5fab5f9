/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager's files of the channel library share. */
#ifndef USHER_CHANNEL_MANAGER_INTERNAL_H
#define USHER_CHANNEL_MANAGER_INTERNAL_H

#include "channel/internal.h"
#include "channel/manager.h"

#define USHER_SERVERS_MAX 64u /* attached at once */

/* What a class has counted since it was published. */
typedef struct {
    uint64_t counters[USHER_COUNTERS];
    uint64_t waiting_us, serving_us;
} usher_totals_t;

/* A server whose cells are mapped. */
typedef struct {
    char name[USHER_SERVER_NAME_MAX];
    uint64_t id; /* usher_hash(name) */
    usher_cells_t *cells;
    int live_fd;
    /* start requests: what the ring's `asked` was at the last look, entries that a pass found and
     * that were not finished, how many more may be given out by when */
    uint32_t asked, entries_left, allowance;
    uint64_t allowed_ns;
    /* workers: slots ever in use, those whose byte was locked at the last look, those that were then
     * marked free all the same */
    uint32_t slots, slots_said;
    uint64_t living[USHER_WORKERS_MAX / 64];
    uint64_t unmarked[USHER_WORKERS_MAX / 64];
    uint32_t damages; /* as its workers counted at the last look */
    usher_damage_t damage;
    usher_sample_t *seen[USHER_CLASSES_MAX]; /* what totals hold of it already; NULL = nothing */
} usher_attached_t;

struct usher_manager {
    usher_table_t *table;
    usher_places_t *places;
    char *runtime_dir;
    _Atomic uint32_t heard; /* value of the doorbell that was dealt with */
    _Atomic bool interrupted;
    _Atomic uint64_t rest_until_ns; /* until then only rings and counts end a wait */
    pthread_mutex_t servers_mutex;  /* to change `servers`; for the waiting thread to read it */
    /* Bit = record in use. Kept here so that unused records are never looked at: reading a hole of
     * a tmpfs file allocates the page. */
    uint64_t classes[USHER_CLASSES_MAX / 64];
    uint64_t endpoints[USHER_ENDPOINTS_MAX / 64];
    uint64_t changed[USHER_CLASSES_MAX / 64]; /* classes to be reported as changed */
    uint64_t full[USHER_CLASSES_MAX / 64];    /* requests that wait for these need not ring */
    uint32_t changed_next;                    /* where the next report begins */
    usher_attached_t *servers[USHER_SERVERS_MAX];
    usher_totals_t *totals[USHER_CLASSES_MAX]; /* NULL = nothing yet */
    uint64_t timed_out[USHER_ENDPOINTS_MAX];   /* said by detached servers, as in their cells */
    usher_damage_t damage;                     /* of places */
    bool wants_recount;
    uint64_t audited_ns, recounted_ns;
};

static inline bool usher_bit(const uint64_t *bits, uint32_t index) {
    return bits[index / 64] >> (index % 64) & 1;
}

static inline void usher_set_bit(uint64_t *bits, uint32_t index, bool value) {
    uint64_t bit = UINT64_C(1) << (index % 64);
    bits[index / 64] = value ? bits[index / 64] | bit : bits[index / 64] & ~bit;
}

/* The record of a reference, NULL when it is stale. */
usher_class_record_t *usher_class_of(usher_manager_t *manager, usher_ref_t ref);
usher_endpoint_record_t *usher_endpoint_of(usher_manager_t *manager, usher_ref_t ref);

/* A change is in the table: wake everybody who waits for one. */
void usher_publish(usher_manager_t *manager, uint32_t class_index);
void usher_publish_to_all(usher_manager_t *manager);
/* The next number of a generation counter; never 0. */
uint32_t usher_next_generation(_Atomic uint32_t *counter);

/* buckets.c */
bool usher_bucket_find(const usher_table_t *table, const usher_class_identity_t *identity,
                       uint64_t hash);
void usher_bucket_insert(usher_table_t *table, uint32_t class_index);
void usher_bucket_remove(usher_table_t *table, uint32_t class_index);
/* After a manager's death: fill manager->classes, undo changes that were not finished. */
void usher_buckets_recover(usher_manager_t *manager);

/* endpoints.c */
void usher_endpoints_recover(usher_manager_t *manager, uint32_t class_index);
/* The endpoint's index in one of the class's slots; false when there is none. */
bool usher_class_endpoint(const usher_class_record_t *record, uint32_t slot, uint32_t *index);

/* timeouts.c */
/* Keep what a server said that is about to be detached. */
void usher_timeouts_detach(usher_manager_t *manager, const usher_attached_t *server);
void usher_repair_hung(usher_manager_t *manager, uint32_t endpoint_index, uint32_t *wrong);

/* totals.c */
/* Forget what a record's former class counted. */
void usher_totals_restart(usher_manager_t *manager, uint32_t class_index);
/* The same for those who read without a manager: before the class of this generation is published. */
void usher_bases_begin(usher_manager_t *manager, uint32_t class_index, uint32_t generation);
/* Only count from now on what a newly attached server counts. */
void usher_totals_attach(usher_manager_t *manager, usher_attached_t *server);
/* Keep what a server counted that is about to be detached. */
void usher_totals_detach(usher_manager_t *manager, usher_attached_t *server);
/* Has a worker counted something since usher_manager_changed? Any thread. */
bool usher_is_touched(usher_manager_t *manager);

/* servers.c */
/* Worker records that may be in use, whatever the header says. */
uint32_t usher_server_slots(const usher_attached_t *server);
/* Does what the slot counts belong to the sums? Read before it (places.c). */
bool usher_slot_counts(const usher_attached_t *server, uint32_t slot);

/* hints.c */
/* The cells of all attached servers: requests at an endpoint, connections kept there, requests that
 * wait for a class. */
uint32_t usher_sum_cells(usher_manager_t *manager, uint32_t endpoint_index);
uint32_t usher_sum_kept(usher_manager_t *manager, uint32_t endpoint_index);
uint32_t usher_sum_waiting(usher_manager_t *manager, uint32_t class_index);
void usher_repair_gate(usher_manager_t *manager, uint32_t class_index, uint32_t *wrong);
/* A value that cannot be was found; `server` NULL: in places. */
void usher_note_damage(usher_manager_t *manager, usher_attached_t *server, uint32_t where,
                       usher_damage_kind_t what);
/* What is due of looking after hints and cells. */
void usher_audit(usher_manager_t *manager);

#endif
