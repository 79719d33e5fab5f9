/* SPDX-License-Identifier: Apache-2.0 */
/* A request on its way to an instance. */
#include <string.h>

#include "channel/internal.h"
#include "os/os.h"

#define MARK_COUNTED 0x1u  /* its arrival */
#define MARK_LOOKED 0x2u   /* asked for a place at least once */
#define MARK_ADMITTED 0x4u /* its admission was counted; not again after a retry */
#define MARK_ENDED 0x8u
#define MARK_STARTING 0x10u /* the instance was starting when the time for its answer began */

#define ROUNDS_MAX 4u /* looks at a class that changes under our eyes */
#define RACES_MAX 16u /* places lost to others in one look */
/* Of one that must not block: it looks now and then only, and begins to count an owner's time at its
 * first look. */
#define LOCK_PATIENCE_NS (3 * USHER_LOCK_WAIT_NS)
#define ENTER_AGAIN_NS (100 * USHER_MS_NS)
#define AVOID_NS (50 * USHER_MS_NS)

const char *usher_request_state_name(usher_request_state_t state) {
    static const char *const names[] = {"warm", "cold", "queued", "refused"};
    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

usher_status_t usher_request_begin(usher_channel_t *channel, usher_request_t *request,
                                   const char *key, size_t key_length) {
    /* not memset: of one of this size gcc makes `rep stos`, which takes three times as long */
    static const usher_request_t blank;
    (void)channel;
    memcpy(request, &blank, offsetof(usher_request_t, reason));
    request->reason[0] = '\0';
    if (key_length == 0 || key_length >= USHER_KEY_MAX || memchr(key, '\0', key_length)) {
        request->marks = MARK_ENDED;
        return USHER_INVALID;
    }
    request->key = key;
    request->key_length = (uint32_t)key_length;
    request->arrived_ns = usher_os_now_ns();
    return USHER_OK;
}

/* ---- a class that the table does not know ------------------------------------------------ */

static usher_status_t check_lock_deadline(usher_channel_t *channel, usher_request_t *request,
                                          uint64_t now_ns, usher_status_t status) {
    if (request->lock_tried_ns == 0) {
        request->lock_tried_ns = now_ns;
    }
    if (status == USHER_AGAIN && now_ns - request->lock_tried_ns < LOCK_PATIENCE_NS) {
        return USHER_AGAIN;
    }
    atomic_fetch_add(&channel->cells->header.lock_timeouts, 1);
    return usher_refuse(
        channel, request, now_ns, 503, 1,
        "cannot ask the manager: the lock of the channel of %s could not be had in time (it is "
        "damaged, or its workers are stopped)",
        channel->server);
}

/* Ask the manager for the class; again when the entry may have been lost. */
static usher_status_t request_start(usher_channel_t *channel, usher_request_t *request,
                                    uint64_t now_ns) {
    if (request->start_requested_ns != 0 && now_ns - request->start_requested_ns < ENTER_AGAIN_NS) {
        return USHER_AGAIN;
    }
    bool entered = false;
    usher_status_t status =
        usher_ring_enter(channel, request->key, request->key_length, now_ns, &entered);
    if (status == USHER_AGAIN || status == USHER_TIMEOUT) {
        return check_lock_deadline(channel, request, now_ns, status);
    }
    request->lock_tried_ns = 0;
    if (status == USHER_FULL) {
        atomic_fetch_add(&channel->cells->header.start_requests_refused, 1);
        return usher_refuse(channel, request, now_ns, 503, 1,
                            "cannot ask the manager: the start-request ring is full (%u entries)",
                            USHER_START_REQUESTS_MAX);
    }
    request->start_requested_ns = now_ns;
    if (entered) {
        usher_doorbell_ring(channel->places);
    }
    return USHER_AGAIN;
}

static usher_status_t wait_for_class(usher_channel_t *channel, usher_request_t *request,
                                     uint64_t now_ns) {
    if (!(request->marks & MARK_LOOKED)) {
        request->marks |= MARK_LOOKED;
        request->state = USHER_COLD;
    }
    request->deadline_ns = 0;
    usher_status_t status = usher_check_unknown_deadline(channel, request, now_ns);
    return status == USHER_AGAIN ? request_start(channel, request, now_ns) : status;
}

/* ---- a class that it knows --------------------------------------------------------------- */

/* Make request->class_ref current; false while the class is unknown. */
static bool know_class(usher_channel_t *channel, usher_request_t *request) {
    if (request->class_ref.generation != 0 &&
        usher_class_is_current(channel->table, request->class_ref)) {
        return true;
    }
    usher_queue_leave(channel, request);
    request->class_ref =
        usher_find_class(channel->table, channel->server_id, request->key, request->key_length);
    return request->class_ref.generation != 0;
}

/* Of a request that gets no place at this look. */
static void count_arrival(usher_channel_t *channel, usher_request_t *request) {
    if (!(request->marks & MARK_COUNTED)) {
        request->marks |= MARK_COUNTED;
        usher_load_arrived(channel, request->class_ref.index);
    }
}

static void avoid(usher_channel_t *channel, usher_request_t *request, usher_ref_t endpoint) {
    if (request->avoids < USHER_REQUEST_AVOIDS) {
        request->avoid[request->avoids++] = endpoint;
    }
    request->avoided_ns = usher_os_now_ns();
    request->avoided_publication = atomic_load(&channel->table->header.publication);
}

/* An endpoint is avoided until the manager has published something, or for a while. */
static void forget_avoided(const usher_channel_t *channel, usher_request_t *request,
                           uint64_t now_ns) {
    if (request->avoids > 0 &&
        (now_ns - request->avoided_ns >= AVOID_NS ||
         atomic_load(&channel->table->header.publication) != request->avoided_publication)) {
        request->avoids = 0;
    }
}

static void describe_admission(const usher_channel_t *channel, const usher_request_t *request,
                               usher_admission_t *admission) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    const usher_endpoint_record_t *endpoint =
        &channel->table->endpoints[request->endpoint_ref.index];
    *admission = (usher_admission_t){
        .flags = atomic_load_explicit(&record->flags, memory_order_relaxed),
        .kind = USHER_SHARED_LOAD(record->kind),
        .idle_timeout_ms = atomic_load_explicit(&record->idle_timeout_ms, memory_order_relaxed),
        .request_timeout_ms =
            atomic_load_explicit(&record->request_timeout_ms, memory_order_relaxed),
        .connect_timeout_ms =
            atomic_load_explicit(&record->connect_timeout_ms, memory_order_relaxed),
        .pid = atomic_load_explicit(&endpoint->pid, memory_order_relaxed),
    };
}

