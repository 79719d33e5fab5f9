/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop on epoll. A port to another system replaces this file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "forker/loop.h"

#define BATCH 64

static int epoll_fd = -1;

int loop_open(void) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return epoll_fd < 0 ? -1 : 0;
}

void loop_turn(int timeout_ms) {
    struct epoll_event events[BATCH];
    int count = epoll_wait(epoll_fd, events, BATCH, timeout_ms);
    if (count < 0 && errno != EINTR) {
        fprintf(stderr, "usher-forker: epoll_wait: %s\n", strerror(errno));
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        watch_t *watch = events[i].data.ptr;
        if (watch->fd >= 0) /* an earlier event of this turn may have closed it */
            watch->on_event(watch, (events[i].events & (EPOLLHUP | EPOLLERR)) != 0);
    }
}

static int control(watch_t *watch, int operation) {
    struct epoll_event event = {.events = (watch->readable ? EPOLLIN : 0u) |
                                          (watch->writable ? EPOLLOUT : 0u),
                                .data = {.ptr = watch}};
    return epoll_ctl(epoll_fd, operation, watch->fd, &event);
}

static bool is_watched(const watch_t *watch) {
    return watch->readable || watch->writable;
}

/* A descriptor that nothing is wanted of is taken out: it would tell its end again and again. */
int watch_change(watch_t *watch, bool readable, bool writable) {
    if (watch->fd < 0 || (watch->readable == readable && watch->writable == writable))
        return 0;
    bool was_watched = is_watched(watch);
    watch->readable = readable;
    watch->writable = writable;
    if (!is_watched(watch))
        return control(watch, EPOLL_CTL_DEL);
    return control(watch, was_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD);
}

/* A process that is just becoming a program may have this end for a moment more: that would keep it in
 * epoll, where it is of a program that we have forgotten. */
void watch_close(watch_t *watch) {
    if (watch->fd < 0)
        return;
    watch_change(watch, false, false);
    close(watch->fd);
    watch->fd = -1;
}
