/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that say who may have what: FastCGI's role AUTHORIZER, asked in three of httpd's phases.
 *
 *   FastCgiAccessChecker   before anybody is asked for a name
 *   FastCgiAuthenticator   do user and password (AuthType Basic) fit?
 *   FastCgiAuthorizer      may this user have this? Then no Require is asked
 *
 * Status 200 grants, and headers of the answer become environment of what comes after. Any other
 * status denies and is the client's answer, with its body. With ...Authoritative Off others are
 * asked then; but not when the program cannot be asked, or says 5xx: that is no opinion, and denies.
 */
#include "fcgid.h"

#include "http_protocol.h"
#include "http_request.h"
#include "mod_auth.h"
#include "util_script.h"

APLOG_USE_MODULE(usher);

#define VARIABLE "Variable-"

const usher_role_kind usher_role_kinds[USHER_ROLES] = { USHER_ACCESS_CHECKER, USHER_AUTHENTICATOR,
                                                        USHER_AUTHORIZER };
static const char *const role_names[USHER_ROLES] = { "ACCESS_CHECKER", "AUTHENTICATOR",
                                                     "AUTHORIZER" };

/* ---- directives -------------------------------------------------------- */

const char *usher_set_role(cmd_parms *cmd, void *dconf, const char *name, const char *option)
{
    usher_dir_conf *dir = dconf;
    usher_role *role = apr_pcalloc(cmd->pool, sizeof(*role));

    if (option && strcasecmp(option, "-compat")) {
        return apr_psprintf(cmd->pool, "%s %s: unknown option \"%s\", the only one is -compat",
                            cmd->cmd->name, name, option);
    }
    dir->roles[*(const usher_role_kind *)cmd->info] = role;
    if (!strcasecmp(name, "none")) {
        return NULL;
    }
    role->name = name;
    role->path = usher_below_server_root(cmd, name);
    role->compat = option != NULL;
    role->directive = cmd->cmd->name;
    role->source = usher_source_of(cmd);
    if (!ap_check_cmd_context(cmd, NOT_IN_HTACCESS)) {
        APR_ARRAY_PUSH(usher_main_conf()->roles, usher_role *) = role;
    }
    return NULL;
}

/* mod_fcgid's: what -compat says is all it has. */
const char *usher_set_fcgid_role(cmd_parms *cmd, void *dconf, const char *name)
{
    return usher_fcgid_is_foreign() ? DECLINE_CMD : usher_set_role(cmd, dconf, name, "-compat");
}

const char *usher_set_authoritative(cmd_parms *cmd, void *dconf, int on)
{
    usher_dir_conf *dir = dconf;

    dir->declines[*(const usher_role_kind *)cmd->info] = on ? -1 : 1;
    return NULL;
}

