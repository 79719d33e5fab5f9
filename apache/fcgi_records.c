/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi_records.h"

#include "httpd.h"
#include "util_fcgi.h"

#include <string.h>

/* ---- to the program ---------------------------------------------------- */

char *usher_fcgi_put_header(char *at, int type, apr_size_t content)
{
    ap_fcgi_header header;

    ap_fcgi_fill_in_header(&header, (unsigned char)type, USHER_FCGI_REQUEST_ID,
                           (apr_uint16_t)content, 0);
    ap_fcgi_header_to_array(&header, (unsigned char *)at);
    return at + USHER_FCGI_HEADER;
}

/* PARAMS under construction: `record` is where the open record's header will stand. */
typedef struct {
    char *record;
    char *at;
} params;

static apr_size_t record_length(const params *ps)
{
    return (apr_size_t)(ps->at - ps->record) - USHER_FCGI_HEADER;
}

static void next_record(params *ps)
{
    if (record_length(ps) > 0) {
        usher_fcgi_put_header(ps->record, AP_FCGI_PARAMS, record_length(ps));
        ps->record = ps->at;
        ps->at += USHER_FCGI_HEADER;
    }
}

static void put_bytes(params *ps, const char *bytes, apr_size_t length)
{
    while (length > 0) {
        apr_size_t room = USHER_FCGI_CONTENT - record_length(ps);
        apr_size_t piece = length < room ? length : room;

        memcpy(ps->at, bytes, piece);
        ps->at += piece;
        bytes += piece;
        length -= piece;
        if (piece == room) {
            next_record(ps);
        }
    }
}

static apr_size_t length_size(apr_size_t length)
{
    return length > 127 ? 4 : 1;
}

static char *put_length(char *at, apr_size_t length)
{
    if (length > 127) {
        *at++ = (char)(0x80 | (length >> 24));
        *at++ = (char)(length >> 16);
        *at++ = (char)(length >> 8);
    }
    *at++ = (char)length;
    return at;
}

static void put_pair(params *ps, const char *name, const char *value)
{
    apr_size_t name_length = strlen(name);
    apr_size_t value_length = strlen(value);
    char lengths[8];
    char *end = put_length(put_length(lengths, name_length), value_length);
    apr_size_t pair = (apr_size_t)(end - lengths) + name_length + value_length;

    if (record_length(ps) + pair > USHER_FCGI_CONTENT) {
        next_record(ps);
    }
    put_bytes(ps, lengths, (apr_size_t)(end - lengths));
    put_bytes(ps, name, name_length);
    put_bytes(ps, value, value_length);
}

/* No more bytes than usher_fcgi_head will write. */
static apr_size_t head_room(const apr_table_entry_t *elts, int count)
{
    apr_size_t pairs = 0;
    apr_size_t headers = 6; /* BEGIN_REQUEST and its body, first and last PARAMS, one to come */
    int i;

    for (i = 0; i < count; i++) {
        if (elts[i].key && elts[i].val) {
            apr_size_t name_length = strlen(elts[i].key);
            apr_size_t value_length = strlen(elts[i].val);

            pairs +=
                length_size(name_length) + length_size(value_length) + name_length + value_length;
            headers++;
        }
    }
    headers += pairs / USHER_FCGI_CONTENT;
    return pairs + headers * USHER_FCGI_HEADER;
}

char *usher_fcgi_head(apr_pool_t *p, apr_table_t *env, int role, apr_size_t *length)
{
    const apr_array_header_t *array = apr_table_elts(env);
    const apr_table_entry_t *elts = (const apr_table_entry_t *)array->elts;
    char *head = apr_palloc(p, head_room(elts, array->nelts));
    ap_fcgi_begin_request_body begin;
    params ps;
    int i;

    ps.at = usher_fcgi_put_header(head, AP_FCGI_BEGIN_REQUEST, sizeof(begin));
    ap_fcgi_fill_in_request_body(&begin, role, 0);
    ap_fcgi_begin_request_body_to_array(&begin, (unsigned char *)ps.at);
    ps.at += sizeof(begin);

    ps.record = ps.at;
    ps.at += USHER_FCGI_HEADER;
    for (i = 0; i < array->nelts; i++) {
        if (elts[i].key && elts[i].val) {
            put_pair(&ps, elts[i].key, elts[i].val);
        }
    }
    next_record(&ps);
    usher_fcgi_put_header(ps.record, AP_FCGI_PARAMS, 0);

    *length = (apr_size_t)(ps.at - head);
    return head;
}

void usher_fcgi_set_keep(char *head, int keep)
{
    head[USHER_FCGI_HEADER + 2] = (char)(keep ? AP_FCGI_KEEP_CONN : 0);
}

