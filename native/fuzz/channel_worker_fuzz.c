/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker among other workers that write what the input says, and a manager that does its own: what
 * its requests are told is within its bounds, and an address is one that can be connected to.
 */
#include "channel_world.h"

#include <netinet/in.h>

#define REQUESTS 4u

static struct {
    usher_request_t request;
    bool has_begun;
} slots[REQUESTS];

static bool is_verdict(int status) {
    return status == 403 || status == 404 || status == 503;
}

static void check_address(const struct sockaddr_storage *address, socklen_t length) {
    const struct sockaddr_un *local = (const struct sockaddr_un *)address;
    if (address->ss_family == AF_INET) {
        CLAIM(length == sizeof(struct sockaddr_in));
        return;
    }
    CLAIM(address->ss_family == AF_UNIX && length <= sizeof(*local));
    size_t most = length - offsetof(struct sockaddr_un, sun_path);
    CLAIM(local->sun_path[0] == '/' && strnlen(local->sun_path, most) >= most - 1);
}

static void admit(uint32_t index) {
    usher_request_t *request = &slots[index].request;
    struct sockaddr_storage address;
    socklen_t length = 0;
    usher_admission_t admission;
    usher_status_t status =
        usher_request_admit(world.channel, request, &address, &length, &admission);
    switch (status) {
    case USHER_OK:
        check_address(&address, length);
        CLAIM(request->endpoint_ref.index < USHER_ENDPOINTS_MAX);
        CLAIM(request->endpoint_ref.generation != 0 && request->class_ref.generation != 0);
        break;
    case USHER_REFUSED:
        CLAIM(is_verdict(request->verdict_status));
        CLAIM(memchr(request->reason, '\0', sizeof(request->reason)) != NULL);
        break;
    default: /* INVALID: it holds a place, or has ended */
        CLAIM(status == USHER_AGAIN || status == USHER_INVALID);
    }
    CLAIM(usher_request_state_name(request->state)[0] != '?');
    CLAIM(request->avoids <= USHER_REQUEST_AVOIDS);
}

static void begin(uint32_t index) {
    static const char *const keys[] = {"app", "cold", "failed", "host", "/unknown", "/other"};
    const char *key = keys[input_byte(&world.input) % 6];
    usher_request_end(world.channel, &slots[index].request, USHER_OUTCOME_ABORTED);
    CLAIM(usher_request_begin(world.channel, &slots[index].request, key, strlen(key)) == USHER_OK);
    slots[index].has_begun = true;
    admit(index);
}

static void attach(bool may_block) {
    usher_error_t error = {0};
    usher_status_t status =
        usher_worker_attach(world.channel, world.live_path, 1, may_block, &error);
    CLAIM(status == USHER_OK || error.text[0] != '\0');
}

static void manage(void) {
    uint32_t byte = input_byte(&world.input);
    usher_server_info_t info;
    switch (byte % 4) {
    case 0:
        usher_manager_set_endpoint(world.manager, world.endpoints[world_index(WORLD_ENDPOINTS)],
                                   (usher_endpoint_state_t)(1 + byte / 4 % 4), 4712);
        break;
    case 1:
        usher_manager_set_class(world.manager, world.classes[world_index(WORLD_CLASSES)],
                                (usher_class_state_t)(1 + byte / 4 % 5), 503, 0, "another");
        break;
    case 2:
        usher_manager_settle(world.manager, world.server, &info);
        break;
    default:
        usher_manager_repair_hints(world.manager, world.classes[world_index(WORLD_CLASSES)]);
        break;
    }
}

static void ask(uint32_t index, uint32_t action) {
    usher_request_t *request = &slots[index].request;
    if (!slots[index].has_begun)
        return;
    switch (action % 6) {
    case 0:
        admit(index);
        break;
    case 1:
        usher_request_wait(world.channel, request, 0);
        break;
    case 2:
        usher_request_retry(world.channel, request);
        break;
    case 3:
        usher_request_is_overdue(world.channel, request);
        usher_request_has_use(world.channel, request);
        usher_request_waited_us(request);
        usher_class_waiting(world.channel, request->class_ref);
        usher_worker_waiting(world.channel, request->class_ref);
        break;
    default:
        usher_request_end(world.channel, request,
                          (usher_outcome_t)(1 + input_byte(&world.input) % 4));
        break;
    }
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    (void)count, (void)words;
    world_create();
    return 0;
}

/* First byte: a worker of Apache, which may block, or of nginx. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool may_block = size > 0 && data[0] % 2 == 1;
    memset(slots, 0, sizeof(slots));
    world.keeps_lock = may_block;
    world_begin(data + (size > 0), size - (size > 0));
    attach(may_block);
    while (world.channel->worker != NULL && input_left(&world.input) > 0) {
        uint32_t action = input_byte(&world.input);
        uint32_t index = action / 16 % REQUESTS;
        switch (action % 8) {
        case 0:
        case 1:
            begin(index);
            break;
        case 2:
        case 3:
            ask(index, input_byte(&world.input));
            break;
        case 4:
            manage();
            break;
        default:
            world_spoil();
            break;
        }
    }
    for (uint32_t i = 0; i < REQUESTS; i++)
        usher_request_end(world.channel, &slots[i].request, USHER_OUTCOME_FINISHED);
    usher_worker_detach(world.channel);
    world_end();
    return 0;
}