/*
 * Try the endpoint that the survey found best, then the next best, until none has a free place.
 * STALE: the class is gone. That is looked at with the place in hand: a class still current then was
 * so when its endpoints were read, so the place is not one of another class in the same record.
 */
static usher_status_t take_place(usher_channel_t *channel, usher_request_t *request,
                                 struct sockaddr_storage *address, socklen_t *address_length,
                                 usher_survey_t *survey, uint64_t now_ns) {
    for (uint32_t i = 0; i < RACES_MAX; i++) {
        usher_ref_t best = usher_survey(channel, request, survey);
        if (!(request->marks & MARK_LOOKED)) {
            request->marks |= MARK_LOOKED;
            request->state = survey->ready > 0 ? USHER_WARM : USHER_COLD;
        }
        if (best.generation == 0 || usher_turn_is_anothers(channel, request, now_ns)) {
            return USHER_AGAIN;
        }
        if (usher_place_take(channel, best) != USHER_OK) {
            continue;
        }
        if (!usher_class_is_current(channel->table, request->class_ref)) {
            usher_place_release(channel, best.index);
            return USHER_STALE;
        }
        usher_status_t status = usher_endpoint_address(channel, best, address, address_length);
        if (status == USHER_OK) {
            request->endpoint_ref = best;
            return USHER_OK;
        }
        usher_place_release(channel, best.index);
        if (status == USHER_INVALID) {
            avoid(channel, request, best);
        }
    }
    return USHER_AGAIN;
}

/* Time in which a program boots is not time that it takes for its answer. */
static void note_instance(const usher_channel_t *channel, usher_request_t *request) {
    const usher_endpoint_record_t *record = &channel->table->endpoints[request->endpoint_ref.index];
    request->instance = atomic_load_explicit(&record->instance, memory_order_relaxed);
    bool starting =
        atomic_load_explicit(&record->state, memory_order_relaxed) == USHER_ENDPOINT_STARTING;
    request->marks = (request->marks & ~MARK_STARTING) | (starting ? MARK_STARTING : 0);
}

