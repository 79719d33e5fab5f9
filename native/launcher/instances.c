/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/instances.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/link.h"
#include "launcher/log.h"
#include "launcher/look.h"
#include "launcher/loop.h"
#include "launcher/output.h"
#include "launcher/probe.h"
#include "launcher/snapshot.h"
#include "os/os.h"

#define EXITED_KEPT 1000 /* that the manager has not forgotten */
#define GROUP_KILL_NS (5 * NS_PER_S)
#define FIRST_PROBE_NS (NS_PER_MS / 2)
#define SLOWEST_PROBE_NS (50 * NS_PER_MS)
#define LATE_PROBE_NS (100 * NS_PER_MS) /* after start_timeout_ms */
#define BUCKETS 1024

typedef enum {
    LAUNCHING, /* forked, exec not seen */
    FAILED,    /* a step before or exec itself failed; not reaped yet, has no id any more */
    STARTING,
    READY,
    EXITED,
} instance_state_t;

typedef struct instance instance_t;
struct instance {
    instance_t *next_by_id, *next_by_pid; /* in their bucket */
    instance_t *newer, *older;            /* all of them, by age; exited ones by age of death */
    int64_t id;
    int64_t endpoint_id;
    pid_t pid; /* number of its session and group, too */
    instance_state_t state;
    bool forgotten; /* only its group keeps it here */
    bool has_group; /* exited, and others of its group may live */
    char *tag;
    char *path; /* of its endpoint */
    uint64_t started_ns;
    uint64_t start_timeout_ns;
    uint64_t probe_interval_ns;
    int wait_status;
    int64_t lived_ms;
    int64_t rss_kb;
    watch_t status_watch;
    alarm_t alarm; /* next probe; after the exit: KILL for the group */
    probe_t probe;
    look_t look;
    output_t output;
};

typedef struct {
    instance_t *oldest, *newest;
    unsigned count;
} age_list_t;

static instance_t *by_id[BUCKETS], *by_pid[BUCKETS];
static age_list_t living, exited;
static unsigned groups; /* exited instances with has_group */
static int64_t highest_id;

/* ---- the table ----------------------------------------------------------------------------- */

static instance_t *find(int64_t id) {
    instance_t *instance = by_id[id % BUCKETS];
    while (instance != NULL && instance->id != id)
        instance = instance->next_by_id;
    return instance;
}

/* Among those that are not reaped: their pids are their own. */
static instance_t *find_pid(pid_t pid) {
    instance_t *instance = by_pid[pid % BUCKETS];
    while (instance != NULL && instance->pid != pid)
        instance = instance->next_by_pid;
    return instance;
}

static void enlist(age_list_t *list, instance_t *instance) {
    instance->newer = NULL;
    instance->older = list->newest;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = instance;
    list->newest = instance;
    list->count++;
}

static void delist(age_list_t *list, instance_t *instance) {
    *(instance->newer != NULL ? &instance->newer->older : &list->newest) = instance->older;
    *(instance->older != NULL ? &instance->older->newer : &list->oldest) = instance->newer;
    list->count--;
}

static void add(instance_t *instance) {
    instance_t **bucket = &by_id[instance->id % BUCKETS];
    instance->next_by_id = *bucket;
    *bucket = instance;
    bucket = &by_pid[instance->pid % BUCKETS];
    instance->next_by_pid = *bucket;
    *bucket = instance;
    enlist(&living, instance);
    if (instance->id > highest_id)
        highest_id = instance->id;
}

static void remove_id(instance_t *instance) {
    instance_t **link = &by_id[instance->id % BUCKETS];
    while (*link != instance)
        link = &(*link)->next_by_id;
    *link = instance->next_by_id;
}

static void remove_pid(instance_t *instance) {
    instance_t **link = &by_pid[instance->pid % BUCKETS];
    while (*link != instance)
        link = &(*link)->next_by_pid;
    *link = instance->next_by_pid;
}

int64_t instances_highest_id(void) {
    return highest_id;
}

bool instances_live_on(int64_t endpoint_id) {
    const instance_t *instance = living.oldest;
    while (instance != NULL && instance->endpoint_id != endpoint_id)
        instance = instance->newer;
    return instance != NULL;
}

unsigned instances_alive(void) {
    return living.count;
}

/* ---- starting ------------------------------------------------------------------------------ */

static void close_status(instance_t *instance) {
    if (instance->status_watch.fd < 0)
        return;
    watch_stop(&instance->status_watch);
    close(instance->status_watch.fd);
    instance->status_watch.fd = -1;
}

static void release(instance_t *instance) {
    alarm_cancel(&instance->alarm);
    close_status(instance);
    output_close(&instance->output);
    free(instance->tag);
    free(instance->path);
    free(instance);
}

static void on_probe_due(alarm_t *alarm);

