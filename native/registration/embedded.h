/* SPDX-License-Identifier: Apache-2.0 */
/* Inside native/registration only: starting the manager from inside a web server. */
#ifndef USHER_REGISTRATION_EMBEDDED_H
#define USHER_REGISTRATION_EMBEDDED_H

#include "registration/directories.h"

/* Does a launcher hold manager.lock? */
usher_status_t usher_embedded_is_running(const usher_runtime_t *runtime, bool *running,
                                         usher_error_t *error);

/* Start the launcher, detached from the web server: OK once it has been executed. A second one
 * finds manager.lock taken and ends, so that two servers may do this at once. */
usher_status_t usher_embedded_start(const usher_runtime_t *runtime, const char *log_file,
                                    usher_error_t *error);

#endif
