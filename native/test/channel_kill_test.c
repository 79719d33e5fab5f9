/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers and managers that are killed or stopped at every step of what they do to shared memory.
 * The steps are counted by a run that nobody disturbs.
 */
#include "channel_steps.h"

#include "channel_fixture.h"

#define ENDPOINT "1.0"

typedef struct {
    _Atomic uint32_t steps;
    _Atomic uint64_t took_ns;
    char name[64]; /* of the step at which the signal came */
    uint32_t at;
    int signal;
    const char *key;   /* of an unknown class */
    bool blocks;       /* as Apache, or as nginx */
    char seen[64][32]; /* steps */
} story_t;

typedef struct {
    fixture_t fixture;
    usher_ref_t warm, cold, hanging, endpoint, hung, called;
    visit_t resident; /* the parent's own request at the endpoint */
} stage_t;

static story_t *story;

static void note_and_signal(const char *name) {
    snprintf(story->name, sizeof(story->name), "%s", name);
    kill(getpid(), story->signal);
}

static void note_step(const char *name) {
    uint32_t i = 0;
    while (i < 63 && story->seen[i][0] != '\0' && strcmp(story->seen[i], name) != 0) {
        i++;
    }
    snprintf(story->seen[i], sizeof(story->seen[i]), "%s", name);
}

/* There are free places, but somebody older is said to wait elsewhere, and somebody sleeps. */
static void take_turn(usher_channel_t *channel) {
    visit_t visit;
    usher_status_t status = ask(channel, &visit, "called");
    while (status == USHER_AGAIN) {
        pause_ms(1);
        status = admit(channel, &visit);
    }
    must(status);
    end(channel, &visit);
}

/* A worker's whole life: attach, serve one request and keep its connection, give one up, wait for
 * another, ask for more. */
static void live(fixture_t *fixture, void *argument) {
    story_t *told = argument;
    usher_channel_t *channel = fixture->channel;
    visit_t warm, hanging, cold, unknown;
    step_action = note_and_signal;
    usher_worker_detach(channel); /* the parent's slot, inherited */
    step_watch = note_step;
    arm_steps(told->at, 0);
    attach(fixture, told->blocks);
    must(ask(channel, &warm, "warm"));
    must(ask(channel, &hanging, "hanging") == USHER_REFUSED ? -1 : 0);
    usher_request_end(channel, &hanging.request, USHER_OUTCOME_TIMED_OUT);
    must(ask(channel, &cold, "cold") == USHER_AGAIN ? 0 : -1);
    usher_request_wait(channel, &cold.request, 2);
    take_turn(channel);
    usher_status_t status = ask(channel, &unknown, told->key);
    while (status == USHER_AGAIN && unknown.request.start_requested_ns == 0) {
        pause_ms(1); /* somebody holds the lock */
        status = admit(channel, &unknown);
    }
    must(status == USHER_AGAIN ? 0 : -1);
    usher_ref_t endpoint = warm.request.endpoint_ref;
    must(usher_kept_add(channel, endpoint) ? 0 : -1);
    end(channel, &warm);
    usher_kept_remove(channel, endpoint);
    usher_request_end(channel, &cold.request, USHER_OUTCOME_ABORTED);
    usher_request_end(channel, &unknown.request, USHER_OUTCOME_ABORTED);
    usher_worker_detach(channel);
    told->steps = step_count;
}

static pid_t start_life(stage_t *stage, uint32_t at, int signal, const char *key) {
    story->at = at;
    story->signal = signal;
    story->key = key;
    story->name[0] = '\0';
    return spawn(live, &stage->fixture, story);
}

