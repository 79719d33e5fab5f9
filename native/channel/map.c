/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the channel's files. Several masters and the manager may come at once and any of them may
 * be first: a file is made whole under a name of its own and then linked to its place, so that
 * nobody ever sees half of it and the loser of the race takes the winner's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/internal.h"
#include "os/os.h"

#define PATH_BYTES 512
#define LIMITS_MAX 4

typedef enum { MAP_FOR_READ, MAP_FOR_WRITE } map_access_t;

/* How each of the three files begins. */
typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t total_bytes;
    uint32_t limits[LIMITS_MAX];
} preamble_t;

#define SAME_PREAMBLE(type)                                                                  \
    _Static_assert(offsetof(type, magic) == offsetof(preamble_t, magic) &&                   \
                       offsetof(type, version) == offsetof(preamble_t, version) &&           \
                       offsetof(type, header_bytes) == offsetof(preamble_t, header_bytes) && \
                       offsetof(type, total_bytes) == offsetof(preamble_t, total_bytes),     \
                   "all headers begin alike")
SAME_PREAMBLE(usher_table_header_t);
SAME_PREAMBLE(usher_places_header_t);
SAME_PREAMBLE(usher_cells_header_t);
_Static_assert(offsetof(usher_table_header_t, classes_max) == offsetof(preamble_t, limits) &&
                   offsetof(usher_table_header_t, buckets) == offsetof(preamble_t, limits[3]),
               "limits of the table");
_Static_assert(offsetof(usher_cells_header_t, workers_max) == offsetof(preamble_t, limits) &&
                   offsetof(usher_cells_header_t, start_requests_max) ==
                       offsetof(preamble_t, limits[1]),
               "limits of the cells");

static const preamble_t table_preamble = {
    .magic = USHER_TABLE_MAGIC,
    .version = USHER_LAYOUT_VERSION,
    .header_bytes = sizeof(usher_table_header_t),
    .total_bytes = sizeof(usher_table_t),
    .limits = {USHER_CLASSES_MAX, USHER_ENDPOINTS_MAX, USHER_CLASS_ENDPOINTS_MAX, USHER_BUCKETS},
};
static const preamble_t places_preamble = {
    .magic = USHER_PLACES_MAGIC,
    .version = USHER_LAYOUT_VERSION,
    .header_bytes = sizeof(usher_places_header_t),
    .total_bytes = sizeof(usher_places_t),
};
static const preamble_t cells_preamble = {
    .magic = USHER_CELLS_MAGIC,
    .version = USHER_LAYOUT_VERSION,
    .header_bytes = sizeof(usher_cells_header_t),
    .total_bytes = sizeof(usher_cells_t),
    .limits = {USHER_WORKERS_MAX, USHER_START_REQUESTS_MAX},
};

/* One file to be opened. */
typedef struct {
    char path[PATH_BYTES];
    const preamble_t *preamble;
    uint32_t limits;    /* of preamble->limits that count */
    const char *server; /* cells only */
    bool is_workers;    /* they can write all of it */
} file_t;

usher_status_t usher_check_names(const char *runtime_dir, const char *server,
                                 usher_error_t *error) {
    size_t length = server ? strlen(server) : 1;
    if (length == 0 || length >= USHER_SERVER_NAME_MAX) {
        return usher_fail(error, USHER_INVALID, 0,
                          "server name \"%.80s\" has %zu bytes: allowed are 1 to %u", server,
                          length, USHER_SERVER_NAME_MAX - 1);
    }
    if (server && (server[0] == '.' || strchr(server, '/'))) {
        return usher_fail(error, USHER_INVALID, 0,
                          "server name \"%s\" must not begin with a dot or hold a slash", server);
    }
    /* connect() takes paths of sun_path's size only: <runtime dir>/<server>/<a name> */
    size_t allowed = sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("//s") - length;
    if (runtime_dir[0] != '/' || strlen(runtime_dir) > allowed) {
        return usher_fail(error, USHER_INVALID, 0,
                          "runtime directory \"%.300s\" must be an absolute path of at most %zu "
                          "bytes",
                          runtime_dir, allowed);
    }
    return USHER_OK;
}

static void name_file(file_t *file, const char *runtime_dir, const char *name, const char *suffix) {
    snprintf(file->path, sizeof(file->path), "%s/channel/%s%s", runtime_dir, name, suffix);
}

static size_t preamble_bytes(const file_t *file) {
    return offsetof(preamble_t, limits) + file->limits * sizeof(uint32_t);
}

/* Everything a new file holds but zeros. */
static int write_header(const file_t *file, int fd) {
    size_t bytes = preamble_bytes(file);
    char server[USHER_SERVER_NAME_MAX] = "";
    if (file->server) {
        strcpy(server, file->server); /* its length was checked */
        if (pwrite(fd, server, sizeof(server), offsetof(usher_cells_header_t, server)) !=
            sizeof(server)) {
            return -1;
        }
    }
    return pwrite(fd, file->preamble, bytes, 0) == (ssize_t)bytes ? 0 : -1;
}

