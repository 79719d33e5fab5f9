/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retiring one of several instances that share a socket: nobody can keep the next connection from
 * it, so it is stopped, looked at, and told to end only when it has none. Otherwise it goes on as if
 * nothing had been.
 */
#ifndef USHER_LAUNCHER_LOOK_H
#define USHER_LAUNCHER_LOOK_H

#include <stdint.h>

#include "launcher/group.h"
#include "launcher/loop.h"
#include "launcher/probe.h"

typedef struct look look_t;
struct look {
    int64_t id; /* of the instance; 0 = no look in progress */
    const probe_t *probe;
    const group_t *group;
    int signal; /* for an idle one; 0 = none */
    uint64_t until_ns;
    uint64_t interval_ns;
    alarm_t alarm;
    bool (*is_awaited)(look_t *look);   /* do connections wait that it should take? */
    void (*on_signalled)(look_t *look); /* it was idle and has got the signal */
};

/* Answers with `looked` as soon as that is decided. */
void look_begin(look_t *look, const probe_t *probe, const group_t *group, int64_t id, int signal);
/* The instance exited, or nobody wants to know any more: lets it go on, answers "not idle". */
void look_cancel(look_t *look);

#endif
