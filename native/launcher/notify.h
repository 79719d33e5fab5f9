/* SPDX-License-Identifier: Apache-2.0 */
/* Telling systemd (Type=notify) how far we are; nothing where it is not our parent. */
#ifndef USHER_LAUNCHER_NOTIFY_H
#define USHER_LAUNCHER_NOTIFY_H

/* Remember whom to tell, and take the variables away from children. */
void notify_open(void);
/* Tell that we live, as often as is wanted. */
void notify_begin_watchdog(void);
/* Put the variables back, for the program that comes in place of this one. */
void notify_give_back(void);
void notify_ready(void);
/* One line for `systemctl status`. */
void notify_status(const char *line);
void notify_stopping(void);

#endif
