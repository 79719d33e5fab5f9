/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/permit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "launcher/allow_config.h"
#include "launcher/directory.h"
#include "launcher/files.h"
#include "launcher/log.h"
#include "launcher/spawn.h"

/* One .allow file; usher.conf has no server and generation 0. */
typedef struct source source_t;
struct source {
    source_t *next;
    char server[NAME_MAX + 1];
    unsigned long generation;
    allow_list_t list;
};

static source_t config;
static source_t *registrations;

/* ---- have the files changed? --------------------------------------------------------------- */

/* Who they are and when they were written, as one number. Files are replaced, not changed; one
 * written while we looked could still be written to in the same tick of the clock. */
static uint64_t seen;
static bool seen_is_settled;

#define SETTLED_S 2

static uint64_t mix(uint64_t sum, uint64_t value) {
    for (int i = 0; i < 8; i++, value >>= 8)
        sum = (sum ^ (value & 0xff)) * UINT64_C(0x100000001b3);
    return sum;
}

typedef struct {
    uint64_t sum;
    time_t newest;
} look_t;

static void look_at(int folder, const char *name, void *context) {
    look_t *look = context;
    struct stat status;
    if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    const uint64_t values[] = {status.st_dev, status.st_ino, (uint64_t)status.st_size,
                               (uint64_t)status.st_ctim.tv_sec, (uint64_t)status.st_ctim.tv_nsec};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        look->sum = mix(look->sum, values[i]);
    for (; *name != '\0'; name++)
        look->sum = mix(look->sum, (unsigned char)*name);
    if (status.st_ctim.tv_sec > look->newest)
        look->newest = status.st_ctim.tv_sec;
}

/* ---- reading them -------------------------------------------------------------------------- */

static void forget_registrations(void) {
    while (registrations != NULL) {
        source_t *source = registrations;
        registrations = source->next;
        allow_free(&source->list);
        free(source);
    }
}

/* A file that root wrote for root. */
static int check_file(const struct stat *status, failure_t *failure) {
    if (!S_ISREG(status->st_mode) || status->st_uid != geteuid() || (status->st_mode & 022) != 0)
        return fail(failure, "allow", EPERM,
                    "it is not a file that only uid %u may write (uid %u, mode %06o)",
                    (unsigned)geteuid(), (unsigned)status->st_uid, (unsigned)status->st_mode);
    if ((uint64_t)status->st_size > ALLOW_BYTES_MAX)
        return fail(failure, "allow", EFBIG, "it has more than %zu bytes", ALLOW_BYTES_MAX);
    return 0;
}

static int read_list(int fd, allow_list_t *list, failure_t *failure) {
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return fail(failure, "allow", errno, "%s", strerror(errno));
    if (check_file(&status, failure) < 0)
        return -1;
    size_t size = (size_t)status.st_size, length = 0;
    char *bytes = malloc(size + 1);
    if (bytes == NULL)
        return fail(failure, "memory", ENOMEM, "no memory for %zu bytes", size);
    ssize_t got;
    while (length < size && (got = read(fd, bytes + length, size - length)) > 0)
        length += (size_t)got;
    int result = allow_parse(bytes, length, list, failure);
    free(bytes);
    return result;
}

static void read_file(int folder, const char *name, void *context) {
    (void)context;
    failure_t failure;
    source_t *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        log_error("allow.failed", "file", name, "error", strerror(ENOMEM), NULL);
        return;
    }
    /* SERVER.GENERATION.allow, as files_is_registration() has seen */
    snprintf(source->server, sizeof(source->server), "%.*s", (int)(strlen(name) - strlen(".allow")),
             name);
    char *dot = strrchr(source->server, '.');
    *dot = '\0';
    source->generation = strtoul(dot + 1, NULL, 10);
    source->next = registrations;
    registrations = source;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (read_list(fd, &source->list, &failure) < 0)
        log_error("allow.failed", "file", name, "error", failure.text, NULL);
    if (fd >= 0)
        close(fd);
}

/* Make sure that we know what the files say now. */
static int refresh(failure_t *failure) {
    look_t look = {.sum = UINT64_C(0xcbf29ce484222325)};
    struct timespec now;
    if (files_each(".allow", look_at, &look, failure) < 0)
        return -1;
    if (look.sum == seen && seen_is_settled)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);
    forget_registrations();
    if (files_each(".allow", read_file, NULL, failure) < 0)
        return -1;
    seen = look.sum;
    seen_is_settled = now.tv_sec - look.newest > SETTLED_S;
    return 0;
}

