/* SPDX-License-Identifier: Apache-2.0 */
/* How things end: process groups, the last look, quit, signals, and launchers that are not alone. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel/channel.h"
#include "channel/manager.h"
#include "launcher_harness.h"
#include "os/os.h"
#include "tap.h"

static void bind_endpoint(launcher_t *l, int id, const char *server) {
    tell(l, "bind", f("id=%d", id), f("name=e%d", id), server, NULL);
    hear(l, "bound", id);
}

/* Start the helper in a role on endpoint 1; gives its pid. */
static pid_t start(launcher_t *l, int id, const char *role, const char *word) {
    tell(l, "start", f("id=%d", id), "endpoint=1", f("arg=%s", helper_program()), f("arg=%s", role),
         f("arg=%s", word), NULL);
    return (pid_t)number_field(hear(l, "started", id), "pid");
}

/* The pid of the child that the role leave-child speaks of. */
static pid_t child_of(launcher_t *l, int id) {
    return (pid_t)atoi(field(hear(l, "output", id), "text") + strlen("child "));
}

/* ---- process groups ------------------------------------------------------------------------ */

/* Whether a program has `count` children by now, and which. */
static bool has_children(pid_t pid, int children[3], int count) {
    const char *text = read_text(f("/proc/%d/task/%d/children", pid, pid));
    return sscanf(text, "%d %d %d", &children[0], &children[1], &children[2]) == count;
}

static void test_groups(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "tag=");
    pid_t pid = start(&l, 2, "children", "3");
    int children[3];
    ok(comes_true(has_children(pid, children, 3), PATIENCE_MS), "a program with three children");
    tell(&l, "signal", "id=2", "signal=15", NULL);
    is_int(number_field(hear(&l, "exited", 2), "exit_signal"), 15, "a signal ends the program");
    ok(comes_true(!is_alive(children[0]) && !is_alive(children[1]) && !is_alive(children[2]), 4000),
       "and its children");

    pid = start(&l, 3, "children", "2");
    ok(comes_true(has_children(pid, children, 2), PATIENCE_MS), "a program with two children");
    kill(pid, SIGKILL);
    hear(&l, "exited", 3);
    ok(comes_true(!is_alive(children[0]) && !is_alive(children[1]), 4000),
       "children that survive their parent get TERM");

    /* one that ignores it, one that in addition writes for ever */
    start(&l, 4, "leave-child", "quiet");
    start(&l, 5, "leave-child", "talking");
    pid_t quiet = child_of(&l, 4), talking = child_of(&l, 5);
    uint64_t begin = now_ms();
    hear(&l, "exited", 4);
    hear(&l, "exited", 5);
    ok(now_ms() - begin < 4500, "an exit is told although children hold the output open");
    tell(&l, "forget", "id=4", NULL);
    ok(is_alive(quiet) && is_alive(talking), "children that ignore TERM");
    ok(comes_true(!is_alive(quiet) && !is_alive(talking), PATIENCE_MS), "get KILL after 5 s");
    ok(now_ms() - begin > 4500, "not earlier");

    start(&l, 6, "leave-child", "session");
    pid_t escaped = child_of(&l, 6);
    hear(&l, "exited", 6);
    ok(is_alive(escaped), "a child in a session of its own is left alone");
    pid_t serving = start(&l, 7, "serve", "0"), stopped = start(&l, 8, "serve", "0");
    kill(stopped, SIGSTOP);
    ok(launcher_close(&l), "the launcher ends");
    ok(!is_alive(escaped) && !is_alive(serving) && !is_alive(stopped), "and with it all of them");
}

/* ---- the last look ------------------------------------------------------------------------- */

