/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "launcher/log.h"
#include "launcher/loop.h"
#include "os/os.h"

#define DROPPED_REPORT_NS NS_PER_S

/* What may wait for a manager that asks and asks and does not read: more than the lists of the
 * largest installation, less than what we can do without. */
#define WAITING_BYTES_MAX ((size_t)64 << 20)
#define WAITING_DESCRIPTORS_MAX 512

typedef struct waiting waiting_t;
struct waiting {
    waiting_t *next;
    int descriptors[LINK_DESCRIPTORS_MAX]; /* its own; -1 behind the last */
    size_t length;
    char bytes[];
};

static const int no_descriptors[] = {-1};
static waiting_t *waiting_first, **waiting_end = &waiting_first;
static size_t waiting_bytes, waiting_descriptors;
static size_t greeting_descriptors = SIZE_MAX; /* that waited at the end of the greeting */
static uint64_t dropped_bytes;
static void (*handle_message)(const message_t *message);
static void (*handle_closed)(void);

static void on_link(watch_t *watch);
static void on_dropped_due(alarm_t *alarm);

static watch_t link_watch = {.fd = -1, .on_event = on_link};
static alarm_t dropped_alarm = {.on_due = on_dropped_due};

/* ---- sending ------------------------------------------------------------------------------- */

static size_t count_descriptors(const int *descriptors) {
    size_t count = 0;
    while (count < LINK_DESCRIPTORS_MAX && descriptors[count] >= 0)
        count++;
    return count;
}

