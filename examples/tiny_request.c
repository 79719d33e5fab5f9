/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's half of tiny-server: one HTTP request becomes one FastCGI request at the place that
 * Usher finds for it. GET only, one request a connection: as little HTTP as will do.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tiny_server.h"

#define HEAD_MAX 8192
#define WAIT_MS 100 /* between looks whether the client is still there */

typedef struct {
    int client, program; /* -1: not connected */
    char head[HEAD_MAX]; /* of the request */
    const char *method, *path, *query;
    bool answered; /* the head of an answer has been sent */
    usher_request_t turn;
} call_t;

static int write_all(int fd, const void *bytes, size_t length) {
    for (const char *at = bytes; length > 0;) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return -1;
        at += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

static int read_all(int fd, void *bytes, size_t length) {
    for (char *at = bytes; length > 0;) {
        ssize_t got = read(fd, at, length);
        if (got == 0 || (got < 0 && errno != EINTR))
            return -1;
        at += got > 0 ? got : 0;
        length -= got > 0 ? (size_t)got : 0;
    }
    return 0;
}

/* ---- HTTP ------------------------------------------------------------------------------------- */

static int read_head(call_t *call) {
    size_t length = 0;
    while (length < HEAD_MAX - 1) {
        ssize_t got = read(call->client, call->head + length, HEAD_MAX - 1 - length);
        if (got <= 0)
            return -1;
        length += (size_t)got;
        call->head[length] = '\0';
        if (strstr(call->head, "\r\n\r\n") != NULL)
            break;
    }
    char *rest = NULL;
    call->method = strtok_r(call->head, " ", &rest);
    char *target = strtok_r(NULL, " ", &rest);
    if (call->method == NULL || target == NULL)
        return -1;
    char *query = strchr(target, '?');
    if (query != NULL)
        *query++ = '\0';
    call->path = target;
    call->query = query != NULL ? query : "";
    return 0;
}

static void answer_error(const call_t *call, int status, uint32_t retry_after_s, const char *text) {
    char answer[1024], retry[48] = "";
    if (retry_after_s > 0)
        snprintf(retry, sizeof retry, "Retry-After: %u\r\n", retry_after_s);
    int length =
        snprintf(answer, sizeof answer,
                 "HTTP/1.1 %d -\r\nContent-Type: text/plain\r\n%sConnection: close\r\n\r\n%s\n",
                 status, retry, text);
    write_all(call->client, answer, (size_t)length);
}

/* ---- FastCGI ---------------------------------------------------------------------------------- */

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7 };

static size_t put_record(uint8_t *at, int type, const void *content, size_t length) {
    const uint8_t header[8] = {1, (uint8_t)type, 0, 1, (uint8_t)(length >> 8), (uint8_t)length, 0,
                               0};
    memcpy(at, header, sizeof header);
    if (length > 0)
        memcpy(at + sizeof header, content, length);
    return sizeof header + length;
}

static size_t put_param(uint8_t *at, const char *name, const char *value) {
    size_t lengths[2] = {strlen(name), strlen(value)}, used = 0;
    for (int i = 0; i < 2; i++) {
        if (lengths[i] > 127) {
            at[used++] = (uint8_t)(lengths[i] >> 24 | 0x80);
            at[used++] = (uint8_t)(lengths[i] >> 16);
            at[used++] = (uint8_t)(lengths[i] >> 8);
        }
        at[used++] = (uint8_t)lengths[i];
    }
    memcpy(at + used, name, lengths[0]);
    memcpy(at + used + lengths[0], value, lengths[1]);
    return used + lengths[0] + lengths[1];
}

static int send_request(const call_t *call) {
    static uint8_t params[3 * HEAD_MAX], bytes[4 * HEAD_MAX];
    static const uint8_t begin[8] = {0, 1}; /* responder, one request on this connection */
    size_t length = 0, used = 0;
    used += put_param(params + used, "GATEWAY_INTERFACE", "CGI/1.1");
    used += put_param(params + used, "SERVER_PROTOCOL", "HTTP/1.1");
    used += put_param(params + used, "REQUEST_METHOD", call->method);
    used += put_param(params + used, "SCRIPT_NAME", call->path);
    used += put_param(params + used, "QUERY_STRING", call->query);
    length += put_record(bytes + length, BEGIN_REQUEST, begin, sizeof begin);
    length += put_record(bytes + length, PARAMS, params, used);
    length += put_record(bytes + length, PARAMS, NULL, 0);
    length += put_record(bytes + length, STDIN, NULL, 0);
    return write_all(call->program, bytes, length);
}

