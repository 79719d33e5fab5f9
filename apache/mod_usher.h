/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of mod_usher share: the configuration, the state of this httpd process, and one
 * request on its way to a program (a call).
 */
#ifndef MOD_USHER_H
#define MOD_USHER_H

#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "http_core.h"
#include "apr_hash.h"
#include "apr_strings.h"
#include "util_fcgi.h"

#include "channel/channel.h"
#include "options/options.h"
#include "registration/registration.h"

#include "answer.h"
#include "request_body.h"

extern module AP_MODULE_DECLARE_DATA usher_module;

#define USHER_SCRIPT_HANDLER "fastcgi-script"
#define USHER_PASS_HANDLER   "usher-pass" /* set by UsherPass, not by administrators */
#define USHER_CGI_HANDLER    "usher-cgi"
#define USHER_STATUS_HANDLER "usher-status"

/* ---- configuration ----------------------------------------------------- */

/* One AppClass or ExternalAppClass, or all FCGIConfig lines together. */
typedef struct {
    const char *key; /* absolute path or name; NULL for FCGIConfig */
    usher_scope_t scope;
    const char *source;               /* file:line */
    apr_array_header_t *words;        /* the directive as usher.conf spells it */
    apr_array_header_t *pass_headers; /* const char * */
    apr_table_t *initial_env;
    usher_protocol_t protocol;
    int runs_any_file; /* a CGI class without a program of its own */
    int is_implied;    /* by FcgidWrapper, which may share it */
} usher_class_conf;

/* What UsherPass stands in decides how a URL is cut in two (script.c). */
typedef enum {
    USHER_IN_LOCATION,         /* <Location /prefix> */
    USHER_IN_LOCATION_PATTERN, /* <Location> with wildcards */
    USHER_IN_LOCATION_MATCH,   /* <LocationMatch>, <Location ~> */
    USHER_IN_DIRECTORY,        /* <Directory /path> */
    USHER_IN_FILES             /* <Files>, and containers with patterns */
} usher_container;

typedef struct {
    const char *name;              /* as written; NULL for "none" */
    const char *path;              /* the same below ServerRoot */
    int is_cgi;                    /* -protocol cgi */
    const usher_class_conf *class; /* found when all classes are known */
    const char *program;           /* the CGI program that the class is to run here, or NULL */
    const char *source;
    usher_container container;
    const char *prefix; /* LOCATION: without a slash at its end; DIRECTORY: with one */
    ap_regex_t *regex;  /* LOCATION_MATCH */
} usher_pass;

/* Which question a program is asked, in the order of httpd's phases. */
typedef enum { USHER_ACCESS_CHECKER, USHER_AUTHENTICATOR, USHER_AUTHORIZER } usher_role_kind;
#define USHER_ROLES 3

/* One FastCgiAccessChecker, FastCgiAuthenticator or FastCgiAuthorizer. */
typedef struct {
    const char *name;              /* as written; NULL for "none" */
    const char *path;              /* the same below ServerRoot */
    const usher_class_conf *class; /* found when all classes are known; NULL in .htaccess */
    int compat;                    /* only Variable-* headers become environment */
    const char *directive;
    const char *source;
} usher_role;

/* Of the main server: class names are global, virtual hosts share this. */
typedef struct {
    apr_hash_t *classes;          /* key -> usher_class_conf */
    apr_array_header_t *in_order; /* usher_class_conf * */
    usher_class_conf *dynamic;    /* never NULL; no words without FCGIConfig */
    int own_roots;                /* FCGIConfig has -dynamicRoot */
    const usher_class_conf *cgi;  /* of all CGI programs that are named by path; NULL = not used */
    apr_array_header_t *passes;   /* usher_pass * */
    apr_array_header_t *roles;    /* usher_role *, without those of .htaccess */
    apr_array_header_t *wrappers; /* usher_wrapper *: this and the next two are fcgid.c's */
    apr_array_header_t *fcgid;    /* settings of each server */
    apr_hash_t *fcgid_commands;   /* command -> options */
    const char *runtime_dir;      /* NULL = default */
    const char *log_file;         /* NULL = default */
    const char *metrics;          /* where the manager is to listen; NULL = nowhere */
    const char *dashboard;
    usher_manager_mode_t mode;
} usher_server_conf;

