/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Connections that outlive their request.
 *
 * Kept: a class with keep_conn answers the next request on the same
 * connection.  A program with a thread for each connection is blocked by
 * one that is idle, so it is kept no longer than pays, and not at all while
 * another worker's request needs the thread (native/channel/kept.c).
 *
 * Left: when nginx is done with a request before the program is (the client
 * has gone, fastcgi_read_timeout, HEAD, X-Accel-Redirect), the instance is
 * busy still, and its place is held until it ends the answer, or writes more
 * of it: then it is closed, and told so by that.  Until then request_timeout
 * goes on.  An instance that is not to be used any more is waited for no
 * longer than fastcgi_read_timeout: that would keep it from being retired.
 *
 * Done: when the next request is waiting for the place already, its connection
 * is made first.  A program that waits for the end of the last one then finds
 * the next one there, and need not sleep for it once more.
 */


#include "ngx_http_usher_module.h"


#define NGX_HTTP_USHER_KEEP_LOCAL   20     /* ms, a connect() costs 0.02 */
#define NGX_HTTP_USHER_KEEP_REMOTE  1000   /* ms */
#define NGX_HTTP_USHER_BUCKETS      256
#define NGX_HTTP_USHER_REST         4096

#define NGX_HTTP_USHER_LEFT_LOOK    1000   /* ms, is the instance in use? */
#define NGX_HTTP_USHER_END_REQUEST  3
#define NGX_HTTP_USHER_END_SIZE     16     /* of the record */


typedef struct {
    ngx_queue_t                     queue;
    ngx_connection_t               *connection;
    usher_ref_t                     endpoint;
} ngx_http_usher_kept_t;


typedef struct {
    usher_request_t                 turn;
    usher_outcome_t                 outcome;
    ngx_msec_t                      until;     /* waited for in any case */
    ngx_msec_t                      deadline;  /* of the whole request */
    ngx_uint_t                      request_timeout; /* ms, 0: no deadline */
    ngx_str_t                       key;
} ngx_http_usher_left_t;


static void ngx_http_usher_detach_connection(ngx_http_usher_peer_t *peer,
    ngx_event_handler_pt handler, void *data, ngx_msec_t timeout);
static void ngx_http_usher_close(ngx_connection_t *c);
static void ngx_http_usher_done_handler(ngx_event_t *rev);
static void ngx_http_usher_kept_handler(ngx_event_t *rev);
static void ngx_http_usher_close_kept(ngx_http_usher_kept_t *kept);
static void ngx_http_usher_forget_kept(ngx_http_usher_kept_t *kept);
static void ngx_http_usher_left_handler(ngx_event_t *rev);
static ngx_int_t ngx_http_usher_still_wait(ngx_http_usher_left_t *left);
static ngx_msec_t ngx_http_usher_next_time(ngx_http_usher_left_t *left);
static ngx_uint_t ngx_http_usher_answer_ends(u_char *start, u_char *last);
static void ngx_http_usher_dummy_handler(ngx_event_t *ev);


static ngx_queue_t  ngx_http_usher_kept[NGX_HTTP_USHER_BUCKETS];
static ngx_uint_t   ngx_http_usher_kept_count;


void
ngx_http_usher_init_kept(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_USHER_BUCKETS; i++) {
        ngx_queue_init(&ngx_http_usher_kept[i]);
    }
}


