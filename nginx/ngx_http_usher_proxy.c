/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A client's header "Proxy" is no HTTP_PROXY for programs, which would take
 * it for the proxy that their own requests are to go through (httpoxy).
 */


#include "ngx_http_usher_module.h"

#include "fastcgi/params.h"


#define NGX_HTTP_USHER_PROXY    "HTTP_PROXY"
#define NGX_HTTP_USHER_DROPPED  "USHER_DROP"    /* as long, and read by none */


/*
 * The parameters are nginx's, and lie in the request already.  What
 * fastcgi_param says of HTTP_PROXY takes the place of the header in there.
 */

ngx_int_t
ngx_http_usher_drop_proxy(ngx_http_request_t *r)
{
    ngx_int_t              n;
    ngx_uint_t             i;
    ngx_buf_t             *b;
    ngx_array_t            values;
    ngx_list_part_t       *part;
    ngx_table_elt_t       *header;
    usher_fastcgi_text_t  *value;

    values.elts = NULL;

    part = &r->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (header[i].key.len != sizeof("Proxy") - 1
            || ngx_strncasecmp(header[i].key.data, (u_char *) "Proxy",
                               sizeof("Proxy") - 1)
               != 0)
        {
            continue;
        }

        if (values.elts == NULL
            && ngx_array_init(&values, r->pool, 2,
                              sizeof(usher_fastcgi_text_t))
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        value = ngx_array_push(&values);
        if (value == NULL) {
            return NGX_ERROR;
        }

        value->bytes = header[i].value.data;
        value->length = header[i].value.len;
    }

    if (values.elts == NULL) {
        return NGX_OK;
    }

    b = r->upstream->request_bufs->buf;

    n = usher_fastcgi_rename(b->pos, b->last - b->pos, NGX_HTTP_USHER_PROXY,
                             NGX_HTTP_USHER_DROPPED, values.elts,
                             values.nelts);
    if (n < 0) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "usher: the FastCGI parameters of this request cannot "
                      "be read, and its header \"Proxy\" not be left out");
        return NGX_ERROR;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "usher dropped %i HTTP_PROXY of the client", n);

    return NGX_OK;
}
