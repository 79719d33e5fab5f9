/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits of a program, as `limit=NAME=N` gives them: N is soft and hard limit. */
#ifndef USHER_LAUNCHER_LIMITS_H
#define USHER_LAUNCHER_LIMITS_H

#include <stddef.h>
#include <sys/resource.h>

#include "launcher/failure.h"

#define LIMITS_MAX 9 /* one of each name */

typedef struct {
    const char *text; /* NAME=N, in the message */
    int resource;
    rlim_t value;
} limit_t;

typedef struct {
    limit_t list[LIMITS_MAX];
    size_t count;
} limits_t;

/* Add one; a later one of the same name replaces the earlier. -1: step "limit". */
int limits_add(limits_t *limits, const char *text, failure_t *failure);
/* Soft limits of this process, one of each name, as limits_name orders them. */
void limits_read(rlim_t values[LIMITS_MAX]);
const char *limits_name(size_t index);
/* Set them for this process. -1: step "limit". */
int limits_apply(const limits_t *limits, failure_t *failure);

#endif
