/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters of a FastCGI request that somebody else has built, changed where they lie. Used by
 * the nginx module, whose requests are written by nginx's own FastCGI client.
 */
#ifndef USHER_FASTCGI_PARAMS_H
#define USHER_FASTCGI_PARAMS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *bytes;
    size_t length;
} usher_fastcgi_text_t;

/*
 * In a request's head (BEGIN_REQUEST and all of PARAMS, one or several records) give parameters
 * called `name` the name `other`, which is as long. Meant are those whose values are `values`: in
 * this order, one each, or all of them in one, joined by ", ". Returns how many, or -1 when the
 * bytes are no such head; what was renamed before that stays so.
 */
int usher_fastcgi_rename(uint8_t *head, size_t length, const char *name, const char *other,
                         const usher_fastcgi_text_t *values, size_t count);

#endif
