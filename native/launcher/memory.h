/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that a manager leaves for the next one. Not read here. */
#ifndef USHER_LAUNCHER_MEMORY_H
#define USHER_LAUNCHER_MEMORY_H

#include <stdint.h>

#include "launcher/message.h"

#define MEMORY_TEXT_MAX 65536
#define MEMORIES_MAX 8192 /* as many classes as the channel has, and former ones; the oldest goes */

/* Replaces the text of this key; NULL or empty drops it. -1 without memory, or when it is too long. */
int memory_set(const char *key, const char *text);
/* What a former launcher's manager left, by its record (state.h). */
int memory_restore(int64_t id, const message_t *record);
/* Send a `memory` message for each. */
void memories_list(void);

#endif
