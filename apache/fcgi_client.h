/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One FastCGI request over one connection: connect, send everything, read the answer into
 * usher_answer. Sends and reads at the same time, so neither end can wait for the other for ever.
 */
#ifndef USHER_FCGI_CLIENT_H
#define USHER_FCGI_CLIENT_H

#include "mod_usher.h"

typedef enum {
    USHER_CALL_COMPLETE,   /* END_REQUEST was read */
    USHER_CALL_BROKEN,     /* the program closed the connection, or spoke no FastCGI */
    USHER_CALL_USELESS,    /* what it says cannot be passed on */
    USHER_CALL_OVERLOADED, /* it refused the request */
    USHER_CALL_SILENT,     /* no progress for -idle-timeout: it may be busy still */
    USHER_CALL_TIMEOUT,    /* -request-timeout has passed */
    USHER_CALL_CLIENT_GONE
} usher_call_result;

/* Set call->fd: to call->address. 0, or an errno: nothing was sent. Gives up after `timeout_ms`. */
int usher_client_connect(usher_call *call, apr_uint32_t timeout_ms);

/* Everything between connect and the end of the answer. Logs why it fails, sets `*status` to what
 * the client would be told then. */
usher_call_result usher_client_run(usher_call *call, int *status);

void usher_client_close(usher_call *call);

/* The longest silence of the program, in ms: -idle-timeout, or the server's Timeout. */
apr_uint64_t usher_client_patience(const usher_call *call);

/* For the log: "the program", with its pid where it is known. */
const char *usher_client_program(const usher_call *call);

/* Descriptor of the client's connection, -1 when it has none of its own (HTTP/2). */
int usher_client_fd(const conn_rec *c);

#endif
