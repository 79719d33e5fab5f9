/* SPDX-License-Identifier: Apache-2.0 */
#include "registration/failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

usher_status_t usher_registration_fail(usher_error_t *error, usher_status_t status,
                                       const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    error->errno_value = 0;
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return status;
}

usher_status_t usher_registration_fail_errno(usher_error_t *error, const char *format, ...) {
    int cause = errno;
    char reason[64];
    va_list arguments;
    va_start(arguments, format);
    error->errno_value = cause;
    int used = vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    if (used >= 0 && (size_t)used < sizeof error->text)
        snprintf(error->text + used, sizeof error->text - (size_t)used, ": %s",
                 strerror_r(cause, reason, sizeof reason));
    return USHER_SYSTEM;
}
