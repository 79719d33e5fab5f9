/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that share a worker slot, and a manager's thread beside them; meant for TSan as well. */
#include <pthread.h>
#include <sched.h>

#include "channel_fixture.h"

#define THREADS 8u
#define REQUESTS 3000u

typedef struct {
    fixture_t *fixture;
    uint32_t number;
    uint32_t served, wrong;
} guest_t;

static _Atomic uint32_t inside, most_inside, stop;

static void count_inside(void) {
    uint32_t now = atomic_fetch_add(&inside, 1) + 1;
    uint32_t most = atomic_load(&most_inside);
    while (now > most && !atomic_compare_exchange_weak(&most_inside, &most, now)) {
    }
}

static void *come_often(void *argument) {
    guest_t *guest = argument;
    usher_channel_t *channel = guest->fixture->channel;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        visit_t visit;
        char key[32] = "app";
        if (i % 50 == guest->number) {
            snprintf(key, sizeof(key), "/dynamic/%u", i / 50);
        }
        usher_status_t status = ask_and_wait(channel, &visit, key);
        if (status == USHER_OK) {
            count_inside();
            sched_yield();
            guest->served++;
            atomic_fetch_sub(&inside, 1);
        } else if (status != USHER_REFUSED || visit.request.verdict_status != 404) {
            guest->wrong++;
        }
        end(channel, &visit);
    }
    return NULL;
}

static void *manage(void *argument) {
    fixture_t *fixture = argument;
    usher_manager_t *manager = fixture->manager;
    uint32_t entry, length, indices[16];
    char key[USHER_KEY_MAX];
    usher_load_t load;
    usher_server_info_t info;
    usher_ref_t app = {0, 1}; /* the first class */
    while (atomic_load(&stop) == 0) {
        usher_manager_wait(manager, 5);
        uint32_t cursor = 0;
        while (usher_manager_next_start_request(manager, fixture->server, &cursor, &entry, key,
                                                &length) == USHER_OK) {
            usher_ref_t ref;
            usher_class_identity_t identity = {
                .kind = USHER_KIND_DYNAMIC, .key = key, .key_length = length};
            if (usher_manager_add_class(manager, &identity, &plain_limits, &ref) == USHER_OK) {
                usher_manager_set_class(manager, ref, USHER_CLASS_REFUSED, 404, 0, "not there");
            }
            usher_manager_finish_start_request(manager, fixture->server, entry);
        }
        usher_manager_changed(manager, indices, 16);
        usher_manager_load(manager, app, &load);
        usher_manager_settle(manager, fixture->server, &info);
        usher_manager_set_class(manager, app, USHER_CLASS_READY, 0, 0, "a reason");
        usher_manager_beat(manager);
    }
    return NULL;
}

int main(void) {
    fixture_t fixture;
    pthread_t threads[THREADS], managing;
    guest_t guests[THREADS];
    uint32_t served = 0, wrong = 0;
    begin(&fixture);
    attach(&fixture, true);
    usher_ref_t app = add_ready_class(&fixture, "app", 2, 1);
    pthread_create(&managing, NULL, manage, &fixture);
    for (uint32_t i = 0; i < THREADS; i++) {
        guests[i] = (guest_t){.fixture = &fixture, .number = i};
        pthread_create(&threads[i], NULL, come_often, &guests[i]);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        served += guests[i].served;
        wrong += guests[i].wrong;
    }
    atomic_store(&stop, 1);
    pthread_join(managing, NULL);
    is_int(wrong, 0, "%u threads of one worker are served", THREADS);
    ok(most_inside <= 2, "never more at once than there are places: %u", most_inside);
    usher_load_t load;
    must(usher_manager_load(fixture.manager, app, &load));
    ok(load.finished == served && load.admitted == served && load.waiting == 0 &&
           load.in_flight == 0,
       "%u requests, none counted twice or lost", served);
    usher_worker_detach(fixture.channel);
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    is_int(fixture.channel->places->gates[app.index].sleepers, 0, "nobody sleeps");
    finish(&fixture);
    return done_testing();
}
