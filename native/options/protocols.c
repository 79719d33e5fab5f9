/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the protocol of a class asks of its other options.
 */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "options/address.h"
#include "options/checks.h"
#include "options/text.h"

/* An error line's piece: an option with its value. */
typedef struct {
    char text[USHER_SPELLING_MAX + USHER_QUOTED_MAX];
} setting_t;

static setting_t show(usher_host_t host, const usher_option_value_t *value) {
    setting_t setting;
    if (value->option->type == USHER_TYPE_FLAG)
        usher_option_spell(host, value->option, setting.text, sizeof setting.text);
    else
        usher_option_setting(host, value->option, value->text, setting.text, sizeof setting.text);
    return setting;
}

static const char *protocol_word(const usher_option_values_t *values) {
    const usher_option_value_t *value = usher_options_given(values, USHER_OPTION_protocol);
    return value != NULL ? value->text : usher_option_table[USHER_OPTION_protocol].default_text;
}

usher_protocol_t usher_options_protocol(const usher_option_values_t *values) {
    const char *word = protocol_word(values);
    return strcasecmp(word, "fastcgi") == 0 ? USHER_PROTOCOL_FASTCGI
           : strcasecmp(word, "cgi") == 0   ? USHER_PROTOCOL_CGI
                                            : USHER_PROTOCOL_AJP;
}

int usher_class_runs_any_file(const char *name, const usher_option_values_t *values) {
    return *name != '/' && usher_options_protocol(values) == USHER_PROTOCOL_CGI &&
           usher_options_given(values, USHER_OPTION_command) == NULL;
}

/* ---- which options a protocol has ------------------------------------------------------------- */

enum { F = USHER_PROTOCOL_FASTCGI, C = USHER_PROTOCOL_CGI, A = USHER_PROTOCOL_AJP };
enum { S = USHER_SCOPE_STATIC, E = USHER_SCOPE_EXTERNAL };

/* An option that is not for all protocols. */
typedef struct {
    int row;
    unsigned scopes; /* where the rule holds */
    unsigned protocols;
    const char *hint;
} rule_t;

