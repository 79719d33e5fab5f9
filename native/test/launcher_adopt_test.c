/* SPDX-License-Identifier: Apache-2.0 */
/* A launcher is killed, and a next one takes over: programs, sockets, output, statuses, ids. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "os/os.h"
#include "tap.h"

#define CAP_SYS_PTRACE 19 /* of linux/capability.h */

static void bind_endpoint(launcher_t *l, int id) {
    tell(l, "bind", f("id=%d", id), f("name=e%d", id), f("tag=endpoint %d", id), "server=nginx-1",
         NULL);
    hear(l, "bound", id);
}

static pid_t start_on(launcher_t *l, int id, int endpoint, const char *role, const char *word) {
    tell(l, "start", f("id=%d", id), f("endpoint=%d", endpoint), f("tag=instance %d", id),
         f("arg=%s", helper_program()), f("arg=%s", role), f("arg=%s", word), NULL);
    return (pid_t)number_field(hear(l, "started", id), "pid");
}

static pid_t start(launcher_t *l, int id, const char *role, const char *word) {
    pid_t pid = start_on(l, id, 1, role, word);
    hear(l, "ready", id);
    return pid;
}

static void open_with_server(launcher_t *l) {
    launcher_open(l, "run");
    mkdir(in_runtime(l, "nginx-1"), 0700);
    make_file(in_runtime(l, "nginx-1/live"), "", 0600);
    chmod(in_runtime(l, "nginx-1"), 0500);
    bind_endpoint(l, 1);
}

static void kill_launcher(launcher_t *l) {
    kill(l->pid, SIGKILL);
    launcher_wait(l, PATIENCE_MS);
}

static void start_next(launcher_t *l) {
    launcher_start(l, (const char *const[]){"--mode", "run", NULL});
    ok(launcher_meet(l, PATIENCE_MS), "a next launcher starts");
}

static void replace(launcher_t *l) {
    kill_launcher(l);
    start_next(l);
}

static bool answers(launcher_t *l, const char *name, pid_t pid) {
    const char *text = converse(in_runtime(l, name), PATIENCE_MS);
    return text != NULL && atoi(text) == pid;
}

/* ---- what lives, and what does not ---------------------------------------------------------- */

