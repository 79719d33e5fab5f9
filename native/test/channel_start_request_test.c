/* SPDX-License-Identifier: Apache-2.0 */
/* The start-request ring: entered once, read by the manager, full, entered again. */
#include "channel_fixture.h"

typedef struct {
    _Atomic uint32_t go, asked, failures;
} crowd_t;

static uint32_t read_all(fixture_t *fixture, const char *expected, bool consume) {
    uint32_t cursor = 0, entry, length, found = 0;
    char key[USHER_KEY_MAX];
    while (usher_manager_next_start_request(fixture->manager, fixture->server, &cursor, &entry, key,
                                            &length) == USHER_OK) {
        found += !expected || (strcmp(key, expected) == 0 && length == strlen(expected));
        if (consume) {
            usher_manager_finish_start_request(fixture->manager, fixture->server, entry);
        }
    }
    return found;
}

static void ask_together(fixture_t *fixture, void *argument) {
    crowd_t *crowd = argument;
    visit_t visit;
    attach(fixture, getpid() % 2 == 0);
    while (atomic_load(&crowd->go) == 0) {
        pause_ms(1);
    }
    usher_status_t status = ask(fixture->channel, &visit, "/srv/new.fcgi");
    while (status == USHER_AGAIN && visit.request.start_requested_ns == 0) {
        sched_yield();
        status = admit(fixture->channel, &visit);
    }
    atomic_fetch_add(&crowd->failures, status != USHER_AGAIN);
    atomic_fetch_add(&crowd->asked, 1);
    usher_request_end(fixture->channel, &visit.request, USHER_OUTCOME_ABORTED);
}

static void test_once(void) {
    enum { CHILDREN = 100 };
    fixture_t fixture;
    crowd_t *crowd = share(sizeof(*crowd));
    pid_t pids[CHILDREN];
    begin(&fixture);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        pids[i] = spawn(ask_together, &fixture, crowd);
    }
    atomic_store(&crowd->go, 1);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        must(reap(pids[i]) == 0 ? 0 : -1);
    }
    is_int(crowd->failures, 0, "%d processes ask for a class", CHILDREN);
    is_int(read_all(&fixture, "/srv/new.fcgi", false), 1, "it is entered once");
    is_int(read_all(&fixture, NULL, false), 1, "and nothing else; looking does not consume it");
    is_int(usher_manager_wait(fixture.manager, 0), USHER_OK, "the doorbell rang");
    is_int(read_all(&fixture, NULL, true), 1, "the manager takes it off");
    is_int(read_all(&fixture, NULL, true), 0, "once");
    is_int(ready_entries(fixture.channel), 0, "the ring is empty");
    finish(&fixture);
}

static void test_full(void) {
    fixture_t fixture;
    visit_t visit;
    char key[32];
    uint32_t again = 0;
    usher_server_info_t info;
    begin(&fixture);
    attach(&fixture, false);
    for (uint32_t i = 0; i < USHER_START_REQUESTS_MAX; i++) {
        snprintf(key, sizeof(key), "/full/%u", i);
        again += ask(fixture.channel, &visit, key) == USHER_AGAIN;
    }
    is_int(again, USHER_START_REQUESTS_MAX, "%u keys are entered", USHER_START_REQUESTS_MAX);
    is_int(ask(fixture.channel, &visit, "/full/one-more"), USHER_REFUSED, "one more is refused");
    is_int(visit.request.verdict_status, 503, "with 503");
    is_str(visit.request.reason,
           "cannot ask the manager: the start-request ring is full (256 entries)", "reason");
    is_int(ask(fixture.channel, &visit, "/full/7"), USHER_AGAIN, "a key that is there is not");
    must(usher_manager_settle(fixture.manager, fixture.server, &info));
    is_int(info.start_requests_refused, 1, "the refusal is counted");
    is_int(read_all(&fixture, NULL, true), USHER_START_REQUESTS_MAX, "the manager reads them all");
    is_int(ask(fixture.channel, &visit, "/full/one-more"), USHER_AGAIN, "then there is room");
    finish(&fixture);
}

static void test_again(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    must(ask(fixture.channel, &visit, "/lost") == USHER_AGAIN ? 0 : -1);
    is_int(read_all(&fixture, "/lost", true), 1, "an entry that the manager loses");
    must(admit(fixture.channel, &visit) == USHER_AGAIN ? 0 : -1);
    is_int(read_all(&fixture, NULL, false), 0, "is not entered again at once");
    visit.request.start_requested_ns -= 100 * USHER_MS_NS;
    must(admit(fixture.channel, &visit) == USHER_AGAIN ? 0 : -1);
    is_int(read_all(&fixture, "/lost", false), 1, "but after 100 ms");
    usher_ref_t ref = add_class(&fixture, "/lost", plain_limits);
    visit.request.start_requested_ns -= 100 * USHER_MS_NS;
    must(admit(fixture.channel, &visit) == USHER_AGAIN ? 0 : -1);
    read_all(&fixture, NULL, true);
    must(admit(fixture.channel, &visit) == USHER_AGAIN ? 0 : -1);
    is_int(read_all(&fixture, NULL, false), 0, "a class that is known needs no entry");
    usher_load_t load;
    must(usher_manager_load(fixture.manager, ref, &load));
    ok(load.arrivals == 1 && load.waiting == 1, "its waiting requests are counted instead");
    finish(&fixture);
}

