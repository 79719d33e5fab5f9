/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole request body, read before a place is taken, so that a slow upload costs no instance
 * and a broken connection can be tried again.
 */
#ifndef USHER_REQUEST_BODY_H
#define USHER_REQUEST_BODY_H

#include "httpd.h"

#define USHER_BODY_IN_MEMORY 65535 /* one FastCGI record; longer bodies go to a file */

typedef struct {
    apr_off_t length;
    char *bytes; /* length <= USHER_BODY_IN_MEMORY */
    int fd;      /* an unlinked file that holds it otherwise, else -1 */
} usher_body;

/* OK, or the status for the client (already logged where that is our fault); 413 above `limit` bytes,
 * -1 = none. */
int usher_body_read(request_rec *r, usher_body *body, apr_off_t limit);

#endif
