/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher's end of the link to the manager. What the manager must learn waits here until its
 * socket has room; programs' output is dropped and counted instead.
 */
#ifndef USHER_LAUNCHER_LINK_H
#define USHER_LAUNCHER_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "launcher/message.h"

/* Take over a connected SOCK_SEQPACKET socket. `on_closed` also when the manager lets more answers
 * wait than it could ever have use for. */
int link_open(int fd, void (*on_message)(const message_t *message), void (*on_closed)(void));
bool link_is_open(void);
bool link_has_message(void); /* that has not been read yet */
/* Handle what the manager sent before it died. */
void link_read_rest(void);
/* Forget what has not been sent. */
void link_close(void);

/* The most descriptors one message carries. */
#define LINK_DESCRIPTORS_MAX 4

/* Without a manager it is not sent at all: the next one is given lists. `descriptors`, ended by -1
 * where there are fewer than the most, go with it and stay the caller's. */
void link_send(const message_t *message);
void link_send_with(const message_t *message, const int *descriptors);
/* The manager has been told all that is kept: what waits by now may wait, and no more than is usual
 * beside it. */
void link_end_greeting(void);
/* Send a message of `bytes` of output, or count them as dropped. */
void link_send_output(const message_t *message, size_t bytes);

#endif
