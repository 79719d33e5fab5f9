/* SPDX-License-Identifier: Apache-2.0 */
/* Services, programs that listen by themselves: what one has, and that it goes on whoever is manager
 * or launcher. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

#define MAY_TAKE_MS 30000

static bool is_root(void) {
    return geteuid() == 0;
}

static void tell_start(launcher_t *l, int id, const char *role, const char *word,
                       const char *more) {
    tell(l, "start", f("id=%d", id), "service=1", f("tag=service %d", id), "cwd=/",
         f("arg=%s", helper_program()), f("arg=%s", role), f("arg=%s", word), more, NULL);
}

static pid_t start(launcher_t *l, int id, const char *role, const char *word) {
    tell_start(l, id, role, word, NULL);
    return (pid_t)number_field(hear(l, "started", id), "pid");
}

static const char *address_of(launcher_t *l, int id) {
    return f("%s/engine-%d", l->base, id);
}

static bool says(launcher_t *l, int id, const char *line) {
    const packet_t *output;
    do
        output = hear_within(l, "output", id, MAY_TAKE_MS);
    while (output != NULL && strstr(field(output, "text"), line) == NULL);
    if (output == NULL)
        printf("# log: %s\n", read_text(l->log));
    return output != NULL;
}

/* One that has made its socket. */
static pid_t start_engine(launcher_t *l, int id) {
    pid_t pid = start(l, id, "listen", address_of(l, id));
    ok(says(l, id, "served 0\n"), "service %d listens by itself", id);
    return pid;
}

static bool serves(launcher_t *l, int id, pid_t pid) {
    const char *text = converse(address_of(l, id), MAY_TAKE_MS);
    return text != NULL && atoi(text) == pid;
}

/* What was said before this has been read. */
static void settle(launcher_t *l) {
    static int question = 1000;
    tell(l, "identify", f("id=%d", ++question), "path=/none", NULL);
    if (is_root())
        hear(l, "failed", question);
    else
        hear(l, "identified", question);
}

static void is_listed(launcher_t *l, int id, pid_t pid) {
    const packet_t *instance = hear(l, "instance", id);
    ok(number_field(instance, "service") == 1 && field(instance, "endpoint") == NULL &&
           strcmp(field(instance, "tag"), f("service %d", id)) == 0 &&
           strcmp(field(instance, "state"), "ready") == 0 && number_field(instance, "pid") == pid &&
           instance->descriptors[0] < 0,
       "service %d is listed as one: ready, with its tag and its process", id);
}

static void end(launcher_t *l, int id) {
    tell(l, "signal", f("id=%d", id), "signal=15", NULL);
    hear(l, "exited", id);
}

/* ---- what is started ----------------------------------------------------------------------- */

