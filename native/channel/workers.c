/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker slots: claimed after the fork, left at an orderly exit, settled after a death.
 *
 * Whoever holds the lock on a slot's byte of the live file is the only one to write the slot's
 * record: its worker while it lives, a claimant, or whoever settles it (manager.h). So claiming needs
 * no other lock, and a worker that was stopped while it held the channel's lock keeps nobody from
 * attaching. The kernel frees the byte with the last descriptor of the open file description,
 * however the process ended.
 *
 *   FREE, byte free    nobody's; all counts and gauges are 0 (or damaged: own.c)
 *   USED, byte locked  a living worker
 *   USED, byte free    a dead worker; its counts are still in the sums, and are given back by the
 *                      manager, or by a claimant that finds no FREE slot
 *
 * `state` becomes USED by a seq_cst store before the worker counts anything, and the manager sums
 * with seq_cst loads: see places.c for what hangs on that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "channel/internal.h"
#include "os/os.h"

uint32_t usher_worker_slots(const usher_cells_t *cells) {
    uint32_t slots = atomic_load(&cells->header.worker_slots);
    return slots < USHER_WORKERS_MAX ? slots : USHER_WORKERS_MAX;
}

/* ---- settling ---------------------------------------------------------------------------- */

void usher_worker_settle(usher_cells_t *cells, usher_places_t *places, uint32_t slot) {
    usher_worker_record_t *worker = &cells->workers[slot];
    for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX; i++) {
        if (atomic_load_explicit(&worker->counts[i], memory_order_relaxed) != 0) {
            usher_count_give_back(&places->places[i].in_use, &worker->counts[i]);
        }
    }
    bool has_kept = atomic_load(&worker->has_kept) != 0;
    for (uint32_t i = 0; has_kept && i < USHER_ENDPOINTS_MAX; i++) {
        if (atomic_load_explicit(&worker->kept[i], memory_order_relaxed) != 0) {
            usher_count_give_back(&places->places[i].kept, &worker->kept[i]);
        }
    }
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (usher_worker_knows_group(worker, i) &&
            atomic_load_explicit(&worker->load[i].waiting, memory_order_relaxed) != 0) {
            usher_count_give_back(&places->gates[i].waiting, &worker->load[i].waiting);
        }
    }
}

/* ---- claiming ---------------------------------------------------------------------------- */

/* Lock the byte of a slot in the wanted state. OK, AGAIN (not this one), SYSTEM. */
static usher_status_t try_slot(const usher_channel_t *channel, int fd, uint32_t slot,
                               usher_worker_state_t wanted, usher_error_t *error) {
    const usher_worker_record_t *worker = &channel->cells->workers[slot];
    bool touched = slot < usher_worker_slots(channel->cells);
    if (touched &&
        (atomic_load(&worker->state) == USHER_WORKER_USED) != (wanted == USHER_WORKER_USED)) {
        return USHER_AGAIN; /* spares a system call; looked at again below */
    }
    if (!touched && wanted == USHER_WORKER_USED) {
        return USHER_AGAIN;
    }
    if (usher_os_lock_byte(fd, slot) != 0) {
        return errno == EAGAIN ? USHER_AGAIN
                               : usher_fail(error, USHER_SYSTEM, errno,
                                            "cannot lock byte %u of the live file of %s", slot,
                                            channel->server);
    }
    USHER_STEP("attach: byte locked");
    if ((atomic_load(&worker->state) == USHER_WORKER_USED) == (wanted == USHER_WORKER_USED)) {
        return USHER_OK;
    }
    usher_os_unlock_byte(fd, slot);
    return USHER_AGAIN;
}

static usher_status_t lock_slot(const usher_channel_t *channel, int fd, uint32_t *slot,
                                usher_error_t *error) {
    static const usher_worker_state_t wanted[] = {USHER_WORKER_FREE, USHER_WORKER_USED};
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (*slot = 0; *slot < USHER_WORKERS_MAX; ++*slot) {
            usher_status_t status = try_slot(channel, fd, *slot, wanted[pass], error);
            if (status != USHER_AGAIN) {
                return status;
            }
        }
    }
    return usher_fail(error, USHER_FULL, 0,
                      "%s has %u living workers already, old generations included", channel->server,
                      USHER_WORKERS_MAX);
}

/* The byte of `slot` is ours: make the record ours. */
static void take_slot(usher_channel_t *channel, uint32_t slot, uint32_t generation) {
    usher_cells_header_t *header = &channel->cells->header;
    usher_worker_record_t *worker = &channel->cells->workers[slot];
    usher_count_up_to(&header->worker_slots, slot + 1);
    USHER_STEP("attach: slots counted");
    usher_lock_inherit(channel);
    if (atomic_load(&worker->state) != USHER_WORKER_FREE) {
        usher_worker_settle(channel->cells, channel->places, slot);
    }
    channel->own->generation = generation;
    channel->worker = worker;
    usher_worker_recount(channel); /* nothing: whatever somebody left or wrote in the slot */
    USHER_STEP("attach: used");
}

usher_status_t usher_worker_attach(usher_channel_t *channel, const char *live_path,
                                   uint32_t generation, bool may_block, usher_error_t *error) {
    if (channel->worker) {
        return usher_fail(error, USHER_INVALID, 0, "this process is a worker of %s already",
                          channel->server);
    }
    int fd = open(live_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return usher_fail(error, USHER_SYSTEM, errno, "cannot open %s", live_path);
    }
    uint32_t slot = 0;
    usher_own_t *own = calloc(1, sizeof(*own));
    usher_status_t status =
        own ? lock_slot(channel, fd, &slot, error)
            : usher_fail(error, USHER_SYSTEM, ENOMEM, "cannot be a worker of %s", channel->server);
    if (status != USHER_OK) {
        free(own);
        close(fd);
        return status;
    }
    channel->own = own;
    channel->live_fd = fd;
    channel->slot = slot;
    channel->may_block = may_block;
    channel->bell = may_block ? 0 : usher_bell_number(channel->server_id, slot);
    atomic_store(&channel->own->rotation, slot); /* workers begin at different endpoints */
    take_slot(channel, slot, generation);
    return USHER_OK;
}

void usher_worker_detach(usher_channel_t *channel) {
    usher_worker_unwatch(channel); /* it writes to a slot that is somebody else's at once */
    if (channel->live_fd >= 0) {
        close(channel->live_fd); /* the slot is now USED with its byte free: a dead worker's */
    }
    channel->live_fd = -1;
    channel->worker = NULL;
    free(channel->own);
    channel->own = NULL;
}
