/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classes, from AppClass, ExternalAppClass and FCGIConfig, and those that other directives imply. A
 * class's NAME-OR-PATH is a path when it holds a slash, or (AppClass) when a file of that name stands
 * below ServerRoot; relative paths are below ServerRoot. Any other word is a class name.
 */
#include "mod_usher.h"

#include "apr_file_info.h"
#include "apr_lib.h"

#include <stdlib.h>

APLOG_USE_MODULE(usher);

#define DYNAMIC_PROCESSES "10" /* -maxClassProcesses of dynamic classes, unless FCGIConfig says */

usher_class_conf *usher_make_class(apr_pool_t *p, const char *key, usher_scope_t scope)
{
    usher_class_conf *class = apr_pcalloc(p, sizeof(*class));

    class->key = key;
    class->scope = scope;
    class->protocol = USHER_PROTOCOL_FASTCGI;
    class->words = apr_array_make(p, 8, sizeof(const char *));
    class->pass_headers = apr_array_make(p, 1, sizeof(const char *));
    class->initial_env = apr_table_make(p, 1);
    return class;
}

/* ---- classes ----------------------------------------------------------- */

const char *usher_below_server_root(cmd_parms *cmd, const char *word)
{
    char *path = ap_server_root_relative(cmd->pool, word);
    apr_size_t length = path ? strlen(path) : 0;

    while (length > 1 && path[length - 1] == '/') {
        path[--length] = '\0';
    }
    return path;
}

static int is_file(apr_pool_t *p, const char *path, apr_finfo_t *finfo)
{
    return path && apr_stat(finfo, path, APR_FINFO_TYPE | APR_FINFO_PROT, p) == APR_SUCCESS
           && finfo->filetype == APR_REG;
}

static int is_executable(const apr_finfo_t *finfo)
{
    return (finfo->protection & (APR_FPROT_UEXECUTE | APR_FPROT_GEXECUTE | APR_FPROT_WEXECUTE))
           != 0;
}

static const char *class_key(cmd_parms *cmd, const char *word, usher_scope_t scope)
{
    const char *path = usher_below_server_root(cmd, word);
    apr_finfo_t finfo;

    if (strchr(word, '/')
        || (scope == USHER_SCOPE_STATIC && *word && is_file(cmd->temp_pool, path, &finfo))) {
        return path ? path : word;
    }
    return word;
}

apr_array_header_t *usher_split_words(apr_pool_t *p, const char *args)
{
    apr_array_header_t *words = apr_array_make(p, 8, sizeof(const char *));

    for (;;) {
        while (apr_isspace(*args)) {
            args++;
        }
        if (!*args) {
            return words;
        }
        APR_ARRAY_PUSH(words, const char *) = ap_getword_conf(p, &args);
    }
}

/* A bare NAME is a variable of this server. */
static void take_env(usher_class_conf *class, apr_pool_t *p, const char *text)
{
    const char *sign = strchr(text, '=');
    const char *value = sign ? sign + 1 : getenv(text);

    if (value) {
        apr_table_setn(class->initial_env,
                       sign ? apr_pstrmemdup(p, text, (apr_size_t)(sign - text)) : text, value);
    }
}

static void take_value(usher_class_conf *class, apr_pool_t *p, const usher_option_value_t *value)
{
    const usher_option_t *option = value->option;
    const char *text = value->text;

    if (option->type == USHER_TYPE_ENV) {
        take_env(class, p, text);
    }
    if (!strcmp(option->id, "passHeader")) {
        APR_ARRAY_PUSH(class->pass_headers, const char *) = text;
    }
    APR_ARRAY_PUSH(class->words, const char *) = apr_pstrcat(p, "-", option->name, NULL);
    if (option->type != USHER_TYPE_FLAG) {
        APR_ARRAY_PUSH(class->words, const char *) = text;
    }
}

static void take_values(usher_class_conf *class, apr_pool_t *p, const usher_option_values_t *values)
{
    size_t i;

    for (i = 0; i < values->count; i++) {
        take_value(class, p, &values->values[i]);
    }
    if (class->scope != USHER_SCOPE_DYNAMIC) {
        class->protocol = usher_options_protocol(values);
    }
    class->runs_any_file =
        class->scope == USHER_SCOPE_STATIC && usher_class_runs_any_file(class->key, values);
}

const char *usher_find_option(const usher_option_values_t *values, const char *id)
{
    size_t i;

    for (i = 0; i < values->count; i++) {
        if (!strcmp(values->values[i].option->id, id)) {
            return values->values[i].text;
        }
    }
    return NULL;
}

