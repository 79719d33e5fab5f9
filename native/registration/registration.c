/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One registration from begin to commit: while it lasts the runtime directory's lock is shared, so
 * that no ending manager removes what is being prepared.
 */
#include "registration/registration.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "options/options.h"
#include "registration/allow.h"
#include "registration/dialect.h"
#include "registration/directories.h"
#include "registration/embedded.h"
#include "registration/failure.h"

_Static_assert(USHER_CLASS_NAME_MAX == USHER_KEY_MAX, "a class's name is its key");

#define WORDS_MAX 1024
#define KIND_MAX 6 /* "apache": usher_runtime_dir_check() relies on it */

struct usher_registration {
    char *runtime_dir;
    char *log_file; /* NULL: not configured */
    char name[USHER_SERVER_NAME_MAX];
    usher_manager_mode_t mode;
    usher_runtime_t runtime;
    usher_channel_t *channel;
    uint32_t generation;
    usher_dialect_t dialect;
    usher_allow_t allow;
};

/* ---- begin ------------------------------------------------------------------------------------ */

static usher_status_t copy_runtime_dir(usher_registration_t *registration, const char *runtime_dir,
                                       usher_error_t *error) {
    char path[PATH_MAX];
    if (runtime_dir == NULL) {
        if (usher_default_runtime_dir(path, sizeof path, error) < 0)
            return USHER_INVALID;
        runtime_dir = path;
    }
    if (usher_runtime_dir_check(runtime_dir, error) < 0)
        return USHER_INVALID;
    registration->runtime_dir = strdup(runtime_dir);
    if (registration->runtime_dir == NULL)
        return usher_registration_fail_errno(error, "no memory");
    size_t length = strlen(registration->runtime_dir);
    while (length > 1 && registration->runtime_dir[length - 1] == '/')
        registration->runtime_dir[--length] = '\0';
    return USHER_OK;
}

/* kind and a hash of the configuration file and the workers' user: the same after a restart,
 * another for a second server on the machine. Also for one whose workers have become another user
 * at a reload: the old ones go on in a directory of their own. `file` gets the canonical path. */
static usher_status_t name_server(usher_registration_t *registration, const usher_server_t *server,
                                  char file[PATH_MAX], usher_error_t *error) {
    size_t length = strlen(server->kind);
    if (length == 0 || length > KIND_MAX ||
        strspn(server->kind, "abcdefghijklmnopqrstuvwxyz0123456789") != length)
        return usher_registration_fail(error, USHER_INVALID,
                                       "server kind \"%.20s\": expected 1 to %d lower-case letters "
                                       "or digits",
                                       server->kind, KIND_MAX);
    if (realpath(server->configuration_file, file) == NULL)
        return usher_registration_fail_errno(error, "cannot find the configuration file %s",
                                             server->configuration_file);
    char identity[PATH_MAX + 16];
    unsigned uid = (unsigned)(geteuid() == 0 ? server->uid : geteuid());
    snprintf(identity, sizeof identity, "%s %u", file, uid);
    snprintf(registration->name, sizeof registration->name, "%s-%08x", server->kind,
             (unsigned)(usher_hash(identity, strlen(identity)) & 0xffffffffu));
    return USHER_OK;
}

/* The workers' user: as the server says; an ordinary user's workers are that user. */
static void name_user(const usher_server_t *server, char *name, size_t size) {
    char buffer[4096];
    struct passwd entry, *found = NULL;
    uid_t uid = geteuid() == 0 ? server->uid : geteuid();
    if (geteuid() == 0 && server->user != NULL)
        snprintf(name, size, "%s", server->user);
    else if (getpwuid_r(uid, &entry, buffer, sizeof buffer, &found) == 0 && found != NULL)
        snprintf(name, size, "%s", found->pw_name);
    else
        snprintf(name, size, "#%u", (unsigned)uid);
}

static void name_group(const usher_server_t *server, char *name, size_t size) {
    char buffer[16384];
    struct group entry, *found = NULL;
    gid_t gid = geteuid() == 0 ? server->gid : getegid();
    if (geteuid() == 0 && server->group != NULL)
        snprintf(name, size, "%s", server->group);
    else if (getgrgid_r(gid, &entry, buffer, sizeof buffer, &found) == 0 && found != NULL)
        snprintf(name, size, "%s", found->gr_name);
    else
        snprintf(name, size, "#%u", (unsigned)gid);
}

