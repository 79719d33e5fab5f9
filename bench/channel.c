/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker does for a request, besides taking a place (take.c):
 *
 *   channel find|look|queue CLASSES MS
 *
 * find: a request for any of CLASSES classes that are ready, from begin to end with its place.
 * look: a further look for a request whose class is known and has no instance yet.
 * queue: a request that finds all places of its class taken, and leaves again.
 * Prints one line of JSON: ns of processor time of each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ground.h"

#define BATCH 1000u /* between two looks at the clock */
#define KEY_MAX 64

typedef struct {
    usher_channel_t *channel;
    char (*keys)[KEY_MAX];
    uint32_t classes, at;
    usher_request_t waiting; /* of look */
} work_t;

typedef void (*step_t)(work_t *);

static usher_status_t admit(work_t *work, usher_request_t *request) {
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    usher_admission_t admission;
    return usher_request_admit(work->channel, request, &address, &length, &admission);
}

/* In an order that no cache knows in advance: 7919 is prime to all numbers of classes there are. */
static const char *next_key(work_t *work) {
    work->at = (work->at + 7919u) % work->classes;
    return work->keys[work->at];
}

static void expect(usher_status_t status, usher_status_t expected, const char *key) {
    if (status != expected) {
        fail(key, "was not admitted as expected");
    }
}

static void find(work_t *work) {
    usher_request_t request;
    const char *key = next_key(work);
    usher_request_begin(work->channel, &request, key, strlen(key));
    expect(admit(work, &request), USHER_OK, key);
    usher_request_end(work->channel, &request, USHER_OUTCOME_FINISHED);
}

static void look(work_t *work) {
    expect(admit(work, &work->waiting), USHER_AGAIN, work->waiting.key);
}

static void queue(work_t *work) {
    usher_request_t request;
    const char *key = next_key(work);
    usher_request_begin(work->channel, &request, key, strlen(key));
    expect(admit(work, &request), USHER_AGAIN, key);
    usher_request_end(work->channel, &request, USHER_OUTCOME_ABORTED);
}

static double measure(work_t *work, step_t step, int ms) {
    uint64_t steps = 0;
    for (uint32_t i = 0; i < work->classes; i++) {
        step(work); /* touches every page */
    }
    uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000u;
    uint64_t processor_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    while (clock_ns(CLOCK_MONOTONIC) < until_ns) {
        for (uint32_t i = 0; i < BATCH; i++) {
            step(work);
        }
        steps += BATCH;
    }
    return (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - processor_ns) / (double)steps;
}

/* Ready with two places, or with one that somebody has, or without an instance. */
static void add_classes(ground_t *ground, work_t *work, step_t step) {
    for (uint32_t i = 0; i < work->classes; i++) {
        snprintf(work->keys[i], KEY_MAX, "/srv/www/site-%u/cgi-bin/application.fcgi", i);
        usher_ref_t ref =
            ground_add_class(ground, work->keys[i], step == look ? 0 : 1, step == find ? 2 : 1);
        if (step == look) {
            usher_manager_set_class(ground->manager, ref, USHER_CLASS_STARTING, 0, 0, NULL);
        }
    }
}

static void take_all(work_t *work) {
    usher_request_t *taken = calloc(work->classes, sizeof(*taken));
    for (uint32_t i = 0; taken && i < work->classes; i++) {
        usher_request_begin(work->channel, &taken[i], work->keys[i], strlen(work->keys[i]));
        expect(admit(work, &taken[i]), USHER_OK, work->keys[i]);
    }
}

static step_t step_of(const char *name) {
    if (strcmp(name, "find") == 0) {
        return find;
    }
    return strcmp(name, "look") == 0 ? look : strcmp(name, "queue") == 0 ? queue : NULL;
}

int main(int argc, char **argv) {
    step_t step = argc == 4 ? step_of(argv[1]) : NULL;
    if (!step) {
        fail("usage", "channel find|look|queue CLASSES MS");
    }
    ground_t ground;
    work_t work = {.classes = (uint32_t)read_number(argv[2], USHER_CLASSES_MAX)};
    int ms = read_number(argv[3], 60000);
    work.keys = calloc(work.classes, KEY_MAX);
    ground_make(&ground);
    work.channel = ground.channel;
    add_classes(&ground, &work, step);
    ground_attach(&ground, false);
    if (step == queue) {
        take_all(&work);
    } else if (step == look) {
        const char *key = next_key(&work);
        usher_request_begin(work.channel, &work.waiting, key, strlen(key));
    }
    double processor_ns = measure(&work, step, ms);
    usher_worker_detach(work.channel);
    ground_clear(&ground);
    printf("{\"processorNs\": %.2f}\n", processor_ns);
    return 0;
}
