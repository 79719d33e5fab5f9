/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's answer on its way to the client: headers are parsed, the body is collected ahead
 * of the client and passed on in pieces. Knows nothing of sockets or FastCGI.
 */
#ifndef USHER_ANSWER_H
#define USHER_ANSWER_H

#include "httpd.h"
#include "apr_buckets.h"

#include "options/options.h"

#define USHER_ANSWER_AHEAD (1024 * 1024) /* collected while the client does not take it */
#define USHER_ANSWER_PIECE (32 * 1024)   /* passed on at a time while the program goes on */
#define USHER_HEADERS_MAX  (1024 * 1024)

typedef struct {
    request_rec *r;
    const char *class_key; /* for the log */
    enum {
        USHER_ANSWER_HEADERS, /* the block of headers is not complete */
        USHER_ANSWER_BODY,
        USHER_ANSWER_DISCARD /* `status` or `redirect` is the answer; the rest is not wanted */
    } state;
    int nph;
    usher_protocol_t protocol; /* of the class: its gateway has something to say to the server */
    int is_verdict;            /* an authorizer's */
    int passes_denial;         /* … and what it says besides 200 is the client's answer */
    int granted, denied;       /* what it says, as soon as its headers are there */
    apr_table_t *variables;    /* granted: the other headers it sent */
    int any;                   /* the program said something */
    int passed;                /* something went down the output filters */
    int unflushed;             /* … and may be held there */
    int status;                /* what the handler returns */
    const char *redirect;      /* a local one */

    char *block; /* headers so far, when they come in pieces */
    apr_size_t block_length, block_room;
    int line_is_empty; /* the scan stands at the beginning of a line */

    apr_bucket_brigade *bb;
    apr_off_t queued;     /* bytes in `bb` */
    apr_off_t body_bytes; /* bytes of the body so far */
    apr_off_t declared;   /* the program's Content-Length, -1 = none to be held to */
    int full;             /* that many bytes are there */

    /* as they were before the program's headers */
    apr_table_t *saved_headers, *saved_err_headers;
    const char *saved_content_type;
} usher_answer;

void usher_answer_init(usher_answer *a, request_rec *r, const char *class_key, int nph);

/* The answer is an authorizer's: 200 grants, and its body is ignored. Anything else denies, and is
 * passed on to the client (`passes_denial`) or is only a status. */
void usher_answer_expect_verdict(usher_answer *a, int passes_denial);

/* Take a piece of the program's output. OK, or the status that ends the call: the output is of no
 * use (logged). */
int usher_answer_add(usher_answer *a, const char *data, apr_size_t length);

/* Pass at most `most` bytes on to the client; may block on it. */
apr_status_t usher_answer_pass(usher_answer *a, apr_size_t most, int flush);

/* The answer is complete: pass the rest on. Returns what the handler returns. */
int usher_answer_finish(usher_answer *a);

/* The answer ends here although it is not complete. `status` when the client saw nothing of it,
 * otherwise OK, and the client will notice. */
int usher_answer_break(usher_answer *a, int status);

#endif
