/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the channel: what lies where in shared memory. Algorithms are elsewhere (channel.h).
 *
 * Three kinds of file, all in <runtime dir>/channel/, fixed-width fields, indices instead of
 * pointers, no pthread objects (a robust mutex keeps list pointers in itself, so a hostile peer
 * would turn an unlock into a write anywhere):
 *
 *   table            written by the manager only; workers map it read-only
 *   ┌────────┬──────────────────────┬───────────────────┬───────────────────┐
 *   │ header │ buckets (hash → class)│ classes           │ endpoints         │
 *   └────────┴──────────────────────┴───────────────────┴───────────────────┘
 *   places           one word per endpoint and a few per class; written by workers of all servers
 *   ┌────────┬──────────────────────┬───────────────────┐
 *   │ header │ bells, class gates   │ places            │      the header holds the doorbell
 *   └────────┴──────────────────────┴───────────────────┘
 *   <server>.cells   one per server; written by its workers, read by the manager
 *   ┌────────┬──────────────────────┬───────┬───────────────────────────────────────┐
 *   │ header │ start-request ring   │ bases │ workers: counts and load data of each │
 *   └────────┴──────────────────────┴───────┴───────────────────────────────────────┘
 *                                                                     header holds the lock
 *
 * Everything in places and cells is input to whoever reads it: indices, lengths and strings are
 * checked and copied before use. The table is trusted by workers.
 *
 * A file is usable when `version` has been stored (last, release) and all sizes agree with this
 * header. Times are CLOCK_MONOTONIC nanoseconds unless a name ends in another unit.
 */
#ifndef USHER_CHANNEL_LAYOUT_H
#define USHER_CHANNEL_LAYOUT_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/terms.h"

#define USHER_TABLE_MAGIC 0x454c424154485355ull  /* "USHTABLE" */
#define USHER_PLACES_MAGIC 0x4543414c50485355ull /* "USHPLACE" */
#define USHER_CELLS_MAGIC 0x534c4c4543485355ull  /* "USHCELLS" */

#define USHER_BUCKETS 8192u /* power of two, > 2 × classes */

/* ---- table ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t magic;
    _Atomic uint32_t version; /* stored last */
    uint32_t header_bytes;
    uint64_t total_bytes;
    uint32_t classes_max, endpoints_max, class_endpoints_max, buckets;
    _Atomic uint32_t manager_state; /* usher_manager_state_t; writer: manager, launcher */
    _Atomic uint32_t manager_pid;
    _Atomic uint64_t manager_seen_ns;     /* the manager's last look, 0 = never */
    _Atomic uint32_t publication;         /* +1 after every change a waiting worker may care for */
    _Atomic uint32_t endpoint_generation; /* last one given out: generations are never reused */
    _Atomic uint32_t class_generation;
    _Atomic uint32_t recount; /* futex: +1 to make all workers store anew what they count (own.c) */
    _Atomic uint32_t classes_used, endpoints_used; /* highest indices ever in use, + 1 */
} usher_table_header_t;

typedef struct {
    _Atomic uint32_t state;      /* usher_class_state_t */
    _Atomic uint32_t generation; /* of the record; a reference with another one is stale */
    uint32_t kind;               /* usher_kind_t */
    uint32_t key_length;         /* bytes without NUL */
    uint64_t key_hash;           /* usher_hash(key) */
    uint64_t server_id;          /* usher_hash(server name): visible to it only; 0 = to all */
    _Atomic uint32_t flags;
    _Atomic uint32_t queue_limit;        /* requests that may wait in the shims; 0 = none may */
    _Atomic uint32_t queue_timeout_ms;   /* longest wait for a place while ready; 0 = no limit */
    _Atomic uint32_t connect_timeout_ms; /* -appConnTimeout; 0 = until the manager's verdict */
    _Atomic uint32_t idle_timeout_ms;    /* -idle-timeout: no progress; 0 = the host's own */
    _Atomic uint32_t request_timeout_ms; /* whole request; 0 = no limit */
    _Atomic uint32_t verdict_status;     /* HTTP status while FAILED or REFUSED */
    _Atomic uint32_t retry_after_s;      /* for Retry-After while FAILED; 0 = omit */
    _Atomic uint32_t reason_sequence;    /* odd while `reason` is being written */
    _Atomic uint32_t endpoint_slots;     /* slots of `endpoints` to look at: highest used + 1 */
    char reason[USHER_REASON_MAX];       /* NUL-terminated UTF-8, one line */
    char key[USHER_KEY_MAX];             /* NUL-terminated; constant within a generation */
    _Atomic uint64_t
        endpoints[USHER_CLASS_ENDPOINTS_MAX]; /* generation << 32 | index + 1; 0 = none */
} usher_class_record_t;

