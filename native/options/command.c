/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COMMAND values: words as a shell would split them, without a shell. An unquoted backslash keeps
 * the next character; inside "…" it does so only before " \ $ and `.
 */
#include <stdbool.h>
#include <string.h>

#include "options/options.h"
#include "options/text.h"

typedef struct {
    char *at, *end;
} output_t;

static bool put(output_t *output, char byte) {
    if (output->at == output->end)
        return false;
    *output->at++ = byte;
    return true;
}

int usher_command_split(const char *command, char *buffer, size_t buffer_size, char **words,
                        size_t words_max, char *error, size_t error_size) {
    output_t output = {buffer, buffer + buffer_size};
    const char *in = command;
    size_t count = 0;
    bool fits = true;
    for (;;) {
        in += strspn(in, " \t");
        if (*in == '\0')
            break;
        if (count == words_max)
            return usher_text_fail(error, error_size, "has more than %zu words", words_max);
        words[count++] = output.at;
        char quote = '\0'; /* inside '…' or "…" */
        for (; *in != '\0'; in++) {
            if (quote == '\0' && (*in == ' ' || *in == '\t'))
                break;
            if (quote == '\0' && (*in == '\'' || *in == '"')) {
                quote = *in;
            } else if (quote != '\0' && *in == quote) {
                quote = '\0';
            } else if (*in == '\\' && quote != '\'') {
                if (in[1] == '\0' && quote == '\0')
                    return usher_text_fail(error, error_size, "ends with a single backslash");
                if (quote == '\0' || (in[1] != '\0' && strchr("\"\\$`", in[1]) != NULL))
                    in++;
                fits = put(&output, *in) && fits;
            } else {
                fits = put(&output, *in) && fits;
            }
        }
        if (quote != '\0')
            return usher_text_fail(error, error_size,
                                   "the quotation that begins with %c has no end", quote);
        fits = put(&output, '\0') && fits;
    }
    if (!fits)
        return usher_text_fail(error, error_size, "is longer than %zu bytes", buffer_size);
    if (count == 0)
        return usher_text_fail(error, error_size, "names no program");
    return (int)count;
}
