/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/registration only: writing the dialect of usher.conf. One directive a line, words
 * separated by blanks; a word is quoted as "…" with \" and \\ where it is not plain; a line that
 * begins with # is a comment.
 */
#ifndef USHER_REGISTRATION_DIALECT_H
#define USHER_REGISTRATION_DIALECT_H

#include <stddef.h>

#include "registration/registration.h"

/* A registration larger than this is refused. */
#define USHER_DIALECT_BYTES_MAX (16u << 20)

typedef struct {
    char *bytes;
    size_t length, capacity;
} usher_dialect_t;

/* "# at SOURCE"; control characters become '?'. */
usher_status_t usher_dialect_comment(usher_dialect_t *dialect, const char *source,
                                     usher_error_t *error);
/* INVALID: a word holds a control character. FULL: too large. On failure nothing is added. */
usher_status_t usher_dialect_line(usher_dialect_t *dialect, const char *const *words, size_t count,
                                  usher_error_t *error);
void usher_dialect_free(usher_dialect_t *dialect);

#endif
