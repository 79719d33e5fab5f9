/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words behind a class's name become values: spelled as in httpd.conf and usher.conf
 * (-option value) or as in nginx.conf (option=value).
 */
#include "options/options.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "options/checks.h"
#include "options/table.h"
#include "options/text.h"
#include "options/values.h"

/* An error line's piece: an option with its value or its form. */
#define PIECE_MAX 256

typedef struct {
    usher_scope_t scope;
    usher_host_t host;
    usher_option_values_t *values;
    char *error;
    size_t error_size;
} parser_t;

/* The rest of a variable's value that holds a blank looks like an option: it is not told. */
static bool follows_variable(const parser_t *parser) {
    const usher_option_values_t *values = parser->values;
    return values->count > 0 && values->values[values->count - 1].option->type == USHER_TYPE_ENV;
}

static int fail_unknown(const parser_t *parser, const char *word, size_t name_length) {
    char quoted[USHER_QUOTED_MAX], hint[PIECE_MAX], variable[USHER_SPELLING_MAX];
    usher_option_suggest(parser->scope, parser->host, word, name_length, hint, sizeof hint);
    if (follows_variable(parser)) {
        usher_option_spell(parser->host, &usher_option_table[USHER_OPTION_initialEnv], variable,
                           sizeof variable);
        return usher_text_fail(parser->error, parser->error_size,
                               "the word after %s is no option (a value that holds a blank is put "
                               "in quotes as a whole)%s",
                               variable, hint);
    }
    usher_text_quote(word, name_length, quoted, sizeof quoted);
    return usher_text_fail(parser->error, parser->error_size, "unknown option %s%s", quoted, hint);
}

static int fail_missing_value(const parser_t *parser, const usher_option_t *option,
                              const char *follows) {
    char spelling[USHER_SPELLING_MAX], form[PIECE_MAX];
    usher_option_spell(parser->host, option, spelling, sizeof spelling);
    usher_option_form(parser->host, option, form, sizeof form);
    return usher_text_fail(parser->error, parser->error_size, "%s needs a value%s%s: write %s",
                           spelling, *follows != '\0' ? " before " : "", follows, form);
}

/* May this option stand here, in this host's file? */
static int check_place(const parser_t *parser, const usher_option_t *option) {
    char spelling[USHER_SPELLING_MAX];
    usher_option_spell(parser->host, option, spelling, sizeof spelling);
    if (!(option->hosts & (unsigned)parser->host))
        return usher_text_fail(parser->error, parser->error_size, "%s is not for %s: %s", spelling,
                               parser->host == USHER_HOST_NGINX    ? "nginx.conf"
                               : parser->host == USHER_HOST_APACHE ? "httpd.conf"
                                                                   : "usher.conf",
                               option->instead);
    if (option->scopes & (unsigned)parser->scope)
        return 0;
    static const usher_scope_t scopes[] = {USHER_SCOPE_STATIC, USHER_SCOPE_EXTERNAL,
                                           USHER_SCOPE_DYNAMIC};
    const char *takers[2] = {"", ""};
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        if (option->scopes & (unsigned)scopes[i] && count < 2)
            takers[count++] = usher_scope_directive(parser->host, scopes[i]);
    return usher_text_fail(parser->error, parser->error_size,
                           "%s is an option of %s%s%s, not of %s", spelling, takers[0],
                           count > 1 ? " and " : "", takers[1],
                           usher_scope_directive(parser->host, parser->scope));
}

/* What an error shows of a setting. A variable's value may be a secret, and errors go to logs: of
 * NAME=value only the name is told, and nothing where the word may be the secret itself. */
static void show_setting(const parser_t *parser, const usher_option_t *option, const char *text,
                         char *setting, size_t size) {
    if (option->type != USHER_TYPE_ENV) {
        usher_option_setting(parser->host, option, text, setting, size);
        return;
    }
    char spelling[USHER_SPELLING_MAX], name[USHER_QUOTED_MAX] = "";
    const char *sign = strchr(text, '=');
    usher_option_spell(parser->host, option, spelling, sizeof spelling);
    if (sign != NULL && sign[strspn(sign, "=")] != '\0')
        usher_text_quote(text, (size_t)(sign - text), name, sizeof name);
    const char *joint = parser->host == USHER_HOST_NGINX ? "=" : " ";
    snprintf(setting, size, "%s%s%s%s", spelling, *name != '\0' ? joint : "", name,
             *name != '\0' ? "=..." : "");
}

