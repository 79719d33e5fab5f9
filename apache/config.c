/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directives but for those of classes (classes.c), authorizers (authorizer.c) and mod_fcgid
 * (fcgid.c).
 */
#include "fcgid.h"

#include "apr_fnmatch.h"
#include "http_main.h"

APLOG_USE_MODULE(usher);

/* ---- structures -------------------------------------------------------- */

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
    conf->wrappers = apr_array_make(p, 8, sizeof(usher_wrapper *));
    conf->fcgid = apr_array_make(p, 8, sizeof(void *));
    conf->fcgid_commands = apr_hash_make(p);
    conf->dynamic = usher_make_class(p, NULL, USHER_SCOPE_DYNAMIC);
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
    if (!merged->wrappers) {
        merged->wrappers = base->wrappers;
    }
    else if (base->wrappers) {
        merged->wrappers = apr_array_append(p, add->wrappers, base->wrappers);
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

static const char *set_pass(cmd_parms *cmd, void *dconf, const char *name, const char *option,
                            const char *value)
{
    usher_dir_conf *dir = dconf;
    usher_pass *pass = apr_pcalloc(cmd->pool, sizeof(*pass));
    const char *err = ap_check_cmd_context(cmd, NOT_IN_LIMIT | NOT_IN_PROXY);

    if (err) {
        return err;
    }
    if (option && strcasecmp(option, "-protocol")) {
        return usher_explain(
            cmd, name,
            apr_psprintf(cmd->pool, "unknown option %s; expected -protocol cgi", option));
    }
    if (option && strcasecmp(value, "cgi")) {
        return usher_explain(cmd, name,
                             apr_psprintf(cmd->pool,
                                          "%s %s: only -protocol cgi stands here; every other "
                                          "protocol is an option of the class: AppClass or "
                                          "ExternalAppClass",
                                          option, value));
    }
    dir->pass = pass;
    if (!strcasecmp(name, "none")) {
        return NULL;
    }
    pass->is_cgi = option != NULL;
    pass->name = name;
    pass->path = usher_below_server_root(cmd, name);
    pass->source = usher_source_of(cmd);
    APR_ARRAY_PUSH(usher_main_conf()->passes, usher_pass *) = pass;
    return find_container(cmd, pass);
}

/* NULL, or why there is nothing to run. */
static const char *find_class(const usher_server_conf *conf, usher_pass *pass, apr_pool_t *p)
{
    pass->class = usher_class_of_name(conf, pass->name, pass->path);
    if (!pass->is_cgi) {
        return pass->class ? NULL : "no AppClass or ExternalAppClass of that name";
    }
    if (pass->class) {
        return pass->class->protocol == USHER_PROTOCOL_CGI
                   ? NULL
                   : "the class has another protocol: leave out -protocol cgi here, or add it to "
                     "the "
                     "class";
    }
    pass->class = conf->cgi;
    pass->program = pass->path;
    return pass->path ? usher_check_program(p, pass->path) : "not a path";
}

int usher_check_passes(usher_server_conf *conf, apr_pool_t *p, server_rec *s)
{
    int status = OK;
    int i;

    for (i = 0; i < conf->passes->nelts; i++) {
        usher_pass *pass = APR_ARRAY_IDX(conf->passes, i, usher_pass *);
        const char *why = find_class(conf, pass, p);

        if (why) {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s, "%s: UsherPass %s: %s",
                         pass->source, pass->name, why);
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
        return usher_explain(cmd, dir, error.text);
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
        return usher_explain(cmd, mode, "expected embedded, external or off");
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
    return usher_main_conf()->log_file ? NULL : usher_explain(cmd, file, "not a path");
}

static const char *check_loopback(cmd_parms *cmd, const char *address)
{
    const char *err = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    char error[512];

    if (err) {
        return err;
    }
    return usher_loopback_check(address, error, sizeof(error)) < 0
               ? usher_explain(cmd, cmd->cmd->name, error)
               : NULL;
}

static const char *set_metrics(cmd_parms *cmd, void *dconf, const char *address)
{
    usher_main_conf()->metrics = address;
    return check_loopback(cmd, address);
}

static const char *set_dashboard(cmd_parms *cmd, void *dconf, const char *address)
{
    usher_main_conf()->dashboard = address;
    return check_loopback(cmd, address);
}

void usher_warn_once(cmd_parms *cmd, const char *what)
{
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, cmd->server, "%s: %s %s",
                     usher_source_of(cmd), cmd->cmd->name, what);
    }
}

/* mod_fastcgi's directives that nothing stands for here. */
static const char *set_nothing(cmd_parms *cmd, void *dconf, const char *args)
{
    const char *why = cmd->info;

    if (strcasecmp(ap_getword_conf(cmd->temp_pool, &args), "off")) {
        usher_warn_once(cmd, apr_psprintf(cmd->temp_pool, "has no effect: %s", why));
    }
    return NULL;
}

