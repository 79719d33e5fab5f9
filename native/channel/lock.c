/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock of one server's cells: it guards writing the start-request ring, nothing else. It is held
 * for some microseconds; the manager and other servers never take it.
 *
 * The word is 0 (free) or the owner's slot + 1, with USHER_LOCK_WAITERS when somebody may sleep on
 * it. A worker's identity is its slot, and as long as the worker lives it holds the lock on that
 * slot's byte of the server's live file. From this follows who may take the word from whom:
 *
 * – Taking and giving back are compare-and-swaps from 0 to me and from me to 0. Taking acquires and
 *   giving back releases, so whoever owns the lock sees all that former owners wrote under it.
 * – An owner whose byte is locked lives, stopped or not: it keeps the lock, others time out.
 * – An owner whose byte is free is dead. The successor first locks that byte itself: from then on
 *   nobody can claim the slot and take the lock by the same number, so a word that still names the
 *   dead owner after that is really its own, and the compare-and-swap from it cannot hit a living
 *   one (the value alone would not tell: slots are reused). Should the successor die meanwhile, the
 *   kernel unlocks the byte and the next one succeeds.
 * – The owner may be another thread of my own process: same slot, same open file description, whose
 *   locks never conflict with each other. So "my own slot" means a living owner, always. It is also
 *   why threads of a process look after dead owners one at a time: the second one's lock on the dead
 *   slot's byte would succeed as well, and end when the first one unlocks it.
 * – A slot claimed anew may still be named as owner: its former worker died with the lock. The
 *   claimant holds the byte, so nobody else can succeed: it does so itself (usher_lock_inherit)
 *   before any thread of its process asks for the lock.
 *
 * A dead owner wakes nobody: sleepers look after it every SLICE_NS. An owner number that cannot be
 * is damage done by some worker, and is overwritten like a dead owner's.
 */
#include "channel/internal.h"
#include "os/os.h"

#define SLICE_NS (2 * USHER_MS_NS)

static uint32_t owner_of(uint32_t word) {
    return word & ~USHER_LOCK_WAITERS;
}

/* Finish what a dead owner left behind. The word names the caller already. */
static void succeed(usher_channel_t *channel) {
    USHER_STEP("lock: succeeded");
    usher_ring_repair(channel->cells);
    atomic_fetch_add_explicit(&channel->cells->header.lock_successions, 1, memory_order_relaxed);
}

/* Take the lock from an owner that is dead. `word` is what the lock was seen to be. */
static bool take_from_dead(usher_channel_t *channel, uint32_t word) {
    _Atomic uint32_t *lock = &channel->cells->header.lock;
    uint32_t slot = owner_of(word) - 1;
    uint32_t mine = (channel->slot + 1) | USHER_LOCK_WAITERS; /* others may sleep: wake one later */
    if (slot == channel->slot) {
        return false;
    }
    if (slot >= USHER_WORKERS_MAX) {
        return atomic_compare_exchange_strong(lock, &word, mine);
    }
    if (pthread_mutex_trylock(&channel->succession) != 0) {
        return false; /* a thread of this process is at it */
    }
    bool taken = false;
    if (usher_os_lock_byte(channel->live_fd, slot) == 0) {
        USHER_STEP("lock: dead owner's byte held");
        uint32_t expected = word;
        taken = atomic_compare_exchange_strong(lock, &expected, mine);
        usher_os_unlock_byte(channel->live_fd, slot);
    }
    pthread_mutex_unlock(&channel->succession);
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

usher_status_t usher_lock_take(usher_channel_t *channel, uint64_t wait_ns) {
    _Atomic uint32_t *lock = &channel->cells->header.lock;
    uint32_t free_word = 0;
    uint32_t mine = channel->slot + 1;
    if (atomic_compare_exchange_strong(lock, &free_word, mine)) {
        USHER_STEP("lock: taken");
        return USHER_OK;
    }
    uint64_t deadline = usher_os_now_ns() + wait_ns;
    for (;;) {
        uint32_t word = atomic_load(lock);
        if (owner_of(word) == 0) {
            if (atomic_compare_exchange_strong(lock, &word, mine)) {
                USHER_STEP("lock: taken after waiting");
                return USHER_OK;
            }
            continue;
        }
        if (take_from_dead(channel, word)) {
            succeed(channel);
            return USHER_OK;
        }
        uint64_t now = usher_os_now_ns();
        if (now >= deadline) {
            return wait_ns == 0 ? USHER_AGAIN : USHER_TIMEOUT;
        }
        wait_for_owner(lock, word, deadline - now);
        mine |=
            USHER_LOCK_WAITERS; /* others may sleep as well and only the owner's word can tell */
    }
}

void usher_lock_release(usher_channel_t *channel) {
    _Atomic uint32_t *lock = &channel->cells->header.lock;
    uint32_t word = atomic_load_explicit(lock, memory_order_relaxed);
    do {
        if (owner_of(word) != channel->slot + 1) {
            return; /* overwritten by a damaged worker: not ours to free any more */
        }
    } while (!atomic_compare_exchange_weak(lock, &word, 0));
    USHER_STEP("lock: released");
    if (word & USHER_LOCK_WAITERS) {
        usher_os_futex_wake(lock, 1);
    }
}

void usher_lock_inherit(usher_channel_t *channel) {
    uint32_t word = atomic_load(&channel->cells->header.lock);
    if (owner_of(word) == channel->slot + 1) {
        succeed(channel);
        usher_lock_release(channel);
    }
}
