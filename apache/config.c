/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directives. A class's NAME-OR-PATH is a path when it holds a slash, or (AppClass) when a file
 * of that name stands below ServerRoot; relative paths are below ServerRoot. Any other word is a
 * class name.
 */
#include "mod_usher.h"

#include "apr_file_info.h"
#include "apr_fnmatch.h"
#include "apr_lib.h"
#include "http_main.h"

#include <stdlib.h>

APLOG_USE_MODULE(usher);

#define DYNAMIC_PROCESSES "10" /* -maxClassProcesses of dynamic classes, unless FCGIConfig says */

/* ---- structures -------------------------------------------------------- */

static usher_class_conf *make_class(apr_pool_t *p, const char *key, usher_scope_t scope)
{
    usher_class_conf *class = apr_pcalloc(p, sizeof(*class));

    class->key = key;
    class->scope = scope;
    class->words = apr_array_make(p, 8, sizeof(const char *));
    class->pass_headers = apr_array_make(p, 1, sizeof(const char *));
    class->initial_env = apr_table_make(p, 1);
    return class;
}

void *usher_create_server_conf(apr_pool_t *p, server_rec *s)
{
    usher_server_conf *conf;

    if (s->is_virtual) {
        return NULL;
    }
    conf = apr_pcalloc(p, sizeof(*conf));
    conf->classes = apr_hash_make(p);
    conf->in_order = apr_array_make(p, 8, sizeof(usher_class_conf *));
    conf->passes = apr_array_make(p, 8, sizeof(usher_pass *));
    conf->roles = apr_array_make(p, 8, sizeof(usher_role *));
    conf->dynamic = make_class(p, NULL, USHER_SCOPE_DYNAMIC);
    conf->mode = USHER_MANAGER_MODE_EMBEDDED;
    return conf;
}

void *usher_create_dir_conf(apr_pool_t *p, char *dir)
{
    return apr_pcalloc(p, sizeof(usher_dir_conf));
}

void *usher_merge_dir_conf(apr_pool_t *p, void *basev, void *addv)
{
    const usher_dir_conf *base = basev, *add = addv;
    usher_dir_conf *merged = apr_pmemdup(p, add, sizeof(*add));
    int i;

    if (!merged->pass) {
        merged->pass = base->pass;
    }
    for (i = 0; i < USHER_ROLES; i++) {
        if (!merged->roles[i]) {
            merged->roles[i] = base->roles[i];
        }
        if (!merged->declines[i]) {
            merged->declines[i] = base->declines[i];
        }
    }
    return merged;
}

usher_server_conf *usher_get_server_conf(server_rec *s)
{
    return ap_get_module_config(s->module_config, &usher_module);
}

usher_server_conf *usher_main_conf(void)
{
    return usher_get_server_conf(ap_server_conf);
}

const char *usher_source_of(cmd_parms *cmd)
{
    return apr_psprintf(cmd->pool, "%s:%d", cmd->directive->filename, cmd->directive->line_num);
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

static apr_array_header_t *split_words(apr_pool_t *p, const char *args)
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

static const char *find_option(const usher_option_values_t *values, const char *id)
{
    size_t i;

    for (i = 0; i < values->count; i++) {
        if (!strcmp(values->values[i].option->id, id)) {
            return values->values[i].text;
        }
    }
    return NULL;
}

static const char *check_program(apr_pool_t *p, const char *program)
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
    const char *command = find_option(values, "command");
    char error[512];
    char *buffer, **words;
    size_t room;

    if (!command) {
        return *key == '/' ? check_program(cmd->pool, key) : NULL;
    }
    room = strlen(command) + 1;
    buffer = apr_palloc(cmd->temp_pool, room);
    words = apr_palloc(cmd->temp_pool, room * sizeof(*words));
    if (usher_command_split(command, buffer, room, words, room, error, sizeof(error)) < 1) {
        return apr_pstrcat(cmd->pool, "-command: ", error, NULL);
    }
    return check_program(cmd->pool, words[0]);
}

static void add_class(usher_server_conf *conf, usher_class_conf *class)
{
    apr_hash_set(conf->classes, class->key, APR_HASH_KEY_STRING, class);
    APR_ARRAY_PUSH(conf->in_order, usher_class_conf *) = class;
}

static const char *explain(cmd_parms *cmd, const char *name, const char *error)
{
    return apr_pstrcat(cmd->pool, cmd->cmd->name, *name ? " " : "", name, ": ", error, NULL);
}