#define RULE(id, scopes, protocols, hint) \
    { USHER_OPTION_##id, scopes, protocols, hint }
#define OWN_DIRECTORY ": a CGI program runs in its own directory"
#define RUNS_ALREADY ": one that runs already is an external class"
#define NOTHING_STARTED ", and nothing is started for it"
#define COUNTED_ELSEWHERE ": its gateways count requests, and those do not wear an engine"
#define OTHER_FILES ": what is deployed in a servlet engine is not its program's file"

static const rule_t rules[] = {
    RULE(cwd, S, F | A, OWN_DIRECTORY),
    RULE(socket, S, F, ""),
    RULE(port, S, F, ""),
    RULE(nph, S | E, F | C, ""),
    RULE(maxOutput, S, C, ""),
    RULE(maxRequests, S, F | C, COUNTED_ELSEWHERE),
    RULE(autoUpdate, S, F | C, OTHER_FILES),
    RULE(host, S, A, RUNS_ALREADY),
    RULE(backup, S, A, RUNS_ALREADY),
    RULE(down, S, A, RUNS_ALREADY),
    RULE(processes, E, A, NOTHING_STARTED),
    RULE(maxClassProcesses, E, A, NOTHING_STARTED),
    RULE(onDemand, E, A, NOTHING_STARTED),
    RULE(user, E, A, NOTHING_STARTED),
    RULE(group, E, A, NOTHING_STARTED),
    RULE(log, E, A, NOTHING_STARTED),
    RULE(memoryLimit, E, A, NOTHING_STARTED),
    RULE(maxLifetime, E, A, NOTHING_STARTED),
    RULE(idleStop, E, A, NOTHING_STARTED),
    RULE(livenessTimeout, S, A, ""),
    RULE(sessionDrain, S, A, ""),
    RULE(secretFile, S | E, A, ""),
    RULE(maxPacketSize, S | E, A, ""),
    RULE(connectionPoolSize, S | E, A, ""),
    RULE(connectionPoolMinsize, S | E, A, ""),
    RULE(connectionPoolTimeout, S | E, A, ""),
    RULE(connectionAcquireTimeout, S | E, A, ""),
    RULE(socketConnectTimeout, S | E, A, ""),
    RULE(connectTimeout, S | E, A, ""),
    RULE(prepostTimeout, S | E, A, ""),
    RULE(connectionPingInterval, S | E, A, ""),
    RULE(pingTimeout, S | E, A, ""),
    RULE(replyTimeout, S | E, A, ""),
    RULE(method, S | E, A, ""),
    RULE(stickySession, S | E, A, ""),
    RULE(stickySessionForce, S | E, A, ""),
    RULE(sessionCookie, S | E, A, ""),
    RULE(sessionPath, S | E, A, ""),
    RULE(recoverTime, S | E, A, ""),
    RULE(errorEscalationTime, S | E, A, ""),
    RULE(failOnStatus, S | E, A, ""),
    RULE(retries, S | E, A, ""),
    RULE(mount, S | E, A, ""),
    RULE(context, S | E, A, ""),
    RULE(requestAttribute, S | E, A, ""),
    RULE(zone, S | E, A, ""),
};

static const char *protocol_words(unsigned protocols) {
    switch (protocols) {
    case F:
        return "fastcgi";
    case C:
        return "cgi";
    case F | C:
        return "fastcgi or cgi";
    case F | A:
        return "fastcgi, ajp or ajp12";
    default:
        return "ajp or ajp12";
    }
}

static int fail_needs(usher_host_t host, const usher_option_values_t *values,
                      const usher_option_value_t *value, unsigned protocols, const char *hint,
                      char *error, size_t size) {
    return usher_text_fail(
        error, size, "%s needs %s%s%s; this class speaks %s%s", show(host, value).text,
        usher_options_spell(host, USHER_OPTION_protocol).text, host == USHER_HOST_NGINX ? "=" : " ",
        protocol_words(protocols), protocol_word(values), hint);
}

static int check_rules(usher_scope_t scope, usher_host_t host, const usher_option_values_t *values,
                       char *error, size_t size) {
    unsigned protocol = usher_options_protocol(values);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const rule_t *rule = &rules[i];
        const usher_option_value_t *value = usher_options_given(values, rule->row);
        if (value != NULL && (rule->scopes & (unsigned)scope) && !(rule->protocols & protocol))
            return fail_needs(host, values, value, rule->protocols, rule->hint, error, size);
    }
    return 0;
}

/* ---- addresses -------------------------------------------------------------------------------- */

static bool is_address(const usher_option_value_t *value) {
    return value->option->type == USHER_TYPE_HOST;
}

/* Routes, weights and UNIX sockets are an AJP gateway's. */
static int check_plain(usher_host_t host, const usher_option_values_t *values, char *error,
                       size_t size) {
    for (size_t i = 0; i < values->count; i++) {
        const usher_option_value_t *value = &values->values[i];
        if (!is_address(value) || usher_host_is_plain(value->text))
            continue;
        const char *word = strncmp(value->text, "unix:", 5) == 0 ? "a UNIX socket there"
                                                                 : "what is behind the comma";
        return usher_text_fail(error, size, "%s: %s needs %s%sajp or ajp12; this class speaks %s",
                               show(host, value).text, word,
                               usher_options_spell(host, USHER_OPTION_protocol).text,
                               host == USHER_HOST_NGINX ? "=" : " ", protocol_word(values));
    }
    return 0;
}

/* An address is what an engine is named by. */
static int check_unique(usher_host_t host, const usher_option_values_t *values, char *error,
                        size_t size) {
    for (size_t i = 0; i < values->count; i++) {
        const usher_option_value_t *value = &values->values[i];
        if (!is_address(value))
            continue;
        size_t length = usher_host_address_length(value->text);
        for (size_t j = 0; j < i; j++) {
            const usher_option_value_t *other = &values->values[j];
            if (is_address(other) && usher_host_address_length(other->text) == length &&
                strncmp(other->text, value->text, length) == 0)
                return usher_text_fail(error, size, "%s: this address is given twice",
                                       show(host, value).text);
        }
    }
    return 0;
}

/* ---- AJP -------------------------------------------------------------------------------------- */

#define CONCURRENCY_DEFAULT 200

