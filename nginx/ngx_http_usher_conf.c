/* SPDX-License-Identifier: Apache-2.0 */

/* The directives: checked here, so that nginx -t tells what is wrong. */


#include "ngx_http_usher_module.h"


#define NGX_HTTP_USHER_COMMAND_MAX  8192
#define NGX_HTTP_USHER_WORDS_MAX    128


static ngx_int_t ngx_http_usher_add_options(ngx_conf_t *cf,
    ngx_http_usher_directive_t *directive, usher_scope_t scope,
    ngx_uint_t skip, usher_option_values_t *values);
static const char *ngx_http_usher_option_text(usher_option_values_t *values,
    const char *id);
static ngx_int_t ngx_http_usher_check_path(ngx_conf_t *cf, ngx_str_t *name);
static ngx_int_t ngx_http_usher_check_command(ngx_conf_t *cf, ngx_str_t *name,
    const char *command);
static ngx_int_t ngx_http_usher_add_root(ngx_conf_t *cf,
    ngx_http_usher_main_conf_t *umcf, ngx_http_core_loc_conf_t *clcf);
static ngx_command_t *ngx_http_usher_fastcgi_command(const char *name);


void *
ngx_http_usher_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_usher_main_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_usher_main_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&conf->directives, cf->pool, 4,
                       sizeof(ngx_http_usher_directive_t))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&conf->passes, cf->pool, 4,
                       sizeof(ngx_http_usher_pass_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&conf->roots, cf->pool, 4, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NULL;
    }

    conf->manager = NGX_CONF_UNSET_UINT;
    conf->unknown_timeout = NGX_CONF_UNSET;

    return conf;
}


char *
ngx_http_usher_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_usher_main_conf_t *umcf = conf;

    char                         path[NGX_MAX_PATH];
    ngx_str_t                   *name;
    ngx_uint_t                   i;
    usher_error_t                error;
    ngx_http_usher_pass_t      **pass;
    ngx_http_usher_directive_t  *directive;

    ngx_conf_init_uint_value(umcf->manager, USHER_MANAGER_MODE_EMBEDDED);

    pass = umcf->passes.elts;

    for (i = 0; i < umcf->passes.nelts; i++) {

        name = &pass[i]->value.value;

        if (pass[i]->cgi) {
            if (ngx_http_usher_check_cgi(cf, umcf, pass[i]) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (!pass[i]->constant) {
            pass[i]->ajp = (umcf->protocols & USHER_PROTOCOL_AJP) != 0;
            continue;
        }

        directive = ngx_http_usher_find_directive(umcf, name);

        if (directive) {
            if (ngx_http_usher_check_class(cf, pass[i], directive) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            pass[i]->named = 1;
            continue;
        }

        if (name->data[0] == '/') {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no class \"%V\": define it with usher_app or "
                      "usher_external_app, or begin a path with \"/\", "
                      "in %s:%ui",
                      name, pass[i]->file_name, pass[i]->line);
        return NGX_CONF_ERROR;
    }

    if ((umcf->passes.nelts || umcf->directives.nelts)
        && umcf->manager != USHER_MANAGER_MODE_OFF
        && umcf->runtime_dir.len == 0
        && usher_default_runtime_dir(path, sizeof(path), &error) != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "usher: %s", error.text);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


void *
ngx_http_usher_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_usher_loc_conf_t));
}


/* runs for every server and location, after those of the stock modules */

char *
ngx_http_usher_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_usher_loc_conf_t *prev = parent;
    ngx_http_usher_loc_conf_t *conf = child;

    u_char                      *flcf;
    ngx_array_t                **params;
    ngx_command_t               *cmd;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_usher_main_conf_t  *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_usher_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (ngx_http_usher_add_root(cf, umcf, clcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_http_usher_set_prefix(clcf, prev, conf);

    if (clcf->noname && conf->pass == NULL) {
        conf->pass = prev->pass;
    }

    if (conf->pass == NULL) {
        return NGX_CONF_OK;
    }

    flcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_fastcgi_module);

    /*
     * an answer ends with END_REQUEST and not with the connection: what a
     * dying program leaves behind is not taken for a whole answer, and
     * connections can be kept; the class decides what the program is told
     */

    cmd = ngx_http_usher_fastcgi_command("fastcgi_keep_conn");
    if (cmd == NULL) {
        return "cannot find fastcgi_keep_conn";
    }

    *(ngx_flag_t *) (flcf + cmd->offset) = 1;

    if (conf->pass->checked) {
        return NGX_CONF_OK;
    }

    conf->pass->checked = 1;

    cmd = ngx_http_usher_fastcgi_command("fastcgi_param");
    if (cmd == NULL) {
        return "cannot find fastcgi_param";
    }

    params = (ngx_array_t **) (flcf + cmd->offset);

    if (*params == NULL) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "usher_pass without any fastcgi_param: the program "
                      "will not know what is asked for, in %s:%ui",
                      conf->pass->file_name, conf->pass->line);
    }

    return NGX_CONF_OK;
}


