/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the manager may have done by a launcher that is root: what root wrote into the .allow files
 * of servers/ and, through `usherd --allow`, into usher.conf (allow.h). The files are looked at
 * anew whenever they have changed. A launcher that is not root can do no more than its manager, and
 * asks nobody.
 */
#ifndef USHER_LAUNCHER_PERMIT_H
#define USHER_LAUNCHER_PERMIT_H

#include "launcher/failure.h"
#include "launcher/message.h"
#include "launcher/options.h"
#include "launcher/paths.h"

/* What usher.conf allows, where there is one; asked again only when the file has changed. -1 when it
 * cannot be found out, and what was known stays; a usher.conf that is wrong allows nothing, and is
 * the manager's to speak of. */
int permit_read_config(const launch_options_t *options, failure_t *failure);

/* May this `start` be done? checked->folder is -1 unless it is a dynamic class's. Step "allow", or
 * those of paths_check. */
int permit_start(const message_t *start, checked_path_t *checked, failure_t *failure);
/* May this public address be bound? */
int permit_listen(const message_t *bind, failure_t *failure);

/* May the newest registration of the server have `path` started as a dynamic class? The path without
 * symbolic links. */
int permit_resolve(const char *server, const char *path, char real[PATH_MAX], failure_t *failure);
/* May the manager know whether this file has changed? It is one it may start. */
int permit_identify(const char *path, failure_t *failure);

#endif
