/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the manager is, under a launcher that is root: a user without rights, so that what web
 * servers' workers and programs can make it believe leads nowhere. It is given what it needs
 * (protocol.h, hello) and can have only those programs started that root allowed (allow.h).
 */
#ifndef USHER_LAUNCHER_MANAGER_USER_H
#define USHER_LAUNCHER_MANAGER_USER_H

#include "launcher/failure.h"
#include "launcher/options.h"
#include "launcher/spawn.h"

/* --user; else `usher` where there is such a user, else `nobody`. -1 when the one named is missing. */
int manager_user_open(const launch_options_t *options, failure_t *failure);

/* Before each start: that user, if it can read the manager's program; else who we are, and the log
 * says so. */
void manager_user_choose(const launch_options_t *options, spawn_user_t *user);

/* In the manager's process: become that user, without a way to privileges. */
int manager_user_become(const spawn_user_t *user, failure_t *failure);

/* What it needs of our environment, for exec. */
char **manager_user_environment(void);

#endif
