/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, started at the first use, closes what nobody took in time. Kept connections have
 * deadlines, and are looked at now and then whether they are in the way of another worker's requests
 * (native/channel/kept.c); whoever takes one looks whether it is still good. Left ones are polled.
 */
#include "connections.h"
#include "fcgi_client.h"

#include "os/os.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

APLOG_USE_MODULE(usher);

#define KEEP_LOCAL_MS  20 /* a connect() costs 0.02 */
#define KEEP_REMOTE_MS 1000
#define KEEP_LOOK_MS   4    /* between looks whether kept ones are in the way */
#define LOOK_MS        1000 /* between looks whether the instance is in use */

typedef struct connection connection;
struct connection {
    connection *next;
    int fd;
    apr_uint64_t until_ms; /* kept: closed then; left: looked at */

    usher_channel_t *channel;

    usher_ref_t endpoint; /* kept */

    int is_left;
    usher_request_t place;
    usher_outcome_t outcome;
    apr_uint64_t waits_until_ms; /* in any case */
    apr_uint64_t deadline_ms;    /* of the whole request */
    apr_uint32_t request_timeout_ms;
    server_rec *server;
    char key[USHER_KEY_MAX];
};

static struct {
    pthread_mutex_t lock; /* of all that follows; never held while anything is waited for */
    connection *kept;     /* newest first */
    connection *left;
    apr_uint64_t wakes_at_ms; /* when the thread will look by itself */
    int wake_fd;              /* eventfd, -1 = there is no thread */
    int ends;
    int refused; /* no thread could be made */
    pthread_t thread;
} these = { .lock = PTHREAD_MUTEX_INITIALIZER, .wakes_at_ms = APR_UINT64_MAX, .wake_fd = -1 };

static apr_uint64_t now_ms(void)
{
    return usher_os_coarse_now_ns() / 1000000;
}

static void wake(void)
{
    eventfd_t one = 1;

    (void)eventfd_write(these.wake_fd, one);
}

/* ---- the thread -------------------------------------------------------- */

static void end_one(connection *at)
{
    close(at->fd);
    if (at->is_left) {
        usher_request_end(at->channel, &at->place, at->outcome);
        usher_connection_was_left();
    }
    free(at);
}

static void end_all(connection *list)
{
    while (list) {
        connection *next = list->next;

        end_one(list);
        list = next;
    }
}

static void plan_look(connection *at, apr_uint64_t now)
{
    at->until_ms = at->waits_until_ms > now ? at->waits_until_ms : now + LOOK_MS;
    if (at->request_timeout_ms && at->deadline_ms < at->until_ms) {
        at->until_ms = at->deadline_ms;
    }
}

/* Is a kept one to be kept, a left one to be waited for longer? */
static int goes_on(connection *at, apr_uint64_t now)
{
    if (!at->is_left) {
        return at->until_ms > now && !usher_kept_is_in_way(at->channel, at->endpoint);
    }
    if (at->until_ms > now) {
        return 1;
    }
    if (at->request_timeout_ms && at->deadline_ms <= now) {
        if (usher_request_is_overdue(at->channel, &at->place)) {
            at->outcome = USHER_OUTCOME_TIMED_OUT;
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, at->server,
                         "class \"%s\": the program did not end a request that was given up, "
                         "within %u ms (-request-timeout): it hangs",
                         at->key, (unsigned)at->request_timeout_ms);
            return 0;
        }
        at->deadline_ms = now + at->request_timeout_ms; /* it was starting */
    }
    if (at->waits_until_ms <= now && !usher_request_has_use(at->channel, &at->place)) {
        return 0;
    }
    plan_look(at, now);
    return 1;
}

/* Take those that are due out of a list. Returns when the rest is to be looked at. */
static apr_uint64_t take_due(connection **list, apr_uint64_t now, connection **due)
{
    apr_uint64_t earliest = APR_UINT64_MAX;

    while (*list) {
        connection *at = *list;

        if (goes_on(at, now)) {
            earliest = at->until_ms < earliest ? at->until_ms : earliest;
            list = &at->next;
        }
        else {
            *list = at->next;
            at->next = *due;
            *due = at;
            if (!at->is_left) {
                usher_kept_remove(at->channel, at->endpoint);
            }
        }
    }
    return earliest;
}