static void test_living(void) {
    launcher_t l;
    open_with_server(&l);
    tell(&l, "bind", "id=9", "name=e9", "server=nginx-1", NULL);
    hear(&l, "bound", 9);
    pid_t pid = start(&l, 2, "serve", "0"), manager = l.manager_pid;
    tell(&l, "start", "id=5", "endpoint=1", "tag=gone", f("arg=%s", helper_program()), "arg=report",
         NULL);
    hear(&l, "exited", 5);
    start_on(&l, 6, 1, "report", "");
    hear(&l, "exited", 6);
    tell(&l, "forget", "id=6", NULL);
    tell(&l, "snapshot", "id=2", NULL); /* answered after that */
    hear(&l, "snapshot", 2);
    tell(&l, "remember", "key=class a", "text=failed\ntwice", NULL);
    tell(&l, "remember", "key=class b", "text=once", NULL);
    tell(&l, "remember", "key=class b", "text=", NULL);
    tell(&l, "snapshot", "id=2", NULL);
    hear(&l, "snapshot", 2);
    kill_launcher(&l);
    ok(comes_true(!is_alive(manager), PATIENCE_MS), "the manager dies with its launcher");
    ok(is_alive(pid) && answers(&l, "nginx-1/e1", pid), "programs serve on");
    start_next(&l);

    const packet_t *endpoint = hear(&l, "endpoint", 1);
    is_str(field(endpoint, "tag"), "endpoint 1", "the endpoint is listed with its tag");
    is_str(field(endpoint, "server"), "nginx-1", "and its web server");
    ok(field(endpoint, "detached") == NULL, "its socket was got back");
    const packet_t *instance = hear(&l, "instance", 2);
    is_int(number_field(instance, "pid"), pid, "the instance is listed with its pid");
    is_str(field(instance, "state"), "ready", "is ready");
    is_str(field(instance, "tag"), "instance 2", "and has its tag");
    const packet_t *exited = hear(&l, "instance", 5);
    is_str(field(exited, "state"), "exited", "one that had exited is listed as such");
    is_int(number_field(exited, "exit_code"), 0, "with its exit code");
    ok(field(exited, "cpu_us") != NULL, "its processor time");
    ok(strstr(field(exited, "output"), "umask") != NULL, "and the last it wrote");
    const packet_t *memory = hear(&l, "memory", 0);
    is_str(field(memory, "key"), "class a", "what a manager left for the next one");
    is_str(field(memory, "text"), "failed\ntwice", "is still there");
    is_int(number_field(hear(&l, "welcome", 0), "next_id"), 10, "ids go on after all of them");
    ok(hear_within(&l, "memory", 0, 0) == NULL, "what it took back is not");
    ok(hear_within(&l, "instance", 6, 0) == NULL, "a forgotten one is not listed");
    ok(hear_within(&l, "endpoint", 9, 0) == NULL, "nor a socket that nobody had");
    ok(!exists(in_runtime(&l, "sockets/e9")) && !exists(in_runtime(&l, "nginx-1/e9")),
       "whose names are removed");
    ok(answers(&l, "nginx-1/e1", pid), "web servers reach the program as before");

    tell(&l, "snapshot", "id=2", NULL);
    ok(strstr(field(hear(&l, "snapshot", 2), "text"), f("process %d", pid)) != NULL,
       "it can be described");
    pid_t beside = start(&l, 10, "serve", "0");
    ok(beside > 0, "another one starts on the same socket");
    tell(&l, "signal", "id=2", "signal=15", NULL);
    exited = hear(&l, "exited", 2);
    ok(field(exited, "exit_unknown") != NULL && field(exited, "exit_code") == NULL,
       "it gets signals, and its end is told, as far as it is known");
    ok(field(exited, "cpu_us") == NULL, "nor its processor time");
    ok(number_field(exited, "lived_ms") >= 0, "with the time it lived");
    ok(answers(&l, "nginx-1/e1", beside), "the socket stays");
    tell(&l, "forget", "id=5", NULL);
    tell(&l, "snapshot", "id=10", NULL);
    hear(&l, "snapshot", 10);
    replace(&l);
    is_int(number_field(hear(&l, "instance", 10), "pid"), beside, "this goes on");
    hear(&l, "welcome", 0);
    ok(hear_within(&l, "instance", 5, 0) == NULL, "what was forgotten stays forgotten");
    ok(field(hear(&l, "instance", 2), "exit_unknown") != NULL, "what was not, does not");
    ok(launcher_close(&l), "the launcher ends");
    ok(!is_alive(beside), "and its adopted program with it");
}

