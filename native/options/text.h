/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/options only: error lines that stay one printable line whatever they quote.
 */
#ifndef USHER_OPTIONS_TEXT_H
#define USHER_OPTIONS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes that fit any quoted piece of input with its NUL. */
#define USHER_QUOTED_MAX 88

bool usher_text_has_control(const char *text);

/* A copy of `length` bytes for an error line: at most 80 of them, "..." where cut, control
 * characters as '?'; put in "…" when empty or when it holds blanks. */
void usher_text_quote(const char *text, size_t length, char *quoted, size_t size);

/* Format into `error` and return -1. */
__attribute__((format(printf, 3, 4))) int usher_text_fail(char *error, size_t size,
                                                          const char *format, ...);

#endif
