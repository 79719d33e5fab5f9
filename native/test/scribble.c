/* SPDX-License-Identifier: Apache-2.0 */
#include "scribble.h"

#include <string.h>
#include <time.h>

#include "channel/channel.h"

#define CLASSES 64u /* and endpoints: the first ones are those in use */

static uint64_t next_random(scribbler_t *scribbler) {
    uint64_t *state = &scribbler->random;
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint32_t below(scribbler_t *scribbler, uint32_t limit) {
    return (uint32_t)(next_random(scribbler) >> 16) % limit;
}

/* Numbers that are likely to hurt: what is just possible, limits, signs, and anything. */
static uint64_t bad_number(scribbler_t *scribbler) {
    static const uint64_t bad[] = {0,
                                   1,
                                   2,
                                   3,
                                   7,
                                   64,
                                   0x7fffffff,
                                   0x80000000,
                                   0xffffffff,
                                   0xfffffffe,
                                   0xffffffffffffffff,
                                   0x8000000000000000,
                                   USHER_CLASSES_MAX - 1,
                                   USHER_CLASSES_MAX,
                                   USHER_ENDPOINTS_MAX - 1,
                                   USHER_ENDPOINTS_MAX,
                                   USHER_WORKERS_MAX,
                                   USHER_WORKERS_MAX + 1,
                                   USHER_KEY_MAX,
                                   USHER_COUNT_MAX,
                                   USHER_COUNT_MAX + 1,
                                   0x0000000100000001};
    uint64_t value = next_random(scribbler);
    return value % 3 == 0 ? value : bad[value / 3 % (sizeof(bad) / sizeof(bad[0]))];
}

/* Relaxed, so that ThreadSanitizer has nothing to say: what counts is what others make of it. */
static void put_32(_Atomic uint32_t *word, uint64_t value) {
    atomic_store_explicit(word, (uint32_t)value, memory_order_relaxed);
}

static void put_64(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static void fill(scribbler_t *scribbler, void *memory, size_t bytes) {
    uint64_t *word = memory;
    for (size_t i = 0; i < bytes / 8; i++) {
        __atomic_store_n(&word[i], bad_number(scribbler), __ATOMIC_RELAXED);
    }
}

/* ---- what is spared ---------------------------------------------------------------------- */

static bool is_spared(const scribbler_t *scribbler, uint32_t class_index) {
    const usher_class_record_t *record = &scribbler->table->classes[class_index];
    return scribbler->spared && atomic_load(&record->generation) != 0 &&
           strcmp(record->key, scribbler->spared) == 0;
}

/* USHER_CLASSES_MAX when it hit one that is spared. */
static uint32_t any_class(scribbler_t *scribbler) {
    uint32_t class_index = below(scribbler, CLASSES);
    return is_spared(scribbler, class_index) ? USHER_CLASSES_MAX : class_index;
}

static uint32_t any_endpoint(scribbler_t *scribbler) {
    uint32_t index = below(scribbler, CLASSES);
    uint32_t class_index = atomic_load(&scribbler->table->endpoints[index].class_index);
    return is_spared(scribbler, class_index) ? USHER_ENDPOINTS_MAX : index;
}

static usher_worker_record_t *any_worker(scribbler_t *scribbler) {
    return &scribbler->cells->workers[below(scribbler, SCRIBBLE_SLOTS)];
}

/* ---- the moves --------------------------------------------------------------------------- */

static void lock_by_nobody(scribbler_t *scribbler) {
    put_32(&scribbler->cells->header.lock, bad_number(scribbler));
}

static void lock_by_sibling(scribbler_t *scribbler) {
    put_32(&scribbler->cells->header.lock, 1 + below(scribbler, SCRIBBLE_SLOTS));
}

static void headers(scribbler_t *scribbler) {
    usher_cells_header_t *cells = &scribbler->cells->header;
    if (below(scribbler, 2) == 0) {
        fill(scribbler, &scribbler->places->header, 64); /* what says what file it is */
    } else {
        fill(scribbler, cells, 32);
        fill(scribbler, cells->server, sizeof(cells->server));
    }
}

static void counters_of_all(scribbler_t *scribbler) {
    usher_cells_header_t *cells = &scribbler->cells->header;
    put_32(&cells->asked, bad_number(scribbler));
    put_32(&cells->generation, bad_number(scribbler));
    put_64(&cells->start_requests_refused, bad_number(scribbler));
    put_64(&cells->lock_timeouts, bad_number(scribbler));
    put_64(&cells->lock_successions, bad_number(scribbler));
}

static void number_of_slots(scribbler_t *scribbler) {
    put_32(&scribbler->cells->header.worker_slots, bad_number(scribbler));
}

static void who_lives(scribbler_t *scribbler) {
    usher_worker_record_t *worker = any_worker(scribbler);
    put_32(&worker->state, bad_number(scribbler) % 4);
    put_32(&worker->generation, bad_number(scribbler));
    put_32(&worker->pid, bad_number(scribbler));
}

static void counts(scribbler_t *scribbler) {
    uint32_t endpoint = any_endpoint(scribbler);
    if (endpoint < USHER_ENDPOINTS_MAX) {
        put_64(&any_worker(scribbler)->counts[endpoint], bad_number(scribbler));
        put_64(&any_worker(scribbler)->kept[endpoint], bad_number(scribbler));
    }
}

static void waiting(scribbler_t *scribbler) {
    uint32_t class_index = any_class(scribbler);
    if (class_index < USHER_CLASSES_MAX) {
        put_64(&any_worker(scribbler)->load[class_index].waiting, bad_number(scribbler));
    }
}

static void load_data(scribbler_t *scribbler) {
    uint32_t class_index = any_class(scribbler);
    if (class_index < USHER_CLASSES_MAX) {
        fill(scribbler, &any_worker(scribbler)->load[class_index], sizeof(usher_load_record_t));
    }
}

static void bases(scribbler_t *scribbler) {
    fill(scribbler, &scribbler->cells->bases[below(scribbler, CLASSES)], sizeof(usher_load_base_t));
}

static void bits(scribbler_t *scribbler) {
    usher_worker_record_t *worker = any_worker(scribbler);
    put_64(&worker->touched[below(scribbler, USHER_CLASSES_MAX / 64)], bad_number(scribbler));
    put_64(&worker->groups[0], bad_number(scribbler) % 16);
    put_32(&worker->has_timed_out, bad_number(scribbler));
    put_32(&worker->has_kept, bad_number(scribbler));
}

/* As a worker says that an instance hangs. */
static void blame(scribbler_t *scribbler) {
    uint32_t endpoint = any_endpoint(scribbler);
    if (endpoint < USHER_ENDPOINTS_MAX) {
        usher_worker_record_t *worker = any_worker(scribbler);
        uint64_t instance = atomic_load(&scribbler->table->endpoints[endpoint].instance);
        put_32(&worker->has_timed_out, 1);
        put_64(&worker->timed_out[endpoint], instance << 32 | below(scribbler, 3));
    }
}

static void places(scribbler_t *scribbler) {
    uint32_t endpoint = any_endpoint(scribbler);
    if (endpoint < USHER_ENDPOINTS_MAX) {
        usher_place_t *place = &scribbler->places->places[endpoint];
        put_32(&place->in_use, bad_number(scribbler));
        put_32(&place->unreached, bad_number(scribbler));
        put_32(&place->kept, bad_number(scribbler));
        put_32(&place->keeper, bad_number(scribbler));
        put_64(&place->served, bad_number(scribbler));
    }
}

static void hung_marks(scribbler_t *scribbler) {
    uint32_t endpoint = any_endpoint(scribbler);
    if (endpoint < USHER_ENDPOINTS_MAX) {
        put_32(&scribbler->places->places[endpoint].hung,
               atomic_load(&scribbler->table->endpoints[endpoint].instance));
    }
}

static void gates(scribbler_t *scribbler) {
    uint32_t class_index = any_class(scribbler);
    if (class_index < USHER_CLASSES_MAX) {
        usher_class_gate_t *gate = &scribbler->places->gates[class_index];
        put_32(&gate->wake, bad_number(scribbler));
        put_32(&gate->sleepers, bad_number(scribbler));
        put_32(&gate->waiting, bad_number(scribbler));
        put_32(&gate->rung, bad_number(scribbler));
    }
}

/* Somebody older than all, or from the future, whose worker may be anyone. */
static void turns(scribbler_t *scribbler) {
    uint32_t class_index = any_class(scribbler);
    if (class_index < USHER_CLASSES_MAX) {
        usher_class_gate_t *gate = &scribbler->places->gates[class_index];
        uint64_t ancient = UINT64_C(5) << 10 | below(scribbler, USHER_BELLS);
        put_64(&gate->eldest, below(scribbler, 2) ? ancient : bad_number(scribbler));
        put_64(&gate->called_us, below(scribbler, 2) ? 0 : bad_number(scribbler));
    }
}

static void bells(scribbler_t *scribbler) {
    usher_places_header_t *header = &scribbler->places->header;
    put_32(&scribbler->places->bells[below(scribbler, USHER_BELLS)], bad_number(scribbler));
    put_32(&header->doorbell, bad_number(scribbler));
    put_32(&header->manager_sleeping, bad_number(scribbler) % 3);
}

static void garbage_in_ring(scribbler_t *scribbler) {
    uint32_t entry = below(scribbler, USHER_START_REQUESTS_MAX);
    usher_start_request_record_t *record = &scribbler->cells->ring[entry];
    fill(scribbler, record, sizeof(*record));
    put_32(&record->state, bad_number(scribbler) % 4);
    atomic_fetch_add(&scribbler->cells->header.asked, 1);
}

static void enter(scribbler_t *scribbler, const char *key, uint32_t length, uint32_t told,
                  uint64_t hash) {
    uint32_t entry = below(scribbler, USHER_START_REQUESTS_MAX);
    usher_start_request_record_t *record = &scribbler->cells->ring[entry];
    uint64_t words[USHER_KEY_MAX / 8] = {0};
    memcpy(words, key, length < USHER_KEY_MAX ? length : USHER_KEY_MAX);
    __atomic_store_n(&record->key_length, told, __ATOMIC_RELAXED);
    __atomic_store_n(&record->key_hash, hash, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < USHER_KEY_MAX / 8; i++) {
        __atomic_store_n((uint64_t *)(void *)record->key + i, words[i], __ATOMIC_RELAXED);
    }
    atomic_store(&record->state, USHER_START_READY);
    atomic_fetch_add(&scribbler->cells->header.asked, 1);
    atomic_fetch_add(&scribbler->places->header.doorbell, 1);
}

/* Lengths, hashes and bytes that are right but for one thing. */
static void nearly_right_key(scribbler_t *scribbler) {
    char key[USHER_KEY_MAX];
    memset(key, 'k', sizeof(key));
    key[0] = '/';
    uint32_t length = 1 + below(scribbler, USHER_KEY_MAX - 1);
    switch (below(scribbler, 4)) {
    case 0: /* longer than there is room for */
        enter(scribbler, key, USHER_KEY_MAX, USHER_KEY_MAX + below(scribbler, 4096),
              usher_hash(key, USHER_KEY_MAX));
        break;
    case 1: /* with a NUL in it */
        key[length / 2] = '\0';
        enter(scribbler, key, length, length, usher_hash(key, length));
        break;
    case 2: /* with another's hash */
        enter(scribbler, key, length, length, bad_number(scribbler));
        break;
    default: /* none at all */
        enter(scribbler, key, 0, 0, usher_hash(key, 0));
    }
}

static void start_request(scribbler_t *scribbler) {
    static uint32_t turn;
    uint32_t count = 0;
    while (scribbler->keys && scribbler->keys[count]) {
        count++;
    }
    if (count > 0) {
        const char *key = scribbler->keys[turn++ % count];
        uint32_t length = (uint32_t)strnlen(key, USHER_KEY_MAX);
        enter(scribbler, key, length, (uint32_t)strlen(key), usher_hash(key, length));
    }
}

/* ------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    void (*make)(scribbler_t *scribbler);
} moves[] = {
    {"lock: held by nobody who could hold it", lock_by_nobody},
    {"lock: held by a living worker that does not hold it", lock_by_sibling},
    {"headers of the files", headers},
    {"numbers of the whole server", counters_of_all},
    {"how many worker slots there are", number_of_slots},
    {"which workers live, and what they serve", who_lives},
    {"counts of requests at instances", counts},
    {"counts of waiting requests", waiting},
    {"load data and histograms", load_data},
    {"bases that totals begin with", bases},
    {"bits that say what is counted", bits},
    {"instances blamed for hanging", blame},
    {"places taken, requests served, hosts unreached", places},
    {"marks of hung instances", hung_marks},
    {"queues: waiting, asleep, woken", gates},
    {"turns: who is the eldest", turns},
    {"bells and doorbell", bells},
    {"garbage in the start-request ring", garbage_in_ring},
    {"start requests that are nearly right", nearly_right_key},
    {"start requests for what must not be started", start_request},
};

#define MOVES (sizeof(moves) / sizeof(moves[0]))

uint32_t scribble_moves(void) {
    return MOVES;
}

const char *scribble_name(uint32_t move) {
    return moves[move].name;
}

uint32_t scribble(scribbler_t *scribbler) {
    uint32_t move = below(scribbler, MOVES);
    moves[move].make(scribbler);
    return move;
}
