/* SPDX-License-Identifier: Apache-2.0 */
/* A channel for a benchmark: in a directory of its own, with a manager that is this process. */
#ifndef BENCH_GROUND_H
#define BENCH_GROUND_H

#include <stdint.h>
#include <stdnoreturn.h>
#include <time.h>

#include "channel/channel.h"
#include "channel/manager.h"

#define GROUND_SERVER "bench"

typedef struct {
    char runtime_dir[64];
    char live_path[96];
    usher_channel_t *channel;
    usher_manager_t *manager;
} ground_t;

/* Ends the program. */
noreturn void fail(const char *what, const char *why);

uint64_t clock_ns(clockid_t clock);

void ground_make(ground_t *ground);
void ground_clear(ground_t *ground);

/* A static class, ready, of so many ready endpoints with so many places each. */
usher_ref_t ground_add_class(ground_t *ground, const char *key, int endpoints,
                             uint32_t concurrency);

/* In a worker, after the fork. */
void ground_attach(const ground_t *ground, bool may_block);

/* An argument from 1 to max. */
int read_number(const char *text, int max);

#endif
