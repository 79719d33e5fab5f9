/* SPDX-License-Identifier: Apache-2.0 */
/* Publishing classes and endpoints; a manager that is killed at any step of it. */
#include "channel_steps.h"

#include "channel_fixture.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static usher_ref_t find(const fixture_t *fixture, const char *key) {
    return usher_find_class(fixture->channel->table, fixture->channel->server_id, key,
                            (uint32_t)strlen(key));
}

static bool same(usher_ref_t a, usher_ref_t b) {
    return a.index == b.index && a.generation == b.generation;
}

static usher_status_t try_add(fixture_t *fixture, const char *key, uint32_t key_length,
                              uint64_t server_id, usher_ref_t *ref) {
    usher_class_identity_t identity = {
        .kind = USHER_KIND_DYNAMIC, .key = key, .key_length = key_length, .server_id = server_id};
    return usher_manager_add_class(fixture->manager, &identity, &plain_limits, ref);
}

static void test_classes(void) {
    fixture_t fixture;
    usher_ref_t ref, other;
    usher_class_info_t info;
    char long_key[USHER_KEY_MAX + 1];
    begin(&fixture);
    ref = add_class(&fixture, "/srv/a.fcgi", plain_limits);
    ok(same(find(&fixture, "/srv/a.fcgi"), ref), "a published class is found");
    is_int(find(&fixture, "/srv/b.fcgi").generation, 0, "another key is not");
    is_int(find(&fixture, "/srv/a.fcg").generation, 0, "nor is a shorter one");
    is_int(try_add(&fixture, "/srv/a.fcgi", 11, 0, &other), USHER_INVALID, "twice is refused");
    is_int(try_add(&fixture, "", 0, 0, &other), USHER_INVALID, "an empty key is");
    is_int(try_add(&fixture, "a\0b", 3, 0, &other), USHER_INVALID, "a key with a NUL is");
    memset(long_key, 'k', sizeof(long_key));
    is_int(try_add(&fixture, long_key, USHER_KEY_MAX, 0, &other), USHER_INVALID,
           "a key of %u bytes is", USHER_KEY_MAX);
    is_int(try_add(&fixture, long_key, USHER_KEY_MAX - 1, 0, &other), USHER_OK,
           "one of %u bytes is not", USHER_KEY_MAX - 1);
    long_key[USHER_KEY_MAX - 1] = '\0';
    ok(same(find(&fixture, long_key), other), "and is found");

    is_int(usher_manager_class(fixture.manager, ref.index, &info), USHER_OK, "the record is read");
    is_str(info.key, "/srv/a.fcgi", "key");
    is_int(info.state, USHER_CLASS_COLD, "state");
    is_int(info.limits.queue_limit, 1024, "limits");
    is_int(usher_manager_class(fixture.manager, 99, &info), USHER_NOT_FOUND, "a free one is not");
    is_int(usher_manager_class(fixture.manager, USHER_CLASSES_MAX, &info), USHER_NOT_FOUND,
           "an index out of range is not");

    is_int(usher_manager_remove_class(fixture.manager, ref), USHER_OK, "it is removed");
    is_int(find(&fixture, "/srv/a.fcgi").generation, 0, "and not found any more");
    is_int(usher_manager_remove_class(fixture.manager, ref), USHER_STALE, "once only");
    is_int(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_READY, 0, 0, NULL),
           USHER_STALE, "its reference is stale");
    other = add_class(&fixture, "/srv/c.fcgi", plain_limits);
    is_int(other.index, ref.index, "the record is used again");
    ok(other.generation != ref.generation, "with another generation");
    is_int(usher_manager_set_class(fixture.manager, other, USHER_CLASS_REMOVED, 0, 0, NULL),
           USHER_INVALID, "a state that only removal gives");
    finish(&fixture);
}

