/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which class serves a request, and what the program is told about it.
 *
 * Handler fastcgi-script: the class whose path is the file, or a prefix of it that ends before a
 * slash; any other file is a class of its own (dynamic), if it may be executed here. As in
 * mod_fastcgi the file of a class needs no handler.
 *
 * Handler usher-cgi: the class usher-cgi runs the file, which must be executable here, if no CGI
 * class has its path.
 *
 * Handler fcgid-script: the same as fastcgi-script, but where a FcgidWrapper stands for the file, its class runs it.
 *
 * UsherPass PATH: the class is an application. SCRIPT_NAME is the part of the URL that the
 * container stands for, PATH_INFO the rest:
 *   <Location /git>        /git/a/b  ->  /git    /a/b        (<Location />: "" and all of it)
 *   <LocationMatch ^/r.o>  /repo/a   ->  /repo   /a          (what the expression matched)
 *   <Directory /srv/app>   the URL of that directory, and what is below it
 *   <Files x.app>          as httpd cuts it: the file, and what stands behind it
 *
 * UsherPass NAME over a file that exists: the file is the script, as with CGI (php-cgi). Where no
 * such file is: in <Location> the class is an application, as above; in <Directory> and <Files> the
 * answer is 404, so that a program which runs scripts is never asked for one that is not there. A
 * class that speaks CGI or AJP is always an application, but for one that runs whatever file is named.
 */
#include "fcgid.h"
#include "fcgi_records.h"

#include "apr_lib.h"
#include "http_protocol.h"
#include "http_request.h"
#include "util_script.h"

APLOG_USE_MODULE(usher);

/* ---- which class ------------------------------------------------------- */

static int refuse(request_rec *r, int status, const char *why)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "%s: %s", why, r->filename);
    return status;
}

/* The longest path of a class that is `full` or a prefix of it before a slash. */
static const usher_class_conf *find_prefix(const usher_server_conf *conf, const char *full)
{
    apr_size_t length = strlen(full);

    while (length > 0) {
        const usher_class_conf *class = apr_hash_get(conf->classes, full, (apr_ssize_t)length);

        if (class) {
            return class;
        }
        while (length > 0 && full[--length] != '/')
            ;
    }
    return NULL;
}

/* The URL without what `rest` says of its end. */
static const char *url_before(request_rec *r, const char *rest)
{
    return *rest ? apr_pstrndup(r->pool, r->uri, (apr_size_t)ap_find_path_info(r->uri, rest))
                 : r->uri;
}

static void cut_at_rest(usher_call *call, const char *rest)
{
    call->path_info = rest;
    call->script_name = url_before(call->r, rest);
}

static const char *full_path(request_rec *r)
{
    return r->path_info && *r->path_info ? apr_pstrcat(r->pool, r->filename, r->path_info, NULL)
                                         : r->filename;
}

static int is_script_aliased(request_rec *r)
{
    const char *type = apr_table_get(r->notes, "alias-forced-type");

    return type && !strcasecmp(type, "cgi-script");
}

static int check_path_info(request_rec *r)
{
    if (r->used_path_info == AP_REQ_REJECT_PATH_INFO && r->path_info && *r->path_info) {
        return refuse(r, HTTP_NOT_FOUND, "AcceptPathInfo off disallows user's path");
    }
    return OK;
}

/* Is the file one that may be run here? */
static int check_script(request_rec *r)
{
    if (!(ap_allow_options(r) & OPT_EXECCGI) && !is_script_aliased(r)) {
        return refuse(r, HTTP_FORBIDDEN, "Options ExecCGI is off in this directory");
    }
    if (r->finfo.filetype == APR_NOFILE) {
        return refuse(r, HTTP_NOT_FOUND, "script not found or unable to stat");
    }
    if (r->finfo.filetype == APR_DIR) {
        return refuse(r, HTTP_FORBIDDEN, "attempt to invoke directory as script");
    }
    if (r->finfo.filetype != APR_REG) {
        return refuse(r, HTTP_FORBIDDEN, "script is not a file");
    }
    if (!(r->finfo.protection & (APR_FPROT_UEXECUTE | APR_FPROT_GEXECUTE | APR_FPROT_WEXECUTE))) {
        return refuse(r, HTTP_FORBIDDEN, "file permissions deny execution");
    }
    return check_path_info(r);
}

static int find_dynamic(usher_call *call, const usher_server_conf *conf)
{
    call->class = conf->dynamic;
    call->key = call->r->filename;
    return check_script(call->r);
}

