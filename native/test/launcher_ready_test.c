/* SPDX-License-Identifier: Apache-2.0 */
/* How the launcher sees that a program is ready, and what waits in an endpoint until one is. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

static launcher_t l;
static int last_id = 1;

/* Start a program (words up to NULL; NAME=value in front is environment); gives its id. */
static int start(int endpoint, const char *const *words) {
    char bytes[4096];
    size_t length = (size_t)sprintf(bytes, "start%cid=%d%cendpoint=%d%ccwd=/%c", 0, ++last_id, 0,
                                    endpoint, 0, 0);
    const char *name = "env";
    for (; *words != NULL; words++) {
        if ((*words)[0] == '/')
            name = "arg";
        length += (size_t)sprintf(bytes + length, "%s=%s%c", name, *words, 0);
    }
    tell_whole(&l, bytes, length);
    return last_id;
}

static int bind_endpoint(void) {
    last_id++;
    tell(&l, "bind", f("id=%d", last_id), f("name=e%d", last_id), NULL);
    hear(&l, "bound", last_id);
    return last_id;
}

static const char *path_of(int endpoint) {
    return in_runtime(&l, f("sockets/e%d", endpoint));
}

static void stop(int endpoint, int id) {
    tell(&l, "signal", f("id=%d", id), "signal=9", NULL);
    hear(&l, "exited", id);
    tell(&l, "close", f("id=%d", endpoint), NULL);
    hear(&l, "closed", endpoint);
}

/* A program becomes ready, not before `from_ms`, and says so once. */
static void becomes_ready(const char *what, int from_ms, const char *const *words) {
    int endpoint = bind_endpoint();
    uint64_t begin = now_ms();
    int id = start(endpoint, words);
    hear(&l, "started", id);
    const packet_t *ready = hear_within(&l, "ready", id, PATIENCE_MS);
    uint64_t took = now_ms() - begin;
    ok(ready != NULL && took + 1 >= (uint64_t)from_ms && number_field(ready, "ready_ns") > 0,
       "%s: ready", what);
    printf("# after %llu ms\n", (unsigned long long)took);
    ok(hear_within(&l, "ready", id, 120) == NULL, "%s: told once", what);
    stop(endpoint, id);
}

static void stays_unready(const char *what, const char *const *words) {
    int endpoint = bind_endpoint();
    int id = start(endpoint, words);
    hear(&l, "started", id);
    ok(hear_within(&l, "ready", id, 400) == NULL, "%s: not ready", what);
    stop(endpoint, id);
}

#define HELPER(...) ((const char *const[]){helper_program(), __VA_ARGS__, NULL})
#define PROGRAM(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_ways_to_wait(void) {
    becomes_ready("accept()", 0, HELPER("serve"));
    becomes_ready("accept() after a sleep", 300, HELPER("serve", "300"));
    becomes_ready("accept() in a thread", 0, HELPER("thread", "50"));
    becomes_ready("poll()", 0, HELPER("poll"));
    becomes_ready("select() on a duplicate", 0, HELPER("select"));
    becomes_ready("epoll_wait() on a duplicate", 0, HELPER("epoll"));
    becomes_ready("epoll_wait() for what was added under a number that is closed", 0,
                  HELPER("epoll-former", "closed"));
    becomes_ready("epoll_wait() for what was added under another file's number", 0,
                  HELPER("epoll-former", "reused"));
    becomes_ready("accept() in children", 0, HELPER("children", "3"));
    becomes_ready("behind a shell", 0,
                  PROGRAM("/bin/sh", "-c", f("%s serve 20; :", helper_program())));
    stays_unready("asleep", PROGRAM("/bin/sleep", "100"));
    stays_unready("poll() on something else", HELPER("poll-elsewhere"));
    stays_unready("accept() on something else", HELPER("accept-elsewhere"));
    stays_unready("epoll_wait() for something else", HELPER("epoll-elsewhere", "other"));
    stays_unready("epoll_wait() for its end only", HELPER("epoll-elsewhere", "muted"));
    stays_unready("epoll_wait() for what had its number", HELPER("epoll-elsewhere", "renumbered"));
    stays_unready("busy", PROGRAM("/bin/sh", "-c", "while :; do :; done"));
}

static void test_real_programs(void) {
    if (access("/usr/bin/perl", X_OK) == 0)
        becomes_ready("Perl FCGI", 0,
                      PROGRAM("/usr/bin/perl", "-MFCGI", "-e",
                              "my $r = FCGI::Request; 1 while $r->Accept >= 0"));
    if (access("/usr/bin/php-cgi", X_OK) == 0) {
        becomes_ready("php-cgi", 0, PROGRAM("/usr/bin/php-cgi"));
        becomes_ready("php-cgi with children", 0,
                      PROGRAM("PHP_FCGI_CHILDREN=4", "/usr/bin/php-cgi"));
    }
    if (access("/usr/bin/python3", X_OK) == 0)
        becomes_ready(
            "Python", 0,
            PROGRAM("/usr/bin/python3", "-c", "import socket; socket.socket(fileno=0).accept()"));
}

