/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load over kept-alive connections, every answer of which is checked:
 *
 *   load PORT METHOD PATH CONNECTIONS SECONDS LENGTH [BODY]
 *
 * Each connection asks the server on 127.0.0.1 again as soon as it has its answer; BODY is the length
 * of the request's body. An answer is right when its status is 200 and its body has LENGTH bytes. When
 * the time is over what is under way is waited for, and checked, but does not count in the rate.
 *
 * Prints a line of JSON: what was answered right, how fast, and what went wrong.
 */
#include "ask.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define HEAD_MAX 16384
#define PIECE_MAX 262144
#define EVENTS_MAX 64
#define PATIENCE_NS 10000000000u

typedef enum {
    HEAD,
    COUNTED,    /* a body with a length */
    UNCOUNTED,  /* a body that ends with its connection */
    CHUNK_SIZE, /* and its line end */
    CHUNK_DATA, /* "left" of it */
    CHUNK_END,  /* the line end behind it */
    TRAILER,    /* lines, until an empty one */
    COMPLETE,
} state_t;

typedef struct {
    int fd;
    state_t state;
    char head[HEAD_MAX + 1];
    size_t head_length, line_length;
    int status;
    bool closes;
    uint64_t left, body_length, asked_ns;
} client_t;

static client_t clients[CONNECTIONS_MAX];
static const char *port;
static char *request;
static size_t request_length;
static uint64_t wanted_length;
static int poller;

static uint32_t *latencies_us;
static size_t answered, counted, room;
static unsigned long wrong_status, wrong_length, broken, unanswered, reconnects;

/* ---- an answer --------------------------------------------------------------------------- */

/* The value of a header, or NULL. */
static const char *header(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            return line + strspn(line, " ");
        }
    }
    return NULL;
}

static bool says(const char *value, const char *word) {
    return value != NULL && strncasecmp(value, word, strlen(word)) == 0;
}

static void begin_body(client_t *client) {
    const char *length = header(client->head, "Content-Length");
    client->status = strncmp(client->head, "HTTP/1.1 ", 9) == 0 ? atoi(client->head + 9) : 0;
    client->closes = says(header(client->head, "Connection"), "close");
    if (says(header(client->head, "Transfer-Encoding"), "chunked")) {
        client->state = CHUNK_SIZE;
    } else if (length != NULL) {
        client->left = strtoull(length, NULL, 10);
        client->state = client->left == 0 ? COMPLETE : COUNTED;
    } else {
        client->state = UNCOUNTED;
    }
}

/* Takes a part of the head; how much of it. */
static size_t take_head(client_t *client, const char *bytes, size_t length) {
    size_t before = client->head_length;
    size_t taken = length < HEAD_MAX - before ? length : HEAD_MAX - before;
    memcpy(client->head + before, bytes, taken);
    client->head_length = before + taken;
    client->head[client->head_length] = '\0';
    size_t from = before < 3 ? 0 : before - 3; /* its end may have come in two pieces */
    const char *end = strstr(client->head + from, "\r\n\r\n");
    if (end == NULL) {
        return taken;
    }
    size_t whole = (size_t)(end - client->head) + 4;
    client->head[whole] = '\0';
    begin_body(client);
    return whole - before;
}

static size_t take_data(client_t *client, size_t length, state_t next) {
    size_t taken = length < client->left ? length : (size_t)client->left;
    client->body_length += taken;
    client->left -= taken;
    if (client->left == 0) {
        client->state = next;
    }
    return taken;
}

static int hex(char c) {
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c | 32);
    return at == NULL ? -1 : (int)(at - digits);
}

/* A byte of what stands around the chunks. */
static void take_framing(client_t *client, char c) {
    if (c != '\n') {
        if (client->state == CHUNK_SIZE && hex(c) >= 0) {
            client->left = client->left << 4 | (uint64_t)hex(c);
        }
        client->line_length += c != '\r';
        return;
    }
    if (client->state == CHUNK_SIZE) {
        client->state = client->left == 0 ? TRAILER : CHUNK_DATA;
    } else if (client->state == CHUNK_END) {
        client->state = CHUNK_SIZE;
    } else if (client->line_length == 0) {
        client->state = COMPLETE;
    }
    client->line_length = 0;
}

/* False when there is more than an answer. */
static bool take(client_t *client, const char *bytes, size_t length) {
    while (length > 0) {
        size_t taken = 1;
        switch (client->state) {
        case HEAD:
            taken = take_head(client, bytes, length);
            break;
        case COUNTED:
            taken = take_data(client, length, COMPLETE);
            break;
        case CHUNK_DATA:
            taken = take_data(client, length, CHUNK_END);
            break;
        case UNCOUNTED:
            client->body_length += length;
            taken = length;
            break;
        case CHUNK_SIZE:
        case CHUNK_END:
        case TRAILER:
            take_framing(client, *bytes);
            break;
        case COMPLETE:
            taken = 0;
            break;
        }
        if (taken == 0) {
            return false; /* also of a head that is too long */
        }
        bytes += taken;
        length -= taken;
    }
    return true;
}

