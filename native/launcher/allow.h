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
 *
 *   dynamic                 what is started at its first request: a file below a root, without
 *                           arguments, in its own directory
 *   root=/DIR               repeated; as configured, symbolic links are followed at every use
 *   path-check=suexec|roots see docs/options.md; suexec when missing
 *
 *   both                    env=NAME=VALUE … user=NAME group=NAME nice=N limit=NAME=N … log=/PATH setuid=1
 *
 * A start is allowed when one block has: the same arguments (or the path), cwd, user, group and nice
 * (missing = missing), each of the start's env, limit, log and setuid. The manager's own
 * PATH=/usr/local/bin:/usr/bin:/bin is always allowed. Blocks of all files count together, but a
 * dynamic path is looked for in the newest generation of each server only.
 */
#ifndef USHER_LAUNCHER_ALLOW_H
#define USHER_LAUNCHER_ALLOW_H

#endif
