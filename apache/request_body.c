/* SPDX-License-Identifier: Apache-2.0 */
#include "mod_usher.h"

#include "http_protocol.h"
#include "http_request.h"
#include "apr_file_io.h"
#include "apr_portable.h"

#include <errno.h>
#include <unistd.h>

APLOG_USE_MODULE(usher);

#define READ_AT_ONCE 65536

typedef struct {
    request_rec *r;
    usher_body *body;
    apr_size_t room; /* of body->bytes */
    apr_off_t limit; /* -1 = none */
} spool;

static int open_file(spool *s)
{
    const char *dir;
    char *name;
    apr_file_t *file;
    apr_os_file_t fd;
    apr_status_t rv = apr_temp_dir_get(&dir, s->r->pool);

    if (rv == APR_SUCCESS) {
        name = apr_pstrcat(s->r->pool, dir, "/usher-body-XXXXXX", NULL);
        rv = apr_file_mktemp(&file, name,
                             APR_FOPEN_CREATE | APR_FOPEN_READ | APR_FOPEN_WRITE | APR_FOPEN_EXCL
                                 | APR_FOPEN_BINARY,
                             s->r->pool);
    }
    if (rv != APR_SUCCESS) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, s->r,
                      "cannot open a temporary file for the request body");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    apr_file_remove(name, s->r->pool);
    apr_os_file_get(&fd, file);
    s->body->fd = fd;
    return OK;
}

static int write_file(spool *s, const char *data, apr_size_t length)
{
    while (length > 0) {
        ssize_t n = write(s->body->fd, data, length);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, errno, s->r,
                          "cannot write the request body to a temporary file");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        data += n;
        length -= (apr_size_t)n;
    }
    return OK;
}

static void make_room(spool *s, apr_size_t wanted)
{
    apr_size_t room = s->room ? s->room : 4096;
    char *bytes;

    if (wanted <= s->room) {
        return;
    }
    while (room < wanted) {
        room *= 2;
    }
    bytes = apr_palloc(s->r->pool, room);
    if (s->body->length) {
        memcpy(bytes, s->body->bytes, (apr_size_t)s->body->length);
    }
    s->body->bytes = bytes;
    s->room = room;
}

static int check_length(const spool *s, apr_off_t length)
{
    if (s->limit < 0 || length <= s->limit) {
        return OK;
    }
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, s->r,
                  "the request body is longer than FcgidMaxRequestLen, %" APR_OFF_T_FMT " bytes",
                  s->limit);
    return HTTP_REQUEST_ENTITY_TOO_LARGE;
}

static int add(spool *s, const char *data, apr_size_t length)
{
    usher_body *body = s->body;
    int status;

    if ((status = check_length(s, body->length + (apr_off_t)length)) != OK) {
        return status;
    }
    if (body->fd < 0 && body->length + (apr_off_t)length <= USHER_BODY_IN_MEMORY) {
        make_room(s, (apr_size_t)body->length + length);
        memcpy(body->bytes + body->length, data, length);
        body->length += (apr_off_t)length;
        return OK;
    }
    if (body->fd < 0) {
        if ((status = open_file(s)) != OK
            || (status = write_file(s, body->bytes, (apr_size_t)body->length)) != OK) {
            return status;
        }
    }
    body->length += (apr_off_t)length;
    return write_file(s, data, length);
}

int usher_body_read(request_rec *r, usher_body *body, apr_off_t limit)
{
    spool s = { r, body, 0, limit };
    apr_bucket_brigade *bb;
    int seen_eos = 0;
    int status;

    body->length = 0;
    body->bytes = NULL;
    body->fd = -1;

    /* the body belongs to the main request, unless mod_request kept it for all */
    if (r->main && !r->kept_body) {
        return OK;
    }
    if ((status = ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK)) != OK) {
        return status;
    }
    if ((status = check_length(&s, r->remaining)) != OK) {
        return status;
    }

    if (r->remaining > 0 && r->remaining <= USHER_BODY_IN_MEMORY) {
        make_room(&s, (apr_size_t)r->remaining);
    }
    bb = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    while (!seen_eos) {
        apr_bucket *e;
        apr_status_t rv =
            ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, APR_BLOCK_READ, READ_AT_ONCE);

        if (rv != APR_SUCCESS) {
            ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "cannot read the request body");
            return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        }
        for (e = APR_BRIGADE_FIRST(bb); e != APR_BRIGADE_SENTINEL(bb); e = APR_BUCKET_NEXT(e)) {
            const char *data;
            apr_size_t length;

            if (APR_BUCKET_IS_EOS(e)) {
                seen_eos = 1;
                break;
            }
            if (APR_BUCKET_IS_METADATA(e)) {
                continue;
            }
            rv = apr_bucket_read(e, &data, &length, APR_BLOCK_READ);
            if (rv != APR_SUCCESS) {
                ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "cannot read the request body");
                return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
            }
            if (length > 0 && (status = add(&s, data, length)) != OK) {
                return status;
            }
        }
        apr_brigade_cleanup(bb);
    }
    apr_brigade_destroy(bb);
    return OK;
}
