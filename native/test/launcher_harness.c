/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher_harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

#define PACKET_MAX 131072
#define NOBODY 65534

__attribute__((noreturn, format(printf, 1, 2))) static void bail_out(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("Bail out! ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    fflush(stdout);
    exit(1);
}

uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void sleep_ms(unsigned ms) {
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000},
              NULL);
}

/* ---- files --------------------------------------------------------------------------------- */

bool exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

void make_file(const char *path, const char *content, unsigned mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, content, strlen(content)) < 0 || fchmod(fd, mode) < 0)
        bail_out("write %s: %s", path, strerror(errno));
    close(fd);
}

static void make_folder(const char *path) {
    if ((mkdir(path, 0755) < 0 && errno != EEXIST) || chmod(path, 0755) < 0)
        bail_out("mkdir %s: %s", path, strerror(errno));
}

static void copy_program(const char *from, const char *to) {
    static char bytes[65536];
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    if (in < 0 || out < 0)
        bail_out("copy %s to %s: %s", from, to, strerror(errno));
    ssize_t length;
    while ((length = read(in, bytes, sizeof(bytes))) > 0) {
        if (write(out, bytes, (size_t)length) != length)
            bail_out("write %s: %s", to, strerror(errno));
    }
    fchmod(out, 0755);
    close(in);
    close(out);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static int open_up(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)walk;
    return kind == FTW_D ? chmod(path, 0700) : 0;
}

