/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that only Linux has. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "tap.h"

static void test_clocks(void) {
    uint64_t before = usher_os_now_ns();
    uint64_t coarse = usher_os_coarse_now_ns();
    uint64_t after = usher_os_now_ns();
    ok(before > 0 && after >= before, "the clock does not go back");
    ok(coarse <= after && after - coarse < 100000000, "the coarse one is a little late");
}

static void test_futex(void) {
    _Atomic uint32_t *word =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ok(usher_os_futex_wait(word, 1, 1000000000) == -1 && errno == EAGAIN, "another value: EAGAIN");
    ok(usher_os_futex_wait(word, 0, 0) == -1 && errno == ETIMEDOUT, "no time: ETIMEDOUT");
    ok(usher_os_futex_wait(word, 0, 1000000) == -1 && errno == ETIMEDOUT, "after 1 ms as well");
    is_int(usher_os_futex_wake(word, 1), 0, "nobody to wake");
    pid_t pid = fork();
    if (pid == 0) {
        _exit(usher_os_futex_wait(word, 0, 20000000000) == 0 ? 0 : 1);
    }
    while (usher_os_futex_wake(word, 1) == 0) {
        usleep(1000);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    is_int(status, 0, "another process is woken");
    munmap((void *)word, 4096);
}

static void test_byte_locks(void) {
    char path[] = "/tmp/usher-os-test-XXXXXX";
    int first = mkstemp(path);
    int second = open(path, O_RDWR | O_CLOEXEC);
    is_int(usher_os_lock_byte(first, 7), 0, "a byte is locked");
    is_int(usher_os_byte_is_locked(first, 7), 0, "its own description sees nobody else");
    is_int(usher_os_byte_is_locked(second, 7), 1, "another one does");
    is_int(usher_os_byte_is_locked(second, 8), 0, "but not the byte beside it");
    ok(usher_os_lock_byte(second, 7) == -1 && errno == EAGAIN, "nor can it lock it: EAGAIN");
    is_int(usher_os_lock_byte(second, 8), 0, "the other byte it can");
    is_int(usher_os_unlock_byte(first, 7), 0, "unlocked");
    is_int(usher_os_lock_byte(second, 7), 0, "then it can");
    close(second);
    is_int(usher_os_byte_is_locked(first, 7), 0, "locks end with their description");
    ok(usher_os_lock_byte(-1, 0) == -1 && errno == EBADF, "no descriptor: EBADF");
    close(first);
    unlink(path);
}

static void test_processes(void) {
    pid_t pid = fork();
    if (pid == 0) {
        usher_os_set_parent_death_signal(SIGKILL);
        pause();
        _exit(0);
    }
    int pidfd = usher_os_pidfd_open(pid);
    ok(pidfd >= 0, "a descriptor of a process");
    is_int(usher_os_pidfd_send_signal(pidfd, SIGTERM), 0, "takes a signal");
    int status = 0;
    waitpid(pid, &status, 0);
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM, "that reaches it");
    ok(usher_os_pidfd_send_signal(pidfd, SIGTERM) == -1 && errno == ESRCH, "then it is gone");
    close(pidfd);
    pid = fork();
    if (pid == 0) {
        int fd = dup(1), other = dup(1);
        _exit(usher_os_close_range((unsigned)fd, ~0u) == 0 && fcntl(other, F_GETFD) == -1 &&
                      usher_os_set_no_new_privs() == 0 &&
                      prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
                  ? 0
                  : 1);
    }
    waitpid(pid, &status, 0);
    is_int(status, 0, "descriptors closed, no new privileges");
}

static void change(void *given) {
    *(int *)given = getpid();
}

static void become_true(void *given) {
    execv("/bin/true", given);
}

static void test_spawn(void) {
    static char stack[64 << 10];
    int changed = 0, status = 0, pidfd = -1;
    pid_t pid = usher_os_spawn(change, &changed, stack, sizeof(stack), 9, &pidfd);
    is_int(changed, pid, "a child that has our memory, and has ended");
    ok(fcntl(pidfd, F_GETFD) == FD_CLOEXEC, "its descriptor is closed by exec");
    siginfo_t info = {.si_pid = 0};
    waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED);
    ok(info.si_pid == pid && info.si_code == CLD_EXITED && info.si_status == 9, "with its status");
    close(pidfd);
    char *arguments[] = {"true", NULL};
    pid = usher_os_spawn(become_true, arguments, stack, sizeof(stack), 9, &pidfd);
    ok(waitpid(pid, &status, 0) == pid && status == 0, "one that has become a program");
    close(pidfd);
}

