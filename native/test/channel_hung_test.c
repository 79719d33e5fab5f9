/* SPDX-License-Identifier: Apache-2.0 */
/* Instances that hang: who is told, what is lent no more, whom the manager believes. */
#include "channel_steps.h"

#include "channel_fixture.h"

static uint32_t hung_at(fixture_t *fixture, usher_ref_t endpoint) {
    uint32_t count = UINT32_MAX;
    must(usher_manager_hung(fixture->manager, endpoint, &count));
    return count;
}

static void time_out(fixture_t *fixture, visit_t *visit) {
    usher_request_end(fixture->channel, &visit->request, USHER_OUTCOME_TIMED_OUT);
}

/* A class with one ready endpoint of `concurrency` places. */
static usher_ref_t add_one(fixture_t *fixture, const char *key, uint32_t concurrency,
                           usher_ref_t *endpoint) {
    usher_ref_t class_ref = add_class(fixture, key, plain_limits);
    *endpoint = add_endpoint(fixture, class_ref, key, concurrency, USHER_ENDPOINT_READY);
    must(usher_manager_set_class(fixture->manager, class_ref, USHER_CLASS_READY, 0, 0, NULL));
    return class_ref;
}

static void test_hung(void) {
    fixture_t fixture;
    visit_t first, second, third;
    usher_ref_t endpoint;
    uint32_t index, in_flight;
    usher_load_t load;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_one(&fixture, "app", 3, &endpoint);
    must(ask(fixture.channel, &first, "app"));
    must(ask(fixture.channel, &second, "app"));
    usher_manager_changed(fixture.manager, &index, 1);
    usher_manager_wait(fixture.manager, 0);
    is_int(hung_at(&fixture, endpoint), 0, "nothing hangs");

    time_out(&fixture, &first);
    is_int(hung_at(&fixture, endpoint), 1, "a request timed out");
    is_int(usher_manager_wait(fixture.manager, 0), USHER_OK, "the doorbell rings");
    is_int(usher_manager_changed(fixture.manager, &index, 1), 1, "for one class");
    is_int(index, class_ref.index, "this one");
    must(usher_manager_load(fixture.manager, class_ref, &load));
    ok(load.failed == 1 && load.in_flight == 1, "it counts as failed, and is not there any more");
    is_int(ask(fixture.channel, &third, "app"), USHER_AGAIN, "no place of the instance is lent");
    time_out(&fixture, &second);
    is_int(hung_at(&fixture, endpoint), 2, "each that times out is counted");
    must(usher_manager_in_flight(fixture.manager, endpoint, &in_flight));
    is_int(in_flight, 0, "and holds no place");
    is_int(usher_manager_repair_hints(fixture.manager, class_ref), 0, "the hints are right");

    must(usher_manager_set_endpoint(fixture.manager, endpoint, USHER_ENDPOINT_READY, 1));
    is_int(admit(fixture.channel, &third), USHER_AGAIN, "it hangs still");
    usher_ref_t other = add_endpoint(&fixture, class_ref, "2.0", 1, USHER_ENDPOINT_READY);
    is_int(admit(fixture.channel, &third), USHER_OK, "another instance is used");
    is_int(third.request.endpoint_ref.index, other.index, "that one");
    end(fixture.channel, &third);

    must(usher_manager_set_endpoint(fixture.manager, endpoint, USHER_ENDPOINT_DRAINING, 1));
    must(usher_manager_set_endpoint(fixture.manager, endpoint, USHER_ENDPOINT_STARTING, 0));
    is_int(hung_at(&fixture, endpoint), 0, "its successor does not hang");
    must(usher_manager_set_endpoint(fixture.manager, other, USHER_ENDPOINT_DRAINING, 1));
    is_int(ask(fixture.channel, &first, "app"), USHER_OK, "and serves");
    time_out(&fixture, &first);
    is_int(hung_at(&fixture, endpoint), 1, "until it hangs as well");

    must(usher_manager_remove_endpoint(fixture.manager, endpoint));
    uint32_t count;
    is_int(usher_manager_hung(fixture.manager, endpoint, &count), USHER_STALE, "gone");
    usher_ref_t next = add_endpoint(&fixture, class_ref, "3.0", 1, USHER_ENDPOINT_READY);
    is_int(next.index, endpoint.index, "another endpoint in its record");
    is_int(hung_at(&fixture, next), 0, "does not hang");
    is_int(ask(fixture.channel, &first, "app"), USHER_OK, "and serves");
    end(fixture.channel, &first);
    finish(&fixture);
}

