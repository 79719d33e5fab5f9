/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a web server writes into its registration: whatever the words are, a line of it is one line,
 * and reads back as the same words. Lines of the input are directives, their words end with 0x01.
 */
#include "input.h"
#include "registration/dialect.h"

#define WORDS_MAX 16

/* As docs say that the dialect is read: blanks between words, "…" with \" and \\ inside. */
static const char *read_word(const char *at, char *word) {
    while (*at == ' ')
        at++;
    bool is_quoted = *at == '"';
    at += is_quoted;
    while (*at != '\n' && (is_quoted ? *at != '"' : *at != ' ')) {
        at += *at == '\\';
        *word++ = *at++;
    }
    CLAIM(!is_quoted || *at == '"');
    *word = '\0';
    return at + is_quoted;
}

static void check_line(const char *line, const char *end, const char *const *words, size_t count) {
    char *word = malloc((size_t)(end - line) + 1);
    CLAIM(line < end && end[-1] == '\n' && memchr(line, '\n', (size_t)(end - line)) == end - 1);
    CLAIM(count == 0 || *line != '#');
    for (size_t i = 0; i < count; i++) {
        line = read_word(line, word);
        CLAIM(strcmp(word, words[i]) == 0);
    }
    CLAIM(line == end - 1);
    free(word);
}

static void add_line(usher_dialect_t *dialect, char *text) {
    const char *words[WORDS_MAX];
    size_t count = 0;
    usher_error_t error = {0};
    for (char *rest = text, *word; count < WORDS_MAX && (word = strsep(&rest, "\1")) != NULL;)
        words[count++] = word;
    size_t before = dialect->length;
    usher_status_t status = usher_dialect_line(dialect, words, count, &error);
    if (status == USHER_OK)
        check_line(dialect->bytes + before, dialect->bytes + dialect->length, words, count);
    else
        CLAIM(status == USHER_INVALID && dialect->length == before && error.text[0] != '\0');
}

static void add_comment(usher_dialect_t *dialect, const char *source) {
    usher_error_t error = {0};
    size_t before = dialect->length;
    CLAIM(usher_dialect_comment(dialect, source, &error) == USHER_OK);
    const char *line = dialect->bytes + before, *end = dialect->bytes + dialect->length;
    CLAIM(*line == '#' && memchr(line, '\n', (size_t)(end - line)) == end - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    usher_dialect_t dialect = {0};
    input_t input = {data, data + size};
    char *text = input_text(&input);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        add_comment(&dialect, line);
        add_line(&dialect, line);
    }
    free(text);
    usher_dialect_free(&dialect);
    return 0;
}