static int find_script(usher_call *call, const usher_server_conf *conf)
{
    request_rec *r = call->r;
    const char *full = full_path(r);
    const usher_class_conf *class = find_prefix(conf, full);

    if (!class) {
        return find_dynamic(call, conf);
    }
    call->class = class;
    call->key = class->key;
    if (r->finfo.filetype == APR_REG) {
        return check_path_info(r);
    }
    /* a class that is no file (external, or with -command): its path ends where the URL is cut */
    call->script_filename = class->key;
    cut_at_rest(call, full + strlen(class->key));
    return OK;
}

/* The file is to be run by a class that runs any. */
static int find_program(usher_call *call, const usher_class_conf *class)
{
    call->class = class;
    call->key = class->key;
    call->program = call->r->filename;
    return check_script(call->r);
}

static int find_cgi(usher_call *call, const usher_server_conf *conf)
{
    request_rec *r = call->r;
    const usher_class_conf *class = find_prefix(conf, full_path(r));

    if (class && class->protocol == USHER_PROTOCOL_CGI) {
        return find_script(call, conf);
    }
    if (!conf->cgi) {
        return refuse(r, HTTP_INTERNAL_SERVER_ERROR,
                      "handler " USHER_CGI_HANDLER
                      " stands in .htaccess only, and the server's own "
                      "configuration has no AppClass " USHER_CGI_CLASS " -protocol cgi");
    }
    return find_program(call, conf->cgi);
}

int usher_script_is_class(request_rec *r)
{
    return r->filename && find_prefix(usher_get_server_conf(r->server), full_path(r)) != NULL;
}

static int find_wrapped(usher_call *call, const usher_server_conf *conf)
{
    request_rec *r = call->r;
    const usher_wrapper *wrapper = usher_fcgid_wrapper(r);

    if (!wrapper) {
        return find_script(call, conf);
    }
    if (!(ap_allow_options(r) & OPT_EXECCGI) && !is_script_aliased(r)) {
        return refuse(r, HTTP_FORBIDDEN, "Options ExecCGI is off in this directory");
    }
    if (!wrapper->is_virtual && r->finfo.filetype == APR_NOFILE) {
        return refuse(r, HTTP_NOT_FOUND, "script not found or unable to stat");
    }
    if (!wrapper->is_virtual && r->finfo.filetype == APR_DIR) {
        return refuse(r, HTTP_FORBIDDEN, "attempt to invoke directory as script");
    }
    call->class = usher_fcgid_class(wrapper, r->server);
    call->key = call->class->key;
    return check_path_info(r);
}

/* ---- UsherPass --------------------------------------------------------- */

static void cut_at(usher_call *call, apr_size_t length)
{
    call->script_name = apr_pstrndup(call->r->pool, call->r->uri, length);
    call->path_info = call->r->uri + length;
}

/* Up to the end of what the expression matched; only whole segments are cut off. */
static apr_size_t matched_length(const usher_pass *pass, const char *uri)
{
    ap_regmatch_t match[1];
    apr_size_t length;

    if (ap_regexec(pass->regex, uri, 1, match, 0) != 0 || match[0].rm_eo <= 0) {
        return 0;
    }
    length = (apr_size_t)match[0].rm_eo;
    if (uri[length - 1] == '/') {
        return length - 1;
    }
    while (uri[length] && uri[length] != '/') {
        length++;
    }
    return length;
}

/* The class is an application: cut the URL where the container's part ends. */
static void cut_for_container(usher_call *call, const usher_pass *pass)
{
    request_rec *r = call->r;
    apr_size_t length;

    switch (pass->container) {
    case USHER_IN_LOCATION:
        length = strlen(pass->prefix);
        cut_at(call,
               !strncmp(r->uri, pass->prefix, length) && (r->uri[length] == '/' || !r->uri[length])
                   ? length
                   : 0);
        call->prefix = call->script_name;
        break;
    case USHER_IN_LOCATION_PATTERN:
        cut_at(call, strlen(r->uri)); /* httpd compares it with the whole URL */
        break;
    case USHER_IN_LOCATION_MATCH:
        cut_at(call, matched_length(pass, r->uri));
        break;
    case USHER_IN_DIRECTORY: {
        const char *full = full_path(r);

        length = strlen(pass->prefix) - 1; /* keep its slash */
        cut_at_rest(call, !strncmp(full, pass->prefix, length) ? full + length : "");
        break;
    }
    case USHER_IN_FILES:
        cut_at_rest(call, r->path_info ? r->path_info : "");
        break;
    }
    call->script_filename = pass->program ? pass->program : pass->class->key;
}

static int is_in_location(const usher_pass *pass)
{
    return pass->container == USHER_IN_LOCATION || pass->container == USHER_IN_LOCATION_PATTERN
           || pass->container == USHER_IN_LOCATION_MATCH;
}