/* Its main thread waits for all it has in one epoll set; others sleep elsewhere, some in sets of their
 * own. */
static void test_node(void) {
#define NODE(code) PROGRAM(USHER_TEST_NODE, "-e", "const net = require('net'); " code)
    if (access(USHER_TEST_NODE, X_OK) < 0) {
        skip(1, "Node, of which this was built, cannot be run");
        return;
    }
    becomes_ready("Node", 0, NODE("net.createServer().listen({ fd: 0 })"));
    becomes_ready("Node, which listens late", 300,
                  NODE("setTimeout(() => net.createServer().listen({ fd: 0 }), 300)"));
    becomes_ready("Node, with timers and other sockets", 0,
                  NODE("setInterval(() => {}, 5); net.createServer().listen(0, '127.0.0.1');"
                       "net.createServer().listen({ fd: 0 })"));
    becomes_ready("Node, in a worker thread", 0,
                  NODE("new (require('worker_threads').Worker)("
                       "`require('net').createServer().listen({ fd: 0 })`, { eval: true })"));
    stays_unready("Node, which listens elsewhere",
                  NODE("net.createServer().listen(0, '127.0.0.1')"));
}

/* The descriptors and system calls of a process that is not dumpable are hidden from all but root. */
static void test_hidden(void) {
    becomes_ready("not dumpable", geteuid() == 0 ? 0 : 50, HELPER("hidden"));
}

/* A request may come before the program waits for one; it need never be seen waiting. */
static void test_took_a_connection(void) {
    int endpoint = bind_endpoint();
    int early = connect_to(path_of(endpoint));
    ok(early >= 0, "a connection comes before the program");
    int id = start(endpoint, HELPER("spin", "2000"));
    hear(&l, "started", id);
    ok(hear_within(&l, "ready", id, 60) == NULL, "a connection waits: not ready yet");
    ok(hear_within(&l, "ready", id, PATIENCE_MS) != NULL, "it was taken: ready");
    close(early);
    stop(endpoint, id);

    /* now one that comes and is taken between two looks */
    endpoint = bind_endpoint();
    id =
        start(endpoint, PROGRAM("/bin/sh", "-c", f("sleep 0.3; exec %s spin 0", helper_program())));
    hear(&l, "started", id);
    sleep_ms(280);
    int client = connect_to(path_of(endpoint));
    ok(client >= 0 && hear_within(&l, "ready", id, PATIENCE_MS) != NULL,
       "taken at once, then busy: ready");
    close(client);
    stop(endpoint, id);
}

static void test_late(void) {
    int endpoint = bind_endpoint();
    tell(&l, "start", f("id=%d", ++last_id), f("endpoint=%d", endpoint),
         f("arg=%s", helper_program()), "arg=serve", "arg=400", "start_timeout_ms=100", NULL);
    ok(hear_within(&l, "ready", last_id, PATIENCE_MS) != NULL,
       "ready is told after start_timeout_ms, too");
    stop(endpoint, last_id);
}

/* ---- what waits in an endpoint ------------------------------------------------------------- */

static void test_death_before_accept(void) {
    int endpoint = bind_endpoint();
    int clients[5];
    for (int i = 0; i < 5; i++)
        clients[i] = connect_to(path_of(endpoint));
    const char *flag = f("%s/died", l.base);
    int id = start(endpoint, HELPER("die-once", flag));
    hear(&l, "started", id);
    is_int(number_field(hear(&l, "exited", id), "exit_code"), 7, "it dies before accept()");
    id = start(endpoint, HELPER("die-once", flag));
    long long pid = number_field(hear(&l, "started", id), "pid");
    int served = 0;
    for (int i = 0; i < 5; i++) {
        const char *text = read_all(clients[i], PATIENCE_MS);
        served += text != NULL && atoll(text) == pid;
        close(clients[i]);
    }
    is_int(served, 5, "the next life on the same endpoint serves all that had come");
    stop(endpoint, id);
}

static void test_full_backlog(void) {
    last_id++;
    tell(&l, "bind", f("id=%d", last_id), f("name=e%d", last_id), "backlog=2", NULL);
    hear(&l, "bound", last_id);
    int endpoint = last_id, clients[3];
    for (int i = 0; i < 3; i++)
        clients[i] = connect_to(path_of(endpoint));
    ok(clients[2] >= 0, "backlog=2 lets three wait");
    tell(&l, "close", f("id=%d", endpoint), NULL);
    hear(&l, "closed", endpoint);
    const char *text = read_all(clients[0], PATIENCE_MS);
    is_str(text, "", "closing the endpoint ends the waiting connections");
    for (int i = 0; i < 3; i++)
        close(clients[i]);
}

