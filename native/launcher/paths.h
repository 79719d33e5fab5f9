/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files may be started as dynamic classes. The way from the root to the file is walked one
 * directory at a time, through descriptors and never through a symbolic link, so that what was
 * looked at is what is meant, whoever renames what meanwhile.
 */
#ifndef USHER_LAUNCHER_PATHS_H
#define USHER_LAUNCHER_PATHS_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "launcher/allow.h"
#include "launcher/failure.h"

/* A file that may be started. */
typedef struct {
    int folder; /* O_PATH: the directory it stands in; the caller closes it */
    dev_t device;
    ino_t inode;
    char real[PATH_MAX]; /* its path without symbolic links */
} checked_path_t;

/*
 * May `path` be started below the roots of `block`? With `owners_count` file and directories, from
 * the root on, must belong to root, to `uid`, who is to run it, or to the owner of the root, and must
 * not be writable by group or others, unless the block says path-check=roots.
 * -1: step "missing" (there is no such file) or "path".
 */
int paths_check(const allow_block_t *block, uid_t uid, bool owners_count, const char *path,
                checked_path_t *checked, failure_t *failure);

/* Does it lie below a root of the block, there or not? */
bool paths_concern(const allow_block_t *block, const char *path);

#endif
