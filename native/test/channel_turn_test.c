/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose turn it is, among workers of two servers: lines of one kind, sleeping threads of the other.
 * Counted, not timed: who is served, and how many that came later were served before.
 */
#include "channel_steps.h"

#include "channel_fixture.h"

#define WORKERS 6u      /* half of each server */
#define LINE 4u         /* requests that wait in a worker with a line */
#define REQUESTS 10000u /* that are logged */

typedef struct {
    _Atomic uint32_t arrivals, admissions, wrong, stop;
    _Atomic uint32_t served[WORKERS];
    _Atomic uint32_t inside;       /* requests that hold the place now */
    uint32_t arrival_of[REQUESTS]; /* by admission */
} crowd_t;

typedef struct {
    fixture_t *fixture;
    crowd_t *crowd;
    uint32_t number;
} member_t;

static usher_request_t fake(uint64_t arrived_us, uint32_t class_index, bool waits) {
    return (usher_request_t){.class_ref = {.index = class_index, .generation = 1},
                             .arrived_ns = arrived_us * 1000,
                             .waiting_since_ns = waits};
}

/* ---- one step after the other ------------------------------------------------------------- */

static void test_turns(void) {
    fixture_t fixture;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_ready_class(&fixture, "app", 1, 1);
    usher_channel_t *channel = fixture.channel;
    usher_class_gate_t *gate = &channel->places->gates[class_ref.index];
    uint32_t mine = channel->bell, other = mine == 7 ? 8 : 7;
    ok(mine > 0 && mine < USHER_BELLS, "a worker with a line has a bell");
    usher_request_t old = fake(1000000, class_ref.index, true);
    usher_request_t young = fake(1000900, class_ref.index, false);
    usher_request_t late = fake(1002000, class_ref.index, false);

    channel->bell = other;
    usher_turn_ask(channel, &young);
    usher_turn_ask(channel, &old);
    usher_turn_ask(channel, &late);
    is_int(gate->eldest >> 10, 1000000, "the eldest is known");
    channel->bell = mine;
    ok(!usher_turn_is_anothers(channel, &young, 1003000000), "within the grace all are alike");
    is_int(channel->places->bells[other], 0, "and no bell rings");
    ok(usher_turn_is_anothers(channel, &late, 1003000000), "who came much later waits");
    is_int(channel->places->bells[other], 1, "the eldest's bell rings");
    ok(usher_turn_is_anothers(channel, &late, 1004000000), "until he has come");
    is_int(channel->places->bells[other], 1, "once");
    ok(!usher_turn_is_anothers(channel, &late, 1007000000), "but not for ever");
    is_int(gate->eldest, 0, "who does not come is forgotten");

    channel->bell = other;
    usher_turn_ask(channel, &old);
    channel->bell = mine;
    ok(usher_turn_is_anothers(channel, &late, 1003000000), "called again");
    channel->bell = other;
    usher_turn_ask(channel, &old);
    channel->bell = mine;
    ok(usher_turn_is_anothers(channel, &late, 1003000000), "he came in vain");
    is_int(channel->places->bells[other], 3, "and is called once more");
    ok(!usher_turn_is_anothers(channel, &old, 1003000000), "his like may take it");
    channel->bell = other;
    usher_turn_ask(channel, &old);
    usher_turn_leave(channel, &late);
    ok(gate->eldest != 0, "others do not strike him out");
    usher_turn_leave(channel, &old);
    ok(gate->eldest == 0 && gate->called_us == 0, "he does when he leaves");
    channel->bell = mine;
    finish(&fixture);
}