const char *usher_check_program(apr_pool_t *p, const char *program)
{
    static const char *const dirs[] = { "/usr/local/bin/", "/usr/bin/", "/bin/" };
    apr_finfo_t finfo;
    size_t i;

    if (*program == '/') {
        if (!is_file(p, program, &finfo)) {
            return apr_psprintf(p, "program \"%s\" does not exist or is no file", program);
        }
        return is_executable(&finfo) ? NULL
                                     : apr_psprintf(p, "program \"%s\" is not executable", program);
    }
    if (strchr(program, '/')) {
        return apr_psprintf(p,
                            "program \"%s\": expected an absolute path or a name in "
                            "/usr/local/bin:/usr/bin:/bin",
                            program);
    }
    for (i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        if (is_file(p, apr_pstrcat(p, dirs[i], program, NULL), &finfo) && is_executable(&finfo)) {
            return NULL;
        }
    }
    return apr_psprintf(p, "program \"%s\" is not in /usr/local/bin:/usr/bin:/bin", program);
}

/* Is there something to run? */
static const char *check_static(cmd_parms *cmd, const char *key,
                                const usher_option_values_t *values)
{
    const char *command = usher_find_option(values, "command");
    char error[512];
    char *buffer, **words;
    size_t room;

    if (!command) {
        return *key == '/' ? usher_check_program(cmd->pool, key) : NULL;
    }
    room = strlen(command) + 1;
    buffer = apr_palloc(cmd->temp_pool, room);
    words = apr_palloc(cmd->temp_pool, room * sizeof(*words));
    if (usher_command_split(command, buffer, room, words, room, error, sizeof(error)) < 1) {
        return apr_pstrcat(cmd->pool, "-command: ", error, NULL);
    }
    return usher_check_program(cmd->pool, words[0]);
}

void usher_add_class(usher_server_conf *conf, usher_class_conf *class)
{
    apr_hash_set(conf->classes, class->key, APR_HASH_KEY_STRING, class);
    APR_ARRAY_PUSH(conf->in_order, usher_class_conf *) = class;
}

const char *usher_explain(cmd_parms *cmd, const char *name, const char *error)
{
    return apr_pstrcat(cmd->pool, cmd->cmd->name, *name ? " " : "", name, ": ", error, NULL);
}

const char *usher_set_class(cmd_parms *cmd, void *dconf, const char *args)
{
    usher_scope_t scope = *(const usher_scope_t *)cmd->info;
    usher_server_conf *conf = usher_main_conf();
    apr_array_header_t *words = usher_split_words(cmd->pool, args);
    const char *const *elts = (const char *const *)words->elts;
    usher_option_values_t values;
    usher_class_conf *class, *before;
    const char *key, *err;
    char error[1024];

    if (words->nelts == 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " needs a name or path and options", NULL);
    }
    key = class_key(cmd, elts[0], scope);
    if (usher_options_parse(scope, USHER_HOST_APACHE, elts + 1, (size_t)words->nelts - 1, &values,
                            error, sizeof(error))
            < 0
        || usher_class_check(scope, USHER_HOST_APACHE, key, &values, error, sizeof(error)) < 0) {
        return usher_explain(cmd, elts[0], error);
    }
    if (scope == USHER_SCOPE_STATIC && (err = check_static(cmd, key, &values))) {
        return usher_explain(cmd, elts[0], err);
    }
    before = apr_hash_get(conf->classes, key, APR_HASH_KEY_STRING);
    if (before) {
        return usher_explain(cmd, elts[0],
                             apr_pstrcat(cmd->pool, "defined already at ", before->source, NULL));
    }

    class = usher_make_class(cmd->pool, key, scope);
    class->source = usher_source_of(cmd);
    APR_ARRAY_PUSH(class->words, const char *) =
        scope == USHER_SCOPE_STATIC ? "AppClass" : "ExternalAppClass";
    APR_ARRAY_PUSH(class->words, const char *) = key;
    take_values(class, cmd->pool, &values);
    usher_add_class(conf, class);
    return NULL;
}

/* Several lines count as one. */
const char *usher_set_dynamic(cmd_parms *cmd, void *dconf, const char *args)
{
    usher_server_conf *conf = usher_main_conf();
    usher_class_conf *class = usher_make_class(cmd->pool, NULL, USHER_SCOPE_DYNAMIC);
    apr_array_header_t *words = usher_split_words(cmd->pool, args);
    usher_option_values_t values;
    char error[1024];

    if (conf->dynamic->words->nelts) {
        apr_array_header_t *before = apr_array_copy(cmd->pool, conf->dynamic->words);

        before->elts += before->elt_size; /* the directive's name */
        before->nelts--;
        words = apr_array_append(cmd->pool, before, words);
    }
    if (usher_options_parse(USHER_SCOPE_DYNAMIC, USHER_HOST_APACHE,
                            (const char *const *)words->elts, (size_t)words->nelts, &values, error,
                            sizeof(error))
        < 0) {
        return usher_explain(cmd, "",
                             conf->dynamic->source
                                 ? apr_pstrcat(cmd->pool, error, " (together with ",
                                               conf->dynamic->source, ")", NULL)
                                 : error);
    }
    class->source = usher_source_of(cmd);
    APR_ARRAY_PUSH(class->words, const char *) = "FCGIConfig";
    take_values(class, cmd->pool, &values);
    conf->dynamic = class;
    conf->own_roots = usher_find_option(&values, "dynamicRoot") != NULL;
    return NULL;
}