/* ---- from the program -------------------------------------------------- */

void usher_fcgi_reader_init(usher_fcgi_reader *reader)
{
    memset(reader, 0, sizeof(*reader));
    reader->state = USHER_FCGI_IN_HEADER;
}

static usher_fcgi_event fail(usher_fcgi_reader *reader, const char *why)
{
    reader->broken = why;
    return USHER_FCGI_BROKEN;
}

/* Copy into a buffer of `size` bytes that holds `reader->have`; true when it is full. */
static int collect(usher_fcgi_reader *reader, unsigned char *buffer, apr_size_t size,
                   const char **in, apr_size_t *left)
{
    apr_size_t piece = size - reader->have;

    if (piece > *left) {
        piece = *left;
    }
    memcpy(buffer + reader->have, *in, piece);
    reader->have += piece;
    *in += piece;
    *left -= piece;
    return reader->have == size;
}

static usher_fcgi_event open_record(usher_fcgi_reader *reader)
{
    unsigned char version, type, padding;
    apr_uint16_t id, content;

    ap_fcgi_header_fields_from_array(&version, &type, &id, &content, &padding, reader->header);
    reader->have = 0;
    reader->state = USHER_FCGI_IN_CONTENT;
    reader->type = type;
    reader->content_left = content;
    reader->padding_left = padding;

    if (version != AP_FCGI_VERSION_1) {
        return fail(reader, "a record of another version than 1: is this FastCGI?");
    }
    if (type != AP_FCGI_STDOUT && type != AP_FCGI_STDERR && type != AP_FCGI_END_REQUEST) {
        reader->type = 0; /* of no concern here: skipped */
        return USHER_FCGI_MORE;
    }
    if (id != USHER_FCGI_REQUEST_ID) {
        return fail(reader, "a record of a request that was never made");
    }
    if (type == AP_FCGI_END_REQUEST && content != sizeof(reader->end)) {
        return fail(reader, "an END_REQUEST record of a wrong length");
    }
    if (type == AP_FCGI_STDOUT && content == 0) {
        return USHER_FCGI_OUT_END;
    }
    return USHER_FCGI_MORE;
}

static usher_fcgi_event end_request(usher_fcgi_reader *reader)
{
    const unsigned char *end = reader->end;

    reader->app_status = (apr_uint32_t)end[0] << 24 | (apr_uint32_t)end[1] << 16
                         | (apr_uint32_t)end[2] << 8 | end[3];
    reader->protocol_status = end[4];
    return USHER_FCGI_END;
}

/* The longest piece of the content that the input holds. */
static apr_size_t take(apr_size_t *wanted, const char **in, apr_size_t *left)
{
    apr_size_t piece = *wanted < *left ? *wanted : *left;

    *wanted -= piece;
    *in += piece;
    *left -= piece;
    return piece;
}

usher_fcgi_event usher_fcgi_read(usher_fcgi_reader *reader, const char **in, apr_size_t *left,
                                 const char **data, apr_size_t *length)
{
    usher_fcgi_event event;

    if (reader->broken) {
        return USHER_FCGI_BROKEN;
    }
    for (;;) {
        switch (reader->state) {
        case USHER_FCGI_IN_HEADER:
            if (!collect(reader, reader->header, sizeof(reader->header), in, left)) {
                return USHER_FCGI_MORE;
            }
            if ((event = open_record(reader)) != USHER_FCGI_MORE) {
                return event;
            }
            break;

        case USHER_FCGI_IN_CONTENT:
            if (reader->content_left == 0) {
                reader->state = USHER_FCGI_IN_PADDING;
                break;
            }
            if (*left == 0) {
                return USHER_FCGI_MORE;
            }
            if (reader->type == AP_FCGI_END_REQUEST) {
                if (!collect(reader, reader->end, sizeof(reader->end), in, left)) {
                    return USHER_FCGI_MORE;
                }
                reader->have = 0;
                reader->content_left = 0;
                return end_request(reader);
            }
            *data = *in;
            *length = take(&reader->content_left, in, left);
            if (reader->type == AP_FCGI_STDOUT) {
                return USHER_FCGI_OUT;
            }
            if (reader->type == AP_FCGI_STDERR) {
                return USHER_FCGI_ERR;
            }
            break;

        case USHER_FCGI_IN_PADDING:
            take(&reader->padding_left, in, left);
            if (reader->padding_left > 0) {
                return USHER_FCGI_MORE;
            }
            reader->state = USHER_FCGI_IN_HEADER;
            break;
        }
    }
}
