/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What directives of mod_fcgid become is said in fcgid.def. They hold for the classes of
 * FcgidWrapper, those of the virtual host the request is for, and, outside of virtual hosts, for
 * dynamic classes. Where FCGIConfig says the same option, FCGIConfig is right; FcgidCmdOptions stands
 * above both.
 *
 * A wrapper is a class: its name is the program's path, or where that is taken or has arguments, the
 * program's own name with as much as is needed to tell it from others.
 */
#include "fcgid.h"

#include "apr_lib.h"
#include "apr_user.h"
#include "http_request.h"
#include "http_main.h"
#include "util_cfgtree.h"

#include <stdlib.h>
#include <unistd.h>

APLOG_USE_MODULE(usher);

#define WRAPPER_PROCESSES "100" /* mod_fcgid's FcgidMaxProcessesPerClass */

enum { FCGID_OPTION, FCGID_ENV, FCGID_LENGTH, FCGID_NOTHING };

struct usher_fcgid_row {
    const char *name;
    int kind;
    const char *option;
    const char *in_command; /* name in FcgidCmdOptions, "" = none */
    const char *why;
};

static const usher_fcgid_row rows[] = {
#define FCGID(id, name, old, kind, option, in_command, help)                                       \
    { name, kind, option, in_command, help },
#include "fcgid.def"
#undef FCGID
};

const usher_fcgid_id usher_fcgid_ids[USHER_FCGID_ROWS] = {
#define FCGID(id, name, old, kind, option, in_command, help) USHER_FCGID_##id,
#include "fcgid.def"
#undef FCGID
};

/* What one server (main or virtual) says. */
typedef struct {
    server_rec *server;
    apr_array_header_t *words; /* -option value …, in the order given */
    apr_off_t body_limit;      /* -1 = not said */
    const char *source;        /* of the first */
} settings;

/* ---- directives -------------------------------------------------------- */

static settings *find_settings(const usher_server_conf *conf, const server_rec *s)
{
    int i;

    for (i = 0; i < conf->fcgid->nelts; i++) {
        settings *at = APR_ARRAY_IDX(conf->fcgid, i, settings *);

        if (at->server == s) {
            return at;
        }
    }
    return NULL;
}

static settings *settings_here(cmd_parms *cmd)
{
    usher_server_conf *conf = usher_main_conf();
    settings *at = find_settings(conf, cmd->server);

    if (!at) {
        at = apr_pcalloc(cmd->pool, sizeof(*at));
        at->server = cmd->server;
        at->words = apr_array_make(cmd->pool, 8, sizeof(const char *));
        at->body_limit = -1;
        at->source = usher_source_of(cmd);
        APR_ARRAY_PUSH(conf->fcgid, settings *) = at;
    }
    return at;
}

static const usher_option_t *find_row(const char *name)
{
    size_t count, i;
    const usher_option_t *options = usher_options(&count);

    for (i = 0; i < count; i++) {
        if (!strcmp(options[i].name, name)) {
            return &options[i];
        }
    }
    return NULL;
}

/* mod_fcgid knows no bounds: what is beyond ours is said and cut. */
static const char *within_bounds(cmd_parms *cmd, const usher_option_t *option, const char *value)
{
    apr_int64_t scale = option->type == USHER_TYPE_TIME ? 1000 : 1;
    char *end;
    apr_int64_t number = apr_strtoi64(value, &end, 10);

    if ((option->type != USHER_TYPE_TIME && option->type != USHER_TYPE_COUNT) || *end || !*value) {
        return value;
    }
    if (number == -1 && !strcmp(option->name, "max-requests")) {
        return "0";
    }
    if (number > option->maximum / scale) {
        const char *most = apr_psprintf(cmd->pool, "%" APR_INT64_T_FMT, option->maximum / scale);

        usher_warn_once(cmd,
                        apr_psprintf(cmd->temp_pool, "%s: taken as %s, the most that -%s can be",
                                     value, most, option->name));
        return most;
    }
    return value;
}

