/* SPDX-License-Identifier: Apache-2.0 */
/* usher_os_connections on Linux: sock_diag, one dump of all sockets that may belong to the address. */
#include "os/os.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES 32768
#define LISTENING (1u << TCP_LISTEN)
#define ESTABLISHED \
    (UINT32_MAX & ~(LISTENING | 1u << TCP_SYN_SENT | 1u << TCP_SYN_RECV | 1u << TCP_TIME_WAIT))

typedef struct {
    const char *path; /* NULL: TCP */
    uint32_t inode;
    bool found; /* the listener */
    usher_os_connections_t *counts;
} search_t;

/* A connection that waits to be accepted has no inode yet. */
static void count_socket(search_t *search, bool listens, uint32_t inode, uint32_t queue) {
    if (listens && inode == search->inode) {
        search->found = true;
        search->counts->waiting = (int)queue;
    } else if (!listens && inode != 0) {
        search->counts->accepted++;
    }
}

/* ---- UNIX ---------------------------------------------------------------------------------- */

static bool is_named(const search_t *search, const uint8_t *name, size_t length) {
    return length >= strlen(search->path) &&
           memcmp(name, search->path, strlen(search->path)) == 0 &&
           (length == strlen(search->path) || name[strlen(search->path)] == '\0');
}

static void see_unix(search_t *search, const uint8_t *body, size_t length) {
    struct unix_diag_msg message;
    if (length < sizeof(message))
        return;
    memcpy(&message, body, sizeof(message));
    bool named = false;
    struct unix_diag_rqlen queue = {0};
    struct nlattr attribute;
    for (size_t at = NLMSG_ALIGN(sizeof(message)); at + sizeof(attribute) <= length;
         at += (attribute.nla_len + 3u) & ~3u) {
        memcpy(&attribute, body + at, sizeof(attribute));
        if (attribute.nla_len < sizeof(attribute) || at + attribute.nla_len > length)
            return;
        const uint8_t *value = body + at + sizeof(attribute);
        size_t value_length = attribute.nla_len - sizeof(attribute);
        if (attribute.nla_type == UNIX_DIAG_NAME)
            named = is_named(search, value, value_length);
        else if (attribute.nla_type == UNIX_DIAG_RQLEN && value_length >= sizeof(queue))
            memcpy(&queue, value, sizeof(queue));
    }
    if (named)
        count_socket(search, message.udiag_state == TCP_LISTEN, message.udiag_ino,
                     queue.udiag_rqueue);
}

static int ask_unix(int netlink) {
    struct {
        struct nlmsghdr header;
        struct unix_diag_req body;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = AF_UNIX,
                 .udiag_states = 1u << TCP_ESTABLISHED | 1u << TCP_LISTEN,
                 .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN},
    };
    return send(netlink, &request, sizeof(request), 0) < 0 ? -1 : 0;
}

/* ---- TCP ----------------------------------------------------------------------------------- */

static void see_inet(search_t *search, const uint8_t *body, size_t length) {
    struct inet_diag_msg message;
    if (length < sizeof(message))
        return;
    memcpy(&message, body, sizeof(message));
    count_socket(search, message.idiag_state == TCP_LISTEN, message.idiag_inode,
                 message.idiag_rqueue);
}

static int ask_inet(int netlink, uint8_t family, uint16_t port, uint32_t states) {
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = states,
                 .id = {.idiag_sport = htons(port)}},
    };
    return send(netlink, &request, sizeof(request), 0) < 0 ? -1 : 0;
}

/* ---- both ---------------------------------------------------------------------------------- */

/* 1 = the dump goes on, 0 = it is complete, -1 with errno. */
static int read_answer(search_t *search, const uint8_t *bytes, size_t length) {
    struct nlmsghdr header;
    for (size_t at = 0; at + sizeof(header) <= length; at += NLMSG_ALIGN(header.nlmsg_len)) {
        memcpy(&header, bytes + at, sizeof(header));
        if (header.nlmsg_len < sizeof(header) || at + header.nlmsg_len > length)
            break;
        const uint8_t *body = bytes + at + NLMSG_HDRLEN;
        if (header.nlmsg_type == NLMSG_DONE)
            return 0;
        if (header.nlmsg_type == NLMSG_ERROR) {
            struct nlmsgerr failure;
            memcpy(&failure, body, sizeof(failure));
            errno = -failure.error;
            return failure.error == -ENOENT ? 0 : -1; /* this family is not there */
        }
        (search->path != NULL ? see_unix : see_inet)(search, body, header.nlmsg_len - NLMSG_HDRLEN);
    }
    return 1;
}

static int read_dump(search_t *search, int netlink) {
    static _Thread_local uint8_t answer[ANSWER_BYTES];
    int state = 1;
    while (state > 0) {
        ssize_t length = recv(netlink, answer, sizeof(answer), 0);
        if (length < 0 && errno == EINTR)
            continue;
        if (length <= 0)
            return -1;
        state = read_answer(search, answer, (size_t)length);
    }
    return state;
}

/* The table of listeners is short, that of connections long: it is gone through for one family, and
 * only when asked for. A listener for both families has its connections in IPv6. */
static int count_inet(search_t *search, int netlink, uint16_t port, bool only_waiting) {
    static const uint8_t families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < sizeof(families); i++) {
        if (ask_inet(netlink, families[i], port, LISTENING) < 0 || read_dump(search, netlink) < 0)
            return -1;
        if (!search->found)
            continue;
        if (only_waiting)
            return 0;
        return ask_inet(netlink, families[i], port, ESTABLISHED) < 0 ? -1
                                                                     : read_dump(search, netlink);
    }
    return 0;
}

int usher_os_connections(const char *path, uint16_t port, uint32_t inode, bool only_waiting,
                         usher_os_connections_t *connections) {
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0)
        return -1;
    *connections = (usher_os_connections_t){0};
    search_t search = {.path = path, .inode = inode, .counts = connections};
    int result;
    if (path == NULL)
        result = count_inet(&search, netlink, port, only_waiting);
    else
        result = ask_unix(netlink) < 0 ? -1 : read_dump(&search, netlink);
    int error = result < 0 ? errno : ENOENT;
    close(netlink);
    errno = error;
    return result == 0 && search.found ? 0 : -1;
}
