/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of AppClass, ExternalAppClass and FCGIConfig: one table (options.def), one validator,
 * used by both web-server modules and, through the addon, by the manager.
 */
#ifndef USHER_OPTIONS_H
#define USHER_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which directive an option stands in. */
typedef enum {
    USHER_SCOPE_STATIC = 0x1,   /* AppClass, usher_app */
    USHER_SCOPE_EXTERNAL = 0x2, /* ExternalAppClass, usher_external_app */
    USHER_SCOPE_DYNAMIC = 0x4,  /* FCGIConfig, usher_config */
} usher_scope_t;

/* Whose file it stands in: decides the spelling of names in errors and which options the host
 * leaves to its own directives. */
typedef enum {
    USHER_HOST_APACHE = 0x1, /* httpd.conf: -option value */
    USHER_HOST_NGINX = 0x2,  /* nginx.conf: option=value, snake_case */
    USHER_HOST_USHER = 0x4,  /* usher.conf and registration files: as httpd.conf */
} usher_host_t;

typedef enum {
    USHER_TYPE_FLAG,    /* no value */
    USHER_TYPE_COUNT,   /* whole number */
    USHER_TYPE_TIME,    /* seconds, fractions, or with ms, s, m, h → milliseconds */
    USHER_TYPE_SIZE,    /* bytes, or with K, M, G → bytes */
    USHER_TYPE_RATIO,   /* 0 … 1 → millionths */
    USHER_TYPE_TEXT,    /* any text without control characters */
    USHER_TYPE_PATH,    /* an absolute path */
    USHER_TYPE_COMMAND, /* program and arguments, quoted as in a shell but without one */
    USHER_TYPE_ENV,     /* NAME=value, NAME= or NAME (copied from the server's environment) */
    USHER_TYPE_HOST,    /* host:port, [v6]:port */
    USHER_TYPE_LISTEN,  /* port, address:port, [v6]:port: where to listen */
    USHER_TYPE_LIMIT,   /* NAME=N, NAME=unlimited: a resource limit */
    USHER_TYPE_SIGNAL,  /* a signal's name, with or without SIG, → its number */
    USHER_TYPE_CHOICE,  /* one of a list */
} usher_option_type_t;

typedef struct {
    const char *id;      /* lowerCamelCase: the property's name in TypeScript */
    const char *name;    /* canonical, as in httpd.conf without the dash: maxClassProcesses */
    const char *aliases; /* comma-separated further names, "" = none */
    usher_option_type_t type;
    const char *unit;         /* for the manual: "s", "bytes", "" */
    const char *default_text; /* as one would write it; "" = none */
    int64_t minimum, maximum; /* in the type's stored unit (ms, bytes, …) */
    unsigned scopes;          /* usher_scope_t */
    unsigned hosts;           /* usher_host_t that take it */
    const char *instead;      /* what the other hosts use instead, or why not: said when refused */
    int repeatable;
    const char *choices; /* CHOICE: space-separated */
    const char *doc;     /* one line for the manual */
} usher_option_t;

/* The table in order; `*count` rows. */
const usher_option_t *usher_options(size_t *count);

typedef struct {
    const usher_option_t *option;
    const char *text; /* borrowed from the words given, or constant; "" for a FLAG */
    int64_t number;   /* COUNT, TIME (ms), SIZE (bytes), RATIO (millionths), SIGNAL, FLAG (1) */
} usher_option_value_t;

#define USHER_OPTION_VALUES_MAX 256

typedef struct {
    size_t count;
    usher_option_value_t values[USHER_OPTION_VALUES_MAX]; /* in the order given; -on-demand N comes
                                                             out as -maxClassProcesses N and
                                                             -processes 0 */
} usher_option_values_t;

/*
 * Parse and check the words after the class's name. 0, or -1 with one line in `error` that names
 * the option, its value and what is allowed (the caller adds file and line). Names are matched
 * without regard to case. Contradictions (-processes above -maxClassProcesses, -host with
 * -socket, an external class without an address …) are errors too.
 */
int usher_options_parse(usher_scope_t scope, usher_host_t host, const char *const *words,
                        size_t count, usher_option_values_t *values, char *error,
                        size_t error_size);

/*
 * Split a COMMAND into NUL-terminated words inside `buffer`; blanks separate, '…' and "…" and \
 * quote as in a shell, nothing else is special. Returns the number of words, -1 with `error`.
 */
int usher_command_split(const char *command, char *buffer, size_t buffer_size, char **words,
                        size_t words_max, char *error, size_t error_size);

#define USHER_CLASS_NAME_MAX 1024 /* bytes of a class's name or path with its NUL */

/* A class's name or path: 0, or -1 with `error`: empty, too long, control characters, or neither
 * absolute nor a plain name (letters, digits, . _ - @). */
int usher_class_name_check(const char *name, char *error, size_t error_size);

/* The class of CGI programs that a web server names by path, and its directive where the
 * configuration has none: the same words from all servers, so that they share it. */
#define USHER_CGI_CLASS "usher-cgi"
#define USHER_CGI_CLASS_WORDS "AppClass", USHER_CGI_CLASS, "-protocol", "cgi", "-on-demand", "4"

/* ADDRESS:PORT where only this machine comes in, 127.0.0.1:9180 or [::1]:9180: 0, or -1 with `error`. */
int usher_loopback_check(const char *text, char *error, size_t error_size);

typedef enum {
    USHER_PROTOCOL_FASTCGI = 0x1,
    USHER_PROTOCOL_CGI = 0x2,
    USHER_PROTOCOL_AJP = 0x4, /* 1.3 and 1.2 */
} usher_protocol_t;

/* What a class with these values speaks. */
usher_protocol_t usher_options_protocol(const usher_option_values_t *values);

/* Does a static class of this name run whatever CGI program the web server names? */
int usher_class_runs_any_file(const char *name, const usher_option_values_t *values);

/* The name together with the values: as above, a static class whose name is no path needs -command
 * unless its protocol is cgi, and USHER_CGI_CLASS is what it is taken for. */
int usher_class_check(usher_scope_t scope, usher_host_t host, const char *name,
                      const usher_option_values_t *values, char *error, size_t error_size);

#ifdef __cplusplus
}
#endif

#endif