const usher_class_conf *usher_class_of_name(const usher_server_conf *conf, const char *name,
                                            const char *path)
{
    const usher_class_conf *class = apr_hash_get(conf->classes, name, APR_HASH_KEY_STRING);

    return class || !path ? class : apr_hash_get(conf->classes, path, APR_HASH_KEY_STRING);
}

/* ---- classes that are implied ------------------------------------------ */

usher_class_conf *usher_class_from_words(apr_pool_t *p, const char *key, usher_scope_t scope,
                                         const apr_array_header_t *words, const char *source,
                                         const char **why)
{
    usher_class_conf *class = usher_make_class(p, key, scope);
    usher_option_values_t *values = apr_palloc(p, sizeof(*values));
    char error[1024];

    if (usher_options_parse(scope, USHER_HOST_APACHE, (const char *const *)words->elts,
                            (size_t)words->nelts, values, error, sizeof(error))
            < 0
        || (key
            && usher_class_check(scope, USHER_HOST_APACHE, key, values, error, sizeof(error))
                   < 0)) {
        *why = apr_pstrdup(p, error);
        return NULL;
    }
    class->source = source;
    APR_ARRAY_PUSH(class->words, const char *) = key ? "AppClass" : "FCGIConfig";
    if (key) {
        APR_ARRAY_PUSH(class->words, const char *) = key;
    }
    take_values(class, p, values);
    return class;
}

int usher_dynamic_values(const usher_server_conf *conf, usher_option_values_t *values)
{
    const apr_array_header_t *words = conf->dynamic->words;
    char error[1024];

    values->count = 0;
    return words->nelts == 0
           || usher_options_parse(USHER_SCOPE_DYNAMIC, USHER_HOST_APACHE,
                                  (const char *const *)words->elts + 1, (size_t)words->nelts - 1,
                                  values, error, sizeof(error))
                  == 0;
}

static int has_word(const apr_array_header_t *words, const char *option)
{
    int i;

    for (i = 0; i < words->nelts; i++) {
        const char *word = APR_ARRAY_IDX(words, i, const char *);

        if (*word == '-' && !strcasecmp(word + 1, option)) {
            return 1;
        }
    }
    return 0;
}

/* The options of FCGIConfig that `words` do not have themselves. */
static void add_dynamic_words(usher_server_conf *conf, apr_pool_t *p, apr_array_header_t *words)
{
    usher_option_values_t *values = apr_palloc(p, sizeof(*values));
    apr_array_header_t *own = apr_array_copy(p, words);
    size_t i;

    usher_dynamic_values(conf, values);
    for (i = 0; i < values->count; i++) {
        const usher_option_t *option = values->values[i].option;

        if (!(option->scopes & USHER_SCOPE_STATIC)
            || (!option->repeatable && has_word(own, option->name))) {
            continue;
        }
        APR_ARRAY_PUSH(words, const char *) = apr_pstrcat(p, "-", option->name, NULL);
        if (option->type != USHER_TYPE_FLAG) {
            APR_ARRAY_PUSH(words, const char *) = values->values[i].text;
        }
    }
}

usher_class_conf *usher_imply_class(usher_server_conf *conf, apr_pool_t *p, const char *key,
                                    const apr_array_header_t *options, const char *source,
                                    const char **why)
{
    apr_array_header_t *words =
        options ? apr_array_copy(p, options) : apr_array_make(p, 8, sizeof(const char *));

    if (*key == '/' && (*why = usher_check_program(p, key))) {
        return NULL;
    }
    add_dynamic_words(conf, p, words);
    if (!has_word(words, "processes")) {
        APR_ARRAY_PUSH(words, const char *) = "-processes";
        APR_ARRAY_PUSH(words, const char *) = "0";
    }
    if (!has_word(words, "maxClassProcesses")) {
        APR_ARRAY_PUSH(words, const char *) = "-maxClassProcesses";
        APR_ARRAY_PUSH(words, const char *) = DYNAMIC_PROCESSES;
    }
    return usher_class_from_words(p, key, USHER_SCOPE_STATIC, words, source, why);
}
