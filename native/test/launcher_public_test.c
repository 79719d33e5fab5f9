/* SPDX-License-Identifier: Apache-2.0 */
/* Public addresses: where they are bound, who shares them, and retiring one of those who do. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

#define NOBODY 65534

static bool is_root(void) {
    return geteuid() == 0;
}

static void bind_at(launcher_t *l, int id, const char *listen) {
    tell(l, "bind", f("id=%d", id), f("name=e%d", id), f("listen=%s", listen), NULL);
    ok(number_field(hear(l, "bound", id), "inode") > 0, "bound to %s", listen);
}

static void close_endpoint(launcher_t *l, int id) {
    tell(l, "close", f("id=%d", id), NULL);
    hear(l, "closed", id);
}

static void refuses(launcher_t *l, const char *listen, const char *step, int error,
                    const char *words) {
    tell(l, "bind", "id=90", "name=e90", f("listen=%s", listen), NULL);
    const packet_t *failed = hear(l, "failed", 90);
    const char *text = field(failed, "error");
    is_str(field(failed, "step"), step, "%s fails in step %s", listen, step);
    is_int(number_field(failed, "errno"), error, "with errno %d", error);
    ok(strstr(text, words) != NULL, "and \"%s\" says \"%s\"", text, words);
}

/* Start the helper in a role; gives its pid when it is ready. */
static pid_t start(launcher_t *l, int id, int endpoint, const char *role, const char *word) {
    tell(l, "start", f("id=%d", id), f("endpoint=%d", endpoint), f("arg=%s", helper_program()),
         f("arg=%s", role), f("arg=%s", word), "cwd=/", NULL);
    pid_t pid = (pid_t)number_field(hear(l, "started", id), "pid");
    hear(l, "ready", id);
    return pid;
}

static char state_of(pid_t pid) {
    const char *name_end = strrchr(read_text(f("/proc/%d/stat", pid)), ')');
    return name_end != NULL ? name_end[2] : '\0';
}

static void stop(pid_t pid) {
    kill(pid, SIGSTOP);
    ok(comes_true(state_of(pid) == 'T', PATIENCE_MS), "%d is stopped", pid);
}

/* ---- UNIX sockets -------------------------------------------------------------------------- */

static mode_t mode_of(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_mode : 0;
}

static void test_unix(void) {
    launcher_t l;
    launcher_open(&l, "run");
    char path[100];
    snprintf(path, sizeof(path), "%s/app.sock", l.base);
    bind_at(&l, 1, f("unix:%s", path));
    is_int(mode_of(path), S_IFSOCK | 0660, "the socket's file is for its owner and group");
    ok(!exists(in_runtime(&l, "sockets/e1")), "there is none in the runtime directory");
    pid_t one = start(&l, 2, 1, "serve", "0"), two = start(&l, 3, 1, "serve", "0");
    stop(one);
    is_int(atoll(converse(path, PATIENCE_MS)), two,
           "the second instance serves while the first is stopped");
    kill(one, SIGCONT);
    stop(two);
    is_int(atoll(converse(path, PATIENCE_MS)), one, "and the first while the second is");
    kill(two, SIGCONT);

    refuses(&l, f("unix:%s", path), "bind", EADDRINUSE, "another program listens there");
    tell(&l, "link", "id=1", "server=nginx-1", NULL);
    is_str(field(hear(&l, "failed", 1), "step"), "link", "it is not linked into servers' folders");

    tell(&l, "ready", NULL);
    kill(l.manager_pid, SIGKILL);
    launcher_meet(&l, PATIENCE_MS);
    is_str(field(hear(&l, "endpoint", 1), "listen"), f("unix:%s", path),
           "a new manager learns of the address");
    ok(atoll(converse(path, PATIENCE_MS)) > 0, "which was served all the time");
    close_endpoint(&l, 1);
    ok(!exists(path), "closing removes the file");
    ok(launcher_close(&l), "the launcher ends");
}

static void leave_stale_socket(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) < sizeof(name.sun_path))
        strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0, "a stale socket stands there");
    close(fd);
}

