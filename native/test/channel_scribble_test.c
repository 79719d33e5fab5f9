/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers of two servers ask, take, give back and give up while hostile ones write whatever they like
 * in all that workers can write, and the manager does everything it does. Nobody crashes, nobody
 * hangs, no call takes long, and once the hostile ones are gone everything is served again.
 *
 * USHER_TEST_SECONDS: how long (4); USHER_TEST_SEED: of the hostile ones (printed).
 */
#include "channel_fixture.h"
#include "scribble.h"

#define OTHER_SERVER "apache-test"
#define HONEST 4u
#define HOSTILE 2u
#define CLASSES 3u
#define TIMEOUT_MS 500u /* of all waiting */
#define STREAK 50u      /* requests served one after the other: then all is well */
#define PATIENCE_NS (60000 * USHER_MS_NS)
#define CALL_NS (10000 * USHER_MS_NS) /* generous: sanitizers, a loaded machine */

typedef struct {
    _Atomic bool scribbling, working;
    _Atomic uint64_t served, refused, begun_ns[HONEST], longest_ns;
    _Atomic uint32_t streak[HONEST][2];
    _Atomic uint64_t moves[64];
} world_t;

typedef struct {
    fixture_t fixture;
    usher_channel_t *other;
    char other_live_path[96];
    uint32_t other_server;
    uint64_t seed;
    uint32_t number; /* of the process */
    usher_ref_t classes[CLASSES];
    uint64_t longest_ns;
    const char *longest;
    uint32_t wrong, asked, damages;
} scene_t;

static world_t *world;
static const char *const keys[] = {"one", "two", "cold", "/not/there.fcgi"};

/* ---- a good worker ----------------------------------------------------------------------- */

static void note_end(uint64_t begun_ns) {
    uint64_t took_ns = usher_os_now_ns() - begun_ns;
    uint64_t longest_ns = atomic_load(&world->longest_ns);
    while (took_ns > longest_ns &&
           !atomic_compare_exchange_weak(&world->longest_ns, &longest_ns, took_ns)) {
    }
}

static void visit_once(usher_channel_t *channel, uint32_t number, uint32_t turn, bool blocks) {
    visit_t visit;
    uint32_t which = turn % 64 < 62 ? turn % 2 : turn % 64 - 60; /* these wait in vain */
    uint64_t begun_ns = usher_os_now_ns();
    atomic_store(&world->begun_ns[number], begun_ns);
    usher_status_t status = ask(channel, &visit, keys[which]);
    while (status == USHER_AGAIN) {
        if (blocks) {
            usher_request_wait(channel, &visit.request, 1000);
        } else {
            pause_ms(1);
        }
        status = admit(channel, &visit);
    }
    if (status == USHER_OK) {
        usher_request_end(channel, &visit.request,
                          turn % 512 == 0 && atomic_load(&world->scribbling)
                              ? USHER_OUTCOME_TIMED_OUT
                              : USHER_OUTCOME_FINISHED);
    }
    note_end(begun_ns);
    atomic_fetch_add(status == USHER_OK ? &world->served : &world->refused, 1);
    if (which < 2) {
        _Atomic uint32_t *streak = &world->streak[number][which];
        atomic_store(streak, status == USHER_OK ? atomic_load(streak) + 1 : 0);
    }
}

static void be_good(fixture_t *fixture, void *argument) {
    scene_t *scene = argument;
    usher_error_t error = {0};
    bool is_other = scene->number % 2 == 1;
    bool blocks = scene->number >= 2;
    usher_channel_t *channel = is_other ? scene->other : fixture->channel;
    const char *live_path = is_other ? scene->other_live_path : fixture->live_path;
    must(usher_worker_attach(channel, live_path, 1, blocks, &error));
    must(usher_worker_watch(channel, &error));
    usher_channel_set_unknown_timeout(channel, TIMEOUT_MS);
    for (uint32_t turn = 1; atomic_load(&world->working); turn++) {
        visit_once(channel, scene->number, turn, blocks);
    }
    atomic_store(&world->begun_ns[scene->number], 0);
    usher_worker_detach(channel);
}

