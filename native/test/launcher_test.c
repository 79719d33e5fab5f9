/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher with a manager: endpoints, starts, output, and managers that come and go. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

static bool is_root(void) {
    return geteuid() == 0;
}

static void bind_endpoint(launcher_t *l, int id, const char *name) {
    tell(l, "bind", f("id=%d", id), f("name=%s", name), NULL);
    hear(l, "bound", id);
}

/* Start the helper in a role on endpoint 1; gives its pid. */
static pid_t start(launcher_t *l, int id, const char *role, const char *word) {
    tell(l, "start", f("id=%d", id), "endpoint=1", f("arg=%s", helper_program()), f("arg=%s", role),
         f("arg=%s", word), "cwd=/", NULL);
    return (pid_t)number_field(hear(l, "started", id), "pid");
}

static void start_shell(launcher_t *l, int id, const char *script) {
    tell(l, "start", f("id=%d", id), "endpoint=1", "arg=/bin/sh", "arg=-c", f("arg=%s", script),
         "cwd=/", NULL);
    hear(l, "started", id);
}

/* ---- greeting ------------------------------------------------------------------------------ */

static void test_hello(void) {
    launcher_t l;
    launcher_prepare(&l);
    make_file(f("%s/usher.conf", l.base), "", 0644);
    launcher_start(
        &l, (const char *const[]){"--mode", "run", "--config", f("%s/usher.conf", l.base), NULL});
    ok(launcher_meet(&l, PATIENCE_MS), "a manager is started");
    const packet_t *hello = hear(&l, "hello", 0);
    is_str(field(hello, "runtime_dir"), l.runtime, "hello names the runtime directory");
    is_str(field(hello, "mode"), "run", "hello names the mode");
    is_str(field(hello, "config"), f("%s/usher.conf", l.base), "hello names the configuration");
    is_str(field(hello, "log"), NULL, "hello names no log when none was given");
    is_int(number_field(hello, "launcher_pid"), l.pid, "hello names the launcher's pid");
    is_int(number_field(hello, "uid"), geteuid(), "hello names the uid");
    is_int(number_field(hear(&l, "welcome", 0), "next_id"), 1, "ids begin with 1");

    ok(l.control_fd >= 0, "the control socket comes with hello");
    int client = connect_to(in_runtime(&l, "control.sock"));
    int served = accept(l.control_fd, NULL, NULL);
    ok(client >= 0 && served >= 0, "it listens as control.sock");
    close(client);
    close(served);

    struct stat status;
    stat(l.runtime, &status);
    is_int(status.st_mode & 07777, is_root() ? 0711 : 0700, "run made the directory");
    const char *const private[] = {"channel", "sockets", "servers"};
    for (size_t i = 0; i < 3; i++) {
        stat(in_runtime(&l, private[i]), &status);
        is_int(status.st_mode & 07777, 0700, "and %s in it", private[i]);
    }
    stat(in_runtime(&l, "control.sock"), &status);
    is_int(status.st_mode & 0777, 0600, "control.sock is the owner's");
    ok(launcher_close(&l), "the launcher ends");
}