typedef struct {
    usher_pass *pass;               /* NULL = not said here */
    usher_role *roles[USHER_ROLES]; /* the same */
    int declines[USHER_ROLES];      /* …Authoritative: 0 = not said, 1 = Off, -1 = On */
    apr_array_header_t *wrappers;   /* usher_wrapper *, the innermost first; may be NULL */
} usher_dir_conf;

extern const command_rec usher_commands[];
void *usher_create_server_conf(apr_pool_t *p, server_rec *s);
void *usher_create_dir_conf(apr_pool_t *p, char *dir);
void *usher_merge_dir_conf(apr_pool_t *p, void *basev, void *addv);
usher_server_conf *usher_get_server_conf(server_rec *s);
usher_server_conf *usher_main_conf(void); /* while the configuration is read */

/* FILE:LINE of a directive; a path below ServerRoot without slashes at its end, NULL = not a path. */
const char *usher_source_of(cmd_parms *cmd);
const char *usher_below_server_root(cmd_parms *cmd, const char *word);

/* The class of that name, or of that path below ServerRoot (may be NULL); NULL = none. */
const usher_class_conf *usher_class_of_name(const usher_server_conf *conf, const char *name,
                                            const char *path);

/* ---- classes (classes.c) ----------------------------------------------- */

usher_class_conf *usher_make_class(apr_pool_t *p, const char *key, usher_scope_t scope);
void usher_add_class(usher_server_conf *conf, usher_class_conf *class);

/* The class that options make, with `key` (static) or NULL (dynamic); NULL with `*why`. */
usher_class_conf *usher_class_from_words(apr_pool_t *p, const char *key, usher_scope_t scope,
                                         const apr_array_header_t *words, const char *source,
                                         const char **why);

/*
 * A static class that no AppClass defines: started at its first request, with `options` (may be
 * NULL) and those that FCGIConfig gives to all. It is not added to conf. NULL with `*why`.
 */
usher_class_conf *usher_imply_class(usher_server_conf *conf, apr_pool_t *p, const char *key,
                                    const apr_array_header_t *options, const char *source,
                                    const char **why);

/* What FCGIConfig says; false = it is wrong. The text of one option, or NULL. */
int usher_dynamic_values(const usher_server_conf *conf, usher_option_values_t *values);
const char *usher_find_option(const usher_option_values_t *values, const char *id);

/* NULL, or why it cannot be run. */
const char *usher_check_program(apr_pool_t *p, const char *program);

/* Directives, and what they share. */
const char *usher_set_class(cmd_parms *cmd, void *dconf, const char *args);
const char *usher_set_dynamic(cmd_parms *cmd, void *dconf, const char *args);
apr_array_header_t *usher_split_words(apr_pool_t *p, const char *args);
const char *usher_explain(cmd_parms *cmd, const char *name, const char *error);
/* A line in the error log at the first reading of the configuration. */
void usher_warn_once(cmd_parms *cmd, const char *what);

/* Are all names that UsherPass uses defined? Logs what is not. */
int usher_check_passes(usher_server_conf *conf, apr_pool_t *p, server_rec *s);

/* ---- CGI and AJP (protocols.c) ----------------------------------------- */

/* Find or make the class usher-cgi, where something of the configuration uses it. OK, or a status. */
int usher_check_cgi(usher_server_conf *conf, apr_pool_t *p, server_rec *s);

/* Is what UsherPass runs an application, which no file of the request's stands for? */
int usher_pass_is_application(const usher_pass *pass);

