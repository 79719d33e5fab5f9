/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of one server's cells: it guards writing the start-request ring, nothing else. It is held
 * for some microseconds; the manager and other servers never take it.
 *
 * The word is 0 (free) or its owner: the worker's slot + 1 and, above, a number that is another one
 * each time the worker takes the lock; with USHER_LOCK_WAITERS when somebody may sleep on it. As long
 * as a worker lives it holds the lock on its slot's byte of the server's live file. From this follows
 * who may take the word from whom:
 *
 * – Taking and giving back are compare-and-swaps from 0 to me and from me to 0. Taking acquires and
 *   giving back releases, so whoever owns the lock sees all that former owners wrote under it.
 * – Threads of one process share a slot, so they first take a mutex of their process. Whoever has that
 *   and finds the own slot in the word finds what a former worker of the slot left, or damage.
 * – An owner that cannot be is damage.
 * – An owner whose byte is free is dead. The successor first locks that byte itself: from then on
 *   nobody can claim the slot and take the lock, so a word that still names the dead owner is really
 *   its own. Should the successor die meanwhile, the kernel unlocks the byte and the next one succeeds.
 * – An owner whose byte is locked lives. If the word, with its number, has been the same for
 *   USHER_LOCK_WAIT_NS the owner is stopped, or the word is a lie: the lock is taken from it. When a
 *   stopped one goes on, two may be in the ring at a time and mix two entries in one: its hash tells,
 *   the manager drops it, and the requests ask again. It does not give back what is not its own any more.
 *
 * A dead owner wakes nobody: sleepers look after it every SLICE_NS.
 */
#include <time.h>

#include "channel/internal.h"
#include "os/os.h"

#define SLICE_NS USHER_MS_NS
#define SLOT_BITS 11
#define NUMBER_MASK 0xfffffu

_Static_assert(USHER_WORKERS_MAX < 1u << SLOT_BITS, "a slot + 1 fits");
_Static_assert((uint64_t)NUMBER_MASK << SLOT_BITS < USHER_LOCK_WAITERS, "its number fits");

static uint32_t without_waiters(uint32_t word) {
    return word & ~USHER_LOCK_WAITERS;
}

/* The owner's slot + 1; 0 = free. */
static uint32_t owner_of(uint32_t word) {
    return word & ((1u << SLOT_BITS) - 1);
}

static bool take_from(usher_channel_t *channel, uint32_t word, uint32_t mine) {
    if (!atomic_compare_exchange_strong(&channel->cells->header.lock, &word, mine)) {
        return false;
    }
    channel->lock_word = without_waiters(mine);
    return true;
}

static bool take_from_dead(usher_channel_t *channel, uint32_t word, uint32_t mine) {
    uint32_t slot = owner_of(word) - 1;
    if (usher_os_lock_byte(channel->live_fd, slot) != 0) {
        return false;
    }
    USHER_STEP("lock: dead owner's byte held");
    bool taken = take_from(channel, word, mine);
    usher_os_unlock_byte(channel->live_fd, slot);
    return taken;
}

/* Has this process seen the same owner for too long? */
static bool is_overdue(usher_channel_t *channel, uint32_t word, uint64_t now_ns) {
    if (channel->lock_seen != without_waiters(word)) {
        channel->lock_seen = without_waiters(word);
        channel->lock_seen_ns = now_ns;
    }
    return now_ns - channel->lock_seen_ns >= USHER_LOCK_WAIT_NS;
}

/* Take the lock from an owner that does not have it, or not any more. */
static bool succeed(usher_channel_t *channel, uint32_t word, uint32_t mine, uint64_t now_ns) {
    uint32_t owner = owner_of(word);
    uint32_t successor = mine | USHER_LOCK_WAITERS; /* others may sleep: wake one later */
    bool taken;
    if (owner == 0 || owner > USHER_WORKERS_MAX || owner == channel->slot + 1 ||
        is_overdue(channel, word, now_ns)) {
        taken = take_from(channel, word, successor);
    } else {
        taken = take_from_dead(channel, word, successor);
    }
    if (taken) {
        USHER_STEP("lock: succeeded");
        atomic_fetch_add_explicit(&channel->cells->header.lock_successions, 1,
                                  memory_order_relaxed);
    }
    return taken;
}