static void set_stage(stage_t *stage) {
    begin(&stage->fixture);
    attach(&stage->fixture, true);
    stage->warm = add_class(&stage->fixture, "warm", plain_limits);
    stage->endpoint = add_endpoint(&stage->fixture, stage->warm, ENDPOINT, 8, USHER_ENDPOINT_READY);
    stage->cold = add_class(&stage->fixture, "cold", plain_limits);
    stage->hanging = add_class(&stage->fixture, "hanging", plain_limits);
    stage->hung = add_endpoint(&stage->fixture, stage->hanging, "2.0", 2, USHER_ENDPOINT_READY);
    stage->called = add_ready_class(&stage->fixture, "called", 1, 8);
    usher_class_gate_t *gate = &stage->fixture.channel->places->gates[stage->called.index];
    gate->eldest = UINT64_C(1) << 10 | 7; /* of bell 7 */
    gate->sleepers = 1;
    must(ask(stage->fixture.channel, &stage->resident, "warm"));
}

/* Entries of the ring that the manager can read; −1 when it leaves any. */
static int readable_entries(stage_t *stage) {
    uint32_t cursor = 0, entry, length;
    char key[USHER_KEY_MAX];
    int found = 0;
    while (usher_manager_next_start_request(stage->fixture.manager, stage->fixture.server, &cursor,
                                            &entry, key, &length) == USHER_OK) {
        found += strncmp(key, "/unknown", 8) == 0;
        usher_manager_finish_start_request(stage->fixture.manager, stage->fixture.server, entry);
    }
    for (uint32_t i = 0; i < USHER_START_REQUESTS_MAX; i++) {
        /* what a dead owner was writing is used by the next one */
        if (stage->fixture.channel->cells->ring[i].state > USHER_START_WRITING) {
            return -1;
        }
    }
    return found;
}

/* Who was counted is marked, whoever died in between: no request is sent there. */
static bool lends_hung(stage_t *stage) {
    visit_t visit;
    uint32_t count = 0;
    usher_manager_repair_hints(stage->fixture.manager, stage->hanging);
    must(usher_manager_hung(stage->fixture.manager, stage->hung, &count));
    bool lent = ask(stage->fixture.channel, &visit, "hanging") == USHER_OK;
    usher_request_end(stage->fixture.channel, &visit.request, USHER_OUTCOME_ABORTED);
    return lent == (count > 0);
}

/* What must hold when only the parent's own request is there. */
static const char *find_damage(stage_t *stage, int least_entries) {
    usher_channel_t *channel = stage->fixture.channel;
    settle(&stage->fixture);
    uint32_t place = channel->places->places[stage->endpoint.index].in_use;
    if (usher_sum_cells(stage->fixture.manager, stage->endpoint.index) != 1) {
        return "the cells are wrong";
    }
    if (place > 1) {
        return "a place leaked";
    }
    if (usher_sum_kept(stage->fixture.manager, stage->endpoint.index) != 0 ||
        channel->places->places[stage->endpoint.index].kept != 0) {
        return "a kept connection leaked";
    }
    if (channel->places->gates[stage->cold.index].waiting != 0) {
        return "a waiting request leaked";
    }
    if (lends_hung(stage)) {
        return "a hung instance is lent, or one that does not hang is not";
    }
    if (channel->cells->header.lock != 0) {
        return "the lock is held";
    }
    if (readable_entries(stage) < least_entries) {
        return "the ring is damaged";
    }
    if (usher_manager_damage(stage->fixture.manager, stage->fixture.server).times > 0 ||
        usher_manager_damage(stage->fixture.manager, USHER_NO_SERVER).times > 0) {
        return "it is taken for damage";
    }
    return NULL;
}

static bool strike_stage(stage_t *stage) {
    end(stage->fixture.channel, &stage->resident);
    usher_worker_detach(stage->fixture.channel);
    settle(&stage->fixture);
    const char *leak = find_leak(stage->fixture.channel);
    if (leak) {
        printf("# %s\n", leak);
    }
    finish(&stage->fixture);
    return leak == NULL;
}

