/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/adopt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/directory.h"
#include "launcher/endpoints.h"
#include "launcher/handover.h"
#include "launcher/instance.h"
#include "launcher/instances.h"
#include "launcher/log.h"
#include "launcher/memory.h"
#include "launcher/output_pipe.h"
#include "launcher/proc.h"
#include "launcher/state.h"
#include "os/os.h"

#define MANAGER_MAY_DIE_MS 5000

/* ---- which process is it? ------------------------------------------------------------------ */

static bool is_child(pid_t pid) {
    siginfo_t info;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* Does the process that was born then still have this pid? */
static bool is_the_one(pid_t pid, uint64_t birth, proc_identity_t *identity) {
    return proc_identify(pid, identity) == 0 && identity->birth == birth;
}

/* A descriptor of the process, if it lives: as it still does after the look, its pid was its own. */
static int open_foreign(pid_t pid, uint64_t birth, proc_identity_t *identity) {
    int pidfd = usher_os_pidfd_open(pid);
    if (pidfd < 0) {
        int error = errno;
        if (error == ESRCH || !is_the_one(pid, birth, identity))
            return -1;
        log_error("instance.ended", "pid", decimal(pid).text, "error", strerror(error), "step",
                  "pidfd_open", NULL);
        kill(pid, SIGKILL); /* one that cannot be watched would be started twice */
        return -1;
    }
    struct pollfd death = {.fd = pidfd, .events = POLLIN};
    if (is_the_one(pid, birth, identity) && poll(&death, 1, 0) == 0)
        return pidfd;
    close(pidfd);
    return -1;
}

/* Fill in whether the leader of a group lives and whose child it is. True when it has been forked,
 * but has not become its program. */
static bool identify(group_t *group, uint64_t birth, const message_t *record) {
    proc_identity_t identity;
    const char *era = message_text(record, "era");
    group->is_void = era == NULL || strcmp(era, state_era()) != 0;
    if (!group->is_void && is_child(group->pid) && is_the_one(group->pid, birth, &identity))
        return identity.is_fork && identity.state != 'Z';
    group->is_foreign = true;
    group->pidfd = group->is_void ? -1 : open_foreign(group->pid, birth, &identity);
    group->leader_died = group->pidfd < 0;
    return !group->leader_died && identity.is_fork;
}

/* ---- managers ------------------------------------------------------------------------------ */

/* A manager dies with its launcher, but there must never be two: see to it that it is dead. */
static int end_manager(int64_t id, const message_t *record) {
    int64_t birth;
    group_t group = {.pid = (pid_t)id, .pidfd = -1};
    if (id > INT32_MAX || message_number(record, "birth", 0, INT64_MAX, &birth) < 0)
        return -1;
    identify(&group, (uint64_t)birth, record);
    if (group.pidfd >= 0) {
        usher_os_pidfd_send_signal(group.pidfd, SIGKILL);
        struct pollfd death = {.fd = group.pidfd, .events = POLLIN};
        poll(&death, 1, MANAGER_MAY_DIE_MS);
        close(group.pidfd);
    }
    state_remove("manager", id);
    return 0;
}

/* ---- sockets ------------------------------------------------------------------------------- */

static bool is_socket(int fd, uint32_t inode) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) && (uint32_t)status.st_ino == inode;
}

static int get_socket_from(pid_t pid, uint32_t inode) {
    int number = proc_find_socket(pid, inode);
    int pidfd = usher_os_pidfd_open(pid);
    /* where descriptors may not be looked at: it was given the socket as 0 */
    int fd = pidfd < 0 ? -1 : usher_os_pidfd_getfd(pidfd, number >= 0 ? number : STDIN_FILENO);
    int error = errno;
    if (pidfd >= 0)
        close(pidfd);
    if (fd >= 0 && !is_socket(fd, inode)) {
        close(fd);
        fd = -1;
        error = ENOENT;
    }
    errno = error;
    return fd;
}

/* From the program or one of its children. */
static int get_socket(pid_t leader, uint32_t inode) {
    pid_t pids[PROC_PROCESSES_MAX];
    size_t count = proc_list_instance(leader, pids);
    int fd = -1;
    for (size_t i = 0; i < count && fd < 0; i++)
        fd = get_socket_from(pids[i], inode);
    return fd;
}

static void attach_inherited(endpoint_t *endpoint) {
    int fd = handover_take_socket(endpoint->inode);
    if (fd >= 0)
        endpoint_attach(endpoint, fd);
}

static void attach_from(const instance_t *instance) {
    endpoint_t *endpoint = endpoint_find(instance->endpoint_id);
    if (endpoint == NULL || endpoint->fd >= 0 || endpoint->inode == 0)
        return;
    int fd = get_socket(instance->group.pid, endpoint->inode);
    if (fd >= 0)
        endpoint_attach(endpoint, fd);
    else
        log_warn("endpoint.detached", "endpoint", endpoint->name, "pid",
                 decimal(instance->group.pid).text, "error", strerror(errno), NULL);
}

/* A killed launcher's end is gone with it: the gateway has read the end, and is replaced. */
static void take_link(instance_t *instance) {
    if (instance->link_inode != 0)
        instance->link_end = handover_take_link(instance->link_inode);
    if (instance->link_end < 0)
        instance->link_inode = 0;
}

/* ---- instances ----------------------------------------------------------------------------- */

static unsigned living, exited;

static int take_over(int64_t id, const message_t *record) {
    instance_t *instance = instance_from_record(id, record);
    if (instance == NULL)
        return -1;
    bool is_fork = identify(&instance->group, instance->birth, record);
    bool lives = instance->state != EXITED && group_leader_lives(&instance->group);
    *(lives ? &living : &exited) += 1;
    if (lives) {
        attach_from(instance);
        take_link(instance);
    }
    instance_resume(instance);
    /* whether its program could be started would be told to nobody */
    if (lives && is_fork)
        group_signal(&instance->group, SIGKILL);
    return 0;
}

void adopt(void) {
    state_read_all("manager", end_manager);
    endpoints_note_id(state_read_all("endpoint", endpoint_restore));
    endpoints_each_detached(attach_inherited);
    instances_note_id(state_read_all("instance", take_over));
    state_read_all("memory", memory_restore);
    endpoints_close_lost(instances_live_on);
    directory_remove_stray_sockets(endpoint_has_name);
    output_pipes_drain_others(instance_reads_output);
    if (living + exited > 0)
        log_info("launcher.adopted", "living", decimal(living).text, "exited", decimal(exited).text,
                 NULL);
}
