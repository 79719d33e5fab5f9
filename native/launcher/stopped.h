/* SPDX-License-Identifier: Apache-2.0 */
/* Telling web servers, through the channel, that there is no manager to wait for. */
#ifndef USHER_LAUNCHER_STOPPED_H
#define USHER_LAUNCHER_STOPPED_H

#include "launcher/failure.h"

/* Set the table's state to STOPPED, if there is a table. */
int stopped_tell_workers(const char *runtime_dir, failure_t *failure);

#endif
