/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "launcher/text.h"

/* A line is at most one pipe's atomic write: lines of manager and launcher do not mix. */
typedef struct {
    char bytes[4096];
    size_t length;
} line_t;

static void put(line_t *line, const char *bytes, size_t length) {
    /* room for the closing quote, brace and newline is always kept */
    if (length > sizeof(line->bytes) - 4 - line->length)
        return;
    memcpy(line->bytes + line->length, bytes, length);
    line->length += length;
}

static void put_text(line_t *line, const char *text) {
    put(line, "\"", 1);
    size_t length = strlen(text), step;
    for (; length > 0; text += step, length -= step) {
        unsigned char byte = (unsigned char)*text;
        char escaped[8];
        step = text_character(text, length);
        if (step == 0) {
            put(line, "?", 1);
            step = 1;
        } else if (byte == '"' || byte == '\\') {
            put(line, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\%c", byte));
        } else if (byte < 0x20 || byte == 0x7f) {
            put(line, escaped, (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", byte));
        } else {
            put(line, text, step);
        }
    }
    line->bytes[line->length++] = '"';
}

static void put_time(line_t *line) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct tm parts;
    gmtime_r(&now.tv_sec, &parts);
    char seconds[32], time[48];
    strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(time, sizeof(time), "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
    put_text(line, time);
}

/* As decimal() spells it, and exact in a reader's double. */
static bool is_number(const char *text) {
    size_t length = strspn(text, "0123456789");
    return length > 0 && length < 16 && text[length] == '\0' && (text[0] != '0' || length == 1);
}

static void put_pair(line_t *line, const char *name, const char *text) {
    /* a pair that may not fit even when cut is left out */
    if (line->length + strlen(name) + 16 > sizeof(line->bytes))
        return;
    put(line, ",", 1);
    put_text(line, name);
    put(line, ":", 1);
    if (is_number(text))
        put(line, text, strlen(text));
    else
        put_text(line, text);
}

/* A full pipe behind stderr loses the line rather than stopping the launcher. */
static void write_line(const line_t *line) {
    struct pollfd stderr_poll = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&stderr_poll, 1, 0) == 0)
        return;
    ssize_t written = write(STDERR_FILENO, line->bytes, line->length);
    (void)written;
}

/* systemd says by its device and inode what it has connected to the journal. */
static bool is_journal(void) {
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat ours;
    if (stream == NULL || fstat(STDERR_FILENO, &ours) < 0)
        return false;
    char expected[48];
    snprintf(expected, sizeof(expected), "%ju:%ju", (uintmax_t)ours.st_dev, (uintmax_t)ours.st_ino);
    return strcmp(stream, expected) == 0;
}

/* The journal takes it off the line and keeps it as the field PRIORITY (sd-daemon(3)). */
static const char *priority(const char *level) {
    if (strcmp(level, "error") == 0)
        return "<3>";
    return strcmp(level, "warn") == 0 ? "<4>" : "<6>";
}

static void log_line(const char *level, const char *event, va_list pairs) {
    int saved_errno = errno;
    line_t line = {.length = 0};
    if (is_journal())
        put(&line, priority(level), 3);
    put(&line, "{\"level\":", 9);
    put_text(&line, level);
    put(&line, ",\"time\":", 8);
    put_time(&line);
    put_pair(&line, "event", event);
    const char *name;
    while ((name = va_arg(pairs, const char *)) != NULL) {
        const char *text = va_arg(pairs, const char *);
        if (text != NULL)
            put_pair(&line, name, text);
    }
    line.bytes[line.length++] = '}';
    line.bytes[line.length++] = '\n';
    write_line(&line);
    errno = saved_errno;
}

#define DEFINE_LEVEL(level)                    \
    void log_##level(const char *event, ...) { \
        va_list pairs;                         \
        va_start(pairs, event);                \
        log_line(#level, event, pairs);        \
        va_end(pairs);                         \
    }

DEFINE_LEVEL(info)
DEFINE_LEVEL(warn)
DEFINE_LEVEL(error)

decimal_t decimal(int64_t number) {
    decimal_t result;
    snprintf(result.text, sizeof(result.text), "%" PRId64, number);
    return result;
}