/* Left ones whose program has said something or ended. */
static void take_ready(const struct pollfd *fds, nfds_t count, connection **ready)
{
    nfds_t i;

    for (i = 1; i < count; i++) {
        connection **at = &these.left;

        if (!fds[i].revents) {
            continue;
        }
        while (*at && (*at)->fd != fds[i].fd) {
            at = &(*at)->next;
        }
        if (*at) {
            connection *found = *at;

            *at = found->next;
            found->next = *ready;
            *ready = found;
        }
    }
}

/* Room for all that are left and the eventfd; 0 = no memory. */
static nfds_t list_left(struct pollfd **fds, nfds_t *room)
{
    const connection *at;
    nfds_t count = 1;

    for (at = these.left; at; at = at->next) {
        count++;
    }
    if (count > *room) {
        struct pollfd *more = realloc(*fds, 2 * count * sizeof(**fds));

        if (!more) {
            return 0;
        }
        *fds = more;
        *room = 2 * count;
    }
    (*fds)[0] = (struct pollfd){ these.wake_fd, POLLIN, 0 };
    for (count = 1, at = these.left; at; at = at->next) {
        (*fds)[count++] = (struct pollfd){ at->fd, POLLIN | POLLRDHUP, 0 };
    }
    return count;
}

static int wait_ms(apr_uint64_t until, apr_uint64_t now)
{
    if (until == APR_UINT64_MAX) {
        return -1;
    }
    return until - now < 60000 ? (int)(until - now) : 60000;
}

static void *watch(void *data)
{
    struct pollfd *fds = NULL;
    nfds_t count = 0, room = 0;

    for (;;) {
        connection *done = NULL;
        apr_uint64_t now = now_ms(), kept_until, until;
        eventfd_t seen;

        pthread_mutex_lock(&these.lock);
        if (these.ends) {
            pthread_mutex_unlock(&these.lock);
            break;
        }
        take_ready(fds, count, &done);
        kept_until = take_due(&these.kept, now, &done);
        until = take_due(&these.left, now, &done);
        until = kept_until < until ? kept_until : until;
        if (these.kept && now + KEEP_LOOK_MS < until) {
            until = now + KEEP_LOOK_MS;
        }
        these.wakes_at_ms = until;
        count = list_left(&fds, &room);
        pthread_mutex_unlock(&these.lock);

        end_all(done);
        if (count == 0) { /* without memory for poll(): look again soon */
            poll(NULL, 0, KEEP_LOCAL_MS);
            continue;
        }
        if (poll(fds, count, wait_ms(until, now)) <= 0) {
            count = 0;
        }
        else if (fds[0].revents) {
            (void)eventfd_read(these.wake_fd, &seen);
        }
    }
    free(fds);
    return NULL;
}

