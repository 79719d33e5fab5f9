/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last word to requests that wait in the socket of a program that cannot start: a FastCGI
 * answer with status 503, so that they get the verdict and not a broken connection (a server may
 * not repeat a POST).
 */
#ifndef USHER_LAUNCHER_REFUSAL_H
#define USHER_LAUNCHER_REFUSAL_H

#include <stdint.h>

typedef struct {
    const char *reason; /* one line for the web server's error log; its client gets the id in it */
    uint32_t retry_after_s;
    const char *page; /* HTML for the client; NULL = plain text */
} refusal_answer_t;

/* Answer whoever waits in `listener`, at which no program accepts, and read what they still send
 * until they close. */
void refuse_waiting(int listener, const refusal_answer_t *words);

#endif
