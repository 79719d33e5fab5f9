/* SPDX-License-Identifier: Apache-2.0 */
/* Who begins a launcher again: its standby when it is killed, itself for an upgrade; and managers
 * that hang. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

static void bind_endpoint(launcher_t *l, int id) {
    tell(l, "bind", f("id=%d", id), f("name=e%d", id), NULL);
    hear(l, "bound", id);
}

static pid_t start_on(launcher_t *l, int id, int endpoint, const char *role, const char *word) {
    tell(l, "start", f("id=%d", id), f("endpoint=%d", endpoint), f("arg=%s", helper_program()),
         f("arg=%s", role), f("arg=%s", word), NULL);
    return (pid_t)number_field(hear(l, "started", id), "pid");
}

static pid_t start(launcher_t *l, int id, int endpoint) {
    pid_t pid = start_on(l, id, endpoint, "serve", "0");
    hear(l, "ready", id);
    return pid;
}

static bool answers(launcher_t *l, const char *name, pid_t pid) {
    const char *text = converse(in_runtime(l, name), PATIENCE_MS);
    return text != NULL && atoi(text) == pid;
}

static bool log_has(launcher_t *l, const char *text) {
    return strstr(read_text(l->log), text) != NULL;
}

static int log_count(launcher_t *l, const char *text) {
    int count = 0;
    for (const char *at = read_text(l->log); (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

/* ---- standby -------------------------------------------------------------------------------- */

static bool is_named(pid_t pid, const char *name) {
    return strcmp(read_text(f("/proc/%d/cmdline", pid)), name) == 0; /* its first word */
}

/* The living child of this name, 0 = there is none (or more than one: `count` tells). */
static pid_t find_child(pid_t parent, const char *name, int *count) {
    char *text = strdup(read_text(f("/proc/%d/task/%d/children", parent, parent))), *end;
    pid_t found = 0;
    *count = 0;
    for (char *at = text;; at = end) {
        pid_t pid = (pid_t)strtol(at, &end, 10);
        if (end == at)
            break;
        if (!is_alive(pid) || !is_named(pid, name))
            continue;
        found = pid;
        ++*count;
    }
    free(text);
    return *count == 1 ? found : 0;
}

static pid_t standby_of(launcher_t *l) {
    int count;
    pid_t pid = 0;
    comes_true((pid = find_child(l->pid, "usher-standby", &count)) != 0, PATIENCE_MS);
    return pid;
}

static void test_standby(void) {
    launcher_t l;
    launcher_open(&l, "embedded");
    bind_endpoint(&l, 1);
    pid_t pid = start(&l, 2, 1), standby = standby_of(&l), former = l.pid;
    ok(standby > 0, "an embedded launcher has a standby, whose name says so");
    ok(getpgid(standby) == standby && getsid(standby) == standby, "in a session of its own");
    is_int(count_open_files(standby) <= 3 + 1 + 2, true, "with nothing open but one descriptor");
    kill(l.pid, SIGKILL);
    launcher_wait(&l, PATIENCE_MS);
    ok(launcher_meet(&l, PATIENCE_MS), "killed, it is begun again");
    is_int(l.pid, standby, "by the standby");
    ok(is_named(l.pid, "usher-launcher"), "which is a launcher now");
    is_int(number_field(hear(&l, "instance", 2), "pid"), pid, "that knows the programs");
    ok(answers(&l, "sockets/e1", pid), "which serve on");
    ok(log_has(&l, f("\"launcher.killed\",\"pid\":%d", former)), "the log tells of it");

    standby = standby_of(&l);
    ok(standby > 0, "it has a standby, too");
    kill(standby, SIGKILL);
    pid_t second = 0;
    ok(comes_true((second = standby_of(&l)) != standby && second != 0, PATIENCE_MS),
       "a standby that is killed is replaced");
    kill(second, SIGKILL);
    pid_t third = 0;
    ok(comes_true((third = standby_of(&l)) != second && third != 0, PATIENCE_MS),
       "again and again");

    kill(third, SIGSTOP); /* so that it sees nothing before it dies */
    kill(l.pid, SIGKILL);
    kill(third, SIGKILL);
    launcher_wait(&l, PATIENCE_MS);
    waitpid(third, NULL, 0);
    ok(answers(&l, "sockets/e1", pid), "both killed: programs serve on");
    launcher_start(&l, (const char *const[]){"--mode", "embedded", NULL});
    ok(launcher_meet(&l, PATIENCE_MS), "the next launcher comes from elsewhere");
    is_int(number_field(hear(&l, "instance", 2), "pid"), pid, "and takes over all the same");
    standby = standby_of(&l);
    ok(launcher_close(&l), "a launcher that is told to end");
    ok(!is_alive(standby) && !is_alive(pid), "takes its standby with it");
}

