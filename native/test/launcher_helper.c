/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the launcher starts in its tests. As manager (the words usherd is given) it hands descriptor
 * 3 to the test and waits to be let go; as program it does with its endpoint what its first word
 * says, as gateway what it is told through its link.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(const char *ms) {
    unsigned long value = ms == NULL ? 0 : strtoul(ms, NULL, 10);
    nanosleep(&(struct timespec){.tv_sec = (time_t)(value / 1000),
                                 .tv_nsec = (long)(value % 1000) * 1000000},
              NULL);
}

/* ---- manager ------------------------------------------------------------------------------- */

static int manage(const char *meeting) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", meeting);
    int test = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (connect(test, (struct sockaddr *)&address, sizeof(address)) < 0)
        return 1;
    char text[64], control[CMSG_SPACE(sizeof(int))] = {0};
    int length = snprintf(text, sizeof(text), "manager%cpid=%d%c", 0, getpid(), 0);
    struct iovec part = {.iov_base = text, .iov_len = (size_t)length};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &(int){3}, sizeof(int));
    if (sendmsg(test, &header, 0) < 0)
        return 1;
    close(3);
    ssize_t got = read(test, text, sizeof(text)); /* the test lets go */
    return got < 0;
}

/* As `usherd --allow FILE`: what stands in the file is the answer, but for an exit code alone. */
static int tell_allowed(const char *file) {
    char text[4096];
    int code = 0, fd = open(file, O_RDONLY);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (length < 0)
        return 1;
    text[length] = '\0';
    if (sscanf(text, "exit %d", &code) == 1)
        return code;
    return write(1, text, (size_t)length) != length;
}

/* ---- programs ------------------------------------------------------------------------------ */

static void answer(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    char text[32];
    int length = snprintf(text, sizeof(text), "%d\n", getpid());
    ssize_t written = write(fd, text, (size_t)length);
    (void)written;
    close(fd);
}

static void serve(const char *delay_ms) {
    sleep_ms(delay_ms);
    for (;;)
        answer(0);
}

static void *serve_in_thread(void *delay_ms) {
    serve(delay_ms);
    return NULL;
}

static void serve_on_thread(const char *delay_ms) {
    pthread_t thread;
    pthread_create(&thread, NULL, serve_in_thread, (void *)(uintptr_t)delay_ms);
    pthread_join(thread, NULL);
}

/* Writes so many kilobytes and a line before it answers a connection. */
static void talk(const char *kilobytes) {
    static char bytes[1024];
    memset(bytes, 'x', sizeof(bytes));
    bytes[sizeof(bytes) - 1] = '\n';
    for (int turn = 1;; turn++) {
        struct pollfd next = {.fd = 0, .events = POLLIN};
        poll(&next, 1, -1);
        for (long i = atol(kilobytes); i > 0; i--) {
            if (write(1, bytes, sizeof(bytes)) < 0)
                exit(1);
        }
        printf("turn %d\n", turn);
        fflush(stdout);
        answer(0);
    }
}

static void serve_by_poll(void) {
    for (;;) {
        struct pollfd fds[] = {{.fd = -1}, {.fd = 0, .events = POLLIN}};
        if (poll(fds, 2, -1) > 0)
            answer(0);
    }
}

static void serve_by_select(void) {
    int high = fcntl(0, F_DUPFD, 70);
    close(0);
    for (;;) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(high, &set);
        if (select(high + 1, &set, NULL, NULL, NULL) > 0)
            answer(high);
    }
}

static void serve_by_epoll(void) {
    int other = dup(0);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, other, &event);
    close(0);
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) > 0)
            answer(other);
    }
}

static void add_to(int epoll, int fd, uint32_t events) {
    struct epoll_event event = {.events = events};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        exit(1);
}

/* What was added is closed; its number is another file's, or nothing's. */
static void serve_by_former_number(const char *how) {
    int epoll = epoll_create1(0), added = dup(0);
    struct epoll_event event;
    add_to(epoll, added, EPOLLIN);
    if (strcmp(how, "reused") == 0)
        dup2(1, added);
    else
        close(added);
    for (;;) {
        if (epoll_wait(epoll, &event, 1, -1) > 0)
            answer(0);
    }
}

/* Sleeps in epoll_wait(), but not for its endpoint. */
static void epoll_elsewhere(const char *how) {
    int ends[2], epoll = epoll_create1(0), other = epoll_create1(0);
    struct epoll_event event;
    if (pipe(ends) < 0)
        exit(1);
    add_to(epoll, ends[0], EPOLLIN);
    if (strcmp(how, "muted") == 0)
        add_to(epoll, 0, 0); /* only a hang-up would be told */
    else if (strcmp(how, "other") == 0)
        add_to(other, 0, EPOLLIN);
    else { /* a former endpoint's number */
        int former = dup(0);
        close(0);
        dup2(ends[0], 0);
        add_to(epoll, 0, EPOLLIN);
        dup2(former, 0);
        close(former);
    }
    epoll_wait(epoll, &event, 1, -1);
}