int usher_check_roles(usher_server_conf *conf, apr_pool_t *p, server_rec *s)
{
    int status = OK;
    int i;

    for (i = 0; i < conf->roles->nelts; i++) {
        usher_role *role = APR_ARRAY_IDX(conf->roles, i, usher_role *);
        const char *why = "no AppClass or ExternalAppClass of that name";

        role->class = usher_class_of_name(conf, role->name, role->path);
        if (!role->class && strchr(role->name, '/') && role->path) {
            usher_class_conf *class =
                usher_imply_class(conf, p, role->path, NULL, role->source, &why);

            if (class) {
                usher_add_class(conf, class);
            }
            role->class = class;
        }
        if (role->class && role->class->protocol != USHER_PROTOCOL_FASTCGI) {
            role->class = NULL;
            why = "the class does not speak FastCGI, which alone knows authorizers";
        }
        if (!role->class) {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s, "%s: %s %s: %s", role->source,
                         role->directive, role->name, why);
            status = HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return status;
}

static const usher_role *role_of(request_rec *r, usher_role_kind kind)
{
    const usher_dir_conf *dir = ap_get_module_config(r->per_dir_config, &usher_module);
    const usher_role *role = dir->roles[kind];

    return role && role->name ? role : NULL;
}

/* ---- the question ------------------------------------------------------ */

static const char *original_uri(const request_rec *r)
{
    while (r->main || r->prev) {
        r = r->main ? r->main : r->prev;
    }
    return r->unparsed_uri;
}

/*
 * As for a program that answers, but for what FastCGI 1.0 §6.3 takes away. mod_fastcgi leaves two of
 * those variables to programs that are not asked -compat. PATH_TRANSLATED is left out always:
 * httpd finds it by a subrequest, which would have to be authorized.
 */
static void make_environment(usher_call *call, const usher_role *role, usher_role_kind kind,
                             const char *password)
{
    request_rec *r = call->r;
    apr_table_t *env = r->subprocess_env;
    const char *path_info = r->path_info ? r->path_info : "";

    ap_add_common_vars(r);
    apr_table_setn(env, "GATEWAY_INTERFACE", "CGI/1.1");
    apr_table_setn(env, "SERVER_PROTOCOL", r->protocol);
    apr_table_setn(env, "REQUEST_METHOD", r->method);
    apr_table_setn(env, "QUERY_STRING", r->args ? r->args : "");
    apr_table_setn(env, "REQUEST_URI", original_uri(r));
    if (!role->compat) {
        apr_table_setn(
            env, "SCRIPT_NAME",
            apr_pstrmemdup(r->pool, r->uri, (apr_size_t)ap_find_path_info(r->uri, path_info)));
        apr_table_setn(env, "PATH_INFO", path_info);
    }
    apr_table_unset(env, "CONTENT_LENGTH"); /* the body is not for this program */
    apr_table_unset(env, "HTTP_TRANSFER_ENCODING");
    apr_table_setn(env, "FCGI_APACHE_ROLE", role_names[kind]);
    if (password) {
        apr_table_setn(env, "REMOTE_PASSWD", password);
    }
    usher_script_head(call);
}

typedef struct {
    apr_table_t *env;
    int compat;
} variables;

static int take_variable(void *data, const char *name, const char *value)
{
    const variables *to = data;

    if (!strncasecmp(name, VARIABLE, sizeof(VARIABLE) - 1)) {
        apr_table_setn(to->env, name + sizeof(VARIABLE) - 1, value);
    }
    else if (!to->compat) {
        apr_table_setn(to->env, name, value);
    }
    return 1;
}

/* A denial can be written at once only where no other phase may overrule it. */
static int may_pass_denial(request_rec *r, usher_role_kind kind, int declines)
{
    return !declines && !r->main
           && (kind != USHER_ACCESS_CHECKER || ap_satisfies(r) != SATISFY_ANY);
}

/* .htaccess may name any class, and any path that may be run as a dynamic class. */
static void choose_class(usher_call *call, const usher_role *role)
{
    const usher_server_conf *conf = usher_get_server_conf(call->r->server);

    call->class = role->class ? role->class : usher_class_of_name(conf, role->name, role->path);
    if (call->class) {
        call->key = call->class->key;
    }
    else {
        call->class = conf->dynamic;
        call->key = role->path ? role->path : role->name;
    }
}

/* OK = granted, DECLINED = leave it to others, DONE = the client has its answer. */
static int ask(request_rec *r, const usher_role *role, usher_role_kind kind, const char *password)
{
    const usher_dir_conf *dir = ap_get_module_config(r->per_dir_config, &usher_module);
    int declines = dir->declines[kind] > 0;
    apr_table_t *env = r->subprocess_env;
    usher_call *call = usher_call_make(r, AP_FCGI_AUTHORIZER);
    int status;

    choose_class(call, role);
    apr_table_setn(r->notes, "usher_class", call->key);
    call->passes_denial = may_pass_denial(r, kind, declines);

    if ((status = usher_call_check(call)) == OK) {
        r->subprocess_env = apr_table_copy(r->pool, env);
        make_environment(call, role, kind, password);
        status = usher_call_run(call);
        r->subprocess_env = env;
    }

    if (status == OK && call->answer.granted) {
        variables to = { env, role->compat };

        apr_table_do(take_variable, &to, call->answer.variables, NULL);
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "class \"%s\": %s did not grant %s", call->key,
                  role_names[kind], r->uri);
    if (call->answer.denied && declines && !ap_is_HTTP_SERVER_ERROR(status)) {
        return DECLINED;
    }
    return status == OK ? DONE : status;
}

/* ---- the phases -------------------------------------------------------- */

static int check_access(request_rec *r)
{
    const usher_role *role = role_of(r, USHER_ACCESS_CHECKER);

    return role ? ask(r, role, USHER_ACCESS_CHECKER, NULL) : DECLINED;
}

static int check_user(request_rec *r)
{
    const usher_role *role = role_of(r, USHER_AUTHENTICATOR);
    const char *password;
    int status;

    if (!role) {
        return DECLINED;
    }
    /* DECLINED when AuthType is another: then somebody else authenticates, or httpd says 500 */
    if ((status = ap_get_basic_auth_pw(r, &password)) != OK) {
        return status;
    }
    r->ap_auth_type = (char *)ap_auth_type(r);
    return ask(r, role, USHER_AUTHENTICATOR, password);
}

static int check_user_access(request_rec *r)
{
    const usher_role *role = role_of(r, USHER_AUTHORIZER);

    return role ? ask(r, role, USHER_AUTHORIZER, NULL) : DECLINED;
}

/* "Require all granted" further out must not keep a program from being asked. */
static int force_phases(request_rec *r)
{
    return role_of(r, USHER_AUTHENTICATOR) || role_of(r, USHER_AUTHORIZER) ? OK : DECLINED;
}

void usher_authorizer_hooks(void)
{
    static const char *const other_authn[] = { "mod_auth_basic.c", NULL };
    static const char *const other_authz[] = { "mod_authz_core.c", NULL };

    ap_hook_check_access(check_access, NULL, NULL, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_authn(check_user, NULL, other_authn, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_check_authz(check_user_access, NULL, other_authz, APR_HOOK_MIDDLE,
                        AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_force_authn(force_phases, NULL, NULL, APR_HOOK_MIDDLE);
}
