/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dynamic classes: which files below a root are started, and that neither links nor owners nor a
 * directory that is swapped in between lead to another one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

#define NOBODY 65534
#define DAEMON 1
#define BIN 2
#define SCRIPT "#!/bin/sh\npwd\nid -u\n"

static launcher_t l;
static int last_id = 1;
static char root[128]; /* base/www */

static bool is_root(void) {
    return geteuid() == 0;
}

static const char *in_root(const char *name) {
    return f("%s/%s", root, name);
}

static void allow_dynamic(const char *more) {
    allow(&l, "web-1.1.allow",
          f("dynamic\nroot=%s\n%s%s", root, is_root() ? "user=nobody\n" : "", more));
}

static void begin(void) {
    launcher_open(&l, "run");
    l.asks_first = true;
    snprintf(root, sizeof(root), "%s/www", l.base);
    mkdir(root, 0755);
    mkdir(in_root("app"), 0755);
    make_file(in_root("app/program"), SCRIPT, 0755);
    tell(&l, "bind", "id=1", "name=e1", NULL);
    hear(&l, "bound", 1);
    allow_dynamic("");
}

/* ---- asking -------------------------------------------------------------------------------- */

static const packet_t *answer_to_start(const char *path) {
    char folder[256];
    snprintf(folder, sizeof(folder), "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    tell(&l, "start", f("id=%d", ++last_id), "endpoint=1", f("arg=%s", path), f("cwd=%s", folder),
         is_root() ? "user=nobody" : "tag=", NULL);
    for (;;) {
        const packet_t *packet = hear_within(&l, "failed", last_id, 5);
        if (packet == NULL)
            packet = hear_within(&l, "exited", last_id, 5);
        if (packet != NULL || !is_alive(l.pid))
            return packet;
    }
}

static const packet_t *answer_to_resolve(const char *path) {
    tell(&l, "resolve", f("id=%d", ++last_id), "server=web-1", f("path=%s", path), NULL);
    for (;;) {
        const packet_t *packet = hear_within(&l, "failed", last_id, 5);
        if (packet == NULL)
            packet = hear_within(&l, "resolved", last_id, 5);
        if (packet != NULL || !is_alive(l.pid))
            return packet;
    }
}

/* Resolved to `real`, and started in `folder`. */
static void serves(const char *what, const char *path, const char *real, const char *folder) {
    char asked[256], expected[256], output[512];
    snprintf(asked, sizeof(asked), "%s", path);
    snprintf(output, sizeof(output), "%s\n%u\n", folder, is_root() ? NOBODY : (unsigned)geteuid());
    snprintf(expected, sizeof(expected), "%s", real);
    const packet_t *resolved = answer_to_resolve(asked);
    is_str(field(resolved, "real"), expected, "resolved: %s", what);
    const packet_t *exited = answer_to_start(asked);
    is_str(field(exited, "output"), output, "started in its directory: %s", what);
}

/* Neither resolved nor, by a launcher that is root, started. */
static void refuses(const char *what, const char *path, const char *step, const char *text) {
    char asked[256], words[256];
    snprintf(asked, sizeof(asked), "%s", path);
    snprintf(words, sizeof(words), "%s", text);
    const packet_t *answer = answer_to_resolve(asked);
    const char *error = field(answer, "error");
    ok(error != NULL && strcmp(field(answer, "step"), step) == 0 && strstr(error, words) != NULL,
       "%s is not resolved, step %s: %s", what, step, error != NULL ? error : "it is");
    if (!is_root())
        return;
    answer = answer_to_start(asked);
    is_str(field(answer, "step"), step, "nor started");
}

/* ---- roots --------------------------------------------------------------------------------- */

