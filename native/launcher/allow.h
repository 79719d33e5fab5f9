/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be started, as a launcher that is root is told by root: each registering web server writes
 * <runtime>/servers/SERVER.GENERATION.allow beside its .conf, and `usherd --allow FILE` prints the
 * same for a usher.conf. The manager, which is not root, can start nothing else, whatever it says.
 *
 * Lines NAME=VALUE; backslash, newline and NUL-free bytes: "\\" is a backslash, "\n" a newline. Blocks
 * begin with a line that is one word:
 *
 *   program                 a configured command
 *   arg=…                   program and arguments; a program without a slash is the one in
 *                           /usr/local/bin, /usr/bin or /bin
 *   cwd=/…
 *   listen=unix:/PATH       the public address, if it has one (also tcp:…)
 *   gateway=cgi|ajp         it is that gateway of ours: arg= are its arguments only, which say what it
 *                           may run itself (--program PROGRAM …, or --root /DIR …)
 *   secret=/PATH            the file that the gateway gets as a descriptor
 *   service=1               it is started without an endpoint: it listens by itself
 *
 *   dynamic                 what is started at its first request: a file below a root, without
 *                           arguments, in its own directory
 *   root=/DIR               repeated; as configured, symbolic links are followed at every use
 *   path-check=suexec|roots see docs/options.md; suexec when missing
 *
 *   both                    env=NAME=VALUE … user=NAME group=NAME nice=N limit=NAME=N … log=/PATH setuid=1
 *
 * A start is allowed when one block has the same arguments (or the path), gateway, secret, service,
 * cwd, user, group, nice, env, limits and log (missing = missing; env and limits in any order), and
 * setuid if the start has it. PATH=/usr/local/bin:/usr/bin:/bin is always allowed where the block
 * says no PATH. `bind listen=` is allowed when a program has the same listen, user and group. Blocks
 * of all files count together, but a dynamic path is looked for in the newest generation of each
 * server only.
 */
#ifndef USHER_LAUNCHER_ALLOW_H
#define USHER_LAUNCHER_ALLOW_H

#include <stdbool.h>
#include <stddef.h>

#include "launcher/failure.h"
#include "launcher/message.h"

#define ALLOW_BYTES_MAX ((size_t)64 << 20)

typedef struct {
    bool is_dynamic;
    const char *const *lines; /* NAME=VALUE, unescaped */
    size_t count;
} allow_block_t;

typedef struct {
    allow_block_t *blocks;
    size_t count;
    const char **lines;
    char *text;
} allow_list_t;

/* 0, or -1 with what is wrong: nothing of such a text is allowed. Anything may be given. */
int allow_parse(const char *bytes, size_t length, allow_list_t *list, failure_t *failure);
void allow_free(allow_list_t *list);

/* The first value of a field, NULL = missing. */
const char *allow_text(const allow_block_t *block, const char *name);
/* Values of a repeated field: begin with *cursor = 0; NULL at the end. */
const char *allow_next(const allow_block_t *block, const char *name, size_t *cursor);

/* Does the block have all that the `start` says but what a dynamic path must be? */
bool allow_has_start(const allow_block_t *block, const message_t *start);
/* Is it the program of the block, which is no dynamic one, or the one its gateway runs? */
bool allow_has_program(const allow_block_t *block, const char *path);
bool allow_has_listen(const allow_block_t *block, const message_t *bind);

#endif
