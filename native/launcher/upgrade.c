/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/handover.h"
#include "launcher/instances.h"
#include "launcher/log.h"
#include "launcher/loop.h"
#include "launcher/manager.h"
#include "launcher/notify.h"
#include "launcher/self.h"
#include "launcher/spawn.h"
#include "launcher/standby.h"
#include "os/os.h"

#define TRIAL_MAY_TAKE_NS (10 * NS_PER_S)
#define LAUNCHING_MAY_TAKE_NS (2 * NS_PER_S)
#define CHECK_NS (5 * NS_PER_MS)

static const launch_options_t *options;
static enum { IDLE, TRYING, ENDING_MANAGER, AWAITING_STARTS } step;
static pid_t trial; /* of the new program; 0 = does not run */
static uint64_t until_ns;

static void on_due(alarm_t *alarm);
static alarm_t upgrade_alarm = {.on_due = on_due};

void upgrade_open(const launch_options_t *launch_options) {
    options = launch_options;
}

static void give_up(const char *what, const char *error) {
    log_error("launcher.upgrade-failed", "step", what, "program", self_path(), "error", error,
              NULL);
    alarm_cancel(&upgrade_alarm);
    if (step > TRYING)
        manager_release();
    step = IDLE;
}

/* ---- the exec ------------------------------------------------------------------------------ */

static void exec_new(void) {
    char standby[32], limit[32], revivals[32], since[32];
    snprintf(standby, sizeof(standby), "%d", standby_pid());
    snprintf(limit, sizeof(limit), "%" PRIu64, (uint64_t)spawn_file_limit());
    snprintf(revivals, sizeof(revivals), "%" PRId64, options->revivals);
    snprintf(since, sizeof(since), "%" PRIu64, options->revived_since_ns);
    const char *const further[] = {
        "--upgraded", "--former-standby", standby,           "--file-limit", limit,
        "--revivals", revivals,           "--revived-since", since,          NULL};
    log_info("launcher.upgrading", "program", self_path(), NULL);
    handover_begin();
    notify_give_back();
    self_become("usher-launcher", options, further);
    int error = errno;
    notify_open();
    handover_cancel();
    give_up("exec", strerror(error));
}

/* Whether a program that is being started can be is told by its pipe, which exec closes. */
static void exec_when_settled(void) {
    uint64_t now = usher_os_now_ns();
    if (instances_are_launching() && now < until_ns)
        alarm_set(&upgrade_alarm, now + CHECK_NS);
    else
        exec_new();
}

void upgrade_manager_died(void) {
    if (step != ENDING_MANAGER)
        return;
    step = AWAITING_STARTS;
    until_ns = usher_os_now_ns() + LAUNCHING_MAY_TAKE_NS;
    /* not from here: its death is just being told to others */
    alarm_set(&upgrade_alarm, usher_os_now_ns());
}

/* ---- the trial ----------------------------------------------------------------------------- */

static void become_trial(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    usher_os_close_range(STDERR_FILENO + 1, ~0u);
    spawn_reset_signals(false);
    spawn_reset_file_limit();
    self_become("usher-launcher", options, (const char *const[]){"--version", NULL});
    _exit(127);
}

void upgrade_begin(void) {
    if (step != IDLE || self_path() == NULL)
        return;
    pid_t child = fork();
    if (child == 0)
        become_trial();
    step = TRYING;
    if (child < 0) {
        give_up("fork", strerror(errno));
        return;
    }
    trial = child;
    alarm_set(&upgrade_alarm, usher_os_now_ns() + TRIAL_MAY_TAKE_NS);
}

bool upgrade_child_reaped(pid_t pid, int status) {
    if (pid != trial)
        return false;
    trial = 0;
    if (step != TRYING)
        return true;
    alarm_cancel(&upgrade_alarm);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        give_up("trial", "the new program does not run: --version did not exit with 0 within 10 s");
        return true;
    }
    step = ENDING_MANAGER;
    manager_hold();
    if (manager_pid() == 0)
        upgrade_manager_died();
    return true;
}

void upgrade_cancel(void) {
    alarm_cancel(&upgrade_alarm);
    step = IDLE;
}

static void on_due(alarm_t *alarm) {
    (void)alarm;
    if (step == TRYING)
        kill(trial, SIGKILL);
    else
        exec_when_settled();
}
