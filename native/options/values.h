/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/options and for the manual's table: one value against its type and bounds.
 */
#ifndef USHER_OPTIONS_VALUES_H
#define USHER_OPTIONS_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "options/options.h"

/* Bytes of a value with its NUL. */
#define USHER_VALUE_MAX 8192

/* 0 with the number (0 for types that have none), or -1 with what was expected instead. */
int usher_value_parse(const usher_option_t *option, const char *text, int64_t *number,
                      char *expected, size_t expected_size);

/* As one would write it, in the largest unit that is exact: "168h", "500ms", "0". */
void usher_time_write(int64_t ms, char *text, size_t size);

#endif
