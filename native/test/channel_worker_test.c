/* SPDX-License-Identifier: Apache-2.0 */
/* Worker slots: claimed, left, settled, used again; and what the manager sees of them. */
#include "channel_fixture.h"

typedef struct {
    _Atomic uint32_t ready, go;
    uint32_t generation;
    const char *key;
} workers_t;

static void stay(fixture_t *fixture, void *argument) {
    workers_t *workers = argument;
    usher_error_t error = {0};
    visit_t visit;
    must(usher_worker_attach(fixture->channel, fixture->live_path, workers->generation, false,
                             &error));
    if (workers->key) {
        must(ask(fixture->channel, &visit, workers->key));
    }
    atomic_fetch_add(&workers->ready, 1);
    while (atomic_load(&workers->go) == 0) {
        pause_ms(1);
    }
    if (workers->key) {
        end(fixture->channel, &visit);
    }
    usher_worker_detach(fixture->channel);
}

static void await(const _Atomic uint32_t *value, uint32_t wanted) {
    while (atomic_load(value) < wanted) {
        pause_ms(1);
    }
}

static usher_server_info_t look(fixture_t *fixture) {
    usher_server_info_t info = {0};
    must(usher_manager_settle(fixture->manager, fixture->server, &info));
    return info;
}

static void test_generations(void) {
    fixture_t fixture;
    workers_t *workers = share(sizeof(*workers));
    pid_t old, young[2];
    begin(&fixture);
    workers->generation = usher_channel_next_generation(fixture.channel, 0);
    old = spawn(stay, &fixture, workers);
    await(&workers->ready, 1);
    workers->generation = usher_channel_next_generation(fixture.channel, 0);
    young[0] = spawn(stay, &fixture, workers);
    young[1] = spawn(stay, &fixture, workers);
    await(&workers->ready, 3);
    usher_server_info_t info = look(&fixture);
    is_int(info.workers, 3, "three workers live");
    is_int(info.generation, 2, "the newest generation");
    is_int(info.oldest_generation, 1, "the oldest one that lives");
    ok(usher_manager_generation_lives(fixture.manager, fixture.server, 1), "generation 1 lives");
    must(kill(old, SIGKILL));
    reap(old);
    ok(!usher_manager_generation_lives(fixture.manager, fixture.server, 1), "until it is killed");
    info = look(&fixture);
    ok(info.workers == 2 && info.settled == 1 && info.oldest_generation == 2,
       "its slot is settled");
    is_int(look(&fixture).settled, 0, "once");
    atomic_store(&workers->go, 1);
    reap(young[0]);
    reap(young[1]);
    info = look(&fixture);
    ok(info.workers == 0 && info.settled == 2 && info.oldest_generation == 0,
       "workers that detach are settled as well");
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    finish(&fixture);
}

static void test_load_survives_deaths(void) {
    fixture_t fixture;
    usher_load_t load;
    begin(&fixture);
    usher_ref_t ref = add_ready_class(&fixture, "app", 4, 4);
    uint32_t in_flight_wrong = 0;
    for (uint32_t i = 1; i <= 20; i++) {
        workers_t *workers = share(sizeof(*workers));
        workers->key = "app";
        pid_t pid = spawn(stay, &fixture, workers);
        await(&workers->ready, 1);
        must(usher_manager_load(fixture.manager, ref, &load));
        in_flight_wrong += load.in_flight != 1 || load.admitted != i;
        if (i % 2 == 0) {
            must(kill(pid, SIGKILL));
        } else {
            atomic_store(&workers->go, 1);
        }
        reap(pid);
        look(&fixture);
    }
    must(usher_manager_load(fixture.manager, ref, &load));
    is_int(in_flight_wrong, 0, "requests are counted while they are served");
    ok(load.arrivals == 20 && load.admitted == 20 && load.finished == 10 && load.in_flight == 0,
       "totals hold what dead workers did");
    usher_manager_detach_server(fixture.manager, fixture.server);
    must(usher_manager_load(fixture.manager, ref, &load));
    is_int(load.finished, 10, "also when their server is detached");
    must(usher_manager_attach_server(fixture.manager, SERVER, fixture.live_path, &fixture.server,
                                     NULL));
    must(usher_manager_load(fixture.manager, ref, &load));
    is_int(load.finished, 10, "and attached again");
    finish(&fixture);
}

