/* SPDX-License-Identifier: Apache-2.0 */
/* proc.h on Linux. A port to another system replaces this file and probe_linux.c. */
#include "launcher/proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ssize_t proc_read(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t length = read(fd, text, size - 1);
    int error = errno;
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    errno = error;
    return length;
}

size_t proc_list_numbers(const char *path, int *numbers, size_t max) {
    DIR *folder = opendir(path);
    if (folder == NULL)
        return 0;
    size_t count = 0;
    struct dirent *item;
    while (count < max && (item = readdir(folder)) != NULL) {
        if (item->d_name[0] >= '0' && item->d_name[0] <= '9')
            numbers[count++] = atoi(item->d_name);
    }
    closedir(folder);
    return count;
}

/* ---- processes and threads ----------------------------------------------------------------- */

size_t proc_list_tasks(pid_t pid, int tasks[PROC_TASKS_MAX]) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    return proc_list_numbers(path, tasks, PROC_TASKS_MAX);
}

/* Numbers, a space behind each. One read() gives no more than a page of them. */
static size_t add_listed(const char *path, pid_t *pids, size_t count, size_t max) {
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    pid_t pid = 0;
    ssize_t length;
    while (fd >= 0 && count < max && (length = read(fd, text, sizeof(text))) > 0) {
        for (ssize_t i = 0; i < length && count < max; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 0) {
                pids[count++] = pid;
                pid = 0;
            }
        }
    }
    if (fd >= 0)
        close(fd);
    return count;
}

static size_t add_children(pid_t pid, pid_t *pids, size_t count, size_t max) {
    int tasks[PROC_TASKS_MAX];
    size_t task_count = proc_list_tasks(pid, tasks);
    for (size_t i = 0; i < task_count; i++) {
        char path[64];
        snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tasks[i]);
        count = add_listed(path, pids, count, max);
    }
    return count;
}

size_t proc_list_children(pid_t pid, pid_t *pids, size_t max) {
    return add_children(pid, pids, 0, max);
}

/* A process whose parent died has become a child of the launcher, or of whoever got the instances of
 * a launcher that was killed; its group tells whose it is. */
static size_t add_orphans(pid_t group, pid_t *pids, size_t count, size_t max) {
    enum { CHILDREN_MAX = 32768 }; /* orphans come last */
    static pid_t children[CHILDREN_MAX];
    proc_identity_t leader;
    pid_t parent = proc_identify(group, &leader) == 0 ? leader.parent : getpid();
    size_t child_count = proc_list_children(parent, children, CHILDREN_MAX);
    for (size_t i = 0; i < child_count && count < max; i++) {
        if (children[i] != group && getpgid(children[i]) == group)
            pids[count++] = children[i];
    }
    return count;
}

static size_t add_all_below(pid_t *pids, size_t count) {
    for (size_t i = 0; i < count; i++)
        count = add_children(pids[i], pids, count, PROC_PROCESSES_MAX);
    return count;
}

size_t proc_list_below(pid_t pid, pid_t pids[PROC_PROCESSES_MAX]) {
    pids[0] = pid;
    return add_all_below(pids, 1);
}

size_t proc_list_instance(pid_t pid, pid_t pids[PROC_PROCESSES_MAX]) {
    pids[0] = pid;
    return add_all_below(pids, add_orphans(pid, pids, 1, PROC_PROCESSES_MAX));
}

/* ---- one of them --------------------------------------------------------------------------- */

#define FORKED_NO_EXEC 0x40u /* PF_FORKNOEXEC of the kernel's task flags */

int proc_identify(pid_t pid, proc_identity_t *identity) {
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    const char *after_name = proc_read(path, text, sizeof(text)) > 0 ? strrchr(text, ')') : NULL;
    unsigned flags;
    if (after_name == NULL ||
        sscanf(after_name + 1,
               " %c %d %d %d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
               &identity->state, &identity->parent, &identity->group, &identity->session, &flags,
               &identity->birth) != 6)
        return -1;
    identity->is_fork = (flags & FORKED_NO_EXEC) != 0;
    return 0;
}

bool proc_session_lives(pid_t group) {
    DIR *folder = opendir("/proc");
    bool lives = false;
    struct dirent *item;
    while (folder != NULL && !lives && (item = readdir(folder)) != NULL) {
        proc_identity_t process;
        lives = item->d_name[0] >= '1' && item->d_name[0] <= '9' &&
                proc_identify(atoi(item->d_name), &process) == 0 && process.group == group &&
                process.session == group && process.state != 'Z' && process.state != 'X';
    }
    if (folder != NULL)
        closedir(folder);
    return lives;
}

int proc_find_socket(pid_t pid, uint32_t inode) {
    enum { DESCRIPTORS_MAX = 4096 };
    static int fds[DESCRIPTORS_MAX];
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    size_t count = proc_list_numbers(path, fds, DESCRIPTORS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (proc_socket_inode(pid, fds[i]) == inode)
            return fds[i];
    }
    return -1;
}

uint32_t proc_socket_inode(pid_t pid, int fd) {
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
    errno = 0;
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length <= 0)
        return 0;
    target[length] = '\0';
    unsigned inode;
    return sscanf(target, "socket:[%u]", &inode) == 1 ? inode : 0;
}

char proc_state(pid_t pid, int task, unsigned long long *cpu_ticks) {
    char path[64], text[1024];
    if (task == 0)
        snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    else
        snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, task);
    if (proc_read(path, text, sizeof(text)) <= 0)
        return '\0';
    const char *after_name = strrchr(text, ')');
    char state;
    unsigned long long user, system;
    if (after_name == NULL ||
        sscanf(after_name + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &state,
               &user, &system) != 3)
        return '\0';
    *cpu_ticks = user + system;
    return state;
}

proc_call_look_t proc_system_call(pid_t pid, int task, proc_call_t *call) {
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, task);
    ssize_t length = proc_read(path, text, sizeof(text));
    if (length < 0)
        return errno == ESRCH ? CALL_RUNNING : CALL_HIDDEN;
    memset(call, 0, sizeof(*call));
    unsigned long *at = call->arguments;
    int fields = sscanf(text, "%ld %lx %lx %lx %lx %lx %lx", &call->number, &at[0], &at[1], &at[2],
                        &at[3], &at[4], &at[5]);
    if (fields == 7 && call->number >= 0)
        return CALL_KNOWN;
    call->number = -1;
    return fields >= 1 ? CALL_KNOWN : CALL_RUNNING;
}
