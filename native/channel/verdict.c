/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a request ends without a place: the manager's verdict on its class, or a deadline. The reason
 * says whether the pool (limits, load), the program or the manager was at fault, and names the
 * option that would change it; the class is named by whoever prints it.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "channel/internal.h"
#include "os/os.h"

#define REASON_TRIES 1000u

static usher_status_t end_with_verdict(usher_channel_t *channel, usher_request_t *request,
                                       uint64_t now_ns, int status, uint32_t retry_after_s) {
    usher_queue_leave(channel, request);
    request->state = USHER_TURNED_DOWN;
    request->decided_ns = now_ns;
    request->verdict_status = status;
    request->retry_after_s = retry_after_s;
    if (request->class_ref.generation != 0) {
        usher_load_refused(channel, request->class_ref.index);
    }
    return USHER_REFUSED;
}

usher_status_t usher_refuse(usher_channel_t *channel, usher_request_t *request, uint64_t now_ns,
                            int status, uint32_t retry_after_s, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(request->reason, sizeof(request->reason), format, arguments);
    va_end(arguments);
    return end_with_verdict(channel, request, now_ns, status, retry_after_s);
}

/* ---- the manager's verdict --------------------------------------------------------------- */

/*
 * A copy whose parts belong together. The manager makes reason_sequence odd, then writes the parts,
 * then makes it even, all with release. So a reader that loaded an even number, copied the parts with
 * acquire and loads the same number again saw no part of another verdict. A manager that was killed
 * while writing leaves an odd number: tries are bounded.
 */
bool usher_verdict_read(const usher_class_record_t *record, usher_verdict_t *verdict) {
    for (uint32_t i = 0; i < REASON_TRIES; i++) {
        uint32_t sequence = atomic_load_explicit(&record->reason_sequence, memory_order_acquire);
        if (sequence % 2 != 0) {
            continue;
        }
        verdict->state = atomic_load_explicit(&record->state, memory_order_acquire);
        verdict->status = atomic_load_explicit(&record->verdict_status, memory_order_acquire);
        verdict->retry_after_s = atomic_load_explicit(&record->retry_after_s, memory_order_acquire);
        usher_shared_read(verdict->reason, record->reason, USHER_REASON_MAX);
        USHER_STEP("verdict: read");
        if (atomic_load_explicit(&record->reason_sequence, memory_order_relaxed) == sequence) {
            verdict->reason[USHER_REASON_MAX - 1] = '\0';
            return true;
        }
    }
    return false;
}

/* Past its time a failed class is tried again; where the manager cannot, as it hangs or is just being
 * started anew, requests had better wait for it. What it says is as old as its last beat. */
bool usher_verdict_is_over(const usher_channel_t *channel, uint32_t class_index, uint64_t now_ns) {
    const usher_class_record_t *record = &channel->table->classes[class_index];
    uint64_t seen_ns = atomic_load(&channel->table->header.manager_seen_ns);
    uint64_t retry_s = atomic_load_explicit(&record->retry_after_s, memory_order_relaxed);
    return atomic_load(&record->state) == USHER_CLASS_FAILED && retry_s > 0 && seen_ns < now_ns &&
           (now_ns - seen_ns) / (1000 * USHER_MS_NS) > retry_s;
}

usher_status_t usher_refuse_as_told(usher_channel_t *channel, usher_request_t *request,
                                    uint64_t now_ns) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    usher_verdict_t verdict;
    if (!usher_verdict_read(record, &verdict)) {
        verdict = (usher_verdict_t){.state = atomic_load(&record->state), .status = 503};
    }
    if ((verdict.state != USHER_CLASS_FAILED && verdict.state != USHER_CLASS_REFUSED) ||
        !usher_class_is_current(channel->table, request->class_ref)) {
        return USHER_STALE;
    }
    int status = verdict.status == 403 || verdict.status == 404 ? (int)verdict.status : 503;
    if (verdict.reason[0] == '\0') {
        return usher_refuse(channel, request, now_ns, status, verdict.retry_after_s,
                            "cannot be served; the manager's log says why");
    }
    memcpy(request->reason, verdict.reason, sizeof(request->reason));
    return end_with_verdict(channel, request, now_ns, status, verdict.retry_after_s);
}

/* ---- deadlines --------------------------------------------------------------------------- */