static void test_newcomer(void) {
    fixture_t fixture;
    begin(&fixture);
    attach(&fixture, true);
    usher_ref_t class_ref = add_ready_class(&fixture, "app", 1, 1);
    usher_channel_t *channel = fixture.channel;
    is_int(channel->bell, 0, "threads that sleep have the class's bell");
    usher_request_t old = fake(1000000, class_ref.index, true);
    usher_request_t awake = fake(1050000, class_ref.index, true);
    usher_request_t soon = fake(1003000, class_ref.index, false);
    usher_request_t late = fake(1050000, class_ref.index, false);
    usher_turn_ask(channel, &old);
    atomic_store(&channel->places->gates[class_ref.index].sleepers, 1);
    ok(!usher_turn_is_anothers(channel, &awake, 1050000000), "one that was woken takes the place");
    ok(!usher_turn_is_anothers(channel, &soon, 1003000000), "a newcomer as well");
    ok(usher_turn_is_anothers(channel, &late, 1050000000), "but not when others wait for long");
    usher_turn_leave(channel, &awake);
    uint64_t next = channel->places->gates[class_ref.index].eldest;
    ok(next != 0 && next >> 10 > 1000000,
       "whoever was woken for the eldest makes another one that");
    is_int(channel->places->gates[class_ref.index].called_us, 0, "who was not called yet");
    atomic_store(&channel->places->gates[class_ref.index].sleepers, 0);
    ok(!usher_turn_is_anothers(channel, &late, 1050000000), "nobody sleeps: nobody is waited for");
    is_int(channel->places->gates[class_ref.index].eldest, 0, "and nobody is written down");
    atomic_store(&channel->places->gates[class_ref.index].eldest, 1 << 10);
    usher_turn_ask(channel, &late);
    is_int(channel->places->gates[class_ref.index].eldest >> 10, 1050000,
           "nor stays so when somebody else waits");
    finish(&fixture);
}

/* ---- a crowd ------------------------------------------------------------------------------ */

static void arrive(member_t *member, visit_t *visit, uint32_t *arrival) {
    *arrival = atomic_fetch_add(&member->crowd->arrivals, 1);
    must(usher_request_begin(member->fixture->channel, &visit->request, "app", 3));
}

static void be_served(member_t *member, visit_t *visit, uint32_t arrival) {
    crowd_t *crowd = member->crowd;
    uint32_t admission = atomic_fetch_add(&crowd->admissions, 1);
    atomic_fetch_add(&crowd->wrong, atomic_fetch_add(&crowd->inside, 1) != 0);
    if (admission < REQUESTS) {
        crowd->arrival_of[admission] = arrival;
    } else {
        atomic_store(&crowd->stop, 1);
    }
    usleep(50);
    atomic_fetch_sub(&crowd->inside, 1);
    atomic_fetch_add(&crowd->served[member->number], 1);
    end(member->fixture->channel, visit);
}

/* As a thread of Apache. */
static void sleep_for_it(member_t *member) {
    usher_channel_t *channel = member->fixture->channel;
    while (atomic_load(&member->crowd->stop) == 0) {
        visit_t visit;
        uint32_t arrival;
        arrive(member, &visit, &arrival);
        while (admit(channel, &visit) == USHER_AGAIN) {
            usher_request_wait(channel, &visit.request, 1000);
        }
        be_served(member, &visit, arrival);
    }
}

typedef struct {
    visit_t visit;
    uint32_t arrival;
} guest_t;

/* Whoever gets the place leaves the line, and is followed by a newcomer at its end. */
static bool serve_first(member_t *member, guest_t *line) {
    if (admit(member->fixture->channel, &line[0].visit) != USHER_OK) {
        return false;
    }
    be_served(member, &line[0].visit, line[0].arrival);
    memmove(&line[0], &line[1], (LINE - 1) * sizeof(*line));
    arrive(member, &line[LINE - 1].visit, &line[LINE - 1].arrival);
    return true;
}