static void test_finish(void) {
    launcher_t l;
    launcher_open(&l, "run");
    tell(&l, "ready", NULL);
    int server = open(in_runtime(&l, "lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(server, LOCK_SH);
    tell(&l, "finish", "first=1", NULL);
    ok(hear_within(&l, "last-look", 0, 150) == NULL, "no last look while a server registers");
    flock(server, LOCK_UN);
    ok(hear_within(&l, "last-look", 0, PATIENCE_MS) != NULL, "it comes when the server is done");
    ok(flock(server, LOCK_SH | LOCK_NB) < 0, "the lock is held");
    tell(&l, "resume", NULL);
    ok(comes_true(flock(server, LOCK_SH | LOCK_NB) == 0, PATIENCE_MS), "resume gives it back");
    tell(&l, "finish", "first=1", NULL);
    sleep_ms(50);
    tell(&l, "resume", NULL);
    flock(server, LOCK_UN);
    ok(hear_within(&l, "last-look", 0, 100) == NULL, "resume also ends the waiting for it");
    tell(&l, "finish", "first=1", NULL);
    hear(&l, "last-look", 0);
    kill(l.manager_pid, SIGKILL);
    launcher_meet(&l, PATIENCE_MS);
    ok(flock(server, LOCK_SH | LOCK_NB) == 0, "a manager that dies gives it back, too");
    close(server);
    ok(launcher_close(&l), "the launcher ends");
}

/* What a registered server has in the runtime directory. */
static void make_server(launcher_t *l, const char *name) {
    mkdir(in_runtime(l, name), 0700);
    make_file(in_runtime(l, f("%s/live", name)), "", 0600);
    chmod(in_runtime(l, name), 0500);
    make_file(in_runtime(l, f("servers/%s.1.conf", name)), "", 0600);
    make_file(in_runtime(l, f("channel/%s.cells", name)), "", 0600);
}

static void test_quit(void) {
    launcher_t l;
    launcher_open(&l, "embedded");
    make_server(&l, "nginx-1");
    make_file(in_runtime(&l, "usher.log"), "", 0600);
    bind_endpoint(&l, 1, "server=nginx-1");
    pid_t pid = start(&l, 2, "children", "3");
    hear(&l, "ready", 2);
    pid_t manager = l.manager_pid;
    tell(&l, "finish", "first=1", NULL);
    hear(&l, "last-look", 0);
    tell(&l, "quit", "remove=1", NULL);
    uint64_t begin = now_ms();
    is_int(launcher_wait(&l, PATIENCE_MS), 0, "quit remove=1: exit code 0");
    ok(now_ms() - begin >= 900, "the manager had a second to end by itself");
    ok(!is_alive(pid) && !is_alive(manager), "no process is left");
    ok(!exists(l.runtime), "no file is left");
    launcher_remove(&l);
}

/* What is not ours stays, even in a directory that was a bad choice. */
static void test_quit_spares_others(void) {
    launcher_t l;
    launcher_open(&l, "embedded");
    make_server(&l, "nginx-1");
    mkdir(in_runtime(&l, "data"), 0700);
    make_file(in_runtime(&l, "data/precious"), "", 0600);
    make_file(in_runtime(&l, "precious"), "", 0600);
    make_file(f("%s/outside", l.base), "", 0600);
    mkdir(f("%s/folder", l.base), 0700);
    make_file(f("%s/folder/live", l.base), "", 0600);
    int linked = symlink(f("%s/folder", l.base), in_runtime(&l, "apache-1"));
    linked += symlink(f("%s/outside", l.base), in_runtime(&l, "servers/link"));
    tell(&l, "quit", "remove=1", NULL);
    launcher_leave(&l);
    is_int(linked + launcher_wait(&l, PATIENCE_MS), 0, "quit remove=1 among foreign files");
    ok(exists(in_runtime(&l, "data/precious")) && exists(in_runtime(&l, "precious")),
       "spares files it does not know");
    ok(exists(f("%s/outside", l.base)) && exists(f("%s/folder/live", l.base)),
       "and what symbolic links lead to");
    ok(!exists(in_runtime(&l, "nginx-1")) && !exists(in_runtime(&l, "manager.lock")) &&
           !exists(in_runtime(&l, "channel")) && !exists(in_runtime(&l, "control.sock")),
       "but what is ours is gone");
    launcher_remove(&l);
}

static void test_quit_keeps(void) {
    launcher_t l;
    launcher_open(&l, "embedded");
    make_server(&l, "nginx-1");
    bind_endpoint(&l, 1, "server=nginx-1");
    pid_t pid = start(&l, 2, "serve", "0");
    tell(&l, "quit", "remove=0", NULL);
    launcher_leave(&l);
    is_int(launcher_wait(&l, PATIENCE_MS), 0, "quit remove=0: exit code 0");
    ok(!is_alive(pid), "the program is ended");
    ok(!exists(in_runtime(&l, "sockets/e1")) && !exists(in_runtime(&l, "nginx-1/e1")) &&
           !exists(in_runtime(&l, "control.sock")),
       "its socket is gone");
    ok(exists(in_runtime(&l, "nginx-1/live")) && exists(in_runtime(&l, "channel/nginx-1.cells")) &&
           exists(in_runtime(&l, "servers/nginx-1.1.conf")),
       "what the living server needs is still there");
    launcher_start(&l, (const char *const[]){"--mode", "embedded", NULL});
    ok(launcher_meet(&l, PATIENCE_MS), "and a next launcher can start");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- signals ------------------------------------------------------------------------------- */

static void test_terminate(void) {
    launcher_t l;
    const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (int i = 0; i < 3; i++) {
        launcher_open(&l, "run");
        kill(l.pid, signals[i]);
        ok(hear_within(&l, "terminate", 0, PATIENCE_MS) != NULL,
           "run, signal %d: the manager is asked", signals[i]);
        ok(launcher_close(&l), "and its quit ends the launcher with 0");
    }
    launcher_open(&l, "embedded");
    kill(l.pid, SIGTERM);
    ok(hear_within(&l, "terminate", 0, PATIENCE_MS) != NULL,
       "embedded, TERM: the manager is asked");
    ok(launcher_close(&l), "and its quit ends the launcher with 0");
}

static void test_force(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "tag=");
    pid_t pid = start(&l, 2, "serve", "0"), manager = l.manager_pid;
    kill(l.pid, SIGTERM);
    hear(&l, "terminate", 0);
    kill(l.pid, SIGTERM);
    int status = launcher_wait(&l, PATIENCE_MS);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "a second TERM: exit code 1");
    ok(!is_alive(pid) && !is_alive(manager) && !exists(l.runtime), "and nothing is left");
    launcher_remove(&l);

    /* channel and registrations of a living server are not taken away from it */
    launcher_open(&l, "embedded");
    make_server(&l, "nginx-1");
    int live = open(in_runtime(&l, "nginx-1/live"), O_RDWR | O_CLOEXEC);
    usher_os_lock_byte(live, 37);
    kill(l.pid, SIGTERM);
    hear(&l, "terminate", 0);
    kill(l.pid, SIGTERM);
    ok(launcher_wait(&l, PATIENCE_MS) >= 0 && exists(in_runtime(&l, "servers/nginx-1.1.conf")) &&
           !exists(in_runtime(&l, "control.sock")),
       "by force while a server lives: its files stay");
    close(live);
    launcher_remove(&l);
}

static void test_terminate_without_manager(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "tag=");
    pid_t pid = start(&l, 2, "serve", "0");
    kill(l.manager_pid, SIGKILL);
    sleep_ms(50); /* the next one comes after 200 ms */
    kill(l.pid, SIGTERM);
    is_int(launcher_wait(&l, PATIENCE_MS), 0, "TERM while no manager runs: exit code 0");
    ok(!is_alive(pid) && !exists(l.runtime), "and nothing is left");
    launcher_remove(&l);

    launcher_open(&l, "run");
    tell(&l, "ready", NULL);
    bind_endpoint(&l, 1, "tag=");
    pid = start(&l, 2, "serve", "0");
    kill(l.pid, SIGTERM);
    hear(&l, "terminate", 0);
    kill(l.manager_pid, SIGKILL);
    is_int(launcher_wait(&l, PATIENCE_MS), 0, "the manager dies when it is to end everything: 0");
    ok(!is_alive(pid) && !exists(l.runtime), "and nothing is left");
    launcher_remove(&l);
}

