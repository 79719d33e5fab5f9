/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher as a daemon of its own. A web server hands down more than one would like: listening
 * sockets that are not close-on-exec, blocked and ignored signals, an environment with secrets.
 * None of it may reach the launcher, which hands on what it has to every program.
 */
#include "registration/embedded.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "registration/failure.h"

/* The parts of the manager, where the build put them (CMake defines all three): unless installed. */
#ifndef USHER_DEFAULT_LAUNCHER
#error "USHER_DEFAULT_LAUNCHER, USHER_DEFAULT_USHERD and USHER_DEFAULT_NODE must be defined"
#endif

#define ENVIRONMENT_MAX 64
#define ARGUMENTS_MAX 16
#define EXEC_WAIT_MS 10000
#define FIRST_FREE_FD 10 /* what we keep stands above: 0 … 3 are given out anew in the child */
#define REPORT_FD 3

extern char **environ;

usher_status_t usher_embedded_is_running(const usher_runtime_t *runtime, bool *running,
                                         usher_error_t *error) {
    int fd = openat(runtime->fd, "manager.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return usher_registration_fail_errno(error, "cannot open %s/manager.lock", runtime->path);
    /* Shared: two servers that look at once do not take each other for a launcher. */
    *running = flock(fd, LOCK_SH | LOCK_NB) < 0;
    int cause = errno;
    close(fd);
    errno = cause;
    if (*running && cause != EWOULDBLOCK)
        return usher_registration_fail_errno(error, "cannot lock %s/manager.lock", runtime->path);
    return USHER_OK;
}

/* ---- before the fork -------------------------------------------------------------------------- */

typedef struct {
    char launcher[PATH_MAX], usherd[PATH_MAX], node[PATH_MAX];
    bool are_installed;
} parts_t;

/* Cuts the last component off an absolute path; false = there is none left. */
static bool go_up(char *path) {
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return false;
    *slash = '\0';
    return true;
}

/*
 * `usher install` puts a link to Node beside the module: then everything is where the module is, by
 * the name that it was loaded by, in which an upgrade turns a link.
 */
static bool find_installed(parts_t *parts) {
    Dl_info module;
    char build[PATH_MAX], package[PATH_MAX];
    if (dladdr((void *)&usher_embedded_start, &module) == 0 || module.dli_fname == NULL ||
        module.dli_fname[0] != '/' || strlen(module.dli_fname) >= sizeof build)
        return false;
    strcpy(build, module.dli_fname);
    if (!go_up(build))
        return false;
    strcpy(package, build);
    if (!go_up(package) || snprintf(parts->node, PATH_MAX, "%s/node", build) >= PATH_MAX ||
        snprintf(parts->launcher, PATH_MAX, "%s/usher-launcher", build) >= PATH_MAX ||
        snprintf(parts->usherd, PATH_MAX, "%s/bin/usherd", package) >= PATH_MAX)
        return false;
    struct stat link;
    return lstat(parts->node, &link) == 0;
}

static void find_parts(parts_t *parts) {
    parts->are_installed = find_installed(parts);
    if (parts->are_installed)
        return;
    snprintf(parts->launcher, PATH_MAX, "%s", USHER_DEFAULT_LAUNCHER);
    snprintf(parts->usherd, PATH_MAX, "%s", USHER_DEFAULT_USHERD);
    snprintf(parts->node, PATH_MAX, "%s", USHER_DEFAULT_NODE);
}

static usher_status_t check_parts(const parts_t *found, usher_error_t *error) {
    const char *install = "\"usher install\" once more";
    const struct {
        const char *what, *path, *remedy;
        int mode;
    } parts[] = {
        {"usher-launcher", found->launcher, found->are_installed ? install : "npm run build:native",
         X_OK},
        {"usherd", found->usherd, found->are_installed ? install : "npm run setup", R_OK},
        {"Node", found->node,
         found->are_installed ? install : "install Node, then npm run build:native", X_OK},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (access(parts[i].path, parts[i].mode) < 0) {
            int cause = errno;
            usher_registration_fail_errno(
                error,
                "cannot start the manager: %s, expected at %s (to put it there: "
                "%s)",
                parts[i].what, *parts[i].path != '\0' ? parts[i].path : "(nowhere)",
                parts[i].remedy);
            return cause == ENOENT ? USHER_NOT_FOUND : USHER_SYSTEM;
        }
    return USHER_OK;
}

static bool is_kept_variable(const char *variable) {
    static const char *const names[] = {"PATH=", "LANG=", "LC_", "TZ=", "HOME="};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void fill_environment(char **variables) {
    static char default_path[] =
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    size_t count = 0;
    if (getenv("PATH") == NULL)
        variables[count++] = default_path;
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++)
        if (is_kept_variable(*variable) && count < ENVIRONMENT_MAX - 1)
            variables[count++] = *variable;
    variables[count] = NULL;
}

/* A copy of `fd` out of the way of 0 … 3; closes `fd`. */
static int move_up(int fd) {
    if (fd < 0)
        return -1;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    int cause = errno;
    close(fd);
    errno = cause;
    return moved;
}

static int open_log(const usher_runtime_t *runtime, const char *log_file) {
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC;
    int fd = log_file != NULL ? open(log_file, flags, 0600)
                              : openat(runtime->fd, "usher.log", flags, 0600);
    return move_up(fd);
}

/* ---- in the child: async-signal-safe calls only ----------------------------------------------- */

typedef struct {
    char *arguments[ARGUMENTS_MAX];
    char *variables[ENVIRONMENT_MAX];
    int null_fd, log_fd, report_fd;
} plan_t;

static void reset_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* refused for KILL, STOP and libc's own */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

_Noreturn static void report(int fd, int cause) {
    ssize_t ignored = write(fd, &cause, sizeof cause);
    (void)ignored;
    _exit(127);
}

_Noreturn static void become_launcher(const plan_t *plan) {
    int output = plan->log_fd >= 0 ? plan->log_fd : plan->null_fd;
    if (dup2(plan->null_fd, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
        dup2(output, STDERR_FILENO) < 0 || dup3(plan->report_fd, REPORT_FD, O_CLOEXEC) < 0)
        report(plan->report_fd, errno);
    if (usher_os_close_range(REPORT_FD + 1, ~0u) < 0 || chdir("/") < 0)
        report(REPORT_FD, errno);
    umask(022);
    reset_signals();
    execve(plan->arguments[0], plan->arguments, plan->variables);
    report(REPORT_FD, errno);
}

/* Double fork: the launcher is a child of init and cannot get a terminal. */
static pid_t fork_launcher(const plan_t *plan) {
    sigset_t all, before;
    sigfillset(&all);
    /* The server's handlers must not run in the children, nor see this SIGCHLD before we do. */
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        pid_t launcher = fork();
        if (launcher == 0)
            become_launcher(plan);
        if (launcher < 0)
            report(plan->report_fd, errno);
        _exit(0);
    }
    int cause = errno;
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = cause;
    return pid;
}

/* ---- after it --------------------------------------------------------------------------------- */

/* Wait until the exec has closed the pipe: 0, or the errno of what failed. */
static int read_report(int fd) {
    int cause = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    int polled;
    while ((polled = poll(&ready, 1, EXEC_WAIT_MS)) < 0 && errno == EINTR)
        ;
    if (polled == 0)
        return ETIMEDOUT;
    ssize_t got;
    while ((got = read(fd, &cause, sizeof cause)) < 0 && errno == EINTR)
        ;
    return got == (ssize_t)sizeof cause ? cause : 0;
}

usher_status_t usher_embedded_start(const usher_runtime_t *runtime, const char *log_file,
                                    usher_error_t *error) {
    parts_t parts;
    find_parts(&parts);
    usher_status_t status = check_parts(&parts, error);
    if (status != USHER_OK)
        return status;

    plan_t plan = {
        .arguments = {parts.launcher, (char *)"--runtime-dir", (char *)runtime->path,
                      (char *)"--node", parts.node, (char *)"--usherd", parts.usherd,
                      (char *)"--mode", (char *)"embedded",
                      log_file != NULL ? (char *)"--log" : NULL, (char *)log_file, NULL},
        .null_fd = -1,
        .log_fd = open_log(runtime, log_file),
        .report_fd = -1,
    };
    fill_environment(plan.variables);
    plan.null_fd = move_up(open("/dev/null", O_RDWR | O_CLOEXEC));
    int report_fds[2];
    if (plan.null_fd < 0 || pipe2(report_fds, O_CLOEXEC) < 0) {
        status = usher_registration_fail_errno(error, "cannot start the manager");
        goto done;
    }
    plan.report_fd = move_up(report_fds[1]);
    if (plan.report_fd < 0 || fork_launcher(&plan) < 0) {
        status = usher_registration_fail_errno(error, "cannot start the manager: fork");
    } else {
        close(plan.report_fd);
        plan.report_fd = -1;
        errno = read_report(report_fds[0]);
        if (errno != 0)
            status = usher_registration_fail_errno(error, "cannot start the manager: %s",
                                                   plan.arguments[0]);
    }
    close(report_fds[0]);
done:
    if (plan.report_fd >= 0)
        close(plan.report_fd);
    if (plan.null_fd >= 0)
        close(plan.null_fd);
    if (plan.log_fd >= 0)
        close(plan.log_fd);
    return status;
}
