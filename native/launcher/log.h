/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's own log: one JSON object per line on stderr. */
#ifndef USHER_LAUNCHER_LOG_H
#define USHER_LAUNCHER_LOG_H

#include <stdint.h>

/* `event` is noun.verb; then pairs of name and text, ended by NULL. A text of NULL leaves its pair
 * out. */
void log_info(const char *event, ...) __attribute__((sentinel));
void log_warn(const char *event, ...) __attribute__((sentinel));
void log_error(const char *event, ...) __attribute__((sentinel));

typedef struct {
    char text[24];
} decimal_t;

/* A number as the log and messages spell it. */
decimal_t decimal(int64_t number);

#endif