/* The program's head becomes ours: a Status field is the status line, the rest stays. */
static void answer_head(const call_t *call, char *head) {
    char line[512] = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    char *status = strcasestr(head, "Status:");
    if (status != NULL && (status == head || status[-1] == '\n'))
        snprintf(line, sizeof line, "HTTP/1.1 %.*s\r\nConnection: close\r\n",
                 (int)strcspn(status + 7 + strspn(status + 7, " "), "\r\n"),
                 status + 7 + strspn(status + 7, " "));
    write_all(call->client, line, strlen(line));
    write_all(call->client, head, strlen(head));
}

/* 1 a whole answer, 0 it broke off, -1 the client left. */
static int pass_answer(call_t *call) {
    static char head[65536];
    static uint8_t content[65536 + 256];
    size_t head_length = 0;
    for (;;) {
        uint8_t header[8];
        if (read_all(call->program, header, sizeof header) < 0)
            return 0;
        size_t length = (size_t)(header[4] << 8 | header[5]);
        if (read_all(call->program, content, length + header[6]) < 0)
            return 0;
        if (header[1] == END_REQUEST)
            return call->answered;
        if (header[1] == STDERR && length > 0)
            fprintf(stderr, "%.*s\n", (int)length, content);
        if (header[1] != STDOUT || length == 0)
            continue;
        if (call->answered) {
            if (write_all(call->client, content, length) < 0)
                return -1;
            continue;
        }
        if (head_length + length >= sizeof head)
            return 0;
        memcpy(head + head_length, content, length);
        head_length += length;
        head[head_length] = '\0';
        char *end = strstr(head, "\r\n\r\n");
        if (end == NULL)
            continue;
        char *body = end + 4, first = *body;
        *body = '\0';
        answer_head(call, head);
        *body = first;
        call->answered = true;
        if (write_all(call->client, body, head_length - (size_t)(body - head)) < 0)
            return -1;
    }
}

/* ---- a place ---------------------------------------------------------------------------------- */

static bool client_is_gone(const call_t *call) {
    struct pollfd client = {.fd = call->client, .events = POLLRDHUP};
    return poll(&client, 1, 0) > 0 && (client.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static int connect_to(const struct sockaddr_storage *address, socklen_t length) {
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)address, length) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

/* Wait for a place and connect to it. 0, or the status of the refusal; -1 the client left. */
static int take_place(call_t *call, usher_channel_t *channel) {
    struct sockaddr_storage address;
    usher_admission_t admission;
    for (;;) {
        socklen_t length = sizeof address;
        switch (usher_request_admit(channel, &call->turn, &address, &length, &admission)) {
        case USHER_OK:
            call->program = connect_to(&address, length);
            if (call->program >= 0)
                return 0;
            usher_request_retry(channel, &call->turn);
            break;
        case USHER_REFUSED:
            return call->turn.verdict_status;
        case USHER_AGAIN:
            usher_request_wait(channel, &call->turn, WAIT_MS);
            break;
        default:
            return 503;
        }
        if (client_is_gone(call))
            return -1;
    }
}

static void pass_request(call_t *call, usher_channel_t *channel, const char *key) {
    if (usher_request_begin(channel, &call->turn, key, strlen(key)) != USHER_OK) {
        answer_error(call, 404, 0, "no such class");
        return;
    }
    int status = take_place(call, channel);
    if (status != 0) {
        if (status > 0)
            answer_error(call, status, call->turn.retry_after_s, call->turn.reason);
        usher_request_end(channel, &call->turn, USHER_OUTCOME_ABORTED);
        return;
    }
    int passed = send_request(call) < 0 ? 0 : pass_answer(call);
    close(call->program); /* first: libfcgi lingers until we do */
    usher_request_end(channel, &call->turn,
                      passed > 0   ? USHER_OUTCOME_FINISHED
                      : passed < 0 ? USHER_OUTCOME_ABORTED
                                   : USHER_OUTCOME_FAILED);
    if (passed == 0 && !call->answered)
        answer_error(call, 502, 0, "the program broke off");
}

void serve_client(int client, usher_channel_t *channel, const passes_t *passes) {
    static call_t call;
    call.client = client;
    call.program = -1;
    call.answered = false;
    if (read_head(&call) < 0)
        return;
    for (int i = 0; i < passes->count; i++)
        if (strncmp(call.path, passes->passes[i].prefix, strlen(passes->passes[i].prefix)) == 0) {
            pass_request(&call, channel, passes->passes[i].key);
            return;
        }
    answer_error(&call, 404, 0, "nothing is served here");
}
