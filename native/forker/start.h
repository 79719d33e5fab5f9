/* SPDX-License-Identifier: Apache-2.0 */
/* Making a process of a START frame: the checks, the pipes, the child, exec. */
#ifndef USHER_FORKER_START_H
#define USHER_FORKER_START_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "launcher/failure.h"
#include "launcher/limits.h"

/* What every program gets, from the command line. */
typedef struct {
    limits_t limits;
    bool checks_paths;  /* else the gateway's own command is what runs */
    const char **rules; /* path-check=…, root=… as a block of an .allow file has them */
    size_t rule_count;
} start_rules_t;

typedef struct {
    pid_t pid;
    int pidfd;
    int input; /* our end of its stdin; -1 = it has none */
    int output, errors;
} started_t;

/* Once, before the first start: what programs inherit that is not given with each. -1: errno. */
int start_prepare(const start_rules_t *rules);
/* `content` of a START frame, which is changed. -1: nothing was started, `failure` says why. */
int start_program(const char *content, size_t length, started_t *started, failure_t *failure);

#endif
