/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager reads from a server's cells but load data: who lives, and what shall be started.
 * All of it is input. Slot and entry numbers are loop variables of ours and never read from there,
 * keys are copied before they are checked, sums may be nonsense but not harmful.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/manager_internal.h"
#include "os/os.h"

/* ---- attaching --------------------------------------------------------------------------- */

static usher_status_t find_handle(const usher_manager_t *manager, const char *server,
                                  uint32_t *handle, usher_error_t *error) {
    *handle = USHER_SERVERS_MAX;
    for (uint32_t i = 0; i < USHER_SERVERS_MAX; i++) {
        if (!manager->servers[i]) {
            *handle = *handle < USHER_SERVERS_MAX ? *handle : i;
        } else if (strcmp(manager->servers[i]->name, server) == 0) {
            return usher_fail(error, USHER_INVALID, 0, "server %s is attached already", server);
        }
    }
    return *handle < USHER_SERVERS_MAX
               ? USHER_OK
               : usher_fail(error, USHER_FULL, 0, "%u servers are attached already",
                            USHER_SERVERS_MAX);
}

static void free_server(usher_attached_t *server) {
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        free(server->seen[i]);
    }
    if (server->live_fd >= 0) {
        close(server->live_fd);
    }
    usher_unmap(server->cells, sizeof(usher_cells_t));
    free(server);
}

usher_status_t usher_manager_attach_files(usher_manager_t *manager, const char *server,
                                          int cells_fd, int live_fd, uint32_t *handle,
                                          usher_error_t *error) {
    usher_attached_t *attached = NULL;
    usher_status_t status = usher_check_names(manager->runtime_dir, server, error);
    if (status == USHER_OK) {
        status = find_handle(manager, server, handle, error);
    }
    if (status == USHER_OK && !(attached = calloc(1, sizeof(*attached)))) {
        status = usher_fail(error, USHER_SYSTEM, ENOMEM, "cannot attach server %s", server);
    }
    if (status != USHER_OK) {
        close(live_fd);
        return status;
    }
    attached->live_fd = live_fd;
    strcpy(attached->name, server); /* its length was checked */
    attached->id = usher_hash(server, strlen(server));
    status = usher_map_cells_from(cells_fd, manager->runtime_dir, server, &attached->cells, error);
    if (status != USHER_OK) {
        free_server(attached);
        return status;
    }
    manager->servers[*handle] = attached;
    usher_totals_attach(manager, attached);
    return USHER_OK;
}

usher_status_t usher_manager_attach_server(usher_manager_t *manager, const char *server,
                                           const char *live_path, uint32_t *handle,
                                           usher_error_t *error) {
    int cells_fd;
    usher_status_t status =
        usher_channel_open_cells(manager->runtime_dir, server, &cells_fd, error);
    if (status != USHER_OK) {
        return status;
    }
    int live_fd = open(live_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (live_fd >= 0) {
        status = usher_manager_attach_files(manager, server, cells_fd, live_fd, handle, error);
    } else {
        status = usher_fail(error, errno == ENOENT ? USHER_NOT_FOUND : USHER_SYSTEM, errno,
                            "cannot open %s", live_path);
    }
    close(cells_fd);
    return status;
}

static usher_attached_t *server_of(usher_manager_t *manager, uint32_t handle) {
    return handle < USHER_SERVERS_MAX ? manager->servers[handle] : NULL;
}

void usher_manager_detach_server(usher_manager_t *manager, uint32_t handle) {
    usher_attached_t *server = server_of(manager, handle);
    if (server) {
        usher_totals_detach(manager, server);
        usher_timeouts_detach(manager, server);
        manager->servers[handle] = NULL;
        free_server(server);
    }
}

/* ---- who lives --------------------------------------------------------------------------- */

/* The load data of these classes changed by a death that counted nothing. */
static void mark_changed(usher_manager_t *manager, const usher_worker_record_t *worker) {
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (usher_bit(manager->classes, i) && usher_worker_knows_group(worker, i)) {
            usher_set_bit(manager->changed, i, true);
        }
    }
}

/* Holding the byte keeps claimants away while the record is made fit for them. False: the byte or
 * the record is somebody's by now. */
static bool settle_slot(usher_manager_t *manager, usher_attached_t *server, uint32_t slot) {
    usher_worker_record_t *worker = &server->cells->workers[slot];
    if (usher_os_lock_byte(server->live_fd, slot) != 0) {
        return false;
    }
    bool dead = atomic_load(&worker->state) == USHER_WORKER_USED;
    if (dead) {
        usher_worker_settle(server->cells, manager->places, slot);
        USHER_STEP("settle: given back");
        mark_changed(manager, worker);
        atomic_store(&worker->state, USHER_WORKER_FREE);
    }
    usher_os_unlock_byte(server->live_fd, slot);
    return dead;
}

