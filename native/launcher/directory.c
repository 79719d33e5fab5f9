/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "channel/terms.h"
#include "launcher/handover.h"
#include "os/os.h"

#define LOCK_ATTEMPTS 500
#define LOCK_PAUSE_NS 10000000

static char runtime_path[4096];
static int runtime_fd = -1;
static int sockets_fd = -1;
static int finish_fd = -1; /* <runtime>/lock while it is held alone */

int directory_fd(void) {
    return runtime_fd;
}

int directory_sockets_fd(void) {
    return sockets_fd;
}

const char *directory_path(void) {
    return runtime_path;
}

static int open_folder(int parent_fd, const char *name) {
    return openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static mode_t runtime_mode(void) {
    return geteuid() == 0 ? 0711 : 0700;
}

int directory_open(const char *path, bool create, failure_t *failure) {
    snprintf(runtime_path, sizeof(runtime_path), "%s", path);
    bool created = create && mkdir(path, 0700) == 0;
    if (create && !created && errno != EEXIST)
        return fail(failure, "directory", errno, "create %s: %s", path, strerror(errno));
    runtime_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (runtime_fd < 0)
        return fail(failure, "directory", errno, "open %s: %s", path, strerror(errno));
    struct stat status;
    if ((created && fchmod(runtime_fd, runtime_mode()) < 0) || fstat(runtime_fd, &status) < 0)
        return fail(failure, "directory", errno, "%s: %s", path, strerror(errno));
    if (status.st_uid != geteuid())
        return fail(failure, "directory", EPERM,
                    "runtime directory %s belongs to uid %u, this launcher runs as uid %u", path,
                    (unsigned)status.st_uid, (unsigned)geteuid());
    if ((status.st_mode & 022) != 0)
        return fail(failure, "directory", EPERM,
                    "runtime directory %s may be written by others (mode %04o, wanted %04o)", path,
                    (unsigned)(status.st_mode & 07777), (unsigned)runtime_mode());
    return 0;
}

/* ---- locks --------------------------------------------------------------------------------- */

static int open_lock_file(const char *name) {
    return openat(runtime_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Is the open file still the one that has the name? An ending launcher removes its lock files. */
static bool has_name(int fd, const char *name) {
    struct stat opened, named;
    return fstat(fd, &opened) == 0 && fstatat(runtime_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

/* The locked file, or -1 with errno; EWOULDBLOCK when somebody else holds it. */
static int lock_alone(const char *name) {
    for (;;) {
        int fd = open_lock_file(name);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            int error = errno;
            close(fd);
            errno = error;
            return -1;
        }
        if (has_name(fd, name))
            return fd;
        close(fd);
    }
}

/* Web servers look whether a manager runs by sharing its lock for a moment: that is not one. */
static bool is_only_shared(const char *name) {
    int fd = open_lock_file(name);
    bool shared = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) == 0;
    if (fd >= 0)
        close(fd);
    return shared;
}

/*
 * A child that is just being forked has its launcher's lock as well, and when the launcher is killed,
 * for a moment alone. So the launcher takes a second one beside it, of the kind that a process cannot
 * inherit: who finds the first one taken sees by the second whether a launcher lives.
 */
static struct flock own_lock(void) {
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

static bool has_living_holder(const char *name) {
    struct flock lock = own_lock();
    int fd = open_lock_file(name);
    bool lives = fd >= 0 && (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK);
    if (fd >= 0)
        close(fd);
    return lives;
}

/* What an upgrade has left open is as good as newly taken. */
static int take_manager_lock(void) {
    int fd = handover_take_file(runtime_fd, "manager.lock");
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        fd = lock_alone("manager.lock");
    struct flock lock = own_lock();
    /* the descriptor stays open, and with it the locks, until the process ends */
    return fd < 0 ? -1 : fcntl(fd, F_SETLK, &lock);
}

int directory_lock(failure_t *failure) {
    for (int attempt = 0; attempt < LOCK_ATTEMPTS; attempt++) {
        if (take_manager_lock() == 0)
            return 0;
        if (errno != EWOULDBLOCK)
            return fail(failure, "lock", errno, "lock %s/manager.lock: %s", runtime_path,
                        strerror(errno));
        if (!is_only_shared("manager.lock") && has_living_holder("manager.lock"))
            break;
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    fail(failure, "lock", EWOULDBLOCK, "%s/manager.lock: a manager runs there already",
         runtime_path);
    return 1;
}

int directory_try_finish(void) {
    if (finish_fd < 0)
        finish_fd = lock_alone("lock");
    return finish_fd < 0 ? -1 : 0;
}

void directory_resume(void) {
    if (finish_fd >= 0)
        close(finish_fd);
    finish_fd = -1;
}

/* ---- going through folders ----------------------------------------------------------------- */

typedef struct {
    int folder_fd;
    const char *name;
    mode_t mode;
} entry_t;

/* Call `on_entry` for everything in the folder but . and .. */
static void each_entry(int folder_fd, void (*on_entry)(const entry_t *entry, void *context),
                       void *context) {
    /* an own description: its position is not shared with folder_fd */
    int fd = open_folder(folder_fd, ".");
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0)
            close(fd);
        return;
    }
    struct dirent *item;
    while ((item = readdir(folder)) != NULL) {
        struct stat status;
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0 ||
            fstatat(folder_fd, item->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        entry_t entry = {folder_fd, item->d_name, status.st_mode};
        on_entry(&entry, context);
    }
    closedir(folder);
}

static void remove_socket(const entry_t *entry, void *context) {
    (void)context;
    if (S_ISSOCK(entry->mode))
        unlinkat(entry->folder_fd, entry->name, 0);
}

static void remove_file(const entry_t *entry, void *context) {
    (void)context;
    if (S_ISREG(entry->mode) || S_ISSOCK(entry->mode) || S_ISFIFO(entry->mode))
        unlinkat(entry->folder_fd, entry->name, 0);
}

/* What stands in a server's folder its workers may have put there. */
static void remove_whatever(const entry_t *entry, void *context) {
    (void)context;
    if (!S_ISDIR(entry->mode))
        unlinkat(entry->folder_fd, entry->name, 0);
}

/* ---- preparing ----------------------------------------------------------------------------- */

int directory_prepare(failure_t *failure) {
    const char *const names[] = {"channel", "sockets", "servers"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (mkdirat(runtime_fd, names[i], 0700) < 0 && errno != EEXIST)
            return fail(failure, "directory", errno, "create %s/%s: %s", runtime_path, names[i],
                        strerror(errno));
    }
    sockets_fd = open_folder(runtime_fd, "sockets");
    if (sockets_fd < 0)
        return fail(failure, "directory", errno, "open %s/sockets: %s", runtime_path,
                    strerror(errno));
    return 0;
}

/* ---- servers ------------------------------------------------------------------------------- */

bool directory_is_server_name(const char *name) {
    size_t length = strlen(name);
    return length > 0 && length < USHER_SERVER_NAME_MAX && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == length &&
           strcmp(name, "channel") != 0 && strcmp(name, "sockets") != 0 &&
           strcmp(name, "servers") != 0 && strcmp(name, "state") != 0;
}

/* Root may write to a folder of mode 0500; its owner must be allowed to. */
static void make_writable(int folder) {
    struct stat status;
    if (geteuid() != 0 && fstat(folder, &status) == 0 && (status.st_mode & S_IWUSR) == 0)
        fchmod(folder, 0700);
}

int directory_open_folder(const char *name) {
    return open_folder(runtime_fd, name);
}

int directory_open_server(const char *server) {
    int folder = open_folder(runtime_fd, server);
    if (folder >= 0)
        make_writable(folder);
    return folder;
}

/* A folder of ours that belongs to a web server holds the file its workers lock. */
static int open_live_file(const entry_t *entry, int flags) {
    if (!S_ISDIR(entry->mode) || !directory_is_server_name(entry->name))
        return -1;
    int folder = open_folder(entry->folder_fd, entry->name);
    if (folder < 0)
        return -1;
    int live = openat(folder, "live", flags | O_NOFOLLOW | O_CLOEXEC);
    close(folder);
    return live;
}

static void look_for_workers(const entry_t *entry, void *context) {
    bool *found = context;
    int live = *found ? -1 : open_live_file(entry, O_RDWR);
    for (off_t slot = 0; live >= 0 && slot < (off_t)USHER_WORKERS_MAX && !*found; slot++)
        *found = usher_os_byte_is_locked(live, slot) == 1;
    if (live >= 0)
        close(live);
}

bool directory_has_live_server(void) {
    bool found = false;
    each_entry(runtime_fd, look_for_workers, &found);
    return found;
}

/* ---- what a former launcher left ----------------------------------------------------------- */

static void remove_stray(const entry_t *entry, void *context) {
    bool (*const *is_known)(const char *name) = context;
    if (S_ISSOCK(entry->mode) && !(*is_known)(entry->name))
        unlinkat(entry->folder_fd, entry->name, 0);
}

/* `entry`, where it is a web server's folder, opened to write there; else -1. */
static int open_if_server(const entry_t *entry) {
    int live = open_live_file(entry, O_PATH);
    if (live < 0)
        return -1;
    close(live);
    return directory_open_server(entry->name);
}

static void remove_stray_links(const entry_t *entry, void *context) {
    int folder = open_if_server(entry);
    if (folder < 0)
        return;
    each_entry(folder, remove_stray, context);
    close(folder);
}

void directory_remove_stray_sockets(bool (*is_known)(const char *name)) {
    each_entry(sockets_fd, remove_stray, &is_known);
    each_entry(runtime_fd, remove_stray_links, &is_known);
}

static void remove_page(const entry_t *entry, void *context) {
    (void)context;
    if (strncmp(entry->name, "page.", 5) == 0 && !S_ISDIR(entry->mode))
        unlinkat(entry->folder_fd, entry->name, 0);
}

static void remove_pages_in(const entry_t *entry, void *context) {
    int folder = open_if_server(entry);
    if (folder < 0)
        return;
    each_entry(folder, remove_page, context);
    close(folder);
}

void directory_remove_pages(void) {
    each_entry(runtime_fd, remove_pages_in, NULL);
}

/* ---- removing ------------------------------------------------------------------------------ */

void directory_remove_sockets(void) {
    unlinkat(runtime_fd, "control.sock", 0);
    if (sockets_fd >= 0)
        each_entry(sockets_fd, remove_socket, NULL);
}

static void remove_folder(int parent_fd, const char *name,
                          void (*remove)(const entry_t *entry, void *context)) {
    int folder = open_folder(parent_fd, name);
    if (folder < 0)
        return;
    make_writable(folder);
    each_entry(folder, remove, NULL);
    close(folder);
    unlinkat(parent_fd, name, AT_REMOVEDIR);
}

static void remove_server(const entry_t *entry, void *context) {
    (void)context;
    int live = open_live_file(entry, O_PATH);
    if (live < 0)
        return;
    close(live);
    remove_folder(entry->folder_fd, entry->name, remove_whatever);
}

void directory_remove_server(const char *server) {
    remove_folder(runtime_fd, server, remove_whatever);
}

void directory_remove(void) {
    directory_remove_sockets();
    each_entry(runtime_fd, remove_server, NULL);
    remove_folder(runtime_fd, "channel", remove_file);
    remove_folder(runtime_fd, "sockets", remove_file);
    remove_folder(runtime_fd, "servers", remove_file);
    remove_folder(runtime_fd, "state", remove_file);
    /* manager.lock before lock: a server that comes to share the latter finds no manager then */
    const char *const files[] = {"usher.log", "manager.lock", "lock"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        unlinkat(runtime_fd, files[i], 0);
    rmdir(runtime_path);
}
