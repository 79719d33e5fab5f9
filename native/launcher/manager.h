/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager's process: started, greeted with what is kept, and started again when it dies or
 * hangs. At once when it had been ready; otherwise after growing pauses, and after ten deaths in a
 * row web servers are told that there is none.
 */
#ifndef USHER_LAUNCHER_MANAGER_H
#define USHER_LAUNCHER_MANAGER_H

#include <stdbool.h>
#include <sys/types.h>

#include "launcher/failure.h"
#include "launcher/message.h"
#include "launcher/options.h"

typedef struct {
    void (*on_message)(const message_t *message);
    void (*on_died)(void); /* before it is started again; may call manager_end */
    void (*on_gave_up)(void);
} manager_events_t;

/* What may be started is what usher.conf says now. A descriptor for reading it; -1. */
int manager_reread_config(failure_t *failure);
/* Bind <runtime>/control.sock, on which every life of the manager listens. */
int manager_open(const launch_options_t *options, const manager_events_t *events,
                 failure_t *failure);
void manager_start(void);
/* It said `ready`. */
void manager_is_ready(void);
/* It said `alive`. */
void manager_is_alive(void);
/* 0 = it does not run. */
pid_t manager_pid(void);
/* Do not start it again; its link is closed, so that it ends by itself. */
void manager_end(void);
void manager_kill(void);
/* Kill it and do not start it again, until it is released. */
void manager_hold(void);
void manager_release(void);
/* false when the child was not the manager. */
bool manager_child_reaped(pid_t pid, int status);

#endif
