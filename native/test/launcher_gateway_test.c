/* SPDX-License-Identifier: Apache-2.0 */
/* Gateways: which program a start of one runs, its link to whoever is the manager, its secret file. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

static bool is_root(void) {
    return geteuid() == 0;
}

static void open_launcher(launcher_t *l) {
    launcher_open(l, "run");
    install_gateway(l, "cgi", NULL);
    install_gateway(l, "ajp", NULL);
    for (int id = 1; id <= 9; id += 8) {
        tell(l, "bind", f("id=%d", id), f("name=e%d", id), NULL);
        hear(l, "bound", id);
    }
}

/* Our end of its link. */
static int start_on(launcher_t *l, int endpoint, int id, const char *name, const char *more) {
    tell(l, "start", f("id=%d", id), f("endpoint=%d", endpoint), f("gateway=%s", name), "cwd=/",
         more, NULL);
    return take_descriptor(hear(l, "started", id));
}

/* At the other endpoint than the one that is looked at. */
static int start_gateway(launcher_t *l, int id, const char *name, const char *more) {
    return start_on(l, id == 2 ? 1 : 9, id, name, more);
}

/* What the gateway says: one line without its end. */
static const char *read_line(int link) {
    static char line[8192];
    size_t length = 0;
    while (length < sizeof(line) - 1) {
        struct pollfd wait = {.fd = link, .events = POLLIN};
        if (poll(&wait, 1, 20000) <= 0 || read(link, line + length, 1) <= 0)
            return "no line";
        if (line[length++] == '\n')
            break;
    }
    line[length - 1] = '\0';
    return line;
}

static void say(int link, const char *text) {
    if (send(link, text, strlen(text), MSG_NOSIGNAL) < 0)
        printf("# send: %s\n", strerror(errno));
}

static const char *ask(int link, const char *line) {
    say(link, f("%s\n", line));
    return read_line(link);
}

static bool is_at_end(int link) {
    char byte;
    struct pollfd wait = {.fd = link, .events = POLLIN};
    return poll(&wait, 1, 20000) > 0 && read(link, &byte, 1) == 0;
}

static bool says(launcher_t *l, int id, const char *line) {
    const packet_t *output;
    do
        output = hear_within(l, "output", id, PATIENCE_MS);
    while (output != NULL && strstr(field(output, "text"), line) == NULL);
    return output != NULL;
}

static bool serves(launcher_t *l, pid_t pid) {
    const char *text = converse(in_runtime(l, "sockets/e1"), PATIENCE_MS);
    return text != NULL && atoi(text) == pid;
}

static void end(launcher_t *l, int id) {
    tell(l, "signal", f("id=%d", id), "signal=9", NULL);
    hear(l, "exited", id);
}

/* ---- what is started ----------------------------------------------------------------------- */

static void test_start(void) {
    launcher_t l;
    open_launcher(&l);
    const char *user = is_root() ? "user=nobody" : "tag=";
    tell(&l, "start", "id=2", "endpoint=1", "gateway=cgi", "arg=--limit", "arg=core=0",
         "arg=--program", "arg=/usr/bin/env", "env=A=1", "cwd=/", "nice=3", user, NULL);
    const packet_t *started = hear(&l, "started", 2);
    int link = take_descriptor(started);
    ok(link >= 0 && started->descriptors[1] < 0, "a gateway comes with one descriptor");
    pid_t pid = (pid_t)number_field(started, "pid");
    is_str(ask(link, "say hello"), "hello", "which is its link, both ways");
    is_str(ask(link, "arguments"), "[--limit][core=0][--program][/usr/bin/env]",
           "it gets its arguments, and no other");
    hear(&l, "ready", 2);
    ok(serves(&l, pid), "it becomes ready and serves at its endpoint");
    const char *words = read_text(f("/proc/%d/cmdline", pid));
    is_str(words, helper_program(), "it is run by the program that runs usherd");
    is_str(words + strlen(words) + 1, f("%s/dist/gateways/cgi/main.js", l.base),
           "and lies beside that");
    is_str(ask(link, "report"), "reported", "it tells what it has");
    const char *report = field(hear(&l, "output", 2), "text");
    ok(strstr(report,
              "cwd /\nenv A=1\nfd 0 socket\nfd 1 pipe\nfd 2 pipe\nfd 3 socket\numask 022\n") !=
           NULL,
       "environment, descriptors 0 to 3, and nothing else");
    ok(strstr(report, is_root() ? "uid 65534 65534" : f("uid %u", geteuid())) != NULL &&
           strstr(report, "\nNoNewPrivs:\t1\n") != NULL,
       "it is its user, without a way to another");

    int other = start_gateway(&l, 3, "ajp", user);
    is_str(ask(other, "arguments"), "", "the other gateway, without arguments");
    ask(other, "report");
    report = field(hear(&l, "output", 3), "text");
    ok(strstr(report, "\nfd 3 socket\numask") != NULL, "does not get the link of the first");
    int open_files = count_open_files(l.pid);
    end(&l, 2);
    ok(is_at_end(link), "the link of one that has ended is at its end");
    tell(&l, "forget", "id=2", NULL);
    end(&l, 3);
    ok(comes_true(count_open_files(l.pid) <= open_files - 4, PATIENCE_MS),
       "the launcher gives back what it had for the two");
    close(link);
    close(other);
    ok(launcher_close(&l), "the launcher ends");
}