static void count(const client_t *client, bool is_in_time) {
    if (client->status != 200) {
        wrong_status++;
        return;
    }
    if (client->body_length != wanted_length) {
        wrong_length++;
        return;
    }
    answered++;
    if (!is_in_time) {
        return;
    }
    if (counted == room) {
        room = room == 0 ? 65536 : 2 * room;
        latencies_us = realloc(latencies_us, room * sizeof(*latencies_us));
        if (latencies_us == NULL) {
            ask_fail("latencies");
        }
    }
    latencies_us[counted++] = (uint32_t)((ask_now_ns() - client->asked_ns) / 1000);
}

/* ---- connections ------------------------------------------------------------------------- */

static void leave(client_t *client) {
    close(client->fd);
    client->fd = -1;
}

static void reach(client_t *client) {
    client->fd = ask_connect_port(port);
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = client}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        ask_fail("epoll_ctl");
    }
}

static void ask(client_t *client) {
    client->state = HEAD;
    client->head_length = client->line_length = 0;
    client->left = client->body_length = 0;
    client->asked_ns = ask_now_ns();
    for (size_t sent = 0; sent < request_length;) {
        ssize_t now = send(client->fd, request + sent, request_length - sent, MSG_NOSIGNAL);
        if (now <= 0) {
            return; /* reading finds the end of the connection */
        }
        sent += (size_t)now;
    }
}

/* Whether the answer has come to an end, right or not. */
static bool receive(client_t *client, bool is_in_time) {
    static char piece[PIECE_MAX];
    ssize_t got = recv(client->fd, piece, sizeof(piece), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return false;
    }
    bool is_end = got <= 0;
    if (is_end && client->state == UNCOUNTED && got == 0) {
        client->state = COMPLETE;
        client->closes = true;
    } else if (is_end || !take(client, piece, (size_t)got)) {
        broken++;
        leave(client);
        return true;
    }
    if (client->state != COMPLETE) {
        return false;
    }
    count(client, is_in_time);
    if (client->closes) {
        leave(client);
        reconnects++;
    }
    return true;
}

static void load(int connections, uint64_t end_ns) {
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0) {
        ask_fail("epoll_create1");
    }
    for (int i = 0; i < connections; i++) {
        reach(&clients[i]);
        ask(&clients[i]);
    }
    struct epoll_event events[EVENTS_MAX];
    for (int busy = connections; busy > 0;) {
        int ready = epoll_wait(poller, events, EVENTS_MAX, 100);
        uint64_t now_ns = ask_now_ns();
        bool is_in_time = now_ns < end_ns;
        if (!is_in_time && now_ns - end_ns > PATIENCE_NS) {
            unanswered = (unsigned long)busy;
            return;
        }
        for (int i = 0; i < ready; i++) {
            client_t *client = events[i].data.ptr;
            if (!receive(client, is_in_time)) {
                continue;
            }
            if (!is_in_time) {
                busy--;
                continue;
            }
            if (client->fd < 0) {
                reach(client);
            }
            ask(client);
        }
    }
}

/* ---- the result -------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double percentile_ms(double share) {
    return counted == 0 ? 0 : latencies_us[(size_t)((double)(counted - 1) * share)] / 1000.0;
}

static void compose(const char *method, const char *path, size_t body_length) {
    request = malloc(ASK_REQUEST_MAX + body_length);
    if (request == NULL) {
        ask_fail("request");
    }
    char fields[100] = "";
    if (body_length > 0) {
        snprintf(fields, sizeof(fields),
                 "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n", body_length);
    }
    int length = snprintf(request, ASK_REQUEST_MAX, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n",
                          method, path, fields);
    if (length >= ASK_REQUEST_MAX) {
        errno = ENAMETOOLONG;
        ask_fail(path);
    }
    memset(request + length, 'x', body_length);
    request_length = (size_t)length + body_length;
}

int main(int argc, char **argv) {
    int connections = argc >= 7 ? atoi(argv[4]) : 0;
    int seconds = argc >= 7 ? atoi(argv[5]) : 0;
    if (argc > 8 || connections < 1 || connections > CONNECTIONS_MAX || seconds < 1) {
        fprintf(stderr, "usage: load PORT METHOD PATH CONNECTIONS SECONDS LENGTH [BODY]\n");
        return 2;
    }
    port = argv[1];
    wanted_length = strtoull(argv[6], NULL, 10);
    compose(argv[2], argv[3], argc == 8 ? strtoull(argv[7], NULL, 10) : 0);
    load(connections, ask_now_ns() + (uint64_t)seconds * 1000000000u);

    if (counted > 0) {
        qsort(latencies_us, counted, sizeof(*latencies_us), compare);
    }
    printf("{\"requests\":%zu,\"perSecond\":%.1f,\"p50Ms\":%.3f,\"p99Ms\":%.3f,\"reconnects\":%lu,"
           "\"errors\":{\"status\":%lu,\"length\":%lu,\"broken\":%lu,\"unanswered\":%lu}}\n",
           answered, (double)counted / seconds, percentile_ms(0.5), percentile_ms(0.99), reconnects,
           wrong_status, wrong_length, broken, unanswered);
    return 0;
}
