/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a place or for a class: the queue's length, and the sleep of threads that may sleep.
 *
 * The length is counted like the requests at an endpoint (places.c): the worker's own gauge first,
 * the gate shared by all workers second, and in the opposite order when leaving. So the gauges are
 * the truth, the gate is a hint that settling and repairing keep right.
 *
 * Ringing: that ten wait and now eleven is no news, and the manager looks by itself ten times a
 * second. So the 1st, 2nd, 4th, 8th … that waits rings, and each one while no instance is ready; but
 * those for a class that has all the instances it may have, and all of them ready, are no news. A
 * waiting request makes its gauge + 1, then sets `rung`; only who finds it not set rings the doorbell. The
 * manager resets it, then reads the gauges. All seq_cst: either my exchange comes after the
 * manager's and I ring, or the manager's comes after mine, and it reads my gauge.
 *
 * Sleeping: a sleeper reads `wake`, makes `sleepers` + 1, looks again whether it still has to wait,
 * and only then waits for `wake` to change. Whoever frees a place or changes the class does that
 * first, then reads `sleepers`, and if it is not 0 makes `wake` + 1 and wakes. All seq_cst: either
 * the waker sees the sleeper, whose FUTEX_WAIT then finds another value or is woken; or the sleeper's
 * + 1 came after the waker's read, and its second look sees what the waker did before.
 * A waker that is killed in between, or a woken thread that is, costs the others SLEEP_MAX_NS. So
 * does a worker of nginx that keeps a place for its own line, as long as it may (turn.c), REMIND_NS.
 */
#include <limits.h>

#include "channel/internal.h"
#include "os/os.h"

#ifndef SLEEP_MAX_NS /* tests for lost wake-ups set it high */
#define SLEEP_MAX_NS (100 * USHER_MS_NS)
#endif
#define REMIND_NS (SLEEP_MAX_NS / 10) /* until the eldest of those who sleep says so again */
#define LEAVE_NS (2 * USHER_MS_NS)
/* A thread that is woken again and again for nothing looks this often in the long run. */
#define HASTY_SLEEPS 16u
#define HASTE_NS (USHER_MS_NS / 10)

static bool is_news(uint32_t waiting, bool ready) {
    return !ready || (waiting & (waiting - 1)) == 0;
}

bool usher_queue_enter(usher_channel_t *channel, usher_request_t *request, bool ready,
                       uint32_t limit, uint64_t now_ns, uint32_t *waiting) {
    uint32_t class_index = request->class_ref.index;
    usher_class_gate_t *gate = &channel->places->gates[class_index];

    usher_load_know(channel, class_index);
    usher_own_count_waiting(channel, class_index, true);
    USHER_STEP("queue: gauge counted");
    *waiting = atomic_fetch_add(&gate->waiting, 1);
    usher_fence_after_swap(); /* the gauge may be a plain store: own.c, places.c */
    USHER_STEP("queue: gate counted");
    request->waiting_since_ns = now_ns;
    if (*waiting >= limit && *waiting <= USHER_COUNT_MAX) { /* more is damage: nobody knows */
        usher_queue_leave(channel, request);
        return false;
    }
    usher_load_touch(channel, class_index);
    if (is_news(*waiting + 1, ready) &&
        (!ready || atomic_load(&gate->rung) != USHER_RUNG_NEEDLESS)) {
        usher_gate_ring(channel, class_index);
    }
    return true;
}

void usher_queue_leave(usher_channel_t *channel, usher_request_t *request) {
    if (request->waiting_since_ns == 0) {
        return;
    }
    uint32_t class_index = request->class_ref.index;
    usher_turn_leave(channel, request);
    usher_count_down(&channel->places->gates[class_index].waiting);
    USHER_STEP("queue: gate left");
    usher_own_count_waiting(channel, class_index, false);
    request->waiting_since_ns = 0;
    usher_load_touch(channel, class_index);
}

void usher_gate_ring(usher_channel_t *channel, uint32_t class_index) {
    if (atomic_exchange(&channel->places->gates[class_index].rung, USHER_RUNG) != USHER_RUNG) {
        USHER_STEP("queue: about to ring");
        usher_doorbell_ring(channel->places);
    }
}

