/* SPDX-License-Identifier: Apache-2.0 */
#include "options/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define QUOTED_BYTES 80

static bool is_control(unsigned char byte) {
    return byte < 0x20 || byte == 0x7f;
}

bool usher_text_has_control(const char *text) {
    for (; *text != '\0'; text++)
        if (is_control((unsigned char)*text))
            return true;
    return false;
}

void usher_text_quote(const char *text, size_t length, char *quoted, size_t size) {
    size_t used = length;
    if (used > QUOTED_BYTES) {
        used = QUOTED_BYTES - 3;
        while (used > 0 && ((unsigned char)text[used] & 0xc0) == 0x80)
            used--; /* not inside a UTF-8 character */
    }
    const char *mark = "";
    if (length == 0 || memchr(text, ' ', used) != NULL)
        mark = memchr(text, '"', used) != NULL ? "'" : "\"";
    int written = snprintf(quoted, size, "%s%.*s%s%s", mark, (int)used, text,
                           used < length ? "..." : "", mark);
    size_t end = written < 0 ? 0 : (size_t)written < size ? (size_t)written : size - 1;
    for (size_t i = 0; i < end; i++) {
        unsigned char byte = (unsigned char)quoted[i];
        unsigned char next = (unsigned char)quoted[i + 1];
        if (is_control(byte))
            quoted[i] = '?';
        else if (byte == 0xc2 && next >= 0x80 && next < 0xa0) /* U+0080 … U+009F */
            quoted[i] = quoted[i + 1] = '?';
    }
}

int usher_text_fail(char *error, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (size > 0)
        vsnprintf(error, size, format, arguments);
    va_end(arguments);
    return -1;
}