static void test_visibility(void) {
    fixture_t fixture;
    usher_ref_t all, mine, theirs;
    begin(&fixture);
    must(try_add(&fixture, "app", 3, 0, &all));
    ok(same(find(&fixture, "app"), all), "a class for all servers is found");
    must(try_add(&fixture, "app", 3, usher_hash("other", 5), &theirs));
    ok(same(find(&fixture, "app"), all), "another server's class of the same name is not");
    must(try_add(&fixture, "app", 3, usher_hash(SERVER, strlen(SERVER)), &mine));
    ok(same(find(&fixture, "app"), mine), "the server's own goes first");
    must(usher_manager_remove_class(fixture.manager, mine));
    ok(same(find(&fixture, "app"), all), "and leaves the general one");
    finish(&fixture);
}

static void test_endpoints(void) {
    fixture_t fixture;
    usher_ref_t class_ref, ref, more;
    usher_endpoint_info_t info;
    uint32_t in_flight = 7;
    begin(&fixture);
    class_ref = add_class(&fixture, "app", plain_limits);
    ref = add_endpoint(&fixture, class_ref, "1.0", 3, USHER_ENDPOINT_STARTING);
    is_int(usher_manager_endpoint(fixture.manager, ref.index, &info), USHER_OK, "is read");
    is_int(info.concurrency, 3, "concurrency");
    is_int(info.pid, 4711, "pid");
    ok(same(info.class_ref, class_ref), "class");
    is_str((char *)info.address.bytes, "1.0", "address");
    is_int(usher_manager_in_flight(fixture.manager, ref, &in_flight), USHER_OK, "has requests");
    is_int(in_flight, 0, "none so far");
    is_int(usher_manager_set_endpoint(fixture.manager, ref, USHER_ENDPOINT_FREE, 0), USHER_INVALID,
           "FREE is for removal");
    is_int(usher_manager_remove_class(fixture.manager, class_ref), USHER_INVALID,
           "a class with endpoints is not removed");
    for (uint32_t i = 1; i < USHER_CLASS_ENDPOINTS_MAX; i++) {
        more = add_endpoint(&fixture, class_ref, "x", 1, USHER_ENDPOINT_READY);
    }
    usher_endpoint_address_t address = {.kind = USHER_ADDRESS_UNIX, .length = 2, .bytes = "/a"};
    is_int(usher_manager_add_endpoint(fixture.manager, class_ref, &address, 1, USHER_ENDPOINT_READY,
                                      0, &more),
           USHER_FULL, "no more than %u endpoints", USHER_CLASS_ENDPOINTS_MAX);
    must(usher_manager_remove_endpoint(fixture.manager, ref));
    is_int(usher_manager_in_flight(fixture.manager, ref, &in_flight), USHER_STALE,
           "a removed one is stale");
    is_int(usher_manager_add_endpoint(fixture.manager, class_ref, &address, 0, USHER_ENDPOINT_READY,
                                      0, &more),
           USHER_INVALID, "none without a place");
    address.bytes[0] = 'a';
    is_int(usher_manager_add_endpoint(fixture.manager, class_ref, &address, 1, USHER_ENDPOINT_READY,
                                      0, &more),
           USHER_INVALID, "none with a relative path");
    address = (usher_endpoint_address_t){.kind = USHER_ADDRESS_INET, .length = 4};
    is_int(usher_manager_add_endpoint(fixture.manager, class_ref, &address, 1, USHER_ENDPOINT_READY,
                                      0, &more),
           USHER_INVALID, "none with half an address");
    finish(&fixture);
}

static void test_full(void) {
    fixture_t fixture;
    char key[32];
    usher_ref_t ref = {0, 0};
    uint32_t added = 0, missing = 0;
    begin(&fixture);
    for (; added < USHER_CLASSES_MAX; added++) {
        snprintf(key, sizeof(key), "/class/%u", added);
        if (try_add(&fixture, key, (uint32_t)strlen(key), 0, &ref) != USHER_OK) {
            break;
        }
    }
    is_int(added, USHER_CLASSES_MAX, "%u classes are published", USHER_CLASSES_MAX);
    is_int(try_add(&fixture, "one more", 8, 0, &ref), USHER_FULL, "one more is refused");
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        snprintf(key, sizeof(key), "/class/%u", i);
        missing += find(&fixture, key).generation == 0;
    }
    is_int(missing, 0, "all of them are found");
    finish(&fixture);
}

