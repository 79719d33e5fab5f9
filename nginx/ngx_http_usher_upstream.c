/* SPDX-License-Identifier: Apache-2.0 */

/* A request takes a place at an instance, and gives it back. */


#include "ngx_http_usher_module.h"


#define NGX_HTTP_USHER_TRIES        2    /* one more where nothing was sent */
#define NGX_HTTP_USHER_CONNECTS     8    /* in a row, then it waits */
#define NGX_HTTP_USHER_FLAGS        10   /* of BEGIN_REQUEST in its record */


static ngx_int_t ngx_http_usher_input_filter_init(void *data);
static ngx_int_t ngx_http_usher_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_usher_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_usher_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_int_t ngx_http_usher_set_key(ngx_http_usher_peer_t *peer);
static ngx_int_t ngx_http_usher_begin(ngx_http_usher_peer_t *peer);
static ngx_int_t ngx_http_usher_take(ngx_http_usher_peer_t *peer);
static void ngx_http_usher_retry(ngx_http_usher_peer_t *peer);
static ngx_uint_t ngx_http_usher_end(ngx_http_usher_peer_t *peer,
    usher_outcome_t outcome);
static usher_outcome_t ngx_http_usher_outcome(ngx_http_usher_peer_t *peer,
    ngx_uint_t state);
static void ngx_http_usher_timed_out(ngx_event_t *ev);
static void ngx_http_usher_cleanup(void *data);


ngx_int_t
ngx_http_usher_init_upstream(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_http_usher_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t    *u;
    ngx_pool_cleanup_t     *cln;
    ngx_http_usher_peer_t  *peer;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_usher_peer_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    peer = cln->data;

    ngx_memzero(peer, sizeof(ngx_http_usher_peer_t));

    peer->request = r;
    peer->pass = us->peer.data;
    peer->far_end = (ngx_socket_t) -1;

    peer->event.handler = ngx_http_usher_go_on;
    peer->event.data = peer;
    peer->event.log = r->connection->log;

    peer->deadline.handler = ngx_http_usher_timed_out;
    peer->deadline.data = peer;
    peer->deadline.log = r->connection->log;

    cln->handler = ngx_http_usher_cleanup;

    if (ngx_http_usher_set_key(peer) != NGX_OK
        || ngx_http_usher_drop_proxy(r) != NGX_OK
        || ngx_http_usher_add_params(peer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_set_ctx(r, peer, ngx_http_usher_module);

    u = r->upstream;

    u->peer.data = peer;
    u->peer.get = ngx_http_usher_get_peer;
    u->peer.free = ngx_http_usher_free_peer;
    u->peer.tries = NGX_HTTP_USHER_TRIES;

    peer->input_filter_init = u->input_filter_init;
    u->input_filter_init = ngx_http_usher_input_filter_init;

    return NGX_OK;
}


/*
 * without buffering nginx takes the end of the connection for the end of an
 * answer whose length is not known; but a whole one ends with END_REQUEST,
 * which sets the length to 0
 */

static ngx_int_t
ngx_http_usher_input_filter_init(void *data)
{
    ngx_int_t               rc;
    ngx_http_request_t     *r;
    ngx_http_upstream_t    *u;
    ngx_http_usher_peer_t  *peer;

    r = data;
    u = r->upstream;
    peer = u->peer.data;

    rc = peer->input_filter_init(data);

    if (!u->buffering && u->length == -1) {
        u->length = NGX_MAX_OFF_T_VALUE;
    }

    return rc;
}


static ngx_int_t
ngx_http_usher_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_usher_peer_t  *peer = data;

    ngx_int_t  rc;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "get usher peer, class \"%V\"", &peer->key);

    peer->name = ngx_pcalloc(peer->request->pool, sizeof(ngx_str_t));
    if (peer->name == NULL) {
        return NGX_ERROR;
    }

    *peer->name = peer->key;

    /* without an address there would be no call of free */

    pc->name = peer->name;
    pc->sockaddr = (struct sockaddr *) &peer->sockaddr;
    pc->socklen = sizeof(sa_family_t);
    pc->connection = NULL;
    pc->cached = 0;

    rc = ngx_http_usher_begin(peer);

    if (rc == NGX_OK) {

        /* those who came before go first */

        ngx_http_usher_let_in(&peer->key);

        rc = ngx_http_usher_take(peer);
    }

    switch (rc) {

    case NGX_OK:
        return NGX_DONE;

    case NGX_BUSY:
        return ngx_http_usher_wait(peer, 0);

    case NGX_DECLINED:
        return ngx_http_usher_answer(peer);

    default: /* NGX_AGAIN, NGX_ERROR */
        return rc;
    }
}


