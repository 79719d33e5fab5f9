/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_usher.h"

#include "http_connection.h"
#include "http_protocol.h"
#include "http_request.h"
#include "util_filter.h"
#include "util_script.h"
#include "apr_lib.h"

APLOG_USE_MODULE(usher);

void usher_answer_init(usher_answer *a, request_rec *r, const char *class_key, int nph)
{
    memset(a, 0, sizeof(*a));
    a->r = r;
    a->class_key = class_key;
    a->nph = nph;
    a->state = USHER_ANSWER_HEADERS;
    a->line_is_empty = 1;
    a->declared = -1;
    a->bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
}

void usher_answer_expect_verdict(usher_answer *a, int passes_denial)
{
    a->nph = 0;
    a->is_verdict = 1;
    a->passes_denial = passes_denial;
}

/* ---- headers ----------------------------------------------------------- */

/* Bytes up to and with the empty line that ends the headers, 0 = not in these. */
static apr_size_t find_end_of_headers(usher_answer *a, const char *data, apr_size_t length)
{
    apr_size_t i;

    for (i = 0; i < length; i++) {
        if (data[i] == '\n') {
            if (a->line_is_empty) {
                return i + 1;
            }
            a->line_is_empty = 1;
        }
        else if (data[i] != '\r') {
            a->line_is_empty = 0;
        }
    }
    return 0;
}

static void keep_headers(usher_answer *a, const char *data, apr_size_t length)
{
    if (a->block_length + length > a->block_room) {
        char *block;

        a->block_room = a->block_room ? a->block_room * 2 : 8192;
        while (a->block_room < a->block_length + length) {
            a->block_room *= 2;
        }
        block = apr_palloc(a->r->pool, a->block_room);
        if (a->block_length) {
            memcpy(block, a->block, a->block_length);
        }
        a->block = block;
    }
    memcpy(a->block + a->block_length, data, length);
    a->block_length += length;
}

typedef struct {
    const char *at, *end;
    request_rec *r;
    apr_table_t *long_lines; /* headers httpd's parser has no room for */
    int malformed;           /* one of those says what only the parser may say */
} header_lines;

static int is_for_parser(const char *name)
{
    return !strncasecmp(name, "Content-", 8) || !strcasecmp(name, "Status")
           || !strcasecmp(name, "Transfer-Encoding") || !strcasecmp(name, "ETag")
           || !strcasecmp(name, "Last-Modified");
}

static void keep_long_line(header_lines *lines, const char *line, apr_size_t length)
{
    apr_pool_t *p = lines->r->pool;
    const char *colon = memchr(line, ':', length);
    const char *end = line + length;
    const char *name, *value;

    if (!colon) {
        lines->malformed = 1;
        return;
    }
    name = apr_pstrmemdup(p, line, (apr_size_t)(colon - line));
    for (value = colon + 1; value < end && apr_isspace(*value); value++)
        ;
    while (end > value && apr_isspace(end[-1])) {
        end--;
    }
    lines->malformed |= is_for_parser(name);
    apr_table_addn(lines->long_lines, name, apr_pstrmemdup(p, value, (apr_size_t)(end - value)));
}

/* The next line without its end, as ap_scan_script_header_err_core reads them. */
static int next_header_line(char *buffer, int size, void *data)
{
    header_lines *lines = data;

    while (lines->at < lines->end) {
        const char *line = lines->at;
        const char *newline = memchr(line, '\n', (apr_size_t)(lines->end - line));
        apr_size_t length = (apr_size_t)((newline ? newline : lines->end) - line);

        lines->at = newline ? newline + 1 : lines->end;
        while (length > 0 && line[length - 1] == '\r') {
            length--;
        }
        if (length < (apr_size_t)size) {
            memcpy(buffer, line, length);
            buffer[length] = '\0';
            return 1;
        }
        keep_long_line(lines, line, length);
    }
    buffer[0] = '\0';
    return 0;
}

/* An answer that carries its own status line, on a connection that cannot pass it on raw. */
static void skip_status_line(usher_answer *a, header_lines *lines)
{
    const char *newline = memchr(lines->at, '\n', (apr_size_t)(lines->end - lines->at));

    if (newline && newline - lines->at > 12 && !strncasecmp(lines->at, "HTTP/", 5)) {
        const char *status = memchr(lines->at, ' ', (apr_size_t)(newline - lines->at));

        if (status && apr_isdigit(status[1])) {
            a->r->status_line =
                apr_pstrmemdup(a->r->pool, status + 1, (apr_size_t)(newline - status - 1));
            a->r->status = atoi(a->r->status_line);
            lines->at = newline + 1;
        }
    }
}

