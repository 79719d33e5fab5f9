/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/manager.h"
#include "launcher/directory.h"
#include "launcher/log.h"

#define GENERATION_DIGITS_MAX 10

void files_close(int *descriptors, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (descriptors[i] >= 0)
            close(descriptors[i]);
        descriptors[i] = -1;
    }
}

/* ---- the channel --------------------------------------------------------------------------- */

static int fail_channel(const usher_error_t *error, failure_t *failure) {
    return fail(failure, "channel", error->errno_value, "%.400s", error->text);
}

/* O_NONBLOCK: not to wait for a FIFO's writer. */
int files_open_config(const char *config) {
    return open(config, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int files_open_channel(const char *config, int *descriptors, failure_t *failure) {
    usher_error_t error;
    descriptors[2] = -1;
    if (usher_channel_open_files(directory_path(), &descriptors[0], &descriptors[1], &error) !=
        USHER_OK)
        return fail_channel(&error, failure);
    if (config == NULL)
        return 0;
    descriptors[2] = files_open_config(config);
    if (descriptors[2] < 0)
        log_error("config.unreadable", "config", config, "error", strerror(errno), NULL);
    return 0;
}

/* ---- registrations ------------------------------------------------------------------------- */

bool files_is_registration(const char *name, const char *suffix) {
    char server[NAME_MAX + 1];
    size_t length = strlen(name), suffix_length = strlen(suffix);
    if (length <= suffix_length || length > NAME_MAX ||
        strcmp(name + length - suffix_length, suffix) != 0)
        return false;
    memcpy(server, name, length - suffix_length);
    server[length - suffix_length] = '\0';
    char *dot = strrchr(server, '.');
    if (dot == NULL)
        return false;
    *dot = '\0';
    const char *generation = dot + 1;
    size_t digits = strspn(generation, "0123456789");
    return digits > 0 && digits <= GENERATION_DIGITS_MAX && generation[digits] == '\0' &&
           generation[0] != '0' && directory_is_server_name(server);
}

static int check_registration(const char *name, failure_t *failure) {
    return files_is_registration(name, ".conf")
               ? 0
               : fail(failure, "name", EINVAL,
                      "\"%.100s\" is no registration: SERVER.GENERATION.conf is expected", name);
}

static int open_registrations(failure_t *failure) {
    int folder = directory_open_folder("servers");
    if (folder < 0)
        fail(failure, "servers", errno, "open %s/servers: %s", directory_path(), strerror(errno));
    return folder;
}

int files_each(const char *suffix, void (*on_file)(int folder, const char *name, void *context),
               void *context, failure_t *failure) {
    int folder = open_registrations(failure);
    DIR *entries = folder < 0 ? NULL : fdopendir(folder);
    if (entries == NULL) {
        if (folder < 0)
            return -1;
        fail(failure, "servers", errno, "read %s/servers: %s", directory_path(), strerror(errno));
        close(folder);
        return -1;
    }
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (files_is_registration(entry->d_name, suffix))
            on_file(folder, entry->d_name, context);
    }
    closedir(entries);
    return 0;
}

int files_open_registration(const char *name, failure_t *failure) {
    if (check_registration(name, failure) < 0)
        return -1;
    int folder = open_registrations(failure);
    if (folder < 0)
        return -1;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        fail(failure, "registration", errno, "open %s/servers/%s: %s", directory_path(), name,
             strerror(errno));
    close(folder);
    return fd;
}

int files_remove_registration(const char *name, failure_t *failure) {
    if (check_registration(name, failure) < 0)
        return -1;
    int folder = open_registrations(failure);
    if (folder < 0)
        return -1;
    char allow[NAME_MAX + sizeof(".allow")];
    snprintf(allow, sizeof(allow), "%.*s.allow", (int)(strlen(name) - strlen(".conf")), name);
    int result = unlinkat(folder, name, 0);
    if (result < 0 && errno != ENOENT)
        fail(failure, "registration", errno, "remove %s/servers/%s: %s", directory_path(), name,
             strerror(errno));
    else
        result = 0;
    unlinkat(folder, allow, 0);
    close(folder);
    return result;
}

/* ---- servers ------------------------------------------------------------------------------- */

static int check_server(const char *server, failure_t *failure) {
    return directory_is_server_name(server)
               ? 0
               : fail(failure, "name", EINVAL, "\"%.100s\" cannot be the name of a web server",
                      server);
}

/* The folder is the workers': a name in it may lead to a file that is not the server's. */
static int open_live(const char *server, failure_t *failure) {
    struct stat folder_status, status;
    int folder = directory_open_folder(server);
    int live = folder < 0 ? -1
                          : openat(folder, "live",
                                   O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (live < 0 || fstat(live, &status) < 0 || fstat(folder, &folder_status) < 0)
        fail(failure, "live", errno, "open %s/%s/live: %s", directory_path(), server,
             strerror(errno));
    else if (!S_ISREG(status.st_mode) || status.st_nlink > 1 ||
             status.st_uid != folder_status.st_uid)
        fail(failure, "live", EPERM,
             "%s/%s/live is not the file that the server registered with (uid %u, %u links)",
             directory_path(), server, (unsigned)status.st_uid, (unsigned)status.st_nlink);
    else {
        close(folder);
        return live;
    }
    files_close((int[]){folder, live}, 2);
    return -1;
}

int files_open_server(const char *server, int *cells_fd, int *live_fd, failure_t *failure) {
    usher_error_t error;
    if (check_server(server, failure) < 0)
        return -1;
    if (usher_channel_open_cells(directory_path(), server, cells_fd, &error) != USHER_OK)
        return fail_channel(&error, failure);
    *live_fd = open_live(server, failure);
    if (*live_fd >= 0)
        return 0;
    close(*cells_fd);
    return -1;
}

int files_remove_server(const char *server, failure_t *failure) {
    char cells[NAME_MAX + 1];
    if (check_server(server, failure) < 0)
        return -1;
    directory_remove_server(server);
    int channel = directory_open_folder("channel");
    snprintf(cells, sizeof(cells), "%s.cells", server);
    if (channel < 0)
        return 0;
    unlinkat(channel, cells, 0);
    close(channel);
    return 0;
}
