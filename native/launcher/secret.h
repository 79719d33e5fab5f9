/* SPDX-License-Identifier: Apache-2.0 */
/* The file with a gateway's secret (-secret-file): opened here, because the gateway's user may not. */
#ifndef USHER_LAUNCHER_SECRET_H
#define USHER_LAUNCHER_SECRET_H

#include "launcher/failure.h"

#define SECRET_BYTES_MAX 4096

/*
 * A descriptor for reading, closed by exec; -1 with step "secret" and a text that names what is wrong.
 * It must be a regular file of root or of the launcher's user that nobody else may read, not empty and
 * no symbolic link. A launcher that is root goes through no directory either in which somebody else
 * could put another file in its place.
 */
int secret_open(const char *path, failure_t *failure);

#endif
