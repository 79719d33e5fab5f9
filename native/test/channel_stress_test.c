/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many workers of two servers take, release, wait, ask and abort at random and are killed at random
 * steps, while the manager publishes, drains, removes and settles. When all is over, every count is
 * 0 again; no request was ever at an endpoint that the manager had drained, and none was sent to one
 * that was known to hang.
 * USHER_TEST_SECONDS sets how long (default 4).
 */
#include "channel_steps.h"

#include "channel_fixture.h"

#define WORKERS 18u
#define ENDPOINTS 4u
#define GENERATIONS 1000000u
#define DYNAMIC 24u

typedef struct {
    _Atomic uint32_t stop;
    _Atomic uint32_t lost;  /* requests at a drained endpoint */
    _Atomic uint32_t wrong; /* statuses that cannot be */
    _Atomic uint32_t lent;  /* places of hung instances */
    _Atomic uint32_t timed_out;
    _Atomic uint64_t admitted;
    _Atomic uint64_t refused;
    _Atomic uint8_t drained[GENERATIONS]; /* endpoint generation → the manager saw no request */
    _Atomic uint64_t
        hung_ns[GENERATIONS]; /* endpoint generation → since when it is known to hang */
} world_t;

typedef struct {
    fixture_t *fixture;
    usher_channel_t *channel;
    const char *live_path;
    uint32_t random;
    uint32_t kill_every; /* steps; 0 = never */
} worker_t;

static world_t *world;
static worker_t worker;

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static uint32_t pick(uint32_t below) {
    return next_random(&worker.random) % below;
}

static void die_perhaps(const char *name) {
    (void)name;
    if (worker.kill_every != 0 && pick(worker.kill_every) == 0) {
        kill(getpid(), SIGKILL);
    }
    step_at = step_count + 1;
}

static void check_drained(const visit_t *visit) {
    if (atomic_load(&world->drained[visit->request.endpoint_ref.generation % GENERATIONS])) {
        atomic_fetch_add(&world->lost, 1);
    }
}

static void time_out(visit_t *visit) {
    uint32_t generation = visit->request.endpoint_ref.generation;
    usher_request_end(worker.channel, &visit->request, USHER_OUTCOME_TIMED_OUT);
    atomic_store(&world->hung_ns[generation % GENERATIONS], usher_os_now_ns());
    atomic_fetch_add_explicit(&world->timed_out, 1, memory_order_relaxed);
}

/* Hold the place for a while, then end somehow. */
static void be_served(visit_t *visit) {
    atomic_fetch_add_explicit(&world->admitted, 1, memory_order_relaxed);
    for (uint32_t i = pick(50); i > 0; i--) {
        check_drained(visit);
        if (pick(10) == 0) {
            sched_yield();
        }
    }
    check_drained(visit);
    if (pick(20) == 0) {
        usher_request_retry(worker.channel, &visit->request);
        return;
    }
    if (pick(100) == 0) {
        time_out(visit);
        return;
    }
    usher_request_end(worker.channel, &visit->request, (usher_outcome_t)(1 + pick(3)));
}

static usher_status_t admit_checked(visit_t *visit) {
    uint64_t now_ns = usher_os_now_ns();
    usher_status_t status = admit(worker.channel, visit);
    if (status == USHER_OK) {
        uint64_t hung_ns =
            atomic_load(&world->hung_ns[visit->request.endpoint_ref.generation % GENERATIONS]);
        atomic_fetch_add(&world->lent, hung_ns != 0 && hung_ns < now_ns);
    }
    return status;
}

static void visit_something(void) {
    visit_t visit;
    char key[32];
    if (pick(8) == 0) {
        snprintf(key, sizeof(key), "/dynamic/%u", pick(DYNAMIC));
    } else {
        strcpy(key, "app");
    }
    must(usher_request_begin(worker.channel, &visit.request, key, strlen(key)));
    usher_status_t status = admit_checked(&visit);
    for (uint32_t patience = pick(20); status == USHER_AGAIN && patience > 0; patience--) {
        if (worker.channel->may_block) {
            usher_request_wait(worker.channel, &visit.request, 1 + pick(10));
        } else {
            usleep(100);
        }
        status = admit_checked(&visit);
    }
    if (status == USHER_OK) {
        be_served(&visit);
    } else if (status == USHER_REFUSED) {
        atomic_fetch_add_explicit(&world->refused, 1, memory_order_relaxed);
    } else if (status != USHER_AGAIN) {
        atomic_fetch_add(&world->wrong, 1);
    }
    usher_request_end(worker.channel, &visit.request, USHER_OUTCOME_ABORTED);
}

