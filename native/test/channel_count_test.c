/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker counts of its requests: own words, their copies in the cells and load data, whatever
 * comes between two steps. A worker of one thread counts with plain stores, one of several by
 * compare-and-swap.
 */
#include "channel_steps.h"

#include "channel_fixture.h"

#define ENDPOINT 0u /* the first one */
#define STEPS_MAX 40u

static fixture_t *acting;

/* ---- between two steps ------------------------------------------------------------------- */

static void count_up(void) {
    usher_own_count_place(acting->channel, ENDPOINT, true);
}

static void count_up_and_down(void) {
    usher_own_count_place(acting->channel, ENDPOINT, true);
    usher_own_count_place(acting->channel, ENDPOINT, false);
}

static void recount_all(void) {
    usher_worker_recount(acting->channel);
}

static void (*between)(void);

static void act_between(const char *name) {
    (void)name;
    between();
}

/* Another thread does `inner` at step `at` of `outer`. False: there are fewer steps. */
static bool meet(void (*outer)(void), void (*inner)(void), uint32_t at, bool stale, bool alone,
                 uint32_t *wrong) {
    fixture_t fixture;
    begin(&fixture);
    attach(&fixture, !alone);
    acting = &fixture;
    add_ready_class(&fixture, "app", 1, 8);
    _Atomic uint64_t *own = &fixture.channel->own->counts[ENDPOINT];
    _Atomic uint64_t *cell = &fixture.channel->worker->counts[ENDPOINT];
    count_up();
    uint64_t older = atomic_load(cell);
    count_up();
    if (stale) {
        atomic_store(cell, older); /* as if a thread had not copied its count yet */
    }
    between = inner;
    step_action = act_between;
    arm_steps(at, 0);
    outer();
    bool was_there = step_count >= at;
    arm_steps(0, 0);
    uint32_t expected = 2u + (outer == count_up) + (was_there && inner == count_up);
    *wrong += atomic_load(cell) != atomic_load(own) || (uint32_t)atomic_load(own) != expected ||
              fixture.channel->cells->header.damages != 0;
    usher_worker_detach(fixture.channel);
    finish(&fixture);
    return was_there;
}

static void test_meetings(bool alone) {
    static void (*const acts[])(void) = {recount_all, count_up, count_up_and_down};
    uint32_t wrong = 0, met = 0;
    for (uint32_t i = 0; i < 3 * 3 * 2; i++) {
        void (*outer)(void) = acts[i % 3];
        void (*inner)(void) = acts[i / 3 % 3];
        if (alone && outer != recount_all && inner != recount_all) {
            continue; /* no two threads count */
        }
        uint32_t at = 1;
        while (at < STEPS_MAX && meet(outer, inner, at, i / 9 == 1, alone, &wrong)) {
            at++;
        }
        met += at - 1;
        wrong += at == STEPS_MAX;
    }
    ok(met > 0 && wrong == 0, "threads met between two steps in %u ways, %u cells are wrong", met,
       wrong);
}

/* ---- draining ---------------------------------------------------------------------------- */

static usher_ref_t draining;
static bool is_empty;

static void drain_now(const char *name) {
    uint32_t in_flight = 0;
    (void)name;
    must(usher_manager_set_endpoint(acting->manager, draining, USHER_ENDPOINT_DRAINING, 1));
    must(usher_manager_in_flight(acting->manager, draining, &in_flight));
    is_empty = in_flight == 0;
}

/* Nobody is let in once the manager has seen that nobody is there. */
static void test_drains(bool alone) {
    uint32_t empty = 0, busy = 0, wrong = 0;
    bool done = false;
    for (uint32_t at = 1; at < STEPS_MAX && !done; at++) {
        fixture_t fixture;
        visit_t visit;
        begin(&fixture);
        attach(&fixture, !alone);
        acting = &fixture;
        usher_ref_t app = add_class(&fixture, "app", plain_limits);
        draining = add_endpoint(&fixture, app, "1.0", 1, USHER_ENDPOINT_READY);
        is_empty = false;
        step_action = drain_now;
        must(usher_request_begin(fixture.channel, &visit.request, "app", 3));
        arm_steps(at, 0);
        bool taken = admit(fixture.channel, &visit) == USHER_OK;
        done = step_count < at;
        arm_steps(0, 0);
        empty += is_empty;
        busy += !is_empty && !done;
        wrong += taken && is_empty;
        end(fixture.channel, &visit);
        wrong += usher_sum_cells(fixture.manager, draining.index) != 0;
        usher_worker_detach(fixture.channel);
        finish(&fixture);
    }
    ok(done && empty > 0 && busy > 0 && wrong == 0,
       "drained at each step: empty at %u, not at %u, %u wrong", empty, busy, wrong);
}

/* ---- cells and load data ----------------------------------------------------------------- */

/* What somebody else wrote is found by the next count, and told. */
static void test_foreign_count(bool alone) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, !alone);
    add_ready_class(&fixture, "app", 1, 4);
    _Atomic uint64_t *cell = &fixture.channel->worker->counts[ENDPOINT];
    must(ask(fixture.channel, &visit, "app"));
    uint64_t counted = atomic_load(cell);
    atomic_store(cell, UINT64_C(9) << 32 | 77); /* changed more often than ever */
    end(fixture.channel, &visit);
    is_int(fixture.channel->cells->header.damages, 1, "a count that the worker never had is noted");
    is_int((uint32_t)atomic_load(cell), 0, "and is made right");
    must(ask(fixture.channel, &visit, "app"));
    atomic_store(cell, counted);
    end(fixture.channel, &visit);
    is_int(fixture.channel->cells->header.damages, 1, "one that it had may be a late copy");
    is_int((uint32_t)atomic_load(cell), 0, "made right as well");
    finish(&fixture);
}

/* The manager hears of each step of a request, whether or not it has heard of the one before. */
static void test_changes(bool alone) {
    fixture_t fixture;
    visit_t visit;
    usher_load_t load;
    uint32_t index, unheard = 0, wrong = 0;
    begin(&fixture);
    attach(&fixture, !alone);
    usher_ref_t app = add_ready_class(&fixture, "app", 1, 1);
    usher_manager_changed(fixture.manager, &index, 1);
    for (uint32_t i = 1; i <= 8; i++) {
        must(ask(fixture.channel, &visit, "app"));
        if (i % 2 == 0) {
            unheard += usher_manager_changed(fixture.manager, &index, 1) != 1;
            must(usher_manager_load(fixture.manager, app, &load));
            wrong += load.arrivals != i || load.admitted != i || load.waiting_histogram[0] != i ||
                     load.finished != i - 1 || load.in_flight != 1;
        }
        end(fixture.channel, &visit);
        if (i % 4 < 2) {
            unheard += usher_manager_changed(fixture.manager, &index, 1) != 1;
            must(usher_manager_load(fixture.manager, app, &load));
            wrong += load.admitted != i || load.finished != i || load.in_flight != 0;
        }
    }
    is_int(unheard, 0, "what is admitted and what has ended is told");
    is_int(wrong, 0, "and is what happened");
    finish(&fixture);
}

int main(void) {
    for (uint32_t alone = 0; alone < 2; alone++) {
        printf("# a worker of %s\n", alone == 1 ? "one thread" : "several threads");
        test_meetings(alone == 1);
        test_drains(alone == 1);
        test_foreign_count(alone == 1);
        test_changes(alone == 1);
    }
    return done_testing();
}
