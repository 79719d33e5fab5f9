/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-launcher: parent of the manager and of every instance. Does what the manager says, keeps
 * what a restarted manager needs, decides nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/adopt.h"
#include "launcher/commands.h"
#include "launcher/directory.h"
#include "launcher/gateway.h"
#include "launcher/handover.h"
#include "launcher/instances.h"
#include "launcher/link.h"
#include "launcher/log.h"
#include "launcher/loop.h"
#include "launcher/manager.h"
#include "launcher/notify.h"
#include "launcher/options.h"
#include "launcher/own_log.h"
#include "launcher/permit.h"
#include "launcher/self.h"
#include "launcher/spawn.h"
#include "launcher/standby.h"
#include "launcher/state.h"
#include "launcher/stop.h"
#include "launcher/upgrade.h"
#include "os/os.h"

enum { EXIT_FAILED = 1, EXIT_TAKEN = 3 };

static launch_options_t options;

/* ---- a clean start ------------------------------------------------------------------------- */

/* Whoever started us may have left sockets open and signals blocked: an nginx worker's parent has
 * both. */
static void start_clean(void) {
    /* signals that come in the middle of an upgrade wait until the loop takes them */
    if (!options.upgraded)
        spawn_reset_signals(true);
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", O_RDWR); /* takes the lowest free number, which is fd */
    }
    if (options.upgraded)
        handover_receive();
    else
        usher_os_close_range(STDERR_FILENO + 1, ~0u);
    umask(077);
}

/* Each instance costs two or three descriptors here, but programs that use select() want a low limit. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (options.file_limit > 0) /* an upgrade finds the raised one */
        limit.rlim_cur = (rlim_t)options.file_limit;
    spawn_remember_file_limit(&limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- children ------------------------------------------------------------------------------ */

static void reap(pid_t pid) {
    int status;
    struct rusage usage;
    bool is_instance = instances_child_died(pid);
    if (wait4(pid, &status, WNOHANG, &usage) != pid)
        return;
    if (is_instance)
        instances_child_reaped(pid, status, &usage);
    else if (!manager_child_reaped(pid, status) && !standby_child_reaped(pid))
        upgrade_child_reaped(pid, status);
}

static void reap_all(void) {
    siginfo_t info;
    while (info.si_pid = 0,
           waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
        reap(info.si_pid);
    instances_check_groups();
    stop_check();
}

static void on_signal(int number) {
    if (number == SIGCHLD)
        reap_all();
    else if (number == SIGUSR1 || (number == SIGHUP && options.mode != MODE_RUN))
        own_log_rotate();
    else
        stop_on_signal();
}

/* ---- the manager's life -------------------------------------------------------------------- */

static void on_manager_died(void) {
    commands_reset();
    instances_cancel_looks();
    stop_without_manager();
    upgrade_manager_died();
}

static void on_manager_given_up(void) {
    if (options.mode == MODE_RUN)
        stop_by_force(EXIT_FAILED);
}

/* ---- start --------------------------------------------------------------------------------- */

static int refuse(const failure_t *failure) {
    log_error("launcher.failed", "step", failure->step, "error", failure->text, NULL);
    return EXIT_FAILED;
}

/* Nothing is touched before the lock is ours. -1: go on. */
static int take_directory(void) {
    failure_t failure;
    if (directory_open(options.runtime_dir, options.mode != MODE_EMBEDDED, &failure) < 0)
        return refuse(&failure);
    int lock = directory_lock(&failure);
    if (lock > 0 && options.mode == MODE_EMBEDDED)
        return 0;
    if (lock != 0) {
        refuse(&failure);
        return lock > 0 ? EXIT_TAKEN : EXIT_FAILED;
    }
    return -1;
}

static int prepare(failure_t *failure) {
    static const manager_events_t events = {
        .on_message = commands_run,
        .on_died = on_manager_died,
        .on_gave_up = on_manager_given_up,
    };
    if (own_log_open(&options, failure) < 0)
        return -1;
    if (options.mode != MODE_RUN)
        setsid(); /* fails harmlessly where we lead a group already */
    if (chdir("/") < 0 || loop_open(on_signal) < 0)
        return fail(failure, "start", errno, "event loop: %s", strerror(errno));
    raise_file_limit();
    notify_open();
    upgrade_open(&options);
    gateway_open(&options);
    usher_os_become_subreaper();
    if (permit_read_config(&options, failure) < 0) {
        if (!options.upgraded)
            return -1;
        /* programs run: they are not left alone for what only new ones need */
        log_error("allow.failed", "error", failure->text, NULL);
    }
    if (directory_prepare(failure) < 0 || state_open(failure) < 0)
        return -1;
    adopt();
    return manager_open(&options, &events, failure);
}

/* From here on everything is in the loop's hands. */
static void begin(void) {
    handover_end();
    notify_begin_watchdog();
    manager_start();
    if (options.mode == MODE_EMBEDDED)
        standby_start(&options);
    reap_all(); /* who died in the middle of an upgrade */
}

int main(int count, char **words) {
    self_remember(words[0]);
    options_parse(count, words, &options);
    start_clean();
    if (options.standby_of != 0)
        return standby_run(&options);
    int code = take_directory();
    if (code >= 0)
        return code;
    failure_t failure;
    if (prepare(&failure) < 0)
        return refuse(&failure);
    log_info("launcher.started", "pid", decimal(getpid()).text, "version", USHER_RELEASE,
             "runtime_dir", options.runtime_dir, "mode", mode_name(options.mode), NULL);
    begin();
    return loop_run();
}
