/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page of a web server: what the channel tells, as HTML, JSON or lines of "key: value".
 * It is written piece by piece, a class at a time, so that neither its memory nor what one step takes
 * grows with the number of classes. docs/status-page.md has the fields.
 */
#ifndef USHER_STATUS_STATUS_H
#define USHER_STATUS_STATUS_H

#include "channel/channel.h"

typedef enum {
    USHER_STATUS_HTML = 0,
    USHER_STATUS_JSON = 1, /* ?json */
    USHER_STATUS_AUTO = 2, /* ?auto */
} usher_status_format_t;

/* What the channel does not know. Texts are borrowed until the page is written. */
typedef struct {
    const char *server_kind;    /* "nginx", "apache" */
    const char *server_version; /* "1.22.1" */
    const char *problem;        /* without a channel: why */
} usher_status_facts_t;

/* The bytes of one class at most: its name and reason escaped, and all its instances. */
#define USHER_STATUS_PIECE_MAX 40960u

/* A page on its way; its fields are the library's own. */
typedef struct {
    const usher_channel_t *channel;
    usher_status_facts_t facts;
    usher_status_format_t format;
    uint32_t stage, next, classes;
    uint64_t in_flight, waiting, arrivals, finished, failed, aborted, refused;
    size_t length, sent; /* of `piece` */
    usher_class_look_t look;
    char piece[USHER_STATUS_PIECE_MAX];
} usher_status_page_t;

/* What a query string asks for: one of its words is "json" or "auto". */
usher_status_format_t usher_status_format(const char *query, size_t length);
const char *usher_status_type(usher_status_format_t format); /* Content-Type */

typedef struct {
    const char *name, *value;
} usher_status_header_t;

/* What is sent besides; ends with a NULL name. */
extern const usher_status_header_t usher_status_headers[];
#define USHER_STATUS_METHODS "GET, HEAD" /* with 405, as Allow */

/* `channel` NULL: the page says facts.problem, and belongs to status 503. */
void usher_status_begin(usher_status_page_t *page, const usher_channel_t *channel,
                        const usher_status_facts_t *facts, usher_status_format_t format);
/* The next bytes of the page, at most `size` (≥ 1); 0 = that was all. Never waits. */
size_t usher_status_write(usher_status_page_t *page, char *buffer, size_t size);

#endif
