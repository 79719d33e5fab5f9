/* SPDX-License-Identifier: Apache-2.0 */
#include "httpd_parts.h"

#include "http_config.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "util_fcgi.h"
#include "util_filter.h"
#include "util_script.h"

#include "apr_buckets.h"
#include "apr_general.h"
#include "apr_lib.h"
#include "apr_strings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

module AP_MODULE_DECLARE_DATA usher_module;

request_rec *httpd_make_request(apr_pool_t *pool, httpd_output *output) {
    request_rec *r = apr_pcalloc(pool, sizeof(*r));
    conn_rec *c = apr_pcalloc(pool, sizeof(*c));
    ap_filter_t *filter = apr_pcalloc(pool, sizeof(*filter));
    static ap_filter_rec_t at_connection = {.name = "core", .ftype = AP_FTYPE_CONNECTION};

    memset(output, 0, sizeof(*output));
    filter->frec = &at_connection;
    filter->ctx = output;
    c->pool = pool;
    c->bucket_alloc = apr_bucket_alloc_create(pool);
    r->pool = pool;
    r->connection = c;
    r->status = HTTP_OK;
    r->method = "GET";
    r->method_number = M_GET;
    r->headers_in = apr_table_make(pool, 4);
    r->headers_out = apr_table_make(pool, 4);
    r->err_headers_out = apr_table_make(pool, 4);
    r->subprocess_env = apr_table_make(pool, 4);
    r->notes = apr_table_make(pool, 4);
    r->output_filters = r->proto_output_filters = filter;
    return r;
}

/* ---- memory ------------------------------------------------------------ */

typedef struct piece {
    struct piece *next;
    void *memory;
} piece;

static piece *pieces;
static piece *own_pieces; /* of APR itself: these and all before them stay */

#pragma GCC visibility push(default) /* libapr's own calls come here as well */

APR_DECLARE(void *) apr_palloc(apr_pool_t *pool, apr_size_t size) {
    piece *taken = malloc(sizeof(*taken));

    taken->next = pieces;
    taken->memory = malloc(size);
    pieces = taken;
    return taken->memory;
}

#undef apr_pcalloc
APR_DECLARE(void *) apr_pcalloc(apr_pool_t *pool, apr_size_t size) {
    return memset(apr_palloc(pool, size), 0, size);
}

#pragma GCC visibility pop

int httpd_begin(void) {
    apr_status_t status = apr_initialize();

    own_pieces = pieces;
    return status == APR_SUCCESS ? 0 : 1;
}

void httpd_free_memory(void) {
    while (pieces != own_pieces) {
        piece *next = pieces->next;

        free(pieces->memory);
        free(pieces);
        pieces = next;
    }
}

/* ---- records ----------------------------------------------------------- */

AP_DECLARE(void)
ap_fcgi_header_fields_from_array(unsigned char *version, unsigned char *type, apr_uint16_t *id,
                                 apr_uint16_t *content, unsigned char *padding, unsigned char a[]) {
    *version = a[0];
    *type = a[1];
    *id = (apr_uint16_t)(a[2] << 8 | a[3]);
    *content = (apr_uint16_t)(a[4] << 8 | a[5]);
    *padding = a[6];
}

/* Requests are not made here. */
AP_DECLARE(void)
ap_fcgi_fill_in_header(ap_fcgi_header *header, unsigned char type, apr_uint16_t id,
                       apr_uint16_t content, unsigned char padding) {
    abort();
}

AP_DECLARE(void) ap_fcgi_header_to_array(ap_fcgi_header *header, unsigned char a[]) {
    abort();
}

AP_DECLARE(void)
ap_fcgi_fill_in_request_body(ap_fcgi_begin_request_body *body, int role, unsigned char flags) {
    abort();
}

AP_DECLARE(void)
ap_fcgi_begin_request_body_to_array(ap_fcgi_begin_request_body *body, unsigned char a[]) {
    abort();
}

/* ---- headers ----------------------------------------------------------- */

static void take_header(request_rec *r, const char *name, const char *value) {
    if (!strcasecmp(name, "Status")) {
        r->status = atoi(value);
        r->status_line = apr_pstrdup(r->pool, value);
    } else if (!strcasecmp(name, "Content-Type")) {
        r->content_type = apr_pstrdup(r->pool, value);
    } else if (!strcasecmp(name, "Set-Cookie")) {
        apr_table_add(r->err_headers_out, name, value);
    } else if (!strcasecmp(name, "Location") || !strncasecmp(name, "Content-", 8) ||
               !strcasecmp(name, "Transfer-Encoding")) {
        apr_table_set(r->headers_out, name, value);
    } else {
        apr_table_merge(r->err_headers_out, name, value);
    }
}

