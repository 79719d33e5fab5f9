/* SPDX-License-Identifier: Apache-2.0 */
/* The channel in a server's master: opened once, inherited by its workers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/internal.h"

#define UNKNOWN_TIMEOUT_MS 30000u
#define MASTERS_MAX 64u /* of one server, registering before one of them has written its file */

usher_status_t usher_channel_open(const char *runtime_dir, const char *server,
                                  usher_channel_t **channel, usher_error_t *error) {
    *channel = NULL;
    usher_status_t status = usher_check_names(runtime_dir, server, error);
    if (status != USHER_OK) {
        return status;
    }
    usher_channel_t *opened = calloc(1, sizeof(*opened));
    if (!opened || !(opened->runtime_dir = strdup(runtime_dir))) {
        free(opened);
        return usher_fail(error, USHER_SYSTEM, ENOMEM, "cannot open the channel of %s", server);
    }
    opened->live_fd = -1;
    opened->unknown_timeout_ms = UNKNOWN_TIMEOUT_MS;
    strcpy(opened->server, server); /* its length was checked */
    opened->server_id = usher_hash(server, strlen(server));
    opened->socket_dir_length = (size_t)snprintf(opened->socket_dir, sizeof(opened->socket_dir),
                                                 "%s/%s/", runtime_dir, server);
    pthread_mutex_init(&opened->lock_mutex, NULL);

    usher_table_t *table = NULL;
    status = usher_map_table(runtime_dir, &table, error);
    opened->table = table;
    if (status == USHER_OK) {
        status = usher_map_places(runtime_dir, &opened->places, error);
    }
    if (status == USHER_OK) {
        status = usher_map_cells(runtime_dir, server, &opened->cells, error);
    }
    if (status != USHER_OK) {
        usher_channel_close(opened);
        return status;
    }
    *channel = opened;
    return USHER_OK;
}

void usher_channel_close(usher_channel_t *channel) {
    if (!channel) {
        return;
    }
    usher_worker_detach(channel);
    usher_unmap(channel->cells, sizeof(usher_cells_t));
    usher_unmap(channel->places, sizeof(usher_places_t));
    usher_unmap(channel->table, sizeof(usher_table_t));
    pthread_mutex_destroy(&channel->lock_mutex);
    free(channel->runtime_dir);
    free(channel);
}

uint32_t usher_channel_next_generation(usher_channel_t *channel, uint32_t newest) {
    usher_cells_header_t *header = &channel->cells->header;
    uint32_t said = atomic_load(&header->generation);
    uint32_t next = newest + 1;
    atomic_store(&header->master_pid, (uint32_t)getpid());
    for (uint32_t i = 0; i < USHER_TRIES_MAX; i++) {
        next = (said - newest <= MASTERS_MAX ? said : newest) + 1;
        if (atomic_compare_exchange_strong(&header->generation, &said, next)) {
            break;
        }
    }
    return next;
}

void usher_channel_ring(usher_channel_t *channel) {
    usher_doorbell_ring(channel->places);
}

uint32_t usher_channel_manager_state(const usher_channel_t *channel) {
    return atomic_load(&channel->table->header.manager_state);
}

void usher_channel_set_unknown_timeout(usher_channel_t *channel, uint32_t timeout_ms) {
    channel->unknown_timeout_ms = timeout_ms;
}
