/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the manager still there? It says `alive` once a second; one that says nothing for long hangs.
 * Who judges must not be the one who did not listen: a launcher that did not run itself, or has not
 * read what lies there, begins to count anew.
 */
#ifndef USHER_LAUNCHER_WATCHDOG_H
#define USHER_LAUNCHER_WATCHDOG_H

#include <stdint.h>

/* `on_hung` is called once, `silent_ns` after the last word; then nothing is watched. */
void watchdog_open(void (*on_hung)(uint64_t silent_ns));
/* Watch from now on, with this limit. */
void watchdog_begin(uint64_t limit_ns);
void watchdog_heard(void);
void watchdog_end(void);

#endif
