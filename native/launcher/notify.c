/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher/loop.h"
#include "os/os.h"

static struct sockaddr_un listener;
static socklen_t listener_length; /* 0 = nobody listens */
static uint64_t watchdog_ns;      /* 0 = nobody waits for a sign of life */

static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
#define NAMES (sizeof(names) / sizeof(names[0]))
static char *values[NAMES];

static void open_socket(const char *path) {
    size_t length = path == NULL ? 0 : strlen(path);
    if (length > 1 && length < sizeof(listener.sun_path) && (path[0] == '/' || path[0] == '@')) {
        listener.sun_family = AF_UNIX;
        memcpy(listener.sun_path, path, length);
        if (path[0] == '@') /* an abstract name, which has no NUL at its end */
            listener.sun_path[0] = '\0';
        listener_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    }
}

static void read_watchdog(const char *usec, const char *pid) {
    uint64_t value = usec == NULL ? 0 : strtoull(usec, NULL, 10);
    bool is_for_us = pid == NULL || strtoll(pid, NULL, 10) == getpid();
    watchdog_ns = is_for_us && value < UINT64_MAX / 1000 ? value * 1000 : 0;
}

void notify_open(void) {
    for (size_t i = 0; i < NAMES; i++) {
        const char *value = getenv(names[i]);
        free(values[i]);
        values[i] = value == NULL ? NULL : strdup(value);
        unsetenv(names[i]);
    }
    open_socket(values[0]);
    read_watchdog(values[1], values[2]);
}

void notify_give_back(void) {
    for (size_t i = 0; i < NAMES; i++) {
        if (values[i] != NULL)
            setenv(names[i], values[i], 1);
    }
}

static void notify(const char *state) {
    int fd = listener_length == 0 ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&listener,
           listener_length);
    close(fd);
}

static void on_due(alarm_t *alarm) {
    notify("WATCHDOG=1");
    alarm_set(alarm, usher_os_now_ns() + watchdog_ns / 2);
}

void notify_begin_watchdog(void) {
    static alarm_t alarm = {.on_due = on_due};
    if (listener_length > 0 && watchdog_ns > 0)
        on_due(&alarm);
}

void notify_ready(void) {
    char state[96];
    snprintf(state, sizeof(state), "READY=1\nMAINPID=%d\nSTATUS=the manager is ready", getpid());
    notify(state);
}

void notify_status(const char *line) {
    char state[256];
    snprintf(state, sizeof(state), "STATUS=%s", line);
    notify(state);
}

void notify_stopping(void) {
    notify("STOPPING=1");
}
