/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Requests that wait for a place, in one line for each class.
 *
 * Whoever gives a place back in this worker hands it over to the first in
 * line, unless somebody waits elsewhere for much longer: then the channel
 * says that there is none.  It calls this worker when a place is to be had
 * that another one gave back.  Places of new instances are seen by a timer.
 */


#include "ngx_http_usher_module.h"


#define NGX_HTTP_USHER_LOOK         1    /* ms to the first look */
#define NGX_HTTP_USHER_LOOK_READY   2    /* ms at most, there are instances */
#define NGX_HTTP_USHER_LOOK_COLD    10   /* ms at most, there are none */
#define NGX_HTTP_USHER_PATIENCE     32   /* part of the wait between looks */
#define NGX_HTTP_USHER_LOOK_ALL     100  /* ms between looks at all in line */


static ngx_http_usher_line_t *ngx_http_usher_find_line(ngx_str_t *key);
static ngx_http_usher_line_t *ngx_http_usher_add_line(ngx_str_t *key);
static ngx_uint_t ngx_http_usher_serve(ngx_http_usher_line_t *line,
    ngx_uint_t max, ngx_uint_t all);
static void ngx_http_usher_look(ngx_event_t *ev);
static ngx_msec_t ngx_http_usher_next_look(ngx_http_usher_line_t *line);
static void ngx_http_usher_look_in(ngx_msec_t delay);


static ngx_rbtree_t        ngx_http_usher_tree;
static ngx_rbtree_node_t   ngx_http_usher_sentinel;
static ngx_queue_t         ngx_http_usher_lines;
static ngx_event_t         ngx_http_usher_look_event;
static ngx_msec_t          ngx_http_usher_looked_at_all;
static ngx_connection_t    ngx_http_usher_dummy;