/* Make the file where there is none. That somebody else was faster is as good. */
static usher_status_t create_file(const file_t *file, usher_error_t *error) {
    char draft[PATH_BYTES + 64];
    snprintf(draft, sizeof(draft), "%s.%ld.%llx", file->path, (long)getpid(),
             (unsigned long long)usher_os_now_ns());
    int fd = open(draft, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return usher_fail(error, USHER_SYSTEM, errno, "cannot create %s", file->path);
    }
    int failed = ftruncate(fd, (off_t)file->preamble->total_bytes) != 0 || fchmod(fd, 0600) != 0 ||
                 write_header(file, fd) != 0;
    if (failed == 0) {
        failed = link(draft, file->path) != 0 && errno != EEXIST;
    }
    int failure = errno;
    unlink(draft);
    close(fd);
    return failed == 0 ? USHER_OK
                       : usher_fail(error, USHER_SYSTEM, failure, "cannot create %s", file->path);
}

/* Workers can write the headers of places and cells, and no worker shall keep a server or the manager
 * from starting: what they say is made right. Which layout a channel has is known from its table; only
 * its manager writes that, and whoever opens the others has opened it before. */
static usher_status_t mend_file(const file_t *file, int fd, usher_error_t *error) {
    return write_header(file, fd) == 0
               ? USHER_OK
               : usher_fail(error, USHER_SYSTEM, errno, "cannot write %s", file->path);
}

static usher_status_t check_file(const file_t *file, int fd, usher_error_t *error) {
    const preamble_t *expected = file->preamble;
    preamble_t found = {0};
    struct stat facts;
    size_t bytes = preamble_bytes(file);
    if (fstat(fd, &facts) != 0) {
        return usher_fail(error, USHER_SYSTEM, errno, "cannot look at %s", file->path);
    }
    bool has_size = S_ISREG(facts.st_mode) && (uint64_t)facts.st_size == expected->total_bytes;
    if (has_size && file->is_workers && pread(fd, &found, bytes, 0) == (ssize_t)bytes) {
        return memcmp(&found, expected, bytes) == 0 ? USHER_OK : mend_file(file, fd, error);
    }
    if (!S_ISREG(facts.st_mode) || pread(fd, &found, bytes, 0) != (ssize_t)bytes ||
        found.magic != expected->magic) {
        return usher_fail(error, USHER_CORRUPT, 0, "%s is not a file of the channel: remove it",
                          file->path);
    }
    if (found.version != expected->version) {
        return usher_fail(error, USHER_VERSION, 0,
                          "%s has layout version %u, this module speaks %u: install the same "
                          "version of both, then restart the manager",
                          file->path, found.version, expected->version);
    }
    if ((uint64_t)facts.st_size != expected->total_bytes || memcmp(&found, expected, bytes) != 0) {
        return usher_fail(error, USHER_CORRUPT, 0,
                          "%s has %lld bytes (its header says %llu), layout version %u has %llu: "
                          "stop servers and manager and remove it",
                          file->path, (long long)facts.st_size,
                          (unsigned long long)found.total_bytes, found.version,
                          (unsigned long long)expected->total_bytes);
    }
    return USHER_OK;
}

