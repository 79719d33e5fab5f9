/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits, the program's log file, snapshots of more than one process. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

#define NOBODY 65534

static launcher_t l;
static int last_id;

static bool is_root(void) {
    return geteuid() == 0;
}

/* Start a shell script; fields may be NULL. Gives its id. */
static int start_shell(const char *script, const char *one, const char *two) {
    last_id++;
    tell(&l, "start", f("id=%d", last_id), "endpoint=1", "arg=/bin/sh", "arg=-c",
         f("arg=%s", script), "cwd=/", one != NULL ? one : "x=", two != NULL ? two : "x=", NULL);
    return last_id;
}

static const char *output_of(int id) {
    return field(hear(&l, "exited", id), "output");
}

/* ---- limits -------------------------------------------------------------------------------- */

static void has_limits(const char *one, const char *two, const char *words, const char *expected) {
    is_str(output_of(start_shell(words, one, two)), expected, "%s %s", one, two != NULL ? two : "");
}

static void refuses(const char *limit) {
    int id = start_shell("exit 0", limit, NULL);
    const packet_t *failed = hear(&l, "failed", id);
    is_str(field(failed, "step"), "limit", "%s is refused", limit);
    ok(strstr(field(failed, "error"), limit + 6) != NULL, "and named: %s", field(failed, "error"));
}

