/* SPDX-License-Identifier: Apache-2.0 */
#include "registration/texts.h"

#include <stdlib.h>
#include <string.h>

bool usher_texts_add(usher_texts_t *texts, const char *text) {
    if (texts->count == texts->capacity) {
        size_t capacity = texts->capacity > 0 ? 2 * texts->capacity : 16;
        char **items = realloc(texts->items, capacity * sizeof *items);
        if (items == NULL)
            return false;
        texts->items = items;
        texts->capacity = capacity;
    }
    char *copy = strdup(text);
    if (copy == NULL)
        return false;
    texts->items[texts->count++] = copy;
    return true;
}

void usher_texts_cut(usher_texts_t *texts, size_t count) {
    while (texts->count > count)
        free(texts->items[--texts->count]);
}

void usher_texts_free(usher_texts_t *texts) {
    usher_texts_cut(texts, 0);
    free(texts->items);
    *texts = (usher_texts_t){0};
}

bool usher_texts_have(const usher_texts_t *texts, const char *text) {
    for (size_t i = 0; i < texts->count; i++)
        if (strcmp(texts->items[i], text) == 0)
            return true;
    return false;
}
