/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways: our own Node programs that serve FastCGI and speak CGI or AJP. They are instances like
 * any other, but which program runs is never the manager's word: it names one of these.
 */
#ifndef USHER_LAUNCHER_GATEWAY_H
#define USHER_LAUNCHER_GATEWAY_H

#include <limits.h>
#include <stdbool.h>

#include "launcher/failure.h"
#include "launcher/options.h"

typedef struct {
    char node[PATH_MAX];
    char script[PATH_MAX]; /* dist/gateways/NAME/main.js of the package that usherd belongs to */
} gateway_t;

void gateway_open(const launch_options_t *options);
bool gateway_is_name(const char *name);
/* As it is installed now; step "gateway". */
int gateway_find(const char *name, gateway_t *gateway, failure_t *failure);

#endif