/* ---- churn ------------------------------------------------------------------------------- */

#define CHURN_LIVE 500u

static uint32_t longest_chain(const fixture_t *fixture) {
    uint32_t longest = 0, chain = 0;
    for (uint32_t i = 0; i < 2 * USHER_BUCKETS; i++) {
        chain = fixture->channel->table->buckets[i % USHER_BUCKETS] != 0 ? chain + 1 : 0;
        longest = chain > longest ? chain : longest;
    }
    return longest;
}

static void test_churn(void) {
    enum { CYCLES = SANITIZED ? 50000 : 1000000 };
    fixture_t fixture;
    static usher_ref_t live[CHURN_LIVE];
    static char keys[CHURN_LIVE][32];
    uint32_t failures = 0;
    begin(&fixture);
    for (uint32_t cycle = 0; cycle < CYCLES; cycle++) {
        uint32_t i = cycle % CHURN_LIVE;
        if (live[i].generation != 0) {
            failures += usher_manager_remove_class(fixture.manager, live[i]) != USHER_OK;
        }
        snprintf(keys[i], sizeof(keys[i]), "/churn/%u", cycle);
        failures += try_add(&fixture, keys[i], (uint32_t)strlen(keys[i]), 0, &live[i]) != USHER_OK;
    }
    is_int(failures, 0, "%d classes come and go", CYCLES);
    for (uint32_t i = 0; i < CHURN_LIVE; i++) {
        failures += !same(find(&fixture, keys[i]), live[i]);
    }
    is_int(failures, 0, "the last %u are all found", CHURN_LIVE);
    ok(longest_chain(&fixture) < 100, "no chain of buckets is long: %u", longest_chain(&fixture));
    finish(&fixture);
}

typedef struct {
    _Atomic uint32_t stop;
    _Atomic uint32_t wrong;
    _Atomic uint32_t missed;
    _Atomic uint32_t found;
} readers_t;

/* Looks for a class that is always there while others come and go around it. */
static void look_up(fixture_t *fixture, void *argument) {
    readers_t *readers = argument;
    while (atomic_load(&readers->stop) == 0) {
        usher_ref_t ref = find(fixture, "/always");
        if (ref.generation == 0) {
            atomic_fetch_add(&readers->missed, 1);
        } else if (ref.generation != 1) {
            atomic_fetch_add(&readers->wrong, 1);
        } else {
            atomic_fetch_add(&readers->found, 1);
        }
    }
}

static void test_readers(void) {
    fixture_t fixture;
    readers_t *readers = share(sizeof(*readers));
    usher_ref_t others[64] = {0};
    char key[64];
    begin(&fixture);
    usher_ref_t always = add_class(&fixture, "/always", plain_limits);
    is_int(always.generation, 1, "a class that stays");
    pid_t pid = spawn(look_up, &fixture, readers);
    /* keys that fall into the same bucket, so that the chain is always being rebuilt */
    uint64_t home = usher_hash("/always", 7) % USHER_BUCKETS;
    uint32_t at = 0;
    for (uint32_t i = 0, made = 0; made < 20000; i++) {
        snprintf(key, sizeof(key), "/n/%u", i);
        if ((usher_hash(key, strlen(key)) - home) % USHER_BUCKETS > 2048) {
            continue;
        }
        made++;
        if (others[at].generation != 0) {
            must(usher_manager_remove_class(fixture.manager, others[at]));
        }
        must(try_add(&fixture, key, (uint32_t)strlen(key), 0, &others[at]));
        at = (at + 1) % 64;
    }
    atomic_store(&readers->stop, 1);
    reap(pid);
    is_int(readers->wrong, 0, "readers never see another class under its key");
    ok(readers->found > 0, "they found it %u times and missed it %u times", readers->found,
       readers->missed);
    finish(&fixture);
}

/* ---- a manager that is killed ------------------------------------------------------------ */

typedef struct {
    _Atomic uint32_t steps;
    usher_ref_t kept, victim, endpoint;
} story_t;