static usher_status_t write_head(usher_registration_t *registration, const usher_server_t *server,
                                 const char *file, usher_error_t *error) {
    char generation[16], pid[16], user[256], group[256];
    snprintf(generation, sizeof generation, "%u", registration->generation);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    name_user(server, user, sizeof user);
    name_group(server, group, sizeof group);
    if (!usher_allow_begin(&registration->allow, user, group))
        return usher_registration_fail_errno(error, "no memory");
    const char *words[] = {"UsherServer",    registration->name,
                           "-generation",    generation,
                           "-kind",          server->kind,
                           "-pid",           pid,
                           "-user",          user,
                           "-group",         group,
                           "-configuration", file};
    return usher_dialect_line(&registration->dialect, words, sizeof words / sizeof words[0], error);
}

/* `address` NULL: nowhere. */
static usher_status_t write_listen(usher_registration_t *registration, const char *directive,
                                   const char *address, usher_error_t *error) {
    const char *words[] = {directive, address};
    return address == NULL ? USHER_OK : usher_dialect_line(&registration->dialect, words, 2, error);
}

usher_status_t usher_registration_begin(const usher_server_t *server,
                                        usher_registration_t **registration, usher_error_t *error) {
    char file[PATH_MAX];
    uint32_t newest;
    usher_status_t status;
    *registration = NULL;
    usher_registration_t *made = calloc(1, sizeof *made);
    if (made == NULL)
        return usher_registration_fail_errno(error, "no memory");
    made->mode = server->mode;
    made->runtime.fd = made->runtime.lock_fd = -1;
    if (server->log_file != NULL && *server->log_file != '/') {
        status = usher_registration_fail(
            error, USHER_INVALID, "log file %.80s: expected an absolute path", server->log_file);
        goto failed;
    }
    if (server->log_file != NULL && (made->log_file = strdup(server->log_file)) == NULL) {
        status = usher_registration_fail_errno(error, "no memory");
        goto failed;
    }
    if ((status = copy_runtime_dir(made, server->runtime_dir, error)) != USHER_OK ||
        (status = name_server(made, server, file, error)) != USHER_OK ||
        (status = usher_runtime_open(&made->runtime, made->runtime_dir, error)) != USHER_OK ||
        (status = usher_runtime_prepare(&made->runtime, error)) != USHER_OK ||
        (status = usher_runtime_prepare_server(&made->runtime, made->name, server->uid, server->gid,
                                               error)) != USHER_OK ||
        (status = usher_channel_open(made->runtime_dir, made->name, &made->channel, error)) !=
            USHER_OK)
        goto failed;
    if ((status = usher_runtime_newest(&made->runtime, made->name, &newest, error)) != USHER_OK)
        goto failed;
    made->generation = usher_channel_next_generation(made->channel, newest);
    if ((status = write_head(made, server, file, error)) != USHER_OK ||
        (status = write_listen(made, "UsherMetrics", server->metrics, error)) != USHER_OK ||
        (status = write_listen(made, "UsherDashboard", server->dashboard, error)) != USHER_OK)
        goto failed;
    *registration = made;
    return USHER_OK;

failed:
    usher_registration_abandon(made);
    return status;
}

void usher_registration_abandon(usher_registration_t *registration) {
    if (registration == NULL)
        return;
    usher_channel_close(registration->channel);
    usher_runtime_close(&registration->runtime);
    usher_dialect_free(&registration->dialect);
    usher_allow_free(&registration->allow);
    free(registration->runtime_dir);
    free(registration->log_file);
    free(registration);
}

/* ---- add -------------------------------------------------------------------------------------- */

static bool is_directive(const char *word) {
    size_t length = 0;
    for (; isalpha((unsigned char)word[length]); length++)
        ;
    return length > 0 && word[length] == '\0';
}

/* `-initial-env NAME` copies a variable of the web server, which the manager does not have: it is
 * written with its value here, and left out where the web server has none. */
static usher_status_t copy_environment(const char *const *words, size_t count, const char **out,
                                       size_t *out_count, char **owned, size_t *owned_count,
                                       usher_error_t *error) {
    for (size_t i = 0; i < count; i++) {
        const char *name = i + 1 < count ? words[i + 1] : NULL;
        bool copies =
            name != NULL && strcasecmp(words[i], "-initial-env") == 0 && strchr(name, '=') == NULL;
        if (!copies) {
            out[(*out_count)++] = words[i];
            continue;
        }
        i++;
        const char *value = getenv(name);
        if (value == NULL)
            continue;
        char *pair = malloc(strlen(name) + strlen(value) + 2);
        if (pair == NULL)
            return usher_registration_fail_errno(error, "no memory");
        owned[(*owned_count)++] = pair;
        sprintf(pair, "%s=%s", name, value);
        out[(*out_count)++] = "-initial-env";
        out[(*out_count)++] = pair;
    }
    return USHER_OK;
}