static void test_known_rings_once(void) {
    fixture_t fixture;
    visit_t first, second;
    uint32_t indices[4];
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t ref = add_class(&fixture, "app", plain_limits);
    must(ask(fixture.channel, &first, "app") == USHER_AGAIN ? 0 : -1);
    is_int(usher_manager_wait(fixture.manager, 0), USHER_OK, "a waiting request rings");
    must(ask(fixture.channel, &second, "app") == USHER_AGAIN ? 0 : -1);
    is_int(usher_manager_wait(fixture.manager, 0), USHER_TIMEOUT, "a second one need not");
    is_int(usher_manager_changed(fixture.manager, indices, 4), 1, "until the manager has looked");
    is_int(indices[0], ref.index, "at that class");
    usher_request_end(fixture.channel, &second.request, USHER_OUTCOME_ABORTED);
    must(ask(fixture.channel, &second, "app") == USHER_AGAIN ? 0 : -1);
    is_int(usher_manager_wait(fixture.manager, 0), USHER_OK, "then it rings again");
    finish(&fixture);
}

/* A class that can have no more instances: one that waits is no news while one of it is ready. */
static void test_full_does_not_ring(void) {
    fixture_t fixture;
    visit_t serving, first, second;
    uint32_t indices[4];
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t ref = add_class(&fixture, "app", plain_limits);
    usher_ref_t endpoint = add_endpoint(&fixture, ref, "one", 1, USHER_ENDPOINT_READY);
    must(usher_manager_set_full(fixture.manager, ref, true));
    must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_READY, 0, 0, NULL));
    must(ask(fixture.channel, &serving, "app"));
    must(usher_manager_changed(fixture.manager, indices, 4) == 1 ? 0 : -1);

    must(ask(fixture.channel, &first, "app") == USHER_AGAIN ? 0 : -1);
    is_int(usher_manager_wait(fixture.manager, 0), USHER_TIMEOUT, "who waits does not ring");
    is_int(usher_manager_changed(fixture.manager, indices, 4), 1, "but is seen");
    usher_load_t load;
    must(usher_manager_load(fixture.manager, ref, &load));
    is_int((int)load.waiting, 1, "and counted");

    must(usher_manager_set_endpoint(fixture.manager, endpoint, USHER_ENDPOINT_DRAINING, 1));
    must(usher_manager_set_full(fixture.manager, ref, false));
    is_int(usher_manager_changed(fixture.manager, indices, 4), 1,
           "when it is full no longer it is looked at");
    must(ask(fixture.channel, &second, "app") == USHER_AGAIN ? 0 : -1);
    is_int(usher_manager_wait(fixture.manager, 0), USHER_OK, "and the next that waits rings");
    is_int(
        usher_manager_set_full(fixture.manager, (usher_ref_t){ref.index, ref.generation + 1}, true),
        USHER_STALE, "of a class that is no more");
    finish(&fixture);
}

/* Nothing is read into anything but the keys; damaged ones are freed. */
static void test_damaged(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    static const char *const keys[] = {"/1", "/2", "/3", "/4", "/5"};
    for (uint32_t i = 0; i < 5; i++) {
        must(ask(fixture.channel, &visit, keys[i]) == USHER_AGAIN ? 0 : -1);
    }
    usher_start_request_record_t *ring = fixture.channel->cells->ring;
    ring[0].key_length = USHER_KEY_MAX;
    ring[1].key_hash++;
    ring[2].state = 77;
    ring[3].key[1] = '\0';
    is_int(read_all(&fixture, "/5", false), 1, "four damaged entries are skipped");
    is_int(ring[0].state + ring[1].state + ring[2].state + ring[3].state, 0, "and freed");
    usher_damage_t damage = usher_manager_damage(fixture.manager, fixture.server);
    ok(damage.times == 4 && damage.what == USHER_DAMAGED_ASKED && damage.where == 3,
       "and told: %u times, the last one is entry %u", damage.times, damage.where);
    is_int(usher_manager_damage(fixture.manager, fixture.server).times, 0, "once");
    usher_manager_finish_start_request(fixture.manager, fixture.server, USHER_START_REQUESTS_MAX);
    usher_manager_finish_start_request(fixture.manager, 63, 0);
    ok(true, "an entry or server that is none is ignored");
    finish(&fixture);
}

static void test_keys(void) {
    fixture_t fixture;
    visit_t visit;
    char key[USHER_KEY_MAX];
    begin(&fixture);
    attach(&fixture, false);
    usher_channel_t *channel = fixture.channel;
    memset(key, 'x', sizeof(key));
    is_int(usher_request_begin(channel, &visit.request, key, 0), USHER_INVALID, "an empty key");
    is_int(admit(channel, &visit), USHER_INVALID, "gets nowhere");
    is_int(usher_request_begin(channel, &visit.request, key, USHER_KEY_MAX), USHER_INVALID,
           "one that is too long");
    key[5] = '\0';
    is_int(usher_request_begin(channel, &visit.request, key, 10), USHER_INVALID, "one with a NUL");
    key[5] = 'x';
    key[USHER_KEY_MAX - 1] = '\0';
    is_int(ask(channel, &visit, key), USHER_AGAIN, "the longest one");
    is_int(read_all(&fixture, key, true), 1, "reaches the manager");
    finish(&fixture);
}

int main(void) {
    test_once();
    test_full();
    test_again();
    test_known_rings_once();
    test_full_does_not_ring();
    test_damaged();
    test_keys();
    return done_testing();
}