/* ---- a hostile one ----------------------------------------------------------------------- */

static void be_hostile(fixture_t *fixture, void *argument) {
    static const char *const wanted[] = {"/bin/sh", "/etc/passwd", "../../bin/sh", "one", NULL};
    scene_t *scene = argument;
    scribbler_t scribbler = {.table = fixture->channel->table,
                             .places = fixture->channel->places,
                             .cells = fixture->channel->cells,
                             .random = scene->seed + scene->number * 2654435761u,
                             .keys = wanted};
    while (atomic_load(&world->scribbling)) {
        for (uint32_t i = 0; i < 32; i++) {
            atomic_fetch_add(&world->moves[scribble(&scribbler)], 1);
        }
        pause_ms(1);
    }
}

/* ---- the manager ------------------------------------------------------------------------- */

#define timed(scene, call)                                     \
    do {                                                       \
        uint64_t begun_ns = usher_os_now_ns();                 \
        call;                                                  \
        note_call(scene, #call, usher_os_now_ns() - begun_ns); \
    } while (0)

static void note_call(scene_t *scene, const char *call, uint64_t took_ns) {
    if (took_ns > scene->longest_ns) {
        scene->longest_ns = took_ns;
        scene->longest = call;
    }
}

static bool is_key(const char *key, uint32_t length) {
    return length > 0 && length < USHER_KEY_MAX && strlen(key) == length;
}

/* What the manager in TypeScript refuses, this one just takes off. */
static void read_start_requests(scene_t *scene, uint32_t server) {
    char *key = malloc(USHER_KEY_MAX); /* so that a sanitizer sees its end */
    uint32_t cursor = 0, entry = 0, length = 0;
    while (usher_manager_next_start_request(scene->fixture.manager, server, &cursor, &entry, key,
                                            &length) == USHER_OK) {
        scene->asked++;
        scene->wrong += !is_key(key, length) || entry >= USHER_START_REQUESTS_MAX;
        usher_manager_finish_start_request(scene->fixture.manager, server, entry);
    }
    free(key);
}

/* An instance that somebody says hangs is replaced, whoever says so. */
static void look_at_endpoints(scene_t *scene) {
    usher_manager_t *manager = scene->fixture.manager;
    usher_endpoint_info_t info;
    uint32_t hung = 0, in_flight, unreached;
    uint64_t served;
    for (uint32_t i = 0; i < 16; i++) {
        if (usher_manager_endpoint(manager, i, &info) != USHER_OK) {
            continue;
        }
        timed(scene, must(usher_manager_in_flight(manager, info.ref, &in_flight)));
        timed(scene, must(usher_manager_hung(manager, info.ref, &hung)));
        must(usher_manager_served(manager, info.ref, &served));
        must(usher_manager_unreached(manager, info.ref, &unreached));
        if (hung > 0) {
            must(usher_manager_set_endpoint(manager, info.ref, USHER_ENDPOINT_STARTING, 1));
            must(usher_manager_set_endpoint(manager, info.ref, USHER_ENDPOINT_READY, 2));
        }
    }
}

static void look_at_server(scene_t *scene, uint32_t server) {
    usher_manager_t *manager = scene->fixture.manager;
    usher_server_info_t info;
    timed(scene, must(usher_manager_settle(manager, server, &info)));
    scene->wrong += info.workers > USHER_WORKERS_MAX || info.settled > USHER_WORKERS_MAX;
    timed(scene, (void)usher_manager_generation_lives(manager, server, 1));
    timed(scene, read_start_requests(scene, server));
    scene->damages += usher_manager_damage(manager, server).times;
}

/* A class that comes and goes meanwhile. */
static void add_and_remove(scene_t *scene) {
    usher_manager_t *manager = scene->fixture.manager;
    usher_ref_t passing = add_class(&scene->fixture, "passing", plain_limits);
    usher_ref_t endpoint =
        add_endpoint(&scene->fixture, passing, "9.0", 1, USHER_ENDPOINT_STARTING);
    timed(scene, must(usher_manager_remove_endpoint(manager, endpoint)));
    timed(scene, must(usher_manager_remove_class(manager, passing)));
}

static void manage(scene_t *scene) {
    usher_manager_t *manager = scene->fixture.manager;
    uint32_t indices[USHER_CLASSES_MAX], count = 0;
    usher_load_t load;
    usher_class_info_t info;
    timed(scene, (void)!usher_manager_wait(manager, 10));
    usher_manager_beat(manager);
    look_at_server(scene, scene->fixture.server);
    look_at_server(scene, scene->other_server);
    timed(scene, count = usher_manager_changed(manager, indices, USHER_CLASSES_MAX));
    for (uint32_t i = 0; i < count; i++) {
        scene->wrong += usher_manager_class(manager, indices[i], &info) != USHER_OK;
    }
    for (uint32_t i = 0; i < CLASSES; i++) {
        timed(scene, must(usher_manager_load(manager, scene->classes[i], &load)));
    }
    look_at_endpoints(scene);
    add_and_remove(scene);
    scene->damages += usher_manager_damage(manager, USHER_NO_SERVER).times;
}

/* ---- the story --------------------------------------------------------------------------- */

static usher_ref_t add_serving(scene_t *scene, const char *key, uint32_t endpoints,
                               uint32_t concurrency) {
    usher_class_limits_t limits = {.queue_limit = 1024,
                                   .queue_timeout_ms = TIMEOUT_MS,
                                   .connect_timeout_ms = TIMEOUT_MS,
                                   .request_timeout_ms = 1000};
    usher_ref_t ref = add_class(&scene->fixture, key, limits);
    for (uint32_t i = 0; i < endpoints; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s.%u", key, i);
        add_endpoint(&scene->fixture, ref, name, concurrency, USHER_ENDPOINT_READY);
    }
    if (endpoints > 0) {
        must(usher_manager_set_class(scene->fixture.manager, ref, USHER_CLASS_READY, 0, 0, NULL));
    }
    return ref;
}

static void set_scene(scene_t *scene) {
    usher_error_t error = {0};
    begin(&scene->fixture);
    make_live_file(&scene->fixture, OTHER_SERVER, scene->other_live_path);
    must(usher_channel_open(scene->fixture.runtime_dir, OTHER_SERVER, &scene->other, &error));
    must(usher_manager_attach_server(scene->fixture.manager, OTHER_SERVER, scene->other_live_path,
                                     &scene->other_server, &error));
    scene->classes[0] = add_serving(scene, "one", 2, 1);
    scene->classes[1] = add_serving(scene, "two", 1, 3);
    scene->classes[2] = add_serving(scene, "cold", 0, 0);
}

/* Has one of the requests been under way for longer than any may be? */
static bool hangs(void) {
    uint64_t now_ns = usher_os_now_ns();
    for (uint32_t i = 0; i < HONEST; i++) {
        uint64_t begun_ns = atomic_load(&world->begun_ns[i]);
        if (begun_ns != 0 && now_ns > begun_ns + PATIENCE_NS) {
            return true;
        }
    }
    return false;
}

static bool are_all_served(void) {
    for (uint32_t i = 0; i < HONEST; i++) {
        if (atomic_load(&world->streak[i][0]) < STREAK ||
            atomic_load(&world->streak[i][1]) < STREAK) {
            return false;
        }
    }
    return true;
}

/* What is still counted though nobody is there. */
static const char *find_rest(scene_t *scene) {
    usher_manager_t *manager = scene->fixture.manager;
    for (uint32_t i = 0; i < 16; i++) {
        usher_endpoint_info_t info;
        if (usher_manager_endpoint(manager, i, &info) != USHER_OK) {
            continue;
        }
        const usher_place_t *place = &manager->places->places[i];
        if (usher_sum_cells(manager, i) != 0 || place->in_use != 0) {
            return "a request at an endpoint";
        }
        if (usher_sum_kept(manager, i) != 0 || place->kept != 0) {
            return "a kept connection";
        }
    }
    for (uint32_t i = 0; i < CLASSES; i++) {
        uint32_t index = scene->classes[i].index;
        if (usher_sum_waiting(manager, index) != 0 || manager->places->gates[index].waiting != 0) {
            return "a request that waits";
        }
    }
    return NULL;
}

static void print_moves(const scene_t *scene) {
    printf("# seed %llu; %llu requests served, %llu refused, the longest took %.0f ms\n",
           (unsigned long long)scene->seed, (unsigned long long)atomic_load(&world->served),
           (unsigned long long)atomic_load(&world->refused),
           (double)atomic_load(&world->longest_ns) / 1e6);
    printf("# the manager's longest call: %.1f ms, %s\n", (double)scene->longest_ns / 1e6,
           scene->longest);
    for (uint32_t i = 0; i < scribble_moves(); i++) {
        printf("# %8llu  %s\n", (unsigned long long)atomic_load(&world->moves[i]),
               scribble_name(i));
    }
}

int main(void) {
    static scene_t scene;
    pid_t good[HONEST], hostile[HOSTILE];
    const char *seconds = getenv("USHER_TEST_SECONDS");
    const char *seed = getenv("USHER_TEST_SEED");
    scene.seed = (seed ? strtoull(seed, NULL, 10) : usher_os_now_ns()) | 1;
    printf("# USHER_TEST_SEED=%llu\n", (unsigned long long)scene.seed);
    world = share(sizeof(*world));
    set_scene(&scene);
    atomic_store(&world->working, true);
    atomic_store(&world->scribbling, true);
    for (scene.number = 0; scene.number < HONEST; scene.number++) {
        good[scene.number] = spawn(be_good, &scene.fixture, &scene);
    }
    for (scene.number = 0; scene.number < HOSTILE; scene.number++) {
        hostile[scene.number] = spawn(be_hostile, &scene.fixture, &scene);
    }

    uint64_t begun_ns = usher_os_now_ns();
    uint64_t lasts_ns = (seconds ? strtoull(seconds, NULL, 10) : 4) * 1000 * USHER_MS_NS;
    while (usher_os_now_ns() - begun_ns < lasts_ns && !hangs()) {
        manage(&scene);
    }
    atomic_store(&world->scribbling, false);
    uint32_t failed = 0;
    for (uint32_t i = 0; i < HOSTILE; i++) {
        failed += reap(hostile[i]) != 0;
    }
    print_moves(&scene);
    is_int(failed, 0, "hostile workers did what they could");
    ok(!hangs(), "no request hangs");
    is_int(scene.wrong, 0, "the manager is told nothing that is out of its range");
    ok(scene.asked > 0 && scene.damages > 0, "%u start requests were read, %u values cannot be",
       scene.asked, scene.damages);
    ok(scene.longest_ns < CALL_NS, "every call of the manager is bounded");

    for (uint32_t i = 0; i < HONEST; i++) {
        atomic_store(&world->streak[i][0], 0);
        atomic_store(&world->streak[i][1], 0);
    }
    uint64_t ended_ns = usher_os_now_ns();
    while (!are_all_served() && usher_os_now_ns() - ended_ns < PATIENCE_NS) {
        manage(&scene);
    }
    ok(are_all_served(), "then all workers of both servers are served again, after %.0f ms",
       (double)(usher_os_now_ns() - ended_ns) / 1e6);
    atomic_store(&world->working, false);
    for (uint32_t i = 0; i < HONEST; i++) {
        failed += reap(good[i]) != 0;
    }
    is_int(failed, 0, "none of them came to harm");
    const char *rest = find_rest(&scene);
    for (uint64_t since = usher_os_now_ns(); rest && usher_os_now_ns() - since < PATIENCE_NS;
         rest = find_rest(&scene)) {
        manage(&scene);
    }
    ok(rest == NULL, "nothing is left of what was written: %s", rest ? rest : "nothing");
    usher_channel_close(scene.other);
    finish(&scene.fixture);
    return done_testing();
}
