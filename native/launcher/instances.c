/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/instances.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/instance.h"
#include "launcher/link.h"
#include "launcher/log.h"
#include "launcher/output_pipe.h"
#include "launcher/snapshot.h"
#include "launcher/stop.h"
#include "os/os.h"

#define EXITED_KEPT 1000 /* that the manager has not forgotten */
#define GROUP_KILL_NS (5 * NS_PER_S)
#define FOREIGN_GROUP_CHECK_NS (100 * NS_PER_MS) /* its deaths are not told to us */
#define FIRST_PROBE_NS (NS_PER_MS / 2)
#define SLOWEST_PROBE_NS (50 * NS_PER_MS)
#define LATE_PROBE_NS (100 * NS_PER_MS) /* after start_timeout_ms */

static unsigned groups; /* exited instances with has_group */
static int64_t highest_id;

int64_t instances_highest_id(void) {
    return highest_id;
}

void instances_note_id(int64_t id) {
    if (id > highest_id)
        highest_id = id;
}

bool instance_reads_output(int64_t id) {
    const instance_t *instance = instance_find(id);
    return instance != NULL && instance->output.watch.fd >= 0;
}

bool instances_live_on(int64_t endpoint_id) {
    const instance_t *instance = instances_living.oldest;
    while (instance != NULL && instance->endpoint_id != endpoint_id)
        instance = instance->newer;
    return instance != NULL;
}

unsigned instances_alive(void) {
    return instances_living.count;
}

bool instances_are_launching(void) {
    const instance_t *instance = instances_living.newest;
    while (instance != NULL && instance->state != LAUNCHING)
        instance = instance->older;
    return instance != NULL;
}

static void add(instance_t *instance) {
    instances_note_id(instance->id);
    instance_add_id(instance);
    if (!instance->group.is_foreign)
        instance_add_pid(instance);
    instance_enlist(&instances_living, instance);
}

/* ---- starting ------------------------------------------------------------------------------ */

static void close_status(instance_t *instance) {
    if (instance->status_watch.fd < 0)
        return;
    watch_stop(&instance->status_watch);
    close(instance->status_watch.fd);
    instance->status_watch.fd = -1;
}

static void close_death(instance_t *instance) {
    if (instance->group.pidfd < 0)
        return;
    watch_stop(&instance->death_watch);
    close(instance->group.pidfd);
    instance->group.pidfd = -1;
}

static void close_link(instance_t *instance) {
    if (instance->link_end >= 0)
        close(instance->link_end);
    instance->link_end = -1;
    instance->link_inode = 0;
}

void instance_release(instance_t *instance) {
    alarm_cancel(&instance->alarm);
    close_status(instance);
    close_death(instance);
    close_link(instance);
    output_close(&instance->output);
    free(instance->tag);
    free(instance->path);
    free(instance->log);
    free(instance);
}

static void on_probe_due(alarm_t *alarm);

static void begin_probing(instance_t *instance) {
    instance->alarm.on_due = on_probe_due;
    instance->probe_interval_ns = FIRST_PROBE_NS;
    alarm_set(&instance->alarm, usher_os_now_ns() + FIRST_PROBE_NS);
}

static void send_with_link(const message_t *message, const instance_t *instance) {
    link_send_with(message, (const int[]){instance->link_end, -1});
}

bool instance_is_service(const instance_t *instance) {
    return instance->endpoint_id == 0;
}

static void add_step(message_t *message, const char *name, uint64_t at_ns) {
    char step[64];
    snprintf(step, sizeof(step), "%s=%llu", name, (unsigned long long)at_ns);
    if (at_ns != 0)
        message_add(message, "done", step);
}

/* What it was and when, as far as it came. */
static void add_facts(message_t *message, const instance_t *instance) {
    const spawn_facts_t *facts = &instance->facts;
    add_step(message, "path", instance->permitted_ns);
    add_step(message, "user", instance->user_found_ns);
    add_step(message, "fork", facts->forked_ns);
    add_step(message, "limit", facts->limited_ns);
    add_step(message, "setuid", facts->became_ns);
    add_step(message, "cwd", facts->entered_ns);
    if (facts->forked_ns == 0)
        return;
    message_add_number(message, "uid", facts->uid);
    message_add_number(message, "gid", facts->gid);
    for (int i = 0; i < facts->groups_count; i++)
        message_add_number(message, "group", facts->groups[i]);
    for (size_t i = 0; i < LIMITS_MAX; i++) {
        char limit[64];
        if (facts->limits[i] == RLIM_INFINITY)
            continue;
        snprintf(limit, sizeof(limit), "%s=%llu", limits_name(i),
                 (unsigned long long)facts->limits[i]);
        message_add(message, "limit", limit);
    }
}

