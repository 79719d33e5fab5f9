/* SPDX-License-Identifier: Apache-2.0 */
#include "registration/allow.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "registration/allow_blocks.h"

#define ERROR_BYTES 512

/* ---- classes ---------------------------------------------------------------------------------- */

/* One that runs whatever file the web server names waits for all roots to be known. */
static bool add_files(usher_allow_t *allow, const char *const *words, size_t count) {
    usher_allow_files_t *files = calloc(1, sizeof *files);
    if (files == NULL)
        return false;
    *allow->files_end = files;
    allow->files_end = &files->next;
    for (size_t i = 0; i < count; i++)
        if (!usher_texts_add(&files->words, words[i]))
            return false;
    return true;
}

static bool add_static(usher_allow_t *allow, const char *const *words, size_t count,
                       const usher_option_values_t *values) {
    const char *name = words[0];
    switch (usher_options_protocol(values)) {
    case USHER_PROTOCOL_FASTCGI:
        return usher_block_program(allow, name, values);
    case USHER_PROTOCOL_CGI:
        return usher_class_runs_any_file(name, values) ? add_files(allow, words + 1, count - 1)
                                                       : usher_block_cgi(allow, name, values);
    case USHER_PROTOCOL_AJP:
        return usher_block_engines(allow, name, values);
    }
    return true;
}

/* Of external classes only a gateway is to be started, if any; but their names are taken. */
static bool add_class(usher_allow_t *allow, usher_scope_t scope, const char *const *words,
                      size_t count) {
    char error[ERROR_BYTES];
    usher_option_values_t values;
    if (count == 0 || usher_texts_have(&allow->names, words[0]) ||
        usher_options_parse(scope, USHER_HOST_USHER, words + 1, count - 1, &values, error,
                            sizeof error) < 0 ||
        usher_class_check(scope, USHER_HOST_USHER, words[0], &values, error, sizeof error) < 0)
        return true;
    if (!usher_texts_add(&allow->names, words[0]))
        return false;
    if (scope == USHER_SCOPE_STATIC)
        return add_static(allow, words, count, &values);
    if (usher_options_protocol(&values) == USHER_PROTOCOL_AJP)
        usher_block_ajp(allow, &values);
    return true;
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
        if (!usher_texts_add(&allow->dynamic, words[i]))
            return false;
    if (!parse_dynamic(allow, &values)) {
        allow->broken_dynamic = true;
        usher_texts_cut(&allow->dynamic, allow->dynamic.count - count);
    }
    return true;
}

static void finish_files(const usher_allow_t *allow, const usher_allow_files_t *files,
                         const usher_option_values_t *dynamic) {
    char error[ERROR_BYTES];
    usher_option_values_t values;
    const char *const *words = (const char *const *)files->words.items;
    if (usher_options_parse(USHER_SCOPE_STATIC, USHER_HOST_USHER, words, files->words.count,
                            &values, error, sizeof error) == 0)
        usher_block_files(allow, &values, dynamic);
}

/* What goes by the roots; where what restricts them is not known, nothing. */
static void put_below_roots(const usher_allow_t *allow) {
    usher_option_values_t dynamic;
    if (allow->broken_dynamic || !parse_dynamic(allow, &dynamic))
        return;
    for (const usher_allow_files_t *files = allow->files; files != NULL; files = files->next)
        finish_files(allow, files, &dynamic);
    usher_block_dynamic(allow, &dynamic);
}

/* ---- */

bool usher_allow_begin(usher_allow_t *allow, const char *user, const char *group) {
    *allow = (usher_allow_t){.user = strdup(user), .group = strdup(group)};
    allow->files_end = &allow->files;
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
        return usher_texts_add(&allow->roots, words[1]);
    return true;
}

bool usher_allow_finish(usher_allow_t *allow) {
    put_below_roots(allow);
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
    while (allow->files != NULL) {
        usher_allow_files_t *files = allow->files;
        allow->files = files->next;
        usher_texts_free(&files->words);
        free(files);
    }
    usher_texts_free(&allow->names);
    usher_texts_free(&allow->roots);
    usher_texts_free(&allow->dynamic);
    *allow = (usher_allow_t){0};
}
