/* SPDX-License-Identifier: Apache-2.0 */
/* Telling systemd (Type=notify) how far we are; nothing where it is not our parent. */
#ifndef USHER_LAUNCHER_NOTIFY_H
#define USHER_LAUNCHER_NOTIFY_H

/* Remember whom to tell, and take the variable away from children. */
void notify_open(void);
void notify_ready(void);
void notify_stopping(void);

#endif