static void serve_by_children(const char *count) {
    for (int i = 0; i < atoi(count); i++) {
        if (fork() == 0)
            serve(NULL);
    }
    for (;;)
        wait(NULL);
}

/* Takes one connection after the other and keeps each until its client goes. */
static void hold(const char *how) {
    for (;;) {
        char byte;
        if (strcmp(how, "poll") == 0)
            poll(&(struct pollfd){.fd = 0, .events = POLLIN}, 1, -1);
        int fd = accept(0, NULL, NULL);
        while (fd >= 0 && read(fd, &byte, 1) > 0)
            continue;
        close(fd);
    }
}

static void *hold_in_thread(void *how) {
    hold(how);
    return NULL;
}

static void hold_in_some_way(const char *how) {
    pthread_t thread;
    if (strcmp(how, "thread") == 0) {
        pthread_create(&thread, NULL, hold_in_thread, (void *)(uintptr_t) "");
        pthread_join(thread, NULL);
    } else if (strcmp(how, "children") == 0) {
        if (fork() != 0)
            while (wait(NULL) > 0)
                continue;
    }
    hold(how);
}

/* Keeps all connections until their clients go, and waits for the next one meanwhile. */
static void gather(void) {
    struct pollfd fds[64] = {{.fd = 0, .events = POLLIN}};
    for (nfds_t count = 1;;) {
        poll(fds, count, -1);
        for (nfds_t i = count; --i > 0;) {
            char byte;
            if (fds[i].revents == 0 || read(fds[i].fd, &byte, 1) > 0)
                continue;
            close(fds[i].fd);
            fds[i] = fds[--count];
        }
        if (fds[0].revents != 0 && count < sizeof(fds) / sizeof(fds[0]))
            fds[count++] = (struct pollfd){.fd = accept(0, NULL, NULL), .events = POLLIN};
    }
}

/* Takes one connection, lets it go, and works on. */
static void work_after_answer(void) {
    answer(0);
    for (volatile int i = 0;; i = !i)
        continue;
}

/* Takes one connection and computes for ever. */
static void take_and_spin(const char *delay_ms) {
    sleep_ms(delay_ms);
    int fd = accept(0, NULL, NULL);
    for (volatile int i = 0; fd >= 0; i = !i)
        continue;
}

/* Sleep in poll() and accept() for something that is not the endpoint. */
static void poll_elsewhere(void) {
    int ends[2];
    if (pipe(ends) == 0)
        poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, -1);
}

static void accept_elsewhere(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX}; /* an abstract name the kernel chooses */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t));
    listen(fd, 1);
    accept(fd, NULL, NULL);
}

static void serve_hidden(const char *delay_ms) {
    prctl(PR_SET_DUMPABLE, 0);
    for (volatile int i = 0; i < 1000000; i++)
        continue;
    serve(delay_ms);
}

/* Makes its own socket, as a servlet engine does, and says whom it has served. */
static void listen_at(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    unlink(path);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 8) < 0)
        exit(1);
    for (int turn = 0;; turn++) {
        printf("served %d\n", turn);
        fflush(stdout);
        answer(listener);
    }
}

/* Dies at its first life, as the file tells, before it accepts. */
static void die_once(const char *flag) {
    if (access(flag, F_OK) == 0)
        serve(NULL);
    close(open(flag, O_CREAT | O_WRONLY, 0600));
    exit(7);
}

static void flood(const char *kilobytes) {
    static char bytes[1024];
    memset(bytes, 'x', sizeof(bytes));
    bytes[sizeof(bytes) - 1] = '\n';
    for (long i = atol(kilobytes); i != 0; i--) {
        if (write(1, bytes, sizeof(bytes)) < 0)
            exit(1);
    }
    printf("end of flood\n");
}

/* A process of the group that ignores TERM and outlives the main one. */
static void leave_child_behind(const char *how) {
    int said[2];
    char byte;
    if (pipe2(said, O_CLOEXEC) < 0)
        exit(1);
    if (fork() == 0) {
        signal(SIGTERM, SIG_IGN);
        if (strcmp(how, "session") == 0)
            setsid();
        printf("child %d\n", getpid());
        fflush(stdout);
        close(said[0]);
        close(said[1]);
        if (strcmp(how, "talking") == 0)
            flood("-1");
        pause();
    }
    close(said[1]);
    while (read(said[0], &byte, 1) > 0)
        continue;
    sleep_ms("100");
}

/* ---- report -------------------------------------------------------------------------------- */

static void print_status(const char *name) {
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0)
            printf("%s", line);
    }
    if (status != NULL)
        fclose(status);
}

