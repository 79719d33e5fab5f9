/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker counts. The truth is in its own memory, where nobody else can write; the cell in
 * shared memory is a copy for the manager. So whatever a hostile or broken worker makes of the cells
 * of others is overwritten with the truth: by the next count in that cell, and in all cells of a
 * worker when the manager asks for a recount.
 *
 * Own word and cell hold the count in the lower half and, above, how often it changed. Counting:
 *
 *   1. own word + 1 (or − 1), and + 1 change, at once
 *   2. the cell is the copy just before mine: compare-and-swap it to mine; else
 *      read the cell, then the own word; they differ: compare-and-swap the cell to the own word
 *
 * Several threads do that at a time, and whoever reads first may write last. Yet no count goes back:
 * a cell that was read before the own word held that word or an older one, so the compare-and-swap
 * only succeeds from an older copy to a newer one; a copy never comes again, because changes are
 * numbered. When step 2 ends the cell has my count or a later state, and from then on it always has
 * (unless it is damaged). That is what draining relies on (places.c), and all of it is seq_cst.
 *
 * The tries of step 2 are bounded: a cell that others write all the time is left to the next count.
 *
 * A worker that may not block counts in one thread, and nothing but a recount copies beside it. There
 * both steps are plain stores with release: nobody has a newer copy than that thread, and a recount
 * that read the cell before the store cannot swap it afterwards, as no copy comes again. What
 * must not be seen before the count comes behind a fence (usher_fence_after_swap in places.c and
 * gate.c).
 */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "channel/internal.h"
#include "os/os.h"

#define UP ((UINT64_C(1) << 32) + 1)
#define DOWN ((UINT64_C(1) << 32) - 1)
#define LAG_MAX 65536u /* changes that threads on their way may not have copied yet */
#define WATCH_NS (UINT64_C(3600000) * USHER_MS_NS)
#define WATCH_STACK 65536u

/* Is it a copy that this worker may have made? */
static bool is_copy(uint64_t cell, uint64_t own) {
    return cell == own || (uint32_t)((own >> 32) - (cell >> 32)) - 1 < LAG_MAX;
}

static void publish(usher_channel_t *channel, const _Atomic uint64_t *own, _Atomic uint64_t *cell) {
    for (uint32_t i = 0; i < USHER_TRIES_MAX; i++) {
        uint64_t seen = atomic_load(cell);
        uint64_t now = atomic_load(own);
        USHER_STEP("copy: read");
        if (seen == now) {
            return;
        }
        if (atomic_compare_exchange_strong(cell, &seen, now)) {
            if (!is_copy(seen, now)) {
                atomic_fetch_add(&channel->cells->header.damages, 1);
            }
            return;
        }
    }
}

static void count_alone(usher_channel_t *channel, _Atomic uint64_t *own, _Atomic uint64_t *cell,
                        bool up) {
    uint64_t was = atomic_load_explicit(own, memory_order_relaxed);
    if (!up && (uint32_t)was == 0) {
        return; /* of a former life of this process as a worker */
    }
    uint64_t now = was + (up ? UP : DOWN);
    uint64_t seen = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(own, now, memory_order_release);
    USHER_STEP("count: own word counted");
    atomic_store_explicit(cell, now, memory_order_release);
    if (seen != was && !is_copy(seen, was)) {
        atomic_fetch_add(&channel->cells->header.damages, 1);
    }
}

static void count_among_threads(usher_channel_t *channel, _Atomic uint64_t *own,
                                _Atomic uint64_t *cell, bool up) {
    uint64_t was, change = up ? UP : DOWN;
    if (up) {
        was = atomic_fetch_add(own, change);
    } else {
        was = atomic_load_explicit(own, memory_order_relaxed);
        do {
            if ((uint32_t)was == 0) {
                return; /* as above */
            }
        } while (!atomic_compare_exchange_weak(own, &was, was + change));
    }
    USHER_STEP("count: own word counted");
    uint64_t seen = was; /* most often: then it is older, whoever copied it */
    if (!atomic_compare_exchange_strong(cell, &seen, was + change)) {
        publish(channel, own, cell);
    }
}

static void count(usher_channel_t *channel, _Atomic uint64_t *own, _Atomic uint64_t *cell,
                  bool up) {
    if (channel->may_block) {
        count_among_threads(channel, own, cell, up);
    } else {
        count_alone(channel, own, cell, up);
    }
}

void usher_own_count_place(usher_channel_t *channel, uint32_t endpoint_index, bool up) {
    count(channel, &channel->own->counts[endpoint_index], &channel->worker->counts[endpoint_index],
          up);
}

void usher_own_count_kept(usher_channel_t *channel, uint32_t endpoint_index, bool up) {
    if (atomic_load_explicit(&channel->own->has_kept, memory_order_relaxed) == 0) {
        atomic_store(&channel->own->has_kept, 1);
        atomic_store(&channel->worker->has_kept, 1);
    }
    count(channel, &channel->own->kept[endpoint_index], &channel->worker->kept[endpoint_index], up);
}

