/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probing by /proc. /proc/PID/task/TID/syscall says in which system call a sleeping thread is and
 * with which arguments; poll() and select() get their descriptors in the program's memory, which
 * whoever may read `syscall` may read as well. A port to another system replaces this file.
 */
#include "launcher/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "launcher/accepted.h"
#include "launcher/loop.h"
#include "launcher/proc.h"

#define WAITED_FDS_MAX 1024
#define HIDDEN_SLEEP_NS (50 * NS_PER_MS)
#define LOOKS_BEFORE_TABLE 5 /* the first ones, a few ms apart, leave out the costly look */

/* ---- one sleeping thread ------------------------------------------------------------------- */

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

static bool polls_for(const probe_t *probe, pid_t pid, const proc_call_t *call) {
    struct pollfd fds[WAITED_FDS_MAX];
    unsigned long count = call->arguments[1];
    if (count == 0 || count > WAITED_FDS_MAX ||
        !read_memory(pid, call->arguments[0], fds, count * sizeof(fds[0])))
        return false;
    for (unsigned long i = 0; i < count; i++) {
        if (fds[i].fd >= 0 && (fds[i].events & (POLLIN | POLLRDNORM)) != 0 &&
            proc_socket_inode(pid, fds[i].fd) == probe->inode)
            return true;
    }
    return false;
}

static bool selects_for(const probe_t *probe, pid_t pid, const proc_call_t *call) {
    unsigned long words[WAITED_FDS_MAX / (8 * sizeof(unsigned long))];
    const unsigned long bits = 8 * sizeof(words[0]);
    unsigned long count = call->arguments[0];
    if (count == 0 || count > WAITED_FDS_MAX || call->arguments[1] == 0 ||
        !read_memory(pid, call->arguments[1], words, (count + bits - 1) / bits * sizeof(words[0])))
        return false;
    for (unsigned long fd = 0; fd < count; fd++) {
        if ((words[fd / bits] >> fd % bits & 1) != 0 &&
            proc_socket_inode(pid, (int)fd) == probe->inode)
            return true;
    }
    return false;
}

/* The device of all sockets as fdinfo has it, which is not as fstat() has it. */
static unsigned sockets_device(void) {
    static unsigned device;
    struct stat status;
    int fd = device != 0 ? -1 : socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && fstat(fd, &status) == 0)
        device = major(status.st_dev) << 20 | minor(status.st_dev);
    if (fd >= 0)
        close(fd);
    return device;
}

/* The kernel says which file each descriptor of the set was when it was added: its number may stand
 * for another one by now, or for none, while a duplicate keeps the file in the set. */
static bool is_in_set(const probe_t *probe, const char *line) {
    unsigned events, device;
    unsigned long inode;
    return sscanf(line, "tfd: %*d events: %x data: %*x pos:%*d ino:%lx sdev:%x", &events, &inode,
                  &device) == 3 &&
           (events & (EPOLLIN | EPOLLRDNORM)) != 0 && inode == probe->inode &&
           device == sockets_device();
}

static bool epoll_waits_for(const probe_t *probe, pid_t pid, const proc_call_t *call) {
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", pid, (int)call->arguments[0]);
    FILE *info = fopen(path, "re");
    bool found = false;
    while (info != NULL && !found && fgets(line, sizeof(line), info) != NULL)
        found = is_in_set(probe, line);
    if (info != NULL)
        fclose(info);
    return found;
}

static bool waits_for_connection(const probe_t *probe, pid_t pid, const proc_call_t *call) {
    switch (call->number) {
#ifdef SYS_accept
    case SYS_accept:
#endif
#ifdef SYS_accept4
    case SYS_accept4:
#endif
        return proc_socket_inode(pid, (int)call->arguments[0]) == probe->inode;
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
#ifdef SYS_restart_syscall
    case SYS_restart_syscall: /* of a poll() that SIGSTOP and SIGCONT interrupted */
        return polls_for(probe, pid, call);
#endif
#ifdef SYS_fcntl
    case SYS_fcntl: /* instances that share a socket may take turns at accept() */
        return (call->arguments[1] == F_SETLKW || call->arguments[1] == F_OFD_SETLKW) &&
               proc_socket_inode(pid, (int)call->arguments[0]) == probe->inode;
#endif
    default:
        return false;
    }
}

/* System calls in which a thread rests while its process has nothing to do. */
static bool is_resting(long number) {
    static const long calls[] = {
        SYS_futex,
        SYS_wait4,
        SYS_waitid,
        SYS_nanosleep,
        SYS_clock_nanosleep,
        SYS_rt_sigsuspend,
        SYS_rt_sigtimedwait,
        SYS_restart_syscall,
        SYS_ppoll,
        SYS_pselect6,
        SYS_epoll_pwait,
#ifdef SYS_epoll_pwait2
        SYS_epoll_pwait2,
#endif
#ifdef SYS_poll
        SYS_poll,
#endif
#ifdef SYS_select
        SYS_select,
#endif
#ifdef SYS_epoll_wait
        SYS_epoll_wait,
#endif
#ifdef SYS_pause
        SYS_pause,
#endif
    };
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        if (calls[i] == number)
            return true;
    }
    return false;
}