/* A web server begins a launcher at the same moment. */
static void test_race(void) {
    for (int round = 0; round < 5; round++) {
        launcher_t l;
        launcher_open(&l, "embedded");
        pid_t killed = l.pid, standby = standby_of(&l);
        kill(l.pid, SIGKILL);
        waitpid(killed, NULL, 0);
        launcher_start(&l, (const char *const[]){"--mode", "embedded", NULL});
        pid_t other = l.pid;
        l.pid = 0;
        if (!ok(launcher_meet(&l, PATIENCE_MS), "one of the two is the launcher"))
            printf("# %s\n", read_text(l.log));
        pid_t loser = l.pid == other ? standby : other;
        int status = -1;
        ok(comes_true(waitpid(loser, &status, WNOHANG) == loser, PATIENCE_MS) &&
               WIFEXITED(status) && WEXITSTATUS(status) == 0,
           "the other leaves without a word");
        ok(launcher_close(&l), "the launcher ends");
    }
}

static bool has_manager_waiting(launcher_t *l) {
    return poll(&(struct pollfd){.fd = l->meeting_fd, .events = POLLIN}, 1, 0) > 0;
}

static void test_crash_loop(void) {
    launcher_t l;
    launcher_open(&l, "embedded");
    int revivals = 0;
    pid_t standby;
    do {
        standby = standby_of(&l);
        kill(l.pid, SIGKILL);
        launcher_wait(&l, PATIENCE_MS);
        comes_true(log_has(&l, "launcher.pausing") || has_manager_waiting(&l), PATIENCE_MS);
    } while (!log_has(&l, "launcher.pausing") && launcher_meet(&l, 0) && ++revivals < 20);
    is_int(revivals, 10, "begun again ten times in a minute, it crashes again: then comes a pause");
    launcher_start(&l, (const char *const[]){"--mode", "embedded", NULL});
    ok(launcher_meet(&l, PATIENCE_MS), "a web server need not wait for that");
    kill(standby, SIGKILL); /* it would wake up much later */
    waitpid(standby, NULL, 0);
    ok(launcher_close(&l), "the launcher ends");
}

