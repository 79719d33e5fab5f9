/* SPDX-License-Identifier: Apache-2.0 */
#include "ground.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void ground_make(ground_t *ground) {
    char path[96];
    usher_error_t error = {0};
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(ground->runtime_dir, sizeof(ground->runtime_dir), "%s/usher-bench-XXXXXX", base);
    if (!mkdtemp(ground->runtime_dir)) {
        fail(ground->runtime_dir, strerror(errno));
    }
    snprintf(path, sizeof(path), "%s/channel", ground->runtime_dir);
    snprintf(ground->live_path, sizeof(ground->live_path), "%s/live", ground->runtime_dir);
    int live = open(ground->live_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (live < 0 || mkdir(path, 0700) != 0) {
        fail(ground->runtime_dir, strerror(errno));
    }
    close(live);
    if (usher_channel_open(ground->runtime_dir, GROUND_SERVER, &ground->channel, &error) !=
            USHER_OK ||
        usher_manager_open(ground->runtime_dir, &ground->manager, &error) != USHER_OK) {
        fail("cannot make the channel", error.text);
    }
    usher_manager_set_state(ground->manager, USHER_MANAGER_RUNNING, (uint32_t)getpid());
}

static int remove_entry(const char *path, const struct stat *facts, int type, struct FTW *walk) {
    (void)facts, (void)type, (void)walk;
    return remove(path);
}

void ground_clear(ground_t *ground) {
    usher_channel_close(ground->channel);
    usher_manager_close(ground->manager);
    nftw(ground->runtime_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void add_endpoint(usher_manager_t *manager, usher_ref_t class_ref, int number,
                         uint32_t concurrency) {
    usher_ref_t ref;
    usher_endpoint_address_t address = {.kind = USHER_ADDRESS_SERVER_SOCKET};
    int length = snprintf((char *)address.bytes, sizeof(address.bytes), "e%d", number);
    address.length = (uint32_t)length;
    if (usher_manager_add_endpoint(manager, class_ref, &address, concurrency, USHER_ENDPOINT_READY,
                                   1, &ref) != USHER_OK) {
        fail("cannot add an endpoint", "too many?");
    }
}

usher_ref_t ground_add_class(ground_t *ground, const char *key, int endpoints,
                             uint32_t concurrency) {
    usher_ref_t ref;
    usher_class_identity_t identity = {
        .kind = USHER_KIND_STATIC, .key = key, .key_length = (uint32_t)strlen(key)};
    usher_class_limits_t limits = {.queue_limit = 1024, .connect_timeout_ms = 30000};
    if (usher_manager_add_class(ground->manager, &identity, &limits, &ref) != USHER_OK) {
        fail("cannot add the class", key);
    }
    for (int i = 0; i < endpoints; i++) {
        add_endpoint(ground->manager, ref, i, concurrency);
    }
    usher_manager_set_class(ground->manager, ref, USHER_CLASS_READY, 0, 0, NULL);
    return ref;
}

void ground_attach(const ground_t *ground, bool may_block) {
    usher_error_t error = {0};
    if (usher_worker_attach(ground->channel, ground->live_path, 1, may_block, &error) != USHER_OK) {
        fail("cannot attach", error.text);
    }
}

int read_number(const char *text, int max) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end != '\0' || value < 1 || value > max) {
        fail(text, "expected a number in its range");
    }
    return (int)value;
}