static void launched(instance_t *instance) {
    close_status(instance);
    instance->state = instance_is_service(instance) ? READY : STARTING;
    message_t *message = message_begin("started");
    message_add_number(message, "id", instance->id);
    message_add_number(message, "pid", instance->group.pid);
    add_facts(message, instance);
    add_step(message, "exec", usher_os_now_ns());
    send_with_link(message, instance);
    if (instance->state == STARTING)
        begin_probing(instance);
}

static void launch_failed(instance_t *instance, const failure_t *failure) {
    close_status(instance);
    close_link(instance);
    output_close(&instance->output);
    instance->state = FAILED;
    instance_remove_id(instance);
    instance_remove_record(instance);
    message_t *message = message_begin_failed(instance->id, failure);
    add_facts(message, instance);
    link_send(message);
}

static void read_status(instance_t *instance) {
    spawn_report_t report;
    ssize_t length;
    while ((length = read(instance->status_watch.fd, &report, sizeof(report))) ==
           (ssize_t)sizeof(report)) {
        instance->facts = report.facts;
        if (report.has_failed) {
            launch_failed(instance, &report.failure);
            return;
        }
    }
    if (length >= 0 || (errno != EAGAIN && errno != EINTR))
        launched(instance);
}

static void on_status(watch_t *watch) {
    read_status(OWNER_OF(watch, instance_t, status_watch));
}

static void on_death(watch_t *watch);

instance_t *instance_new(int64_t id, const char *tag, const char *path) {
    instance_t *instance = calloc(1, sizeof(*instance));
    if (instance == NULL)
        return NULL;
    instance->id = id;
    instance->tag = strdup(tag);
    instance->path = strdup(path);
    instance->probe.path = instance->path;
    instance->group.pidfd = -1;
    instance->link_end = -1;
    instance->status_watch.fd = -1;
    instance->status_watch.on_event = on_status;
    instance->death_watch.fd = -1;
    instance->death_watch.on_event = on_death;
    instance->output.watch.fd = -1;
    if (instance->tag != NULL && instance->path != NULL)
        return instance;
    instance_release(instance);
    return NULL;
}

static void put_on(instance_t *instance, const endpoint_t *endpoint) {
    instance->endpoint_id = endpoint->id;
    instance->probe.inode = endpoint->inode;
    instance->probe.is_shared = endpoint->address != NULL;
    if (instance->probe.is_shared)
        instance->probe.port = endpoint->address->port;
}

static instance_t *new_requested(const instance_request_t *request) {
    const endpoint_t *endpoint = request->endpoint;
    instance_t *instance =
        instance_new(request->id, request->tag, endpoint != NULL ? endpoint->path : "");
    if (instance == NULL)
        return NULL;
    instance->state = LAUNCHING;
    instance->started_ns = usher_os_now_ns();
    instance->permitted_ns = request->permitted_ns;
    instance->user_found_ns = request->user_found_ns;
    instance->start_timeout_ns = (uint64_t)request->start_timeout_ms * NS_PER_MS;
    if (endpoint != NULL)
        put_on(instance, endpoint);
    instance->log_user = request->program.user;
    if (request->log == NULL || (instance->log = strdup(request->log)) != NULL)
        return instance;
    instance_release(instance);
    return NULL;
}

static int copy_link(instance_t *instance, int link_end, failure_t *failure) {
    struct stat status;
    if (link_end < 0)
        return 0;
    instance->link_end = fcntl(link_end, F_DUPFD_CLOEXEC, 0);
    if (instance->link_end < 0 || fstat(link_end, &status) < 0)
        return fail(failure, "link", errno, "link to the gateway: %s", strerror(errno));
    instance->link_inode = (uint32_t)status.st_ino;
    return 0;
}