typedef struct {
    _Atomic uint32_t state; /* usher_endpoint_state_t */
    _Atomic uint32_t generation;
    _Atomic uint32_t class_index;
    _Atomic uint32_t concurrency; /* places, ≥ 1 */
    _Atomic uint32_t pid;         /* of the instance; 0 = external or not running */
    uint32_t address_kind; /* usher_address_kind_t; with the next two constant in a generation */
    uint32_t address_length;
    _Atomic uint32_t instance; /* number of the instance there; another with each one that starts */
    uint8_t address[USHER_ADDRESS_MAX];
    uint8_t pad_end[48];
} usher_endpoint_record_t;

typedef struct {
    usher_table_header_t header;
    uint8_t pad[192 - sizeof(usher_table_header_t)];
    _Atomic uint32_t buckets[USHER_BUCKETS]; /* class index + 1; 0 = end of chain */
    usher_class_record_t classes[USHER_CLASSES_MAX];
    usher_endpoint_record_t endpoints[USHER_ENDPOINTS_MAX];
} usher_table_t;

/* ---- places ------------------------------------------------------------------------------ */

typedef struct {
    uint64_t magic;
    _Atomic uint32_t version;
    uint32_t header_bytes;
    uint64_t total_bytes;
    uint8_t pad[40];
    _Atomic uint32_t doorbell;         /* futex: +1 by a worker when there is something to do */
    _Atomic uint32_t manager_sleeping; /* 1 while the manager waits on the doorbell */
    uint8_t pad_end[56];
} usher_places_header_t;

/* `rung` of a class. */
typedef enum {
    USHER_RUNG_NOT = 0,
    USHER_RUNG = 1,
    USHER_RUNG_NEEDLESS = 2, /* all its instances are ready and there can be no more (gate.c) */
} usher_rung_t;

/* What workers of all servers share about one class. A hint, like a place: the cells are the truth. */
typedef struct {
    _Atomic uint32_t wake;     /* futex: +1 when a place came free or the class changed */
    _Atomic uint32_t sleepers; /* threads in FUTEX_WAIT on `wake` (Apache) */
    _Atomic uint32_t waiting;  /* requests waiting for a place, all workers */
    _Atomic uint32_t
        rung; /* usher_rung_t: was the doorbell rung for it since the manager looked? */
    _Atomic uint64_t eldest; /* of the waiting: µs of its arrival, and its worker's bell (turn.c) */
    _Atomic uint64_t called_us; /* when its bell was rung; 0 = not since it looked */
    uint8_t pad[32];
} usher_class_gate_t;

typedef struct {
    _Atomic uint32_t in_use;    /* requests at the endpoint now */
    _Atomic uint32_t unreached; /* connections that failed there since it was published */
    _Atomic uint64_t served;    /* requests that ended there since it was published */
    _Atomic uint32_t hung;      /* `instance` of the endpoint: no place of it is lent (hung.c) */
    _Atomic uint32_t kept;      /* idle connections that workers keep there (kept.c) */
    _Atomic uint32_t keeper;    /* bell of the one that kept the last; 0 = it has none */
    uint8_t pad_end[36];
} usher_place_t;

