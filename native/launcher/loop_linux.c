/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop on epoll, signalfd and timerfd. A port to another system replaces this file. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "launcher/log.h"
#include "launcher/loop.h"
#include "os/os.h"

#define BATCH 64

static int epoll_fd = -1;
static struct epoll_event batch[BATCH];
static int batch_length;
static bool stopped;
static int stop_code;
static void (*handle_signal)(int signal);

/* ---- timers: a binary heap, and one timerfd for its first element --------------------------- */

static alarm_t **heap;
static size_t heap_length, heap_capacity;
static uint64_t armed_ns; /* what the timerfd is set to; 0 = nothing */

static void heap_put(size_t place, alarm_t *alarm) {
    heap[place - 1] = alarm;
    alarm->place = place;
}

static void heap_rise(size_t place) {
    alarm_t *alarm = heap[place - 1];
    while (place > 1 && heap[place / 2 - 1]->due_ns > alarm->due_ns) {
        heap_put(place, heap[place / 2 - 1]);
        place /= 2;
    }
    heap_put(place, alarm);
}

static void heap_sink(size_t place) {
    alarm_t *alarm = heap[place - 1];
    for (;;) {
        size_t child = place * 2;
        if (child > heap_length)
            break;
        if (child < heap_length && heap[child]->due_ns < heap[child - 1]->due_ns)
            child++;
        if (heap[child - 1]->due_ns >= alarm->due_ns)
            break;
        heap_put(place, heap[child - 1]);
        place = child;
    }
    heap_put(place, alarm);
}

void alarm_cancel(alarm_t *alarm) {
    size_t place = alarm->place;
    if (place == 0)
        return;
    alarm->place = 0;
    alarm_t *last = heap[--heap_length];
    if (last == alarm)
        return;
    heap_put(place, last);
    heap_rise(place);
    heap_sink(last->place);
}

void alarm_set(alarm_t *alarm, uint64_t due_ns) {
    alarm_cancel(alarm);
    if (heap_length == heap_capacity) {
        size_t capacity = heap_capacity == 0 ? 64 : heap_capacity * 2;
        alarm_t **grown = realloc(heap, capacity * sizeof(*heap));
        if (grown == NULL) {
            log_error("launcher.failed", "error", "no memory for a timer", NULL);
            abort();
        }
        heap = grown;
        heap_capacity = capacity;
    }
    alarm->due_ns = due_ns;
    heap_put(++heap_length, alarm);
    heap_rise(heap_length);
}

static void run_due_alarms(void) {
    uint64_t now = usher_os_now_ns();
    while (heap_length > 0 && heap[0]->due_ns <= now && !stopped) {
        alarm_t *alarm = heap[0];
        alarm_cancel(alarm);
        alarm->on_due(alarm);
    }
}

static void on_timer(watch_t *watch) {
    uint64_t expirations;
    ssize_t length = read(watch->fd, &expirations, sizeof(expirations));
    (void)length;
    armed_ns = 0;
}

static watch_t timer_watch = {.fd = -1, .on_event = on_timer};

static void arm_timer(void) {
    uint64_t due = heap_length > 0 ? heap[0]->due_ns : 0;
    if (due == armed_ns)
        return;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(due / NS_PER_S), .tv_nsec = (long)(due % NS_PER_S)}};
    timerfd_settime(timer_watch.fd, TFD_TIMER_ABSTIME, &when, NULL);
    armed_ns = due;
}

/* ---- signals ------------------------------------------------------------------------------- */

static void on_signalfd(watch_t *watch) {
    struct signalfd_siginfo info;
    while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        handle_signal((int)info.ssi_signo);
}

static watch_t signal_watch = {.fd = -1, .on_event = on_signalfd};

/* ---- descriptors --------------------------------------------------------------------------- */

int watch_start(watch_t *watch) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = watch}};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, watch->fd, &event);
}

void watch_writable(watch_t *watch, bool wanted) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = watch}};
    if (wanted)
        event.events |= EPOLLOUT;
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void watch_stop(watch_t *watch) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < batch_length; i++) {
        if (batch[i].data.ptr == watch)
            batch[i].data.ptr = NULL;
    }
}

int loop_open(void (*on_signal)(int signal)) {
    handle_signal = on_signal;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return -1;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_watch.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    signal_watch.fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (epoll_fd < 0 || timer_watch.fd < 0 || signal_watch.fd < 0)
        return -1;
    return watch_start(&timer_watch) < 0 || watch_start(&signal_watch) < 0 ? -1 : 0;
}

int loop_run(void) {
    while (!stopped) {
        arm_timer();
        batch_length = epoll_wait(epoll_fd, batch, BATCH, -1);
        for (int i = 0; i < batch_length && !stopped; i++) {
            watch_t *watch = batch[i].data.ptr;
            if (watch != NULL)
                watch->on_event(watch);
        }
        batch_length = 0;
        run_due_alarms();
    }
    return stop_code;
}

void loop_stop(int exit_code) {
    stopped = true;
    stop_code = exit_code;
}
