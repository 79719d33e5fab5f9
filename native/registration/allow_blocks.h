/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/registration only: writes one block of an allow list (launcher/allow.h) for options
 * that are right.
 */
#ifndef USHER_REGISTRATION_ALLOW_BLOCKS_H
#define USHER_REGISTRATION_ALLOW_BLOCKS_H

#include <stdbool.h>

#include "options/options.h"
#include "registration/allow.h"

/* A program that is an instance itself, and a gateway that runs this program: false without memory. */
bool usher_block_program(const usher_allow_t *allow, const char *name,
                         const usher_option_values_t *values);
bool usher_block_cgi(const usher_allow_t *allow, const char *name,
                     const usher_option_values_t *values);
/* A gateway to servlet engines that run already. */
void usher_block_ajp(const usher_allow_t *allow, const usher_option_values_t *values);
/* A gateway, and the servlet engines behind it, one for each address: false without memory. */
bool usher_block_engines(const usher_allow_t *allow, const char *name,
                         const usher_option_values_t *values);

/* By the roots of the server, or those of `dynamic`, the options of all FCGIConfig lines: programs of
 * dynamic classes, and a gateway that runs whatever file the web server names. */
void usher_block_dynamic(const usher_allow_t *allow, const usher_option_values_t *dynamic);
void usher_block_files(const usher_allow_t *allow, const usher_option_values_t *values,
                       const usher_option_values_t *dynamic);

#endif
