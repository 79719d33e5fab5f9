/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hung instances. A request that is given up after -request-timeout leaves a program behind that
 * goes on with it: whoever were lent its place next would wait for something that may never end. So
 * the whole instance takes no more requests, of no worker of any server, until the manager has
 * replaced it.
 *
 *   give up                                          take (places.c)
 *     1. has_timed_out, then timed_out[] + 1 (cell)     2. place + 1
 *     2. hung = number of the instance                  3. read instance, then hung: equal: undo
 *     3. release the place
 *
 * The cell is the truth; `hung` is a hint for workers, as writable as a place. All steps are seq_cst.
 * Who takes the place that was given up comes after step 3 and finds the hint, so the instance gets
 * nothing more to do; where it has other places, they may be lent until step 2.
 *
 * The number is a unique one. The manager takes another for each instance that starts at the
 * endpoint, so no hint and no count survives its instance, and nothing has to be cleared: not even
 * when the record is another endpoint's by then. A request whose connection still stands when it is
 * given up is at the instance that is there now, whichever was there when its place was taken: what
 * waits in the socket when an instance dies goes to the next one, what it had accepted breaks.
 *
 * A worker killed after step 1 leaves a count without a hint, a hostile one hints without a count:
 * usher_manager_repair_hints makes them agree. It reads the hint before the cells, so a hint that it
 * takes away was there before anybody counted.
 *
 * An external host is counted and not marked: nobody here could ever say that it hangs no more.
 */
#include "channel/internal.h"

static void count_in_cell(_Atomic uint64_t *cell, uint32_t instance) {
    uint64_t seen = atomic_load(cell);
    for (uint32_t i = 0; i < USHER_TRIES_MAX; i++) {
        uint32_t count = (uint32_t)(seen >> 32) == instance ? (uint32_t)seen : 0;
        uint64_t next = (uint64_t)instance << 32 | (count < UINT32_MAX ? count + 1 : count);
        if (atomic_compare_exchange_weak(cell, &seen, next)) {
            return;
        }
    }
}

void usher_hung_count(usher_channel_t *channel, usher_ref_t endpoint, uint32_t kind) {
    const usher_endpoint_record_t *record = &channel->table->endpoints[endpoint.index];
    uint32_t instance = atomic_load(&record->instance);
    if (atomic_load(&record->generation) != endpoint.generation) {
        return; /* it is gone already */
    }
    atomic_store(&channel->worker->has_timed_out, 1);
    USHER_STEP("hung: told");
    count_in_cell(&channel->worker->timed_out[endpoint.index], instance);
    USHER_STEP("hung: cell counted");
    if (kind != USHER_KIND_EXTERNAL) {
        atomic_store(&channel->places->places[endpoint.index].hung, instance);
        USHER_STEP("hung: marked");
    }
}

uint32_t usher_timeouts_at(const usher_worker_record_t *worker, uint32_t endpoint_index,
                           uint32_t instance) {
    if (atomic_load(&worker->has_timed_out) == 0) {
        return 0; /* spares the page (layout.h) */
    }
    uint64_t cell = atomic_load(&worker->timed_out[endpoint_index]);
    return (uint32_t)(cell >> 32) == instance ? (uint32_t)cell : 0;
}