/* Add -option value to `words`; an error that names the option. */
static const char *add_option(cmd_parms *cmd, apr_array_header_t *words, const char *name,
                              const char *value)
{
    const usher_option_t *option = find_row(name);
    const char *pair[] = { NULL, NULL, "-maxClassProcesses", "256" };
    usher_option_values_t *values = apr_palloc(cmd->temp_pool, sizeof(*values));
    char error[512];
    usher_scope_t scope =
        option->scopes & USHER_SCOPE_STATIC ? USHER_SCOPE_STATIC : USHER_SCOPE_DYNAMIC;

    pair[0] = apr_pstrcat(cmd->pool, "-", name, NULL);
    pair[1] = within_bounds(cmd, option, value);
    /* another directive says how many there may be */
    if (usher_options_parse(scope, USHER_HOST_APACHE, pair, strcmp(name, "processes") ? 2 : 4,
                            values, error, sizeof(error))
        < 0) {
        return apr_pstrdup(cmd->pool, error);
    }
    APR_ARRAY_PUSH(words, const char *) = pair[0];
    APR_ARRAY_PUSH(words, const char *) = pair[1];
    return NULL;
}

static const char *set_body_limit(cmd_parms *cmd, const char *value)
{
    char *end;
    apr_off_t limit;

    if (apr_strtoff(&limit, value, &end, 10) != APR_SUCCESS || *end || !*value || limit < 0) {
        return apr_psprintf(cmd->pool, "%s \"%s\": expected a number of bytes", cmd->cmd->name,
                            value);
    }
    settings_here(cmd)->body_limit = limit;
    return NULL;
}

const char *usher_set_fcgid(cmd_parms *cmd, void *dconf, const char *args)
{
    const usher_fcgid_row *row = &rows[*(const usher_fcgid_id *)cmd->info];
    const char *value, *more, *err;

    if (usher_fcgid_is_foreign()) {
        return DECLINE_CMD;
    }
    value = ap_getword_conf(cmd->pool, &args);
    more = ap_getword_conf(cmd->pool, &args);
    if (!*value || *args || (*more && row->kind != FCGID_ENV)) {
        return apr_psprintf(cmd->pool, "%s takes %s", cmd->cmd->name,
                            row->kind == FCGID_ENV ? "a name and, if it has one, a value"
                                                   : "one value");
    }
    switch (row->kind) {
    case FCGID_NOTHING:
        if (strcmp(value, "0") && strcasecmp(value, "off")) {
            usher_warn_once(cmd, apr_psprintf(cmd->temp_pool, "has no effect: %s", row->why));
        }
        return NULL;
    case FCGID_LENGTH:
        return set_body_limit(cmd, value);
    case FCGID_ENV:
        value = apr_pstrcat(cmd->pool, value, "=", more, NULL);
        break;
    default:
        break;
    }
    err = add_option(cmd, settings_here(cmd)->words, row->option, value);
    return err ? usher_explain(cmd, "", err) : NULL;
}

