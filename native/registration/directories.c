/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime directory. Whoever may write into it decides what runs as which user, so everything
 * is reached through descriptors, nothing follows a symbolic link inside it, and what belongs to
 * others or may be written by others is refused rather than repaired.
 */
#include "registration/directories.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "registration/failure.h"

#define LOCK_WAIT_NS 10000000000u
#define LOCK_LOOK_NS 2000000

/* Bytes of the longest socket name below <runtime dir>/<server>/, and of "apache-" with 8 digits. */
#define SOCKET_NAME_BYTES 24
#define SERVER_NAME_BYTES 15

/* ---- its path --------------------------------------------------------------------------------- */

int usher_default_runtime_dir(char *path, size_t size, usher_error_t *error) {
    const char *parent = "/run";
    if (geteuid() != 0) {
        parent = getenv("XDG_RUNTIME_DIR");
        if (parent == NULL || *parent != '/') {
            usher_registration_fail(
                error, USHER_INVALID,
                "no runtime directory: XDG_RUNTIME_DIR is not set; name one in the "
                "configuration (UsherRuntimeDir, usher_runtime_dir)");
            return -1;
        }
    }
    if ((size_t)snprintf(path, size, "%s/usher", parent) >= size) {
        usher_registration_fail(error, USHER_INVALID, "XDG_RUNTIME_DIR has %zu bytes: too long",
                                strlen(parent));
        return -1;
    }
    return 0;
}

int usher_runtime_dir_check(const char *runtime_dir, usher_error_t *error) {
    struct sockaddr_un address;
    const size_t most =
        sizeof address.sun_path - 1 - (1 + SERVER_NAME_BYTES) - (1 + SOCKET_NAME_BYTES);
    size_t length = strlen(runtime_dir);
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)runtime_dir[i] < 0x20 || runtime_dir[i] == 0x7f) {
            usher_registration_fail(error, USHER_INVALID,
                                    "the runtime directory's path holds control characters");
            return -1;
        }
    }
    while (length > 1 && runtime_dir[length - 1] == '/')
        length--;
    if (*runtime_dir != '/' || length < 2) {
        usher_registration_fail(error, USHER_INVALID,
                                "runtime directory %.80s: expected an absolute path other than /",
                                runtime_dir);
        return -1;
    }
    if (length > most) {
        usher_registration_fail(
            error, USHER_INVALID,
            "runtime directory %.80s: its path has %zu bytes, at most %zu are possible: "
            "<runtime directory>/<server>/<socket> must be shorter than %zu",
            runtime_dir, length, most, sizeof address.sun_path);
        return -1;
    }
    return 0;
}

/* ---- the directory itself --------------------------------------------------------------------- */

/* Open the directory `name` below `parent`, creating it with `mode` (whatever the umask says). */
static int make_and_open(int parent, const char *name, mode_t mode, int flags) {
    bool created = mkdirat(parent, name, 0700) == 0;
    if (!created && errno != EEXIST)
        return -1;
    if (!created)
        return openat(parent, name, O_PATH | O_DIRECTORY | O_CLOEXEC | flags);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fchmod(fd, mode) < 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

/* mkdir -p; a link may stand anywhere in the path but at its end. */
static int make_and_open_path(const char *path) {
    char name[NAME_MAX + 1];
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0) {
        path += strspn(path, "/");
        if (*path == '\0')
            return fd;
        size_t length = strcspn(path, "/");
        if (length >= sizeof name) {
            close(fd);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, path, length);
        name[length] = '\0';
        path += length;
        bool last = path[strspn(path, "/")] == '\0';
        mode_t mode = !last ? 0755 : geteuid() == 0 ? 0711 : 0700;
        int next = make_and_open(fd, name, mode, last ? O_NOFOLLOW : 0);
        int cause = errno;
        close(fd);
        errno = cause;
        fd = next;
    }
    return -1;
}

static usher_status_t check_directory(const char *path, int fd, usher_error_t *error) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return usher_registration_fail_errno(error, "cannot look at %s", path);
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return usher_registration_fail(
            error, USHER_INVALID,
            "%s belongs to user id %u, must belong to %u: remove it or name another "
            "runtime directory",
            path, (unsigned)status.st_uid, (unsigned)geteuid());
    if (status.st_mode & (S_IWGRP | S_IWOTH))
        return usher_registration_fail(
            error, USHER_INVALID,
            "%s may be written by others than its owner (mode %04o): chmod go-w it, "
            "or name another runtime directory",
            path, (unsigned)status.st_mode & 07777);
    return USHER_OK;
}

