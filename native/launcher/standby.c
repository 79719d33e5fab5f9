/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/standby.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "launcher/log.h"
#include "launcher/loop.h"
#include "launcher/self.h"
#include "launcher/spawn.h"
#include "os/os.h"

#define NAME "usher-standby"
#define REVIVALS_MAX 10             /* launchers begun again … */
#define REVIVALS_NS (60 * NS_PER_S) /* … within this time */
#define SHORT_LIFE_NS (10 * NS_PER_S)

static const uint64_t pauses_ns[] = {200 * NS_PER_MS, NS_PER_S, 5 * NS_PER_S, 30 * NS_PER_S};
#define PAUSES (sizeof(pauses_ns) / sizeof(pauses_ns[0]))

/* ---- in the launcher ----------------------------------------------------------------------- */

static const launch_options_t *options;
static pid_t pid;
static bool ending;
static uint64_t started_ns;
static unsigned short_lives;

static void start(void);

static void on_due(alarm_t *alarm) {
    (void)alarm;
    start();
}

static alarm_t restart_alarm = {.on_due = on_due};

pid_t standby_pid(void) {
    return pid;
}

static void start_later(void) {
    uint64_t now = usher_os_now_ns();
    short_lives = now - started_ns < SHORT_LIFE_NS ? short_lives + 1 : 0;
    uint64_t pause =
        short_lives == 0 ? 0 : pauses_ns[short_lives < PAUSES ? short_lives - 1 : PAUSES - 1];
    alarm_set(&restart_alarm, now + pause);
}

static void add_number(char text[32], int64_t number) {
    snprintf(text, 32, "%" PRId64, number);
}

/* In the child. Its own session: what is sent to the launcher's group does not reach it. */
static void become_standby(pid_t launcher) {
    char launcher_text[32], since_text[32], count_text[32];
    add_number(launcher_text, launcher);
    add_number(count_text, options->revivals);
    add_number(since_text, (int64_t)options->revived_since_ns);
    setsid();
    usher_os_close_range(STDERR_FILENO + 1, ~0u);
    spawn_reset_signals(false);
    spawn_reset_file_limit();
    const char *const further[] = {"--standby-of",    launcher_text, "--revivals", count_text,
                                   "--revived-since", since_text,    NULL};
    self_become(NAME, options, further);
    log_error("standby.exec-failed", "program", self_path(), "error", strerror(errno), NULL);
    _exit(127);
}

static void start(void) {
    pid_t launcher = getpid();
    started_ns = usher_os_now_ns();
    pid_t child = fork();
    if (child == 0)
        become_standby(launcher);
    if (child < 0) {
        log_error("standby.failed", "error", strerror(errno), NULL);
        start_later();
        return;
    }
    pid = child;
}

void standby_start(const launch_options_t *launch_options) {
    options = launch_options;
    start();
    if (options->former_standby > 0) /* of the program that we were before an upgrade */
        kill(options->former_standby, SIGKILL);
}

void standby_end(void) {
    ending = true;
    alarm_cancel(&restart_alarm);
    if (pid != 0)
        kill(pid, SIGKILL);
}

bool standby_child_reaped(pid_t child) {
    if (child != pid)
        return false;
    pid = 0;
    if (ending)
        return true;
    log_warn("standby.exited", "pid", decimal(child).text, NULL);
    start_later();
    return true;
}

/* ---- in the standby ------------------------------------------------------------------------ */

static void sleep_ns(uint64_t ns) {
    struct timespec rest = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        continue;
}

/* False when it cannot be known. */
static bool await_death(pid_t launcher) {
    int pidfd = usher_os_pidfd_open(launcher);
    if (getppid() != launcher) /* it died before; the number may be another's */
        return true;
    struct pollfd death = {.fd = pidfd, .events = POLLIN};
    while (pidfd >= 0 && poll(&death, 1, -1) < 0 && errno == EINTR)
        continue;
    if (pidfd < 0 || (death.revents & POLLIN) == 0) {
        log_error("standby.failed", "error", strerror(errno), NULL);
        return false;
    }
    close(pidfd);
    return true;
}

int standby_run(const launch_options_t *launch_options) {
    usher_os_set_name(NAME);
    if (!await_death(launch_options->standby_of))
        return 1;
    uint64_t now = usher_os_now_ns();
    int64_t count = launch_options->revivals;
    uint64_t since = launch_options->revived_since_ns;
    if (now - since >= REVIVALS_NS) {
        count = 0;
        since = now;
    }
    log_error("launcher.killed", "pid", decimal(launch_options->standby_of).text, "revivals",
              decimal(count + 1).text, NULL);
    if (count >= REVIVALS_MAX) {
        log_error("launcher.pausing", "pause_s",
                  decimal((int64_t)((since + REVIVALS_NS - now) / NS_PER_S)).text, NULL);
        sleep_ns(since + REVIVALS_NS - now);
        count = 0;
        since = usher_os_now_ns();
    }
    char count_text[32], since_text[32];
    add_number(count_text, count + 1);
    add_number(since_text, (int64_t)since);
    const char *const further[] = {"--revivals", count_text, "--revived-since", since_text, NULL};
    self_become("usher-launcher", launch_options, further);
    log_error("launcher.failed", "step", "exec", "program", self_path(), "error", strerror(errno),
              NULL);
    return 1;
}
