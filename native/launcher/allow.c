/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/allow.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/gateway.h"

#define DEFAULT_PATH "PATH=/usr/local/bin:/usr/bin:/bin"
#define NICE_DIGITS_MAX 4
#define PROGRAM_FOLLOWS "--program" /* among a gateway's arguments */

/* ---- reading ------------------------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0)
            return true;
    }
    return false;
}

static bool is_number(const char *text) {
    text += *text == '-';
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= NICE_DIGITS_MAX && text[digits] == '\0';
}

/* A field that is not known may restrict what the others allow: it is refused. */
static bool is_field(const char *line, bool is_dynamic) {
    static const char *const common[] = {"env", "user", "group", "limit", "log"};
    static const char *const of_programs[] = {"arg", "cwd", "listen"};
    char name[16];
    size_t length = strcspn(line, "=");
    if (line[length] != '=' || length >= sizeof(name))
        return false;
    memcpy(name, line, length);
    name[length] = '\0';
    const char *value = line + length + 1;
    if (strcmp(name, "nice") == 0)
        return is_number(value);
    if (strcmp(name, "setuid") == 0)
        return strcmp(value, "1") == 0;
    if (!is_dynamic && strcmp(name, "gateway") == 0)
        return gateway_is_name(value);
    if (!is_dynamic && strcmp(name, "service") == 0)
        return strcmp(value, "1") == 0;
    if (!is_dynamic && strcmp(name, "secret") == 0)
        return value[0] == '/';
    if (is_dynamic && strcmp(name, "root") == 0)
        return value[0] == '/';
    if (is_dynamic && strcmp(name, "path-check") == 0)
        return strcmp(value, "suexec") == 0 || strcmp(value, "roots") == 0;
    return is_one_of(name, common, sizeof(common) / sizeof(common[0])) ||
           (!is_dynamic &&
            is_one_of(name, of_programs, sizeof(of_programs) / sizeof(of_programs[0])));
}

