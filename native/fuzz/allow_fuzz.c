/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be started. First byte even: any bytes as a list, and any packet that is held against it:
 * what is allowed was said. Odd: any directives in a registration: the list that is written of them
 * is one that the launcher understands. (Lines, their words end with 0x01.)
 */
#include "input.h"
#include "launcher/allow.h"
#include "launcher/gateway.h"
#include "registration/allow.h"

#define WORDS_MAX 16

static bool is_same(const char *one, const char *other) {
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool has_value(const allow_block_t *block, const char *name, const char *value) {
    size_t cursor = 0;
    const char *one;
    while ((one = allow_next(block, name, &cursor)) != NULL)
        if (strcmp(one, value) == 0)
            return true;
    return false;
}

/* Word by word as allowed, but for the directory of one program that is said without. */
static void check_arguments(const allow_block_t *block, const message_t *start) {
    const char *cursor = NULL, *value, *allowed;
    size_t in_block = 0, changed = 0;
    while (!block->is_dynamic && (value = message_next(start, "arg", &cursor)) != NULL) {
        allowed = allow_next(block, "arg", &in_block);
        CLAIM(allowed != NULL);
        if (strcmp(allowed, value) == 0)
            continue;
        size_t length = strlen(value), name_length = strlen(allowed);
        CLAIM(++changed == 1 && strchr(allowed, '/') == NULL && length > name_length &&
              strcmp(value + length - name_length, allowed) == 0);
    }
    CLAIM(block->is_dynamic || allow_next(block, "arg", &in_block) == NULL);
}

/* Nobody's wish goes further than the block that allows it. */
static void check_allowed(const allow_block_t *block, const message_t *start) {
    static const char *const singles[] = {"user", "group", "log", "gateway", "secret", "service"};
    const char *cursor = NULL, *value;
    for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++)
        CLAIM(is_same(allow_text(block, singles[i]), message_text(start, singles[i])));
    while ((value = message_next(start, "limit", &cursor)) != NULL)
        CLAIM(has_value(block, "limit", value));
    cursor = NULL;
    while ((value = message_next(start, "env", &cursor)) != NULL)
        CLAIM(has_value(block, "env", value) ||
              strcmp(value, "PATH=/usr/local/bin:/usr/bin:/bin") == 0);
    check_arguments(block, start);
    const char *gateway = message_text(start, "gateway");
    CLAIM(gateway == NULL || (!block->is_dynamic && gateway_is_name(gateway)));
}

static void hold_against(const allow_list_t *list, const message_t *message) {
    for (size_t i = 0; i < list->count; i++) {
        const allow_block_t *block = &list->blocks[i];
        if (allow_has_start(block, message))
            check_allowed(block, message);
        if (allow_has_listen(block, message))
            CLAIM(has_value(block, "listen", message_text(message, "listen")));
        const char *program = message_text(message, "arg");
        if (program != NULL)
            allow_has_program(block, program);
    }
}

/* The list, one 0xff, the packet. */
static void read_list(const uint8_t *data, size_t size) {
    static message_t message;
    allow_list_t list;
    failure_t failure;
    const uint8_t *end = memchr(data, 0xff, size);
    size_t length = end != NULL ? (size_t)(end - data) : size;
    if (allow_parse((const char *)data, length, &list, &failure) < 0) {
        CLAIM(list.count == 0 && failure.text[0] != '\0');
        return;
    }
    if (end != NULL) {
        message.length = size - length - 1;
        memcpy(message.bytes, end + 1, message.length);
        if (message_is_whole(&message))
            hold_against(&list, &message);
    }
    allow_free(&list);
}

static void add_directive(usher_allow_t *allow, char *text) {
    const char *words[WORDS_MAX];
    size_t count = 0;
    for (char *rest = text, *word; count < WORDS_MAX && (word = strsep(&rest, "\1")) != NULL;)
        words[count++] = word;
    CLAIM(usher_allow_add(allow, words, count));
}

static void write_list(const uint8_t *data, size_t size) {
    usher_allow_t allow;
    allow_list_t list;
    failure_t failure = {.text = ""};
    input_t input = {data, data + size};
    char *text = input_text(&input);
    CLAIM(usher_allow_begin(&allow, "www-data", "www-data"));
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;)
        add_directive(&allow, line);
    CLAIM(usher_allow_finish(&allow));
    if (allow_parse(allow.bytes, allow.length, &list, &failure) < 0)
        fprintf(stderr, "%.*s%s\n", (int)allow.length, allow.bytes, failure.text);
    CLAIM(failure.text[0] == '\0');
    for (size_t i = 0; i < list.count; i++)
        CLAIM(allow_text(&list.blocks[i], "user") != NULL);
    allow_free(&list);
    usher_allow_free(&allow);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    if (data[0] % 2 == 0)
        read_list(data + 1, size - 1);
    else
        write_list(data + 1, size - 1);
    return 0;
}
