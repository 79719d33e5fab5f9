/* SPDX-License-Identifier: Apache-2.0 */
#include "registration/allow.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "options/options.h"

#define ERROR_BYTES 512
#define COMMAND_WORDS_MAX 4096

/* ---- texts ------------------------------------------------------------------------------------ */

static bool texts_add(usher_texts_t *texts, const char *text) {
    if (texts->count == texts->capacity) {
        size_t capacity = texts->capacity > 0 ? 2 * texts->capacity : 16;
        char **items = realloc(texts->items, capacity * sizeof *items);
        if (items == NULL)
            return false;
        texts->items = items;
        texts->capacity = capacity;
    }
    char *copy = strdup(text);
    if (copy == NULL)
        return false;
    texts->items[texts->count++] = copy;
    return true;
}

static void texts_cut(usher_texts_t *texts, size_t count) {
    while (texts->count > count)
        free(texts->items[--texts->count]);
}

static void texts_free(usher_texts_t *texts) {
    texts_cut(texts, 0);
    free(texts->items);
    *texts = (usher_texts_t){0};
}

static bool texts_have(const usher_texts_t *texts, const char *text) {
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i], text) == 0)
            return true;
    return false;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static void put_bytes(FILE *stream, const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '\n')
            putc('\\', stream);
        putc(*text == '\n' ? 'n' : *text, stream);
    }
}

/* NAME=PREFIXVALUE */
static void put_prefixed(FILE *stream, const char *name, const char *prefix, const char *value) {
    fprintf(stream, "%s=%s", name, prefix);
    put_bytes(stream, value);
    putc('\n', stream);
}

static void put(FILE *stream, const char *name, const char *value) {
    if (value != NULL)
        put_prefixed(stream, name, "", value);
}

/* ---- options ---------------------------------------------------------------------------------- */

static const usher_option_value_t *find(const usher_option_values_t *values, const char *id) {
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->values[i].option->id, id) == 0)
            return &values->values[i];
    return NULL;
}

static const char *text_of(const usher_option_values_t *values, const char *id) {
    const usher_option_value_t *value = find(values, id);
    return value != NULL ? value->text : NULL;
}

static void put_all(FILE *stream, const char *name, const usher_option_values_t *values,
                    const char *id) {
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->values[i].option->id, id) == 0)
            put(stream, name, values->values[i].text);
}

/* Bytes of NAME in "NAME=value", 0 when there is none. */
static size_t name_length(const usher_option_value_t *value) {
    const char *sign = strchr(value->text, '=');
    return strcmp(value->option->id, "initialEnv") != 0 || sign == NULL
               ? 0
               : (size_t)(sign - value->text);
}

/* A variable that is given again later counts there. */
static void put_environment(FILE *stream, const usher_option_values_t *values) {
    for (size_t i = 0; i < values->count; i++) {
        const char *text = values->values[i].text;
        size_t length = name_length(&values->values[i]), later = i + 1;
        while (later < values->count && (name_length(&values->values[later]) != length ||
                                         strncmp(values->values[later].text, text, length) != 0))
            later++;
        if (length > 0 && later == values->count)
            put(stream, "env", text);
    }
}

/* -group counts with -user; without either it is the server's user and group. */
static void put_common(const usher_allow_t *allow, const usher_option_values_t *values) {
    FILE *stream = allow->stream;
    const char *user = text_of(values, "user"), *group = text_of(values, "group");
    const usher_option_value_t *priority = find(values, "priority");
    put(stream, "user", user != NULL ? user : allow->user);
    put(stream, "group", group != NULL ? group : user == NULL ? allow->group : NULL);
    put_environment(stream, values);
    if (priority != NULL && priority->number != 0)
        fprintf(stream, "nice=%lld\n", (long long)priority->number);
    put_all(stream, "limit", values, "limit");
    put(stream, "log", text_of(values, "log"));
    if (find(values, "allowSetuid") != NULL)
        fputs("setuid=1\n", stream);
}

/* ---- programs --------------------------------------------------------------------------------- */

/* As dirname() of Node's path module: what the manager says. */
static void put_folder(FILE *stream, const char *path) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    while (end > 0 && path[end - 1] != '/')
        end--;
    while (end > 1 && path[end - 1] == '/')
        end--;
    char *folder = strndup(path, end);
    put(stream, "cwd", folder);
    free(folder);
}

static bool put_command(FILE *stream, const char *command) {
    char error[ERROR_BYTES];
    size_t size = strlen(command) + 2;
    char *buffer = malloc(size), **words = calloc(COMMAND_WORDS_MAX, sizeof *words);
    int count = buffer == NULL || words == NULL
                    ? -1
                    : usher_command_split(command, buffer, size, words, COMMAND_WORDS_MAX, error,
                                          sizeof error);
    for (int i = 0; i < count; i++)
        put(stream, "arg", words[i]);
    free(buffer);
    free(words);
    return count > 0;
}

