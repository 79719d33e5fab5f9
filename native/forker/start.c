/* SPDX-License-Identifier: Apache-2.0 */
#include "forker/start.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forker/protocol.h"
#include "launcher/exec_failure.h"
#include "launcher/paths.h"
#include "os/os.h"

/* Programs that use select() cannot have more. */
#define FILE_LIMIT_SOFT 1024
/* Of a child before it execs: it has some paths there. */
#define STACK_BYTES ((size_t)256 << 10)
#define EXIT_NOT_STARTED 127

static const start_rules_t *rules;
static struct rlimit file_limit;
static int empty_input = -1;
static pid_t own_pid;

/* What a program is made of. The lists point into the frame. */
typedef struct {
    char *const *arguments;
    char *const *environment;
    const char *path;
    bool has_input;
    checked_path_t checked;             /* folder -1: the program was not to be checked */
    int input[2], output[2], errors[2]; /* pipes: reading end, writing end */
} plan_t;

/* ---- what all of them get ------------------------------------------------------------------ */

static const int ignored_signals[] = {SIGPIPE, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

#define IGNORED_SIGNALS (sizeof(ignored_signals) / sizeof(ignored_signals[0]))

/* A signal to the gateway's group is none of ours: we go when the gateway has gone. */
static void arrange_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* fails for KILL and STOP */
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < IGNORED_SIGNALS; i++)
        sigaction(ignored_signals[i], &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The gateway's runtime has raised the soft limit for itself, and with it ours; what it was before
 * cannot be known. Programs get what is usual. */
static int arrange_file_limit(void) {
    if (getrlimit(RLIMIT_NOFILE, &file_limit) < 0)
        return -1;
    struct rlimit own = {.rlim_cur = file_limit.rlim_max, .rlim_max = file_limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &own);
    file_limit.rlim_cur =
        file_limit.rlim_max < FILE_LIMIT_SOFT ? file_limit.rlim_max : FILE_LIMIT_SOFT;
    return 0;
}

int start_prepare(const start_rules_t *given) {
    rules = given;
    own_pid = getpid();
    arrange_signals();
    empty_input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return empty_input < 0 ? -1 : arrange_file_limit();
}

/* ---- the frame ----------------------------------------------------------------------------- */

/* The strings of a list in `list`, with a NULL behind them. */
static bool take_strings(const char **at, const char *end, char **list, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const char *nul = memchr(*at, '\0', (size_t)(end - *at));
        if (nul == NULL)
            return false;
        list[i] = (char *)(uintptr_t)*at; /* execve() does not write to it */
        *at = nul + 1;
    }
    list[count] = NULL;
    return true;
}

static int parse(const char *content, size_t length, plan_t *plan, failure_t *failure) {
    static char **strings;
    static size_t strings_capacity;
    uint32_t numbers[3];
    if (length < sizeof(numbers))
        return fail(failure, "frame", EPROTO, "START of %zu bytes is too short", length);
    memcpy(numbers, content, sizeof(numbers));
    /* each string has at least its NUL */
    if (numbers[1] == 0 || (uint64_t)numbers[1] + numbers[2] > length - sizeof(numbers))
        return fail(failure, "frame", EPROTO, "START names %u arguments and %u variables",
                    numbers[1], numbers[2]);
    size_t count = (size_t)numbers[1] + numbers[2] + 2;
    if (count > strings_capacity) {
        char **grown = realloc(strings, count * sizeof(*strings));
        if (grown == NULL)
            return fail(failure, "memory", ENOMEM, "no memory for %zu strings", count);
        strings = grown;
        strings_capacity = count;
    }
    const char *at = content + sizeof(numbers), *end = content + length;
    char **environment = strings + numbers[1] + 1;
    if (!take_strings(&at, end, strings, numbers[1]) ||
        !take_strings(&at, end, environment, numbers[2]) || at != end)
        return fail(failure, "frame", EPROTO, "START whose strings do not fill it");
    plan->has_input = (numbers[0] & START_HAS_STDIN) != 0;
    plan->arguments = strings;
    plan->environment = environment;
    plan->path = strings[0];
    return 0;
}

/* ---- before the process -------------------------------------------------------------------- */

static int check(plan_t *plan, failure_t *failure) {
    plan->checked.folder = -1;
    if (plan->path[0] != '/')
        return fail(failure, "path", EINVAL, "%.200s: an absolute path is expected", plan->path);
    if (!rules->checks_paths)
        return 0;
    allow_block_t block = {.is_dynamic = true, .lines = rules->rules, .count = rules->rule_count};
    return paths_check(&block, geteuid(), true, plan->path, &plan->checked, failure);
}

static void close_pair(int pair[2]) {
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

/* A pipe whose end `ours` does not wait. */
static int make_pipe(int pair[2], int ours) {
    if (pipe2(pair, O_CLOEXEC) < 0) {
        pair[0] = pair[1] = -1;
        return -1;
    }
    return fcntl(pair[ours], F_SETFL, O_NONBLOCK);
}

static int make_pipes(plan_t *plan, failure_t *failure) {
    if ((!plan->has_input || make_pipe(plan->input, 1) == 0) && make_pipe(plan->output, 0) == 0 &&
        make_pipe(plan->errors, 0) == 0)
        return 0;
    return fail(failure, "pipe", errno, "pipes for %s: %s", plan->path, strerror(errno));
}

/* ---- in the child, which has our memory and runs while we stand still ------------------------ */

static void reset_signals(void) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (size_t i = 0; i < IGNORED_SIGNALS; i++)
        sigaction(ignored_signals[i], &action, NULL);
}

