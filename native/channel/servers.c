/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager reads from a server's cells but load data: who lives, and what shall be started.
 * All of it is input. Slot and entry numbers are loop variables of ours and never read from there,
 * keys are copied before they are checked, sums may be nonsense but not harmful. Who lives is what the
 * kernel says of the locks on the live file.
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

static void set_server(usher_manager_t *manager, uint32_t handle, usher_attached_t *server) {
    pthread_mutex_lock(&manager->servers_mutex);
    manager->servers[handle] = server;
    pthread_mutex_unlock(&manager->servers_mutex);
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
    attached->asked = atomic_load(&attached->cells->header.asked) - 1; /* look at once */
    attached->damages = atomic_load(&attached->cells->header.damages);
    set_server(manager, *handle, attached);
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
        set_server(manager, handle, NULL);
        free_server(server);
    }
}

/* ---- who lives --------------------------------------------------------------------------- */

uint32_t usher_server_slots(const usher_attached_t *server) {
    uint32_t slots = usher_worker_slots(server->cells);
    return slots > server->slots ? slots : server->slots;
}

bool usher_slot_counts(const usher_attached_t *server, uint32_t slot) {
    return atomic_load(&server->cells->workers[slot].state) == USHER_WORKER_USED ||
           usher_bit(server->living, slot);
}

/* It only grows, in the header too, unless that is damaged; a locked byte is the truth. */
static void count_slots(usher_manager_t *manager, usher_attached_t *server) {
    _Atomic uint32_t *header = &server->cells->header.worker_slots;
    uint32_t said = atomic_load(header);
    bool damaged = said > USHER_WORKERS_MAX || said < server->slots_said;
    if (!damaged && said > server->slots) {
        server->slots = said;
    }
    off_t locked;
    while (server->slots < USHER_WORKERS_MAX &&
           (locked = usher_os_locked_byte(server->live_fd, server->slots)) >= 0 &&
           locked < USHER_WORKERS_MAX) {
        server->slots = (uint32_t)locked + 1;
    }
    if (damaged) {
        usher_note_damage(manager, server, said, USHER_DAMAGED_SLOTS);
        atomic_compare_exchange_strong(header, &said, server->slots);
    }
    usher_count_up_to(header, server->slots);
    server->slots_said = server->slots;
}

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
    bool dead = atomic_load(&worker->state) != USHER_WORKER_FREE;
    if (dead) {
        usher_worker_settle(server->cells, manager->places, slot);
        USHER_STEP("settle: given back");
        mark_changed(manager, worker);
        atomic_store(&worker->state, USHER_WORKER_FREE);
    }
    usher_os_unlock_byte(server->live_fd, slot);
    return dead;
}

/* A worker whose byte is locked lives, whatever its record says. One that has just locked it has not
 * said so yet; being called used meanwhile does it no harm, it finds another slot. */
static void see_living(usher_manager_t *manager, usher_attached_t *server, uint32_t slot,
                       uint32_t state) {
    bool unmarked = state != USHER_WORKER_USED;
    if (unmarked && usher_bit(server->unmarked, slot)) {
        atomic_compare_exchange_strong(&server->cells->workers[slot].state, &state,
                                       USHER_WORKER_USED);
        manager->wants_recount = true;
    }
    usher_set_bit(server->unmarked, slot, unmarked);
}

/* OK: a living worker's; NOT_FOUND: nobody's; STALE: a dead worker's, which was settled. */
static usher_status_t look_at_slot(usher_manager_t *manager, usher_attached_t *server,
                                   uint32_t slot) {
    uint32_t state = atomic_load(&server->cells->workers[slot].state);
    if (state > USHER_WORKER_USED) {
        usher_note_damage(manager, server, slot, USHER_DAMAGED_WORKER);
    }
    if (usher_os_byte_is_locked(server->live_fd, slot) == 0) {
        usher_set_bit(server->unmarked, slot, false);
        if (state == USHER_WORKER_FREE) {
            usher_set_bit(server->living, slot, false);
            return USHER_NOT_FOUND;
        }
        if (settle_slot(manager, server, slot)) {
            usher_set_bit(server->living, slot, false);
            return USHER_STALE;
        }
    }
    see_living(manager, server, slot, state);
    usher_set_bit(server->living, slot, true);
    return USHER_OK;
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
    count_slots(manager, server);
    uint32_t slots = usher_server_slots(server);
    for (uint32_t slot = 0; slot < slots; slot++) {
        usher_status_t found = look_at_slot(manager, server, slot);
        info->settled += found == USHER_STALE;
        if (found == USHER_OK) {
            uint32_t generation = atomic_load(&server->cells->workers[slot].generation);
            info->workers++;
            if (info->oldest_generation == 0 || generation < info->oldest_generation) {
                info->oldest_generation = generation;
            }
        }
    }
    uint32_t damages = atomic_load(&header->damages);
    if (damages != server->damages) {
        server->damages = damages;
        usher_note_damage(manager, server, 0, USHER_DAMAGED_CELLS);
    }
    if (info->settled > 0) {
        manager->wants_recount = true; /* who knows what it died of */
        usher_publish_to_all(manager); /* places came free that nobody released */
    }
    usher_audit(manager);
    return USHER_OK;
}

