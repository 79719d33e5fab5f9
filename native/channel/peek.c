/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker may look at without asking for anything. */
#include "channel/internal.h"

bool usher_class_known(const usher_channel_t *channel, const char *key, size_t key_length) {
    return key_length > 0 && key_length < USHER_KEY_MAX &&
           usher_find_class(channel->table, channel->server_id, key, (uint32_t)key_length)
                   .generation != 0;
}

uint32_t usher_class_waiting(const usher_channel_t *channel, usher_ref_t class_ref) {
    if (class_ref.index >= USHER_CLASSES_MAX || class_ref.generation == 0) {
        return 0;
    }
    return atomic_load(&channel->places->gates[class_ref.index].waiting);
}
