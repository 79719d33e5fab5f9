/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of cold calls. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "channel/internal.h"

usher_status_t usher_fail(usher_error_t *error, usher_status_t status, int errno_value,
                          const char *format, ...) {
    if (!error) {
        return status;
    }
    error->errno_value = errno_value;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    if (errno_value != 0) {
        char buffer[128];
        size_t used = strlen(error->text);
        /* the GNU variant: thread-safe, and may return a constant instead of `buffer` */
        const char *reason = strerror_r(errno_value, buffer, sizeof(buffer));
        snprintf(error->text + used, sizeof(error->text) - used, ": %s", reason);
    }
    return status;
}
