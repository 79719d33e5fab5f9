/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the runtime directory for a manager that may not enter it: opened here and handed over.
 * Names are the manager's word and checked; nothing follows a symbolic link, and what a web
 * server's workers may have put in their folder is looked at before it is opened for anybody.
 */
#ifndef USHER_LAUNCHER_FILES_H
#define USHER_LAUNCHER_FILES_H

#include <stdbool.h>

#include "launcher/failure.h"
#include "launcher/link.h"

/* For reading; -1 with errno. */
int files_open_config(const char *config);
/* Table and places of the channel, made where they are missing, and the configuration, NULL = none:
 * opened into descriptors[0 … 2], -1 where there is no configuration or it cannot be read. */
int files_open_channel(const char *config, int *descriptors, failure_t *failure);

/* Call `on_file` for each SERVER.GENERATION with this suffix (".conf") in servers/. */
int files_each(const char *suffix, void (*on_file)(int folder, const char *name, void *context),
               void *context, failure_t *failure);
/* Is it the name of such a file? */
bool files_is_registration(const char *name, const char *suffix);
/* A descriptor for reading, -1 with `failure`. */
int files_open_registration(const char *name, failure_t *failure);
/* The server's cells and its live file, for reading and writing. */
int files_open_server(const char *server, int *cells_fd, int *live_fd, failure_t *failure);

/* A registration with its .allow. */
int files_remove_registration(const char *name, failure_t *failure);
/* A server's folder and its cells. */
int files_remove_server(const char *server, failure_t *failure);

void files_close(int *descriptors, size_t count);

#endif
