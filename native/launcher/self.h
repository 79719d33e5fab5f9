/* SPDX-License-Identifier: Apache-2.0 */
/* This program itself: where it lies, and the words with which it is begun again. */
#ifndef USHER_LAUNCHER_SELF_H
#define USHER_LAUNCHER_SELF_H

#include "launcher/options.h"

/* Once, at the start, with argv[0]. */
void self_remember(const char *started_by);
/* The path it was started by, where an upgrade puts the next version; NULL = not known. */
const char *self_path(void);
/* Become `self_path` with these options under another name, with further words in front of a NULL.
 * Returns -1 with errno when that fails. */
int self_become(const char *name, const launch_options_t *options, const char *const *further);

#endif
