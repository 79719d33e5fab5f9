/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The standby of an embedded launcher, which nobody else would begin again: a child that does
 * nothing but wait for the launcher's death, and then becomes the next launcher. When it dies itself
 * the launcher starts another.
 */
#ifndef USHER_LAUNCHER_STANDBY_H
#define USHER_LAUNCHER_STANDBY_H

#include <stdbool.h>
#include <sys/types.h>

#include "launcher/options.h"

/* In the launcher; `options` stay where they are. */
void standby_start(const launch_options_t *options);
/* 0 = there is none. */
pid_t standby_pid(void);
/* The launcher ends on purpose: nobody shall begin it again. */
void standby_end(void);
/* false when the child was not the standby. */
bool standby_child_reaped(pid_t pid);

/* The standby's whole life. Returns, with an exit code, when it cannot become the launcher. */
int standby_run(const launch_options_t *options);

#endif
