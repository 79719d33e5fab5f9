/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher's end of a link, for tests of the manager's: starts PROGRAM with a SOCK_SEQPACKET
 * socket as its descriptor 3 and does what the packets that come say.
 *
 *   link_helper PROGRAM ARGUMENT…
 *
 *   echo …       the same packet comes back
 *   descriptor   comes back with two descriptors: the ends of a pipe
 *   burst        100 packets "burst N", then this end is closed; the next packet stays unread
 *   deaf         reads no more
 *
 * Ends as a shell would: with PROGRAM's exit status, or 128 + its signal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/protocol.h"

static void die(const char *what) {
    perror(what);
    exit(99);
}

static void send_descriptors(int link) {
    int fds[2];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct iovec vector = {.iov_base = (char *)"descriptor", .iov_len = strlen("descriptor")};
    struct msghdr message = {.msg_iov = &vector,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    if (pipe(fds) < 0)
        die("pipe");
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
    if (sendmsg(link, &message, 0) < 0)
        die("sendmsg");
    close(fds[0]);
    close(fds[1]);
}

static void burst(int link) {
    char byte;
    recv(link, &byte, 1, MSG_PEEK);
    for (int i = 0; i < 100; i++) {
        char text[32];
        int length = snprintf(text, sizeof text, "burst %d", i);
        if (send(link, text, (size_t)length, 0) < 0)
            die("send");
    }
}

static void serve(int link) {
    static char packet[USHER_MESSAGE_MAX];
    ssize_t length;
    while ((length = recv(link, packet, sizeof packet, 0)) > 0) {
        if (memcmp(packet, "echo", 4) == 0) {
            if (send(link, packet, (size_t)length, 0) < 0)
                die("send");
        } else if (memcmp(packet, "desc", 4) == 0) {
            send_descriptors(link);
        } else {
            if (memcmp(packet, "burs", 4) == 0) {
                burst(link);
                close(link);
            }
            return;
        }
    }
}

int main(int count, char **words) {
    int ends[2], status;
    if (count < 2)
        return 2;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        die("socketpair");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        int copy = dup(ends[1]); /* dup2 onto itself would keep close-on-exec */
        dup2(copy, USHER_MANAGER_LINK_FD);
        close(copy);
        execvp(words[1], words + 1);
        die(words[1]);
    }
    close(ends[1]);
    serve(ends[0]);
    if (waitpid(child, &status, 0) < 0)
        die("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
