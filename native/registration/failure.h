/* SPDX-License-Identifier: Apache-2.0 */
/* Inside native/registration only: filling usher_error_t. */
#ifndef USHER_REGISTRATION_FAILURE_H
#define USHER_REGISTRATION_FAILURE_H

#include "registration/registration.h"

/* Format into `error` and return `status`. */
__attribute__((format(printf, 3, 4))) usher_status_t
usher_registration_fail(usher_error_t *error, usher_status_t status, const char *format, ...);

/* The same for a system call that failed: appends what errno says and returns SYSTEM. */
__attribute__((format(printf, 2, 3))) usher_status_t
usher_registration_fail_errno(usher_error_t *error, const char *format, ...);

#endif