/* A FastCGI record: version 1, type, request 1, content of `length` bytes, no padding. */
static bool is_record(const char *bytes, int type, const char *content, size_t length) {
    const unsigned char *header = (const unsigned char *)bytes;
    return header[0] == 1 && header[1] == type && header[2] == 0 && header[3] == 1 &&
           (size_t)(header[4] << 8 | header[5]) == length && header[6] == 0 &&
           memcmp(bytes + 8, content, length) == 0;
}

static void refuses_waiting(const char *page, const char *type, const char *body) {
    static const char reason[] = "usher: no such interpreter";
    char head[256];
    snprintf(head, sizeof(head),
             "Status: 503 Service Unavailable\r\nContent-Type: %s; charset=utf-8\r\n"
             "Cache-Control: no-store\r\nRetry-After: 7\r\n\r\n",
             type);
    int endpoint = bind_endpoint(), before = count_open_files(l.pid), clients[20];
    for (int i = 0; i < 20; i++)
        clients[i] = connect_to(path_of(endpoint));
    tell(&l, "close", f("id=%d", endpoint), "refusal=no such interpreter", "retry_after_s=7", page,
         NULL);
    hear(&l, "closed", endpoint);
    int refused = 0;
    for (int i = 0; i < 20; i++) {
        ssize_t sent = send(clients[i], "more of the request", 19, MSG_NOSIGNAL);
        const char *at = read_all(clients[i], PATIENCE_MS);
        refused += sent == 19 && at != NULL && is_record(at, 7, reason, sizeof(reason) - 1) &&
                   is_record(at += 8 + sizeof(reason) - 1, 6, head, strlen(head)) &&
                   is_record(at += 8 + strlen(head), 6, body, strlen(body)) &&
                   is_record(at += 8 + strlen(body), 6, "", 0) &&
                   is_record(at += 8, 3, "\0\0\0\0\0\0\0", 8);
    }
    is_int(refused, 20, "closing with a refusal answers all that wait with 503");
    ok(connect_to(path_of(endpoint)) < 0, "nobody can come any more");
    for (int i = 0; i < 20; i++)
        close(clients[i]);
    ok(comes_true(count_open_files(l.pid) == before - 1, PATIENCE_MS), "and no descriptor is lost");
}

static void test_refusal(void) {
    refuses_waiting("x=", "text/plain", "503 Service Unavailable\n");
    refuses_waiting("page=<p>why", "text/html", "<p>why");
}

/* ---- snapshot ------------------------------------------------------------------------------ */

static const char *snapshot(int id) {
    tell(&l, "snapshot", f("id=%d", id), NULL);
    return field(hear(&l, "snapshot", id), "text");
}

static int count_processes(const char *text) {
    int count = 0;
    for (; (text = strstr(text, "process ")) != NULL; text++)
        count++;
    return count;
}

static void test_snapshot(void) {
    int endpoint = bind_endpoint();
    int id = start(endpoint, HELPER("children", "2"));
    long long pid = number_field(hear(&l, "started", id), "pid");
    ok(comes_true(strstr(snapshot(id), f("process %lld: name launcher_helper state S", pid)) !=
                      NULL,
                  PATIENCE_MS),
       "a snapshot names the process and its state");
    ok(comes_true(count_processes(snapshot(id)) == 3, PATIENCE_MS), "and its children");
    const char *text = snapshot(id);
    ok(strstr(text, "wchan ") != NULL && strstr(text, "syscall ") != NULL &&
           strstr(text, "fd 0 socket:[") != NULL,
       "and what they sleep in, and their descriptors");
    stop(endpoint, id);
    is_str(snapshot(id), "", "of an exited one it is empty");
}

/* Many at once must not make the launcher late. */
static void test_many(void) {
    enum { COUNT = 32 };
    int endpoint = bind_endpoint(), first = last_id + 1;
    uint64_t begin = now_ms();
    for (int i = 0; i < COUNT; i++)
        start(endpoint, HELPER("serve"));
    int ready = 0;
    for (int i = 0; i < COUNT; i++)
        ready += hear_within(&l, "ready", first + i, PATIENCE_MS) != NULL;
    is_int(ready, COUNT, "%d starts at once", COUNT);
    printf("# took %llu ms\n", (unsigned long long)(now_ms() - begin));
    for (int i = 0; i < COUNT; i++)
        tell(&l, "signal", f("id=%d", first + i), "signal=9", NULL);
    for (int i = 0; i < COUNT; i++)
        hear(&l, "exited", first + i);
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    launcher_open(&l, "run");
    test_ways_to_wait();
    test_real_programs();
    test_node();
    test_hidden();
    test_took_a_connection();
    test_late();
    test_death_before_accept();
    test_full_backlog();
    test_refusal();
    test_snapshot();
    test_many();
    ok(launcher_close(&l), "the launcher ends");
}

int main(void) {
    run_for_users(suite);
    return done_testing();
}