/* To where the parser puts its like. */
static int add_long_line(void *data, const char *name, const char *value)
{
    request_rec *r = data;

    if (!strcasecmp(name, "Location")) {
        apr_table_setn(r->headers_out, name, value);
    }
    else if (!strcasecmp(name, "Set-Cookie")) {
        apr_table_addn(r->err_headers_out, name, value);
    }
    else {
        apr_table_mergen(r->err_headers_out, name, value);
    }
    return 1;
}

static void save_response(usher_answer *a)
{
    a->saved_headers = apr_table_copy(a->r->pool, a->r->headers_out);
    a->saved_err_headers = apr_table_copy(a->r->pool, a->r->err_headers_out);
    a->saved_content_type = a->r->content_type;
}

/* As if the program had not said anything: what follows is an error of our own. */
static void restore_response(usher_answer *a)
{
    request_rec *r = a->r;

    if (a->saved_headers) {
        r->headers_out = a->saved_headers;
        r->err_headers_out = a->saved_err_headers;
        r->content_type = a->saved_content_type;
    }
    r->status = HTTP_OK;
    r->status_line = NULL;
}

/* The records frame the body. The program's own length is kept for what httpd must send before
 * the end is seen, and then held to. */
static void take_content_length(usher_answer *a)
{
    request_rec *r = a->r;
    const char *value = apr_table_get(r->headers_out, "Content-Length");

    apr_table_unset(r->headers_out, "Transfer-Encoding");
    if (!value || apr_table_get(r->subprocess_env, AP_TRUST_CGILIKE_CL_ENVVAR)) {
        return;
    }
    if (!ap_parse_strict_length(&a->declared, value)) {
        a->declared = -1;
        apr_table_unset(r->headers_out, "Content-Length");
    }
    else if (r->header_only || AP_STATUS_IS_HEADER_ONLY(r->status)) {
        a->declared = -1;
    }
}

static const char *take_header(request_rec *r, const char *name)
{
    const char *value = apr_table_get(r->err_headers_out, name);

    if (!value) {
        value = apr_table_get(r->headers_out, name);
    }
    apr_table_unset(r->err_headers_out, name);
    apr_table_unset(r->headers_out, name);
    return value;
}

static void note_header(request_rec *r, const char *header, const char *note, const char *variable)
{
    const char *value = take_header(r, header);

    if (value) {
        apr_table_setn(r->notes, note, value);
        apr_table_setn(r->subprocess_env, variable, value);
    }
}

/* What a gateway says is for access logs, or for nginx. */
static void take_gateway_headers(usher_answer *a)
{
    switch (a->protocol) {
    case USHER_PROTOCOL_AJP:
        note_header(a->r, "X-Usher-Backend", "usher_backend", "USHER_BACKEND");
        note_header(a->r, "X-Usher-Route", "usher_route", "USHER_ROUTE");
        break;
    case USHER_PROTOCOL_CGI:
        take_header(a->r, "X-Accel-Redirect"); /* beside a Location that means the same */
        break;
    default:
        break;
    }
}

static int end_with(usher_answer *a, int status)
{
    a->state = USHER_ANSWER_DISCARD;
    a->status = status;
    return OK;
}

/* The program's headers alone. OK, or what the scan says. */
static int scan_verdict(usher_answer *a, const char *block, apr_size_t length)
{
    request_rec *r = a->r;
    header_lines lines = { block, block + length, r, apr_table_make(r->pool, 1), 0 };
    char line[MAX_STRING_LEN];
    int method = r->method_number;
    int status;

    r->headers_out = apr_table_make(r->pool, 4);
    r->err_headers_out = apr_table_make(r->pool, 4);
    r->content_type = NULL;
    r->method_number = M_INVALID; /* If-Modified-Since and its like are about another answer */
    status =
        ap_scan_script_header_err_core_ex(r, line, next_header_line, &lines, APLOG_MODULE_INDEX);
    r->method_number = method;
    apr_table_do(add_long_line, r, lines.long_lines, NULL);
    return lines.malformed || r->status < 200 || r->status > 999 ? HTTP_BAD_GATEWAY : status;
}

