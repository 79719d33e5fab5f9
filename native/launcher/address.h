/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Public addresses: sockets outside the runtime directory, where clients without a shim connect and
 * which all instances of a class share.
 *
 * The file of a UNIX socket belongs to the program's user and group, mode 0660. Where every
 * directory on the way is root's alone, a launcher that is root makes it there; elsewhere it acts
 * as that user, so that nobody can lead root astray.
 */
#ifndef USHER_LAUNCHER_ADDRESS_H
#define USHER_LAUNCHER_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launcher/failure.h"
#include "launcher/message.h"
#include "launcher/spawn.h"

typedef struct {
    char *text; /* unix:/PATH, tcp:PORT, tcp:ADDRESS:PORT, tcp:[IPv6]:PORT */
    int fd;
    uint16_t port; /* 0 = a UNIX socket, and … */
    char *path;    /* … its path */
    spawn_user_t user;
    bool as_user; /* its file is made and removed by the user */
    dev_t device; /* of the file, to know it again */
    ino_t inode;
} address_t;

/* Bind and listen; a socket file at which nobody listens any more is replaced. NULL with `failure`,
 * steps "listen", "socket", "bind". */
address_t *address_listen(const char *text, const spawn_user_t *user, int backlog,
                          failure_t *failure);
/* What a next launcher needs of it, and the address from that, without its socket; NULL when the
 * record is wrong. */
void address_describe(const address_t *address, message_t *record);
address_t *address_from_record(const message_t *record);
/* Remove the file as long as it is ours. */
void address_remove(const address_t *address);
/* Free it; the descriptor is closed. */
void address_close(address_t *address);

#endif