/* As a worker of nginx: a look at the line after each end, at each call and each 2 ms. */
static void stand_in_line(member_t *member) {
    usher_channel_t *channel = member->fixture->channel;
    _Atomic uint32_t *bell = &channel->places->bells[channel->bell];
    guest_t line[LINE];
    for (uint32_t i = 0; i < LINE; i++) {
        arrive(member, &line[i].visit, &line[i].arrival);
    }
    while (atomic_load(&member->crowd->stop) == 0) {
        uint32_t heard = atomic_load(bell);
        if (serve_first(member, line)) {
            continue;
        }
        for (uint32_t i = 1; i < LINE; i++) { /* who waits is counted */
            if (line[i].visit.request.waiting_since_ns == 0 &&
                admit(channel, &line[i].visit) == USHER_OK) {
                be_served(member, &line[i].visit, line[i].arrival);
                arrive(member, &line[i].visit, &line[i].arrival);
            }
        }
        usher_os_futex_wait(bell, heard, 2 * USHER_MS_NS);
    }
    for (uint32_t i = 0; i < LINE; i++) {
        usher_request_end(channel, &line[i].visit.request, USHER_OUTCOME_ABORTED);
    }
}

static void join_crowd(fixture_t *fixture, void *argument) {
    member_t *member = argument;
    bool has_line = member->number % 2 == 0;
    member->fixture = fixture;
    attach(fixture, !has_line);
    if (has_line) {
        stand_in_line(member);
    } else {
        sleep_for_it(member);
    }
}

/* How many of those that came after it were served before the unluckiest one. Who passes an
 * arrival has a lower admission: walk through the admissions, and count in a binary indexed tree. */
static uint32_t most_overtaken(const crowd_t *crowd) {
    uint32_t count = REQUESTS, most = 0, highest = 2 * REQUESTS;
    uint32_t *tree = calloc(highest + 1, sizeof(*tree));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t arrival = crowd->arrival_of[i] < highest ? crowd->arrival_of[i] : highest - 1;
        uint32_t earlier = 0;
        for (uint32_t at = arrival + 1; at > 0; at -= at & -at) {
            earlier += tree[at];
        }
        most = i - earlier > most ? i - earlier : most;
        for (uint32_t at = arrival + 1; at <= highest; at += at & -at) {
            tree[at]++;
        }
    }
    free(tree);
    return most;
}

static void test_crowd(void) {
    fixture_t first, second;
    usher_error_t error = {0};
    crowd_t *crowd = share(sizeof(*crowd));
    member_t members[WORKERS];
    pid_t pids[WORKERS];
    uint32_t handle, total = 0, least = UINT32_MAX;
    begin(&first);
    second = first;
    make_live_file(&second, "apache-test", second.live_path);
    must(usher_channel_open(second.runtime_dir, "apache-test", &second.channel, &error));
    must(usher_manager_attach_server(first.manager, "apache-test", second.live_path, &handle,
                                     &error));
    usher_ref_t class_ref = add_ready_class(&first, "app", 1, 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        members[i] = (member_t){.crowd = crowd, .number = i};
        pids[i] = spawn(join_crowd, i % 2 == 0 ? &first : &second, &members[i]);
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        must(reap(pids[i]) == 0 ? 0 : -1);
        total += crowd->served[i];
        least = crowd->served[i] < least ? crowd->served[i] : least;
    }
    usher_server_info_t info;
    must(usher_manager_settle(first.manager, first.server, &info));
    must(usher_manager_settle(first.manager, handle, &info));
    ok(total >= REQUESTS, "%u requests were served", total);
    is_int(crowd->wrong, 0, "never two at one place");
    ok(least > total / WORKERS / 3, "every worker had its share: the least one %u", least);
    /* How many pass is up to the machine: who is called and gets no processor is passed. */
    uint32_t most = most_overtaken(crowd);
    ok(most < REQUESTS / 2, "nobody starves: the unluckiest request saw %u later ones pass", most);
    is_int(first.channel->places->gates[class_ref.index].sleepers, 0, "nobody sleeps");
    ok(find_leak(first.channel) == NULL, "nothing is left: %s", find_leak(first.channel));
    usher_channel_close(second.channel);
    finish(&first);
}

int main(void) {
    test_turns();
    test_newcomer();
    test_crowd();
    return done_testing();
}
