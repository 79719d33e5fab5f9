/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's side of the channel: opening it, its state, sleeping at the doorbell. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/manager_internal.h"
#include "os/os.h"

usher_status_t usher_manager_open_files(const char *runtime_dir, int table_fd, int places_fd,
                                        usher_manager_t **manager, usher_error_t *error) {
    *manager = NULL;
    usher_status_t status = usher_check_names(runtime_dir, NULL, error);
    if (status != USHER_OK) {
        return status;
    }
    usher_manager_t *opened = calloc(1, sizeof(*opened));
    if (!opened || !(opened->runtime_dir = strdup(runtime_dir))) {
        free(opened);
        return usher_fail(error, USHER_SYSTEM, ENOMEM, "cannot open the channel in %s",
                          runtime_dir);
    }
    pthread_mutex_init(&opened->servers_mutex, NULL);
    status = usher_map_table_from(table_fd, runtime_dir, &opened->table, error);
    if (status == USHER_OK) {
        status = usher_map_places_from(places_fd, runtime_dir, &opened->places, error);
    }
    if (status != USHER_OK) {
        usher_manager_close(opened);
        return status;
    }
    atomic_store(&opened->places->header.manager_sleeping, 0);
    atomic_store(&opened->heard, atomic_load(&opened->places->header.doorbell));
    usher_buckets_recover(opened);
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (usher_bit(opened->classes, i)) {
            usher_endpoints_recover(opened, i);
        }
    }
    *manager = opened;
    return USHER_OK;
}

usher_status_t usher_manager_open(const char *runtime_dir, usher_manager_t **manager,
                                  usher_error_t *error) {
    int table_fd, places_fd;
    *manager = NULL;
    usher_status_t status = usher_channel_open_files(runtime_dir, &table_fd, &places_fd, error);
    if (status == USHER_OK) {
        status = usher_manager_open_files(runtime_dir, table_fd, places_fd, manager, error);
        close(table_fd);
        close(places_fd);
    }
    return status;
}

void usher_manager_close(usher_manager_t *manager) {
    if (!manager) {
        return;
    }
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        usher_manager_detach_server(manager, i);
    }
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        free(manager->totals[i]);
    }
    pthread_mutex_destroy(&manager->servers_mutex);
    usher_unmap(manager->places, sizeof(usher_places_t));
    usher_unmap(manager->table, sizeof(usher_table_t));
    free(manager->runtime_dir);
    free(manager);
}

/* ---- publishing -------------------------------------------------------------------------- */

uint32_t usher_next_generation(_Atomic uint32_t *counter) {
    uint32_t generation = atomic_fetch_add(counter, 1) + 1;
    return generation != 0 ? generation : atomic_fetch_add(counter, 1) + 1;
}

/* seq_cst after the change itself: gate.c says why. */
static void count_publication(usher_manager_t *manager) {
    _Atomic uint32_t *publication = &manager->table->header.publication;
    atomic_fetch_add(publication, 1);
    usher_os_futex_wake(publication, INT_MAX);
}

void usher_publish(usher_manager_t *manager, uint32_t class_index) {
    count_publication(manager);
    usher_gate_wake(manager->places, class_index, INT_MAX);
}

void usher_publish_to_all(usher_manager_t *manager) {
    count_publication(manager);
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (usher_bit(manager->classes, i)) {
            usher_gate_wake(manager->places, i, INT_MAX);
        }
    }
}

void usher_manager_set_state(usher_manager_t *manager, usher_manager_state_t state, uint32_t pid) {
    usher_table_header_t *header = &manager->table->header;
    atomic_store(&header->manager_pid, pid);
    atomic_store(&header->manager_seen_ns, usher_os_now_ns());
    atomic_store(&header->manager_state, (uint32_t)state);
    usher_publish_to_all(manager);
}

void usher_manager_beat(usher_manager_t *manager) {
    atomic_store(&manager->table->header.manager_seen_ns, usher_os_now_ns());
}

/* ---- the doorbell (doorbell.c has the argument) ------------------------------------------- */

void usher_manager_rest(usher_manager_t *manager, uint32_t rest_ms) {
    bool rests = rest_ms > 0;
    for (uint32_t i = 0; i < USHER_CLASSES_MAX / 64; i++) {
        rests = rests && manager->changed[i] == 0; /* found since the last report of them */
    }
    atomic_store(&manager->rest_until_ns, rests ? usher_os_now_ns() + rest_ms * USHER_MS_NS : 0);
}

/* How much longer to sleep after a timeout. Who rests has not fallen silent. */
static uint64_t rest_of(usher_manager_t *manager, uint64_t now_ns, uint64_t timeout_ns) {
    uint64_t until_ns = atomic_load(&manager->rest_until_ns);
    if (until_ns <= now_ns || usher_is_touched(manager)) {
        return 0;
    }
    usher_manager_beat(manager);
    return until_ns - now_ns < timeout_ns ? until_ns - now_ns : timeout_ns;
}

usher_status_t usher_manager_wait(usher_manager_t *manager, uint32_t timeout_ms) {
    usher_places_header_t *header = &manager->places->header;
    uint64_t deadline_ns = usher_os_now_ns() + timeout_ms * USHER_MS_NS;
    for (;;) {
        if (atomic_exchange(&manager->interrupted, false)) {
            return USHER_TIMEOUT; /* a ring that came as well is reported by the next call */
        }
        uint32_t rung = atomic_load(&header->doorbell);
        if (rung != atomic_load(&manager->heard)) {
            atomic_store(&manager->heard, rung);
            return USHER_OK;
        }
        uint64_t now_ns = usher_os_now_ns();
        if (now_ns >= deadline_ns) {
            uint64_t rest_ns = rest_of(manager, now_ns, timeout_ms * USHER_MS_NS);
            if (rest_ns == 0) {
                return USHER_TIMEOUT;
            }
            deadline_ns = now_ns + rest_ns;
        }
        atomic_store(&header->manager_sleeping, 1);
        if (atomic_load(&header->doorbell) == rung) {
            usher_os_futex_wait(&header->doorbell, rung, deadline_ns - now_ns);
        }
        atomic_store(&header->manager_sleeping, 0);
    }
}

/* Counts the doorbell up like a worker does, so that no FUTEX_WAIT can begin after it unnoticed. */
void usher_manager_interrupt(usher_manager_t *manager) {
    atomic_store(&manager->interrupted, true);
    usher_doorbell_ring(manager->places);
}
