/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/memory.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/link.h"

typedef struct memory memory_t;
struct memory {
    memory_t *next;
    char *text;
    char key[];
};

static memory_t *oldest, **end = &oldest;
static size_t count;

static memory_t **find(const char *key) {
    memory_t **link = &oldest;
    while (*link != NULL && strcmp((*link)->key, key) != 0)
        link = &(*link)->next;
    return link;
}

static void drop(memory_t **link) {
    memory_t *memory = *link;
    *link = memory->next;
    if (end == &memory->next)
        end = link;
    free(memory->text);
    free(memory);
    count--;
}

int memory_set(const char *key, const char *text) {
    memory_t **known = find(key);
    if (text == NULL || *text == '\0') {
        if (*known != NULL)
            drop(known);
        return 0;
    }
    if (strlen(text) > MEMORY_TEXT_MAX)
        return -1;
    memory_t *memory = malloc(sizeof(*memory) + strlen(key) + 1);
    char *copy = strdup(text);
    if (memory == NULL || copy == NULL) {
        free(memory);
        free(copy);
        return -1;
    }
    if (*known != NULL)
        drop(known);
    else if (count == MEMORIES_MAX)
        drop(&oldest);
    memory->next = NULL;
    memory->text = copy;
    strcpy(memory->key, key);
    *end = memory;
    end = &memory->next;
    count++;
    return 0;
}

void memories_list(void) {
    for (const memory_t *memory = oldest; memory != NULL; memory = memory->next) {
        message_t *message = message_begin("memory");
        message_add_text(message, "key", memory->key, strlen(memory->key));
        message_add_text(message, "text", memory->text, strlen(memory->text));
        link_send(message);
    }
}
