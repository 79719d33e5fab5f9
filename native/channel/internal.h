/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the channel library share with each other and with nobody else.
 *
 *   error.c bytes.c map.c channel.c           files, mappings, copies of shared bytes
 *   lock.c ring.c workers.c own.c             one server's cells
 *   places.c kept.c hung.c load.c doorbell.c  counting, load data, waking the manager
 *   gate.c turn.c                             waiting: how many, asleep, and whose turn it is
 *   find.c choose.c verdict.c request.c       a request on its way
 *   refused.c                                 what is told to clients of those that are refused
 *   sample.c look.c                           what all of a server's workers counted, for readers
 *   manager.c classes.c endpoints.c buckets.c     the manager's side: the table,
 *   servers.c totals.c timeouts.c hints.c         and what workers write
 */
#ifndef USHER_CHANNEL_INTERNAL_H
#define USHER_CHANNEL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "channel/channel.h"
#include "channel/layout.h"

/* A place where a worker may be killed or stopped between two writes to shared memory. Tests define
 * it before they include the sources; in the product it is nothing. */
#ifndef USHER_STEP
#define USHER_STEP(name) ((void)0)
#endif

#define USHER_MS_NS 1000000ull
#define USHER_LOCK_WAIT_NS (1000 * USHER_MS_NS)
#define USHER_MANAGER_SILENT_NS (3000 * USHER_MS_NS) /* then nobody answers */
/* Compare-and-swaps of a word that honest workers change now and then: who fails as often as that is
 * up against somebody who writes it all the time. */
#define USHER_TRIES_MAX 1000u

/* What a worker counts, where nobody else can write (own.c). */
typedef struct {
    _Atomic uint64_t counts[USHER_ENDPOINTS_MAX];
    _Atomic uint64_t waiting[USHER_CLASSES_MAX];
    _Atomic uint64_t kept[USHER_ENDPOINTS_MAX];
    _Atomic uint32_t has_kept; /* was any of `kept` ever counted? */
    uint32_t generation;
    /* Where the next search for an endpoint begins; not beside what threads only read. */
    _Atomic uint32_t rotation;
} usher_own_t;

struct usher_channel {
    const usher_table_t *table; /* mapped read-only */
    usher_places_t *places;
    usher_cells_t *cells;
    char *runtime_dir;
    char server[USHER_SERVER_NAME_MAX];
    uint64_t server_id;
    char socket_dir[USHER_ADDRESS_MAX]; /* <runtime dir>/<server>/ */
    size_t socket_dir_length;
    /* of this process, since it attached */
    usher_worker_record_t *worker; /* NULL = not attached */
    usher_own_t *own;
    uint32_t slot;
    int live_fd; /* its open file description owns the lock on byte `slot` */
    bool may_block;
    uint32_t unknown_timeout_ms; /* longest wait for the manager to know a class; 0 = no limit */
    uint32_t bell;               /* 0 = that of the sleeping threads */
    uint64_t slept_ns;           /* when it rang last */
    _Atomic uint32_t recounted;  /* the table's `recount` that was heeded */
    /* the lock (lock.c): of this process's threads one at a time is at it */
    pthread_mutex_t lock_mutex;
    uint32_t lock_word, lock_number; /* as this process has it, or had it last */
    uint32_t lock_seen;              /* another's, since when */
    uint64_t lock_seen_ns;
    /* the thread that recounts while no request comes */
    pthread_t watcher;
    pid_t watch_pid; /* whose it is; 0 = there is none */
    _Atomic bool watch_ends, watch_ended;
};

/* ---- error.c ----------------------------------------------------------------------------- */

