/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instances: the programs started on endpoints, and services, which listen by themselves, from fork
 * to the manager's `forget`. All of them are children of the launcher, or were a former one's; the
 * manager may come and go.
 */
#ifndef USHER_LAUNCHER_INSTANCES_H
#define USHER_LAUNCHER_INSTANCES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "launcher/endpoints.h"
#include "launcher/failure.h"
#include "launcher/spawn.h"

typedef struct {
    int64_t id;
    const endpoint_t *endpoint; /* NULL = a service */
    const char *tag;
    spawn_program_t program;
    uint64_t permitted_ns, user_found_ns; /* when that was done; CLOCK_MONOTONIC */
    int64_t start_timeout_ms;             /* of what has an endpoint */
    const char *log;                      /* file for its output; NULL = none */
    int link_end; /* the manager's end of a gateway's link, to be copied; -1 = none */
} instance_request_t;

/* Fork it. -1: `failure` is all that is ever heard of it. 0: `started` or `failed` is sent when
 * exec has succeeded or not, later `ready`, but of a service, and `exited`. */
int instance_start(const instance_request_t *request, failure_t *failure);
/* To its process group; nothing when it has exited. -1 when the id is not known. */
int instance_signal(int64_t id, int signal);
/* Send `looked`: whether it could end without a request's noticing (look.h); `signal` ends it then,
 * 0 = nothing does. -1 when the id is not known, or of a service. */
int instance_look(int64_t id, int signal, failure_t *failure);
/* The manager that asked is gone: no look goes on. */
void instances_cancel_looks(void);
/* Send what its processes are doing as `snapshot`. -1 when the id is not known. */
int instance_snapshot(int64_t id);
/* Drop the status of one that has exited. */
void instance_forget(int64_t id);

/* A child died and is not yet reaped: end the rest of its group while the number is still its own.
 * false when it is no instance. */
bool instances_child_died(pid_t pid);
/* It was reaped. */
void instances_child_reaped(pid_t pid, int status, const struct rusage *usage);
/* Some process was reaped: look whether groups of exited instances are empty now. */
void instances_check_groups(void);

/* Send an `instance` message for each. */
void instances_list(void);
void instances_signal_all(int signal);
/* Does any live on this endpoint? */
bool instances_live_on(int64_t endpoint_id);
/* Of all instances ever started, 0 = none was. */
int64_t instances_highest_id(void);
unsigned instances_alive(void);
bool instance_reads_output(int64_t id);
/* Is one forked of which nobody knows whether its exec succeeds? */
bool instances_are_launching(void);
/* An id that must not be given again. */
void instances_note_id(int64_t id);

#endif
