/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/output_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/loop.h"
#include "launcher/state.h"
#include "os/os.h"

#define KIND "output"
#define ROOMY_BYTES (1 << 20)

/* ---- the FIFO ------------------------------------------------------------------------------ */

static int open_end(const char *name, int flags) {
    struct stat status;
    int fd = openat(state_fd(), name, flags | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISFIFO(status.st_mode))) {
        close(fd);
        fd = -1;
        errno = EINVAL;
    }
    return fd;
}

int output_pipe_reopen(int64_t instance_id) {
    return open_end(state_name(KIND, instance_id).text, O_RDONLY);
}

/* Opened for both ways it never waits for the other end; but programs are given a blocking one. */
static int open_program_end(const char *name) {
    int fd = open_end(name, O_RDWR);
    if (fd >= 0 && fcntl(fd, F_SETFL, 0) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

int output_pipe_create(int64_t instance_id, output_pipe_t *pipe, failure_t *failure) {
    state_name_t name = state_name(KIND, instance_id);
    pipe->launcher_end = pipe->program_end = -1;
    if (mkfifoat(state_fd(), name.text, 0600) < 0 &&
        (errno != EEXIST || unlinkat(state_fd(), name.text, 0) < 0 ||
         mkfifoat(state_fd(), name.text, 0600) < 0))
        return fail(failure, "pipe", errno, "pipe for output: %s", strerror(errno));
    pipe->launcher_end = open_end(name.text, O_RDONLY);
    pipe->program_end = pipe->launcher_end < 0 ? -1 : open_program_end(name.text);
    if (pipe->program_end < 0) {
        int error = errno;
        if (pipe->launcher_end >= 0)
            close(pipe->launcher_end);
        unlinkat(state_fd(), name.text, 0);
        return fail(failure, "pipe", error, "pipe for output: %s", strerror(error));
    }
    /* Others than root have room for a few dozen such pipes only, and then get tiny ones. */
    if (geteuid() == 0)
        usher_os_set_pipe_size(pipe->launcher_end, ROOMY_BYTES);
    return 0;
}

void output_pipe_remove(int64_t instance_id) {
    state_remove(KIND, instance_id);
}

/* ---- draining ------------------------------------------------------------------------------ */

typedef struct drain {
    int64_t instance_id;
    watch_t watch;
    struct drain *previous, *next;
} drain_t;

/* Those that are left when the launcher ends, end with it. */
static drain_t *drains;

static void end(int64_t instance_id, int fd) {
    close(fd);
    output_pipe_remove(instance_id);
}

/* Has it been read to its end? Reads no more than one buffer at a time. */
static bool is_over(int fd) {
    static char bytes[32768];
    ssize_t length = read(fd, bytes, sizeof(bytes));
    return length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR);
}

static void on_output(watch_t *watch) {
    if (!is_over(watch->fd))
        return;
    drain_t *drain = OWNER_OF(watch, drain_t, watch);
    watch_stop(watch);
    end(drain->instance_id, watch->fd);
    if (drain->next != NULL)
        drain->next->previous = drain->previous;
    *(drain->previous != NULL ? &drain->previous->next : &drains) = drain->next;
    free(drain);
}

void output_pipe_drain(int64_t instance_id, int fd) {
    drain_t *drain = is_over(fd) ? NULL : calloc(1, sizeof(*drain));
    if (drain != NULL) {
        *drain = (drain_t){
            .instance_id = instance_id, .watch = {.fd = fd, .on_event = on_output}, .next = drains};
        if (watch_start(&drain->watch) == 0) {
            if (drains != NULL)
                drains->previous = drain;
            drains = drain;
            return;
        }
    }
    free(drain);
    end(instance_id, fd);
}

void output_pipes_drain_others(bool (*is_read)(int64_t instance_id)) {
    size_t count;
    int64_t *ids = state_list(KIND, &count);
    for (size_t i = 0; i < count; i++) {
        int fd = is_read(ids[i]) ? -1 : output_pipe_reopen(ids[i]);
        if (fd >= 0)
            output_pipe_drain(ids[i], fd);
    }
    free(ids);
}
