/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiny-server FILE: a web server that is neither nginx nor Apache and has its programs run by Usher.
 * It does what docs/registration.md says, event by event: start, reload (SIGHUP), stop (SIGTERM).
 * Its configuration, a line each:
 *
 *   port N                        on 127.0.0.1
 *   runtime DIR                   Usher's runtime directory
 *   user NAME                     of the workers, when started as root
 *   workers N
 *   usher WORDS…                  a directive in the dialect of usher.conf
 *   pass PREFIX NAME-OR-PATH      which requests go to which class
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "registration/registration.h"
#include "tiny_server.h"

#define WORKERS_MAX 16
#define WORDS_MAX 64
#define LINES_MAX 64

typedef struct {
    int port, workers;
    char runtime[128], user[64];
    char directives[LINES_MAX][512];
    int lines[LINES_MAX], directive_count;
    passes_t passes;
} configuration_t;

/* One generation: what was registered and who serves it. */
typedef struct {
    usher_channel_t *channel;
    uint32_t generation;
    char live_path[256];
    pid_t workers[WORKERS_MAX];
    int count;
} generation_t;

static volatile sig_atomic_t wants_reload, wants_stop;

static void on_signal(int number) {
    if (number == SIGHUP)
        wants_reload = 1;
    if (number == SIGTERM)
        wants_stop = 1;
}

/* ---- the configuration ------------------------------------------------------------------------ */

static int read_line(configuration_t *made, char *line, int number) {
    char word[16] = "", rest[512] = "";
    int found = sscanf(line, "%15s %511[^\n]", word, rest);
    if (found <= 0 || *word == '#')
        return 0;
    if (found == 1)
        return -1;
    if (strcmp(word, "port") == 0)
        made->port = atoi(rest);
    else if (strcmp(word, "workers") == 0)
        made->workers = atoi(rest) < WORKERS_MAX ? atoi(rest) : WORKERS_MAX;
    else if (strcmp(word, "runtime") == 0)
        snprintf(made->runtime, sizeof made->runtime, "%.127s", rest);
    else if (strcmp(word, "user") == 0)
        snprintf(made->user, sizeof made->user, "%.63s", rest);
    else if (strcmp(word, "usher") == 0 && made->directive_count < LINES_MAX) {
        made->lines[made->directive_count] = number;
        snprintf(made->directives[made->directive_count++], sizeof made->directives[0], "%s", rest);
    } else if (strcmp(word, "pass") == 0 && made->passes.count < PASSES_MAX) {
        pass_t *pass = &made->passes.passes[made->passes.count++];
        return sscanf(rest, "%127s %127s", pass->prefix, pass->key) == 2 ? 0 : -1;
    } else
        return -1;
    return 0;
}

static int read_configuration(const char *path, configuration_t *made) {
    char line[1024];
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    *made = (configuration_t){.workers = 2};
    int number = 0, result = 0;
    while (result == 0 && fgets(line, sizeof line, file) != NULL)
        if ((result = read_line(made, line, ++number)) < 0)
            fprintf(stderr, "%s:%d: %s", path, number, line);
    fclose(file);
    return result;
}

/* ---- registration: step 1 to 4 of docs/registration.md ---------------------------------------- */

static usher_status_t add_directives(usher_registration_t *registration, const char *path,
                                     configuration_t *from, usher_error_t *error) {
    for (int i = 0; i < from->directive_count; i++) {
        const char *words[WORDS_MAX];
        char source[512], *rest = NULL;
        size_t count = 0;
        for (char *word = strtok_r(from->directives[i], " ", &rest);
             word != NULL && count < WORDS_MAX; word = strtok_r(NULL, " ", &rest))
            words[count++] = word;
        snprintf(source, sizeof source, "%s:%d", path, from->lines[i]);
        usher_status_t status = usher_registration_add(registration, source, words, count, error);
        if (status != USHER_OK)
            return status;
    }
    return USHER_OK;
}

