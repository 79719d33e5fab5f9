/* SPDX-License-Identifier: Apache-2.0 */
/* What an instance is doing, for people who want to know why a request hangs. */
#ifndef USHER_LAUNCHER_SNAPSHOT_H
#define USHER_LAUNCHER_SNAPSHOT_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Describe every process of the instance: its status, what each of its threads sleeps in (and the
 * kernel's stack where it may be read), its open descriptors. At most `size` bytes with NUL; every
 * process gets its share of them, so that one with many threads does not hide the others.
 */
size_t snapshot_describe(pid_t pid, char *text, size_t size);

#endif