/* Fork it with a pipe for its output. */
static int launch(instance_t *instance, const spawn_program_t *requested, output_pipe_t *pipe,
                  spawned_t *spawned, failure_t *failure) {
    if (output_pipe_create(instance->id, pipe, failure) < 0)
        return -1;
    spawn_program_t program = *requested;
    program.output = pipe->program_end;
    program.on_forked = instance_record_itself;
    program.context = instance;
    int result = spawn(&program, spawned, failure);
    close(pipe->program_end);
    if (result < 0) {
        close(pipe->launcher_end);
        output_pipe_remove(instance->id);
    }
    return result;
}

static void open_log(instance_t *instance) {
    if (instance->log != NULL)
        instance->output.log = log_file_open(instance->log, &instance->log_user);
}

int instance_start(const instance_request_t *request, failure_t *failure) {
    const endpoint_t *endpoint = request->endpoint;
    if (instance_find(request->id) != NULL)
        return fail(failure, "id", EEXIST, "instance id %lld is taken", (long long)request->id);
    if (endpoint != NULL && endpoint->fd < 0)
        return fail(failure, "endpoint", EBADF,
                    "endpoint %s is a former launcher's, whose program alone has its socket",
                    endpoint->name);
    instance_t *instance = new_requested(request);
    if (instance == NULL)
        return fail(failure, "memory", ENOMEM, "no memory for an instance");
    spawned_t spawned;
    output_pipe_t pipe;
    if (copy_link(instance, request->link_end, failure) < 0 ||
        launch(instance, &request->program, &pipe, &spawned, failure) < 0) {
        instance_release(instance);
        return -1;
    }
    instance->group.pid = instance->probe.pid = spawned.pid;
    instance->status_watch.fd = spawned.status_fd;
    add(instance);
    open_log(instance);
    /* watching cannot fail but for memory; the exit of the child still settles the start then */
    if (watch_start(&instance->status_watch) < 0 ||
        output_open(&instance->output, instance->id, pipe.launcher_end) < 0)
        kill(instance->group.pid, SIGKILL);
    return 0;
}

/* ---- readiness ----------------------------------------------------------------------------- */

static void on_probe_due(alarm_t *alarm) {
    instance_t *instance = OWNER_OF(alarm, instance_t, alarm);
    uint64_t now = usher_os_now_ns();
    if (probe_is_ready(&instance->probe, now)) {
        instance->state = READY;
        message_t *message = message_begin("ready");
        message_add_number(message, "id", instance->id);
        message_add_number(message, "ready_ns", (int64_t)now);
        link_send(message);
        instance_record(instance);
        return;
    }
    /* seen at most half as late again as it became ready */
    uint64_t interval = instance->probe_interval_ns * 3 / 2;
    if (interval > SLOWEST_PROBE_NS)
        interval = SLOWEST_PROBE_NS;
    if (now - instance->started_ns > instance->start_timeout_ns)
        interval = LATE_PROBE_NS;
    instance->probe_interval_ns = interval;
    alarm_set(alarm, now + interval);
}

/* ---- signals, snapshots -------------------------------------------------------------------- */

int instance_signal(int64_t id, int signal) {
    instance_t *instance = instance_find(id);
    if (instance == NULL)
        return -1;
    if (instance->state != EXITED)
        group_signal(&instance->group, signal);
    return 0;
}

void instances_signal_all(int signal) {
    for (instance_t *instance = instances_living.oldest; instance != NULL;
         instance = instance->newer)
        instance_signal(instance->id, signal);
    for (instance_t *instance = instances_exited.oldest; instance != NULL;
         instance = instance->newer) {
        if (instance->has_group)
            group_signal(&instance->group, signal);
    }
}

/* Do connections wait in its socket? */
static bool has_queue(const instance_t *instance) {
    const endpoint_t *endpoint = endpoint_find(instance->endpoint_id);
    if (endpoint == NULL || endpoint->fd < 0) /* only the programs have it */
        return instance->probe.port == 0 && usher_os_accept_queue(instance->probe.inode) > 0;
    struct pollfd queue = {.fd = endpoint->fd, .events = POLLIN};
    return poll(&queue, 1, 0) > 0;
}

static bool is_awaited(look_t *look) {
    return has_queue(OWNER_OF(look, instance_t, look));
}

/*
 * A connection wakes one of those that wait in accept(). When that one is just being stopped or
 * ended, the kernel wakes no other one: the connection would wait for the next to come. A stop that
 * is taken back at once makes the others look at the queue again.
 */
