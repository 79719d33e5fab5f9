/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/stop.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/directory.h"
#include "launcher/endpoints.h"
#include "launcher/instances.h"
#include "launcher/link.h"
#include "launcher/log.h"
#include "launcher/loop.h"
#include "launcher/manager.h"
#include "launcher/notify.h"
#include "launcher/proc.h"
#include "launcher/standby.h"
#include "launcher/state.h"
#include "launcher/upgrade.h"
#include "os/os.h"

#define MANAGER_MAY_TAKE_NS (20 * NS_PER_S) /* from `terminate` to `quit` */
#define PROGRAMS_MAY_TAKE_NS (5 * NS_PER_S) /* from TERM to KILL, without a manager */
#define MANAGER_MAY_LINGER_NS NS_PER_S      /* from `quit` to its exit */
#define KILLED_MAY_TAKE_NS (10 * NS_PER_S)  /* then what does not die is left */
#define KILL_AGAIN_NS (20 * NS_PER_MS)
#define CHILDREN_MAX 1024

static enum { GOING_ON, ASKED, TERMINATING, KILLING, FINISHED } state;
static bool remove_files;
static int exit_code;
static uint64_t killing_since_ns;

static void on_due(alarm_t *alarm);
static alarm_t stop_alarm = {.on_due = on_due};

/* ---- by KILL ------------------------------------------------------------------------------- */

static bool has_children(void) {
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

/* Programs that left their group have become children of ours when their parents died. */
static void kill_children(bool with_manager) {
    pid_t pids[CHILDREN_MAX];
    size_t count = proc_list_children(getpid(), pids, CHILDREN_MAX);
    for (size_t i = 0; i < count; i++) {
        if (pids[i] != manager_pid() || with_manager)
            kill(pids[i], SIGKILL);
    }
}

static void finish(void) {
    state = FINISHED;
    alarm_cancel(&stop_alarm);
    if (instances_alive() == 0)
        state_clear();
    log_info("launcher.stopped", "removed", remove_files ? "yes" : "no", NULL);
    if (remove_files)
        directory_remove();
    else
        directory_remove_sockets();
    loop_stop(exit_code);
}

static void kill_more(void) {
    uint64_t now = usher_os_now_ns();
    if (now - killing_since_ns > KILLED_MAY_TAKE_NS) {
        log_error("launcher.stopped", "error", "some processes do not die", NULL);
        finish();
        return;
    }
    instances_signal_all(SIGKILL); /* those of a former launcher are not our children */
    kill_children(now - killing_since_ns > MANAGER_MAY_LINGER_NS);
    alarm_set(&stop_alarm, now + KILL_AGAIN_NS);
    stop_check();
}

static void begin_killing(bool remove, int code) {
    if (state >= KILLING)
        return;
    state = KILLING;
    remove_files = remove;
    exit_code = code;
    killing_since_ns = usher_os_now_ns();
    notify_stopping();
    upgrade_cancel();
    standby_end();
    manager_end();
    instances_signal_all(SIGKILL);
    endpoints_close_all();
    kill_more();
}

void stop_now(bool remove) {
    begin_killing(remove, 0);
}

void stop_by_force(int code) {
    if (state == FINISHED)
        return;
    manager_kill();
    begin_killing(!directory_has_live_server() && directory_try_finish() == 0, code);
}

void stop_check(void) {
    if (state == TERMINATING && instances_alive() == 0)
        stop_by_force(0);
    else if (state == KILLING && !has_children() && instances_alive() == 0)
        finish();
}

/* ---- politely ------------------------------------------------------------------------------ */

static void on_due(alarm_t *alarm) {
    (void)alarm;
    if (state == KILLING) {
        kill_more();
        return;
    }
    log_warn("launcher.stopping", "by", "force", NULL);
    stop_by_force(state == ASKED ? 1 : 0);
}

static void terminate_programs(void) {
    state = TERMINATING;
    manager_end();
    instances_signal_all(SIGTERM);
    alarm_set(&stop_alarm, usher_os_now_ns() + PROGRAMS_MAY_TAKE_NS);
    stop_check();
}

void stop_on_signal(void) {
    if (state != GOING_ON) {
        stop_by_force(1);
        return;
    }
    log_info("launcher.stopping", NULL);
    upgrade_cancel();
    standby_end();
    if (!link_is_open()) {
        terminate_programs();
        return;
    }
    state = ASKED;
    link_send(message_begin("terminate"));
    alarm_set(&stop_alarm, usher_os_now_ns() + MANAGER_MAY_TAKE_NS);
}

void stop_without_manager(void) {
    if (state == ASKED)
        terminate_programs();
}
