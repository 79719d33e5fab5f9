/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests that get no place are answered on a socketpair whose far end
 * holds a FastCGI answer already, so that all that nginx does with a bad
 * answer of a program works for them as well.
 */


#include "ngx_http_usher_module.h"


/* headers, ends and what is told where there is no page */
#define NGX_HTTP_USHER_ANSWER_MAX   1024

#define NGX_HTTP_USHER_STDOUT       6
#define NGX_HTTP_USHER_END_REQUEST  3


static u_char *ngx_http_usher_record(u_char *p, u_char type, size_t len);
static u_char *ngx_http_usher_read_page(ngx_http_usher_peer_t *peer,
    size_t *len);
static size_t ngx_http_usher_write_answer(ngx_http_usher_peer_t *peer,
    u_char *page, size_t len, u_char *buf);
static u_char *ngx_http_usher_write_body(u_char *p, int code,
    const char *status, const char *reason);
static ngx_int_t ngx_http_usher_intercept(ngx_http_usher_peer_t *peer);


/* a class nobody knows yet: what can be said without asking the manager */

ngx_int_t
ngx_http_usher_check_program(ngx_http_usher_peer_t *peer)
{
    char                         path[USHER_KEY_MAX];
    ngx_file_info_t              fi;
    ngx_http_usher_main_conf_t  *umcf;

    umcf = ngx_http_get_module_main_conf(peer->request, ngx_http_usher_module);

    if (ngx_http_usher_find_directive(umcf, &peer->key)) {
        return NGX_OK;
    }

    if (peer->key.data[0] != '/') {
        ngx_http_usher_refuse(peer, NGX_HTTP_NOT_FOUND,
                              "no usher_app or usher_external_app has "
                              "this name");
        return NGX_DECLINED;
    }

    (void) ngx_cpystrn((u_char *) path, peer->key.data, peer->key.len + 1);

    if (ngx_file_info(path, &fi) == NGX_FILE_ERROR) {

        switch (ngx_errno) {

        case NGX_ENOENT:
        case NGX_ENOTDIR:
        case NGX_ENAMETOOLONG:
            ngx_http_usher_refuse(peer, NGX_HTTP_NOT_FOUND,
                                  "there is no such file");
            return NGX_DECLINED;

        default:
            ngx_http_usher_refuse(peer, NGX_HTTP_FORBIDDEN,
                                  "the file cannot be reached by nginx");
            return NGX_DECLINED;
        }
    }

    if (!ngx_is_file(&fi)) {
        ngx_http_usher_refuse(peer, NGX_HTTP_FORBIDDEN, "this is not a file");
        return NGX_DECLINED;
    }

    if ((fi.st_mode & (S_IXUSR|S_IXGRP|S_IXOTH)) == 0) {
        ngx_http_usher_refuse(peer, NGX_HTTP_FORBIDDEN,
                              "the file is not executable");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


void
ngx_http_usher_refuse(ngx_http_usher_peer_t *peer, int status,
    const char *reason)
{
    peer->refused = 1;

    if (peer->begun) {
        peer->waited_us = usher_request_waited_us(&peer->turn);
    }

    peer->turn.verdict_status = status;

    if (reason != peer->turn.reason) {
        (void) ngx_cpystrn((u_char *) peer->turn.reason, (u_char *) reason,
                           sizeof(peer->turn.reason));
    }
}


/* NGX_DONE: nginx may go on as with a program */

ngx_int_t
ngx_http_usher_answer(ngx_http_usher_peer_t *peer)
{
    int                     fds[2];
    u_char                 *buf, *page;
    ssize_t                 n;
    size_t                  size, len;
    ngx_http_request_t     *r;
    ngx_peer_connection_t  *pc;

    r = peer->request;
    pc = &r->upstream->peer;

    if (peer->key.len
        && memmem(peer->turn.reason, ngx_strlen(peer->turn.reason),
                  peer->key.data, peer->key.len))
    {
        ngx_log_error(NGX_LOG_ERR, pc->log, 0, "usher: %s",
                      peer->turn.reason);

    } else {
        ngx_log_error(NGX_LOG_ERR, pc->log, 0, "usher: class \"%V\": %s",
                      &peer->key, peer->turn.reason);
    }

    /* the verdict is final */

    pc->tries = 0;

    page = ngx_http_usher_read_page(peer, &len);

    buf = ngx_palloc(r->pool, NGX_HTTP_USHER_ANSWER_MAX + len);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    if (page == NULL && ngx_http_usher_intercept(peer) != NGX_OK) {
        return NGX_ERROR;
    }

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, fds)
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      "socketpair() failed");
        return NGX_ERROR;
    }

    /* closed early, it would reset the connection under a request body */

    peer->far_end = fds[1];

    if (ngx_http_usher_use_socket(peer, fds[0], AF_UNIX) != NGX_OK) {
        return NGX_ERROR;
    }

    size = ngx_http_usher_write_answer(peer, page, len, buf);

    n = write(peer->far_end, buf, size);

    if (n != (ssize_t) size) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_errno,
                      "write() to a socketpair failed");
        return NGX_ERROR;
    }

    if (ngx_http_usher_watch(pc->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    pc->connection->read->ready = 1;
    pc->connection->write->ready = 1;

    return NGX_DONE;
}


/* of a class that is to show its errors; NULL = of none */

static u_char *
ngx_http_usher_read_page(ngx_http_usher_peer_t *peer, size_t *len)
{
    u_char  *page;

    *len = 0;

    if (ngx_http_usher.channel == NULL
        || peer->turn.verdict_status != NGX_HTTP_SERVICE_UNAVAILABLE)
    {
        return NULL;
    }

    page = ngx_palloc(peer->request->pool, USHER_PAGE_MAX);
    if (page == NULL) {
        return NULL;
    }

    *len = usher_refused_page(ngx_http_usher.channel, &peer->turn,
                              (char *) page);

    return *len ? page : NULL;
}


static size_t
ngx_http_usher_write_answer(ngx_http_usher_peer_t *peer, u_char *page,
    size_t len, u_char *buf)
{
    u_char      *p, *body;
    const char  *status, *type;

    switch (peer->turn.verdict_status) {

    case NGX_HTTP_FORBIDDEN:
        status = "403 Forbidden";
        break;

    case NGX_HTTP_NOT_FOUND:
        status = "404 Not Found";
        break;

    default:
        status = "503 Service Unavailable";
    }

    type = page == NULL
           && peer->turn.verdict_status == NGX_HTTP_SERVICE_UNAVAILABLE
           ? "text/plain" : "text/html";

    body = buf + 8;

    p = ngx_sprintf(body, "Status: %s" CRLF
                          "Content-Type: %s; charset=utf-8" CRLF
                          "Cache-Control: no-store" CRLF,
                    status, type);

    if (peer->turn.retry_after_s) {
        p = ngx_sprintf(p, "Retry-After: %uD" CRLF, peer->turn.retry_after_s);
    }

    p = ngx_sprintf(p, CRLF);

    if (page) {
        p = ngx_cpymem(p, page, len);

    } else {
        p = ngx_http_usher_write_body(p, peer->turn.verdict_status, status,
                                      peer->turn.reason);
    }

    (void) ngx_http_usher_record(buf, NGX_HTTP_USHER_STDOUT, p - body);

    p = ngx_http_usher_record(p, NGX_HTTP_USHER_STDOUT, 0);
    p = ngx_http_usher_record(p, NGX_HTTP_USHER_END_REQUEST, 8);

    ngx_memzero(p, 8);

    return p + 8 - buf;
}


static u_char *
ngx_http_usher_write_body(u_char *p, int code, const char *status,
    const char *reason)
{
    char  text[256];

    if (code == NGX_HTTP_SERVICE_UNAVAILABLE) {
        return ngx_cpymem(p, text,
                          usher_refused_text(reason, text, sizeof(text)));
    }

    return ngx_sprintf(p, "<html>" CRLF
                          "<head><title>%s</title></head>" CRLF
                          "<body>" CRLF
                          "<center><h1>%s</h1></center>" CRLF
                          "</body>" CRLF
                          "</html>" CRLF,
                       status, status);
}


static u_char *
ngx_http_usher_record(u_char *p, u_char type, size_t len)
{
    *p++ = 1;                              /* version */
    *p++ = type;
    *p++ = 0;                              /* request id */
    *p++ = 1;
    *p++ = (u_char) (len >> 8);
    *p++ = (u_char) len;
    *p++ = 0;                              /* padding */
    *p++ = 0;

    return p;
}


/* error_page applies as to other errors that nginx finds by itself */

static ngx_int_t
ngx_http_usher_intercept(ngx_http_usher_peer_t *peer)
{
    ngx_http_request_t        *r;
    ngx_http_upstream_conf_t  *conf;

    r = peer->request;

    conf = ngx_palloc(r->pool, sizeof(ngx_http_upstream_conf_t));
    if (conf == NULL) {
        return NGX_ERROR;
    }

    *conf = *r->upstream->conf;

    conf->intercept_errors = 1;

    r->upstream->conf = conf;

    return NGX_OK;
}