static void test_roots(void) {
    begin();
    serves("a file below the root", in_root("app/program"), in_root("app/program"), in_root("app"));
    make_file(in_root("top"), SCRIPT, 0755);
    serves("a file in the root itself", in_root("top"), in_root("top"), root);
    ok(symlink("app/program", in_root("link")) == 0, "a link inside");
    serves("a link below the root", in_root("link"), in_root("app/program"),
           is_root() ? in_root("app") : root);
    ok(symlink(root, f("%s/alias", l.base)) == 0, "another name of the root");
    serves("a path by another name of the root", f("%s/alias/app/program", l.base),
           in_root("app/program"), in_root("app"));

    mkdir(f("%s/outside", l.base), 0755);
    make_file(f("%s/outside/program", l.base), SCRIPT, 0755);
    refuses("a file elsewhere", f("%s/outside/program", l.base), "path",
            "lies outside the roots for dynamic classes: /");
    refuses("../", in_root("../outside/program"), "path", "lies outside the roots");
    ok(symlink("../outside/program", in_root("out")) == 0, "a link out of the root");
    refuses("what it leads to", in_root("out"), "path", "/outside/program) lies outside the roots");
    ok(symlink("../outside", in_root("away")) == 0, "a directory out of the root");
    refuses("what is in it", in_root("away/program"), "path", "lies outside the roots");
    mkdir(f("%swide", root), 0755);
    make_file(f("%swide/program", root), SCRIPT, 0755);
    refuses("a directory whose name begins as the root's", f("%swide/program", root), "path",
            "lies outside the roots");
    refuses("the root", root, "path", "lies outside the roots");
    refuses("a path that is not absolute", "app/program", "path", "absolute");
    refuses("nothing", "", "path", "absolute");

    refuses("a file that is missing", in_root("missing"), "missing", "/missing does not exist");
    refuses("below a file", in_root("app/program/x"), "missing", "does not exist");
    refuses("what is missing elsewhere", f("%s/missing", l.base), "path", "lies outside the roots");
    refuses("what is missing by way of ..", in_root("../missing"), "path", "outside the roots");
    refuses("a directory", in_root("app"), "path", "is a directory");
    mkfifo(in_root("pipe"), 0755);
    refuses("a pipe", in_root("pipe"), "path", "is not a regular file");
    make_file(in_root("text"), SCRIPT, 0644);
    refuses("a file that is not executable", in_root("text"), "path",
            "is not executable (mode 644)");
    ok(launcher_close(&l), "the launcher ends");
}

static void test_registrations(void) {
    begin();
    const char *program = f("%s/app/program", root);
    char path[256];
    snprintf(path, sizeof(path), "%s", program);
    allow(&l, "web-1.2.allow", "dynamic\nroot=/opt/none\nuser=nobody\n");
    refuses("what only an older generation allows", path, "path", "outside the roots");
    allow(&l, "web-1.2.allow", "");
    const packet_t *failed = answer_to_resolve(path);
    is_str(field(failed, "step"), "path", "a server without dynamic classes: %s",
           field(failed, "error"));
    if (is_root())
        is_str(field(answer_to_start(path), "step"), "allow", "has none started");
    tell(&l, "remove", "registration=web-1.2.conf", NULL);
    serves("the older one, when the newer is gone", path, path, in_root("app"));
    allow(&l, "other-1.9.allow", f("dynamic\nroot=%s\nuser=nobody\n", root));
    tell(&l, "resolve", "id=900", "server=web-2", f("path=%s", path), NULL);
    is_str(field(hear(&l, "failed", 900), "step"), "path", "a server that is not known");
    rename(root, f("%s/elsewhere", l.base));
    refuses("when the root is gone", path, "missing", "does not exist");
    ok(symlink("elsewhere", root) == 0, "the root is a link now");
    serves("what is below a root that is a link", path, f("%s/elsewhere/app/program", l.base),
           f("%s/elsewhere/app", l.base));
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- owners -------------------------------------------------------------------------------- */

static void test_owners(void) {
    char path[256], folder[256];
    begin();
    snprintf(path, sizeof(path), "%s", in_root("app/program"));
    snprintf(folder, sizeof(folder), "%s", in_root("app"));
    chmod(path, 0775);
    refuses("a file that its group may write", path, "path", "it may be written by its group");
    chmod(path, 0757);
    refuses("a file that others may write", path, "path", "mode 0757, owner root");
    chmod(path, 0755);
    chmod(folder, 0775);
    refuses("a directory that its group may write", path, "path", f("directory %s may", folder));
    chmod(folder, 01777);
    refuses("a directory that all may write, in part", path, "path", "chmod go-w it");
    chmod(folder, 0755);
    chmod(root, 0777);
    refuses("a root that all may write", path, "path", f("directory %s may be written", root));
    chmod(root, 0755);

    ok(chown(path, NOBODY, NOBODY) == 0, "given to who is to run it");
    serves("a file of the program's user", path, path, folder);
    ok(chown(path, DAEMON, DAEMON) == 0, "given to somebody else");
    refuses("a file of somebody else's", path, "path", "it belongs to daemon");
    ok(chown(root, DAEMON, DAEMON) == 0, "who gets the root, too");
    serves("a file of the root's owner", path, path, folder);
    ok(chown(folder, BIN, BIN) == 0, "a directory between of a third one");
    refuses("what is in it", path, "path", "belongs to bin");
    ok(chown(folder, 0, 0) == 0 && chown(path, 0, 0) == 0 && chown(root, 0, 0) == 0, "all root's");

    chmod(path, 04755);
    refuses("a set-user-ID file", path, "path", "makes who runs it somebody else (mode 4755)");
    chmod(path, 02755);
    refuses("a set-group-ID file", path, "path", "chmod ug-s it");
    chmod(path, 0755);
    serves("as it should be", path, path, folder);

    chmod(path, 0777);
    chmod(folder, 0777);
    allow_dynamic("path-check=suexec\n");
    refuses("what suexec is asked for by name", path, "path", "may be written");
    allow_dynamic("path-check=roots\n");
    serves("what all may write, with path-check=roots", path, path, folder);
    ok(symlink("/bin/sh", in_root("out")) == 0, "a link out");
    refuses("what it leads to all the same", in_root("out"), "path", "outside the roots");
    chmod(path, 0755);
    chmod(folder, 0700);
    allow_dynamic("");
    const packet_t *answer = answer_to_start(path);
    is_str(field(answer, "step"), "cwd", "a directory that the user may not enter: %s",
           field(answer, "error"));
    ok(launcher_close(&l), "the launcher ends");
}

/* What was right when it was asked about is looked at again when it is started. */
static void test_swapped(void) {
    char path[256];
    begin();
    snprintf(path, sizeof(path), "%s", in_root("app/program"));
    ok(field(answer_to_resolve(path), "real") != NULL, "resolved");
    mkdir(f("%s/evil", l.base), 0755);
    make_file(f("%s/evil/program", l.base), SCRIPT, 0755);
    rename(in_root("app"), in_root("was"));
    ok(symlink("../evil", in_root("app")) == 0, "its directory becomes a link");
    is_str(field(answer_to_start(path), "step"), "path", "which is not followed out of the root");
    unlink(in_root("app"));
    rename(f("%s/evil", l.base), in_root("app"));
    ok(chown(in_root("app"), DAEMON, DAEMON) == 0, "its directory becomes somebody else's");
    is_str(field(answer_to_start(path), "step"), "path", "which is refused");
    ok(launcher_close(&l), "the launcher ends");
}

/* The words of a dynamic start that are not its path. */
static void test_other_words(void) {
    char path[256];
    begin();
    snprintf(path, sizeof(path), "%s", in_root("app/program"));
    allow_dynamic("env=A=1\n");
    const char *const rest[][3] = {
        {"user=nobody", "tag=", "without its environment"},
        {"user=root", "env=A=1", "as root"},
        {"user=nobody", "env=LD_PRELOAD=/x", "with another environment"},
    };
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
        tell(&l, "start", f("id=%d", ++last_id), "endpoint=1", f("arg=%s", path), rest[i][0],
             rest[i][1], NULL);
        is_str(field(hear(&l, "failed", last_id), "step"), "allow", "not started %s", rest[i][2]);
    }
    tell(&l, "start", f("id=%d", ++last_id), "endpoint=1", f("arg=%s", path), "arg=--more",
         "user=nobody", "env=A=1", NULL);
    is_str(field(hear(&l, "failed", last_id), "step"), "allow", "not started with an argument");
    tell(&l, "start", f("id=%d", ++last_id), "endpoint=1", f("arg=%s", path), "cwd=/etc",
         "user=nobody", "env=A=1", NULL);
    hear(&l, "started", last_id);
    is_str(field(hear(&l, "exited", last_id), "output"), f("%s\n%d\n", in_root("app"), NOBODY),
           "wherever it is told to: in its own directory");
    ok(launcher_close(&l), "the launcher ends");
}