/* FcgidCmdOptions COMMAND NAME VALUE …: for this command, and nothing of the others. */
const char *usher_set_command_options(cmd_parms *cmd, void *dconf, const char *args)
{
    apr_array_header_t *words, *given;
    const char *command;
    int i = 1;

    if (usher_fcgid_is_foreign()) {
        return DECLINE_CMD;
    }
    given = usher_split_words(cmd->pool, args);
    if (given->nelts < 2) {
        return "FcgidCmdOptions needs a command and options";
    }
    command = APR_ARRAY_IDX(given, 0, const char *);
    words = apr_array_make(cmd->pool, 8, sizeof(const char *));
    while (i < given->nelts) {
        const char *name = APR_ARRAY_IDX(given, i, const char *);
        const char *value = i + 1 < given->nelts ? APR_ARRAY_IDX(given, i + 1, const char *) : NULL;
        const char *err;
        int row;

        for (row = 0; row < USHER_FCGID_ROWS; row++) {
            if (*rows[row].in_command && !strcasecmp(rows[row].in_command, name)) {
                break;
            }
        }
        if (row == USHER_FCGID_ROWS || !value) {
            return apr_psprintf(cmd->pool, "FcgidCmdOptions %s: %s %s", command,
                                row == USHER_FCGID_ROWS ? "unknown option" : "no value for", name);
        }
        if (rows[row].kind == FCGID_ENV && !strchr(value, '=')) {
            value = apr_pstrcat(cmd->pool, value, "=", NULL);
        }
        if ((err = add_option(cmd, words, rows[row].option, value))) {
            return usher_explain(cmd, command, err);
        }
        i += 2;
    }
    apr_hash_set(usher_main_conf()->fcgid_commands, command, APR_HASH_KEY_STRING, words);
    return NULL;
}

/* One a suffix: the last one that the container names. */
static void keep_wrapper(cmd_parms *cmd, usher_dir_conf *dir, usher_wrapper *wrapper)
{
    int i;

    if (!dir->wrappers) {
        dir->wrappers = apr_array_make(cmd->pool, 2, sizeof(usher_wrapper *));
    }
    for (i = 0; i < dir->wrappers->nelts; i++) {
        const char *suffix = APR_ARRAY_IDX(dir->wrappers, i, usher_wrapper *)->suffix;

        if (suffix && wrapper->suffix ? !strcmp(suffix, wrapper->suffix)
                                      : suffix == wrapper->suffix) {
            APR_ARRAY_IDX(dir->wrappers, i, usher_wrapper *) = wrapper;
            return;
        }
    }
    APR_ARRAY_PUSH(dir->wrappers, usher_wrapper *) = wrapper;
}

/* FcgidWrapper COMMAND [.SUFFIX] [virtual] */
const char *usher_set_wrapper(cmd_parms *cmd, void *dconf, const char *args)
{
    usher_dir_conf *dir = dconf;
    usher_wrapper *wrapper;
    const char *program, *rest, *word, *err;

    if (usher_fcgid_is_foreign()) {
        return DECLINE_CMD;
    }
    if (ap_check_cmd_context(cmd, NOT_IN_HTACCESS)) {
        return apr_psprintf(cmd->pool,
                            "%s: commands stand in the server's configuration, where the manager "
                            "learns them; a directory's users may not name any",
                            cmd->cmd->name);
    }
    wrapper = apr_pcalloc(cmd->pool, sizeof(*wrapper));
    wrapper->command = ap_getword_conf(cmd->pool, &args);
    wrapper->server = cmd->server;
    wrapper->source = usher_source_of(cmd);
    while (*(word = ap_getword_conf(cmd->pool, &args))) {
        if (!strcasecmp(word, "virtual") && !wrapper->is_virtual) {
            wrapper->is_virtual = 1;
        }
        else if (*word == '.' && word[1] && !strchr(word, '/') && !wrapper->suffix) {
            wrapper->suffix = word;
        }
        else {
            return apr_psprintf(cmd->pool, "%s %s: \"%s\": expected .suffix or virtual",
                                cmd->cmd->name, wrapper->command, word);
        }
    }
    rest = wrapper->command;
    program = ap_getword_white(cmd->temp_pool, &rest);
    if ((err = *program == '/' ? usher_check_program(cmd->pool, program)
                               : "expected the absolute path of a program")) {
        return usher_explain(cmd, wrapper->command, err);
    }
    keep_wrapper(cmd, dir, wrapper);
    APR_ARRAY_PUSH(usher_main_conf()->wrappers, usher_wrapper *) = wrapper;
    return NULL;
}

/* ---- <IfModule mod_fcgid.c> -------------------------------------------- */

