/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configurations of mod_fcgid: its directives as our options, and its handler fcgid-script.
 */
#ifndef USHER_FCGID_H
#define USHER_FCGID_H

#include "mod_usher.h"

#define USHER_FCGID_HANDLER "fcgid-script"

/* One FcgidWrapper. */
typedef struct {
    const char *suffix;  /* with its dot; NULL = of any file */
    int is_virtual;      /* the file need not be there */
    const char *command; /* program and arguments */
    server_rec *server;
    const char *source;
    apr_hash_t *classes; /* server_rec * -> usher_class_conf *, where it is not that of `server` */
    const usher_class_conf *class;
} usher_wrapper;

/* Its command_rec rows. */
typedef enum {
#define FCGID(id, name, old, kind, option, in_command, help) USHER_FCGID_##id,
#include "fcgid.def"
#undef FCGID
    USHER_FCGID_ROWS
} usher_fcgid_id;
typedef struct usher_fcgid_row usher_fcgid_row;
extern const usher_fcgid_id usher_fcgid_ids[USHER_FCGID_ROWS];

const char *usher_set_fcgid(cmd_parms *cmd, void *dconf, const char *args);
const char *usher_set_wrapper(cmd_parms *cmd, void *dconf, const char *args);
const char *usher_set_command_options(cmd_parms *cmd, void *dconf, const char *args);

/* Is the real mod_fcgid loaded as well? Then all of this is left to it. */
int usher_fcgid_is_foreign(void);
/* Stand in for its name in <IfModule>, if it is not there. */
void usher_fcgid_stand_in(apr_pool_t *p);

/* All of the configuration has been read: make the classes. OK or a status (logged). */
int usher_fcgid_finish(usher_server_conf *conf, apr_pool_t *p, server_rec *s);

/* The wrapper that runs this file here, or NULL. */
const usher_wrapper *usher_fcgid_wrapper(request_rec *r);
const usher_class_conf *usher_fcgid_class(const usher_wrapper *wrapper, server_rec *s);

/* Longest request body in bytes, -1 = any. */
apr_off_t usher_fcgid_body_limit(const usher_server_conf *conf, server_rec *s);

#endif
