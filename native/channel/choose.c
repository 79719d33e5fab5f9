/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which endpoint a request should try: the least loaded of the ready ones; while the class has none,
 * of the starting ones. A look at hints only: usher_place_take decides.
 */
#include <netinet/in.h>
#include <string.h>

#include "channel/internal.h"

typedef struct {
    usher_ref_t ref;
    uint32_t state;
    uint32_t in_use;
    uint32_t concurrency;
    uint64_t load; /* compared with others of the class, as a part of its concurrency */
} candidate_t;

/*
 * Of a class whose connections are kept. An endpoint at which this worker keeps one is taken before
 * those that are emptier by a quarter or less, and one whose program has no thread left, because
 * others keep their connections there, after all that have (kept.c).
 */
static uint64_t load_of_kept(const usher_channel_t *channel, uint32_t index,
                             const candidate_t *candidate) {
    uint64_t load = 4 * (uint64_t)candidate->in_use;
    if (usher_own_keeps(channel, index)) {
        return load;
    }
    uint64_t kept =
        atomic_load_explicit(&channel->places->places[index].kept, memory_order_relaxed);
    load += candidate->concurrency + 1;
    return kept + candidate->in_use < candidate->concurrency
               ? load
               : load + 8 * (uint64_t)candidate->concurrency;
}

static bool read_candidate(const usher_channel_t *channel, uint64_t entry, bool keeps,
                           candidate_t *candidate) {
    uint32_t index = (uint32_t)entry - 1; /* entry 0 wraps and fails the test */
    if (index >= USHER_ENDPOINTS_MAX) {
        return false;
    }
    const usher_endpoint_record_t *record = &channel->table->endpoints[index];
    candidate->ref = (usher_ref_t){.index = index, .generation = (uint32_t)(entry >> 32)};
    candidate->state = atomic_load(&record->state);
    candidate->concurrency = atomic_load_explicit(&record->concurrency, memory_order_relaxed);
    candidate->in_use = atomic_load(&channel->places->places[index].in_use);
    candidate->load = keeps ? load_of_kept(channel, index, candidate) : candidate->in_use;
    if (usher_is_hung(channel, index)) {
        return false;
    }
    return atomic_load(&record->generation) == candidate->ref.generation;
}

static bool is_avoided(const usher_request_t *request, usher_ref_t endpoint) {
    for (uint32_t i = 0; i < request->avoids; i++) {
        if (request->avoid[i].index == endpoint.index &&
            request->avoid[i].generation == endpoint.generation) {
            return true;
        }
    }
    return request->avoids == USHER_REQUEST_AVOIDS; /* enough refused: none for the moment */
}

static bool is_less_loaded(const candidate_t *candidate, const candidate_t *best) {
    return candidate->load * best->concurrency < best->load * candidate->concurrency;
}

/* The golden ratio's multiples, cut to their fraction, lie evenly however many slots there are and
 * whichever of them were for other classes. A remainder would cost a division. */
static uint32_t first_slot(uint32_t rotation, uint32_t slots) {
    return (uint32_t)((uint64_t)(rotation * UINT32_C(0x9e3779b9)) * slots >> 32);
}

usher_ref_t usher_survey(const usher_channel_t *channel, const usher_request_t *request,
                         usher_survey_t *survey) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    uint32_t slots = atomic_load_explicit(&record->endpoint_slots, memory_order_acquire);
    slots = slots < USHER_CLASS_ENDPOINTS_MAX ? slots : USHER_CLASS_ENDPOINTS_MAX;
    uint32_t at =
        first_slot(atomic_load_explicit(&channel->own->rotation, memory_order_relaxed), slots);
    bool keeps = atomic_load_explicit(&record->flags, memory_order_relaxed) & USHER_CLASS_KEEP_CONN;
    candidate_t best = {.ref = {0, 0}};
    *survey = (usher_survey_t){0};

    for (uint32_t i = 0; i < slots; i++, at = at + 1 < slots ? at + 1 : 0) {
        candidate_t candidate;
        if (!read_candidate(channel, atomic_load(&record->endpoints[at]), keeps, &candidate)) {
            continue;
        }
        if (candidate.state == USHER_ENDPOINT_READY) {
            if (survey->ready++ == 0) {
                /* starting ones are for classes without ready ones */
                best = (candidate_t){.ref = {0, 0}};
                survey->open = 0;
            }
            survey->places += candidate.concurrency;
        } else if (candidate.state == USHER_ENDPOINT_STARTING) {
            survey->starting++;
            if (survey->ready > 0) {
                continue;
            }
        } else {
            continue;
        }
        if (is_avoided(request, candidate.ref)) {
            continue;
        }
        survey->open++;
        if (candidate.in_use < candidate.concurrency &&
            (best.ref.generation == 0 || is_less_loaded(&candidate, &best))) {
            best = candidate;
            if (best.load == 0 && best.state == USHER_ENDPOINT_READY) {
                break; /* none can be better */
            }
        }
    }
    return best.ref;
}

/* ---- addresses --------------------------------------------------------------------------- */

static usher_status_t unix_address(const char *directory, size_t directory_length, const char *name,
                                   size_t name_length, struct sockaddr_storage *address,
                                   socklen_t *length) {
    struct sockaddr_un *unix_path = (struct sockaddr_un *)address;
    if (directory_length + name_length >= sizeof(unix_path->sun_path)) {
        return USHER_INVALID;
    }
    unix_path->sun_family = AF_UNIX;
    memcpy(unix_path->sun_path, directory, directory_length);
    memcpy(unix_path->sun_path + directory_length, name, name_length + 1);
    *length =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + directory_length + name_length + 1);
    return USHER_OK;
}

usher_status_t usher_endpoint_address(const usher_channel_t *channel, usher_ref_t endpoint,
                                      struct sockaddr_storage *address, socklen_t *length) {
    const usher_endpoint_record_t *record = &channel->table->endpoints[endpoint.index];
    uint32_t kind = USHER_SHARED_LOAD(record->address_kind);
    uint32_t bytes = USHER_SHARED_LOAD(record->address_length);
    char copy[USHER_ADDRESS_MAX + 1];
    usher_shared_read(copy, record->address, bytes < USHER_ADDRESS_MAX ? bytes : USHER_ADDRESS_MAX);
    USHER_STEP("address: read");
    /* as in find.c: the generation, read after the bytes, tells whose they are */
    if (atomic_load_explicit(&record->generation, memory_order_relaxed) != endpoint.generation) {
        return USHER_STALE;
    }
    if (bytes == 0 || bytes > USHER_ADDRESS_MAX) {
        return USHER_INVALID;
    }
    copy[bytes] = '\0';
    switch (kind) {
    case USHER_ADDRESS_SERVER_SOCKET:
        return unix_address(channel->socket_dir, channel->socket_dir_length, copy, bytes, address,
                            length);
    case USHER_ADDRESS_UNIX:
        return unix_address("", 0, copy, bytes, address, length);
    case USHER_ADDRESS_INET:
    case USHER_ADDRESS_INET6:
        *length =
            kind == USHER_ADDRESS_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if (bytes < *length) {
            return USHER_INVALID;
        }
        memcpy(address, copy, *length);
        return USHER_OK;
    default:
        return USHER_INVALID;
    }
}