/* What hangs is known after its worker, its server and the manager are gone. */
static void test_memory(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    visit_t visit;
    usher_ref_t endpoint;
    begin(&fixture);
    attach(&fixture, false);
    add_one(&fixture, "app", 1, &endpoint);
    must(ask(fixture.channel, &visit, "app"));
    time_out(&fixture, &visit);
    usher_worker_detach(fixture.channel);
    is_int(settle(&fixture), 1, "its worker is gone");
    is_int(hung_at(&fixture, endpoint), 1, "the instance hangs still");
    usher_manager_close(fixture.manager);
    must(usher_manager_open(fixture.runtime_dir, &fixture.manager, &error));
    must(usher_manager_attach_server(fixture.manager, SERVER, fixture.live_path, &fixture.server,
                                     &error));
    is_int(hung_at(&fixture, endpoint), 1, "the next manager knows it");
    usher_manager_detach_server(fixture.manager, fixture.server);
    is_int(hung_at(&fixture, endpoint), 1, "also when the server is gone");
    must(usher_manager_set_endpoint(fixture.manager, endpoint, USHER_ENDPOINT_STARTING, 0));
    is_int(hung_at(&fixture, endpoint), 0, "until another instance is there");
    finish(&fixture);
}

static void test_external(void) {
    fixture_t fixture;
    visit_t visit;
    usher_ref_t class_ref = {0, 0};
    begin(&fixture);
    attach(&fixture, false);
    usher_class_identity_t identity = {.kind = USHER_KIND_EXTERNAL, .key = "far", .key_length = 3};
    must(usher_manager_add_class(fixture.manager, &identity, &plain_limits, &class_ref));
    usher_ref_t endpoint = add_endpoint(&fixture, class_ref, "far", 1, USHER_ENDPOINT_READY);
    must(ask(fixture.channel, &visit, "far"));
    time_out(&fixture, &visit);
    is_int(hung_at(&fixture, endpoint), 1, "an external host is counted");
    is_int(usher_manager_repair_hints(fixture.manager, class_ref), 0, "no hint is missing");
    is_int(ask(fixture.channel, &visit, "far"), USHER_OK, "and used all the same");
    end(fixture.channel, &visit);
    finish(&fixture);
}

/* ---- hints and cells that do not agree ---------------------------------------------------- */

static void test_repair(void) {
    fixture_t fixture;
    visit_t visit;
    usher_ref_t endpoint;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_one(&fixture, "app", 1, &endpoint);
    _Atomic uint32_t *hint = &fixture.channel->places->places[endpoint.index].hung;
    uint32_t instance = fixture.manager->table->endpoints[endpoint.index].instance;
    atomic_store(hint, instance);
    is_int(ask(fixture.channel, &visit, "app"), USHER_AGAIN, "a lie keeps an instance away");
    is_int(hung_at(&fixture, endpoint), 0, "the manager does not believe it");
    is_int(usher_manager_repair_hints(fixture.manager, class_ref), 1, "and takes it back");
    is_int(admit(fixture.channel, &visit), USHER_OK, "the instance is used again");
    time_out(&fixture, &visit);
    atomic_store(hint, 0);
    is_int(usher_manager_repair_hints(fixture.manager, class_ref), 1, "a lost hint is restored");
    is_int(ask(fixture.channel, &visit, "app"), USHER_AGAIN, "the instance is used no more");
    finish(&fixture);
}

/* A server says what it likes of classes that are not for it. */
static void test_slander(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    usher_channel_t *other = NULL;
    char live_path[96];
    uint32_t handle;
    usher_ref_t class_ref = {0, 0};
    begin(&fixture);
    make_live_file(&fixture, "apache-test", live_path);
    must(usher_channel_open(fixture.runtime_dir, "apache-test", &other, &error));
    must(usher_manager_attach_server(fixture.manager, "apache-test", live_path, &handle, &error));
    usher_class_identity_t identity = {.kind = USHER_KIND_STATIC,
                                       .key = "app",
                                       .key_length = 3,
                                       .server_id = usher_hash(SERVER, strlen(SERVER))};
    must(usher_manager_add_class(fixture.manager, &identity, &plain_limits, &class_ref));
    usher_ref_t endpoint = add_endpoint(&fixture, class_ref, "1.0", 1, USHER_ENDPOINT_READY);
    must(usher_worker_attach(other, live_path, 1, false, &error));
    usher_hung_count(other, endpoint, USHER_KIND_STATIC);
    is_int(hung_at(&fixture, endpoint), 0, "who may not use a class says nothing about it");
    is_int(usher_manager_repair_hints(fixture.manager, class_ref), 1, "and hints are repaired");
    usher_manager_detach_server(fixture.manager, handle);
    is_int(hung_at(&fixture, endpoint), 0, "nor after it was detached");
    usher_channel_close(other);
    finish(&fixture);
}

