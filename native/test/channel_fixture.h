/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the channel's tests begin with: a runtime directory, one server's channel, a manager beside
 * it, and children that act as workers. Failures of the fixture itself end the program.
 */
#ifndef USHER_TEST_CHANNEL_FIXTURE_H
#define USHER_TEST_CHANNEL_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel/manager_internal.h"
#include "os/os.h"
#include "tap.h"

#define SERVER "nginx-test"
#define WATCHDOG_S 300 /* a test that hangs is killed by its alarm */

typedef struct {
    char runtime_dir[64];
    char live_path[96];
    usher_channel_t *channel;
    usher_manager_t *manager;
    uint32_t server; /* handle */
} fixture_t;

#define must(call)                          \
    do {                                    \
        if ((call) < 0) {                   \
            fixture_bail(#call, TAP_PLACE); \
        }                                   \
    } while (0)

__attribute__((unused, noreturn)) static void fixture_bail(const char *what, const char *place) {
    printf("Bail out! %s failed at %s: %s\n", what, place, strerror(errno));
    fflush(stdout);
    _exit(1);
}

__attribute__((unused)) static void make_live_file(fixture_t *fixture, const char *server,
                                                   char path[96]) {
    snprintf(path, 96, "%s/%s.live", fixture->runtime_dir, server);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(fd);
    close(fd);
}

/* A runtime directory without any channel in it. */
__attribute__((unused)) static void make_runtime_dir(fixture_t *fixture) {
    char channel_dir[96];
    alarm(WATCHDOG_S);
    memset(fixture, 0, sizeof(*fixture));
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(fixture->runtime_dir, sizeof(fixture->runtime_dir), "%s/usher-test-XXXXXX", base);
    if (!mkdtemp(fixture->runtime_dir)) {
        fixture_bail("mkdtemp", TAP_PLACE);
    }
    snprintf(channel_dir, sizeof(channel_dir), "%s/channel", fixture->runtime_dir);
    must(mkdir(channel_dir, 0700));
    make_live_file(fixture, SERVER, fixture->live_path);
}

__attribute__((unused)) static void begin(fixture_t *fixture) {
    usher_error_t error = {0};
    make_runtime_dir(fixture);
    must(usher_channel_open(fixture->runtime_dir, SERVER, &fixture->channel, &error));
    must(usher_manager_open(fixture->runtime_dir, &fixture->manager, &error));
    must(usher_manager_attach_server(fixture->manager, SERVER, fixture->live_path, &fixture->server,
                                     &error));
    usher_manager_set_state(fixture->manager, USHER_MANAGER_RUNNING, (uint32_t)getpid());
}

static inline int remove_entry(const char *path, const struct stat *facts, int type,
                               struct FTW *walk) {
    (void)facts, (void)type, (void)walk;
    return remove(path);
}

__attribute__((unused)) static void finish(fixture_t *fixture) {
    usher_channel_close(fixture->channel);
    usher_manager_close(fixture->manager);
    nftw(fixture->runtime_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- classes and endpoints --------------------------------------------------------------- */

static const usher_class_limits_t plain_limits
    __attribute__((unused)) = {.queue_limit = 1024, .connect_timeout_ms = 30000};

__attribute__((unused)) static usher_ref_t add_class(fixture_t *fixture, const char *key,
                                                     usher_class_limits_t limits) {
    usher_ref_t ref = {0, 0};
    usher_class_identity_t identity = {
        .kind = USHER_KIND_STATIC, .key = key, .key_length = (uint32_t)strlen(key)};
    must(usher_manager_add_class(fixture->manager, &identity, &limits, &ref));
    return ref;
}

__attribute__((unused)) static usher_ref_t add_endpoint(fixture_t *fixture, usher_ref_t class_ref,
                                                        const char *name, uint32_t concurrency,
                                                        usher_endpoint_state_t state) {
    usher_ref_t ref = {0, 0};
    usher_endpoint_address_t address = {.kind = USHER_ADDRESS_SERVER_SOCKET,
                                        .length = (uint32_t)strlen(name)};
    memcpy(address.bytes, name, strlen(name));
    must(usher_manager_add_endpoint(fixture->manager, class_ref, &address, concurrency, state, 4711,
                                    &ref));
    return ref;
}

/* A class that is ready, with `endpoints` of `concurrency` places. */
__attribute__((unused)) static usher_ref_t
add_ready_class(fixture_t *fixture, const char *key, uint32_t endpoints, uint32_t concurrency) {
    usher_ref_t class_ref = add_class(fixture, key, plain_limits);
    for (uint32_t i = 0; i < endpoints; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u.0", i);
        add_endpoint(fixture, class_ref, name, concurrency, USHER_ENDPOINT_READY);
    }
    must(usher_manager_set_class(fixture->manager, class_ref, USHER_CLASS_READY, 0, 0, NULL));
    return class_ref;
}

/* ---- requests ---------------------------------------------------------------------------- */

typedef struct {
    usher_request_t request;
    struct sockaddr_storage address;
    socklen_t address_length;
    usher_admission_t admission;
} visit_t;

__attribute__((unused)) static void attach(fixture_t *fixture, bool may_block) {
    usher_error_t error = {0};
    must(usher_worker_attach(fixture->channel, fixture->live_path, 1, may_block, &error));
}

__attribute__((unused)) static usher_status_t admit(usher_channel_t *channel, visit_t *visit) {
    return usher_request_admit(channel, &visit->request, &visit->address, &visit->address_length,
                               &visit->admission);
}

__attribute__((unused)) static usher_status_t ask(usher_channel_t *channel, visit_t *visit,
                                                  const char *key) {
    must(usher_request_begin(channel, &visit->request, key, strlen(key)));
    return admit(channel, visit);
}

/* Ask and wait like a thread of Apache does. */
__attribute__((unused)) static usher_status_t ask_and_wait(usher_channel_t *channel, visit_t *visit,
                                                           const char *key) {
    usher_status_t status = ask(channel, visit, key);
    while (status == USHER_AGAIN) {
        usher_request_wait(channel, &visit->request, 1000);
        status = admit(channel, visit);
    }
    return status;
}

__attribute__((unused)) static void end(usher_channel_t *channel, visit_t *visit) {
    usher_request_end(channel, &visit->request, USHER_OUTCOME_FINISHED);
}

/* ---- children ---------------------------------------------------------------------------- */

__attribute__((unused)) static pid_t spawn(void (*run)(fixture_t *, void *), fixture_t *fixture,
                                           void *argument) {
    fflush(stdout);
    pid_t pid = fork();
    must(pid);
    if (pid == 0) {
        alarm(WATCHDOG_S);
        run(fixture, argument);
        _exit(0);
    }
    return pid;
}

/* The exit status, or 256 + the signal that ended it. */
__attribute__((unused)) static int reap(pid_t pid) {
    int status = 0;
    must(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* Until the child is stopped, or gone (its exit status as above; −1 = stopped). */
__attribute__((unused)) static int wait_stopped(pid_t pid) {
    int status = 0;
    must(waitpid(pid, &status, WUNTRACED));
    if (WIFSTOPPED(status)) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* Memory that parent and children share. */
__attribute__((unused)) static void *share(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fixture_bail("mmap", TAP_PLACE);
    }
    return memory;
}

__attribute__((unused)) static void pause_ms(long ms) {
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* ---- the ring ---------------------------------------------------------------------------- */

__attribute__((unused)) static uint32_t ready_entries(const usher_channel_t *channel) {
    uint32_t ready = 0;
    for (uint32_t i = 0; i < USHER_START_REQUESTS_MAX; i++) {
        ready += channel->cells->ring[i].state == USHER_START_READY;
    }
    return ready;
}

/* ---- what must hold when nobody is there -------------------------------------------------- */

/* The first count that is not as it must be; NULL when all are. */
__attribute__((unused)) static const char *find_leak(const usher_channel_t *channel) {
    static char text[128];
    const usher_cells_t *cells = channel->cells;
    uint32_t slots = usher_worker_slots(cells);
    for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX; i++) {
        if (channel->places->places[i].in_use != 0) {
            snprintf(text, sizeof(text), "place %u is %u", i, channel->places->places[i].in_use);
            return text;
        }
        if (channel->places->places[i].kept != 0) {
            snprintf(text, sizeof(text), "place %u: %u kept", i, channel->places->places[i].kept);
            return text;
        }
    }
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        if (channel->places->gates[i].waiting != 0) {
            snprintf(text, sizeof(text), "gate %u: %u waiting", i,
                     channel->places->gates[i].waiting);
            return text;
        }
    }
    for (uint32_t slot = 0; slot < slots; slot++) {
        const usher_worker_record_t *worker = &cells->workers[slot];
        if (worker->state != USHER_WORKER_FREE) {
            snprintf(text, sizeof(text), "slot %u has state %u", slot, worker->state);
            return text;
        }
        for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX; i++) {
            if ((uint32_t)worker->counts[i] != 0) {
                snprintf(text, sizeof(text), "slot %u counts %u at endpoint %u", slot,
                         (uint32_t)worker->counts[i], i);
                return text;
            }
            if (worker->has_kept && (uint32_t)worker->kept[i] != 0) {
                snprintf(text, sizeof(text), "slot %u keeps %u at endpoint %u", slot,
                         (uint32_t)worker->kept[i], i);
                return text;
            }
        }
        for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
            if (usher_worker_knows_group(worker, i) && (uint32_t)worker->load[i].waiting != 0) {
                snprintf(text, sizeof(text), "slot %u: %u waiting for class %u", slot,
                         (uint32_t)worker->load[i].waiting, i);
                return text;
            }
        }
    }
    return NULL;
}

__attribute__((unused)) static uint32_t settle(fixture_t *fixture) {
    usher_server_info_t info;
    must(usher_manager_settle(fixture->manager, fixture->server, &info));
    return info.settled;
}

#endif
