/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/directory.h"
#include "launcher/endpoints.h"
#include "launcher/files.h"
#include "launcher/handover.h"
#include "launcher/instances.h"
#include "launcher/link.h"
#include "launcher/log.h"
#include "launcher/loop.h"
#include "launcher/manager_user.h"
#include "launcher/memory.h"
#include "launcher/notify.h"
#include "launcher/own_log.h"
#include "launcher/permit.h"
#include "launcher/proc.h"
#include "launcher/snapshot.h"
#include "launcher/spawn.h"
#include "launcher/state.h"
#include "launcher/stopped.h"
#include "launcher/watchdog.h"
#include "os/os.h"

#define CONTROL_BACKLOG 64
#define LINK_BUFFER_BYTES (1 << 20)
#define DEATHS_MAX 10 /* in a row without `ready` */
#define GIVEN_UP_PAUSE_NS (60 * NS_PER_S)
#define SNAPSHOT_PIECE_BYTES 3000
#define RECORD "manager"
#define STARTING_MAY_TAKE 4 /* times what a running one may be silent */

static const uint64_t pauses_ns[] = {200 * NS_PER_MS, 500 * NS_PER_MS, NS_PER_S, 2 * NS_PER_S,
                                     5 * NS_PER_S};
#define PAUSES (sizeof(pauses_ns) / sizeof(pauses_ns[0]))

static const launch_options_t *options;
static const manager_events_t *events;
static int control_fd = -1;
static pid_t pid;         /* 0 = does not run */
static spawn_user_t user; /* who it is; who we are unless is_other */
static bool ready, ending, held;
static unsigned deaths;
static uint64_t started_ns;

static void on_restart_due(alarm_t *alarm);
static alarm_t restart_alarm = {.on_due = on_restart_due};

pid_t manager_pid(void) {
    return pid;
}

static void on_hung(uint64_t silent_ns);

/* ---- control socket ------------------------------------------------------------------------ */