/* Counters of 32 bits wrap, totals do not. */
static void test_wrap(void) {
    fixture_t fixture;
    usher_load_t load;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t ref = add_ready_class(&fixture, "app", 1, 1);
    must(ask(fixture.channel, &visit, "app"));
    end(fixture.channel, &visit);
    must(usher_manager_load(fixture.manager, ref, &load));
    is_int(load.finished, 1, "one request");
    for (uint32_t i = 0; i < 16; i++) {
        fixture.channel->worker->load[ref.index].finished += 1u << 28;
        must(usher_manager_load(fixture.manager, ref, &load));
    }
    ok(load.finished == UINT64_C(0x100000001), "and 2^32 more");
    fixture.channel->worker->load[ref.index].finished--;
    must(usher_manager_load(fixture.manager, ref, &load));
    ok(load.finished == UINT64_C(0x100000001), "one that goes back is not believed");
    usher_damage_t damage = usher_manager_damage(fixture.manager, fixture.server);
    ok(damage.times == 1 && damage.what == USHER_DAMAGED_LOAD && damage.where == ref.index,
       "but told");
    finish(&fixture);
}

static void test_slots(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    char path[128];
    begin(&fixture);
    attach(&fixture, true);
    is_int(fixture.channel->slot, 0, "the first slot");
    is_int(usher_worker_attach(fixture.channel, fixture.live_path, 1, true, &error), USHER_INVALID,
           "a process attaches once");
    usher_worker_detach(fixture.channel);
    attach(&fixture, true);
    is_int(fixture.channel->slot, 1, "a slot not settled yet is left to the manager");
    usher_worker_detach(fixture.channel);
    look(&fixture);
    attach(&fixture, true);
    is_int(fixture.channel->slot, 0, "which frees both");
    usher_worker_detach(fixture.channel);
    snprintf(path, sizeof(path), "%s/missing.live", fixture.runtime_dir);
    is_int(usher_worker_attach(fixture.channel, path, 1, true, &error), USHER_SYSTEM,
           "without a live file there is no worker");
    ok(error.errno_value == ENOENT && strstr(error.text, path), "error: %s", error.text);
    visit_t visit;
    must(usher_request_begin(fixture.channel, &visit.request, "app", 3));
    is_int(admit(fixture.channel, &visit), USHER_INVALID, "nor a request without a worker");
    finish(&fixture);
}

/* Without a manager slots run out, and claimants settle dead ones themselves. */
static void test_self_settling(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    visit_t visit;
    begin(&fixture);
    usher_ref_t warm = add_ready_class(&fixture, "warm", 1, USHER_WORKERS_MAX);
    add_class(&fixture, "cold", plain_limits);
    (void)warm;
    usher_channel_t *channel = fixture.channel;
    for (uint32_t i = 0; i < USHER_WORKERS_MAX; i++) {
        attach(&fixture, false);
        must(ask(channel, &visit, "warm"));
        must(ask(channel, &visit, "cold") == USHER_AGAIN ? 0 : -1);
        usher_worker_detach(channel); /* as if it had been killed */
    }
    is_int(channel->places->places[0].in_use, USHER_WORKERS_MAX, "%u dead workers count",
           USHER_WORKERS_MAX);
    attach(&fixture, false);
    is_int(channel->slot, 0, "the next one takes over the first slot");
    is_int(channel->places->places[0].in_use, USHER_WORKERS_MAX - 1, "and gives back its place");
    is_int(channel->places->gates[1].waiting, USHER_WORKERS_MAX - 1, "and its turn in the queue");
    usher_worker_detach(channel);

    int fds = open(fixture.live_path, O_RDWR);
    must(fds);
    for (uint32_t i = 0; i < USHER_WORKERS_MAX; i++) {
        must(usher_os_lock_byte(fds, i));
    }
    is_int(usher_worker_attach(channel, fixture.live_path, 1, false, &error), USHER_FULL,
           "with %u living workers there is no room", USHER_WORKERS_MAX);
    ok(strstr(error.text, "1024 living workers") != NULL, "error: %s", error.text);
    close(fds);
    is_int(look(&fixture).settled, USHER_WORKERS_MAX, "the manager settles all of them");
    ok(find_leak(channel) == NULL, "nothing is left: %s", find_leak(channel));
    finish(&fixture);
}

static long long used_kb(const fixture_t *fixture, const char *name) {
    char path[160];
    struct stat facts;
    snprintf(path, sizeof(path), "%s/channel/%s", fixture->runtime_dir, name);
    must(stat(path, &facts));
    return facts.st_blocks / 2;
}

/* Reading a hole of a tmpfs file allocates its page. */
static void test_untouched_pages(void) {
    fixture_t fixture;
    visit_t visit;
    usher_load_t load;
    uint32_t indices[16];
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t ref = add_ready_class(&fixture, "app", 4, 4);
    for (uint32_t i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "/%u", i);
        add_class(&fixture, key, plain_limits);
    }
    must(ask(fixture.channel, &visit, "app"));
    end(fixture.channel, &visit);
    must(ask(fixture.channel, &visit, "/unknown") == USHER_AGAIN ? 0 : -1);
    long long before = used_kb(&fixture, SERVER ".cells");
    for (uint32_t i = 0; i < 1000; i++) {
        usher_class_info_t info;
        must(usher_manager_class(fixture.manager, i, &info));
        must(usher_manager_load(fixture.manager, info.ref, &load));
        usher_manager_repair_hints(fixture.manager, info.ref);
    }
    must(usher_manager_load(fixture.manager, ref, &load));
    usher_manager_changed(fixture.manager, indices, 16);
    look(&fixture);
    long long after = used_kb(&fixture, SERVER ".cells");
    ok(before < 700, "a worker and 1000 classes use %lld kB: the ring, and their bases", before);
    ok(after - before <= 16, "the manager's looks at 1000 classes add %lld kB", after - before);
    finish(&fixture);
}

