/* SPDX-License-Identifier: Apache-2.0 */
/* Why execve() failed, said so that somebody can do something about it. */
#ifndef USHER_LAUNCHER_EXEC_FAILURE_H
#define USHER_LAUNCHER_EXEC_FAILURE_H

#include <limits.h>
#include <stdbool.h>

#include "launcher/failure.h"

/* The first directory on the way to `path` that we cannot pass, or that is not there. */
bool exec_find_barrier(const char *path, char barrier[PATH_MAX]);

/* To be asked as the user who was to run it, with errno of execve(). -1, step "exec", mostly with a
 * cause. */
int exec_fail(const char *path, int error, failure_t *failure);

#endif