/* Descriptors, signals and the mask of whoever starts the launcher do not reach programs. */
static void test_clean_start(void) {
    launcher_t l;
    launcher_prepare(&l);
    int left_open = open("/dev/null", O_RDONLY); /* without close-on-exec */
    sigset_t blocked, before;
    sigfillset(&blocked);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    signal(SIGUSR1, SIG_IGN);
    launcher_start(&l, (const char *const[]){"--mode", "run", NULL});
    signal(SIGUSR1, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(left_open);
    launcher_meet(&l, PATIENCE_MS);
    bind_endpoint(&l, 1, "e1");
    tell(&l, "start", "id=2", "endpoint=1", f("arg=%s", helper_program()), "arg=report", "env=A=1",
         "env=B=two = 2", "env=C=", "cwd=/usr", "nice=3", NULL);
    hear(&l, "started", 2);
    const char *output = field(hear(&l, "exited", 2), "output");
    ok(strstr(output, "cwd /usr\nenv A=1\nenv B=two = 2\nenv C=\nfd 0 socket\n") != NULL,
       "a program has its directory, its environment and nothing else, a blocking listener as 0");
    ok(strstr(output, "\nfd 1 pipe\nfd 2 pipe\numask 022\n") != NULL,
       "pipes as 1 and 2, no other descriptor, umask 022");
    ok(strstr(output, f("\nuid %u %u gid %u %u\nsession 1\nnice 3\n", getuid(), getuid(), getgid(),
                        getgid())) != NULL,
       "our user, a session and group of its own, no terminal, nice 3");
    ok(strstr(output, "\nSigIgn:\t0000000000001000\nSigBlk:\t0000000000000000\n") != NULL,
       "SIGPIPE ignored, nothing else, nothing blocked");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    ok(strstr(output, f("\nfiles %llu\n", (unsigned long long)files.rlim_cur)) != NULL,
       "the limit of open files is not the launcher's raised one");
    if (strstr(output, "\nsession 1") == NULL)
        printf("# %s\n", output);
    ok(launcher_close(&l), "the launcher ends");
}

static int run_words(const char *const *words) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDERR_FILENO);
        execv(launcher_program(), (char *const *)(uintptr_t)words);
        _exit(126);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_command_line(void) {
    launcher_t l;
    launcher_prepare(&l);
    const char *const none[] = {"usher-launcher", NULL};
    is_int(run_words(none), 2, "no options: exit code 2");
    const char *const wrong[] = {"usher-launcher",
                                 "--runtime-dir",
                                 l.runtime,
                                 "--node",
                                 "n",
                                 "--usherd",
                                 "u",
                                 "--mode",
                                 "no",
                                 NULL};
    is_int(run_words(wrong), 2, "an unknown mode: exit code 2");
    const char *const missing[] = {
        "usher-launcher", "--runtime-dir", l.runtime, "--node", "n", "--usherd", "u", NULL};
    is_int(run_words(missing), 1, "embedded without the directory: exit code 1");
    ok(!exists(l.runtime), "and it is not made");
    mkdir(l.runtime, 0700);
    chmod(l.runtime, 0777);
    is_int(run_words(missing), 1, "a directory that others may write: exit code 1");
    launcher_remove(&l);
}

/* ---- endpoints ----------------------------------------------------------------------------- */

static void refuses_bind(launcher_t *l, const char *name, const char *server, const char *step,
                         int error) {
    tell(l, "bind", "id=90", f("name=%s", name), f("server=%s", server), NULL);
    const packet_t *failed = hear(l, "failed", 90);
    is_str(field(failed, "step"), step, "bind \"%s\" for \"%s\" fails in step %s", name, server,
           step);
    is_int(number_field(failed, "errno"), error, "with errno %d: %s", error,
           field(failed, "error"));
}

