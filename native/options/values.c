/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types of options: text to number, and what to say when it is none.
 */
#include "options/values.h"

#include <ctype.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "options/address.h"
#include "options/text.h"

/* ---- numbers ---------------------------------------------------------------------------------- */

typedef struct {
    int64_t whole;
    int64_t fraction; /* numerator … */
    int64_t parts;    /* … and denominator, a power of ten */
    const char *rest; /* behind the digits */
} decimal_t;

/* Digits, and with a point digits behind it. False: no number, or more than an int64_t. */
static bool read_decimal(const char *text, decimal_t *decimal) {
    *decimal = (decimal_t){.parts = 1};
    if (!isdigit((unsigned char)*text))
        return false;
    for (; isdigit((unsigned char)*text); text++)
        if (__builtin_mul_overflow(decimal->whole, 10, &decimal->whole) ||
            __builtin_add_overflow(decimal->whole, *text - '0', &decimal->whole))
            return false;
    if (*text == '.') {
        text++;
        if (!isdigit((unsigned char)*text))
            return false;
        for (; isdigit((unsigned char)*text); text++) {
            if (decimal->parts >= 1000000000)
                return false;
            decimal->parts *= 10;
            decimal->fraction = decimal->fraction * 10 + (*text - '0');
        }
    }
    decimal->rest = text;
    return true;
}

/* decimal × unit; false when it is no whole number or too large. unit ≤ 2^32. */
static bool scale(const decimal_t *decimal, int64_t unit, int64_t *number) {
    int64_t fraction = decimal->fraction * unit;
    if (fraction % decimal->parts != 0)
        return false;
    return !__builtin_mul_overflow(decimal->whole, unit, number) &&
           !__builtin_add_overflow(*number, fraction / decimal->parts, number);
}

static bool read_count(const char *text, int64_t *number) {
    bool negative = *text == '-';
    decimal_t decimal;
    if (!read_decimal(text + negative, &decimal) || decimal.parts != 1 || *decimal.rest != '\0')
        return false;
    *number = negative ? -decimal.whole : decimal.whole;
    return true;
}

typedef struct {
    const char *suffix;
    int64_t factor;
} unit_t;

static bool read_with_unit(const char *text, const unit_t *units, int64_t *number) {
    decimal_t decimal;
    if (!read_decimal(text, &decimal))
        return false;
    for (; units->suffix != NULL; units++)
        if (strcmp(decimal.rest, units->suffix) == 0)
            return scale(&decimal, units->factor, number);
    return false;
}

static const unit_t time_units[] = {{"", 1000},   {"ms", 1},      {"s", 1000},
                                    {"m", 60000}, {"h", 3600000}, {NULL, 0}};

static const unit_t size_units[] = {{"", 1},        {"K", 1 << 10}, {"k", 1 << 10}, {"M", 1 << 20},
                                    {"m", 1 << 20}, {"G", 1 << 30}, {"g", 1 << 30}, {NULL, 0}};

static const unit_t ratio_units[] = {{"", 1000000}, {NULL, 0}};

void usher_time_write(int64_t ms, char *text, size_t size) {
    static const unit_t shown[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
        if (ms != 0 && ms % shown[i].factor == 0) {
            snprintf(text, size, "%lld%s", (long long)(ms / shown[i].factor), shown[i].suffix);
            return;
        }
    snprintf(text, size, "0");
}

/* ---- words ------------------------------------------------------------------------------------ */

static bool is_environment(const char *text) {
    if (!isalpha((unsigned char)*text) && *text != '_')
        return false;
    while (isalnum((unsigned char)*text) || *text == '_')
        text++;
    return *text == '\0' || *text == '=';
}

#define LIMIT_NAMES "nofile, nproc, core, cpu, as, data, fsize, stack, memlock"

static bool is_limit(const char *text) {
    static const char *const names[] = {"nofile", "nproc", "core",  "cpu",    "as",
                                        "data",   "fsize", "stack", "memlock"};
    const char *value = strchr(text, '=');
    int64_t number;
    if (value == NULL)
        return false;
    size_t length = (size_t)(value++ - text);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i]) == length && strncmp(names[i], text, length) == 0)
            return strcmp(value, "unlimited") == 0 || read_with_unit(value, size_units, &number);
    return false;
}

#define SIGNAL_NAMES "TERM, INT, QUIT, HUP, USR1, USR2, WINCH, ABRT, KILL"

static bool read_signal(const char *text, int64_t *number) {
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"TERM", SIGTERM},   {"INT", SIGINT},   {"QUIT", SIGQUIT},
                   {"HUP", SIGHUP},     {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
                   {"WINCH", SIGWINCH}, {"ABRT", SIGABRT}, {"KILL", SIGKILL}};
    if (strncasecmp(text, "SIG", 3) == 0)
        text += 3;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        if (strcasecmp(text, signals[i].name) == 0) {
            *number = signals[i].number;
            return true;
        }
    return false;
}