static int register_server(const char *path, configuration_t *from, generation_t *made) {
    usher_error_t error = {0};
    usher_registration_t *registration = NULL;
    const struct passwd *user = from->user[0] != '\0' ? getpwnam(from->user) : getpwuid(geteuid());
    if (user == NULL)
        return -1;
    const struct group *group = getgrgid(user->pw_gid);
    const usher_server_t server = {
        .runtime_dir = from->runtime,
        .kind = "tiny",
        .configuration_file = path,
        .user = user->pw_name,
        .group = group != NULL ? group->gr_name : NULL,
        .uid = user->pw_uid,
        .gid = user->pw_gid,
        .mode = USHER_MANAGER_MODE_EMBEDDED,
    };
    *made = (generation_t){0};
    usher_status_t status = usher_registration_begin(&server, &registration, &error);
    if (status == USHER_OK) {
        status = add_directives(registration, path, from, &error);
        if (status != USHER_OK)
            usher_registration_abandon(registration);
        else
            status = usher_registration_commit(registration, &made->channel, &made->generation,
                                               made->live_path, sizeof made->live_path, &error);
    }
    if (status != USHER_OK)
        fprintf(stderr, "usher: %s\n", error.text);
    return made->channel != NULL ? 0 : -1;
}

/* ---- workers: step 5 and 6 -------------------------------------------------------------------- */

static int become_user(const char *name) {
    const struct passwd *user = geteuid() == 0 && *name != '\0' ? getpwnam(name) : NULL;
    if (user == NULL)
        return 0;
    if (initgroups(name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0)
        return -1;
    return setuid(user->pw_uid);
}

/* SIGTERM is blocked but while there is nothing to do: a request that has begun is served. */
_Noreturn static void work(int listener, const generation_t *generation,
                           const configuration_t *configuration) {
    usher_error_t error = {0};
    sigset_t idle;
    sigprocmask(SIG_SETMASK, NULL, &idle);
    sigdelset(&idle, SIGTERM);
    wants_stop = 0;
    if (become_user(configuration->user) < 0 ||
        usher_worker_attach(generation->channel, generation->live_path, generation->generation,
                            true, &error) != USHER_OK ||
        usher_worker_watch(generation->channel, &error) != USHER_OK) {
        fprintf(stderr, "usher: %s\n", error.text);
        _exit(1);
    }
    while (!wants_stop) {
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        if (ppoll(&ready, 1, NULL, &idle) <= 0)
            continue;
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (client < 0)
            continue; /* another worker was faster */
        serve_client(client, generation->channel, &configuration->passes);
        shutdown(client, SHUT_WR);
        close(client);
    }
    usher_worker_detach(generation->channel);
    _exit(0);
}

static void start_workers(int listener, generation_t *generation,
                          const configuration_t *configuration) {
    for (int i = 0; i < configuration->workers; i++) {
        pid_t pid = fork();
        if (pid == 0)
            work(listener, generation, configuration);
        if (pid > 0)
            generation->workers[generation->count++] = pid;
    }
}

static void stop_workers(const generation_t *generation) {
    for (int i = 0; i < generation->count; i++)
        kill(generation->workers[i], SIGTERM);
}

/* ---- the master ------------------------------------------------------------------------------- */

static int listen_at(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 511) < 0)
        return -1;
    return fd;
}

/* A configuration that cannot be used leaves everything as it is. */
static void reload(const char *path, int listener, generation_t *current,
                   configuration_t *configuration) {
    static configuration_t read;
    generation_t next;
    if (read_configuration(path, &read) < 0 || register_server(path, &read, &next) < 0)
        return;
    *configuration = read;
    start_workers(listener, &next, configuration);
    stop_workers(current);
    usher_channel_close(current->channel); /* the old workers have theirs by inheritance */
    *current = next;
}

int main(int count, char **words) {
    static configuration_t configuration;
    generation_t current;
    sigset_t none, ours;
    struct sigaction action = {.sa_handler = on_signal};
    if (count != 2 || read_configuration(words[1], &configuration) < 0) {
        fprintf(stderr, "usage: tiny-server FILE\n");
        return 2;
    }
    sigemptyset(&none);
    sigemptyset(&ours);
    const int signals[] = {SIGHUP, SIGTERM, SIGCHLD};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        sigaction(signals[i], &action, NULL);
        sigaddset(&ours, signals[i]);
    }
    sigprocmask(SIG_BLOCK, &ours, NULL); /* looked at in sigsuspend() and ppoll() only */
    int listener = listen_at(configuration.port);
    if (listener < 0 || register_server(words[1], &configuration, &current) < 0) {
        perror("tiny-server");
        return 1;
    }
    start_workers(listener, &current, &configuration);
    while (!wants_stop) {
        sigsuspend(&none);
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (wants_reload) {
            wants_reload = 0;
            reload(words[1], listener, &current, &configuration);
        }
    }
    stop_workers(&current);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    usher_channel_close(current.channel);
    usher_registration_end(current.live_path, current.generation);
    return 0;
}
