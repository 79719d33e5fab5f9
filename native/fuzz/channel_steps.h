/* SPDX-License-Identifier: Apache-2.0 */
/* Included ahead of the channel's sources: at each of its steps the input may write as well. */
#ifndef USHER_FUZZ_CHANNEL_STEPS_H
#define USHER_FUZZ_CHANNEL_STEPS_H

__attribute__((weak)) void world_step(void);

#define USHER_STEP(name) (world_step ? world_step() : (void)0)

#endif