static int parse_verdict(usher_answer *a, const char *block, apr_size_t length)
{
    request_rec *r = a->r;
    int status;

    save_response(a);
    if (scan_verdict(a, block, length) != OK) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "class \"%s\": the answer has a malformed header", a->class_key);
        return HTTP_BAD_GATEWAY;
    }
    if (r->status == HTTP_OK && apr_table_get(r->headers_out, "Location")) {
        r->status = HTTP_MOVED_TEMPORARILY;
    }
    if (r->status == HTTP_OK) {
        a->granted = 1;
        a->variables = r->err_headers_out;
        restore_response(a);
        return end_with(a, OK);
    }

    a->denied = 1;
    if (!a->passes_denial) {
        status = r->status;
        restore_response(a);
        return end_with(a, status);
    }
    r->headers_out = apr_table_overlay(r->pool, r->headers_out, a->saved_headers);
    r->err_headers_out = apr_table_overlay(r->pool, r->err_headers_out, a->saved_err_headers);
    if (r->status == HTTP_UNAUTHORIZED && ap_auth_type(r)
        && !apr_table_get(r->err_headers_out, "WWW-Authenticate")) {
        ap_note_auth_failure(r);
    }
    take_content_length(a);
    a->state = USHER_ANSWER_BODY;
    return OK;
}

static int parse_headers(usher_answer *a, const char *block, apr_size_t length)
{
    request_rec *r = a->r;
    header_lines lines = { block, block + length, r, apr_table_make(r->pool, 1), 0 };
    char line[MAX_STRING_LEN];
    const char *location;
    int status;

    if (a->is_verdict) {
        return parse_verdict(a, block, length);
    }
    save_response(a);
    if (a->nph) {
        skip_status_line(a, &lines);
    }
    status =
        ap_scan_script_header_err_core_ex(r, line, next_header_line, &lines, APLOG_MODULE_INDEX);
    apr_table_do(add_long_line, r, lines.long_lines, NULL);
    take_gateway_headers(a);
    take_content_length(a);

    if (status == HTTP_NOT_MODIFIED) { /* the client's copy is as good: not an error */
        r->status = status;
        return end_with(a, OK);
    }
    if (status == HTTP_PRECONDITION_FAILED) {
        return end_with(a, status);
    }
    if (status != OK || lines.malformed || r->status < 200 || r->status > 999) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "class \"%s\": the answer has a malformed header", a->class_key);
        return HTTP_BAD_GATEWAY;
    }

    location = apr_table_get(r->headers_out, "Location");
    if (location && r->status == HTTP_OK) {
        if (*location == '/') {
            a->redirect = location;
            return end_with(a, OK);
        }
        return end_with(a, HTTP_MOVED_TEMPORARILY);
    }
    a->state = USHER_ANSWER_BODY;
    return OK;
}

/* The program speaks to the client itself: no filter above the connection may touch it. */
static void pass_raw(usher_answer *a)
{
    request_rec *r = a->r;
    ap_filter_t *f = r->proto_output_filters;

    while (f && f->frec->ftype < AP_FTYPE_CONNECTION) {
        f = f->next;
    }
    r->output_filters = r->proto_output_filters = f;
    r->connection->keepalive = AP_CONN_CLOSE;
    a->state = USHER_ANSWER_BODY;
}

/* ---- body -------------------------------------------------------------- */

static void add_body(usher_answer *a, const char *data, apr_size_t length)
{
    if (a->state == USHER_ANSWER_BODY && !a->full && length > 0) {
        apr_brigade_write(a->bb, NULL, NULL, data, length);
        a->queued += (apr_off_t)length;
        a->body_bytes += (apr_off_t)length;
    }
}

int usher_answer_add(usher_answer *a, const char *data, apr_size_t length)
{
    apr_size_t head;
    int status;

    a->any = 1;
    if (a->state == USHER_ANSWER_HEADERS && a->nph && !a->r->connection->master) {
        pass_raw(a);
    }
    if (a->state != USHER_ANSWER_HEADERS) {
        add_body(a, data, length);
        return OK;
    }

    head = find_end_of_headers(a, data, length);
    if (head == 0) {
        if (a->block_length + length > USHER_HEADERS_MAX) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, a->r,
                          "class \"%s\": the answer's headers are longer than %d bytes",
                          a->class_key, USHER_HEADERS_MAX);
            return HTTP_BAD_GATEWAY;
        }
        keep_headers(a, data, length);
        return OK;
    }
    if (a->block_length == 0) {
        status = parse_headers(a, data, head);
    }
    else {
        keep_headers(a, data, head);
        status = parse_headers(a, a->block, a->block_length);
    }
    add_body(a, data + head, length - head);
    return status;
}