static module stand_in = {
    MODULE_MAGIC_NUMBER_MAJOR, MODULE_MAGIC_NUMBER_MINOR, -1, "mod_fcgid.c", NULL, NULL,
    MODULE_MAGIC_COOKIE
};

static apr_status_t remove_stand_in(void *data)
{
    ap_remove_module(&stand_in);
    return APR_SUCCESS;
}

int usher_fcgid_is_foreign(void)
{
    module *const *at;

    for (at = ap_loaded_modules; *at; at++) {
        if (*at != &stand_in && !strcmp((*at)->name, stand_in.name)) {
            return 1;
        }
    }
    return 0;
}

void usher_fcgid_stand_in(apr_pool_t *p)
{
    if (!ap_find_linked_module(stand_in.name) && !ap_add_module(&stand_in, p, "fcgid_module")) {
        apr_pool_cleanup_register(p, NULL, remove_stand_in, apr_pool_cleanup_null);
    }
}

/* ---- SuexecUserGroup --------------------------------------------------- */

static const ap_directive_t *find_directive(const ap_directive_t *at, const char *name)
{
    const ap_directive_t *found = NULL;

    for (; at; at = at->next) {
        if (!strcasecmp(at->directive, name)) {
            found = at;
        }
    }
    return found;
}

/* The container of a virtual host. */
static const ap_directive_t *container_of(const server_rec *s)
{
    const ap_directive_t *at;

    for (at = ap_conftree; at; at = at->next) {
        if (!strcasecmp(at->directive, "<VirtualHost") && s->defn_name
            && !strcmp(at->filename, s->defn_name) && at->line_num == (int)s->defn_line_number) {
            return at;
        }
    }
    return NULL;
}

static const ap_directive_t *suexec_of(const server_rec *s)
{
    const ap_directive_t *host = s->is_virtual ? container_of(s) : NULL;
    const ap_directive_t *own = host ? find_directive(host->first_child, "SuexecUserGroup") : NULL;

    return own ? own : find_directive(ap_conftree, "SuexecUserGroup");
}

/* As mod_suexec would: only root can. */
static void add_user(apr_pool_t *p, apr_array_header_t *words, const server_rec *s)
{
    const ap_directive_t *suexec = geteuid() == 0 ? suexec_of(s) : NULL;
    const char *args;
    char *user, *group;

    if (suexec) {
        args = suexec->args;
        user = ap_getword_conf(p, &args);
        group = ap_getword_conf(p, &args);
        if (*user == '#') { /* by number; mod_suexec has seen that it is one */
            apr_uid_name_get(&user, (apr_uid_t)atoi(user + 1), p);
        }
        if (*group == '#') {
            apr_gid_name_get(&group, (apr_gid_t)atoi(group + 1), p);
        }
        APR_ARRAY_PUSH(words, const char *) = "-user";
        APR_ARRAY_PUSH(words, const char *) = user;
        APR_ARRAY_PUSH(words, const char *) = "-group";
        APR_ARRAY_PUSH(words, const char *) = group;
    }
}

/* ---- options of a class ------------------------------------------------ */

/* The last value of an option, NULL = none. */
static const char *value_in(const apr_array_header_t *words, const char *option)
{
    const char *value = NULL;
    int i;

    for (i = 0; i + 1 < words->nelts; i += 2) {
        if (!strcmp(APR_ARRAY_IDX(words, i, const char *) + 1, option)) {
            value = APR_ARRAY_IDX(words, i + 1, const char *);
        }
    }
    return value;
}

static int same_variable(const char *a, const char *b)
{
    apr_size_t length = strcspn(a, "=");

    return length == strcspn(b, "=") && !strncmp(a, b, length);
}