static void test_unix_in_the_way(void) {
    launcher_t l;
    launcher_open(&l, "run");
    char path[100];
    snprintf(path, sizeof(path), "%s/app.sock", l.base);
    leave_stale_socket(path);
    bind_at(&l, 1, f("unix:%s", path));
    int client = connect_to(path);
    ok(client >= 0, "it was replaced");
    close(client);
    unlink(path);
    make_file(path, "precious", 0644);
    close_endpoint(&l, 1);
    is_str(read_text(path), "precious", "closing spares a file that is not ours");
    refuses(&l, f("unix:%s", path), "bind", EEXIST, "no socket has this name");
    is_str(read_text(path), "precious", "and so does binding");
    refuses(&l, f("unix:%s/nowhere/app.sock", l.base), "listen", ENOENT, "/nowhere of socket");
    refuses(&l, "unix:app.sock", "listen", EINVAL, "an absolute path");
    refuses(&l, f("unix:%s/", l.base), "listen", EINVAL, "not the path of a file");
    refuses(&l, f("unix:%s/%0120d", l.base, 0), "bind", ENAMETOOLONG, "the system allows 107");
    refuses(&l, "9000", "listen", EINVAL, "unix:/PATH or tcp:");
    mkdir(f("%s/real", l.base), 0755);
    ok(symlink(f("%s/real", l.base), f("%s/link", l.base)) == 0, "a symbolic link on the way …");
    bind_at(&l, 2, f("unix:%s/link/app.sock", l.base));
    ok(exists(f("%s/real/app.sock", l.base)), "… is followed");
    ok(launcher_close(&l), "the launcher ends");
}

/* Root's launcher and a program's user. */
static void test_owner(void) {
    if (!is_root())
        return;
    launcher_t l;
    launcher_open(&l, "run");
    struct stat status;
    char trusted[128], folder[128], theirs[160];
    snprintf(trusted, sizeof(trusted), "%s/trusted.sock", l.base);
    snprintf(folder, sizeof(folder), "%s/theirs", l.base);
    snprintf(theirs, sizeof(theirs), "%s/app.sock", folder);
    tell(&l, "bind", "id=1", "name=e1", f("listen=unix:%s", trusted), "user=nobody",
         "group=www-data", NULL);
    hear(&l, "bound", 1);
    ok(lstat(trusted, &status) == 0 && status.st_uid == NOBODY && status.st_gid == 33 &&
           status.st_mode == (S_IFSOCK | 0660),
       "in root's folder: a file of the program's user and group");
    mkdir(folder, 0755);
    ok(chown(folder, NOBODY, NOBODY) == 0, "in a folder of the user's …");
    tell(&l, "bind", "id=2", "name=e2", f("listen=unix:%s", theirs), "user=nobody", NULL);
    hear(&l, "bound", 2);
    ok(lstat(theirs, &status) == 0 && status.st_uid == NOBODY && status.st_gid == NOBODY &&
           status.st_mode == (S_IFSOCK | 0660),
       "… as well");
    close_endpoint(&l, 2);
    ok(!exists(theirs), "and it is removed there");

    mkdir(f("%s/private", l.base), 0700);
    ok(symlink(f("%s/private", l.base), f("%s/way", folder)) == 0, "a link of the user's …");
    tell(&l, "bind", "id=3", "name=e3", f("listen=unix:%s/way/app.sock", folder), "user=nobody",
         NULL);
    /* to a folder that is root's alone root may go, and gives away no more than a socket */
    hear(&l, "bound", 3);
    close_endpoint(&l, 3);
    tell(&l, "bind", "id=4", "name=e4", f("listen=unix:%s/app.sock", folder), "user=daemon", NULL);
    is_int(number_field(hear(&l, "failed", 4), "errno"), EACCES,
           "in a folder of another user root does not help");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- TCP ----------------------------------------------------------------------------------- */

static unsigned free_port(void) {
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(name);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&name, length) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &length) < 0)
        return 0;
    close(fd);
    return ntohs(name.sin_port);
}

static int connect_tcp(unsigned port) {
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0)
        return fd;
    close(fd);
    return -1;
}

static long long converse_tcp(unsigned port) {
    int fd = connect_tcp(port);
    if (fd < 0)
        return -1;
    const char *text = read_all(fd, PATIENCE_MS);
    close(fd);
    return text != NULL ? atoll(text) : -1;
}

