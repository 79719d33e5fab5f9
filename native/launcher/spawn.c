/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/exec_failure.h"
#include "os/os.h"

static struct rlimit file_limit;
static bool has_file_limit;

void spawn_remember_file_limit(const struct rlimit *limit) {
    file_limit = *limit;
    has_file_limit = true;
}

rlim_t spawn_file_limit(void) {
    return file_limit.rlim_cur;
}

void spawn_reset_file_limit(void) {
    if (has_file_limit)
        setrlimit(RLIMIT_NOFILE, &file_limit);
}

void spawn_reset_signals(bool ignore_pipe) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* fails for KILL and STOP */
    action.sa_handler = SIG_IGN;
    if (ignore_pipe)
        sigaction(SIGPIPE, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* ---- users --------------------------------------------------------------------------------- */

/* "#1000" as Apache's User directive has it. */
static bool parse_number(const char *text, unsigned *number) {
    if (text[0] != '#' || text[1] < '0' || text[1] > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long value = strtoul(text + 1, &end, 10);
    if (errno != 0 || *end != '\0' || value >= UINT_MAX)
        return false;
    *number = (unsigned)value;
    return true;
}

static int find_user(const char *user, spawn_user_t *found, failure_t *failure) {
    unsigned number;
    bool is_number = parse_number(user, &number);
    errno = 0;
    const struct passwd *entry = is_number ? getpwuid(number) : getpwnam(user);
    if (entry != NULL) {
        found->uid = entry->pw_uid;
        found->gid = entry->pw_gid;
        /* a name that is cut would be another's, with its groups */
        if ((size_t)snprintf(found->name, sizeof(found->name), "%s", entry->pw_name) <
            sizeof(found->name))
            return 0;
        return fail(failure, "user", ENAMETOOLONG, "user %s: its name is longer than %zu bytes",
                    user, sizeof(found->name) - 1);
    }
    if (!is_number) {
        int error = errno != 0 ? errno : ENOENT;
        return fail(failure, "user", error,
                    error == ENOENT ? "user %s does not exist" : "user %s: the look-up failed",
                    user);
    }
    found->uid = number;
    found->gid = number;
    return 0;
}

static int find_group(const char *group, spawn_user_t *found, failure_t *failure) {
    unsigned number;
    if (parse_number(group, &number)) {
        found->gid = number;
        return 0;
    }
    errno = 0;
    const struct group *entry = getgrnam(group);
    if (entry == NULL)
        return fail(failure, "group", errno != 0 ? errno : ENOENT, "group %s does not exist",
                    group);
    found->gid = entry->gr_gid;
    return 0;
}

int spawn_find_user(const char *user, const char *group, spawn_user_t *found, failure_t *failure) {
    memset(found, 0, sizeof(*found));
    found->uid = geteuid();
    found->gid = getegid();
    if (user != NULL && find_user(user, found, failure) < 0)
        return -1;
    if (group != NULL && find_group(group, found, failure) < 0)
        return -1;
    if (geteuid() == 0) {
        found->is_other = user != NULL || group != NULL;
        return 0;
    }
    if (found->uid != geteuid())
        return fail(failure, "user", EPERM,
                    "user %s: only root can start programs as somebody else, and this manager "
                    "runs as uid %u",
                    user, (unsigned)geteuid());
    if (group != NULL && found->gid != getegid())
        return fail(failure, "group", EPERM,
                    "group %s: only root can start programs in another group, and this manager "
                    "runs as gid %u",
                    group, (unsigned)getegid());
    return 0;
}

/* ---- in the child -------------------------------------------------------------------------- */

#define INHERITED_FD 3

/* A program that listens by itself has nothing to read. */
static int open_input(const spawn_program_t *program) {
    return program->listener >= 0 ? program->listener : open("/dev/null", O_RDONLY);
}

/* 0 to 2, what is inherited, and behind that, until exec, the status pipe. All that is to come there
 * is moved out of each other's way first. */
static int arrange_descriptors(const spawn_program_t *program, int *status_fd, failure_t *failure) {
    int sources[SPAWN_INHERITED_MAX], count = 0, status = *status_fd;
    const int free_fd = INHERITED_FD + SPAWN_INHERITED_MAX + 1;
    while (program->inherited != NULL && count < SPAWN_INHERITED_MAX &&
           program->inherited[count] >= 0) {
        sources[count] = fcntl(program->inherited[count], F_DUPFD_CLOEXEC, free_fd);
        if (sources[count++] < 0)
            goto failed;
    }
    status = fcntl(*status_fd, F_DUPFD_CLOEXEC, free_fd);
    if (status < 0 || dup2(open_input(program), STDIN_FILENO) < 0 ||
        dup2(program->output, STDOUT_FILENO) < 0 || dup2(program->output, STDERR_FILENO) < 0)
        goto failed;
    *status_fd = status;
    for (int i = 0; i < count; i++) {
        if (dup2(sources[i], INHERITED_FD + i) < 0)
            goto failed;
    }
    if (dup3(status, INHERITED_FD + count, O_CLOEXEC) < 0)
        goto failed;
    *status_fd = INHERITED_FD + count;
    if (usher_os_close_range((unsigned)*status_fd + 1, ~0u) == 0)
        return 0;
failed:
    return fail(failure, "descriptors", errno, "arrange descriptors: %s", strerror(errno));
}

/* setuid() from root to another user clears the capabilities, unless the launcher was started with
 * securebits that keep them: they are dropped by name. The bounding set stays: it only limits what
 * executing a file can give, and that is nothing under no_new_privs, or what -allow-setuid wants. */
int spawn_become(const spawn_user_t *user, failure_t *failure) {
    if (!user->is_other)
        return 0;
    int groups =
        user->name[0] != '\0' ? initgroups(user->name, user->gid) : setgroups(1, &user->gid);
    if (groups < 0)
        return fail(failure, "group", errno, "supplementary groups of %s: %s", user->name,
                    strerror(errno));
    if (setgid(user->gid) < 0)
        return fail(failure, "group", errno, "become gid %u: %s", (unsigned)user->gid,
                    strerror(errno));
    if (setuid(user->uid) < 0)
        return fail(failure, "setuid", errno, "become uid %u: %s", (unsigned)user->uid,
                    strerror(errno));
    if (user->uid == 0)
        return 0;
    if (usher_os_drop_capabilities() < 0)
        return fail(failure, "setuid", errno, "drop capabilities as uid %u: %s",
                    (unsigned)user->uid, strerror(errno));
    if (setuid(0) == 0 || seteuid(0) == 0)
        return fail(failure, "setuid", EPERM, "become uid %u: the way back to root stays open",
                    (unsigned)user->uid);
    return 0;
}

/* The directory of a file that was checked is ours already: may the user be in it? */
static int enter_folder(const spawn_program_t *program, failure_t *failure) {
    const char *folder = program->checked != NULL ? "." : program->cwd;
    if (chdir(folder) == 0)
        return 0;
    int error = errno;
    char inside[PATH_MAX], barrier[PATH_MAX];
    bool is_told = error == EACCES &&
                   snprintf(inside, sizeof(inside), "%s/", program->cwd) < (int)sizeof(inside) &&
                   exec_find_barrier(inside, barrier);
    return fail(failure, "cwd", error, "change to directory %s as uid %u: %s%s%s", program->cwd,
                (unsigned)geteuid(), strerror(error), is_told ? ": it may not pass " : "",
                is_told ? barrier : "");
}

/* Is what the path leads to now the file that was checked? What is left is the moment until exec,
 * for those who may rename what stands above the root. */
static int check_again(const spawn_program_t *program, failure_t *failure) {
    struct stat status;
    const checked_path_t *checked = program->checked;
    if (checked == NULL || stat(program->arguments[0], &status) < 0 ||
        (status.st_dev == checked->device && status.st_ino == checked->inode))
        return 0; /* a file that cannot be seen cannot be executed, which says why */
    return fail(failure, "path", EACCES, "%s is not started: another file has taken its place",
                program->arguments[0]);
}

/* An interpreter would say so less plainly, and as a program that has begun. */
static int check_script(const spawn_program_t *program, failure_t *failure) {
    if (program->script == NULL || access(program->script, R_OK) == 0)
        return 0;
    int error = errno;
    return fail(failure, "exec", error, "%s, of this installation, cannot be read as uid %u: %s",
                program->script, (unsigned)geteuid(), strerror(error));
}

/* Everything before exec. `*status_fd` follows the status pipe to where it is moved. The order: what
 * needs descriptors of the launcher, what needs root, becoming the user, what the user must be
 * allowed to do. */
static int prepare(const spawn_program_t *program, int *status_fd, spawn_report_t *report) {
    failure_t *failure = &report->failure;
    spawn_facts_t *facts = &report->facts;
    facts->forked_ns = usher_os_now_ns();
    if (program->on_forked != NULL && program->on_forked(program->context, failure) < 0)
        return -1;
    setsid(); /* own session and group: no terminal, and one kill() reaches all of it */
    if (program->checked != NULL && fchdir(program->checked->folder) < 0)
        return fail(failure, "cwd", errno, "change to directory %s: %s", program->cwd,
                    strerror(errno));
    if (arrange_descriptors(program, status_fd, failure) < 0)
        return -1;
    spawn_reset_signals(program->listener >= 0);
    spawn_reset_file_limit();
    umask(022);
    if (limits_apply(&program->limits, failure) < 0)
        return -1;
    facts->limited_ns = usher_os_now_ns();
    errno = 0;
    if (program->nice != 0 && nice(program->nice) == -1 && errno != 0)
        return fail(failure, "nice", errno, "nice %d: %s", program->nice, strerror(errno));
    if (spawn_become(&program->user, failure) < 0)
        return -1;
    if (!program->may_gain_privileges && usher_os_set_no_new_privs() < 0)
        return fail(failure, "setuid", errno, "forbid new privileges: %s", strerror(errno));
    facts->became_ns = usher_os_now_ns();
    if (enter_folder(program, failure) < 0)
        return -1;
    facts->entered_ns = usher_os_now_ns();
    return check_script(program, failure) < 0 ? -1 : check_again(program, failure);
}

static void tell(int status_fd, spawn_report_t *report) {
    spawn_facts_t *facts = &report->facts;
    facts->uid = getuid();
    facts->gid = getgid();
    facts->groups_count = getgroups(SPAWN_GROUPS_MAX, facts->groups); /* -1: more than that */
    limits_read(facts->limits);
    ssize_t written = write(status_fd, report, sizeof(*report));
    (void)written;
}

static void run(const spawn_program_t *program, int status_fd) {
    spawn_report_t report = {.has_failed = false};
    if (prepare(program, &status_fd, &report) == 0) {
        tell(status_fd, &report);
        /* execve() promises not to write to the lists; its type is older than const */
        execve(program->arguments[0], (char *const *)(uintptr_t)program->arguments,
               (char *const *)(uintptr_t)program->environment);
        exec_fail(program->arguments[0], errno, &report.failure);
    }
    report.has_failed = true;
    tell(status_fd, &report);
}

/* ---- in the launcher ----------------------------------------------------------------------- */

int spawn(const spawn_program_t *program, spawned_t *spawned, failure_t *failure) {
    int status[2];
    if (program->arguments[0] == NULL || program->arguments[0][0] != '/')
        return fail(failure, "exec", EINVAL, "exec %s: not an absolute path",
                    program->arguments[0] != NULL ? program->arguments[0] : "nothing");
    if (pipe2(status, O_CLOEXEC) < 0)
        return fail(failure, "pipe", errno, "pipe for status: %s", strerror(errno));
    fcntl(status[0], F_SETFL, O_NONBLOCK);
    pid_t pid = fork();
    if (pid == 0) {
        close(status[0]);
        run(program, status[1]);
        _exit(127);
    }
    int error = errno;
    close(status[1]);
    if (pid < 0) {
        close(status[0]);
        return fail(failure, "fork", error, "fork for %s: %s", program->arguments[0],
                    strerror(error));
    }
    *spawned = (spawned_t){.pid = pid, .status_fd = status[0]};
    return 0;
}
