/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call: a place at an instance, one request there, and once more at another instance when
 * nothing came of it.
 */
#include "mod_usher.h"
#include "connections.h"
#include "fcgi_client.h"

#include "apr_atomic.h"
#include "http_core.h"
#include "http_protocol.h"
#include "mod_core.h"
#include "os/os.h"

#include <errno.h>
#include <poll.h>

APLOG_USE_MODULE(usher);

#define WAIT_MS               200  /* between looks whether a waiting client is still there */
#define CONNECT_MS            3000 /* for one host: then another one may answer */
#define CLIENT_CLOSED_REQUEST 499  /* for access logs: nobody is there to read it */

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

static int tell(request_rec *r, const char *type, const char *body, apr_size_t length)
{
    r->status = HTTP_SERVICE_UNAVAILABLE;
    ap_set_content_type(r, type);
    apr_table_setn(r->err_headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)length);
    ap_rwrite(body, (int)length, r);
    return DONE; /* OK would mean that there is a place */
}

/* The page of a class that is to show its errors; else, where no ErrorDocument is configured, some
 * words with the id of the start that failed. What the handler returns. */
static int tell_refused(usher_call *call)
{
    request_rec *r = call->r;
    char text[256], *page;
    apr_size_t length;

    if (call->role != AP_FCGI_RESPONDER || r->main != NULL) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    page = apr_palloc(r->pool, USHER_PAGE_MAX);
    length = usher_refused_page(call->channel, &call->place, page);
    if (length) {
        return tell(r, "text/html; charset=utf-8", page, length);
    }
    if (ap_response_code_string(r, ap_index_of_response(HTTP_SERVICE_UNAVAILABLE))) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    length = usher_refused_text(call->place.reason, text, sizeof(text));
    return tell(r, "text/plain; charset=utf-8", text, length);
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
    if (place->verdict_status == HTTP_FORBIDDEN || place->verdict_status == HTTP_NOT_FOUND) {
        return place->verdict_status;
    }
    return tell_refused(call);
}

static apr_uint32_t connect_timeout(const usher_call *call)
{
    return call->limits.connect_timeout_ms
               ? call->limits.connect_timeout_ms
               : (apr_uint32_t)apr_time_as_msec(call->r->server->timeout);
}