static bool add_program(usher_allow_t *allow, const char *name,
                        const usher_option_values_t *values) {
    FILE *stream = allow->stream;
    const char *command = text_of(values, "command"), *cwd = text_of(values, "cwd");
    const char *socket = text_of(values, "socket"), *port = text_of(values, "port");
    fputs("program\n", stream);
    if (command == NULL)
        put(stream, "arg", name);
    else if (!put_command(stream, command))
        return false;
    if (cwd != NULL)
        put(stream, "cwd", cwd);
    else if (*name == '/')
        put_folder(stream, name);
    else
        put(stream, "cwd", "/");
    if (socket != NULL)
        put_prefixed(stream, "listen", "unix:", socket);
    else if (port != NULL)
        put_prefixed(stream, "listen", "tcp:", port);
    put_common(allow, values);
    return true;
}

/* External classes are nothing to start, but their names are taken. */
static bool add_class(usher_allow_t *allow, usher_scope_t scope, const char *const *words,
                      size_t count) {
    char error[ERROR_BYTES];
    usher_option_values_t values;
    if (count == 0 || texts_have(&allow->names, words[0]) ||
        usher_options_parse(scope, USHER_HOST_USHER, words + 1, count - 1, &values, error,
                            sizeof error) < 0 ||
        usher_class_check(scope, USHER_HOST_USHER, words[0], &values, error, sizeof error) < 0)
        return true;
    return texts_add(&allow->names, words[0]) &&
           (scope == USHER_SCOPE_EXTERNAL || add_program(allow, words[0], &values));
}

/* ---- dynamic classes -------------------------------------------------------------------------- */

static bool parse_dynamic(const usher_allow_t *allow, usher_option_values_t *values) {
    char error[ERROR_BYTES];
    const char *const *words = (const char *const *)allow->dynamic.items;
    return usher_options_parse(USHER_SCOPE_DYNAMIC, USHER_HOST_USHER, words, allow->dynamic.count,
                               values, error, sizeof error) == 0;
}

/* Several lines count as one; what comes with one that is wrong is not known. */
static bool add_dynamic(usher_allow_t *allow, const char *const *words, size_t count) {
    usher_option_values_t values;
    for (size_t i = 0; i < count; i++)
        if (!texts_add(&allow->dynamic, words[i]))
            return false;
    if (!parse_dynamic(allow, &values)) {
        allow->broken_dynamic = true;
        texts_cut(&allow->dynamic, allow->dynamic.count - count);
    }
    return true;
}

static void put_dynamic(const usher_allow_t *allow) {
    FILE *stream = allow->stream;
    usher_option_values_t values;
    if (allow->broken_dynamic || !parse_dynamic(allow, &values))
        return;
    fputs("dynamic\n", stream);
    if (find(&values, "dynamicRoot") != NULL)
        put_all(stream, "root", &values, "dynamicRoot");
    else
        for (size_t i = 0; i < allow->roots.count; i++)
            put(stream, "root", allow->roots.items[i]);
    const char *check = text_of(&values, "pathCheck");
    if (check != NULL)
        put(stream, "path-check", strcasecmp(check, "roots") == 0 ? "roots" : "suexec");
    put_common(allow, &values);
}

/* ---- */

bool usher_allow_begin(usher_allow_t *allow, const char *user, const char *group) {
    *allow = (usher_allow_t){.user = strdup(user), .group = strdup(group)};
    allow->stream = open_memstream(&allow->bytes, &allow->length);
    return allow->user != NULL && allow->group != NULL && allow->stream != NULL;
}

bool usher_allow_add(usher_allow_t *allow, const char *const *words, size_t count) {
    const char *directive = words[0];
    if (strcasecmp(directive, "AppClass") == 0 || strcasecmp(directive, "FastCgiServer") == 0)
        return add_class(allow, USHER_SCOPE_STATIC, words + 1, count - 1);
    if (strcasecmp(directive, "ExternalAppClass") == 0 ||
        strcasecmp(directive, "FastCgiExternalServer") == 0)
        return add_class(allow, USHER_SCOPE_EXTERNAL, words + 1, count - 1);
    if (strcasecmp(directive, "FCGIConfig") == 0 || strcasecmp(directive, "FastCgiConfig") == 0)
        return add_dynamic(allow, words + 1, count - 1);
    if (strcasecmp(directive, "UsherRoot") == 0 && count == 2 && words[1][0] == '/')
        return texts_add(&allow->roots, words[1]);
    return true;
}

bool usher_allow_finish(usher_allow_t *allow) {
    put_dynamic(allow);
    bool written = ferror(allow->stream) == 0;
    written = fclose(allow->stream) == 0 && written;
    allow->stream = NULL;
    return written && allow->bytes != NULL;
}

void usher_allow_free(usher_allow_t *allow) {
    if (allow->stream != NULL)
        fclose(allow->stream);
    free(allow->bytes);
    free(allow->user);
    free(allow->group);
    texts_free(&allow->names);
    texts_free(&allow->roots);
    texts_free(&allow->dynamic);
    *allow = (usher_allow_t){0};
}
