/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes this server known to the manager: its configuration file and user, every class, and the
 * roots below which programs may be started at their first request.
 */
#include "mod_usher.h"

#include "apr_file_info.h"
#include "apr_getopt.h"
#include "http_main.h"
#include "unixd.h"
#include "util_cfgtree.h"

APLOG_USE_MODULE(usher);

/* httpd keeps the name of its configuration file to itself: read its command line as it does. */
static const char *configuration_file(apr_pool_t *p, server_rec *s)
{
    const char *root = HTTPD_ROOT;
    const char *file = SERVER_CONFIG_FILE;
    const char *value;
    char option;
    char *path;
    apr_getopt_t *options;

    apr_getopt_init(&options, p, s->process->argc, s->process->argv);
    options->errfn = NULL;
    while (apr_getopt(options, AP_SERVER_BASEARGS, &option, &value) == APR_SUCCESS) {
        if (option == 'd') {
            root = value;
        }
        else if (option == 'f') {
            file = value;
        }
    }
    if (apr_filepath_merge(&path, root, file, APR_FILEPATH_TRUENAME, p) != APR_SUCCESS) {
        return file;
    }
    return path;
}

/* ---- roots ------------------------------------------------------------- */

typedef struct {
    const char *dir;
    const char *source;
} root;

static void add_root(apr_pool_t *p, apr_array_header_t *roots, const char *dir, const char *source)
{
    apr_finfo_t finfo;
    root *new;
    int i;

    if (!dir || *dir != '/' || apr_stat(&finfo, dir, APR_FINFO_TYPE, p) != APR_SUCCESS
        || finfo.filetype != APR_DIR) {
        return;
    }
    for (i = 0; i < roots->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(roots, i, root).dir, dir)) {
            return;
        }
    }
    new = apr_array_push(roots);
    new->dir = dir;
    new->source = source;
}

static void add_document_roots(apr_pool_t *p, apr_array_header_t *roots, server_rec *s)
{
    for (; s; s = s->next) {
        core_server_config *core = ap_get_core_module_config(s->module_config);

        add_root(p, roots, core->ap_document_root,
                 s->defn_name ? apr_psprintf(p, "%s:%u", s->defn_name, s->defn_line_number) : NULL);
    }
}

/* Targets of ScriptAlias; inside <Location> it has only the target. */
static void add_script_aliases(apr_pool_t *p, apr_array_header_t *roots, const ap_directive_t *at)
{
    for (; at; at = at->next) {
        if (!strcasecmp(at->directive, "ScriptAlias")) {
            const char *args = at->args;
            const char *first = ap_getword_conf(p, &args);
            const char *second = ap_getword_conf(p, &args);
            const char *target = *second ? second : first;

            if (!strpbrk(target, "%$")) {
                add_root(p, roots, ap_server_root_relative(p, target),
                         apr_psprintf(p, "%s:%d", at->filename, at->line_num));
            }
        }
        add_script_aliases(p, roots, at->first_child);
    }
}

/* ---- registration ------------------------------------------------------ */

static usher_status_t add_words(usher_registration_t *registration, const char *source,
                                apr_array_header_t *words, usher_error_t *error)
{
    return usher_registration_add(registration, source, (const char *const *)words->elts,
                                  (size_t)words->nelts, error);
}

static usher_status_t add_classes(usher_registration_t *registration, const usher_server_conf *conf,
                                  usher_error_t *error)
{
    usher_status_t status = USHER_OK;
    int i;

    if (conf->dynamic->words->nelts) {
        status = add_words(registration, conf->dynamic->source, conf->dynamic->words, error);
    }
    for (i = 0; status == USHER_OK && i < conf->in_order->nelts; i++) {
        const usher_class_conf *class = APR_ARRAY_IDX(conf->in_order, i, usher_class_conf *);

        status = add_words(registration, class->source, class->words, error);
    }
    return status;
}

static usher_status_t add_roots(usher_registration_t *registration, apr_pool_t *p, server_rec *s,
                                usher_error_t *error)
{
    apr_array_header_t *roots = apr_array_make(p, 8, sizeof(root));
    usher_status_t status = USHER_OK;
    int i;

    add_document_roots(p, roots, s);
    add_script_aliases(p, roots, ap_conftree);
    for (i = 0; status == USHER_OK && i < roots->nelts; i++) {
        const root *at = &APR_ARRAY_IDX(roots, i, root);
        const char *words[] = { "UsherRoot", at->dir };

        status = usher_registration_add(registration, at->source, words, 2, error);
    }
    return status;
}

void usher_register(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s,
                    const usher_server_conf *conf, usher_link *link)
{
    usher_registration_t *registration = NULL;
    usher_server_t server;
    usher_error_t error;
    usher_status_t status;

    memset(link, 0, sizeof(*link));
    if (conf->mode == USHER_MANAGER_MODE_OFF) {
        link->reason = "no program can be served: UsherManager is off";
        return;
    }
    memset(&server, 0, sizeof(server));
    memset(&error, 0, sizeof(error));
    server.runtime_dir = conf->runtime_dir;
    server.kind = "apache";
    server.configuration_file = configuration_file(ptemp, s);
    server.mode = conf->mode;
    server.log_file = conf->log_file;
    server.metrics = conf->metrics;
    server.dashboard = conf->dashboard;
    server.uid = ap_unixd_config.user_id; /* both are ignored unless we are root */
    server.gid = ap_unixd_config.group_id;

    status = usher_registration_begin(&server, &registration, &error);
    if (status == USHER_OK) {
        status = add_classes(registration, conf, &error);
        if (status == USHER_OK && !conf->own_roots) {
            status = add_roots(registration, ptemp, s, &error);
        }
        if (status != USHER_OK) {
            usher_registration_abandon(registration);
        }
        else {
            uint32_t generation = 0;

            status = usher_registration_commit(registration, &link->channel, &generation,
                                               link->live_path, sizeof(link->live_path), &error);
            link->generation = generation;
        }
    }
    if (status != USHER_OK) {
        link->channel = NULL;
        link->reason = apr_pstrdup(pconf, error.text);
    }
}
