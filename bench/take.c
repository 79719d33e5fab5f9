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
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ground.h"

#define WORKERS_MAX 64
#define BATCH 1000u /* between two looks at the clock */
#define KEY "/srv/www/bench/echo.fcgi"

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
    ground_attach(ground, settings->may_block);
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

int main(int argc, char **argv) {
    if (argc != 6) {
        fail("usage", "take WORKERS nginx|apache ENDPOINTS CONCURRENCY MS");
    }
    settings_t settings = {
        .workers = read_number(argv[1], WORKERS_MAX),
        .may_block = strcmp(argv[2], "apache") == 0,
        .endpoints = read_number(argv[3], (int)USHER_CLASS_ENDPOINTS_MAX),
        .concurrency = read_number(argv[4], 10000),
        .ms = read_number(argv[5], 60000),
    };
    shared_t *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        fail("mmap", strerror(errno));
    }
    ground_t ground;
    ground_make(&ground);
    ground_add_class(&ground, KEY, settings.endpoints, (uint32_t)settings.concurrency);
    int failures = run_workers(&ground, &settings, shared);
    ground_clear(&ground);
    if (failures > 0) {
        fail("a worker", "ended with a failure");
    }
    print_result(&settings, shared);
    return 0;
}
