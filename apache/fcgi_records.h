/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FastCGI records to and from bytes, for one request a connection (id 1): no socket, no request.
 */
#ifndef USHER_FCGI_RECORDS_H
#define USHER_FCGI_RECORDS_H

#include "apr_tables.h"

#define USHER_FCGI_REQUEST_ID 1
#define USHER_FCGI_HEADER     8
#define USHER_FCGI_CONTENT    65535

/* ---- to the program ---------------------------------------------------- */

/* Write a record's header to `at`; returns the place behind it. */
char *usher_fcgi_put_header(char *at, int type, apr_size_t content);

/*
 * BEGIN_REQUEST and all of PARAMS, with room for one more header behind `*length`. A name/value
 * pair is split over two records only when it does not fit into one: php-cgi reads no split pairs.
 */
char *usher_fcgi_head(apr_pool_t *p, apr_table_t *env, int role, apr_size_t *length);

/* Set or clear KEEP_CONN in it: the class may say so later. */
void usher_fcgi_set_keep(char *head, int keep);

/* ---- from the program -------------------------------------------------- */

typedef enum {
    USHER_FCGI_MORE, /* nothing left of the input */
    USHER_FCGI_OUT,  /* a piece of STDOUT */
    USHER_FCGI_OUT_END,
    USHER_FCGI_ERR,   /* a piece of STDERR */
    USHER_FCGI_END,   /* END_REQUEST: `protocol_status` and `app_status` are set */
    USHER_FCGI_BROKEN /* not FastCGI: `broken` says why; nothing more can be read */
} usher_fcgi_event;

typedef struct {
    enum { USHER_FCGI_IN_HEADER, USHER_FCGI_IN_CONTENT, USHER_FCGI_IN_PADDING } state;
    unsigned char header[USHER_FCGI_HEADER];
    unsigned char end[8];
    apr_size_t have; /* bytes of `header`, or of `end` */
    int type;
    apr_size_t content_left;
    apr_size_t padding_left;
    int protocol_status;
    apr_uint32_t app_status;
    const char *broken;
} usher_fcgi_reader;

void usher_fcgi_reader_init(usher_fcgi_reader *reader);

/*
 * Take bytes from `*in` (`*left` of them) until something is worth telling. OUT and ERR point
 * `*data` into the input. Call again until MORE; any split of the input gives the same bytes.
 */
usher_fcgi_event usher_fcgi_read(usher_fcgi_reader *reader, const char **in, apr_size_t *left,
                                 const char **data, apr_size_t *length);

#endif
