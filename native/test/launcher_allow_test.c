/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A launcher that is root starts and binds what registrations and usher.conf allow, and nothing
 * else, whatever its manager says; and it hands that manager, which is nobody, what it needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel/channel.h"
#include "channel/manager.h"
#include "launcher_harness.h"
#include "tap.h"

#define LIST "web-1.1.allow"
#define DEFAULT_PATH "env=PATH=/usr/local/bin:/usr/bin:/bin"

static bool is_root(void) {
    return geteuid() == 0;
}

static void open_asking(launcher_t *l) {
    launcher_open(l, "run");
    l->asks_first = true;
    tell(l, "bind", "id=1", "name=e1", NULL);
    hear(l, "bound", 1);
}

static int last_id = 1;

static bool is_service(const char *const *fields) {
    while (*fields != NULL && strncmp(*fields, "service=", 8) != 0)
        fields++;
    return *fields != NULL;
}

/* Fields of a start, ended by NULL; the answer. */
static const packet_t *answer_to(launcher_t *l, const char *const *fields) {
    char bytes[8192];
    size_t length = (size_t)sprintf(bytes, "start%cid=%d%c", 0, ++last_id, 0);
    if (!is_service(fields))
        length += (size_t)sprintf(bytes + length, "endpoint=1%c", 0);
    for (; *fields != NULL; fields++)
        length += (size_t)sprintf(bytes + length, "%s%c", *fields, 0);
    tell_bytes(l, bytes, length);
    for (;;) {
        const packet_t *packet = hear_within(l, "failed", last_id, 5);
        if (packet == NULL)
            packet = hear_within(l, "started", last_id, 5);
        if (packet != NULL || !is_alive(l->pid))
            return packet;
    }
}

static void starts(launcher_t *l, const char *what, const char *const *fields) {
    const packet_t *packet = answer_to(l, fields);
    is_str(packet->bytes, "started", "started: %s", what);
    if (strcmp(packet->bytes, "started") == 0) {
        tell(l, "signal", f("id=%d", last_id), "signal=9", NULL);
        hear(l, "exited", last_id);
    } else {
        printf("# %s\n", field(packet, "error"));
    }
}

static void refuses(launcher_t *l, const char *what, const char *const *fields) {
    const packet_t *packet = answer_to(l, fields);
    ok(strcmp(packet->bytes, "failed") == 0 && strcmp(field(packet, "step"), "allow") == 0 &&
           number_field(packet, "errno") == EPERM,
       "refused: %s", what);
}

#define FIELDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SLEEP "arg=/bin/sleep", "arg=100"

/* ---- starts -------------------------------------------------------------------------------- */

