/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it costs to take a place and give it back, with all that is counted on the way:
 *
 *   take WORKERS nginx|apache ENDPOINTS CONCURRENCY MS
 *
 * WORKERS processes of one server do nothing else for MS milliseconds, on a class of ENDPOINTS
 * instances with CONCURRENCY places each; as nginx (one thread, counts without bus locks) or as
 * Apache (any number of threads). Prints one line of JSON: ns of processor time and of wall time
 * for each take with its release, and how many were not given a place.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel/channel.h"
#include "channel/manager.h"

#define WORKERS_MAX 64
#define BATCH 1000u /* between two looks at the clock */
#define KEY "/srv/www/bench/echo.fcgi"
#define SERVER "bench"

typedef struct {
    uint64_t taken, not_taken;
    uint64_t processor_ns, wall_ns;
} count_t;

typedef struct {
    _Atomic int arrived; /* workers that are ready to begin */
    count_t counts[WORKERS_MAX];
} shared_t;

typedef struct {
    int workers, endpoints, concurrency, ms;
    bool may_block;
} settings_t;

typedef struct {
    char runtime_dir[64];
    char live_path[96];
    usher_channel_t *channel;
    usher_manager_t *manager;
} ground_t;

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "take: %s: %s\n", what, why);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- a channel with one class that is ready ---------------------------------------------- */

static void add_endpoint(usher_manager_t *manager, usher_ref_t class_ref, int number,
                         uint32_t concurrency) {
    usher_ref_t ref;
    usher_endpoint_address_t address = {.kind = USHER_ADDRESS_SERVER_SOCKET};
    int length = snprintf((char *)address.bytes, sizeof(address.bytes), "e%d", number);
    address.length = (uint32_t)length;
    if (usher_manager_add_endpoint(manager, class_ref, &address, concurrency, USHER_ENDPOINT_READY,
                                   1, &ref) != USHER_OK) {
        fail("cannot add an endpoint", "too many?");
    }
}

static void add_class(usher_manager_t *manager, const settings_t *settings) {
    usher_ref_t ref;
    usher_class_identity_t identity = {
        .kind = USHER_KIND_STATIC, .key = KEY, .key_length = sizeof(KEY) - 1};
    usher_class_limits_t limits = {.queue_limit = 1024, .connect_timeout_ms = 30000};
    if (usher_manager_add_class(manager, &identity, &limits, &ref) != USHER_OK) {
        fail("cannot add the class", KEY);
    }
    for (int i = 0; i < settings->endpoints; i++) {
        add_endpoint(manager, ref, i, (uint32_t)settings->concurrency);
    }
    usher_manager_set_class(manager, ref, USHER_CLASS_READY, 0, 0, NULL);
}

