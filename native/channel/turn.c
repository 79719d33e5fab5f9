/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose turn it is. Requests wait in the workers of all servers: in the line of an nginx worker, as
 * sleeping threads of Apache's children. A worker that gives a place back serves its own line at
 * once, which costs nothing and keeps programs busy; alone, that would keep a place in one worker
 * for as long as it has a line, and others would wait for ever.
 *
 * So the class's gate remembers the eldest of those who wait: `eldest` is the time of its arrival in
 * µs, and the bell of its worker. Whoever looks for a place and is younger than that by more than
 * GRACE_US leaves a free one alone, rings the bell and waits. Within the grace everybody takes what
 * is free: with short requests, a line that is served too seldom grows older until it is called, then
 * has a place to go on with, so places go where the lines are and bells ring seldom.
 *
 * A bell is a futex word. One thread of each nginx worker sleeps at its own (usher_worker_sleep) and
 * makes the event loop look. Bell 0 means the class's sleeping threads: one of them is woken.
 *
 * Nothing of this is exact and none of it has to be; and whatever a damaged gate says, a request that
 * has left free places to others for DEFERS_MAX_NS takes the next one. The eldest is noted by whoever looks in vain, and
 * struck out when it leaves the queue; the next one writes itself down at its next look, 2 ms later
 * (nginx) or one slice of sleep (gate.c). Who is called and does not come within PATIENCE_US, being
 * stopped, dead or a lie, is struck out by the next one who wants the place. So it costs a class some
 * ms of one place at worst, and there is nothing to repair.
 *
 * Orders: `eldest` and `called_us` decide nothing about places; a stale value costs one look. Relaxed
 * would do. Ringing is like waking in gate.c: the word is counted up before FUTEX_WAKE, and the thread
 * that sleeps read it before it made its worker look.
 */
#include <limits.h>

#include "channel/internal.h"
#include "os/os.h"

#define GRACE_US 1000u
#define NEWCOMER_GRACE_US 4000u /* for a thread that did not wait yet before those who sleep */
#define PATIENCE_US 3000u
#define DEFERS_MAX_NS (1000 * USHER_MS_NS)
#define RING_REST_NS (USHER_MS_NS / 5) /* a worker is called no more often */

#define BELL_BITS 10
_Static_assert(USHER_BELLS == 1u << BELL_BITS, "a bell's number fits");

static uint64_t turn_at(const usher_channel_t *channel, uint64_t arrived_ns) {
    return arrived_ns / 1000 << BELL_BITS | channel->bell;
}

static uint32_t bell_of(uint64_t turn) {
    return (uint32_t)(turn & (USHER_BELLS - 1));
}

static usher_class_gate_t *gate_of(const usher_channel_t *channel, uint32_t class_index) {
    return &channel->places->gates[class_index];
}

/* Bell 0 is for workers whose threads may sleep. */
uint32_t usher_bell_number(uint64_t server_id, uint32_t slot) {
    return 1 +
           (uint32_t)((server_id ^ slot) * UINT64_C(0x9e3779b97f4a7c15) >> 32) % (USHER_BELLS - 1);
}

static void wake_at(usher_channel_t *channel, uint32_t bell) {
    atomic_fetch_add(&channel->places->bells[bell], 1);
    USHER_STEP("turn: counted");
    usher_os_futex_wake(&channel->places->bells[bell], INT_MAX);
}

static void ring_bell(usher_channel_t *channel, uint32_t class_index, uint32_t bell) {
    if (bell == 0) {
        usher_gate_wake(channel->places, class_index, 1);
    } else {
        wake_at(channel, bell);
    }
}

void usher_bell_ring(usher_channel_t *channel, uint32_t bell) {
    if (bell != 0 && bell < USHER_BELLS && bell != channel->bell) {
        wake_at(channel, bell);
    }
}

/* What the gate says; a sleeper when nobody sleeps any more is struck out. */
static uint64_t eldest_of(usher_class_gate_t *gate) {
    uint64_t eldest = atomic_load(&gate->eldest);
    if (eldest == 0 || bell_of(eldest) != 0 || atomic_load(&gate->sleepers) > 0) {
        return eldest;
    }
    if (atomic_compare_exchange_strong(&gate->eldest, &eldest, 0)) {
        atomic_store(&gate->called_us, 0);
    }
    return 0;
}