static void test_exact(void) {
    launcher_t l;
    open_asking(&l);
    refuses(&l, "anything, without a registration", FIELDS(SLEEP, "cwd=/"));
    allow(&l, LIST,
          "program\narg=/bin/sleep\narg=100\ncwd=/usr\nuser=nobody\ngroup=nogroup\nenv=A=1\n"
          "env=B=two\\\\ = 2\\n3\nlimit=core=0\nnice=3\n");
#define EXACT                                                                                     \
    SLEEP, "cwd=/usr", "user=nobody", "group=nogroup", "env=A=1", "env=B=two\\ = 2\n3", "nice=3", \
        "limit=core=0"
    starts(&l, "what is allowed", FIELDS(EXACT));
    starts(&l, "with the manager's own PATH", FIELDS(EXACT, DEFAULT_PATH));
    refuses(&l, "one more argument", FIELDS(EXACT, "arg=200"));
    refuses(&l, "LD_PRELOAD injected", FIELDS(EXACT, "env=LD_PRELOAD=/tmp/evil.so"));
    refuses(&l, "another PATH", FIELDS(EXACT, "env=PATH=/tmp"));
    refuses(&l, "one more limit", FIELDS(EXACT, "limit=nofile=10"));
    refuses(&l, "a log", FIELDS(EXACT, "log=/tmp/x"));
    refuses(&l, "set-user-ID programs", FIELDS(EXACT, "setuid=1"));
    refuses(&l, "set-user-ID programs, said otherwise", FIELDS(EXACT, "setuid=yes"));
#define REST "env=A=1", "env=B=two\\ = 2\n3", "limit=core=0"
#define NOBODY_ "user=nobody", "group=nogroup"
    refuses(&l, "another program",
            FIELDS("arg=/bin/sh", "arg=100", "cwd=/usr", NOBODY_, "nice=3", REST));
    refuses(&l, "fewer arguments", FIELDS("arg=/bin/sleep", "cwd=/usr", NOBODY_, "nice=3", REST));
    refuses(&l, "other arguments",
            FIELDS("arg=/bin/sleep", "arg=1000", "cwd=/usr", NOBODY_, "nice=3", REST));
    refuses(&l, "arguments in another order",
            FIELDS("arg=100", "arg=/bin/sleep", "cwd=/usr", NOBODY_, "nice=3", REST));
    refuses(&l, "another directory", FIELDS(SLEEP, "cwd=/tmp", NOBODY_, "nice=3", REST));
    refuses(&l, "no directory", FIELDS(SLEEP, NOBODY_, "nice=3", REST));
    refuses(&l, "as root", FIELDS(SLEEP, "cwd=/usr", "nice=3", REST));
    refuses(&l, "as root by name",
            FIELDS(SLEEP, "cwd=/usr", "user=root", "group=nogroup", "nice=3", REST));
    refuses(&l, "as the user's number",
            FIELDS(SLEEP, "cwd=/usr", "user=#0", "group=nogroup", "nice=3", REST));
    refuses(&l, "in another group",
            FIELDS(SLEEP, "cwd=/usr", "user=nobody", "group=root", "nice=3", REST));
    refuses(&l, "without the group", FIELDS(SLEEP, "cwd=/usr", "user=nobody", "nice=3", REST));
    refuses(&l, "nicer to itself", FIELDS(SLEEP, "cwd=/usr", NOBODY_, "nice=-20", REST));
    refuses(&l, "without its limit",
            FIELDS(SLEEP, "cwd=/usr", NOBODY_, "nice=3", "env=A=1", "env=B=two\\ = 2\n3"));
    refuses(&l, "without a variable",
            FIELDS(SLEEP, "cwd=/usr", NOBODY_, "nice=3", "env=A=1", "limit=core=0"));
    refuses(&l, "a program of nobody's", FIELDS("cwd=/usr", NOBODY_, "nice=3", REST));
    const packet_t *failed = answer_to(&l, FIELDS("arg=/bin/sh", "user=daemon"));
    ok(strstr(field(failed, "error"), "/bin/sh as user daemon: no registration allows") != NULL,
       "the answer names program and user: %s", field(failed, "error"));
    ok(launcher_close(&l), "the launcher ends");
}

