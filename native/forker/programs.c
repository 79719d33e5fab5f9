/* SPDX-License-Identifier: Apache-2.0 */
#include "forker/programs.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "forker/buffer.h"
#include "forker/loop.h"
#include "forker/protocol.h"
#include "forker/start.h"
#include "os/os.h"

#define READ_BYTES ((size_t)64 << 10)
#define CREDIT_BYTES (FORKER_WINDOW_BYTES / 4) /* told in pieces of this size */
#define BUCKETS 1024u
/* A program with more output than this gets a roomier pipe: fewer turns for the same bytes. */
#define ROOMY_AFTER_BYTES ((uint64_t)128 << 10)
#define ROOMY_BYTES (256 << 10)

typedef struct program program_t;
struct program {
    program_t *next; /* in its bucket, then among the dead */
    uint32_t id;
    pid_t pid;
    watch_t process, input, output, errors;
    bool has_exited;
    uint32_t output_credit;
    uint64_t output_bytes;
    buffer_t pending;     /* for its stdin */
    uint32_t input_taken; /* not yet told the gateway */
    bool input_is_whole;  /* STDIN_END came */
};

static program_t *buckets[BUCKETS];
static program_t *dead;

static program_t **find(uint32_t id) {
    program_t **at = &buckets[id % BUCKETS];
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    return at;
}

static void send_number(uint32_t type, const program_t *program, uint32_t number) {
    link_send(type, program->id, &number, sizeof(number), false);
}

/* ---- its end ------------------------------------------------------------------------------- */

/* Its process, dead already, has kept pid and group from becoming somebody else's. */
static void forget(program_t *program) {
    watch_close(&program->input);
    watch_close(&program->output);
    watch_close(&program->errors);
    watch_close(&program->process);
    waitpid(program->pid, NULL, 0);
    *find(program->id) = program->next;
    program->next = dead;
    dead = program;
}

static bool is_over(const program_t *program) {
    return program->has_exited && program->output.fd < 0 && program->errors.fd < 0;
}

static void forget_if_over(program_t *program) {
    if (is_over(program))
        forget(program);
}

void programs_bury(void) {
    while (dead != NULL) {
        program_t *program = dead;
        dead = program->next;
        buffer_free(&program->pending);
        free(program);
    }
}

/* ---- output -------------------------------------------------------------------------------- */

static void arm_output(program_t *program) {
    bool wanted = program->output_credit > 0;
    watch_change(&program->output, wanted, false);
    watch_change(&program->errors, wanted, false);
}

/* Read once; false when there is nothing more to be read now. */
static bool read_output(program_t *program, watch_t *watch, uint32_t type, uint32_t end_type) {
    size_t most = program->output_credit < READ_BYTES ? program->output_credit : READ_BYTES;
    if (watch->fd < 0 || most == 0)
        return false;
    long length = link_send_from(watch->fd, type, program->id, most);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (length <= 0) {
        watch_close(watch);
        link_send(end_type, program->id, NULL, 0, false);
        return false;
    }
    program->output_credit -= (uint32_t)length;
    uint64_t before = program->output_bytes;
    program->output_bytes += (uint64_t)length;
    if (before < ROOMY_AFTER_BYTES && program->output_bytes >= ROOMY_AFTER_BYTES)
        usher_os_set_pipe_size(watch->fd, ROOMY_BYTES); /* as far as the user's share allows */
    return true;
}

/* When the writers have gone, all there is. */
static void on_output_of(program_t *program, watch_t *watch, uint32_t type, uint32_t end_type,
                         bool hung_up) {
    while (read_output(program, watch, type, end_type) && hung_up)
        continue;
    arm_output(program);
    forget_if_over(program);
}

static void on_output(watch_t *watch, bool hung_up) {
    on_output_of(OWNER_OF(watch, program_t, output), watch, FRAME_STDOUT, FRAME_STDOUT_END,
                 hung_up);
}

static void on_errors(watch_t *watch, bool hung_up) {
    on_output_of(OWNER_OF(watch, program_t, errors), watch, FRAME_STDERR, FRAME_STDERR_END,
                 hung_up);
}

/* ---- exit ---------------------------------------------------------------------------------- */

static void on_exit_of(watch_t *watch, bool hung_up) {
    (void)hung_up;
    program_t *program = OWNER_OF(watch, program_t, process);
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)program->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
        info.si_pid == 0)
        return;
    program->has_exited = true;
    /* what it wrote comes before its exit */
    while (read_output(program, &program->errors, FRAME_STDERR, FRAME_STDERR_END))
        continue;
    while (read_output(program, &program->output, FRAME_STDOUT, FRAME_STDOUT_END))
        continue;
    bool has_exit_status = info.si_code == CLD_EXITED;
    const uint32_t numbers[2] = {has_exit_status ? (uint32_t)info.si_status : 0,
                                 has_exit_status ? 0 : (uint32_t)info.si_status};
    link_send(FRAME_EXITED, program->id, numbers, sizeof(numbers), true);
    if (is_over(program)) {
        forget(program);
        return;
    }
    watch_change(watch, false, false);
    arm_output(program);
}

/* ---- input --------------------------------------------------------------------------------- */