static ssize_t send_packet(const char *bytes, size_t length, const int *descriptors) {
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(LINK_DESCRIPTORS_MAX * sizeof(int))];
    } control;
    size_t count = count_descriptors(descriptors);
    if (count > 0) {
        memset(&control, 0, sizeof(control));
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), descriptors, count * sizeof(int));
    }
    return sendmsg(link_watch.fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool is_full(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == ENOMEM ||
           errno == ETOOMANYREFS; /* descriptors that the manager has not taken yet */
}

static void count_waiting(const waiting_t *entry, int sign) {
    size_t bytes = sizeof(*entry) + entry->length;
    size_t descriptors = count_descriptors(entry->descriptors);
    waiting_bytes += sign > 0 ? bytes : -bytes;
    waiting_descriptors += sign > 0 ? descriptors : -descriptors;
}

static void release(waiting_t *entry) {
    for (size_t i = 0; i < LINK_DESCRIPTORS_MAX && entry->descriptors[i] >= 0; i++)
        close(entry->descriptors[i]);
    free(entry);
}

/* The caller closes its descriptors: what waits has copies. */
static bool copy_descriptors(waiting_t *entry, const int *descriptors) {
    size_t count = count_descriptors(descriptors);
    for (size_t i = 0; i < LINK_DESCRIPTORS_MAX; i++)
        entry->descriptors[i] = -1;
    for (size_t i = 0; i < count; i++) {
        entry->descriptors[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, 0);
        if (entry->descriptors[i] < 0)
            return false;
    }
    return true;
}

static void keep_waiting(const message_t *message, const int *descriptors) {
    waiting_t *entry = malloc(sizeof(*entry) + message->length);
    if (entry == NULL || !copy_descriptors(entry, descriptors)) {
        log_error("link.failed", "verb", message_verb(message), "error",
                  entry == NULL ? "no memory for a message to the manager" : strerror(errno), NULL);
        if (entry != NULL)
            release(entry);
        return;
    }
    entry->next = NULL;
    entry->length = message->length;
    memcpy(entry->bytes, message->bytes, message->length);
    if (waiting_first == NULL)
        watch_writable(&link_watch, true);
    *waiting_end = entry;
    waiting_end = &entry->next;
    count_waiting(entry, 1);
    bool greets = greeting_descriptors == SIZE_MAX;
    if (waiting_bytes <= WAITING_BYTES_MAX &&
        (greets || waiting_descriptors <= greeting_descriptors + WAITING_DESCRIPTORS_MAX))
        return;
    log_error("link.overrun", "waiting_bytes", decimal((int64_t)waiting_bytes).text,
              "waiting_descriptors", decimal((int64_t)waiting_descriptors).text, "error",
              "the manager asks and does not read the answers", NULL);
    watch_stop(&link_watch);
    handle_closed();
}

void link_send_with(const message_t *message, const int *descriptors) {
    if (link_watch.fd < 0)
        return;
    if (waiting_first == NULL && send_packet(message->bytes, message->length, descriptors) >= 0)
        return;
    /* any other error means that the manager is gone: its death is seen elsewhere */
    if (waiting_first != NULL || is_full())
        keep_waiting(message, descriptors);
}

void link_end_greeting(void) {
    greeting_descriptors = waiting_descriptors;
}

void link_send(const message_t *message) {
    link_send_with(message, no_descriptors);
}

static waiting_t *take_first(void) {
    waiting_t *entry = waiting_first;
    waiting_first = entry->next;
    if (waiting_first == NULL)
        waiting_end = &waiting_first;
    count_waiting(entry, -1);
    return entry;
}

static void send_waiting(void) {
    while (waiting_first != NULL) {
        const waiting_t *first = waiting_first;
        if (send_packet(first->bytes, first->length, first->descriptors) < 0 && is_full())
            return;
        release(take_first());
        if (waiting_first == NULL)
            watch_writable(&link_watch, false);
    }
}

static void count_dropped(size_t bytes) {
    if (link_watch.fd < 0)
        return;
    dropped_bytes += bytes;
    if (dropped_alarm.place == 0)
        alarm_set(&dropped_alarm, usher_os_now_ns() + DROPPED_REPORT_NS);
}

void link_send_output(const message_t *message, size_t bytes) {
    if (link_watch.fd < 0)
        return;
    if (waiting_first != NULL || send_packet(message->bytes, message->length, no_descriptors) < 0)
        count_dropped(bytes);
}

static void on_dropped_due(alarm_t *alarm) {
    message_t *message = message_begin("dropped");
    message_add_number(message, "bytes", (int64_t)dropped_bytes);
    if (waiting_first == NULL && send_packet(message->bytes, message->length, no_descriptors) >= 0)
        dropped_bytes = 0;
    else
        alarm_set(alarm, usher_os_now_ns() + DROPPED_REPORT_NS);
}

/* ---- receiving ----------------------------------------------------------------------------- */

/* false when there is nothing to read for now, or for ever. */
static bool receive_one(void) {
    static message_t message;
    struct iovec part = {.iov_base = message.bytes, .iov_len = sizeof(message.bytes)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    /* no room for control data: descriptors that come along are closed by the system */
    ssize_t length = recvmsg(link_watch.fd, &header, MSG_DONTWAIT);
    /* ECONNRESET comes once, when the manager died without having read all; what it sent before is
     * still there */
    if (length < 0 && (errno == EINTR || errno == ECONNRESET))
        return true;
    if (length < 0 && errno == EAGAIN)
        return false;
    if (length <= 0) {
        watch_stop(&link_watch);
        handle_closed();
        return false;
    }
    message.length = (size_t)length;
    if ((header.msg_flags & MSG_TRUNC) != 0 || !message_is_whole(&message)) {
        log_error("link.bad-message", "bytes", decimal(length).text, "error",
                  (header.msg_flags & MSG_TRUNC) != 0 ? "longer than a message may be"
                                                      : "not a verb and fields ended by NUL",
                  NULL);
        return true;
    }
    handle_message(&message);
    return link_watch.fd >= 0;
}

static void on_link(watch_t *watch) {
    (void)watch;
    send_waiting();
    for (int i = 0; i < 64 && receive_one(); i++)
        continue;
}

void link_read_rest(void) {
    while (link_watch.fd >= 0 && receive_one())
        continue;
}

/* ---- opening, closing ---------------------------------------------------------------------- */

bool link_is_open(void) {
    return link_watch.fd >= 0;
}

bool link_has_message(void) {
    struct pollfd link = {.fd = link_watch.fd, .events = POLLIN};
    return poll(&link, 1, 0) > 0 && (link.revents & POLLIN) != 0;
}

int link_open(int fd, void (*on_message)(const message_t *message), void (*on_closed)(void)) {
    handle_message = on_message;
    handle_closed = on_closed;
    link_watch.fd = fd;
    greeting_descriptors = SIZE_MAX;
    if (watch_start(&link_watch) == 0)
        return 0;
    link_watch.fd = -1;
    return -1;
}

void link_close(void) {
    if (link_watch.fd < 0)
        return;
    watch_stop(&link_watch);
    close(link_watch.fd);
    link_watch.fd = -1;
    while (waiting_first != NULL)
        release(take_first());
    dropped_bytes = 0;
    alarm_cancel(&dropped_alarm);
}
