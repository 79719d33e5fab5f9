/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/options only: addresses of programs, and what may stand behind them.
 */
#ifndef USHER_OPTIONS_ADDRESS_H
#define USHER_OPTIONS_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

/* A port, address:port or [v6]:port: where to listen. */
bool usher_is_listen(const char *text);

/* host:port, [v6]:port or unix:/path, and behind it any of ,route=NAME ,weight=N
 * ,activation=WORD: 0, or -1 with what was expected instead. */
int usher_host_check(const char *text, char *expected, size_t size);

/* Bytes of a HOST value's address. */
size_t usher_host_address_length(const char *text);

/* Is a HOST value one that every protocol takes: host:port or [v6]:port, nothing behind it? */
bool usher_host_is_plain(const char *text);

#endif
