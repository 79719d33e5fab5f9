/* SPDX-License-Identifier: Apache-2.0 */

/* The connection of a request: made here, used by nginx. */


#include "ngx_http_usher_module.h"


static ngx_socket_t ngx_http_usher_socket(ngx_peer_connection_t *pc,
    int family);
static void ngx_http_usher_drop_socket(ngx_peer_connection_t *pc,
    ngx_socket_t s);
static ngx_int_t ngx_http_usher_prepare_socket(ngx_peer_connection_t *pc,
    ngx_socket_t s, int family);
static ngx_int_t ngx_http_usher_use_kept(ngx_http_usher_peer_t *peer,
    ngx_connection_t *kept);
static ngx_int_t ngx_http_usher_set_name(ngx_http_usher_peer_t *peer);


/*
 * NGX_OK: connected, NGX_AGAIN: going to be, NGX_DECLINED: not taken there.
 *
 * nginx would take a full backlog (EAGAIN) for an error of the program, and
 * with fastcgi_next_upstream off would never try another one.
 */

ngx_int_t
ngx_http_usher_connect(ngx_http_usher_peer_t *peer)
{
    int                     rc, family;
    ngx_err_t               err;
    ngx_uint_t              level;
    ngx_socket_t            s;
    ngx_connection_t       *kept;
    ngx_peer_connection_t  *pc;

    pc = &peer->request->upstream->peer;
    family = peer->sockaddr.ss_family;

    pc->sockaddr = (struct sockaddr *) &peer->sockaddr;
    pc->socklen = peer->socklen;

    if (ngx_http_usher_set_name(peer) != NGX_OK) {
        return NGX_ERROR;
    }

    kept = ngx_http_usher_find_kept(peer);

    if (kept) {
        return ngx_http_usher_use_kept(peer, kept);
    }

    if (peer->admission.flags & USHER_CLASS_KEEP_CONN) {
        usher_kept_call(ngx_http_usher.channel, peer->turn.endpoint_ref);
    }

    if (pc->connection && family == AF_UNIX) {

        /* a socket stands by, and a connect() that failed did not use it up */

        s = pc->connection->fd;

    } else {
        s = ngx_http_usher_socket(pc, family);
        if (s == (ngx_socket_t) -1) {
            return NGX_ERROR;
        }
    }

    if (family != AF_UNIX
        && ngx_http_usher_prepare_socket(pc, s, family) != NGX_OK)
    {
        ngx_http_usher_drop_socket(pc, s);
        return NGX_ERROR;
    }

    rc = connect(s, pc->sockaddr, pc->socklen);

    if (rc == -1) {
        err = ngx_socket_errno;

        if (err != NGX_EINPROGRESS) {
            level = (err == NGX_EAGAIN || peer->warned) ? NGX_LOG_INFO
                                                        : NGX_LOG_WARN;
            peer->warned = 1;

            ngx_log_error(level, pc->log, err,
                          "usher: class \"%V\": connect() to %V failed, "
                          "will try again",
                          &peer->key, pc->name);

            ngx_http_usher_drop_socket(pc, s);

            return NGX_DECLINED;
        }
    }

    if (ngx_http_usher_use_socket(peer, s, family) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_usher_watch(pc->connection) != NGX_OK) {
        return NGX_ERROR;
    }

    if (rc == -1) {
        return NGX_AGAIN;
    }

    pc->connection->write->ready = 1;

    return NGX_OK;
}


/* nginx wants a connection at once, one that waits has yet to be connected */

ngx_int_t
ngx_http_usher_stand_by(ngx_http_usher_peer_t *peer)
{
    ngx_socket_t            s;
    ngx_peer_connection_t  *pc;

    pc = &peer->request->upstream->peer;

    s = ngx_http_usher_socket(pc, AF_UNIX);
    if (s == (ngx_socket_t) -1) {
        return NGX_ERROR;
    }

    return ngx_http_usher_use_socket(peer, s, AF_UNIX);
}


/* owns the socket in any case */