/* Does a later pair say the same again? */
static int is_overruled(const apr_array_header_t *words, int at, const usher_option_t *option)
{
    const char *name = APR_ARRAY_IDX(words, at, const char *);
    const char *value = APR_ARRAY_IDX(words, at + 1, const char *);
    int i;

    for (i = at + 2; i + 1 < words->nelts; i += 2) {
        const char *other = APR_ARRAY_IDX(words, i + 1, const char *);

        if (strcmp(name, APR_ARRAY_IDX(words, i, const char *))) {
            continue;
        }
        if (!option->repeatable || !strcmp(value, other)
            || (option->type == USHER_TYPE_ENV && same_variable(value, other))) {
            return 1;
        }
    }
    return 0;
}

/* Those of `words` that this kind of class has and FCGIConfig (`before`) does not say, once each. */
static apr_array_header_t *options_for(apr_pool_t *p, const apr_array_header_t *words,
                                       usher_scope_t scope, const usher_option_values_t *before)
{
    apr_array_header_t *options = apr_array_make(p, 8, sizeof(const char *));
    int i;

    for (i = 0; i + 1 < words->nelts; i += 2) {
        const usher_option_t *option = find_row(APR_ARRAY_IDX(words, i, const char *) + 1);

        if ((option->scopes & (unsigned)scope) && !is_overruled(words, i, option)
            && (option->repeatable || !usher_find_option(before, option->id))) {
            APR_ARRAY_PUSH(options, const char *) = APR_ARRAY_IDX(words, i, const char *);
            APR_ARRAY_PUSH(options, const char *) = APR_ARRAY_IDX(words, i + 1, const char *);
        }
    }
    return options;
}

/* All that holds in a server: the main server's, then its own. */
static apr_array_header_t *words_of(const usher_server_conf *conf, apr_pool_t *p, server_rec *s)
{
    apr_array_header_t *words = apr_array_make(p, 8, sizeof(const char *));
    const settings *global = find_settings(conf, ap_server_conf);
    const settings *own = s == ap_server_conf ? NULL : find_settings(conf, s);

    if (global) {
        apr_array_cat(words, global->words);
    }
    if (own) {
        apr_array_cat(words, own->words);
    }
    return words;
}

static void replace(apr_array_header_t *words, const char *option, const char *value)
{
    int i;

    for (i = 0; i + 1 < words->nelts; i += 2) {
        if (!strcmp(APR_ARRAY_IDX(words, i, const char *), option)) {
            APR_ARRAY_IDX(words, i + 1, const char *) = value;
            return;
        }
    }
    APR_ARRAY_PUSH(words, const char *) = option;
    APR_ARRAY_PUSH(words, const char *) = value;
}

/* mod_fcgid counts these processes among FcgidMaxProcesses, and has a default of its own. */
static void bound_processes(apr_array_header_t *options, const apr_array_header_t *words,
                            const usher_option_values_t *before)
{
    const char *all = value_in(words, "maxProcesses");
    const char *most = value_in(options, "maxClassProcesses");
    const char *least = value_in(options, "processes");

    if (!most && usher_find_option(before, "maxClassProcesses")) {
        return;
    }
    most = most ? most : WRAPPER_PROCESSES;
    if (all && atoi(all) < atoi(most)) {
        most = all;
    }
    replace(options, "-maxClassProcesses", most);
    if (least && atoi(least) > atoi(most)) {
        replace(options, "-processes", most);
    }
}

static const char *program_of(apr_pool_t *p, const char *command)
{
    return ap_getword_white(p, &command);
}

static apr_array_header_t *wrapper_options(const usher_server_conf *conf, apr_pool_t *p,
                                           const usher_wrapper *wrapper, server_rec *s,
                                           const usher_option_values_t *before)
{
    static const usher_option_values_t nothing;
    const char *program = program_of(p, wrapper->command);
    const apr_array_header_t *own =
        apr_hash_get(conf->fcgid_commands, program, APR_HASH_KEY_STRING);
    apr_array_header_t *words = words_of(conf, p, s);
    apr_array_header_t *options = own ? options_for(p, own, USHER_SCOPE_STATIC, &nothing)
                                      : options_for(p, words, USHER_SCOPE_STATIC, before);

    bound_processes(options, words, own ? &nothing : before);
    add_user(p, options, s);
    return options;
}

