/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening files as a program's user, for a launcher that is root: so that no name in a directory of
 * the user's (a symbolic link, say) leads to what the user itself could not reach. The real user
 * stays root, so that nobody else may send signals meanwhile.
 */
#ifndef USHER_LAUNCHER_CREDENTIALS_H
#define USHER_LAUNCHER_CREDENTIALS_H

#include "launcher/spawn.h"

/* Nothing when `user` is who we are. -1 with errno, and nothing is changed then. */
int credentials_take(const spawn_user_t *user);
/* Be who we were again; keeps errno. */
void credentials_give_back(const spawn_user_t *user);

#endif
