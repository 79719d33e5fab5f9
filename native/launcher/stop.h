/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of the launcher: in order when the manager says `quit`, asked for by a signal, or by force
 * when the manager does not answer. In any case no process, socket or file of ours is left that a
 * living web server does not need.
 */
#ifndef USHER_LAUNCHER_STOP_H
#define USHER_LAUNCHER_STOP_H

#include <stdbool.h>

/* First: the manager is asked to end everything. Second: by force. */
void stop_on_signal(void);
/* Kill what is left, then exit; with `remove` the runtime directory goes as well. */
void stop_now(bool remove);
/* The same where the manager cannot be asked; files are removed if no web server lives. Exits with
 * `exit_code`. */
void stop_by_force(int exit_code);
/* The manager died: if it was to end everything, do it without. */
void stop_without_manager(void);
/* A child was reaped: was it the last one? */
void stop_check(void);

#endif
