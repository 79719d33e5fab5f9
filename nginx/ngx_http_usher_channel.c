/* SPDX-License-Identifier: Apache-2.0 */

/* The master registers its configuration, workers attach to the channel. */


#include <grp.h>

#include "ngx_http_usher_module.h"


#define NGX_HTTP_USHER_ATTACH_TRIES  100
#define NGX_HTTP_USHER_ATTACH_RETRY  100


static usher_status_t ngx_http_usher_write(ngx_cycle_t *cycle,
    ngx_http_usher_main_conf_t *umcf, usher_channel_t **channel,
    uint32_t *generation, char *live_path, usher_error_t *error);
static void ngx_http_usher_set_problem(const char *text);
static void ngx_http_usher_attach_handler(ngx_event_t *ev);
static usher_status_t ngx_http_usher_try_attach(ngx_log_t *log);


ngx_http_usher_channel_t  ngx_http_usher;

static ngx_event_t        ngx_http_usher_attach_event;
static ngx_connection_t   ngx_http_usher_dummy;


/* a server without Usher serves its files all the same: nothing here fails */

void
ngx_http_usher_register(ngx_cycle_t *cycle, ngx_http_usher_main_conf_t *umcf)
{
    char              live_path[NGX_MAX_PATH];
    u_char           *runtime_dir;
    uint32_t          generation;
    usher_error_t     error;
    usher_status_t    status;
    usher_channel_t  *channel;

    if (ngx_http_usher.attached) {

        /* a single process goes on with what it has */

        return;
    }

    if (umcf->manager == USHER_MANAGER_MODE_OFF
        || (umcf->passes.nelts == 0 && umcf->directives.nelts == 0))
    {
        usher_channel_close(ngx_http_usher.channel);
        ngx_http_usher.channel = NULL;

        ngx_http_usher_set_problem(umcf->manager == USHER_MANAGER_MODE_OFF
                                   ? "usher_manager is off"
                                   : "this configuration has no usher_app, "
                                     "usher_external_app or usher_pass");
        return;
    }

    channel = NULL;
    generation = 0;
    live_path[0] = '\0';
    error.text[0] = '\0';

    status = ngx_http_usher_write(cycle, umcf, &channel, &generation,
                                  live_path, &error);

    if (status != USHER_OK) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0, "usher: %s", error.text);
    }

    runtime_dir = umcf->runtime_dir.data ? umcf->runtime_dir.data
                                         : (u_char *) "";

    if (channel == NULL
        && ngx_http_usher.channel
        && ngx_strcmp(ngx_http_usher.runtime_dir, runtime_dir) == 0)
    {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "usher: classes stay as they were registered before");
        return;
    }

    usher_channel_close(ngx_http_usher.channel);

    ngx_http_usher.channel = channel;

    if (channel && umcf->unknown_timeout != NGX_CONF_UNSET) {
        usher_channel_set_unknown_timeout(channel, umcf->unknown_timeout);
    }

    ngx_http_usher.generation = generation;

    (void) ngx_cpystrn((u_char *) ngx_http_usher.live_path,
                       (u_char *) live_path, sizeof(ngx_http_usher.live_path));

    (void) ngx_cpystrn((u_char *) ngx_http_usher.runtime_dir, runtime_dir,
                       sizeof(ngx_http_usher.runtime_dir));

    ngx_http_usher_set_problem(error.text);
}


/* never waits longer than it takes the workers of one start to attach */

void
ngx_http_usher_attach(ngx_cycle_t *cycle)
{
    ngx_uint_t      i;
    usher_status_t  status;

    if (ngx_http_usher.channel == NULL) {
        return;
    }

    for (i = 0; i < NGX_HTTP_USHER_ATTACH_TRIES; i++) {

        status = ngx_http_usher_try_attach(cycle->log);

        if (status == USHER_OK) {
            return;
        }

        if (status != USHER_AGAIN) {
            break;
        }

        ngx_msleep(1);
    }

    ngx_http_usher_dummy.fd = (ngx_socket_t) -1;

    ngx_http_usher_attach_event.handler = ngx_http_usher_attach_handler;
    ngx_http_usher_attach_event.data = &ngx_http_usher_dummy;
    ngx_http_usher_attach_event.log = cycle->log;
    ngx_http_usher_attach_event.cancelable = 1;

    ngx_add_timer(&ngx_http_usher_attach_event, NGX_HTTP_USHER_ATTACH_RETRY);
}


void
ngx_http_usher_detach(ngx_cycle_t *cycle)
{
    if (!ngx_http_usher.attached) {
        return;
    }

    ngx_http_usher.attached = 0;

    usher_worker_detach(ngx_http_usher.channel);
}


