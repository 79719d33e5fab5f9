/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/own_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/directory.h"
#include "launcher/link.h"
#include "launcher/log.h"

#define FLAGS (O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC)

static const launch_options_t *options;
static bool is_default; /* usher.log in the runtime directory */

/* A server that starts an embedded launcher without --log has opened usher.log for it. A standby that
 * becomes one may have that of before the last change. */
static bool has_default(void) {
    struct stat ours, there;
    return options->mode == MODE_EMBEDDED && options->log == NULL &&
           fstat(STDERR_FILENO, &ours) == 0 && S_ISREG(ours.st_mode) &&
           fstatat(directory_fd(), "usher.log", &there, AT_SYMLINK_NOFOLLOW) == 0;
}

const char *own_log_path(void) {
    static char path[PATH_MAX];
    if (options->log != NULL)
        return options->log;
    if (!is_default)
        return NULL;
    snprintf(path, sizeof(path), "%s/usher.log", directory_path());
    return path;
}

/* Nobody who writes to the old file meets a moment without one. */
static int become(int fd, failure_t *failure) {
    if (fd < 0)
        return fail(failure, "log", errno, "open the log %s: %s", own_log_path(), strerror(errno));
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    return 1;
}

int own_log_open(const launch_options_t *launch_options, failure_t *failure) {
    options = launch_options;
    is_default = has_default();
    return own_log_reopen(failure) < 0 ? -1 : 0;
}

int own_log_reopen(failure_t *failure) {
    if (options->log != NULL)
        return become(open(options->log, FLAGS, 0640), failure);
    if (is_default)
        return become(openat(directory_fd(), "usher.log", FLAGS | O_NOFOLLOW, 0600), failure);
    return 0;
}

void own_log_rotate(void) {
    failure_t failure;
    int reopened = own_log_reopen(&failure);
    if (reopened < 0)
        log_error("log.failed", "error", failure.text, NULL);
    if (reopened <= 0)
        return;
    log_info("log.reopened", "path", own_log_path(), NULL);
    link_send_with(message_begin("log"), (int[]){STDERR_FILENO, -1});
}