static int fail_missing(const plan_t *plan, failure_t *failure) {
    return fail(failure, "missing", ENOENT, "%s does not exist", plan->path);
}

/* The directory it stands in: the one that was checked, if it was. */
static int enter_folder(const plan_t *plan, failure_t *failure) {
    char folder[PATH_MAX];
    const char *slash = strrchr(plan->path, '/');
    size_t length = slash > plan->path ? (size_t)(slash - plan->path) : 1;
    if (length >= sizeof(folder))
        return fail(failure, "cwd", ENAMETOOLONG, "change to the directory of %.200s…: %s",
                    plan->path, strerror(ENAMETOOLONG));
    memcpy(folder, plan->path, length);
    folder[length] = '\0';
    /* by "." as well, which says whether we may be there */
    if (plan->checked.folder >= 0 ? fchdir(plan->checked.folder) == 0 && chdir(".") == 0
                                  : chdir(folder) == 0)
        return 0;
    int error = errno;
    if (error == ENOENT || error == ENOTDIR)
        return fail_missing(plan, failure);
    return fail(failure, "cwd", error, "change to directory %s as uid %u: %s", folder,
                (unsigned)geteuid(), strerror(error));
}

/* What is left to those who may rename what stands above the root is the moment until exec. */
static int check_again(const plan_t *plan, failure_t *failure) {
    struct stat status;
    const checked_path_t *checked = &plan->checked;
    if (checked->folder < 0 || stat(plan->path, &status) < 0 ||
        (status.st_dev == checked->device && status.st_ino == checked->inode))
        return 0; /* a file that cannot be seen cannot be executed, which says why */
    return fail(failure, "path", EACCES, "%s is not started: another file has taken its place",
                plan->path);
}

static int prepare(const plan_t *plan, failure_t *failure) {
    usher_os_set_parent_death_signal(SIGKILL);
    if (getppid() != own_pid)
        return fail(failure, "fork", ESRCH, "the forker has gone");
    if (setpgid(0, 0) < 0)
        return fail(failure, "fork", errno, "a process group of its own: %s", strerror(errno));
    int input = plan->has_input ? plan->input[0] : empty_input;
    if (dup2(input, STDIN_FILENO) < 0 || dup2(plan->output[1], STDOUT_FILENO) < 0 ||
        dup2(plan->errors[1], STDERR_FILENO) < 0)
        return fail(failure, "descriptors", errno, "arrange descriptors: %s", strerror(errno));
    reset_signals();
    setrlimit(RLIMIT_NOFILE, &file_limit);
    if (limits_apply(&rules->limits, failure) < 0 || enter_folder(plan, failure) < 0)
        return -1;
    return check_again(plan, failure);
}

static void run(const plan_t *plan, failure_t *failure) {
    if (prepare(plan, failure) < 0)
        return;
    execve(plan->path, plan->arguments, plan->environment);
    int error = errno;
    if ((error == ENOENT || error == ENOTDIR) && access(plan->path, F_OK) < 0)
        fail_missing(plan, failure);
    else
        exec_fail(plan->path, error, failure);
}

/* ---- the process --------------------------------------------------------------------------- */

typedef struct {
    const plan_t *plan;
    failure_t *failure;
    bool has_failed; /* no: its process has become the program */
} attempt_t;

static void try_to_run(void *given) {
    attempt_t *attempt = given;
    run(attempt->plan, attempt->failure);
    attempt->has_failed = true;
}

/* The child borrows our memory until it execs or ends, so no handler may run in it: we have none; and
 * what it writes to it of its failure is there afterwards. */
static pid_t make_process(const plan_t *plan, int *pidfd, failure_t *failure) {
    static char stack[STACK_BYTES];
    attempt_t made = {.plan = plan, .failure = failure};
    pid_t pid = usher_os_spawn(try_to_run, &made, stack, sizeof(stack), EXIT_NOT_STARTED, pidfd);
    if (pid < 0) {
        fail(failure, "fork", errno, "fork for %s: %s", plan->path, strerror(errno));
        return -1;
    }
    if (!made.has_failed)
        return pid;
    close(*pidfd);
    waitpid(pid, NULL, 0);
    return -1;
}

static int become(plan_t *plan, started_t *started, failure_t *failure) {
    int pidfd;
    pid_t pid = make_process(plan, &pidfd, failure);
    if (pid < 0)
        return -1;
    *started = (started_t){.pid = pid,
                           .pidfd = pidfd,
                           .input = plan->input[1],
                           .output = plan->output[0],
                           .errors = plan->errors[0]};
    plan->input[1] = plan->output[0] = plan->errors[0] = -1;
    return 0;
}

int start_program(const char *content, size_t length, started_t *started, failure_t *failure) {
    static plan_t plan; /* paths are long */
    plan = (plan_t){.input = {-1, -1}, .output = {-1, -1}, .errors = {-1, -1}};
    plan.checked.folder = -1;
    int result = -1;
    if (parse(content, length, &plan, failure) == 0 && check(&plan, failure) == 0 &&
        make_pipes(&plan, failure) == 0)
        result = become(&plan, started, failure);
    close_pair(plan.input);
    close_pair(plan.output);
    close_pair(plan.errors);
    if (plan.checked.folder >= 0)
        close(plan.checked.folder);
    return result;
}