void usher_gate_wake(usher_places_t *places, uint32_t class_index, int count) {
    usher_class_gate_t *gate = &places->gates[class_index];
    if (atomic_load(&gate->sleepers) > 0) {
        atomic_fetch_add(&gate->wake, 1);
        USHER_STEP("wake: counted");
        usher_os_futex_wake(&gate->wake, count);
    }
}

/* Would usher_request_admit still say AGAIN? For LEAVE_NS at most when a place is left to another. */
static bool must_wait(usher_channel_t *channel, usher_request_t *request, uint64_t *timeout_ns) {
    const usher_class_record_t *record = &channel->table->classes[request->class_ref.index];
    uint32_t state = atomic_load(&record->state);
    if (!usher_class_is_current(channel->table, request->class_ref) ||
        (state != USHER_CLASS_COLD && state != USHER_CLASS_STARTING &&
         state != USHER_CLASS_READY)) {
        return false;
    }
    usher_survey_t survey;
    if (usher_survey(channel, request, &survey).generation != 0) {
        *timeout_ns = *timeout_ns < LEAVE_NS ? *timeout_ns : LEAVE_NS;
        return usher_turn_is_anothers(channel, request, usher_os_now_ns());
    }
    if (survey.ready > 0 && *timeout_ns > REMIND_NS) {
        *timeout_ns = REMIND_NS;
    }
    return survey.ready > 0 || usher_channel_manager_state(channel) != USHER_MANAGER_STOPPED;
}

static void sleep_at_gate(usher_channel_t *channel, usher_request_t *request, uint64_t timeout_ns) {
    usher_class_gate_t *gate = &channel->places->gates[request->class_ref.index];
    uint32_t seen = atomic_load(&gate->wake);
    atomic_fetch_add(&gate->sleepers, 1);
    USHER_STEP("sleep: counted");
    if (must_wait(channel, request, &timeout_ns)) {
        usher_os_futex_wait(&gate->wake, seen, timeout_ns);
    }
    usher_count_down(&gate->sleepers);
}

/*
 * A class that is not known has no gate. The manager puts it into the table, then makes
 * `publication` + 1, then wakes all who sleep there: a sleeper that read the old number and did not
 * find the class is woken, or its FUTEX_WAIT finds the new number.
 */
static void sleep_for_publication(usher_channel_t *channel, const usher_request_t *request,
                                  uint64_t timeout_ns) {
    const usher_table_t *table = channel->table;
    uint32_t seen = atomic_load(&table->header.publication);
    usher_ref_t known =
        usher_find_class(table, channel->server_id, request->key, request->key_length);
    if (known.generation == 0 && usher_channel_manager_state(channel) != USHER_MANAGER_STOPPED) {
        usher_os_futex_wait(&table->header.publication, seen, timeout_ns);
    }
}

void usher_request_wait(usher_channel_t *channel, usher_request_t *request, uint32_t timeout_ms) {
    if (!channel->worker || !channel->may_block || request->admitted_ns != 0 ||
        request->state == USHER_TURNED_DOWN) {
        return;
    }
    uint64_t timeout_ns = timeout_ms * USHER_MS_NS;
    if (timeout_ns > SLEEP_MAX_NS) {
        timeout_ns = SLEEP_MAX_NS;
    }
    if (request->deadline_ns != 0) {
        uint64_t now_ns = usher_os_now_ns();
        if (now_ns >= request->deadline_ns) {
            return;
        }
        if (request->deadline_ns - now_ns < timeout_ns) {
            timeout_ns = request->deadline_ns - now_ns;
        }
    }
    if (++request->sleeps % HASTY_SLEEPS == 0) {
        usher_rest(&request->slept_ns, HASTY_SLEEPS * HASTE_NS);
    }
    if (request->class_ref.generation != 0) {
        sleep_at_gate(channel, request, timeout_ns);
    } else {
        sleep_for_publication(channel, request, timeout_ns);
    }
}
