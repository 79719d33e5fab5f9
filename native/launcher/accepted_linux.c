/* SPDX-License-Identifier: Apache-2.0 */
/* accepted.h by /proc and pidfd_getfd(). A port to another system replaces this file. */
#include "launcher/accepted.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher/proc.h"
#include "os/os.h"

#define DESCRIPTORS_MAX 1024
#define SOCKETS_MAX 1024

typedef enum { HOLDS_NONE, HOLDS_ONE, IS_UNKNOWN } holding_t;

/* The first thread of a process has ended: then the process shows no descriptors. */
static bool has_no_leader(pid_t pid) {
    unsigned long long cpu_ticks;
    char state = proc_state(pid, 0, &cpu_ticks);
    return state == '\0' || state == 'Z' || state == 'X';
}

static bool has_other_threads(pid_t pid) {
    int tasks[PROC_TASKS_MAX];
    return proc_list_tasks(pid, tasks) > 1;
}

/* ---- the table ----------------------------------------------------------------------------- */

/* The sockets that processes hold besides their listening one. */
typedef struct {
    uint32_t inodes[SOCKETS_MAX];
    size_t count;
    bool hidden; /* they may not be looked at, or are too many */
} sockets_t;

static void list_sockets(const probe_t *probe, pid_t pid, sockets_t *sockets) {
    if (has_no_leader(pid)) {
        sockets->hidden = sockets->hidden || has_other_threads(pid);
        return;
    }
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    int fds[DESCRIPTORS_MAX];
    size_t count = proc_list_numbers(path, fds, DESCRIPTORS_MAX);
    sockets->hidden = sockets->hidden || count == 0 || count == DESCRIPTORS_MAX;
    for (size_t i = 0; i < count; i++) {
        uint32_t inode = proc_socket_inode(pid, fds[i]);
        /* without CAP_SYS_PTRACE they can be counted, not looked at */
        sockets->hidden = sockets->hidden || errno == EACCES;
        if (inode == 0 || inode == probe->inode)
            continue;
        if (sockets->count < SOCKETS_MAX)
            sockets->inodes[sockets->count++] = inode;
        else
            sockets->hidden = true;
    }
}

static bool holds(const sockets_t *sockets, unsigned long inode) {
    for (size_t i = 0; i < sockets->count; i++) {
        if (sockets->inodes[i] == inode)
            return true;
    }
    return sockets->hidden;
}

/* The table of all UNIX sockets shows an accepted one as connected (state 03) under the listener's
 * path; one that still waits to be accepted is in state 02 and without inode. */
static bool is_accepted_unix(const probe_t *probe, char *line, unsigned long *inode) {
    unsigned state;
    int path_at = 0;
    if (sscanf(line, "%*s %*s %*s %*s %*s %x %lu %n", &state, inode, &path_at) != 2 ||
        path_at == 0 || state != 3)
        return false;
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line + path_at, probe->path) == 0;
}

/* The tables of TCP sockets show an accepted one under the listener's port; one that waits to be
 * accepted has no inode, and state 0A is the listener itself. */
static bool is_accepted_tcp(const probe_t *probe, char *line, unsigned long *inode) {
    unsigned port, state;
    return sscanf(line, "%*s %*[^:]:%x %*s %x %*s %*s %*s %*s %*s %lu", &port, &state, inode) ==
               3 &&
           port == probe->port && state != 0x0A;
}

static holding_t look_in_table(const char *table_path, const probe_t *probe,
                               const sockets_t *sockets,
                               bool (*is_accepted)(const probe_t *, char *, unsigned long *)) {
    FILE *table = fopen(table_path, "re");
    if (table == NULL)
        return errno == ENOENT ? HOLDS_NONE : IS_UNKNOWN; /* this family is not there */
    bool found = false;
    char line[512];
    unsigned long inode;
    while (!found && fgets(line, sizeof(line), table) != NULL)
        found = is_accepted(probe, line, &inode) && inode != 0 && holds(sockets, inode);
    fclose(table);
    return found ? HOLDS_ONE : HOLDS_NONE;
}