static void
ngx_http_usher_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_usher_peer_t  *peer = data;

    ngx_uint_t            served;
    usher_outcome_t       outcome;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "free usher peer, class \"%V\", state %ui",
                   &peer->key, state);

    u = peer->request->upstream;
    c = pc->connection;

    if (state & NGX_PEER_FAILED) {

        if (c && peer->admitted && !u->request_sent && !c->read->timedout) {

            /*
             * It was never connected, another place will do.  How often
             * is not our affair: a request with no place left to go waits,
             * for the manager's verdict or -appConnTimeout at most.
             */

            ngx_http_usher_retry(peer);
            return;
        }

        if (c == NULL || c->read->timedout || c->write->timedout) {
            pc->tries = 0;
        }
    }

    if (state && pc->tries) {
        pc->tries--;
    }

    outcome = ngx_http_usher_outcome(peer, state);

    switch (outcome) {

    case USHER_OUTCOME_TIMED_OUT:
        break;

    case USHER_OUTCOME_FAILED:

        /* nginx lost patience, the program is at it still */

        if (c && c->read->timedout) {
            (void) ngx_http_usher_linger(peer, outcome);
        }

        break;

    default: /* USHER_OUTCOME_FINISHED, USHER_OUTCOME_ABORTED */

        if (ngx_http_usher_keep(peer) != NGX_OK) {
            (void) ngx_http_usher_linger(peer, outcome);
        }
    }

    served = ngx_http_usher_end(peer, outcome);

    if (served && outcome == USHER_OUTCOME_FINISHED) {
        ngx_http_usher_close_later(peer);
    }
}


ngx_http_usher_peer_t *
ngx_http_usher_find_peer(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_usher_peer_t  *peer;

    peer = ngx_http_get_module_ctx(r, ngx_http_usher_module);

    if (peer) {
        return peer;
    }

    /* an internal redirect has cleared the contexts: the last one counts */

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_usher_cleanup) {
            continue;
        }

        peer = cln->data;

        if (peer->request == r) {
            return peer;
        }
    }

    return NULL;
}


/* NGX_OK: holds a place, NGX_AGAIN: has to wait, NGX_DECLINED: is refused */

ngx_int_t
ngx_http_usher_admit(ngx_http_usher_peer_t *peer)
{
    u_char               *flags;
    usher_status_t        status;
    ngx_http_upstream_t  *u;

    status = usher_request_admit(ngx_http_usher.channel, &peer->turn,
                                 &peer->sockaddr, &peer->socklen,
                                 &peer->admission);

    switch (status) {

    case USHER_OK:
        break;

    case USHER_AGAIN:
        return NGX_AGAIN;

    case USHER_REFUSED:
        ngx_http_usher_refuse(peer, peer->turn.verdict_status,
                              peer->turn.reason);
        return NGX_DECLINED;

    default:
        ngx_http_usher_refuse(peer, NGX_HTTP_SERVICE_UNAVAILABLE,
                              "the channel cannot be used");
        return NGX_DECLINED;
    }

    peer->admitted = 1;
    peer->waited_us = usher_request_waited_us(&peer->turn);

    u = peer->request->upstream;

    /* the location always says KEEP_CONN, the class decides */

    flags = u->request_bufs->buf->start + NGX_HTTP_USHER_FLAGS;
    *flags = (peer->admission.flags & USHER_CLASS_KEEP_CONN) ? 1 : 0;

    if (peer->admission.request_timeout_ms && !peer->deadline.timer_set) {
        ngx_add_timer(&peer->deadline, peer->admission.request_timeout_ms);
    }

    return NGX_OK;
}


/* posted for a request that waited, when there is something to do for it */

void
ngx_http_usher_go_on(ngx_event_t *ev)
{
    ngx_int_t               rc;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_upstream_t    *u;
    ngx_http_usher_peer_t  *peer;

    peer = ev->data;
    r = peer->request;
    u = r->upstream;
    c = u->peer.connection;

    ngx_http_set_log_request(r->connection->log, r);

    /* nginx has begun to count its connect timeout */

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (peer->line) {
        return;
    }

    if (peer->refused) {
        rc = NGX_DECLINED;

    } else {
        rc = ngx_http_usher_connect(peer);

        if (rc == NGX_DECLINED) {
            ngx_http_usher_retry(peer);
            rc = ngx_http_usher_take(peer);
        }
    }

    if (rc == NGX_BUSY) {
        rc = ngx_http_usher_wait(peer, 1);

        if (rc == NGX_AGAIN) {
            return;
        }

    } else if (rc == NGX_DECLINED) {
        rc = ngx_http_usher_answer(peer);
    }

    c = u->peer.connection;

    if (rc == NGX_AGAIN) {
        ngx_add_timer(c->write, u->conf->connect_timeout);
        return;
    }

    /* on NGX_ERROR nothing is connected, and nginx finds out */

    c->write->ready = 1;

    c->write->handler(c->write);
}


