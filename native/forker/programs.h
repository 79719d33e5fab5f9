/* SPDX-License-Identifier: Apache-2.0 */
/* The programs that run, and what goes between their pipes and the gateway. */
#ifndef USHER_FORKER_PROGRAMS_H
#define USHER_FORKER_PROGRAMS_H

#include "forker/link.h"

/* What the gateway says of a program, other than START. */
void programs_start(const frame_t *frame);
void programs_tell(const frame_t *frame);
/* Free what ended in this turn of the loop. */
void programs_bury(void);
/* The gateway has gone: kill all that runs, with its group. */
void programs_kill(void);

#endif