static void test_tcp(void) {
    launcher_t l;
    launcher_open(&l, "run");
    unsigned port = free_port();
    bind_at(&l, 1, f("tcp:127.0.0.1:%u", port));
    int early = connect_tcp(port);
    ok(early >= 0, "a connection comes before the program");
    pid_t pid = start(&l, 2, 1, "serve", "0");
    is_int(atoll(read_all(early, PATIENCE_MS)), pid, "and is served");
    close(early);
    refuses(&l, f("tcp:127.0.0.1:%u", port), "bind", EADDRINUSE, f("127.0.0.1:%u", port));
    close_endpoint(&l, 1);
    tell(&l, "signal", "id=2", "signal=9", NULL);
    hear(&l, "exited", 2);
    ok(connect_tcp(port) < 0, "nobody listens after close and the last instance");
    bind_at(&l, 3, f("tcp:%u", port));
    pid = start(&l, 4, 3, "serve", "0");
    is_int(converse_tcp(port), pid, "a port alone is every interface");
    if (access("/proc/sys/net/ipv6", F_OK) == 0)
        bind_at(&l, 5, f("tcp:[::1]:%u", free_port()));
    const char *const wrong[] = {"tcp:0",         "tcp:65536",       "tcp:",
                                 "tcp:localhost", "tcp:1.2.3:80",    "tcp:[::1]80",
                                 "tcp:[::1:80",   "tcp:[1.2.3.4]:8", "tcp:1.2.3.4:80x"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        refuses(&l, wrong[i], "listen", EINVAL, "is expected");
    if (!is_root())
        refuses(&l, "tcp:127.0.0.1:7", "bind", EACCES, "below 1024 need root");
    ok(launcher_close(&l), "the launcher ends");
}

/* A program that is never seen waiting is ready when it has taken a connection; another's does not
 * count. */
static void test_ready_by_connection(const char *listen, int (*connect_one)(void *), void *where) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_at(&l, 1, listen);
    pid_t other = start(&l, 2, 1, "hold", "");
    int held = connect_one(where);
    ok(held >= 0, "one instance holds a connection");
    sleep_ms(50);
    tell(&l, "start", "id=3", "endpoint=1", f("arg=%s", helper_program()), "arg=spin", "arg=3000",
         "cwd=/", NULL);
    hear(&l, "started", 3);
    ok(hear_within(&l, "ready", 3, 200) == NULL, "another one is not ready by that");
    stop(other);
    int taken = connect_one(where);
    ok(hear_within(&l, "ready", 3, PATIENCE_MS) != NULL, "it is when it has taken its own");
    close(taken);
    close(held);
    ok(launcher_close(&l), "the launcher ends");
}

static int connect_path(void *path) {
    return connect_to(path);
}

static int connect_port(void *port) {
    return connect_tcp(*(unsigned *)port);
}

/* ---- look ---------------------------------------------------------------------------------- */

/* 1 idle, 0 not. */
static int look(launcher_t *l, int id, int signal) {
    if (signal == 0)
        tell(l, "look", f("id=%d", id), NULL);
    else
        tell(l, "look", f("id=%d", id), f("signal=%d", signal), NULL);
    return (int)number_field(hear(l, "looked", id), "idle");
}

/* `role` waits for connections in some way; it is idle until it has one. */
static void test_look_at(const char *listen, int (*connect_one)(void *), void *where,
                         const char *role, const char *word) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_at(&l, 1, listen);
    pid_t pid = start(&l, 2, 1, role, word);
    /* on a loaded machine it may take long to stop or to sleep again: then it counts as busy */
    ok(comes_true(look(&l, 2, 0) == 1, PATIENCE_MS), "%s: idle", role);
    ok(comes_true(state_of(pid) == 'S', PATIENCE_MS), "%s: goes on", role);
    ok(comes_true(look(&l, 2, 0) == 1, PATIENCE_MS), "%s: idle at the second look", role);
    int client = connect_one(where);
    ok(comes_true(look(&l, 2, SIGTERM) == 0, PATIENCE_MS), "%s: busy with a connection", role);
    for (int i = 0; i < 20; i++)
        look(&l, 2, SIGTERM);
    ok(state_of(pid) != 'T' && is_alive(pid), "%s: lives and goes on", role);
    close(client);
    ok(comes_true(look(&l, 2, SIGTERM) == 1, PATIENCE_MS), "%s: idle when it is gone", role);
    is_int(number_field(hear(&l, "exited", 2), "exit_signal"), SIGTERM, "%s: ended", role);
    tell(&l, "look", "id=2", NULL);
    is_str(field(hear(&l, "failed", 2), "step"), "instance", "an exited one is not looked at");
    ok(launcher_close(&l), "the launcher ends");
}

