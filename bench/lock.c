/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel's lock:
 *
 *   lock contend WORKERS MS      WORKERS processes take it and give it back, for MS milliseconds
 *   lock recover TIMES           an owner is killed, another one waits for the lock
 *
 * Each prints one line of JSON. contend: acquisitions a second of all together, how long each was
 * waited for, processor time of each; what is written under the lock must come out right. recover: ns
 * from each kill until the next owner has the lock, and until the kernel has told of the death.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "channel/internal.h"
#include "ground.h"

#define WORKERS_MAX 64
#define TIMES_MAX 1000
#define WAIT_NS 5000000000u
/* A histogram of ns: SUB buckets for each power of two, so that a value is off by 1/SUB at most. */
#define SUB 16u
#define BUCKETS (64u * SUB)

typedef struct {
    uint64_t taken, timeouts, waited_max_ns, processor_ns, wall_ns;
    uint64_t waited[BUCKETS];
} count_t;

typedef struct {
    _Atomic int arrived;
    volatile uint64_t under_lock; /* counted without atomics */
    _Atomic int holds, waits;     /* of recover: the round in which somebody does */
    _Atomic uint64_t taken_ns;
    count_t counts[WORKERS_MAX];
} shared_t;

static unsigned bucket_of(uint64_t ns) {
    unsigned power = 63u - (unsigned)__builtin_clzll(ns | SUB);
    return (power - 4) * SUB + (unsigned)(ns >> (power - 4));
}

static uint64_t least_of(unsigned bucket) {
    return bucket < 2 * SUB ? bucket : (uint64_t)(SUB + bucket % SUB) << (bucket / SUB - 1);
}

/* ---- contend ------------------------------------------------------------------------------- */

static void take_and_release(usher_channel_t *channel, shared_t *shared, count_t *count) {
    uint64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
    if (usher_lock_take(channel, WAIT_NS) != USHER_OK) {
        count->timeouts++;
        return;
    }
    uint64_t waited_ns = clock_ns(CLOCK_MONOTONIC) - begun_ns;
    shared->under_lock++;
    usher_lock_release(channel);
    count->taken++;
    count->waited[bucket_of(waited_ns)]++;
    if (waited_ns > count->waited_max_ns) {
        count->waited_max_ns = waited_ns;
    }
}

static void contend(const ground_t *ground, shared_t *shared, int workers, int ms, count_t *count) {
    ground_attach(ground, true);
    atomic_fetch_add(&shared->arrived, 1);
    while (atomic_load(&shared->arrived) < workers) {
        usleep(100);
    }
    uint64_t began_ns = clock_ns(CLOCK_MONOTONIC);
    uint64_t processor_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (clock_ns(CLOCK_MONOTONIC) - began_ns < (uint64_t)ms * 1000000u) {
        take_and_release(ground->channel, shared, count);
    }
    count->processor_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - processor_ns;
    count->wall_ns = clock_ns(CLOCK_MONOTONIC) - began_ns;
    usher_worker_detach(ground->channel);
}

static uint64_t share_of(const count_t *all, double share) {
    uint64_t rank = (uint64_t)((double)all->taken * share), seen = 0;
    for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
        seen += all->waited[bucket];
        if (seen > rank) {
            return least_of(bucket);
        }
    }
    return all->waited_max_ns;
}

static void print_contention(const ground_t *ground, const shared_t *shared, int workers) {
    static count_t all;
    double per_second = 0;
    for (int i = 0; i < workers; i++) {
        const count_t *one = &shared->counts[i];
        all.taken += one->taken;
        all.timeouts += one->timeouts;
        all.processor_ns += one->processor_ns;
        all.waited_max_ns =
            one->waited_max_ns > all.waited_max_ns ? one->waited_max_ns : all.waited_max_ns;
        per_second += (double)one->taken * 1e9 / (double)one->wall_ns;
        for (unsigned bucket = 0; bucket < BUCKETS; bucket++) {
            all.waited[bucket] += one->waited[bucket];
        }
    }
    uint64_t successions = atomic_load(&ground->channel->cells->header.lock_successions);
    if (shared->under_lock != all.taken && successions == 0) {
        fail("the lock", "two had it at a time");
    }
    printf("{\"perSecond\": %.0f, \"p50Ns\": %" PRIu64 ", \"p99Ns\": %" PRIu64
           ", \"p999Ns\": %" PRIu64 ", \"maxNs\": %" PRIu64
           ", \"processorNs\": %.1f, \"timeouts\": %" PRIu64 ", \"successions\": %" PRIu64 "}\n",
           per_second, share_of(&all, 0.5), share_of(&all, 0.99), share_of(&all, 0.999),
           all.waited_max_ns, (double)all.processor_ns / (double)all.taken, all.timeouts,
           successions);
}