bool usher_manager_answers(const usher_channel_t *channel, uint64_t now_ns) {
    const usher_table_header_t *header = &channel->table->header;
    uint64_t seen_ns = atomic_load(&header->manager_seen_ns);
    return atomic_load(&header->manager_state) != USHER_MANAGER_ABSENT &&
           (seen_ns > now_ns || now_ns - seen_ns <= USHER_MANAGER_SILENT_NS);
}

static bool has_passed(usher_request_t *request, uint64_t since_ns, uint32_t limit_ms,
                       uint64_t now_ns) {
    if (limit_ms == 0) {
        return false;
    }
    request->deadline_ns = since_ns + limit_ms * USHER_MS_NS;
    return now_ns >= request->deadline_ns;
}

static usher_status_t refuse_stopped(usher_channel_t *channel, usher_request_t *request,
                                     uint64_t now_ns) {
    return usher_refuse(channel, request, now_ns, 503, 0,
                        "there is no instance and the manager was stopped");
}

static usher_status_t check_queue_timeout(usher_channel_t *channel, usher_request_t *request,
                                          const usher_survey_t *survey, uint64_t now_ns) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    uint32_t limit_ms = atomic_load_explicit(&record->queue_timeout_ms, memory_order_relaxed);
    if (request->queued_ns == 0) {
        request->queued_ns = now_ns;
    }
    if (!has_passed(request, request->queued_ns, limit_ms, now_ns)) {
        return USHER_AGAIN;
    }
    return usher_refuse(
        channel, request, now_ns, 503, 1,
        "the class is full: waited %u ms for a place (queue-timeout), all %u places "
        "of its %u instances are in use",
        limit_ms, survey->places, survey->ready);
}

static usher_status_t check_connect_timeout(usher_channel_t *channel, usher_request_t *request,
                                            const usher_survey_t *survey, uint64_t now_ns) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    uint32_t limit_ms = atomic_load_explicit(&record->connect_timeout_ms, memory_order_relaxed);
    request->queued_ns = 0;
    if (!has_passed(request, request->arrived_ns, limit_ms, now_ns)) {
        return USHER_AGAIN;
    }
    if (survey->ready > 0) {
        return usher_refuse(channel, request, now_ns, 503, 1,
                            "no instance took the connection within %u ms (appConnTimeout)",
                            limit_ms);
    }
    if (!usher_manager_answers(channel, now_ns)) {
        return usher_refuse(channel, request, now_ns, 503, 1,
                            "no manager answers in %s: there was no instance for %u ms "
                            "(appConnTimeout)",
                            channel->runtime_dir, limit_ms);
    }
    if (survey->starting > 0 || atomic_load(&record->state) == USHER_CLASS_STARTING) {
        return usher_refuse(channel, request, now_ns, 503, 1,
                            "the class is starting: no instance was ready within %u ms "
                            "(appConnTimeout)",
                            limit_ms);
    }
    return usher_refuse(channel, request, now_ns, 503, 1,
                        "there is no instance: none was started within %u ms (appConnTimeout)",
                        limit_ms);
}

usher_status_t usher_check_deadline(usher_channel_t *channel, usher_request_t *request,
                                    const usher_survey_t *survey, uint64_t now_ns) {
    request->deadline_ns = 0;
    if (survey->ready > 0 && survey->open > 0) {
        return check_queue_timeout(channel, request, survey, now_ns);
    }
    if (survey->ready == 0 && usher_channel_manager_state(channel) == USHER_MANAGER_STOPPED) {
        return refuse_stopped(channel, request, now_ns);
    }
    return check_connect_timeout(channel, request, survey, now_ns);
}

usher_status_t usher_check_unknown_deadline(usher_channel_t *channel, usher_request_t *request,
                                            uint64_t now_ns) {
    uint32_t limit_ms = channel->unknown_timeout_ms;
    if (usher_channel_manager_state(channel) == USHER_MANAGER_STOPPED) {
        return refuse_stopped(channel, request, now_ns);
    }
    if (!has_passed(request, request->arrived_ns, limit_ms, now_ns)) {
        return USHER_AGAIN;
    }
    if (!usher_manager_answers(channel, now_ns)) {
        return usher_refuse(channel, request, now_ns, 503, 1,
                            "no manager answers in %s: waited %u ms for it (appConnTimeout)",
                            channel->runtime_dir, limit_ms);
    }
    return usher_refuse(channel, request, now_ns, 503, 1,
                        "the manager said nothing about it within %u ms (appConnTimeout)",
                        limit_ms);
}
