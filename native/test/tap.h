/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TAP for the C tests: each assertion prints one line, done_testing() the plan; main returns what
 * it returns.
 */
#ifndef USHER_TEST_TAP_H
#define USHER_TEST_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count, tap_failures;

__attribute__((unused, format(printf, 3, 0))) static bool
tap_report(bool passed, const char *place, const char *format, va_list arguments) {
    printf("%sok %d - ", passed ? "" : "not ", ++tap_count);
    vprintf(format, arguments);
    printf("\n");
    if (!passed) {
        tap_failures++;
        printf("# failed at %s\n", place);
    }
    fflush(stdout);
    return passed;
}

__attribute__((unused, format(printf, 3, 4))) static bool tap_ok(bool passed, const char *place,
                                                                 const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    tap_report(passed, place, format, arguments);
    va_end(arguments);
    return passed;
}

__attribute__((unused, format(printf, 4, 5))) static bool
tap_is_str(const char *got, const char *expected, const char *place, const char *format, ...) {
    bool same = got == expected || (got != NULL && expected != NULL && strcmp(got, expected) == 0);
    va_list arguments;
    va_start(arguments, format);
    tap_report(same, place, format, arguments);
    va_end(arguments);
    if (!same)
        printf("#      got: %s\n# expected: %s\n", got ? got : "NULL",
               expected ? expected : "NULL");
    return same;
}

__attribute__((unused, format(printf, 4, 5))) static bool
tap_is_int(long long got, long long expected, const char *place, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    tap_report(got == expected, place, format, arguments);
    va_end(arguments);
    if (got != expected)
        printf("#      got: %lld\n# expected: %lld\n", got, expected);
    return got == expected;
}

#define TAP_TEXT(value) #value
#define TAP_PLACE_OF(file, line) file ":" TAP_TEXT(line)
#define TAP_PLACE TAP_PLACE_OF(__FILE__, __LINE__)

/* ok(condition, "sentence with %d", value), and so on; each gives whether it passed. */
#define ok(condition, ...) tap_ok((condition), TAP_PLACE, __VA_ARGS__)
#define is_str(got, expected, ...) tap_is_str((got), (expected), TAP_PLACE, __VA_ARGS__)
#define is_int(got, expected, ...) \
    tap_is_int((long long)(got), (long long)(expected), TAP_PLACE, __VA_ARGS__)
#define skip(count, why)                                      \
    for (int tap_skips = (count); tap_skips > 0; tap_skips--) \
    printf("ok %d # SKIP %s\n", ++tap_count, (why))

__attribute__((unused)) static int done_testing(void) {
    printf("1..%d\n", tap_count);
    return tap_failures > 0;
}

#endif
