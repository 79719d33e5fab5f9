/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/refusal.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/channel.h"
#include "launcher/loop.h"
#include "os/os.h"

/* FastCGI 1.0 §3.3, §5. Our modules, like every server that opens a connection for each request,
 * number it 1. */
#define FCGI_VERSION 1
#define FCGI_END_REQUEST 3
#define FCGI_STDOUT 6
#define FCGI_STDERR 7
#define FCGI_REQUEST_ID 1
#define FCGI_HEADER_BYTES 8
#define FCGI_END_REQUEST_BYTES 8

#define REASON_BYTES 1024
/* Less than a socket buffer: it is written whole or not at all. With a page, almost as much. */
#define ANSWER_BYTES (2048 + USHER_PAGE_MAX)
#define PATIENCE_NS (5 * NS_PER_S)
#define REFUSED_AT_ONCE_MAX 4096

typedef struct {
    size_t length;
    unsigned char bytes[ANSWER_BYTES];
} answer_t;

/* One connection: answered, and kept until its peer has closed. Closing it while the peer still
 * sends would break the connection under the answer. */
typedef struct {
    watch_t watch;
    alarm_t alarm;
} refusal_t;

static void put_record(answer_t *answer, unsigned char type, const void *content, size_t length) {
    unsigned char *record = answer->bytes + answer->length;
    memset(record, 0, FCGI_HEADER_BYTES);
    record[0] = FCGI_VERSION;
    record[1] = type;
    record[3] = FCGI_REQUEST_ID;
    record[4] = (unsigned char)(length >> 8);
    record[5] = (unsigned char)length;
    memcpy(record + FCGI_HEADER_BYTES, content, length);
    answer->length += FCGI_HEADER_BYTES + length;
}

static void put_text(answer_t *answer, unsigned char type, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_text(answer_t *answer, unsigned char type, const char *format, ...) {
    char text[REASON_BYTES];
    va_list arguments;
    va_start(arguments, format);
    size_t length = (size_t)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    put_record(answer, type, text, length < sizeof(text) ? length : sizeof(text) - 1);
}

static void make_answer(answer_t *answer, const refusal_answer_t *words) {
    static const unsigned char end[FCGI_END_REQUEST_BYTES];
    size_t page_bytes = words->page != NULL ? strlen(words->page) : 0;
    bool has_page = page_bytes > 0 && page_bytes <= USHER_PAGE_MAX;
    char body[256];
    answer->length = 0;
    put_text(answer, FCGI_STDERR, "usher: %s", words->reason);
    put_text(answer, FCGI_STDOUT,
             "Status: 503 Service Unavailable\r\nContent-Type: %s; charset=utf-8\r\n"
             "Cache-Control: no-store\r\nRetry-After: %u\r\n\r\n",
             has_page ? "text/html" : "text/plain", words->retry_after_s);
    if (has_page)
        put_record(answer, FCGI_STDOUT, words->page, page_bytes);
    else
        put_record(answer, FCGI_STDOUT, body,
                   usher_refused_text(words->reason, body, sizeof(body)));
    put_record(answer, FCGI_STDOUT, "", 0);
    put_record(answer, FCGI_END_REQUEST, end, sizeof(end));
}

static void end_refusal(refusal_t *refusal) {
    watch_stop(&refusal->watch);
    alarm_cancel(&refusal->alarm);
    close(refusal->watch.fd);
    free(refusal);
}

static void on_more(watch_t *watch) {
    char ignored[16384];
    ssize_t length = recv(watch->fd, ignored, sizeof(ignored), MSG_DONTWAIT);
    if (length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    end_refusal(OWNER_OF(watch, refusal_t, watch));
}

static void on_patience_over(alarm_t *alarm) {
    end_refusal(OWNER_OF(alarm, refusal_t, alarm));
}

static void refuse(int fd, const answer_t *answer) {
    refusal_t *refusal = calloc(1, sizeof(*refusal));
    ssize_t sent = send(fd, answer->bytes, answer->length, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    if (refusal == NULL || sent < 0) {
        free(refusal);
        close(fd);
        return;
    }
    refusal->watch.fd = fd;
    refusal->watch.on_event = on_more;
    refusal->alarm.on_due = on_patience_over;
    if (watch_start(&refusal->watch) < 0) {
        close(fd);
        free(refusal);
        return;
    }
    alarm_set(&refusal->alarm, usher_os_now_ns() + PATIENCE_NS);
}

void refuse_waiting(int listener, const refusal_answer_t *words) {
    static answer_t answer;
    make_answer(&answer, words);
    struct pollfd queue = {.fd = listener, .events = POLLIN};
    /* the listener stays a blocking one: programs may share it again */
    for (int refused = 0; refused < REFUSED_AT_ONCE_MAX && poll(&queue, 1, 0) > 0; refused++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            return;
        refuse(fd, &answer);
    }
}