/* Connect to the place that was taken. OK, a status, or SUSPENDED: take another one. */
static int connect_place(usher_call *call, int may_be_kept)
{
    apr_uint32_t timeout = connect_timeout(call);
    apr_uint64_t waited_ms;
    int error;

    call->is_kept =
        may_be_kept && (call->limits.flags & USHER_CLASS_KEEP_CONN) && usher_connection_take(call);
    if (call->is_kept) {
        return OK;
    }
    error = usher_client_connect(call, timeout < CONNECT_MS ? timeout : CONNECT_MS);
    waited_ms = (usher_os_now_ns() - call->began_ns) / 1000000;
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

static void start_answer(usher_call *call)
{
    usher_answer_init(&call->answer, call->r, call->key,
                      (call->limits.flags & USHER_CLASS_NPH) != 0);
    call->answer.protocol = call->class->protocol;
    if (call->role == AP_FCGI_AUTHORIZER) {
        usher_answer_expect_verdict(&call->answer, call->passes_denial);
    }
}

/* With a place. All that can be done before is: connecting wakes the program, which goes to sleep
 * again if its request is not there by then. */
static int use_place(usher_call *call, int has_waited)
{
    note_place(call);
    if (has_waited && client_is_gone(call->r->connection)) {
        return client_left(call);
    }
    start_answer(call);
    return connect_place(call, 1);
}

/* Wait for a place and connect to it. OK, or what the handler returns. */
static int take_place(usher_call *call)
{
    apr_uint64_t looked_ns = usher_os_now_ns(); /* whether the client is there */
    int has_waited = 0;
    usher_status_t status;
    int rv;

    call->began_ns = looked_ns;
    call->in_channel = 1;
    status = usher_request_begin(call->channel, &call->place, call->key, strlen(call->key));
    call->in_channel = 0;
    if (status != USHER_OK) {
        return unavailable(call, "its path is too long for the channel");
    }
    call->has_place = 1;
    apr_atomic_inc32(&calls);

    for (;;) {
        call->address_length = sizeof(call->address);
        call->in_channel = 1;
        status = usher_request_admit(call->channel, &call->place, &call->address,
                                     &call->address_length, &call->limits);
        call->in_channel = 0;
        switch (status) {
        case USHER_OK:
            if ((rv = use_place(call, has_waited)) != SUSPENDED) {
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
        has_waited = 1;
        if (usher_os_now_ns() - looked_ns >= WAIT_MS * 1000000) {
            if (client_is_gone(call->r->connection)) {
                note_place(call);
                return client_left(call);
            }
            looked_ns = usher_os_now_ns();
        }
    }
}

/* ---- the exchange ------------------------------------------------------ */

/* May the same request be made twice? RFC 9110 §9.2.2; a question to an authorizer may. */
static int is_idempotent(const usher_call *call)
{
    if (call->role == AP_FCGI_AUTHORIZER) {
        return 1;
    }
    switch (call->r->method_number) {
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

/* The program may be busy still: then it keeps its place. See connections.h. */
static void leave_place(usher_call *call, usher_outcome_t outcome)
{
    if (call->is_sent && usher_connection_leave(call, outcome)) {
        call->has_place = 0;
        return;
    }
    usher_client_close(call);
    end_place(call, outcome);
}

/* The program closed a kept connection when it was about to be used. */
static int is_stale(const usher_call *call, usher_call_result result)
{
    return result == USHER_CALL_BROKEN && call->is_kept && !call->answer.any
           && (!call->any_sent || is_idempotent(call));
}

/* One try at one instance. SUSPENDED: nothing came of it, and another one may be tried. */
static int try_call(usher_call *call, int may_retry)
{
    usher_call_result result;
    int status;

    if ((status = take_place(call)) != OK) {
        return status;
    }
    result = usher_client_run(call, &status);
    if (is_stale(call, result)) {
        usher_client_close(call);
        if ((status = connect_place(call, 0)) != OK) {
            return status;
        }
        result = usher_client_run(call, &status);
    }

    switch (result) {
    case USHER_CALL_COMPLETE:
        if (call->is_clean && (call->limits.flags & USHER_CLASS_KEEP_CONN)) {
            usher_connection_keep(call);
        }
        usher_client_close(call); /* at once: libfcgi lingers until we do */
        end_place(call, USHER_OUTCOME_FINISHED);
        return usher_answer_finish(&call->answer);

    case USHER_CALL_CLIENT_GONE:
        leave_place(call, USHER_OUTCOME_ABORTED);
        return call->role == AP_FCGI_AUTHORIZER ? DONE : OK;

    case USHER_CALL_SILENT:
        leave_place(call, USHER_OUTCOME_FAILED);
        break;

    case USHER_CALL_BROKEN:
        usher_client_close(call);
        end_place(call, USHER_OUTCOME_FAILED);
        if (may_retry && !call->answer.any && is_idempotent(call)) {
            return SUSPENDED;
        }
        break;

    default:
        usher_client_close(call);
        end_place(call,
                  result == USHER_CALL_TIMEOUT ? USHER_OUTCOME_TIMED_OUT : USHER_OUTCOME_FAILED);
        break;
    }
    return usher_answer_break(&call->answer, status);
}

usher_call *usher_call_make(request_rec *r, int role)
{
    usher_call *call = apr_pcalloc(r->pool, sizeof(*call));

    call->r = r;
    call->role = role;
    call->fd = -1;
    call->body.fd = -1;
    call->channel = usher_process.channel;
    return call;
}

int usher_call_check(usher_call *call)
{
    if (usher_process.attached) {
        return OK;
    }
    return unavailable(call,
                       usher_process.reason ? usher_process.reason : "this process has no channel");
}

int usher_call_run(usher_call *call)
{
    request_rec *r = call->r;
    int status;

    apr_pool_cleanup_register(r->pool, call, end_call, apr_pool_cleanup_null);
    if ((status = try_call(call, 1)) == SUSPENDED) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "class \"%s\": trying another instance",
                      call->key);
        status = try_call(call, 0);
    }
    return status;
}

int usher_calls_are_running(void)
{
    return apr_atomic_read32(&calls) != 0;
}

void usher_connection_was_left(void)
{
    apr_atomic_dec32(&calls);
}
