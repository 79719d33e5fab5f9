/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINY_SERVER_H
#define TINY_SERVER_H

#include "channel/channel.h"

#define PASSES_MAX 16

/* Requests whose path begins with `prefix` go to the class `key`. */
typedef struct {
    char prefix[128], key[128];
} pass_t;

typedef struct {
    pass_t passes[PASSES_MAX];
    int count;
} passes_t;

/* Read one request from `client`, have its class answer it, and pass the answer on. */
void serve_client(int client, usher_channel_t *channel, const passes_t *passes);

#endif
