/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping and waking: threads at a full class, at an unknown one, and the manager at the doorbell. */
#include <pthread.h>
#include <sched.h>

#define SLEEP_MAX_NS (60000 * USHER_MS_NS) /* a lost wake-up costs a minute */
#include "channel_steps.h"

#include "channel_fixture.h"

#define LONG_MS 60000u
#define SHORT_NS (10000 * USHER_MS_NS) /* no wake-up was lost; how fast it was is for benchmarks */

typedef struct {
    _Atomic uint32_t ready, done, failures;
    const char *key;
    usher_status_t expected;
} guests_t;

static void visit_once(fixture_t *fixture, void *argument) {
    guests_t *guests = argument;
    visit_t visit;
    attach(fixture, true);
    usher_status_t status = ask(fixture->channel, &visit, guests->key);
    atomic_fetch_add(&guests->ready, 1);
    while (status == USHER_AGAIN) {
        usher_request_wait(fixture->channel, &visit.request, LONG_MS);
        status = admit(fixture->channel, &visit);
    }
    if (status != guests->expected) {
        atomic_fetch_add(&guests->failures, 1);
    }
    end(fixture->channel, &visit);
    atomic_fetch_add(&guests->done, 1);
}

static void await(const _Atomic uint32_t *value, uint32_t wanted) {
    while (atomic_load(value) < wanted) {
        pause_ms(1);
    }
}

static void test_publication(void) {
    enum { GUESTS = 8 };
    fixture_t fixture;
    pid_t pids[GUESTS];
    guests_t *guests = share(sizeof(*guests));
    guests->key = "/srv/new.fcgi";
    begin(&fixture);
    for (uint32_t i = 0; i < GUESTS; i++) {
        pids[i] = spawn(visit_once, &fixture, guests);
    }
    await(&guests->ready, GUESTS);
    is_int(usher_manager_wait(fixture.manager, 0), USHER_OK, "the doorbell rang");
    is_int(ready_entries(fixture.channel), 1, "they all asked for one start");
    uint64_t begun = usher_os_now_ns();
    usher_ref_t class_ref = add_class(&fixture, guests->key, plain_limits);
    await(&fixture.channel->places->gates[class_ref.index].waiting, GUESTS);
    ok(true, "published: they all wait for a place now");
    add_endpoint(&fixture, class_ref, "1.0", 1, USHER_ENDPOINT_STARTING);
    for (uint32_t i = 0; i < GUESTS; i++) {
        reap(pids[i]);
    }
    is_int(guests->failures, 0, "one place serves all of them, one after the other");
    ok(usher_os_now_ns() - begun < SHORT_NS, "no wake-up was lost");
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    is_int(fixture.channel->places->gates[class_ref.index].sleepers, 0, "nobody sleeps");
    finish(&fixture);
}

static void test_verdict_wakes(void) {
    fixture_t fixture;
    guests_t *guests = share(sizeof(*guests));
    guests->key = "app";
    guests->expected = USHER_REFUSED;
    begin(&fixture);
    usher_ref_t class_ref = add_class(&fixture, "app", plain_limits);
    pid_t pid = spawn(visit_once, &fixture, guests);
    await(&fixture.channel->places->gates[class_ref.index].sleepers, 1);
    must(usher_manager_set_class(fixture.manager, class_ref, USHER_CLASS_FAILED, 503, 0, "no"));
    uint64_t begun = usher_os_now_ns();
    reap(pid);
    ok(usher_os_now_ns() - begun < SHORT_NS, "a failed start wakes who waits for it");
    must(usher_manager_set_class(fixture.manager, class_ref, USHER_CLASS_COLD, 0, 0, NULL));
    pid = spawn(visit_once, &fixture, guests);
    await(&fixture.channel->places->gates[class_ref.index].sleepers, 1);
    usher_manager_set_state(fixture.manager, USHER_MANAGER_STOPPED, 0);
    begun = usher_os_now_ns();
    reap(pid);
    ok(usher_os_now_ns() - begun < SHORT_NS, "so does a manager that is stopped");
    is_int(guests->failures, 0, "all of them were refused");
    finish(&fixture);
}

static void test_no_sleep_for_nothing(void) {
    fixture_t fixture;
    visit_t served, waiting;
    begin(&fixture);
    attach(&fixture, true);
    add_ready_class(&fixture, "app", 1, 1);
    must(ask(fixture.channel, &served, "app"));
    must(ask(fixture.channel, &waiting, "app") == USHER_AGAIN ? 0 : -1);
    end(fixture.channel, &served);
    uint64_t begun = usher_os_now_ns();
    for (uint32_t i = 0; i < 1000; i++) {
        usher_request_wait(fixture.channel, &waiting.request, LONG_MS);
    }
    ok(usher_os_now_ns() - begun < 10 * SHORT_NS,
       "nobody sleeps when a place came free before he lay down");
    is_int(admit(fixture.channel, &waiting), USHER_OK, "he takes it");
    finish(&fixture);
}

