/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi_client.h"
#include "fcgi_records.h"

#include "apr_portable.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

APLOG_USE_MODULE(usher);

#define READ_BUFFER 32768
#define STDERR_LINE 4096
#define GATHER_MS   5 /* where the client cannot be polled, and may block us */
#define FOREVER     APR_UINT64_C(0x7fffffffffffffff)

static apr_uint64_t now_ms(void)
{
    return usher_os_coarse_now_ns() / 1000000;
}

int usher_client_fd(const conn_rec *c)
{
    apr_os_sock_t fd = -1;
    apr_socket_t *socket = c->master ? NULL : ap_get_conn_socket((conn_rec *)c);

    if (socket) {
        apr_os_sock_get(&fd, socket);
    }
    return fd;
}

const char *usher_client_program(const usher_call *call)
{
    return call->limits.pid
               ? apr_psprintf(call->r->pool, "the program (pid %u)", (unsigned)call->limits.pid)
               : "the program";
}

/* ---- connection -------------------------------------------------------- */

void usher_client_close(usher_call *call)
{
    if (call->fd >= 0) {
        close(call->fd);
        call->fd = -1;
    }
}

static int wait_connected(int fd, apr_uint32_t timeout_ms)
{
    struct pollfd pfd = { fd, POLLOUT, 0 };
    apr_uint64_t deadline = now_ms() + timeout_ms;
    int error = 0;
    socklen_t size = sizeof(error);

    for (;;) {
        apr_uint64_t now = now_ms();
        int n = poll(&pfd, 1, now < deadline ? (int)(deadline - now) : 0);

        if (n > 0) {
            break;
        }
        if (n == 0) {
            return ETIMEDOUT;
        }
        if (errno != EINTR) {
            return errno;
        }
    }
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) {
        return errno;
    }
    return error;
}

int usher_client_connect(usher_call *call, apr_uint32_t timeout_ms)
{
    const struct sockaddr *address = (const struct sockaddr *)&call->address;
    int error = 0;

    call->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (call->fd < 0) {
        return errno;
    }
    if (connect(call->fd, address, call->address_length) < 0) {
        error = errno;
        if (error == EINPROGRESS) {
            error = wait_connected(call->fd, timeout_ms);
        }
    }
    if (error) {
        usher_client_close(call);
    }
    return error;
}

apr_uint64_t usher_client_patience(const usher_call *call)
{
    return call->limits.idle_timeout_ms ? call->limits.idle_timeout_ms
                                        : (apr_uint64_t)apr_time_as_msec(call->r->server->timeout);
}

/* ---- what is sent ------------------------------------------------------ */

/* BEGIN_REQUEST, PARAMS, STDIN in pieces. */
typedef struct {
    struct iovec iov[3];
    int first, count; /* iov[first] … iov[count - 1] are not sent yet */
    const usher_body *body;
    apr_off_t offset; /* of the body's next byte in its file */
    char *chunk;      /* holds a STDIN record of a body in a file, and the last one */
    char last[USHER_FCGI_HEADER];
    int give_up; /* the program reads no more */
} sender;

static void add_iov(sender *out, char *data, apr_size_t length)
{
    out->iov[out->count].iov_base = data;
    out->iov[out->count].iov_len = length;
    out->count++;
}

static void start_sending(sender *out, usher_call *call)
{
    char *behind_head = call->head + call->head_length;

    memset(out, 0, sizeof(*out));
    out->body = &call->body;
    add_iov(out, call->head, call->head_length);

    if (call->role == AP_FCGI_AUTHORIZER) {
        return; /* FastCGI 1.0 §6.3: the body is the responder's, there is no STDIN */
    }
    if (call->body.fd >= 0) {
        out->chunk = apr_palloc(call->r->pool, 2 * USHER_FCGI_HEADER + USHER_FCGI_CONTENT);
    }
    else if (call->body.length == 0) {
        usher_fcgi_put_header(behind_head, AP_FCGI_STDIN, 0);
        out->iov[0].iov_len += USHER_FCGI_HEADER;
    }
    else {
        usher_fcgi_put_header(behind_head, AP_FCGI_STDIN, (apr_size_t)call->body.length);
        out->iov[0].iov_len += USHER_FCGI_HEADER;
        add_iov(out, call->body.bytes, (apr_size_t)call->body.length);
        usher_fcgi_put_header(out->last, AP_FCGI_STDIN, 0);
        add_iov(out, out->last, sizeof(out->last));
    }
}

static int all_sent(const sender *out)
{
    return out->give_up
           || (out->first == out->count && (out->body->fd < 0 || out->offset == out->body->length));
}