/* a manager that runs cleans up by itself, when it has seen us go */

void
ngx_http_usher_clean_up(ngx_cycle_t *cycle)
{
    if (ngx_http_usher.channel) {
        (void) usher_registration_end(ngx_http_usher.live_path,
                                      ngx_http_usher.generation);
    }
}


static usher_status_t
ngx_http_usher_write(ngx_cycle_t *cycle, ngx_http_usher_main_conf_t *umcf,
    usher_channel_t **channel, uint32_t *generation, char *live_path,
    usher_error_t *error)
{
    char                         source[NGX_MAX_PATH];
    ngx_str_t                   *root;
    ngx_uint_t                   i;
    const char                  *words[2];
    struct group                *grp;
    usher_server_t               server;
    usher_status_t               status;
    ngx_core_conf_t             *ccf;
    usher_registration_t        *registration;
    ngx_http_usher_directive_t  *directive;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_memzero(&server, sizeof(usher_server_t));

    server.runtime_dir = (char *) umcf->runtime_dir.data;
    server.kind = "nginx";
    server.configuration_file = (char *) cycle->conf_file.data;
    server.mode = umcf->manager;
    server.log_file = (char *) umcf->log.data;
    server.metrics = (char *) umcf->metrics.data;
    server.dashboard = (char *) umcf->dashboard.data;

    if (geteuid() == 0) {
        grp = getgrgid(ccf->group);

        server.user = ccf->username;
        server.group = grp ? grp->gr_name : NULL;
        server.uid = ccf->user;
        server.gid = ccf->group;

    } else {
        server.uid = geteuid();
        server.gid = getegid();
    }

    status = usher_registration_begin(&server, &registration, error);
    if (status != USHER_OK) {
        return status;
    }

    directive = umcf->directives.elts;

    for (i = 0; i < umcf->directives.nelts; i++) {

        ngx_snprintf((u_char *) source, sizeof(source), "%s:%ui%Z",
                     directive[i].file_name, directive[i].line);

        source[sizeof(source) - 1] = '\0';

        status = usher_registration_add(registration, source,
                                        directive[i].words.elts,
                                        directive[i].words.nelts, error);
        if (status != USHER_OK) {
            goto failed;
        }
    }

    if (!umcf->dynamic_root) {

        root = umcf->roots.elts;

        for (i = 0; i < umcf->roots.nelts; i++) {

            words[0] = "UsherRoot";
            words[1] = (char *) root[i].data;

            status = usher_registration_add(registration, NULL, words, 2,
                                            error);
            if (status != USHER_OK) {
                goto failed;
            }
        }
    }

    return usher_registration_commit(registration, channel, generation,
                                     live_path, NGX_MAX_PATH, error);

failed:

    usher_registration_abandon(registration);

    return status;
}


static void
ngx_http_usher_set_problem(const char *text)
{
    (void) ngx_cpystrn((u_char *) ngx_http_usher.problem, (u_char *) text,
                       sizeof(ngx_http_usher.problem));
}


static void
ngx_http_usher_attach_handler(ngx_event_t *ev)
{
    if (ngx_http_usher_try_attach(ev->log) != USHER_OK) {
        ngx_add_timer(ev, NGX_HTTP_USHER_ATTACH_RETRY);
    }
}


/* until it succeeds, requests are told the reason */

static usher_status_t
ngx_http_usher_try_attach(ngx_log_t *log)
{
    usher_error_t   error;
    usher_status_t  status;

    error.text[0] = '\0';

    status = usher_worker_attach(ngx_http_usher.channel,
                                 ngx_http_usher.live_path,
                                 ngx_http_usher.generation, 0, &error);

    if (status == USHER_OK) {
        ngx_http_usher.attached = 1;
        ngx_http_usher_init_bell((ngx_cycle_t *) ngx_cycle);

        if (usher_worker_watch(ngx_http_usher.channel, &error) != USHER_OK) {
            ngx_log_error(NGX_LOG_ALERT, log, 0, "usher: %s", error.text);
        }

        return USHER_OK;
    }

    if (error.text[0] == '\0') {
        (void) ngx_cpystrn((u_char *) error.text,
                           (u_char *) "the channel is busy",
                           sizeof(error.text));
    }

    if (status != USHER_AGAIN
        && ngx_strcmp(ngx_http_usher.problem, error.text) != 0)
    {
        ngx_log_error(NGX_LOG_ALERT, log, 0, "usher: %s", error.text);
    }

    ngx_http_usher_set_problem(error.text);

    return status;
}
