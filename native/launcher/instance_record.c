/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/instance.h"
#include "launcher/proc.h"
#include "launcher/state.h"
#include "os/os.h"

#define KIND "instance"

/* ---- writing ------------------------------------------------------------------------------- */

void instance_add_exit(message_t *message, const instance_t *instance) {
    if (instance->exit_unknown)
        message_add_number(message, "exit_unknown", 1);
    else if (WIFSIGNALED(instance->wait_status))
        message_add_number(message, "exit_signal", WTERMSIG(instance->wait_status));
    else
        message_add_number(message, "exit_code", WEXITSTATUS(instance->wait_status));
    message_add_number(message, "lived_ms", instance->lived_ms);
    message_add_number(message, "rss_kb", instance->rss_kb);
    if (instance->cpu_us >= 0)
        message_add_number(message, "cpu_us", instance->cpu_us);
    char kept[USHER_OUTPUT_KEPT];
    size_t length = output_kept(&instance->output, kept);
    message_add_text(message, "output", kept, length);
}

const char *instance_state_word(const instance_t *instance) {
    if (instance->state == EXITED)
        return "exited";
    return instance->state == READY || instance_is_service(instance) ? "ready" : "starting";
}

void instance_add_endpoint(message_t *message, const instance_t *instance) {
    if (instance_is_service(instance))
        message_add_number(message, "service", 1);
    else
        message_add_number(message, "endpoint", instance->endpoint_id);
}

static const message_t *describe(const instance_t *instance, pid_t pid, uint64_t birth) {
    message_t *record = message_begin(KIND);
    message_add(record, "era", state_era());
    message_add_number(record, "pid", pid);
    message_add_number(record, "birth", (int64_t)birth);
    instance_add_endpoint(record, instance);
    message_add_text(record, "tag", instance->tag, strlen(instance->tag));
    message_add(record, "path", instance->path);
    message_add_number(record, "inode", instance->probe.inode);
    message_add_number(record, "port", instance->probe.port);
    message_add_number(record, "shared", instance->probe.is_shared);
    if (instance->log != NULL)
        message_add(record, "log", instance->log);
    if (instance->link_inode != 0)
        message_add_number(record, "link", instance->link_inode);
    state_add_user(record, &instance->log_user);
    message_add_number(record, "started_ns", (int64_t)instance->started_ns);
    message_add_number(record, "start_timeout_ns", (int64_t)instance->start_timeout_ns);
    message_add(record, "state", instance_state_word(instance));
    if (instance->state == EXITED) {
        message_add_number(record, "group", instance->has_group);
        message_add_number(record, "status", instance->wait_status);
        instance_add_exit(record, instance);
    }
    return record;
}

/* Nobody else has the pid while we ask. */
static uint64_t birth_of(pid_t pid) {
    proc_identity_t identity;
    return proc_identify(pid, &identity) == 0 ? identity.birth : 0;
}

void instance_record(instance_t *instance) {
    if (instance->birth == 0)
        instance->birth = birth_of(instance->group.pid);
    state_save_or_log(instance->id, describe(instance, instance->group.pid, instance->birth));
}

/*
 * A launcher that is killed must not leave behind a program that no record knows: the child dies
 * with it until it has written its record itself, for which the launcher need not wait.
 */
int instance_record_itself(const void *context, failure_t *failure) {
    const instance_t *instance = context;
    if (usher_os_set_parent_death_signal(SIGKILL) < 0)
        return fail(failure, "state", errno, "parent death signal: %s", strerror(errno));
    if (getppid() != state_owner())
        _exit(127);
    pid_t pid = getpid();
    int result = state_save(instance->id, describe(instance, pid, birth_of(pid)), failure);
    usher_os_set_parent_death_signal(0);
    return result;
}

void instance_remove_record(const instance_t *instance) {
    state_remove(KIND, instance->id);
}

/* ---- reading ------------------------------------------------------------------------------- */

static bool read_endpoint(const message_t *record, instance_t *instance) {
    int64_t service;
    return message_number(record, "service", 1, 1, &service) == 0 ||
           message_number(record, "endpoint", 1, INT64_MAX, &instance->endpoint_id) == 0;
}

static bool read_numbers(const message_t *record, instance_t *instance) {
    int64_t pid, birth, inode, port, is_shared, started, timeout, link = 0;
    failure_t failure;
    if (message_number(record, "pid", 1, INT32_MAX, &pid) < 0 ||
        message_number(record, "birth", 0, INT64_MAX, &birth) < 0 ||
        !read_endpoint(record, instance) ||
        message_number(record, "inode", 0, UINT32_MAX, &inode) < 0 ||
        message_number(record, "port", 0, UINT16_MAX, &port) < 0 ||
        message_number(record, "shared", 0, 1, &is_shared) < 0 ||
        message_optional_number(record, "link", 1, UINT32_MAX, &link, &failure) < 0 ||
        message_number(record, "started_ns", 0, INT64_MAX, &started) < 0 ||
        message_number(record, "start_timeout_ns", 0, INT64_MAX, &timeout) < 0)
        return false;
    instance->group.pid = instance->probe.pid = (pid_t)pid;
    instance->birth = (uint64_t)birth;
    instance->probe.inode = (uint32_t)inode;
    instance->probe.port = (uint16_t)port;
    instance->probe.is_shared = is_shared != 0;
    instance->link_inode = (uint32_t)link;
    instance->started_ns = (uint64_t)started;
    instance->start_timeout_ns = (uint64_t)timeout;
    return true;
}

static bool read_exit(const message_t *record, instance_t *instance) {
    int64_t group, status, unknown;
    failure_t failure;
    instance->cpu_us = -1; /* an older launcher's record does not tell */
    const char *output = message_text(record, "output");
    if (message_number(record, "group", 0, 1, &group) < 0 ||
        message_number(record, "status", 0, INT32_MAX, &status) < 0 ||
        message_number(record, "lived_ms", 0, INT64_MAX, &instance->lived_ms) < 0 ||
        message_number(record, "rss_kb", 0, INT64_MAX, &instance->rss_kb) < 0 ||
        message_optional_number(record, "cpu_us", 0, INT64_MAX, &instance->cpu_us, &failure) < 0 ||
        output == NULL)
        return false;
    instance->has_group = group != 0;
    instance->wait_status = (int)status;
    instance->exit_unknown = message_number(record, "exit_unknown", 1, 1, &unknown) == 0;
    output_restore(&instance->output, output, strlen(output));
    return true;
}

static bool read_record(const message_t *record, instance_t *instance) {
    const char *state = message_text(record, "state"), *log = message_text(record, "log");
    if (state == NULL || !read_numbers(record, instance) ||
        state_user(record, &instance->log_user) < 0)
        return false;
    if (log != NULL && (instance->log = strdup(log)) == NULL)
        return false;
    if (strcmp(state, "exited") == 0) {
        instance->state = EXITED;
        return read_exit(record, instance);
    }
    instance->state = strcmp(state, "ready") == 0 ? READY : STARTING;
    return true;
}

instance_t *instance_from_record(int64_t id, const message_t *record) {
    const char *tag = message_text(record, "tag"), *path = message_text(record, "path");
    instance_t *instance = tag == NULL || path == NULL ? NULL : instance_new(id, tag, path);
    if (instance == NULL || read_record(record, instance))
        return instance;
    instance_release(instance);
    return NULL;
}
