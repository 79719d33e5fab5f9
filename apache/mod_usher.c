/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mod_usher: FastCGI programs behind httpd, started and watched by Usher's manager.
 *
 *   config.c        directives            register.c     this server's classes, for the manager
 *   script.c        which class, and its environment
 *   request_body.c  the body, read before a place is taken
 *   fcgi_client.c   one request over one connection      fcgi_records.c  its bytes
 *   answer.c        the program's answer, to the client
 */
#include "mod_usher.h"
#include "fcgi_client.h"

#include "ap_mpm.h"
#include "apr_atomic.h"
#include "http_protocol.h"
#include "http_request.h"
#include "os/os.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define WAIT_MS               200  /* between looks whether the client is still there */
#define CONNECT_MS            3000 /* for one host: then another one may answer */
#define CLIENT_CLOSED_REQUEST 499  /* for access logs: nobody is there to read it */

/* Of this process, made by post_config and inherited by the children; a restart unloads the module
 * and all of it. */
static usher_link process_link;
static pid_t master_pid;
static int attached;
static apr_uint32_t calls; /* that hold something of the channel now */

/* ---- a place at an instance -------------------------------------------- */

static void end_place(usher_call *call, usher_outcome_t outcome)
{
    if (call->has_place) {
        call->has_place = 0;
        call->in_channel = 1;
        usher_request_end(call->channel, &call->place, outcome);
        call->in_channel = 0;
        apr_atomic_dec32(&calls);
    }
}

/* Whatever ends the request, its place is given back. When prefork ends a child from a signal
 * handler, inside the channel, the manager settles what is left. */
static apr_status_t end_call(void *data)
{
    usher_call *call = data;

    usher_client_close(call);
    if (!call->in_channel) {
        end_place(call, USHER_OUTCOME_ABORTED);
    }
    return APR_SUCCESS;
}

static int client_is_gone(const conn_rec *c)
{
    struct pollfd pfd = { usher_client_fd(c), POLLRDHUP, 0 };

    return c->aborted || (pfd.fd >= 0 && poll(&pfd, 1, 0) > 0);
}

static int client_left(usher_call *call)
{
    conn_rec *c = call->r->connection;

    end_place(call, USHER_OUTCOME_ABORTED);
    c->aborted = 1;
    c->keepalive = AP_CONN_CLOSE;
    call->r->status = CLIENT_CLOSED_REQUEST;
    return DONE;
}

static int unavailable(usher_call *call, const char *why)
{
    end_place(call, USHER_OUTCOME_FAILED);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, call->r, "class \"%s\": %s", call->key, why);
    return HTTP_SERVICE_UNAVAILABLE;
}

static void note(usher_call *call, const char *name, const char *value)
{
    apr_table_setn(call->r->notes, name, value);
    apr_table_setn(call->r->subprocess_env, name, value);
}

/* For access logs: %{usher_state}n and so on. */
static void note_place(usher_call *call)
{
    note(call, "usher_state", usher_request_state_name(call->place.state));
    note(call, "usher_wait_ms",
         apr_psprintf(call->r->pool, "%" APR_UINT64_T_FMT,
                      (apr_uint64_t)usher_request_waited_us(&call->place) / 1000));
}

static int refused(usher_call *call)
{
    const usher_request_t *place = &call->place;
    request_rec *r = call->r;

    if (place->retry_after_s) {
        apr_table_setn(r->err_headers_out, "Retry-After",
                       apr_itoa(r->pool, (int)place->retry_after_s));
    }
    if (strstr(place->reason, call->key)) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "%s", place->reason);
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "class \"%s\": %s", call->key, place->reason);
    }
    end_place(call, USHER_OUTCOME_FAILED);
    return ap_is_HTTP_ERROR(place->verdict_status) ? place->verdict_status
                                                   : HTTP_SERVICE_UNAVAILABLE;
}

static apr_uint32_t connect_timeout(const usher_call *call)
{
    return call->limits.connect_timeout_ms
               ? call->limits.connect_timeout_ms
               : (apr_uint32_t)apr_time_as_msec(call->r->server->timeout);
}