/* ---- identity ------------------------------------------------------------------------------ */

static const packet_t *identity_of(const char *path) {
    tell(&l, "identify", f("id=%d", ++last_id), f("path=%s", path), NULL);
    return hear(&l, "identified", last_id);
}

static void test_identity(void) {
    char path[256], before[128];
    begin();
    snprintf(path, sizeof(path), "%s", in_root("app/program"));
    snprintf(before, sizeof(before), "%s", field(identity_of(path), "identity"));
    ok(strlen(before) > 10, "a file has an identity: %s", before);
    is_str(field(identity_of(path), "identity"), before, "the same each time");
    ok(symlink("app/program", in_root("link")) == 0, "a link to it");
    is_str(field(identity_of(in_root("link")), "identity"), before, "has that of the file");
    is_str(field(identity_of(in_root("link")), "real"), path, "and its real path");
    make_file(in_root("app/new"), SCRIPT "echo\n", 0755);
    rename(in_root("app/new"), path);
    ok(strcmp(field(identity_of(path), "identity"), before) != 0, "another file has another one");
    unlink(path);
    is_str(field(identity_of(path), "identity"), "", "a missing file has none");
    if (is_root()) {
        tell(&l, "identify", "id=900", "path=/etc/shadow", NULL);
        is_str(field(hear(&l, "failed", 900), "step"), "allow", "nor is one told of other files");
        tell(&l, "identify", "id=901", "path=/no/such/file", NULL);
        is_str(field(hear(&l, "failed", 901), "step"), "allow", "there or not");
    }
    ok(launcher_close(&l), "the launcher ends");
}

static void test_for_everybody(void) {
    printf("# as uid %u\n", geteuid());
    test_roots();
    test_registrations();
    test_identity();
}

int main(void) {
    run_for_users(test_for_everybody);
    if (is_root()) {
        test_owners();
        test_swapped();
        test_other_words();
    }
    return done_testing();
}