static uint32_t count_steps(void) {
    stage_t stage;
    set_stage(&stage);
    must(reap(start_life(&stage, 0, 0, "/unknown/0")) == 0 ? 0 : -1);
    const char *damage = find_damage(&stage, 1);
    ok(damage == NULL, "a worker lives undisturbed through %u steps", story->steps);
    ok(strike_stage(&stage), "and leaves nothing");
    return story->steps;
}

/* ---- killed ------------------------------------------------------------------------------ */

/* Killed at step `at`; a second worker lives on meanwhile or after the manager has settled. */
static bool survives_kill(uint32_t at, bool settled) {
    stage_t stage;
    set_stage(&stage);
    must(reap(start_life(&stage, at, SIGKILL, "/unknown/1")) == 256 + SIGKILL ? 0 : -1);
    char name[64];
    memcpy(name, story->name, sizeof(name));
    if (settled) {
        settle(&stage.fixture);
    }
    uint64_t begun = usher_os_now_ns();
    int next = reap(start_life(&stage, 0, 0, "/unknown/2"));
    uint64_t took_ns = usher_os_now_ns() - begun;
    story->took_ns = took_ns > story->took_ns ? took_ns : story->took_ns;
    const char *damage = next == 0 ? find_damage(&stage, 1) : "the next worker failed";
    if (damage) {
        printf("# killed at step %u (%s): %s\n", at, name, damage);
    }
    return strike_stage(&stage) && damage == NULL;
}

static void test_kills(uint32_t steps) {
    for (uint32_t settled = 0; settled < 2; settled++) {
        uint32_t failures = 0;
        for (uint32_t at = 1; at <= steps; at++) {
            failures += !survives_kill(at, settled);
        }
        is_int(failures, 0, "killed at each of %u steps%s: the next worker goes on, all is whole",
               steps, settled ? ", settled at once" : "");
    }
    ok(story->took_ns < 5000 * USHER_MS_NS, "it never took longer than %.1f ms",
       (double)story->took_ns / 1e6);
}

/* The lock's owner is killed, and so is its successor, at each of its steps. */
static bool survives_two(uint32_t at, uint32_t then) {
    stage_t stage;
    set_stage(&stage);
    must(reap(start_life(&stage, at, SIGKILL, "/unknown/1")) == 256 + SIGKILL ? 0 : -1);
    int second = reap(start_life(&stage, then, SIGKILL, "/unknown/2"));
    bool over = second == 0; /* it has fewer steps than that */
    int third = reap(start_life(&stage, 0, 0, "/unknown/3"));
    const char *damage = third == 0 ? find_damage(&stage, 1) : "the third worker failed";
    if (damage) {
        printf("# killed at step %u, successor at step %u (%s): %s\n", at, then, story->name,
               damage);
    }
    if (!strike_stage(&stage) || damage) {
        story->steps = UINT32_MAX;
    }
    return !over;
}

/* Is the lock held after a worker was killed at this step? */
static bool holds_lock(uint32_t at) {
    stage_t stage;
    set_stage(&stage);
    must(reap(start_life(&stage, at, SIGKILL, "/unknown/1")) == 256 + SIGKILL ? 0 : -1);
    bool held = stage.fixture.channel->cells->header.lock != 0;
    reap(start_life(&stage, 0, 0, "/unknown/2"));
    strike_stage(&stage);
    return held;
}

static void test_successors(uint32_t steps) {
    uint32_t owners = 0, pairs = 0, failures = 0;
    for (uint32_t at = 1; at <= steps; at++) {
        if (!holds_lock(at)) {
            continue;
        }
        owners++;
        for (uint32_t then = 1; survives_two(at, then); then++) {
            pairs++;
            failures += story->steps == UINT32_MAX;
        }
    }
    ok(owners >= 5, "the lock is held at %u steps", owners);
    is_int(failures, 0, "owner and successor killed in %u ways: the third one goes on", pairs);
}

