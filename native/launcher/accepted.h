/* SPDX-License-Identifier: Apache-2.0 */
/* Do processes of an instance hold connections that were accepted from its listening socket? */
#ifndef USHER_LAUNCHER_ACCEPTED_H
#define USHER_LAUNCHER_ACCEPTED_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "launcher/probe.h"

/*
 * By the system's table of sockets, which asks nothing of the processes. Sockets that come and go
 * make a reader of the table miss others now and then, and connections from another network
 * namespace are not in it. `count_hidden`: of processes whose sockets may not be looked at,
 * everybody's connections count as theirs.
 */
bool accepted_is_seen(const probe_t *probe, const pid_t *pids, size_t count, bool count_hidden);

/*
 * By the sockets themselves, so none is missed; by the table, twice, where that is not allowed. For
 * processes that are stopped: what a running one closes meanwhile would be closed by the launcher,
 * which could have to wait until all is sent.
 */
bool accepted_is_held(const probe_t *probe, const pid_t *pids, size_t count);

#endif