static void launched(instance_t *instance) {
    close_status(instance);
    instance->state = STARTING;
    message_t *message = message_begin("started");
    message_add_number(message, "id", instance->id);
    message_add_number(message, "pid", instance->pid);
    link_send(message);
    instance->alarm.on_due = on_probe_due;
    instance->probe_interval_ns = FIRST_PROBE_NS;
    alarm_set(&instance->alarm, usher_os_now_ns() + FIRST_PROBE_NS);
}

static void launch_failed(instance_t *instance, const failure_t *failure) {
    close_status(instance);
    output_close(&instance->output);
    instance->state = FAILED;
    remove_id(instance);
    link_send(message_begin_failed(instance->id, failure));
}

static void read_status(instance_t *instance) {
    failure_t failure;
    ssize_t length = read(instance->status_watch.fd, &failure, sizeof(failure));
    if (length == (ssize_t)sizeof(failure))
        launch_failed(instance, &failure);
    else if (length >= 0 || (errno != EAGAIN && errno != EINTR))
        launched(instance);
}

static void on_status(watch_t *watch) {
    read_status(OWNER_OF(watch, instance_t, status_watch));
}

static instance_t *new_instance(const instance_request_t *request) {
    instance_t *instance = calloc(1, sizeof(*instance));
    if (instance == NULL)
        return NULL;
    instance->id = request->id;
    instance->endpoint_id = request->endpoint->id;
    instance->state = LAUNCHING;
    instance->tag = strdup(request->tag);
    instance->path = strdup(request->endpoint->path);
    instance->start_timeout_ns = (uint64_t)request->start_timeout_ms * NS_PER_MS;
    instance->probe.inode = request->endpoint->inode;
    instance->probe.path = instance->path;
    instance->probe.is_shared = request->endpoint->address != NULL;
    if (instance->probe.is_shared)
        instance->probe.port = request->endpoint->address->port;
    instance->status_watch.fd = -1;
    instance->status_watch.on_event = on_status;
    instance->output.watch.fd = -1;
    if (instance->tag != NULL && instance->path != NULL)
        return instance;
    release(instance);
    return NULL;
}

int instance_start(const instance_request_t *request, failure_t *failure) {
    if (find(request->id) != NULL)
        return fail(failure, "id", EEXIST, "instance id %lld is taken", (long long)request->id);
    instance_t *instance = new_instance(request);
    if (instance == NULL)
        return fail(failure, "memory", ENOMEM, "no memory for an instance");
    spawned_t spawned;
    if (spawn(&request->program, &spawned, failure) < 0) {
        release(instance);
        return -1;
    }
    instance->pid = spawned.pid;
    instance->probe.pid = spawned.pid;
    instance->started_ns = usher_os_now_ns();
    instance->status_watch.fd = spawned.status_fd;
    add(instance);
    if (request->log != NULL)
        instance->output.log = log_file_open(request->log, &request->program.user);
    /* watching cannot fail but for memory; the exit of the child still settles the start then */
    if (watch_start(&instance->status_watch) < 0 ||
        output_open(&instance->output, instance->id, spawned.output_fd) < 0)
        kill(instance->pid, SIGKILL);
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
    instance_t *instance = find(id);
    if (instance == NULL)
        return -1;
    /* not reaped, so the number is its own; before setsid() there is no group yet */
    if (instance->state != EXITED && kill(-instance->pid, signal) < 0)
        kill(instance->pid, signal);
    return 0;
}

void instances_signal_all(int signal) {
    for (instance_t *instance = living.oldest; instance != NULL; instance = instance->newer)
        instance_signal(instance->id, signal);
    for (instance_t *instance = exited.oldest; instance != NULL; instance = instance->newer) {
        if (instance->has_group)
            kill(-instance->pid, signal);
    }
}

/* Do connections wait in its socket? */
static bool has_queue(const instance_t *instance) {
    const endpoint_t *endpoint = endpoint_find(instance->endpoint_id);
    if (endpoint == NULL) /* closed here: only the programs have it */
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
    for (instance_t *other = living.oldest; other != NULL; other = other->newer) {
        if (other == leaving || other->endpoint_id != leaving->endpoint_id || other->look.id != 0 ||
            !probe_is_idle(&other->probe))
            continue;
        kill(-other->pid, SIGSTOP);
        kill(-other->pid, SIGCONT);
    }
}

static void on_signalled(look_t *look) {
    wake_others(OWNER_OF(look, instance_t, look));
}

int instance_look(int64_t id, int signal) {
    instance_t *instance = find(id);
    if (instance == NULL || (instance->state != STARTING && instance->state != READY))
        return -1;
    instance->look.is_awaited = is_awaited;
    instance->look.on_signalled = on_signalled;
    look_begin(&instance->look, &instance->probe, id, signal);
    return 0;
}

