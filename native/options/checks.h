/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/options only: values that are right alone and wrong together.
 */
#ifndef USHER_OPTIONS_CHECKS_H
#define USHER_OPTIONS_CHECKS_H

#include "options/options.h"
#include "options/table.h"

/* 0, or -1 with one line in `error`. */
int usher_options_check_together(usher_scope_t scope, usher_host_t host,
                                 const usher_option_values_t *values, char *error,
                                 size_t error_size);

/* ---- for the checks themselves ---------------------------------------------------------------- */

/* What the protocol of a class of this scope allows and needs. */
int usher_options_check_protocol(usher_scope_t scope, usher_host_t host,
                                 const usher_option_values_t *values, char *error,
                                 size_t error_size);

/* The first value of the row USHER_OPTION_…, NULL when it is not given. */
const usher_option_value_t *usher_options_given(const usher_option_values_t *values, int row);

typedef struct {
    char text[USHER_SPELLING_MAX];
} usher_spelling_t;

usher_spelling_t usher_options_spell(usher_host_t host, int row);

#endif
