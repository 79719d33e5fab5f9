/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime directory: locks, folders, and taking everything of ours away again. Names inside it
 * are reached through descriptors and never through symbolic links. The tree is described in
 * registration/registration.h.
 */
#ifndef USHER_LAUNCHER_DIRECTORY_H
#define USHER_LAUNCHER_DIRECTORY_H

#include <stdbool.h>

#include "launcher/failure.h"

/* Open the runtime directory; with `create` make it when it is missing. Refuses one that belongs to
 * somebody else or that others may write to. */
int directory_open(const char *path, bool create, failure_t *failure);
/* Hold manager.lock until the process ends. 1 = another launcher has it. */
int directory_lock(failure_t *failure);
/* Make channel/, sockets/ and servers/ where missing. */
int directory_prepare(failure_t *failure);
/* Remove sockets of a former launcher, and web servers' links to them, of which nothing is known. */
void directory_remove_stray_sockets(bool (*is_known)(const char *name));

/* Remove all error pages (pages.h): whoever put them there knows no more of them. */
void directory_remove_pages(void);

int directory_fd(void);
int directory_sockets_fd(void);
const char *directory_path(void);

bool directory_is_server_name(const char *name);
/* Open a folder of the runtime directory; -1 with errno. */
int directory_open_folder(const char *name);
/* Open <runtime>/SERVER for linking into it; -1 with errno. */
int directory_open_server(const char *server);

/* Take <runtime>/lock alone, without waiting: 0 got it, -1 with errno EWOULDBLOCK or another. */
int directory_try_finish(void);
void directory_resume(void);

/* Does a worker of any web server live? */
bool directory_has_live_server(void);
/* Remove control.sock and what stands in sockets/. */
void directory_remove_sockets(void);
/* Remove <runtime>/SERVER, whatever is in it. */
void directory_remove_server(const char *server);
/* Remove everything of ours, the locks last; then the directory itself when nothing is left. */
void directory_remove(void);

#endif
