/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/message.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/text.h"

/* ---- writing ------------------------------------------------------------------------------- */

static bool append(message_t *message, const char *bytes, size_t length) {
    if (length > sizeof(message->bytes) - message->length)
        return false;
    memcpy(message->bytes + message->length, bytes, length);
    message->length += length;
    return true;
}

message_t *message_begin(const char *verb) {
    static message_t message;
    message.length = 0;
    append(&message, verb, strlen(verb) + 1);
    return &message;
}

/* A field that does not fit is left out whole, so that the packet stays well-formed. */
void message_add(message_t *message, const char *name, const char *value) {
    size_t before = message->length;
    if (!append(message, name, strlen(name)) || !append(message, "=", 1) ||
        !append(message, value, strlen(value) + 1))
        message->length = before;
}

void message_add_number(message_t *message, const char *name, int64_t value) {
    char digits[24];
    snprintf(digits, sizeof(digits), "%" PRId64, value);
    message_add(message, name, digits);
}

void message_add_text(message_t *message, const char *name, const char *bytes, size_t length) {
    size_t before = message->length;
    if (!append(message, name, strlen(name)) || !append(message, "=", 1) ||
        message->length == sizeof(message->bytes)) {
        message->length = before;
        return;
    }
    size_t room = sizeof(message->bytes) - message->length - 1;
    if (length > room) {
        bytes += length - room;
        length = room;
    }
    while (length > 0) {
        size_t step = text_character(bytes, length);
        append(message, step == 0 ? "?" : bytes, step == 0 ? 1 : step);
        step += step == 0;
        bytes += step;
        length -= step;
    }
    append(message, "", 1);
}

message_t *message_begin_failed(int64_t id, const failure_t *failure) {
    message_t *message = message_begin("failed");
    message_add_number(message, "id", id);
    message_add(message, "step", failure->step);
    message_add_number(message, "errno", failure->errno_value);
    message_add_text(message, "error", failure->text, strlen(failure->text));
    if (failure->cause[0] != '\0')
        message_add(message, "cause", failure->cause);
    return message;
}

/* ---- reading ------------------------------------------------------------------------------- */

bool message_is_whole(const message_t *message) {
    if (message->length < 2 || message->bytes[message->length - 1] != '\0' ||
        message->bytes[0] == '\0')
        return false;
    const char *end = message->bytes + message->length;
    for (const char *at = message->bytes + strlen(message->bytes) + 1; at < end;
         at += strlen(at) + 1) {
        const char *equals = strchr(at, '=');
        if (equals == NULL || equals == at)
            return false;
    }
    return true;
}

const char *message_verb(const message_t *message) {
    return message->bytes;
}

const char *message_next(const message_t *message, const char *name, const char **cursor) {
    const char *end = message->bytes + message->length;
    const char *at = *cursor != NULL ? *cursor : message->bytes;
    size_t name_length = strlen(name);
    for (at += strlen(at) + 1; at < end; at += strlen(at) + 1) {
        if (strncmp(at, name, name_length) == 0 && at[name_length] == '=') {
            *cursor = at;
            return at + name_length + 1;
        }
    }
    return NULL;
}

const char *message_text(const message_t *message, const char *name) {
    const char *cursor = NULL;
    return message_next(message, name, &cursor);
}

const char *message_text_or(const message_t *message, const char *name, const char *otherwise) {
    const char *text = message_text(message, name);
    return text != NULL ? text : otherwise;
}

int message_number(const message_t *message, const char *name, int64_t minimum, int64_t maximum,
                   int64_t *value) {
    const char *text = message_text(message, name);
    if (text == NULL || *text == '\0' || strchr(" \t\n\v\f\r", *text) != NULL)
        return -1;
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0' || number < minimum || number > maximum)
        return -1;
    *value = number;
    return 0;
}

int message_optional_number(const message_t *message, const char *name, int64_t minimum,
                            int64_t maximum, int64_t *value, failure_t *failure) {
    const char *text = message_text(message, name);
    if (text == NULL || message_number(message, name, minimum, maximum, value) == 0)
        return 0;
    return fail(failure, "message", EINVAL, "%s=%s: %lld to %lld is allowed", name, text,
                (long long)minimum, (long long)maximum);
}
