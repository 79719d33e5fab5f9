/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that workers keep for their next requests. A program with a thread for each connection
 * has a thread less for each idle one, and as many threads as its endpoint has places. So all workers
 * count what they keep at an endpoint, as they count requests there (places.c): own cell first, the
 * place's `kept` second, and in the opposite order when one is taken or closed. The cells are the
 * truth for settling and repairing, `kept` is a hint.
 *
 *   requests + kept ≤ concurrency      each has a thread of the program
 *   requests + kept > concurrency      a request has connected and found all threads taken: kept
 *                                      connections are in its way
 *
 * Whoever is done with a request keeps its connection in the first case only; in the second its end
 * is what the other one waits for. Where nobody is about to be done, the request that connects calls
 * the worker that kept one there last, which closes what is in the way: `keeper` is its bell (turn.c).
 * Apache's children have no bell and look by themselves, every few ms.
 *
 * It seldom comes to that, as a request goes where its worker has a connection, and else where there
 * is a thread (choose.c). The two words are not read at one moment, and for a moment a request is
 * counted in both or in none: that costs a connection that is closed or kept for nothing. A wild value
 * costs that much for each request, until the manager has repaired it.
 */
#include "channel/internal.h"

static bool is_in_excess(const usher_channel_t *channel, uint32_t endpoint_index) {
    const usher_place_t *place = &channel->places->places[endpoint_index];
    uint64_t kept = atomic_load(&place->kept);
    uint64_t in_use = atomic_load(&place->in_use);
    return kept + in_use >
           atomic_load_explicit(&channel->table->endpoints[endpoint_index].concurrency,
                                memory_order_relaxed);
}

bool usher_kept_add(usher_channel_t *channel, usher_ref_t endpoint) {
    usher_place_t *place = &channel->places->places[endpoint.index];
    if (!channel->worker || is_in_excess(channel, endpoint.index)) {
        return false;
    }
    usher_own_count_kept(channel, endpoint.index, true);
    USHER_STEP("keep: cell counted");
    atomic_fetch_add(&place->kept, 1);
    if (atomic_load_explicit(&place->keeper, memory_order_relaxed) != channel->bell) {
        atomic_store_explicit(&place->keeper, channel->bell, memory_order_relaxed);
    }
    return true;
}

void usher_kept_remove(usher_channel_t *channel, usher_ref_t endpoint) {
    if (!channel->worker) {
        return; /* what it counted is settled */
    }
    usher_count_down(&channel->places->places[endpoint.index].kept);
    USHER_STEP("unkeep: place given back");
    usher_own_count_kept(channel, endpoint.index, false);
}

bool usher_kept_is_in_way(const usher_channel_t *channel, usher_ref_t endpoint) {
    return atomic_load(&channel->places->places[endpoint.index].kept) > 0 &&
           is_in_excess(channel, endpoint.index);
}

void usher_kept_call(usher_channel_t *channel, usher_ref_t endpoint) {
    if (usher_kept_is_in_way(channel, endpoint)) {
        usher_bell_ring(channel, atomic_load(&channel->places->places[endpoint.index].keeper));
    }
}