static const char *set_class(cmd_parms *cmd, void *dconf, const char *args)
{
    usher_scope_t scope = *(const usher_scope_t *)cmd->info;
    usher_server_conf *conf = usher_main_conf();
    apr_array_header_t *words = split_words(cmd->pool, args);
    const char *const *elts = (const char *const *)words->elts;
    usher_option_values_t values;
    usher_class_conf *class, *before;
    const char *key, *err;
    char error[1024];
    size_t i;

    if (words->nelts == 0) {
        return apr_pstrcat(cmd->pool, cmd->cmd->name, " needs a name or path and options", NULL);
    }
    key = class_key(cmd, elts[0], scope);
    if (usher_options_parse(scope, USHER_HOST_APACHE, elts + 1, (size_t)words->nelts - 1, &values,
                            error, sizeof(error))
            < 0
        || usher_class_check(scope, USHER_HOST_APACHE, key, &values, error, sizeof(error)) < 0) {
        return explain(cmd, elts[0], error);
    }
    if (scope == USHER_SCOPE_STATIC && (err = check_static(cmd, key, &values))) {
        return explain(cmd, elts[0], err);
    }
    before = apr_hash_get(conf->classes, key, APR_HASH_KEY_STRING);
    if (before) {
        return explain(cmd, elts[0],
                       apr_pstrcat(cmd->pool, "defined already at ", before->source, NULL));
    }

    class = make_class(cmd->pool, key, scope);
    class->source = usher_source_of(cmd);
    APR_ARRAY_PUSH(class->words, const char *) =
        scope == USHER_SCOPE_STATIC ? "AppClass" : "ExternalAppClass";
    APR_ARRAY_PUSH(class->words, const char *) = key;
    for (i = 0; i < values.count; i++) {
        take_value(class, cmd->pool, &values.values[i]);
    }
    add_class(conf, class);
    return NULL;
}

/* Several lines count as one. */
static const char *set_dynamic(cmd_parms *cmd, void *dconf, const char *args)
{
    usher_server_conf *conf = usher_main_conf();
    usher_class_conf *class = make_class(cmd->pool, NULL, USHER_SCOPE_DYNAMIC);
    apr_array_header_t *words = split_words(cmd->pool, args);
    usher_option_values_t values;
    char error[1024];
    size_t i;

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
        return explain(cmd, "",
                       conf->dynamic->source ? apr_pstrcat(cmd->pool, error, " (together with ",
                                                           conf->dynamic->source, ")", NULL)
                                             : error);
    }
    class->source = usher_source_of(cmd);
    APR_ARRAY_PUSH(class->words, const char *) = "FCGIConfig";
    for (i = 0; i < values.count; i++) {
        take_value(class, cmd->pool, &values.values[i]);
    }
    conf->dynamic = class;
    conf->own_roots = find_option(&values, "dynamicRoot") != NULL;
    return NULL;
}

const usher_class_conf *usher_class_of_name(const usher_server_conf *conf, const char *name,
                                            const char *path)
{
    const usher_class_conf *class = apr_hash_get(conf->classes, name, APR_HASH_KEY_STRING);

    return class || !path ? class : apr_hash_get(conf->classes, path, APR_HASH_KEY_STRING);
}

const usher_class_conf *usher_imply_class(usher_server_conf *conf, apr_pool_t *p, const char *path,
                                          const char *source, const char **why)
{
    const apr_array_header_t *words = conf->dynamic->words;
    usher_class_conf *class = make_class(p, path, USHER_SCOPE_STATIC);
    usher_option_values_t values = { 0 };
    const char *most;
    char error[1024];
    size_t i;

    if ((*why = check_program(p, path))) {
        return NULL;
    }
    if (words->nelts
        && usher_options_parse(USHER_SCOPE_DYNAMIC, USHER_HOST_APACHE,
                               (const char *const *)words->elts + 1, (size_t)words->nelts - 1,
                               &values, error, sizeof(error))
               < 0) {
        *why = apr_pstrdup(p, error);
        return NULL;
    }
    class->source = source;
    most = find_option(&values, "maxClassProcesses");
    APR_ARRAY_PUSH(class->words, const char *) = "AppClass";
    APR_ARRAY_PUSH(class->words, const char *) = path;
    APR_ARRAY_PUSH(class->words, const char *) = "-on-demand";
    APR_ARRAY_PUSH(class->words, const char *) = most ? most : DYNAMIC_PROCESSES;
    for (i = 0; i < values.count; i++) {
        if ((values.values[i].option->scopes & USHER_SCOPE_STATIC)
            && strcmp(values.values[i].option->id, "maxClassProcesses")) {
            take_value(class, p, &values.values[i]);
        }
    }
    add_class(conf, class);
    return class;
}