static void test_more_rules(void) {
    launcher_t l;
    open_asking(&l);
    allow(
        &l, LIST,
        "program\narg=sleep\narg=100\ncwd=/\n"
        "program\narg=/bin/sleep\narg=100\ncwd=/usr\nsetuid=1\nenv=PATH=/opt\nlog=/tmp/none/log\n");
    starts(&l, "a program without a slash, in /bin", FIELDS(SLEEP, "cwd=/"));
    starts(&l, "and in /usr/bin", FIELDS("arg=/usr/bin/sleep", "arg=100", "cwd=/"));
    refuses(&l, "but in no other directory", FIELDS("arg=/tmp/sleep", "arg=100", "cwd=/"));
    refuses(&l, "nor further below", FIELDS("arg=/usr/bin/../../tmp/sleep", "arg=100", "cwd=/"));
    refuses(&l, "what two blocks say together",
            FIELDS(SLEEP, "cwd=/", "setuid=1", "env=PATH=/opt", "log=/tmp/none/log"));
#define SECOND SLEEP, "cwd=/usr", "env=PATH=/opt", "log=/tmp/none/log"
    starts(&l, "set-user-ID programs where they are allowed", FIELDS(SECOND, "setuid=1"));
    starts(&l, "or without them", FIELDS(SECOND));
    refuses(&l, "the manager's PATH where there is another one", FIELDS(SECOND, DEFAULT_PATH));
    refuses(&l, "without its log", FIELDS(SLEEP, "cwd=/usr", "env=PATH=/opt"));
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- gateways ------------------------------------------------------------------------------ */

#define FILES "gateway=cgi", "arg=--path-check", "arg=suexec", "arg=--root", "arg=/srv/a"

static void test_gateways(void) {
    launcher_t l;
    open_asking(&l);
    install_gateway(&l, "cgi", NULL);
    install_gateway(&l, "ajp", NULL);
    char secret[96], other[96], line[128];
    snprintf(secret, sizeof(secret), "%s/secret", l.base);
    snprintf(other, sizeof(other), "%s/other", l.base);
    snprintf(line, sizeof(line), "secret=%s", secret);
    make_file(secret, "sesame", 0600);
    make_file(other, "sesame", 0600);
    refuses(&l, "a gateway, without a registration", FIELDS("gateway=ajp", "cwd=/"));
    ok(strstr(field(answer_to(&l, FIELDS("gateway=ajp", "user=daemon")), "error"),
              "gateway ajp as user daemon: no registration allows") != NULL,
       "the answer names gateway and user");
    allow(&l, LIST,
          f("program\ngateway=cgi\narg=--path-check\narg=suexec\narg=--root\narg=/srv/a\ncwd=/\n"
            "program\ngateway=ajp\nsecret=%s\ncwd=/\nuser=nobody\ngroup=nogroup\nnice=3\n"
            "env=A=1\n"
            "program\narg=/bin/sleep\narg=100\ncwd=/\n"
            "dynamic\nroot=/srv\n",
            secret));
    starts(&l, "a gateway as it is allowed", FIELDS(FILES, "cwd=/"));
    refuses(&l, "the other one of its arguments",
            FIELDS("gateway=ajp", "arg=--path-check", "arg=suexec", "arg=--root", "arg=/srv/a",
                   "cwd=/"));
    refuses(&l, "a gateway of another name",
            FIELDS("gateway=perl", "arg=--path-check", "arg=suexec", "arg=--root", "arg=/srv/a",
                   "cwd=/"));
    refuses(&l, "its arguments as a program",
            FIELDS("arg=--path-check", "arg=suexec", "arg=--root", "arg=/srv/a", "cwd=/"));
    refuses(&l, "one more root", FIELDS(FILES, "arg=--root", "arg=/", "cwd=/"));
    refuses(&l, "a program instead",
            FIELDS("gateway=cgi", "arg=--program", "arg=/bin/sh", "cwd=/"));
    refuses(&l, "a limit of its own", FIELDS(FILES, "cwd=/", "limit=core=0"));
    refuses(&l, "a variable more", FIELDS(FILES, "cwd=/", "env=NODE_OPTIONS=--require=/tmp/x"));
    refuses(&l, "without arguments", FIELDS("gateway=cgi", "cwd=/"));
    refuses(&l, "in another directory", FIELDS(FILES, "cwd=/srv"));
    refuses(&l, "as somebody else", FIELDS(FILES, "cwd=/", "user=nobody"));
    refuses(&l, "with a secret", FIELDS(FILES, "cwd=/", line));
    refuses(&l, "an allowed program as a gateway", FIELDS("gateway=cgi", SLEEP, "cwd=/"));
    refuses(&l, "a program with a secret", FIELDS(SLEEP, "cwd=/", line));
    refuses(&l, "a dynamic file as a gateway", FIELDS("gateway=cgi", "arg=/srv/x", "cwd=/srv"));

#define AJP "gateway=ajp", "cwd=/", "user=nobody", "group=nogroup", "nice=3"
    starts(&l, "a gateway with its secret", FIELDS(AJP, "env=A=1", line));
    starts(&l, "with the manager's own PATH", FIELDS(AJP, "env=A=1", DEFAULT_PATH, line));
    refuses(&l, "without it", FIELDS(AJP, "env=A=1"));
    refuses(&l, "with another one", FIELDS(AJP, "env=A=1", f("secret=%s", other)));
    refuses(&l, "with an argument", FIELDS(AJP, "env=A=1", line, "arg=--x"));
    refuses(&l, "without its variable", FIELDS(AJP, line));
    refuses(&l, "nicer to itself",
            FIELDS("gateway=ajp", "cwd=/", "user=nobody", "group=nogroup", "env=A=1", line));

    allow(&l, LIST,
          "program\ngateway=cgi\narg=--limit\narg=core=0\narg=--program\narg=env\narg=-0\ncwd=/\n");
#define LIMITED "gateway=cgi", "arg=--limit", "arg=core=0"
    starts(&l, "a program without a slash, in /usr/bin",
           FIELDS(LIMITED, "arg=--program", "arg=/usr/bin/env", "arg=-0", "cwd=/"));
    starts(&l, "or as it is written",
           FIELDS(LIMITED, "arg=--program", "arg=env", "arg=-0", "cwd=/"));
    refuses(&l, "in another directory",
            FIELDS(LIMITED, "arg=--program", "arg=/tmp/env", "arg=-0", "cwd=/"));
    refuses(&l, "another program",
            FIELDS(LIMITED, "arg=--program", "arg=/usr/bin/perl", "arg=-0", "cwd=/"));
    refuses(&l, "without its limit",
            FIELDS("gateway=cgi", "arg=--program", "arg=env", "arg=-0", "cwd=/"));
    tell(&l, "identify", "id=60", "path=/usr/bin/env", NULL);
    ok(field(hear(&l, "identified", 60), "real") != NULL,
       "the manager may know whether its program has changed");
    tell(&l, "identify", "id=61", "path=--limit", NULL);
    is_str(field(hear(&l, "failed", 61), "step"), "allow", "and of nothing else");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- services ------------------------------------------------------------------------------ */

static void test_services(void) {
    launcher_t l;
    open_asking(&l);
    install_gateway(&l, "ajp", NULL);
    allow(&l, LIST,
          "program\nservice=1\narg=/bin/sleep\narg=100\ncwd=/usr\nuser=nobody\ngroup=nogroup\n"
          "env=A=1\nenv=USHER_PORT=1\nenv=USHER_HOST=h\n"
          "program\narg=/bin/sleep\narg=200\ncwd=/\n"
          "program\ngateway=ajp\ncwd=/\n"
          "dynamic\nroot=/srv\n");
#define ENGINE SLEEP, "cwd=/usr", "user=nobody", "group=nogroup", "env=A=1"
    starts(&l, "a service as it is allowed",
           FIELDS("service=1", ENGINE, "env=USHER_PORT=1", "env=USHER_HOST=h"));
    starts(&l, "its variables in another order",
           FIELDS("service=1", ENGINE, "env=USHER_HOST=h", "env=USHER_PORT=1", DEFAULT_PATH));
    refuses(&l, "as another instance of it",
            FIELDS("service=1", ENGINE, "env=USHER_HOST=h", "env=USHER_PORT=2"));
    refuses(&l, "without one of its variables", FIELDS("service=1", ENGINE, "env=USHER_PORT=1"));
    refuses(&l, "on an endpoint", FIELDS(ENGINE, "env=USHER_PORT=1", "env=USHER_HOST=h"));
    refuses(&l, "said otherwise",
            FIELDS("service=yes", ENGINE, "env=USHER_PORT=1", "env=USHER_HOST=h"));
    starts(&l, "a FastCGI program", FIELDS("arg=/bin/sleep", "arg=200", "cwd=/"));
    refuses(&l, "a FastCGI program as a service",
            FIELDS("service=1", "arg=/bin/sleep", "arg=200", "cwd=/"));
    refuses(&l, "a gateway as a service", FIELDS("service=1", "gateway=ajp", "cwd=/"));
    refuses(&l, "a dynamic file as a service", FIELDS("service=1", "arg=/srv/x", "cwd=/srv"));
    tell(&l, "identify", "id=60", "path=/bin/sleep", NULL);
    ok(field(hear(&l, "identified", 60), "real") != NULL,
       "the manager may know whether its program has changed");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- files --------------------------------------------------------------------------------- */

#define SIMPLE "program\narg=/bin/sleep\narg=100\ncwd=/\n"

static void test_files(void) {
    launcher_t l;
    open_asking(&l);
    allow(&l, LIST, SIMPLE);
    starts(&l, "a registration is there", FIELDS(SLEEP, "cwd=/"));
    tell(&l, "remove", "registration=web-1.1.conf", NULL);
    refuses(&l, "it was removed", FIELDS(SLEEP, "cwd=/"));
    ok(!exists(in_runtime(&l, "servers/" LIST)), "with its .allow");
    allow(&l, LIST, "program\narg=/bin/sleep\narg=101\ncwd=/\n");
    refuses(&l, "another one is there", FIELDS(SLEEP, "cwd=/"));
    allow(&l, "web-1.2.allow", SIMPLE);
    starts(&l, "a second generation allows it", FIELDS(SLEEP, "cwd=/"));
    starts(&l, "and what the first allows stays allowed",
           FIELDS("arg=/bin/sleep", "arg=101", "cwd=/"));
    allow(&l, "web-1.2.allow", "program\narg=/bin/sleep\narg=102\ncwd=/\n");
    refuses(&l, "its file was replaced", FIELDS(SLEEP, "cwd=/"));

    const char *const wrong[] = {
        SIMPLE "no such field=1\n",    SIMPLE "color=red\n",
        SIMPLE "setuid=2\n",           SIMPLE "nice=x\n",
        SIMPLE "env=A=\\x\n",          SIMPLE "env=A=\\",
        "arg=/bin/sleep\n" SIMPLE,     SIMPLE "root=/\n",
        SIMPLE "user=nobody",          SIMPLE "\n",
        SIMPLE "gateway=perl\n",       SIMPLE "gateway=\n",
        SIMPLE "secret=x\n",           SIMPLE "dynamic\nroot=/\ngateway=cgi\n",
        SIMPLE "dynamic\nsecret=/x\n", SIMPLE "service=2\n",
        SIMPLE "service=\n",           SIMPLE "dynamic\nroot=/\nservice=1\n",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        allow(&l, "web-1.2.allow", wrong[i]);
        refuses(&l, f("all of a list that is wrong (%zu)", i), FIELDS(SLEEP, "cwd=/"));
    }
    ok(strstr(read_text(l.log), "\"file\":\"web-1.2.allow\"") != NULL, "the log names the file");

    allow(&l, "web-1.2.allow", SIMPLE);
    chmod(in_runtime(&l, "servers/web-1.2.allow"), 0620);
    refuses(&l, "a file that others may write", FIELDS(SLEEP, "cwd=/"));
    chmod(in_runtime(&l, "servers/web-1.2.allow"), 0600);
    starts(&l, "the same file for root alone", FIELDS(SLEEP, "cwd=/"));
    ok(chown(in_runtime(&l, "servers/web-1.2.allow"), 65534, 65534) == 0, "given away");
    refuses(&l, "a file of somebody else's", FIELDS(SLEEP, "cwd=/"));
    unlink(in_runtime(&l, "servers/web-1.2.allow"));
    make_file(f("%s/list", l.base), SIMPLE, 0600);
    ok(symlink(f("%s/list", l.base), in_runtime(&l, "servers/web-1.2.allow")) == 0, "a link");
    refuses(&l, "what a symbolic link leads to", FIELDS(SLEEP, "cwd=/"));
    const char *const names[] = {"allow", "web-1.allow", "web-1.0.allow", "web-1.x.allow",
                                 "web-1.3.allow.tmp"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        allow(&l, names[i], SIMPLE);
        refuses(&l, f("a file that is called %s", names[i]), FIELDS(SLEEP, "cwd=/"));
    }
    ok(launcher_close(&l), "the launcher ends");
}

static void test_config(void) {
    launcher_t l;
    launcher_prepare(&l);
    const char *config = f("%s/usher.conf", l.base);
    make_file(config, SIMPLE, 0600);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--config", config, NULL});
    launcher_meet(&l, PATIENCE_MS);
    l.asks_first = true;
    tell(&l, "bind", "id=1", "name=e1", NULL);
    starts(&l, "what usher.conf allows", FIELDS(SLEEP, "cwd=/"));
    refuses(&l, "what it does not", FIELDS(SLEEP, "cwd=/usr"));
    make_file(f("%s/usher.conf", l.base), "program\narg=/bin/sleep\narg=100\ncwd=/usr\n", 0600);
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, PATIENCE_MS), "the next manager reads another usher.conf");
    starts(&l, "what it allows now", FIELDS(SLEEP, "cwd=/usr"));
    refuses(&l, "what it allowed before", FIELDS(SLEEP, "cwd=/"));
    make_file(f("%s/usher.conf", l.base), "nonsense\n", 0600);
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, PATIENCE_MS), "the next one finds nonsense in it");
    starts(&l, "what it allowed before that", FIELDS(SLEEP, "cwd=/usr"));
    ok(launcher_close(&l), "the launcher ends");

    launcher_prepare(&l);
    config = f("%s/usher.conf", l.base);
    make_file(config, "exit 78", 0600);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--config", config, NULL});
    ok(launcher_meet(&l, PATIENCE_MS), "a usher.conf that is wrong is the manager's to speak of");
    ok(launcher_close(&l), "the launcher ends");

    const char *const endings[] = {"exit 1", "nonsense\n"};
    for (size_t i = 0; i < 2; i++) {
        launcher_prepare(&l);
        config = f("%s/usher.conf", l.base);
        make_file(config, endings[i], 0600);
        launcher_start(&l, (const char *const[]){"--mode", "run", "--config", config, NULL});
        int status = launcher_wait(&l, PATIENCE_MS);
        ok(WIFEXITED(status) && WEXITSTATUS(status) == 1,
           "where nobody can say what is allowed the launcher ends (%s)", i == 0 ? "1" : "text");
        ok(strstr(read_text(l.log), "--allow") != NULL, "and says why");
        launcher_remove(&l);
    }
}