/* Cut off what goes beyond the length that the client was told. */
static void cut_surplus(usher_answer *a, apr_bucket_brigade *bb)
{
    apr_off_t surplus = a->body_bytes - a->declared;
    apr_bucket *e;

    if (a->declared < 0 || surplus <= 0) {
        return;
    }
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, a->r,
                  "class \"%s\": the answer is longer than its Content-Length, the rest is cut off",
                  a->class_key);
    surplus = surplus < a->queued ? surplus : a->queued;
    if (apr_brigade_partition(bb, a->queued - surplus, &e) == APR_SUCCESS) {
        while (e != APR_BRIGADE_SENTINEL(bb)) {
            apr_bucket *next = APR_BUCKET_NEXT(e);

            apr_bucket_delete(e);
            e = next;
        }
    }
    a->queued -= surplus;
    a->body_bytes = a->declared;
    a->full = 1;
}

static apr_status_t pass_brigade(usher_answer *a, apr_bucket_brigade *bb)
{
    conn_rec *c = a->r->connection;
    apr_status_t rv;

    a->passed = 1;
    rv = ap_pass_brigade(a->r->output_filters, bb);
    apr_brigade_cleanup(bb);
    return rv == APR_SUCCESS && c->aborted ? APR_ECONNABORTED : rv;
}

apr_status_t usher_answer_pass(usher_answer *a, apr_size_t most, int flush)
{
    apr_bucket_alloc_t *alloc = a->r->connection->bucket_alloc;
    apr_bucket_brigade *rest = NULL;
    apr_status_t rv;

    cut_surplus(a, a->bb);
    if (a->queued > (apr_off_t)most) {
        apr_bucket *e;

        rv = apr_brigade_partition(a->bb, (apr_off_t)most, &e);
        if (rv != APR_SUCCESS) {
            return rv;
        }
        rest = apr_brigade_split(a->bb, e);
        a->queued -= (apr_off_t)most;
    }
    else {
        a->queued = 0;
    }
    if (flush) {
        APR_BRIGADE_INSERT_TAIL(a->bb, apr_bucket_flush_create(alloc));
    }
    a->unflushed = !flush;
    rv = pass_brigade(a, a->bb);
    if (rest) {
        APR_BRIGADE_CONCAT(a->bb, rest);
        apr_brigade_destroy(rest);
    }
    return rv;
}

/* ---- the end ----------------------------------------------------------- */

static int redirect_locally(usher_answer *a)
{
    request_rec *r = a->r;

    /* the body is read: the redirected request is a GET without one */
    r->method = "GET";
    r->method_number = M_GET;
    apr_table_unset(r->headers_in, "Content-Length");
    ap_internal_redirect_handler(a->redirect, r);
    return OK;
}

/* Then httpd's page, or the one of ErrorDocument, is the body. */
static int deny_without_body(usher_answer *a)
{
    request_rec *r = a->r;
    int status = r->status;

    apr_table_unset(r->headers_out, "Content-Length");
    r->content_type = a->saved_content_type;
    r->status = HTTP_OK;
    r->status_line = NULL;
    return status;
}

int usher_answer_finish(usher_answer *a)
{
    request_rec *r = a->r;

    switch (a->state) {
    case USHER_ANSWER_HEADERS:
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r, "class \"%s\": the answer ended %s its headers",
                      a->class_key, a->any ? "within" : "before");
        return usher_answer_break(a, HTTP_BAD_GATEWAY);

    case USHER_ANSWER_DISCARD:
        return a->redirect ? redirect_locally(a) : a->status;

    default:
        break;
    }
    if (a->is_verdict && !a->passed && a->body_bytes == 0) {
        return deny_without_body(a);
    }
    if (a->declared >= 0 && !a->passed) {
        apr_table_unset(r->headers_out, "Content-Length"); /* httpd counts itself */
    }
    else if (a->declared > a->body_bytes) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "class \"%s\": the answer is shorter than its Content-Length", a->class_key);
        return usher_answer_break(a, HTTP_BAD_GATEWAY);
    }
    else {
        cut_surplus(a, a->bb);
    }
    APR_BRIGADE_INSERT_TAIL(a->bb, apr_bucket_eos_create(r->connection->bucket_alloc));
    pass_brigade(a, a->bb);
    return OK;
}

int usher_answer_break(usher_answer *a, int status)
{
    request_rec *r = a->r;
    conn_rec *c = r->connection;

    a->granted = a->denied = 0;
    if (!a->passed) {
        apr_brigade_cleanup(a->bb);
        restore_response(a);
        return status;
    }

    r->no_cache = 1;
    if (r->main) {
        r->main->no_cache = 1;
    }
    c->keepalive = AP_CONN_CLOSE;
    /* the chunk filter leaves out the last chunk at this status only */
    APR_BRIGADE_INSERT_TAIL(
        a->bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(a->bb, ap_bucket_eoc_create(c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(a->bb, apr_bucket_eos_create(c->bucket_alloc));
    pass_brigade(a, a->bb);
    r->status = status; /* for the access log */
    return OK;
}
