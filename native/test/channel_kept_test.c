/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that workers keep: how many may be, where requests go, who is called, what is left of
 * the dead and of liars. */
#include "channel_steps.h"

#include "channel_fixture.h"

static const usher_class_limits_t keeping = {
    .queue_limit = 64, .connect_timeout_ms = 30000, .flags = USHER_CLASS_KEEP_CONN};

/* A class that keeps connections, with `endpoints` of `concurrency` places. */
static usher_ref_t add_keeping(fixture_t *fixture, uint32_t endpoints, uint32_t concurrency) {
    usher_ref_t class_ref = add_class(fixture, "app", keeping);
    for (uint32_t i = 0; i < endpoints; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u.0", i);
        add_endpoint(fixture, class_ref, name, concurrency, USHER_ENDPOINT_READY);
    }
    must(usher_manager_set_class(fixture->manager, class_ref, USHER_CLASS_READY, 0, 0, NULL));
    return class_ref;
}

static usher_ref_t place_of(const visit_t *visit) {
    return visit->request.endpoint_ref;
}

/* As at the end of a request. */
static bool keep_and_end(usher_channel_t *channel, visit_t *visit) {
    bool kept = usher_kept_add(channel, place_of(visit));
    end(channel, visit);
    return kept;
}

static usher_place_t *place_at(fixture_t *fixture, usher_ref_t endpoint) {
    return &fixture->channel->places->places[endpoint.index];
}

static void test_room(bool may_block) {
    fixture_t fixture;
    visit_t first, second, third;
    begin(&fixture);
    attach(&fixture, may_block);
    usher_ref_t class_ref = add_keeping(&fixture, 1, 2);
    usher_channel_t *channel = fixture.channel;
    must(ask(channel, &first, "app"));
    usher_ref_t endpoint = place_of(&first);
    usher_place_t *place = place_at(&fixture, endpoint);
    must(ask(channel, &second, "app"));
    ok(keep_and_end(channel, &first), "%s: while each has a thread a connection is kept",
       may_block ? "threads" : "one thread");
    is_int(place->kept, 1, "and counted");
    is_int(usher_sum_kept(fixture.manager, endpoint.index), 1, "in a cell, too");
    ok(!usher_kept_is_in_way(channel, endpoint), "it is in nobody's way");

    must(ask(channel, &third, "app"));
    ok(usher_kept_is_in_way(channel, endpoint), "until another request connects");
    ok(!keep_and_end(channel, &second), "then none is kept more");
    ok(!usher_kept_is_in_way(channel, endpoint), "and there is a thread again");
    usher_kept_remove(channel, endpoint);
    ok(keep_and_end(channel, &third), "one that is taken makes room for its successor");
    is_int(place->kept, 1, "one is kept");
    usher_kept_remove(channel, endpoint);
    is_int(place->kept + usher_sum_kept(fixture.manager, endpoint.index), 0, "then none");
    usher_kept_remove(channel, endpoint);
    is_int(place->kept + usher_sum_kept(fixture.manager, endpoint.index), 0, "never less");
    is_int(usher_manager_repair_hints(fixture.manager, class_ref), 0, "nothing is wrong");
    usher_worker_detach(channel);
    settle(&fixture);
    ok(find_leak(channel) == NULL, "and nothing is left");
    finish(&fixture);
}

static void test_choice(void) {
    fixture_t fixture;
    visit_t visits[8], visit;
    uint32_t others = 0;
    begin(&fixture);
    attach(&fixture, false);
    add_keeping(&fixture, 4, 8);
    usher_channel_t *channel = fixture.channel;
    must(ask(channel, &visit, "app"));
    usher_ref_t mine = place_of(&visit);
    keep_and_end(channel, &visit);
    for (uint32_t i = 0; i < 8; i++) {
        must(ask(channel, &visit, "app"));
        others += place_of(&visit).index != mine.index;
        end(channel, &visit);
    }
    is_int(others, 0, "requests go where their worker keeps a connection");

    for (uint32_t i = 0; i < 8; i++) {
        must(ask(channel, &visits[i], "app"));
        others += place_of(&visits[i]).index != mine.index;
    }
    ok(others >= 4, "but not all of them: %u of 8 go to emptier ones", others);
    for (uint32_t i = 0; i < 8; i++) {
        end(channel, &visits[i]);
    }

    usher_kept_remove(channel, mine);
    for (uint32_t i = 0; i < 4; i++) {
        channel->places->places[i].kept = i == mine.index ? 0 : 8; /* as other workers */
    }
    others = 0;
    for (uint32_t i = 0; i < 8; i++) {
        must(ask(channel, &visits[i], "app"));
        others += place_of(&visits[i]).index != mine.index;
    }
    is_int(others, 0, "and where there are threads");
    is_int(ask(channel, &visit, "app"), USHER_OK, "at last also where there are none");
    ok(place_of(&visit).index != mine.index, "to be made free");
    end(channel, &visit);
    for (uint32_t i = 0; i < 8; i++) {
        end(channel, &visits[i]);
    }
    finish(&fixture);
}

