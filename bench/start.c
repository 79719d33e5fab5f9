/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that wants what nobody knows:
 *
 *   start RUNTIME_DIR SERVER LIVE_FILE REPETITIONS PAUSE_MS
 *
 * Opens the channel and says "ready"; once a line came on stdin it makes start requests, each for
 * another key, with pauses in which the manager goes to sleep, and after each, as long a pause later,
 * writes a byte to descriptor 3: the shortest way that there is to wake up a program of Node. Prints
 * one line of JSON: when each of the two was begun, in ns of CLOCK_MONOTONIC.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "channel/channel.h"

#define REPETITIONS_MAX 10000
#define WAKE_FD 3

static uint64_t asked_ns[REPETITIONS_MAX], woken_ns[REPETITIONS_MAX];

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "start: %s: %s\n", what, why);
    exit(1);
}

/* Not in step with anything that the manager does every so often. */
static void rest(int pause_ms) {
    long ns = pause_ms * 1000000L + rand() % 1000000;
    struct timespec time = {.tv_sec = ns / 1000000000L, .tv_nsec = ns % 1000000000L};
    nanosleep(&time, NULL);
}

static void ask(usher_channel_t *channel, int number) {
    char key[64];
    usher_request_t request;
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    usher_admission_t admission;
    int key_length = snprintf(key, sizeof(key), "/srv/www/bench/%d.fcgi", number);
    asked_ns[number] = now_ns();
    usher_request_begin(channel, &request, key, (size_t)key_length);
    if (usher_request_admit(channel, &request, &address, &length, &admission) != USHER_AGAIN) {
        fail(key, "does not wait for the manager");
    }
    usher_request_end(channel, &request, USHER_OUTCOME_ABORTED);
}

static void print_times(const char *name, const uint64_t *times, int count) {
    printf("\"%s\": [", name);
    for (int i = 0; i < count; i++) {
        printf("%s\"%" PRIu64 "\"", i == 0 ? "" : ", ", times[i]);
    }
    printf("]");
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fail("usage", "start RUNTIME_DIR SERVER LIVE_FILE REPETITIONS PAUSE_MS");
    }
    int repetitions = atoi(argv[4]), pause_ms = atoi(argv[5]);
    if (repetitions < 1 || repetitions > REPETITIONS_MAX || pause_ms < 1 || pause_ms > 1000) {
        fail("REPETITIONS or PAUSE_MS", "out of range");
    }
    usher_channel_t *channel;
    usher_error_t error = {0};
    if (usher_channel_open(argv[1], argv[2], &channel, &error) != USHER_OK ||
        usher_worker_attach(channel, argv[3], 1, false, &error) != USHER_OK) {
        fail("the channel", error.text);
    }
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) {
        return 1;
    }
    for (int i = 0; i < repetitions; i++) {
        rest(pause_ms);
        ask(channel, i);
        rest(pause_ms);
        woken_ns[i] = now_ns();
        if (write(WAKE_FD, "x", 1) != 1) {
            fail("descriptor 3", "cannot be written to");
        }
    }
    printf("{");
    print_times("asked", asked_ns, repetitions);
    printf(", ");
    print_times("woken", woken_ns, repetitions);
    puts("}");
    usher_worker_detach(channel);
    usher_channel_close(channel);
    return 0;
}