ngx_int_t
ngx_http_usher_use_socket(ngx_http_usher_peer_t *peer, ngx_socket_t s,
    int family)
{
    ngx_connection_t       *c;
    ngx_peer_connection_t  *pc;

    pc = &peer->request->upstream->peer;
    c = pc->connection;

    if (c) {

        /* stood by: nothing watches its socket */

        if (c->fd != s) {
            (void) ngx_close_socket(c->fd);
            c->fd = s;
        }

    } else {
        c = ngx_get_connection(s, pc->log);

        if (c == NULL) {
            (void) ngx_close_socket(s);
            return NGX_ERROR;
        }

        c->type = SOCK_STREAM;

        c->recv = ngx_recv;
        c->send = ngx_send;
        c->recv_chain = ngx_recv_chain;
        c->send_chain = ngx_send_chain;

        c->sendfile = 1;
        c->log_error = pc->log_error;

        c->read->log = pc->log;
        c->write->log = pc->log;

        c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
        c->start_time = ngx_current_msec;

        pc->connection = c;
    }

    if (family == AF_UNIX) {
        c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;
        c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;

    } else {
        c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;
        c->tcp_nodelay = NGX_TCP_NODELAY_UNSET;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_usher_watch(ngx_connection_t *c)
{
    ngx_int_t  event;

    if (ngx_add_conn) {
        return ngx_add_conn(c);
    }

    event = (ngx_event_flags & NGX_USE_CLEAR_EVENT) ? NGX_CLEAR_EVENT
                                                    : NGX_LEVEL_EVENT;

    if (ngx_add_event(c->read, NGX_READ_EVENT, event) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_add_event(c->write, NGX_WRITE_EVENT, event);
}


static ngx_socket_t
ngx_http_usher_socket(ngx_peer_connection_t *pc, int family)
{
    ngx_socket_t  s;

    s = socket(family, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (s == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                      ngx_socket_n " failed");
    }

    return s;
}


static void
ngx_http_usher_drop_socket(ngx_peer_connection_t *pc, ngx_socket_t s)
{
    if (pc->connection == NULL || pc->connection->fd != s) {
        (void) ngx_close_socket(s);
    }
}


static ngx_int_t
ngx_http_usher_prepare_socket(ngx_peer_connection_t *pc, ngx_socket_t s,
    int family)
{
    int  value;

    if (pc->so_keepalive) {
        value = 1;

        if (setsockopt(s, SOL_SOCKET, SO_KEEPALIVE, (const void *) &value,
                       sizeof(int))
            == -1)
        {
            ngx_log_error(NGX_LOG_ALERT, pc->log, ngx_socket_errno,
                          "setsockopt(SO_KEEPALIVE) failed, ignored");
        }
    }

    if (pc->local && pc->local->sockaddr->sa_family == family
        && bind(s, pc->local->sockaddr, pc->local->socklen) == -1)
    {
        ngx_log_error(NGX_LOG_CRIT, pc->log, ngx_socket_errno,
                      "bind(%V) failed", &pc->local->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* a connection that stood by has been prepared by nginx: so is its successor */

static ngx_int_t
ngx_http_usher_use_kept(ngx_http_usher_peer_t *peer, ngx_connection_t *kept)
{
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = peer->request->upstream;
    c = u->peer.connection;

    u->peer.connection = kept;
    u->peer.cached = 1;

    if (c == NULL) {
        return NGX_OK;
    }

    kept->data = c->data;
    kept->requests++;

    kept->read->handler = c->read->handler;
    kept->write->handler = c->write->handler;

    kept->sendfile = c->sendfile;

    u->output.sendfile = kept->sendfile;
    u->writer.connection = kept;

    ngx_destroy_pool(c->pool);
    ngx_close_connection(c);

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_set_name(ngx_http_usher_peer_t *peer)
{
    u_char              *p;
    size_t               len;
    struct sockaddr_un  *saun;

    if (peer->sockaddr.ss_family == AF_UNIX) {

        saun = (struct sockaddr_un *) &peer->sockaddr;
        len = ngx_strlen(saun->sun_path);

        p = ngx_pnalloc(peer->request->pool, sizeof("unix:") - 1 + len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        peer->name->len = sizeof("unix:") - 1 + len;
        peer->name->data = p;

        p = ngx_cpymem(p, "unix:", sizeof("unix:") - 1);
        ngx_memcpy(p, saun->sun_path, len);

        return NGX_OK;
    }

    p = ngx_pnalloc(peer->request->pool, NGX_SOCKADDR_STRLEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    peer->name->len = ngx_sock_ntop((struct sockaddr *) &peer->sockaddr,
                                    peer->socklen, p, NGX_SOCKADDR_STRLEN, 1);
    peer->name->data = p;

    return NGX_OK;
}
