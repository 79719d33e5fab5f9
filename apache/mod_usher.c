/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_usher: FastCGI programs behind httpd, started and watched by Usher's manager.
 *
 *   config.c        directives            classes.c      those of classes
 *   fcgid.c         those of mod_fcgid    register.c     this server's classes, for the manager
 *   protocols.c     classes that speak CGI or AJP
 *   script.c        which class, and its environment
 *   authorizer.c    programs that say who may have what
 *   call.c          a place at an instance, and a second try
 *   request_body.c  the body, read before a place is taken
 *   fcgi_client.c   one request over one connection      fcgi_records.c  its bytes
 *   connections.c   those that outlive their request
 *   answer.c        the program's answer, to the client
 *   status.c        a page about all of them
 */
#include "mod_usher.h"
#include "connections.h"
#include "fcgid.h"

#include "ap_mpm.h"
#include "http_protocol.h"
#include "http_request.h"

#include <unistd.h>

/* Made by post_config and inherited by the children; a restart unloads the module and all of it. */
usher_link usher_process;
static pid_t master_pid;
static int fcgid_is_foreign; /* the real mod_fcgid has its handler */

/* ---- the handler ------------------------------------------------------- */

static int is_fcgid(const request_rec *r)
{
    return !strcmp(r->handler, USHER_FCGID_HANDLER);
}

static int is_ours(const request_rec *r)
{
    return r->handler
           && (!strcmp(r->handler, USHER_SCRIPT_HANDLER) || !strcmp(r->handler, USHER_PASS_HANDLER)
               || !strcmp(r->handler, USHER_CGI_HANDLER) || (is_fcgid(r) && !fcgid_is_foreign));
}

static int usher_handler(request_rec *r)
{
    usher_server_conf *conf = usher_get_server_conf(r->server);
    usher_call *call;
    int status;

    if (!is_ours(r)) {
        return DECLINED;
    }
    call = usher_call_make(r, AP_FCGI_RESPONDER);

    /* Step One: Which class is it? */
    if ((status = usher_script_class(call, conf)) != OK) {
        return status;
    }
    apr_table_setn(r->notes, "usher_class", call->key);

    /* Step Two: All of the request, so that the client delays no instance */
    if ((status = usher_call_check(call)) != OK
        || (status = usher_body_read(r, &call->body,
                                     is_fcgid(r) ? usher_fcgid_body_limit(conf, r->server) : -1))
               != OK) {
        return status;
    }
    usher_script_environment(call);
    apr_table_setn(r->subprocess_env, "usher_class", call->key); /* not for the program */

    /* Step Three: A place and the exchange */
    return usher_call_run(call);
}

/*
 * UsherPass is stronger than handlers by file name, but not than what mod_rewrite or a proxy have
 * done with the request, or than the status page. So is, after it, a class that the file's path names.
 */
static int usher_fixups(request_rec *r)
{
    usher_dir_conf *dir = ap_get_module_config(r->per_dir_config, &usher_module);
    int has_pass = dir->pass && dir->pass->class;

    if (r->proxyreq
        || (r->handler
            && (!strcmp(r->handler, "redirect-handler")
                || !strcmp(r->handler, USHER_STATUS_HANDLER)))) {
        return DECLINED;
    }
    if (has_pass) {
        r->handler = USHER_PASS_HANDLER;
    }
    else if (!is_ours(r) && usher_script_is_class(r)) {
        r->handler = USHER_SCRIPT_HANDLER;
    }
    else {
        return DECLINED;
    }
    if (r->finfo.filetype == APR_DIR && (!has_pass || usher_pass_is_application(dir->pass))) {
        r->finfo.filetype = APR_NOFILE; /* an application's URL: mod_dir must not redirect it */
    }
    return DECLINED;
}

/* ---- process ----------------------------------------------------------- */

static apr_status_t close_channel(void *data)
{
    if (getpid() == master_pid) { /* children may still serve while they exit */
        usher_channel_close(usher_process.channel);
        usher_process.channel = NULL;
        /* at the end, or between two configurations: nobody's directory, if it is removed */
        usher_registration_end(usher_process.live_path, usher_process.generation);
    }
    return APR_SUCCESS;
}