/* Root may not everywhere: not in a container, say. */
static bool may_raise_limits(void) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}) == 0);
    int status;
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static void test_limits(void) {
    has_limits("limit=nofile=77", NULL, "ulimit -Sn; ulimit -Hn", "77\n77\n");
    has_limits("limit=core=0", "limit=fsize=2K", "ulimit -Sc; ulimit -Sf", "0\n4\n");
    has_limits("limit=as=1.5G", "limit=stack=512k", "ulimit -Hv; ulimit -Hs", "1572864\n512\n");
    has_limits("limit=cpu=9", "limit=data=64M", "ulimit -Ht; ulimit -Hd", "9\n65536\n");
    has_limits("limit=nofile=20", "limit=nofile=30", "ulimit -n", "30\n");
    is_int(number_field(hear(&l, "exited", start_shell("while :; do :; done", "limit=cpu=1", NULL)),
                        "exit_signal"),
           SIGKILL, "a limit is kept by the kernel: cpu=1 ends an endless loop");
    if (may_raise_limits()) {
        has_limits("limit=memlock=unlimited", "user=nobody", "ulimit -l", "unlimited\n");
    } else {
        struct rlimit files;
        getrlimit(RLIMIT_NOFILE, &files);
        int id = start_shell("exit 0", f("limit=nofile=%lld", (long long)files.rlim_max + 1), NULL);
        const packet_t *failed = hear(&l, "failed", id);
        is_str(field(failed, "step"), "limit", "beyond our own hard limit: step limit");
        ok(strstr(field(failed, "error"), "that this manager itself may have") != NULL,
           "and why: %s", field(failed, "error"));
    }
    static const char *const wrong[] = {
        "limit=files=1",   "limit=nofile",     "limit=nofile=",    "limit=nofile=-1",
        "limit=nofile=1X", "limit=nofile=1KK", "limit=nofile=0.3", "limit=as=1e9",
        "limit=as=0x10",   "limit==3",         "limit=as=1..5",    "limit=as=inf"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        refuses(wrong[i]);
}

/* ---- log files ----------------------------------------------------------------------------- */

static const char *launcher_says(void) {
    return read_text(l.log);
}

static void test_log(void) {
    char path[128], log[160];
    snprintf(path, sizeof(path), "%s/app.log", l.base);
    snprintf(log, sizeof(log), "log=%s", path);
    is_str(output_of(start_shell("echo one; echo two >&2; printf three", log, NULL)),
           "one\ntwo\nthree", "with a log file the output is kept and passed on as before");
    is_str(read_text(path), "one\ntwo\nthree", "and the file has it");
    struct stat status;
    ok(stat(path, &status) == 0 && status.st_mode == (S_IFREG | 0640), "mode 0640");
    output_of(start_shell("echo; echo four", log, NULL));
    is_str(read_text(path), "one\ntwo\nthree\nfour\n", "the next instance appends");

    int id = start_shell("echo before; read x; echo after; read x; exit 0", log, NULL);
    ok(comes_true(strstr(read_text(path), "before\n") != NULL, PATIENCE_MS),
       "a line is there at once");
    tell(&l, "signal", f("id=%d", id), "signal=9", NULL);
    hear(&l, "exited", id);

    id = start_shell("trap 'echo again' USR1; while :; do sleep 0.05; done", log, NULL);
    hear(&l, "started", id);
    sleep_ms(100);
    rename(path, f("%s.1", path));
    bool began = false;
    for (int i = 0; i < 100 && !began; i++) {
        tell(&l, "signal", f("id=%d", id), f("signal=%d", SIGUSR1), NULL);
        sleep_ms(50);
        began = strstr(read_text(path), "again\n") != NULL;
    }
    ok(began, "a renamed file is begun anew");
    ok(strstr(read_text(f("%s.1", path)), "again") == NULL, "and gets nothing more");
    tell(&l, "signal", f("id=%d", id), "signal=9", NULL);
    hear(&l, "exited", id);

    id = start_shell("exit 0", "log=app.log", NULL);
    is_str(field(hear(&l, "failed", id), "step"), "log", "a relative path is refused: step log");
}

/* Whatever is wrong with the file, the program runs and is heard. */
static void runs_without(const char *log, const char *words) {
    is_str(output_of(start_shell("echo hello; echo again", f("log=%s", log), NULL)),
           "hello\nagain\n", "log %s: the program runs and is heard", log);
    ok(comes_true(strstr(launcher_says(), words) != NULL, PATIENCE_MS), "and \"%s\" is said",
       words);
}

static void test_log_failures(void) {
    runs_without(f("%s/nowhere/app.log", l.base), "/nowhere/app.log\",\"error\":\"No such file");
    runs_without(l.base, "\"error\":\"Is a directory");
    make_file(f("%s/target", l.base), "precious", 0666);
    ok(symlink(f("%s/target", l.base), f("%s/link.log", l.base)) == 0, "a symbolic link …");
    runs_without(f("%s/link.log", l.base), "link.log\",\"error\":\"it is a symbolic link");
    is_str(read_text(f("%s/target", l.base)), "precious", "… is not followed");
    ok(mkfifo(f("%s/fifo.log", l.base), 0666) == 0, "a FIFO that nobody reads …");
    runs_without(f("%s/fifo.log", l.base), "fifo.log\",\"error\":\"No such device");
    int reader = open(f("%s/fifo.log", l.base), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    runs_without(f("%s/fifo.log", l.base), "fifo.log\",\"error\":\"");
    close(reader);
}

static void test_log_full(void) {
    char folder[128], path[160];
    snprintf(folder, sizeof(folder), "%s/small", l.base);
    snprintf(path, sizeof(path), "%s/app.log", folder);
    mkdir(folder, 0755);
    if (!is_root() || mount("none", folder, "tmpfs", 0, "size=8k") < 0) {
        ok(true, "skipped: a small file system cannot be mounted here # SKIP");
        return;
    }
    int id =
        start_shell("trap 'echo room again' USR1; "
                    "i=0; while [ $i -lt 300 ]; do echo 0123456789012345678901234567890123456789"
                    "; i=$((i+1)); done; echo end of it; while :; do sleep 0.05; done",
                    f("log=%s", path), NULL);
    ok(comes_true(strstr(launcher_says(), "app.log\",\"error\":\"No space left") != NULL,
                  PATIENCE_MS),
       "a full disk is said");
    const packet_t *output;
    bool ended = false;
    while (!ended && (output = hear_within(&l, "output", id, PATIENCE_MS)) != NULL)
        ended = strstr(field(output, "text"), "end of it\n") != NULL;
    ok(ended, "and stops nothing");
    ok(truncate(path, 0) == 0, "when there is room again …");
    bool resumed = false;
    for (int i = 0; i < 100 && !resumed; i++) {
        tell(&l, "signal", f("id=%d", id), f("signal=%d", SIGUSR1), NULL);
        sleep_ms(50);
        resumed = strstr(read_text(path), "room again\n") != NULL;
    }
    ok(resumed && strstr(launcher_says(), "\"event\":\"program-log.resumed\"") != NULL,
       "… it goes on, and that is said");
    tell(&l, "signal", f("id=%d", id), "signal=9", NULL);
    hear(&l, "exited", id);
    umount2(folder, MNT_DETACH);
}

static void test_log_flood(void) {
    char log[160];
    snprintf(log, sizeof(log), "%s/flood.log", l.base);
    int id = start_shell("head -c 60000000 /dev/zero | tr '\\0' '\\n'; echo end", f("log=%s", log),
                         NULL);
    hear(&l, "exited", id);
    struct stat status;
    ok(stat(log, &status) == 0 && status.st_size >= 1 << 20 && status.st_size < 40 << 20,
       "a program that writes without end does not fill the disk");
    ok(comes_true(strstr(launcher_says(), "more than 1 MB a second") != NULL, PATIENCE_MS) &&
           comes_true(strstr(launcher_says(), "\"lost_bytes\":") != NULL, PATIENCE_MS),
       "and that is said, with what was lost");
    unlink(log);
}

/* A launcher that is root opens the file as the program's user. */
static void test_log_user(void) {
    if (!is_root())
        return;
    char folder[128];
    struct stat status;
    snprintf(folder, sizeof(folder), "%s/theirs", l.base);
    mkdir(folder, 0755);
    mkdir(f("%s/roots", l.base), 0700);
    make_file(f("%s/roots/secret", l.base), "secret\n", 0600);
    ok(chown(folder, NOBODY, NOBODY) == 0, "a folder of the user's");
    output_of(start_shell("echo mine", f("log=%s/app.log", folder), "user=nobody"));
    ok(stat(f("%s/app.log", folder), &status) == 0 && status.st_uid == NOBODY &&
           status.st_gid == NOBODY,
       "the file is the user's");
    ok(symlink(f("%s/roots", l.base), f("%s/way", folder)) == 0, "a link to root's folder …");
    output_of(start_shell("echo attack", f("log=%s/way/secret", folder), "user=nobody"));
    output_of(start_shell("echo attack", f("log=%s/way/new", folder), "user=nobody"));
    is_str(read_text(f("%s/roots/secret", l.base)), "secret\n", "… changes nothing in it");
    ok(!exists(f("%s/roots/new", l.base)), "and makes nothing in it");
    ok(strstr(launcher_says(), "way/secret\",\"error\":\"Permission denied") != NULL,
       "and that is said");
    output_of(start_shell("echo root", f("log=%s/roots/app.log", l.base), NULL));
    is_str(read_text(f("%s/roots/app.log", l.base)), "root\n",
           "afterwards the launcher is itself again");
}

static void test_log_shared(void) {
    int open_before = count_open_files(l.pid), first = last_id + 1;
    char log[160];
    snprintf(log, sizeof(log), "log=%s/shared.log", l.base);
    for (int i = 0; i < 20; i++)
        start_shell(
            "j=0; while [ $j -lt 50 ]; do echo 0123456789abcdef; j=$((j+1)); done; sleep 0.3", log,
            NULL);
    for (int i = 0; i < 20; i++)
        hear(&l, "exited", first + i);
    const char *text = read_text(f("%s/shared.log", l.base));
    int lines = 0;
    for (; strncmp(text, "0123456789abcdef\n", 17) == 0; text += 17)
        lines++;
    is_int(lines, 1000, "20 instances share a file line by line");
    /* fewer where something of a test before was still open */
    ok(comes_true(count_open_files(l.pid) <= open_before, PATIENCE_MS),
       "which is closed with the last of them");
}

/* ---- snapshot ------------------------------------------------------------------------------ */

static void test_snapshot(void) {
    int id = start_shell("sh -c 'sleep 1000 & echo orphan $!' & wait; exec sleep 1001", NULL, NULL);
    const char *orphan = strstr(field(hear(&l, "output", id), "text"), "orphan ");
    long pid = orphan != NULL ? atol(orphan + 7) : 0;
    char text[65536] = "";
    for (int i = 0; i < 3000 && strstr(text, f("process %ld: name sleep", pid)) == NULL; i++) {
        usleep(10000); /* it is a shell until it has executed sleep */
        tell(&l, "snapshot", f("id=%d", id), NULL);
        snprintf(text, sizeof(text), "%s", field(hear(&l, "snapshot", id), "text"));
    }
    ok(pid > 0 && strstr(text, f("process %ld: name sleep", pid)) != NULL,
       "a snapshot shows an orphan of the group");
    ok(strstr(text, "VmRSS:") != NULL && strstr(text, "SigBlk:") != NULL &&
           strstr(text, "thread ") != NULL && strstr(text, "fd 0 socket:[") != NULL,
       "status, threads, descriptors");
    ok(strstr(text, "syscall ") != NULL && strstr(text, "wchan ") != NULL,
       "and what each thread sleeps in");
    if (strstr(text, f("process %ld: name sleep", pid)) == NULL)
        printf("# %s\n", text);
    tell(&l, "signal", f("id=%d", id), "signal=9", NULL);
    hear(&l, "exited", id);
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    launcher_open(&l, "run");
    tell(&l, "bind", "id=1", "name=e1", NULL);
    hear(&l, "bound", 1);
    last_id = 1;
    test_limits();
    test_log();
    test_log_failures();
    test_log_full();
    test_log_flood();
    test_log_user();
    test_log_shared();
    test_snapshot();
    ok(launcher_close(&l), "the launcher ends");
}

int main(void) {
    run_for_users(suite);
    return done_testing();
}