static void test_changed(void) {
    fixture_t fixture;
    visit_t visit;
    uint32_t indices[8], seen = 0;
    usher_ref_t refs[6];
    begin(&fixture);
    attach(&fixture, false);
    for (uint32_t i = 0; i < 6; i++) {
        char key[8];
        snprintf(key, sizeof(key), "/%u", i);
        refs[i] = add_ready_class(&fixture, key, 1, 1);
        must(ask(fixture.channel, &visit, key));
        end(fixture.channel, &visit);
    }
    must(usher_manager_remove_endpoint(fixture.manager, (usher_ref_t){5, 6}));
    must(usher_manager_remove_class(fixture.manager, refs[5]));
    for (uint32_t round = 0; round < 3; round++) {
        uint32_t count = usher_manager_changed(fixture.manager, indices, 2);
        must(count <= 2 ? 0 : -1);
        for (uint32_t i = 0; i < count; i++) {
            seen |= 1u << indices[i];
        }
    }
    is_int(seen, 0x1f, "every class that changed is reported, a removed one is not");
    is_int(usher_manager_changed(fixture.manager, indices, 2), 0, "once");
    finish(&fixture);
}

static void test_repair(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, true);
    usher_ref_t ref = add_ready_class(&fixture, "app", 2, 4);
    usher_places_t *places = fixture.channel->places;
    is_int(usher_manager_repair_hints(fixture.manager, ref), 0, "nothing to repair");
    places->places[0].in_use = 4;
    places->gates[ref.index].waiting = 9;
    places->gates[ref.index].sleepers = 3;
    is_int(usher_manager_repair_hints(fixture.manager, ref), 3, "three hints are wrong");
    ok(find_leak(fixture.channel) && strstr(find_leak(fixture.channel), "state"), "then right");
    must(ask(fixture.channel, &visit, "app"));
    uint32_t at = visit.request.endpoint_ref.index;
    places->places[at].in_use = 3;
    is_int(usher_manager_repair_hints(fixture.manager, ref), 0,
           "a hint is left alone while a request is there");
    end(fixture.channel, &visit);
    is_int(places->places[at].in_use, 2, "too high by 2 then");
    is_int(usher_manager_repair_hints(fixture.manager, ref), 1, "and repaired");
    places->places[at].in_use = 0;
    must(ask(fixture.channel, &visit, "app"));
    places->places[visit.request.endpoint_ref.index].in_use = 0;
    end(fixture.channel, &visit);
    is_int(places->places[at].in_use, 0, "a hint too low ends at 0, not below");
    finish(&fixture);
}

static void test_servers(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    uint32_t handle;
    char path[96];
    begin(&fixture);
    is_int(usher_manager_attach_server(fixture.manager, SERVER, fixture.live_path, &handle, &error),
           USHER_INVALID, "a server is attached once");
    is_int(
        usher_manager_attach_server(fixture.manager, "later", fixture.live_path, &handle, &error),
        USHER_NOT_FOUND, "one without cells is not there yet");
    usher_channel_t *later = NULL;
    must(usher_channel_open(fixture.runtime_dir, "later", &later, &error));
    snprintf(path, sizeof(path), "%s/none", fixture.runtime_dir);
    is_int(usher_manager_attach_server(fixture.manager, "later", path, &handle, &error),
           USHER_NOT_FOUND, "nor one without a live file");
    make_live_file(&fixture, "later", path);
    is_int(usher_manager_attach_server(fixture.manager, "later", path, &handle, &error), USHER_OK,
           "then it is");
    usher_server_info_t info;
    is_int(usher_manager_settle(fixture.manager, 40, &info), USHER_NOT_FOUND, "no such handle");
    is_int(usher_manager_settle(fixture.manager, 4000, &info), USHER_NOT_FOUND, "far from it");
    usher_manager_detach_server(fixture.manager, 4000);
    usher_channel_close(later);
    finish(&fixture);
}

int main(void) {
    test_generations();
    test_load_survives_deaths();
    test_wrap();
    test_slots();
    test_self_settling();
    test_untouched_pages();
    test_changed();
    test_repair();
    test_servers();
    return done_testing();
}
