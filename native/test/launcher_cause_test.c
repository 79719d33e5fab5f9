/* SPDX-License-Identifier: Apache-2.0 */
/* What the launcher tells of a start: when its steps were done, what the process was, and by a word
 * why it could not become the program. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher_harness.h"
#include "tap.h"

static launcher_t l;
static int last_id = 1;

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static bool is_root(void) {
    return geteuid() == 0;
}

static const packet_t *fail_to_start(const char *program, const char *more) {
    last_id++;
    tell(&l, "start", f("id=%d", last_id), "endpoint=1", f("arg=%s", program), "cwd=/", more, NULL);
    return hear(&l, "failed", last_id);
}

static void has_cause(const char *program, const char *more, const char *cause, const char *words) {
    const packet_t *failed = fail_to_start(program, more);
    const char *word = field(failed, "cause"), *text = field(failed, "error");
    is_str(word != NULL ? word : "none", cause, "%s", words);
    ok(strstr(text, words) != NULL, "\"%s\" says so", text);
}

/* ---- programs made to fail ----------------------------------------------------------------- */

static const char *in_base(const char *name) {
    return f("%s/%s", l.base, name);
}

static const char *make_program(const char *bytes, size_t length, unsigned mode) {
    const char *path = in_base("program");
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, length) != (ssize_t)length || fchmod(fd, mode) < 0 ||
        close(fd) < 0)
        die("cannot write a program");
    return path;
}

static const char *make_script(const char *text, unsigned mode) {
    return make_program(text, strlen(text), mode);
}

static const char *make_foreign(void) {
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2MSB, EV_CURRENT}};
    header.e_machine = (EM_S390 & 0xff) << 8 | EM_S390 >> 8; /* in the other order of bytes */
    return make_program((const char *)&header, sizeof(header), 0755);
}

/* A program whose loader is not there. */
static const char *make_unloadable(void) {
    static char bytes[4 << 20];
    int fd = open("/bin/true", O_RDONLY | O_CLOEXEC);
    ssize_t length = read(fd, bytes, sizeof(bytes));
    close(fd);
    char *loader = length > 0 ? memmem(bytes, (size_t)length, "/ld-", 4) : NULL;
    if (loader == NULL)
        die("/bin/true names no loader");
    memcpy(loader, "/no-", 4);
    return make_program(bytes, (size_t)length, 0755);
}

static void test_files(void) {
    has_cause(in_base("none"), "x=", "file-missing", "No such file");
    has_cause(in_base("no/such"), "x=", "file-missing",
              f("the directory %s/no does not exist", l.base));
    has_cause(f("%s/x", make_script("", 0755)), "x=", "file-missing", "Not a directory");
    symlink("nowhere", in_base("link"));
    has_cause(in_base("link"), "x=", "file-missing", "the symbolic link leads to nothing");
    has_cause("/usr", "x=", "is-directory", "it is a directory");
    has_cause(make_script("#!/bin/sh\n", 0644), "x=", "not-executable", "mode 0644");
    has_cause(make_script("#!/etc/passwd\n", 0755), "x=", "not-executable",
              "its interpreter is not executable");
}

static void test_formats(void) {
    has_cause(make_script("#!/no/perl -w\n", 0755), "x=", "interpreter-missing",
              "/no/perl in its #!");
    has_cause(make_script("#!/bin/sh\r\n", 0755), "x=", "interpreter-crlf", "CR LF");
    has_cause(make_script("hello\n", 0755), "x=", "no-program", "has no #! line");
    has_cause(make_script("", 0755), "x=", "no-program", "the file is empty");
    has_cause(make_script("\xEF\xBB\xBF#!/bin/sh\n", 0755), "x=", "no-program",
              "a byte order mark");
    has_cause(make_foreign(), "x=", "wrong-architecture", "it is a program for s390x");
    has_cause(make_unloadable(), "x=", "library-missing", "/no-");
}

static void test_barriers(void) {
    if (!is_root())
        return;
    mkdir(in_base("private"), 0700);
    mkdir(in_base("private/inner"), 0755);
    make_file(in_base("private/inner/program"), "#!/bin/sh\n", 0755);
    has_cause(in_base("private/inner/program"), "user=nobody", "path-denied",
              f("may not pass the directory %s/private (mode 0700", l.base));
    last_id++;
    tell(&l, "start", f("id=%d", last_id), "endpoint=1", "arg=/bin/true", "user=nobody",
         f("cwd=%s/private/inner", l.base), NULL);
    const packet_t *failed = hear(&l, "failed", last_id);
    is_str(field(failed, "step"), "cwd", "a directory that cannot be entered");
    ok(strstr(field(failed, "error"), f("it may not pass %s/private", l.base)) != NULL,
       "the one on the way to it is named: %s", field(failed, "error"));
}

/* ---- what is told of a start --------------------------------------------------------------- */

static long long step_ns(const packet_t *packet, const char *name) {
    char wanted[64];
    size_t length = (size_t)snprintf(wanted, sizeof(wanted), "done=%s=", name);
    for (const char *at = packet->bytes; at < packet->bytes + packet->length;
         at += strlen(at) + 1) {
        if (strncmp(at, wanted, length) == 0)
            return atoll(at + length);
    }
    return 0;
}

static bool has_field(const packet_t *packet, const char *whole) {
    const char *at = packet->bytes, *end = packet->bytes + packet->length;
    while (at < end && strcmp(at, whole) != 0)
        at += strlen(at) + 1;
    return at < end;
}

static void test_facts(void) {
    static const char *const names[] = {"path", "user", "fork", "limit", "setuid", "cwd", "exec"};
    last_id++;
    tell(&l, "start", f("id=%d", last_id), "endpoint=1", "arg=/bin/true", "cwd=/",
         "limit=nofile=77", is_root() ? "user=nobody" : "x=", NULL);
    const packet_t *started = hear(&l, "started", last_id);
    long long before = 1;
    bool in_order = true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        in_order = in_order && step_ns(started, names[i]) >= before;
        before = step_ns(started, names[i]);
    }
    ok(in_order, "all steps of a start, one after the other");
    is_int(number_field(started, "uid"), is_root() ? 65534 : (int)geteuid(), "its user");
    ok(has_field(started, "limit=nofile=77"), "its limits");
    ok(!is_root() || has_field(started, "group=65534"), "its groups");
    hear(&l, "exited", last_id);

    const packet_t *failed = fail_to_start("/no", is_root() ? "user=nobody" : "x=");
    ok(step_ns(failed, "cwd") > 0 && step_ns(failed, "exec") == 0,
       "and of one that failed at exec");
    is_int(number_field(failed, "uid"), is_root() ? 65534 : (int)geteuid(), "as that user");
    failed = fail_to_start("/bin/true", "limit=nofile=1.5");
    ok(step_ns(failed, "fork") == 0 && field(failed, "uid") == NULL,
       "of one that failed before there was a process nothing is said about one");
}

static void suite(void) {
    printf("# as uid %u\n", (unsigned)geteuid());
    launcher_open(&l, "run");
    chmod(l.base, 0755);
    tell(&l, "bind", "id=1", "name=e1", "backlog=10", NULL);
    hear(&l, "bound", 1);
    test_files();
    test_formats();
    test_barriers();
    test_facts();
    ok(launcher_close(&l), "the launcher ends");
}

int main(void) {
    run_for_users(suite);
    return done_testing();
}
