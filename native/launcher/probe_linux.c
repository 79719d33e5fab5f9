/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probing by /proc. /proc/PID/task/TID/syscall says in which system call a sleeping thread is and
 * with which arguments; poll() and select() get their descriptors in the program's memory, which
 * whoever may read `syscall` may read as well. A port to another system replaces this file.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher/loop.h"
#include "launcher/probe.h"
#include "os/os.h"

#define PROCESSES_MAX 64
#define TASKS_MAX 256 /* threads looked at in one process */
#define WAITED_FDS_MAX 1024
#define SOCKETS_MAX 1024
#define HIDDEN_SLEEP_NS (50 * NS_PER_MS)
#define LOOKS_BEFORE_TABLE 5 /* the first ones, a few ms apart, leave out the costly look */

/* ---- reading /proc ------------------------------------------------------------------------- */

/* The file's first size − 1 bytes with a NUL; -1 with errno. */
static ssize_t read_file(const char *path, char *text, size_t size) {
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

/* Numbers that are names in a folder: thread ids, descriptors. */
static size_t list_numbers(const char *path, int *numbers, size_t max) {
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

static size_t list_tasks(pid_t pid, int tasks[TASKS_MAX]) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    return list_numbers(path, tasks, TASKS_MAX);
}

static size_t add_children(pid_t pid, pid_t *pids, size_t count, size_t max) {
    int tasks[TASKS_MAX];
    size_t task_count = list_tasks(pid, tasks);
    for (size_t i = 0; i < task_count; i++) {
        char path[64], text[4096];
        snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, tasks[i]);
        if (read_file(path, text, sizeof(text)) <= 0)
            continue;
        char *rest = text, *end;
        for (long child; count < max && (child = strtol(rest, &end, 10)) > 0; rest = end)
            pids[count++] = (pid_t)child;
    }
    return count;
}

size_t probe_children(pid_t pid, pid_t *pids, size_t max) {
    return add_children(pid, pids, 0, max);
}

/* The process itself first, then those below it. */
static size_t list_processes(pid_t pid, pid_t pids[PROCESSES_MAX]) {
    pids[0] = pid;
    size_t count = 1;
    for (size_t i = 0; i < count; i++)
        count = add_children(pids[i], pids, count, PROCESSES_MAX);
    return count;
}

/* The socket's inode behind a descriptor, 0 when it is none (or hidden). */
static uint32_t socket_inode(pid_t pid, int fd) {
    char path[64], target[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length <= 0)
        return 0;
    target[length] = '\0';
    unsigned inode;
    return sscanf(target, "socket:[%u]", &inode) == 1 ? inode : 0;
}

/* ---- one sleeping thread ------------------------------------------------------------------- */

typedef struct {
    long number;
    unsigned long arguments[6];
} system_call_t;

typedef enum { CALL_KNOWN, CALL_NONE, CALL_HIDDEN } call_look_t;

static call_look_t read_system_call(pid_t pid, int task, system_call_t *call) {
    char path[64], text[256];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, task);
    ssize_t length = read_file(path, text, sizeof(text));
    if (length < 0)
        return errno == ESRCH ? CALL_NONE : CALL_HIDDEN;
    unsigned long *at = call->arguments;
    return sscanf(text, "%ld %lx %lx %lx %lx %lx %lx", &call->number, &at[0], &at[1], &at[2],
                  &at[3], &at[4], &at[5]) == 7 &&
                   call->number >= 0
               ? CALL_KNOWN
               : CALL_NONE;
}

static bool read_memory(pid_t pid, unsigned long address, void *bytes, size_t length) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/mem", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = pread(fd, bytes, length, (off_t)address);
    close(fd);
    return got == (ssize_t)length;
}

static bool polls_for(const probe_t *probe, pid_t pid, const system_call_t *call) {
    struct pollfd fds[WAITED_FDS_MAX];
    unsigned long count = call->arguments[1];
    if (count == 0 || count > WAITED_FDS_MAX ||
        !read_memory(pid, call->arguments[0], fds, count * sizeof(fds[0])))
        return false;
    for (unsigned long i = 0; i < count; i++) {
        if (fds[i].fd >= 0 && (fds[i].events & (POLLIN | POLLRDNORM)) != 0 &&
            socket_inode(pid, fds[i].fd) == probe->inode)
            return true;
    }
    return false;
}

