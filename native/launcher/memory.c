/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/memory.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/link.h"
#include "launcher/state.h"

#define KIND "memory"
#define RECORDED_MAX (8u << 20) /* bytes: what is said by a manager must not fill a file system */

typedef struct memory memory_t;
struct memory {
    memory_t *next;
    int64_t id; /* of its record; 0 = none */
    size_t recorded;
    char *text;
    char key[];
};

static memory_t *oldest, **end = &oldest;
static size_t count, recorded;
static int64_t highest_id;

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
    if (memory->id != 0)
        state_remove(KIND, memory->id);
    recorded -= memory->recorded;
    free(memory->text);
    free(memory);
    count--;
}

static message_t *describe(const memory_t *memory) {
    message_t *message = message_begin(KIND);
    message_add_text(message, "key", memory->key, strlen(memory->key));
    message_add_text(message, "text", memory->text, strlen(memory->text));
    return message;
}

/* For a next launcher, as far as there is room. */
static void record(memory_t *memory) {
    const message_t *message = describe(memory);
    if (recorded + message->length > RECORDED_MAX)
        return;
    memory->id = ++highest_id;
    memory->recorded = message->length;
    recorded += message->length;
    state_save_or_log(memory->id, message);
}

/* At the end, as the youngest. */
static memory_t *add(const char *key, const char *text) {
    memory_t *memory = malloc(sizeof(*memory) + strlen(key) + 1);
    char *copy = strdup(text);
    if (memory == NULL || copy == NULL) {
        free(memory);
        free(copy);
        return NULL;
    }
    *memory = (memory_t){.text = copy};
    strcpy(memory->key, key);
    *end = memory;
    end = &memory->next;
    count++;
    return memory;
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
    memory_t *memory = add(key, text);
    if (memory == NULL)
        return -1;
    if (*known != memory)
        drop(known);
    else if (count > MEMORIES_MAX)
        drop(&oldest);
    record(memory);
    return 0;
}

int memory_restore(int64_t id, const message_t *record) {
    const char *key = message_text(record, "key"), *text = message_text(record, "text");
    if (key == NULL || text == NULL || strlen(text) > MEMORY_TEXT_MAX || *find(key) != NULL)
        return -1;
    memory_t *memory = add(key, text);
    if (memory == NULL)
        return -1;
    memory->id = highest_id = id;
    memory->recorded = record->length;
    recorded += record->length;
    return 0;
}

void memories_list(void) {
    for (const memory_t *memory = oldest; memory != NULL; memory = memory->next)
        link_send(describe(memory));
}