static int add_value(const parser_t *parser, const usher_option_t *option, const char *text) {
    usher_option_values_t *values = parser->values;
    if (!option->repeatable)
        for (size_t i = 0; i < values->count; i++)
            if (values->values[i].option == option) {
                char spelling[USHER_SPELLING_MAX];
                usher_option_spell(parser->host, option, spelling, sizeof spelling);
                return usher_text_fail(parser->error, parser->error_size, "%s is given twice",
                                       spelling);
            }
    if (values->count == USHER_OPTION_VALUES_MAX)
        return usher_text_fail(parser->error, parser->error_size, "more than %d options",
                               USHER_OPTION_VALUES_MAX);

    usher_option_value_t value = {option, text, 0};
    char expected[PIECE_MAX];
    if (usher_value_parse(option, text, &value.number, expected, sizeof expected) < 0) {
        char setting[PIECE_MAX];
        show_setting(parser, option, text, setting, sizeof setting);
        return usher_text_fail(parser->error, parser->error_size, "%s: %s", setting, expected);
    }
    values->values[values->count++] = value;
    return 0;
}

/* option=value, or a flag alone. */
static int parse_nginx_word(const parser_t *parser, const char *word) {
    const char *sign = strchr(word, '=');
    size_t length = sign != NULL ? (size_t)(sign - word) : strlen(word);
    const usher_option_t *option = usher_option_find(parser->host, word, length);
    if (option == NULL)
        return fail_unknown(parser, word, length);
    if (check_place(parser, option) < 0)
        return -1;
    if (option->type == USHER_TYPE_FLAG) {
        if (sign == NULL)
            return add_value(parser, option, "");
        char spelling[USHER_SPELLING_MAX];
        usher_option_spell(parser->host, option, spelling, sizeof spelling);
        return usher_text_fail(parser->error, parser->error_size,
                               "%s takes no value: write it alone", spelling);
    }
    if (sign == NULL)
        return fail_missing_value(parser, option, "");
    return add_value(parser, option, sign + 1);
}

/* -option value, or -flag; returns how many words that was, -1 on error. */
static int parse_httpd_words(const parser_t *parser, const char *const *words, size_t count) {
    const char *word = words[0];
    const usher_option_t *option =
        *word == '-' ? usher_option_find(parser->host, word + 1, strlen(word + 1)) : NULL;
    if (option == NULL)
        return fail_unknown(parser, word, *word == '-' ? strlen(word) : strcspn(word, "="));
    if (check_place(parser, option) < 0)
        return -1;
    if (option->type == USHER_TYPE_FLAG)
        return add_value(parser, option, "") < 0 ? -1 : 1;
    if (count < 2)
        return fail_missing_value(parser, option, "");
    const char *value = words[1];
    if (*value == '-' && usher_option_find(parser->host, value + 1, strlen(value + 1)) != NULL)
        return fail_missing_value(parser, option, value);
    return add_value(parser, option, value) < 0 ? -1 : 2;
}

/* -on-demand N stands for two values; nobody behind the validator need know it. */
static int expand_on_demand(usher_option_values_t *values, char *error, size_t error_size) {
    for (size_t i = 0; i < values->count; i++) {
        if (values->values[i].option != &usher_option_table[USHER_OPTION_onDemand])
            continue;
        if (values->count == USHER_OPTION_VALUES_MAX)
            return usher_text_fail(error, error_size, "more than %d options",
                                   USHER_OPTION_VALUES_MAX);
        values->values[i].option = &usher_option_table[USHER_OPTION_maxClassProcesses];
        values->values[values->count++] =
            (usher_option_value_t){&usher_option_table[USHER_OPTION_processes], "0", 0};
    }
    return 0;
}

int usher_options_parse(usher_scope_t scope, usher_host_t host, const char *const *words,
                        size_t count, usher_option_values_t *values, char *error,
                        size_t error_size) {
    parser_t parser = {scope, host, values, error, error_size};
    values->count = 0;
    for (size_t i = 0; i < count;) {
        int taken = 1;
        if (host != USHER_HOST_NGINX)
            taken = parse_httpd_words(&parser, words + i, count - i);
        else if (parse_nginx_word(&parser, words[i]) < 0)
            return -1;
        if (taken < 0)
            return -1;
        i += (size_t)taken;
    }
    if (usher_options_check_together(scope, host, values, error, error_size) < 0)
        return -1;
    return expand_on_demand(values, error, error_size);
}