/* ---- classes ----------------------------------------------------------- */

static int equal_words(const apr_array_header_t *a, const apr_array_header_t *b)
{
    int i;

    if (a->nelts != b->nelts) {
        return 0;
    }
    for (i = 2; i < a->nelts; i++) { /* behind directive and name */
        if (strcmp(APR_ARRAY_IDX(a, i, const char *), APR_ARRAY_IDX(b, i, const char *))) {
            return 0;
        }
    }
    return 1;
}

static const usher_class_conf *find_equal(const usher_server_conf *conf,
                                          const usher_class_conf *class)
{
    int i;

    for (i = 0; i < conf->in_order->nelts; i++) {
        const usher_class_conf *at = APR_ARRAY_IDX(conf->in_order, i, usher_class_conf *);

        if (at->is_implied && equal_words(at->words, class->words)) {
            return at;
        }
    }
    return NULL;
}

/* What a class name may hold. */
static const char *plain(apr_pool_t *p, const char *text)
{
    char *name = apr_pstrdup(p, text);
    char *at;

    for (at = name; *at; at++) {
        if (!apr_isalnum(*at) && *at != '.' && *at != '-') {
            *at = '_';
        }
    }
    return name;
}

/* The next name to try; the last one cannot be taken by a class with other options. */
static const char *candidate(apr_pool_t *p, const usher_wrapper *wrapper, server_rec *s,
                             const apr_array_header_t *options, int which)
{
    const char *program = program_of(p, wrapper->command);
    const char *name = plain(p, ap_strrchr_c(program, '/') + 1);
    const char *text = wrapper->command;
    int i;

    switch (which) {
    case 0:
        return program;
    case 1:
        return name;
    case 2:
        return apr_pstrcat(p, name, "-", plain(p, s->server_hostname ? s->server_hostname : "main"),
                           NULL);
    default:
        for (i = 0; i < options->nelts; i++) {
            text = apr_pstrcat(p, text, " ", APR_ARRAY_IDX(options, i, const char *), NULL);
        }
        return apr_psprintf(p, "%s-%08x", name, (unsigned)usher_hash(text, strlen(text)));
    }
}

/* The class of a wrapper in a server; NULL with `*why`. */
static const usher_class_conf *make_class(usher_server_conf *conf, apr_pool_t *p,
                                          const usher_wrapper *wrapper, server_rec *s,
                                          const usher_option_values_t *before, const char **why)
{
    const char *program = program_of(p, wrapper->command);
    int has_args = strcmp(program, wrapper->command) != 0;
    const usher_class_conf *own = apr_hash_get(conf->classes, program, APR_HASH_KEY_STRING);
    apr_array_header_t *options = wrapper_options(conf, p, wrapper, s, before);
    int which;

    if (own && !has_args && !own->is_implied) {
        return own; /* AppClass says how it runs */
    }
    for (which = has_args; which < 4; which++) {
        const char *key = candidate(p, wrapper, s, options, which);
        apr_array_header_t *words = apr_array_copy(p, options);
        const usher_class_conf *equal;
        usher_class_conf *class;

        if (which > 0) {
            APR_ARRAY_PUSH(words, const char *) = "-command";
            APR_ARRAY_PUSH(words, const char *) = wrapper->command;
            APR_ARRAY_PUSH(words, const char *) = "-cwd";
            APR_ARRAY_PUSH(words, const char *) =
                apr_pstrmemdup(p, program, (apr_size_t)(ap_strrchr_c(program, '/') - program) + 1);
        }
        class = usher_imply_class(conf, p, key, words, wrapper->source, why);
        if (!class) {
            return NULL;
        }
        if (which > 0 && (equal = find_equal(conf, class))) {
            return equal;
        }
        if (!(equal = apr_hash_get(conf->classes, key, APR_HASH_KEY_STRING))) {
            class->is_implied = 1;
            usher_add_class(conf, class);
            return class;
        }
        if (equal->is_implied && equal_words(equal->words, class->words)) {
            return equal;
        }
    }
    *why = "its class's name is taken by another class";
    return NULL;
}