static void test_endpoints(void) {
    launcher_t l;
    launcher_open(&l, "run");
    mkdir(in_runtime(&l, "nginx-1"), 0700);
    mkdir(in_runtime(&l, "apache-2"), 0500);
    make_file(in_runtime(&l, "nginx-1/e1"), "a stale link of a former life", 0600);
    chmod(in_runtime(&l, "nginx-1"), 0500);
    tell(&l, "bind", "id=1", "name=e1", "tag=T", "server=nginx-1", "backlog=3", NULL);
    ok(number_field(hear(&l, "bound", 1), "inode") > 0, "bound, with its inode");
    struct stat socket, link;
    ok(stat(in_runtime(&l, "sockets/e1"), &socket) == 0 && S_ISSOCK(socket.st_mode) &&
           (socket.st_mode & 0777) == 0666,
       "it stands in sockets/, mode 0666");
    ok(stat(in_runtime(&l, "nginx-1/e1"), &link) == 0 && link.st_ino == socket.st_ino,
       "and in the server's folder");
    tell(&l, "link", "id=1", "server=apache-2", NULL);
    hear(&l, "linked", 1);
    int client = connect_to(in_runtime(&l, "apache-2/e1"));
    ok(client >= 0, "the second server's workers can connect");
    close(client);
    tell(&l, "link", "id=1", "server=apache-2", NULL);
    ok(hear(&l, "linked", 1) != NULL, "linking again changes nothing");

    refuses_bind(&l, "e1", "nginx-1", "name", EEXIST);
    refuses_bind(&l, "", "nginx-1", "name", EINVAL);
    refuses_bind(&l, "../e2", "nginx-1", "name", EINVAL);
    refuses_bind(&l, ".e2", "nginx-1", "name", EINVAL);
    refuses_bind(&l, "abcdefghijklmnopqrstuvwxyz", "nginx-1", "name", EINVAL);
    refuses_bind(&l, "e2", "nowhere", "link", ENOENT);
    refuses_bind(&l, "e2", "../x", "link", EINVAL);
    refuses_bind(&l, "e2", "sockets", "link", EINVAL);
    ok(!exists(in_runtime(&l, "sockets/e2")), "a bind that failed leaves nothing");
    tell(&l, "link", "id=77", "server=nginx-1", NULL);
    is_str(field(hear(&l, "failed", 77), "step"), "endpoint", "an unknown endpoint is not linked");

    tell(&l, "close", "id=1", NULL);
    hear(&l, "closed", 1);
    ok(!exists(in_runtime(&l, "sockets/e1")) && !exists(in_runtime(&l, "nginx-1/e1")) &&
           !exists(in_runtime(&l, "apache-2/e1")),
       "close removes all its names");
    bind_endpoint(&l, 2, "e1");
    ok(true, "the name can be had again");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- starts that fail ---------------------------------------------------------------------- */

static void fails_to_start(launcher_t *l, const char *program, const char *more, const char *step,
                           int error, const char *words) {
    tell(l, "start", "id=50", "endpoint=1", f("arg=%s", program), more, NULL);
    const packet_t *failed = hear(l, "failed", 50);
    const char *text = field(failed, "error");
    is_str(field(failed, "step"), step, "%s, %s: step %s", program, more, step);
    is_int(number_field(failed, "errno"), error, "errno %d", error);
    ok(strstr(text, words) != NULL, "\"%s\" says \"%s\"", text, words);
}

static void test_exec_failures(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "e1");
    const char *script = f("%s/script", l.base);
    fails_to_start(&l, "/no/program", "cwd=/", "exec", ENOENT,
                   "/no/program: the directory /no does not");
    fails_to_start(&l, "program", "cwd=/", "exec", EINVAL, "not an absolute path");
    fails_to_start(&l, "/usr", "cwd=/", "exec", EACCES, "it is a directory");
    fails_to_start(&l, "/bin/true", "cwd=/no/directory", "cwd", ENOENT, "/no/directory");
    fails_to_start(&l, "/bin/true", "nice=1000", "message", EINVAL, "-40 to 40");
    make_file(script, "hello\n", 0755);
    fails_to_start(&l, script, "cwd=/", "exec", ENOEXEC, "has no #! line and is not a program");
    make_file(script, "#!/bin/sh\n", 0644);
    fails_to_start(&l, script, "cwd=/", "exec", EACCES, "mode 0644");
    make_file(script, "#! /no/such/perl -w\n", 0755);
    fails_to_start(&l, script, "cwd=/", "exec", ENOENT, "interpreter /no/such/perl in its #! line");
    make_file(script, "#!/bin/sh\r\necho\r\n", 0755);
    fails_to_start(&l, script, "cwd=/", "exec", ENOENT, "CR LF");
    tell(&l, "start", "id=50", "endpoint=9", "arg=/bin/true", NULL);
    is_str(field(hear(&l, "failed", 50), "step"), "endpoint", "no such endpoint: step endpoint");
    tell(&l, "start", "id=50", "endpoint=1", NULL);
    is_str(field(hear(&l, "failed", 50), "step"), is_root() ? "allow" : "exec",
           "no program: nobody allows that, nor can it be executed");
    fails_to_start(&l, "/bin/true", "user=no-such-user", "user", ENOENT, "no-such-user");
    fails_to_start(&l, "/bin/true", "group=no-such-group", "group", ENOENT, "no-such-group");
    if (is_root()) {
        mkdir(f("%s/private", l.base), 0700);
        make_file(f("%s/private/program", l.base), "#!/bin/sh\n", 0755);
        tell(&l, "start", "id=50", "endpoint=1", f("arg=%s/private/program", l.base), "user=nobody",
             NULL);
        ok(strstr(field(hear(&l, "failed", 50), "error"),
                  f("may not pass the directory %s/private (mode 0700", l.base)) != NULL,
           "the directory that the program's user cannot enter is named");
    } else {
        fails_to_start(&l, "/bin/true", "user=root", "user", EPERM, "only root can");
        fails_to_start(&l, "/bin/true", "group=root", "group", EPERM, "only root can");
        fails_to_start(&l, "/bin/true", "nice=-5", "nice", EPERM, "nice -5");
    }
    start(&l, 51, "serve", "0");
    tell(&l, "start", "id=51", "endpoint=1", "arg=/bin/true", NULL);
    is_int(number_field(hear(&l, "failed", 51), "errno"), EEXIST, "an id is used once");
    ok(hear_within(&l, "exited", 50, 50) == NULL, "what failed to start does not exit as well");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_users(void) {
    if (!is_root())
        return;
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "e1");
    tell(&l, "start", "id=2", "endpoint=1", f("arg=%s", helper_program()), "arg=report",
         "user=nobody", "cwd=/", "nice=-2", NULL);
    hear(&l, "started", 2);
    const char *output = field(hear(&l, "exited", 2), "output");
    ok(strstr(output, "\nuid 65534 65534 gid 65534 65534\n") != NULL &&
           strstr(output, "\nGroups:\t65534 \n") != NULL && strstr(output, "\nnice -2\n") != NULL,
       "user=nobody: its uid, its group, its groups, and root's nice");
    ok(strstr(output, "\nroot gone\n") != NULL, "root is not to be had again");
    tell(&l, "start", "id=3", "endpoint=1", f("arg=%s", helper_program()), "arg=report",
         "user=#1234", "group=daemon", "cwd=/", NULL);
    hear(&l, "started", 3);
    output = field(hear(&l, "exited", 3), "output");
    ok(strstr(output, "\nuid 1234 1234 gid 1 1\n") != NULL &&
           strstr(output, "\nGroups:\t1 \n") != NULL,
       "user=#1234 group=daemon: a number without a name, and a group");
    ok(launcher_close(&l), "the launcher ends");
}

