/* SPDX-License-Identifier: Apache-2.0 */

/*
 * usher_status: what the channel tells, with or without a manager.  The page
 * is written a buffer at a time, as fast as its client reads it, and other
 * requests have their turn after each.
 */


#include "ngx_http_usher_module.h"

#include "status/status.h"


#define NGX_HTTP_USHER_STATUS_SIZE  16384
#define NGX_HTTP_USHER_STATUS_BUFS  2


/* the module's context of a request is its peer: this is kept in its pool */

typedef struct {
    ngx_http_request_t    *request;
    ngx_chain_t           *free;
    ngx_chain_t           *busy;
    ngx_uint_t             bufs;
    usher_status_page_t    page;
} ngx_http_usher_status_ctx_t;


static ngx_int_t ngx_http_usher_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_usher_status_not_allowed(ngx_http_request_t *r);
static ngx_http_usher_status_ctx_t *ngx_http_usher_status_create_ctx(
    ngx_http_request_t *r);
static ngx_http_usher_status_ctx_t *ngx_http_usher_status_find_ctx(
    ngx_http_request_t *r);
static void ngx_http_usher_status_cleanup(void *data);
static ngx_int_t ngx_http_usher_status_header(ngx_http_request_t *r,
    const char *name, const char *value);
static void ngx_http_usher_status_writer(ngx_http_request_t *r);
static ngx_int_t ngx_http_usher_status_send(ngx_http_request_t *r,
    ngx_http_usher_status_ctx_t *ctx);
static ngx_uint_t ngx_http_usher_status_may_fill(ngx_http_request_t *r,
    ngx_http_usher_status_ctx_t *ctx);
static ngx_chain_t *ngx_http_usher_status_fill(ngx_http_request_t *r,
    ngx_http_usher_status_ctx_t *ctx);


char *
ngx_http_usher_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return clcf->handler == ngx_http_usher_status_handler
               ? "is duplicate"
               : "stands in a location that something else serves";
    }

    clcf->handler = ngx_http_usher_status_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_usher_status_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    const char                    *type;
    usher_status_facts_t           facts;
    usher_status_format_t          format;
    const usher_status_header_t   *header;
    ngx_http_usher_status_ctx_t   *ctx;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_usher_status_not_allowed(r);
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx = ngx_http_usher_status_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    facts.server_kind = "nginx";
    facts.server_version = NGINX_VERSION;
    facts.problem = ngx_http_usher.problem;

    format = usher_status_format((char *) r->args.data, r->args.len);

    usher_status_begin(&ctx->page, ngx_http_usher.channel, &facts, format);

    for (header = usher_status_headers; header->name; header++) {
        rc = ngx_http_usher_status_header(r, header->name, header->value);
        if (rc != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    type = usher_status_type(format);

    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = ngx_http_usher.channel
                            ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (r != r->main) {

        /* part of another page, which keeps what cannot be sent yet */

        do {
            rc = ngx_http_usher_status_send(r, ctx);
        } while (rc == NGX_AGAIN);

        return rc == NGX_DONE ? NGX_OK : rc;
    }

    r->http_state = NGX_HTTP_WRITING_REQUEST_STATE;
    r->read_event_handler = r->discard_body
                                ? ngx_http_discarded_request_body_handler
                                : ngx_http_test_reading;
    r->write_event_handler = ngx_http_usher_status_writer;

    r->main->count++;

    ngx_http_usher_status_writer(r);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_usher_status_not_allowed(ngx_http_request_t *r)
{
    if (ngx_http_usher_status_header(r, "Allow", USHER_STATUS_METHODS)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_NOT_ALLOWED;
}


static ngx_http_usher_status_ctx_t *
ngx_http_usher_status_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t           *cln;
    ngx_http_usher_status_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_usher_status_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_usher_status_cleanup;

    ctx = cln->data;

    ctx->request = r;
    ctx->free = NULL;
    ctx->busy = NULL;
    ctx->bufs = 0;

    return ctx;
}


static ngx_http_usher_status_ctx_t *
ngx_http_usher_status_find_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t           *cln;
    ngx_http_usher_status_ctx_t  *ctx;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_usher_status_cleanup) {
            continue;
        }

        ctx = cln->data;

        if (ctx->request == r) {
            return ctx;
        }
    }

    return NULL;
}


/* nothing to do: it names what lies there */

static void
ngx_http_usher_status_cleanup(void *data)
{
}


static ngx_int_t
ngx_http_usher_status_header(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}


static void
ngx_http_usher_status_writer(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_event_t                  *wev;
    ngx_connection_t             *c;
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_usher_status_ctx_t  *ctx;

    c = r->connection;
    wev = c->write;

    if (wev->timedout) {
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    ctx = ngx_http_usher_status_find_ctx(r);

    if (ctx == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!wev->delayed) {
        rc = ngx_http_usher_status_send(r, ctx);

        if (rc != NGX_AGAIN) {
            ngx_http_finalize_request(r, rc == NGX_DONE ? NGX_OK : rc);
            return;
        }
    }

    if (!wev->delayed) {

        if (ngx_http_usher_status_may_fill(r, ctx)) {

            if (wev->timer_set) {
                ngx_del_timer(wev);
            }

            ngx_post_event(wev, &ngx_posted_next_events);
            return;
        }

        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


/* NGX_DONE: that was all; NGX_AGAIN: call again, with the next event */

static ngx_int_t
ngx_http_usher_status_send(ngx_http_request_t *r,
    ngx_http_usher_status_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_uint_t    last;
    ngx_chain_t  *out;

    out = NULL;
    last = 0;

    if (ngx_http_usher_status_may_fill(r, ctx)) {
        out = ngx_http_usher_status_fill(r, ctx);
        if (out == NULL) {
            return NGX_ERROR;
        }

        last = out->buf->last_in_chain;
    }

    rc = ngx_http_output_filter(r, out);

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return rc;
    }

    ngx_chain_update_chains(r->pool, &ctx->free, &ctx->busy, &out,
                            (ngx_buf_tag_t) &ngx_http_usher_module);

    return last ? NGX_DONE : NGX_AGAIN;
}


static ngx_uint_t
ngx_http_usher_status_may_fill(ngx_http_request_t *r,
    ngx_http_usher_status_ctx_t *ctx)
{
    return ctx->free || ctx->bufs < NGX_HTTP_USHER_STATUS_BUFS
           || r != r->main;
}


static ngx_chain_t *
ngx_http_usher_status_fill(ngx_http_request_t *r,
    ngx_http_usher_status_ctx_t *ctx)
{
    size_t        n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ctx->free;

    if (cl) {
        ctx->free = cl->next;

    } else {
        cl = ngx_alloc_chain_link(r->pool);
        if (cl == NULL) {
            return NULL;
        }

        cl->buf = ngx_create_temp_buf(r->pool, NGX_HTTP_USHER_STATUS_SIZE);
        if (cl->buf == NULL) {
            return NULL;
        }

        cl->buf->tag = (ngx_buf_tag_t) &ngx_http_usher_module;
        ctx->bufs++;
    }

    cl->next = NULL;
    b = cl->buf;

    n = usher_status_write(&ctx->page, (char *) b->start, b->end - b->start);

    b->pos = b->start;
    b->last = b->start + n;

    b->temporary = (n != 0);
    b->last_in_chain = (b->last != b->end);
    b->last_buf = (b->last_in_chain && r == r->main);

    return cl;
}