int permit_read_config(const launch_options_t *options, failure_t *failure) {
    static struct stat read;
    struct stat status = {0};
    allow_list_t list = {0};
    if (geteuid() != 0 || options->config == NULL)
        return 0;
    /* one that is missing is as good as wrong: the manager says so */
    if (stat(options->config, &status) == 0 && status.st_dev == read.st_dev &&
        status.st_ino == read.st_ino && status.st_size == read.st_size &&
        status.st_ctim.tv_sec == read.st_ctim.tv_sec &&
        status.st_ctim.tv_nsec == read.st_ctim.tv_nsec)
        return 0;
    if (allow_read_config(options, &list, failure) < 0)
        return -1;
    allow_free(&config.list);
    config.list = list;
    read = status;
    return 0;
}

/* ---- going through them -------------------------------------------------------------------- */

static const source_t *first_source(void) {
    config.next = registrations;
    return &config;
}

/* Dynamic classes go by the newest registration of their server. */
static bool is_newest(const source_t *source) {
    for (const source_t *other = registrations; other != NULL; other = other->next) {
        if (strcmp(other->server, source->server) == 0 && other->generation > source->generation)
            return false;
    }
    return true;
}

static int check_path(const allow_block_t *block, const char *path, checked_path_t *checked,
                      failure_t *failure) {
    spawn_user_t user;
    if (spawn_find_user(geteuid() == 0 ? allow_text(block, "user") : NULL, NULL, &user, failure) <
        0)
        return -1;
    /* a launcher that is not root starts only what its user could start himself */
    return paths_check(block, user.uid, geteuid() == 0, path, checked, failure);
}

static const char *user_in(const message_t *message) {
    const char *user = message_text(message, "user");
    return user != NULL ? user : "root";
}

int permit_start(const message_t *start, checked_path_t *checked, failure_t *failure) {
    checked->folder = -1;
    if (geteuid() != 0)
        return 0;
    if (refresh(failure) < 0)
        return -1;
    const char *program = message_text(start, "arg"), *gateway = message_text(start, "gateway");
    const char *name = gateway != NULL ? gateway : program != NULL ? program : "nothing";
    fail(failure, "allow", EPERM,
         "%s%.200s as user %.60s: no registration allows a start like this one (program and "
         "arguments, directory, user, group, environment, limits, log%s): reload the web server "
         "that configures it",
         gateway != NULL ? "gateway " : "", name, user_in(start),
         gateway != NULL ? ", secret file" : "");
    for (const source_t *source = first_source(); source != NULL; source = source->next) {
        for (size_t i = 0; i < source->list.count; i++) {
            const allow_block_t *block = &source->list.blocks[i];
            if (!allow_has_start(block, start) || (block->is_dynamic && !is_newest(source)))
                continue;
            if (!block->is_dynamic || check_path(block, program, checked, failure) == 0)
                return 0;
        }
    }
    return -1;
}

int permit_listen(const message_t *bind, failure_t *failure) {
    if (geteuid() != 0)
        return 0;
    if (refresh(failure) < 0)
        return -1;
    for (const source_t *source = first_source(); source != NULL; source = source->next) {
        for (size_t i = 0; i < source->list.count; i++) {
            if (allow_has_listen(&source->list.blocks[i], bind))
                return 0;
        }
    }
    return fail(failure, "allow", EPERM,
                "address %.200s for user %.60s: no registration allows it: reload the web server "
                "that configures it",
                message_text(bind, "listen"), user_in(bind));
}

int permit_resolve(const char *server, const char *path, char real[PATH_MAX], failure_t *failure) {
    checked_path_t checked;
    if (refresh(failure) < 0)
        return -1;
    fail(failure, "path", EPERM, "%.200s: no registration of %.80s allows dynamic classes", path,
         server);
    for (const source_t *source = registrations; source != NULL; source = source->next) {
        if (strcmp(source->server, server) != 0 || !is_newest(source))
            continue;
        for (size_t i = 0; i < source->list.count; i++) {
            const allow_block_t *block = &source->list.blocks[i];
            if (!block->is_dynamic || check_path(block, path, &checked, failure) < 0)
                continue;
            close(checked.folder);
            memcpy(real, checked.real, sizeof(checked.real));
            return 0;
        }
    }
    return -1;
}

int permit_identify(const char *path, failure_t *failure) {
    if (geteuid() != 0)
        return 0;
    if (refresh(failure) < 0)
        return -1;
    for (const source_t *source = first_source(); source != NULL; source = source->next) {
        for (size_t i = 0; i < source->list.count; i++) {
            const allow_block_t *block = &source->list.blocks[i];
            if (block->is_dynamic ? is_newest(source) && paths_concern(block, path)
                                  : allow_has_program(block, path))
                return 0;
        }
    }
    return fail(failure, "allow", EPERM, "%.200s: no registration allows to start it", path);
}