static bool selects_for(const probe_t *probe, pid_t pid, const system_call_t *call) {
    unsigned long words[WAITED_FDS_MAX / (8 * sizeof(unsigned long))];
    const unsigned long bits = 8 * sizeof(words[0]);
    unsigned long count = call->arguments[0];
    if (count == 0 || count > WAITED_FDS_MAX || call->arguments[1] == 0 ||
        !read_memory(pid, call->arguments[1], words, (count + bits - 1) / bits * sizeof(words[0])))
        return false;
    for (unsigned long fd = 0; fd < count; fd++) {
        if ((words[fd / bits] >> fd % bits & 1) != 0 && socket_inode(pid, (int)fd) == probe->inode)
            return true;
    }
    return false;
}

static bool epoll_waits_for(const probe_t *probe, pid_t pid, const system_call_t *call) {
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, (int)call->arguments[0]);
    FILE *info = fopen(path, "re");
    bool found = false;
    int fd;
    while (info != NULL && !found && fgets(line, sizeof(line), info) != NULL)
        found = sscanf(line, "tfd: %d", &fd) == 1 && socket_inode(pid, fd) == probe->inode;
    if (info != NULL)
        fclose(info);
    return found;
}

static bool waits_for_connection(const probe_t *probe, pid_t pid, const system_call_t *call) {
    switch (call->number) {
#ifdef SYS_accept
    case SYS_accept:
#endif
#ifdef SYS_accept4
    case SYS_accept4:
#endif
        return socket_inode(pid, (int)call->arguments[0]) == probe->inode;
#ifdef SYS_poll
    case SYS_poll:
#endif
#ifdef SYS_ppoll
    case SYS_ppoll:
#endif
        return polls_for(probe, pid, call);
#ifdef SYS_select
    case SYS_select:
#endif
#ifdef SYS_pselect6
    case SYS_pselect6:
#endif
        return selects_for(probe, pid, call);
#ifdef SYS_epoll_wait
    case SYS_epoll_wait:
#endif
#ifdef SYS_epoll_pwait
    case SYS_epoll_pwait:
#endif
#ifdef SYS_epoll_pwait2
    case SYS_epoll_pwait2:
#endif
        return epoll_waits_for(probe, pid, call);
    default:
        return false;
    }
}

/* ---- where system calls are hidden --------------------------------------------------------- */

