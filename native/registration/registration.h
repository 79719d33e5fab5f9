/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a web server makes itself known: the part of it that does not depend on which server it is.
 * Run by the master after it has read its configuration and before it forks workers; both modules
 * use it.
 *
 *   <runtime dir>/                       0711 (root) or 0700
 *     lock                               registering servers share it; an ending manager takes it alone
 *     manager.lock                       held by the launcher for its whole life
 *     control.sock                       the manager's control socket, bound by the launcher
 *     channel/                           0700: table, places, <server>.cells
 *     sockets/                           0700: the instances' sockets, bound by the launcher
 *     servers/                           0700: <server>.<generation>.conf, and beside it .allow
 *     <server>/                          0500, owner = the server's worker user
 *       live                             0600, same owner: one byte locked by each living worker
 *       …                                hard links to the sockets in sockets/
 */
#ifndef USHER_REGISTRATION_H
#define USHER_REGISTRATION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "channel/channel.h"

typedef enum {
    USHER_MANAGER_MODE_EMBEDDED = 1, /* start the manager when none runs */
    USHER_MANAGER_MODE_EXTERNAL = 2, /* somebody else starts it */
    USHER_MANAGER_MODE_OFF = 3,      /* no manager: every request that needs one is answered 503 */
} usher_manager_mode_t;

typedef struct {
    const char *runtime_dir;        /* NULL = usher_default_runtime_dir() */
    const char *kind;               /* "nginx", "apache": 1 to 6 lower-case letters or digits */
    const char *configuration_file; /* its canonical path and `uid` make the server's name */
    const char *user, *group;       /* names of the workers' user and group */
    uid_t uid;                      /* of the workers; ignored when not root */
    gid_t gid;
    usher_manager_mode_t mode;
    const char *log_file; /* UsherLog, absolute; NULL = <runtime dir>/usher.log */
    /* UsherMetrics, UsherDashboard: where the manager is to listen; NULL = nowhere */
    const char *metrics, *dashboard;
} usher_server_t;

typedef struct usher_registration usher_registration_t;

/* /run/usher for root, $XDG_RUNTIME_DIR/usher otherwise. -1 with `error` when that is not set. */
int usher_default_runtime_dir(char *path, size_t size, usher_error_t *error);

/* At configuration time, without touching anything: is the path absolute and short enough for the
 * sockets (<runtime dir>/<server>/<socket> < 108 bytes)? -1 with `error` (names the lengths). */
int usher_runtime_dir_check(const char *runtime_dir, usher_error_t *error);

/*
 * Prepare the runtime directory, share its lock, open the channel, begin a generation.
 * Errors name the path and what is missing (not writable, wrong owner, too long, another layout).
 */
usher_status_t usher_registration_begin(const usher_server_t *server,
                                        usher_registration_t **registration, usher_error_t *error);

/*
 * Add one directive in the dialect of usher.conf: `words` are quoted as needed; `source` is
 * "file:line" of where the administrator wrote it, NULL if nowhere.
 *   AppClass NAME-OR-PATH -option value …      ExternalAppClass …      FCGIConfig …
 *   UsherRoot DIR                              a root for dynamic classes
 * `-initial-env NAME` without a value gets the server's own, or is left out where it has none.
 */
usher_status_t usher_registration_add(usher_registration_t *registration, const char *source,
                                      const char *const *words, size_t count, usher_error_t *error);

/*
 * Write <server>.<generation>.allow, what it allows a launcher that is root to start
 * (launcher/allow.h), and <server>.<generation>.conf (atomic renames), ring the doorbell, start the manager in
 * embedded mode when none runs, give the lock back. The registration is freed in any case;
 * `*channel` is the caller's: workers inherit it and attach with `live_path`. It is NULL when the
 * registration failed; when it stands and only the manager could not be started, the error is
 * returned and `*channel` is set: the server can go on, requests wait for a manager.
 */
usher_status_t usher_registration_commit(usher_registration_t *registration,
                                         usher_channel_t **channel, uint32_t *generation,
                                         char *live_path, size_t live_path_size,
                                         usher_error_t *error);
void usher_registration_abandon(usher_registration_t *registration);

/*
 * For a master that ends, after its last worker has: where no manager runs and no worker of any
 * server lives, remove the runtime directory, as an ending manager does. Else leave all as it is.
 * True when it was removed.
 */
bool usher_registration_end(const char *live_path, uint32_t generation);

/*
 * What stands in the file: the directives above, behind
 *   UsherServer NAME -generation N -kind nginx -pid N -user U -group G -configuration FILE
 * and each directive preceded by a comment line "# at FILE:LINE".
 */

#endif
