/* SPDX-License-Identifier: Apache-2.0 */
#include "fastcgi/params.h"

#include <stdbool.h>
#include <string.h>

enum { VERSION = 1, BEGIN_REQUEST = 1, PARAMS = 4, HEADER_BYTES = 8 };

/* ---- the bytes of all PARAMS records, one after the other ----------------------------------- */

typedef struct {
    uint8_t *at, *content_end; /* of the open record */
    uint8_t *next, *end;       /* the record behind it; the end of all */
    bool is_whole;             /* the empty PARAMS record was reached */
} cursor_t;

/* Open the record at `next`, of this type; false when there is none, or not all of it. */
static bool open_record(cursor_t *cursor, uint8_t type) {
    const uint8_t *header = cursor->next;
    if (cursor->end - cursor->next < HEADER_BYTES || header[0] != VERSION || header[1] != type)
        return false;
    ptrdiff_t content = header[4] << 8 | header[5], padding = header[6];
    if (cursor->end - cursor->next - HEADER_BYTES < content + padding)
        return false;
    cursor->at = cursor->next + HEADER_BYTES;
    cursor->content_end = cursor->at + content;
    cursor->next = cursor->content_end + padding;
    return true;
}

/* The next byte, in whichever record; NULL: there is no more. */
static uint8_t *step(cursor_t *cursor) {
    if (cursor->at == cursor->content_end) {
        if (cursor->is_whole || !open_record(cursor, PARAMS))
            return NULL;
        cursor->is_whole = cursor->at == cursor->content_end;
        if (cursor->is_whole)
            return NULL;
    }
    return cursor->at++;
}

static bool skip(cursor_t *cursor, size_t count) {
    while (count > 0) {
        if (step(cursor) == NULL)
            return false;
        size_t left = (size_t)(cursor->content_end - cursor->at);
        size_t piece = --count < left ? count : left;
        cursor->at += piece;
        count -= piece;
    }
    return true;
}

static bool read_length(cursor_t *cursor, size_t *length) {
    const uint8_t *byte = step(cursor);
    if (byte == NULL)
        return false;
    *length = *byte;
    if ((*byte & 0x80) == 0)
        return true;
    *length &= 0x7f;
    for (int i = 0; i < 3; i++) {
        if ((byte = step(cursor)) == NULL)
            return false;
        *length = *length << 8 | *byte;
    }
    return true;
}

/* ---- names and values ----------------------------------------------------------------------- */

/* Both move on over what is equal. */
static bool starts_with(cursor_t *cursor, const uint8_t *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        const uint8_t *byte = step(cursor);
        if (byte == NULL || *byte != bytes[i])
            return false;
    }
    return true;
}

static bool is_one(cursor_t cursor, size_t length, const usher_fastcgi_text_t *value) {
    return length == value->length && starts_with(&cursor, value->bytes, length);
}

static bool is_all(cursor_t cursor, size_t length, const usher_fastcgi_text_t *values,
                   size_t count) {
    static const uint8_t joint[] = {',', ' '};
    for (size_t i = 0; i < count; i++) {
        size_t before = i > 0 ? sizeof joint : 0;
        if (length < before + values[i].length || !starts_with(&cursor, joint, before) ||
            !starts_with(&cursor, values[i].bytes, values[i].length))
            return false;
        length -= before + values[i].length;
    }
    return length == 0;
}

static void write_over(cursor_t cursor, const char *text) {
    for (; *text != '\0'; text++)
        *step(&cursor) = (uint8_t)*text;
}

int usher_fastcgi_rename(uint8_t *head, size_t length, const char *name, const char *other,
                         const usher_fastcgi_text_t *values, size_t count) {
    cursor_t cursor = {.next = head, .end = head + length};
    size_t wanted = strlen(name), used = 0;
    int renamed = 0;
    if (strlen(other) != wanted || !open_record(&cursor, BEGIN_REQUEST))
        return -1;
    cursor.at = cursor.content_end;
    for (;;) {
        size_t name_length, value_length;
        if (!read_length(&cursor, &name_length))
            return cursor.is_whole ? renamed : -1;
        if (!read_length(&cursor, &value_length))
            return -1;
        cursor_t name_at = cursor, compared = cursor;
        if (!skip(&cursor, name_length))
            return -1;
        cursor_t value_at = cursor;
        if (!skip(&cursor, value_length))
            return -1;
        if (name_length != wanted || !starts_with(&compared, (const uint8_t *)name, wanted))
            continue;
        bool is_next = used < count && is_one(value_at, value_length, &values[used]);
        if (!is_next && !is_all(value_at, value_length, values, count))
            continue;
        used += is_next;
        write_over(name_at, other);
        renamed++;
    }
}