int manager_open(const launch_options_t *launch_options, const manager_events_t *manager_events,
                 failure_t *failure) {
    options = launch_options;
    events = manager_events;
    if (manager_user_open(options, failure) < 0)
        return -1;
    watchdog_open(on_hung);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *folder = directory_path();
    if (strlen(folder) + sizeof("/control.sock") > sizeof(address.sun_path))
        return fail(failure, "control", ENAMETOOLONG, "%s/control.sock is longer than %zu bytes",
                    folder, sizeof(address.sun_path) - 1);
    strcat(strcpy(address.sun_path, folder), "/control.sock");
    control_fd = handover_take_socket_at(address.sun_path);
    if (control_fd >= 0)
        return 0;
    unlinkat(directory_fd(), "control.sock", 0);
    control_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (control_fd < 0 || bind(control_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        fchmodat(directory_fd(), "control.sock", 0600, 0) < 0 ||
        listen(control_fd, CONTROL_BACKLOG) < 0)
        return fail(failure, "control", errno, "listen on %s/control.sock: %s", folder,
                    strerror(errno));
    return 0;
}

/* ---- starting ------------------------------------------------------------------------------ */

/* What it may not open itself, in the order of protocol.h. Without the channel it is told no more:
 * it says what it lacks and dies. */
static void send_hello(const message_t *hello) {
    int descriptors[LINK_DESCRIPTORS_MAX] = {control_fd, -1, -1, -1};
    failure_t failure;
    if (files_open_channel(options->config, descriptors + 1, &failure) < 0)
        log_error("channel.failed", "step", failure.step, "error", failure.text, NULL);
    link_send_with(hello, descriptors);
    files_close(descriptors + 1, LINK_DESCRIPTORS_MAX - 1);
}

static void greet(void) {
    directory_remove_pages();
    message_t *message = message_begin("hello");
    message_add(message, "runtime_dir", directory_path());
    message_add_number(message, "launcher_pid", getpid());
    message_add_number(message, "uid", geteuid());
    message_add(message, "version", USHER_RELEASE);
    if (user.is_other)
        message_add(message, "manager_user", user.name);
    if (options->config != NULL)
        message_add(message, "config", options->config);
    if (own_log_path() != NULL)
        message_add(message, "log", own_log_path());
    message_add(message, "mode", mode_name(options->mode));
    send_hello(message);
    endpoints_list();
    instances_list();
    memories_list();
    int64_t endpoints = endpoints_highest_id(), instances = instances_highest_id();
    message = message_begin("welcome");
    message_add_number(message, "next_id", (endpoints > instances ? endpoints : instances) + 1);
    link_send(message);
    link_end_greeting();
}

/* In the child. The manager dies with the launcher: its instances go on, a next launcher starts a
 * next manager. */
static void become_manager(int link, pid_t launcher) {
    failure_t failure;
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        _exit(127);
    if (link != USHER_MANAGER_LINK_FD)
        dup2(link, USHER_MANAGER_LINK_FD);
    else
        fcntl(link, F_SETFD, 0);
    usher_os_close_range(USHER_MANAGER_LINK_FD + 1, ~0u);
    spawn_reset_signals(false);
    spawn_reset_file_limit();
    if (manager_user_become(&user, &failure) < 0) {
        log_error("manager.exec-failed", "step", failure.step, "error", failure.text, NULL);
        _exit(127);
    }
    /* last: becoming somebody else takes it back */
    if (usher_os_set_parent_death_signal(SIGKILL) < 0 || getppid() != launcher)
        _exit(127);
    char *words[] = {(char *)(uintptr_t)options->node, (char *)(uintptr_t)options->usherd,
                     (char *)(uintptr_t) "--runtime-dir", (char *)(uintptr_t)directory_path(),
                     NULL};
    execvpe(words[0], words, manager_user_environment());
    log_error("manager.exec-failed", "program", options->node, "error", strerror(errno), NULL);
    _exit(127);
}

static void on_link_closed(void) {
    link_close();
    if (ending || pid == 0)
        return;
    log_warn("manager.link-closed", "pid", decimal(pid).text, NULL);
    kill(pid, SIGKILL);
}

/* That it is dead when a next launcher starts another one: usually it dies with this one. */
static void record(void) {
    proc_identity_t identity;
    message_t *message = message_begin(RECORD);
    message_add(message, "era", state_era());
    message_add_number(message, "birth",
                       proc_identify(pid, &identity) == 0 ? (int64_t)identity.birth : 0);
    state_save_or_log(pid, message);
}

static void on_message(const message_t *message) {
    watchdog_heard();
    events->on_message(message);
}

static int start(failure_t *failure) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return fail(failure, "socketpair", errno, "socketpair: %s", strerror(errno));
    int bytes = LINK_BUFFER_BYTES;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    manager_user_choose(options, &user);
    pid_t launcher = getpid();
    pid_t child = fork();
    if (child == 0)
        become_manager(ends[1], launcher);
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return fail(failure, "fork", errno, "fork: %s", strerror(errno));
    }
    pid = child;
    record();
    if (link_open(ends[0], on_message, on_link_closed) < 0) {
        close(ends[0]);
        kill(child, SIGKILL);
    }
    return 0;
}

static void start_later(void);

void manager_start(void) {
    failure_t failure;
    ready = false;
    started_ns = usher_os_now_ns();
    /* it reads usher.conf as it is now */
    if (permit_read_config(options, &failure) < 0)
        log_error("allow.failed", "error", failure.text, NULL);
    if (start(&failure) < 0) {
        log_error("manager.start-failed", "step", failure.step, "error", failure.text, NULL);
        deaths++;
        start_later();
        return;
    }
    log_info("manager.started", "pid", decimal(pid).text, NULL);
    greet();
    watchdog_begin(STARTING_MAY_TAKE * (uint64_t)options->watchdog_ms * NS_PER_MS);
}

int manager_reread_config(failure_t *failure) {
    if (options->config == NULL)
        return fail(failure, "config", ENOENT, "there is no usher.conf");
    if (permit_read_config(options, failure) < 0)
        return -1;
    int fd = files_open_config(options->config);
    return fd >= 0
               ? fd
               : fail(failure, "config", errno, "open %s: %s", options->config, strerror(errno));
}

