/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel with one server, a manager and a worker, in which the input plays all other workers: it
 * writes to places and cells what it likes, also between two steps of whoever is at work there.
 */
#ifndef USHER_FUZZ_CHANNEL_WORLD_H
#define USHER_FUZZ_CHANNEL_WORLD_H

#include "channel/manager_internal.h"
#include "input.h"

#define WORLD_SERVER "nginx-fuzz"
#define WORLD_CLASSES 4u
#define WORLD_ENDPOINTS 5u

typedef struct {
    input_t input;
    usher_channel_t *channel;
    usher_manager_t *manager;
    uint32_t server; /* its handle */
    char live_path[96];
    usher_ref_t classes[WORLD_CLASSES]; /* "app", "cold", "failed", "host" */
    usher_ref_t
        endpoints[WORLD_ENDPOINTS]; /* three of "app", one starting of "cold", one of "host" */
    bool keeps_lock; /* the input leaves the server's lock alone, which else is waited for */
} world_t;

/* The one there is. */
extern world_t world;

/* Once: a runtime directory, removed when the process ends. */
void world_create(void);
/* For each input, the same bytes everywhere and the same classes. */
void world_begin(const uint8_t *data, size_t size);
void world_end(void);

/* One write of the input's to what workers can write. */
void world_spoil(void);

/* Numbers of the input: small ones, mostly, and those at the ends of the arrays. */
uint32_t world_index(uint32_t count);
uint64_t world_number(void);

#endif
