/* SPDX-License-Identifier: Apache-2.0 */
/* Text from outside, on its way into messages and log lines. */
#ifndef USHER_LAUNCHER_TEXT_H
#define USHER_LAUNCHER_TEXT_H

#include <stddef.h>

/* Bytes of the UTF-8 character at `bytes` (`length` ≥ 1 follow), 0 when there is none: cut off,
 * overlong, a surrogate, above U+10FFFF, or NUL. */
size_t text_character(const char *bytes, size_t length);

#endif
