/* SPDX-License-Identifier: Apache-2.0 */


#ifndef _NGX_HTTP_USHER_MODULE_H_INCLUDED_
#define _NGX_HTTP_USHER_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "channel/channel.h"
#include "options/options.h"
#include "registration/registration.h"


/* usher_app, usher_external_app or usher_config, as the manager reads it */

typedef struct {
    ngx_str_t                      name;       /* of the class, or empty */
    ngx_array_t                    words;      /* const char *: in dialect */
    u_char                        *file_name;
    ngx_uint_t                     line;
    ngx_uint_t                     protocol;   /* usher_protocol_t */
    unsigned                       any_file:1; /* runs what usher_pass says */
} ngx_http_usher_directive_t;


/* one usher_pass; it has an upstream of its own, whose peer.data it is */

typedef struct {
    ngx_http_complex_value_t       value;      /* class, cgi: file to run */
    ngx_str_t                      class;      /* cgi: that runs it */
    u_char                        *file_name;
    ngx_uint_t                     line;
    unsigned                       constant:1;
    unsigned                       cgi:1;      /* protocol=cgi */
    unsigned                       named:1;    /* a class of this file */
    unsigned                       ajp:1;      /* can be one that speaks AJP */
    unsigned                       checked:1;
} ngx_http_usher_pass_t;


typedef struct {
    ngx_array_t                    directives; /* ngx_http_usher_directive_t */
    ngx_array_t                    passes;     /* ngx_http_usher_pass_t * */
    ngx_array_t                    roots;      /* ngx_str_t */

    ngx_str_t                      runtime_dir;
    ngx_str_t                      log;
    ngx_str_t                      metrics;
    ngx_str_t                      dashboard;
    ngx_uint_t                     manager;    /* usher_manager_mode_t */
    ngx_int_t                      unknown_timeout; /* ms */

    ngx_uint_t                     protocols;  /* of all classes */

    unsigned                       dynamic_root:1;
} ngx_http_usher_main_conf_t;


typedef struct {
    ngx_http_usher_pass_t         *pass;
    ngx_str_t                      prefix;     /* data is NULL: has none */
} ngx_http_usher_loc_conf_t;


/* the waiting requests of one class, in the order they came */

typedef struct {
    ngx_str_node_t                 sn;
    ngx_queue_t                    queue;      /* in the worker's lines */
    ngx_queue_t                    peers;
} ngx_http_usher_line_t;


typedef struct {
    ngx_queue_t                    queue;      /* in its line */
    ngx_http_usher_line_t         *line;       /* NULL: does not wait */

    ngx_http_request_t            *request;
    ngx_http_usher_pass_t         *pass;
    ngx_str_t                      key;
    ngx_uint_t                     protocol;   /* of its class */
    ngx_str_t                      program;    /* CGI: file to run, or empty */
    ngx_str_t                     *name;       /* what logs call the peer */

    usher_request_t                turn;
    usher_admission_t              admission;
    struct sockaddr_storage        sockaddr;
    socklen_t                      socklen;

    /* of the FastCGI module */
    ngx_int_t                    (*input_filter_init)(void *data);

    ngx_event_t                    event;      /* goes on when posted */
    ngx_event_t                    deadline;   /* of the whole request */

    uint64_t                       waited_us;
    ngx_socket_t                   far_end;    /* of a ready-made answer */

    unsigned                       begun:1;    /* turn is to be ended */
    unsigned                       admitted:1;
    unsigned                       refused:1;
    unsigned                       warned:1;
    unsigned                       overdue:1;  /* request_timeout passed */
} ngx_http_usher_peer_t;


/* what lasts from configuration to configuration, and becomes the worker's */

typedef struct {
    usher_channel_t               *channel;
    uint32_t                       generation;
    char                           live_path[NGX_MAX_PATH];
    char                           runtime_dir[NGX_MAX_PATH];
    char                           problem[512]; /* why there is no channel */
    unsigned                       attached:1;
} ngx_http_usher_channel_t;


/* ngx_http_usher_conf.c */

