/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h by /proc. A port to another system replaces this file. */
#include "launcher/snapshot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "launcher/proc.h"

#define DESCRIPTORS_MAX 256

typedef struct {
    char *bytes;
    size_t length, size;
} text_t;

static void put(text_t *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(text_t *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length =
        vsnprintf(text->bytes + text->length, text->size - text->length, format, arguments);
    va_end(arguments);
    if (length > 0)
        text->length += (size_t)length;
    if (text->length >= text->size)
        text->length = text->size - 1;
}

static bool is_full(const text_t *text) {
    return text->length + 1 >= text->size;
}

/* ---- threads ------------------------------------------------------------------------------- */

/* The first line of a /proc file, or the reason why it cannot be read. */
static void put_file(text_t *text, const char *label, const char *path) {
    char content[512];
    if (proc_read(path, content, sizeof(content)) < 0)
        snprintf(content, sizeof(content), "(%s)", strerror(errno));
    content[strcspn(content, "\n")] = '\0';
    put(text, " %s %s", label, content);
}

static void put_stack(text_t *text, pid_t pid, int task) {
    char path[64], stack[2048];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", pid, task);
    if (proc_read(path, stack, sizeof(stack)) <= 0)
        return;
    char *rest = stack, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (*line != '\0')
            put(text, "    %s\n", line);
    }
}

static void put_task(text_t *text, pid_t pid, int task) {
    char path[64];
    unsigned long long cpu_ticks = 0;
    char state = proc_state(pid, task, &cpu_ticks);
    put(text, "  thread %d: state %c, %llu ticks of CPU time,", task, state != '\0' ? state : '?',
        cpu_ticks);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", pid, task);
    put_file(text, "wchan", path);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, task);
    put_file(text, "syscall", path);
    put(text, "\n");
    put_stack(text, pid, task);
}

/* ---- processes ----------------------------------------------------------------------------- */

/* What of /proc/PID/status tells why a program does not go on. */
static void put_status(text_t *text, pid_t pid) {
    static const char *const names[] = {"PPid:",
                                        "Uid:",
                                        "FDSize:",
                                        "VmSize:",
                                        "VmRSS:",
                                        "VmSwap:",
                                        "Threads:",
                                        "SigPnd:",
                                        "ShdPnd:",
                                        "SigBlk:",
                                        "SigIgn:",
                                        "SigCgt:",
                                        "voluntary_ctxt_switches:",
                                        "nonvoluntary_ctxt_switches:"};
    char path[64], status[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", pid);
    if (proc_read(path, status, sizeof(status)) <= 0)
        return;
    char *rest = status, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (strncmp(line, names[i], strlen(names[i])) == 0)
                put(text, "  %s\n", line);
        }
    }
}

static void put_descriptors(text_t *text, pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    int fds[DESCRIPTORS_MAX];
    size_t count = proc_list_numbers(path, fds, DESCRIPTORS_MAX);
    for (size_t i = 0; i < count; i++) {
        char target[256];
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fds[i]);
        ssize_t length = readlink(path, target, sizeof(target) - 1);
        if (length < 0)
            continue;
        target[length] = '\0';
        put(text, "  fd %d %s\n", fds[i], target);
    }
    if (count == DESCRIPTORS_MAX)
        put(text, "  more descriptors are not shown\n");
}

static void put_process(text_t *text, pid_t pid) {
    char path[64];
    unsigned long long cpu_ticks = 0;
    char state = proc_state(pid, 0, &cpu_ticks);
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    put(text, "process %d:", pid);
    put_file(text, "name", path);
    put(text, " state %c, %llu ticks of CPU time\n", state != '\0' ? state : '?', cpu_ticks);
    put_status(text, pid);
    put_descriptors(text, pid);
    int tasks[PROC_TASKS_MAX];
    size_t count = proc_list_tasks(pid, tasks);
    for (size_t i = 0; i < count && !is_full(text); i++)
        put_task(text, pid, tasks[i]);
}

size_t snapshot_describe(pid_t pid, char *bytes, size_t size) {
    static const char cut[] = "\n  (cut)\n";
    pid_t pids[PROC_PROCESSES_MAX];
    size_t count = proc_list_instance(pid, pids), length = 0;
    bytes[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        size_t share = (size - length) / (count - i);
        if (share <= sizeof(cut))
            break;
        /* what one process does not need is the next ones' */
        text_t text = {.bytes = bytes + length, .length = 0, .size = share - sizeof(cut)};
        put_process(&text, pids[i]);
        bool was_cut = is_full(&text);
        length += text.length;
        if (was_cut) {
            memcpy(bytes + length, cut, sizeof(cut));
            length += sizeof(cut) - 1;
        }
    }
    return length;
}