static void test_no_standby(void) {
    launcher_t l;
    launcher_open(&l, "external");
    int count;
    bind_endpoint(&l, 1);
    ok(find_child(l.pid, "usher-standby", &count) == 0 && count == 0,
       "what systemd begins again has no standby");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- upgrade -------------------------------------------------------------------------------- */

static void test_upgrade(const char *mode) {
    launcher_t l;
    launcher_open(&l, mode);
    tell(&l, "ready", NULL);
    bind_endpoint(&l, 1);
    bind_endpoint(&l, 9);
    pid_t pid = start(&l, 2, 1), launcher = l.pid, manager = l.manager_pid;
    start_on(&l, 5, 1, "report", "");
    hear(&l, "exited", 5);
    int queued = connect_to(in_runtime(&l, "sockets/e9"));
    int calling = connect_to(in_runtime(&l, "control.sock"));
    bool embedded = strcmp(mode, "embedded") == 0;
    pid_t standby = embedded ? standby_of(&l) : 0;
    start_on(&l, 6, 1, "serve", "0"); /* may still be starting */
    tell(&l, "upgrade", NULL);
    ok(comes_true(!is_alive(manager), PATIENCE_MS), "upgrade, %s: the manager is ended", mode);
    l.pid = 0;
    if (!ok(launcher_meet(&l, PATIENCE_MS), "a new one is started"))
        printf("# %s\n", read_text(l.log));
    is_int(l.pid, launcher, "by the same launcher");
    ok(log_has(&l, "launcher.upgrading"), "which has begun its program anew");
    is_int(number_field(hear(&l, "instance", 2), "pid"), pid, "programs go on");
    is_str(field(hear(&l, "instance", 5), "exit_code"), "0", "statuses are kept");
    ok(field(hear(&l, "endpoint", 9), "detached") == NULL, "and sockets without a program");
    ok(field(hear(&l, "endpoint", 1), "detached") == NULL, "as well as those with one");
    hear(&l, "instance", 6);
    hear(&l, "welcome", 0);
    pid_t late = start(&l, 10, 9);
    const char *text = read_all(queued, PATIENCE_MS);
    ok(text != NULL && atoi(text) == late, "a connection that waited there is served");
    close(queued);
    int served = accept(l.control_fd, NULL, NULL);
    ok(served >= 0, "so is one to the control socket");
    close(served);
    close(calling);
    kill(pid, SIGKILL);
    const packet_t *exited = hear(&l, "exited", 2);
    ok(number_field(exited, "exit_signal") == 9 && field(exited, "exit_unknown") == NULL,
       "it is still the parent: exit statuses are known");
    tell(&l, "start", "id=11", "endpoint=9", f("arg=%s", helper_program()), "arg=report", NULL);
    text = field(hear(&l, "exited", 11), "output");
    ok(strstr(text, "\nfd 3") == NULL && strstr(text, "fd 2 pipe\n") != NULL,
       "programs inherit nothing of all that");
    if (embedded)
        ok(comes_true(!is_alive(standby) && standby_of(&l) != 0, PATIENCE_MS),
           "the standby is new");
    ok(count_open_files(l.pid) < 30, "nothing is left open");
    ok(launcher_close(&l), "the launcher ends");
}

/* Only root may replace the copy of the program from which all tests run. */
static void test_broken_upgrade(void) {
    launcher_t l;
    launcher_open(&l, "run");
    tell(&l, "ready", NULL);
    bind_endpoint(&l, 1);
    pid_t pid = start(&l, 2, 1), manager = l.manager_pid;
    char good[256];
    snprintf(good, sizeof(good), "%s.good", launcher_program());
    rename(launcher_program(), good);
    tell(&l, "upgrade", NULL);
    ok(comes_true(log_count(&l, "launcher.upgrade-failed") == 1, PATIENCE_MS),
       "there is no new program: that is told");
    make_file(launcher_program(), "#!/bin/sh\nexit 3\n", 0755);
    tell(&l, "upgrade", NULL);
    ok(comes_true(log_count(&l, "launcher.upgrade-failed") == 2, PATIENCE_MS),
       "it is broken: as well");
    ok(is_alive(manager), "and the manager was not even ended");
    make_file(launcher_program(), "#!/bin/sh\nrm \"$0\"\n", 0755);
    tell(&l, "upgrade", NULL);
    ok(comes_true(log_count(&l, "launcher.upgrade-failed") == 3, PATIENCE_MS),
       "it is gone when it is to be begun: as well");
    rename(good, launcher_program());
    ok(launcher_meet(&l, PATIENCE_MS), "the former one goes on with another manager");
    hear(&l, "welcome", 0);
    tell(&l, "ready", NULL);
    start_on(&l, 3, 1, "serve", "0");
    is_int(number_field(hear(&l, "ready", 3), "id"), 3, "all goes on");
    tell(&l, "upgrade", NULL);
    ok(comes_true(log_has(&l, "launcher.adopted"), PATIENCE_MS) && launcher_meet(&l, PATIENCE_MS),
       "the next attempt succeeds");
    is_int(number_field(hear(&l, "instance", 2), "pid"), pid, "and programs have seen nothing");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- managers that hang ---------------------------------------------------------------------- */

static void open_watched(launcher_t *l, const char *limit_ms) {
    launcher_prepare(l);
    launcher_start(l, (const char *const[]){"--mode", "run", "--watchdog-ms", limit_ms, NULL});
    launcher_meet(l, PATIENCE_MS);
}

static void test_watchdog(void) {
    launcher_t l;
    open_watched(&l, "3000"); /* we may not run for some of that, on a machine that is busy */
    pid_t manager = l.manager_pid;
    tell(&l, "ready", NULL);
    sleep_ms(5000);
    ok(is_alive(manager), "a manager that never said alive is not watched");
    for (int i = 0; i < 25; i++) {
        tell(&l, "alive", NULL);
        sleep_ms(200);
    }
    ok(is_alive(manager), "one that says it lives");
    ok(comes_true(!is_alive(manager), PATIENCE_MS), "one that falls silent is killed");
    ok(log_has(&l, "manager.hung"), "the log says why");
    ok(log_has(&l, "manager.snapshot") && log_has(&l, "thread"), "and what it was doing");
    ok(launcher_meet(&l, PATIENCE_MS), "and the next one is started");

    /* one that hangs while it starts */
    manager = l.manager_pid;
    ok(comes_true(!is_alive(manager), PATIENCE_MS) && launcher_meet(&l, PATIENCE_MS),
       "one that never becomes ready is killed as well");

    /* a launcher that could not listen */
    manager = l.manager_pid;
    tell(&l, "ready", NULL);
    tell(&l, "alive", NULL);
    bind_endpoint(&l, 1); /* heard */
    kill(l.pid, SIGSTOP);
    sleep_ms(5000);
    kill(l.pid, SIGCONT);
    tell(&l, "alive", NULL);
    bind_endpoint(&l, 2);
    ok(is_alive(manager), "a launcher that was stopped itself does not blame the manager");
    tell(&l, "quit", "remove=1", NULL);
    launcher_leave(&l);
    is_int(launcher_wait(&l, PATIENCE_MS), 0, "the launcher ends");
    launcher_remove(&l);
}

static void test_systemd_watchdog(void) {
    launcher_t l;
    launcher_prepare(&l);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", l.base);
    int systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bind(systemd, (struct sockaddr *)&address, sizeof(address));
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    setenv("WATCHDOG_USEC", "200000", 1);
    launcher_start(&l, (const char *const[]){"--mode", "external", NULL});
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    launcher_meet(&l, PATIENCE_MS);
    char text[128] = "";
    for (int i = 0; i < 3; i++) {
        ssize_t length = recv(systemd, text, sizeof(text) - 1, 0);
        text[length > 0 ? length : 0] = '\0';
    }
    is_str(text, "WATCHDOG=1", "systemd is told that the launcher lives");
    pid_t manager = l.manager_pid;
    tell(&l, "upgrade", NULL);
    ok(comes_true(!is_alive(manager), PATIENCE_MS) && launcher_meet(&l, PATIENCE_MS),
       "after an upgrade");
    while (recv(systemd, text, sizeof(text), MSG_DONTWAIT) > 0)
        continue;
    ssize_t length = recv(systemd, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    is_str(text, "WATCHDOG=1", "it is told as before");
    ok(memmem(read_text(f("/proc/%d/environ", l.manager_pid)), 4096, "WATCHDOG_USEC", 13) == NULL,
       "the manager does not inherit that");
    ok(launcher_close(&l), "the launcher ends");
    close(systemd);
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    test_standby();
    test_race();
    test_crash_loop();
    test_no_standby();
    test_upgrade("run");
    test_upgrade("embedded");
    test_watchdog();
    test_systemd_watchdog();
}

int main(void) {
    run_for_users(suite);
    if (geteuid() == 0)
        test_broken_upgrade();
    return done_testing();
}
