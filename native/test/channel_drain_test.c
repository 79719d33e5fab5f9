/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A manager drains an endpoint again and again, while the worker takes places there and another of
 * its threads recounts all the time; for TSan as well.
 */
#include <pthread.h>
#include <sched.h>

#include "channel_fixture.h"

#define DRAINS 20000u
#define THREADS_MAX 2u
#define ENDPOINT 0u /* the first one */

typedef struct {
    fixture_t *fixture;
    _Atomic bool stop;
    _Atomic bool drained;  /* the manager saw no request after it had said DRAINING */
    _Atomic uint32_t lost; /* requests that held a place meanwhile */
    _Atomic uint32_t back; /* cells that did not hold what was counted */
    _Atomic uint64_t served;
    bool alone;
} scene_t;

static void *recount(void *argument) {
    scene_t *scene = argument;
    while (!atomic_load(&scene->stop)) {
        usher_worker_recount(scene->fixture->channel);
    }
    return NULL;
}

/* Only a thread that counts alone knows what its cell must hold. */
static void check_cell(scene_t *scene, uint32_t expected) {
    const usher_channel_t *channel = scene->fixture->channel;
    uint64_t cell = atomic_load(&channel->worker->counts[ENDPOINT]);
    scene->back += scene->alone && ((uint32_t)cell != expected ||
                                    cell != atomic_load(&channel->own->counts[ENDPOINT]));
}

static void *serve(void *argument) {
    scene_t *scene = argument;
    usher_channel_t *channel = scene->fixture->channel;
    while (!atomic_load(&scene->stop)) {
        visit_t visit;
        bool taken = ask(channel, &visit, "app") == USHER_OK;
        check_cell(scene, taken ? 1 : 0);
        scene->lost += taken && atomic_load(&scene->drained);
        scene->served += taken;
        usher_request_end(channel, &visit.request,
                          taken ? USHER_OUTCOME_FINISHED : USHER_OUTCOME_ABORTED);
        check_cell(scene, 0);
    }
    return NULL;
}

/* How often nobody was there. */
static uint32_t drain_often(scene_t *scene, usher_ref_t endpoint) {
    usher_manager_t *manager = scene->fixture->manager;
    uint32_t drained = 0, in_flight;
    for (uint32_t i = 0; i < DRAINS; i++) {
        must(usher_manager_set_endpoint(manager, endpoint, USHER_ENDPOINT_DRAINING, 1));
        must(usher_manager_in_flight(manager, endpoint, &in_flight));
        if (in_flight == 0) {
            drained++;
            atomic_store(&scene->drained, true);
            for (uint32_t look = 0; look < i % 64; look++) {
                must(usher_manager_in_flight(manager, endpoint, &in_flight));
            }
            atomic_store(&scene->drained, false);
        }
        must(usher_manager_set_endpoint(manager, endpoint, USHER_ENDPOINT_READY, 1));
        for (uint32_t look = 0; look < i % 64; look++) {
            must(usher_manager_in_flight(manager, endpoint, &in_flight));
        }
    }
    return drained;
}

static void test_drains(bool alone) {
    fixture_t fixture;
    usher_load_t load;
    scene_t scene = {.fixture = &fixture, .alone = alone};
    pthread_t recounting, serving[THREADS_MAX];
    uint32_t threads = alone ? 1 : THREADS_MAX;
    printf("# a worker of %s\n", alone ? "one thread" : "several threads");
    begin(&fixture);
    attach(&fixture, !alone);
    usher_ref_t app = add_class(&fixture, "app", plain_limits);
    usher_ref_t endpoint = add_endpoint(&fixture, app, "1.0", 4, USHER_ENDPOINT_READY);
    usher_manager_set_class(fixture.manager, app, USHER_CLASS_READY, 0, 0, NULL);
    pthread_create(&recounting, NULL, recount, &scene);
    for (uint32_t i = 0; i < threads; i++) {
        pthread_create(&serving[i], NULL, serve, &scene);
    }
    uint32_t drained = drain_often(&scene, endpoint);
    while (atomic_load(&scene.served) == 0) {
        sched_yield();
    }
    atomic_store(&scene.stop, true);
    for (uint32_t i = 0; i < threads; i++) {
        pthread_join(serving[i], NULL);
    }
    pthread_join(recounting, NULL);
    printf("# %u of %u times nobody was there, %llu requests\n", drained, DRAINS,
           (unsigned long long)scene.served);
    ok(drained > 0 && scene.lost == 0, "no request was there when the cells said so");
    is_int(scene.back, 0, "no cell went back to an older count");
    must(usher_manager_load(fixture.manager, app, &load));
    ok(load.admitted == scene.served && load.finished == scene.served, "all are counted");
    ok(load.arrivals == load.finished + load.aborted, "those that got no place as well");
    is_int(fixture.channel->cells->header.damages, 0, "nothing is taken for damage");
    usher_worker_detach(fixture.channel);
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left");
    finish(&fixture);
}

int main(void) {
    test_drains(true);
    test_drains(false);
    return done_testing();
}