static void wake_others(const instance_t *leaving) {
    if (!leaving->probe.is_shared || !has_queue(leaving))
        return;
    for (instance_t *other = instances_living.oldest; other != NULL; other = other->newer) {
        if (other == leaving || other->endpoint_id != leaving->endpoint_id || other->look.id != 0 ||
            !probe_seems_idle(&other->probe))
            continue;
        group_signal(&other->group, SIGSTOP);
        group_signal(&other->group, SIGCONT);
    }
}

static void on_signalled(look_t *look) {
    wake_others(OWNER_OF(look, instance_t, look));
}

int instance_look(int64_t id, int signal, failure_t *failure) {
    instance_t *instance = instance_find(id);
    if (instance == NULL || (instance->state != STARTING && instance->state != READY))
        return fail(failure, "instance", ENOENT, "there is no instance with id %lld",
                    (long long)id);
    if (instance_is_service(instance))
        return fail(failure, "endpoint", ENOTSOCK,
                    "instance %lld listens by itself: nobody can see whether it is idle",
                    (long long)id);
    instance->look.is_awaited = is_awaited;
    instance->look.on_signalled = on_signalled;
    look_begin(&instance->look, &instance->probe, &instance->group, id, signal);
    return 0;
}

void instances_cancel_looks(void) {
    for (instance_t *instance = instances_living.oldest; instance != NULL;
         instance = instance->newer)
        look_cancel(&instance->look);
}

int instance_snapshot(int64_t id) {
    static char text[65536];
    instance_t *instance = instance_find(id);
    if (instance == NULL)
        return -1;
    size_t length =
        instance->state == EXITED ? 0 : snapshot_describe(instance->group.pid, text, sizeof(text));
    message_t *message = message_begin("snapshot");
    message_add_number(message, "id", id);
    message_add_text(message, "text", text, length);
    link_send(message);
    return 0;
}

/* ---- exit ---------------------------------------------------------------------------------- */

static void drop(instance_t *instance) {
    instance_delist(&instances_exited, instance);
    if (!instance->forgotten) {
        instance_remove_record(instance);
        instance_remove_id(instance);
    }
    instance_release(instance);
}

void instance_forget(int64_t id) {
    instance_t *instance = instance_find(id);
    if (instance == NULL || instance->state != EXITED)
        return;
    if (!instance->has_group) {
        drop(instance);
        return;
    }
    instance_remove_record(instance);
    instance_remove_id(instance);
    instance->forgotten = true;
}

static void group_is_gone(instance_t *instance) {
    instance->has_group = false;
    groups--;
    alarm_cancel(&instance->alarm);
    output_finish(&instance->output);
    output_close(&instance->output);
    if (instance->forgotten)
        drop(instance);
}

static void on_group_due(alarm_t *alarm) {
    instance_t *instance = OWNER_OF(alarm, instance_t, alarm);
    if (!group_lives(&instance->group)) {
        group_is_gone(instance);
        return;
    }
    uint64_t now = usher_os_now_ns(), next = now + NS_PER_S;
    if (now >= instance->group_kill_ns)
        group_signal(&instance->group, SIGKILL);
    else
        next = instance->group_kill_ns;
    if (instance->group.is_foreign && next > now + FOREIGN_GROUP_CHECK_NS)
        next = now + FOREIGN_GROUP_CHECK_NS;
    alarm_set(alarm, next);
}

void instances_check_groups(void) {
    for (instance_t *instance = instances_exited.newest, *older; instance != NULL && groups > 0;
         instance = older) {
        older = instance->older;
        if (instance->has_group && !group_lives(&instance->group))
            group_is_gone(instance);
    }
}

/* Others of its group were asked to end; who does not is killed. */
static void await_group(instance_t *instance) {
    instance->has_group = group_lives(&instance->group);
    if (!instance->has_group) {
        output_close(&instance->output);
        return;
    }
    groups++;
    uint64_t now = usher_os_now_ns();
    instance->group_kill_ns = now + GROUP_KILL_NS;
    instance->alarm.on_due = on_group_due;
    alarm_set(&instance->alarm,
              instance->group.is_foreign ? now + FOREIGN_GROUP_CHECK_NS : instance->group_kill_ns);
}