static ngx_int_t
ngx_http_usher_set_key(ngx_http_usher_peer_t *peer)
{
    size_t  i;

    if (ngx_http_complex_value(peer->request, &peer->pass->value, &peer->key)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* what a client can make of it goes to logs as well */

    for (i = 0; !peer->pass->constant && i < peer->key.len; i++) {
        if (peer->key.data[i] < 0x20 || peer->key.data[i] == 0x7f) {
            ngx_str_null(&peer->key);
            break;
        }
    }

    ngx_http_usher_set_protocol(peer);

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_begin(ngx_http_usher_peer_t *peer)
{
    if (peer->begun) {

        /* goes on after a connection that failed */

        return NGX_OK;
    }

    peer->refused = 0;
    peer->overdue = 0;
    peer->waited_us = 0;

    if (usher_request_begin(ngx_http_usher.channel, &peer->turn,
                            (char *) peer->key.data, peer->key.len)
        != USHER_OK)
    {
        ngx_http_usher_refuse(peer, NGX_HTTP_NOT_FOUND,
                              "usher_pass gives no path or name");
        return NGX_DECLINED;
    }

    if (!ngx_http_usher.attached) {
        ngx_http_usher_refuse(peer, NGX_HTTP_SERVICE_UNAVAILABLE,
                              ngx_http_usher.problem);
        return NGX_DECLINED;
    }

    peer->begun = 1;

    if (!peer->pass->named
        && !usher_class_known(ngx_http_usher.channel, (char *) peer->key.data,
                              peer->key.len))
    {
        return ngx_http_usher_check_program(peer);
    }

    return NGX_OK;
}


/* NGX_OK, NGX_AGAIN: connected or going to be, NGX_BUSY: has to wait */

static ngx_int_t
ngx_http_usher_take(ngx_http_usher_peer_t *peer)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_USHER_CONNECTS; i++) {

        rc = ngx_http_usher_admit(peer);

        if (rc == NGX_AGAIN) {
            return NGX_BUSY;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        rc = ngx_http_usher_connect(peer);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        ngx_http_usher_retry(peer);
    }

    return NGX_BUSY;
}


static void
ngx_http_usher_retry(ngx_http_usher_peer_t *peer)
{
    peer->admitted = 0;

    if (peer->deadline.timer_set) {
        ngx_del_timer(&peer->deadline);
    }

    usher_request_retry(ngx_http_usher.channel, &peer->turn);
}


/* how many of those who wait got the place */

static ngx_uint_t
ngx_http_usher_end(ngx_http_usher_peer_t *peer, usher_outcome_t outcome)
{
    ngx_http_usher_leave(peer);

    if (peer->event.posted) {
        ngx_delete_posted_event(&peer->event);
    }

    if (peer->deadline.timer_set) {
        ngx_del_timer(&peer->deadline);
    }

    if (peer->far_end != (ngx_socket_t) -1) {
        (void) ngx_close_socket(peer->far_end);
        peer->far_end = (ngx_socket_t) -1;
    }

    if (!peer->begun) {
        return 0;
    }

    if (!peer->admitted && !peer->refused) {
        peer->waited_us = usher_request_waited_us(&peer->turn);
    }

    peer->begun = 0;
    peer->admitted = 0;

    usher_request_end(ngx_http_usher.channel, &peer->turn, outcome);

    return ngx_http_usher_hand_over(&peer->key);
}


/* was the answer whole; and if not, who broke off? */

static usher_outcome_t
ngx_http_usher_outcome(ngx_http_usher_peer_t *peer, ngx_uint_t state)
{
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_upstream_t  *u;

    r = peer->request;
    u = r->upstream;
    c = u->peer.connection;

    if (peer->overdue) {
        return USHER_OUTCOME_TIMED_OUT;
    }

    if (state & NGX_PEER_FAILED) {
        return USHER_OUTCOME_FAILED;
    }

    if (u->header_sent
        && (r->header_only
            || (u->buffering ? u->pipe->upstream_done : u->length == 0)))
    {
        return USHER_OUTCOME_FINISHED;
    }

    if (c && (c->read->timedout || c->write->timedout)) {
        return USHER_OUTCOME_FAILED;
    }

    if (r->connection->error) {
        return USHER_OUTCOME_ABORTED;
    }

    if (u->header_sent) {
        return USHER_OUTCOME_FAILED;
    }

    /* its header was enough for nginx, as with X-Accel-Redirect */

    return u->headers_in.status_n ? USHER_OUTCOME_FINISHED
                                  : USHER_OUTCOME_ABORTED;
}


static void
ngx_http_usher_timed_out(ngx_event_t *ev)
{
    ngx_connection_t       *c;
    ngx_http_usher_peer_t  *peer;

    peer = ev->data;

    ngx_http_set_log_request(peer->request->connection->log, peer->request);

    if (!usher_request_is_overdue(ngx_http_usher.channel, &peer->turn)) {

        /* the program was booting */

        ngx_add_timer(ev, peer->admission.request_timeout_ms);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, peer->request->connection->log, 0,
                  "usher: class \"%V\": no whole answer within %uD ms "
                  "(request_timeout), process %uD hangs",
                  &peer->key, peer->admission.request_timeout_ms,
                  peer->admission.pid);

    peer->overdue = 1;

    c = peer->request->upstream->peer.connection;

    c->read->delayed = 0;
    c->read->timedout = 1;

    c->read->handler(c->read);
}


static void
ngx_http_usher_cleanup(void *data)
{
    ngx_http_usher_peer_t  *peer = data;

    (void) ngx_http_usher_end(peer, USHER_OUTCOME_ABORTED);
}
