/* SPDX-License-Identifier: Apache-2.0 */

/*
 * usher_pass: stock fastcgi_pass to programs that Usher's manager keeps.
 *
 *   ngx_http_usher_conf.c      the directives
 *   ngx_http_usher_protocol.c  classes that speak CGI or AJP
 *   ngx_http_usher_channel.c   registration by the master, channel of a worker
 *   ngx_http_usher_upstream.c  a request takes a place and gives it back
 *   ngx_http_usher_connect.c   its connection
 *   ngx_http_usher_keep.c      connections that outlive it
 *   ngx_http_usher_wait.c      requests that wait for a place
 *   ngx_http_usher_verdict.c   requests that get none
 *   ngx_http_usher_status.c    a page about all of them
 */


#include "ngx_http_usher_module.h"


static ngx_int_t ngx_http_usher_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_usher_class_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_usher_state_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_usher_wait_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_usher_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_usher_init_process(ngx_cycle_t *cycle);
static void ngx_http_usher_exit_process(ngx_cycle_t *cycle);
static void ngx_http_usher_exit_master(ngx_cycle_t *cycle);


static ngx_conf_enum_t  ngx_http_usher_manager[] = {
    { ngx_string("embedded"), USHER_MANAGER_MODE_EMBEDDED },
    { ngx_string("external"), USHER_MANAGER_MODE_EXTERNAL },
    { ngx_string("off"), USHER_MANAGER_MODE_OFF },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_usher_commands[] = {

    { ngx_string("usher_app"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_usher_class,
      NGX_HTTP_MAIN_CONF_OFFSET,
      USHER_SCOPE_STATIC,
      NULL },

    { ngx_string("usher_external_app"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_usher_class,
      NGX_HTTP_MAIN_CONF_OFFSET,
      USHER_SCOPE_EXTERNAL,
      NULL },

    { ngx_string("usher_config"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_usher_config,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("usher_runtime_dir"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_usher_runtime_dir,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("usher_manager"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_usher_main_conf_t, manager),
      &ngx_http_usher_manager },

    { ngx_string("usher_log"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_usher_log,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("usher_metrics"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_usher_loopback,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_usher_main_conf_t, metrics),
      NULL },

    { ngx_string("usher_dashboard"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_usher_loopback,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_usher_main_conf_t, dashboard),
      NULL },

    { ngx_string("usher_pass"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_TAKE123,
      ngx_http_usher_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("usher_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_usher_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_usher_module_ctx = {
    ngx_http_usher_add_variables,          /* preconfiguration */
    ngx_http_usher_init_protocols,         /* postconfiguration */

    ngx_http_usher_create_main_conf,       /* create main configuration */
    ngx_http_usher_init_main_conf,         /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_usher_create_loc_conf,        /* create location configuration */
    ngx_http_usher_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_http_usher_module = {
    NGX_MODULE_V1,
    &ngx_http_usher_module_ctx,            /* module context */
    ngx_http_usher_commands,               /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_usher_init_module,            /* init module */
    ngx_http_usher_init_process,           /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_usher_exit_process,           /* exit process */
    ngx_http_usher_exit_master,            /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_usher_vars[] = {

    { ngx_string("usher_class"), NULL,
      ngx_http_usher_class_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("usher_state"), NULL,
      ngx_http_usher_state_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("usher_wait_ms"), NULL,
      ngx_http_usher_wait_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("usher_backend"), NULL,
      ngx_http_usher_backend_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("usher_route"), NULL,
      ngx_http_usher_backend_variable, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_usher_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_usher_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_class_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_usher_peer_t  *peer;

    peer = ngx_http_usher_find_peer(r);

    if (peer == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = peer->key.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = peer->key.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_state_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    const char             *name;
    ngx_http_usher_peer_t  *peer;

    peer = ngx_http_usher_find_peer(r);

    if (peer == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    name = usher_request_state_name(peer->refused ? USHER_TURNED_DOWN
                                                  : peer->turn.state);

    v->len = ngx_strlen(name);
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = (u_char *) name;

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_wait_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                 *p;
    uint64_t                us;
    ngx_http_usher_peer_t  *peer;

    peer = ngx_http_usher_find_peer(r);

    if (peer == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN + 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    us = peer->waited_us;

    v->len = ngx_sprintf(p, "%uL.%03uL", us / 1000, us % 1000) - p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->data = p;

    return NGX_OK;
}


/* runs in the master before it makes workers, at start and at each reload */

static ngx_int_t
ngx_http_usher_init_module(ngx_cycle_t *cycle)
{
    ngx_http_usher_main_conf_t  *umcf;

    if (ngx_test_config || ngx_process == NGX_PROCESS_SIGNALLER) {
        return NGX_OK;
    }

    umcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_usher_module);

    if (umcf) {
        ngx_http_usher_register(cycle, umcf);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_init_process(ngx_cycle_t *cycle)
{
    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    ngx_http_usher_init_lines(cycle);
    ngx_http_usher_init_kept(cycle);
    ngx_http_usher_attach(cycle);

    return NGX_OK;
}


static void
ngx_http_usher_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_usher_detach(cycle);
}


/* the last worker has ended, or this is a single process */

static void
ngx_http_usher_exit_master(ngx_cycle_t *cycle)
{
    ngx_http_usher_clean_up(cycle);
}