/* ---- UsherPass --------------------------------------------------------- */

static int has_wildcards(const char *path)
{
    return apr_fnmatch_test(path) != 0;
}

static const char *without_last_slash(apr_pool_t *p, const char *path)
{
    apr_size_t length = strlen(path);

    return length > 0 && path[length - 1] == '/' ? apr_pstrmemdup(p, path, length - 1) : path;
}

static const char *set_location(cmd_parms *cmd, usher_pass *pass, const char *args, int regex)
{
    const char *path = ap_getword_conf(cmd->pool, &args);

    if (!strcmp(path, "~")) {
        regex = 1;
        path = ap_getword_conf(cmd->pool, &args);
    }
    if (regex) {
        pass->container = USHER_IN_LOCATION_MATCH;
        pass->regex = ap_pregcomp(cmd->pool, path, AP_REG_EXTENDED);
        return pass->regex ? NULL : "the container's regular expression could not be compiled";
    }
    pass->container = has_wildcards(path) ? USHER_IN_LOCATION_PATTERN : USHER_IN_LOCATION;
    pass->prefix = without_last_slash(cmd->pool, path);
    return NULL;
}

/* What the container's line says behind its name. */
static const char *container_args(cmd_parms *cmd, const ap_directive_t *container)
{
    char *args = apr_pstrdup(cmd->pool, container->args);
    apr_size_t length = strlen(args);

    if (length > 0 && args[length - 1] == '>') {
        args[length - 1] = '\0';
    }
    return args;
}

static const char *find_container(cmd_parms *cmd, usher_pass *pass)
{
    const ap_directive_t *at;

    for (at = cmd->directive->parent; at; at = at->parent) {
        if (!strcasecmp(at->directive, "<Location")) {
            return set_location(cmd, pass, container_args(cmd, at), 0);
        }
        if (!strcasecmp(at->directive, "<LocationMatch")) {
            return set_location(cmd, pass, container_args(cmd, at), 1);
        }
        if (!strncasecmp(at->directive, "<Directory", 10)
            || !strncasecmp(at->directive, "<Files", 6)) {
            const char *args = container_args(cmd, at);
            const char *path = ap_getword_conf(cmd->pool, &args);

            pass->container = USHER_IN_FILES;
            if (!strcasecmp(at->directive, "<Directory") && *path == '/' && !has_wildcards(path)) {
                pass->container = USHER_IN_DIRECTORY;
                pass->prefix =
                    apr_pstrcat(cmd->pool, without_last_slash(cmd->pool, path), "/", NULL);
            }
            return NULL;
        }
    }
    pass->container = USHER_IN_LOCATION; /* <If> that stands alone */
    pass->prefix = "";
    return NULL;
}

static const char *set_pass(cmd_parms *cmd, void *dconf, const char *name)
{
    usher_dir_conf *dir = dconf;
    usher_pass *pass = apr_pcalloc(cmd->pool, sizeof(*pass));
    const char *err = ap_check_cmd_context(cmd, NOT_IN_LIMIT | NOT_IN_PROXY);

    if (err) {
        return err;
    }
    dir->pass = pass;
    if (!strcasecmp(name, "none")) {
        return NULL;
    }
    pass->name = name;
    pass->path = usher_below_server_root(cmd, name);
    pass->source = usher_source_of(cmd);
    APR_ARRAY_PUSH(usher_main_conf()->passes, usher_pass *) = pass;
    return find_container(cmd, pass);
}

int usher_check_passes(usher_server_conf *conf, server_rec *s)
{
    int status = OK;
    int i;

    for (i = 0; i < conf->passes->nelts; i++) {
        usher_pass *pass = APR_ARRAY_IDX(conf->passes, i, usher_pass *);

        pass->class = usher_class_of_name(conf, pass->name, pass->path);
        if (!pass->class) {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s,
                         "%s: UsherPass %s: no AppClass or ExternalAppClass of that name",
                         pass->source, pass->name);
            status = HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return status;
}

/* ---- wiring ------------------------------------------------------------ */

static const char *set_runtime_dir(cmd_parms *cmd, void *dconf, const char *dir)
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    usher_error_t error;

    if (err) {
        return err;
    }
    if (usher_runtime_dir_check(dir, &error) < 0) {
        return explain(cmd, dir, error.text);
    }
    usher_main_conf()->runtime_dir = dir;
    return NULL;
}

