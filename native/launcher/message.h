/* SPDX-License-Identifier: Apache-2.0 */
/* Packets between launcher and manager (protocol.h): writing and reading their fields. */
#ifndef USHER_LAUNCHER_MESSAGE_H
#define USHER_LAUNCHER_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "launcher/failure.h"
#include "launcher/protocol.h"

typedef struct {
    size_t length;
    char bytes[USHER_MESSAGE_MAX];
} message_t;

/* Begin a message in the one buffer there is for writing: finish and send it before the next. */
message_t *message_begin(const char *verb);
void message_add(message_t *message, const char *name, const char *value);
void message_add_number(message_t *message, const char *name, int64_t value);
/* Add bytes from outside as valid UTF-8 without NUL: what is not becomes '?'. Cut at the front
 * when it does not fit. */
void message_add_text(message_t *message, const char *name, const char *bytes, size_t length);

/* `failed` with its fields. */
message_t *message_begin_failed(int64_t id, const failure_t *failure);

/* A received packet has a verb, every field has a name, and all of them end in NUL. */
bool message_is_whole(const message_t *message);
const char *message_verb(const message_t *message);
/* NULL when the field is missing. Empty text stays empty text. */
const char *message_text(const message_t *message, const char *name);
const char *message_text_or(const message_t *message, const char *name, const char *otherwise);
/* -1 when the field is missing or no decimal number of `minimum` … `maximum`. */
int message_number(const message_t *message, const char *name, int64_t minimum, int64_t maximum,
                   int64_t *value);
/* A number that may be left out, which leaves *value as it is; a wrong one fails with step "message". */
int message_optional_number(const message_t *message, const char *name, int64_t minimum,
                            int64_t maximum, int64_t *value, failure_t *failure);
/* Values of a repeated field: call with *cursor = NULL first; NULL at the end. */
const char *message_next(const message_t *message, const char *name, const char **cursor);

#endif