static void work(fixture_t *fixture, void *argument) {
    usher_error_t error = {0};
    (void)argument;
    worker.fixture = fixture;
    worker.random ^= (uint32_t)getpid() * 2654435761u;
    step_action = die_perhaps;
    arm_steps(1, 0);
    must(usher_worker_attach(worker.channel, worker.live_path, 1, pick(2) == 0, &error));
    while (atomic_load(&world->stop) == 0) {
        visit_something();
    }
    arm_steps(0, 0);
    usher_worker_detach(worker.channel);
}

/* ---- the manager's side ------------------------------------------------------------------ */

typedef struct {
    fixture_t fixture;
    usher_channel_t *channels[2];
    char live_paths[2][96];
    uint32_t servers[2];
    usher_ref_t app, endpoints[ENDPOINTS];
    bool draining[ENDPOINTS];
    pid_t pids[WORKERS];
    uint32_t killed, drains, started, random;
} scene_t;

static void start_worker(scene_t *scene, uint32_t i) {
    worker.channel = scene->channels[i % 2];
    worker.live_path = scene->live_paths[i % 2];
    worker.random = next_random(&scene->random);
    worker.kill_every = 20000;
    scene->pids[i] = spawn(work, &scene->fixture, NULL);
}

static void replace_dead(scene_t *scene) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (uint32_t i = 0; i < WORKERS; i++) {
            if (scene->pids[i] == pid) {
                scene->killed += WIFSIGNALED(status);
                atomic_fetch_add(&world->wrong, !WIFSIGNALED(status));
                start_worker(scene, i);
            }
        }
    }
}

static void add_one_endpoint(scene_t *scene, uint32_t i) {
    char name[16];
    snprintf(name, sizeof(name), "%u.0", i);
    scene->endpoints[i] = add_endpoint(&scene->fixture, scene->app, name, 1 + i % 3,
                                       i % 2 ? USHER_ENDPOINT_READY : USHER_ENDPOINT_STARTING);
    usher_manager_set_endpoint(scene->fixture.manager, scene->endpoints[i], USHER_ENDPOINT_READY,
                               1);
}

/* Replace an endpoint as a rolling restart does. */
static void drain_some(scene_t *scene) {
    usher_manager_t *manager = scene->fixture.manager;
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        uint32_t in_flight = 0, hung = 0;
        if (!scene->draining[i]) {
            must(usher_manager_hung(manager, scene->endpoints[i], &hung));
            if (hung > 0 || next_random(&scene->random) % 4 == 0) {
                usher_manager_set_endpoint(manager, scene->endpoints[i], USHER_ENDPOINT_DRAINING,
                                           1);
                scene->draining[i] = true;
            }
            continue;
        }
        must(usher_manager_in_flight(manager, scene->endpoints[i], &in_flight));
        if (in_flight == 0) {
            atomic_store(&world->drained[scene->endpoints[i].generation % GENERATIONS], 1);
            must(usher_manager_remove_endpoint(manager, scene->endpoints[i]));
            scene->draining[i] = false;
            scene->drains++;
            add_one_endpoint(scene, i);
        }
    }
}

static void publish_asked(scene_t *scene, uint32_t server) {
    uint32_t cursor = 0, entry, length;
    char key[USHER_KEY_MAX];
    usher_manager_t *manager = scene->fixture.manager;
    while (usher_manager_next_start_request(manager, server, &cursor, &entry, key, &length) ==
           USHER_OK) {
        usher_ref_t ref;
        usher_class_identity_t identity = {
            .kind = USHER_KIND_DYNAMIC, .key = key, .key_length = length};
        if (usher_manager_add_class(manager, &identity, &plain_limits, &ref) == USHER_OK) {
            scene->started++;
            usher_manager_set_class(manager, ref, USHER_CLASS_REFUSED, 404, 0, "nothing there");
        }
        usher_manager_finish_start_request(manager, server, entry);
    }
}

/* Short-lived records: what was refused once is forgotten. */
static void forget_refused(scene_t *scene) {
    for (uint32_t i = 0; i < 2 * DYNAMIC; i++) {
        usher_class_info_t info;
        if (usher_manager_class(scene->fixture.manager, i, &info) == USHER_OK &&
            info.state == USHER_CLASS_REFUSED && next_random(&scene->random) % 4 == 0) {
            must(usher_manager_remove_class(scene->fixture.manager, info.ref));
        }
    }
}