static int complain(server_rec *s, const char *source, const char *what, const char *name,
                    const char *why)
{
    ap_log_error(APLOG_MARK, APLOG_ERR | APLOG_STARTUP, 0, s, "%s: %s %s: %s", source, what, name,
                 why);
    return HTTP_INTERNAL_SERVER_ERROR;
}

/* Its own server's class, and one for every virtual host that says something of its own. */
static int finish_wrapper(usher_server_conf *conf, apr_pool_t *p, usher_wrapper *wrapper,
                          const usher_option_values_t *before)
{
    const char *why = NULL;
    server_rec *s;

    wrapper->class = make_class(conf, p, wrapper, wrapper->server, before, &why);
    wrapper->classes = apr_hash_make(p);
    if (wrapper->class && !wrapper->server->is_virtual) {
        for (s = ap_server_conf->next; s; s = s->next) {
            server_rec **key = apr_pmemdup(p, &s, sizeof(s));
            const usher_class_conf *class;

            if (!find_settings(conf, s) && suexec_of(s) == suexec_of(ap_server_conf)) {
                continue;
            }
            if (!(class = make_class(conf, p, wrapper, s, before, &why))) {
                break;
            }
            apr_hash_set(wrapper->classes, key, sizeof(*key), class);
        }
    }
    return why ? complain(wrapper->server, wrapper->source, "FcgidWrapper", wrapper->command, why)
               : OK;
}

/* FcgidCmdOptions for programs that are asked for by their path. */
static int finish_commands(usher_server_conf *conf, apr_pool_t *p, server_rec *s)
{
    apr_hash_index_t *at;

    for (at = apr_hash_first(p, conf->fcgid_commands); at; at = apr_hash_next(at)) {
        const char *command = apr_hash_this_key(at);
        const char *why;
        usher_class_conf *class;
        int i;

        for (i = 0; i < conf->wrappers->nelts; i++) {
            const usher_wrapper *wrapper = APR_ARRAY_IDX(conf->wrappers, i, usher_wrapper *);

            if (!strcmp(program_of(p, wrapper->command), command)) {
                break;
            }
        }
        if (i < conf->wrappers->nelts
            || apr_hash_get(conf->classes, command, APR_HASH_KEY_STRING)) {
            continue;
        }
        class = *command == '/' ? usher_imply_class(conf, p, command, apr_hash_this_val(at),
                                                    "FcgidCmdOptions", &why)
                                : (why = "expected the absolute path of a program", NULL);
        if (!class) {
            return complain(s, "configuration", "FcgidCmdOptions", command, why);
        }
        usher_add_class(conf, class);
    }
    return OK;
}

/* The main server's settings as a further line of FCGIConfig. */
static int finish_dynamic(usher_server_conf *conf, apr_pool_t *p, server_rec *s,
                          const usher_option_values_t *before)
{
    apr_array_header_t *more =
        options_for(p, words_of(conf, p, ap_server_conf), USHER_SCOPE_DYNAMIC, before);
    const settings *from = find_settings(conf, ap_server_conf);
    apr_array_header_t *words = apr_array_make(p, 8, sizeof(const char *));
    const char *why;
    usher_class_conf *class;
    int i;

    if (more->nelts == 0) {
        return OK;
    }
    for (i = 1; i < conf->dynamic->words->nelts; i++) {
        APR_ARRAY_PUSH(words, const char *) = APR_ARRAY_IDX(conf->dynamic->words, i, const char *);
    }
    apr_array_cat(words, more);
    class =
        usher_class_from_words(p, NULL, USHER_SCOPE_DYNAMIC, words,
                               conf->dynamic->source ? conf->dynamic->source : from->source, &why);
    if (!class) {
        return complain(s, from->source, "directives of mod_fcgid", "and FCGIConfig", why);
    }
    conf->dynamic = class;
    return OK;
}

