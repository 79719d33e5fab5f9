/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client gets whose request was refused. A reason that tells of a start begins with the
 * start's id in brackets: "[k41x2mz3q] class …". Where the class has -show-errors, the manager has had
 * a page about its last failure put into the server's folder, by root.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/internal.h"

static bool is_digit_of_id(char byte) {
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z');
}

/* Bytes of the id that `reason` begins with; 0 = with none. */
static size_t id_length(const char *reason) {
    size_t length = 0;
    if (reason[0] != '[') {
        return 0;
    }
    while (is_digit_of_id(reason[1 + length])) {
        length++;
    }
    return length < USHER_START_ID_MAX && reason[1 + length] == ']' ? length : 0;
}

size_t usher_refused_text(const char *reason, char *text, size_t size) {
    size_t length = id_length(reason);
    if (length == 0) {
        return (size_t)snprintf(text, size, "503 Service Unavailable\n");
    }
    return (size_t)snprintf(text, size,
                            "503 Service Unavailable\n\nThe program that serves this cannot be "
                            "started now (start %.*s).\n",
                            (int)length, reason + 1);
}

static size_t read_page(int fd, char *page) {
    struct stat status;
    size_t length = 0;
    ssize_t bytes = 1;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > USHER_PAGE_MAX) {
        return 0;
    }
    while (length < USHER_PAGE_MAX && bytes > 0) {
        bytes = read(fd, page + length, USHER_PAGE_MAX - length);
        if (bytes > 0) {
            length += (size_t)bytes;
        } else if (bytes < 0 && errno == EINTR) {
            bytes = 1;
        }
    }
    return bytes < 0 ? 0 : length;
}

size_t usher_refused_page(const usher_channel_t *channel, const usher_request_t *request,
                          char page[USHER_PAGE_MAX]) {
    char path[USHER_ADDRESS_MAX + 64];
    if (id_length(request->reason) == 0 || request->class_ref.generation == 0) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s" USHER_PAGE_NAME, channel->socket_dir,
             request->class_ref.index, request->class_ref.generation);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    size_t length = read_page(fd, page);
    close(fd);
    return length;
}
