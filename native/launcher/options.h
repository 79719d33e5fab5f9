/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher's command line. */
#ifndef USHER_LAUNCHER_OPTIONS_H
#define USHER_LAUNCHER_OPTIONS_H

typedef enum { MODE_EMBEDDED, MODE_EXTERNAL, MODE_RUN } launch_mode_t;

typedef struct {
    launch_mode_t mode;
    const char *runtime_dir; /* this and the next ones: absolute, but for a node without '/' */
    const char *node;
    const char *usherd;
    const char *config; /* NULL = not given */
    const char *log;    /* NULL = stderr as it is */
    const char *user;   /* the manager's; NULL = usher or nobody */
} launch_options_t;

/* Exits with 2 and the usage when something is missing or wrong. */
void options_parse(int count, char **words, launch_options_t *options);
const char *mode_name(launch_mode_t mode);

#endif