static void test_starting(void) {
    launcher_t l;
    open_with_server(&l);
    pid_t pid = start_on(&l, 2, 1, "serve", "1500");
    replace(&l);
    is_str(field(hear(&l, "instance", 2), "state"), "starting", "one that was starting");
    hear(&l, "ready", 2);
    ok(answers(&l, "nginx-1/e1", pid), "becomes ready");
    ok(comes_true(memmem(read_text(in_runtime(&l, "state/instance-2")), 1024, "state=ready", 12) !=
                      NULL,
                  PATIENCE_MS),
       "and that is recorded");
    replace(&l);
    is_str(field(hear(&l, "instance", 2), "state"), "ready", "which the next one knows");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_unseen_death(void) {
    launcher_t l;
    open_with_server(&l);
    pid_t pid = start(&l, 2, "serve", "0");
    kill_launcher(&l);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    start_next(&l);
    const packet_t *instance = hear(&l, "instance", 2);
    is_str(field(instance, "state"), "exited", "one that died in between has exited");
    ok(field(instance, "exit_unknown") != NULL, "nobody knows how");
    hear(&l, "welcome", 0);
    ok(hear_within(&l, "endpoint", 1, 0) == NULL && !exists(in_runtime(&l, "nginx-1/e1")),
       "its socket is gone");
    bind_endpoint(&l, 1);
    ok(start(&l, 3, "serve", "0") > 0, "and can be bound anew");
    ok(launcher_close(&l), "the launcher ends");
}

static bool hears_of(launcher_t *l, const char *line) {
    const packet_t *output;
    do
        output = hear_within(l, "output", 2, PATIENCE_MS);
    while (output != NULL && strstr(field(output, "text"), line) == NULL);
    if (output == NULL)
        printf("# log: %s\n", read_text(l->log));
    return output != NULL;
}

static void test_output(void) {
    launcher_t l;
    open_with_server(&l);
    pid_t pid = start(&l, 2, "talk", "40");
    kill_launcher(&l);
    ok(answers(&l, "nginx-1/e1", pid), "a program may write while there is no launcher");
    start_next(&l);
    ok(hears_of(&l, "turn 1\n"), "the next one reads it");
    ok(answers(&l, "nginx-1/e1", pid), "a program that writes on");
    ok(hears_of(&l, "turn 2\n"), "is read on");
    kill(pid, SIGKILL);
    ok(strstr(field(hear(&l, "exited", 2), "output"), "turn 2\n") != NULL,
       "its last lines are kept");
    ok(comes_true(!exists(in_runtime(&l, "state/output-2")), PATIENCE_MS), "its pipe goes");

    /* a process that has left the group keeps the pipe when its instance is long forgotten */
    start_on(&l, 3, 1, "leave-child", "session");
    pid_t escaped = (pid_t)atoi(field(hear(&l, "output", 3), "text") + strlen("child "));
    hear(&l, "exited", 3);
    tell(&l, "forget", "id=3", NULL);
    ok(is_alive(escaped) && exists(in_runtime(&l, "state/output-3")), "one that is used stays");
    replace(&l);
    kill(escaped, SIGKILL);
    ok(comes_true(!exists(in_runtime(&l, "state/output-3")), PATIENCE_MS),
       "until nobody has it, whoever is the launcher");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- groups --------------------------------------------------------------------------------- */

static bool has_children(pid_t pid, int children[2]) {
    const char *text = read_text(f("/proc/%d/task/%d/children", pid, pid));
    return sscanf(text, "%d %d", &children[0], &children[1]) == 2;
}

static void test_groups(void) {
    launcher_t l;
    int children[2];
    open_with_server(&l);
    pid_t pid = start(&l, 2, "children", "2");
    ok(comes_true(has_children(pid, children), PATIENCE_MS), "a program with two children");
    replace(&l);
    tell(&l, "signal", "id=2", "signal=15", NULL);
    hear(&l, "exited", 2);
    ok(comes_true(!is_alive(children[0]) && !is_alive(children[1]), PATIENCE_MS),
       "a signal to an adopted one reaches them");

    pid = start(&l, 3, "children", "2");
    ok(comes_true(has_children(pid, children), PATIENCE_MS), "a program with two children");
    replace(&l);
    kill(pid, SIGKILL);
    hear(&l, "exited", 3);
    ok(comes_true(!is_alive(children[0]) && !is_alive(children[1]), PATIENCE_MS),
       "that survive an adopted one get TERM");

    pid = start_on(&l, 4, 1, "leave-child", "quiet");
    pid_t quiet = (pid_t)atoi(field(hear(&l, "output", 4), "text") + strlen("child "));
    replace(&l); /* the program ends by itself, before, meanwhile or later */
    hear_within(&l, "exited", 4, 1000);
    ok(comes_true(!is_alive(quiet), PATIENCE_MS), "a child that ignores TERM gets KILL");
    ok(launcher_close(&l), "the launcher ends");

    open_with_server(&l);
    pid = start(&l, 2, "children", "2");
    ok(comes_true(has_children(pid, children), PATIENCE_MS), "a program with two children");
    kill(-pid, SIGSTOP); /* as a look does */
    replace(&l);
    const char *text = converse(in_runtime(&l, "nginx-1/e1"), PATIENCE_MS);
    ok(text != NULL && (atoi(text) == children[0] || atoi(text) == children[1]),
       "one that a look had stopped goes on");
    ok(launcher_close(&l), "the launcher ends");
    ok(!is_alive(pid) && !is_alive(children[0]) && !is_alive(children[1]), "and with it all");
}

/* ---- records that lie ----------------------------------------------------------------------- */

static void save(launcher_t *l, const char *name, const char *bytes, size_t length) {
    int fd = open(in_runtime(l, f("state/%s", name)), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ok(write(fd, bytes, length) == (ssize_t)length, "a record %s", name);
    close(fd);
}

/* The record of an instance with the same fields, but with other values for these. */
static void forge(launcher_t *l, int from, int to, const char *pid, const char *birth,
                  const char *era) {
    static char record[8192], forged[8192];
    int fd = open(in_runtime(l, f("state/instance-%d", from)), O_RDONLY);
    ssize_t length = read(fd, record, sizeof(record));
    close(fd);
    size_t size = 0;
    for (const char *at = record; at < record + length; at += strlen(at) + 1) {
        const char *text = at;
        if (pid != NULL && strncmp(at, "pid=", 4) == 0)
            text = f("pid=%s", pid);
        else if (birth != NULL && strncmp(at, "birth=", 6) == 0)
            text = f("birth=%s", birth);
        else if (era != NULL && strncmp(at, "era=", 4) == 0)
            text = f("era=%s", era);
        memcpy(forged + size, text, strlen(text) + 1);
        size += strlen(text) + 1;
    }
    save(l, f("instance-%d", to), forged, size);
}

static pid_t fork_bystander(void) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        for (;;)
            pause();
    }
    return pid;
}

static void test_lies(void) {
    launcher_t l;
    open_with_server(&l);
    pid_t pid = start(&l, 2, "serve", "0");
    sleep_ms(50); /* births are counted in hundredths of a second */
    pid_t bystander = fork_bystander();
    ok(comes_true(getsid(bystander) == bystander, PATIENCE_MS),
       "somebody who has nothing to do with us");
    kill_launcher(&l);
    forge(&l, 2, 30, f("%d", bystander), NULL, NULL);
    forge(&l, 2, 31, f("%d", bystander), f("%d", 1), NULL);
    forge(&l, 2, 32, f("%d", bystander), NULL, "another boot");
    forge(&l, 2, 33, NULL, NULL, "another boot");
    forge(&l, 2, 34, "0", NULL, NULL);
    save(&l, "instance-40", "", 0);
    save(&l, "instance-41", "instance", 8);
    save(&l, "instance-42", "instance\0pid=1\0era=", 19);
    save(&l, "instance-43", "endpoint\0pid=1\0", 15);
    save(&l, "endpoint-44", "\xff\xff\xff", 3);
    save(&l, "endpoint-45", "endpoint\0name=../up\0tag=\0path=/\0inode=1\0era=\0", 46);
    save(&l, "manager-46", "manager\0birth=1\0", 16);
    save(&l, "endpoint-99999999999999999999", "endpoint\0", 9);
    save(&l, "endpoint-", "endpoint\0", 9);
    save(&l, "whatever", "", 0);
    start_next(&l);
    for (int id = 30; id <= 33; id++)
        ok(field(hear(&l, "instance", id), "exit_unknown") != NULL,
           "who is another than was recorded has exited (%d)", id);
    is_int(number_field(hear(&l, "instance", 2), "pid"), pid, "what is right is taken over");
    is_int(number_field(hear(&l, "welcome", 0), "next_id"), 46,
           "numbers of unreadable records are not given again");
    const char *log = read_text(l.log);
    const char *const ignored[] = {"instance-34", "instance-40", "instance-41", "instance-42",
                                   "instance-43", "endpoint-44", "endpoint-45"};
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        ok(strstr(log, f("\"state.ignored\",\"record\":\"%s\"", ignored[i])) != NULL,
           "the log tells of %s", ignored[i]);
    tell(&l, "signal", "id=30", "signal=9", NULL);
    tell(&l, "signal", "id=32", "signal=9", NULL);
    ok(launcher_close(&l), "the launcher ends");
    ok(is_alive(bystander), "the bystander was not touched");
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
}

/* ---- public addresses ----------------------------------------------------------------------- */

/* It gets TERM then. Who has just answered is still busy with it. */
static bool is_idle(launcher_t *l, int id) {
    tell(l, "look", f("id=%d", id), "signal=15", NULL);
    return number_field(hear(l, "looked", id), "idle") == 1;
}

static void test_public(void) {
    launcher_t l;
    launcher_open(&l, "run");
    const char *const owner = geteuid() == 0 ? "user=root" : "tag=";
    tell(&l, "bind", "id=1", "name=p1", owner, f("listen=unix:%s/public.sock", l.base), NULL);
    const packet_t *bound = hear_within(&l, "bound", 1, PATIENCE_MS);
    if (!ok(bound != NULL, "a public UNIX socket"))
        printf("# %s\n", field(hear(&l, "failed", 1), "error"));
    pid_t first = start(&l, 2, "serve", "0");
    start(&l, 3, "serve", "0");
    replace(&l);
    is_str(field(hear(&l, "endpoint", 1), "listen"), f("unix:%s/public.sock", l.base),
           "is taken over");
    hear(&l, "welcome", 0);
    ok(converse(f("%s/public.sock", l.base), PATIENCE_MS) != NULL, "and serves");
    ok(comes_true(is_idle(&l, 2), PATIENCE_MS), "a look finds an adopted one idle");
    ok(field(hear(&l, "exited", 2), "exit_unknown") != NULL && !is_alive(first), "and ends it");
    ok(start(&l, 4, "serve", "0") > 0, "a new one starts there");
    tell(&l, "close", "id=1", NULL);
    hear(&l, "closed", 1);
    ok(!exists(f("%s/public.sock", l.base)), "its file is removed when it is closed");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- at any moment -------------------------------------------------------------------------- */

/* Living children of ours that are programs: all of ours that a dead launcher leaves are. */
static size_t list_programs(int pids[64]) {
    size_t count = 0;
    char *text = strdup(read_text(f("/proc/self/task/%d/children", getpid()))), *end;
    for (char *at = text; count < 64; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at)
            break;
        if (is_alive((pid_t)pid))
            pids[count++] = (int)pid;
    }
    free(text);
    return count;
}

static bool is_recorded(launcher_t *l, int pid) {
    for (int id = 1; id < 20; id++) {
        static char record[8192];
        int fd = open(in_runtime(l, f("state/instance-%d", id)), O_RDONLY);
        ssize_t length = fd < 0 ? 0 : read(fd, record, sizeof(record));
        if (fd >= 0)
            close(fd);
        for (const char *at = record; at < record + length; at += strlen(at) + 1) {
            if (strncmp(at, "pid=", 4) == 0 && atoi(at + 4) == pid)
                return true;
        }
    }
    return false;
}

static bool all_are_recorded(launcher_t *l) {
    int pids[64];
    size_t count = list_programs(pids);
    for (size_t i = 0; i < count; i++) {
        if (!is_recorded(l, pids[i]))
            return false;
    }
    return true;
}

static unsigned random_below(unsigned limit) {
    static unsigned state = 12345;
    state = state * 1103515245u + 12345u;
    return (state >> 8) % limit;
}

/* The launcher in the middle of starting: killed after so many microseconds. */
static void begin_and_kill(launcher_t *l, unsigned delay_us) {
    launcher_open(l, "run");
    for (int id = 1; id <= 4; id++) {
        tell(l, "bind", f("id=%d", id), f("name=e%d", id), NULL);
        tell(l, "start", f("id=%d", id + 4), f("endpoint=%d", id), f("arg=%s", helper_program()),
             "arg=serve", "arg=0", NULL);
    }
    usleep(delay_us);
    kill_launcher(l);
}

static void test_any_moment(void) {
    bool recorded = true, listed = true, ended = true;
    unsigned programs = 0;
    for (int round = 0; round < 40; round++) {
        launcher_t l;
        begin_and_kill(&l, random_below(16000));
        /* one that has no record dies with the launcher, and the manager does */
        recorded = comes_true(all_are_recorded(&l), PATIENCE_MS) && recorded;
        int pids[64];
        size_t count = list_programs(pids);
        programs += (unsigned)count;
        launcher_start(&l, (const char *const[]){"--mode", "run", NULL});
        if (!launcher_meet(&l, PATIENCE_MS))
            printf("# %s\n", read_text(l.log));
        hear(&l, "welcome", 0);
        size_t known = 0;
        for (int id = 5; id <= 8; id++) {
            const packet_t *instance = hear_within(&l, "instance", id, 0);
            for (size_t i = 0; instance != NULL && i < count; i++)
                known += pids[i] == number_field(instance, "pid");
        }
        listed = known == count && listed;
        ended = launcher_close(&l) && ended;
        for (size_t i = 0; i < count; i++)
            ended = comes_true(!is_alive(pids[i]), PATIENCE_MS) && ended;
    }
    ok(programs > 0, "killed at 40 moments while it started programs: %u lived on", programs);
    ok(recorded, "of each of them there is a record");
    ok(listed, "the next launcher knows all");
    ok(ended, "and ends all");
}

/* ---- without the right to trace -------------------------------------------------------------- */

static void test_detached(void) {
    launcher_t l;
    open_with_server(&l);
    tell(&l, "start", "id=2", "endpoint=1", f("arg=%s", helper_program()), "arg=talk", "arg=1",
         "user=nobody", NULL);
    pid_t pid = (pid_t)number_field(hear(&l, "started", 2), "pid");
    hear(&l, "ready", 2);
    replace(&l);
    is_int(number_field(hear(&l, "endpoint", 1), "detached"), 1,
           "without CAP_SYS_PTRACE the socket of another user's program cannot be got back");
    is_int(number_field(hear(&l, "instance", 2), "pid"), pid, "the program is known");
    hear(&l, "welcome", 0);
    ok(answers(&l, "nginx-1/e1", pid), "it is reached as before");
    ok(strstr(field(hear(&l, "output", 2), "text"), "x\n") != NULL, "its output is read");
    tell(&l, "start", "id=3", "endpoint=1", f("arg=%s", helper_program()), "arg=serve", "arg=0",
         NULL);
    is_str(field(hear(&l, "failed", 3), "step"), "endpoint", "nothing else can be started there");
    tell(&l, "refuse", "id=1", "refusal=no", NULL);
    tell(&l, "link", "id=1", "server=nginx-1", NULL);
    hear(&l, "linked", 1);
    tell(&l, "signal", "id=2", "signal=15", NULL);
    ok(field(hear(&l, "exited", 2), "exit_unknown") != NULL, "it can be ended");
    tell(&l, "close", "id=1", "refusal=no", NULL);
    hear(&l, "closed", 1);
    ok(!exists(in_runtime(&l, "nginx-1/e1")) && !exists(in_runtime(&l, "sockets/e1")),
       "and its names removed");
    ok(launcher_close(&l), "the launcher ends");
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    test_living();
    test_starting();
    test_unseen_death();
    test_output();
    test_groups();
    test_lies();
    test_public();
    test_any_moment();
}

int main(void) {
    run_for_users(suite);
    /* last, as there is no way back */
    if (geteuid() == 0 && prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0) == 0)
        test_detached();
    else
        skip(1, "only root can give up a capability");
    return done_testing();
}
