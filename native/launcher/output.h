/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program writes to stdout and stderr: always read, so that no program blocks on its log;
 * the last bytes kept; by whole lines into the program's log file, if it has one, and passed on to
 * the manager as far as it keeps up.
 */
#ifndef USHER_LAUNCHER_OUTPUT_H
#define USHER_LAUNCHER_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

#include "launcher/log_file.h"
#include "launcher/loop.h"
#include "launcher/protocol.h"

#define OUTPUT_LINE_MAX 4096

typedef struct {
    int64_t instance_id;
    watch_t watch;   /* fd -1 = closed */
    log_file_t *log; /* NULL = none; let go by output_close */
    alarm_t line_alarm;
    uint64_t second_ns;  /* when the second began … */
    size_t second_bytes; /* … in which this much was passed on */
    alarm_t dropped_alarm;
    size_t dropped_bytes; /* not passed on, and the manager was not told yet */
    size_t kept_end;      /* bytes ever written to `kept`: a ring */
    size_t line_length;
    char kept[USHER_OUTPUT_KEPT];
    char line[OUTPUT_LINE_MAX]; /* the unfinished last line */
} output_t;

/* Read from the launcher's end of its pipe (output_pipe.h). */
int output_open(output_t *output, int64_t instance_id, int fd);
/* Read what is there now, at the end of a program's life, and pass on its unfinished line. */
void output_finish(output_t *output);
/* Who still has the pipe open may go on writing, and is not heard any more. */
void output_close(output_t *output);
/* Copy the last bytes; returns how many. */
size_t output_kept(const output_t *output, char kept[USHER_OUTPUT_KEPT]);
/* As if these had been the last bytes. */
void output_restore(output_t *output, const char *bytes, size_t length);

#endif
