/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Workers call each other when a place is free that another one's request
 * should have (native/channel/turn.c), or when a connection that one keeps
 * is in the way of another one's (native/channel/kept.c).  A worker is called by a futex, which
 * is nothing that an event loop can wait for: so a thread does, and tells the
 * loop by an eventfd.  It touches nothing else of nginx.
 */


#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "ngx_http_usher_module.h"


#define NGX_HTTP_USHER_STACK  65536


static ngx_int_t ngx_http_usher_start_thread(ngx_log_t *log);
static void *ngx_http_usher_listen(void *data);
static void ngx_http_usher_bell_handler(ngx_event_t *rev);


static ngx_socket_t  ngx_http_usher_bell = -1;


/* without it the worker still looks by itself, from time to time */

void
ngx_http_usher_init_bell(ngx_cycle_t *cycle)
{
    ngx_connection_t  *c;

    if (ngx_http_usher_bell != -1) {
        return;
    }

    ngx_http_usher_bell = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

    if (ngx_http_usher_bell == -1) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      "eventfd() failed");
        return;
    }

    c = ngx_get_connection(ngx_http_usher_bell, cycle->log);

    if (c == NULL) {
        goto failed;
    }

    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->channel = 1;               /* open when the worker ends */
    c->read->handler = ngx_http_usher_bell_handler;

    if (ngx_add_event(c->read, NGX_READ_EVENT,
                      (ngx_event_flags & NGX_USE_CLEAR_EVENT)
                      ? NGX_CLEAR_EVENT : NGX_LEVEL_EVENT)
        != NGX_OK
        || ngx_http_usher_start_thread(cycle->log) != NGX_OK)
    {
        ngx_close_connection(c);
        ngx_http_usher_bell = -1;
    }

    return;

failed:

    (void) ngx_close_socket(ngx_http_usher_bell);
    ngx_http_usher_bell = -1;
}


/* nginx's signals are for its own thread */

static ngx_int_t
ngx_http_usher_start_thread(ngx_log_t *log)
{
    int             err;
    sigset_t        all, before;
    pthread_t       thread;
    pthread_attr_t  attr;

    err = pthread_attr_init(&attr);

    if (err) {
        ngx_log_error(NGX_LOG_ALERT, log, err, "pthread_attr_init() failed");
        return NGX_ERROR;
    }

    (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void) pthread_attr_setstacksize(&attr, NGX_HTTP_USHER_STACK);

    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);

    err = pthread_create(&thread, &attr, ngx_http_usher_listen, NULL);

    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void) pthread_attr_destroy(&attr);

    if (err) {
        ngx_log_error(NGX_LOG_ALERT, log, err, "pthread_create() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void *
ngx_http_usher_listen(void *data)
{
    ssize_t   n;
    uint32_t  heard;
    uint64_t  one;

    heard = 0;
    one = 1;

    for ( ;; ) {
        usher_worker_sleep(ngx_http_usher.channel, &heard);

        do {
            n = write(ngx_http_usher_bell, &one, sizeof(uint64_t));
        } while (n == -1 && ngx_errno == NGX_EINTR);
    }

    return NULL;
}


static void
ngx_http_usher_bell_handler(ngx_event_t *rev)
{
    ssize_t            n;
    uint64_t           rings;
    ngx_connection_t  *c;

    c = rev->data;

    n = read(c->fd, &rings, sizeof(uint64_t));

    if (n == -1 && ngx_errno != NGX_EAGAIN) {
        ngx_log_error(NGX_LOG_ALERT, rev->log, ngx_errno,
                      "read() eventfd failed");
    }

    ngx_http_usher_close_in_way();
    ngx_http_usher_serve_lines();
}