char *
ngx_http_usher_class(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_usher_main_conf_t *umcf = conf;

    char                         text[512];
    ngx_str_t                   *value;
    const char                  *command;
    usher_scope_t                scope;
    usher_option_values_t        values;
    ngx_http_usher_directive_t  *directive;

    value = cf->args->elts;
    scope = cmd->offset;

    if (usher_class_name_check((char *) value[1].data, text, sizeof(text))
        != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &value[0], text);
        return NGX_CONF_ERROR;
    }

    directive = ngx_http_usher_find_directive(umcf, &value[1]);

    if (directive) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate class \"%V\" (first: %s:%ui)",
                           &value[1], directive->file_name, directive->line);
        return NGX_CONF_ERROR;
    }

    directive = ngx_http_usher_add_directive(cf, umcf,
                                             scope == USHER_SCOPE_STATIC
                                                 ? "AppClass"
                                                 : "ExternalAppClass",
                                             &value[1]);
    if (directive == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_usher_add_options(cf, directive, scope, 2, &values)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (usher_class_check(scope, USHER_HOST_NGINX, (char *) value[1].data,
                          &values, text, sizeof(text))
        != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &value[0], text);
        return NGX_CONF_ERROR;
    }

    directive->protocol = usher_options_protocol(&values);
    umcf->protocols |= directive->protocol;

    if (scope == USHER_SCOPE_EXTERNAL) {
        return NGX_CONF_OK;
    }

    directive->any_file = usher_class_runs_any_file((char *) value[1].data,
                                                    &values);

    command = ngx_http_usher_option_text(&values, "command");

    if (command) {
        if (ngx_http_usher_check_command(cf, &value[1], command) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

    } else if (value[1].data[0] == '/'
               && ngx_http_usher_check_path(cf, &value[1]) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_usher_config(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_usher_main_conf_t *umcf = conf;

    size_t                       i;
    ngx_str_t                    name;
    usher_option_values_t        values;
    ngx_http_usher_directive_t  *directive;

    ngx_str_null(&name);

    directive = ngx_http_usher_find_directive(umcf, &name);

    if (directive) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate usher_config (first: %s:%ui)",
                           directive->file_name, directive->line);
        return NGX_CONF_ERROR;
    }

    directive = ngx_http_usher_add_directive(cf, umcf, "FCGIConfig", &name);
    if (directive == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_usher_add_options(cf, directive, USHER_SCOPE_DYNAMIC, 1,
                                   &values)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_usher_option_text(&values, "dynamicRoot")) {
        umcf->dynamic_root = 1;
    }

    for (i = 0; i < values.count; i++) {
        if (ngx_strcmp(values.values[i].option->id, "appConnTimeout") == 0) {
            umcf->unknown_timeout = values.values[i].number;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_usher_runtime_dir(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_usher_main_conf_t *umcf = conf;

    ngx_str_t      *value;
    usher_error_t   error;

    if (umcf->runtime_dir.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (usher_runtime_dir_check((char *) value[1].data, &error) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &value[0],
                           error.text);
        return NGX_CONF_ERROR;
    }

    umcf->runtime_dir = value[1];

    return NGX_CONF_OK;
}


char *
ngx_http_usher_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_usher_main_conf_t *umcf = conf;

    ngx_str_t  *value;

    if (umcf->log.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_conf_full_name(cf->cycle, &value[1], 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    umcf->log = value[1];

    return NGX_CONF_OK;
}


/* where the manager listens for people and scrapers of this machine */

char *
ngx_http_usher_loopback(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    char        text[512];
    ngx_str_t  *value, *address;

    address = (ngx_str_t *) (p + cmd->offset);

    if (address->data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (usher_loopback_check((char *) value[1].data, text, sizeof(text)) != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &value[0], text);
        return NGX_CONF_ERROR;
    }

    *address = value[1];

    return NGX_CONF_OK;
}


/* the stock fastcgi_pass to an upstream of our own */

char *
ngx_http_usher_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_usher_loc_conf_t *ulcf = conf;

    char                               *rv, text[512];
    void                               *flcf;
    ngx_str_t                          *value, name[2];
    ngx_url_t                           url;
    ngx_array_t                        *args, pass_args;
    ngx_command_t                      *fastcgi_pass;
    ngx_http_usher_pass_t              *pass, **passp;
    ngx_http_usher_main_conf_t         *umcf;
    ngx_http_upstream_srv_conf_t       *uscf;
    ngx_http_compile_complex_value_t    ccv;

    if (ulcf->pass) {
        return "is duplicate";
    }

    value = cf->args->elts;

    pass = ngx_pcalloc(cf->pool, sizeof(ngx_http_usher_pass_t));
    if (pass == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = &pass->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    pass->file_name = cf->conf_file->file.name.data;
    pass->line = cf->conf_file->line;
    pass->constant = (pass->value.lengths == NULL);

    rv = ngx_http_usher_pass_options(cf, pass);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (pass->constant
        && usher_class_name_check((char *) value[1].data, text, sizeof(text))
           != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V: %s", &value[0], text);
        return NGX_CONF_ERROR;
    }

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_usher_module);

    ngx_str_set(&name[0], "fastcgi_pass");

    name[1].data = ngx_pnalloc(cf->pool, sizeof("usher_pass_") + NGX_INT_T_LEN);
    if (name[1].data == NULL) {
        return NGX_CONF_ERROR;
    }

    name[1].len = ngx_sprintf(name[1].data, "usher_pass_%ui%Z",
                              umcf->passes.nelts)
                  - name[1].data - 1;

    ngx_memzero(&url, sizeof(ngx_url_t));

    url.host = name[1];
    url.no_resolve = 1;
    url.no_port = 1;

    uscf = ngx_http_upstream_add(cf, &url, NGX_HTTP_UPSTREAM_CREATE);
    if (uscf == NULL) {
        return NGX_CONF_ERROR;
    }

    uscf->peer.init_upstream = ngx_http_usher_init_upstream;
    uscf->peer.data = pass;

    fastcgi_pass = ngx_http_usher_fastcgi_command("fastcgi_pass");
    if (fastcgi_pass == NULL) {
        return "cannot find fastcgi_pass";
    }

    flcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_fastcgi_module);

    ngx_memzero(&pass_args, sizeof(ngx_array_t));

    pass_args.elts = name;
    pass_args.nelts = 2;
    pass_args.size = sizeof(ngx_str_t);
    pass_args.nalloc = 2;
    pass_args.pool = cf->pool;

    args = cf->args;
    cf->args = &pass_args;

    rv = fastcgi_pass->set(cf, fastcgi_pass, flcf);

    cf->args = args;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    passp = ngx_array_push(&umcf->passes);
    if (passp == NULL) {
        return NGX_CONF_ERROR;
    }

    *passp = pass;

    ulcf->pass = pass;

    return NGX_CONF_OK;
}


ngx_http_usher_directive_t *
ngx_http_usher_add_directive(ngx_conf_t *cf, ngx_http_usher_main_conf_t *umcf,
    const char *word, ngx_str_t *name)
{
    const char                  **words;
    ngx_http_usher_directive_t   *directive;

    directive = ngx_array_push(&umcf->directives);
    if (directive == NULL) {
        return NULL;
    }

    ngx_memzero(directive, sizeof(ngx_http_usher_directive_t));

    directive->name = *name;
    directive->file_name = cf->conf_file->file.name.data;
    directive->line = cf->conf_file->line;

    if (ngx_array_init(&directive->words, cf->pool, 16, sizeof(char *))
        != NGX_OK)
    {
        return NULL;
    }

    words = ngx_array_push_n(&directive->words, name->len ? 2 : 1);
    if (words == NULL) {
        return NULL;
    }

    words[0] = word;

    if (name->len) {
        words[1] = (char *) name->data;
    }

    return directive;
}


/* the words after the name, checked and translated to the dialect */

static ngx_int_t
ngx_http_usher_add_options(ngx_conf_t *cf,
    ngx_http_usher_directive_t *directive, usher_scope_t scope,
    ngx_uint_t skip, usher_option_values_t *values)
{
    u_char       *p;
    size_t        len;
    ngx_str_t    *value;
    ngx_uint_t    i, n;
    const char   *given[NGX_HTTP_USHER_WORDS_MAX], **word;
    char          text[512];

    value = cf->args->elts;
    n = cf->args->nelts - skip;

    if (n > NGX_HTTP_USHER_WORDS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%V has more than %d options", &value[0],
                           NGX_HTTP_USHER_WORDS_MAX);
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        given[i] = (char *) value[skip + i].data;
    }

    if (usher_options_parse(scope, USHER_HOST_NGINX, given, n, values, text,
                            sizeof(text))
        != 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V%s%V: %s", &value[0],
                           directive->name.len ? " " : "", &directive->name,
                           text);
        return NGX_ERROR;
    }

    for (i = 0; i < values->count; i++) {

        len = ngx_strlen(values->values[i].option->name);

        p = ngx_pnalloc(cf->pool, len + 2);
        if (p == NULL) {
            return NGX_ERROR;
        }

        p[0] = '-';
        ngx_memcpy(&p[1], values->values[i].option->name, len + 1);

        word = ngx_array_push(&directive->words);
        if (word == NULL) {
            return NGX_ERROR;
        }

        *word = (char *) p;

        if (values->values[i].option->type == USHER_TYPE_FLAG) {
            continue;
        }

        word = ngx_array_push(&directive->words);
        if (word == NULL) {
            return NGX_ERROR;
        }

        *word = values->values[i].text;
    }

    return NGX_OK;
}


