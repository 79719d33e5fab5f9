/* SPDX-License-Identifier: Apache-2.0 */
#include "registration/dialect.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "registration/failure.h"

static bool is_control(char byte) {
    return (unsigned char)byte < 0x20 || byte == 0x7f;
}

static bool has_control(const char *text) {
    for (; *text != '\0'; text++)
        if (is_control(*text))
            return true;
    return false;
}

static usher_status_t reserve(usher_dialect_t *dialect, size_t more, usher_error_t *error) {
    if (more > USHER_DIALECT_BYTES_MAX - dialect->length)
        return usher_registration_fail(error, USHER_FULL, "the registration has more than %u bytes",
                                       USHER_DIALECT_BYTES_MAX);
    size_t needed = dialect->length + more, capacity = dialect->capacity;
    if (needed <= capacity)
        return USHER_OK;
    for (capacity = capacity > 0 ? capacity : 4096; capacity < needed;)
        capacity *= 2;
    char *bytes = realloc(dialect->bytes, capacity);
    if (bytes == NULL)
        return usher_registration_fail_errno(error, "no memory for the registration");
    dialect->bytes = bytes;
    dialect->capacity = capacity;
    return USHER_OK;
}

static void put(usher_dialect_t *dialect, char byte) {
    dialect->bytes[dialect->length++] = byte;
}

static bool is_plain(const char *word) {
    if (*word == '\0')
        return false;
    for (; *word != '\0'; word++)
        if (!isalnum((unsigned char)*word) && strchr("/._-+:=@%,", *word) == NULL)
            return false;
    return true;
}

static void put_word(usher_dialect_t *dialect, const char *word) {
    bool quoted = !is_plain(word);
    if (quoted)
        put(dialect, '"');
    for (; *word != '\0'; word++) {
        if (*word == '"' || *word == '\\')
            put(dialect, '\\');
        put(dialect, *word);
    }
    if (quoted)
        put(dialect, '"');
}

usher_status_t usher_dialect_comment(usher_dialect_t *dialect, const char *source,
                                     usher_error_t *error) {
    static const char head[] = "# at ";
    usher_status_t status = reserve(dialect, sizeof head + strlen(source) + 1, error);
    if (status != USHER_OK)
        return status;
    for (const char *byte = head; *byte != '\0'; byte++)
        put(dialect, *byte);
    for (; *source != '\0'; source++)
        put(dialect, is_control(*source) ? '?' : *source);
    put(dialect, '\n');
    return USHER_OK;
}

usher_status_t usher_dialect_line(usher_dialect_t *dialect, const char *const *words, size_t count,
                                  usher_error_t *error) {
    size_t most = 0;
    for (size_t i = 0; i < count; i++) {
        if (has_control(words[i]))
            return usher_registration_fail(
                error, USHER_INVALID, "%.40s: word %zu holds a control character (newline, tab …)",
                i > 0 ? words[0] : "directive", i + 1);
        most += 2 * strlen(words[i]) + 3; /* all escaped, quotes, separator */
    }
    usher_status_t status = reserve(dialect, most, error);
    if (status != USHER_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        put_word(dialect, words[i]);
        put(dialect, i + 1 < count ? ' ' : '\n');
    }
    return USHER_OK;
}

void usher_dialect_free(usher_dialect_t *dialect) {
    free(dialect->bytes);
    *dialect = (usher_dialect_t){0};
}
