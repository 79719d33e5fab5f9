/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP "secret"

static bool is_trusted(uid_t owner) {
    return owner == 0 || owner == geteuid();
}

static unsigned mode_of(const struct stat *status) {
    return (unsigned)(status->st_mode & 07777);
}

/* ---- the way to it ------------------------------------------------------------------------- */

/* Whoever may rename what stands in a directory decides which file a path means. In a sticky one
 * nobody but the owner of an entry may, and that is looked at next. */
static int check_folder(int folder, const char *path, size_t length, failure_t *failure) {
    struct stat status;
    int shown = length > 0 ? (int)length : 1;
    if (fstat(folder, &status) < 0)
        return fail(failure, STEP, errno, "secret file %s: %.*s: %s", path, shown, path,
                    strerror(errno));
    bool writable = (status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (status.st_mode & S_ISVTX) == 0;
    if (is_trusted(status.st_uid) && !writable)
        return 0;
    return fail(
        failure, STEP, EPERM,
        "secret file %s: others could put another file there: directory %.*s has owner uid "
        "%u and mode %04o: root is expected, and no permission to write for group and others",
        path, shown, path, (unsigned)status.st_uid, mode_of(&status));
}

/* The directory it stands in, reached without symbolic links; *name is what is left of the path. */
static int open_folder(const char *path, const char **name, failure_t *failure) {
    int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const char *at = path;
    while (folder >= 0 && check_folder(folder, path, (size_t)(at - path), failure) == 0) {
        char part[NAME_MAX + 1];
        at += strspn(at, "/");
        size_t length = strcspn(at, "/");
        *name = at;
        if (at[length] == '\0')
            return folder;
        int next = -1;
        errno = ENAMETOOLONG;
        if (length < sizeof(part)) {
            memcpy(part, at, length);
            part[length] = '\0';
            next = openat(folder, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        }
        at += length;
        if (next < 0)
            fail(failure, STEP, errno, "secret file %s: %.*s: %s", path, (int)(at - path), path,
                 errno == ENOTDIR ? "not a directory; symbolic links are not followed"
                                  : strerror(errno));
        close(folder);
        folder = next;
        if (next < 0)
            return -1;
    }
    if (folder < 0)
        return fail(failure, STEP, errno, "secret file %s: /: %s", path, strerror(errno));
    close(folder);
    return -1;
}

/* ---- the file ------------------------------------------------------------------------------ */

static int check_file(const struct stat *status, const char *path, failure_t *failure) {
    if (!S_ISREG(status->st_mode))
        return fail(failure, STEP, S_ISDIR(status->st_mode) ? EISDIR : EINVAL,
                    "secret file %s: %s: a regular file is expected", path,
                    S_ISDIR(status->st_mode) ? "it is a directory" : "it is none");
    if (!is_trusted(status->st_uid))
        return fail(failure, STEP, EPERM, "secret file %s: its owner is uid %u: root is expected%s",
                    path, (unsigned)status->st_uid,
                    geteuid() == 0 ? "" : ", or who the launcher is");
    if ((status->st_mode & 077) != 0)
        return fail(
            failure, STEP, EPERM,
            "secret file %s: its mode %04o gives something to group or others: 0600 or 0400 "
            "is expected",
            path, mode_of(status));
    if (status->st_size > SECRET_BYTES_MAX)
        return fail(failure, STEP, EFBIG,
                    "secret file %s: it has %lld bytes: at most %d are allowed", path,
                    (long long)status->st_size, SECRET_BYTES_MAX);
    if (status->st_size == 0)
        return fail(failure, STEP, EINVAL, "secret file %s: it is empty", path);
    return 0;
}

int secret_open(const char *path, failure_t *failure) {
    struct stat status;
    const char *name = path;
    int folder = AT_FDCWD;
    if (path[0] != '/')
        return fail(failure, STEP, EINVAL, "secret file %s: an absolute path is expected", path);
    if (geteuid() == 0 && (folder = open_folder(path, &name, failure)) < 0)
        return -1;
    /* O_NONBLOCK: not to wait for a FIFO's writer */
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int error = errno;
    if (folder >= 0)
        close(folder);
    if (fd < 0)
        return fail(failure, STEP, error, "secret file %s: %s", path,
                    error == ELOOP ? "it is a symbolic link, which is not followed"
                                   : strerror(error));
    if (fstat(fd, &status) < 0 || fcntl(fd, F_SETFL, 0) < 0)
        fail(failure, STEP, errno, "secret file %s: %s", path, strerror(errno));
    else if (check_file(&status, path, failure) == 0)
        return fd;
    close(fd);
    return -1;
}
