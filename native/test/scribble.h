/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hostile worker could do to the channel: write anything anywhere in the cells of its server
 * and in the places. Used by channel_hostile_test.c and scribble_helper.c.
 */
#ifndef USHER_TEST_SCRIBBLE_H
#define USHER_TEST_SCRIBBLE_H

#include "channel/layout.h"

#define SCRIBBLE_SLOTS \
    12u /* worker records that are written: living ones, and some that are not used */

typedef struct {
    const usher_table_t *table;
    usher_places_t *places;
    usher_cells_t *cells;
    uint64_t random; /* the state; begin with a seed that is not 0 */
    /* a class of this key is spared, with its endpoints; NULL = none is */
    const char *spared;
    /* keys of start requests; NULL ends them, no list = random ones only */
    const char *const *keys;
} scribbler_t;

uint32_t scribble_moves(void);
const char *scribble_name(uint32_t move);
/* Make one move, chosen at random. Returns which. */
uint32_t scribble(scribbler_t *scribbler);

#endif