bool usher_manager_generation_lives(usher_manager_t *manager, uint32_t handle,
                                    uint32_t generation) {
    usher_attached_t *server = server_of(manager, handle);
    uint32_t slots = server ? usher_server_slots(server) : 0;
    for (uint32_t slot = 0; slot < slots; slot++) {
        const usher_worker_record_t *worker = &server->cells->workers[slot];
        if (usher_slot_counts(server, slot) && atomic_load(&worker->generation) == generation &&
            usher_os_byte_is_locked(server->live_fd, slot) != 0) {
            return true;
        }
    }
    return false;
}

/* ---- start requests ---------------------------------------------------------------------- */

#define ALLOWED_AT_ONCE USHER_START_REQUESTS_MAX
#define ALLOWANCE_NS USHER_MS_NS /* for each of more */

/* A server that asks all the time must not keep the manager from the others. */
static void allow(usher_attached_t *server) {
    uint64_t now_ns = usher_os_now_ns();
    uint64_t more = (now_ns - server->allowed_ns) / ALLOWANCE_NS;
    server->allowed_ns = now_ns - (now_ns - server->allowed_ns) % ALLOWANCE_NS;
    server->allowance = more < ALLOWED_AT_ONCE - server->allowance
                            ? server->allowance + (uint32_t)more
                            : ALLOWED_AT_ONCE;
}

/* Is there anything to look at? `asked` is read before the ring: what is entered later counts it up
 * again (ring.c). Entries that a former pass has left are to be seen by this one. */
static bool begin_pass(usher_attached_t *server) {
    uint32_t asked = atomic_load(&server->cells->header.asked);
    if (asked == server->asked && server->entries_left == 0) {
        return false;
    }
    server->asked = asked;
    server->entries_left = 0;
    allow(server);
    return true;
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
    atomic_compare_exchange_strong(&cells->ring[entry].state, &state, USHER_START_FREE);
}

usher_status_t usher_manager_next_start_request(usher_manager_t *manager, uint32_t handle,
                                                uint32_t *cursor, uint32_t *entry, char *key,
                                                uint32_t *key_length) {
    usher_attached_t *server = server_of(manager, handle);
    if (!server || (*cursor == 0 && !begin_pass(server))) {
        return USHER_NOT_FOUND;
    }
    while (*cursor < USHER_START_REQUESTS_MAX) {
        *entry = (*cursor)++;
        usher_start_request_record_t *record = &server->cells->ring[*entry];
        uint32_t state = atomic_load_explicit(&record->state, memory_order_acquire);
        if (state == USHER_START_FREE || state == USHER_START_WRITING) {
            continue; /* the latter is finished by its worker, or used by the lock's next owner */
        }
        if (server->allowance == 0) {
            server->entries_left++;
            return USHER_NOT_FOUND;
        }
        server->allowance--;
        if (state == USHER_START_READY && read_entry(record, key, key_length)) {
            server->entries_left++;
            return USHER_OK;
        }
        free_entry(server->cells, *entry, state);
        usher_note_damage(manager, server, *entry, USHER_DAMAGED_ASKED);
    }
    return USHER_NOT_FOUND;
}

void usher_manager_finish_start_request(usher_manager_t *manager, uint32_t handle, uint32_t entry) {
    usher_attached_t *server = server_of(manager, handle);
    if (server && entry < USHER_START_REQUESTS_MAX) {
        free_entry(server->cells, entry, USHER_START_READY);
        server->entries_left -= server->entries_left > 0;
    }
}