/* `create` makes the file where there is none. */
static usher_status_t open_file(const file_t *file, map_access_t access, bool create, int *fd,
                                usher_error_t *error) {
    /* A descriptor opened for reading makes the mapping read-only for good: mprotect() cannot
     * widen it. */
    int flags = (access == MAP_FOR_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW;
    *fd = open(file->path, flags);
    if (*fd < 0 && errno == ENOENT && create) {
        usher_status_t status = create_file(file, error);
        if (status != USHER_OK) {
            return status;
        }
        *fd = open(file->path, flags);
    }
    if (*fd < 0) {
        usher_status_t status = errno == ENOENT && !create ? USHER_NOT_FOUND : USHER_SYSTEM;
        return usher_fail(error, status, errno, "cannot open %s", file->path);
    }
    usher_status_t status = check_file(file, *fd, error);
    if (status != USHER_OK) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

/* The descriptor stays open. */
static usher_status_t map_descriptor(const file_t *file, int fd, map_access_t access,
                                     void **mapping, usher_error_t *error) {
    int protection = PROT_READ | (access == MAP_FOR_WRITE ? PROT_WRITE : 0);
    *mapping = mmap(NULL, file->preamble->total_bytes, protection, MAP_SHARED, fd, 0);
    if (*mapping != MAP_FAILED) {
        return USHER_OK;
    }
    *mapping = NULL;
    return usher_fail(error, USHER_SYSTEM, errno, "cannot map %s", file->path);
}

static usher_status_t map_file(const file_t *file, map_access_t access, void **mapping,
                               usher_error_t *error) {
    int fd;
    *mapping = NULL;
    usher_status_t status = open_file(file, access, true, &fd, error);
    if (status == USHER_OK) {
        status = map_descriptor(file, fd, access, mapping, error);
        close(fd);
    }
    return status;
}

/* What somebody else opened. */
static usher_status_t map_opened(const file_t *file, int fd, void **mapping, usher_error_t *error) {
    *mapping = NULL;
    usher_status_t status = check_file(file, fd, error);
    return status == USHER_OK ? map_descriptor(file, fd, MAP_FOR_WRITE, mapping, error) : status;
}

/* ---- the three files ------------------------------------------------------------------------ */

static void describe_table(file_t *file, const char *runtime_dir) {
    *file = (file_t){.preamble = &table_preamble, .limits = 4};
    name_file(file, runtime_dir, "table", "");
}

static void describe_places(file_t *file, const char *runtime_dir) {
    *file = (file_t){.preamble = &places_preamble, .limits = 0, .is_workers = true};
    name_file(file, runtime_dir, "places", "");
}

static void describe_cells(file_t *file, const char *runtime_dir, const char *server) {
    *file =
        (file_t){.preamble = &cells_preamble, .limits = 2, .server = server, .is_workers = true};
    name_file(file, runtime_dir, server, ".cells");
}

usher_status_t usher_map_table(const char *runtime_dir, usher_table_t **table,
                               usher_error_t *error) {
    file_t file;
    void *mapping;
    describe_table(&file, runtime_dir);
    usher_status_t status = map_file(&file, MAP_FOR_READ, &mapping, error);
    *table = mapping;
    return status;
}

usher_status_t usher_map_places(const char *runtime_dir, usher_places_t **places,
                                usher_error_t *error) {
    file_t file;
    void *mapping;
    describe_places(&file, runtime_dir);
    usher_status_t status = map_file(&file, MAP_FOR_WRITE, &mapping, error);
    *places = mapping;
    return status;
}

usher_status_t usher_map_cells(const char *runtime_dir, const char *server, usher_cells_t **cells,
                               usher_error_t *error) {
    file_t file;
    void *mapping;
    describe_cells(&file, runtime_dir, server);
    usher_status_t status = map_file(&file, MAP_FOR_WRITE, &mapping, error);
    *cells = mapping;
    return status;
}

/* ---- for a manager that may not open them --------------------------------------------------- */

usher_status_t usher_channel_open_files(const char *runtime_dir, int *table_fd, int *places_fd,
                                        usher_error_t *error) {
    file_t file;
    *table_fd = *places_fd = -1;
    usher_status_t status = usher_check_names(runtime_dir, NULL, error);
    if (status != USHER_OK) {
        return status;
    }
    describe_table(&file, runtime_dir);
    status = open_file(&file, MAP_FOR_WRITE, true, table_fd, error);
    if (status != USHER_OK) {
        return status;
    }
    describe_places(&file, runtime_dir);
    status = open_file(&file, MAP_FOR_WRITE, true, places_fd, error);
    if (status != USHER_OK) {
        close(*table_fd);
        *table_fd = -1;
    }
    return status;
}

usher_status_t usher_channel_open_cells(const char *runtime_dir, const char *server, int *cells_fd,
                                        usher_error_t *error) {
    file_t file;
    *cells_fd = -1;
    usher_status_t status = usher_check_names(runtime_dir, server, error);
    if (status != USHER_OK) {
        return status;
    }
    describe_cells(&file, runtime_dir, server);
    return open_file(&file, MAP_FOR_WRITE, false, cells_fd, error);
}

usher_status_t usher_map_table_from(int fd, const char *runtime_dir, usher_table_t **table,
                                    usher_error_t *error) {
    file_t file;
    void *mapping;
    describe_table(&file, runtime_dir);
    usher_status_t status = map_opened(&file, fd, &mapping, error);
    *table = mapping;
    return status;
}

usher_status_t usher_map_places_from(int fd, const char *runtime_dir, usher_places_t **places,
                                     usher_error_t *error) {
    file_t file;
    void *mapping;
    describe_places(&file, runtime_dir);
    usher_status_t status = map_opened(&file, fd, &mapping, error);
    *places = mapping;
    return status;
}

usher_status_t usher_map_cells_from(int fd, const char *runtime_dir, const char *server,
                                    usher_cells_t **cells, usher_error_t *error) {
    file_t file;
    void *mapping;
    describe_cells(&file, runtime_dir, server);
    usher_status_t status = map_opened(&file, fd, &mapping, error);
    *cells = mapping;
    return status;
}

void usher_unmap(const void *mapping, size_t bytes) {
    if (mapping) {
        munmap((void *)(uintptr_t)mapping, bytes);
    }
}
