/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beginning the newly installed launcher in place of this one: same pid, so it stays the parent of
 * all its children. First it is seen whether the new program runs at all; then the manager is ended,
 * and exec does the rest (handover.h, adopt.h). Whatever fails leaves this one as it was.
 */
#ifndef USHER_LAUNCHER_UPGRADE_H
#define USHER_LAUNCHER_UPGRADE_H

#include <stdbool.h>
#include <sys/types.h>

#include "launcher/options.h"

void upgrade_open(const launch_options_t *options);
void upgrade_begin(void);
void upgrade_manager_died(void);
/* The launcher is to end: that goes before. */
void upgrade_cancel(void);
/* false when the child was none of ours. */
bool upgrade_child_reaped(pid_t pid, int status);

#endif
