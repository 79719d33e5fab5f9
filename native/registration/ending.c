/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the last server leaves where no manager runs: after `usher stop` nobody else would remove it.
 * The manager's own rule is kept: the directory's lock is held alone, so no server registers
 * meanwhile, and nothing is touched while anybody lives there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "registration/registration.h"

#define FIRST_WORKER_S 10 /* a server that has registered may fork its first worker this late */

typedef struct {
    char path[PATH_MAX]; /* the runtime directory; its `server` stands behind the NUL */
    const char *server;
    uint32_t generation;
    int fd;
} ending_t;

typedef bool (*on_entry_t)(const ending_t *ending, int folder, const char *name);

static int open_folder(int parent, const char *name) {
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Call `on_entry` for everything in the folder until it says false. */
static bool each_entry(const ending_t *ending, int folder, on_entry_t on_entry) {
    bool go_on = true;
    int fd = open_folder(folder, ".");
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);
    if (entries == NULL) {
        if (fd >= 0)
            close(fd);
        return errno == ENOENT;
    }
    struct dirent *entry;
    while (go_on && (entry = readdir(entries)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            go_on = on_entry(ending, folder, entry->d_name);
    closedir(entries);
    return go_on;
}

/* ---- is anybody there? ------------------------------------------------------------------------ */

/* The locked file, if nobody else holds it and it is the one that others find; else -1 with errno. */
static int lock_file(const ending_t *ending, const char *name, int operation) {
    struct stat held, found;
    int fd = openat(ending->fd, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (flock(fd, operation | LOCK_NB) < 0 || fstat(fd, &held) < 0 ||
                    fstatat(ending->fd, name, &found, AT_SYMLINK_NOFOLLOW) < 0 ||
                    held.st_ino != found.st_ino || held.st_dev != found.st_dev)) {
        close(fd);
        fd = -1;
        errno = EWOULDBLOCK;
    }
    return fd;
}

/* Not a server's folder, or no worker lives in it. */
static bool has_no_worker(const ending_t *ending, int folder, const char *name) {
    (void)ending;
    bool locked = false;
    int server = open_folder(folder, name);
    int live = server < 0 ? -1 : openat(server, "live", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    for (off_t slot = 0; live >= 0 && slot < (off_t)USHER_WORKERS_MAX && !locked; slot++)
        locked = usher_os_byte_is_locked(live, slot) != 0;
    if (live >= 0)
        close(live);
    if (server >= 0)
        close(server);
    return !locked;
}

/* Servers of which no worker lives have died, but for one that has registered just now. */
static bool is_no_newcomer(const ending_t *ending, int folder, const char *name) {
    struct stat status;
    struct timespec now;
    size_t length = strlen(ending->server);
    if (strncmp(name, ending->server, length) == 0 && name[length] == '.' &&
        strtoul(name + length + 1, NULL, 10) <= ending->generation)
        return true;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec - status.st_mtim.tv_sec > FIRST_WORKER_S;
}

/* A launcher that was killed has left its records: the next one must find its programs. */
static bool is_no_program(const ending_t *ending, int folder, const char *name) {
    (void)ending, (void)folder;
    return strncmp(name, "instance-", strlen("instance-")) != 0;
}

static bool is_deserted(const ending_t *ending) {
    int servers = open_folder(ending->fd, "servers"), state = open_folder(ending->fd, "state");
    bool deserted = servers >= 0 && each_entry(ending, servers, is_no_newcomer) &&
                    each_entry(ending, ending->fd, has_no_worker) &&
                    (state < 0 || each_entry(ending, state, is_no_program));
    if (servers >= 0)
        close(servers);
    if (state >= 0)
        close(state);
    return deserted;
}

/* ---- removing --------------------------------------------------------------------------------- */

static bool remove_file(const ending_t *ending, int folder, const char *name) {
    struct stat status;
    (void)ending;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        (S_ISREG(status.st_mode) || S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode)))
        unlinkat(folder, name, 0);
    return true;
}

static void remove_folder(const ending_t *ending, const char *name) {
    int folder = open_folder(ending->fd, name);
    if (folder < 0)
        return;
    if (geteuid() != 0)
        fchmod(folder, 0700);
    each_entry(ending, folder, remove_file);
    close(folder);
    unlinkat(ending->fd, name, AT_REMOVEDIR);
}

static bool remove_server(const ending_t *ending, int folder, const char *name) {
    struct stat status;
    char live[NAME_MAX + sizeof "/live"];
    snprintf(live, sizeof live, "%s/live", name);
    if (fstatat(folder, live, &status, AT_SYMLINK_NOFOLLOW) == 0)
        remove_folder(ending, name);
    return true;
}

/* What nobody of ours has put there stays, and the directory with it. */
static void remove_all(const ending_t *ending) {
    static const char *const folders[] = {"channel", "sockets", "servers", "state"};
    static const char *const files[] = {"control.sock", "usher.log", "manager.lock", "lock"};
    each_entry(ending, ending->fd, remove_server);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        remove_folder(ending, folders[i]);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        unlinkat(ending->fd, files[i], 0);
    rmdir(ending->path);
}

/* ---- */

/* <runtime dir>/<server>/live in parts. */
static bool split_path(ending_t *ending, const char *live_path) {
    if ((size_t)snprintf(ending->path, sizeof ending->path, "%s", live_path) >= sizeof ending->path)
        return false;
    char *file = strrchr(ending->path, '/');
    if (file == NULL || file == ending->path)
        return false;
    *file = '\0';
    char *server = strrchr(ending->path, '/');
    if (server == NULL || server == ending->path)
        return false;
    *server = '\0';
    ending->server = server + 1;
    return true;
}

bool usher_registration_end(const char *live_path, uint32_t generation) {
    ending_t ending = {.generation = generation};
    struct stat status;
    int lock = -1, manager_lock = -1;
    bool removed = false;
    if (!split_path(&ending, live_path))
        return false;
    ending.fd = open(ending.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (ending.fd < 0 || fstat(ending.fd, &status) < 0 || status.st_uid != geteuid())
        goto done;
    /* A launcher that comes now waits for a lock that is only shared, and finds nothing then. */
    if ((lock = lock_file(&ending, "lock", LOCK_EX)) < 0 ||
        ((manager_lock = lock_file(&ending, "manager.lock", LOCK_SH)) < 0 && errno != ENOENT) ||
        !is_deserted(&ending))
        goto done;
    remove_all(&ending);
    removed = true;
done:
    if (manager_lock >= 0)
        close(manager_lock);
    if (lock >= 0)
        close(lock);
    if (ending.fd >= 0)
        close(ending.fd);
    return removed;
}