static void test_accept_queue(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/usher-os-test-%d", getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), clients[3];
    ok(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0 &&
           listen(listener, 8) == 0,
       "a listener");
    struct stat facts;
    fstat(listener, &facts);
    uint32_t inode = (uint32_t)facts.st_ino;
    is_int(usher_os_accept_queue(inode), 0, "nobody waits in accept()");
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(clients[i], (struct sockaddr *)&address, sizeof(address)) != 0) {
            perror("# connect");
        }
    }
    is_int(usher_os_accept_queue(inode), 3, "three do");
    close(accept(listener, NULL, NULL));
    is_int(usher_os_accept_queue(inode), 2, "two do");
    for (int i = 0; i < 3; i++) {
        close(clients[i]);
    }
    close(listener);
    ok(usher_os_accept_queue(inode) == -1 && errno == ENOENT, "no such socket: ENOENT");
    unlink(address.sun_path);
}

/* What `listener` has when `clients` of 3 connections are accepted. */
static void has_connections(const char *path, uint16_t port, int listener,
                            const struct sockaddr *address, socklen_t length) {
    struct stat facts;
    fstat(listener, &facts);
    uint32_t inode = (uint32_t)facts.st_ino;
    usher_os_connections_t counts = {-1, -1};
    int clients[3], accepted[2];
    ok(listen(listener, 8) == 0 && usher_os_connections(path, port, inode, false, &counts) == 0 &&
           counts.waiting == 0 && counts.accepted == 0,
       "%s: no connections at first", path != NULL ? "UNIX" : "TCP");
    for (int i = 0; i < 3; i++) {
        clients[i] = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(clients[i], address, length) != 0) {
            perror("# connect");
        }
    }
    usher_os_connections(path, port, inode, false, &counts);
    is_int(counts.waiting * 10 + counts.accepted, 30, "three wait");
    for (int i = 0; i < 2; i++) {
        accepted[i] = accept(listener, NULL, NULL);
    }
    usher_os_connections(path, port, inode, false, &counts);
    is_int(counts.waiting * 10 + counts.accepted, 12, "one waits, two are accepted");
    if (path == NULL) {
        usher_os_connections(path, port, inode, true, &counts);
        is_int(counts.waiting * 10 + counts.accepted, 10, "only those that wait, when asked so");
    }
    close(clients[0]);
    usher_os_connections(path, port, inode, false, &counts);
    is_int(counts.accepted, 2, "a client that left still occupies the program");
    close(accepted[0]);
    close(accepted[1]);
    usher_os_connections(path, port, inode, false, &counts);
    is_int(counts.waiting * 10 + counts.accepted, 10, "closed ones do not count");
    close(listener);
    ok(usher_os_connections(path, port, inode, false, &counts) == -1 && errno == ENOENT,
       "no such socket: ENOENT");
    for (int i = 1; i < 3; i++) {
        close(clients[i]);
    }
}

static void test_connections(void) {
    struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
    snprintf(unix_address.sun_path, sizeof(unix_address.sun_path), "/tmp/usher-os-test-%d",
             getpid());
    struct sockaddr *any = (struct sockaddr *)&unix_address;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok(bind(listener, any, sizeof(unix_address)) == 0, "a UNIX socket");
    has_connections(unix_address.sun_path, 0, listener, any, sizeof(unix_address));
    unlink(unix_address.sun_path);

    struct sockaddr_in inet_address = {.sin_family = AF_INET,
                                       .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(inet_address);
    any = (struct sockaddr *)&inet_address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok(bind(listener, any, length) == 0 && getsockname(listener, any, &length) == 0,
       "a TCP socket");
    has_connections(NULL, ntohs(inet_address.sin_port), listener, any, length);
}

static void test_peer(void) {
    int ends[2];
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
    usher_os_peer_t peer;
    ok(usher_os_peer(ends[0], &peer) == 0 && peer.pid == getpid() && peer.uid == geteuid(),
       "who made the other end");
    close(ends[0]);
    close(ends[1]);
    ok(usher_os_peer(ends[0], &peer) == -1 && errno == EBADF, "no descriptor");
    int inet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ok(usher_os_peer(inet, &peer) == -1, "a socket whose peer is no process");
    close(inet);
}

int main(void) {
    alarm(60);
    test_clocks();
    test_futex();
    test_byte_locks();
    test_processes();
    test_spawn();
    test_accept_queue();
    test_connections();
    test_peer();
    return done_testing();
}
