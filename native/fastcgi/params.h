/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters of a FastCGI request that somebody else has built, changed or added to. Used by
 * the nginx module, whose requests are written by nginx's own FastCGI client.
 */
#ifndef USHER_FASTCGI_PARAMS_H
#define USHER_FASTCGI_PARAMS_H

#include <stdbool.h>
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

typedef struct {
    const char *name;
    usher_fastcgi_text_t value;
} usher_fastcgi_param_t;

/* Bytes that usher_fastcgi_insert() adds to a head; 0: more than a record holds. */
size_t usher_fastcgi_insert_size(const usher_fastcgi_param_t *params, size_t count);

/* Copy a head, or what begins with one, to `copy` and put a PARAMS record with these behind its
 * BEGIN_REQUEST, before all other parameters. False: the bytes do not begin with a BEGIN_REQUEST,
 * or the parameters do not fit into a record. */
bool usher_fastcgi_insert(const uint8_t *head, size_t length, const usher_fastcgi_param_t *params,
                          size_t count, uint8_t *copy);

#endif
