/* SPDX-License-Identifier: Apache-2.0 */
/* What usher.conf allows, asked of `usherd --allow`, which reads its dialect. */
#ifndef USHER_LAUNCHER_ALLOW_CONFIG_H
#define USHER_LAUNCHER_ALLOW_CONFIG_H

#include "launcher/allow.h"
#include "launcher/options.h"

/* Waits for it. A configuration that is wrong gives an empty list. */
int allow_read_config(const launch_options_t *options, allow_list_t *list, failure_t *failure);

#endif
