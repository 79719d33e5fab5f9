/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipe into which a program writes stdout and stderr: a FIFO in <runtime>/state/, so that a next
 * launcher finds it again whatever rights it has. The program holds it open for reading as well:
 * while there is no launcher its lines wait in the pipe, and no write fails.
 */
#ifndef USHER_LAUNCHER_OUTPUT_PIPE_H
#define USHER_LAUNCHER_OUTPUT_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "launcher/failure.h"

typedef struct {
    int launcher_end; /* for reading, non-blocking */
    int program_end;
} output_pipe_t;

int output_pipe_create(int64_t instance_id, output_pipe_t *pipe, failure_t *failure);
/* The launcher's end of a former launcher's one; -1 with errno. */
int output_pipe_reopen(int64_t instance_id);
void output_pipe_remove(int64_t instance_id);
/* Nobody wants to know any more what comes out of `fd`, but who still writes must not block. Closes
 * it, and removes the FIFO, when nobody has it open. */
void output_pipe_drain(int64_t instance_id, int fd);
/* Drain all that are not read otherwise. */
void output_pipes_drain_others(bool (*is_read)(int64_t instance_id));

#endif