/* The next STDIN record from the file; 0 or an errno. */
static int load_chunk(sender *out)
{
    apr_off_t left = out->body->length - out->offset;
    apr_size_t wanted = left < USHER_FCGI_CONTENT ? (apr_size_t)left : USHER_FCGI_CONTENT;
    apr_size_t have = 0;
    char *data = out->chunk + USHER_FCGI_HEADER;

    while (have < wanted) {
        ssize_t n = pread(out->body->fd, data + have, wanted - have, out->offset + (apr_off_t)have);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        have += (apr_size_t)n;
    }
    out->offset += (apr_off_t)have;
    usher_fcgi_put_header(out->chunk, AP_FCGI_STDIN, have);
    have += USHER_FCGI_HEADER;
    if (out->offset == out->body->length) {
        usher_fcgi_put_header(out->chunk + have, AP_FCGI_STDIN, 0);
        have += USHER_FCGI_HEADER;
    }
    out->first = out->count = 0;
    add_iov(out, out->chunk, have);
    return 0;
}

static void count_sent(sender *out, apr_size_t n)
{
    while (out->first < out->count && n >= out->iov[out->first].iov_len) {
        n -= out->iov[out->first].iov_len;
        out->first++;
    }
    if (n > 0) {
        out->iov[out->first].iov_base = (char *)out->iov[out->first].iov_base + n;
        out->iov[out->first].iov_len -= n;
    }
}

/* Send what the socket takes. 1 something went out, 0 nothing, -1 the body cannot be read back. A
 * program that reads no further may still answer: that is not an error here. */
static int send_some(sender *out, usher_call *call)
{
    int progress = 0;

    while (!all_sent(out)) {
        struct msghdr msg;
        ssize_t n;
        int error;

        if (out->first == out->count && (error = load_chunk(out)) != 0) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, error, call->r,
                          "cannot read the request body back");
            return -1;
        }
        memset(&msg, 0, sizeof(msg));
        msg.msg_iov = out->iov + out->first;
        msg.msg_iovlen = (size_t)(out->count - out->first);
        n = sendmsg(call->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                out->give_up = 1;
            }
            break;
        }
        count_sent(out, (apr_size_t)n);
        call->any_sent = 1;
        progress = 1;
    }
    call->is_sent = all_sent(out) && !out->give_up;
    return progress;
}

/* ---- STDERR ------------------------------------------------------------ */

typedef struct {
    usher_call *call;
    apr_size_t length;
    char line[STDERR_LINE];
} error_lines;

static void log_line(error_lines *lines)
{
    while (lines->length > 0 && lines->line[lines->length - 1] == '\r') {
        lines->length--;
    }
    if (lines->length > 0) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, lines->call->r, "class \"%s\": %.*s",
                      lines->call->key, (int)lines->length, lines->line);
    }
    lines->length = 0;
}

static void log_bytes(error_lines *lines, const char *data, apr_size_t length)
{
    apr_size_t i;

    for (i = 0; i < length; i++) {
        if (data[i] == '\n' || lines->length == sizeof(lines->line)) {
            log_line(lines);
        }
        if (data[i] != '\n') {
            lines->line[lines->length++] = data[i] ? data[i] : ' ';
        }
    }
}

/* ---- the exchange ------------------------------------------------------ */

typedef struct {
    usher_call *call;
    usher_answer *answer;
    sender out;
    usher_fcgi_reader in;
    error_lines *errors; /* made at the first byte of STDERR */
    char *buffer;
    int client_fd;
    int stdout_ended;
    int status; /* for the client, when the call fails */
    apr_uint64_t idle_ms;
    apr_uint64_t idle_at;   /* the program is too slow then */
    apr_uint64_t client_at; /* the client is too slow then, 0 = it has nothing to take */
} exchange;

typedef enum { GO_ON, ENDED } step;

static step end_call(exchange *ex, usher_call_result *result, usher_call_result value, int status)
{
    ex->status = status;
    *result = value;
    return ENDED;
}

static step refused_by_program(exchange *ex, usher_call_result *result)
{
    static const char *const reasons[] = { "", "it cannot take two requests on one connection",
                                           "it is overloaded", "it does not know the role" };
    int status = ex->in.protocol_status;

    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, ex->call->r,
                  "class \"%s\": the program refused the request: %s (protocol status %d)",
                  ex->call->key, status < 4 ? reasons[status] : "unknown reason", status);
    return end_call(ex, result, USHER_CALL_OVERLOADED, HTTP_SERVICE_UNAVAILABLE);
}