static void report(char **environment) {
    char cwd[256];
    printf("cwd %s\n", getcwd(cwd, sizeof(cwd)));
    for (; *environment != NULL; environment++)
        printf("env %s\n", *environment);
    for (int fd = 0; fd < 100; fd++) {
        struct stat status;
        if (fstat(fd, &status) == 0)
            printf("fd %d %s%s\n", fd,
                   S_ISSOCK(status.st_mode)   ? "socket"
                   : S_ISFIFO(status.st_mode) ? "pipe"
                                              : "other",
                   (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0 ? " nonblocking" : "");
    }
    mode_t mask = umask(0);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    printf("umask %03o\nuid %u %u gid %u %u\nsession %d\nnice %d\nfiles %llu\n", mask, getuid(),
           geteuid(), getgid(), getegid(),
           getsid(0) == getpid() && getpgrp() == getpid() && open("/dev/tty", O_RDWR) < 0,
           getpriority(PRIO_PROCESS, 0), (unsigned long long)files.rlim_cur);
    print_status("SigIgn");
    print_status("SigBlk");
    print_status("Groups");
    print_status("Cap");
    print_status("NoNewPrivs");
    if (getuid() != 0)
        printf("root %s\n", setuid(0) == 0 || seteuid(0) == 0 ? "regained" : "gone");
}

/* ---- gateway ------------------------------------------------------------------------------- */

static void obey(const char *line, char **arguments, char **environment) {
    char secret[8192];
    if (strncmp(line, "say ", 4) == 0) {
        dprintf(3, "%s\n", line + 4);
    } else if (strcmp(line, "arguments") == 0) {
        for (; *arguments != NULL; arguments++)
            dprintf(3, "[%s]", *arguments);
        dprintf(3, "\n");
    } else if (strcmp(line, "secret") == 0) {
        ssize_t length = read(4, secret, sizeof(secret));
        dprintf(3, "%zd %.*s\n", length, length > 0 ? (int)length : 0, secret);
    } else if (strcmp(line, "write secret") == 0) {
        dprintf(3, "%zd\n", write(4, "x", 1));
    } else if (strcmp(line, "report") == 0) {
        report(environment);
        fflush(stdout);
        dprintf(3, "reported\n");
    } else if (strcmp(line, "end") == 0) {
        exit(0);
    }
}

/* Answers connections as well, and when nobody holds the other end of the link any more says so once
 * and serves on. */
static void be_gateway(char **arguments, char **environment) {
    char line[256];
    FILE *link = fdopen(3, "r");
    setvbuf(link, NULL, _IONBF, 0); /* nothing that poll() does not see */
    for (struct pollfd fds[] = {{.fd = 0, .events = POLLIN}, {.fd = 3, .events = POLLIN}};;) {
        poll(fds, 2, -1);
        if (fds[0].revents != 0)
            answer(0);
        if (fds[1].fd < 0 || fds[1].revents == 0)
            continue;
        if (fgets(line, sizeof(line), link) != NULL) {
            line[strcspn(line, "\n")] = '\0';
            obey(line, arguments, environment);
        } else {
            printf("link ended\n");
            fflush(stdout);
            fds[1].fd = -1;
        }
    }
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

int main(int count, char **words, char **environment) {
    const char *role = count > 1 ? words[1] : "";
    const char *word = count > 2 ? words[2] : NULL;
    if (role[0] == '/' && word != NULL && strcmp(word, "--allow") == 0)
        return tell_allowed(words[3]);
    if (ends_with(role, "/main.js"))
        be_gateway(words + 2, environment);
    if (role[0] == '/')
        return manage(role);
    if (strcmp(role, "serve") == 0)
        serve(word);
    else if (strcmp(role, "talk") == 0)
        talk(word);
    else if (strcmp(role, "thread") == 0)
        serve_on_thread(word);
    else if (strcmp(role, "poll") == 0)
        serve_by_poll();
    else if (strcmp(role, "select") == 0)
        serve_by_select();
    else if (strcmp(role, "epoll") == 0)
        serve_by_epoll();
    else if (strcmp(role, "epoll-former") == 0)
        serve_by_former_number(word);
    else if (strcmp(role, "epoll-elsewhere") == 0)
        epoll_elsewhere(word);
    else if (strcmp(role, "children") == 0)
        serve_by_children(word);
    else if (strcmp(role, "hold") == 0)
        hold_in_some_way(word);
    else if (strcmp(role, "gather") == 0)
        gather();
    else if (strcmp(role, "work-after") == 0)
        work_after_answer();
    else if (strcmp(role, "spin") == 0)
        take_and_spin(word);
    else if (strcmp(role, "poll-elsewhere") == 0)
        poll_elsewhere();
    else if (strcmp(role, "accept-elsewhere") == 0)
        accept_elsewhere();
    else if (strcmp(role, "hidden") == 0)
        serve_hidden(word);
    else if (strcmp(role, "listen") == 0)
        listen_at(word);
    else if (strcmp(role, "die-once") == 0)
        die_once(word);
    else if (strcmp(role, "flood") == 0)
        flood(word);
    else if (strcmp(role, "leave-child") == 0)
        leave_child_behind(word);
    else if (strcmp(role, "report") == 0)
        report(environment);
    else
        return 64;
    return 0;
}