static bool is_choice(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (const char *choice = choices; *choice != '\0';) {
        size_t choice_length = strcspn(choice, " ");
        if (choice_length == length && length > 0 && strncasecmp(choice, text, length) == 0)
            return true;
        choice += choice_length;
        choice += *choice == ' ';
    }
    return false;
}

static int check_command(const char *text, char *expected, size_t size) {
    enum { WORDS_MAX = 256 };
    char buffer[USHER_VALUE_MAX], why[128];
    char *words[WORDS_MAX];
    if (usher_command_split(text, buffer, sizeof buffer, words, WORDS_MAX, why, sizeof why) < 0)
        return usher_text_fail(expected, size, "%s", why);
    const char *program = words[0];
    if (*program == '\0' || (*program != '/' && strchr(program, '/') != NULL))
        return usher_text_fail(expected, size,
                               "the program must be an absolute path or a plain name that is "
                               "looked for in /usr/local/bin:/usr/bin:/bin");
    return 0;
}

/* ---- one value -------------------------------------------------------------------------------- */

static int within(const usher_option_t *option, int64_t number) {
    return number >= option->minimum && number <= option->maximum;
}

int usher_value_parse(const usher_option_t *option, const char *text, int64_t *number,
                      char *expected, size_t size) {
    *number = 0;
    size_t length = strlen(text);
    if (length >= USHER_VALUE_MAX)
        return usher_text_fail(expected, size, "%zu bytes long, at most %d are allowed", length,
                               USHER_VALUE_MAX - 1);
    if (usher_text_has_control(text))
        return usher_text_fail(expected, size, "control characters are not allowed");

    switch (option->type) {
    case USHER_TYPE_FLAG:
        *number = 1;
        return 0;
    case USHER_TYPE_COUNT:
        if (read_count(text, number) && within(option, *number))
            return 0;
        return usher_text_fail(expected, size, "expected a whole number from %lld to %lld",
                               (long long)option->minimum, (long long)option->maximum);
    case USHER_TYPE_TIME: {
        if (read_with_unit(text, time_units, number) && within(option, *number))
            return 0;
        char low[24], high[24];
        usher_time_write(option->minimum, low, sizeof low);
        usher_time_write(option->maximum, high, sizeof high);
        return usher_text_fail(expected, size,
                               "expected a time from %s to %s: seconds such as 5 or 0.25, or with "
                               "a unit: 500ms, 30s, 2m, 1h",
                               low, high);
    }
    case USHER_TYPE_SIZE:
        if (read_with_unit(text, size_units, number) && within(option, *number))
            return 0;
        return usher_text_fail(expected, size,
                               "expected a size from %lld to %lld bytes: bytes, or with K, M or G",
                               (long long)option->minimum, (long long)option->maximum);
    case USHER_TYPE_RATIO:
        if (read_with_unit(text, ratio_units, number) && within(option, *number))
            return 0;
        return usher_text_fail(expected, size,
                               "expected a number from 0 to 1 with at most 6 decimals");
    case USHER_TYPE_TEXT:
        return length > 0 ? 0 : usher_text_fail(expected, size, "must not be empty");
    case USHER_TYPE_PATH:
        if (*text == '/' && length < PATH_MAX)
            return 0;
        return usher_text_fail(expected, size, "expected an absolute path shorter than %d bytes",
                               PATH_MAX);
    case USHER_TYPE_COMMAND:
        return check_command(text, expected, size);
    case USHER_TYPE_ENV:
        if (is_environment(text))
            return 0;
        return usher_text_fail(expected, size,
                               "expected NAME=value, NAME= or NAME; a name consists of letters, "
                               "digits and _ and does not begin with a digit");
    case USHER_TYPE_HOST:
        return usher_host_check(text, expected, size);
    case USHER_TYPE_LISTEN:
        if (usher_is_listen(text))
            return 0;
        return usher_text_fail(expected, size,
                               "expected a port from 1 to 65535 (every interface), address:port or "
                               "[IPv6 address]:port");
    case USHER_TYPE_LIMIT:
        if (is_limit(text))
            return 0;
        return usher_text_fail(
            expected, size, "expected NAME=NUMBER or NAME=unlimited with a NAME of " LIMIT_NAMES);
    case USHER_TYPE_SIGNAL:
        if (read_signal(text, number))
            return 0;
        return usher_text_fail(expected, size, "expected one of " SIGNAL_NAMES);
    case USHER_TYPE_CHOICE:
        if (is_choice(option->choices, text))
            return 0;
        return usher_text_fail(expected, size, "expected one of: %s", option->choices);
    }
    return usher_text_fail(expected, size, "has a type this version does not know");
}