static void test_start(void) {
    launcher_t l;
    launcher_open(&l, "run");
    tell(&l, "start", "id=2", "service=1", f("arg=%s", helper_program()), "arg=report", "cwd=/",
         "env=CATALINA_HOME=/opt/t", "env=USHER_PORT=8009", "nice=3", "limit=nofile=77",
         is_root() ? "user=nobody" : "tag=", NULL);
    ok(hear(&l, "started", 2)->descriptors[0] < 0, "a service, without any link");
    const packet_t *exited = hear(&l, "exited", 2);
    const char *report = field(exited, "output");
    is_int(number_field(exited, "exit_code"), 0, "its exit status is told");
    ok(strstr(report, "cwd /\nenv CATALINA_HOME=/opt/t\nenv USHER_PORT=8009\nfd 0 other\n"
                      "fd 1 pipe\nfd 2 pipe\numask 022\n") == report,
       "with its environment and descriptors 0 to 2, and nothing else");
    ok(strstr(report, is_root() ? "\nuid 65534 65534" : f("\nuid %u", geteuid())) != NULL &&
           strstr(report, "\nsession 1\nnice 3\nfiles 77\n") != NULL &&
           strstr(report, "\nNoNewPrivs:\t1\n") != NULL,
       "it is its user in a session of its own, with its limits, and no way to another user");
    ok(strstr(report, "\nSigIgn:\t0000000000000000\nSigBlk:\t0000000000000000\n") != NULL,
       "with all signals as usual");

    pid_t pid = start_engine(&l, 3);
    char input[PATH_MAX] = "";
    ok(readlink(f("/proc/%d/fd/0", pid), input, sizeof(input) - 1) > 0 &&
           strcmp(input, "/dev/null") == 0,
       "descriptor 0 is /dev/null");
    ok(serves(&l, 3, pid) && says(&l, 3, "served 1\n"), "it serves, and what it writes is told");
    tell(&l, "snapshot", "id=3", NULL);
    ok(strstr(field(hear(&l, "snapshot", 3), "text"), f("process %d", pid)) != NULL,
       "it can be described");
    tell(&l, "look", "id=3", "signal=15", NULL);
    const packet_t *failed = hear(&l, "failed", 3);
    ok(strcmp(field(failed, "step"), "endpoint") == 0 && number_field(failed, "errno") == ENOTSOCK,
       "nobody can see whether it is idle: %s", field(failed, "error"));
    ok(serves(&l, 3, pid), "and it gets no signal");
    ok(hear_within(&l, "ready", 3, 0) == NULL, "it was never told ready");
    int open_files = count_open_files(l.pid);
    tell(&l, "signal", "id=3", "signal=15", NULL);
    is_int(number_field(hear(&l, "exited", 3), "exit_signal"), SIGTERM, "it gets signals");
    tell(&l, "forget", "id=3", NULL);
    ok(comes_true(!exists(in_runtime(&l, "state/instance-3")), MAY_TAKE_MS), "and is forgotten");
    ok(comes_true(count_open_files(l.pid) < open_files, MAY_TAKE_MS),
       "the launcher gives back what it had for it");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_group(void) {
    launcher_t l;
    launcher_open(&l, "run");
    char log[128];
    snprintf(log, sizeof(log), "log=%s/engine.log", l.base);
    tell_start(&l, 2, "leave-child", "quiet", log);
    hear(&l, "started", 2);
    const packet_t *exited = hear(&l, "exited", 2);
    const char *child = strstr(field(exited, "output"), "child ");
    if (ok(child != NULL, "a service that leaves a child behind"))
        ok(comes_true(!is_alive(atoi(child + strlen("child "))), MAY_TAKE_MS), "which is killed");
    ok(comes_true(strstr(read_text(f("%s/engine.log", l.base)), "child ") != NULL, MAY_TAKE_MS),
       "its log file has what it wrote");
    ok(launcher_close(&l), "the launcher ends");
}

static void fails(launcher_t *l, int id, const char *step, int error, const char *text) {
    const packet_t *failed = hear(l, "failed", id);
    ok(strcmp(field(failed, "step"), step) == 0 && number_field(failed, "errno") == error &&
           strstr(field(failed, "error"), text) != NULL,
       "step %s, errno %d: %s", step, error, field(failed, "error"));
}

static void test_failures(void) {
    static const char both[] = "service=1 is expected, without endpoint= and gateway=";
    launcher_t l;
    launcher_open(&l, "run");
    install_gateway(&l, "ajp", NULL);
    tell(&l, "bind", "id=1", "name=e1", NULL);
    hear(&l, "bound", 1);
    tell_start(&l, 2, "report", "", "endpoint=1");
    fails(&l, 2, "message", EINVAL, both);
    tell(&l, "start", "id=3", "service=1", "gateway=ajp", "cwd=/", NULL);
    fails(&l, 3, "message", EINVAL, both);
    if (!is_root()) { /* for root nobody allows it */
        tell(&l, "start", "id=4", "service=0", f("arg=%s", helper_program()), "cwd=/", NULL);
        fails(&l, 4, "message", EINVAL, both);
    }
    tell_start(&l, 5, "report", "", "secret=/etc/passwd");
    fails(&l, 5, "message", EINVAL, "secret= is for gateways only");
    tell(&l, "start", "id=6", "service=1", "arg=/none/java", "cwd=/", NULL);
    fails(&l, 6, "exec", ENOENT, "/none/java");
    tell_start(&l, 7, "report", "", "user=no-such-user");
    fails(&l, 7, "user", ENOENT, "no-such-user");
    tell(&l, "start", "id=8", f("arg=%s", helper_program()), "arg=report", "cwd=/", NULL);
    fails(&l, 8, "endpoint", ENOENT, "endpoint");
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, MAY_TAKE_MS), "a next manager");
    hear(&l, "welcome", 0);
    ok(hear_within(&l, "instance", 0, 0) == NULL, "hears of none of them");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- whoever is manager or launcher -------------------------------------------------------- */

static void test_managers(void) {
    launcher_t l;
    launcher_open(&l, "run");
    tell(&l, "ready", NULL);
    pid_t first = start_engine(&l, 2), second = start_engine(&l, 3);
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, MAY_TAKE_MS), "a manager dies, and there is another one");
    tell(&l, "ready", NULL);
    is_listed(&l, 2, first);
    is_listed(&l, 3, second);
    is_int(number_field(hear(&l, "welcome", 0), "next_id"), 4, "ids go on behind theirs");
    end(&l, 3);
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, MAY_TAKE_MS), "and a third one");
    const packet_t *exited = hear(&l, "instance", 3);
    ok(number_field(exited, "service") == 1 && field(exited, "endpoint") == NULL &&
           strcmp(field(exited, "state"), "exited") == 0 &&
           number_field(exited, "exit_signal") == SIGTERM,
       "one that has ended is listed with its status");
    ok(serves(&l, 2, first), "the other one serves on");
    ok(launcher_close(&l), "the launcher ends");
    ok(!is_alive(first), "and the service with it");
}