static void ask_blocking(fixture_t *fixture, void *argument) {
    story_t *told = argument;
    visit_t visit;
    usher_worker_detach(fixture->channel);
    attach(fixture, true);
    uint64_t begun = usher_os_now_ns();
    must(ask(fixture->channel, &visit, "/unknown/2") == USHER_AGAIN ? 0 : -1);
    told->took_ns = usher_os_now_ns() - begun;
}

/* The successor waits for the lock while its owner, stopped at first, is killed. */
static void test_succession_of_the_stopped(uint32_t steps) {
    stage_t stage;
    uint32_t at = 1;
    while (at < steps && !holds_lock(at)) {
        at++;
    }
    int ended;
    for (uint32_t tries = 1;; tries++) {
        set_stage(&stage);
        pid_t owner = start_life(&stage, at, SIGSTOP, "/unknown/1");
        must(wait_stopped(owner) == -1 ? 0 : -1);
        pid_t successor = spawn(ask_blocking, &stage.fixture, story);
        pause_ms(100);
        must(kill(owner, SIGKILL));
        reap(owner);
        ended = reap(successor);
        /* Once more where we came too late to kill the owner in time. */
        if (story->took_ns < 1000 * USHER_MS_NS || tries == 10) {
            break;
        }
        strike_stage(&stage);
    }
    is_int(ended, 0, "a worker that waits for the lock gets it when its owner dies");
    ok(story->took_ns < 1000 * USHER_MS_NS, "before its deadline: after %.1f ms, 100 of them idle",
       (double)story->took_ns / 1e6);
    ok(stage.fixture.channel->cells->header.lock_successions == 1, "it is counted");
    ok(find_damage(&stage, 1) == NULL, "all is whole");
    strike_stage(&stage);
}

/* ---- stopped ----------------------------------------------------------------------------- */

static void ask_unknown(fixture_t *fixture, void *argument) {
    visit_t visit;
    usher_worker_detach(fixture->channel);
    attach(fixture, *(bool *)argument);
    usher_status_t status = ask(fixture->channel, &visit, "/unknown/other");
    uint64_t begun_ns = usher_os_now_ns();
    while (status == USHER_AGAIN && visit.request.start_requested_ns == 0) {
        pause_ms(5); /* as nginx, which does not block */
        status = admit(fixture->channel, &visit);
    }
    story->took_ns = usher_os_now_ns() - begun_ns;
    _exit(status == USHER_AGAIN ? 0 : 1);
}

/* A worker of another server. */
static bool other_server_works(stage_t *stage) {
    fixture_t other = stage->fixture;
    usher_error_t error = {0};
    bool may_block = true;
    make_live_file(&other, "apache-test", other.live_path);
    must(usher_channel_open(other.runtime_dir, "apache-test", &other.channel, &error));
    bool works = reap(spawn(ask_unknown, &other, &may_block)) == 0;
    usher_channel_close(other.channel);
    return works;
}

static bool survives_stop(uint32_t at, uint32_t *owners) {
    stage_t stage;
    bool block = !story->blocks; /* the other kind */
    const char *damage = NULL;
    set_stage(&stage);
    pid_t stopped = start_life(&stage, at, SIGSTOP, "/unknown/1");
    must(wait_stopped(stopped) == -1 ? 0 : -1);
    settle(&stage.fixture);
    bool held = stage.fixture.channel->cells->header.lock != 0;
    *owners += held;
    int other = reap(spawn(ask_unknown, &stage.fixture, &block));
    if (other != 0) {
        damage = "its sibling could not ask";
    } else if (!other_server_works(&stage)) {
        damage = "another server was affected";
    }
    must(kill(stopped, SIGCONT));
    if (!damage && reap(stopped) != 0) {
        damage = "it could not go on";
    }
    damage = damage ? damage : find_damage(&stage, 1);
    if (damage) {
        printf("# stopped at step %u (%s): %s\n", at, story->name, damage);
    }
    return strike_stage(&stage) && damage == NULL;
}