static void has_exited(instance_t *instance) {
    uint64_t now = usher_os_now_ns();
    instance_delist(&instances_living, instance);
    alarm_cancel(&instance->alarm);
    close_link(instance);
    wake_others(instance);
    instance->state = EXITED;
    if (now > instance->started_ns) /* a record's may be of another clock */
        instance->lived_ms = (int64_t)((now - instance->started_ns) / NS_PER_MS);
    output_finish(&instance->output);
    instance_enlist(&instances_exited, instance);
    message_t *message = message_begin("exited");
    message_add_number(message, "id", instance->id);
    instance_add_exit(message, instance);
    link_send(message);
    await_group(instance);
    instance_record(instance);
    if (instances_exited.count > EXITED_KEPT && !instances_exited.oldest->has_group)
        drop(instances_exited.oldest);
}

bool instances_child_died(pid_t pid) {
    instance_t *instance = instance_find_pid(pid);
    if (instance == NULL)
        return false;
    if (instance->state == LAUNCHING)
        read_status(instance);
    look_cancel(&instance->look);
    kill(-pid, SIGTERM);
    return true;
}

static int64_t microseconds(const struct timeval *time) {
    return (int64_t)time->tv_sec * 1000000 + time->tv_usec;
}

void instances_child_reaped(pid_t pid, int status, const struct rusage *usage) {
    instance_t *instance = instance_find_pid(pid);
    instance_remove_pid(instance);
    instance->group.leader_died = true;
    if (instance->state == FAILED) {
        instance_delist(&instances_living, instance);
        instance_release(instance);
        return;
    }
    instance->wait_status = status;
    instance->rss_kb = usage->ru_maxrss;
    instance->cpu_us = microseconds(&usage->ru_utime) + microseconds(&usage->ru_stime);
    has_exited(instance);
}

/* ---- a former launcher's ------------------------------------------------------------------- */

static void exit_unseen(instance_t *instance) {
    close_death(instance);
    instance->group.leader_died = true;
    instance->exit_unknown = true;
    instance->cpu_us = -1;
    look_cancel(&instance->look);
    group_signal(&instance->group, SIGTERM);
    has_exited(instance);
}

static void on_death(watch_t *watch) {
    exit_unseen(OWNER_OF(watch, instance_t, death_watch));
    stop_check();
}

/* Read on what it writes. A pipe that cannot be had costs its lines. */
static void reopen_output(instance_t *instance) {
    int fd = output_pipe_reopen(instance->id);
    if (fd >= 0) {
        open_log(instance);
        if (output_open(&instance->output, instance->id, fd) == 0)
            return;
        close(fd);
        instance->output.watch.fd = -1;
    }
    if (group_leader_lives(&instance->group))
        log_warn("instance.output-lost", "id", decimal(instance->id).text, "error", strerror(errno),
                 NULL);
}

static void resume_exited(instance_t *instance) {
    instances_note_id(instance->id);
    instance_add_id(instance);
    instance_enlist(&instances_exited, instance);
    if (instance->has_group) {
        reopen_output(instance);
        group_signal(&instance->group, SIGTERM);
        await_group(instance);
    }
}

void instance_resume(instance_t *instance) {
    if (instance->state == EXITED) {
        resume_exited(instance);
        return;
    }
    add(instance);
    reopen_output(instance);
    if (!group_leader_lives(&instance->group)) {
        exit_unseen(instance);
        return;
    }
    group_signal(&instance->group, SIGCONT); /* a look may have stopped it */
    if (instance->state == STARTING)
        begin_probing(instance);
    instance->death_watch.fd = instance->group.pidfd;
    if (instance->group.is_foreign && watch_start(&instance->death_watch) < 0)
        group_signal(&instance->group, SIGKILL);
}

/* ---- for a new manager --------------------------------------------------------------------- */

static void list_one(const instance_t *instance) {
    message_t *message = message_begin("instance");
    message_add_number(message, "id", instance->id);
    instance_add_endpoint(message, instance);
    message_add_number(message, "pid", instance->group.pid);
    message_add_text(message, "tag", instance->tag, strlen(instance->tag));
    message_add_number(message, "started_ns", (int64_t)instance->started_ns);
    message_add(message, "state", instance_state_word(instance));
    if (instance->state == EXITED)
        instance_add_exit(message, instance);
    send_with_link(message, instance);
}

void instances_list(void) {
    for (const instance_t *instance = instances_exited.oldest; instance != NULL;
         instance = instance->newer) {
        if (!instance->forgotten)
            list_one(instance);
    }
    for (const instance_t *instance = instances_living.oldest; instance != NULL;
         instance = instance->newer) {
        if (instance->state != FAILED)
            list_one(instance);
    }
}