/* Workers give requests up at the same moment, and each of them counts. */
static void give_up_many(fixture_t *fixture, void *argument) {
    visit_t *visit = argument;
    usher_worker_detach(fixture->channel);
    attach(fixture, true);
    for (uint32_t i = 0; i < 1000; i++) {
        usher_hung_count(fixture->channel, visit->request.endpoint_ref, USHER_KIND_STATIC);
    }
}

static void test_many(void) {
    fixture_t fixture;
    visit_t visit;
    usher_ref_t endpoint;
    pid_t pids[4];
    begin(&fixture);
    attach(&fixture, true);
    add_one(&fixture, "app", 1, &endpoint);
    must(ask(fixture.channel, &visit, "app"));
    for (uint32_t i = 0; i < 4; i++) {
        pids[i] = spawn(give_up_many, &fixture, &visit);
    }
    for (uint32_t i = 0; i < 4; i++) {
        must(reap(pids[i]) == 0 ? 0 : -1);
    }
    is_int(hung_at(&fixture, endpoint), 4000, "all are counted");
    end(fixture.channel, &visit);
    finish(&fixture);
}

/* ---- whose time is it -------------------------------------------------------------------- */

static void test_overdue(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_class(&fixture, "app", plain_limits);
    is_int(ask(fixture.channel, &visit, "app"), USHER_AGAIN, "waits for an instance");
    ok(!usher_request_is_overdue(fixture.channel, &visit.request), "without a place it may");
    usher_ref_t endpoint = add_endpoint(&fixture, class_ref, "1.0", 2, USHER_ENDPOINT_STARTING);
    is_int(admit(fixture.channel, &visit), USHER_OK, "waits in the socket of one that starts");
    for (uint32_t i = 0; i < 3; i++) {
        ok(!usher_request_is_overdue(fixture.channel, &visit.request), "its start takes its time");
    }
    must(usher_manager_set_endpoint(fixture.manager, endpoint, USHER_ENDPOINT_READY, 1));
    ok(!usher_request_is_overdue(fixture.channel, &visit.request), "it was starting until now");
    ok(usher_request_is_overdue(fixture.channel, &visit.request), "its answer takes too long");
    end(fixture.channel, &visit);
    must(ask(fixture.channel, &visit, "app"));
    ok(usher_request_is_overdue(fixture.channel, &visit.request), "a ready one is asked at once");
    end(fixture.channel, &visit);
    finish(&fixture);
}

/* A place that is held for a program that works on for nobody. */
static void test_use(void) {
    fixture_t fixture;
    visit_t visit, other;
    usher_ref_t endpoint;
    begin(&fixture);
    attach(&fixture, false);
    add_one(&fixture, "app", 2, &endpoint);
    must(ask(fixture.channel, &visit, "app"));
    usher_manager_t *manager = fixture.manager;
    ok(usher_request_has_use(fixture.channel, &visit.request), "its instance is in use");
    must(usher_manager_set_endpoint(manager, endpoint, USHER_ENDPOINT_DRAINING, 1));
    ok(!usher_request_has_use(fixture.channel, &visit.request), "not while it is retired");
    must(usher_manager_set_endpoint(manager, endpoint, USHER_ENDPOINT_READY, 1));
    ok(usher_request_has_use(fixture.channel, &visit.request), "in use again");
    must(ask(fixture.channel, &other, "app"));
    time_out(&fixture, &other);
    ok(!usher_request_has_use(fixture.channel, &visit.request), "not when it hangs");
    must(usher_manager_set_endpoint(manager, endpoint, USHER_ENDPOINT_STARTING, 0));
    ok(!usher_request_has_use(fixture.channel, &visit.request), "its successor is another one");
    must(usher_manager_remove_endpoint(manager, endpoint));
    ok(!usher_request_has_use(fixture.channel, &visit.request), "it is gone");
    end(fixture.channel, &visit);
    ok(!usher_request_has_use(fixture.channel, &visit.request), "it holds no place");
    finish(&fixture);
}

int main(void) {
    test_hung();
    test_memory();
    test_external();
    test_repair();
    test_slander();
    test_many();
    test_overdue();
    test_use();
    return done_testing();
}