/* ---- public addresses ---------------------------------------------------------------------- */

static void refuses_address(launcher_t *l, const char *what, const char *listen, const char *user) {
    tell(l, "bind", "id=70", "name=p", f("listen=%s", listen), user, NULL);
    const packet_t *failed = hear(l, "failed", 70);
    is_str(field(failed, "step"), "allow", "refused: %s", what);
}

static void test_addresses(void) {
    launcher_t l;
    open_asking(&l);
    const char *socket = f("unix:%s/p.sock", l.base);
    refuses_address(&l, "an address without a registration", socket, "user=nobody");
    allow(&l, LIST,
          f("program\narg=/bin/x\ncwd=/\nlisten=%s\nuser=nobody\ngroup=nogroup\n"
            "dynamic\nroot=/\nuser=nobody\n",
            socket));
    refuses_address(&l, "for another user", socket, "user=root");
    refuses_address(&l, "without the group", socket, "user=nobody");
    refuses_address(&l, "another path", f("unix:%s/q.sock", l.base), "user=nobody");
    refuses_address(&l, "a port", "tcp:127.0.0.1:1", "user=nobody");
    refuses_address(&l, "no address at all", "", "user=nobody");
    tell(&l, "bind", "id=71", "name=p", f("listen=%s", socket), "user=nobody", "group=nogroup",
         NULL);
    ok(number_field(hear(&l, "bound", 71), "inode") > 0, "bound: what is allowed");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- what a program has -------------------------------------------------------------------- */

static const char *report_of(launcher_t *l, const char *user, const char *more) {
    l->asks_first = false;
    tell(l, "start", f("id=%d", ++last_id), "endpoint=1", f("arg=%s", helper_program()),
         "arg=report", "cwd=/", user, more, NULL);
    hear(l, "started", last_id);
    return field(hear(l, "exited", last_id), "output");
}

static bool has_no_capabilities(const char *report) {
    return strstr(report, "\nCapInh:\t0000000000000000\n") != NULL &&
           strstr(report, "\nCapPrm:\t0000000000000000\n") != NULL &&
           strstr(report, "\nCapEff:\t0000000000000000\n") != NULL &&
           strstr(report, "\nCapAmb:\t0000000000000000\n") != NULL;
}

static void test_program(void) {
    launcher_t l;
    open_asking(&l);
    const char *user = is_root() ? "user=nobody" : "tag=";
    const char *report = report_of(&l, user, "env=A=1");
    ok(strstr(report, "\nNoNewPrivs:\t1\n") != NULL, "a program can gain no privileges");
    ok(has_no_capabilities(report), "and has no capability");
    ok(strstr(report, "cwd /\nenv A=1\nfd 0 socket\nfd 1 pipe\nfd 2 pipe\numask 022\n") != NULL,
       "its environment, its descriptors, its mask, and nothing else");
    report = report_of(&l, user, "setuid=1");
    ok(strstr(report, "\nNoNewPrivs:\t0\n") != NULL,
       "with setuid=1 what it executes may make it another user");
    ok(has_no_capabilities(report), "but it has no capability");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- the manager --------------------------------------------------------------------------- */

static const char *status_of(pid_t pid) {
    return read_text(f("/proc/%d/status", pid));
}

static void test_manager(void) {
    launcher_t l;
    launcher_prepare(&l);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--user", "daemon", NULL});
    launcher_meet(&l, PATIENCE_MS);
    is_str(field(hear(&l, "hello", 0), "manager_user"), "daemon", "hello says who the manager is");
    const char *status = status_of(l.manager_pid);
    ok(strstr(status, "\nUid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\n") != NULL, "and that is who it is");
    ok(strstr(status, "\nGroups:\t1 \n") != NULL, "in no other group");
    ok(has_no_capabilities(status) && strstr(status, "\nNoNewPrivs:\t1\n") != NULL,
       "without capabilities, and without a way to any");
    ok(strstr(status, "\nUmask:\t0077\n") != NULL, "what it makes is its own");
    pid_t manager = l.manager_pid;
    kill(l.pid, SIGKILL);
    launcher_wait(&l, PATIENCE_MS);
    ok(comes_true(!is_alive(manager), PATIENCE_MS), "it dies with the launcher");
    launcher_remove(&l);

    launcher_prepare(&l);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--user", "no-such-user", NULL});
    int code = launcher_wait(&l, PATIENCE_MS);
    ok(WIFEXITED(code) && WEXITSTATUS(code) == 1 &&
           strstr(read_text(l.log), "user no-such-user does not exist") != NULL,
       "a user that does not exist is an error");
    launcher_remove(&l);

    launcher_prepare(&l);
    chmod(l.meeting, 0700);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--user", "daemon", NULL});
    launcher_meet(&l, PATIENCE_MS);
    is_str(field(hear(&l, "hello", 0), "manager_user"), NULL,
           "a manager whose user cannot read usherd is root");
    ok(strstr(status_of(l.manager_pid), "\nUid:\t0\t0\t0\t0\n") != NULL, "as it was");
    ok(strstr(read_text(l.log), "\"event\":\"manager.privileged\"") != NULL &&
           strstr(read_text(l.log), l.meeting) != NULL,
       "the log names what it cannot read");
    ok(launcher_close(&l), "the launcher ends");
}

/* As the manager's user would be: can what was handed over be used by it? */
static bool nobody_can(bool (*use)(const int *descriptors), const int *descriptors) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(is_root() && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
                  ? 2
                  : !use(descriptors));
    int status = -1;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool map_channel(const int *descriptors) {
    usher_manager_t *manager;
    usher_error_t error;
    if (usher_manager_open_files("/run/x", descriptors[1], descriptors[2], &manager, &error) !=
        USHER_OK)
        return false;
    usher_manager_set_state(manager, USHER_MANAGER_RUNNING, 1);
    usher_manager_close(manager);
    return true;
}

static bool read_config(const int *descriptors) {
    char text[5] = "";
    return pread(descriptors[3], text, 4, 0) == 4 && strcmp(text, "prog") == 0 &&
           write(descriptors[3], "x", 1) < 0;
}

static bool lock_live(const int *descriptors) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    return ftruncate(descriptors[0], 4096) == 0 && fcntl(descriptors[1], F_OFD_SETLK, &lock) == 0;
}

static void fails_with(launcher_t *l, int id, int error, const char *what) {
    is_int(number_field(hear(l, "failed", id), "errno"), error, "%s: errno %d", what, error);
}

static void test_descriptors(void) {
    launcher_t l;
    launcher_prepare(&l);
    const char *config = f("%s/usher.conf", l.base);
    make_file(config, SIMPLE, 0600);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--config", config, NULL});
    launcher_meet(&l, PATIENCE_MS);
    const packet_t *hello = hear(&l, "hello", 0);
    ok(nobody_can(map_channel, hello->descriptors), "the channel can be mapped and written");
    ok(nobody_can(read_config, hello->descriptors), "the configuration can be read only");

    tell(&l, "registrations", "id=30", NULL);
    is_int(count_field(hear(&l, "registrations", 30), "name"), 0, "no registration so far");
    make_file(in_runtime(&l, "servers/web-1.7.conf"), "UsherServer", 0600);
    make_file(in_runtime(&l, "servers/web-1.7.allow"), "", 0600);
    make_file(in_runtime(&l, "servers/web-1.8.conf.tmp"), "", 0600);
    tell(&l, "registrations", "id=31", NULL);
    const packet_t *list = hear(&l, "registrations", 31);
    is_int(count_field(list, "name"), 1, "one registration");
    is_str(field(list, "name"), "web-1.7.conf", "by its file's name");
    tell(&l, "registration", "id=32", "name=web-1.7.conf", NULL);
    const packet_t *registration = hear(&l, "registration", 32);
    is_str(read_all(registration->descriptors[0], 1000), "UsherServer", "and its text");
    const char *const names[] = {
        "../../etc/passwd", "web-1.7.allow", "web-1.conf", "channel.1.conf", "",
        "web-1.7.conf/",    "web-1.01.conf"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        tell(&l, "registration", "id=33", f("name=%s", names[i]), NULL);
        fails_with(&l, 33, EINVAL, names[i]);
    }
    tell(&l, "registration", "id=33", "name=web-1.9.conf", NULL);
    fails_with(&l, 33, ENOENT, "a registration that is not there");

    tell(&l, "attach", "id=34", "server=web-1", NULL);
    fails_with(&l, 34, ENOENT, "a server without cells");
    usher_channel_t *channel;
    usher_error_t error;
    is_int(usher_channel_open(l.runtime, "web-1", &channel, &error), USHER_OK, "cells");
    usher_channel_close(channel);
    mkdir(in_runtime(&l, "web-1"), 0700);
    make_file(in_runtime(&l, "web-1/live"), "", 0600);
    tell(&l, "attach", "id=35", "server=web-1", NULL);
    ok(nobody_can(lock_live, hear(&l, "attached", 35)->descriptors),
       "cells and live file can be written");
    tell(&l, "attach", "id=36", "server=../x", NULL);
    fails_with(&l, 36, EINVAL, "a server called ../x");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_hostile_live(void) {
    launcher_t l;
    usher_channel_t *channel;
    usher_error_t error;
    launcher_open(&l, "run");
    usher_channel_open(l.runtime, "web-1", &channel, &error);
    usher_channel_close(channel);
    mkdir(in_runtime(&l, "web-1"), 0700);
    const char *live = in_runtime(&l, "web-1/live");
    make_file(f("%s/secret", l.base), "", 0600);
    ok(symlink(f("%s/secret", l.base), live) == 0, "live is a symbolic link");
    tell(&l, "attach", "id=1", "server=web-1", NULL);
    fails_with(&l, 1, ELOOP, "it is not followed");
    unlink(live);
    ok(link(f("%s/secret", l.base), live) == 0, "live is a second name of a file");
    tell(&l, "attach", "id=2", "server=web-1", NULL);
    fails_with(&l, 2, EPERM, "it is not handed over");
    unlink(live);
    ok(mkfifo(live, 0600) == 0, "live is a pipe");
    tell(&l, "attach", "id=3", "server=web-1", NULL);
    fails_with(&l, 3, EPERM, "nobody waits for its other end");

    make_file(in_runtime(&l, "servers/web-1.1.conf"), "", 0600);
    make_file(in_runtime(&l, "servers/web-1.1.allow"), "", 0600);
    tell(&l, "remove", "registration=../web-1/live", "server=servers", NULL);
    tell(&l, "remove", "registration=web-1.1.conf", "server=web-1", NULL);
    ok(comes_true(!exists(in_runtime(&l, "channel/web-1.cells")), PATIENCE_MS),
       "a server's cells are removed");
    ok(!exists(in_runtime(&l, "web-1")) && !exists(in_runtime(&l, "servers/web-1.1.conf")) &&
           !exists(in_runtime(&l, "servers/web-1.1.allow")),
       "with its folder, whatever is in it, and its registration");
    ok(exists(in_runtime(&l, "servers")), "nothing else is");
    rmdir(in_runtime(&l, "servers"));
    tell(&l, "registrations", "id=4", NULL);
    fails_with(&l, 4, ENOENT, "registrations of a directory that is gone");
    ok(launcher_close(&l), "the launcher ends");
}

/* Messages with descriptors wait like all others while the manager does not read; not for ever. */
static void test_waiting_descriptors(void) {
    launcher_t l;
    enum { FILLING = 6000, MESSAGES = 300, FLOOD = 12000 };
    launcher_open(&l, "run");
    make_file(in_runtime(&l, "servers/web-1.1.conf"), "text", 0600);
    for (int i = 0; i < FILLING; i++) /* more answers than its socket holds */
        tell(&l, "registration", "id=900000", "name=wrong", NULL);
    for (int i = 0; i < MESSAGES; i++)
        tell(&l, "registration", f("id=%d", i + 1), "name=web-1.1.conf", NULL);
    int whole = 0;
    for (int i = 0; i < MESSAGES; i++) {
        const packet_t *packet = hear(&l, "registration", i + 1);
        char text[8] = "";
        whole +=
            pread(packet->descriptors[0], text, sizeof(text), 0) == 4 && strcmp(text, "text") == 0;
    }
    is_int(whole, MESSAGES, "each of %d messages came with its descriptor", MESSAGES);
    int open_files = count_open_files(l.pid);
    ok(open_files > 0 && open_files < 64, "the launcher has closed its own (%d)", open_files);

    char ask[64];
    size_t length = (size_t)sprintf(ask, "registration%cid=1%cname=web-1.1.conf", '\0', '\0') + 1;
    int sent = 0;
    while (sent < FLOOD && send(l.link, ask, length, MSG_NOSIGNAL) > 0)
        sent++;
    ok(sent < FLOOD && comes_true(!is_alive(l.manager_pid), PATIENCE_MS),
       "a manager that asks and never reads is killed");
    ok(launcher_meet(&l, PATIENCE_MS), "and there is another one");
    ok(strstr(read_text(l.log), "\"event\":\"link.overrun\"") != NULL, "the log says why");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_for_everybody(void) {
    printf("# as uid %u\n", geteuid());
    test_program();
    test_descriptors();
    test_hostile_live();
    test_waiting_descriptors();
}

int main(void) {
    run_for_users(test_for_everybody);
    if (is_root()) {
        test_exact();
        test_more_rules();
        test_gateways();
        test_services();
        test_files();
        test_config();
        test_addresses();
        test_manager();
    }
    return done_testing();
}
