/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What apache/answer.c and apache/fcgi_records.c call in httpd, as far as they can tell: a header
 * parser that asks for lines as httpd's does, an output filter that takes what it is given.
 */
#ifndef USHER_FUZZ_HTTPD_PARTS_H
#define USHER_FUZZ_HTTPD_PARTS_H

#include "httpd.h"

/* What went down the output filters since the request was made. */
typedef struct {
    apr_off_t bytes;
    int has_ended;  /* an EOS bucket */
    int has_broken; /* an error bucket */
} httpd_output;

/* A request with the tables that a handler finds. */
request_rec *httpd_make_request(apr_pool_t *pool, httpd_output *output);

/* Once. */
int httpd_begin(void);

/* Frees what was taken from any pool since then. It is taken piece by piece: APR's own blocks would
 * hide an access beyond the end of one. */
void httpd_free_memory(void);

#endif
