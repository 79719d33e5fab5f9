/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that outlive their request, in one child.
 *
 * Kept: a class with -keep-conn answers the next request on the same connection. A program with a
 * thread for each connection is blocked by one that is idle, so it is kept no longer than pays.
 *
 * Left: when we are done with a request before the program is, the instance is busy still: its
 * place is held until it says something (if that is not all, its next write fails) or ends. Until
 * then -request-timeout goes on. An instance that is not to be used any more is waited for no longer
 * than the program may be silent: that would keep it from being retired.
 */
#ifndef USHER_CONNECTIONS_H
#define USHER_CONNECTIONS_H

#include "mod_usher.h"

/* Keep the connection of a complete answer; call->fd is -1 then. Else it stays the caller's. */
void usher_connection_keep(usher_call *call);

/* A kept connection to the place that was taken, now call->fd; true if there is one. */
int usher_connection_take(usher_call *call);

/* Leave connection and place to the program. Takes both from the call, or neither: false. */
int usher_connection_leave(usher_call *call, usher_outcome_t outcome);

/* Called for each one left, when its place was given back. */
void usher_connection_was_left(void);

/* In each child, once: closes all of them at its end. */
void usher_connections_init(apr_pool_t *pchild);

#endif
