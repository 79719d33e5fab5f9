/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that workers can write is input: garbage there may make the manager's numbers nonsense,
 * but must not crash it, keep it busy or make it look outside. Run under AddressSanitizer as well.
 */
#include "channel_fixture.h"

#define ROUNDS 30u
#define SLOTS 6u /* that are filled completely */

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Numbers that are likely to hurt. */
static uint64_t bad_number(void) {
    static const uint64_t bad[] = {0,
                                   1,
                                   2,
                                   3,
                                   0x7fffffff,
                                   0xffffffff,
                                   0xfffffffe,
                                   0xffffffffffffffff,
                                   USHER_CLASSES_MAX,
                                   USHER_ENDPOINTS_MAX,
                                   USHER_WORKERS_MAX,
                                   USHER_KEY_MAX,
                                   USHER_START_READY,
                                   0x0000000100000001};
    uint64_t value = next_random();
    return value % 2 == 0 ? value : bad[value / 2 % (sizeof(bad) / sizeof(bad[0]))];
}

static void spoil(void *memory, size_t bytes) {
    char *at = memory;
    for (size_t done = 0; done + 8 <= bytes; done += 8) {
        uint64_t value = bad_number();
        memcpy(at + done, &value, 8);
    }
}

static void spoil_all(fixture_t *fixture) {
    usher_places_t *places = fixture->channel->places;
    usher_cells_t *cells = fixture->channel->cells;
    spoil(places, sizeof(*places));
    spoil(&cells->header, sizeof(cells->header));
    spoil(cells->ring, sizeof(cells->ring));
    spoil(cells->workers, SLOTS * sizeof(cells->workers[0]));
    for (uint32_t slot = SLOTS; slot < USHER_WORKERS_MAX; slot++) {
        spoil(&cells->workers[slot], offsetof(usher_worker_record_t, counts));
    }
}

/* A ring that is nearly right: checks behind the first one are reached, too. */
static void spoil_ring_a_little(fixture_t *fixture) {
    usher_cells_t *cells = fixture->channel->cells;
    cells->header.asked++;
    for (uint32_t i = 0; i < USHER_START_REQUESTS_MAX; i++) {
        usher_start_request_record_t *entry = &cells->ring[i];
        entry->state = USHER_START_READY;
        entry->key_length = (uint32_t)(1 + next_random() % (USHER_KEY_MAX + 4));
        spoil(entry->key, sizeof(entry->key));
        uint32_t length = entry->key_length < USHER_KEY_MAX ? entry->key_length : 1;
        entry->key_hash = usher_hash(entry->key, length);
    }
}

static uint32_t read_ring(fixture_t *fixture) {
    uint32_t cursor = 0, entry = 0, length = 0, wrong = 0;
    char *key = malloc(USHER_KEY_MAX); /* so that a sanitizer sees its end */
    while (usher_manager_next_start_request(fixture->manager, fixture->server, &cursor, &entry, key,
                                            &length) == USHER_OK) {
        wrong += entry >= USHER_START_REQUESTS_MAX || length == 0 || length >= USHER_KEY_MAX ||
                 strlen(key) != length;
        usher_manager_finish_start_request(fixture->manager, fixture->server, entry);
    }
    free(key);
    return wrong;
}

/* Everything the manager does. How many answers are out of their range. */
static uint32_t manage(fixture_t *fixture, usher_ref_t class_ref, usher_ref_t endpoint) {
    usher_manager_t *manager = fixture->manager;
    uint32_t indices[USHER_CLASSES_MAX], in_flight, hung, wrong = 0;
    usher_load_t load;
    usher_server_info_t info;
    usher_class_info_t found;
    usher_manager_wait(manager, 0);
    wrong += read_ring(fixture);
    uint32_t count = usher_manager_changed(manager, indices, USHER_CLASSES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        wrong += usher_manager_class(manager, indices[i], &found) != USHER_OK;
    }
    wrong += usher_manager_load(manager, class_ref, &load) != USHER_OK;
    wrong += usher_manager_in_flight(manager, endpoint, &in_flight) != USHER_OK;
    wrong += usher_manager_hung(manager, endpoint, &hung) != USHER_OK;
    usher_manager_repair_hints(manager, class_ref);
    usher_manager_generation_lives(manager, fixture->server, 1);
    wrong += usher_manager_settle(manager, fixture->server, &info) != USHER_OK;
    wrong += info.workers > USHER_WORKERS_MAX || info.settled > USHER_WORKERS_MAX;
    return wrong;
}

static void test_garbage(void) {
    fixture_t fixture;
    uint32_t wrong = 0;
    begin(&fixture);
    usher_ref_t class_ref = add_ready_class(&fixture, "app", 3, 2);
    usher_ref_t endpoint = add_endpoint(&fixture, class_ref, "9.0", 2, USHER_ENDPOINT_READY);
    add_class(&fixture, "other", plain_limits);
    uint64_t begun = usher_os_now_ns();
    for (uint32_t round = 0; round < ROUNDS; round++) {
        spoil_all(&fixture);
        if (round % 2 == 0) {
            spoil_ring_a_little(&fixture);
        }
        wrong += manage(&fixture, class_ref, endpoint);
        usher_ref_t more = add_class(&fixture, "more", plain_limits);
        add_endpoint(&fixture, more, "1.0", 1, USHER_ENDPOINT_STARTING);
        usher_endpoint_info_t info;
        for (uint32_t i = 0; i < USHER_ENDPOINTS_MAX; i++) {
            if (usher_manager_endpoint(fixture.manager, i, &info) == USHER_OK &&
                info.class_ref.index == more.index) {
                must(usher_manager_remove_endpoint(fixture.manager, info.ref));
            }
        }
        must(usher_manager_remove_class(fixture.manager, more));
    }
    is_int(wrong, 0, "the manager goes on through garbage of %u kinds", ROUNDS);
    ok(usher_os_now_ns() - begun < UINT64_C(60000) * USHER_MS_NS, "it took %.1f ms a time",
       (double)(usher_os_now_ns() - begun) / 1e6 / ROUNDS);
    finish(&fixture);
}

/* Other workers may be spoiled, too: what a good one then gets is an answer within bounds. */
static void test_worker_among_garbage(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    uint32_t wrong = 0;
    begin(&fixture);
    add_ready_class(&fixture, "app", 3, 2);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        visit_t visit;
        spoil_all(&fixture);
        if (usher_worker_attach(fixture.channel, fixture.live_path, 1, false, &error) != USHER_OK) {
            wrong++;
            continue;
        }
        static const char *const keys[] = {"app", "/unknown"};
        for (uint32_t i = 0; i < 2; i++) {
            usher_status_t status = ask(fixture.channel, &visit, keys[i]);
            wrong += status != USHER_OK && status != USHER_AGAIN && status != USHER_REFUSED;
            usher_request_end(fixture.channel, &visit.request, USHER_OUTCOME_ABORTED);
        }
        usher_worker_detach(fixture.channel);
    }
    is_int(wrong, 0, "a worker among garbage gets answers");
    finish(&fixture);
}

int main(void) {
    test_garbage();
    test_worker_among_garbage();
    return done_testing();
}
