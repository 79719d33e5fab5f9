/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/registration only: the runtime directory, its lock and what a server owns in it.
 * The picture of the directory is in registration.h.
 */
#ifndef USHER_REGISTRATION_DIRECTORIES_H
#define USHER_REGISTRATION_DIRECTORIES_H

#include "registration/registration.h"

typedef struct {
    const char *path; /* absolute, without a slash at the end; borrowed */
    int fd;
    int lock_fd; /* holds `lock` shared */
} usher_runtime_t;

/* Create or check the directory and share its lock, for which it waits at most 10 s. TIMEOUT: an
 * ending manager still holds it. */
usher_status_t usher_runtime_open(usher_runtime_t *runtime, const char *path, usher_error_t *error);
void usher_runtime_close(usher_runtime_t *runtime); /* gives the lock back */

/* channel/, sockets/, servers/. */
usher_status_t usher_runtime_prepare(const usher_runtime_t *runtime, usher_error_t *error);

/* The highest generation of which servers/ has a registration; 0 = none. */
usher_status_t usher_runtime_newest(const usher_runtime_t *runtime, const char *server,
                                    uint32_t *newest, usher_error_t *error);

/* <server>/ with its `live`; uid and gid of the workers count only when we are root. */
usher_status_t usher_runtime_prepare_server(const usher_runtime_t *runtime, const char *server,
                                            uid_t uid, gid_t gid, usher_error_t *error);

#endif