/* With the lock held. False: connections cannot outlive their request here. */
static int thread_is_there(server_rec *s)
{
    sigset_t all, before;
    int error;

    if (these.wake_fd >= 0 || these.refused) {
        return !these.refused;
    }
    these.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (these.wake_fd < 0) {
        error = errno;
    }
    else {
        sigfillset(&all); /* httpd's own threads take its signals */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        error = pthread_create(&these.thread, NULL, watch, NULL);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (error) {
        these.refused = 1;
        if (these.wake_fd >= 0) {
            close(these.wake_fd);
            these.wake_fd = -1;
        }
        ap_log_error(APLOG_MARK, APLOG_WARNING, error, s,
                     "no thread for connections that outlive their request: they are closed");
    }
    return !error;
}

/* ---- kept -------------------------------------------------------------- */

static int is_local(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    return getsockname(fd, (struct sockaddr *)&address, &length) == 0
           && address.ss_family == AF_UNIX;
}

static int add(usher_call *call, connection **list, connection *new)
{
    int is_added = 0;

    pthread_mutex_lock(&these.lock);
    if (!these.ends && thread_is_there(call->r->server)) {
        new->next = *list;
        *list = new;
        is_added = 1;
        if (new->is_left || new->until_ms < these.wakes_at_ms) {
            these.wakes_at_ms = 0; /* it is told once */
            wake();
        }
    }
    pthread_mutex_unlock(&these.lock);
    if (is_added) {
        call->fd = -1;
    }
    else {
        free(new);
    }
    return is_added;
}

void usher_connection_keep(usher_call *call)
{
    usher_ref_t endpoint = call->place.endpoint_ref;
    connection *new;

    if (!usher_kept_add(call->channel, endpoint)) {
        return;
    }
    new = malloc(sizeof(*new));
    if (new) {
        new->fd = call->fd;
        new->channel = call->channel;
        new->endpoint = endpoint;
        new->is_left = 0;
        new->until_ms = now_ms() + (is_local(call->fd) ? KEEP_LOCAL_MS : KEEP_REMOTE_MS);
    }
    if (!new || !add(call, &these.kept, new)) {
        usher_kept_remove(call->channel, endpoint);
    }
}

static connection *find_kept(usher_ref_t endpoint)
{
    connection **at;

    for (at = &these.kept; *at; at = &(*at)->next) {
        connection *found = *at;

        if (found->endpoint.index == endpoint.index
            && found->endpoint.generation == endpoint.generation) {
            *at = found->next;
            return found;
        }
    }
    return NULL;
}

int usher_connection_take(usher_call *call)
{
    for (;;) {
        connection *found;
        char byte;
        int fd;

        pthread_mutex_lock(&these.lock);
        found = find_kept(call->place.endpoint_ref);
        pthread_mutex_unlock(&these.lock);
        if (!found) {
            usher_kept_call(call->channel, call->place.endpoint_ref);
            return 0;
        }
        fd = found->fd;
        free(found);
        usher_kept_remove(call->channel, call->place.endpoint_ref);
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0
            && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            call->fd = fd;
            return 1;
        }
        close(fd); /* the program has ended, or is not done: neither is of use */
    }
}

/* ---- left -------------------------------------------------------------- */

int usher_connection_leave(usher_call *call, usher_outcome_t outcome)
{
    connection *new = malloc(sizeof(*new));
    apr_uint64_t now = now_ms();

    if (!new) {
        return 0;
    }
    new->fd = call->fd;
    new->channel = call->channel;
    new->is_left = 1;
    new->place = call->place;
    new->outcome = outcome;
    new->waits_until_ms = now + usher_client_patience(call);
    new->deadline_ms = call->request_at_ms;
    new->request_timeout_ms = call->limits.request_timeout_ms;
    new->server = call->r->server;
    apr_cpystrn(new->key, call->key, sizeof(new->key));
    new->place.key = new->key;
    plan_look(new, now);
    return add(call, &these.left, new);
}

/* ---- child ------------------------------------------------------------- */

/*
 * Prefork runs this in a signal handler, which may have interrupted who holds the lock, or is in the
 * channel: the manager settles what is left, as after a child that was killed.
 */
static apr_status_t end_child(void *data)
{
    const connection *at;

    if (pthread_mutex_trylock(&these.lock) != 0) {
        return APR_SUCCESS;
    }
    these.ends = 1;
    if (these.wake_fd >= 0) {
        wake();
    }
    pthread_mutex_unlock(&these.lock);

    if (these.wake_fd >= 0) {
        pthread_join(these.thread, NULL); /* httpd may unload its code */
    }
    for (at = these.kept; at; at = at->next) {
        close(at->fd);
    }
    for (at = these.left; at; at = at->next) {
        close(at->fd);
    }
    these.kept = these.left = NULL;
    return APR_SUCCESS;
}

void usher_connections_init(apr_pool_t *pchild)
{
    apr_pool_cleanup_register(pchild, NULL, end_child, apr_pool_cleanup_null);
}
