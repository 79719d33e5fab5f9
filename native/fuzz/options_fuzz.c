/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any words in any directive of any host: the validator answers with values within their bounds or
 * with one printable line. First byte: scope and host; the rest: words that end with NUL.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "options/options.h"

#define WORDS_MAX 64

static void check_error(const char *error, size_t size) {
    if (memchr(error, '\0', size) == NULL || *error == '\0')
        abort();
    for (; *error != '\0'; error++)
        if ((unsigned char)*error < 0x20 || *error == 0x7f)
            abort();
}

static void check_values(const usher_option_values_t *values) {
    for (size_t i = 0; i < values->count; i++) {
        const usher_option_t *option = values->values[i].option;
        int64_t number = values->values[i].number;
        if ((option->type == USHER_TYPE_COUNT || option->type == USHER_TYPE_TIME ||
             option->type == USHER_TYPE_SIZE) &&
            (number < option->minimum || number > option->maximum))
            abort();
    }
}

static void split(const char *command) {
    char buffer[64], error[64], *words[4];
    int count = usher_command_split(command, buffer, sizeof buffer, words, 4, error, sizeof error);
    if (count < 0)
        check_error(error, sizeof error);
    for (int i = 0; i < count; i++)
        if (words[i] < buffer || words[i] + strlen(words[i]) >= buffer + sizeof buffer)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const usher_scope_t scopes[] = {USHER_SCOPE_STATIC, USHER_SCOPE_EXTERNAL,
                                           USHER_SCOPE_DYNAMIC};
    static const usher_host_t hosts[] = {USHER_HOST_APACHE, USHER_HOST_NGINX, USHER_HOST_USHER};
    usher_option_values_t values;
    char error[512] = "";
    if (size == 0)
        return 0;
    char *text = malloc(size);
    if (text == NULL)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';

    const char *words[WORDS_MAX];
    size_t count = 0;
    for (char *word = text; word < text + size && count < WORDS_MAX; word += strlen(word) + 1)
        words[count++] = word;
    if (usher_options_parse(scopes[data[0] % 3], hosts[data[0] / 3 % 3], words, count, &values,
                            error, sizeof error) == 0)
        check_values(&values);
    else
        check_error(error, sizeof error);
    split(text);
    if (usher_class_name_check(text, error, sizeof error) < 0)
        check_error(error, sizeof error);
    free(text);
    return 0;
}
