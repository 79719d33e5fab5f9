/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel as the manager uses it: publish classes and endpoints, read what workers count.
 * Used by the addon and by tests; shims include channel.h only.
 *
 * The manager never takes a server's lock. Whatever it reads from places and cells is checked.
 */
#ifndef USHER_CHANNEL_MANAGER_H
#define USHER_CHANNEL_MANAGER_H

#include "channel/channel.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct usher_manager usher_manager_t;

/* For a manager that may not open them itself: the launcher opens the files of the channel, for
 * reading and writing, creating table and places when missing, and hands them over. `cells`:
 * NOT_FOUND when the server has none. The descriptors are close-on-exec. */
usher_status_t usher_channel_open_files(const char *runtime_dir, int *table_fd, int *places_fd,
                                        usher_error_t *error);
usher_status_t usher_channel_open_cells(const char *runtime_dir, const char *server, int *cells_fd,
                                        usher_error_t *error);

/* Map table and places for writing. What a former manager published stays: list it with
 * usher_manager_class and usher_manager_endpoint. The descriptors stay the caller's and are not
 * needed afterwards. */
usher_status_t usher_manager_open_files(const char *runtime_dir, int table_fd, int places_fd,
                                        usher_manager_t **manager, usher_error_t *error);
/* The same for who may open them: as usher_channel_open_files. */
usher_status_t usher_manager_open(const char *runtime_dir, usher_manager_t **manager,
                                  usher_error_t *error);
void usher_manager_close(usher_manager_t *manager);

void usher_manager_set_state(usher_manager_t *manager, usher_manager_state_t state, uint32_t pid);
void usher_manager_beat(usher_manager_t *manager); /* stores manager_seen_ns */

/* Sleep until the doorbell rings or `timeout_ms` passes. OK: it rang since the last call;
 * TIMEOUT. Any thread, but one at a time. */
usher_status_t usher_manager_wait(usher_manager_t *manager, uint32_t timeout_ms);
/* Nothing is to be done in the next `rest_ms` but what rings or is counted: until then the wait goes
 * on after each `timeout_ms`, and beats, unless a worker has counted something. 0 ends that. */
void usher_manager_rest(usher_manager_t *manager, uint32_t rest_ms);
/* Make the thread in usher_manager_wait, or the next one to come, return TIMEOUT (at close). */
void usher_manager_interrupt(usher_manager_t *manager);

/* ---- classes ----------------------------------------------------------------------------- */

typedef struct {
    usher_kind_t kind;
    const char *key;
    uint32_t key_length;
    uint64_t server_id; /* 0 = visible to every server */
} usher_class_identity_t;

typedef struct {
    uint32_t flags;
    uint32_t queue_limit;
    uint32_t queue_timeout_ms;
    uint32_t connect_timeout_ms;
    uint32_t idle_timeout_ms;
    uint32_t request_timeout_ms;
} usher_class_limits_t;

typedef struct {
    usher_ref_t ref;
    usher_kind_t kind;
    usher_class_state_t state;
    uint64_t server_id;
    usher_class_limits_t limits;
    char key[USHER_KEY_MAX];
} usher_class_info_t;

/* Publish a class (COLD unless said otherwise later). FULL: USHER_CLASSES_MAX are known.
 * INVALID: key empty, too long, or known already for this server. */
usher_status_t usher_manager_add_class(usher_manager_t *manager,
                                       const usher_class_identity_t *identity,
                                       const usher_class_limits_t *limits, usher_ref_t *ref);
usher_status_t usher_manager_set_limits(usher_manager_t *manager, usher_ref_t ref,
                                        const usher_class_limits_t *limits);
/* State with its verdict; `reason` one line (cut to fit), may be NULL; wakes waiting threads. */
usher_status_t usher_manager_set_class(usher_manager_t *manager, usher_ref_t ref,
                                       usher_class_state_t state, uint32_t verdict_status,
                                       uint32_t retry_after_s, const char *reason);
/* Full: all the instances it may have, each of them ready, so that the manager need not be told of
 * requests that wait. Not so at first. The next usher_manager_changed reports a class that is full no
 * longer. */
usher_status_t usher_manager_set_full(usher_manager_t *manager, usher_ref_t ref, bool is_full);
/* REMOVED, then FREE: holders of the reference find it stale. INVALID while it has endpoints. */
usher_status_t usher_manager_remove_class(usher_manager_t *manager, usher_ref_t ref);
/* The class record at `index` (0 … USHER_CLASSES_MAX − 1); NOT_FOUND when free. */
usher_status_t usher_manager_class(usher_manager_t *manager, uint32_t index,
                                   usher_class_info_t *info);

/* ---- endpoints --------------------------------------------------------------------------- */

typedef struct {
    usher_address_kind_t kind;
    uint32_t length;
    uint8_t bytes[USHER_ADDRESS_MAX]; /* a name, a path, or a sockaddr (see the kind) */
} usher_endpoint_address_t;

typedef struct {
    usher_ref_t ref;
    usher_ref_t class_ref;
    usher_endpoint_state_t state;
    uint32_t concurrency;
    uint32_t pid;
    usher_endpoint_address_t address;
} usher_endpoint_info_t;

/* Publish an endpoint of a class. FULL: the class has USHER_CLASS_ENDPOINTS_MAX, or no record is
 * free. STALE: the class is gone. */
usher_status_t usher_manager_add_endpoint(usher_manager_t *manager, usher_ref_t class_ref,
                                          const usher_endpoint_address_t *address,
                                          uint32_t concurrency, usher_endpoint_state_t state,
                                          uint32_t pid, usher_ref_t *ref);