static void end_input(program_t *program, bool was_closed) {
    watch_close(&program->input);
    buffer_free(&program->pending);
    if (was_closed && !program->input_is_whole)
        link_send(FRAME_STDIN_CLOSED, program->id, NULL, 0, true);
}

/* How much the pipe took; -1: nobody reads it. */
static long write_input(program_t *program, const char *bytes, size_t length) {
    ssize_t written = length == 0 ? 0 : write(program->input.fd, bytes, length);
    if (written < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    program->input_taken += (uint32_t)written;
    if (program->input_taken >= CREDIT_BYTES) {
        link_send(FRAME_STDIN_CREDIT, program->id, &program->input_taken,
                  sizeof(program->input_taken), true);
        program->input_taken = 0;
    }
    return written;
}

static void settle_input(program_t *program) {
    bool is_left = buffer_length(&program->pending) > 0;
    if (!is_left && program->input_is_whole)
        end_input(program, false);
    else
        watch_change(&program->input, false, is_left);
}

static void on_input(watch_t *watch, bool hung_up) {
    (void)hung_up; /* write() says so */
    program_t *program = OWNER_OF(watch, program_t, input);
    long written =
        write_input(program, buffer_head(&program->pending), buffer_length(&program->pending));
    if (written < 0) {
        end_input(program, true);
        return;
    }
    buffer_take(&program->pending, (size_t)written, READ_BYTES);
    settle_input(program);
}

static void add_input(program_t *program, const char *bytes, size_t length) {
    if (program->input.fd < 0 || program->input_is_whole)
        return;
    long written = 0;
    if (buffer_length(&program->pending) == 0 &&
        (written = write_input(program, bytes, length)) < 0) {
        end_input(program, true);
        return;
    }
    buffer_append(&program->pending, bytes + written, length - (size_t)written);
    settle_input(program);
}

/* ---- what the gateway says ----------------------------------------------------------------- */

static void tell_failure(uint32_t id, const failure_t *failure) {
    char content[sizeof(uint32_t) + sizeof(failure->step) + sizeof(failure->text)];
    size_t step = strlen(failure->step) + 1, text = strlen(failure->text) + 1;
    uint32_t number = (uint32_t)failure->errno_value;
    memcpy(content, &number, sizeof(number));
    memcpy(content + sizeof(number), failure->step, step);
    memcpy(content + sizeof(number) + step, failure->text, text);
    link_send(FRAME_FAILED, id, content, sizeof(number) + step + text, true);
}

static int watch_all(program_t *program, const started_t *started) {
    program->process = (watch_t){.fd = started->pidfd, .on_event = on_exit_of};
    program->input = (watch_t){.fd = started->input, .on_event = on_input};
    program->output = (watch_t){.fd = started->output, .on_event = on_output};
    program->errors = (watch_t){.fd = started->errors, .on_event = on_errors};
    return watch_change(&program->process, true, false) < 0 ||
                   watch_change(&program->output, true, false) < 0 ||
                   watch_change(&program->errors, true, false) < 0
               ? -1
               : 0;
}

void programs_start(const frame_t *frame) {
    failure_t failure;
    started_t started;
    program_t *program = calloc(1, sizeof(*program));
    if (program == NULL) {
        fail(&failure, "memory", ENOMEM, "no memory for a program");
        tell_failure(frame->program, &failure);
        return;
    }
    if (start_program(frame->content, frame->length, &started, &failure) < 0) {
        tell_failure(frame->program, &failure);
        free(program);
        return;
    }
    program->id = frame->program;
    program->pid = started.pid;
    program->output_credit = FORKER_WINDOW_BYTES;
    program_t **at = find(program->id);
    program->next = *at;
    *at = program;
    if (watch_all(program, &started) < 0) { /* the user's share of epoll is used up */
        fail(&failure, "fork", errno, "watch process %d: %s", (int)program->pid, strerror(errno));
        kill(-program->pid, SIGKILL);
        tell_failure(frame->program, &failure);
        forget(program);
        return;
    }
    send_number(FRAME_STARTED, program, (uint32_t)program->pid);
}

static bool take_number(const frame_t *frame, uint32_t *number) {
    if (frame->length != sizeof(*number))
        return false;
    memcpy(number, frame->content, sizeof(*number));
    return true;
}

void programs_tell(const frame_t *frame) {
    program_t *program = *find(frame->program);
    uint32_t number;
    if (program == NULL)
        return;
    switch (frame->type) {
    case FRAME_STDIN:
        add_input(program, frame->content, frame->length);
        break;
    case FRAME_STDIN_END:
        program->input_is_whole = true;
        if (program->input.fd >= 0)
            settle_input(program);
        break;
    case FRAME_OUTPUT_CREDIT:
        if (take_number(frame, &number) && number <= UINT32_MAX - program->output_credit)
            program->output_credit += number;
        arm_output(program);
        break;
    case FRAME_SIGNAL:
        if (take_number(frame, &number))
            kill(-program->pid, (int)number);
        break;
    case FRAME_CLOSE:
        watch_close(&program->input);
        watch_close(&program->output);
        watch_close(&program->errors);
        forget_if_over(program);
        break;
    default:
        break;
    }
}

void programs_kill(void) {
    for (size_t i = 0; i < BUCKETS; i++) {
        for (program_t *program = buckets[i]; program != NULL; program = program->next)
            kill(-program->pid, SIGKILL);
    }
}