/* A word of HTTP: what a cookie's or a parameter's name can be. */
static int check_token(usher_host_t host, const usher_option_value_t *value, char *error,
                       size_t size) {
    for (const char *byte = value != NULL ? value->text : ""; *byte != '\0'; byte++)
        if (!isalnum((unsigned char)*byte) && strchr("!#$%&'*+-.^_`|~", *byte) == NULL)
            return usher_text_fail(error, size,
                                   "%s: expected a name of letters, digits and !#$%%&'*+-.^_`|~",
                                   show(host, value).text);
    return 0;
}

static int check_names(usher_host_t host, const usher_option_values_t *values, char *error,
                       size_t size) {
    for (size_t i = 0; i < values->count; i++) {
        const usher_option_t *option = values->values[i].option;
        if ((option == &usher_option_table[USHER_OPTION_sessionCookie] ||
             option == &usher_option_table[USHER_OPTION_sessionPath] ||
             option == &usher_option_table[USHER_OPTION_requestAttribute]) &&
            check_token(host, &values->values[i], error, size) < 0)
            return -1;
    }
    return 0;
}

static int check_pool(usher_host_t host, const usher_option_values_t *values, char *error,
                      size_t size) {
    const usher_option_value_t *least =
        usher_options_given(values, USHER_OPTION_connectionPoolMinsize);
    const usher_option_value_t *most = usher_options_given(values, USHER_OPTION_connectionPoolSize);
    int row = most != NULL ? USHER_OPTION_connectionPoolSize : USHER_OPTION_concurrency;
    const usher_option_value_t *bound = usher_options_given(values, row);
    int64_t number = bound != NULL ? bound->number : CONCURRENCY_DEFAULT;
    if (least != NULL && least->number > number)
        return usher_text_fail(error, size, "%s (%lld) must not be above %s (%lld)",
                               usher_options_spell(host, USHER_OPTION_connectionPoolMinsize).text,
                               (long long)least->number, usher_options_spell(host, row).text,
                               (long long)number);
    return 0;
}

static int check_mount(usher_host_t host, const usher_option_values_t *values, char *error,
                       size_t size) {
    const usher_option_value_t *mount = usher_options_given(values, USHER_OPTION_mount);
    const usher_option_value_t *context = usher_options_given(values, USHER_OPTION_context);
    if ((mount == NULL) == (context == NULL))
        return 0;
    return usher_text_fail(
        error, size, "%s stands alone: give %s as well, %s",
        show(host, mount != NULL ? mount : context).text,
        usher_options_spell(host, mount != NULL ? USHER_OPTION_context : USHER_OPTION_mount).text,
        mount != NULL ? "the prefix that replaces it" : "the prefix that it replaces");
}

/* What AJP 1.2 has not: packets, and connections for more than one request. */
static int check_version(usher_host_t host, const usher_option_values_t *values, char *error,
                         size_t size) {
    static const int rows[] = {USHER_OPTION_maxPacketSize, USHER_OPTION_connectionPoolMinsize,
                               USHER_OPTION_connectionPoolTimeout};
    if (strcasecmp(protocol_word(values), "ajp12") != 0)
        return 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const usher_option_value_t *value = usher_options_given(values, rows[i]);
        if (value != NULL)
            return usher_text_fail(
                error, size, "%s needs %s%sajp; this class speaks %s, %s", show(host, value).text,
                usher_options_spell(host, USHER_OPTION_protocol).text,
                host == USHER_HOST_NGINX ? "=" : " ", protocol_word(values),
                rows[i] == USHER_OPTION_maxPacketSize ? "which has no packets"
                                                      : "whose connections carry one request");
    }
    return 0;
}

/* The bytes of a zone's path, without a slash at its end. */
static size_t zone_path_length(const char *text) {
    const char *equals = strrchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
    while (length > 0 && text[length - 1] == '/')
        length--;
    return length;
}