static void run_contend(const ground_t *ground, shared_t *shared, int workers, int ms) {
    for (int i = 0; i < workers; i++) {
        pid_t pid = fork();
        if (pid < 0) {
            fail("fork", strerror(errno));
        }
        if (pid == 0) {
            alarm((unsigned)ms / 1000 + 60);
            contend(ground, shared, workers, ms, &shared->counts[i]);
            _exit(0);
        }
    }
    for (int i = 0; i < workers; i++) {
        int status = 0;
        wait(&status);
        if (status != 0) {
            fail("a worker", "ended with a failure");
        }
    }
    print_contention(ground, shared, workers);
}

/* ---- recover ------------------------------------------------------------------------------- */

static _Noreturn void hold(const ground_t *ground, shared_t *shared, int round) {
    alarm(60);
    ground_attach(ground, true);
    if (usher_lock_take(ground->channel, WAIT_NS) != USHER_OK) {
        fail("the lock", "cannot be taken");
    }
    atomic_store(&shared->holds, round);
    for (;;) {
        pause();
    }
}

static _Noreturn void succeed(const ground_t *ground, shared_t *shared, int times) {
    alarm(120);
    ground_attach(ground, true);
    for (int round = 1; round <= times; round++) {
        while (atomic_load(&shared->holds) != round) {
            usleep(200);
        }
        atomic_store(&shared->waits, round);
        usher_status_t status = usher_lock_take(ground->channel, WAIT_NS);
        atomic_store(&shared->taken_ns, clock_ns(CLOCK_MONOTONIC));
        if (status != USHER_OK) {
            fail("the lock of a dead owner", "cannot be taken");
        }
        usher_lock_release(ground->channel);
    }
    usher_worker_detach(ground->channel);
    _exit(0);
}

/* The next owner is in its sleep, anywhere in it, when the owner is killed. */
static uint64_t kill_an_owner(const ground_t *ground, shared_t *shared, int round,
                              uint64_t *death_ns) {
    atomic_store(&shared->taken_ns, 0);
    pid_t owner = fork();
    if (owner == 0) {
        hold(ground, shared, round);
    }
    while (atomic_load(&shared->waits) != round) {
        usleep(200);
    }
    usleep(5000 + (useconds_t)(rand() % 4000));
    uint64_t killed_ns = clock_ns(CLOCK_MONOTONIC);
    kill(owner, SIGKILL);
    waitpid(owner, NULL, 0);
    *death_ns = clock_ns(CLOCK_MONOTONIC) - killed_ns;
    while (atomic_load(&shared->taken_ns) == 0) {
        usleep(200);
    }
    return atomic_load(&shared->taken_ns) - killed_ns;
}

static void print_times(const char *name, const uint64_t *ns, int count) {
    printf("\"%s\": [", name);
    for (int i = 0; i < count; i++) {
        printf("%s%" PRIu64, i == 0 ? "" : ", ", ns[i]);
    }
    printf("]");
}

static void run_recover(const ground_t *ground, shared_t *shared, int times) {
    pid_t successor = fork();
    if (successor == 0) {
        succeed(ground, shared, times);
    }
    static uint64_t taken_ns[TIMES_MAX], death_ns[TIMES_MAX];
    for (int i = 0; i < times; i++) {
        taken_ns[i] = kill_an_owner(ground, shared, i + 1, &death_ns[i]);
    }
    int status = 0;
    waitpid(successor, &status, 0);
    uint64_t successions = atomic_load(&ground->channel->cells->header.lock_successions);
    if (status != 0 || successions < (uint64_t)times) {
        fail("the successor", "has not succeeded each time");
    }
    printf("{");
    print_times("takenNs", taken_ns, times);
    printf(", ");
    print_times("deathNs", death_ns, times);
    puts("}");
}

int main(int argc, char **argv) {
    bool contends = argc == 4 && strcmp(argv[1], "contend") == 0;
    if (!contends && !(argc == 3 && strcmp(argv[1], "recover") == 0)) {
        fail("usage", "lock contend WORKERS MS | lock recover TIMES");
    }
    shared_t *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        fail("mmap", strerror(errno));
    }
    ground_t ground;
    ground_make(&ground);
    if (contends) {
        run_contend(&ground, shared, read_number(argv[2], WORKERS_MAX),
                    read_number(argv[3], 60000));
    } else {
        run_recover(&ground, shared, read_number(argv[2], TIMES_MAX));
    }
    ground_clear(&ground);
    return 0;
}