/* Sleep until the lock may have come free, at most a slice. */
static void wait_for_owner(_Atomic uint32_t *lock, uint32_t word, uint64_t rest_ns) {
    if (!(word & USHER_LOCK_WAITERS) &&
        !atomic_compare_exchange_strong(lock, &word, word | USHER_LOCK_WAITERS)) {
        return; /* it changed: look again */
    }
    usher_os_futex_wait(lock, word | USHER_LOCK_WAITERS, rest_ns < SLICE_NS ? rest_ns : SLICE_NS);
}

/* The process's mutex is ours. */
static usher_status_t take_word(usher_channel_t *channel, uint64_t begun_ns, uint64_t wait_ns) {
    _Atomic uint32_t *lock = &channel->cells->header.lock;
    channel->lock_number = (channel->lock_number + 1) & NUMBER_MASK;
    uint32_t mine = (channel->slot + 1) | channel->lock_number << SLOT_BITS;
    for (uint64_t now_ns = begun_ns;; now_ns = usher_os_now_ns()) {
        uint32_t word = atomic_load(lock);
        if (word == 0 && take_from(channel, 0, mine)) {
            USHER_STEP("lock: taken");
            return USHER_OK;
        }
        if (word != 0 && succeed(channel, word, mine, now_ns)) {
            return USHER_OK;
        }
        if (now_ns - begun_ns >= wait_ns) {
            return wait_ns == 0 ? USHER_AGAIN : USHER_TIMEOUT;
        }
        if (word != 0) {
            wait_for_owner(lock, word, wait_ns - (now_ns - begun_ns));
            mine |= USHER_LOCK_WAITERS; /* others may sleep as well: only this word can tell */
        }
    }
}

/* pthread_mutex_clocklock is not everywhere; a clock that is set costs a request its turn. */
static bool enter(usher_channel_t *channel, uint64_t wait_ns) {
    if (pthread_mutex_trylock(&channel->lock_mutex) == 0) {
        return true;
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    uint64_t at_ns = (uint64_t)until.tv_nsec + wait_ns;
    until.tv_sec += (time_t)(at_ns / 1000000000u);
    until.tv_nsec = (long)(at_ns % 1000000000u);
    return wait_ns > 0 && pthread_mutex_timedlock(&channel->lock_mutex, &until) == 0;
}

usher_status_t usher_lock_take(usher_channel_t *channel, uint64_t wait_ns) {
    if (!enter(channel, wait_ns)) {
        return wait_ns == 0 ? USHER_AGAIN : USHER_TIMEOUT;
    }
    usher_status_t status = take_word(channel, usher_os_now_ns(), wait_ns);
    if (status != USHER_OK) {
        pthread_mutex_unlock(&channel->lock_mutex);
    }
    return status;
}

static void give_back(usher_channel_t *channel, uint32_t mine) {
    _Atomic uint32_t *lock = &channel->cells->header.lock;
    uint32_t word = atomic_load(lock);
    for (uint32_t i = 0; i < USHER_TRIES_MAX && without_waiters(word) == mine; i++) {
        if (atomic_compare_exchange_strong(lock, &word, 0)) {
            USHER_STEP("lock: released");
            if (word & USHER_LOCK_WAITERS) {
                usher_os_futex_wake(lock, 1);
            }
            return;
        }
    }
}

void usher_lock_release(usher_channel_t *channel) {
    give_back(channel, channel->lock_word);
    pthread_mutex_unlock(&channel->lock_mutex);
}

void usher_lock_inherit(usher_channel_t *channel) {
    uint32_t word = atomic_load(&channel->cells->header.lock);
    if (owner_of(word) == channel->slot + 1) {
        USHER_STEP("lock: inherited");
        atomic_fetch_add_explicit(&channel->cells->header.lock_successions, 1,
                                  memory_order_relaxed);
        give_back(channel, without_waiters(word));
    }
}
