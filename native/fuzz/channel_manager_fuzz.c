/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manager among workers that write what the input says: its numbers may become nonsense, but
 * every answer is within its bounds, and it looks at nothing outside.
 */
#include "channel_world.h"

static void read_ring(void) {
    uint32_t cursor = 0, entry = 0, length = 0, seen = 0;
    char *key = malloc(USHER_KEY_MAX); /* so that its end is guarded */
    while (usher_manager_next_start_request(world.manager, world.server, &cursor, &entry, key,
                                            &length) == USHER_OK) {
        CLAIM(entry < USHER_START_REQUESTS_MAX && length > 0 && length < USHER_KEY_MAX);
        CLAIM(strlen(key) == length);
        CLAIM(++seen <= USHER_START_REQUESTS_MAX);
        if (input_byte(&world.input) < 0x80)
            usher_manager_finish_start_request(world.manager, world.server, entry);
    }
    free(key);
}

static void settle(void) {
    usher_server_info_t info;
    usher_status_t status = usher_manager_settle(world.manager, world.server, &info);
    CLAIM(status == USHER_OK);
    CLAIM(info.workers <= USHER_WORKERS_MAX && info.settled <= USHER_WORKERS_MAX);
    usher_manager_generation_lives(world.manager, world.server, (uint32_t)world_number());
}

/* Where the damage is said to be, something is. */
static void read_damage(uint32_t handle) {
    usher_damage_t damage = usher_manager_damage(world.manager, handle);
    if (damage.times == 0)
        return;
    CLAIM(damage.what >= USHER_DAMAGED_COUNT && damage.what <= USHER_DAMAGED_HINT);
    CLAIM(damage.where < USHER_ENDPOINTS_MAX || damage.what == USHER_DAMAGED_SLOTS);
    CLAIM(usher_manager_damage(world.manager, handle).times == 0);
}

static void read_changed(void) {
    uint32_t indices[16];
    uint32_t most = 1 + input_byte(&world.input) % 16;
    uint32_t count = usher_manager_changed(world.manager, indices, most);
    CLAIM(count <= most);
    for (uint32_t i = 0; i < count; i++) {
        usher_class_info_t info;
        CLAIM(usher_manager_class(world.manager, indices[i], &info) == USHER_OK);
    }
}

static void read_class(usher_ref_t class_ref) {
    usher_load_t load;
    CLAIM(usher_manager_load(world.manager, class_ref, &load) == USHER_OK);
    usher_manager_repair_hints(world.manager, class_ref);
}

static void read_endpoint(usher_ref_t endpoint) {
    uint32_t in_flight, unreached, hung;
    uint64_t served;
    usher_endpoint_info_t info;
    CLAIM(usher_manager_in_flight(world.manager, endpoint, &in_flight) == USHER_OK);
    CLAIM(usher_manager_served(world.manager, endpoint, &served) == USHER_OK);
    CLAIM(usher_manager_unreached(world.manager, endpoint, &unreached) == USHER_OK);
    CLAIM(usher_manager_hung(world.manager, endpoint, &hung) == USHER_OK);
    CLAIM(usher_manager_endpoint(world.manager, endpoint.index, &info) == USHER_OK);
    CLAIM(info.ref.generation == endpoint.generation && info.concurrency == 2);
}

/* Another class where workers count something already. */
static void come_and_go(void) {
    static const usher_class_limits_t limits = {.queue_limit = 1};
    usher_class_identity_t identity = {.kind = USHER_KIND_DYNAMIC, .key = "/more", .key_length = 5};
    usher_endpoint_address_t address = {.kind = USHER_ADDRESS_UNIX, .length = 2, .bytes = "/s"};
    usher_ref_t class_ref, endpoint;
    CLAIM(usher_manager_add_class(world.manager, &identity, &limits, &class_ref) == USHER_OK);
    CLAIM(usher_manager_add_endpoint(world.manager, class_ref, &address, 2, USHER_ENDPOINT_READY, 1,
                                     &endpoint) == USHER_OK);
    world_spoil();
    read_endpoint(endpoint);
    read_class(class_ref);
    CLAIM(usher_manager_remove_endpoint(world.manager, endpoint) == USHER_OK);
    CLAIM(usher_manager_remove_class(world.manager, class_ref) == USHER_OK);
}

/* Cells whose header is spoiled are refused: then there is nothing left to do with this input. */
static bool attach_again(void) {
    usher_error_t error = {0};
    usher_manager_detach_server(world.manager, world.server);
    usher_status_t status = usher_manager_attach_server(world.manager, WORLD_SERVER,
                                                        world.live_path, &world.server, &error);
    CLAIM(status == USHER_OK || error.text[0] != '\0');
    return status == USHER_OK;
}

static bool act(void) {
    uint32_t action = input_byte(&world.input);
    switch (action % 16) {
    case 0:
        read_ring();
        break;
    case 1:
        settle();
        break;
    case 2:
        read_changed();
        break;
    case 3:
        read_class(world.classes[world_index(WORLD_CLASSES)]);
        break;
    case 4:
        read_endpoint(world.endpoints[world_index(WORLD_ENDPOINTS)]);
        break;
    case 5:
        CLAIM(usher_manager_set_endpoint(
                  world.manager, world.endpoints[world_index(WORLD_ENDPOINTS)],
                  (usher_endpoint_state_t)(1 + action / 16 % 4), 4712) == USHER_OK);
        break;
    case 6:
        come_and_go();
        break;
    case 7:
        usher_manager_wait(world.manager, 0);
        break;
    case 8:
        return attach_again();
    case 9:
        read_damage(action < 128 ? world.server : USHER_NO_SERVER);
        break;
    default:
        world_spoil();
        break;
    }
    return true;
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    (void)count, (void)words;
    world_create();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool goes_on = true;
    world_begin(data, size);
    while (goes_on && input_left(&world.input) > 0)
        goes_on = act();
    if (goes_on) {
        read_ring();
        settle();
        read_changed();
        read_damage(world.server);
        read_damage(USHER_NO_SERVER);
        for (uint32_t i = 0; i < WORLD_CLASSES; i++)
            read_class(world.classes[i]);
        for (uint32_t i = 0; i < WORLD_ENDPOINTS; i++)
            read_endpoint(world.endpoints[i]);
    }
    world_end();
    return 0;
}
