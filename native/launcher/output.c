/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "launcher/link.h"
#include "launcher/output_pipe.h"
#include "os/os.h"

#define READ_BYTES 32768
#define READ_AT_END_BYTES (1u << 20) /* a descendant may go on writing for ever */
#define PASSED_ON_PER_S (256u << 10) /* of one program; the rest is dropped */
#define DROPPED_REPORT_NS NS_PER_S
#define UNFINISHED_LINE_NS (500 * NS_PER_MS)

/* ---- the last bytes ------------------------------------------------------------------------ */

static void keep(output_t *output, const char *bytes, size_t length) {
    if (length > sizeof(output->kept)) {
        bytes += length - sizeof(output->kept);
        length = sizeof(output->kept);
    }
    size_t at = output->kept_end % sizeof(output->kept);
    size_t first = length < sizeof(output->kept) - at ? length : sizeof(output->kept) - at;
    memcpy(output->kept + at, bytes, first);
    memcpy(output->kept, bytes + first, length - first);
    output->kept_end += length;
}

size_t output_kept(const output_t *output, char kept[USHER_OUTPUT_KEPT]) {
    if (output->kept_end <= sizeof(output->kept)) {
        memcpy(kept, output->kept, output->kept_end);
        return output->kept_end;
    }
    size_t at = output->kept_end % sizeof(output->kept);
    memcpy(kept, output->kept + at, sizeof(output->kept) - at);
    memcpy(kept + sizeof(output->kept) - at, output->kept, at);
    /* do not begin in the middle of a character */
    size_t skip = 0;
    while (skip < 3 && ((unsigned char)kept[skip] & 0xc0) == 0x80)
        skip++;
    memmove(kept, kept + skip, sizeof(output->kept) - skip);
    return sizeof(output->kept) - skip;
}

void output_restore(output_t *output, const char *bytes, size_t length) {
    keep(output, bytes, length);
}

/* ---- passing on ---------------------------------------------------------------------------- */

static void tell_dropped(output_t *output) {
    alarm_cancel(&output->dropped_alarm);
    if (output->dropped_bytes == 0)
        return;
    message_t *message = message_begin("dropped");
    message_add_number(message, "id", output->instance_id);
    message_add_number(message, "bytes", (int64_t)output->dropped_bytes);
    link_send(message);
    output->dropped_bytes = 0;
}

static void on_dropped_due(alarm_t *alarm) {
    tell_dropped(OWNER_OF(alarm, output_t, dropped_alarm));
}

static void count_dropped(output_t *output, size_t bytes) {
    output->dropped_bytes += bytes;
    if (output->dropped_alarm.place == 0)
        alarm_set(&output->dropped_alarm, usher_os_now_ns() + DROPPED_REPORT_NS);
}

static void pass_on(output_t *output, const char *bytes, size_t length) {
    if (output->log != NULL)
        log_file_write(output->log, bytes, length);
    uint64_t now = usher_os_now_ns();
    if (now - output->second_ns >= NS_PER_S) {
        output->second_ns = now;
        output->second_bytes = 0;
    }
    if (output->second_bytes + length > PASSED_ON_PER_S) {
        count_dropped(output, length);
        return;
    }
    output->second_bytes += length;
    message_t *message = message_begin("output");
    message_add_number(message, "id", output->instance_id);
    message_add_text(message, "text", bytes, length);
    link_send_output(message, length);
}

static void pass_on_line(output_t *output) {
    if (output->line_length > 0)
        pass_on(output, output->line, output->line_length);
    output->line_length = 0;
    alarm_cancel(&output->line_alarm);
}

static void on_line_due(alarm_t *alarm) {
    pass_on_line(OWNER_OF(alarm, output_t, line_alarm));
}

/* Keep the beginning of a line until its end comes; too long a line goes on in pieces. */
static void begin_line(output_t *output, const char *bytes, size_t length) {
    while (length > 0) {
        size_t room = sizeof(output->line) - output->line_length;
        size_t part = length < room ? length : room;
        memcpy(output->line + output->line_length, bytes, part);
        output->line_length += part;
        bytes += part;
        length -= part;
        if (output->line_length == sizeof(output->line))
            pass_on_line(output);
    }
    if (output->line_length > 0 && output->line_alarm.place == 0)
        alarm_set(&output->line_alarm, usher_os_now_ns() + UNFINISHED_LINE_NS);
}

/* `bytes` has room for OUTPUT_LINE_MAX bytes in front of it. */
static void take(output_t *output, char *bytes, size_t length) {
    keep(output, bytes, length);
    char *newline = memrchr(bytes, '\n', length);
    if (newline == NULL) {
        begin_line(output, bytes, length);
        return;
    }
    size_t whole = (size_t)(newline + 1 - bytes);
    memcpy(bytes - output->line_length, output->line, output->line_length);
    pass_on(output, bytes - output->line_length, output->line_length + whole);
    output->line_length = 0;
    alarm_cancel(&output->line_alarm);
    begin_line(output, bytes + whole, length - whole);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Gives the descriptor, -1 when it was closed already. */
static int let_go(output_t *output) {
    int fd = output->watch.fd;
    if (fd < 0)
        return -1;
    pass_on_line(output);
    tell_dropped(output);
    watch_stop(&output->watch);
    output->watch.fd = -1;
    log_file_close(output->log);
    output->log = NULL;
    return fd;
}

/* How much was read; 0 at the end of the pipe or when it is empty for now. */
static size_t read_some(output_t *output) {
    static char buffer[OUTPUT_LINE_MAX + READ_BYTES];
    ssize_t length;
    do
        length = read(output->watch.fd, buffer + OUTPUT_LINE_MAX, READ_BYTES);
    while (length < 0 && errno == EINTR);
    if (length > 0) {
        take(output, buffer + OUTPUT_LINE_MAX, (size_t)length);
        return (size_t)length;
    }
    if (length == 0 || errno != EAGAIN) {
        close(let_go(output));
        output_pipe_remove(output->instance_id);
    }
    return 0;
}

static void on_output(watch_t *watch) {
    read_some(OWNER_OF(watch, output_t, watch));
}

int output_open(output_t *output, int64_t instance_id, int fd) {
    output->instance_id = instance_id;
    output->watch.fd = fd;
    output->watch.on_event = on_output;
    output->line_alarm.on_due = on_line_due;
    output->dropped_alarm.on_due = on_dropped_due;
    return watch_start(&output->watch);
}

void output_finish(output_t *output) {
    size_t total = 0, length;
    while (output->watch.fd >= 0 && total < READ_AT_END_BYTES && (length = read_some(output)) > 0)
        total += length;
    pass_on_line(output);
    tell_dropped(output);
}

void output_close(output_t *output) {
    int fd = let_go(output);
    if (fd >= 0)
        output_pipe_drain(output->instance_id, fd);
}
