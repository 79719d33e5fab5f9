/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last word to requests that wait in the socket of a program that cannot start: a FastCGI
 * answer with status 503, so that they get the verdict and not a broken connection (a server may
 * not repeat a POST).
 */
#ifndef USHER_LAUNCHER_REFUSAL_H
#define USHER_LAUNCHER_REFUSAL_H

#include <stdint.h>

/* Answer whoever waits in `listener`, at which no program accepts, and read what they still send
 * until they close. `reason` is one line for the web server's error log. */
void refuse_waiting(int listener, const char *reason, uint32_t retry_after_s);

#endif
