/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a program, on an endpoint or as one that listens by itself: fork, the steps in the child,
 * exec. The child tells by a pipe which step failed; the pipe's end without a word means that exec
 * succeeded.
 */
#ifndef USHER_LAUNCHER_SPAWN_H
#define USHER_LAUNCHER_SPAWN_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "launcher/failure.h"
#include "launcher/limits.h"
#include "launcher/paths.h"

/* Who a program is to be. */
typedef struct {
    bool is_other; /* false = stay who the launcher is */
    uid_t uid;
    gid_t gid;
    char name[64]; /* for initgroups(); empty = no supplementary groups */
} spawn_user_t;

#define SPAWN_INHERITED_MAX 2

typedef struct {
    const char *const *arguments; /* the first is the program's absolute path */
    const char *const *environment;
    const char *cwd;
    const checked_path_t
        *checked; /* a dynamic class's file, to be run in its directory; NULL = not one */
    bool may_gain_privileges; /* by executing set-user-ID programs */
    spawn_user_t user;
    int nice; /* added to the launcher's */
    limits_t limits;
    int listener;         /* becomes its descriptor 0; -1 = it listens by itself */
    int output;           /* what gets stdout and stderr */
    const int *inherited; /* become its descriptors 3 and 4; -1 behind the last. NULL = none */
    const char *script;   /* what its arguments have an interpreter read; NULL = none of ours */
    /* In the child, before anything else: -1 ends it. May be NULL. */
    int (*on_forked)(const void *context, failure_t *failure);
    const void *context;
} spawn_program_t;

#define SPAWN_GROUPS_MAX 32 /* more are not told */

/* What a program's process was, and when, on its way to exec. Times: CLOCK_MONOTONIC; 0 = it did not
 * come so far. */
typedef struct {
    uint64_t forked_ns, limited_ns, became_ns, entered_ns;
    uid_t uid;
    gid_t gid;
    int groups_count;
    gid_t groups[SPAWN_GROUPS_MAX];
    rlim_t limits[LIMITS_MAX];
} spawn_facts_t;

/* The child's words to the launcher. */
typedef struct {
    spawn_facts_t facts;
    bool has_failed;
    failure_t failure;
} spawn_report_t;

typedef struct {
    pid_t pid;
    int status_fd; /* non-blocking: spawn_report_t before exec, another one if that failed, its end */
} spawned_t;

/* What children get back after the launcher raised it for itself. */
void spawn_remember_file_limit(const struct rlimit *limit);
rlim_t spawn_file_limit(void); /* the soft one */
/* Dispositions and mask as a new program expects them; `ignore_pipe` as FastCGI programs do. */
void spawn_reset_signals(bool ignore_pipe);
void spawn_reset_file_limit(void);

/* Names or "#number"; NULL = not given. Only root can become somebody else. */
int spawn_find_user(const char *user, const char *group, spawn_user_t *found, failure_t *failure);
/* Become that user for good, without a way back; steps "group", "setuid". */
int spawn_become(const spawn_user_t *user, failure_t *failure);
int spawn(const spawn_program_t *program, spawned_t *spawned, failure_t *failure);

#endif
