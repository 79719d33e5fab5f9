/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/group.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

#include "launcher/proc.h"
#include "os/os.h"

bool group_leader_lives(const group_t *group) {
    if (group->leader_died || !group->is_foreign)
        return !group->leader_died;
    struct pollfd death = {.fd = group->pidfd, .events = POLLIN};
    return poll(&death, 1, 0) == 0;
}

/* Of a leader that has died: a living process with its number is somebody else. */
static bool is_left_behind(const group_t *group) {
    proc_identity_t other;
    if (group->is_void || (kill(-group->pid, 0) < 0 && errno == ESRCH))
        return false;
    if (proc_identify(group->pid, &other) == 0 && other.state != 'Z' && other.state != 'X')
        return false;
    return proc_session_lives(group->pid);
}

bool group_lives(const group_t *group) {
    if (!group->is_foreign)
        return kill(-group->pid, 0) == 0 || errno == EPERM;
    return group_leader_lives(group) || is_left_behind(group);
}

static int signal_leader(const group_t *group, int signal) {
    return group->is_foreign ? usher_os_pidfd_send_signal(group->pidfd, signal)
                             : kill(group->pid, signal);
}

int group_signal(const group_t *group, int signal) {
    if (!group_leader_lives(group))
        return is_left_behind(group) ? kill(-group->pid, signal) : -1;
    /* before its setsid() there is no group yet */
    return kill(-group->pid, signal) == 0 ? 0 : signal_leader(group, signal);
}
