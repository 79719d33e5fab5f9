/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITABLE_BY_OTHERS (S_IWGRP | S_IWOTH)

/* What the walk below a root goes by. */
typedef struct {
    const char *path; /* as asked for */
    bool owners;      /* who owns what, and who may write to it, matters */
    uid_t user, root_owner;
} rules_t;

/* ---- texts --------------------------------------------------------------------------------- */

/* Below, and not the root itself. */
static bool is_below(const char *path, const char *root) {
    size_t length = strlen(root);
    while (length > 0 && root[length - 1] == '/')
        length--;
    return strncmp(path, root, length) == 0 && path[length] == '/' &&
           path[length + strspn(path + length, "/")] != '\0';
}

static bool has_dots(const char *path) {
    for (const char *at = path; (at = strstr(at, "/..")) != NULL; at += 3) {
        if (at[3] == '/' || at[3] == '\0')
            return true;
    }
    return false;
}

/* Does it lie below a root, as both are written? */
static bool is_below_root(const allow_block_t *block, const char *path) {
    size_t cursor = 0;
    const char *root;
    while (!has_dots(path) && (root = allow_next(block, "root", &cursor)) != NULL) {
        if (is_below(path, root))
            return true;
    }
    return false;
}

typedef struct {
    char text[64];
} user_name_t;

static user_name_t name_of(uid_t uid) {
    user_name_t name;
    const struct passwd *entry = getpwuid(uid);
    if (entry != NULL)
        snprintf(name.text, sizeof(name.text), "%s", entry->pw_name);
    else
        snprintf(name.text, sizeof(name.text), "#%u", (unsigned)uid);
    return name;
}

static int fail_path(const char *path, int error, failure_t *failure) {
    if (error == ENOENT || error == ENOTDIR)
        return fail(failure, "missing", ENOENT, "%s does not exist", path);
    return fail(failure, "path", error, "%s: %s", path, strerror(error));
}

static int fail_outside(const allow_block_t *block, const char *path, const char *real,
                        failure_t *failure) {
    char roots[256] = "none", where[256] = "";
    size_t length = 0, cursor = 0;
    const char *root;
    while ((root = allow_next(block, "root", &cursor)) != NULL && length < sizeof(roots))
        length += (size_t)snprintf(roots + length, sizeof(roots) - length, "%s%s",
                                   length > 0 ? ", " : "", root);
    if (real != NULL && strcmp(real, path) != 0)
        snprintf(where, sizeof(where), " (%.240s)", real);
    return fail(failure, "path", EACCES, "%.200s%s lies outside the roots for dynamic classes: %s",
                path, where, roots);
}

/* ---- whose is it, and who may write to it? ------------------------------------------------- */

static int check_owner(const rules_t *rules, const char *what, const struct stat *status,
                       failure_t *failure) {
    if (!rules->owners)
        return 0;
    if ((status->st_mode & WRITABLE_BY_OTHERS) != 0)
        return fail(failure, "path", EACCES,
                    "%s is not started: %s may be written by its group or by others (mode %04o, "
                    "owner %s): chmod go-w it, or say -path-check roots",
                    rules->path, what, (unsigned)(status->st_mode & 07777),
                    name_of(status->st_uid).text);
    if (status->st_uid == 0 || status->st_uid == rules->user || status->st_uid == rules->root_owner)
        return 0;
    return fail(failure, "path", EACCES,
                "%s is not started: %s belongs to %s (mode %04o): chown it to root, to %s, who is "
                "to run the program, or to %s, the owner of its root, or say -path-check roots",
                rules->path, what, name_of(status->st_uid).text,
                (unsigned)(status->st_mode & 07777), name_of(rules->user).text,
                name_of(rules->root_owner).text);
}

static int check_file(const rules_t *rules, const struct stat *status, failure_t *failure) {
    const char *path = rules->path;
    if (S_ISDIR(status->st_mode))
        return fail(failure, "path", EISDIR, "%s is a directory", path);
    if (!S_ISREG(status->st_mode))
        return fail(failure, "path", EACCES, "%s is not a regular file", path);
    if ((status->st_mode & 0111) == 0) {
        fail(failure, "path", EACCES, "%s is not executable (mode %o)", path,
             (unsigned)(status->st_mode & 0777));
        return fail_because(failure, "not-executable");
    }
    if (rules->owners && (status->st_mode & (S_ISUID | S_ISGID)) != 0)
        return fail(failure, "path", EACCES,
                    "%s is not started: its file makes who runs it somebody else (mode %04o): "
                    "chmod ug-s it, or say -path-check roots",
                    path, (unsigned)(status->st_mode & 07777));
    return check_owner(rules, "it", status, failure);
}

