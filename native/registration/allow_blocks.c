/* SPDX-License-Identifier: Apache-2.0 */
#include "registration/allow_blocks.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ERROR_BYTES 512
#define COMMAND_WORDS_MAX 4096

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
static void put_owner(const usher_allow_t *allow, const usher_option_values_t *values) {
    const char *user = text_of(values, "user"), *group = text_of(values, "group");
    put(allow->stream, "user", user != NULL ? user : allow->user);
    put(allow->stream, "group", group != NULL ? group : user == NULL ? allow->group : NULL);
}

static void put_common(const usher_allow_t *allow, const usher_option_values_t *values) {
    FILE *stream = allow->stream;
    const usher_option_value_t *priority = find(values, "priority");
    put_owner(allow, values);
    put_environment(stream, values);
    if (priority != NULL && priority->number != 0)
        fprintf(stream, "nice=%lld\n", (long long)priority->number);
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

/* Its words, and the directory it runs in. */
static bool put_program(FILE *stream, const char *name, const usher_option_values_t *values) {
    const char *command = text_of(values, "command"), *cwd = text_of(values, "cwd");
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
    return true;
}

bool usher_block_program(const usher_allow_t *allow, const char *name,
                         const usher_option_values_t *values) {
    FILE *stream = allow->stream;
    const char *socket = text_of(values, "socket"), *port = text_of(values, "port");
    fputs("program\n", stream);
    if (!put_program(stream, name, values))
        return false;
    if (socket != NULL)
        put_prefixed(stream, "listen", "unix:", socket);
    else if (port != NULL)
        put_prefixed(stream, "listen", "tcp:", port);
    put_common(allow, values);
    put_all(stream, "limit", values, "limit");
    return true;
}

/* ---- what goes by roots ----------------------------------------------------------------------- */

static const char *path_check_of(const usher_option_values_t *values) {
    const char *check = text_of(values, "pathCheck");
    return check != NULL && strcasecmp(check, "roots") == 0 ? "roots" : "suexec";
}

/* Each root as NAME=VALUE, behind a line `before` where that is not NULL. */
static void put_roots(const usher_allow_t *allow, const usher_option_values_t *dynamic,
                      const char *before, const char *name) {
    bool named = find(dynamic, "dynamicRoot") != NULL;
    size_t count = named ? dynamic->count : allow->roots.count;
    for (size_t i = 0; i < count; i++) {
        if (named && strcmp(dynamic->values[i].option->id, "dynamicRoot") != 0)
            continue;
        if (before != NULL)
            fputs(before, allow->stream);
        put(allow->stream, name, named ? dynamic->values[i].text : allow->roots.items[i]);
    }
}

void usher_block_dynamic(const usher_allow_t *allow, const usher_option_values_t *dynamic) {
    FILE *stream = allow->stream;
    fputs("dynamic\n", stream);
    put_roots(allow, dynamic, NULL, "root");
    if (find(dynamic, "pathCheck") != NULL)
        put(stream, "path-check", path_check_of(dynamic));
    put_common(allow, dynamic);
    put_all(stream, "limit", dynamic, "limit");
}

/* ---- gateways --------------------------------------------------------------------------------- */

static void begin_gateway(FILE *stream, const char *name) {
    fprintf(stream, "program\ngateway=%s\n", name);
}

static void end_gateway(const usher_allow_t *allow, const usher_option_values_t *values) {
    fputs("cwd=/\n", allow->stream);
    put_common(allow, values);
}

/* Limits are for the programs that it runs: they are its arguments, in the order given. */
static void put_cgi_limits(FILE *stream, const usher_option_values_t *values) {
    for (size_t i = 0; i < values->count; i++) {
        if (strcmp(values->values[i].option->id, "limit") != 0)
            continue;
        put(stream, "arg", "--limit");
        put(stream, "arg", values->values[i].text);
    }
}

/* A gateway that runs one program. */
bool usher_block_cgi(const usher_allow_t *allow, const char *name,
                     const usher_option_values_t *values) {
    FILE *stream = allow->stream;
    const char *command = text_of(values, "command");
    begin_gateway(stream, "cgi");
    put_cgi_limits(stream, values);
    put(stream, "arg", "--program");
    if (command == NULL)
        put(stream, "arg", name);
    else if (!put_command(stream, command))
        return false;
    end_gateway(allow, values);
    return true;
}

static void begin_ajp(FILE *stream, const usher_option_values_t *values) {
    begin_gateway(stream, "ajp");
    put(stream, "secret", text_of(values, "secretFile"));
}

void usher_block_ajp(const usher_allow_t *allow, const usher_option_values_t *values) {
    begin_ajp(allow->stream, values);
    end_gateway(allow, values);
}

void usher_block_files(const usher_allow_t *allow, const usher_option_values_t *values,
                       const usher_option_values_t *dynamic) {
    begin_gateway(allow->stream, "cgi");
    put_cgi_limits(allow->stream, values);
    put(allow->stream, "arg", "--path-check");
    put(allow->stream, "arg", path_check_of(dynamic));
    put_roots(allow, dynamic, "arg=--root\n", "arg");
    end_gateway(allow, values);
}

/* ---- servlet engines -------------------------------------------------------------------------- */

/* The value of ,route=NAME behind an address, without what follows it; NULL = there is none. */
static char *route_of(const char *attributes) {
    static const char name[] = ",route=";
    const char *route = strstr(attributes, name);
    if (route == NULL)
        return NULL;
    route += sizeof name - 1;
    return strndup(route, strcspn(route, ","));
}

/* What an engine is told of itself: where to listen, and its route. */
static bool put_address(FILE *stream, const char *host) {
    size_t length = strcspn(host, ",");
    char *address = strndup(host, length), *route = route_of(host + length);
    if (address == NULL)
        return false;
    put_prefixed(stream, "env", "USHER_ADDRESS=", address);
    char *colon = strncmp(address, "unix:", 5) == 0 ? NULL : strrchr(address, ':');
    if (colon != NULL) {
        bool bracketed = address[0] == '[';
        colon[bracketed ? -1 : 0] = '\0';
        put_prefixed(stream, "env", "USHER_HOST=", address + bracketed);
        put_prefixed(stream, "env", "USHER_PORT=", colon + 1 + strspn(colon + 1, "0"));
    }
    if (route != NULL)
        put_prefixed(stream, "env", "USHER_ROUTE=", route);
    free(address);
    free(route);
    return true;
}

static bool put_engine(const usher_allow_t *allow, const char *name,
                       const usher_option_values_t *values, const char *host) {
    FILE *stream = allow->stream;
    fputs("program\nservice=1\n", stream);
    if (!put_program(stream, name, values))
        return false;
    put_common(allow, values);
    put_all(stream, "limit", values, "limit");
    bool is_old = strcasecmp(text_of(values, "protocol"), "ajp12") == 0;
    put_prefixed(stream, "env", "USHER_PROTOCOL=", is_old ? "ajp12" : "ajp");
    return put_address(stream, host);
}

/* What the class says of its program is the engines': nothing of it reaches the gateway. */
bool usher_block_engines(const usher_allow_t *allow, const char *name,
                         const usher_option_values_t *values) {
    begin_ajp(allow->stream, values);
    fputs("cwd=/\n", allow->stream);
    put_owner(allow, values);
    for (size_t i = 0; i < values->count; i++) {
        const char *id = values->values[i].option->id;
        bool is_started = strcmp(id, "host") == 0 || strcmp(id, "backup") == 0;
        if (is_started && !put_engine(allow, name, values, values->values[i].text))
            return false;
    }
    return true;
}