static step take_records(exchange *ex, const char *bytes, apr_size_t left,
                         usher_call_result *result)
{
    const char *data = NULL;
    apr_size_t length = 0;
    int status;

    for (;;) {
        switch (usher_fcgi_read(&ex->in, &bytes, &left, &data, &length)) {
        case USHER_FCGI_OUT:
            if ((status = usher_answer_add(ex->answer, data, length)) != OK) {
                return end_call(ex, result, USHER_CALL_USELESS, status);
            }
            break;
        case USHER_FCGI_OUT_END:
            ex->stdout_ended = 1;
            break;
        case USHER_FCGI_ERR:
            if (!ex->errors) {
                ex->errors = apr_palloc(ex->call->r->pool, sizeof(*ex->errors));
                ex->errors->call = ex->call;
                ex->errors->length = 0;
            }
            log_bytes(ex->errors, data, length);
            break;
        case USHER_FCGI_END:
            if (ex->in.protocol_status != 0) {
                return refused_by_program(ex, result);
            }
            ex->call->is_clean = ex->call->is_sent && left == ex->in.padding_left;
            return end_call(ex, result, USHER_CALL_COMPLETE, OK);
        case USHER_FCGI_BROKEN:
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, ex->call->r,
                          "class \"%s\": the program sent %s", ex->call->key, ex->in.broken);
            return end_call(ex, result, USHER_CALL_USELESS, HTTP_BAD_GATEWAY);
        case USHER_FCGI_MORE:
            return GO_ON;
        }
    }
}

static step connection_closed(exchange *ex, int error, usher_call_result *result)
{
    usher_call *call = ex->call;

    if (ex->stdout_ended) { /* no END_REQUEST, but all was said */
        return end_call(ex, result, USHER_CALL_COMPLETE, OK);
    }
    ap_log_rerror(APLOG_MARK, call->is_kept && !ex->answer->any ? APLOG_DEBUG : APLOG_ERR, error,
                  call->r, "class \"%s\": %s died or closed the connection %s", call->key,
                  usher_client_program(call),
                  ex->answer->any ? "in the middle of its answer" : "before answering");
    return end_call(ex, result, USHER_CALL_BROKEN, HTTP_BAD_GATEWAY);
}

static step read_some(exchange *ex, usher_call_result *result)
{
    ssize_t n = recv(ex->call->fd, ex->buffer, READ_BUFFER, MSG_DONTWAIT);

    if (n > 0) {
        return take_records(ex, ex->buffer, (apr_size_t)n, result);
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return GO_ON;
    }
    return connection_closed(ex, n < 0 ? errno : 0, result);
}

static step timed_out(exchange *ex, usher_call_result how, const char *what,
                      usher_call_result *result)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, ex->call->r, "class \"%s\": %s %s", ex->call->key,
                  usher_client_program(ex->call), what);
    return end_call(ex, result, how, HTTP_GATEWAY_TIME_OUT);
}

/* Has -request-timeout passed? A program that was starting has all of it from then on. */
static int is_overdue(exchange *ex, apr_uint64_t now)
{
    usher_call *call = ex->call;

    if (now < call->request_at_ms) {
        return 0;
    }
    if (usher_request_is_overdue(call->channel, &call->place)) {
        return 1;
    }
    call->request_at_ms = now + call->limits.request_timeout_ms;
    return 0;
}

/* -request-timeout also ends a request that makes progress; the other clocks do not. */
static step check_clocks(exchange *ex, int is_quiet, int reading, usher_call_result *result)
{
    apr_uint64_t now = now_ms();

    if (is_overdue(ex, now)) {
        if (!reading) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, ex->call->r,
                          "class \"%s\": the client did not take the answer within "
                          "-request-timeout",
                          ex->call->key);
            return end_call(ex, result, USHER_CALL_USELESS, HTTP_GATEWAY_TIME_OUT);
        }
        return timed_out(ex, USHER_CALL_TIMEOUT,
                         "did not finish the request within -request-timeout", result);
    }
    if (!is_quiet) {
        return GO_ON;
    }
    if (reading && now >= ex->idle_at) {
        return timed_out(ex, USHER_CALL_SILENT,
                         "made no progress with the request within -idle-timeout", result);
    }
    if (ex->client_at && now >= ex->client_at) {
        return end_call(ex, result, USHER_CALL_CLIENT_GONE, OK);
    }
    return GO_ON;
}

static int wait_ms(const exchange *ex, int reading)
{
    apr_uint64_t now = now_ms();
    apr_uint64_t until = ex->call->request_at_ms;

    if (reading && ex->idle_at < until) {
        until = ex->idle_at;
    }
    if (ex->client_at && ex->client_at < until) {
        until = ex->client_at;
    }
    if (until <= now) {
        return 0;
    }
    return until - now < 60000 ? (int)(until - now) : 60000;
}