static const char *set_manager(cmd_parms *cmd, void *dconf, const char *mode)
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (err) {
        return err;
    }
    if (!strcasecmp(mode, "embedded")) {
        usher_main_conf()->mode = USHER_MANAGER_MODE_EMBEDDED;
    }
    else if (!strcasecmp(mode, "external")) {
        usher_main_conf()->mode = USHER_MANAGER_MODE_EXTERNAL;
    }
    else if (!strcasecmp(mode, "off")) {
        usher_main_conf()->mode = USHER_MANAGER_MODE_OFF;
    }
    else {
        return explain(cmd, mode, "expected embedded, external or off");
    }
    return NULL;
}

static const char *set_log(cmd_parms *cmd, void *dconf, const char *file)
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    if (err) {
        return err;
    }
    usher_main_conf()->log_file = ap_server_root_relative(cmd->pool, file);
    return usher_main_conf()->log_file ? NULL : explain(cmd, file, "not a path");
}

/* mod_fastcgi's directives that nothing stands for here: said once, at the first reading. */
static const char *set_nothing(cmd_parms *cmd, void *dconf, const char *args)
{
    const char *why = cmd->info;

    if (strcasecmp(ap_getword_conf(cmd->temp_pool, &args), "off")
        && ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, cmd->server,
                     "%s: %s has no effect: %s", usher_source_of(cmd), cmd->cmd->name, why);
    }
    return NULL;
}

#define IPC_DIR_WHY "sockets stand in UsherRuntimeDir"
#define WRAPPER_WHY "programs run as their -user and -group without a wrapper"

static const usher_scope_t scope_static = USHER_SCOPE_STATIC;
static const usher_scope_t scope_external = USHER_SCOPE_EXTERNAL;

#define CLASS(name, scope, help) AP_INIT_RAW_ARGS(name, set_class, (void *)&scope, RSRC_CONF, help)

#define ROLE(name, kind, help)                                                                     \
    AP_INIT_TAKE12(name, usher_set_role, (void *)&usher_role_kinds[kind], ACCESS_CONF,             \
                   "the program that says " help ", and -compat"),                                 \
        AP_INIT_FLAG(name "Authoritative", usher_set_authoritative,                                \
                     (void *)&usher_role_kinds[kind], ACCESS_CONF,                                 \
                     "Off: others are asked when the program of " name " says no")

const command_rec usher_commands[] = {
    CLASS("AppClass", scope_static, "a program's name or path, and how it is run"),
    CLASS("FastCgiServer", scope_static, "the same as AppClass"),
    CLASS("ExternalAppClass", scope_external, "a name or path, and where the program listens"),
    CLASS("FastCgiExternalServer", scope_external, "the same as ExternalAppClass"),
    AP_INIT_RAW_ARGS("FCGIConfig", set_dynamic, NULL, RSRC_CONF,
                     "how programs without a class of their own are run"),
    AP_INIT_RAW_ARGS("FastCgiConfig", set_dynamic, NULL, RSRC_CONF, "the same as FCGIConfig"),
    AP_INIT_TAKE1("UsherPass", set_pass, NULL, ACCESS_CONF,
                  "the class that serves what the container holds, or none"),
    ROLE("FastCgiAccessChecker", USHER_ACCESS_CHECKER, "who may come at all"),
    ROLE("FastCgiAuthenticator", USHER_AUTHENTICATOR, "whether user and password fit"),
    ROLE("FastCgiAuthorizer", USHER_AUTHORIZER, "what a user may have"),
    AP_INIT_TAKE1("UsherRuntimeDir", set_runtime_dir, NULL, RSRC_CONF,
                  "directory of channel, sockets and registrations"),
    AP_INIT_TAKE1("UsherManager", set_manager, NULL, RSRC_CONF, "embedded, external or off"),
    AP_INIT_TAKE1("UsherLog", set_log, NULL, RSRC_CONF, "log file of an embedded manager"),
    AP_INIT_RAW_ARGS("FastCgiIpcDir", set_nothing, IPC_DIR_WHY, RSRC_CONF, IPC_DIR_WHY),
    AP_INIT_RAW_ARGS("FastCgiWrapper", set_nothing, WRAPPER_WHY, RSRC_CONF, WRAPPER_WHY),
    AP_INIT_RAW_ARGS("FastCgiSuexec", set_nothing, WRAPPER_WHY, RSRC_CONF, WRAPPER_WHY),
    { NULL }
};
