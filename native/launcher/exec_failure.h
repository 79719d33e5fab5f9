/* SPDX-License-Identifier: Apache-2.0 */
/* Why execve() failed, said so that somebody can do something about it. */
#ifndef USHER_LAUNCHER_EXEC_FAILURE_H
#define USHER_LAUNCHER_EXEC_FAILURE_H

#include "launcher/failure.h"

/* To be asked as the user who was to run it, with errno of execve(). -1, step "exec". */
int exec_fail(const char *path, int error, failure_t *failure);

#endif