/* Connect to the place that was taken. OK, a status, or SUSPENDED: take another one. */
static int connect_place(usher_call *call, const struct sockaddr_storage *address, socklen_t length,
                         apr_uint64_t began_ns)
{
    apr_uint32_t timeout = connect_timeout(call);
    int error = usher_client_connect(call, (const struct sockaddr *)address, length,
                                     timeout < CONNECT_MS ? timeout : CONNECT_MS);
    apr_uint64_t waited_ms = (usher_os_now_ns() - began_ns) / 1000000;

    if (!error) {
        return OK;
    }
    ap_log_rerror(APLOG_MARK, call->place.avoids ? APLOG_DEBUG : APLOG_INFO, error, call->r,
                  "class \"%s\": cannot connect to %s", call->key, usher_client_program(call));
    if (waited_ms >= timeout) {
        return unavailable(call,
                           apr_psprintf(call->r->pool, "cannot connect: %s", strerror(error)));
    }
    call->in_channel = 1;
    usher_request_retry(call->channel, &call->place);
    call->in_channel = 0;
    return SUSPENDED;
}

/* Wait for a place and connect to it. OK, or what the handler returns. */
static int take_place(usher_call *call)
{
    struct sockaddr_storage address;
    socklen_t length;
    apr_uint64_t began_ns = usher_os_now_ns();
    usher_status_t status;
    int rv;

    call->in_channel = 1;
    status = usher_request_begin(call->channel, &call->place, call->key, strlen(call->key));
    call->in_channel = 0;
    if (status != USHER_OK) {
        return unavailable(call, "its path is too long for the channel");
    }
    call->has_place = 1;
    apr_atomic_inc32(&calls);

    for (;;) {
        length = sizeof(address);
        call->in_channel = 1;
        status = usher_request_admit(call->channel, &call->place, &address, &length, &call->limits);
        call->in_channel = 0;
        switch (status) {
        case USHER_OK:
            rv = connect_place(call, &address, length, began_ns);
            if (rv == OK) {
                note_place(call);
            }
            if (rv != SUSPENDED) {
                return rv;
            }
            break;
        case USHER_REFUSED:
            note_place(call);
            return refused(call);
        case USHER_AGAIN:
            call->in_channel = 1;
            usher_request_wait(call->channel, &call->place, WAIT_MS);
            call->in_channel = 0;
            break;
        default:
            return unavailable(
                call, apr_psprintf(call->r->pool,
                                   "the channel to the manager is unusable (status %d)", status));
        }
        if (client_is_gone(call->r->connection)) {
            note_place(call);
            return client_left(call);
        }
    }
}

/* ---- the handler ------------------------------------------------------- */

/* May the same request be made twice? RFC 9110 §9.2.2. */
static int is_idempotent(const request_rec *r)
{
    switch (r->method_number) {
    case M_GET: /* and HEAD */
    case M_PUT:
    case M_DELETE:
    case M_OPTIONS:
    case M_TRACE:
        return 1;
    default:
        return 0;
    }
}

/* One try at one instance. SUSPENDED: nothing came of it, and another one may be tried. */
static int try_call(usher_call *call, int may_retry)
{
    request_rec *r = call->r;
    int status;

    if ((status = take_place(call)) != OK) {
        return status;
    }
    usher_answer_init(&call->answer, r, call->key, (call->limits.flags & USHER_CLASS_NPH) != 0);

    switch (usher_client_run(call, &status)) {
    case USHER_CALL_COMPLETE:
        usher_client_close(call); /* at once: libfcgi lingers until we do */
        end_place(call, USHER_OUTCOME_FINISHED);
        return usher_answer_finish(&call->answer);

    case USHER_CALL_CLIENT_GONE:
        usher_client_abandon(call);
        end_place(call, USHER_OUTCOME_ABORTED);
        return OK;

    case USHER_CALL_BROKEN:
        usher_client_close(call);
        end_place(call, USHER_OUTCOME_FAILED);
        if (may_retry && !call->answer.any && is_idempotent(r)) {
            return SUSPENDED;
        }
        break;

    default:
        usher_client_close(call);
        end_place(call, USHER_OUTCOME_FAILED);
        break;
    }
    return usher_answer_break(&call->answer, status);
}

