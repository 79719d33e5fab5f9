/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/exec_failure.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail_missing(const char *path, failure_t *failure) {
    char line[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (length <= 0) {
        fail(failure, "exec", ENOENT, "exec %s: %s", path, strerror(ENOENT));
        return;
    }
    line[length] = '\0';
    if (strncmp(line, "#!", 2) != 0) {
        fail(failure, "exec", ENOENT,
             "exec %s: the file exists, but the loader it names for its libraries does not", path);
        return;
    }
    char *interpreter = line + 2 + strspn(line + 2, " \t");
    interpreter[strcspn(interpreter, " \t\n")] = '\0';
    char *carriage_return = strchr(interpreter, '\r');
    if (carriage_return != NULL)
        *carriage_return = '\0';
    fail(failure, "exec", ENOENT, "exec %s: the interpreter %s in its #! line is missing%s", path,
         interpreter, carriage_return != NULL ? " (the line ends in CR LF)" : "");
}

static void fail_denied(const char *path, failure_t *failure) {
    struct stat status;
    const char *denied = strerror(EACCES);
    if (stat(path, &status) < 0)
        fail(failure, "exec", EACCES, "exec %s: %s: uid %u cannot pass a directory on the way",
             path, denied, (unsigned)geteuid());
    else if (S_ISDIR(status.st_mode))
        fail(failure, "exec", EACCES, "exec %s: %s: it is a directory", path, denied);
    else if (access(path, X_OK) < 0)
        fail(failure, "exec", EACCES, "exec %s: %s: mode %04o, owner %u, does not let uid %u", path,
             denied, (unsigned)(status.st_mode & 07777), (unsigned)status.st_uid,
             (unsigned)geteuid());
    else
        fail(failure, "exec", EACCES,
             "exec %s: %s: its interpreter is not executable, or the file system is noexec", path,
             denied);
}

int exec_fail(const char *path, int error, failure_t *failure) {
    if (error == ENOENT)
        fail_missing(path, failure);
    else if (error == EACCES)
        fail_denied(path, failure);
    else if (error == ENOEXEC)
        fail(failure, "exec", error, "exec %s: has no #! line and is not a program", path);
    else
        fail(failure, "exec", error, "exec %s: %s", path, strerror(error));
    return -1;
}