ngx_int_t
ngx_http_usher_keep(ngx_http_usher_peer_t *peer)
{
    ngx_msec_t              timeout;
    ngx_connection_t       *c;
    ngx_http_upstream_t    *u;
    ngx_http_usher_kept_t  *kept;

    u = peer->request->upstream;
    c = u->peer.connection;

    if (!(peer->admission.flags & USHER_CLASS_KEEP_CONN)
        || !peer->admitted
        || !u->keepalive
        || !u->request_body_sent
        || c == NULL
        || c->read->eof
        || c->read->error
        || c->write->error
        || ngx_terminate
        || ngx_exiting
        || ngx_handle_read_event(c->read, 0) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    kept = ngx_alloc(sizeof(ngx_http_usher_kept_t), c->log);
    if (kept == NULL) {
        return NGX_DECLINED;
    }

    if (!usher_kept_add(ngx_http_usher.channel, peer->turn.endpoint_ref)) {
        ngx_free(kept);
        return NGX_DECLINED;
    }

    kept->connection = c;
    kept->endpoint = peer->turn.endpoint_ref;

    ngx_queue_insert_head(&ngx_http_usher_kept[kept->endpoint.index
                                               % NGX_HTTP_USHER_BUCKETS],
                          &kept->queue);
    ngx_http_usher_kept_count++;

    timeout = (peer->sockaddr.ss_family == AF_UNIX)
              ? NGX_HTTP_USHER_KEEP_LOCAL : NGX_HTTP_USHER_KEEP_REMOTE;

    ngx_http_usher_detach_connection(peer, ngx_http_usher_kept_handler, kept,
                                     timeout);

    return NGX_OK;
}


/* a connection to the instance that the request was given a place at */

ngx_connection_t *
ngx_http_usher_find_kept(ngx_http_usher_peer_t *peer)
{
    u_char                  byte;
    ngx_queue_t            *q, *bucket;
    ngx_connection_t       *c;
    ngx_http_usher_kept_t  *kept;

    if (!(peer->admission.flags & USHER_CLASS_KEEP_CONN)) {
        return NULL;
    }

    bucket = &ngx_http_usher_kept[peer->turn.endpoint_ref.index
                                  % NGX_HTTP_USHER_BUCKETS];

    q = ngx_queue_head(bucket);

    while (q != ngx_queue_sentinel(bucket)) {

        kept = ngx_queue_data(q, ngx_http_usher_kept_t, queue);
        q = ngx_queue_next(q);

        if (kept->endpoint.index != peer->turn.endpoint_ref.index
            || kept->endpoint.generation != peer->turn.endpoint_ref.generation)
        {
            continue;
        }

        c = kept->connection;

        /* a request that must not be repeated deserves a look */

        if (recv(c->fd, &byte, 1, MSG_PEEK) != -1
            || ngx_socket_errno != NGX_EAGAIN)
        {
            ngx_http_usher_close_kept(kept);
            continue;
        }

        ngx_http_usher_forget_kept(kept);

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        if (c->read->posted) {
            ngx_delete_posted_event(c->read);
        }

        c->idle = 0;
        c->sent = 0;
        c->data = NULL;
        c->read->cancelable = 0;

        c->log = peer->request->connection->log;
        c->pool->log = c->log;
        c->read->log = c->log;
        c->write->log = c->log;

        return c;
    }

    return NULL;
}


/* takes the turn from the request: the place is given back later */

ngx_int_t
ngx_http_usher_linger(ngx_http_usher_peer_t *peer, usher_outcome_t outcome)
{
    ngx_buf_t              *b;
    ngx_connection_t       *c;
    ngx_http_upstream_t    *u;
    ngx_http_usher_left_t  *left;

    u = peer->request->upstream;
    c = u->peer.connection;
    b = &u->buffer;

    if (!peer->admitted
        || !u->request_body_sent
        || c == NULL
        || c->read->eof
        || c->read->error
        || c->write->error
        || c->write->timedout
        || ngx_terminate
        || ngx_exiting
        || (u->header_sent
            && (u->buffering ? u->pipe->upstream_done : u->length == 0))
        || ngx_http_usher_answer_ends(b->start, b->last))
    {
        return NGX_DECLINED;
    }

    left = ngx_alloc(sizeof(ngx_http_usher_left_t) + peer->key.len, c->log);
    if (left == NULL) {
        return NGX_DECLINED;
    }

    left->key.len = peer->key.len;
    left->key.data = (u_char *) left + sizeof(ngx_http_usher_left_t);
    ngx_memcpy(left->key.data, peer->key.data, peer->key.len);

    left->outcome = outcome;
    left->turn = peer->turn;
    left->turn.key = (char *) left->key.data;

    left->until = ngx_current_msec + u->conf->read_timeout;
    left->deadline = peer->deadline.timer.key;
    left->request_timeout = peer->deadline.timer_set
                            ? peer->admission.request_timeout_ms : 0;

    peer->begun = 0;
    peer->admitted = 0;

    ngx_http_usher_detach_connection(peer, ngx_http_usher_left_handler, left,
                                     ngx_http_usher_next_time(left));

    return NGX_OK;
}


static void
ngx_http_usher_detach_connection(ngx_http_usher_peer_t *peer,
    ngx_event_handler_pt handler, void *data, ngx_msec_t timeout)
{
    ngx_connection_t  *c;

    c = peer->request->upstream->peer.connection;

    peer->request->upstream->peer.connection = NULL;

    c->data = data;
    c->idle = 1;

    c->read->handler = handler;
    c->write->handler = ngx_http_usher_dummy_handler;

    c->log = ngx_cycle->log;
    c->pool->log = ngx_cycle->log;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    /* set timers are not moved by less than 300 ms */

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    c->read->delayed = 0;
    c->read->timedout = 0;
    c->read->cancelable = 1;

    if (timeout) {
        ngx_add_timer(c->read, timeout);
    }

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/* behind what is posted already: the next connection */

void
ngx_http_usher_close_later(ngx_http_usher_peer_t *peer)
{
    ngx_connection_t  *c;

    c = peer->request->upstream->peer.connection;

    if (c == NULL) {
        return;
    }

    ngx_http_usher_detach_connection(peer, ngx_http_usher_done_handler, NULL,
                                     0);

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    ngx_post_event(c->read, &ngx_posted_events);
}


static void
ngx_http_usher_done_handler(ngx_event_t *rev)
{
    ngx_http_usher_close(rev->data);
}


static void
ngx_http_usher_close(ngx_connection_t *c)
{
    ngx_destroy_pool(c->pool);
    ngx_close_connection(c);
}


static void
ngx_http_usher_kept_handler(ngx_event_t *rev)
{
    u_char             byte;
    ngx_connection_t  *c;

    c = rev->data;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, rev->log, 0, "usher kept handler");

    if (!c->close
        && !rev->timedout
        && recv(c->fd, &byte, 1, MSG_PEEK) == -1
        && ngx_socket_errno == NGX_EAGAIN)
    {
        rev->ready = 0;

        if (ngx_handle_read_event(rev, 0) == NGX_OK) {
            return;
        }
    }

    ngx_http_usher_close_kept(c->data);
}


/* a request of another worker waits for a thread of the program */

void
ngx_http_usher_close_in_way(void)
{
    ngx_uint_t              i;
    ngx_queue_t            *q, *bucket;
    ngx_http_usher_kept_t  *kept;

    for (i = 0; ngx_http_usher_kept_count && i < NGX_HTTP_USHER_BUCKETS; i++) {

        bucket = &ngx_http_usher_kept[i];
        q = ngx_queue_head(bucket);

        while (q != ngx_queue_sentinel(bucket)) {

            kept = ngx_queue_data(q, ngx_http_usher_kept_t, queue);
            q = ngx_queue_next(q);

            if (usher_kept_is_in_way(ngx_http_usher.channel, kept->endpoint)) {
                ngx_http_usher_close_kept(kept);
            }
        }
    }
}


static void
ngx_http_usher_close_kept(ngx_http_usher_kept_t *kept)
{
    ngx_http_usher_close(kept->connection);

    ngx_http_usher_forget_kept(kept);
}


static void
ngx_http_usher_forget_kept(ngx_http_usher_kept_t *kept)
{
    ngx_queue_remove(&kept->queue);
    ngx_http_usher_kept_count--;

    usher_kept_remove(ngx_http_usher.channel, kept->endpoint);

    ngx_free(kept);
}


static void
ngx_http_usher_left_handler(ngx_event_t *rev)
{
    u_char                  rest[NGX_HTTP_USHER_REST];
    ngx_connection_t       *c;
    ngx_http_usher_left_t  *left;

    c = rev->data;
    left = c->data;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, rev->log, 0, "usher left handler");

    /* whatever is read: the program is done, or will be at its next write */

    if (!c->close
        && c->recv(c, rest, NGX_HTTP_USHER_REST) == NGX_AGAIN
        && ngx_handle_read_event(rev, 0) == NGX_OK)
    {
        if (!rev->timedout) {
            return;
        }

        rev->timedout = 0;

        if (ngx_http_usher_still_wait(left) == NGX_OK) {
            ngx_add_timer(rev, ngx_http_usher_next_time(left));
            return;
        }
    }

    ngx_http_usher_close(c);

    usher_request_end(ngx_http_usher.channel, &left->turn, left->outcome);

    ngx_http_usher_hand_over(&left->key);

    ngx_free(left);
}


