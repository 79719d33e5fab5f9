/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager asks for (protocol.h), one function a verb. */
#ifndef USHER_LAUNCHER_COMMANDS_H
#define USHER_LAUNCHER_COMMANDS_H

#include "launcher/message.h"

void commands_run(const message_t *message);
/* The manager died: give back the lock it had for its last look. */
void commands_reset(void);

#endif