void usher_turn_ask(usher_channel_t *channel, const usher_request_t *request) {
    usher_class_gate_t *gate = gate_of(channel, request->class_ref.index);
    uint64_t mine = turn_at(channel, request->arrived_ns);
    uint64_t eldest = eldest_of(gate);
    if (eldest != 0 && bell_of(eldest) == channel->bell) {
        if (atomic_load(&gate->called_us) != 0) {
            atomic_store(&gate->called_us, 0); /* came, and in vain: to be called again */
        }
    }
    if ((eldest == 0 || mine < eldest) &&
        atomic_compare_exchange_strong(&gate->eldest, &eldest, mine)) {
        atomic_store(&gate->called_us, 0);
    }
}

/* Who sleeps does not write itself down: the next sleeper is about as old, half of it is meant. */
static uint64_t next_sleeper(const usher_channel_t *channel, const usher_class_gate_t *gate,
                             const usher_request_t *request) {
    if (channel->bell != 0 || atomic_load_explicit(&gate->sleepers, memory_order_relaxed) == 0) {
        return 0;
    }
    uint64_t now_ns = usher_os_now_ns();
    return turn_at(channel, request->arrived_ns + (now_ns - request->arrived_ns) / 2);
}

void usher_turn_leave(usher_channel_t *channel, const usher_request_t *request) {
    usher_class_gate_t *gate = gate_of(channel, request->class_ref.index);
    uint64_t mine = turn_at(channel, request->arrived_ns);
    uint64_t eldest = atomic_load_explicit(&gate->eldest, memory_order_relaxed);
    if (eldest != mine && (eldest == 0 || bell_of(eldest) != channel->bell ||
                           atomic_load_explicit(&gate->called_us, memory_order_relaxed) == 0)) {
        return; /* neither the eldest nor the one who was woken for him */
    }
    if (atomic_compare_exchange_strong(&gate->eldest, &eldest,
                                       next_sleeper(channel, gate, request))) {
        atomic_store(&gate->called_us, 0);
    }
}

static bool goes_first(const usher_channel_t *channel, const usher_request_t *request,
                       uint64_t eldest) {
    uint64_t grace_us = GRACE_US;
    if (bell_of(eldest) == channel->bell) {
        if (!channel->may_block || request->waiting_since_ns != 0) {
            return false; /* among us it is decided by others: the line, the kernel's queue */
        }
        grace_us = NEWCOMER_GRACE_US;
    }
    return (eldest >> BELL_BITS) + grace_us < request->arrived_ns / 1000;
}

bool usher_turn_is_anothers(usher_channel_t *channel, usher_request_t *request, uint64_t now_ns) {
    usher_class_gate_t *gate = gate_of(channel, request->class_ref.index);
    uint64_t eldest = eldest_of(gate);
    if (eldest == 0 || !goes_first(channel, request, eldest)) {
        return false;
    }
    request->deferred_ns = request->deferred_ns != 0 ? request->deferred_ns : now_ns;
    if (now_ns > request->deferred_ns + DEFERS_MAX_NS) {
        return false;
    }
    uint64_t now_us = now_ns / 1000;
    uint64_t called_us = atomic_load(&gate->called_us);
    if (called_us == 0) {
        if (atomic_compare_exchange_strong(&gate->called_us, &called_us, now_us)) {
            ring_bell(channel, request->class_ref.index, bell_of(eldest));
        }
        return true;
    }
    if (called_us + PATIENCE_US > now_us && called_us <= now_us + PATIENCE_US) {
        return true;
    }
    if (atomic_compare_exchange_strong(&gate->eldest, &eldest, 0)) {
        atomic_store(&gate->called_us, 0);
    }
    return false;
}

/*
 * A place was given back. nginx looks at its own line next, which rings if it is not its turn; with
 * no line, and in Apache, where nobody knows who sleeps, the eldest is called.
 */
void usher_turn_call(usher_channel_t *channel, uint32_t class_index) {
    uint64_t eldest =
        atomic_load_explicit(&gate_of(channel, class_index)->eldest, memory_order_relaxed);
    if (!channel->may_block && usher_own_waiting(channel, class_index) > 0) {
        return;
    }
    uint32_t bell = bell_of(eldest);
    if (bell == 0 || bell == channel->bell) {
        usher_gate_wake(channel->places, class_index, 1);
    } else {
        ring_bell(channel, class_index, bell);
    }
}

void usher_worker_sleep(usher_channel_t *channel, uint32_t *heard) {
    _Atomic uint32_t *bell = &channel->places->bells[channel->bell];
    while (atomic_load(bell) == *heard) {
        usher_os_futex_wait(bell, *heard, UINT64_C(3600000) * USHER_MS_NS);
    }
    usher_rest(&channel->slept_ns, RING_REST_NS);
    *heard = atomic_load(bell);
}
