/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that gets what a program writes (-log), opened as the program's user and shared by all
 * instances that name it. Begun anew when it was renamed away. A file that cannot be opened or
 * written, or would fill the disk, costs its lines and one line in the launcher's own log, with how
 * many bytes when it goes on; it stops nobody.
 */
#ifndef USHER_LAUNCHER_LOG_FILE_H
#define USHER_LAUNCHER_LOG_FILE_H

#include <stddef.h>

#include "launcher/spawn.h"

typedef struct log_file log_file_t;

/* NULL without memory. */
log_file_t *log_file_open(const char *path, const spawn_user_t *user);
void log_file_write(log_file_t *file, const char *bytes, size_t length);
/* NULL is no file. */
void log_file_close(log_file_t *file);

#endif
