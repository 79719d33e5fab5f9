/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/registration only: what a registration allows to be started, as complete blocks
 * (launcher/allow.h). Written here, by the web server's master, because it is root where the manager
 * is not; made of the same directives as the registration, by the rules of ts/manager/class-config.ts.
 */
#ifndef USHER_REGISTRATION_ALLOW_H
#define USHER_REGISTRATION_ALLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "registration/texts.h"

typedef struct usher_allow_files usher_allow_files_t;
struct usher_allow_files {
    usher_allow_files_t *next;
    usher_texts_t words; /* of its options */
};

typedef struct {
    char *user, *group; /* the server's */
    char *bytes;        /* what `stream` has written */
    size_t length;
    FILE *stream;
    usher_texts_t names;   /* of the classes so far: the first definition counts */
    usher_texts_t roots;   /* UsherRoot */
    usher_texts_t dynamic; /* words of all FCGIConfig lines */
    usher_allow_files_t *files,
        **files_end;     /* classes of -protocol cgi that run what is below them */
    bool broken_dynamic; /* what it restricts is not known: nothing dynamic is allowed */
} usher_allow_t;

/* All of them: false without memory. */
bool usher_allow_begin(usher_allow_t *allow, const char *user, const char *group);
/* A directive's words; one that is not right allows nothing. */
bool usher_allow_add(usher_allow_t *allow, const char *const *words, size_t count);
/* No more comes: `bytes` and `length` are the text. */
bool usher_allow_finish(usher_allow_t *allow);
void usher_allow_free(usher_allow_t *allow);

#endif
