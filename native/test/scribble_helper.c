/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands for a compromised worker in the integration tests: maps what a worker of SERVER has mapped
 * and scribbles there.
 *
 *   scribble_helper RUNTIME_DIR SERVER MILLISECONDS SEED SPARED KEY…
 *
 * SPARED is a class that is left alone ("-": none), the KEYs are asked to be started. A KEY "@N" is one
 * of N bytes. Prints what was done: how often, and what.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "scribble.h"

#define BURST 64u /* moves between two pauses: others must get to do something as well */

static void *map(const char *runtime_dir, const char *name, const char *suffix, size_t bytes,
                 int protection) {
    char path[512];
    snprintf(path, sizeof path, "%s/channel/%s%s", runtime_dir, name, suffix);
    int fd = open(path, (protection & PROT_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    void *mapping = fd < 0 ? MAP_FAILED : mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    close(fd);
    return mapping;
}

/* "@N" stands for N bytes. */
static const char *long_key(const char *key) {
    size_t length = key[0] == '@' ? strtoul(key + 1, NULL, 10) : 0;
    char *made = length > 0 ? malloc(length + 1) : NULL;
    if (!made)
        return key;
    memset(made, 'x', length);
    made[0] = '/';
    made[length] = '\0';
    return made;
}

int main(int count, char **words) {
    if (count < 6) {
        fprintf(stderr, "usage: %s RUNTIME_DIR SERVER MILLISECONDS SEED SPARED KEY…\n", words[0]);
        return 2;
    }
    for (int i = 6; i < count; i++)
        words[i] = (char *)(uintptr_t)long_key(words[i]);
    scribbler_t scribbler = {
        .table = map(words[1], "table", "", sizeof(usher_table_t), PROT_READ),
        .places = map(words[1], "places", "", sizeof(usher_places_t), PROT_READ | PROT_WRITE),
        .cells = map(words[1], words[2], ".cells", sizeof(usher_cells_t), PROT_READ | PROT_WRITE),
        .random = strtoull(words[4], NULL, 10) | 1,
        .spared = strcmp(words[5], "-") == 0 ? NULL : words[5],
        .keys = (const char *const *)words + 6,
    };
    uint64_t *made = calloc(scribble_moves(), sizeof(*made));
    uint64_t until_ns = usher_os_now_ns() + strtoull(words[3], NULL, 10) * 1000000;
    const struct timespec pause = {.tv_nsec = 200000};
    while (made && usher_os_now_ns() < until_ns) {
        for (uint32_t i = 0; i < BURST; i++)
            made[scribble(&scribbler)]++;
        nanosleep(&pause, NULL);
    }
    for (uint32_t i = 0; made && i < scribble_moves(); i++)
        printf("%8llu  %s\n", (unsigned long long)made[i], scribble_name(i));
    return 0;
}