ngx_http_usher_directive_t *
ngx_http_usher_find_directive(ngx_http_usher_main_conf_t *umcf,
    ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_http_usher_directive_t  *directive;

    directive = umcf->directives.elts;

    for (i = 0; i < umcf->directives.nelts; i++) {

        if (directive[i].name.len == name->len
            && ngx_memcmp(directive[i].name.data, name->data, name->len) == 0)
        {
            return &directive[i];
        }
    }

    return NULL;
}


static const char *
ngx_http_usher_option_text(usher_option_values_t *values, const char *id)
{
    ngx_uint_t  i;

    for (i = 0; i < values->count; i++) {
        if (ngx_strcmp(values->values[i].option->id, id) == 0) {
            return values->values[i].text;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_usher_check_path(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_file_info_t  fi;

    if (ngx_file_info(name->data, &fi) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "usher_app: cannot find \"%V\"", name);
        return NGX_ERROR;
    }

    if (!ngx_is_file(&fi)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "usher_app: \"%V\" is not a file", name);
        return NGX_ERROR;
    }

    if ((fi.st_mode & (S_IXUSR|S_IXGRP|S_IXOTH)) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "usher_app: \"%V\" is not executable: "
                           "chmod +x it, or name a program with \"command=\"",
                           name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_check_command(ngx_conf_t *cf, ngx_str_t *name,
    const char *command)
{
    char              buffer[NGX_HTTP_USHER_COMMAND_MAX], text[512];
    char             *words[NGX_HTTP_USHER_WORDS_MAX];
    u_char            path[NGX_MAX_PATH];
    ngx_uint_t        i;
    ngx_file_info_t   fi;

    static const char  *dirs[] = { "/usr/local/bin/", "/usr/bin/", "/bin/" };

    if (usher_command_split(command, buffer, sizeof(buffer), words,
                            NGX_HTTP_USHER_WORDS_MAX, text, sizeof(text))
        < 1)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "usher_app %V: command=%s: %s", name, command,
                           text);
        return NGX_ERROR;
    }

    for (i = 0; i < (words[0][0] == '/' ? 1 : sizeof(dirs) / sizeof(dirs[0]));
         i++)
    {
        ngx_snprintf(path, sizeof(path), "%s%s%Z",
                     words[0][0] == '/' ? "" : dirs[i], words[0]);

        path[sizeof(path) - 1] = '\0';

        if (ngx_file_info(path, &fi) != NGX_FILE_ERROR
            && ngx_is_file(&fi)
            && (fi.st_mode & (S_IXUSR|S_IXGRP|S_IXOTH)))
        {
            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "usher_app %V: no executable file \"%s\"%s",
                       name, words[0],
                       words[0][0] == '/' ? ""
                           : " in /usr/local/bin:/usr/bin:/bin");
    return NGX_ERROR;
}


/* below what is served anyway, programs may be started on demand */

static ngx_int_t
ngx_http_usher_add_root(ngx_conf_t *cf, ngx_http_usher_main_conf_t *umcf,
    ngx_http_core_loc_conf_t *clcf)
{
    ngx_str_t   root, *known;
    ngx_uint_t  i;

    root = clcf->root;

    while (root.len > 1 && root.data[root.len - 1] == '/') {
        root.len--;
    }

    if (clcf->root_lengths
        || root.len < 2
        || root.data[0] != '/')
    {
        return NGX_OK;
    }

    known = umcf->roots.elts;

    for (i = 0; i < umcf->roots.nelts; i++) {
        if (known[i].len == root.len
            && ngx_memcmp(known[i].data, root.data, root.len) == 0)
        {
            return NGX_OK;
        }
    }

    known = ngx_array_push(&umcf->roots);
    if (known == NULL) {
        return NGX_ERROR;
    }

    known->len = root.len;

    known->data = ngx_pnalloc(cf->pool, root.len + 1);
    if (known->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(known->data, root.data, root.len + 1);

    return NGX_OK;
}


static ngx_command_t *
ngx_http_usher_fastcgi_command(const char *name)
{
    ngx_command_t  *cmd;

    for (cmd = ngx_http_fastcgi_module.commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, name) == 0) {
            return cmd;
        }
    }

    return NULL;
}