static void test_upgrade(void) {
    launcher_t l;
    launcher_open(&l, "run");
    tell(&l, "ready", NULL);
    pid_t pid = start_engine(&l, 2), launcher = l.pid;
    int open_files = 0;
    for (int round = 0; round < 2; round++) {
        tell(&l, "upgrade", NULL);
        ok(comes_true(!is_alive(l.manager_pid), MAY_TAKE_MS), "the launcher begins anew");
        l.pid = 0;
        if (!ok(launcher_meet(&l, MAY_TAKE_MS), "a new manager comes"))
            printf("# %s\n", read_text(l.log));
        is_int(l.pid, launcher, "of the same launcher");
        tell(&l, "ready", NULL);
        is_listed(&l, 2, pid);
        ok(serves(&l, 2, pid) && says(&l, 2, f("served %d\n", round + 1)),
           "which reads on what the service writes");
        int now_open = count_open_files(l.pid);
        ok(round == 0 || now_open == open_files, "the launcher has as many files open (%d)",
           now_open);
        open_files = now_open;
    }
    tell(&l, "signal", "id=2", "signal=15", NULL);
    is_int(number_field(hear(&l, "exited", 2), "exit_signal"), SIGTERM,
           "it is its child as ever: its status is known");
    ok(launcher_close(&l), "the launcher ends");
}

static void replace(launcher_t *l) {
    kill(l->pid, SIGKILL);
    launcher_wait(l, MAY_TAKE_MS);
    launcher_start(l, (const char *const[]){"--mode", "run", NULL});
    if (!ok(launcher_meet(l, MAY_TAKE_MS), "a next launcher comes"))
        printf("# %s\n", read_text(l->log));
    tell(l, "ready", NULL);
}

static void test_killed_launcher(void) {
    launcher_t l;
    launcher_open(&l, "run");
    pid_t pid = start_engine(&l, 2), other = start_engine(&l, 3);
    settle(&l);
    kill(l.pid, SIGKILL);
    launcher_wait(&l, MAY_TAKE_MS);
    ok(serves(&l, 2, pid), "without a launcher a service serves on");
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    launcher_start(&l, (const char *const[]){"--mode", "run", NULL});
    ok(launcher_meet(&l, MAY_TAKE_MS), "a next launcher comes");
    tell(&l, "ready", NULL);
    is_listed(&l, 2, pid);
    const packet_t *exited = hear(&l, "instance", 3);
    ok(number_field(exited, "service") == 1 && strcmp(field(exited, "state"), "exited") == 0 &&
           field(exited, "exit_unknown") != NULL,
       "one that died in between has exited, nobody knows how");
    ok(says(&l, 2, "served 1\n"), "what was written meanwhile is told");
    tell(&l, "look", "id=2", "signal=15", NULL);
    is_str(field(hear(&l, "failed", 2), "step"), "endpoint", "an adopted one is not looked at");
    tell(&l, "snapshot", "id=2", NULL);
    ok(strstr(field(hear(&l, "snapshot", 2), "text"), f("process %d", pid)) != NULL,
       "but described");
    replace(&l);
    is_listed(&l, 2, pid);
    ok(strstr(read_text(l.log), "state.ignored") == NULL, "no record was passed over");
    tell(&l, "signal", "id=2", "signal=15", NULL);
    exited = hear(&l, "exited", 2);
    ok(field(exited, "exit_unknown") != NULL && !is_alive(pid),
       "it gets signals, and its end is told");
    tell(&l, "forget", "id=2", NULL);
    pid = start_engine(&l, 10);
    replace(&l);
    hear(&l, "welcome", 0);
    ok(hear_within(&l, "instance", 2, 0) == NULL, "what was forgotten stays forgotten");
    is_listed(&l, 10, pid);
    ok(launcher_close(&l), "the launcher ends");
    ok(!is_alive(pid), "and an adopted service with it");
}

static void test_standby(void) {
    launcher_t l;
    launcher_open(&l, "embedded");
    pid_t pid = start_engine(&l, 2);
    kill(l.pid, SIGKILL);
    launcher_wait(&l, MAY_TAKE_MS);
    ok(launcher_meet(&l, MAY_TAKE_MS), "an embedded launcher is begun again by its standby");
    is_listed(&l, 2, pid);
    ok(serves(&l, 2, pid) && says(&l, 2, "served 1\n"), "and knows the service");
    kill(l.pid, SIGTERM);
    hear(&l, "terminate", 0);
    ok(is_alive(pid), "asked to end, it asks its manager");
    ok(launcher_close(&l), "the launcher ends");
    ok(!is_alive(pid), "and the service with it");
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    test_start();
    test_group();
    test_failures();
    test_managers();
    test_upgrade();
    test_killed_launcher();
    test_standby();
}

int main(void) {
    run_for_users(suite);
    return done_testing();
}
