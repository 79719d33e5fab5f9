/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counting protocol: how a request takes a place at an endpoint so that the manager can end the
 * instance without losing one.
 *
 * Two counts say how many requests are at an endpoint. The *cell* belongs to one worker and is the
 * truth: the manager sums the cells of all workers. The *place* is shared by the workers of all
 * servers and is what they compare with the endpoint's concurrency; it is a hint, and a wrong one
 * costs fairness only. (Workers keep their cells right whoever else writes there: own.c.)
 *
 *   take                              drain (manager)
 *     1. cell + 1                       1. state = DRAINING
 *     2. place + 1 while < concurrency  2. sum the cells
 *     3. read state, then generation    3. 0: nobody is there and nobody will come
 *        not usable, or hung: undo
 *   release
 *     1. place − 1
 *     2. cell − 1
 *
 * Draining loses nobody. Steps 1 and 3 of take and steps 1 and 2 of drain are seq_cst, so they all
 * stand in one order S that agrees with each side's own. Either the worker's read of the state
 * comes after DRAINING in S: it sees it (or a later state) and undoes. Or it comes before: then its
 * cell + 1 comes before DRAINING too, hence before the manager's sum, which therefore counts the
 * request until it is released. In a worker of one thread cell + 1 is a plain store (own.c); there
 * the seq_cst fence between 1 and 3 stands for it in S: what was stored before a fence is seen by
 * each seq_cst read that comes after the fence. All that holds for a worker that attached meanwhile
 * as well: its slot became USED, and was counted in worker_slots, by seq_cst stores before its first
 * cell + 1. Undoing can make a sum too high for a moment, never too low.
 *
 * The generation is read after the state. A record's generation never comes back to a former value,
 * so when it is still mine at step 3, the state read before it was my endpoint's and not a
 * successor's in the same record.
 *
 * An instance that hangs takes no more requests: hung.c says how that fits in here.
 *
 * A worker may die between any two steps:
 *   take, after 1      cell 1 too high, place not yet: settling takes one from a place that another
 *                      request holds, so one more than allowed may be let in
 *   take, after 2; a request that is being served    both count it, settling gives both back
 *   release, after 1   as take after 1
 * Settling gives back place first, cell second, like a release. The manager may be killed there as
 * well: the next one goes on with what the cells still say, and at worst gives back one cell's count
 * twice. So deaths let in too many for a while and never leak: the place does not stay higher than
 * the cells for the death of a worker or a manager.
 *
 * Because a place can be too low, every − 1 saturates at 0: releasing all requests brings it back
 * to exactly 0. Damage can still make it anything; usher_manager_repair_hints looks after that.
 *
 * Orderings: the compare-and-swap of the place needs atomicity only, it orders nothing by itself;
 * it is seq_cst like all the others because a sleeper relies on it (gate.c) and on x86 and ARMv8.1
 * that costs nothing extra.
 */
#include "channel/internal.h"

static bool take_below(_Atomic uint32_t *place, uint32_t limit) {
    uint32_t in_use = atomic_load_explicit(place, memory_order_relaxed);
    for (uint32_t i = 0; i < USHER_TRIES_MAX && in_use < limit; i++) {
        if (atomic_compare_exchange_weak(place, &in_use, in_use + 1)) {
            return true;
        }
    }
    return false;
}

usher_status_t usher_place_take(usher_channel_t *channel, usher_ref_t endpoint) {
    const usher_endpoint_record_t *record = &channel->table->endpoints[endpoint.index];
    _Atomic uint32_t *place = &channel->places->places[endpoint.index].in_use;
    uint32_t concurrency = atomic_load_explicit(&record->concurrency, memory_order_relaxed);

    USHER_STEP("take: begun");
    usher_own_count_place(channel, endpoint.index, true);
    USHER_STEP("take: cell counted");
    if (!take_below(place, concurrency)) {
        usher_own_count_place(channel, endpoint.index, false);
        USHER_STEP("take: undone, full");
        return USHER_FULL;
    }
    USHER_STEP("take: place counted");
    usher_fence_after_swap();
    uint32_t state = atomic_load(&record->state);
    uint32_t generation = atomic_load(&record->generation);
    USHER_STEP("take: state read");
    if ((state == USHER_ENDPOINT_READY || state == USHER_ENDPOINT_STARTING) &&
        generation == endpoint.generation && !usher_is_hung(channel, endpoint.index)) {
        return USHER_OK;
    }
    usher_place_release(channel, endpoint.index);
    return USHER_STALE;
}

void usher_place_release(usher_channel_t *channel, uint32_t endpoint_index) {
    usher_count_down(&channel->places->places[endpoint_index].in_use);
    USHER_STEP("release: place given back");
    usher_own_count_place(channel, endpoint_index, false);
    USHER_STEP("release: cell given back");
}

void usher_place_count_served(usher_channel_t *channel, uint32_t endpoint_index) {
    atomic_fetch_add(&channel->places->places[endpoint_index].served, 1);
}

void usher_place_count_unreached(usher_channel_t *channel, uint32_t endpoint_index) {
    atomic_fetch_add(&channel->places->places[endpoint_index].unreached, 1);
}

void usher_count_give_back(_Atomic uint32_t *shared, _Atomic uint64_t *own) {
    uint32_t count = usher_counted(atomic_load(own));
    uint32_t all = atomic_load(shared);
    for (uint32_t i = 0; i < USHER_TRIES_MAX && all > 0; i++) {
        if (atomic_compare_exchange_weak(shared, &all, all > count ? all - count : 0)) {
            break;
        }
    }
    USHER_STEP("settle: shared count given back");
    atomic_store(own, 0);
    USHER_STEP("settle: own count given back");
}
