/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Classes that speak CGI or AJP. httpd speaks FastCGI to their gateways all the same; a CGI gateway is
 * told what is to be run. (What gateways say for the server alone is in answer.c.)
 */
#include "mod_usher.h"

#include "util_cfgtree.h"

APLOG_USE_MODULE(usher);

/* ---- the class usher-cgi ----------------------------------------------- */

/* Where handler or class are named (AddHandler, SetHandler, UsherPass, a rule's [H=…]); NULL: nowhere. */
static const ap_directive_t *find_use(const ap_directive_t *at)
{
    for (; at; at = at->next) {
        const ap_directive_t *use =
            at->args && strstr(at->args, USHER_CGI_HANDLER) ? at : find_use(at->first_child);

        if (use) {
            return use;
        }
    }
    return NULL;
}

static const char *source_of_use(const usher_server_conf *conf, apr_pool_t *p)
{
    const ap_directive_t *use = find_use(ap_conftree);
    int i;

    for (i = 0; i < conf->passes->nelts; i++) {
        const usher_pass *pass = APR_ARRAY_IDX(conf->passes, i, const usher_pass *);

        if (pass->is_cgi) {
            return pass->source;
        }
    }
    return use ? apr_psprintf(p, "%s:%d", use->filename, use->line_num) : NULL;
}

int usher_check_cgi(usher_server_conf *conf, apr_pool_t *p, server_rec *s)
{
    static const char *const all[] = { USHER_CGI_CLASS_WORDS };
    usher_class_conf *class = apr_hash_get(conf->classes, USHER_CGI_CLASS, APR_HASH_KEY_STRING);
    const char *source, *why = NULL;
    apr_array_header_t *words;
    size_t i;

    if (!class && (source = source_of_use(conf, p))) {
        words = apr_array_make(p, 8, sizeof(const char *));
        for (i = 2; i < sizeof(all) / sizeof(all[0]); i++) {
            APR_ARRAY_PUSH(words, const char *) = all[i];
        }
        class = usher_class_from_words(p, USHER_CGI_CLASS, USHER_SCOPE_STATIC, words, source, &why);
        if (!class) {
            ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s, "%s: class %s: %s", source,
                         USHER_CGI_CLASS, why);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        usher_add_class(conf, class);
    }
    conf->cgi = class;
    return OK;
}

/* ---- requests ---------------------------------------------------------- */

int usher_pass_is_application(const usher_pass *pass)
{
    const usher_class_conf *class = pass->class;

    return pass->program || *class->key == '/'
           || (class->protocol != USHER_PROTOCOL_FASTCGI && !class->runs_any_file);
}

/* Before all others, and stronger than what SetEnv says. */
apr_table_t *usher_add_cgi_params(const usher_call *call, apr_table_t *env)
{
    apr_pool_t *p = call->r->pool;
    apr_table_t *params = apr_table_make(p, 2);

    if (call->program) {
        apr_table_setn(params, "USHER_PROGRAM", call->program);
    }
    if (call->prefix) {
        apr_table_setn(params, "USHER_PREFIX", call->prefix);
    }
    env = apr_table_copy(p, env);
    apr_table_unset(env, "USHER_PROGRAM");
    apr_table_unset(env, "USHER_PREFIX");
    return apr_table_overlay(p, params, env);
}