static void count_admission(usher_channel_t *channel, usher_request_t *request) {
    uint32_t class_index = request->class_ref.index;
    uint64_t waited_us = (request->admitted_ns - request->arrived_ns) / 1000;
    if (request->marks & MARK_ADMITTED) {
        return;
    }
    request->marks |= MARK_ADMITTED;
    if (!(request->marks & MARK_COUNTED) && waited_us == 0) {
        request->marks |= MARK_COUNTED;
        usher_load_admitted_at_once(channel, class_index);
        return;
    }
    count_arrival(channel, request);
    usher_load_admitted(channel, class_index, waited_us);
}

static usher_status_t admitted(usher_channel_t *channel, usher_request_t *request,
                               uint64_t now_ns) {
    usher_queue_leave(channel, request);
    request->admitted_ns = now_ns;
    request->decided_ns = now_ns;
    request->queued_ns = 0;
    note_instance(channel, request);
    uint32_t rotation = atomic_load_explicit(&channel->own->rotation, memory_order_relaxed);
    atomic_store_explicit(&channel->own->rotation, rotation + 1, memory_order_relaxed);
    count_admission(channel, request);
    return USHER_OK;
}

/* A queue-limit of 0 forbids waiting behind others, not waiting for the first instance: no request
 * could ever make the class start. */
static uint32_t queue_limit(const usher_class_record_t *record, const usher_survey_t *survey) {
    uint32_t limit = atomic_load_explicit(&record->queue_limit, memory_order_relaxed);
    return limit == 0 && survey->ready == 0 ? 1 : limit;
}

static usher_status_t wait_for_place(usher_channel_t *channel, usher_request_t *request,
                                     const usher_survey_t *survey, uint64_t now_ns) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    usher_status_t status = usher_check_deadline(channel, request, survey, now_ns);
    if (status != USHER_AGAIN) {
        return status;
    }
    if (request->state == USHER_WARM) {
        request->state = USHER_QUEUED;
    }
    uint32_t limit = queue_limit(record, survey);
    uint32_t waiting = 0;
    if (request->waiting_since_ns == 0 &&
        !usher_queue_enter(channel, request, survey->ready > 0, limit, now_ns, &waiting)) {
        return usher_refuse(channel, request, now_ns, 503, 1,
                            "the class is full: %u requests wait (queue-limit %u)", waiting, limit);
    }
    usher_turn_ask(channel, request);
    if (request->avoids > 0 &&
        (request->deadline_ns == 0 || request->deadline_ns > request->avoided_ns + AVOID_NS)) {
        request->deadline_ns = request->avoided_ns + AVOID_NS;
    }
    return USHER_AGAIN;
}

/* STALE: the class changed, look it up again. */
static usher_status_t meet_class(usher_channel_t *channel, usher_request_t *request,
                                 struct sockaddr_storage *address, socklen_t *address_length,
                                 uint64_t now_ns) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    switch (atomic_load(&record->state)) {
    case USHER_CLASS_FAILED:
    case USHER_CLASS_REFUSED:
        if (!usher_verdict_is_over(channel, request->class_ref.index, now_ns)) {
            count_arrival(channel, request);
            return usher_refuse_as_told(channel, request, now_ns);
        }
        break;
    case USHER_CLASS_COLD:
    case USHER_CLASS_STARTING:
    case USHER_CLASS_READY:
        break;
    default:
        return USHER_STALE;
    }
    usher_survey_t survey;
    forget_avoided(channel, request, now_ns);
    usher_status_t status = take_place(channel, request, address, address_length, &survey, now_ns);
    if (status == USHER_OK) {
        return admitted(channel, request, now_ns);
    }
    if (status == USHER_STALE || !usher_class_is_current(channel->table, request->class_ref)) {
        return USHER_STALE;
    }
    count_arrival(channel, request);
    return wait_for_place(channel, request, &survey, now_ns);
}

usher_status_t usher_request_admit(usher_channel_t *channel, usher_request_t *request,
                                   struct sockaddr_storage *address, socklen_t *address_length,
                                   usher_admission_t *admission) {
    if (!channel->worker || (request->marks & MARK_ENDED) || request->admitted_ns != 0) {
        return USHER_INVALID;
    }
    if (request->state == USHER_TURNED_DOWN) {
        return USHER_REFUSED;
    }
    usher_recount_when_asked(channel);
    /* the first look follows the arrival at once: one clock reading does for both */
    uint64_t now_ns = request->marks & MARK_LOOKED ? usher_os_now_ns() : request->arrived_ns;
    usher_status_t status = USHER_AGAIN;
    for (uint32_t i = 0; i < ROUNDS_MAX; i++) {
        if (know_class(channel, request)) {
            status = meet_class(channel, request, address, address_length, now_ns);
        } else {
            status = wait_for_class(channel, request, now_ns);
        }
        if (status != USHER_STALE) {
            break;
        }
    }
    if (status == USHER_OK) {
        describe_admission(channel, request, admission);
    }
    return status == USHER_STALE ? USHER_AGAIN : status;
}