/* Fill `error` (may be NULL) and return `status`. For SYSTEM, errno_value's text is appended. */
usher_status_t usher_fail(usher_error_t *error, usher_status_t status, int errno_value,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* ---- bytes.c ----------------------------------------------------------------------------- */

/*
 * Copies and comparisons of bytes that another process may be writing at the same moment, one 64-bit
 * word at a time. `shared` is aligned to 8 and its size a multiple of 8. Whether what was read
 * belongs together is for the caller to find out, by a generation or a sequence number that it reads
 * before and after: a writer changes that number first, so who sees one of the new words, stored
 * with release and loaded with acquire, sees the new number as well when it reads it afterwards.
 */
void usher_shared_read(void *copy, const void *shared, size_t bytes); /* rounds `bytes` up to 8 */
void usher_shared_write(void *shared, const void *source, size_t bytes); /* pads with 0 up to 8 */
bool usher_shared_equal(const void *shared, const char *bytes, size_t length);

/* The same for one field that is not declared _Atomic. */
#define USHER_SHARED_LOAD(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define USHER_SHARED_STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

/* A seq_cst fence, for where a compare-and-swap or the like stands just before it: on x86 that is a
 * fence by itself, whichever word it is for and whether it succeeds, and only the compiler is told. */
static inline void usher_fence_after_swap(void) {
#if defined(__x86_64__)
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* −1, or nothing when it is 0 already: whoever repairs a count may have been faster. */
void usher_count_down(_Atomic uint32_t *count);
/* Make it `least` where it is less. */
void usher_count_up_to(_Atomic uint32_t *count, uint32_t least);
/* For who is woken by words that anybody may write as often as he likes: sleep until `rest_ns` have
 * passed since `*since_ns`, the last time, so that waking goes on and never takes a whole processor. */
void usher_rest(uint64_t *since_ns, uint64_t rest_ns);

/* ---- map.c ------------------------------------------------------------------------------- */

/* A worker's: map a file of <runtime dir>/channel/, creating it when missing. The table is mapped
 * for reading only. */
usher_status_t usher_map_table(const char *runtime_dir, usher_table_t **table,
                               usher_error_t *error);
usher_status_t usher_map_places(const char *runtime_dir, usher_places_t **places,
                                usher_error_t *error);
usher_status_t usher_map_cells(const char *runtime_dir, const char *server, usher_cells_t **cells,
                               usher_error_t *error);
/* The manager's: map a file that somebody opened for reading and writing; `runtime_dir` is for
 * messages. CORRUPT, VERSION: it is another one. The descriptor stays the caller's. */
usher_status_t usher_map_table_from(int fd, const char *runtime_dir, usher_table_t **table,
                                    usher_error_t *error);
usher_status_t usher_map_places_from(int fd, const char *runtime_dir, usher_places_t **places,
                                     usher_error_t *error);
usher_status_t usher_map_cells_from(int fd, const char *runtime_dir, const char *server,
                                    usher_cells_t **cells, usher_error_t *error);
void usher_unmap(const void *mapping, size_t bytes); /* NULL is allowed */

/* INVALID unless `runtime_dir` and `server` make paths that fit. */
usher_status_t usher_check_names(const char *runtime_dir, const char *server, usher_error_t *error);

/* ---- lock.c ------------------------------------------------------------------------------ */

/* Take the server's lock. `wait_ns` 0: AGAIN when somebody holds it; else TIMEOUT when somebody
 * still does after that time. */
usher_status_t usher_lock_take(usher_channel_t *channel, uint64_t wait_ns);
void usher_lock_release(usher_channel_t *channel);
/* After claiming a slot: give back what its former worker may have held when it died. */
void usher_lock_inherit(usher_channel_t *channel);

/* ---- ring.c ------------------------------------------------------------------------------ */

/* Enter a start request unless the key is in the ring already. OK, with `entered` telling which;
 * FULL; AGAIN or TIMEOUT for the lock. */
usher_status_t usher_ring_enter(usher_channel_t *channel, const char *key, uint32_t key_length,
                                uint64_t now_ns, bool *entered);

/* ---- workers.c --------------------------------------------------------------------------- */

/* How many worker records may be looked at; whatever the header says. */
uint32_t usher_worker_slots(const usher_cells_t *cells);
/* Give back what a dead worker counts. The caller holds the lock on its byte. */
void usher_worker_settle(usher_cells_t *cells, usher_places_t *places, uint32_t slot);
/* Was a class of this group ever counted in the slot? */
static inline bool usher_worker_knows_group(const usher_worker_record_t *worker,
                                            uint32_t class_index) {
    uint32_t group = class_index / USHER_GROUP_CLASSES;
    return atomic_load_explicit(&worker->groups[group / 64], memory_order_acquire) >> (group % 64) &
           1;
}

/* ---- own.c ------------------------------------------------------------------------------- */

/* A request more (`up`) or less at the endpoint, a kept connection there, or a request waiting for
 * the class. */
void usher_own_count_place(usher_channel_t *channel, uint32_t endpoint_index, bool up);
void usher_own_count_kept(usher_channel_t *channel, uint32_t endpoint_index, bool up);
void usher_own_count_waiting(usher_channel_t *channel, uint32_t class_index, bool up);
/* Does this worker keep a connection there? */
static inline bool usher_own_keeps(const usher_channel_t *channel, uint32_t endpoint_index) {
    return (uint32_t)atomic_load_explicit(&channel->own->kept[endpoint_index],
                                          memory_order_relaxed) > 0;
}
/* Requests of this worker that wait for the class. */
uint32_t usher_own_waiting(const usher_channel_t *channel, uint32_t class_index);
/* Store anew what this worker counts and what the manager reads of it beside. Any thread. */
void usher_worker_recount(usher_channel_t *channel);
void usher_recount_when_asked(usher_channel_t *channel);
void usher_worker_unwatch(usher_channel_t *channel);

/* The count of a cell; of one that cannot be, 1: somebody may be there. */
static inline uint32_t usher_counted(uint64_t cell) {
    return (uint32_t)cell <= USHER_COUNT_MAX ? (uint32_t)cell : 1;
}

/* ---- places.c ---------------------------------------------------------------------------- */

/* OK; FULL: no place free; STALE: gone or not to be used now. */
usher_status_t usher_place_take(usher_channel_t *channel, usher_ref_t endpoint);
void usher_place_release(usher_channel_t *channel, uint32_t endpoint_index);
/* A request that held a place there has ended; before its release. */
void usher_place_count_served(usher_channel_t *channel, uint32_t endpoint_index);
void usher_place_count_unreached(usher_channel_t *channel, uint32_t endpoint_index);
/* Give back what a dead worker counts in `own` of what all count in `shared`. */
void usher_count_give_back(_Atomic uint32_t *shared, _Atomic uint64_t *own);

/* ---- hung.c ------------------------------------------------------------------------------ */

/* A request was given up there that its program goes on with; before its release. */
void usher_hung_count(usher_channel_t *channel, usher_ref_t endpoint, uint32_t kind);
/* Must no place of the endpoint be lent? */
static inline bool usher_is_hung(const usher_channel_t *channel, uint32_t endpoint_index) {
    uint32_t instance = atomic_load(&channel->table->endpoints[endpoint_index].instance);
    return atomic_load(&channel->places->places[endpoint_index].hung) == instance;
}
/* What a worker's cell counts of the timeouts at one instance. */
uint32_t usher_timeouts_at(const usher_worker_record_t *worker, uint32_t endpoint_index,
                           uint32_t instance);

/* ---- gate.c ------------------------------------------------------------------------------ */

/* Enter the queue of the request's class unless `limit` requests wait; `*waiting` tells how many.
 * `ready`: the class has a ready instance. */
bool usher_queue_enter(usher_channel_t *channel, usher_request_t *request, bool ready,
                       uint32_t limit, uint64_t now_ns, uint32_t *waiting);
void usher_queue_leave(usher_channel_t *channel, usher_request_t *request);
/* Make the manager look at the class. */
void usher_gate_ring(usher_channel_t *channel, uint32_t class_index);
/* Wake up to `count` sleeping threads. */
void usher_gate_wake(usher_places_t *places, uint32_t class_index, int count);

/* ---- turn.c ------------------------------------------------------------------------------ */

uint32_t usher_bell_number(uint64_t server_id, uint32_t slot);
/* Call another worker by its bell, whatever number that is. */
void usher_bell_ring(usher_channel_t *channel, uint32_t bell);
/* The request looked for a place in vain: let it be known when it is the eldest. */
void usher_turn_ask(usher_channel_t *channel, const usher_request_t *request);
void usher_turn_leave(usher_channel_t *channel, const usher_request_t *request);
/* A place is free: must the request leave it to somebody else, who was told? */
bool usher_turn_is_anothers(usher_channel_t *channel, usher_request_t *request, uint64_t now_ns);
/* A place was given back: tell whose turn it is. */
void usher_turn_call(usher_channel_t *channel, uint32_t class_index);

/* ---- load.c ------------------------------------------------------------------------------ */

/* Mark that the class is counted in this slot from now on. */
void usher_load_know(usher_channel_t *channel, uint32_t class_index);
/* A request came, and got its place after `waited_us`; or both at the same look. */
void usher_load_arrived(usher_channel_t *channel, uint32_t class_index);
void usher_load_admitted(usher_channel_t *channel, uint32_t class_index, uint64_t waited_us);
void usher_load_admitted_at_once(usher_channel_t *channel, uint32_t class_index);
void usher_load_refused(usher_channel_t *channel, uint32_t class_index);
void usher_load_aborted(usher_channel_t *channel, uint32_t class_index);
void usher_load_served(usher_channel_t *channel, uint32_t class_index, usher_outcome_t outcome,
                       uint64_t serving_us);
/* Tell the manager's next look that something about the class changed. */
void usher_load_touch(usher_channel_t *channel, uint32_t class_index);

/* ---- sample.c ---------------------------------------------------------------------------- */

/* The counters of one load record, or sums of them. They wrap: only differences mean something. */
typedef struct {
    uint32_t counters[USHER_COUNTERS]; /* arrivals … refused, then the two histograms */
    uint64_t waiting_us, serving_us;
} usher_sample_t;

/* What `slots` worker records of a server hold of a class's index. Free slots count as well: what
 * their dead workers did is still there. False: nothing was ever counted, the sums are 0. */
bool usher_sample_take(const usher_cells_t *cells, uint32_t slots, uint32_t class_index,
                       usher_sample_t *sum);
void usher_sample_subtract(usher_sample_t *now, const usher_sample_t *before);
/* Store what an index holds as the base of the class of that generation. */
void usher_base_store(usher_cells_t *cells, uint32_t slots, uint32_t class_index,
                      uint32_t generation);
/* False: there is none for the class of that generation. */
bool usher_base_read(const usher_cells_t *cells, uint32_t class_index, uint32_t generation,
                     usher_sample_t *base);

/* ---- doorbell.c -------------------------------------------------------------------------- */

void usher_doorbell_ring(usher_places_t *places);

/* ---- find.c ------------------------------------------------------------------------------ */

/* The class of `key` as this server sees it; {0, 0} when there is none. */
usher_ref_t usher_find_class(const usher_table_t *table, uint64_t server_id, const char *key,
                             uint32_t key_length);
/* Does the reference still mean the class it was given for? */
static inline bool usher_class_is_current(const usher_table_t *table, usher_ref_t class_ref) {
    return class_ref.generation != 0 &&
           atomic_load(&table->classes[class_ref.index].generation) == class_ref.generation;
}

/* ---- choose.c ---------------------------------------------------------------------------- */

/* The endpoints of a class at one look. */
typedef struct {
    uint32_t ready;    /* READY ones */
    uint32_t starting; /* STARTING ones */
    uint32_t open;     /* of those that may be used now, not avoided by the request */
    uint32_t places;   /* places of the READY ones */
} usher_survey_t;

/* The least loaded one with a free place; {0, 0} = none. */
usher_ref_t usher_survey(const usher_channel_t *channel, const usher_request_t *request,
                         usher_survey_t *survey);

/* The address of an endpoint. STALE: it is gone; INVALID: unusable (too long). */
usher_status_t usher_endpoint_address(const usher_channel_t *channel, usher_ref_t endpoint,
                                      struct sockaddr_storage *address, socklen_t *length);

/* ---- verdict.c --------------------------------------------------------------------------- */

typedef struct {
    uint32_t state; /* usher_class_state_t */
    uint32_t status;
    uint32_t retry_after_s;
    char reason[USHER_REASON_MAX];
} usher_verdict_t;

/* A copy whose parts belong together. False: it is being written all the time. */
bool usher_verdict_read(const usher_class_record_t *record, usher_verdict_t *verdict);
/* Has the manager beaten lately? */
bool usher_manager_answers(const usher_channel_t *channel, uint64_t now_ns);

/* End the request with a verdict: leaves the queue, counts it. Returns REFUSED. */
usher_status_t usher_refuse(usher_channel_t *channel, usher_request_t *request, uint64_t now_ns,
                            int status, uint32_t retry_after_s, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* The manager's own verdict on a class. STALE: it is not FAILED or REFUSED any more. */
bool usher_verdict_is_over(const usher_channel_t *channel, uint32_t class_index, uint64_t now_ns);
usher_status_t usher_refuse_as_told(usher_channel_t *channel, usher_request_t *request,
                                    uint64_t now_ns);
/* Has the request waited long enough? AGAIN: no, request->deadline_ns says until when it may. */
usher_status_t usher_check_deadline(usher_channel_t *channel, usher_request_t *request,
                                    const usher_survey_t *survey, uint64_t now_ns);
/* The same while its class is unknown. */
usher_status_t usher_check_unknown_deadline(usher_channel_t *channel, usher_request_t *request,
                                            uint64_t now_ns);

#endif