/* The launcher may run out of descriptors: that start fails, nothing else does. */
static void test_descriptors_run_out(void) {
    launcher_t l;
    launcher_prepare(&l);
    struct rlimit before, low = {.rlim_cur = 32, .rlim_max = 32};
    getrlimit(RLIMIT_NOFILE, &before);
    pid_t pid = fork();
    if (pid == 0) { /* a process of its own, because a hard limit cannot be raised again */
        setrlimit(RLIMIT_NOFILE, &low);
        launcher_start(&l, (const char *const[]){"--mode", "run", NULL});
        int status;
        waitpid(l.pid, &status, 0);
        _exit(WEXITSTATUS(status));
    }
    l.pid = pid;
    launcher_meet(&l, PATIENCE_MS);
    bind_endpoint(&l, 1, "e1");
    int id = 2;
    const packet_t *failed = NULL;
    for (; id < 40 && failed == NULL; id++) {
        tell(&l, "start", f("id=%d", id), "endpoint=1", "arg=/bin/sleep", "arg=100", "cwd=/", NULL);
        while ((failed = hear_within(&l, "failed", id, 5)) == NULL &&
               hear_within(&l, "started", id, 5) == NULL)
            continue;
    }
    ok(failed != NULL && strcmp(field(failed, "step"), "pipe") == 0 &&
           number_field(failed, "errno") == EMFILE,
       "out of descriptors: step pipe, EMFILE");
    tell(&l, "signal", "id=2", "signal=9", NULL);
    hear(&l, "exited", 2);
    tell(&l, "start", f("id=%d", id), "endpoint=1", "arg=/bin/sleep", "arg=100", "cwd=/", NULL);
    ok(hear(&l, "started", id) != NULL, "after an exit there is room again");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- output -------------------------------------------------------------------------------- */

static void test_output(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "e1");
    start_shell(&l, 2,
                "printf 'one\\ntwo\\n'; printf half >&2; sleep 0.2; echo ' and half'; "
                "printf 'the rest'; exit 3");
    is_str(field(hear(&l, "output", 2), "text"), "one\ntwo\n", "lines of stdout and stderr");
    is_str(field(hear(&l, "output", 2), "text"), "half and half\n", "a line is passed on whole");
    is_str(field(hear(&l, "output", 2), "text"), "the rest", "the last one may lack its end");
    const packet_t *exited = hear(&l, "exited", 2);
    is_int(number_field(exited, "exit_code"), 3, "exit code");
    is_str(field(exited, "output"), "one\ntwo\nhalf and half\nthe rest", "what it said in the end");
    ok(number_field(exited, "lived_ms") >= 200 && number_field(exited, "rss_kb") > 0,
       "how long it lived and how big it was");

    start_shell(&l, 20,
                "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; "
                "read -r stat < /proc/$$/stat; echo $stat");
    long long user = -1, system = -1; /* ticks of 10 ms, of which the last may be rounded up */
    sscanf(field(hear(&l, "output", 20), "text"),
           "%*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %lld %lld", &user, &system);
    long long told_us = number_field(hear(&l, "exited", 20), "cpu_us");
    ok(user >= 0 && told_us > 0 && told_us >= (user + system - 1) * 10000,
       "its processor time: %lld us, after %lld ticks while it ran", told_us, user + system);

    start_shell(&l, 3, "printf 'prompt: '; exec sleep 100");
    is_str(field(hear(&l, "output", 3), "text"), "prompt: ", "an unfinished line comes in a while");
    tell(&l, "signal", "id=3", "signal=15", NULL);
    is_int(number_field(hear(&l, "exited", 3), "exit_signal"), 15, "exit signal");

    start_shell(&l, 4, "printf 'NUL \\000 latin1 \\344 utf8 \\303\\244 cut \\303'");
    is_str(field(hear(&l, "exited", 4), "output"), "NUL ? latin1 ? utf8 \303\244 cut ?",
           "what is not UTF-8 text becomes ?");

    start_shell(&l, 5, "i=0; while [ $i -lt 3000 ]; do echo \303\244\303\266; i=$((i+1)); done");
    const char *output = field(hear(&l, "exited", 5), "output");
    ok(strlen(output) >= 4093 && strlen(output) <= 4096 && strchr(output, '?') == NULL,
       "the last 4 kB of a long output, no character cut");
    ok(launcher_close(&l), "the launcher ends");
}

