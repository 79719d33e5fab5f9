/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel library with a hook at each of its steps, so that a test can kill or stop a process
 * between any two writes to shared memory. Include it before anything else of the channel.
 */
#ifndef USHER_TEST_CHANNEL_STEPS_H
#define USHER_TEST_CHANNEL_STEPS_H

#include <signal.h>
#include <stdint.h>
#include <unistd.h>

static uint32_t step_count; /* steps since the last arm_steps() */
static uint32_t step_at;    /* at which of them the signal comes; 0 = never */
static int step_signal;
static const char *step_name;                 /* the last one */
static void (*step_action)(const char *name); /* called at step_at instead of the signal */
static void (*step_watch)(const char *name);  /* called at each */

static inline void test_step(const char *name) {
    step_name = name;
    if (step_watch) {
        step_watch(name);
    }
    if (++step_count == step_at) {
        if (step_action) {
            step_action(name);
        } else {
            kill(getpid(), step_signal);
        }
    }
}

__attribute__((unused)) static void arm_steps(uint32_t at, int signal_number) {
    step_count = 0;
    step_at = at;
    step_signal = signal_number;
}

#define USHER_STEP(name) test_step(name)

#include "channel/buckets.c"
#include "channel/bytes.c"
#include "channel/channel.c"
#include "channel/choose.c"
#include "channel/classes.c"
#include "channel/doorbell.c"
#include "channel/endpoints.c"
#include "channel/error.c"
#include "channel/find.c"
#include "channel/gate.c"
#include "channel/hints.c"
#include "channel/hung.c"
#include "channel/kept.c"
#include "channel/load.c"
#include "channel/lock.c"
#include "channel/look.c"
#include "channel/manager.c"
#include "channel/map.c"
#include "channel/own.c"
#include "channel/places.c"
#include "channel/request.c"
#include "channel/ring.c"
#include "channel/sample.c"
#include "channel/servers.c"
#include "channel/timeouts.c"
#include "channel/totals.c"
#include "channel/turn.c"
#include "channel/verdict.c"
#include "channel/workers.c"

#endif