/* ---- where system calls are hidden --------------------------------------------------------- */

/* Asleep for a while without using the processor: the best that can be said without the right to
 * look closer (root in a container without CAP_SYS_PTRACE). */
static bool seems_to_wait(probe_t *probe, uint64_t now_ns) {
    unsigned long long cpu_ticks;
    if (proc_state(probe->pid, 0, &cpu_ticks) != 'S') {
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

/* ---- ready? -------------------------------------------------------------------------------- */

bool probe_is_ready(probe_t *probe, uint64_t now_ns) {
    pid_t pids[PROC_PROCESSES_MAX];
    size_t process_count = proc_list_below(probe->pid, pids);
    bool hidden = false;
    for (size_t i = 0; i < process_count; i++) {
        int tasks[PROC_TASKS_MAX];
        size_t task_count = proc_list_tasks(pids[i], tasks);
        for (size_t j = 0; j < task_count; j++) {
            proc_call_t call;
            proc_call_look_t look = proc_system_call(pids[i], tasks[j], &call);
            hidden = hidden || look == CALL_HIDDEN;
            if (look == CALL_KNOWN && waits_for_connection(probe, pids[i], &call))
                return true;
        }
    }
    if (hidden && seems_to_wait(probe, now_ns))
        return true;
    if (++probe->looks <= LOOKS_BEFORE_TABLE)
        return false;
    /* connections that others have taken from the same socket say nothing of this instance */
    return accepted_is_seen(probe, pids, process_count, !probe->is_shared);
}

/* ---- idle? --------------------------------------------------------------------------------- */

static bool is_gone(char state) {
    return state == '\0' || state == 'Z' || state == 'X';
}

bool probe_is_stopped(const probe_t *probe) {
    pid_t pids[PROC_PROCESSES_MAX];
    size_t process_count = proc_list_instance(probe->pid, pids);
    for (size_t i = 0; i < process_count; i++) {
        int tasks[PROC_TASKS_MAX];
        /* what has left the group is not stopped; it shows what it holds all the same */
        size_t task_count = getpgid(pids[i]) == probe->pid ? proc_list_tasks(pids[i], tasks) : 0;
        for (size_t j = 0; j < task_count; j++) {
            unsigned long long cpu_ticks;
            char state = proc_state(pids[i], tasks[j], &cpu_ticks);
            if (state != 'T' && !is_gone(state))
                return false;
        }
    }
    return true;
}

typedef enum { TASK_WAITS, TASK_RESTS, TASK_WORKS } task_look_t;

static task_look_t look_at_task(const probe_t *probe, pid_t pid, int task, char state) {
    if (is_gone(state))
        return TASK_RESTS;
    proc_call_t call;
    switch (proc_system_call(pid, task, &call)) {
    case CALL_HIDDEN: /* then only what is accepted can be counted, and it is all counted as its */
        return state == 'R' ? TASK_WORKS : TASK_WAITS;
    case CALL_RUNNING:
        return TASK_WORKS;
    case CALL_KNOWN:
        break;
    }
    if (waits_for_connection(probe, pid, &call))
        return TASK_WAITS;
    return is_resting(call.number) ? TASK_RESTS : TASK_WORKS;
}

/* All threads of one process together; of one that must have stopped, a thread that has not works. */
static task_look_t look_at_process(const probe_t *probe, pid_t pid, bool must_be_stopped) {
    int tasks[PROC_TASKS_MAX];
    size_t task_count = proc_list_tasks(pid, tasks);
    bool waits = false;
    if (task_count == PROC_TASKS_MAX)
        return TASK_WORKS;
    for (size_t i = 0; i < task_count; i++) {
        unsigned long long cpu_ticks;
        char state = proc_state(pid, tasks[i], &cpu_ticks);
        task_look_t look = look_at_task(probe, pid, tasks[i], state);
        if (look == TASK_WORKS || (must_be_stopped && state != 'T' && !is_gone(state)))
            return TASK_WORKS;
        waits = waits || look == TASK_WAITS;
    }
    return waits ? TASK_WAITS : TASK_RESTS;
}

static bool is_idle(const probe_t *probe, bool is_stopped) {
    pid_t pids[PROC_PROCESSES_MAX];
    size_t process_count = proc_list_instance(probe->pid, pids);
    bool waits = false;
    if (process_count == PROC_PROCESSES_MAX)
        return false;
    for (size_t i = 0; i < process_count; i++) {
        bool must_be_stopped = is_stopped && getpgid(pids[i]) == probe->pid;
        task_look_t look = look_at_process(probe, pids[i], must_be_stopped);
        if (look == TASK_WORKS)
            return false;
        waits = waits || look == TASK_WAITS;
    }
    return waits && !(is_stopped ? accepted_is_held(probe, pids, process_count)
                                 : accepted_is_seen(probe, pids, process_count, true));
}

bool probe_seems_idle(const probe_t *probe) {
    return is_idle(probe, false);
}

bool probe_is_idle(const probe_t *probe) {
    return is_idle(probe, true);
}