#define IPC_DIR_WHY "sockets stand in UsherRuntimeDir"
#define WRAPPER_WHY "programs run as their -user and -group without a wrapper"

static const usher_scope_t scope_static = USHER_SCOPE_STATIC;
static const usher_scope_t scope_external = USHER_SCOPE_EXTERNAL;

#define CLASS(name, scope, help)                                                                   \
    AP_INIT_RAW_ARGS(name, usher_set_class, (void *)&scope, RSRC_CONF, help)

#define ROLE_OF_FCGID(name, kind, help)                                                            \
    AP_INIT_TAKE1(name, usher_set_fcgid_role, (void *)&usher_role_kinds[kind],                     \
                  ACCESS_CONF | OR_FILEINFO, "the program that says " help),                       \
        AP_INIT_FLAG(name "Authoritative", usher_set_authoritative,                                \
                     (void *)&usher_role_kinds[kind], ACCESS_CONF | OR_FILEINFO,                   \
                     "Off: others are asked when the program of " name " says no")

#define FCGID(id, name, old, kind, option, in_command, help)                                       \
    AP_INIT_RAW_ARGS(name, usher_set_fcgid, (void *)&usher_fcgid_ids[USHER_FCGID_##id], RSRC_CONF, \
                     help),                                                                        \
        AP_INIT_RAW_ARGS(old, usher_set_fcgid, (void *)&usher_fcgid_ids[USHER_FCGID_##id],         \
                         RSRC_CONF, "the same as " name),
#define WRAPPER(name)                                                                              \
    AP_INIT_RAW_ARGS(name, usher_set_wrapper, NULL, RSRC_CONF | ACCESS_CONF | OR_FILEINFO,         \
                     "the command that runs files of a suffix, or all")

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
    AP_INIT_RAW_ARGS("FCGIConfig", usher_set_dynamic, NULL, RSRC_CONF,
                     "how programs without a class of their own are run"),
    AP_INIT_RAW_ARGS("FastCgiConfig", usher_set_dynamic, NULL, RSRC_CONF, "the same as FCGIConfig"),
    AP_INIT_TAKE13("UsherPass", set_pass, NULL, ACCESS_CONF,
                   "the class that serves what the container holds, or none; a CGI program's path "
                   "and -protocol cgi"),
    ROLE("FastCgiAccessChecker", USHER_ACCESS_CHECKER, "who may come at all"),
    ROLE("FastCgiAuthenticator", USHER_AUTHENTICATOR, "whether user and password fit"),
    ROLE("FastCgiAuthorizer", USHER_AUTHORIZER, "what a user may have"),
    AP_INIT_TAKE1("UsherRuntimeDir", set_runtime_dir, NULL, RSRC_CONF,
                  "directory of channel, sockets and registrations"),
    AP_INIT_TAKE1("UsherManager", set_manager, NULL, RSRC_CONF, "embedded, external or off"),
    AP_INIT_TAKE1("UsherLog", set_log, NULL, RSRC_CONF, "log file of an embedded manager"),
    AP_INIT_TAKE1("UsherMetrics", set_metrics, NULL, RSRC_CONF,
                  "loopback address and port where the manager tells its metrics"),
    AP_INIT_TAKE1("UsherDashboard", set_dashboard, NULL, RSRC_CONF,
                  "loopback address and port of the manager's dashboard"),
    AP_INIT_RAW_ARGS("FastCgiIpcDir", set_nothing, IPC_DIR_WHY, RSRC_CONF, IPC_DIR_WHY),
    AP_INIT_RAW_ARGS("FastCgiWrapper", set_nothing, WRAPPER_WHY, RSRC_CONF, WRAPPER_WHY),
    AP_INIT_RAW_ARGS("FastCgiSuexec", set_nothing, WRAPPER_WHY, RSRC_CONF, WRAPPER_WHY),
    ROLE_OF_FCGID("FcgidAccessChecker", USHER_ACCESS_CHECKER, "who may come at all"),
    ROLE_OF_FCGID("FcgidAuthenticator", USHER_AUTHENTICATOR, "whether user and password fit"),
    ROLE_OF_FCGID("FcgidAuthorizer", USHER_AUTHORIZER, "what a user may have"),
    WRAPPER("FcgidWrapper"),
    WRAPPER("FCGIWrapper"),
    AP_INIT_RAW_ARGS("FcgidCmdOptions", usher_set_command_options, NULL, RSRC_CONF,
                     "a command, and its own options"),
#include "fcgid.def"
    { NULL }
};