usher_status_t usher_manager_settle(usher_manager_t *manager, uint32_t handle,
                                    usher_server_info_t *info) {
    usher_attached_t *server = server_of(manager, handle);
    if (!server) {
        return USHER_NOT_FOUND;
    }
    usher_cells_header_t *header = &server->cells->header;
    *info = (usher_server_info_t){
        .generation = atomic_load(&header->generation),
        .start_requests_refused = atomic_load(&header->start_requests_refused),
        .lock_timeouts = atomic_load(&header->lock_timeouts),
        .lock_successions = atomic_load(&header->lock_successions),
    };
    uint32_t slots = usher_worker_slots(server->cells);
    for (uint32_t slot = 0; slot < slots; slot++) {
        usher_worker_record_t *worker = &server->cells->workers[slot];
        if (atomic_load(&worker->state) != USHER_WORKER_USED) {
            continue;
        }
        if (usher_os_byte_is_locked(server->live_fd, slot) == 0 &&
            settle_slot(manager, server, slot)) {
            info->settled++;
            continue;
        }
        uint32_t generation = atomic_load(&worker->generation);
        info->workers++;
        if (info->oldest_generation == 0 || generation < info->oldest_generation) {
            info->oldest_generation = generation;
        }
    }
    if (info->settled > 0) {
        usher_publish_to_all(manager); /* places came free that nobody released */
    }
    return USHER_OK;
}

bool usher_manager_generation_lives(usher_manager_t *manager, uint32_t handle,
                                    uint32_t generation) {
    usher_attached_t *server = server_of(manager, handle);
    uint32_t slots = server ? usher_worker_slots(server->cells) : 0;
    for (uint32_t slot = 0; slot < slots; slot++) {
        const usher_worker_record_t *worker = &server->cells->workers[slot];
        if (atomic_load(&worker->state) == USHER_WORKER_USED &&
            atomic_load(&worker->generation) == generation &&
            usher_os_byte_is_locked(server->live_fd, slot) != 0) {
            return true;
        }
    }
    return false;
}

/* ---- start requests ---------------------------------------------------------------------- */

/*
 * Begin a pass over the ring: up to the last entry in use, so that pages behind it stay untouched.
 *
 * start_requests may say more than there are (ring.c). What it said before the ring is looked
 * through, minus the entries seen then, is what former owners left: each of them had its entry in
 * use before it was counted, entries are freed by this thread and by successors of dead owners only,
 * and the latter leave the count as it is.
 */
static void begin_pass(usher_attached_t *server) {
    usher_cells_t *cells = server->cells;
    uint32_t counted = atomic_load(&cells->header.start_requests);
    uint32_t seen = 0;
    server->ring_end = 0;
    for (uint32_t i = 0; i < USHER_START_REQUESTS_MAX && seen < counted; i++) {
        if (atomic_load(&cells->ring[i].state) != USHER_START_FREE) {
            seen++;
            server->ring_end = i + 1;
        }
    }
    if (counted > seen) {
        atomic_fetch_sub(&cells->header.start_requests, counted - seen);
    }
}

/* Copy, then check the copy. */
static bool read_entry(const usher_start_request_record_t *entry, char key[USHER_KEY_MAX],
                       uint32_t *key_length) {
    uint32_t length = USHER_SHARED_LOAD(entry->key_length);
    uint64_t hash = USHER_SHARED_LOAD(entry->key_hash);
    if (length == 0 || length >= USHER_KEY_MAX) {
        return false;
    }
    usher_shared_read(key, entry->key, length);
    key[length] = '\0';
    *key_length = length;
    return strlen(key) == length && usher_hash(key, length) == hash;
}

static void free_entry(usher_cells_t *cells, uint32_t entry, uint32_t state) {
    if (atomic_compare_exchange_strong(&cells->ring[entry].state, &state, USHER_START_FREE)) {
        usher_count_down(&cells->header.start_requests);
    }
}

usher_status_t usher_manager_next_start_request(usher_manager_t *manager, uint32_t handle,
                                                uint32_t *cursor, uint32_t *entry, char *key,
                                                uint32_t *key_length) {
    usher_attached_t *server = server_of(manager, handle);
    if (!server) {
        return USHER_NOT_FOUND;
    }
    if (*cursor == 0) {
        begin_pass(server);
    }
    while (*cursor < server->ring_end) {
        *entry = (*cursor)++;
        usher_start_request_record_t *record = &server->cells->ring[*entry];
        uint32_t state = atomic_load_explicit(&record->state, memory_order_acquire);
        if (state == USHER_START_FREE || state == USHER_START_WRITING) {
            continue; /* the latter is finished by its worker, or freed by the lock's next owner */
        }
        if (state == USHER_START_READY && read_entry(record, key, key_length)) {
            return USHER_OK;
        }
        free_entry(server->cells, *entry, state);
    }
    return USHER_NOT_FOUND;
}

void usher_manager_finish_start_request(usher_manager_t *manager, uint32_t handle, uint32_t entry) {
    usher_attached_t *server = server_of(manager, handle);
    if (server && entry < USHER_START_REQUESTS_MAX) {
        free_entry(server->cells, entry, USHER_START_READY);
    }
}
