/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "launcher/credentials.h"
#include "launcher/log.h"
#include "launcher/loop.h"
#include "os/os.h"

#define RETRY_NS NS_PER_S
#define NEW_FILE_MODE 0640
/* What one file takes: so much at once, so much a second for ever, never the last of its file system. */
#define BURST_BYTES (16u << 20)
#define BYTES_PER_S (1u << 20)
#define LEAST_FREE_BYTES (64u << 20)
#define LEAST_FREE_PART 20
#define PAUSE_NS (10 * NS_PER_S) /* so long nothing is written then */

struct log_file {
    log_file_t *next;
    unsigned users; /* instances */
    char *path;
    spawn_user_t user;
    int fd; /* -1 = not open */
    dev_t device;
    ino_t inode;
    uint64_t retry_ns;   /* not to be opened before */
    uint64_t pause_ns;   /* not to be written before */
    uint64_t credit_ns;  /* when its credit … */
    uint64_t credit;     /* … was so many bytes */
    uint64_t space_ns;   /* free space was looked at */
    uint64_t lost_bytes; /* since it failed */
    bool failing;        /* and that was said */
};

static log_file_t *files;

/* ---- what is said of it -------------------------------------------------------------------- */

static void fails(log_file_t *file, const char *why) {
    if (file->failing)
        return;
    file->failing = true;
    file->lost_bytes = 0;
    log_error("program-log.failed", "path", file->path, "error", why, NULL);
}

static void works(log_file_t *file) {
    if (!file->failing)
        return;
    file->failing = false;
    log_info("program-log.resumed", "path", file->path, "lost_bytes",
             decimal((int64_t)file->lost_bytes).text, NULL);
}

/* ---- opening ------------------------------------------------------------------------------- */

static void let_go(log_file_t *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

/* Not to wait for a FIFO's reader, not to follow a link somebody left there. */
static int open_as_user(const log_file_t *file) {
    if (credentials_take(&file->user) < 0)
        return -1;
    mode_t mask = umask(0);
    int fd = open(file->path,
                  O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
                  NEW_FILE_MODE);
    umask(mask);
    credentials_give_back(&file->user);
    return fd;
}

static void open_file(log_file_t *file) {
    struct stat status;
    file->retry_ns = usher_os_now_ns() + RETRY_NS;
    file->fd = open_as_user(file);
    if (file->fd < 0) {
        fails(file, errno == ELOOP ? "it is a symbolic link" : strerror(errno));
        return;
    }
    if (fstat(file->fd, &status) < 0 || !S_ISREG(status.st_mode)) {
        fails(file, "it is no regular file");
        let_go(file);
        return;
    }
    file->device = status.st_dev;
    file->inode = status.st_ino;
}

static bool was_moved_away(const log_file_t *file) {
    struct stat status;
    return lstat(file->path, &status) < 0 || status.st_dev != file->device ||
           status.st_ino != file->inode;
}

static log_file_t *find(const char *path, const spawn_user_t *user) {
    log_file_t *file = files;
    while (file != NULL && (strcmp(file->path, path) != 0 || file->user.uid != user->uid ||
                            file->user.gid != user->gid))
        file = file->next;
    return file;
}

log_file_t *log_file_open(const char *path, const spawn_user_t *user) {
    log_file_t *file = find(path, user);
    if (file == NULL) {
        file = calloc(1, sizeof(*file));
        if (file == NULL || (file->path = strdup(path)) == NULL) {
            free(file);
            return NULL;
        }
        file->user = *user;
        file->credit = BURST_BYTES;
        file->credit_ns = usher_os_now_ns();
        file->next = files;
        files = file;
        open_file(file);
    }
    file->users++;
    return file;
}

void log_file_close(log_file_t *file) {
    if (file == NULL || --file->users > 0)
        return;
    log_file_t **link = &files;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    if (file->failing && file->lost_bytes > 0)
        log_warn("program-log.closed", "path", file->path, "lost_bytes",
                 decimal((int64_t)file->lost_bytes).text, NULL);
    let_go(file);
    free(file->path);
    free(file);
}

/* ---- writing ------------------------------------------------------------------------------- */

static bool has_credit(log_file_t *file, uint64_t now, size_t length) {
    uint64_t earned = (now - file->credit_ns) / NS_PER_MS * BYTES_PER_S / 1000;
    if (earned > 0) {
        uint64_t credit = file->credit + earned;
        file->credit = credit > BURST_BYTES ? BURST_BYTES : credit;
        file->credit_ns = now;
    }
    if (file->credit < length)
        return false;
    file->credit -= length;
    return true;
}

static bool has_space(log_file_t *file, uint64_t now) {
    struct statvfs system;
    if (now - file->space_ns < NS_PER_S || fstatvfs(file->fd, &system) < 0)
        return true;
    file->space_ns = now;
    uint64_t least = (uint64_t)system.f_blocks / LEAST_FREE_PART * system.f_frsize;
    if (least > LEAST_FREE_BYTES)
        least = LEAST_FREE_BYTES;
    return (uint64_t)system.f_bavail * system.f_frsize >= least;
}

/* A program that writes without end must not fill the disk. */
static bool may_write(log_file_t *file, size_t length) {
    uint64_t now = usher_os_now_ns();
    if (now < file->pause_ns)
        return false;
    const char *why = !has_credit(file, now, length) ? "more than 1 MB a second is written to it"
                      : !has_space(file, now)        ? "its file system is nearly full"
                                                     : NULL;
    if (why == NULL)
        return true;
    fails(file, why);
    file->pause_ns = now + PAUSE_NS;
    return false;
}

void log_file_write(log_file_t *file, const char *bytes, size_t length) {
    if (file->fd >= 0 && was_moved_away(file)) {
        let_go(file);
        file->retry_ns = 0;
    }
    if (file->fd < 0 && usher_os_now_ns() >= file->retry_ns)
        open_file(file);
    if (file->fd >= 0 && !may_write(file, length)) {
        file->lost_bytes += length;
        return;
    }
    ssize_t written = file->fd < 0 ? -1 : write(file->fd, bytes, length);
    if (file->fd >= 0 && written < (ssize_t)length)
        fails(file, written < 0 ? strerror(errno) : strerror(ENOSPC));
    else if (file->fd >= 0)
        works(file);
    if (written < (ssize_t)length)
        file->lost_bytes += length - (written > 0 ? (size_t)written : 0);
}