static bool is_zone_name(const char *name) {
    static const char bytes[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t length = strspn(name, bytes);
    return length > 0 && name[length] == '\0';
}

/* Those of AJP 1.2 alone, each path once. */
static int check_zones(usher_host_t host, const usher_option_values_t *values, char *error,
                       size_t size) {
    bool has_zones = strcasecmp(protocol_word(values), "ajp12") == 0;
    for (size_t i = 0; i < values->count; i++) {
        const usher_option_value_t *value = &values->values[i];
        if (value->option != &usher_option_table[USHER_OPTION_zone])
            continue;
        if (!has_zones)
            return usher_text_fail(error, size, "%s needs %s%sajp12; this class speaks %s",
                                   show(host, value).text,
                                   usher_options_spell(host, USHER_OPTION_protocol).text,
                                   host == USHER_HOST_NGINX ? "=" : " ", protocol_word(values));
        const char *equals = strrchr(value->text, '=');
        if (equals != NULL && !is_zone_name(equals + 1))
            return usher_text_fail(
                error, size,
                "%s: expected PATH or PATH=ZONE, ZONE of letters, digits, '_', '.', '-'",
                show(host, value).text);
        size_t length = zone_path_length(value->text);
        for (size_t j = 0; j < i; j++) {
            const usher_option_value_t *other = &values->values[j];
            if (other->option == value->option && zone_path_length(other->text) == length &&
                strncmp(other->text, value->text, length) == 0)
                return usher_text_fail(error, size, "%s: this path is given twice",
                                       show(host, value).text);
        }
    }
    return 0;
}

/* ---- servlet engines that are started --------------------------------------------------------- */

/* What each of them is told: how and where it is to listen. */
static bool is_engine_variable(const char *text) {
    static const char *const names[] = {"USHER_PROTOCOL", "USHER_ADDRESS", "USHER_HOST",
                                        "USHER_PORT", "USHER_ROUTE"};
    size_t length = strcspn(text, "=");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0)
            return true;
    return false;
}

static int check_engine_variables(usher_host_t host, const usher_option_values_t *values,
                                  char *error, size_t size) {
    for (size_t i = 0; i < values->count; i++) {
        const usher_option_value_t *value = &values->values[i];
        if (value->option != &usher_option_table[USHER_OPTION_initialEnv] ||
            !is_engine_variable(value->text))
            continue;
        return usher_text_fail(error, size, "%s%s%.*s: each engine of this class gets its own",
                               usher_options_spell(host, USHER_OPTION_initialEnv).text,
                               host == USHER_HOST_NGINX ? "=" : " ", (int)strcspn(value->text, "="),
                               value->text);
    }
    return 0;
}

static int check_engines(usher_host_t host, const usher_option_values_t *values, char *error,
                         size_t size) {
    char form[USHER_SPELLING_MAX + 16];
    if (usher_options_given(values, USHER_OPTION_host) != NULL)
        return check_engine_variables(host, values, error, size);
    usher_option_form(host, &usher_option_table[USHER_OPTION_host], form, sizeof form);
    return usher_text_fail(error, size, "%s needs %s: where its engine listens",
                           show(host, usher_options_given(values, USHER_OPTION_protocol)).text,
                           form);
}

int usher_options_check_protocol(usher_scope_t scope, usher_host_t host,
                                 const usher_option_values_t *values, char *error,
                                 size_t error_size) {
    usher_protocol_t protocol = usher_options_protocol(values);
    if (scope == USHER_SCOPE_EXTERNAL && protocol == USHER_PROTOCOL_CGI)
        return usher_text_fail(
            error, error_size, "%s is not for %s: a CGI program is started for each request by %s",
            show(host, usher_options_given(values, USHER_OPTION_protocol)).text,
            usher_scope_directive(host, scope), usher_scope_directive(host, USHER_SCOPE_STATIC));
    if (check_rules(scope, host, values, error, error_size) < 0)
        return -1;
    if (protocol != USHER_PROTOCOL_AJP)
        return check_plain(host, values, error, error_size);
    if (check_version(host, values, error, error_size) < 0 ||
        (scope == USHER_SCOPE_STATIC && check_engines(host, values, error, error_size) < 0) ||
        check_unique(host, values, error, error_size) < 0 ||
        check_names(host, values, error, error_size) < 0 ||
        check_zones(host, values, error, error_size) < 0 ||
        check_pool(host, values, error, error_size) < 0)
        return -1;
    return check_mount(host, values, error, error_size);
}