/* What is passed on at a time: little where we see when the client takes more. */
static apr_size_t piece(const exchange *ex)
{
    return ex->client_fd >= 0 ? USHER_ANSWER_PIECE : USHER_ANSWER_AHEAD;
}

/* Pass on what is queued; the program is not to blame for the time that takes. */
static step pass_on(exchange *ex, int flush, usher_call_result *result)
{
    usher_answer *a = ex->answer;

    flush = flush && a->queued <= (apr_off_t)piece(ex);
    if (usher_answer_pass(a, piece(ex), flush) != APR_SUCCESS) {
        return end_call(ex, result, USHER_CALL_CLIENT_GONE, OK);
    }
    ex->client_at = 0;
    ex->idle_at = now_ms() + ex->idle_ms;
    return GO_ON;
}

/* One round: wait until somebody is ready, then serve the program first. */
static step turn(exchange *ex, usher_call_result *result)
{
    usher_call *call = ex->call;
    usher_answer *a = ex->answer;
    int reading = a->queued < USHER_ANSWER_AHEAD;
    int to_pass = a->queued > 0 || a->unflushed;
    int client_ready, quiet;
    struct pollfd fds[2] = { { call->fd, 0, 0 }, { ex->client_fd, POLLOUT, 0 } };
    nfds_t count = to_pass && ex->client_fd >= 0 ? 2 : 1;
    int n;

    fds[0].events = (short)((reading ? POLLIN : 0) | (all_sent(&ex->out) ? 0 : POLLOUT));
    if (!fds[0].events) {
        fds[0].fd = -1; /* else a closed connection would wake us for ever */
    }
    if (count == 2 && !ex->client_at) {
        ex->client_at = now_ms() + (apr_uint64_t)apr_time_as_msec(call->r->server->timeout);
    }

    if (to_pass && ex->client_fd < 0) {
        n = poll(fds, count, reading ? GATHER_MS : 0);
    }
    else {
        n = poll(fds, count, wait_ms(ex, reading));
    }
    if (n < 0) {
        if (errno == EINTR) {
            return GO_ON;
        }
        ap_log_rerror(APLOG_MARK, APLOG_ERR, errno, call->r, "poll() failed");
        return end_call(ex, result, USHER_CALL_USELESS, HTTP_INTERNAL_SERVER_ERROR);
    }
    if ((n == 0 || call->limits.request_timeout_ms)
        && check_clocks(ex, n == 0, reading, result) == ENDED) {
        return ENDED;
    }

    if (fds[0].revents) {
        ex->idle_at = now_ms() + ex->idle_ms;
    }
    if ((fds[0].revents & POLLOUT) && send_some(&ex->out, call) < 0) {
        return end_call(ex, result, USHER_CALL_USELESS, HTTP_INTERNAL_SERVER_ERROR);
    }
    quiet = !(fds[0].revents & (POLLIN | POLLHUP | POLLERR));
    if (!quiet && reading && read_some(ex, result) == ENDED) {
        return ENDED;
    }

    client_ready = to_pass && (ex->client_fd < 0 || fds[1].revents);
    if (call->limits.flags & USHER_CLASS_FLUSH) {
        if (!quiet && a->queued > 0) {
            return pass_on(ex, 1, result);
        }
    }
    if (client_ready && (quiet || a->queued >= (apr_off_t)piece(ex))) {
        return pass_on(ex, quiet, result);
    }
    return GO_ON;
}

usher_call_result usher_client_run(usher_call *call, int *status)
{
    usher_call_result result = USHER_CALL_USELESS;
    exchange ex;

    memset(&ex, 0, sizeof(ex));
    ex.call = call;
    call->is_sent = call->any_sent = call->is_clean = 0;
    usher_fcgi_set_keep(call->head, (call->limits.flags & USHER_CLASS_KEEP_CONN) != 0);
    start_sending(&ex.out, call);
    if (send_some(&ex.out, call) < 0) {
        *status = HTTP_INTERNAL_SERVER_ERROR;
        return USHER_CALL_USELESS;
    }

    ex.answer = &call->answer;
    ex.client_fd = usher_client_fd(call->r->connection);
    ex.buffer = apr_palloc(call->r->pool, READ_BUFFER);
    ex.idle_ms = usher_client_patience(call);
    ex.idle_at = now_ms() + ex.idle_ms;
    call->request_at_ms =
        call->limits.request_timeout_ms ? now_ms() + call->limits.request_timeout_ms : FOREVER;
    usher_fcgi_reader_init(&ex.in);
    while (turn(&ex, &result) == GO_ON)
        ;

    if (ex.errors) {
        log_line(ex.errors);
    }
    *status = ex.status;
    return result;
}
