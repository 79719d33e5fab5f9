/* SPDX-License-Identifier: Apache-2.0 */
#include "fastcgi/params.h"

#include <string.h>

enum { VERSION = 1, BEGIN_REQUEST = 1, PARAMS = 4, HEADER_BYTES = 8, CONTENT_MAX = 65535 };

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

/* ---- more of them --------------------------------------------------------------------------- */

static size_t length_bytes(size_t length) {
    return length > 127 ? 4 : 1;
}

static size_t content_bytes(const usher_fastcgi_param_t *params, size_t count) {
    size_t content = 0;
    for (size_t i = 0; i < count; i++) {
        size_t name = strlen(params[i].name), value = params[i].value.length;
        if (name > CONTENT_MAX || value > CONTENT_MAX)
            return SIZE_MAX;
        content += length_bytes(name) + length_bytes(value) + name + value;
        if (content > CONTENT_MAX)
            return SIZE_MAX;
    }
    return content;
}

/* Records that begin at multiples of 8 bytes stay there. */
static size_t padding_bytes(size_t content) {
    return (8 - content % 8) % 8;
}

size_t usher_fastcgi_insert_size(const usher_fastcgi_param_t *params, size_t count) {
    size_t content = content_bytes(params, count);
    return content == SIZE_MAX ? 0 : HEADER_BYTES + content + padding_bytes(content);
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t length) {
    if (length > 0)
        memcpy(at, bytes, length);
    return at + length;
}

static uint8_t *put_length(uint8_t *at, size_t length) {
    if (length > 127) {
        *at++ = (uint8_t)(0x80 | length >> 24);
        *at++ = (uint8_t)(length >> 16);
        *at++ = (uint8_t)(length >> 8);
    }
    *at++ = (uint8_t)length;
    return at;
}

bool usher_fastcgi_insert(const uint8_t *head, size_t length, const usher_fastcgi_param_t *params,
                          size_t count, uint8_t *copy) {
    cursor_t cursor = {.next = (uint8_t *)head, .end = (uint8_t *)head + length};
    size_t content = content_bytes(params, count);
    if (content == SIZE_MAX || !open_record(&cursor, BEGIN_REQUEST))
        return false;
    size_t begin = (size_t)(cursor.next - head);
    uint8_t *at = put_bytes(copy, head, begin);
    const uint8_t header[HEADER_BYTES] = {VERSION,
                                          PARAMS,
                                          head[2],
                                          head[3],
                                          (uint8_t)(content >> 8),
                                          (uint8_t)content,
                                          (uint8_t)padding_bytes(content)};
    at = put_bytes(at, header, sizeof header);
    for (size_t i = 0; i < count; i++) {
        size_t name = strlen(params[i].name);
        at = put_length(put_length(at, name), params[i].value.length);
        at = put_bytes(put_bytes(at, params[i].name, name), params[i].value.bytes,
                       params[i].value.length);
    }
    memset(at, 0, padding_bytes(content));
    put_bytes(at + padding_bytes(content), head + begin, length - begin);
    return true;
}
