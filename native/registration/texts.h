/* SPDX-License-Identifier: Apache-2.0 */
/* Inside native/registration only: a growing list of texts, each its own copy. */
#ifndef USHER_REGISTRATION_TEXTS_H
#define USHER_REGISTRATION_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    char **items;
    size_t count, capacity;
} usher_texts_t;

bool usher_texts_add(usher_texts_t *texts, const char *text); /* false without memory */
void usher_texts_cut(usher_texts_t *texts, size_t count);     /* leave so many */
bool usher_texts_have(const usher_texts_t *texts, const char *text);
void usher_texts_free(usher_texts_t *texts);

#endif