static int find_passed(usher_call *call, const usher_pass *pass)
{
    request_rec *r = call->r;

    if (!pass || !pass->class) {
        return DECLINED;
    }
    call->class = pass->class;
    call->key = pass->class->key;
    call->program = pass->program;

    if (call->class->runs_any_file && !call->program) {
        return r->finfo.filetype == APR_DIR && !is_in_location(pass)
                   ? DECLINED
                   : find_program(call, call->class);
    }
    if (!usher_pass_is_application(pass) && r->finfo.filetype == APR_REG) {
        return check_path_info(r);
    }
    if (!usher_pass_is_application(pass) && !is_in_location(pass)) {
        return r->finfo.filetype == APR_DIR
                   ? DECLINED
                   : refuse(r, HTTP_NOT_FOUND, "script not found or unable to stat");
    }
    cut_for_container(call, pass);
    return OK;
}

int usher_script_class(usher_call *call, const usher_server_conf *conf)
{
    request_rec *r = call->r;

    if (!strcmp(r->handler, USHER_SCRIPT_HANDLER)) {
        return find_script(call, conf);
    }
    if (!strcmp(r->handler, USHER_CGI_HANDLER)) {
        return find_cgi(call, conf);
    }
    if (!strcmp(r->handler, USHER_FCGID_HANDLER)) {
        return find_wrapped(call, conf);
    }
    if (!strcmp(r->handler, USHER_PASS_HANDLER)) {
        usher_dir_conf *dir = ap_get_module_config(r->per_dir_config, &usher_module);

        return find_passed(call, dir->pass);
    }
    return DECLINED;
}

/* ---- the environment --------------------------------------------------- */

static const char *variable_name(apr_pool_t *p, const char *header)
{
    char *name = apr_pstrcat(p, "HTTP_", header, NULL);
    char *at;

    for (at = name + 5; *at; at++) {
        *at = apr_isalnum(*at) ? (char)apr_toupper(*at) : '_';
    }
    return name;
}

/* -pass-header: under CGI's name, and under the header's own as mod_fastcgi did. */
static void pass_headers(usher_call *call, apr_table_t *env)
{
    request_rec *r = call->r;
    int i;

    for (i = 0; i < call->class->pass_headers->nelts; i++) {
        const char *header = APR_ARRAY_IDX(call->class->pass_headers, i, const char *);
        const char *value = apr_table_get(r->headers_in, header);

        if (value && strcasecmp(header, "Proxy")) {
            apr_table_setn(env, variable_name(r->pool, header), value);
            apr_table_setn(env, header, value);
        }
    }
}

static int set_unless_there(void *env, const char *name, const char *value)
{
    if (!apr_table_get(env, name)) {
        apr_table_setn(env, name, value);
    }
    return 1;
}

static void set_content_length(usher_call *call)
{
    apr_table_t *env = call->r->subprocess_env;

    if (call->body.length > 0 || apr_table_get(env, "CONTENT_LENGTH")) {
        apr_table_setn(env, "CONTENT_LENGTH", apr_off_t_toa(call->r->pool, call->body.length));
    }
    apr_table_unset(env, "HTTP_TRANSFER_ENCODING"); /* it came in chunks, it is passed whole */
}

void usher_script_head(usher_call *call)
{
    request_rec *r = call->r;
    apr_table_t *env = r->subprocess_env;

    if (call->class->pass_headers->nelts || !apr_is_empty_table(call->class->initial_env)) {
        /* For this program alone: after an internal redirect (ErrorDocument, Location) httpd gives
         * the request's variables to another one, as REDIRECT_. */
        env = apr_table_copy(r->pool, env);
        pass_headers(call, env);
        /* programs built on libfcgi or CGI::Fast forget their own environment at every request */
        apr_table_do(set_unless_there, env, call->class->initial_env, NULL);
    }
    if (call->class->protocol == USHER_PROTOCOL_CGI) {
        env = usher_add_cgi_params(call, env);
    }
    call->head = usher_fcgi_head(r->pool, env, call->role, &call->head_length);
}

void usher_script_environment(usher_call *call)
{
    request_rec *r = call->r;
    apr_table_t *env = r->subprocess_env;
    char *path_info = r->path_info;

    if (call->path_info) {
        r->path_info = (char *)call->path_info; /* PATH_TRANSLATED is made from it */
    }
    ap_add_common_vars(r);
    ap_add_cgi_vars(r);
    r->path_info = path_info;

    if (call->script_name) {
        apr_table_setn(env, "SCRIPT_NAME", call->script_name);
    }
    if (call->path_info && !*call->path_info) {
        apr_table_unset(env, "PATH_INFO");
    }
    if (call->script_filename) {
        apr_table_setn(env, "SCRIPT_FILENAME", call->script_filename);
    }
    set_content_length(call);
    usher_script_head(call);
}
