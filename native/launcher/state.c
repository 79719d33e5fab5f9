/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/directory.h"
#include "launcher/log.h"
#include "launcher/proc.h"

#define NEW_SUFFIX ".new"
#define ID_MAX ((int64_t)1 << 53)

static int folder_fd = -1;
static pid_t owner;

int state_fd(void) {
    return folder_fd;
}

pid_t state_owner(void) {
    return owner;
}

int state_open(failure_t *failure) {
    owner = getpid();
    if (mkdirat(directory_fd(), "state", 0700) < 0 && errno != EEXIST)
        return fail(failure, "state", errno, "create %s/state: %s", directory_path(),
                    strerror(errno));
    folder_fd = directory_open_folder("state");
    if (folder_fd < 0)
        return fail(failure, "state", errno, "open %s/state: %s", directory_path(),
                    strerror(errno));
    return 0;
}

const char *state_era(void) {
    static char era[160];
    if (era[0] != '\0')
        return era;
    char boot[64], pids[64];
    if (proc_read("/proc/sys/kernel/random/boot_id", boot, sizeof(boot)) <= 0)
        boot[0] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
    ssize_t length = readlink("/proc/self/ns/pid", pids, sizeof(pids) - 1);
    pids[length > 0 ? length : 0] = '\0';
    snprintf(era, sizeof(era), "%s %s", boot, pids);
    return era;
}

state_name_t state_name(const char *kind, int64_t id) {
    state_name_t name;
    snprintf(name.text, sizeof(name.text), "%s-%" PRId64, kind, id);
    return name;
}

/* ---- writing ------------------------------------------------------------------------------- */

static int write_file(const char *name, const message_t *record) {
    int fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, record->bytes, record->length);
    int error = written < 0 ? errno : ENOSPC;
    close(fd);
    if (written == (ssize_t)record->length)
        return 0;
    unlinkat(folder_fd, name, 0);
    errno = error;
    return -1;
}

int state_save(int64_t id, const message_t *record, failure_t *failure) {
    state_name_t name = state_name(message_verb(record), id);
    char new_name[sizeof(name.text) + sizeof(NEW_SUFFIX)];
    snprintf(new_name, sizeof(new_name), "%s" NEW_SUFFIX, name.text);
    if (write_file(new_name, record) == 0 &&
        renameat(folder_fd, new_name, folder_fd, name.text) == 0)
        return 0;
    return fail(failure, "state", errno, "write %s/state/%s: %s", directory_path(), name.text,
                strerror(errno));
}

void state_save_or_log(int64_t id, const message_t *record) {
    failure_t failure;
    if (state_save(id, record, &failure) < 0)
        log_error("state.failed", "error", failure.text, NULL);
}

void state_remove(const char *kind, int64_t id) {
    unlinkat(folder_fd, state_name(kind, id).text, 0);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* The id in KIND-ID; 0 when the name is another. */
static int64_t id_in(const char *name, const char *kind) {
    size_t length = strlen(kind);
    if (strncmp(name, kind, length) != 0 || name[length] != '-')
        return 0;
    const char *digits = name + length + 1;
    if (digits[0] < '1' || digits[0] > '9')
        return 0;
    char *end;
    errno = 0;
    long long id = strtoll(digits, &end, 10);
    return errno == 0 && *end == '\0' && id <= ID_MAX ? id : 0;
}

static int compare_ids(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

static DIR *open_list(void) {
    /* an own description: its position is not shared */
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    if (list == NULL && fd >= 0)
        close(fd);
    return list;
}

int64_t *state_list(const char *kind, size_t *count) {
    DIR *list = open_list();
    int64_t *ids = NULL;
    size_t room = 0;
    *count = 0;
    struct dirent *entry;
    while (list != NULL && (entry = readdir(list)) != NULL) {
        int64_t id = id_in(entry->d_name, kind);
        if (id == 0)
            continue;
        if (*count == room) {
            room = room == 0 ? 64 : room * 2;
            int64_t *grown = realloc(ids, room * sizeof(*ids));
            if (grown == NULL)
                break;
            ids = grown;
        }
        ids[(*count)++] = id;
    }
    if (list != NULL)
        closedir(list);
    if (ids != NULL)
        qsort(ids, *count, sizeof(*ids), compare_ids);
    return ids;
}

static bool read_file(const char *name, message_t *record) {
    int fd = openat(folder_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, record->bytes, sizeof(record->bytes));
    close(fd);
    record->length = length > 0 ? (size_t)length : 0;
    return length > 0 && message_is_whole(record);
}

int64_t state_read_all(const char *kind, int (*on_record)(int64_t id, const message_t *record)) {
    static message_t record;
    size_t count;
    int64_t *ids = state_list(kind, &count), highest = 0;
    for (size_t i = 0; i < count; i++) {
        state_name_t name = state_name(kind, ids[i]);
        if (!read_file(name.text, &record) || strcmp(message_verb(&record), kind) != 0 ||
            on_record(ids[i], &record) < 0)
            log_warn("state.ignored", "record", name.text, "error",
                     "is not what this version writes", NULL);
        highest = ids[i];
    }
    free(ids);
    return highest;
}

void state_clear(void) {
    DIR *list = folder_fd < 0 ? NULL : open_list();
    struct dirent *entry;
    struct stat status;
    while (list != NULL && (entry = readdir(list)) != NULL) {
        if (fstatat(folder_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            (S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode)))
            unlinkat(folder_fd, entry->d_name, 0);
    }
    if (list != NULL)
        closedir(list);
}

/* ---- users --------------------------------------------------------------------------------- */

void state_add_user(message_t *record, const spawn_user_t *user) {
    if (!user->is_other)
        return;
    message_add_number(record, "uid", user->uid);
    message_add_number(record, "gid", user->gid);
    message_add(record, "user", user->name);
}

int state_user(const message_t *record, spawn_user_t *user) {
    int64_t uid, gid;
    const char *name = message_text(record, "user");
    memset(user, 0, sizeof(*user));
    if (name == NULL) {
        user->uid = geteuid();
        user->gid = getegid();
        return 0;
    }
    if (message_number(record, "uid", 0, UINT32_MAX - 1, &uid) < 0 ||
        message_number(record, "gid", 0, UINT32_MAX - 1, &gid) < 0 ||
        strlen(name) >= sizeof(user->name))
        return -1;
    user->is_other = true;
    user->uid = (uid_t)uid;
    user->gid = (gid_t)gid;
    strcpy(user->name, name);
    return 0;
}