/* What is said to be dropped, until that is more than enough. */
static long long sum_dropped(launcher_t *l, long long enough) {
    long long dropped = 0;
    const packet_t *packet;
    while (dropped <= enough && (packet = hear_within(l, "dropped", 0, PATIENCE_MS)) != NULL)
        dropped += number_field(packet, "bytes");
    return dropped;
}

static void test_flood(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "e1");
    start(&l, 2, "flood", "8000");
    start(&l, 3, "flood", "8000");
    uint64_t begin = now_ms();
    bind_endpoint(&l, 4, "e4");
    ok(now_ms() - begin < 10000, "a flood of output does not keep the launcher from its work");
    const char *output = field(hear(&l, "exited", 2), "output");
    ok(strcmp(output + strlen(output) - 14, "\nend of flood\n") == 0, "its end is kept");
    hear(&l, "exited", 3);
    ok(sum_dropped(&l, 8000 * 1024) > 8000 * 1024, "most of it is dropped, and counted");

    /* now the manager does not read at all */
    for (int id = 10; id < 20; id++)
        tell(&l, "start", f("id=%d", id), "endpoint=1", f("arg=%s", helper_program()), "arg=flood",
             "arg=4000", "cwd=/", NULL);
    /* the manager's own pid is followed by a blank, and by nothing when it is the only child */
    char only_manager[24];
    snprintf(only_manager, sizeof(only_manager), "%d ", l.manager_pid);
    sleep_ms(100);
    ok(comes_true(strcmp(read_text(f("/proc/%d/task/%d/children", l.pid, l.pid)), only_manager) ==
                      0,
                  PATIENCE_MS),
       "programs are not blocked by a manager that does not read");
    for (int id = 10; id < 20; id++)
        hear(&l, "exited", id);
    ok(true, "it is told all exits as soon as it reads");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- managers come and go ------------------------------------------------------------------ */