AP_DECLARE(int)
ap_scan_script_header_err_core_ex(request_rec *r, char *buffer, int (*next)(char *, int, void *),
                                  void *data, int module_index) {
    char own[MAX_STRING_LEN];
    char *line = buffer ? buffer : own;

    for (;;) {
        char *colon, *value, *end;

        if (next(line, MAX_STRING_LEN - 1, data) == 0) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        end = line + strlen(line);
        while (end > line && (end[-1] == '\n' || end[-1] == '\r')) {
            *--end = '\0';
        }
        if (*line == '\0') {
            const char *condition = apr_table_get(r->headers_out, "Content-Language");

            return condition && *condition == '!' ? HTTP_NOT_MODIFIED : OK; /* as a condition may */
        }
        colon = strchr(line, ':');
        if (!colon) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        *colon = '\0';
        for (value = colon + 1; apr_isspace(*value); value++)
            ;
        take_header(r, line, value);
    }
}

AP_DECLARE(int) ap_parse_strict_length(apr_off_t *length, const char *text) {
    char *end;

    errno = 0;
    *length = apr_isdigit(*text) ? strtoll(text, &end, 10) : -1;
    return *length >= 0 && errno == 0 && *end == '\0';
}

/* ---- the way out ------------------------------------------------------- */

AP_DECLARE(apr_status_t) ap_pass_brigade(ap_filter_t *filter, apr_bucket_brigade *bb) {
    httpd_output *output = filter->ctx;
    apr_bucket *e;

    for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb); e = APR_BUCKET_NEXT(e)) {
        const char *data;
        apr_size_t length;

        if (APR_BUCKET_IS_EOS(e)) {
            output->has_ended = 1;
        } else if (AP_BUCKET_IS_ERROR(e)) {
            output->has_broken = 1;
        } else if (apr_bucket_read(e, &data, &length, APR_BLOCK_READ) == APR_SUCCESS) {
            output->bytes += (apr_off_t)length;
        }
    }
    return APR_SUCCESS;
}

/* Metadata that reads as nothing, like httpd's own. */
static apr_status_t read_nothing(apr_bucket *e, const char **data, apr_size_t *length,
                                 apr_read_type_e block) {
    *data = NULL;
    *length = 0;
    return APR_SUCCESS;
}

#define METADATA(name)                                                                 \
    {                                                                                  \
        name, 5, APR_BUCKET_METADATA, apr_bucket_destroy_noop, read_nothing,           \
            apr_bucket_setaside_noop, apr_bucket_split_notimpl, apr_bucket_simple_copy \
    }

const apr_bucket_type_t ap_bucket_type_error = METADATA("ERROR");
static const apr_bucket_type_t end_of_connection = METADATA("EOC");

static apr_bucket *make_bucket(const apr_bucket_type_t *type, apr_bucket_alloc_t *list) {
    apr_bucket *b = apr_bucket_alloc(sizeof(*b), list);

    memset(b, 0, sizeof(*b));
    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    b->type = type;
    return b;
}

AP_DECLARE(apr_bucket *)
ap_bucket_error_create(int error, const char *text, apr_pool_t *pool, apr_bucket_alloc_t *list) {
    return make_bucket(&ap_bucket_type_error, list);
}

AP_DECLARE(apr_bucket *) ap_bucket_eoc_create(apr_bucket_alloc_t *list) {
    return make_bucket(&end_of_connection, list);
}

AP_DECLARE(void) ap_internal_redirect_handler(const char *url, request_rec *r) {
    if (*url != '/') {
        abort();
    }
}

AP_DECLARE(const char *) ap_auth_type(request_rec *r) {
    return "Basic";
}

AP_DECLARE(void) ap_note_auth_failure(request_rec *r) {
    apr_table_setn(r->err_headers_out, "WWW-Authenticate", "Basic");
}

/* Formatted, so that a sanitizer sees what would be logged. */
AP_DECLARE(void)
ap_log_rerror_(const char *file, int line, int module_index, int level, apr_status_t status,
               const request_rec *r, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    apr_pvsprintf(r->pool, format, arguments);
    va_end(arguments);
}
