/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside native/options and for the manual's table: rows of options.def by name, and how they are
 * spelled in a host's file.
 */
#ifndef USHER_OPTIONS_TABLE_H
#define USHER_OPTIONS_TABLE_H

#include "options/options.h"

enum {
#define USHER_OPTION(id, ...) USHER_OPTION_##id,
#include "options/options.def"
#undef USHER_OPTION
    USHER_OPTION_ROWS
};

extern const usher_option_t usher_option_table[USHER_OPTION_ROWS];

/* Bytes of any spelling with its NUL: "-maxClassProcesses", "max_class_processes". */
#define USHER_SPELLING_MAX 64

/* The option whose name or alias, as spelled in `host` but without a dash, is these bytes. */
const usher_option_t *usher_option_find(usher_host_t host, const char *name, size_t length);

/* "-maxClassProcesses" or "max_class_processes". */
void usher_option_spell(usher_host_t host, const usher_option_t *option, char *text, size_t size);

/* As one writes it: "-processes COUNT", "processes=COUNT", "-flush", "flush". */
void usher_option_form(usher_host_t host, const usher_option_t *option, char *text, size_t size);

/* With its value: "-processes 300", "processes=300"; the value cut and printable. */
void usher_option_setting(usher_host_t host, const usher_option_t *option, const char *value,
                          char *text, size_t size);

/* "AppClass", "usher_app" … */
const char *usher_scope_directive(usher_host_t host, usher_scope_t scope);

/* "; did you mean …?" with the options of this scope and host that `word` comes close to, else
 * where the list is. */
void usher_option_suggest(usher_scope_t scope, usher_host_t host, const char *word, size_t length,
                          char *text, size_t size);

#endif
