/* SPDX-License-Identifier: Apache-2.0 */
/* The forker by its protocol: programs, their streams and windows, exits, limits, paths, and that
 * nothing runs on when the gateway or the forker is gone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forker/protocol.h"
#include "launcher_harness.h"
#include "os/os.h"
#include "tap.h"

#define FORKER USHER_TEST_BUILD "/usher-forker"
#define KEPT_BYTES (1u << 20)

static char base[] = "/tmp/usher-forker-XXXXXX";
static pid_t forker;
static int gateway = -1;
static uint32_t last_program;

static const char *in_base(const char *name) {
    return f("%s/%s", base, name);
}

static void begin(const char *const *options) {
    int pair[2];
    const char *arguments[16] = {FORKER};
    for (int i = 0; options != NULL && options[i] != NULL; i++)
        arguments[i + 1] = options[i];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    fflush(stdout);
    forker = fork();
    if (forker == 0) {
        dup2(pair[1], FORKER_LINK_FD);
        execv(FORKER, (char *const *)(uintptr_t)arguments);
        printf("Bail out! %s: %s\n", FORKER, strerror(errno));
        fflush(stdout);
        _exit(1);
    }
    close(pair[1]);
    gateway = pair[0];
}

/* Its wait status when it ends in time. */
static int forker_status(void) {
    int status = -1;
    if (!comes_true(waitpid(forker, &status, WNOHANG) == forker, PATIENCE_MS)) {
        kill(forker, SIGKILL);
        waitpid(forker, NULL, 0);
        return -1;
    }
    return status;
}

static int end(void) {
    close(gateway);
    return forker_status();
}

/* ---- frames -------------------------------------------------------------------------------- */

static void send_bytes(const void *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t sent = send(gateway, (const char *)bytes + done, length - done, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        done += (size_t)sent;
    }
}

static void send_frame(uint32_t type, uint32_t program, const void *content, size_t length) {
    frame_header_t header = {.length = (uint32_t)length, .type = type, .program = program};
    send_bytes(&header, sizeof(header));
    send_bytes(content, length);
}

static void send_number(uint32_t type, uint32_t program, uint32_t number) {
    send_frame(type, program, &number, sizeof(number));
}

/* A program with its arguments and variables, each list ended by NULL. */
static uint32_t start_with(uint32_t flags, const char *const *arguments,
                           const char *const *variables) {
    static char content[65536];
    uint32_t numbers[3] = {flags, 0, 0};
    size_t length = sizeof(numbers);
    const char *const *lists[2] = {arguments, variables};
    for (int i = 0; i < 2; i++) {
        for (const char *const *at = lists[i]; *at != NULL; at++) {
            size_t size = strlen(*at) + 1;
            memcpy(content + length, *at, size);
            length += size;
            numbers[i + 1]++;
        }
    }
    memcpy(content, numbers, sizeof(numbers));
    send_frame(FRAME_START, ++last_program, content, length);
    return last_program;
}

static uint32_t start_shell(uint32_t flags, const char *script) {
    return start_with(flags, (const char *const[]){"/bin/sh", "-c", script, NULL},
                      (const char *const[]){"PATH=/usr/bin:/bin", "NAME=value", NULL});
}

/* What came of a program. */
typedef struct {
    uint32_t id, pid;
    size_t output_bytes;
    char output[KEPT_BYTES], errors[4096];
    size_t errors_bytes;
    bool output_has_ended, errors_have_ended, has_exited, has_failed, input_is_closed;
    uint32_t status, signal, credit;
    char step[16], text[600];
    uint32_t errno_value;
} program_t;

static bool is_over(const program_t *program) {
    return program->has_failed ||
           (program->has_exited && program->output_has_ended && program->errors_have_ended);
}