static void test_manager_killed(void) {
    launcher_t l;
    launcher_open(&l, "run");
    mkdir(in_runtime(&l, "nginx-1"), 0500);
    tell(&l, "bind", "id=1", "name=e1", "tag=tag of e1", "server=nginx-1", NULL);
    long long inode = number_field(hear(&l, "bound", 1), "inode");
    tell(&l, "start", "id=2", "endpoint=1", "tag=some {\"tag\": \"text\"}",
         f("arg=%s", helper_program()), "arg=serve", "cwd=/", NULL);
    pid_t pid = (pid_t)number_field(hear(&l, "started", 2), "pid");
    hear(&l, "ready", 2);
    start_shell(&l, 3, "echo last words; exit 4");
    hear(&l, "exited", 3);
    start_shell(&l, 4, "exec sleep 100");
    tell(&l, "start", "id=5", "endpoint=1", "arg=/bin/true", "cwd=/", NULL);
    hear(&l, "exited", 5);
    tell(&l, "forget", "id=5", NULL);
    tell(&l, "ready", NULL);
    sleep_ms(50);

    for (int life = 1; life <= 20; life++) {
        uint64_t begin = now_ms();
        kill(l.manager_pid, SIGKILL);
        if (!launcher_meet(&l, PATIENCE_MS) ||
            now_ms() - begin > 4000) { /* it would be more and more */
            ok(false, "life %d begins at once", life);
            break;
        }
        tell(&l, "ready", NULL);
    }
    const packet_t *packet = hear(&l, "endpoint", 1);
    is_str(field(packet, "name"), "e1", "a new manager learns of the endpoint");
    is_str(field(packet, "tag"), "tag of e1", "its tag");
    is_int(number_field(packet, "inode"), inode, "its inode");
    is_str(field(packet, "server"), "nginx-1", "its servers");
    packet = hear(&l, "instance", 2);
    is_str(field(packet, "state"), "ready", "of the instance that serves");
    is_str(field(packet, "tag"), "some {\"tag\": \"text\"}", "its tag");
    is_int(number_field(packet, "pid"), pid, "its pid");
    is_int(number_field(packet, "endpoint"), 1, "its endpoint");
    ok(number_field(packet, "started_ns") > 0, "when it was started");
    packet = hear(&l, "instance", 3);
    is_str(field(packet, "state"), "exited", "of the one that has exited");
    is_int(number_field(packet, "exit_code"), 4, "its exit code");
    is_str(field(packet, "output"), "last words\n", "what it said");
    is_str(field(hear(&l, "instance", 4), "state"), "starting", "of the one that is not ready");
    is_int(number_field(hear(&l, "welcome", 0), "next_id"), 6, "where ids go on");
    ok(hear_within(&l, "instance", 0, 10) == NULL, "forgotten ones are not spoken of");
    ok(l.control_fd >= 0, "the control socket comes along");
    ok(strtol(converse(in_runtime(&l, "nginx-1/e1"), PATIENCE_MS), NULL, 10) == pid,
       "the instance served all the time");
    tell(&l, "signal", "id=2", "signal=9", NULL);
    hear(&l, "exited", 2);
    ok(true, "and its exit is told to the new manager");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_manager_slow(void) {
    launcher_t l;
    launcher_open(&l, "run");
    uint64_t begin = now_ms();
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, PATIENCE_MS) && now_ms() - begin >= 190,
       "one that was never ready: 0.2 s later");
    begin = now_ms();
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, PATIENCE_MS) && now_ms() - begin >= 490, "then 0.5 s later");
    tell(&l, "ready", NULL);
    uint64_t fastest = 1000;
    for (int i = 0; i < 50 && fastest >= 190; i++) { /* the machine may be busy */
        begin = now_ms();
        launcher_leave(&l);
        if (launcher_meet(&l, PATIENCE_MS) && now_ms() - begin < fastest)
            fastest = now_ms() - begin;
        tell(&l, "ready", NULL);
    }
    ok(fastest < 190, "one that was ready and closed its link is replaced at once");
    ok(launcher_close(&l), "the launcher ends");
}

/* A manager may say its last word and die before the launcher looks. */
static void test_last_word(void) {
    launcher_t l;
    launcher_open(&l, "run");
    kill(l.pid, SIGSTOP);
    tell(&l, "quit", "remove=1", NULL);
    kill(l.manager_pid, SIGKILL);
    sleep_ms(20);
    kill(l.pid, SIGCONT);
    is_int(launcher_wait(&l, PATIENCE_MS), 0, "quit counts though the manager is dead already");
    ok(!exists(l.runtime), "and the directory is gone");
    launcher_remove(&l);
}

static void test_bad_messages(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "e1");
    static char big[131073];
    memset(big, 'x', sizeof(big));
    const char *const lines[] = {"no such verb", "start", "bind", "signal", "quit?", ""};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        tell(&l, lines[i], NULL);
    tell_bytes(&l, "unfinished", 10);
    tell_bytes(&l, big, sizeof(big));
    tell_bytes(&l, "start\0no equals sign\0", 21);
    tell_bytes(&l, "start\0=x\0", 9);
    tell(&l, "start", "id=0", "endpoint=1", NULL);
    tell(&l, "start", "id=-3", "endpoint=1", NULL);
    tell(&l, "start", "id=99999999999999999999", "endpoint=1", NULL);
    tell(&l, "signal", "id=1", "signal=9", NULL);
    tell(&l, "signal", "id=1", "signal=0", NULL);
    tell(&l, "forget", "id=12", NULL);
    srand(1);
    for (int i = 0; i < 2000; i++) {
        static const char *const words[] = {"bind", "id=3", "name=a", "start", "\1\377",  "arg=/",
                                            "link", "id",   "tag=",   "close", "server=", "="};
        char bytes[256];
        size_t length = 0;
        for (int j = rand() % 6; j >= 0; j--) {
            const char *word = words[rand() % 12];
            memcpy(bytes + length, word, strlen(word) + 1);
            length += strlen(word) + (size_t)(rand() % 8 > 0);
        }
        tell_bytes(&l, bytes, length);
    }
    tell(&l, "snapshot", "id=44", NULL);
    is_str(field(hear(&l, "failed", 44), "step"), "instance", "nonsense does not hurt");
    ok(launcher_close(&l), "the launcher ends");
}