static void manage(scene_t *scene) {
    usher_manager_t *manager = scene->fixture.manager;
    uint32_t indices[64];
    usher_server_info_t info;
    usher_load_t load;
    usher_manager_wait(manager, 2);
    usher_manager_beat(manager);
    for (uint32_t i = 0; i < 2; i++) {
        publish_asked(scene, scene->servers[i]);
        must(usher_manager_settle(manager, scene->servers[i], &info));
    }
    usher_manager_changed(manager, indices, 64);
    must(usher_manager_load(manager, scene->app, &load));
    usher_manager_repair_hints(manager, scene->app);
    drain_some(scene);
    if (next_random(&scene->random) % 8 == 0) {
        forget_refused(scene);
    }
}

static void set_scene(scene_t *scene) {
    usher_error_t error = {0};
    begin(&scene->fixture);
    scene->random = (uint32_t)getpid() | 1;
    scene->channels[0] = scene->fixture.channel;
    scene->servers[0] = scene->fixture.server;
    memcpy(scene->live_paths[0], scene->fixture.live_path, sizeof(scene->live_paths[0]));
    make_live_file(&scene->fixture, "apache-test", scene->live_paths[1]);
    must(
        usher_channel_open(scene->fixture.runtime_dir, "apache-test", &scene->channels[1], &error));
    must(usher_manager_attach_server(scene->fixture.manager, "apache-test", scene->live_paths[1],
                                     &scene->servers[1], &error));
    scene->app = add_class(&scene->fixture, "app", plain_limits);
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        add_one_endpoint(scene, i);
    }
    usher_manager_set_class(scene->fixture.manager, scene->app, USHER_CLASS_READY, 0, 0, NULL);
    for (uint32_t i = 0; i < WORKERS; i++) {
        start_worker(scene, i);
    }
}

static void end_workers(scene_t *scene) {
    atomic_store(&world->stop, 1);
    for (uint32_t i = 0; i < WORKERS; i++) {
        int status = reap(scene->pids[i]);
        atomic_fetch_add(&world->wrong, status != 0 && status != 256 + SIGKILL);
    }
    for (uint32_t i = 0; i < 2; i++) {
        usher_server_info_t info;
        must(usher_manager_settle(scene->fixture.manager, scene->servers[i], &info));
        is_int(info.workers, 0, "no worker of server %u is left", i);
    }
}

static void check_end(scene_t *scene) {
    usher_error_t error = {0};
    visit_t visit;
    for (uint32_t i = 0; i < 2; i++) {
        const char *leak = find_leak(scene->channels[i]);
        ok(leak == NULL, "server %u: every count is 0 again: %s", i, leak);
        must(usher_worker_attach(scene->channels[i], scene->live_paths[i], 1, true, &error));
        is_int(ask(scene->channels[i], &visit, i ? "/one" : "/two"), USHER_AGAIN,
               "server %u: its lock can be had", i);
        usher_worker_detach(scene->channels[i]);
        /* what was asked for too fast is for later: at least one of them is given out in each ms */
        for (uint32_t look = 0; look < 2 * USHER_START_REQUESTS_MAX; look++) {
            publish_asked(scene, scene->servers[i]);
            if (ready_entries(scene->channels[i]) == 0) {
                break;
            }
            pause_ms(1);
        }
        is_int(ready_entries(scene->channels[i]), 0, "server %u: no start request", i);
    }
}

int main(void) {
    static scene_t scene;
    const char *text = getenv("USHER_TEST_SECONDS");
    uint64_t seconds = text ? strtoul(text, NULL, 10) : 4;
    world = share(sizeof(*world));
    set_scene(&scene);
    uint64_t until_ns = usher_os_now_ns() + seconds * 1000 * USHER_MS_NS;
    while (usher_os_now_ns() < until_ns) {
        manage(&scene);
        replace_dead(&scene);
    }
    end_workers(&scene);
    ok(world->admitted > 1000 && scene.killed > 0 && scene.drains > 10 && scene.started > 10,
       "%lu requests served, %lu refused, %u workers killed, %u endpoints drained, %u classes",
       (unsigned long)world->admitted, (unsigned long)world->refused, scene.killed, scene.drains,
       scene.started);
    is_int(world->lost, 0, "no request was at an endpoint after it was drained");
    is_int(world->lent, 0, "no place of a hung instance was lent, after %u requests timed out",
           world->timed_out);
    ok(world->timed_out > 10, "enough of them");
    is_int(world->wrong, 0, "no call failed");
    check_end(&scene);
    usher_channel_close(scene.channels[1]);
    finish(&scene.fixture);
    return done_testing();
}