usher_status_t usher_registration_add(usher_registration_t *registration, const char *source,
                                      const char *const *words, size_t count,
                                      usher_error_t *error) {
    const char *written[WORDS_MAX];
    char *owned[WORDS_MAX / 2];
    size_t written_count = 0, owned_count = 0;
    if (count == 0 || count > WORDS_MAX || !is_directive(words[0]))
        return usher_registration_fail(error, USHER_INVALID,
                                       "a directive has 1 to %d words, the first one its name",
                                       WORDS_MAX);

    usher_status_t status =
        copy_environment(words, count, written, &written_count, owned, &owned_count, error);
    size_t before = registration->dialect.length;
    if (status == USHER_OK && source != NULL)
        status = usher_dialect_comment(&registration->dialect, source, error);
    if (status == USHER_OK)
        status = usher_dialect_line(&registration->dialect, written, written_count, error);
    if (status == USHER_OK && !usher_allow_add(&registration->allow, written, written_count))
        status = usher_registration_fail_errno(error, "no memory");
    if (status != USHER_OK)
        registration->dialect.length = before;
    for (size_t i = 0; i < owned_count; i++)
        free(owned[i]);
    return status;
}

/* ---- commit ----------------------------------------------------------------------------------- */

static int write_all(int fd, const char *bytes, size_t length) {
    while (length > 0) {
        ssize_t written = write(fd, bytes, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        bytes += written;
        length -= (size_t)written;
    }
    return 0;
}

/* servers/SERVER.GENERATION and `suffix`. */
static usher_status_t write_file(const usher_registration_t *registration, const char *suffix,
                                 const char *bytes, size_t length, usher_error_t *error) {
    char name[USHER_SERVER_NAME_MAX + 64], temporary[sizeof name + 8];
    snprintf(name, sizeof name, "servers/%s.%u%s", registration->name, registration->generation,
             suffix);
    snprintf(temporary, sizeof temporary, "%s.tmp", name);
    int directory = registration->runtime.fd;
    unlinkat(directory, temporary, 0); /* left by a server that died here */
    int fd =
        openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return usher_registration_fail_errno(error, "cannot create %s/%s",
                                             registration->runtime_dir, temporary);
    int result = write_all(fd, bytes, length);
    int cause = errno;
    if (close(fd) < 0 && result == 0) {
        result = -1;
        cause = errno;
    }
    if (result == 0 && renameat(directory, temporary, directory, name) < 0) {
        result = -1;
        cause = errno;
    }
    if (result == 0)
        return USHER_OK;
    unlinkat(directory, temporary, 0);
    errno = cause;
    return usher_registration_fail_errno(error, "cannot write %s/%s", registration->runtime_dir,
                                         name);
}

/* Whoever reads the registration finds there already what it allows. */
static usher_status_t write_files(usher_registration_t *registration, usher_error_t *error) {
    usher_allow_t *allow = &registration->allow;
    const usher_dialect_t *dialect = &registration->dialect;
    if (!usher_allow_finish(allow))
        return usher_registration_fail_errno(error, "no memory");
    usher_status_t status = write_file(registration, ".allow", allow->bytes, allow->length, error);
    if (status == USHER_OK)
        status = write_file(registration, ".conf", dialect->bytes, dialect->length, error);
    return status;
}

static usher_status_t start_manager(const usher_registration_t *registration,
                                    usher_error_t *error) {
    bool running;
    if (registration->mode != USHER_MANAGER_MODE_EMBEDDED)
        return USHER_OK;
    usher_status_t status = usher_embedded_is_running(&registration->runtime, &running, error);
    if (status != USHER_OK || running)
        return status;
    return usher_embedded_start(&registration->runtime, registration->log_file, error);
}

usher_status_t usher_registration_commit(usher_registration_t *registration,
                                         usher_channel_t **channel, uint32_t *generation,
                                         char *live_path, size_t live_path_size,
                                         usher_error_t *error) {
    usher_status_t status;
    *channel = NULL;
    if ((size_t)snprintf(live_path, live_path_size, "%s/%s/live", registration->runtime_dir,
                         registration->name) >= live_path_size)
        status = usher_registration_fail(
            error, USHER_INVALID, "no room for the path of live (%zu bytes)", live_path_size);
    else
        status = write_files(registration, error);
    if (status == USHER_OK) {
        *channel = registration->channel;
        *generation = registration->generation;
        registration->channel = NULL;
        usher_channel_ring(*channel);
        status = start_manager(registration, error);
    }
    usher_registration_abandon(registration);
    return status;
}