void usher_own_count_waiting(usher_channel_t *channel, uint32_t class_index, bool up) {
    count(channel, &channel->own->waiting[class_index], &channel->worker->load[class_index].waiting,
          up);
}

uint32_t usher_own_waiting(const usher_channel_t *channel, uint32_t class_index) {
    return (uint32_t)atomic_load_explicit(&channel->own->waiting[class_index],
                                          memory_order_relaxed);
}

/* ---- recount ----------------------------------------------------------------------------- */

static void restore(_Atomic uint32_t *word, uint32_t value) {
    if (atomic_load(word) != value) {
        atomic_store(word, value);
    }
}

static void recount_kept(usher_channel_t *channel, uint32_t endpoints) {
    usher_worker_record_t *worker = channel->worker;
    if (atomic_load(&channel->own->has_kept) != 0) {
        restore(&worker->has_kept, 1);
    }
    if (atomic_load(&worker->has_kept) == 0) {
        return; /* spares the pages (layout.h) */
    }
    for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX && i < endpoints; i++) {
        publish(channel, &channel->own->kept[i], &worker->kept[i]);
    }
}

/* What the manager reads of this worker beside its counts. */
static void describe(usher_channel_t *channel) {
    usher_worker_record_t *worker = channel->worker;
    restore(&worker->generation, channel->own->generation);
    restore(&worker->pid, (uint32_t)getpid());
    USHER_STEP("attach: described");
    restore(&worker->state, USHER_WORKER_USED);
}

void usher_worker_recount(usher_channel_t *channel) {
    const usher_table_header_t *table = &channel->table->header;
    usher_worker_record_t *worker = channel->worker;
    uint32_t endpoints = atomic_load(&table->endpoints_used);
    uint32_t classes = atomic_load(&table->classes_used);
    atomic_store(&channel->recounted, atomic_load(&table->recount));
    for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX && i < endpoints; i++) {
        publish(channel, &channel->own->counts[i], &worker->counts[i]);
    }
    recount_kept(channel, endpoints);
    for (uint32_t i = 0; i < USHER_CLASSES_MAX && i < classes; i++) {
        if (usher_own_waiting(channel, i) != 0) {
            usher_load_know(channel, i);
        }
        if (usher_worker_knows_group(worker, i)) {
            publish(channel, &channel->own->waiting[i], &worker->load[i].waiting);
        }
    }
    describe(channel);
}

void usher_recount_when_asked(usher_channel_t *channel) {
    if (atomic_load_explicit(&channel->table->header.recount, memory_order_relaxed) !=
        atomic_load_explicit(&channel->recounted, memory_order_relaxed)) {
        usher_worker_recount(channel);
    }
}

/* ---- a thread that recounts while no request comes ------------------------------------------ */

static void *watch(void *argument) {
    usher_channel_t *channel = argument;
    const _Atomic uint32_t *asked = &channel->table->header.recount;
    while (!atomic_load(&channel->watch_ends)) {
        uint32_t heard = atomic_load(&channel->recounted);
        if (atomic_load(asked) == heard) {
            usher_os_futex_wait(asked, heard, WATCH_NS);
        } else {
            usher_worker_recount(channel);
        }
    }
    atomic_store(&channel->watch_ended, true);
    return NULL;
}

usher_status_t usher_worker_watch(usher_channel_t *channel, usher_error_t *error) {
    pthread_attr_t attributes;
    sigset_t all, before;
    if (!channel->worker || channel->watch_pid == getpid()) {
        return usher_fail(error, USHER_INVALID, 0, "this process is no worker of %s, or watches it",
                          channel->server);
    }
    int failure = pthread_attr_init(&attributes);
    if (failure == 0) {
        pthread_attr_setstacksize(&attributes, WATCH_STACK);
        atomic_store(&channel->watch_ends, false);
        atomic_store(&channel->watch_ended, false);
        sigfillset(&all); /* the server's signals are for its own threads */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        failure = pthread_create(&channel->watcher, &attributes, watch, channel);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
    }
    if (failure != 0) {
        return usher_fail(error, USHER_SYSTEM, failure,
                          "cannot start a thread for the channel of %s", channel->server);
    }
    channel->watch_pid = getpid();
    return USHER_OK;
}

/* Waking needs no right to write. The thread may be just about to sleep: so again and again. */
void usher_worker_unwatch(usher_channel_t *channel) {
    static const struct timespec moment = {.tv_nsec = 100000};
    if (channel->watch_pid != getpid()) {
        return; /* none, or that of the process that forked this one */
    }
    channel->watch_pid = 0;
    atomic_store(&channel->watch_ends, true);
    while (!atomic_load(&channel->watch_ended)) {
        usher_os_futex_wake(&channel->table->header.recount, INT32_MAX);
        nanosleep(&moment, NULL);
    }
    pthread_join(channel->watcher, NULL);
}
