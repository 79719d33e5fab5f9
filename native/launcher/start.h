/* SPDX-License-Identifier: Apache-2.0 */
/* The manager's word `start`: what is permitted is looked up, put together and forked. */
#ifndef USHER_LAUNCHER_START_H
#define USHER_LAUNCHER_START_H

#include <stdint.h>

#include "launcher/message.h"

void start_run(const message_t *message, int64_t id);

#endif