/* New state and pid; wakes waiting threads of the class. STARTING: another instance than before, of
 * which nobody has said that it hangs. */
usher_status_t usher_manager_set_endpoint(usher_manager_t *manager, usher_ref_t ref,
                                          usher_endpoint_state_t state, uint32_t pid);
usher_status_t usher_manager_remove_endpoint(usher_manager_t *manager, usher_ref_t ref);
usher_status_t usher_manager_endpoint(usher_manager_t *manager, uint32_t index,
                                      usher_endpoint_info_t *info);
/* Requests at the endpoint now: the sum of all workers' cells of all attached servers. */
usher_status_t usher_manager_in_flight(usher_manager_t *manager, usher_ref_t ref,
                                       uint32_t *in_flight);
/* Requests that ended at the endpoint since it was published, by all servers' workers. A hint: a
 * request that a removed endpoint of the same index still had counts as well. */
usher_status_t usher_manager_served(usher_manager_t *manager, usher_ref_t ref, uint64_t *served);
/* Connections that requests could not make there since it was published; grows and wraps. */
usher_status_t usher_manager_unreached(usher_manager_t *manager, usher_ref_t ref,
                                       uint32_t *unreached);

/* Requests that did not end within -request-timeout at the instance that is there now, as all
 * attached servers that may use the class say; what detached ones said is kept. No other request is
 * lent a place there, unless the class is external. */
usher_status_t usher_manager_hung(usher_manager_t *manager, usher_ref_t ref, uint32_t *count);

/* ---- servers ----------------------------------------------------------------------------- */

/* Map the cells of `server`; gives a small handle (0 … 63). `live_fd`, its live file opened for
 * reading and writing, belongs to the manager afterwards, also when this fails; `cells_fd` stays the
 * caller's. INVALID when it is attached already; FULL. */
usher_status_t usher_manager_attach_files(usher_manager_t *manager, const char *server,
                                          int cells_fd, int live_fd, uint32_t *handle,
                                          usher_error_t *error);
/* The same for who may open them; NOT_FOUND when the cells or the live file are not there (yet). */
usher_status_t usher_manager_attach_server(usher_manager_t *manager, const char *server,
                                           const char *live_path, uint32_t *handle,
                                           usher_error_t *error);
void usher_manager_detach_server(usher_manager_t *manager, uint32_t handle);

typedef struct {
    uint32_t workers;           /* alive now */
    uint32_t settled;           /* dead ones whose counts were given back in this call */
    uint32_t generation;        /* of the newest registration */
    uint32_t oldest_generation; /* that a living worker serves; 0 = none lives */
    uint64_t start_requests_refused, lock_timeouts, lock_successions; /* since the cells exist */
} usher_server_info_t;

/* Look which workers live; give back what dead ones still count and free their slots. Makes right
 * again what is damaged, of this server and of what all share. */
usher_status_t usher_manager_settle(usher_manager_t *manager, uint32_t handle,
                                    usher_server_info_t *info);
/* Does a living worker of the server serve this generation? */
bool usher_manager_generation_lives(usher_manager_t *manager, uint32_t handle, uint32_t generation);

/* Look at the next start request (`cursor` starts at 0) without consuming it; `key` has room for
 * USHER_KEY_MAX. NOT_FOUND at the end, and when a server has asked for too much in too short a time:
 * the rest is for later. Damaged entries are freed and skipped. */
usher_status_t usher_manager_next_start_request(usher_manager_t *manager, uint32_t handle,
                                                uint32_t *cursor, uint32_t *entry, char *key,
                                                uint32_t *key_length);
/* Free an entry once its class is published. */
void usher_manager_finish_start_request(usher_manager_t *manager, uint32_t handle, uint32_t entry);

/* ---- damage ------------------------------------------------------------------------------ */

typedef enum {
    USHER_DAMAGED_COUNT = 1,  /* requests that a worker counts; where: its slot */
    USHER_DAMAGED_CELLS = 2,  /* some worker's counts, as it said itself */
    USHER_DAMAGED_LOAD = 3,   /* load data; where: the class's index */
    USHER_DAMAGED_WORKER = 4, /* a worker's state; where: its slot */
    USHER_DAMAGED_SLOTS = 5,  /* how many slots there are */
    USHER_DAMAGED_ASKED = 6,  /* a start request; where: its entry */
    USHER_DAMAGED_HINT = 7,   /* a place, or a class's gate; where: its index */
} usher_damage_kind_t;

/* Values that cannot be, and were made right or passed over. */
typedef struct {
    uint32_t times;
    uint32_t where; /* of the last one */
    usher_damage_kind_t what;
} usher_damage_t;

#define USHER_NO_SERVER UINT32_MAX

/* What was found in a server's cells, or in what all servers share (USHER_NO_SERVER), since the last
 * call. */
usher_damage_t usher_manager_damage(usher_manager_t *manager, uint32_t handle);

/* ---- load data --------------------------------------------------------------------------- */

/* Indices of the classes whose load data changed, or for which the doorbell rang, since the last
 * call; at most `max`, the rest stays for the next call. Returns how many. */
uint32_t usher_manager_changed(usher_manager_t *manager, uint32_t *indices, uint32_t max);
/* Totals of a class over all attached servers, dead workers included. */
usher_status_t usher_manager_load(usher_manager_t *manager, usher_ref_t class_ref,
                                  usher_load_t *load);
/* When nothing waits or is served, make the shared hints (waiting, places) agree with the cells; at
 * any time those of hung instances, and hints that cannot be. Returns how many were wrong. */
uint32_t usher_manager_repair_hints(usher_manager_t *manager, usher_ref_t class_ref);

#ifdef __cplusplus
}
#endif

#endif