static void make_ground(ground_t *ground, const settings_t *settings) {
    char path[96];
    usher_error_t error = {0};
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(ground->runtime_dir, sizeof(ground->runtime_dir), "%s/usher-bench-XXXXXX", base);
    if (!mkdtemp(ground->runtime_dir)) {
        fail(ground->runtime_dir, strerror(errno));
    }
    snprintf(path, sizeof(path), "%s/channel", ground->runtime_dir);
    snprintf(ground->live_path, sizeof(ground->live_path), "%s/live", ground->runtime_dir);
    int live = open(ground->live_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (live < 0 || mkdir(path, 0700) != 0) {
        fail(ground->runtime_dir, strerror(errno));
    }
    close(live);
    if (usher_channel_open(ground->runtime_dir, SERVER, &ground->channel, &error) != USHER_OK ||
        usher_manager_open(ground->runtime_dir, &ground->manager, &error) != USHER_OK) {
        fail("cannot make the channel", error.text);
    }
    usher_manager_set_state(ground->manager, USHER_MANAGER_RUNNING, (uint32_t)getpid());
    add_class(ground->manager, settings);
}

static int remove_entry(const char *path, const struct stat *facts, int type, struct FTW *walk) {
    (void)facts, (void)type, (void)walk;
    return remove(path);
}

static void clear_ground(ground_t *ground) {
    usher_channel_close(ground->channel);
    usher_manager_close(ground->manager);
    nftw(ground->runtime_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- a worker ---------------------------------------------------------------------------- */

static bool take_and_release(usher_channel_t *channel) {
    usher_request_t request;
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    usher_admission_t admission;
    usher_request_begin(channel, &request, KEY, sizeof(KEY) - 1);
    bool taken = usher_request_admit(channel, &request, &address, &length, &admission) == USHER_OK;
    usher_request_end(channel, &request, taken ? USHER_OUTCOME_FINISHED : USHER_OUTCOME_ABORTED);
    return taken;
}

static void run_batch(usher_channel_t *channel, count_t *count) {
    for (uint32_t i = 0; i < BATCH; i++) {
        if (take_and_release(channel)) {
            count->taken++;
        } else {
            count->not_taken++;
        }
    }
}

static void work(const ground_t *ground, const settings_t *settings, shared_t *shared, int number) {
    usher_error_t error = {0};
    if (usher_worker_attach(ground->channel, ground->live_path, 1, settings->may_block, &error) !=
        USHER_OK) {
        fail("cannot attach", error.text);
    }
    count_t count = {0};
    run_batch(ground->channel, &count); /* touches every page */
    atomic_fetch_add(&shared->arrived, 1);
    while (atomic_load(&shared->arrived) < settings->workers) {
    }

    count = (count_t){0};
    uint64_t began_ns = clock_ns(CLOCK_MONOTONIC);
    uint64_t processor_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t until_ns = began_ns + (uint64_t)settings->ms * 1000000u;
    while (clock_ns(CLOCK_MONOTONIC) < until_ns) {
        run_batch(ground->channel, &count);
    }
    count.processor_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - processor_ns;
    count.wall_ns = clock_ns(CLOCK_MONOTONIC) - began_ns;
    shared->counts[number] = count;
    usher_worker_detach(ground->channel);
}

static int run_workers(const ground_t *ground, const settings_t *settings, shared_t *shared) {
    int failures = 0;
    for (int i = 0; i < settings->workers; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            alarm((unsigned)settings->ms / 1000 + 30);
            work(ground, settings, shared, i);
            _exit(0);
        }
        if (pid < 0) {
            fail("fork", strerror(errno));
        }
    }
    for (int i = 0; i < settings->workers; i++) {
        int status = 0;
        wait(&status);
        failures += status != 0;
    }
    return failures;
}

static void print_result(const settings_t *settings, const shared_t *shared) {
    double processor_ns = 0, wall_ns = 0;
    uint64_t not_taken = 0;
    for (int i = 0; i < settings->workers; i++) {
        const count_t *count = &shared->counts[i];
        double tries = (double)(count->taken + count->not_taken);
        processor_ns += (double)count->processor_ns / tries / settings->workers;
        wall_ns += (double)count->wall_ns / tries / settings->workers;
        not_taken += count->not_taken;
    }
    printf("{\"processorNs\": %.2f, \"wallNs\": %.2f, \"notTaken\": %llu}\n", processor_ns, wall_ns,
           (unsigned long long)not_taken);
}

static int number(const char *text, int max) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end != '\0' || value < 1 || value > max) {
        fail(text, "expected a number in its range");
    }
    return (int)value;
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fail("usage", "take WORKERS nginx|apache ENDPOINTS CONCURRENCY MS");
    }
    settings_t settings = {
        .workers = number(argv[1], WORKERS_MAX),
        .may_block = strcmp(argv[2], "apache") == 0,
        .endpoints = number(argv[3], (int)USHER_CLASS_ENDPOINTS_MAX),
        .concurrency = number(argv[4], 10000),
        .ms = number(argv[5], 60000),
    };
    shared_t *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        fail("mmap", strerror(errno));
    }
    ground_t ground;
    make_ground(&ground, &settings);
    int failures = run_workers(&ground, &settings, shared);
    clear_ground(&ground);
    if (failures > 0) {
        fail("a worker", "ended with a failure");
    }
    print_result(&settings, shared);
    return 0;
}