/* State letter and CPU time of a process, from its stat line; '\0' when it is gone. */
static char read_state(pid_t pid, unsigned long long *cpu_ticks) {
    char path[64], text[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (read_file(path, text, sizeof(text)) <= 0)
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

/* Asleep for a while without using the processor: the best that can be said without the right to
 * look closer (root in a container without CAP_SYS_PTRACE). */
static bool seems_to_wait(probe_t *probe, uint64_t now_ns) {
    unsigned long long cpu_ticks;
    if (read_state(probe->pid, &cpu_ticks) != 'S') {
        probe->asleep_since_ns = 0;
        return false;
    }
    if (probe->asleep_since_ns == 0 || cpu_ticks != probe->cpu_ticks) {
        probe->asleep_since_ns = now_ns;
        probe->cpu_ticks = cpu_ticks;
        return false;
    }
    return now_ns - probe->asleep_since_ns >= HIDDEN_SLEEP_NS;
}

/* ---- has it taken a connection? ------------------------------------------------------------ */

/* The sockets a process holds besides its listening one. */
typedef struct {
    uint32_t inodes[SOCKETS_MAX];
    size_t count;
    bool hidden; /* they may not be looked at */
} sockets_t;

static void list_sockets(const probe_t *probe, pid_t pid, sockets_t *sockets) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    int fds[WAITED_FDS_MAX];
    size_t count = list_numbers(path, fds, WAITED_FDS_MAX);
    sockets->hidden = sockets->hidden || count == 0;
    for (size_t i = 0; i < count && sockets->count < SOCKETS_MAX; i++) {
        errno = 0;
        uint32_t inode = socket_inode(pid, fds[i]);
        /* without CAP_SYS_PTRACE they can be counted, not looked at */
        sockets->hidden = sockets->hidden || errno == EACCES;
        if (inode != 0 && inode != probe->inode)
            sockets->inodes[sockets->count++] = inode;
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
static bool has_accepted(const probe_t *probe, const sockets_t *sockets) {
    FILE *table = fopen("/proc/net/unix", "re");
    bool found = false;
    char line[512];
    while (table != NULL && !found && fgets(line, sizeof(line), table) != NULL) {
        unsigned state;
        unsigned long inode;
        int path_at = 0;
        if (sscanf(line, "%*s %*s %*s %*s %*s %x %lu %n", &state, &inode, &path_at) != 2 ||
            path_at == 0 || state != 3 || inode == 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        found = strcmp(line + path_at, probe->path) == 0 && holds(sockets, inode);
    }
    if (table != NULL)
        fclose(table);
    return found;
}

/* ---- all of it ----------------------------------------------------------------------------- */

bool probe_is_ready(probe_t *probe, uint64_t now_ns) {
    pid_t pids[PROCESSES_MAX];
    size_t process_count = list_processes(probe->pid, pids);
    bool hidden = false;
    for (size_t i = 0; i < process_count; i++) {
        int tasks[TASKS_MAX];
        size_t task_count = list_tasks(pids[i], tasks);
        for (size_t j = 0; j < task_count; j++) {
            system_call_t call;
            call_look_t look = read_system_call(pids[i], tasks[j], &call);
            hidden = hidden || look == CALL_HIDDEN;
            if (look == CALL_KNOWN && waits_for_connection(probe, pids[i], &call))
                return true;
        }
    }
    if (hidden && seems_to_wait(probe, now_ns))
        return true;
    if (++probe->looks <= LOOKS_BEFORE_TABLE)
        return false;
    sockets_t sockets = {.count = 0};
    for (size_t i = 0; i < process_count; i++)
        list_sockets(probe, pids[i], &sockets);
    /* most programs have no other socket while they start: the table, which is long, is spared */
    return (sockets.count > 0 || sockets.hidden) && has_accepted(probe, &sockets);
}

/* ---- snapshot ------------------------------------------------------------------------------ */

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

/* One line of a /proc file, or the reason why it cannot be read. */
static void put_file(text_t *text, const char *label, const char *path) {
    char content[512];
    if (read_file(path, content, sizeof(content)) < 0)
        snprintf(content, sizeof(content), "(%s)", strerror(errno));
    content[strcspn(content, "\n")] = '\0';
    put(text, " %s %s", label, content);
}

static void put_stack(text_t *text, pid_t pid, int task) {
    char path[64], stack[2048];
    snprintf(path, sizeof(path), "/proc/%d/task/%d/stack", pid, task);
    if (read_file(path, stack, sizeof(stack)) <= 0)
        return;
    char *rest = stack, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (*line != '\0')
            put(text, "    %s\n", line);
    }
}

static void put_task(text_t *text, pid_t pid, int task) {
    char path[64];
    put(text, "  thread %d:", task);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/wchan", pid, task);
    put_file(text, "wchan", path);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, task);
    put_file(text, "syscall", path);
    put(text, "\n");
    put_stack(text, pid, task);
}

static void put_descriptors(text_t *text, pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    int fds[256];
    size_t count = list_numbers(path, fds, 256);
    for (size_t i = 0; i < count; i++) {
        char target[256];
        snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fds[i]);
        ssize_t length = readlink(path, target, sizeof(target) - 1);
        if (length < 0)
            continue;
        target[length] = '\0';
        put(text, "  fd %d %s\n", fds[i], target);
    }
}

size_t probe_describe(pid_t pid, char *bytes, size_t size) {
    text_t text = {.bytes = bytes, .length = 0, .size = size};
    pid_t pids[PROCESSES_MAX];
    size_t process_count = list_processes(pid, pids);
    for (size_t i = 0; i < process_count; i++) {
        unsigned long long cpu_ticks = 0;
        char path[64];
        char state = read_state(pids[i], &cpu_ticks);
        snprintf(path, sizeof(path), "/proc/%d/comm", pids[i]);
        put(&text, "process %d:", pids[i]);
        put_file(&text, "name", path);
        put(&text, " state %c, %llu ticks of CPU time\n", state != '\0' ? state : '?', cpu_ticks);
        int tasks[TASKS_MAX];
        size_t task_count = list_tasks(pids[i], tasks);
        for (size_t j = 0; j < task_count; j++)
            put_task(&text, pids[i], tasks[j]);
        put_descriptors(&text, pids[i]);
    }
    return text.length;
}