static int usher_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    usher_server_conf *conf = usher_get_server_conf(s);
    int status = usher_fcgid_finish(conf, pconf, s);

    fcgid_is_foreign = usher_fcgid_is_foreign();
    if (status == OK) {
        status = usher_check_cgi(conf, pconf, s);
    }
    if (status == OK) {
        status = usher_check_roles(conf, pconf, s);
    }
    return status == OK ? usher_check_passes(conf, pconf, s) : status;
}

static int usher_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const usher_server_conf *conf = usher_get_server_conf(s);

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG
        || ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_NORMAL) {
        return OK;
    }
    usher_register(pconf, ptemp, s, conf, &usher_process);
    if (!usher_process.channel) {
        if (conf->mode != USHER_MANAGER_MODE_OFF) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "FastCGI programs will be answered 503: %s",
                         usher_process.reason);
        }
        return OK;
    }
    master_pid = getpid();
    apr_pool_cleanup_register(pconf, NULL, close_channel, apr_pool_cleanup_null);
    return OK;
}

static apr_status_t detach(void *data)
{
    if (usher_process.attached && !usher_calls_are_running()) {
        usher_process.attached = 0;
        usher_worker_detach(usher_process.channel);
    }
    return APR_SUCCESS;
}

/* -appConnTimeout of FCGIConfig also limits the wait for a manager that is not there yet. */
static void set_unknown_timeout(server_rec *s)
{
    const usher_server_conf *conf = ap_get_module_config(s->module_config, &usher_module);
    usher_option_values_t values;
    size_t i;

    usher_dynamic_values(conf, &values);
    for (i = 0; i < values.count; i++) {
        if (!strcmp(values.values[i].option->id, "appConnTimeout")) {
            usher_channel_set_unknown_timeout(usher_process.channel,
                                              (uint32_t)values.values[i].number);
        }
    }
}

static void usher_child_init(apr_pool_t *pchild, server_rec *s)
{
    usher_error_t error;

    if (!usher_process.channel) {
        return;
    }
    set_unknown_timeout(s);
    if (usher_worker_attach(usher_process.channel, usher_process.live_path,
                            usher_process.generation, true, &error)
        != USHER_OK) {
        usher_process.reason = apr_pstrdup(pchild, error.text);
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     "this child will answer 503 for FastCGI programs: %s", error.text);
        return;
    }
    usher_process.attached = 1;
    if (usher_worker_watch(usher_process.channel, &error) != USHER_OK) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "%s", error.text);
    }
    apr_pool_cleanup_register(pchild, NULL, detach, apr_pool_cleanup_null);
    usher_connections_init(pchild); /* ends before that */
}

/* ---- <IfModule mod_fastcgi.c> ------------------------------------------ */

/* A module of that name, so that the classes of an old configuration are not skipped in silence. */
static module fastcgi_module = {
    MODULE_MAGIC_NUMBER_MAJOR, MODULE_MAGIC_NUMBER_MINOR, -1, "mod_fastcgi.c", NULL, NULL,
    MODULE_MAGIC_COOKIE
};

static apr_status_t remove_fastcgi(void *data)
{
    ap_remove_module(&fastcgi_module);
    return APR_SUCCESS;
}

static void stand_in_for_fastcgi(apr_pool_t *p)
{
    if (!ap_find_linked_module(fastcgi_module.name)
        && !ap_add_module(&fastcgi_module, p, "fastcgi_module")) {
        apr_pool_cleanup_register(p, NULL, remove_fastcgi, apr_pool_cleanup_null);
    }
}

static void register_hooks(apr_pool_t *p)
{
    stand_in_for_fastcgi(p);
    usher_fcgid_stand_in(p);
    ap_hook_check_config(usher_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(usher_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(usher_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_fixups(usher_fixups, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(usher_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(usher_status_handler, NULL, NULL, APR_HOOK_MIDDLE);
    usher_authorizer_hooks();
}

AP_DECLARE_MODULE(usher) = { STANDARD20_MODULE_STUFF,
                             usher_create_dir_conf,
                             usher_merge_dir_conf,
                             usher_create_server_conf,
                             NULL, /* virtual hosts have the main server's */
                             usher_commands,
                             register_hooks };