static void test_deadline(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, true);
    usher_class_limits_t limits = plain_limits;
    limits.connect_timeout_ms = 20;
    add_class(&fixture, "app", limits);
    uint64_t begun = usher_os_now_ns();
    is_int(ask_and_wait(fixture.channel, &visit, "app"), USHER_REFUSED, "a deadline ends the wait");
    uint64_t waited = usher_os_now_ns() - begun;
    ok(waited >= 20 * USHER_MS_NS && waited < SHORT_NS, "in time: after %.1f ms",
       (double)waited / 1e6);
    ok(usher_request_waited_us(&visit.request) >= 20000, "and that is what it waited");
    finish(&fixture);
}

/* ---- fairness ---------------------------------------------------------------------------- */

typedef struct {
    _Atomic uint32_t go, stop;
    _Atomic uint64_t longest_us;
    _Atomic uint32_t served[64];
    _Atomic uint32_t workers;
} crowd_t;

static void come_again(fixture_t *fixture, void *argument) {
    crowd_t *crowd = argument;
    visit_t visit;
    attach(fixture, true);
    uint32_t me = atomic_fetch_add(&crowd->workers, 1);
    while (atomic_load(&crowd->stop) == 0) {
        must(ask_and_wait(fixture->channel, &visit, "app"));
        uint64_t waited = usher_request_waited_us(&visit.request);
        uint64_t longest = atomic_load(&crowd->longest_us);
        while (waited > longest &&
               !atomic_compare_exchange_weak(&crowd->longest_us, &longest, waited)) {
        }
        usleep(200);
        end(fixture->channel, &visit);
        atomic_fetch_add(&crowd->served[me], 1);
    }
}

/* Requests that `workers` get through `places` in a second. */
static uint32_t crowd_at(uint32_t workers, uint32_t places, crowd_t *crowd, uint32_t *least) {
    fixture_t fixture;
    pid_t pids[64];
    uint32_t total = 0;
    memset(crowd, 0, sizeof(*crowd));
    *least = UINT32_MAX;
    begin(&fixture);
    add_ready_class(&fixture, "app", places, 1);
    for (uint32_t i = 0; i < workers; i++) {
        pids[i] = spawn(come_again, &fixture, crowd);
    }
    pause_ms(1000);
    atomic_store(&crowd->stop, 1);
    for (uint32_t i = 0; i < workers; i++) {
        must(reap(pids[i]) == 0 ? 0 : -1);
    }
    for (uint32_t i = 0; i < workers; i++) {
        total += crowd->served[i];
        *least = crowd->served[i] < *least ? crowd->served[i] : *least;
    }
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    finish(&fixture);
    return total;
}

static void test_saturation(void) {
    crowd_t *crowd = share(sizeof(*crowd));
    uint32_t at_capacity = 0, saturated = 0, least = 0;
    /* Another second where something else has had the machine in one of the two. */
    for (uint32_t i = 0; i < 10 && (saturated <= at_capacity / 2 || least == 0); i++) {
        at_capacity = crowd_at(4, 4, crowd, &least);
        saturated = crowd_at(16, 4, crowd, &least);
    }
    ok(crowd->longest_us < SHORT_NS / 1000, "no wake-up was lost");
    ok(saturated > at_capacity / 2, "4 workers at 4 places: %u requests, 16 workers: %u",
       at_capacity, saturated);
    ok(least > 0, "the least lucky worker: %u, the longest wait: %.1f ms", least,
       (double)crowd->longest_us / 1000);
}

/* ---- the doorbell ------------------------------------------------------------------------ */

typedef struct {
    _Atomic uint32_t asked, heard, stop;
} bell_t;

/* Rings, then waits until the manager has dealt with it: a lost wake-up would cost its timeout. */
static void ring_and_wait(fixture_t *fixture, void *argument) {
    bell_t *bell = argument;
    uint64_t until_ns = usher_os_now_ns() + 3000 * USHER_MS_NS;
    for (uint32_t i = 1; i <= 20000 && usher_os_now_ns() < until_ns; i++) {
        atomic_store(&bell->asked, i);
        usher_channel_ring(fixture->channel);
        while (atomic_load(&bell->heard) < i) {
            sched_yield();
        }
    }
    atomic_store(&bell->stop, 1);
    usher_channel_ring(fixture->channel);
}