static void fails(launcher_t *l, int id, const char *step, int error, const char *text) {
    const packet_t *failed = hear(l, "failed", id);
    ok(strcmp(field(failed, "step"), step) == 0 && number_field(failed, "errno") == error &&
           strstr(field(failed, "error"), text) != NULL,
       "step %s, errno %d: %s", step, error, field(failed, "error"));
}

static void test_failures(void) {
    launcher_t l;
    open_launcher(&l);
    tell(&l, "start", "id=2", "endpoint=1", f("arg=%s", helper_program()), "arg=report", "cwd=/",
         "secret=/etc/passwd", NULL);
    fails(&l, 2, "message", EINVAL, "secret= is for gateways only");
    char script[256];
    snprintf(script, sizeof(script), "%s/dist/gateways/ajp/main.js", l.base);
    unlink(script);
    tell(&l, "start", "id=3", "endpoint=1", "gateway=ajp", "cwd=/", NULL);
    fails(&l, 3, "exec", ENOENT, script);
    install_gateway(&l, "ajp", NULL);
    chmod(script, 0);
    tell(&l, "start", "id=4", "endpoint=1", "gateway=ajp", "cwd=/",
         is_root() ? "user=nobody" : "tag=", NULL);
    fails(&l, 4, "exec", EACCES, script);
    tell(&l, "start", "id=5", "endpoint=77", "gateway=cgi", "cwd=/", NULL);
    fails(&l, 5, "endpoint", ENOENT, "77");
    if (!is_root()) /* for root nobody allows it */
        for (int i = 0; i < 4; i++) {
            const char *const names[] = {"", "perl", "../gateways/cgi", "cgi/../cgi"};
            tell(&l, "start", f("id=%d", 6 + i), "endpoint=1", f("gateway=%s", names[i]), "cwd=/",
                 NULL);
            fails(&l, 6 + i, "gateway", EINVAL, "cgi or ajp is expected");
        }
    int open_files = count_open_files(l.pid);
    for (int id = 20; id < 40; id++) {
        tell(&l, "start", f("id=%d", id), "endpoint=1", "gateway=ajp", "cwd=/",
             is_root() ? "user=nobody" : "tag=", NULL);
        hear(&l, "failed", id);
    }
    ok(comes_true(count_open_files(l.pid) <= open_files, PATIENCE_MS),
       "starts that fail leave no descriptor open");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- whoever is the manager ---------------------------------------------------------------- */

static int link_of(launcher_t *l, int id) {
    return take_descriptor(hear(l, "instance", id));
}

static void test_managers(void) {
    launcher_t l;
    open_launcher(&l);
    tell(&l, "ready", NULL);
    int link = start_gateway(&l, 2, "cgi", "arg=--program");
    hear(&l, "ready", 2);
    is_str(ask(link, "say first"), "first", "a manager speaks with its gateway");
    say(link, "say unread\nsay ha");
    kill(l.manager_pid, SIGKILL);
    close(link);
    ok(launcher_meet(&l, PATIENCE_MS), "it dies in the middle of a line, and there is another one");
    tell(&l, "ready", NULL);
    link = link_of(&l, 2);
    ok(link >= 0, "which gets the link as well");
    say(link, "\n");
    is_str(read_line(link), "unread", "what the first one has not read is still there");
    is_str(read_line(link), "ha", "a newline ends what it has not said");
    is_str(ask(link, "say second"), "second", "and then it is the second one's");
    kill(l.manager_pid, SIGKILL);
    close(link);
    ok(launcher_meet(&l, PATIENCE_MS), "a third one comes");
    tell(&l, "ready", NULL);
    link = link_of(&l, 2);
    is_str(ask(link, "say third"), "third", "and speaks with it, too");
    int other = start_gateway(&l, 3, "ajp", NULL);
    end(&l, 2);
    kill(l.manager_pid, SIGKILL);
    ok(launcher_meet(&l, PATIENCE_MS), "after a death");
    const packet_t *instance = hear(&l, "instance", 2);
    ok(strcmp(field(instance, "state"), "exited") == 0 && instance->descriptors[0] < 0,
       "one that has ended has no link any more");
    close(other);
    other = link_of(&l, 3);
    is_str(ask(other, "say here"), "here", "one that lives has");
    close(link);
    close(other);
    ok(launcher_close(&l), "the launcher ends");
}

static void upgrade(launcher_t *l) {
    pid_t launcher = l->pid;
    tell(l, "upgrade", NULL);
    ok(comes_true(!is_alive(l->manager_pid), PATIENCE_MS), "the launcher begins its program anew");
    l->pid = 0;
    if (!ok(launcher_meet(l, PATIENCE_MS), "a new manager comes"))
        printf("# %s\n", read_text(l->log));
    is_int(l->pid, launcher, "of the same launcher");
    tell(l, "ready", NULL);
}

static void test_upgrade(void) {
    launcher_t l;
    open_launcher(&l);
    tell(&l, "ready", NULL);
    int link = start_gateway(&l, 2, "cgi", NULL);
    pid_t pid = (pid_t)atoi(converse(in_runtime(&l, "sockets/e1"), PATIENCE_MS));
    int other = start_gateway(&l, 3, "ajp", NULL);
    is_str(ask(link, "say before"), "before", "a gateway before an upgrade");
    close(link);
    close(other);
    int open_files = 0;
    for (int round = 0; round < 2; round++) {
        upgrade(&l);
        link = link_of(&l, 2);
        other = link_of(&l, 3);
        is_str(ask(link, "say after"), "after", "it has the same link after it");
        is_str(ask(other, "arguments"), "", "each its own");
        ok(serves(&l, pid), "and is the same process");
        int now_open = count_open_files(l.pid);
        ok(round == 0 || now_open == open_files, "the launcher has as many files open (%d)",
           now_open);
        open_files = now_open;
        if (round == 0) {
            close(link);
            close(other);
        }
    }
    kill(l.manager_pid, SIGKILL);
    close(link);
    close(other);
    ok(launcher_meet(&l, PATIENCE_MS), "a manager dies after that");
    link = link_of(&l, 2);
    is_str(ask(link, "say still"), "still", "its successor gets the link, too");
    int third = start_gateway(&l, 4, "cgi", NULL);
    ask(third, "report");
    ok(strstr(field(hear(&l, "output", 4), "text"), "\nfd 3 socket\numask") != NULL,
       "a new gateway inherits nothing of all that");
    end(&l, 4);
    end(&l, 3);
    end(&l, 2);
    ok(is_at_end(link), "an end is seen as ever");
    close(link);
    close(third);
    ok(launcher_close(&l), "the launcher ends");
}

static void test_killed_launcher(void) {
    launcher_t l;
    open_launcher(&l);
    int link = start_gateway(&l, 2, "cgi", NULL);
    hear(&l, "ready", 2);
    pid_t pid = (pid_t)atoi(converse(in_runtime(&l, "sockets/e1"), PATIENCE_MS));
    kill(l.pid, SIGKILL);
    launcher_wait(&l, PATIENCE_MS);
    close(link); /* as its manager has */
    launcher_leave(&l);
    launcher_start(&l, (const char *const[]){"--mode", "run", NULL});
    ok(launcher_meet(&l, PATIENCE_MS), "a next launcher comes");
    tell(&l, "ready", NULL);
    const packet_t *instance = hear(&l, "instance", 2);
    is_int(number_field(instance, "pid"), pid, "it knows the gateway");
    ok(instance->descriptors[0] < 0, "but has no link to it");
    ok(says(&l, 2, "link ended\n"), "whose gateway has read the end");
    ok(serves(&l, pid), "and serves on");
    upgrade(&l);
    ok(hear(&l, "instance", 2)->descriptors[0] < 0, "an upgrade does not change that");
    link = start_on(&l, 1, 3, "cgi", NULL);
    is_str(ask(link, "say new"), "new", "its successor beside it has a link");
    end(&l, 2);
    close(link);
    ok(launcher_close(&l), "the launcher ends");
}

/* All links at once are more than may ever wait for a manager that does not read its answers. */
static void test_many(void) {
    enum { GATEWAYS = 640, TAG_BYTES = 10000 };
    static char packet[TAG_BYTES + 512];
    launcher_t l;
    open_launcher(&l);
    tell(&l, "ready", NULL);
    for (int i = 0; i < GATEWAYS; i++) {
        size_t length = (size_t)sprintf(
            packet, "start%cid=%d%cendpoint=1%cgateway=cgi%ccwd=/%ctag=", 0, i + 2, 0, 0, 0, 0);
        memset(packet + length, 'x', TAG_BYTES);
        packet[length + TAG_BYTES] = '\0';
        tell_whole(&l, packet, length + TAG_BYTES + 1);
        hear(&l, "started", i + 2);
    }
    pid_t manager = l.manager_pid;
    kill(manager, SIGKILL);
    ok(launcher_meet(&l, PATIENCE_MS), "%d gateways, and a new manager", GATEWAYS);
    tell(&l, "ready", NULL);
    sleep_ms(100); /* it is slow to read */
    int talking = 0;
    for (int i = 0; i < GATEWAYS; i++) {
        const packet_t *instance = hear_within(&l, "instance", i + 2, PATIENCE_MS);
        talking += instance != NULL && strcmp(ask(instance->descriptors[0], "say hi"), "hi") == 0;
    }
    is_int(talking, GATEWAYS, "which gets the links of all");
    ok(is_alive(l.manager_pid) && strstr(read_text(l.log), "link.overrun") == NULL,
       "and is not taken for one that never reads");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- the secret file ----------------------------------------------------------------------- */

static int last_id = 100;

static void refuses(launcher_t *l, const char *path, int error, const char *text) {
    last_id++;
    tell(l, "start", f("id=%d", last_id), "endpoint=1", "gateway=ajp", f("secret=%s", path),
         "cwd=/", NULL);
    const packet_t *failed = hear(l, "failed", last_id);
    ok(strcmp(field(failed, "step"), "secret") == 0 && number_field(failed, "errno") == error &&
           strstr(field(failed, "error"), path) != NULL &&
           strstr(field(failed, "error"), text) != NULL,
       "refused: %s", field(failed, "error"));
}

static void test_secret(void) {
    static char large[4098];
    launcher_t l;
    open_launcher(&l);
    char file[128], link[128];
    snprintf(file, sizeof(file), "%s/secret", l.base);
    snprintf(link, sizeof(link), "%s/link", l.base);
    make_file(file, "sesame", 0600);
    last_id++;
    tell(&l, "start", f("id=%d", last_id), "endpoint=1", "gateway=ajp", f("secret=%s", file),
         "cwd=/", is_root() ? "user=nobody" : "tag=", NULL);
    int gateway = take_descriptor(hear(&l, "started", last_id));
    is_str(ask(gateway, "secret"), "6 sesame", "a gateway reads the secret that its user may not");
    is_str(ask(gateway, "write secret"), "-1", "but cannot write it");
    ask(gateway, "report");
    ok(strstr(field(hear(&l, "output", last_id), "text"),
              "\nfd 2 pipe\nfd 3 socket\nfd 4 other\numask 022\n") != NULL,
       "its descriptors are 0 to 4, and nothing else");
    end(&l, last_id);
    close(gateway);
    chmod(file, 0400);
    last_id++;
    gateway = start_gateway(&l, last_id, "ajp", f("secret=%s", file));
    is_str(ask(gateway, "secret"), "6 sesame", "one that its owner may only read");
    end(&l, last_id);
    close(gateway);

    const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        chmod(file, modes[i]);
        refuses(&l, file, EPERM, f("mode %04o", modes[i]));
    }
    chmod(file, 0600);
    ok(symlink(file, link) == 0, "a symbolic link");
    refuses(&l, link, ELOOP, "symbolic link");
    mkdir(f("%s/folder", l.base), 0700);
    refuses(&l, f("%s/folder", l.base), EISDIR, "directory");
    mkfifo(f("%s/fifo", l.base), 0600);
    refuses(&l, f("%s/fifo", l.base), EINVAL, "regular file");
    refuses(&l, "/dev/null", EINVAL, "regular file");
    refuses(&l, f("%s/none", l.base), ENOENT, "No such file");
    refuses(&l, f("%s/", file), is_root() ? ENOTDIR : ENOTDIR, "");
    memset(large, 'x', 4097);
    make_file(f("%s/large", l.base), large, 0600);
    refuses(&l, f("%s/large", l.base), EFBIG, "4097 bytes");
    make_file(f("%s/empty", l.base), "", 0600);
    refuses(&l, f("%s/empty", l.base), EINVAL, "empty");
    large[4096] = '\0';
    make_file(f("%s/full", l.base), large, 0600);
    last_id++;
    gateway = start_gateway(&l, last_id, "ajp", f("secret=%s/full", l.base));
    is_int(atoi(ask(gateway, "secret")), 4096, "4096 bytes are not too many");
    end(&l, last_id);
    close(gateway);
    if (!is_root()) {
        refuses(&l, "secret", EINVAL, "absolute path");
        refuses(&l, "", EINVAL, "absolute path");
    }
    ok(launcher_close(&l), "the launcher ends");
}

/* Who may rename what stands on the way says which file it is. */
static void test_secret_of_root(void) {
    launcher_t l;
    open_launcher(&l);
    char folder[128], file[160];
    snprintf(folder, sizeof(folder), "%s/folder", l.base);
    snprintf(file, sizeof(file), "%s/secret", folder);
    mkdir(folder, 0755);
    make_file(file, "sesame", 0600);
    int gateway = start_gateway(&l, 2, "ajp", f("secret=%s", file));
    is_str(ask(gateway, "secret"), "6 sesame", "a secret of root's in a directory of root's");
    close(gateway);
    ok(chown(file, 65534, 65534) == 0, "given away");
    refuses(&l, file, EPERM, "owner is uid 65534");
    ok(chown(file, 0, 0) == 0 && chown(folder, 65534, 65534) == 0, "its directory given away");
    refuses(&l, file, EPERM, f("directory %s has owner uid 65534", folder));
    ok(chown(folder, 0, 0) == 0 && chmod(folder, 0775) == 0, "it is its group's as well");
    refuses(&l, file, EPERM, "mode 0775");
    chmod(folder, 01777);
    gateway = start_gateway(&l, 3, "ajp", f("secret=%s", file));
    is_str(ask(gateway, "secret"), "6 sesame", "in a sticky one nobody can replace it");
    close(gateway);
    char moved[160], through[192];
    snprintf(moved, sizeof(moved), "%s/moved", l.base);
    snprintf(through, sizeof(through), "%s/../moved/secret", folder);
    ok(rename(folder, moved) == 0 && symlink(moved, folder) == 0, "the directory is a link");
    refuses(&l, file, ENOTDIR, "symbolic links are not followed");
    unlink(folder);
    mkdir(folder, 0755);
    gateway = start_gateway(&l, 4, "ajp", f("secret=%s", through));
    is_str(ask(gateway, "secret"), "6 sesame", "by way of ..");
    close(gateway);
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- Node ---------------------------------------------------------------------------------- */

static const char gateway_in_node[] =
    "const { Socket, createServer } = require('net');\n"
    "const { execFileSync } = require('child_process');\n"
    "const link = new Socket({ fd: 3 });\n"
    "const answers = {\n"
    "  argv: () => process.argv.slice(2).join(' '),\n"
    "  secret: () => require('fs').readFileSync(4, 'latin1'),\n"
    "  child: () => execFileSync('/bin/sh', ['-c', 'for i in 0 1 2 3 4 5 6 7 8 9 10 11 12; do '\n"
    "    + '[ -e /proc/self/fd/$i ] && printf \"$i \"; done; :'], { stdio: ['ignore', 'pipe', 2] "
    "}),\n"
    "};\n"
    "link.on('data', (line) => link.write(`${answers[String(line).trim()]()}\\n`));\n"
    "link.on('end', () => console.log('link ended'));\n"
    "createServer((client) => client.end(`${process.pid}\\n`)).listen({ fd: 0 });\n";

/* Our own gateways are Node programs, run by the node that runs usherd. */
static void test_node(void) {
    launcher_t l;
    if (access(USHER_TEST_NODE, X_OK) < 0) {
        skip(1, "Node, of which this was built, cannot be run");
        return;
    }
    launcher_prepare(&l);
    char node[128], file[128];
    snprintf(node, sizeof(node), "%s/node", l.base);
    snprintf(file, sizeof(file), "%s/secret", l.base);
    make_file(node,
              f("#!/bin/sh\ncase $1 in\n*/main.js) exec %s \"$@\" ;;\nesac\nexec %s \"$@\"\n",
                USHER_TEST_NODE, helper_program()),
              0755);
    make_file(file, "sesame", 0600);
    install_gateway(&l, "cgi", gateway_in_node);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--node", node, NULL});
    if (!ok(launcher_meet(&l, PATIENCE_MS), "a launcher with Node"))
        printf("# %s\n", read_text(l.log));
    tell(&l, "ready", NULL);
    tell(&l, "bind", "id=1", "name=e1", NULL);
    hear(&l, "bound", 1);
    tell(&l, "start", "id=2", "endpoint=1", "gateway=cgi", "arg=--root", "arg=/srv", "cwd=/",
         "env=PATH=/usr/bin:/bin", f("secret=%s", file), is_root() ? "user=nobody" : "tag=", NULL);
    const packet_t *started = hear(&l, "started", 2);
    int link = take_descriptor(started);
    pid_t pid = (pid_t)number_field(started, "pid");
    hear(&l, "ready", 2);
    is_str(ask(link, "argv"), "--root /srv", "a gateway in Node");
    is_str(ask(link, "secret"), "sesame", "reads its secret");
    is_str(ask(link, "child"), "0 1 2 ", "and passes neither link nor secret on to what it runs");
    ok(serves(&l, pid), "it is ready when it serves");
    upgrade(&l);
    close(link);
    link = link_of(&l, 2);
    is_str(ask(link, "argv"), "--root /srv", "an upgrade is nothing to it");
    kill(l.pid, SIGKILL);
    launcher_wait(&l, PATIENCE_MS);
    close(link);
    launcher_leave(&l);
    launcher_start(&l, (const char *const[]){"--mode", "run", "--node", node, NULL});
    ok(launcher_meet(&l, PATIENCE_MS), "after a launcher's death");
    ok(says(&l, 2, "link ended\n") && serves(&l, pid), "it has read the end, and serves on");
    ok(launcher_close(&l), "the launcher ends");
    ok(comes_true(!is_alive(pid), PATIENCE_MS), "and the gateway with it");
}

static void suite(void) {
    printf("# as uid %u\n", geteuid());
    test_start();
    test_failures();
    test_managers();
    test_upgrade();
    test_killed_launcher();
    test_secret();
    test_node();
}

int main(void) {
    run_for_users(suite);
    test_many();
    if (is_root())
        test_secret_of_root();
    return done_testing();
}