static void remove_tree(const char *path) {
    nftw(path, open_up, 16, FTW_PHYS);
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The build may lie where only its owner may enter. */
static char programs[64];

static void remove_programs(void) {
    remove_tree(programs);
}

static const char *program(const char *name, const char *built) {
    static char paths[2][128];
    static int used;
    if (programs[0] == '\0') {
        strcpy(programs, "/tmp/usher-programs-XXXXXX");
        if (mkdtemp(programs) == NULL || chmod(programs, 0755) < 0)
            bail_out("mkdtemp: %s", strerror(errno));
        atexit(remove_programs);
    }
    char *path = paths[used++ % 2];
    snprintf(path, sizeof(paths[0]), "%s/%s", programs, name);
    if (!exists(path))
        copy_program(built, path);
    return path;
}

const char *launcher_program(void) {
    return program("usher-launcher", USHER_TEST_BUILD "/usher-launcher");
}

const char *helper_program(void) {
    return program("launcher_helper", USHER_TEST_BUILD "/test/launcher_helper");
}

const char *read_all(int fd, int timeout_ms) {
    static char text[262144];
    size_t length = 0;
    uint64_t until = now_ms() + (uint64_t)timeout_ms;
    for (;;) {
        uint64_t now = now_ms();
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (now >= until || poll(&wait, 1, (int)(until - now)) <= 0)
            return NULL;
        ssize_t got = read(fd, text + length, sizeof(text) - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    text[length] = '\0';
    return text;
}

const char *read_text(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const char *text = fd < 0 ? "" : read_all(fd, 1000);
    if (fd >= 0)
        close(fd);
    return text;
}

int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

const char *converse(const char *path, int timeout_ms) {
    int fd = connect_to(path);
    if (fd < 0)
        return NULL;
    const char *text = read_all(fd, timeout_ms);
    close(fd);
    return text;
}

int count_open_files(pid_t pid) {
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    int count = folder == NULL ? -1 : 0;
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

bool is_alive(pid_t pid) {
    char path[64], state;
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    const char *name_end = strrchr(read_text(path), ')');
    return name_end != NULL && sscanf(name_end + 1, " %c", &state) == 1 && state != 'Z' &&
           state != 'X';
}

/* ---- packets ------------------------------------------------------------------------------- */

const char *f(const char *format, ...) {
    static char texts[16][1024];
    static unsigned next;
    char *text = texts[next++ % 16];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(texts[0]), format, arguments);
    va_end(arguments);
    return text;
}

void tell_bytes(launcher_t *launcher, const char *bytes, size_t length) {
    if (send(launcher->link, bytes, length, MSG_NOSIGNAL) < 0)
        bail_out("send to the launcher: %s; its log:\n%s", strerror(errno),
                 read_text(launcher->log));
}

/* ---- what is allowed ----------------------------------------------------------------------- */

void allow(launcher_t *launcher, const char *name, const char *text) {
    char draft[128], path[192]; /* not f(): callers have its texts in their hands */
    snprintf(draft, sizeof(draft), "%s/servers/draft", launcher->runtime);
    snprintf(path, sizeof(path), "%s/servers/%s", launcher->runtime, name);
    make_file(draft, text, 0600);
    if (rename(draft, path) < 0)
        bail_out("write %s: %s", path, strerror(errno));
}

/* Is this block, as a whole, one of those? */
static bool has_block(const char *blocks, const char *block) {
    for (const char *at = blocks; at != NULL && (at = strstr(at, block)) != NULL; at++) {
        const char *next = at + strlen(block);
        if (*next == '\0' || strncmp(next, "program\n", 8) == 0)
            return true;
    }
    return false;
}

/* Fields of a start or bind as lines of an allow list. */
static void describe(FILE *block, const char *fields, const char *end) {
    static const char *const told[] = {
        "arg=", "env=",    "cwd=",    "user=",    "group=",  "nice=",   "limit=",
        "log=", "setuid=", "listen=", "gateway=", "secret=", "service="};
    enum { TOLD = sizeof(told) / sizeof(told[0]) };
    fprintf(block, "program\n");
    for (; fields < end; fields += strlen(fields) + 1) {
        size_t i = 0;
        while (i < TOLD && strncmp(fields, told[i], strlen(told[i])) != 0)
            i++;
        for (const char *at = fields; i < TOLD && *at != '\0'; at++) {
            if (*at == '\n' || *at == '\\')
                fputc('\\', block);
            fputc(*at == '\n' ? 'n' : *at, block);
        }
        if (i < TOLD)
            fputc('\n', block);
    }
}

/* A registration that allows it, as there always is one in real life. */
static void allow_told(launcher_t *launcher, const char *bytes, size_t length) {
    if (geteuid() != 0 || launcher->asks_first ||
        (strcmp(bytes, "start") != 0 && strcmp(bytes, "bind") != 0))
        return;
    char *text, *before = launcher->allowed;
    size_t size;
    FILE *block = open_memstream(&text, &size);
    describe(block, bytes + strlen(bytes) + 1, bytes + length);
    fclose(block);
    if (has_block(before, text)) {
        free(text);
        return;
    }
    if (asprintf(&launcher->allowed, "%s%s", before != NULL ? before : "", text) < 0)
        bail_out("no memory");
    free(before);
    free(text);
    allow(launcher, "told-1.1.allow", launcher->allowed);
}

void tell_whole(launcher_t *launcher, const char *bytes, size_t length) {
    allow_told(launcher, bytes, length);
    tell_bytes(launcher, bytes, length);
}

void tell(launcher_t *launcher, const char *verb, ...) {
    static char bytes[PACKET_MAX];
    size_t length = 0;
    va_list fields;
    va_start(fields, verb);
    for (const char *text = verb; text != NULL; text = va_arg(fields, const char *)) {
        memcpy(bytes + length, text, strlen(text) + 1);
        length += strlen(text) + 1;
    }
    va_end(fields);
    tell_whole(launcher, bytes, length);
}

const char *field(const packet_t *packet, const char *name) {
    size_t name_length = strlen(name);
    const char *end = packet->bytes + packet->length;
    for (const char *at = packet->bytes; at < end; at += strlen(at) + 1) {
        if (strncmp(at, name, name_length) == 0 && at[name_length] == '=')
            return at + name_length + 1;
    }
    return NULL;
}

size_t count_field(const packet_t *packet, const char *name) {
    size_t count = 0, name_length = strlen(name);
    const char *end = packet->bytes + packet->length;
    for (const char *at = packet->bytes; at < end; at += strlen(at) + 1)
        count += strncmp(at, name, name_length) == 0 && at[name_length] == '=';
    return count;
}

long long number_field(const packet_t *packet, const char *name) {
    const char *text = field(packet, name);
    return text == NULL ? -1 : atoll(text);
}

static void free_packet(packet_t *packet) {
    for (size_t i = 0; packet != NULL && i < PACKET_DESCRIPTORS_MAX; i++) {
        if (packet->descriptors[i] >= 0)
            close(packet->descriptors[i]);
    }
    free(packet);
}

static void take_descriptors(packet_t *packet, struct msghdr *header) {
    struct cmsghdr *rights = CMSG_FIRSTHDR(header);
    for (size_t i = 0; i < PACKET_DESCRIPTORS_MAX; i++)
        packet->descriptors[i] = -1;
    if (rights != NULL && rights->cmsg_type == SCM_RIGHTS)
        memcpy(packet->descriptors, CMSG_DATA(rights), rights->cmsg_len - CMSG_LEN(0));
}

/* Receive one packet with its descriptors. 0 = none in time, -1 = link closed. */
static int receive(int socket_fd, packet_t **packet, int timeout_ms) {
    static char bytes[PACKET_MAX + 1];
    char control[CMSG_SPACE(PACKET_DESCRIPTORS_MAX * sizeof(int))];
    struct iovec part = {.iov_base = bytes, .iov_len = PACKET_MAX};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control,
                            .msg_controllen = sizeof(control)};
    struct pollfd wait = {.fd = socket_fd, .events = POLLIN};
    if (poll(&wait, 1, timeout_ms) <= 0)
        return 0;
    ssize_t length = recvmsg(socket_fd, &header, MSG_CMSG_CLOEXEC);
    if (length <= 0)
        return -1;
    if (bytes[length - 1] != '\0' || (header.msg_flags & MSG_CTRUNC) != 0)
        bail_out("a packet of the launcher does not end in NUL, or has too many descriptors");
    *packet = malloc(sizeof(**packet) + (size_t)length);
    (*packet)->next = NULL;
    (*packet)->length = (size_t)length;
    memcpy((*packet)->bytes, bytes, (size_t)length);
    take_descriptors(*packet, &header);
    return 1;
}

static void enqueue(launcher_t *launcher, packet_t *packet) {
    packet_t **end = &launcher->queue;
    while (*end != NULL)
        end = &(*end)->next;
    *end = packet;
}

static void forget_queue(launcher_t *launcher) {
    while (launcher->queue != NULL) {
        packet_t *packet = launcher->queue;
        launcher->queue = packet->next;
        free_packet(packet);
    }
}

static packet_t *take_from_queue(launcher_t *launcher, const char *verb, int id) {
    for (packet_t **link = &launcher->queue; *link != NULL; link = &(*link)->next) {
        packet_t *packet = *link;
        if (strcmp(packet->bytes, verb) == 0 && (id == 0 || number_field(packet, "id") == id)) {
            *link = packet->next;
            return packet;
        }
    }
    return NULL;
}

static const packet_t *keep_for_a_while(packet_t *packet) {
    static packet_t *kept[64];
    static unsigned next;
    free_packet(kept[next % 64]);
    kept[next++ % 64] = packet;
    return packet;
}

const packet_t *hear_within(launcher_t *launcher, const char *verb, int id, int timeout_ms) {
    uint64_t until = now_ms() + (uint64_t)timeout_ms;
    for (;;) {
        packet_t *packet = take_from_queue(launcher, verb, id);
        if (packet != NULL)
            return keep_for_a_while(packet);
        uint64_t now = now_ms();
        int got = receive(launcher->link, &packet, now < until ? (int)(until - now) : 0);
        if (got < 0 || (got == 0 && now >= until))
            return NULL;
        if (got > 0)
            enqueue(launcher, packet);
    }
}

const packet_t *hear(launcher_t *launcher, const char *verb, int id) {
    const packet_t *packet = hear_within(launcher, verb, id, PATIENCE_MS);
    if (packet != NULL)
        return packet;
    printf("# waited for \"%s\" id=%d, in the queue:", verb, id);
    for (const packet_t *other = launcher->queue; other != NULL; other = other->next)
        printf(" %s(%lld: %s)", other->bytes, number_field(other, "id"),
               field(other, "error") != NULL ? field(other, "error") : "");
    printf("\n# log: %s\n", read_text(launcher->log));
    bail_out("the launcher did not say \"%s\"", verb);
}

const char *install_gateway(launcher_t *launcher, const char *name, const char *text) {
    static char path[256];
    const char *folders[] = {"dist", "dist/gateways", f("dist/gateways/%s", name)};
    for (size_t i = 0; i < 3; i++)
        make_folder(f("%s/%s", launcher->base, folders[i]));
    snprintf(path, sizeof(path), "%s/dist/gateways/%s/main.js", launcher->base, name);
    make_file(path, text != NULL ? text : "", 0644);
    return path;
}

int take_descriptor(const packet_t *packet) {
    packet_t *kept = (packet_t *)(uintptr_t)packet;
    int fd = kept->descriptors[0];
    kept->descriptors[0] = -1;
    return fd;
}

/* ---- the launcher -------------------------------------------------------------------------- */

const char *in_runtime(const launcher_t *launcher, const char *name) {
    return f("%s/%s", launcher->runtime, name);
}

/* What a test that bails out must not leave behind. */
static launcher_t *open_launchers[8];
static pid_t owner;

static void remove_launchers(void) {
    for (size_t i = 0; owner == getpid() && i < 8; i++) {
        if (open_launchers[i] != NULL)
            launcher_remove(open_launchers[i]);
    }
}

static void remember(launcher_t *launcher) {
    if (owner != getpid()) {
        if (owner == 0)
            atexit(remove_launchers);
        owner = getpid();
        memset(open_launchers, 0, sizeof(open_launchers));
    }
    size_t i = 0;
    while (i < 7 && open_launchers[i] != NULL)
        i++;
    open_launchers[i] = launcher;
}

static void forget(const launcher_t *launcher) {
    for (size_t i = 0; i < 8; i++) {
        if (open_launchers[i] == launcher)
            open_launchers[i] = NULL;
    }
}

void launcher_prepare(launcher_t *launcher) {
    memset(launcher, 0, sizeof(*launcher));
    remember(launcher);
    usher_os_become_subreaper(); /* a killed launcher's children can be waited for */
    strcpy(launcher->base, "/tmp/usher-launcher-XXXXXX");
    if (mkdtemp(launcher->base) == NULL || chmod(launcher->base, 0755) < 0)
        bail_out("mkdtemp: %s", strerror(errno));
    snprintf(launcher->runtime, sizeof(launcher->runtime), "%s/run", launcher->base);
    snprintf(launcher->log, sizeof(launcher->log), "%s/log", launcher->base);
    make_folder(f("%s/bin", launcher->base));
    snprintf(launcher->meeting, sizeof(launcher->meeting), "%s/bin/meeting", launcher->base);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", launcher->meeting);
    launcher->meeting_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (bind(launcher->meeting_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        chmod(launcher->meeting, 0777) < 0 || /* the manager is somebody else */
        listen(launcher->meeting_fd, 16) < 0)
        bail_out("meeting point: %s", strerror(errno));
    launcher->link = launcher->manager_fd = launcher->control_fd = -1;
}

void launcher_start(launcher_t *launcher, const char *const *options) {
    const char *words[32] = {launcher_program(), "--runtime-dir", launcher->runtime, "--node",
                             helper_program(),   "--usherd",      launcher->meeting};
    for (size_t i = 0; options[i] != NULL; i++)
        words[7 + i] = options[i];
    fflush(stdout);
    launcher->pid = fork();
    if (launcher->pid == 0) {
        int log = open(launcher->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        dup2(log, STDERR_FILENO);
        close(log);
        execv(words[0], (char *const *)(uintptr_t)words);
        _exit(126);
    }
}

bool launcher_meet(launcher_t *launcher, int timeout_ms) {
    launcher_leave(launcher);
    struct pollfd wait = {.fd = launcher->meeting_fd, .events = POLLIN};
    if (poll(&wait, 1, timeout_ms) <= 0)
        return false;
    launcher->manager_fd = accept4(launcher->meeting_fd, NULL, NULL, SOCK_CLOEXEC);
    packet_t *packet;
    if (receive(launcher->manager_fd, &packet, PATIENCE_MS) <= 0)
        bail_out("the manager did not hand over its link");
    launcher->link = dup(packet->descriptors[0]);
    launcher->manager_pid = (pid_t)number_field(packet, "pid");
    free_packet(packet);
    /* a standby may have become the launcher */
    if (receive(launcher->link, &packet, PATIENCE_MS) <= 0)
        bail_out("the launcher did not greet its manager");
    if (launcher->pid == 0)
        launcher->pid = (pid_t)number_field(packet, "launcher_pid");
    if (packet->descriptors[0] >= 0)
        launcher->control_fd = dup(packet->descriptors[0]);
    enqueue(launcher, packet);
    return true;
}

void launcher_open(launcher_t *launcher, const char *mode) {
    launcher_prepare(launcher);
    if (strcmp(mode, "embedded") == 0)
        mkdir(launcher->runtime, 0700);
    launcher_start(launcher, (const char *const[]){"--mode", mode, NULL});
    if (!launcher_meet(launcher, PATIENCE_MS))
        bail_out("no manager was started; log:\n%s", read_text(launcher->log));
}

int launcher_wait(launcher_t *launcher, int timeout_ms) {
    int status;
    pid_t reaped;
    if (!comes_true((reaped = waitpid(launcher->pid, &status, WNOHANG)) != 0, (uint64_t)timeout_ms))
        return -1;
    launcher->pid = 0;
    return status;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void launcher_leave(launcher_t *launcher) {
    close_fd(&launcher->manager_fd);
    close_fd(&launcher->link);
    close_fd(&launcher->control_fd);
    forget_queue(launcher);
}

static int count_of(const char *text, const char *word) {
    int count = 0;
    while ((text = strstr(text, word)) != NULL) {
        text += strlen(word);
        count++;
    }
    return count;
}

bool launcher_close(launcher_t *launcher) {
    tell(launcher, "quit", "remove=1", NULL);
    launcher_leave(launcher);
    int status = launcher_wait(launcher, PATIENCE_MS);
    const char *log = read_text(launcher->log);
    bool stopped_once = count_of(log, "launcher.stopped") <= count_of(log, "launcher.started");
    bool passed = status >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 && stopped_once;
    if (!passed)
        printf("# status %d, log:\n%s\n", status, read_text(launcher->log));
    launcher_remove(launcher);
    return passed;
}

void launcher_remove(launcher_t *launcher) {
    forget(launcher);
    launcher_leave(launcher);
    free(launcher->allowed);
    launcher->allowed = NULL;
    close_fd(&launcher->meeting_fd);
    if (launcher->pid != 0) { /* asked twice it also ends its programs */
        kill(launcher->pid, SIGTERM);
        sleep_ms(20);
        kill(launcher->pid, SIGTERM);
        if (launcher_wait(launcher, 3000) < 0) {
            kill(launcher->pid, SIGKILL);
            waitpid(launcher->pid, NULL, 0);
        }
    }
    remove_tree(launcher->base);
}

/* ---- users --------------------------------------------------------------------------------- */

static int counts_pipe;

bool become_nobody_in_child(int counts[2]) {
    int ends[2];
    launcher_program(); /* copied while we still may read them */
    helper_program();
    fflush(stdout);
    if (pipe(ends) < 0)
        bail_out("pipe: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        counts_pipe = ends[1];
        close(ends[0]);
        if (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
            bail_out("become nobody: %s", strerror(errno));
        return true;
    }
    close(ends[1]);
    if (read(ends[0], counts, 2 * sizeof(int)) != 2 * (ssize_t)sizeof(int))
        exit(1); /* it has bailed out */
    close(ends[0]);
    waitpid(child, NULL, 0);
    return false;
}

void leave_child(const int counts[2]) {
    ssize_t written = write(counts_pipe, counts, 2 * sizeof(int));
    fflush(stdout);
    _exit(written < 0);
}