static void test_doorbell(void) {
    fixture_t fixture;
    bell_t *bell = share(sizeof(*bell));
    uint32_t lost = 0;
    begin(&fixture);
    is_int(usher_manager_wait(fixture.manager, 0), USHER_TIMEOUT, "a doorbell that did not ring");
    usher_channel_ring(fixture.channel);
    is_int(usher_manager_wait(fixture.manager, 1000), USHER_OK, "one that did");
    is_int(usher_manager_wait(fixture.manager, 1), USHER_TIMEOUT, "is reported once");
    pid_t pid = spawn(ring_and_wait, &fixture, bell);
    while (atomic_load(&bell->stop) == 0) {
        uint64_t begun = usher_os_now_ns();
        usher_manager_wait(fixture.manager, 20000);
        lost += usher_os_now_ns() - begun > SHORT_NS;
        atomic_store(&bell->heard, atomic_load(&bell->asked));
    }
    reap(pid);
    is_int(lost, 0, "no ring of %u is lost", bell->asked);
    finish(&fixture);
}

static void *sleep_long(void *argument) {
    fixture_t *fixture = argument;
    return (void *)(intptr_t)usher_manager_wait(fixture->manager, LONG_MS);
}

static void test_interrupt(void) {
    fixture_t fixture;
    uint32_t late = 0;
    begin(&fixture);
    for (uint32_t i = 0; i < 200; i++) {
        pthread_t thread;
        uint64_t begun = usher_os_now_ns();
        pthread_create(&thread, NULL, sleep_long, &fixture);
        if (i % 2 == 0) {
            pause_ms(1);
        }
        usher_manager_interrupt(fixture.manager);
        pthread_join(thread, NULL);
        late += usher_os_now_ns() - begun > 10 * SHORT_NS;
        usher_manager_wait(fixture.manager, 0); /* reports the interrupt's own ring */
    }
    is_int(late, 0, "an interrupt ends the wait, before and during it");
    finish(&fixture);
}

static void *rest_long(void *argument) {
    fixture_t *fixture = argument;
    return (void *)(intptr_t)usher_manager_wait(fixture->manager, 1);
}

/* Has a manager that rests, with a timeout of 1 ms, come back from its wait? */
static bool comes_back(fixture_t *fixture, void (*what)(fixture_t *)) {
    pthread_t thread;
    uint64_t begun_ns = usher_os_now_ns();
    usher_manager_rest(fixture->manager, LONG_MS);
    pthread_create(&thread, NULL, rest_long, fixture);
    what(fixture);
    pthread_join(thread, NULL);
    usher_manager_rest(fixture->manager, 0);
    return usher_os_now_ns() - begun_ns < SHORT_NS;
}

static void count_something(fixture_t *fixture) {
    usher_load_touch(fixture->channel, 5);
}

static void ring(fixture_t *fixture) {
    usher_channel_ring(fixture->channel);
}

static void end_rest(fixture_t *fixture) {
    pause_ms(5);
    usher_manager_rest(fixture->manager, 0);
}

/* A rest of no other end, and a beat that is older than any: the wait goes on after its timeouts. */
static void await_beat(fixture_t *fixture) {
    _Atomic uint64_t *seen_ns = &fixture->manager->table->header.manager_seen_ns;
    atomic_store(seen_ns, 1);
    while (atomic_load(seen_ns) == 1) {
        sched_yield();
    }
    usher_manager_rest(fixture->manager, 0);
}

static void test_rest(void) {
    fixture_t fixture;
    begin(&fixture);
    attach(&fixture, true);
    ok(comes_back(&fixture, await_beat), "a manager that rests goes on beating");
    ok(comes_back(&fixture, count_something), "what a worker counts ends its rest");
    ok(usher_is_touched(fixture.manager), "and is still to be looked at");
    uint32_t index;
    usher_manager_changed(fixture.manager, &index, 1);
    ok(!usher_is_touched(fixture.manager), "until it was");
    ok(comes_back(&fixture, ring), "a ring ends it");
    usher_manager_wait(fixture.manager, 0); /* in case the ring came first */
    ok(comes_back(&fixture, end_rest), "and who asked for it can");
    uint64_t until_ns = usher_os_now_ns() + 20 * USHER_MS_NS;
    usher_manager_rest(fixture.manager, 20);
    is_int(usher_manager_wait(fixture.manager, 1), USHER_TIMEOUT, "it ends in time");
    ok(usher_os_now_ns() >= until_ns, "not before");
    finish(&fixture);
}

int main(void) {
    test_publication();
    test_verdict_wakes();
    test_no_sleep_for_nothing();
    test_deadline();
    test_saturation();
    test_doorbell();
    test_interrupt();
    test_rest();
    return done_testing();
}
