/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Error pages of classes (-show-errors), as files in the folders of web servers: ours to write, for
 * each server's workers alone to read. Their bytes are the manager's; it is the shims that decide when
 * one is sent.
 */
#ifndef USHER_LAUNCHER_PAGES_H
#define USHER_LAUNCHER_PAGES_H

#include <stdint.h>

#include "launcher/failure.h"

/* The page of the class with this record in the table, in the place of a former one at once.
 * NULL = none: a file that is there goes. */
int page_put(const char *server, uint32_t class_index, uint32_t generation, const char *text,
             failure_t *failure);

#endif
