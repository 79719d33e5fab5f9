/* SPDX-License-Identifier: Apache-2.0 */
/* The file that launcher and manager write their log to: --log, an embedded one's usher.log, or
 * whatever stderr is, which is not ours to open. */
#ifndef USHER_LAUNCHER_OWN_LOG_H
#define USHER_LAUNCHER_OWN_LOG_H

#include "launcher/failure.h"
#include "launcher/options.h"

/* Open --log as stdout and stderr. */
int own_log_open(const launch_options_t *options, failure_t *failure);
/* It may have been moved away: begin a new one. 1 done, 0 it is no file of ours, -1. */
int own_log_reopen(failure_t *failure);
/* The same on a signal, and the manager is given the new file. */
void own_log_rotate(void);
/* The path, as far as there is one; NULL = stderr is no file of ours. */
const char *own_log_path(void);

#endif