/* ---- walking ------------------------------------------------------------------------------- */

/* The next name of a canonical path; false at its end. */
static bool next_name(const char **path, char name[NAME_MAX + 1]) {
    *path += strspn(*path, "/");
    size_t length = strcspn(*path, "/");
    if (length == 0 || length > NAME_MAX)
        return false;
    memcpy(name, *path, length);
    name[length] = '\0';
    *path += length;
    return true;
}

/* Go down one name: `*folder` is replaced, and closed in any case. */
static int step(int *folder, const char *name, int flags) {
    int next = openat(*folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC | flags);
    int error = errno;
    close(*folder);
    *folder = next;
    errno = error;
    return next < 0 ? -1 : 0;
}

/* O_PATH of a directory by its canonical path. */
static int open_canonical(const char *path) {
    char name[NAME_MAX + 1];
    int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (folder >= 0 && next_name(&path, name) && step(&folder, name, O_DIRECTORY) == 0)
        continue;
    return folder;
}

/* From the root, which `checked->folder` is, down to the directory of the file `checked->real`. */
static int walk(rules_t *rules, size_t root_length, checked_path_t *checked, failure_t *failure) {
    char name[NAME_MAX + 1], where[PATH_MAX + 16];
    struct stat status;
    const char *rest = checked->real + root_length;
    if (fstat(checked->folder, &status) < 0)
        return fail_path(rules->path, errno, failure);
    rules->root_owner = status.st_uid;
    for (;;) {
        int length = rest > checked->real ? (int)(rest - checked->real) : 1; /* at least "/" */
        snprintf(where, sizeof(where), "directory %.*s", length, checked->real);
        if (check_owner(rules, where, &status, failure) < 0)
            return -1;
        if (!next_name(&rest, name))
            return fail_path(rules->path, ENOENT, failure);
        if (*rest == '\0')
            break;
        if (step(&checked->folder, name, O_DIRECTORY) < 0 || fstat(checked->folder, &status) < 0)
            return fail_path(rules->path, errno, failure);
    }
    if (fstatat(checked->folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return fail_path(rules->path, errno, failure);
    checked->device = status.st_dev;
    checked->inode = status.st_ino;
    return check_file(rules, &status, failure);
}

bool paths_concern(const allow_block_t *block, const char *path) {
    char real[PATH_MAX], real_root[PATH_MAX];
    size_t cursor = 0;
    const char *root;
    if (is_below_root(block, path))
        return true;
    if (realpath(path, real) == NULL)
        return false;
    while ((root = allow_next(block, "root", &cursor)) != NULL) {
        if (realpath(root, real_root) != NULL && is_below(real, real_root))
            return true;
    }
    return false;
}

int paths_check(const allow_block_t *block, uid_t uid, bool owners_count, const char *path,
                checked_path_t *checked, failure_t *failure) {
    const char *mode = allow_text(block, "path-check"), *root;
    rules_t rules = {.path = path,
                     .user = uid,
                     .owners = owners_count && (mode == NULL || strcmp(mode, "suexec") == 0)};
    checked->folder = -1;
    if (path[0] != '/')
        return fail(failure, "path", EINVAL, "%.200s: an absolute path is expected", path);
    if (realpath(path, checked->real) == NULL) {
        int error = errno;
        /* who may ask anything is not told what exists elsewhere */
        return is_below_root(block, path) ? fail_path(path, error, failure)
                                          : fail_outside(block, path, NULL, failure);
    }
    size_t cursor = 0;
    char real_root[PATH_MAX];
    fail_outside(block, path, checked->real, failure);
    while ((root = allow_next(block, "root", &cursor)) != NULL) {
        if (realpath(root, real_root) == NULL || !is_below(checked->real, real_root))
            continue;
        checked->folder = open_canonical(real_root);
        size_t length = strcmp(real_root, "/") == 0 ? 0 : strlen(real_root);
        if (checked->folder < 0)
            fail_path(path, errno, failure);
        else if (walk(&rules, length, checked, failure) == 0)
            return 0;
        if (checked->folder >= 0)
            close(checked->folder);
        checked->folder = -1;
    }
    return -1;
}
