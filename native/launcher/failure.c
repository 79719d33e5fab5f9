/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fail(failure_t *failure, const char *step, int errno_value, const char *format, ...) {
    memset(failure, 0, sizeof(*failure));
    snprintf(failure->step, sizeof(failure->step), "%s", step);
    failure->errno_value = errno_value;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->text, sizeof(failure->text), format, arguments);
    va_end(arguments);
    return -1;
}

int fail_because(failure_t *failure, const char *cause) {
    snprintf(failure->cause, sizeof(failure->cause), "%s", cause);
    return -1;
}
