/* SPDX-License-Identifier: Apache-2.0 */
/* os.h on Linux 6.1 and later. */
#include "os/os.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ull
#define ATTRIBUTE_HEADER sizeof(struct nlattr) /* NLA_HDRLEN is of type int */

static uint64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

uint64_t usher_os_now_ns(void) {
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t usher_os_coarse_now_ns(void) {
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

/* No FUTEX_PRIVATE_FLAG: the words lie in mappings that several processes share. */
int usher_os_futex_wait(const void *word, uint32_t value, uint64_t timeout_ns) {
    if (timeout_ns == 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / SECOND_NS),
                               .tv_nsec = (long)(timeout_ns % SECOND_NS)};
    return (int)syscall(SYS_futex, word, FUTEX_WAIT, value, &timeout, NULL, 0);
}

int usher_os_futex_wake(const void *word, int count) {
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static int set_byte_lock(int fd, off_t offset, short type) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0) {
        return 0;
    }
    if (errno == EACCES) { /* POSIX allows either */
        errno = EAGAIN;
    }
    return -1;
}

int usher_os_lock_byte(int fd, off_t offset) {
    return set_byte_lock(fd, offset, F_WRLCK);
}

int usher_os_unlock_byte(int fd, off_t offset) {
    return set_byte_lock(fd, offset, F_UNLCK);
}

int usher_os_byte_is_locked(int fd, off_t offset) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 1};
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0) {
        return -1;
    }
    return lock.l_type == F_UNLCK ? 0 : 1;
}

off_t usher_os_locked_byte(int fd, off_t offset) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = offset, .l_len = 0};
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type == F_UNLCK) {
        return -1;
    }
    return lock.l_start > offset ? lock.l_start : offset;
}

int usher_os_pidfd_open(pid_t pid) {
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

typedef struct {
    void (*run)(void *);
    void *argument;
    int status;
} spawned_t;

static int begin_spawned(void *given) {
    const spawned_t *spawned = given;
    spawned->run(spawned->argument);
    _exit(spawned->status);
}

pid_t usher_os_spawn(void (*run)(void *), void *argument, void *stack, size_t stack_bytes,
                     int status, int *pidfd) {
#ifdef __SANITIZE_ADDRESS__
    /* A child that execs leaves its marks on the stack to the next one. */
    __asan_unpoison_memory_region(stack, stack_bytes);
#endif
    spawned_t spawned = {.run = run, .argument = argument, .status = status};
    return clone(begin_spawned, (char *)stack + stack_bytes,
                 CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &spawned, pidfd);
}

int usher_os_pidfd_send_signal(int pidfd, int signal) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

int usher_os_close_range(unsigned first, unsigned last) {
    return (int)syscall(SYS_close_range, first, last, 0);
}

int usher_os_pidfd_getfd(int pidfd, int fd) {
    return (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
}

int usher_os_close_range_at_exec(unsigned first, unsigned last) {
    return (int)syscall(SYS_close_range, first, last, CLOSE_RANGE_CLOEXEC);
}

int usher_os_set_pipe_size(int fd, int bytes) {
    return fcntl(fd, F_SETPIPE_SZ, bytes) < 0 ? -1 : 0;
}

int usher_os_set_no_new_privs(void) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int usher_os_drop_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ||
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) {
        return -1;
    }
    return (int)syscall(SYS_capset, &header, none);
}

int usher_os_set_parent_death_signal(int signal) {
    return prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0);
}

int usher_os_set_name(const char *name) {
    return prctl(PR_SET_NAME, name, 0, 0, 0);
}

int usher_os_become_subreaper(void) {
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

static int ask_unix_diag(int netlink, uint32_t inode) {
    struct {
        struct nlmsghdr header;
        struct unix_diag_req body;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = AF_UNIX,
                 .udiag_states = UINT32_MAX,
                 .udiag_ino = inode,
                 .udiag_show = UDIAG_SHOW_RQLEN,
                 .udiag_cookie = {UINT32_MAX, UINT32_MAX}}, /* any socket with this inode */
    };
    return send(netlink, &request, sizeof(request), 0) < 0 ? -1 : 0;
}

/* The accept queue in one answer of unix_diag: for a listener udiag_rqueue counts connections. */
static int read_queue_length(const uint8_t *answer, size_t length) {
    struct nlmsghdr header;
    if (length < sizeof(header)) {
        errno = EPROTO;
        return -1;
    }
    memcpy(&header, answer, sizeof(header));
    if (header.nlmsg_type == NLMSG_ERROR) {
        struct nlmsgerr failure;
        if (length < NLMSG_HDRLEN + sizeof(failure)) {
            errno = EPROTO;
            return -1;
        }
        memcpy(&failure, answer + NLMSG_HDRLEN, sizeof(failure));
        errno = failure.error ? -failure.error : EPROTO;
        return -1;
    }
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct unix_diag_msg));
    while (at + sizeof(struct nlattr) <= length) {
        struct nlattr attribute;
        memcpy(&attribute, answer + at, sizeof(attribute));
        if (attribute.nla_len < sizeof(attribute) || at + attribute.nla_len > length) {
            break;
        }
        struct unix_diag_rqlen queue;
        if (attribute.nla_type == UNIX_DIAG_RQLEN &&
            attribute.nla_len >= ATTRIBUTE_HEADER + sizeof(queue)) {
            memcpy(&queue, answer + at + ATTRIBUTE_HEADER, sizeof(queue));
            return queue.udiag_rqueue > INT_MAX ? INT_MAX : (int)queue.udiag_rqueue;
        }
        at += (attribute.nla_len + 3u) & ~3u; /* NLA_ALIGN, which is an int, too */
    }
    errno = EPROTO;
    return -1;
}

int usher_os_accept_queue(uint32_t inode) {
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink < 0) {
        return -1;
    }
    int queue = -1;
    uint8_t answer[1024];
    if (ask_unix_diag(netlink, inode) == 0) {
        ssize_t length = recv(netlink, answer, sizeof(answer), 0);
        if (length >= 0) {
            queue = read_queue_length(answer, (size_t)length);
        }
    }
    int error = errno;
    close(netlink);
    errno = error;
    return queue;
}

int usher_os_peer(int fd, usher_os_peer_t *peer) {
    struct ucred credentials;
    socklen_t length = sizeof(credentials);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0) {
        return -1;
    }
    if (credentials.pid == 0 && credentials.uid == (uid_t)-1) { /* it has none */
        errno = ENOTCONN;
        return -1;
    }
    *peer = (usher_os_peer_t){.pid = credentials.pid, .uid = credentials.uid};
    return 0;
}