/* What holds for wrappers only, where it may be meant for more. */
static void warn(const usher_server_conf *conf, apr_pool_t *p, server_rec *s)
{
    const server_rec *host;
    int i;

    if (ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG) {
        return;
    }
    for (i = 0; i < conf->fcgid->nelts; i++) {
        const settings *at = APR_ARRAY_IDX(conf->fcgid, i, settings *);
        const char *least = value_in(at->words, "processes");

        if (at->words->nelts && (at->server->is_virtual || (least && atoi(least) > 0))) {
            ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, s,
                         "%s: %s: these hold for FcgidWrapper; programs without a wrapper %s",
                         at->source,
                         at->server->is_virtual ? "directives of mod_fcgid in a virtual host"
                                                : "FcgidMinProcessesPerClass",
                         at->server->is_virtual ? "have those outside of virtual hosts"
                                                : "end when they are idle");
        }
    }
    if (conf->fcgid->nelts == 0 && conf->wrappers->nelts == 0) {
        return;
    }
    for (host = ap_server_conf; host; host = host->next) {
        const ap_directive_t *suexec = suexec_of(host);

        if (suexec) {
            ap_log_error(APLOG_MARK, APLOG_WARNING | APLOG_STARTUP, 0, s,
                         "%s:%d: SuexecUserGroup holds for programs of FcgidWrapper%s; others run "
                         "as User",
                         suexec->filename, suexec->line_num,
                         geteuid() == 0 ? "" : " when httpd is started by root");
            return;
        }
    }
}

int usher_fcgid_finish(usher_server_conf *conf, apr_pool_t *p, server_rec *s)
{
    usher_option_values_t *before = apr_palloc(p, sizeof(*before));
    int status = OK;
    int i;

    usher_dynamic_values(conf, before);
    for (i = 0; status == OK && i < conf->wrappers->nelts; i++) {
        status = finish_wrapper(conf, p, APR_ARRAY_IDX(conf->wrappers, i, usher_wrapper *), before);
    }
    if (status == OK) {
        status = finish_commands(conf, p, s);
    }
    if (status == OK) {
        status = finish_dynamic(conf, p, s, before);
    }
    warn(conf, p, s);
    return status;
}

/* ---- requests ---------------------------------------------------------- */

const usher_wrapper *usher_fcgid_wrapper(request_rec *r)
{
    const usher_dir_conf *dir = ap_get_module_config(r->per_dir_config, &usher_module);
    const char *name = ap_strrchr_c(r->filename, '/');
    const char *suffix = ap_strrchr_c(name ? name : r->filename, '.');
    const usher_wrapper *general = NULL;
    int i;

    for (i = 0; dir->wrappers && i < dir->wrappers->nelts; i++) {
        const usher_wrapper *wrapper = APR_ARRAY_IDX(dir->wrappers, i, usher_wrapper *);

        if (!wrapper->suffix) {
            general = general ? general : wrapper;
        }
        else if (suffix && !strcmp(wrapper->suffix, suffix)) {
            return wrapper;
        }
    }
    return general;
}

const usher_class_conf *usher_fcgid_class(const usher_wrapper *wrapper, server_rec *s)
{
    const usher_class_conf *class = apr_hash_get(wrapper->classes, &s, sizeof(s));

    return class ? class : wrapper->class;
}

apr_off_t usher_fcgid_body_limit(const usher_server_conf *conf, server_rec *s)
{
    const settings *own = find_settings(conf, s);

    if (!own || own->body_limit < 0) {
        own = find_settings(conf, ap_server_conf);
    }
    return own ? own->body_limit : -1;
}
