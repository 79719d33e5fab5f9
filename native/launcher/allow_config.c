/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/allow_config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/loop.h"
#include "launcher/spawn.h"
#include "os/os.h"

#define MAY_TAKE_NS (120 * NS_PER_S)
#define EXIT_CONFIG 78 /* EX_CONFIG */

typedef struct {
    char *bytes;
    size_t length, capacity;
} text_t;

static void run_usherd(const launch_options_t *options, int output) {
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0)
        _exit(127);
    usher_os_close_range(STDERR_FILENO + 1, ~0u);
    usher_os_set_parent_death_signal(SIGKILL);
    spawn_reset_signals(false);
    spawn_reset_file_limit();
    execlp(options->node, options->node, options->usherd, "--allow", options->config, (char *)NULL);
    _exit(127);
}

/* Room for more; false without memory or when it is too much. */
static bool grow(text_t *text) {
    if (text->length < text->capacity)
        return true;
    size_t capacity = text->capacity > 0 ? text->capacity * 2 : 65536;
    char *bytes = capacity > 2 * ALLOW_BYTES_MAX ? NULL : realloc(text->bytes, capacity);
    if (bytes == NULL)
        return false;
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

/* Until its end; false when that does not come in time. */
static bool read_all(int fd, text_t *text) {
    uint64_t until_ns = usher_os_now_ns() + MAY_TAKE_NS;
    while (grow(text)) {
        uint64_t now_ns = usher_os_now_ns();
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (now_ns >= until_ns)
            return false;
        if (poll(&ready, 1, (int)((until_ns - now_ns) / NS_PER_MS) + 1) <= 0)
            continue;
        ssize_t got = read(fd, text->bytes + text->length, text->capacity - text->length);
        if (got == 0)
            return true;
        if (got > 0)
            text->length += (size_t)got;
        else if (errno != EINTR)
            return false;
    }
    return false;
}

static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

static int judge(const launch_options_t *options, bool whole, int status, const text_t *text,
                 allow_list_t *list, failure_t *failure) {
    if (whole && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIG)
        return 0;
    if (!whole || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return fail(failure, "allow", EIO,
                    "%s --allow %s: it %s %d instead of saying what is allowed", options->usherd,
                    options->config, WIFSIGNALED(status) ? "was ended by signal" : "exited with",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    failure_t parsing;
    if (allow_parse(text->bytes, text->length, list, &parsing) == 0)
        return 0;
    return fail(failure, "allow", parsing.errno_value, "%s --allow %s: %.200s", options->usherd,
                options->config, parsing.text);
}

int allow_read_config(const launch_options_t *options, allow_list_t *list, failure_t *failure) {
    int ends[2];
    text_t text = {0};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(failure, "pipe", errno, "pipe for usherd --allow: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        run_usherd(options, ends[1]);
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return fail(failure, "fork", errno, "fork: %s", strerror(errno));
    }
    bool whole = read_all(ends[0], &text);
    close(ends[0]);
    if (!whole)
        kill(pid, SIGKILL);
    int result = judge(options, whole, wait_for(pid), &text, list, failure);
    free(text.bytes);
    return result;
}
