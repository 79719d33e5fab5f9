/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a launcher that begins its own program anew gives to itself: its lock, its listening
 * sockets and its ends of gateways' links stay open over exec, and are known again by what they are. Everything else is closed by
 * exec, and found in the records (state.h).
 */
#ifndef USHER_LAUNCHER_HANDOVER_H
#define USHER_LAUNCHER_HANDOVER_H

#include <stdint.h>

/* Before exec; taken back when that failed. */
void handover_begin(void);
void handover_cancel(void);

/* After exec: see what has come, and let nothing of it be inherited further. */
void handover_receive(void);
/* -1 when it has not come. */
int handover_take_socket(uint32_t inode);
int handover_take_link(uint32_t inode);
int handover_take_socket_at(const char *path);
/* A regular file that is the one of this name. */
int handover_take_file(int folder, const char *name);
/* Close what nobody has taken. */
void handover_end(void);

#endif