/* A client in another network namespace; gives the pid that keeps its connection, 0 where there may be
 * no such client. */
static pid_t connect_from_elsewhere(const char *path) {
    int told[2];
    char result = 0;
    ok(pipe2(told, O_CLOEXEC) == 0, "a client comes from another network namespace");
    fflush(stdout);
    pid_t client = fork();
    if (client == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        bool elsewhere = unshare(is_root() ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER) == 0;
        result = (char)(!elsewhere ? 'n' : connect_to(path) < 0 ? 'f' : 'c');
        ssize_t written = write(told[1], &result, 1);
        (void)written;
        pause();
    }
    close(told[1]);
    ssize_t got = read(told[0], &result, 1);
    close(told[0]);
    if (got == 1 && result == 'c')
        return client;
    kill(client, SIGKILL);
    waitpid(client, NULL, 0);
    ok(got == 1 && result == 'n', "or may not be in one");
    return 0;
}

/* No table of sockets that the launcher could read has its connection. */
static void test_look_at_connection_from_elsewhere(void) {
    launcher_t l;
    launcher_open(&l, "run");
    char path[100];
    snprintf(path, sizeof(path), "%s/app.sock", l.base);
    bind_at(&l, 1, f("unix:%s", path));
    pid_t pid = start(&l, 2, 1, "gather", "");
    pid_t client = connect_from_elsewhere(path);
    if (client == 0) {
        skip(2, "no network namespaces here");
    } else {
        int idle = 0;
        for (int i = 0; i < 20 && idle == 0; i++) {
            comes_true(state_of(pid) == 'S', PATIENCE_MS); /* it waits for the next one again */
            idle = look(&l, 2, SIGTERM);
        }
        is_int(idle, 0, "busy with its connection");
        kill(client, SIGKILL);
        waitpid(client, NULL, 0);
        ok(comes_true(look(&l, 2, SIGTERM) == 1, PATIENCE_MS), "idle when it is gone");
    }
    ok(launcher_close(&l), "the launcher ends");
}

/* It has no connection, and works all the same. */
static void test_look_at_worker(void) {
    launcher_t l;
    launcher_open(&l, "run");
    char path[100];
    snprintf(path, sizeof(path), "%s/app.sock", l.base);
    bind_at(&l, 1, f("unix:%s", path));
    pid_t pid = start(&l, 2, 1, "work-after", "");
    ok(comes_true(look(&l, 2, 0) == 1, PATIENCE_MS), "idle before its first connection");
    ok(converse(path, PATIENCE_MS) != NULL, "it answers, closes, and works on");
    is_int(look(&l, 2, SIGTERM), 0, "not idle without a connection while it works");
    ok(is_alive(pid), "and lives");
    ok(launcher_close(&l), "the launcher ends");
}

/* The manager dies while an instance is stopped for it. */
static void test_look_without_manager(void) {
    launcher_t l;
    launcher_open(&l, "run");
    bind_at(&l, 1, f("unix:%s/app.sock", l.base));
    pid_t pid = start(&l, 2, 1, "serve", "0");
    tell(&l, "ready", NULL);
    for (int i = 0; i < 10; i++) {
        kill(l.pid, SIGSTOP);
        tell(&l, "look", "id=2", NULL);
        kill(l.manager_pid, SIGKILL);
        kill(l.pid, SIGCONT);
        launcher_meet(&l, PATIENCE_MS);
        tell(&l, "ready", NULL);
    }
    ok(comes_true(state_of(pid) == 'S', PATIENCE_MS), "an instance goes on when the asker died");
    ok(launcher_close(&l), "the launcher ends");
}

/* Says why when it is not. */
static bool is_answered(const char *path) {
    uint64_t begin = now_ms();
    errno = 0;
    int fd = connect_to(path);
    const char *text = fd < 0 ? NULL : read_all(fd, 60000);
    int error = errno;
    close(fd);
    if (text != NULL && atoll(text) > 0)
        return true;
    printf("# after %llu ms: %s, %s\n", (unsigned long long)(now_ms() - begin),
           fd < 0         ? "no connection"
           : text == NULL ? "no answer"
                          : "the connection ended without an answer",
           strerror(error));
    fflush(stdout);
    return false;
}

