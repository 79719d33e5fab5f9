/* SPDX-License-Identifier: Apache-2.0 */
#include "channel_world.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 3
#define HEAD_BYTES 4096 /* of each file: what stands in it when it is new */

world_t world;

static struct {
    char runtime_dir[64];
    char paths[FILES][128];
    int files[FILES];
    uint8_t heads[FILES][HEAD_BYTES];
    bool is_spoiling;
} own;

/* ---- the files ----------------------------------------------------------------------------- */

static void remove_all(void) {
    for (int i = 0; i < FILES; i++)
        unlink(own.paths[i]);
    char folder[96];
    snprintf(folder, sizeof(folder), "%s/channel", own.runtime_dir);
    rmdir(folder);
    unlink(world.live_path);
    rmdir(own.runtime_dir);
}

void world_create(void) {
    char folder[96];
    usher_error_t error;
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(own.runtime_dir, sizeof(own.runtime_dir), "%s/usher-fuzz-XXXXXX", base);
    CLAIM(mkdtemp(own.runtime_dir) != NULL);
    snprintf(folder, sizeof(folder), "%s/channel", own.runtime_dir);
    CLAIM(mkdir(folder, 0700) == 0);
    snprintf(world.live_path, sizeof(world.live_path), "%s/live", own.runtime_dir);
    int live = open(world.live_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CLAIM(live >= 0);
    close(live);

    static const char *const names[FILES] = {"table", "places", WORLD_SERVER ".cells"};
    CLAIM(usher_channel_open(own.runtime_dir, WORLD_SERVER, &world.channel, &error) == USHER_OK);
    usher_channel_close(world.channel);
    for (int i = 0; i < FILES; i++) {
        snprintf(own.paths[i], sizeof(own.paths[i]), "%s/%s", folder, names[i]);
        own.files[i] = open(own.paths[i], O_RDWR | O_CLOEXEC);
        CLAIM(own.files[i] >= 0);
        CLAIM(pread(own.files[i], own.heads[i], HEAD_BYTES, 0) == HEAD_BYTES);
    }
    atexit(remove_all);
}

/* What an input has left behind is taken away by the page. */
static void renew_files(void) {
    for (int i = 0; i < FILES; i++) {
        struct stat facts;
        CLAIM(fstat(own.files[i], &facts) == 0);
        CLAIM(fallocate(own.files[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        facts.st_size) == 0);
        CLAIM(pwrite(own.files[i], own.heads[i], HEAD_BYTES, 0) == HEAD_BYTES);
    }
}

/* ---- classes and endpoints ----------------------------------------------------------------- */

static usher_ref_t add_class(const char *key, usher_kind_t kind, usher_class_state_t state) {
    static const usher_class_limits_t limits = {
        .queue_limit = 2, .queue_timeout_ms = 1000, .connect_timeout_ms = 30000};
    usher_class_identity_t identity = {
        .kind = kind, .key = key, .key_length = (uint32_t)strlen(key)};
    usher_ref_t ref;
    CLAIM(usher_manager_add_class(world.manager, &identity, &limits, &ref) == USHER_OK);
    CLAIM(usher_manager_set_class(world.manager, ref, state, 503, 7, "it ends at once") ==
          USHER_OK);
    return ref;
}

static usher_ref_t add_endpoint(usher_ref_t class_ref, const char *name,
                                usher_endpoint_state_t state) {
    usher_endpoint_address_t address = {.kind = USHER_ADDRESS_SERVER_SOCKET,
                                        .length = (uint32_t)strlen(name)};
    memcpy(address.bytes, name, strlen(name));
    if (*name == '\0') {
        struct sockaddr_in host = {.sin_family = AF_INET, .sin_port = htons(9000)};
        address.kind = USHER_ADDRESS_INET;
        address.length = sizeof(host);
        memcpy(address.bytes, &host, sizeof(host));
    }
    usher_ref_t ref;
    CLAIM(usher_manager_add_endpoint(world.manager, class_ref, &address, 2, state, 4711, &ref) ==
          USHER_OK);
    return ref;
}

static void publish(void) {
    usher_ref_t *classes = world.classes, *endpoints = world.endpoints;
    classes[0] = add_class("app", USHER_KIND_STATIC, USHER_CLASS_READY);
    classes[1] = add_class("cold", USHER_KIND_STATIC, USHER_CLASS_STARTING);
    classes[2] = add_class("failed", USHER_KIND_STATIC, USHER_CLASS_FAILED);
    classes[3] = add_class("host", USHER_KIND_EXTERNAL, USHER_CLASS_READY);
    endpoints[0] = add_endpoint(classes[0], "e1", USHER_ENDPOINT_READY);
    endpoints[1] = add_endpoint(classes[0], "e2", USHER_ENDPOINT_READY);
    endpoints[2] = add_endpoint(classes[0], "e3", USHER_ENDPOINT_DRAINING);
    endpoints[3] = add_endpoint(classes[1], "e4", USHER_ENDPOINT_STARTING);
    endpoints[4] = add_endpoint(classes[3], "", USHER_ENDPOINT_READY);
}

void world_begin(const uint8_t *data, size_t size) {
    usher_error_t error;
    world.input = (input_t){data, data + size};
    CLAIM(usher_channel_open(own.runtime_dir, WORLD_SERVER, &world.channel, &error) == USHER_OK);
    CLAIM(usher_manager_open(own.runtime_dir, &world.manager, &error) == USHER_OK);
    CLAIM(usher_manager_attach_server(world.manager, WORLD_SERVER, world.live_path, &world.server,
                                      &error) == USHER_OK);
    usher_manager_set_state(world.manager, USHER_MANAGER_RUNNING, 1);
    publish();
    own.is_spoiling = true;
}

void world_end(void) {
    own.is_spoiling = false;
    usher_channel_close(world.channel);
    usher_manager_close(world.manager);
    renew_files();
}

/* ---- what the input writes ----------------------------------------------------------------- */

uint32_t world_index(uint32_t count) {
    uint32_t byte = input_byte(&world.input);
    return byte < 0xf0 ? byte % (count < 8 ? count : 8) : count - 1 - (byte - 0xf0) % count;
}

uint64_t world_number(void) {
    static const uint64_t hurting[] = {0,
                                       1,
                                       2,
                                       UINT32_MAX,
                                       UINT32_MAX - 1,
                                       INT32_MAX,
                                       UINT64_MAX,
                                       USHER_CLASSES_MAX,
                                       USHER_ENDPOINTS_MAX,
                                       USHER_WORKERS_MAX,
                                       USHER_START_REQUESTS_MAX,
                                       USHER_KEY_MAX,
                                       UINT64_C(0x0000000100000001),
                                       UINT64_C(0xffffffff00000001)};
    uint32_t byte = input_byte(&world.input);
    if (byte < 0xe0)
        return byte % 16 < 14 ? hurting[byte % 16] : byte;
    return input_number(&world.input, 1u << byte % 4);
}

/* Some of the input's words, or one of its bytes over and over, from `offset` on. */
static void write_bytes(void *shared, size_t size, size_t offset) {
    uint8_t *at = shared;
    offset = offset % size & ~(size_t)7;
    uint64_t value = world_number();
    size_t words = 1 + input_byte(&world.input) % 8;
    for (size_t i = 0; i < words && offset + 8 * i < size; i++)
        memcpy(at + offset + 8 * i, &value, 8);
}

/* An entry that is right, or nearly so: what stands behind the first check is reached, too. */
static void write_entry(usher_cells_t *cells) {
    usher_start_request_record_t *entry = &cells->ring[world_index(USHER_START_REQUESTS_MAX)];
    const uint8_t *key;
    uint32_t flaw = input_byte(&world.input);
    size_t length = input_bytes(&world.input, input_byte(&world.input) * 5 % USHER_KEY_MAX, &key);
    memset(entry->key, 0, sizeof(entry->key));
    memcpy(entry->key, key, length);
    entry->key_length = flaw == 1 ? (uint32_t)world_number() : (uint32_t)length;
    entry->key_hash = flaw == 2 ? world_number() : usher_hash(entry->key, length);
    entry->state = flaw == 3 ? (uint32_t)world_number() : USHER_START_READY;
    cells->header.asked++;
}

static void write_worker(usher_cells_t *cells) {
    usher_worker_record_t *worker = &cells->workers[world_index(USHER_WORKERS_MAX)];
    uint32_t class_index = world_index(USHER_CLASSES_MAX);
    uint32_t endpoint_index = world_index(USHER_ENDPOINTS_MAX);
    switch (input_byte(&world.input) % 5) {
    case 0:
        write_bytes(worker, offsetof(usher_worker_record_t, counts), input_number(&world.input, 2));
        break;
    case 1:
        worker->state = USHER_WORKER_USED;
        worker->counts[endpoint_index] = world_number();
        break;
    case 2:
        worker->timed_out[endpoint_index] = world_number();
        worker->has_timed_out = 1;
        worker->kept[endpoint_index] = worker->timed_out[endpoint_index];
        worker->has_kept = 1;
        break;
    case 3:
        write_bytes(&worker->load[class_index], sizeof(usher_load_record_t),
                    input_byte(&world.input));
        worker->groups[class_index / USHER_GROUP_CLASSES / 64] |=
            UINT64_C(1) << (class_index / USHER_GROUP_CLASSES % 64);
        break;
    default:
        worker->touched[class_index / 64] |= UINT64_C(1) << (class_index % 64);
        break;
    }
}

static void write_header(usher_cells_t *cells) {
    uint32_t lock = cells->header.lock;
    write_bytes(&cells->header, sizeof(cells->header), input_byte(&world.input));
    if (world.keeps_lock)
        cells->header.lock = lock;
}

void world_spoil(void) {
    usher_places_t *places = world.channel->places;
    usher_cells_t *cells = world.channel->cells;
    switch (input_byte(&world.input) % 7) {
    case 0:
        write_header(cells);
        break;
    case 1:
        write_entry(cells);
        break;
    case 2:
        cells->header.worker_slots = (uint32_t)world_number();
        break;
    case 3:
        write_bytes(&places->gates[world_index(USHER_CLASSES_MAX)], sizeof(usher_class_gate_t),
                    input_byte(&world.input));
        break;
    case 4:
        write_bytes(&places->places[world_index(USHER_ENDPOINTS_MAX)], sizeof(usher_place_t),
                    input_byte(&world.input));
        break;
    case 5:
        write_bytes(&places->header, sizeof(places->header), input_byte(&world.input));
        break;
    default:
        write_worker(cells);
        break;
    }
}

/* channel_steps.h */
void world_step(void);

void world_step(void) {
    if (!own.is_spoiling || input_left(&world.input) == 0 || input_byte(&world.input) < 0xc0)
        return;
    own.is_spoiling = false;
    world_spoil();
    own.is_spoiling = true;
}