static void publish_much(fixture_t *fixture, void *argument) {
    story_t *story = argument;
    usher_error_t error = {0};
    must(usher_manager_open(fixture->runtime_dir, &fixture->manager, &error));
    usher_ref_t added = add_class(fixture, "added", plain_limits);
    add_endpoint(fixture, added, "2.0", 1, USHER_ENDPOINT_READY);
    must(usher_manager_set_class(fixture->manager, story->kept, USHER_CLASS_FAILED, 503, 1, "no"));
    must(usher_manager_remove_endpoint(fixture->manager, story->endpoint));
    must(usher_manager_remove_class(fixture->manager, story->victim));
    story->steps = step_count;
}

/* Classes whose buckets follow each other, so that removing one moves the next. */
static void make_neighbours(char keys[3][32]) {
    uint64_t home = 0;
    uint32_t made = 0;
    for (uint32_t i = 0; made < 3; i++) {
        snprintf(keys[made], 32, "/neighbour/%u", i);
        uint64_t bucket = usher_hash(keys[made], strlen(keys[made])) % USHER_BUCKETS;
        if (made == 0) {
            home = bucket;
        }
        made += bucket == home;
    }
}

static bool is_usable(fixture_t *fixture, story_t *story, char keys[3][32]) {
    usher_class_info_t info;
    usher_ref_t ref;
    bool usable = same(find(fixture, keys[1]), story->kept);
    usable = usable && usher_manager_class(fixture->manager, story->kept.index, &info) == USHER_OK;
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) { /* whatever is listed can be removed */
        if (usher_manager_class(fixture->manager, i, &info) != USHER_OK) {
            continue;
        }
        for (uint32_t e = 0; e < USHER_ENDPOINTS_MAX; e++) {
            usher_endpoint_info_t endpoint;
            if (usher_manager_endpoint(fixture->manager, e, &endpoint) == USHER_OK &&
                same(endpoint.class_ref, info.ref)) {
                usable = usable &&
                         usher_manager_remove_endpoint(fixture->manager, endpoint.ref) == USHER_OK;
            }
        }
        usable = usable && usher_manager_remove_class(fixture->manager, info.ref) == USHER_OK;
    }
    for (uint32_t i = 0; i < USHER_BUCKETS; i++) {
        usable = usable && fixture->channel->table->buckets[i] == 0;
    }
    return usable && try_add(fixture, keys[0], (uint32_t)strlen(keys[0]), 0, &ref) == USHER_OK;
}

/* One round: a manager is killed at step `at` (0 = never), its successor must find all in order. */
static bool survives(story_t *story, uint32_t at) {
    fixture_t fixture;
    usher_error_t error = {0};
    char keys[3][32];
    begin(&fixture);
    make_neighbours(keys);
    story->victim = add_class(&fixture, keys[0], plain_limits);
    story->kept = add_class(&fixture, keys[1], plain_limits);
    add_class(&fixture, keys[2], plain_limits);
    story->endpoint = add_endpoint(&fixture, story->victim, "1.0", 1, USHER_ENDPOINT_READY);
    usher_manager_close(fixture.manager);
    fixture.manager = NULL;
    arm_steps(at, SIGKILL);
    int status = reap(spawn(publish_much, &fixture, story));
    arm_steps(0, 0);
    bool alive = (status == 0) == (at == 0);
    must(usher_manager_open(fixture.runtime_dir, &fixture.manager, &error));
    bool usable = is_usable(&fixture, story, keys);
    finish(&fixture);
    return alive && usable;
}

static void test_kills(void) {
    story_t *story = share(sizeof(*story));
    ok(survives(story, 0), "a manager publishes much");
    uint32_t steps = story->steps, broken = 0;
    ok(steps > 10, "in %u steps", steps);
    for (uint32_t at = 1; at <= steps; at++) {
        if (!survives(story, at)) {
            broken++;
            printf("# killed at step %u of %u: not whole\n", at, steps);
        }
    }
    is_int(broken, 0, "its successor goes on, whichever of %u steps it was killed at", steps);
}

int main(void) {
    test_classes();
    test_visibility();
    test_endpoints();
    test_full();
    test_churn();
    test_readers();
    test_kills();
    return done_testing();
}