static bool receive(void *bytes, size_t length) {
    uint64_t until = now_ms() + PATIENCE_MS;
    for (size_t done = 0; done < length;) {
        struct pollfd wait = {.fd = gateway, .events = POLLIN};
        if (now_ms() >= until || poll(&wait, 1, 1000) < 0)
            return false;
        if (wait.revents == 0)
            continue;
        ssize_t got = recv(gateway, (char *)bytes + done, length - done, 0);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static void take_failure(program_t *program, const char *content, size_t length) {
    program->has_failed = true;
    memcpy(&program->errno_value, content, sizeof(uint32_t));
    snprintf(program->step, sizeof(program->step), "%.15s", content + sizeof(uint32_t));
    const char *text = content + sizeof(uint32_t) + strlen(program->step) + 1;
    snprintf(program->text, sizeof(program->text), "%.*s", (int)(length - (size_t)(text - content)),
             text);
}

static void take(program_t *program, uint32_t type, const char *content, size_t length) {
    uint32_t numbers[2] = {0, 0};
    memcpy(numbers, content, length < sizeof(numbers) ? length : sizeof(numbers));
    switch (type) {
    case FRAME_STARTED:
        program->pid = numbers[0];
        break;
    case FRAME_FAILED:
        take_failure(program, content, length);
        break;
    case FRAME_STDIN_CREDIT:
        program->credit += numbers[0];
        break;
    case FRAME_STDIN_CLOSED:
        program->input_is_closed = true;
        break;
    case FRAME_STDOUT:
        if (program->output_bytes + length < sizeof(program->output))
            memcpy(program->output + program->output_bytes, content, length);
        program->output_bytes += length;
        break;
    case FRAME_STDERR:
        if (program->errors_bytes + length < sizeof(program->errors))
            memcpy(program->errors + program->errors_bytes, content, length);
        program->errors_bytes += length;
        break;
    case FRAME_STDOUT_END:
        program->output_has_ended = true;
        break;
    case FRAME_STDERR_END:
        program->errors_have_ended = true;
        break;
    case FRAME_EXITED:
        program->has_exited = true;
        program->status = numbers[0];
        program->signal = numbers[1];
        break;
    default:
        ok(false, "frame type %u is none of the forker's", type);
    }
}

/* One frame; of other programs it is passed over. */
static bool hear_frame(program_t *program) {
    static char content[KEPT_BYTES];
    frame_header_t header;
    if (!receive(&header, sizeof(header)) || header.length > sizeof(content) ||
        !receive(content, header.length))
        return false;
    if (header.program == program->id)
        take(program, header.type, content, header.length);
    return true;
}

static program_t *new_program(uint32_t id) {
    static program_t programs[4];
    static unsigned used;
    program_t *program = &programs[used++ % 4];
    memset(program, 0, sizeof(*program));
    program->id = id;
    return program;
}

static program_t *run_to_end(uint32_t id) {
    program_t *program = new_program(id);
    while (!is_over(program) && hear_frame(program))
        continue;
    return program;
}

static program_t *shell(const char *script) {
    return run_to_end(start_shell(0, script));
}

/* ---- programs ------------------------------------------------------------------------------ */

static void test_programs(void) {
    begin(NULL);
    program_t *p = shell("echo out; echo errors >&2; exit 3");
    is_str(p->output, "out\n", "stdout");
    is_str(p->errors, "errors\n", "stderr");
    ok(p->has_exited && p->status == 3 && p->signal == 0, "exit status 3");
    p = shell("kill -9 $$");
    ok(p->has_exited && p->status == 0 && p->signal == SIGKILL, "killed by a signal");
    is_str(shell("cat; echo end")->output, "end\n", "without a body stdin is at its end");
    is_str(shell("env | sort")->output, "NAME=value\nPATH=/usr/bin:/bin\nPWD=/usr/bin\n",
           "the environment is what was given, and nothing of the forker's");
    p = run_to_end(
        start_with(0, (const char *const[]){"/bin/sh", "-c", "echo $0:$1:$2", "a", "", "c d", NULL},
                   (const char *const[]){NULL}));
    is_str(p->output, "a::c d\n", "arguments, also empty ones");
    p = shell("echo $$ $(ps -o pgid= -p $$) $PPID");
    char expected[64];
    snprintf(expected, sizeof(expected), "%u %u %d\n", p->pid, p->pid, (int)forker);
    is_str(p->output, expected, "its pid, which is its process group, its parent");
    is_str(shell("ls -l /proc/self/fd | sed -n 's/.* \\([0-9]*\\) -> \\([a-z/]*\\).*/\\1 \\2/p'")
               ->output,
           "0 /dev/null\n1 pipe\n2 pipe\n3 /proc/\n", "no other descriptors");
    is_str(shell("grep -E '^Sig(Blk|Ign)' /proc/self/status")->output,
           "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n",
           "no signal is blocked or ignored");
    is_str(shell("ulimit -Sn")->output, "1024\n", "the soft limit of files is the usual one");
    make_file(in_base("here"), "#!/bin/sh\npwd\necho $0\n", 0755);
    const char *here = in_base("here");
    p = run_to_end(start_with(0, (const char *const[]){here, NULL}, (const char *const[]){NULL}));
    snprintf(p->text, sizeof(p->text), "%s\n%s\n", base, here);
    is_str(p->output, p->text, "it runs in its own directory");
    is_int(end(), 0, "the forker ends with the gateway");
}

static program_t *start_of(const char *path) {
    return run_to_end(
        start_with(0, (const char *const[]){path, NULL}, (const char *const[]){NULL}));
}

static void fails(const char *path, const char *step, int errno_value, const char *words) {
    program_t *p = start_of(path);
    ok(p->has_failed && strcmp(p->step, step) == 0 && (int)p->errno_value == errno_value &&
           strstr(p->text, words) != NULL,
       "%s: step %s, errno %u: %s", path, p->step, p->errno_value, p->text);
}

static void test_failures(void) {
    begin(NULL);
    is_str(shell("echo first")->output, "first\n", "a program");
    int descriptors = count_open_files(forker);
    fails(in_base("nothing"), "missing", ENOENT, "nothing does not exist");
    fails(in_base("no/where"), "missing", ENOENT, "no/where does not exist");
    fails("relative", "path", EINVAL, "absolute");
    make_file(in_base("text"), "text", 0644);
    make_file(in_base("noise"), "\1\2\3", 0755);
    make_file(in_base("lost"), "#!/no/such/interpreter\n", 0755);
    fails(in_base("text"), "exec", EACCES, "Permission denied");
    fails(in_base("noise"), "exec", ENOEXEC, "not a program");
    fails(in_base("lost"), "exec", ENOENT, "the interpreter /no/such/interpreter");
    fails(base, "exec", EACCES, "it is a directory");
    send_frame(FRAME_START, ++last_program, "short", 5);
    is_str(run_to_end(last_program)->step, "frame", "a frame that is broken");
    uint32_t numbers[4] = {0, 1, 1, 0};
    send_frame(FRAME_START, ++last_program, numbers, sizeof(numbers));
    is_str(run_to_end(last_program)->step, "frame", "strings that are not there");
    send_number(FRAME_SIGNAL, 4711, SIGKILL);
    send_frame(FRAME_STDIN, 4711, "x", 1);
    send_frame(99, 4711, "x", 1);
    is_str(shell("echo well")->output, "well\n", "words for unknown programs are passed over");
    is_int(count_open_files(forker), descriptors, "nothing is left open");
    is_int(end(), 0, "it ends");
}

/* ---- streams ------------------------------------------------------------------------------- */

static void test_input(void) {
    begin(NULL);
    static char bytes[65536];
    memset(bytes, 'x', sizeof(bytes));
    uint32_t id = start_shell(START_HAS_STDIN, "sleep 0.2; wc -c");
    program_t *p = new_program(id);
    size_t sent = 0, total = 40 * sizeof(bytes);
    while (sent < total && !is_over(p)) {
        if (sent - p->credit + sizeof(bytes) <= FORKER_WINDOW_BYTES) {
            send_frame(FRAME_STDIN, id, bytes, sizeof(bytes));
            sent += sizeof(bytes);
        } else if (!hear_frame(p)) {
            break;
        }
    }
    send_frame(FRAME_STDIN_END, id, NULL, 0);
    while (!is_over(p) && hear_frame(p))
        continue;
    is_str(p->output, f("%zu\n", total), "a body larger than the window, as credit comes");

    id = start_shell(START_HAS_STDIN, "exec 0<&-; sleep 0.1; echo done; sleep 0.1");
    p = new_program(id);
    while (p->output_bytes == 0 && hear_frame(p))
        continue;
    send_frame(FRAME_STDIN, id, bytes, sizeof(bytes));
    send_frame(FRAME_STDIN, id, bytes, sizeof(bytes));
    send_frame(FRAME_STDIN_END, id, NULL, 0);
    while (!is_over(p) && hear_frame(p))
        continue;
    ok(p->input_is_closed, "a program that reads no more is told");
    ok(is_over(p) && p->status == 0, "and harms nobody");

    id = start_shell(START_HAS_STDIN, "read x; echo $x");
    send_frame(FRAME_STDIN, id, "half a line", 11);
    send_frame(FRAME_STDIN_END, id, NULL, 0);
    is_str(run_to_end(id)->output, "half a line\n", "a small body");
    is_int(end(), 0, "it ends");
}

static void test_output(void) {
    begin(NULL);
    is_str(shell("echo first")->output, "first\n", "a program");
    int descriptors = count_open_files(forker);
    uint32_t id = start_shell(0, "head -c 3000000 /dev/zero");
    program_t *p = new_program(id);
    while (p->output_bytes < FORKER_WINDOW_BYTES && hear_frame(p))
        continue;
    is_int(p->output_bytes, FORKER_WINDOW_BYTES, "output stops at the window");
    struct pollfd wait = {.fd = gateway, .events = POLLIN};
    is_int(poll(&wait, 1, 100), 0, "and nothing more comes");
    ok(!p->has_exited, "the program waits");
    while (!is_over(p)) {
        send_number(FRAME_OUTPUT_CREDIT, id, 100000);
        for (size_t until = p->output_bytes + 100000; p->output_bytes < until && !is_over(p);) {
            if (!hear_frame(p))
                break;
        }
    }
    is_int(p->output_bytes, 3000000, "with credit all of it comes");

    /* a child that holds the pipes on */
    id = start_shell(0, "echo out; sleep 1000 & exit 0");
    p = new_program(id);
    while (!p->has_exited && hear_frame(p))
        continue;
    is_str(p->output, "out\n", "what it wrote comes before its exit");
    ok(!p->output_has_ended, "pipes that a child holds have no end");
    ok(kill(-(pid_t)p->pid, 0) == 0, "the child runs on");
    send_frame(FRAME_CLOSE, id, NULL, 0);
    is_str(shell("echo next")->output, "next\n", "after CLOSE it is forgotten");
    is_int(count_open_files(forker), descriptors, "with its descriptors");
    ok(kill(-(pid_t)p->pid, SIGKILL) == 0, "and left alone");

    id = start_shell(0, "exec >&- 2>&-; sleep 0.1; exit 5");
    p = run_to_end(id);
    is_int(p->status, 5, "a program may close its output before it exits");
    is_int(end(), 0, "it ends");
}

/* Output, its ends and the exit of a small answer in one read. */
static void test_one_piece(void) {
    begin(NULL);
    make_file(in_base("small"), "#!/bin/sh\necho Status: 200\n", 0755);
    int together = 0;
    for (int i = 0; i < 20; i++) {
        static char bytes[65536];
        start_with(0, (const char *const[]){in_base("small"), NULL}, (const char *const[]){NULL});
        ssize_t length = 0;
        uint32_t seen = 0;
        for (int reads = 0; !(seen & 1u << (FRAME_EXITED - FRAME_STARTED)); reads++) {
            struct pollfd wait = {.fd = gateway, .events = POLLIN};
            if (poll(&wait, 1, PATIENCE_MS) <= 0 ||
                (length = recv(gateway, bytes, sizeof(bytes), 0)) <= 0)
                break;
            seen = 0;
            for (ssize_t at = 0; at < length;) {
                frame_header_t header;
                memcpy(&header, bytes + at, sizeof(header));
                seen |= 1u << (header.type - FRAME_STARTED);
                at += (ssize_t)(sizeof(header) + header.length);
            }
        }
        together += (seen & 1u << (FRAME_STDOUT - FRAME_STARTED)) != 0;
    }
    ok(together > 0, "output and exit came together %d times of 20", together);
    is_int(end(), 0, "it ends");
}

/* One that ends while the next one is being started leaves nothing behind. */
static void test_many(void) {
    enum { AT_ONCE = 8, ALL = 1000 };
    uint32_t ended = 0;
    begin(NULL);
    uint32_t before = last_program;
    for (int i = 0; i < AT_ONCE; i++)
        start_shell(0, "");
    while (ended < ALL) {
        char content[KEPT_BYTES];
        frame_header_t header;
        if (!receive(&header, sizeof(header)) || header.length > sizeof(content) ||
            !receive(content, header.length) || header.type == FRAME_FAILED)
            break;
        if (header.type == FRAME_EXITED && ++ended + AT_ONCE <= ALL)
            start_shell(0, "");
    }
    is_int(ended, ALL, "%d programs, %d at once", ALL, AT_ONCE);
    is_int(last_program - before, ALL, "and no more");
    is_int(end(), 0, "it ends");
}

/* ---- ends ---------------------------------------------------------------------------------- */

static void test_signals(void) {
    begin(NULL);
    uint32_t id = start_shell(0, "trap 'echo caught; exit 7' TERM; echo ready; "
                                 "while :; do sleep 0.01; done");
    program_t *p = new_program(id);
    while (p->output_bytes == 0 && hear_frame(p))
        continue;
    send_number(FRAME_SIGNAL, id, SIGTERM);
    while (!is_over(p) && hear_frame(p))
        continue;
    is_str(p->output, "ready\ncaught\n", "TERM");
    is_int(p->status, 7, "its own end");
    id = start_shell(0, "sleep 1000 & sleep 1000 & echo ready; wait");
    p = new_program(id);
    while (p->output_bytes == 0 && hear_frame(p))
        continue;
    send_number(FRAME_SIGNAL, id, SIGKILL);
    while (!is_over(p) && hear_frame(p))
        continue;
    ok(is_over(p) && p->signal == SIGKILL, "KILL reaches its children: its pipes have an end");
    kill(forker, SIGTERM);
    kill(forker, SIGHUP);
    is_str(shell("echo still")->output, "still\n", "signals to the forker itself change nothing");
    is_int(end(), 0, "it ends");
}

static program_t *start_family(void) {
    uint32_t id = start_shell(0, "trap '' TERM HUP; sleep 1000 & echo ready; sleep 1000; exit 0");
    program_t *p = new_program(id);
    while ((p->output_bytes == 0 || p->pid == 0) && hear_frame(p))
        continue;
    return p;
}

static void test_death(void) {
    begin(NULL);
    program_t *p = start_family();
    is_int(end(), 0, "the gateway goes");
    ok(comes_true(kill(-(pid_t)p->pid, 0) < 0, PATIENCE_MS), "and all that ran with it");
    begin(NULL);
    p = start_family();
    kill(forker, SIGKILL);
    ok(comes_true(!is_alive((pid_t)p->pid), PATIENCE_MS), "a program ends with its forker");
    kill(-(pid_t)p->pid, SIGKILL);
    end();
}

/* ---- options ------------------------------------------------------------------------------- */

static void test_options(void) {
    begin((const char *const[]){"--limit", "nofile=77", "--limit", "core=0", NULL});
    is_str(shell("ulimit -n; ulimit -c")->output, "77\n0\n", "limits");
    is_int(end(), 0, "it ends");
    static const char *const wrong[][4] = {{"--limit", "nofile"},
                                           {"--limit", NULL},
                                           {"--root", NULL},
                                           {"--path-check", "suexec", NULL},
                                           {"--path-check", "never", "--root", "/"},
                                           {"--other", "x"}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *options[5] = {wrong[i][0], wrong[i][1], wrong[i][2], wrong[i][3]};
        begin(options);
        int status = forker_status();
        ok(WIFEXITED(status) && WEXITSTATUS(status) == 64, "%s %s is refused", options[0],
           options[1] != NULL ? options[1] : "");
        close(gateway);
    }
}

static void test_paths(void) {
    const char *root = in_base("www");
    mkdir(root, 0755);
    mkdir(in_base("www/open"), 0755);
    chmod(in_base("www/open"), 0777);
    make_file(in_base("www/program"), "#!/bin/sh\npwd\n", 0755);
    make_file(in_base("www/text"), "text", 0644);
    make_file(in_base("www/open/program"), "#!/bin/sh\npwd\n", 0755);
    ok(symlink("/bin/true", in_base("www/out")) == 0, "a link out of the root");
    begin((const char *const[]){"--path-check", "suexec", "--root", root, NULL});
    is_str(start_of(in_base("www/program"))->output, f("%s\n", root), "a program below a root");
    fails(in_base("www/nothing"), "missing", ENOENT, "does not exist");
    fails(in_base("www/text"), "path", EACCES, "is not executable");
    fails(root, "path", EACCES, "lies outside the roots");
    fails("/bin/true", "path", EACCES, "lies outside the roots");
    fails(in_base("www/out"), "path", EACCES, "lies outside the roots");
    fails(in_base("www/../here"), "path", EACCES, "lies outside the roots");
    fails(in_base("www/open/program"), "path", EACCES, "may be written by its group or by others");
    is_int(end(), 0, "it ends");
    begin(
        (const char *const[]){"--path-check", "roots", "--root", "/nowhere", "--root", root, NULL});
    is_str(start_of(in_base("www/open/program"))->output, f("%s/open\n", root),
           "with path-check=roots owners and modes do not count");
    fails("/bin/true", "path", EACCES, "lies outside the roots");
    is_int(end(), 0, "it ends");
}

int main(void) {
    if (access(FORKER, X_OK) < 0 || mkdtemp(base) == NULL) {
        printf("Bail out! %s is missing: npm run build:native\n", FORKER);
        return 1;
    }
    test_programs();
    test_failures();
    test_input();
    test_output();
    test_one_piece();
    test_many();
    test_signals();
    test_death();
    test_options();
    test_paths();
    const char *const remove[] = {"/bin/rm", "-rf", base, NULL};
    fflush(stdout);
    if (fork() == 0)
        execv(remove[0], (char *const *)(uintptr_t)remove);
    wait(NULL);
    return done_testing();
}
