/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/handover.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher/proc.h"
#include "os/os.h"

#define DESCRIPTORS_MAX 65536

static int received[DESCRIPTORS_MAX]; /* -1 = taken */
static size_t received_count;

static bool listens(int fd) {
    int answer = 0;
    socklen_t length = sizeof(answer);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &answer, &length) == 0 && answer != 0;
}

/* An end of a stream socket pair; connections that were accepted have the listener's name. */
static bool is_link(int fd) {
    struct sockaddr_un name = {.sun_family = AF_UNSPEC};
    socklen_t name_length = sizeof(name), length = sizeof(int);
    int type = 0;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM &&
           getsockname(fd, (struct sockaddr *)&name, &name_length) == 0 &&
           name.sun_family == AF_UNIX && name_length == sizeof(name.sun_family) && !listens(fd);
}

/* The lock is a regular file; what else is one is taken by nobody and closed again. */
static bool is_handed_over(int fd) {
    struct stat status;
    if (fd <= STDERR_FILENO || fstat(fd, &status) < 0)
        return false;
    return S_ISREG(status.st_mode) || (S_ISSOCK(status.st_mode) && (listens(fd) || is_link(fd)));
}

static void set_flags(int flags) {
    static int fds[DESCRIPTORS_MAX];
    size_t count = proc_list_numbers("/proc/self/fd", fds, DESCRIPTORS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (is_handed_over(fds[i]))
            fcntl(fds[i], F_SETFD, flags);
    }
}

void handover_begin(void) {
    set_flags(0);
}

void handover_cancel(void) {
    set_flags(FD_CLOEXEC);
}

void handover_receive(void) {
    usher_os_close_range_at_exec(STDERR_FILENO + 1, ~0u);
    size_t count = proc_list_numbers("/proc/self/fd", received, DESCRIPTORS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (is_handed_over(received[i]))
            received[received_count++] = received[i];
    }
}

static int take(size_t i) {
    int fd = received[i];
    received[i] = -1;
    return fd;
}

static int take_inode(uint32_t inode, bool (*is_kind)(int fd)) {
    struct stat status;
    for (size_t i = 0; i < received_count; i++) {
        if (received[i] >= 0 && fstat(received[i], &status) == 0 && S_ISSOCK(status.st_mode) &&
            (uint32_t)status.st_ino == inode && is_kind(received[i]))
            return take(i);
    }
    return -1;
}

int handover_take_socket(uint32_t inode) {
    return take_inode(inode, listens);
}

int handover_take_link(uint32_t inode) {
    return take_inode(inode, is_link);
}

int handover_take_socket_at(const char *path) {
    for (size_t i = 0; i < received_count; i++) {
        struct sockaddr_un name = {.sun_family = AF_UNSPEC};
        socklen_t length = sizeof(name);
        if (received[i] >= 0 && getsockname(received[i], (struct sockaddr *)&name, &length) == 0 &&
            name.sun_family == AF_UNIX && strncmp(name.sun_path, path, sizeof(name.sun_path)) == 0)
            return take(i);
    }
    return -1;
}

int handover_take_file(int folder, const char *name) {
    struct stat wanted, status;
    if (fstatat(folder, name, &wanted, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    for (size_t i = 0; i < received_count; i++) {
        if (received[i] >= 0 && fstat(received[i], &status) == 0 &&
            status.st_dev == wanted.st_dev && status.st_ino == wanted.st_ino)
            return take(i);
    }
    return -1;
}

void handover_end(void) {
    for (size_t i = 0; i < received_count; i++) {
        if (received[i] >= 0)
            close(received[i]);
    }
    received_count = 0;
}