typedef struct {
    usher_places_header_t header;
    _Atomic uint32_t bells[USHER_BELLS]; /* futexes: +1 to make a worker look at its line */
    usher_class_gate_t gates[USHER_CLASSES_MAX];
    usher_place_t places[USHER_ENDPOINTS_MAX];
} usher_places_t;

/* ---- cells ------------------------------------------------------------------------------- */

typedef struct {
    uint64_t magic;
    _Atomic uint32_t version;
    uint32_t header_bytes;
    uint64_t total_bytes;
    uint32_t workers_max, start_requests_max;
    _Atomic uint32_t generation; /* of the newest registration; +1 by each registering master */
    _Atomic uint32_t master_pid;
    _Atomic uint32_t lock;  /* futex: 0 free, else its owner (lock.c), | USHER_LOCK_WAITERS */
    _Atomic uint32_t asked; /* +1 for each start request: lets the manager skip the ring */
    _Atomic uint64_t start_requests_refused; /* requests answered 503 because the ring was full */
    _Atomic uint64_t lock_timeouts;          /* requests answered 503 because the lock was held */
    _Atomic uint64_t lock_successions;       /* owners that died holding it */
    char server[USHER_SERVER_NAME_MAX];
    _Atomic uint32_t worker_slots; /* slots ever claimed: no other page of `workers` was touched */
    _Atomic uint32_t damages;      /* counts that their workers found changed by others */
    uint8_t pad[48];
} usher_cells_header_t;

#define USHER_LOCK_WAITERS 0x80000000u /* in `lock`: somebody may be in FUTEX_WAIT on it */

typedef enum {
    USHER_START_FREE = 0,
    USHER_START_WRITING = 1, /* under the lock; else left by a dead owner: used as FREE ones are */
    USHER_START_READY = 2,
} usher_start_request_state_t;

typedef struct {
    _Atomic uint32_t state; /* usher_start_request_state_t; READY → FREE by the manager */
    uint32_t key_length;
    uint64_t key_hash;
    uint64_t entered_ns;
    uint32_t worker; /* slot of the worker that entered it */
    uint32_t pad;
    char key[USHER_KEY_MAX];
} usher_start_request_record_t;

#define USHER_GROUP_CLASSES 16u /* classes in a group: a page of load records */

/* Load data of one class in one worker slot. All but `waiting` only ever grow (and wrap), also when
 * another worker takes over the slot. */
typedef struct {
    _Atomic uint32_t at_once;    /* requests that asked for the class and had a place at once */
    _Atomic uint32_t arrivals;   /* all others that asked for it */
    _Atomic uint32_t finished;   /* released their place after a complete answer */
    _Atomic uint32_t failed;     /* released it after an error of the program */
    _Atomic uint32_t aborted;    /* client left, waiting or served */
    _Atomic uint32_t refused;    /* answered by us: full, failed, timed out waiting */
    _Atomic uint64_t waiting;    /* gauge: requests waiting now, as in `counts` below */
    _Atomic uint64_t waiting_us; /* sum over admitted requests */
    _Atomic uint64_t serving_us; /* sum over finished and failed requests */
    _Atomic uint32_t waiting_histogram[USHER_HISTOGRAM_BUCKETS]; /* admitted, but not at once */
    _Atomic uint32_t serving_histogram[USHER_HISTOGRAM_BUCKETS];
    uint8_t pad_end[16];
} usher_load_record_t;

#define USHER_COUNTERS (6 + 2 * USHER_HISTOGRAM_BUCKETS)

/* What all load records of the server held of a class's index when its class was published, written by
 * the manager: the index had other classes before. Sums as in usher_sample_t (internal.h). */
typedef struct {
    _Atomic uint32_t generation; /* of the class; 0 while this is written, stored last */
    _Atomic uint32_t counters[USHER_COUNTERS]; /* arrivals … refused, then the two histograms */
    uint32_t pad;
    _Atomic uint64_t waiting_us, serving_us;
    uint8_t pad_end[16];
} usher_load_base_t;