/* ---- more than one launcher ---------------------------------------------------------------- */

static int run_another(launcher_t *l, const char *mode) {
    pid_t first = l->pid;
    launcher_start(l, (const char *const[]){"--mode", mode, NULL});
    int status = launcher_wait(l, 15000);
    l->pid = first;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_two_launchers(void) {
    launcher_t l;
    launcher_open(&l, "embedded");
    is_int(run_another(&l, "embedded"), 0, "a second embedded launcher leaves without a word");
    is_int(run_another(&l, "external"), 3, "a second external one: exit code 3");
    is_int(run_another(&l, "run"), 3, "a second run: exit code 3");
    ok(strstr(read_text(l.log), "a manager runs there already") != NULL, "and it says why");
    bind_endpoint(&l, 1, "tag=");
    ok(exists(in_runtime(&l, "control.sock")), "the first one goes on");
    ok(launcher_close(&l), "the launcher ends");

    launcher_prepare(&l);
    mkdir(l.runtime, 0700);
    enum { COUNT = 12 };
    pid_t pids[COUNT];
    int looking = open(in_runtime(&l, "manager.lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    flock(looking, LOCK_SH); /* as a web server does that looks for a manager */
    for (int i = 0; i < COUNT; i++) {
        launcher_start(&l, (const char *const[]){"--mode", "embedded", NULL});
        pids[i] = l.pid;
    }
    sleep_ms(50);
    close(looking);
    launcher_meet(&l, PATIENCE_MS);
    ok(comes_true(({
                      int alive = 0;
                      for (int i = 0; i < COUNT; i++)
                          alive += is_alive(pids[i]);
                      alive == 1;
                  }),
                  PATIENCE_MS),
       "of %d started at once, while a server looks, one stays", COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (is_alive(pids[i]))
            l.pid = pids[i];
    }
    for (int i = 0; i < COUNT; i++) {
        if (pids[i] != l.pid)
            waitpid(pids[i], NULL, 0);
    }
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- managers that do not do their part: begun first, looked at last ------------------------ */

static launcher_t hopeless[2]; /* managers never become ready: 34 s until the launcher gives up */
static launcher_t deaf;        /* the manager does not answer `terminate`: 20 s */
static time_t deaf_since;

static void begin_hopeless(void) {
    const char *const modes[] = {"run", "embedded"};
    for (int i = 0; i < 2; i++) {
        launcher_t *l = &hopeless[i];
        launcher_prepare(l);
        mkdir(l->runtime, 0700);
        mkdir(in_runtime(l, "channel"), 0700);
        usher_manager_t *table;
        usher_error_t error;
        if (usher_manager_open(l->runtime, &table, &error) == USHER_OK)
            usher_manager_close(table);
        unlink(l->meeting); /* so that managers exit with 1 */
        launcher_start(l, (const char *const[]){"--mode", modes[i], NULL});
    }
    launcher_open(&deaf, "run");
    bind_endpoint(&deaf, 1, "tag=");
    start(&deaf, 2, "serve", "0");
    deaf_since = time(NULL);
    kill(deaf.pid, SIGTERM);
}

static void check_deaf(void) {
    int status = launcher_wait(&deaf, 60000);
    struct stat log;
    stat(deaf.log, &log); /* its last line was written at its end */
    ok(log.st_mtime - deaf_since >= 19, "a manager has 20 s for the end");
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "then it is done by force: exit code 1");
    ok(!exists(deaf.runtime), "and nothing is left");
    launcher_remove(&deaf);
}

static uint32_t state_in_table(launcher_t *l) {
    usher_channel_t *channel;
    usher_error_t error;
    if (usher_channel_open(l->runtime, "nginx-1", &channel, &error) != USHER_OK)
        return 99;
    uint32_t state = usher_channel_manager_state(channel);
    usher_channel_close(channel);
    return state;
}

static int count_in(const char *text, const char *word) {
    int count = 0;
    for (; (text = strstr(text, word)) != NULL; text++)
        count++;
    return count;
}

static void check_hopeless(void) {
    launcher_t *run = &hopeless[0], *embedded = &hopeless[1];
    int status = launcher_wait(run, 120000);
    ok(WIFEXITED(status) && WEXITSTATUS(status) == 1, "run: exit code 1 after ten managers");
    ok(!exists(run->runtime), "and nothing is left");
    is_int(count_in(read_text(run->log), "\"manager.started\""), 10, "it tried ten times");
    ok(strstr(read_text(run->log), "manager.given-up") != NULL, "and says that it gave up");
    ok(comes_true(state_in_table(embedded) == USHER_MANAGER_STOPPED, PATIENCE_MS),
       "embedded: web servers are told that there is none");
    ok(is_alive(embedded->pid), "and it stays to try again");
    kill(embedded->pid, SIGTERM);
    is_int(launcher_wait(embedded, 15000), 0, "until it is told to go");
    launcher_remove(run);
    launcher_remove(embedded);
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    test_groups();
    test_finish();
    test_quit();
    test_quit_spares_others();
    test_quit_keeps();
    test_terminate();
    test_force();
    test_terminate_without_manager();
    test_two_launchers();
}

int main(void) {
    begin_hopeless();
    run_for_users(suite);
    check_deaf();
    check_hopeless();
    return done_testing();
}