void
ngx_http_usher_init_lines(ngx_cycle_t *cycle)
{
    ngx_rbtree_init(&ngx_http_usher_tree, &ngx_http_usher_sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_queue_init(&ngx_http_usher_lines);

    ngx_http_usher_dummy.fd = (ngx_socket_t) -1;

    ngx_http_usher_look_event.handler = ngx_http_usher_look;
    ngx_http_usher_look_event.data = &ngx_http_usher_dummy;
    ngx_http_usher_look_event.log = cycle->log;
}


/* a request that waited already goes to the front */

ngx_int_t
ngx_http_usher_wait(ngx_http_usher_peer_t *peer, ngx_uint_t first)
{
    ngx_http_usher_line_t  *line;

    if (peer->request->upstream->peer.connection == NULL
        && ngx_http_usher_stand_by(peer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    line = ngx_http_usher_find_line(&peer->key);

    if (line == NULL) {
        line = ngx_http_usher_add_line(&peer->key);
        if (line == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, peer->request->connection->log, 0,
                   "usher wait for \"%V\"", &peer->key);

    peer->line = line;

    if (first) {
        ngx_queue_insert_head(&line->peers, &peer->queue);

    } else {
        ngx_queue_insert_tail(&line->peers, &peer->queue);

        /* nginx is about to count its connect timeout: that is stopped */

        ngx_post_event(&peer->event, &ngx_posted_events);
    }

    ngx_http_usher_look_in(NGX_HTTP_USHER_LOOK);

    return NGX_AGAIN;
}


void
ngx_http_usher_leave(ngx_http_usher_peer_t *peer)
{
    ngx_http_usher_line_t  *line;

    line = peer->line;

    if (line == NULL) {
        return;
    }

    peer->line = NULL;

    ngx_queue_remove(&peer->queue);

    if (!ngx_queue_empty(&line->peers)) {
        return;
    }

    ngx_queue_remove(&line->queue);
    ngx_rbtree_delete(&ngx_http_usher_tree, &line->sn.node);
    ngx_free(line);

    if (ngx_queue_empty(&ngx_http_usher_lines)
        && ngx_http_usher_look_event.timer_set)
    {
        ngx_del_timer(&ngx_http_usher_look_event);
    }
}


/* before a newcomer */

void
ngx_http_usher_let_in(ngx_str_t *key)
{
    ngx_http_usher_line_t  *line;

    line = ngx_http_usher_find_line(key);

    if (line) {
        (void) ngx_http_usher_serve(line, NGX_MAX_INT_T_VALUE, 0);
    }
}


/* somebody gave a place back that is for one of us */

void
ngx_http_usher_serve_lines(void)
{
    ngx_queue_t            *q;
    ngx_http_usher_line_t  *line;

    q = ngx_queue_head(&ngx_http_usher_lines);

    while (q != ngx_queue_sentinel(&ngx_http_usher_lines)) {

        line = ngx_queue_data(q, ngx_http_usher_line_t, queue);
        q = ngx_queue_next(q);

        (void) ngx_http_usher_serve(line, NGX_MAX_INT_T_VALUE, 0);
    }
}


/* after a place was given back */

ngx_uint_t
ngx_http_usher_hand_over(ngx_str_t *key)
{
    ngx_http_usher_line_t  *line;

    line = ngx_http_usher_find_line(key);

    if (line == NULL) {
        return 0;
    }

    return ngx_http_usher_serve(line, 1, 0);
}


static ngx_http_usher_line_t *
ngx_http_usher_find_line(ngx_str_t *key)
{
    if (ngx_queue_empty(&ngx_http_usher_lines)) {
        return NULL;
    }

    return (ngx_http_usher_line_t *)
               ngx_str_rbtree_lookup(&ngx_http_usher_tree, key,
                                     ngx_crc32_short(key->data, key->len));
}


static ngx_http_usher_line_t *
ngx_http_usher_add_line(ngx_str_t *key)
{
    ngx_http_usher_line_t  *line;

    line = ngx_alloc(sizeof(ngx_http_usher_line_t) + key->len,
                     ngx_cycle->log);
    if (line == NULL) {
        return NULL;
    }

    line->sn.str.len = key->len;
    line->sn.str.data = (u_char *) line + sizeof(ngx_http_usher_line_t);
    ngx_memcpy(line->sn.str.data, key->data, key->len);

    line->sn.node.key = ngx_crc32_short(key->data, key->len);

    ngx_queue_init(&line->peers);

    ngx_rbtree_insert(&ngx_http_usher_tree, &line->sn.node);
    ngx_queue_insert_tail(&ngx_http_usher_lines, &line->queue);

    return line;
}


/* whoever gets a place or a verdict leaves, and an emptied line is no more */

static ngx_uint_t
ngx_http_usher_serve(ngx_http_usher_line_t *line, ngx_uint_t max,
    ngx_uint_t all)
{
    ngx_int_t               rc;
    ngx_uint_t              served, last;
    ngx_queue_t            *q, *next;
    ngx_http_usher_peer_t  *peer;

    served = 0;
    last = 0;

    for (q = ngx_queue_head(&line->peers); !last && served < max; q = next) {

        next = ngx_queue_next(q);
        last = (next == ngx_queue_sentinel(&line->peers));

        peer = ngx_queue_data(q, ngx_http_usher_peer_t, queue);

        rc = ngx_http_usher_admit(peer);

        if (rc == NGX_AGAIN) {

            /* one that was turned away at all doors blocks nobody */

            if (all || peer->turn.avoids) {
                continue;
            }

            break;
        }

        served++;

        ngx_http_usher_leave(peer);

        if (!peer->event.posted) {
            ngx_post_event(&peer->event, &ngx_posted_events);
        }
    }

    return served;
}


static void
ngx_http_usher_look(ngx_event_t *ev)
{
    ngx_msec_t              delay, next;
    ngx_uint_t              all;
    ngx_queue_t            *q;
    ngx_http_usher_line_t  *line;

    all = (ngx_current_msec - ngx_http_usher_looked_at_all
           >= NGX_HTTP_USHER_LOOK_ALL);

    if (all) {
        ngx_http_usher_looked_at_all = ngx_current_msec;
    }

    delay = NGX_HTTP_USHER_LOOK_COLD;

    q = ngx_queue_head(&ngx_http_usher_lines);

    while (q != ngx_queue_sentinel(&ngx_http_usher_lines)) {

        line = ngx_queue_data(q, ngx_http_usher_line_t, queue);
        q = ngx_queue_next(q);

        next = ngx_http_usher_next_look(line);

        if (ngx_http_usher_serve(line, NGX_MAX_INT_T_VALUE, all)) {
            next = NGX_HTTP_USHER_LOOK;
        }

        delay = ngx_min(delay, next);
    }

    if (!ngx_queue_empty(&ngx_http_usher_lines)) {
        ngx_http_usher_look_in(delay);
    }
}


static ngx_msec_t
ngx_http_usher_next_look(ngx_http_usher_line_t *line)
{
    uint64_t                waited;
    ngx_msec_t              max;
    ngx_http_usher_peer_t  *peer;

    peer = ngx_queue_data(ngx_queue_head(&line->peers), ngx_http_usher_peer_t,
                          queue);

    max = (peer->turn.state == USHER_QUEUED) ? NGX_HTTP_USHER_LOOK_READY
                                             : NGX_HTTP_USHER_LOOK_COLD;

    waited = usher_request_waited_us(&peer->turn) / 1000
             / NGX_HTTP_USHER_PATIENCE;

    if (waited < NGX_HTTP_USHER_LOOK) {
        return NGX_HTTP_USHER_LOOK;
    }

    return (waited < max) ? (ngx_msec_t) waited : max;
}


static void
ngx_http_usher_look_in(ngx_msec_t delay)
{
    ngx_event_t  *ev;

    ev = &ngx_http_usher_look_event;

    if (ev->timer_set) {

        if ((ngx_msec_int_t) (ev->timer.key - ngx_current_msec)
            <= (ngx_msec_int_t) delay)
        {
            return;
        }

        /* a set timer is not moved by less than 300 ms */

        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, delay);
}