typedef enum {
    USHER_WORKER_FREE = 0,
    USHER_WORKER_USED = 1, /* alive while its byte of <server>.live is locked, else to be settled */
} usher_worker_state_t;

typedef struct {
    _Atomic uint32_t state;      /* usher_worker_state_t */
    _Atomic uint32_t generation; /* of the registration it serves */
    _Atomic uint32_t pid;
    _Atomic uint32_t has_timed_out;                   /* 1: look at `timed_out`; never cleared */
    _Atomic uint64_t touched[USHER_CLASSES_MAX / 64]; /* bit = class whose load data changed */
    /* Bit = group of classes of which one was ever counted in this slot; never cleared. Readers
     * look at no other load record: reading a hole of a tmpfs file allocates the page. */
    _Atomic uint64_t groups[USHER_CLASSES_MAX / USHER_GROUP_CLASSES / 64];
    _Atomic uint32_t has_kept; /* 1: look at `kept`; never cleared */
    uint8_t pad_header[220];
    /* Requests of this worker at the endpoint now, in the lower half; above, how often that changed
     * (own.c). */
    _Atomic uint64_t counts[USHER_ENDPOINTS_MAX];
    usher_load_record_t load[USHER_CLASSES_MAX];
    /* Requests that timed out at the endpoint: `instance` << 32 | how many of them there. Stays when
     * the worker dies. */
    _Atomic uint64_t timed_out[USHER_ENDPOINTS_MAX];
    /* Idle connections of this worker to the endpoint, as in `counts`. */
    _Atomic uint64_t kept[USHER_ENDPOINTS_MAX];
} usher_worker_record_t;

typedef struct {
    usher_cells_header_t header;
    usher_start_request_record_t ring[USHER_START_REQUESTS_MAX];
    usher_load_base_t bases[USHER_CLASSES_MAX];
    usher_worker_record_t workers[USHER_WORKERS_MAX];
} usher_cells_t;

/* A change here is a new USHER_LAYOUT_VERSION. */
_Static_assert(sizeof(usher_table_header_t) == 80, "table header");
_Static_assert(offsetof(usher_table_t, buckets) == 192, "buckets");
_Static_assert(offsetof(usher_class_record_t, reason) == 72, "class.reason");
_Static_assert(offsetof(usher_class_record_t, key) == 328, "class.key");
_Static_assert(offsetof(usher_class_record_t, endpoints) == 1352, "class.endpoints");
_Static_assert(sizeof(usher_class_record_t) == 3400, "class record");
_Static_assert(offsetof(usher_endpoint_record_t, address) == 32, "endpoint.address");
_Static_assert(sizeof(usher_endpoint_record_t) == 192, "endpoint record");
_Static_assert(offsetof(usher_places_header_t, doorbell) == 64, "doorbell");
_Static_assert(sizeof(usher_places_header_t) == 128, "places header");
_Static_assert(sizeof(usher_class_gate_t) == 64, "class gate");
_Static_assert(sizeof(usher_place_t) == 64, "place");
_Static_assert(sizeof(usher_cells_header_t) == 192, "cells header");
_Static_assert(sizeof(usher_start_request_record_t) == 1056, "start request record");
_Static_assert(sizeof(usher_load_record_t) == 256, "load record");
_Static_assert(sizeof(usher_load_base_t) == 256, "load base");
_Static_assert(offsetof(usher_worker_record_t, counts) == 512, "worker.counts");
_Static_assert(offsetof(usher_worker_record_t, load) == 512 + 8 * USHER_ENDPOINTS_MAX,
               "worker.load");
_Static_assert(sizeof(usher_worker_record_t) ==
                   offsetof(usher_worker_record_t, load) +
                       USHER_CLASSES_MAX * sizeof(usher_load_record_t) + 16 * USHER_ENDPOINTS_MAX,
               "worker record");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "lock-free atomics");

#endif