static int usher_handler(request_rec *r)
{
    usher_server_conf *conf = usher_get_server_conf(r->server);
    usher_call *call;
    int status;

    if (!r->handler
        || (strcmp(r->handler, USHER_SCRIPT_HANDLER) && strcmp(r->handler, USHER_PASS_HANDLER))) {
        return DECLINED;
    }
    call = apr_pcalloc(r->pool, sizeof(*call));
    call->r = r;
    call->fd = -1;
    call->channel = process_link.channel;

    /* Step One: Which class is it? */
    if ((status = usher_script_class(call, conf)) != OK) {
        return status;
    }
    apr_table_setn(r->notes, "usher_class", call->key);
    if (!attached) {
        return unavailable(call, process_link.reason ? process_link.reason
                                                     : "this process has no channel");
    }

    /* Step Two: All of the request, so that the client delays no instance */
    if ((status = usher_body_read(r, &call->body)) != OK) {
        return status;
    }
    usher_script_environment(call);
    apr_table_setn(r->subprocess_env, "usher_class", call->key); /* not for the program */

    /* Step Three: A place, the exchange, and all once more when the instance broke before it said
     * anything */
    apr_pool_cleanup_register(r->pool, call, end_call, apr_pool_cleanup_null);
    if ((status = try_call(call, 1)) == SUSPENDED) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "class \"%s\": trying another instance",
                      call->key);
        status = try_call(call, 0);
    }
    return status;
}

/* UsherPass is stronger than handlers by file name, but not than what mod_rewrite or a proxy have
 * done with the request. */
static int usher_fixups(request_rec *r)
{
    usher_dir_conf *dir = ap_get_module_config(r->per_dir_config, &usher_module);

    if (!dir->pass || !dir->pass->class || r->proxyreq
        || (r->handler && !strcmp(r->handler, "redirect-handler"))) {
        return DECLINED;
    }
    r->handler = USHER_PASS_HANDLER;
    if (*dir->pass->class->key == '/' && r->finfo.filetype == APR_DIR) {
        r->finfo.filetype = APR_NOFILE; /* an application's URL: mod_dir must not redirect it */
    }
    return DECLINED;
}

/* ---- process ----------------------------------------------------------- */

static apr_status_t close_channel(void *data)
{
    if (getpid() == master_pid) { /* children may still serve while they exit */
        usher_channel_close(process_link.channel);
        process_link.channel = NULL;
    }
    return APR_SUCCESS;
}

static int usher_check_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    return usher_check_passes(usher_get_server_conf(s), s);
}

static int usher_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const usher_server_conf *conf = usher_get_server_conf(s);

    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG
        || ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_NORMAL) {
        return OK;
    }
    usher_register(pconf, ptemp, s, conf, &process_link);
    if (!process_link.channel) {
        if (conf->mode != USHER_MANAGER_MODE_OFF) {
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "FastCGI programs will be answered 503: %s",
                         process_link.reason);
        }
        return OK;
    }
    master_pid = getpid();
    apr_pool_cleanup_register(pconf, NULL, close_channel, apr_pool_cleanup_null);
    return OK;
}

static apr_status_t detach(void *data)
{
    if (attached && apr_atomic_read32(&calls) == 0) {
        attached = 0;
        usher_worker_detach(process_link.channel);
    }
    return APR_SUCCESS;
}

static void usher_child_init(apr_pool_t *pchild, server_rec *s)
{
    usher_error_t error;

    if (!process_link.channel) {
        return;
    }
    if (usher_worker_attach(process_link.channel, process_link.live_path, process_link.generation,
                            true, &error)
        != USHER_OK) {
        process_link.reason = apr_pstrdup(pchild, error.text);
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     "this child will answer 503 for FastCGI programs: %s", error.text);
        return;
    }
    attached = 1;
    apr_pool_cleanup_register(pchild, NULL, detach, apr_pool_cleanup_null);
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
    ap_hook_check_config(usher_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(usher_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(usher_child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_fixups(usher_fixups, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(usher_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(usher) = { STANDARD20_MODULE_STUFF,
                             usher_create_dir_conf,
                             usher_merge_dir_conf,
                             usher_create_server_conf,
                             NULL, /* virtual hosts have the main server's */
                             usher_commands,
                             register_hooks };