/* Every pid must have been reaped, every descriptor closed; statuses are kept up to a limit. */
static void test_nothing_leaks(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_endpoint(&l, 1, "e1");
    start_shell(&l, 2, "exit 0");
    hear(&l, "exited", 2);
    int open_before = count_open_files(l.pid);
    enum { STARTS = 1100 };
    for (int id = 10; id < 10 + STARTS; id++) {
        const char *program = id % 10 == 0 ? "/no/program" : "/bin/true";
        tell(&l, "start", f("id=%d", id), "endpoint=1", f("arg=%s", program), "cwd=/", NULL);
        hear(&l, id % 10 == 0 ? "failed" : "exited", id);
    }
    for (int id = 3000; id < 3100; id++) {
        bind_endpoint(&l, id, f("e%d", id));
        tell(&l, "close", f("id=%d", id), NULL);
        hear(&l, "closed", id);
    }
    ok(comes_true(count_open_files(l.pid) <= open_before, PATIENCE_MS),
       "descriptors are flat over %d starts: %d, %d before", STARTS, count_open_files(l.pid),
       open_before);
    tell(&l, "ready", NULL);
    for (int i = 0; i < 30; i++) {
        kill(l.manager_pid, SIGKILL);
        launcher_meet(&l, PATIENCE_MS);
        tell(&l, "ready", NULL);
    }
    ok(comes_true(count_open_files(l.pid) <= open_before, PATIENCE_MS), "and over 30 managers");
    hear(&l, "welcome", 0);
    int kept = 0;
    while (hear_within(&l, "instance", 0, 0) != NULL)
        kept++;
    is_int(kept, 991, "all that has not been forgotten is kept: 990 and the first");
    for (int id = 5000; id < 5020; id++) {
        tell(&l, "start", f("id=%d", id), "endpoint=1", "arg=/bin/true", "cwd=/", NULL);
        hear(&l, "exited", id);
    }
    kill(l.manager_pid, SIGKILL);
    launcher_meet(&l, PATIENCE_MS);
    hear(&l, "welcome", 0);
    for (kept = 0; hear_within(&l, "instance", 0, 0) != NULL; kept++)
        continue;
    is_int(kept, 1000, "but no more than 1000");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_log(void) {
    launcher_t l;
    launcher_prepare(&l);
    mkdir(l.runtime, 0700);
    const char *log = in_runtime(&l, "usher.log");
    launcher_start(&l, (const char *const[]){"--mode", "embedded", "--log", log, NULL});
    launcher_meet(&l, PATIENCE_MS);
    is_str(field(hear(&l, "hello", 0), "log"), log, "hello names the log");
    const char *text = read_text(in_runtime(&l, "usher.log"));
    ok(strncmp(text, "{\"level\":\"", 10) == 0 && strstr(text, "\",\"time\":\"20") != NULL &&
           strstr(text, "\"event\":\"launcher.started\"") != NULL &&
           strstr(text, "\"event\":\"manager.started\"") != NULL,
       "the launcher's own lines are JSON");
    rename(in_runtime(&l, "usher.log"), in_runtime(&l, "channel/old.log"));
    kill(l.pid, SIGHUP);
    ok(comes_true(exists(in_runtime(&l, "usher.log")), PATIENCE_MS), "HUP begins a new file");
    tell(&l, "say \"what\"\x01 \\", NULL);
    ok(comes_true(strstr(read_text(in_runtime(&l, "usher.log")),
                         "\"verb\":\"say \\\"what\\\"\\u0001 \\\\\"") != NULL,
                  PATIENCE_MS),
       "text in it is escaped");
    rename(in_runtime(&l, "usher.log"), in_runtime(&l, "channel/old.log"));
    tell(&l, "reopen", "id=77", NULL);
    const packet_t *reopened = hear(&l, "reopened", 77);
    is_str(field(reopened, "path"), log, "the manager can ask for that");
    struct stat told, there;
    int fd = take_descriptor(reopened);
    ok(fd >= 0 && fstat(fd, &told) == 0 && stat(in_runtime(&l, "usher.log"), &there) == 0 &&
           told.st_ino == there.st_ino,
       "and gets the new file");
    kill(l.pid, SIGUSR1);
    close(fd);
    fd = take_descriptor(hear(&l, "log", 0));
    ok(fd >= 0, "on a signal it gets it unasked");
    close(fd);
    ok(launcher_close(&l), "the launcher ends");
}

/* systemd's side of Type=notify. */
static void test_notify(void) {
    launcher_t l;
    launcher_prepare(&l);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", l.base);
    int systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bind(systemd, (struct sockaddr *)&address, sizeof(address));
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    launcher_start(&l, (const char *const[]){"--mode", "external", NULL});
    unsetenv("NOTIFY_SOCKET");
    launcher_meet(&l, PATIENCE_MS);
    hear(&l, "welcome", 0);
    char text[64] = "";
    ok(recv(systemd, text, sizeof(text), MSG_DONTWAIT) < 0, "nothing before the manager is ready");
    ok(memmem(read_text(f("/proc/%d/environ", l.manager_pid)), 4096, "NOTIFY_SOCKET", 13) == NULL,
       "the manager does not inherit the socket's name");
    tell(&l, "ready", NULL);
    ssize_t length = recv(systemd, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    is_str(text, f("READY=1\nMAINPID=%d\nSTATUS=the manager is ready", l.pid),
           "the launcher tells systemd");
    tell(&l, "quit", "remove=1", NULL);
    length = recv(systemd, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    is_str(text, "STOPPING=1", "and when it ends");
    launcher_leave(&l);
    is_int(launcher_wait(&l, PATIENCE_MS), 0, "the launcher ends");
    close(systemd);
    launcher_remove(&l);
}

/* Everything at once, in an order nobody thought of. */
static void test_storm(void) {
    launcher_t l;
    launcher_open(&l, "run");
    hear(&l, "welcome", 0);
    int open_before = count_open_files(l.pid);
    srand(7);
    int next_id = 1;
    for (int i = 0; i < 2000; i++) {
        int id = 1 + rand() % (next_id + 1);
        switch (rand() % 8) {
        case 0:
            tell(&l, "bind", f("id=%d", next_id), f("name=e%d", next_id), NULL);
            next_id++;
            break;
        case 1:
            tell(&l, "close", f("id=%d", id), NULL);
            break;
        case 2:
        case 3:
            tell(&l, "start", f("id=%d", next_id++), f("endpoint=%d", id),
                 f("arg=%s", rand() % 2 == 0 ? helper_program() : "/no/program"), "arg=serve",
                 f("arg=%d", rand() % 20), NULL);
            break;
        case 4:
        case 5:
            tell(&l, "signal", f("id=%d", id), rand() % 2 == 0 ? "signal=9" : "signal=15", NULL);
            break;
        case 6:
            tell(&l, "forget", f("id=%d", id), NULL);
            break;
        default:
            if (rand() % 20 != 0)
                break;
            tell(&l, "ready", NULL);
            kill(l.manager_pid, SIGKILL);
            if (!launcher_meet(&l, PATIENCE_MS))
                i = 2000;
        }
    }
    tell(&l, "ready", NULL);
    sleep_ms(200);
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, PATIENCE_MS), "after a storm a manager is greeted");
    const packet_t *packet;
    hear(&l, "welcome", 0);
    int alive = 0;
    while ((packet = hear_within(&l, "instance", 0, 0)) != NULL) {
        tell(&l, "signal", f("id=%lld", number_field(packet, "id")), "signal=9", NULL);
        if (strcmp(field(packet, "state"), "exited") != 0)
            alive++;
    }
    while ((packet = hear_within(&l, "endpoint", 0, 0)) != NULL)
        tell(&l, "close", f("id=%lld", number_field(packet, "id")), NULL);
    int exited = 0;
    while (exited < alive && hear_within(&l, "exited", 0, PATIENCE_MS) != NULL)
        exited++;
    is_int(exited, alive, "all that lived can be ended");
    ok(comes_true(count_open_files(l.pid) == open_before, PATIENCE_MS),
       "and no descriptor is lost");
    ok(launcher_close(&l), "the launcher ends");
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    test_hello();
    test_clean_start();
    test_command_line();
    test_endpoints();
    test_exec_failures();
    test_users();
    test_descriptors_run_out();
    test_output();
    test_flood();
    test_manager_killed();
    test_manager_slow();
    test_last_word();
    test_bad_messages();
    test_nothing_leaks();
    test_log();
    test_notify();
    test_storm();
}

int main(void) {
    run_for_users(suite);
    return done_testing();
}