void instances_cancel_looks(void) {
    for (instance_t *instance = living.oldest; instance != NULL; instance = instance->newer)
        look_cancel(&instance->look);
}

int instance_snapshot(int64_t id) {
    static char text[65536];
    instance_t *instance = find(id);
    if (instance == NULL)
        return -1;
    size_t length =
        instance->state == EXITED ? 0 : snapshot_describe(instance->pid, text, sizeof(text));
    message_t *message = message_begin("snapshot");
    message_add_number(message, "id", id);
    message_add_text(message, "text", text, length);
    link_send(message);
    return 0;
}

/* ---- exit ---------------------------------------------------------------------------------- */

static void drop(instance_t *instance) {
    delist(&exited, instance);
    if (!instance->forgotten)
        remove_id(instance);
    release(instance);
}

void instance_forget(int64_t id) {
    instance_t *instance = find(id);
    if (instance == NULL || instance->state != EXITED)
        return;
    if (!instance->has_group) {
        drop(instance);
        return;
    }
    remove_id(instance);
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

static bool group_lives(const instance_t *instance) {
    return kill(-instance->pid, 0) == 0 || errno == EPERM;
}

static void on_group_due(alarm_t *alarm) {
    instance_t *instance = OWNER_OF(alarm, instance_t, alarm);
    if (!group_lives(instance)) {
        group_is_gone(instance);
        return;
    }
    kill(-instance->pid, SIGKILL);
    alarm_set(alarm, usher_os_now_ns() + NS_PER_S);
}

void instances_check_groups(void) {
    for (instance_t *instance = exited.newest, *older; instance != NULL && groups > 0;
         instance = older) {
        older = instance->older;
        if (instance->has_group && !group_lives(instance))
            group_is_gone(instance);
    }
}

static void add_exit(message_t *message, const instance_t *instance) {
    if (WIFSIGNALED(instance->wait_status))
        message_add_number(message, "exit_signal", WTERMSIG(instance->wait_status));
    else
        message_add_number(message, "exit_code", WEXITSTATUS(instance->wait_status));
    message_add_number(message, "lived_ms", instance->lived_ms);
    message_add_number(message, "rss_kb", instance->rss_kb);
    char kept[USHER_OUTPUT_KEPT];
    size_t length = output_kept(&instance->output, kept);
    message_add_text(message, "output", kept, length);
}

bool instances_child_died(pid_t pid) {
    instance_t *instance = find_pid(pid);
    if (instance == NULL)
        return false;
    if (instance->state == LAUNCHING)
        read_status(instance);
    look_cancel(&instance->look);
    kill(-pid, SIGTERM);
    return true;
}

void instances_child_reaped(pid_t pid, int status, const struct rusage *usage) {
    instance_t *instance = find_pid(pid);
    remove_pid(instance);
    delist(&living, instance);
    alarm_cancel(&instance->alarm);
    if (instance->state == FAILED) {
        release(instance);
        return;
    }
    wake_others(instance);
    uint64_t now = usher_os_now_ns();
    instance->state = EXITED;
    instance->wait_status = status;
    instance->lived_ms = (int64_t)((now - instance->started_ns) / NS_PER_MS);
    instance->rss_kb = usage->ru_maxrss;
    output_finish(&instance->output);
    enlist(&exited, instance);
    message_t *message = message_begin("exited");
    message_add_number(message, "id", instance->id);
    add_exit(message, instance);
    link_send(message);
    instance->has_group = group_lives(instance);
    if (instance->has_group) {
        groups++;
        instance->alarm.on_due = on_group_due;
        alarm_set(&instance->alarm, now + GROUP_KILL_NS);
    } else {
        output_close(&instance->output);
    }
    if (exited.count > EXITED_KEPT && !exited.oldest->has_group)
        drop(exited.oldest);
}

/* ---- for a new manager --------------------------------------------------------------------- */

static void list_one(const instance_t *instance) {
    const char *state = instance->state == EXITED  ? "exited"
                        : instance->state == READY ? "ready"
                                                   : "starting";
    message_t *message = message_begin("instance");
    message_add_number(message, "id", instance->id);
    message_add_number(message, "endpoint", instance->endpoint_id);
    message_add_number(message, "pid", instance->pid);
    message_add_text(message, "tag", instance->tag, strlen(instance->tag));
    message_add_number(message, "started_ns", (int64_t)instance->started_ns);
    message_add(message, "state", state);
    if (instance->state == EXITED)
        add_exit(message, instance);
    link_send(message);
}

void instances_list(void) {
    for (const instance_t *instance = exited.oldest; instance != NULL; instance = instance->newer) {
        if (!instance->forgotten)
            list_one(instance);
    }
    for (const instance_t *instance = living.oldest; instance != NULL; instance = instance->newer) {
        if (instance->state != FAILED)
            list_one(instance);
    }
}
