/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Classes that speak something else than FastCGI.  nginx speaks FastCGI to
 * their gateways all the same.  A CGI gateway is told what is to be run, and
 * an AJP gateway tells which backend answered: for logs, not for clients.
 */


#include "ngx_http_usher_module.h"

#include "fastcgi/params.h"


#define NGX_HTTP_USHER_PARAMS       2


static ngx_int_t ngx_http_usher_imply_cgi(ngx_conf_t *cf,
    ngx_http_usher_main_conf_t *umcf, ngx_http_usher_pass_t *pass);
static ngx_int_t ngx_http_usher_pass_error(ngx_conf_t *cf,
    ngx_http_usher_pass_t *pass, ngx_str_t *name, const char *text);
static ngx_uint_t ngx_http_usher_is_header(ngx_table_elt_t *header,
    ngx_str_t *name);
static ngx_int_t ngx_http_usher_header_filter(ngx_http_request_t *r);


static ngx_str_t  ngx_http_usher_headers[] = {
    ngx_string("X-Usher-Backend"),
    ngx_string("X-Usher-Route"),
    ngx_null_string
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


ngx_int_t
ngx_http_usher_init_protocols(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_usher_header_filter;

    return NGX_OK;
}


/* protocol=cgi: the expression is a file to run, by a class that runs any */

char *
ngx_http_usher_pass_options(ngx_conf_t *cf, ngx_http_usher_pass_t *pass)
{
    ngx_str_t   *value, text;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "protocol=", 9) == 0) {

            text.len = value[i].len - 9;
            text.data = value[i].data + 9;

            if (text.len == 3
                && ngx_strncasecmp(text.data, (u_char *) "cgi", 3) == 0)
            {
                pass->cgi = 1;
                continue;
            }

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "usher_pass %V: \"%V\": only protocol=cgi "
                               "stands here; every other protocol is an "
                               "option of the class: usher_app or "
                               "usher_external_app",
                               &value[1], &value[i]);
            return NGX_CONF_ERROR;
        }

        if (ngx_strncmp(value[i].data, "class=", 6) == 0
            && value[i].len > 6
            && pass->class.len == 0)
        {
            pass->class.len = value[i].len - 6;
            pass->class.data = value[i].data + 6;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "usher_pass %V: unknown option \"%V\"; "
                           "expected protocol=cgi, and with it class=NAME",
                           &value[1], &value[i]);
        return NGX_CONF_ERROR;
    }

    if (pass->class.len && !pass->cgi) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "usher_pass %V: class=%V needs protocol=cgi; "
                           "other classes are written alone: usher_pass %V;",
                           &value[1], &pass->class, &pass->class);
        return NGX_CONF_ERROR;
    }

    if (pass->cgi && pass->constant && value[1].data[0] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "usher_pass %V protocol=cgi: expected the absolute "
                           "path of a file to run; a class that has "
                           "protocol=cgi is written alone: usher_pass %V;",
                           &value[1], &value[1]);
        return NGX_CONF_ERROR;
    }

    if (pass->cgi && pass->class.len == 0) {
        ngx_str_set(&pass->class, USHER_CGI_CLASS);
    }

    return NGX_CONF_OK;
}


/* when all classes are known */