/* Clients without pause; gives how many were not answered. */
static int hammer(const char *path, int done) {
    int lost = 0;
    struct pollfd wait = {.fd = done, .events = POLLIN};
    while (poll(&wait, 1, 0) == 0)
        lost += !is_answered(path);
    return lost < 100 ? lost : 100;
}

static void test_no_connection_is_lost(void) {
    enum { CLIENTS = 3, REPLACED = 60 };
    launcher_t l;
    launcher_open(&l, "run");
    char path[100];
    snprintf(path, sizeof(path), "%s/app.sock", l.base);
    bind_at(&l, 1, f("unix:%s", path));
    start(&l, 2, 1, "serve", "0");
    start(&l, 3, 1, "children", "2");
    int done[2], lost = 0;
    pid_t clients[CLIENTS];
    ok(pipe(done) == 0, "%d clients ask without pause", CLIENTS);
    fflush(stdout);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = fork();
        if (clients[i] == 0) {
            close(done[1]);
            _exit(hammer(path, done[0]));
        }
    }
    int id = 2, spared = 0;
    for (; id < 2 + REPLACED; id++) {
        start(&l, id + 2, 1, id % 2 == 0 ? "serve" : "children", id % 2 == 0 ? "0" : "2");
        while (look(&l, id, SIGTERM) == 0)
            spared++;
        hear(&l, "exited", id);
    }
    close(done[1]);
    for (int i = 0; i < CLIENTS; i++) {
        int status;
        waitpid(clients[i], &status, 0);
        lost += WIFEXITED(status) ? WEXITSTATUS(status) : 100;
    }
    close(done[0]);
    is_int(lost, 0, "none goes unanswered while %d instances are replaced", REPLACED);
    printf("# spared because busy: %d times\n", spared);
    ok(launcher_close(&l), "the launcher ends");
}

/* A program that cannot start: whoever waits is told, and the address is kept. */
static void test_refusal(void) {
    launcher_t l;
    launcher_open(&l, "run");
    char path[100];
    snprintf(path, sizeof(path), "%s/app.sock", l.base);
    bind_at(&l, 1, f("unix:%s", path));
    int waits = connect_to(path);
    tell(&l, "refuse", "id=1", "refusal=no such program", "retry_after_s=7", NULL);
    const char *text = read_all(waits, PATIENCE_MS);
    ok(text != NULL && memmem(text, 64, "usher: no such program", 22) != NULL,
       "a connection that waits is answered with the reason");
    close(waits);
    pid_t pid = start(&l, 2, 1, "hold", "");
    stop(pid);
    waits = connect_to(path);
    tell(&l, "refuse", "id=1", "refusal=no", NULL);
    struct pollfd silence = {.fd = waits, .events = POLLIN};
    ok(poll(&silence, 1, 200) == 0, "nothing is refused while a program lives there");
    kill(pid, SIGCONT);
    shutdown(waits, SHUT_WR);
    is_str(read_all(waits, PATIENCE_MS), "", "which serves it");
    close(waits);
    ok(launcher_close(&l), "the launcher ends");
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    test_unix();
    test_unix_in_the_way();
    test_owner();
    test_tcp();
    char path[64];
    snprintf(path, sizeof(path), "/tmp/usher-public-%d.sock", getpid());
    unsigned port = free_port();
    test_ready_by_connection(f("unix:%s", path), connect_path, path);
    test_ready_by_connection(f("tcp:127.0.0.1:%u", port), connect_port, &port);
    test_look_at(f("unix:%s", path), connect_path, path, "hold", "");
    test_look_at(f("tcp:127.0.0.1:%u", port), connect_port, &port, "hold", "");
    test_look_at(f("tcp:%u", port), connect_port, &port, "hold", "poll");
    test_look_at(f("unix:%s", path), connect_path, path, "hold", "thread");
    test_look_at(f("unix:%s", path), connect_path, path, "hold", "children");
    test_look_at(f("unix:%s", path), connect_path, path, "gather", "");
    test_look_at(f("tcp:%u", port), connect_port, &port, "gather", "");
    test_look_at_connection_from_elsewhere();
    test_refusal();
    test_look_at_worker();
    test_look_without_manager();
    test_no_connection_is_lost();
}

int main(void) {
    run_for_users(suite);
    return done_testing();
}