void *ngx_http_usher_create_main_conf(ngx_conf_t *cf);
char *ngx_http_usher_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_usher_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_usher_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);
char *ngx_http_usher_class(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_usher_config(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_usher_runtime_dir(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_usher_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_usher_loopback(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_usher_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_http_usher_directive_t *ngx_http_usher_add_directive(ngx_conf_t *cf,
    ngx_http_usher_main_conf_t *umcf, const char *word, ngx_str_t *name);
ngx_http_usher_directive_t *ngx_http_usher_find_directive(
    ngx_http_usher_main_conf_t *umcf, ngx_str_t *name);

/* ngx_http_usher_protocol.c */

ngx_int_t ngx_http_usher_init_protocols(ngx_conf_t *cf);
char *ngx_http_usher_pass_options(ngx_conf_t *cf,
    ngx_http_usher_pass_t *pass);
ngx_int_t ngx_http_usher_check_cgi(ngx_conf_t *cf,
    ngx_http_usher_main_conf_t *umcf, ngx_http_usher_pass_t *pass);
ngx_int_t ngx_http_usher_check_class(ngx_conf_t *cf,
    ngx_http_usher_pass_t *pass, ngx_http_usher_directive_t *directive);
void ngx_http_usher_set_prefix(ngx_http_core_loc_conf_t *clcf,
    ngx_http_usher_loc_conf_t *prev, ngx_http_usher_loc_conf_t *conf);
void ngx_http_usher_set_protocol(ngx_http_usher_peer_t *peer);
ngx_int_t ngx_http_usher_add_params(ngx_http_usher_peer_t *peer);
ngx_int_t ngx_http_usher_backend_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

/* ngx_http_usher_channel.c */

void ngx_http_usher_register(ngx_cycle_t *cycle,
    ngx_http_usher_main_conf_t *umcf);
void ngx_http_usher_attach(ngx_cycle_t *cycle);
void ngx_http_usher_detach(ngx_cycle_t *cycle);
void ngx_http_usher_clean_up(ngx_cycle_t *cycle);

/* ngx_http_usher_upstream.c */

ngx_int_t ngx_http_usher_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
ngx_http_usher_peer_t *ngx_http_usher_find_peer(ngx_http_request_t *r);
ngx_int_t ngx_http_usher_admit(ngx_http_usher_peer_t *peer);
void ngx_http_usher_go_on(ngx_event_t *ev);

/* ngx_http_usher_proxy.c */

ngx_int_t ngx_http_usher_drop_proxy(ngx_http_request_t *r);

/* ngx_http_usher_connect.c */

ngx_int_t ngx_http_usher_connect(ngx_http_usher_peer_t *peer);
ngx_int_t ngx_http_usher_stand_by(ngx_http_usher_peer_t *peer);
ngx_int_t ngx_http_usher_use_socket(ngx_http_usher_peer_t *peer,
    ngx_socket_t s, int family);
ngx_int_t ngx_http_usher_watch(ngx_connection_t *c);

/* ngx_http_usher_wait.c */

void ngx_http_usher_init_lines(ngx_cycle_t *cycle);
ngx_int_t ngx_http_usher_wait(ngx_http_usher_peer_t *peer, ngx_uint_t first);
void ngx_http_usher_leave(ngx_http_usher_peer_t *peer);
void ngx_http_usher_let_in(ngx_str_t *key);
void ngx_http_usher_serve_lines(void);
ngx_uint_t ngx_http_usher_hand_over(ngx_str_t *key);

/* ngx_http_usher_bell.c */

void ngx_http_usher_init_bell(ngx_cycle_t *cycle);

/* ngx_http_usher_keep.c */

void ngx_http_usher_init_kept(ngx_cycle_t *cycle);
ngx_int_t ngx_http_usher_keep(ngx_http_usher_peer_t *peer);
void ngx_http_usher_close_later(ngx_http_usher_peer_t *peer);
ngx_connection_t *ngx_http_usher_find_kept(ngx_http_usher_peer_t *peer);
void ngx_http_usher_close_in_way(void);
ngx_int_t ngx_http_usher_linger(ngx_http_usher_peer_t *peer,
    usher_outcome_t outcome);

/* ngx_http_usher_verdict.c */

ngx_int_t ngx_http_usher_check_program(ngx_http_usher_peer_t *peer);
void ngx_http_usher_refuse(ngx_http_usher_peer_t *peer, int status,
    const char *reason);
ngx_int_t ngx_http_usher_answer(ngx_http_usher_peer_t *peer);

/* ngx_http_usher_status.c */

char *ngx_http_usher_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


extern ngx_module_t              ngx_http_fastcgi_module;
extern ngx_module_t              ngx_http_usher_module;
extern ngx_http_usher_channel_t  ngx_http_usher;


#endif /* _NGX_HTTP_USHER_MODULE_H_INCLUDED_ */
