/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/options only: values that are right alone and wrong together.
 */
#ifndef USHER_OPTIONS_CHECKS_H
#define USHER_OPTIONS_CHECKS_H

#include "options/options.h"

/* 0, or -1 with one line in `error`. */
int usher_options_check_together(usher_scope_t scope, usher_host_t host,
                                 const usher_option_values_t *values, char *error,
                                 size_t error_size);

#endif