static holding_t look_in_tables(const probe_t *probe, const pid_t *pids, size_t count,
                                bool count_hidden) {
    sockets_t sockets = {.count = 0};
    for (size_t i = 0; i < count; i++)
        list_sockets(probe, pids[i], &sockets);
    sockets.hidden = sockets.hidden && count_hidden;
    /* most programs have no other socket while they wait: the table, which is long, is spared */
    if (sockets.count == 0 && !sockets.hidden)
        return HOLDS_NONE;
    if (probe->port == 0)
        return look_in_table("/proc/net/unix", probe, &sockets, is_accepted_unix);
    holding_t holding = look_in_table("/proc/net/tcp", probe, &sockets, is_accepted_tcp);
    return holding != HOLDS_NONE
               ? holding
               : look_in_table("/proc/net/tcp6", probe, &sockets, is_accepted_tcp);
}

bool accepted_is_seen(const probe_t *probe, const pid_t *pids, size_t count, bool count_hidden) {
    return look_in_tables(probe, pids, count, count_hidden) == HOLDS_ONE;
}

/* ---- the sockets themselves ---------------------------------------------------------------- */

typedef union {
    struct sockaddr any;
    struct sockaddr_un local;
    struct sockaddr_in inet;
    struct sockaddr_in6 inet6;
} address_t;

static bool is_bound_there(const probe_t *probe, const address_t *name) {
    switch (name->any.sa_family) {
    case AF_UNIX:
        return probe->port == 0 &&
               strncmp(name->local.sun_path, probe->path, sizeof(name->local.sun_path)) == 0;
    case AF_INET:
        return probe->port != 0 && ntohs(name->inet.sin_port) == probe->port;
    case AF_INET6:
        return probe->port != 0 && ntohs(name->inet6.sin6_port) == probe->port;
    default:
        return false;
    }
}

static bool has_option(int fd, int option, int expected) {
    int value;
    socklen_t size = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 && value == expected;
}

/* As the tables show it: a TCP connection that was reset is in none, though its socket keeps its
 * port. */
static bool is_accepted(const probe_t *probe, int fd) {
    address_t name, peer;
    memset(&name, 0, sizeof(name));
    socklen_t length = sizeof(name), peer_length = sizeof(peer);
    return getsockname(fd, &name.any, &length) == 0 && is_bound_there(probe, &name) &&
           has_option(fd, SO_TYPE, SOCK_STREAM) && has_option(fd, SO_ACCEPTCONN, 0) &&
           (probe->port == 0 || getpeername(fd, &peer.any, &peer_length) == 0);
}

static holding_t look_at_descriptor(const probe_t *probe, pid_t pid, int pidfd, int number) {
    uint32_t inode = proc_socket_inode(pid, number);
    if (inode == 0)
        return errno == EACCES ? IS_UNKNOWN : HOLDS_NONE;
    if (inode == probe->inode)
        return HOLDS_NONE;
    int fd = usher_os_pidfd_getfd(pidfd, number);
    if (fd < 0) /* closed, by one that has left its group and goes on, or was killed */
        return errno == EBADF || errno == ESRCH ? HOLDS_NONE : IS_UNKNOWN;
    holding_t holding = is_accepted(probe, fd) ? HOLDS_ONE : HOLDS_NONE;
    close(fd);
    return holding;
}

static holding_t look_at_process(const probe_t *probe, pid_t pid) {
    if (has_no_leader(pid))
        return has_other_threads(pid) ? IS_UNKNOWN : HOLDS_NONE;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    int pidfd = usher_os_pidfd_open(pid);
    holding_t holding = folder == NULL || pidfd < 0 ? IS_UNKNOWN : HOLDS_NONE;
    struct dirent *item;
    while (holding == HOLDS_NONE && (item = readdir(folder)) != NULL) {
        if (item->d_name[0] >= '0' && item->d_name[0] <= '9')
            holding = look_at_descriptor(probe, pid, pidfd, atoi(item->d_name));
    }
    if (pidfd >= 0)
        close(pidfd);
    if (folder != NULL)
        closedir(folder);
    return holding;
}

bool accepted_is_held(const probe_t *probe, const pid_t *pids, size_t count) {
    bool is_unknown = false;
    for (size_t i = 0; i < count; i++) {
        holding_t holding = look_at_process(probe, pids[i]);
        if (holding == HOLDS_ONE)
            return true;
        is_unknown = is_unknown || holding == IS_UNKNOWN;
    }
    return is_unknown && (look_in_tables(probe, pids, count, true) != HOLDS_NONE ||
                          look_in_tables(probe, pids, count, true) != HOLDS_NONE);
}