/* ---- the way out ------------------------------------------------------------------------- */

static void release(usher_channel_t *channel, usher_request_t *request) {
    usher_place_release(channel, request->endpoint_ref.index);
    usher_turn_call(channel, request->class_ref.index);
    request->endpoint_ref = (usher_ref_t){0, 0};
    request->admitted_ns = 0;
}

void usher_request_retry(usher_channel_t *channel, usher_request_t *request) {
    if (!channel->worker || request->admitted_ns == 0) {
        return;
    }
    avoid(channel, request, request->endpoint_ref);
    usher_place_count_unreached(channel, request->endpoint_ref.index);
    release(channel, request);
    usher_load_touch(channel, request->class_ref.index);
    request->decided_ns = 0;
}

/* Count how it ended, after everything was given back: counting is what makes the manager look. */
static void count_end(usher_channel_t *channel, const usher_request_t *request, bool served,
                      usher_outcome_t outcome, uint64_t serving_us) {
    uint32_t class_index = request->class_ref.index;
    if (!usher_class_is_current(channel->table, request->class_ref)) {
        return; /* the record may be another class's by now */
    }
    if (served) {
        usher_load_served(channel, class_index, outcome, serving_us);
    } else if (outcome == USHER_OUTCOME_ABORTED) {
        usher_load_aborted(channel, class_index);
    } else {
        usher_load_refused(channel, class_index);
    }
}

bool usher_request_is_overdue(const usher_channel_t *channel, usher_request_t *request) {
    if (request->admitted_ns == 0 || !(request->marks & MARK_STARTING)) {
        return request->admitted_ns != 0;
    }
    note_instance(channel, request);
    return false;
}

bool usher_request_has_use(const usher_channel_t *channel, const usher_request_t *request) {
    uint32_t index = request->endpoint_ref.index;
    const usher_endpoint_record_t *record = &channel->table->endpoints[index];
    uint32_t state = atomic_load(&record->state);
    return request->admitted_ns != 0 &&
           (state == USHER_ENDPOINT_READY || state == USHER_ENDPOINT_STARTING) &&
           atomic_load(&record->generation) == request->endpoint_ref.generation &&
           atomic_load(&record->instance) == request->instance && !usher_is_hung(channel, index);
}

/* The place must not be lent to anybody else: mark that before it is given back. */
static void give_up(usher_channel_t *channel, const usher_request_t *request) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    usher_hung_count(channel, request->endpoint_ref, USHER_SHARED_LOAD(record->kind));
}

void usher_request_end(usher_channel_t *channel, usher_request_t *request,
                       usher_outcome_t outcome) {
    if (!channel->worker || (request->marks & MARK_ENDED)) {
        return;
    }
    request->marks |= MARK_ENDED;
    if (request->admitted_ns != 0) {
        uint64_t serving_us = (usher_os_now_ns() - request->admitted_ns) / 1000;
        usher_place_count_served(channel, request->endpoint_ref.index);
        if (outcome == USHER_OUTCOME_TIMED_OUT) {
            give_up(channel, request);
        }
        release(channel, request);
        count_end(channel, request, true, outcome, serving_us);
        if (outcome == USHER_OUTCOME_TIMED_OUT) {
            usher_gate_ring(channel, request->class_ref.index);
        }
    } else if (request->state != USHER_TURNED_DOWN && (request->marks & MARK_COUNTED)) {
        usher_queue_leave(channel, request);
        count_end(channel, request, false, outcome, 0);
    }
}

uint64_t usher_request_waited_us(const usher_request_t *request) {
    uint64_t until_ns = request->decided_ns != 0 ? request->decided_ns : usher_os_now_ns();
    return until_ns > request->arrived_ns ? (until_ns - request->arrived_ns) / 1000 : 0;
}

uint32_t usher_worker_waiting(const usher_channel_t *channel, usher_ref_t class_ref) {
    if (!channel->worker || class_ref.index >= USHER_CLASSES_MAX || class_ref.generation == 0) {
        return 0;
    }
    return usher_own_waiting(channel, class_ref.index);
}