static usher_status_t open_directory(usher_runtime_t *runtime, usher_error_t *error) {
    struct stat status;
    usher_status_t result;
    int path_fd = make_and_open_path(runtime->path);
    if (path_fd < 0) {
        if (errno == ENOTDIR && lstat(runtime->path, &status) == 0 && S_ISLNK(status.st_mode))
            return usher_registration_fail(
                error, USHER_INVALID, "%s is a symbolic link: name the runtime directory itself",
                runtime->path);
        return usher_registration_fail_errno(error, "cannot create the runtime directory %s",
                                             runtime->path);
    }
    result = check_directory(runtime->path, path_fd, error);
    if (result != USHER_OK)
        goto done;
    runtime->fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (runtime->fd < 0 || fstat(runtime->fd, &status) < 0) {
        result = usher_registration_fail_errno(error, "cannot open the runtime directory %s",
                                               runtime->path);
        goto done;
    }
    /* Workers of another user must be able to go through it. */
    if (geteuid() == 0 && (status.st_mode & 0711) != 0711 &&
        fchmod(runtime->fd, (status.st_mode & 07777) | 0711) < 0)
        result =
            usher_registration_fail_errno(error, "cannot change the mode of %s", runtime->path);
done:
    close(path_fd);
    return result;
}

/* ---- its lock --------------------------------------------------------------------------------- */

static usher_status_t share_lock(usher_runtime_t *runtime, uint64_t deadline_ns,
                                 usher_error_t *error) {
    runtime->lock_fd = openat(runtime->fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (runtime->lock_fd < 0)
        return usher_registration_fail_errno(error, "cannot open %s/lock", runtime->path);
    while (flock(runtime->lock_fd, LOCK_SH | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return usher_registration_fail_errno(error, "cannot lock %s/lock", runtime->path);
        if (usher_os_now_ns() >= deadline_ns)
            return usher_registration_fail(
                error, USHER_TIMEOUT,
                "%s/lock has been held for 10 s: a manager that was about to end "
                "hangs; end its usher-launcher",
                runtime->path);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_LOOK_NS}, NULL);
    }
    return USHER_OK;
}

/* Is the lock we hold still the one that others find? An ending manager removes the directory. */
static bool lock_is_current(const usher_runtime_t *runtime) {
    char path[sizeof((struct sockaddr_un *)0)->sun_path + 8];
    struct stat held, found;
    snprintf(path, sizeof path, "%s/lock", runtime->path);
    return fstat(runtime->lock_fd, &held) == 0 && lstat(path, &found) == 0 &&
           held.st_dev == found.st_dev && held.st_ino == found.st_ino;
}

/* An ending manager may take the directory away between any two of our steps: begin again. */
usher_status_t usher_runtime_open(usher_runtime_t *runtime, const char *path,
                                  usher_error_t *error) {
    uint64_t deadline_ns = usher_os_now_ns() + LOCK_WAIT_NS;
    for (;;) {
        *runtime = (usher_runtime_t){.path = path, .fd = -1, .lock_fd = -1};
        usher_status_t status = open_directory(runtime, error);
        if (status == USHER_OK)
            status = share_lock(runtime, deadline_ns, error);
        if (status == USHER_OK && lock_is_current(runtime))
            return USHER_OK;
        usher_runtime_close(runtime);
        if (status == USHER_OK)
            status = usher_registration_fail(error, USHER_TIMEOUT, "%s is removed again and again",
                                             path);
        else if (status != USHER_SYSTEM || error->errno_value != ENOENT)
            return status;
        if (usher_os_now_ns() >= deadline_ns)
            return status;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_LOOK_NS}, NULL);
    }
}

void usher_runtime_close(usher_runtime_t *runtime) {
    if (runtime->lock_fd >= 0)
        close(runtime->lock_fd);
    if (runtime->fd >= 0)
        close(runtime->fd);
    runtime->fd = runtime->lock_fd = -1;
}