/* ---- registration (register.c) ----------------------------------------- */

typedef struct {
    usher_channel_t *channel; /* NULL: `reason` says why */
    apr_uint32_t generation;
    char live_path[1024];
    const char *reason;
    int attached; /* this child has a worker's slot */
} usher_link;

extern usher_link usher_process; /* of this httpd process */

/* Make this server and its classes known to the manager; fills `link` in any case. */
void usher_register(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                    const usher_server_conf *conf, usher_link *link);

/* ---- a call ------------------------------------------------------------ */

typedef struct {
    request_rec *r;
    usher_channel_t *channel;
    int role;                      /* AP_FCGI_RESPONDER or AP_FCGI_AUTHORIZER */
    int passes_denial;             /* AUTHORIZER: what it says besides 200 is the answer */
    const char *key;               /* of the class: absolute path or name */
    const usher_class_conf *class; /* its options here; FCGIConfig's for dynamic ones */

    /* how the URL is cut, where that is not httpd's own way; NULL = httpd's */
    const char *script_name;
    const char *path_info;
    const char *script_filename;

    /* for a CGI gateway; NULL = not told */
    const char *program;
    const char *prefix;

    usher_body body;
    char *head; /* BEGIN_REQUEST and PARAMS, ready to be sent */
    apr_size_t head_length;

    usher_request_t place;
    apr_uint64_t began_ns;
    struct sockaddr_storage address; /* of the place */
    socklen_t address_length;
    usher_admission_t limits;
    int has_place;  /* usher_request_begin without its end */
    int in_channel; /* a signal may end the process inside a channel call */
    int fd;         /* connection to the program, -1 = none */
    int is_kept;    /* … which has served another request before */
    int is_sent;    /* all of the request is */
    int is_clean;   /* nothing is left on the connection: it may be kept */
    int any_sent;
    apr_uint64_t request_at_ms; /* -request-timeout has passed then */

    usher_answer answer;
} usher_call;

/* Is the file, or what it stands below, the path of a class? */
int usher_script_is_class(request_rec *r);
/* Which class serves the request (script.c). OK, DECLINED or a status. */
int usher_script_class(usher_call *call, const usher_server_conf *conf);
/* The request's environment as FastCGI will send it: fills call->head. */
void usher_script_environment(usher_call *call);
/* call->head, of r->subprocess_env and what -pass-header and -initial-env add to it (script.c). */
void usher_script_head(usher_call *call);
/* What a CGI gateway is told besides (protocols.c); `env` with that. */
apr_table_t *usher_add_cgi_params(const usher_call *call, apr_table_t *env);

/* A call without a class (call.c). */
usher_call *usher_call_make(request_rec *r, int role);
/* OK, or 503 (logged): nothing can be asked from here. */
int usher_call_check(usher_call *call);
/* Take a place and make the exchange, with key, class and head set. What the handler returns: OK,
 * a status, or DONE when the client left. */
int usher_call_run(usher_call *call);
/* Does a thread of this process hold something of the channel? */
int usher_calls_are_running(void);

/* ---- the status page (status.c) ---------------------------------------- */

int usher_status_handler(request_rec *r);

/* ---- authorizers (authorizer.c) ---------------------------------------- */

void usher_authorizer_hooks(void);

/* Directives; `cmd->info` is the usher_role_kind. */
const char *usher_set_role(cmd_parms *cmd, void *dconf, const char *name, const char *option);
const char *usher_set_fcgid_role(cmd_parms *cmd, void *dconf, const char *name);
const char *usher_set_authoritative(cmd_parms *cmd, void *dconf, int on);
extern const usher_role_kind usher_role_kinds[USHER_ROLES];

/* Find or make the classes of all authorizers. OK, or a status; logs what is not there. */
int usher_check_roles(usher_server_conf *conf, apr_pool_t *p, server_rec *s);

#endif
