/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's command line. */
#ifndef USHER_LAUNCHER_OPTIONS_H
#define USHER_LAUNCHER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum { MODE_EMBEDDED, MODE_EXTERNAL, MODE_RUN } launch_mode_t;

typedef struct {
    launch_mode_t mode;
    const char *runtime_dir; /* this and the next ones: absolute, but for a node without '/' */
    const char *node;
    const char *usherd;
    const char *config;  /* NULL = not given */
    const char *log;     /* NULL = stderr as it is */
    const char *user;    /* the manager's; NULL = usher or nobody */
    int64_t watchdog_ms; /* a manager that says nothing for so long hangs */
    /* given by the launcher to itself */
    pid_t standby_of;          /* be the standby of this launcher; 0 = be a launcher */
    int64_t revivals;          /* by a standby … */
    uint64_t revived_since_ns; /* … since then */
    bool upgraded;             /* handover.h */
    pid_t former_standby;      /* before the upgrade; 0 = none */
    int64_t file_limit;        /* soft limit of open files that programs get; 0 = what it is now */
} launch_options_t;

#define OPTIONS_WORDS_MAX 20

/* Words that say the same, but for what the launcher gives to itself; returns how many. */
size_t options_words(const launch_options_t *options, const char *words[OPTIONS_WORDS_MAX]);
/* Exits with 0 after --version, with 2 and the usage when something is missing or wrong. */
void options_parse(int count, char **words, launch_options_t *options);
const char *mode_name(launch_mode_t mode);

#endif