static ngx_int_t
ngx_http_usher_still_wait(ngx_http_usher_left_t *left)
{
    if (left->request_timeout
        && (ngx_msec_int_t) (left->deadline - ngx_current_msec) <= 0)
    {
        if (usher_request_is_overdue(ngx_http_usher.channel, &left->turn)) {
            left->outcome = USHER_OUTCOME_TIMED_OUT;

            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "usher: class \"%V\": the program did not end a "
                          "request that was given up, within %ui ms "
                          "(request_timeout): it hangs",
                          &left->key, left->request_timeout);

            return NGX_DECLINED;
        }

        /* it was booting */

        left->deadline = ngx_current_msec + left->request_timeout;
    }

    if ((ngx_msec_int_t) (left->until - ngx_current_msec) > 0
        || usher_request_has_use(ngx_http_usher.channel, &left->turn))
    {
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_msec_t
ngx_http_usher_next_time(ngx_http_usher_left_t *left)
{
    ngx_msec_int_t  time, deadline;

    time = (ngx_msec_int_t) (left->until - ngx_current_msec);

    if (time <= 0) {
        time = NGX_HTTP_USHER_LEFT_LOOK;
    }

    if (left->request_timeout) {
        deadline = (ngx_msec_int_t) (left->deadline - ngx_current_msec);
        time = ngx_min(time, ngx_max(deadline, 1));
    }

    return time;
}


static ngx_uint_t
ngx_http_usher_answer_ends(u_char *start, u_char *last)
{
    u_char  *p;

    if (last - start < NGX_HTTP_USHER_END_SIZE) {
        return 0;
    }

    p = last - NGX_HTTP_USHER_END_SIZE;

    return p[0] == 1
           && p[1] == NGX_HTTP_USHER_END_REQUEST
           && p[4] == 0
           && p[5] == 8
           && p[6] == 0;
}


static void
ngx_http_usher_dummy_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0, "usher dummy handler");
}
