/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doorbell: a futex word that workers count up when there is something to do.
 *
 * The manager stores manager_sleeping = 1, reads the doorbell again, and sleeps only while it has
 * the value it has dealt with. A worker counts the doorbell up, then reads manager_sleeping, and
 * makes the system call only when it is 1. All four are seq_cst: either the worker reads 1 and wakes
 * (or FUTEX_WAIT finds another value), or its read comes before the manager's store, hence its + 1
 * before the manager's second read, which then does not sleep. A worker that is killed in between
 * costs one sleep of the manager: it sleeps a bounded time only.
 */
#include <limits.h>

#include "channel/internal.h"
#include "os/os.h"

void usher_doorbell_ring(usher_places_t *places) {
    atomic_fetch_add(&places->header.doorbell, 1);
    USHER_STEP("doorbell: counted");
    if (atomic_load(&places->header.manager_sleeping) != 0) {
        usher_os_futex_wake(&places->header.doorbell, INT_MAX);
    }
}