/* ---- what is in it ---------------------------------------------------------------------------- */

/* A directory of ours below the runtime directory, with exactly this owner and mode. */
static usher_status_t prepare_directory(const usher_runtime_t *runtime, const char *name,
                                        mode_t mode, uid_t uid, gid_t gid, int *directory_fd,
                                        usher_error_t *error) {
    struct stat status;
    if (mkdirat(runtime->fd, name, 0700) < 0 && errno != EEXIST)
        return usher_registration_fail_errno(error, "cannot create %s/%s", runtime->path, name);
    int fd = openat(runtime->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        goto failed;
    if ((status.st_uid != uid || status.st_gid != gid) && geteuid() == 0 &&
        fchown(fd, uid, gid) < 0)
        goto failed;
    if (geteuid() != 0 && status.st_uid != geteuid()) {
        close(fd);
        return usher_registration_fail(
            error, USHER_INVALID, "%s/%s belongs to user id %u, must belong to %u", runtime->path,
            name, (unsigned)status.st_uid, (unsigned)geteuid());
    }
    if ((status.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
        goto failed;
    if (directory_fd != NULL)
        *directory_fd = fd;
    else
        close(fd);
    return USHER_OK;

failed:
    usher_registration_fail_errno(error, "cannot prepare %s/%s", runtime->path, name);
    if (fd >= 0)
        close(fd);
    return USHER_SYSTEM;
}

usher_status_t usher_runtime_prepare(const usher_runtime_t *runtime, usher_error_t *error) {
    static const char *const names[] = {"channel", "sockets", "servers"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        usher_status_t status =
            prepare_directory(runtime, names[i], 0700, geteuid(), getegid(), NULL, error);
        if (status != USHER_OK)
            return status;
    }
    return USHER_OK;
}

usher_status_t usher_runtime_newest(const usher_runtime_t *runtime, const char *server,
                                    uint32_t *newest, usher_error_t *error) {
    int fd = openat(runtime->fd, "servers", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    size_t length = strlen(server);
    struct dirent *entry;
    *newest = 0;
    if (folder == NULL) {
        usher_registration_fail_errno(error, "cannot list %s/servers", runtime->path);
        if (fd >= 0)
            close(fd);
        return USHER_SYSTEM;
    }
    while ((entry = readdir(folder)) != NULL) {
        const char *number = entry->d_name + length + 1;
        if (strncmp(entry->d_name, server, length) != 0 || entry->d_name[length] != '.')
            continue;
        unsigned long generation = strtoul(number, NULL, 10);
        if (generation > *newest && generation < UINT32_MAX)
            *newest = (uint32_t)generation;
    }
    closedir(folder);
    return USHER_OK;
}

/*
 * <server>/live. The directory belongs to the workers' user, who can put anything there. So only a
 * file that we have just created is given away, and one that is there already is kept if it is a
 * plain file of that user: living workers hold locks in it.
 */
static int prepare_live(int directory, uid_t uid, gid_t gid) {
    struct stat status;
    if (fstatat(directory, "live", &status, AT_SYMLINK_NOFOLLOW) == 0) {
        if (S_ISREG(status.st_mode) && status.st_uid == uid && status.st_nlink == 1)
            return 0;
        if (unlinkat(directory, "live", S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0) < 0)
            return -1;
    } else if (errno != ENOENT) {
        return -1;
    }
    int fd = openat(directory, "live", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    int result = geteuid() == 0 ? fchown(fd, uid, gid) : 0;
    int cause = errno;
    close(fd);
    errno = cause;
    return result;
}

usher_status_t usher_runtime_prepare_server(const usher_runtime_t *runtime, const char *server,
                                            uid_t uid, gid_t gid, usher_error_t *error) {
    bool root = geteuid() == 0;
    if (!root) {
        uid = geteuid();
        gid = getegid();
    }
    int directory = -1;
    usher_status_t status =
        prepare_directory(runtime, server, root ? 0500 : 0700, uid, gid, &directory, error);
    if (status != USHER_OK)
        return status;
    if (prepare_live(directory, uid, gid) < 0)
        status = usher_registration_fail_errno(error, "cannot prepare %s/%s/live", runtime->path,
                                               server);
    close(directory);
    return status;
}
