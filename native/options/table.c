/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of options.def and their spellings: -maxClassProcesses in httpd.conf and usher.conf,
 * max_class_processes=… in nginx.conf.
 */
#include "options/table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "options/text.h"

const usher_option_t usher_option_table[USHER_OPTION_ROWS] = {
#define USHER_OPTION(id, name, aliases, type, unit, default_text, minimum, maximum, scopes, hosts, \
                     instead, repeatable, choices, doc)                                            \
    {#id,     name,   aliases, USHER_TYPE_##type, unit,       default_text, minimum,               \
     maximum, scopes, hosts,   instead,           repeatable, choices,      doc},
#include "options/options.def"
#undef USHER_OPTION
};

const usher_option_t *usher_options(size_t *count) {
    *count = USHER_OPTION_ROWS;
    return usher_option_table;
}

/* Write `name` (of `length` bytes) as it is spelled in `host`, without a dash. */
static void spell_name(usher_host_t host, const char *name, size_t length, char *text,
                       size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < length && used + 2 < size; i++) {
        unsigned char letter = (unsigned char)name[i];
        if (host != USHER_HOST_NGINX) {
            text[used++] = (char)letter;
        } else if (letter == '-') {
            text[used++] = '_';
        } else {
            if (isupper(letter) && used > 0 && text[used - 1] != '_')
                text[used++] = '_';
            text[used++] = (char)tolower(letter);
        }
    }
    text[used] = '\0';
}

static int is_spelled(usher_host_t host, const char *name, size_t name_length, const char *word,
                      size_t word_length) {
    char spelling[USHER_SPELLING_MAX];
    spell_name(host, name, name_length, spelling, sizeof spelling);
    return strlen(spelling) == word_length && strncasecmp(spelling, word, word_length) == 0;
}

const usher_option_t *usher_option_find(usher_host_t host, const char *name, size_t length) {
    for (const usher_option_t *option = usher_option_table;
         option < usher_option_table + USHER_OPTION_ROWS; option++) {
        if (is_spelled(host, option->name, strlen(option->name), name, length))
            return option;
        for (const char *alias = option->aliases; *alias != '\0';) {
            size_t alias_length = strcspn(alias, ",");
            if (is_spelled(host, alias, alias_length, name, length))
                return option;
            alias += alias_length;
            alias += *alias == ',';
        }
    }
    return NULL;
}

void usher_option_spell(usher_host_t host, const usher_option_t *option, char *text, size_t size) {
    char spelling[USHER_SPELLING_MAX - 1]; /* room for the dash */
    spell_name(host, option->name, strlen(option->name), spelling, sizeof spelling);
    snprintf(text, size, "%s%s", host == USHER_HOST_NGINX ? "" : "-", spelling);
}

static const char *value_word(const usher_option_t *option) {
    switch (option->type) {
    case USHER_TYPE_FLAG:
        return "";
    case USHER_TYPE_COUNT:
        return "COUNT";
    case USHER_TYPE_TIME:
        return "TIME";
    case USHER_TYPE_SIZE:
        return "SIZE";
    case USHER_TYPE_RATIO:
        return "RATIO";
    case USHER_TYPE_TEXT:
        return "TEXT";
    case USHER_TYPE_PATH:
        return "PATH";
    case USHER_TYPE_COMMAND:
        return "COMMAND";
    case USHER_TYPE_ENV:
        return "NAME=VALUE";
    case USHER_TYPE_HOST:
        return "HOST:PORT";
    case USHER_TYPE_LISTEN:
        return "[ADDRESS:]PORT";
    case USHER_TYPE_LIMIT:
        return "NAME=N";
    case USHER_TYPE_SIGNAL:
        return "SIGNAL";
    case USHER_TYPE_CHOICE:
        return "CHOICE";
    }
    return "";
}

void usher_option_form(usher_host_t host, const usher_option_t *option, char *text, size_t size) {
    char spelling[USHER_SPELLING_MAX];
    usher_option_spell(host, option, spelling, sizeof spelling);
    const char *joint = option->type == USHER_TYPE_FLAG ? "" : host == USHER_HOST_NGINX ? "=" : " ";
    snprintf(text, size, "%s%s%s", spelling, joint, value_word(option));
}

void usher_option_setting(usher_host_t host, const usher_option_t *option, const char *value,
                          char *text, size_t size) {
    char spelling[USHER_SPELLING_MAX], quoted[USHER_QUOTED_MAX];
    usher_option_spell(host, option, spelling, sizeof spelling);
    usher_text_quote(value, strlen(value), quoted, sizeof quoted);
    snprintf(text, size, "%s%s%s", spelling, host == USHER_HOST_NGINX ? "=" : " ", quoted);
}

const char *usher_scope_directive(usher_host_t host, usher_scope_t scope) {
    int nginx = host == USHER_HOST_NGINX;
    switch (scope) {
    case USHER_SCOPE_STATIC:
        return nginx ? "usher_app" : "AppClass";
    case USHER_SCOPE_EXTERNAL:
        return nginx ? "usher_external_app" : "ExternalAppClass";
    case USHER_SCOPE_DYNAMIC:
        return nginx ? "usher_config" : "FCGIConfig";
    }
    return "";
}

/* Letters and digits only, lower case: what is left when spelling habits are taken away. */
static size_t reduce(const char *word, size_t length, char *reduced, size_t size) {
    size_t used = 0;
    for (size_t i = 0; i < length && used < size; i++)
        if (isalnum((unsigned char)word[i]))
            reduced[used++] = (char)tolower((unsigned char)word[i]);
    return used;
}

/* Levenshtein: letters to insert, delete or replace. */
static size_t distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t row[USHER_SPELLING_MAX + 1];
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_length];
}

void usher_option_suggest(usher_scope_t scope, usher_host_t host, const char *word, size_t length,
                          char *text, size_t size) {
    enum { SHOWN_MAX = 3 };
    const usher_option_t *close[SHOWN_MAX];
    size_t distances[SHOWN_MAX], shown = 0;
    char wanted[USHER_SPELLING_MAX];
    size_t wanted_length = reduce(word, length, wanted, sizeof wanted);
    size_t limit = wanted_length / 3 < 3 ? wanted_length / 3 : 3;

    for (const usher_option_t *option = usher_option_table;
         option < usher_option_table + USHER_OPTION_ROWS; option++) {
        if (!(option->scopes & (unsigned)scope) || !(option->hosts & (unsigned)host))
            continue;
        char name[USHER_SPELLING_MAX];
        size_t name_length = reduce(option->name, strlen(option->name), name, sizeof name);
        size_t far = distance(wanted, wanted_length, name, name_length);
        if (far > limit)
            continue;
        size_t place = shown < SHOWN_MAX ? shown++ : SHOWN_MAX;
        for (; place > 0 && distances[place - 1] > far; place--)
            if (place < SHOWN_MAX) {
                distances[place] = distances[place - 1];
                close[place] = close[place - 1];
            }
        if (place < SHOWN_MAX) {
            distances[place] = far;
            close[place] = option;
        }
    }
    if (shown == 0) {
        snprintf(text, size, "; docs/options.md lists the options of %s",
                 usher_scope_directive(host, scope));
        return;
    }
    size_t used = (size_t)snprintf(text, size, "; did you mean ");
    for (size_t i = 0; i < shown && used < size; i++) {
        if (i > 0 && distances[0] == 0)
            break; /* spelled otherwise, but no other word */
        char form[USHER_SPELLING_MAX + 16];
        usher_option_form(host, close[i], form, sizeof form);
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "", form);
    }
    if (used < size)
        snprintf(text + used, size - used, "?");
}