ngx_int_t
ngx_http_usher_check_cgi(ngx_conf_t *cf, ngx_http_usher_main_conf_t *umcf,
    ngx_http_usher_pass_t *pass)
{
    ngx_http_usher_directive_t  *directive;

    directive = ngx_http_usher_find_directive(umcf, &pass->value.value);

    if (pass->constant && directive
        && directive->protocol != USHER_PROTOCOL_CGI)
    {
        return ngx_http_usher_pass_error(cf, pass, &directive->name,
                                         "has another protocol there: leave "
                                         "out protocol=cgi here, or add it "
                                         "to the class");
    }

    pass->named = 1;

    directive = ngx_http_usher_find_directive(umcf, &pass->class);

    if (directive == NULL) {

        if (ngx_strcmp(pass->class.data, USHER_CGI_CLASS) == 0) {
            return ngx_http_usher_imply_cgi(cf, umcf, pass);
        }

        return ngx_http_usher_pass_error(cf, pass, &pass->class,
                                         "is not defined: usher_app with "
                                         "protocol=cgi does that");
    }

    if (!directive->any_file) {
        return ngx_http_usher_pass_error(cf, pass, &pass->class,
                                         "does not run whatever file is "
                                         "named: that needs protocol=cgi, no "
                                         "command, and a name that is no "
                                         "path");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_usher_check_class(ngx_conf_t *cf, ngx_http_usher_pass_t *pass,
    ngx_http_usher_directive_t *directive)
{
    pass->ajp = (directive->protocol == USHER_PROTOCOL_AJP);

    if (directive->any_file) {
        return ngx_http_usher_pass_error(cf, pass, &directive->name,
                                         "runs whatever file is named: write "
                                         "usher_pass FILE protocol=cgi "
                                         "class=NAME");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_imply_cgi(ngx_conf_t *cf, ngx_http_usher_main_conf_t *umcf,
    ngx_http_usher_pass_t *pass)
{
    ngx_uint_t                    i;
    const char                  **word;
    ngx_http_usher_directive_t   *directive;

    static const char  *words[] = { USHER_CGI_CLASS_WORDS };

    directive = ngx_http_usher_add_directive(cf, umcf, words[0], &pass->class);
    if (directive == NULL) {
        return NGX_ERROR;
    }

    directive->file_name = pass->file_name;
    directive->line = pass->line;
    directive->protocol = USHER_PROTOCOL_CGI;
    directive->any_file = 1;

    umcf->protocols |= USHER_PROTOCOL_CGI;

    for (i = 2; i < sizeof(words) / sizeof(words[0]); i++) {

        word = ngx_array_push(&directive->words);
        if (word == NULL) {
            return NGX_ERROR;
        }

        *word = words[i];
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_usher_pass_error(ngx_conf_t *cf, ngx_http_usher_pass_t *pass,
    ngx_str_t *name, const char *text)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "usher_pass: class \"%V\" %s, in %s:%ui",
                  name, text, pass->file_name, pass->line);

    return NGX_ERROR;
}


/* a location's name is the part of the URL that an application stands for */

void
ngx_http_usher_set_prefix(ngx_http_core_loc_conf_t *clcf,
    ngx_http_usher_loc_conf_t *prev, ngx_http_usher_loc_conf_t *conf)
{
    if (clcf->noname) {

        /* "if" and limit_except have their location's name */

        conf->prefix = prev->prefix;
        return;
    }

    if (clcf->name.len == 0
        || clcf->name.data[0] != '/'
        || clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
        )
    {
        return;
    }

    conf->prefix = clcf->name;

    if (conf->prefix.data[conf->prefix.len - 1] == '/') {
        conf->prefix.len--;
    }
}


/* which class it is was only evaluated, and a file to run is none */

void
ngx_http_usher_set_protocol(ngx_http_usher_peer_t *peer)
{
    ngx_http_usher_directive_t  *directive;
    ngx_http_usher_main_conf_t  *umcf;

    peer->protocol = USHER_PROTOCOL_FASTCGI;

    umcf = ngx_http_get_module_main_conf(peer->request, ngx_http_usher_module);

    if (!(umcf->protocols & (USHER_PROTOCOL_CGI|USHER_PROTOCOL_AJP))
        || peer->key.len == 0)
    {
        return;
    }

    directive = ngx_http_usher_find_directive(umcf, &peer->key);

    if (!peer->pass->cgi) {

        if (directive) {
            peer->protocol = directive->protocol;
        }

        return;
    }

    peer->protocol = USHER_PROTOCOL_CGI;

    if (directive && directive->protocol == USHER_PROTOCOL_CGI
        && !directive->any_file)
    {
        /* a class of its own */

        return;
    }

    if (peer->key.data[0] != '/' || peer->key.len >= NGX_MAX_PATH) {
        ngx_str_null(&peer->key);
        return;
    }

    peer->program = peer->key;
    peer->key = peer->pass->class;
}


/* before all others: nobody can say them again with another meaning */

ngx_int_t
ngx_http_usher_add_params(ngx_http_usher_peer_t *peer)
{
    size_t                      size;
    ngx_buf_t                  *b, *head;
    ngx_uint_t                  n;
    ngx_http_request_t         *r;
    usher_fastcgi_param_t       params[NGX_HTTP_USHER_PARAMS];
    ngx_http_usher_loc_conf_t  *ulcf;

    if (peer->protocol != USHER_PROTOCOL_CGI) {
        return NGX_OK;
    }

    r = peer->request;
    n = 0;

    if (peer->program.len) {
        params[n].name = "USHER_PROGRAM";
        params[n].value.bytes = peer->program.data;
        params[n].value.length = peer->program.len;
        n++;
    }

    ulcf = ngx_http_get_module_loc_conf(r, ngx_http_usher_module);

    /* by variables, other files have other parts of the location's URLs */

    if (ulcf->prefix.data
        && (peer->pass->constant
            || (!peer->pass->cgi && peer->key.data[0] != '/')))
    {
        params[n].name = "USHER_PREFIX";
        params[n].value.bytes = ulcf->prefix.data;
        params[n].value.length = ulcf->prefix.len;
        n++;
    }

    if (n == 0) {
        return NGX_OK;
    }

    /* unbuffered, the first buffer alone is the head, all others the body */

    head = r->upstream->request_bufs->buf;

    size = usher_fastcgi_insert_size(params, n);

    b = ngx_create_temp_buf(r->pool, head->last - head->pos + size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    if (size == 0
        || !usher_fastcgi_insert(head->pos, head->last - head->pos, params, n,
                                 b->pos))
    {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "usher: the FastCGI request for class \"%V\" cannot be "
                      "told what to run", &peer->key);
        return NGX_ERROR;
    }

    b->last = b->end;

    r->upstream->request_bufs->buf = b;

    return NGX_OK;
}


/* $usher_backend, $usher_route: what the last gateway has said */

ngx_int_t
ngx_http_usher_backend_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_uint_t              i;
    ngx_list_part_t        *part;
    ngx_table_elt_t        *header;
    ngx_http_usher_peer_t  *peer;

    v->not_found = 1;

    peer = ngx_http_usher_find_peer(r);

    if (peer == NULL
        || peer->protocol != USHER_PROTOCOL_AJP
        || r->upstream == NULL
        || r->upstream->peer.data != peer)
    {
        return NGX_OK;
    }

    part = &r->upstream->headers_in.headers.part;
    header = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        if (ngx_http_usher_is_header(&header[i],
                                     &ngx_http_usher_headers[data]))
        {
            v->len = header[i].value.len;
            v->valid = 1;
            v->no_cacheable = 0;
            v->not_found = 0;
            v->data = header[i].value.data;

            return NGX_OK;
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_usher_is_header(ngx_table_elt_t *header, ngx_str_t *name)
{
    return header->key.len == name->len
           && ngx_strncasecmp(header->key.data, name->data, name->len) == 0;
}


/* also where the answer comes from a cache */

static ngx_int_t
ngx_http_usher_header_filter(ngx_http_request_t *r)
{
    ngx_str_t                  *name;
    ngx_uint_t                  i;
    ngx_list_part_t            *part;
    ngx_table_elt_t            *header;
    ngx_http_usher_peer_t      *peer;
    ngx_http_usher_loc_conf_t  *ulcf;

    ulcf = ngx_http_get_module_loc_conf(r, ngx_http_usher_module);

    if (ulcf->pass == NULL || !ulcf->pass->ajp) {
        return ngx_http_next_header_filter(r);
    }

    peer = ngx_http_usher_find_peer(r);

    if (peer && peer->protocol != USHER_PROTOCOL_AJP) {
        return ngx_http_next_header_filter(r);
    }

    part = &r->headers_out.headers.part;
    header = part->elts;

    for (i = 0; /* void */; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            header = part->elts;
            i = 0;
        }

        for (name = ngx_http_usher_headers; name->len; name++) {
            if (ngx_http_usher_is_header(&header[i], name)) {
                header[i].hash = 0;
            }
        }
    }

    return ngx_http_next_header_filter(r);
}
