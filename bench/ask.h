/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the benchmarks' C clients share: connections, one request over HTTP or FastCGI, and a program
 * started without anybody's help. Whatever fails ends the process with a line that says what.
 */
#ifndef USHER_BENCH_ASK_H
#define USHER_BENCH_ASK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#define ASK_REQUEST_MAX 2048

_Noreturn void ask_fail(const char *what);

uint64_t ask_now_ns(void);

/* A connection to 127.0.0.1, or to a UNIX socket. */
int ask_connect_port(const char *port);
int ask_connect_socket(const struct sockaddr_un *address);

void ask_send(int fd, const char *bytes, size_t length);

/* Writes a GET that closes its connection; its length. */
size_t ask_http_request(char *request, const char *path, const char *query);

/* Writes a FastCGI request of a responder, without KEEP_CONN; its length. */
size_t ask_fcgi_request(char *request, const char *query);

/* Ends the process unless the answer begins with `beginning` and has `part` somewhere. */
void ask_check(const char *answer, size_t length, const char *beginning, const char *part);

/* A socket bound at `path`, which must not exist. */
int ask_listen(const char *path, struct sockaddr_un *address);

/* Starts the program with the listener as its descriptor 0, in a session of its own. */
pid_t ask_start(const char *program, int listener);

#endif