static void on_restart_due(alarm_t *alarm) {
    (void)alarm;
    manager_start();
}

void manager_is_ready(void) {
    if (!ready) {
        notify_ready();
        watchdog_end(); /* until it says `alive` the first time */
    }
    ready = true;
    deaths = 0;
}

void manager_is_alive(void) {
    if (ready)
        watchdog_begin((uint64_t)options->watchdog_ms * NS_PER_MS);
}

/* ---- hanging ------------------------------------------------------------------------------- */

/* What its threads are doing, in lines as long as the log allows. */
static void log_snapshot(void) {
    static char text[32768];
    size_t length = snapshot_describe(pid, text, sizeof(text));
    for (size_t at = 0, part = 1; at < length; part++) {
        char piece[SNAPSHOT_PIECE_BYTES + 1];
        size_t size = length - at < SNAPSHOT_PIECE_BYTES ? length - at : SNAPSHOT_PIECE_BYTES;
        const char *line_end = size < length - at ? memrchr(text + at, '\n', size) : NULL;
        if (line_end != NULL)
            size = (size_t)(line_end + 1 - (text + at));
        memcpy(piece, text + at, size);
        piece[size] = '\0';
        log_error("manager.snapshot", "pid", decimal(pid).text, "part", decimal((int64_t)part).text,
                  "text", piece, NULL);
        at += size;
    }
}

static void on_hung(uint64_t silent_ns) {
    if (pid == 0 || ending)
        return;
    log_error("manager.hung", "pid", decimal(pid).text, "silent_ms",
              decimal((int64_t)(silent_ns / NS_PER_MS)).text, NULL);
    log_snapshot();
    manager_kill();
}

/* ---- dying --------------------------------------------------------------------------------- */

static void start_later(void) {
    uint64_t pause = pauses_ns[deaths < PAUSES ? deaths - 1 : PAUSES - 1];
    if (deaths >= DEATHS_MAX) {
        pause = GIVEN_UP_PAUSE_NS;
        failure_t failure;
        notify_status("there is no manager: it died ten times in a row; see the log");
        log_error("manager.given-up", "deaths", decimal(deaths).text, "next_try_s",
                  decimal((int64_t)(pause / NS_PER_S)).text, NULL);
        if (stopped_tell_workers(directory_path(), &failure) < 0)
            log_warn("manager.given-up", "error", failure.text, NULL);
        events->on_gave_up();
    }
    if (!ending && !held)
        alarm_set(&restart_alarm, usher_os_now_ns() + pause);
}

static void log_death(pid_t child, int status) {
    bool by_signal = WIFSIGNALED(status);
    int64_t lived_ms = (int64_t)((usher_os_now_ns() - started_ns) / NS_PER_MS);
    decimal_t number = decimal(by_signal ? WTERMSIG(status) : WEXITSTATUS(status));
    (ending ? log_info : log_error)(
        "manager.exited", "pid", decimal(child).text, by_signal ? "exit_signal" : "exit_code",
        number.text, "lived_ms", decimal(lived_ms).text, "ready", ready ? "yes" : "no", NULL);
}

bool manager_child_reaped(pid_t child, int status) {
    if (child != pid)
        return false;
    pid = 0;
    watchdog_end();
    state_remove(RECORD, child);
    link_read_rest(); /* it may have said `quit` */
    link_close();
    log_death(child, status);
    events->on_died();
    if (ending || held)
        return true;
    if (ready) {
        manager_start();
    } else {
        deaths++;
        start_later();
    }
    return true;
}

void manager_kill(void) {
    if (pid != 0)
        kill(pid, SIGKILL);
}

void manager_hold(void) {
    held = true;
    alarm_cancel(&restart_alarm);
    manager_kill();
}

void manager_release(void) {
    held = false;
    if (!ending && pid == 0)
        manager_start();
}

void manager_end(void) {
    ending = true;
    alarm_cancel(&restart_alarm);
    watchdog_end();
    link_close();
}
