/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking over from a launcher that was killed, or from this one before it began its program anew:
 * its programs, their sockets and their output, by the records it kept (state.h).
 */
#ifndef USHER_LAUNCHER_ADOPT_H
#define USHER_LAUNCHER_ADOPT_H

/* Before anything is bound or started. What cannot be got back is logged. */
void adopt(void);

#endif