static void test_stops(uint32_t steps) {
    uint32_t failures = 0, owners = 0;
    for (uint32_t at = 1; at <= steps; at++) {
        failures += !survives_stop(at, &owners);
    }
    is_int(
        failures, 0,
        "stopped at each of %u steps: siblings have to wait for the lock at worst, other servers "
        "do not, and it goes on when continued",
        steps);
    ok(owners >= 5, "at %u of them it held the lock", owners);
}

/* ---- the manager ------------------------------------------------------------------------- */

static void be_killed(fixture_t *fixture, void *argument) {
    visit_t visits[5];
    (void)argument;
    usher_worker_detach(fixture->channel);
    attach(fixture, false);
    for (uint32_t i = 0; i < 5; i++) {
        (void)!ask(fixture->channel, &visits[i], i < 3 ? "warm" : "cold");
    }
    kill(getpid(), SIGKILL);
}

static void settle_as_manager(fixture_t *fixture, void *argument) {
    story_t *told = argument;
    usher_error_t error = {0};
    usher_server_info_t info;
    step_action = note_and_signal;
    must(usher_manager_open(fixture->runtime_dir, &fixture->manager, &error));
    must(usher_manager_attach_server(fixture->manager, SERVER, fixture->live_path, &fixture->server,
                                     &error));
    arm_steps(told->at, 0);
    must(usher_manager_settle(fixture->manager, fixture->server, &info));
    told->steps = step_count;
}

static bool survives_manager(uint32_t at) {
    stage_t stage;
    set_stage(&stage);
    must(reap(spawn(be_killed, &stage.fixture, NULL)) == 256 + SIGKILL ? 0 : -1);
    story->at = at;
    story->signal = SIGKILL;
    reap(spawn(settle_as_manager, &stage.fixture, story));
    const char *damage = find_damage(&stage, 0);
    if (damage) {
        printf("# manager killed at step %u (%s): %s\n", at, story->name, damage);
    }
    return strike_stage(&stage) && damage == NULL;
}

static void test_manager_kills(void) {
    uint32_t failures = 0;
    failures += !survives_manager(0);
    uint32_t steps = story->steps;
    for (uint32_t at = 1; at <= steps; at++) {
        failures += !survives_manager(at);
    }
    is_int(failures, 0, "a manager killed at each of %u steps of settling: the next one ends it",
           steps);
}

/* Else a step that nobody takes any more would pass for one that is survived. */
static void test_coverage(void) {
    static const char *const names[] = {
        "attach: byte locked",
        "attach: slots counted",
        "attach: described",
        "attach: used",
        "take: begun",
        "take: cell counted",
        "take: place counted",
        "take: state read",
        "count: own word counted",
        "copy: read",
        "release: place given back",
        "release: cell given back",
        "queue: gauge counted",
        "queue: gate counted",
        "queue: gate left",
        "queue: about to ring",
        "doorbell: counted",
        "sleep: counted",
        "wake: counted",
        "turn: counted",
        "hung: told",
        "hung: cell counted",
        "hung: marked",
        "lock: taken",
        "lock: released",
        "ring: writing",
        "ring: half written",
        "ring: written",
        "ring: ready",
        "ring: asked",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint32_t at = 0;
        while (at < 64 && strcmp(story->seen[at], names[i]) != 0) {
            at++;
        }
        ok(at < 64, "\"%s\" was one of the steps", names[i]);
    }
}

int main(void) {
    story = share(sizeof(*story));
    for (uint32_t kind = 0; kind < 2; kind++) {
        story->blocks = kind == 1;
        printf("# a worker that %s block\n", story->blocks ? "may" : "must not");
        uint32_t steps = count_steps();
        test_kills(steps);
        test_successors(steps);
        test_succession_of_the_stopped(steps);
        test_stops(steps);
    }
    test_coverage();
    test_manager_kills();
    return done_testing();
}
