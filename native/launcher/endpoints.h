/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints: listening sockets that outlive the instances behind them. A program that dies before
 * it accepts is started again on the same one, and the connections that wait in it are not lost.
 */
#ifndef USHER_LAUNCHER_ENDPOINTS_H
#define USHER_LAUNCHER_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "launcher/address.h"
#include "launcher/failure.h"
#include "launcher/message.h"
#include "launcher/refusal.h"

typedef struct endpoint endpoint_t;
struct endpoint {
    endpoint_t *next;
    int64_t id;
    char *name; /* in sockets/, unless the address is public */
    char *tag;
    address_t *address; /* public; NULL = <runtime>/sockets/NAME */
    char *path;         /* of the UNIX socket, or the TCP address in words */
    uint32_t inode;     /* of the socket itself, as sock_diag and /proc/PID/fd name it */
    int fd;             /* -1 = detached: a former launcher's, only its programs have the socket */
    char **servers;     /* whose folders hold a link to it */
    uint32_t server_count;
};

typedef struct {
    int64_t id;
    const char *name;
    const char *tag;
    const char *listen; /* public address (address.h); NULL = <runtime>/sockets/NAME */
    spawn_user_t owner; /* of a public UNIX socket */
    int backlog;        /* 0 = as long as the system allows */
} endpoint_request_t;

/* Bind and listen. NULL with `failure`. */
endpoint_t *endpoint_bind(const endpoint_request_t *request, failure_t *failure);
/* Give a web server's workers a name for it. */
int endpoint_link(endpoint_t *endpoint, const char *server, failure_t *failure);
/* Remove its names and close it. With a `refusal`, connections that wait in it get a 503 that says
 * so (refusal.h); without one they break. */
void endpoint_close(endpoint_t *endpoint, const refusal_answer_t *refusal);
/* Answer those who wait in it now, and keep it. */
void endpoint_refuse(const endpoint_t *endpoint, const refusal_answer_t *refusal);
void endpoints_close_all(void);

endpoint_t *endpoint_find(int64_t id);
/* The same with `failure` where there is none. */
endpoint_t *endpoint_require(int64_t id, failure_t *failure);
bool endpoint_has_name(const char *name); /* is it the name of one? */
/* Send an `endpoint` message for each. */
void endpoints_list(void);
int64_t endpoints_highest_id(void); /* of all there ever were, 0 = none */

/* ---- of a former launcher, for adopt.c ---- */

/* Take over what is recorded, without its socket. -1: the record is wrong. */
int endpoint_restore(int64_t id, const message_t *record);
void endpoints_note_id(int64_t id);
/* Its socket was got back. */
void endpoint_attach(endpoint_t *endpoint, int fd);
/* Call for each that has no socket. */
void endpoints_each_detached(void (*on_endpoint)(endpoint_t *endpoint));
/* Close, without a word to those who wait in them, those without a socket on which nothing lives. */
void endpoints_close_lost(bool (*lives_on)(int64_t id));

#endif