static void test_bells(void) {
    fixture_t fixture;
    visit_t first, second;
    begin(&fixture);
    attach(&fixture, false);
    add_keeping(&fixture, 1, 1);
    usher_channel_t *channel = fixture.channel;
    uint32_t mine = channel->bell, other = mine == 7 ? 8 : 7;
    const _Atomic uint32_t *bells = channel->places->bells;
    must(ask(channel, &first, "app"));
    usher_ref_t endpoint = place_of(&first);
    usher_place_t *place = place_at(&fixture, endpoint);
    usher_kept_call(channel, endpoint);
    keep_and_end(channel, &first);
    is_int(place->keeper, mine, "who keeps one says by which bell to be called");
    channel->bell = other;
    usher_kept_call(channel, endpoint);
    is_int(bells[mine], 0, "nobody is called who is in nobody's way");
    must(ask(channel, &second, "app"));
    usher_kept_call(channel, endpoint);
    is_int(bells[mine], 1, "the bell rings for a request that finds no thread");
    channel->bell = mine;
    usher_kept_call(channel, endpoint);
    is_int(bells[mine], 1, "nobody calls himself");
    static const uint32_t strange[] = {0, USHER_BELLS, UINT32_MAX};
    for (uint32_t i = 0; i < 3; i++) {
        place->keeper = strange[i];
        usher_kept_call(channel, endpoint);
    }
    uint32_t rung = 0;
    for (uint32_t i = 0; i < USHER_BELLS; i++) {
        rung += bells[i];
    }
    is_int(rung, 1, "or by a bell that there is not");
    end(channel, &second);
    finish(&fixture);
}

/* ---- the dead, and liars ------------------------------------------------------------------ */

static void keep_and_die(fixture_t *fixture, void *ready) {
    visit_t visits[3];
    usher_worker_detach(fixture->channel); /* the parent's slot, inherited */
    attach(fixture, true);
    for (uint32_t i = 0; i < 3; i++) {
        must(ask(fixture->channel, &visits[i], "app"));
    }
    for (uint32_t i = 0; i < 3; i++) {
        must(keep_and_end(fixture->channel, &visits[i]) ? 0 : -1);
    }
    atomic_store((_Atomic uint32_t *)ready, 1);
    raise(SIGKILL);
}

static void test_death(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    add_keeping(&fixture, 1, 8);
    must(ask(fixture.channel, &visit, "app"));
    usher_ref_t endpoint = place_of(&visit);
    must(keep_and_end(fixture.channel, &visit) ? 0 : -1);
    _Atomic uint32_t *ready = share(sizeof(*ready));
    is_int(reap(spawn(keep_and_die, &fixture, (void *)ready)), 256 + SIGKILL, "a worker is killed");
    ok(*ready == 1 && place_at(&fixture, endpoint)->kept == 4, "it kept three connections");
    settle(&fixture);
    is_int(place_at(&fixture, endpoint)->kept, 1, "they are not counted any more, others are");
    is_int(usher_sum_kept(fixture.manager, endpoint.index), 1, "in no cell");
    usher_kept_remove(fixture.channel, endpoint);
    finish(&fixture);
}

static void test_lies(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_keeping(&fixture, 2, 4);
    usher_channel_t *channel = fixture.channel;
    static const uint32_t wild[] = {5, 1000, UINT32_MAX};
    for (uint32_t i = 0; i < 3; i++) {
        channel->places->places[0].kept = channel->places->places[1].kept = wild[i];
        is_int(ask(channel, &visit, "app"), USHER_OK, "%u kept: there are places", wild[i]);
        ok(!usher_kept_add(channel, place_of(&visit)), "nothing is kept");
        end(channel, &visit);
        is_int(usher_manager_repair_hints(fixture.manager, class_ref), 2, "until it is repaired");
        is_int(channel->places->places[0].kept + channel->places->places[1].kept, 0, "it is");
    }
    must(ask(channel, &visit, "app"));
    usher_ref_t endpoint = place_of(&visit);
    must(keep_and_end(channel, &visit) ? 0 : -1);
    place_at(&fixture, endpoint)->kept = 0;
    usher_kept_remove(channel, endpoint);
    is_int(place_at(&fixture, endpoint)->kept, 0, "too low ends at 0");

    usher_worker_record_t *worker = channel->worker;
    must(ask(channel, &visit, "app"));
    endpoint = place_of(&visit);
    must(keep_and_end(channel, &visit) ? 0 : -1);
    worker->kept[endpoint.index] = UINT64_C(0x77700000007);
    worker->has_kept = 0;
    usher_worker_recount(channel);
    is_int(usher_sum_kept(fixture.manager, endpoint.index), 1, "a recount makes cells right");
    usher_kept_remove(channel, endpoint);
    usher_worker_detach(channel);
    settle(&fixture);
    ok(find_leak(channel) == NULL, "nothing is left");
    finish(&fixture);
}

/* A record that another endpoint had before begins with what is still kept at that one. */
static void test_successor(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_keeping(&fixture, 1, 4);
    must(ask(fixture.channel, &visit, "app"));
    usher_ref_t old = place_of(&visit);
    must(keep_and_end(fixture.channel, &visit) ? 0 : -1);
    must(usher_manager_remove_endpoint(fixture.manager, old));
    usher_ref_t new = add_endpoint(&fixture, class_ref, "9.0", 4, USHER_ENDPOINT_READY);
    usher_place_t *place = place_at(&fixture, new);
    is_int(place->kept, new.index == old.index ? 1 : 0, "what is kept there is known");
    usher_kept_remove(fixture.channel, old);
    is_int(place->kept, 0, "and given back");
    finish(&fixture);
}

int main(void) {
    test_room(false);
    test_room(true);
    test_choice();
    test_bells();
    test_death();
    test_lies();
    test_successor();
    return done_testing();
}
