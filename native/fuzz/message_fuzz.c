/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets at the launcher, which is root, from a manager that may be anybody's: what is read lies in
 * the packet, numbers are within their bounds, and what the launcher writes of foreign bytes is a
 * packet that reads back. First byte: reading or writing.
 */
#include <sanitizer/asan_interface.h>

#include "input.h"
#include "launcher/limits.h"
#include "launcher/message.h"
#include "launcher/text.h"

static const char *const names[] = {"id",   "endpoint", "tag", "arg",   "env",    "cwd",
                                    "user", "server",   "log", "limit", "listen", "a"};
#define NAMES (sizeof(names) / sizeof(names[0]))

static void check_inside(const message_t *message, const char *text) {
    CLAIM(text > message->bytes && text < message->bytes + message->length);
    CLAIM(text + strlen(text) < message->bytes + message->length);
}

static void read_limits(const message_t *message) {
    limits_t limits = {.count = 0};
    failure_t failure;
    const char *text, *cursor = NULL;
    while ((text = message_next(message, "limit", &cursor)) != NULL) {
        if (limits_add(&limits, text, &failure) < 0)
            CLAIM(strcmp(failure.step, "limit") == 0 &&
                  strnlen(failure.text, sizeof(failure.text)) < sizeof(failure.text));
        CLAIM(limits.count <= LIMITS_MAX);
    }
}

static void read_packet(const uint8_t *data, size_t size) {
    static message_t message;
    if (size > sizeof(message.bytes))
        return;
    memcpy(message.bytes, data, size);
    message.length = size;
    /* a packet's end is not the buffer's */
    size_t guard = sizeof(message.bytes) - size < 64 ? sizeof(message.bytes) - size : 64;
    ASAN_POISON_MEMORY_REGION(message.bytes + size, guard);
    if (message_is_whole(&message)) {
        CLAIM(message_verb(&message)[0] != '\0');
        for (size_t i = 0; i < NAMES; i++) {
            const char *text, *cursor = NULL;
            size_t count = 0;
            while ((text = message_next(&message, names[i], &cursor)) != NULL) {
                check_inside(&message, text);
                CLAIM(++count < size);
            }
            int64_t number = 0;
            if (message_number(&message, names[i], -5, 1000, &number) == 0)
                CLAIM(number >= -5 && number <= 1000);
            CLAIM((message_text(&message, names[i]) != NULL) == (count > 0));
        }
        read_limits(&message);
    }
    ASAN_UNPOISON_MEMORY_REGION(message.bytes + size, guard);
}

static void check_utf8(const char *text) {
    for (size_t left = strlen(text), step; left > 0; left -= step, text += step) {
        step = text_character(text, left);
        CLAIM(step > 0 && step <= left);
    }
}

/* So much that not much more fits. */
static void fill(message_t *message, size_t room) {
    static char filling[USHER_MESSAGE_MAX];
    size_t length = sizeof(filling) - 64 - room;
    memset(filling, 'x', length);
    filling[length] = '\0';
    message_add(message, "env", filling);
}

static void write_packet(const uint8_t *data, size_t size) {
    input_t input = {data, data + size};
    uint32_t byte = input_byte(&input);
    message_t *message = message_begin("output");
    message_add_number(message, "id", (int64_t)input_number(&input, 8));
    if (byte >= 0xc0)
        fill(message, input_byte(&input) * 4u);
    char *text = input_text(&input);
    for (uint32_t i = 0; i < 1 + byte % 4; i++) {
        message_add_text(message, "text", (const char *)input.at, input_left(&input));
        message_add(message, "error", text);
    }
    free(text);
    CLAIM(message->length <= sizeof(message->bytes) && message_is_whole(message));
    const char *value, *cursor = NULL;
    while ((value = message_next(message, "text", &cursor)) != NULL)
        check_utf8(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        read_packet(data + 1, size - 1);
    else
        write_packet(data + 1, size - 1);
    return 0;
}