/* In place; false for a backslash before anything else. */
static bool unescape(char *line) {
    char *to = line;
    for (const char *from = line; *from != '\0'; from++) {
        if (*from == '\\') {
            from++;
            if (*from != '\\' && *from != 'n')
                return false;
            *to++ = *from == 'n' ? '\n' : '\\';
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return true;
}

static int fail_line(size_t number, const char *line, failure_t *failure) {
    return fail(failure, "allow", EINVAL, "line %zu: \"%.80s\" is not understood", number, line);
}

/* One line goes into the block that is open, or opens one. */
static int add_line(allow_list_t *list, char *line, size_t number, failure_t *failure) {
    bool is_dynamic = strcmp(line, "dynamic") == 0;
    if (is_dynamic || strcmp(line, "program") == 0) {
        list->blocks[list->count++] =
            (allow_block_t){.is_dynamic = is_dynamic, .lines = list->lines + number};
        return 0;
    }
    allow_block_t *block = list->count > 0 ? &list->blocks[list->count - 1] : NULL;
    if (block == NULL || !is_field(line, block->is_dynamic))
        return fail_line(number + 1, line, failure);
    list->lines[number] = line;
    if (block->count++ == 0)
        block->lines = list->lines + number;
    return unescape(line) ? 0 : fail_line(number + 1, line, failure);
}

static size_t count_lines(const char *bytes, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++)
        count += bytes[i] == '\n';
    return count;
}

static int parse(const char *bytes, size_t length, allow_list_t *list, failure_t *failure) {
    if (length > ALLOW_BYTES_MAX)
        return fail(failure, "allow", EFBIG, "more than %zu bytes", ALLOW_BYTES_MAX);
    if (length > 0 && (memchr(bytes, '\0', length) != NULL || bytes[length - 1] != '\n'))
        return fail(failure, "allow", EINVAL, "not lines of text, each ended");
    size_t count = count_lines(bytes, length);
    list->blocks = calloc(count + 1, sizeof(*list->blocks));
    list->lines = calloc(count + 1, sizeof(*list->lines));
    list->text = malloc(length + 1);
    if (list->blocks == NULL || list->lines == NULL || list->text == NULL)
        return fail(failure, "memory", ENOMEM, "no memory for %zu lines", count);
    memcpy(list->text, bytes, length);
    char *line = list->text;
    for (size_t i = 0; i < count; i++) {
        char *end = memchr(line, '\n', length - (size_t)(line - list->text));
        *end = '\0';
        if (add_line(list, line, i, failure) < 0)
            return -1;
        line = end + 1;
    }
    return 0;
}

int allow_parse(const char *bytes, size_t length, allow_list_t *list, failure_t *failure) {
    *list = (allow_list_t){0};
    int result = parse(bytes, length, list, failure);
    if (result < 0)
        allow_free(list);
    return result;
}

void allow_free(allow_list_t *list) {
    free(list->blocks);
    free(list->lines);
    free(list->text);
    *list = (allow_list_t){0};
}

/* ---- fields -------------------------------------------------------------------------------- */

const char *allow_next(const allow_block_t *block, const char *name, size_t *cursor) {
    size_t length = strlen(name);
    while (*cursor < block->count) {
        const char *line = block->lines[(*cursor)++];
        if (strncmp(line, name, length) == 0 && line[length] == '=')
            return line + length + 1;
    }
    return NULL;
}

const char *allow_text(const allow_block_t *block, const char *name) {
    size_t cursor = 0;
    return allow_next(block, name, &cursor);
}

static bool has(const allow_block_t *block, const char *name, const char *value) {
    size_t cursor = 0;
    const char *one;
    while ((one = allow_next(block, name, &cursor)) != NULL) {
        if (strcmp(one, value) == 0)
            return true;
    }
    return false;
}

static bool message_has(const message_t *message, const char *name, const char *value) {
    const char *cursor = NULL, *one;
    while ((one = message_next(message, name, &cursor)) != NULL) {
        if (strcmp(one, value) == 0)
            return true;
    }
    return false;
}

static bool is_same_text(const char *one, const char *other) {
    return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

static bool same(const allow_block_t *block, const message_t *message, const char *name) {
    return is_same_text(allow_text(block, name), message_text(message, name));
}

/* ---- is it the same? ----------------------------------------------------------------------- */

static bool says_path(const allow_block_t *block) {
    size_t cursor = 0;
    const char *variable;
    while ((variable = allow_next(block, "env", &cursor)) != NULL) {
        if (strncmp(variable, "PATH=", 5) == 0)
            return true;
    }
    return false;
}

/* The same values on both sides, in any order. */
static bool same_values(const allow_block_t *block, const message_t *start, const char *name,
                        const char *besides) {
    const char *in_start = NULL, *value;
    while ((value = message_next(start, name, &in_start)) != NULL) {
        if (!has(block, name, value) && !is_same_text(value, besides))
            return false;
    }
    size_t in_block = 0;
    while ((value = allow_next(block, name, &in_block)) != NULL) {
        if (!message_has(start, name, value))
            return false;
    }
    return true;
}

static bool same_nice(const allow_block_t *block, const message_t *start) {
    const char *in_block = allow_text(block, "nice"), *in_start = message_text(start, "nice");
    return strtol(in_block != NULL ? in_block : "0", NULL, 10) ==
           strtol(in_start != NULL ? in_start : "0", NULL, 10);
}

static bool may_setuid(const allow_block_t *block, const message_t *start) {
    const char *wish = message_text(start, "setuid");
    return wish == NULL || strcmp(wish, "0") == 0 || allow_text(block, "setuid") != NULL;
}

/* A program without a slash is the one in the directories of the manager's own PATH. */
static bool is_same_program(const char *allowed, const char *program) {
    static const char *const folders[] = {"/usr/local/bin/", "/usr/bin/", "/bin/"};
    if (strcmp(allowed, program) == 0)
        return true;
    for (size_t i = 0; strchr(allowed, '/') == NULL && i < sizeof(folders) / sizeof(folders[0]);
         i++) {
        size_t length = strlen(folders[i]);
        if (strncmp(program, folders[i], length) == 0 && strcmp(program + length, allowed) == 0)
            return true;
    }
    return false;
}

/* A gateway's program is the word that follows; without a gateway it is the first. */
static bool is_program_next(bool is_gateway, const char *before) {
    return is_gateway ? before != NULL && strcmp(before, PROGRAM_FOLLOWS) == 0 : before == NULL;
}

static bool is_gateway(const allow_block_t *block) {
    return allow_text(block, "gateway") != NULL;
}

bool allow_has_program(const allow_block_t *block, const char *path) {
    size_t cursor = 0;
    const char *before = NULL, *word;
    while (!block->is_dynamic && (word = allow_next(block, "arg", &cursor)) != NULL) {
        if (is_program_next(is_gateway(block), before))
            return is_same_program(word, path);
        before = word;
    }
    return false;
}

/* Only a gateway can be without any. */
static bool same_arguments(const allow_block_t *block, const message_t *start) {
    size_t in_block = 0;
    const char *in_start = NULL, *before = NULL;
    bool has_program = false;
    for (;;) {
        const char *allowed = allow_next(block, "arg", &in_block);
        const char *wish = message_next(start, "arg", &in_start);
        if (allowed == NULL || wish == NULL)
            return allowed == wish && (before != NULL || is_gateway(block));
        bool is_program = !has_program && is_program_next(is_gateway(block), before);
        if (is_program ? !is_same_program(allowed, wish) : strcmp(allowed, wish) != 0)
            return false;
        has_program = has_program || is_program;
        before = allowed;
    }
}

bool allow_has_start(const allow_block_t *block, const message_t *start) {
    if (!same(block, start, "gateway") || !same(block, start, "secret") ||
        !same(block, start, "service") || !same(block, start, "user") ||
        !same(block, start, "group") || !same(block, start, "log") || !same_nice(block, start) ||
        !may_setuid(block, start) || !same_values(block, start, "limit", NULL) ||
        !same_values(block, start, "env", says_path(block) ? NULL : DEFAULT_PATH))
        return false;
    if (!block->is_dynamic)
        return same(block, start, "cwd") && same_arguments(block, start);
    const char *cursor = NULL;
    return message_next(start, "arg", &cursor) != NULL &&
           message_next(start, "arg", &cursor) == NULL;
}

bool allow_has_listen(const allow_block_t *block, const message_t *bind) {
    return !block->is_dynamic && allow_text(block, "listen") != NULL &&
           same(block, bind, "listen") && same(block, bind, "user") && same(block, bind, "group");
}
