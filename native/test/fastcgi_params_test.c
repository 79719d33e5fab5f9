/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters renamed in place and put before others: in how many records, and what is no request. */
#include <stdlib.h>

#include "fastcgi/params.h"
#include "tap.h"

#define NAME "HTTP_PROXY"
#define OTHER "USHER_DROP"

typedef struct {
    uint8_t bytes[1 << 20];
    size_t length;
} head_t;

static void put(head_t *head, const void *bytes, size_t length) {
    memcpy(head->bytes + head->length, bytes, length);
    head->length += length;
}

static void put_header(head_t *head, uint8_t type, size_t content, uint8_t padding) {
    const uint8_t header[] = {1, type, 0, 1, (uint8_t)(content >> 8), (uint8_t)content, padding, 0};
    put(head, header, sizeof header);
}

/* The parameters, each NAME=VALUE, as one run of bytes; long lengths where they are needed. */
static void put_length(head_t *content, size_t length) {
    const uint8_t four[] = {(uint8_t)(0x80 | length >> 24), (uint8_t)(length >> 16),
                            (uint8_t)(length >> 8), (uint8_t)length};
    put(content, length > 127 ? four : four + 3, length > 127 ? 4 : 1);
}

static void put_param(head_t *content, const char *param) {
    const char *value = strchr(param, '=') + 1;
    size_t name_length = (size_t)(value - 1 - param);
    put_length(content, name_length);
    put_length(content, strlen(value));
    put(content, param, name_length);
    put(content, value, strlen(value));
}

/* A head whose PARAMS records hold at most `room` bytes each, with padding. */
static head_t *build(const char *const *params, size_t room, uint8_t padding) {
    static head_t content, head;
    static const uint8_t begin[8] = {0, 1}, zeros[255];
    content.length = head.length = 0;
    for (; *params != NULL; params++)
        put_param(&content, *params);
    put_header(&head, 1, sizeof begin, 0);
    put(&head, begin, sizeof begin);
    for (size_t at = 0; at < content.length;) {
        size_t piece = content.length - at < room ? content.length - at : room;
        put_header(&head, 4, piece, padding);
        put(&head, content.bytes + at, piece);
        put(&head, zeros, padding);
        at += piece;
    }
    put_header(&head, 4, 0, 0);
    return &head;
}

static int rename_in(head_t *head, const char *const *texts) {
    usher_fastcgi_text_t values[8];
    size_t count = 0;
    for (; texts[count] != NULL; count++)
        values[count] = (usher_fastcgi_text_t){(const uint8_t *)texts[count], strlen(texts[count])};
    return usher_fastcgi_rename(head->bytes, head->length, NAME, OTHER, values, count);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The head becomes, byte for byte, what it would be with `expected` parameters. */
static bool becomes(const char *const *params, const char *const *values,
                    const char *const *expected, int count) {
    static head_t got;
    static const size_t rooms[] = {1, 2, 3, 7, 11, 64, 65535};
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        for (uint8_t padding = 0; padding < 8; padding += 3) {
            got = *build(params, rooms[i], padding);
            int renamed = rename_in(&got, values);
            const head_t *wanted = build(expected, rooms[i], padding);
            if (renamed != count || got.length != wanted->length ||
                memcmp(got.bytes, wanted->bytes, got.length) != 0) {
                printf("# records of %zu bytes, padding %u: %d renamed\n", rooms[i], padding,
                       renamed);
                return false;
            }
        }
    }
    return true;
}

static void test_whose(void) {
    ok(becomes(LIST("A=1", NAME "=evil", "B=2"), LIST("evil"), LIST("A=1", OTHER "=evil", "B=2"),
               1),
       "the client's is renamed, in one record or in many");
    ok(becomes(LIST(NAME "=", "HTTP_HOST=h"), LIST(""), LIST(OTHER "=", "HTTP_HOST=h"), 1),
       "an empty one as well");
    ok(becomes(LIST(NAME "=a", NAME "=b", NAME "=a"), LIST("a", "b", "a"),
               LIST(OTHER "=a", OTHER "=b", OTHER "=a"), 3),
       "every one of several headers");
    ok(becomes(LIST(NAME "=a, b"), LIST("a", "b"), LIST(OTHER "=a, b"), 1),
       "several headers that were joined");
    ok(becomes(LIST(NAME "=http://squid:3128"), LIST("evil"), LIST(NAME "=http://squid:3128"), 0),
       "the administrator's stays");
    ok(becomes(LIST(NAME "=evil2", NAME "=evi"), LIST("evil"), LIST(NAME "=evil2", NAME "=evi"), 0),
       "a value that only begins alike is another one");
    ok(becomes(LIST("HTTP_PROXY_FOO=x", "HTTP_X_PROXY=x", "HTTP_PROXI=x", "X=HTTP_PROXY"),
               LIST("x"),
               LIST("HTTP_PROXY_FOO=x", "HTTP_X_PROXY=x", "HTTP_PROXI=x", "X=HTTP_PROXY"), 0),
       "other names stay");
    char *evil = malloc(60000), *param = malloc(60100);
    memset(evil, 'e', 59999);
    evil[59999] = '\0';
    snprintf(param, 60100, NAME "=%s", evil);
    char *expected = strdup(param);
    memcpy(expected, OTHER, strlen(OTHER));
    ok(becomes(LIST("A=1", param, "B=2"), LIST(evil), LIST("A=1", expected, "B=2"), 1),
       "a value with a length of four bytes");
    free(evil);
    free(param);
    free(expected);
    ok(becomes(LIST("A=1"), LIST("evil"), LIST("A=1"), 0), "none is there");
}

static void test_broken(void) {
    const char *const *params = LIST("A=1", NAME "=evil", "B=2");
    head_t *head = build(params, 9, 2);
    size_t whole = head->length;
    bool refused = true;
    for (size_t length = 0; length < whole; length++) {
        /* exactly as much memory as is told, for the sanitizer */
        uint8_t *bytes = malloc(length > 0 ? length : 1);
        memcpy(bytes, build(params, 9, 2)->bytes, length);
        usher_fastcgi_text_t value = {(const uint8_t *)"evil", 4};
        refused = usher_fastcgi_rename(bytes, length, NAME, OTHER, &value, 1) == -1 && refused;
        free(bytes);
    }
    ok(refused, "a head that is cut anywhere is refused");

    head = build(params, 65535, 0);
    head->bytes[16 + 8] = 0xff; /* a name of 2 GB */
    is_int(rename_in(head, LIST("evil")), -1, "a length beyond the end is refused");
    head = build(params, 65535, 0);
    head->bytes[16 + 1] = 5;
    is_int(rename_in(head, LIST("evil")), -1, "another record than PARAMS is refused");
    head = build(params, 65535, 0);
    head->bytes[0] = 2;
    is_int(rename_in(head, LIST("evil")), -1, "another version is refused");
    head = build(params, 65535, 0);
    usher_fastcgi_text_t value = {(const uint8_t *)"evil", 4};
    is_int(usher_fastcgi_rename(head->bytes, head->length, NAME, "SHORTER", &value, 1), -1,
           "a name of another length is refused");
}

/* Whatever the bytes are, nothing outside of them is touched. */
static void test_noise(void) {
    unsigned state = 1;
    int whole = 0;
    for (int round = 0; round < 20000; round++) {
        head_t *head = build(LIST("A=1", NAME "=evil", "LONGER=value", "B=2"), 1 + state % 40,
                             (uint8_t)(state % 5));
        size_t length = head->length;
        uint8_t *bytes = malloc(length);
        memcpy(bytes, head->bytes, length);
        for (int change = 0; change < 3; change++) {
            state = state * 1103515245u + 12345u;
            bytes[(state >> 8) % length] = (uint8_t)(state >> 24);
        }
        usher_fastcgi_text_t value = {(const uint8_t *)"evil", 4};
        whole += usher_fastcgi_rename(bytes, length, NAME, OTHER, &value, 1) >= 0;
        free(bytes);
    }
    ok(whole > 0 && whole < 20000, "20000 heads with changed bytes: %d could be read", whole);
}

/* ---- insert --------------------------------------------------------------------------------- */

/* The parameters of a head, in order, as NAME=VALUE; or why it is none. */
static const char *read_back(const uint8_t *head, size_t length) {
    static uint8_t content[1 << 20];
    static char text[1 << 20];
    size_t used = 0, at = 16, written = 0;
    text[0] = '\0';
    for (;;) {
        if (at + 8 > length || head[at] != 1 || head[at + 1] != 4 || head[at + 3] != 1)
            return "(no PARAMS record)";
        size_t size = (size_t)(head[at + 4] << 8 | head[at + 5]), padding = head[at + 6];
        if (at + 8 + size + padding > length)
            return "(a record beyond the end)";
        if (size == 0)
            break;
        memcpy(content + used, head + at + 8, size);
        used += size;
        at += 8 + size + padding;
    }
    for (size_t i = 0; i < used;) {
        size_t lengths[2];
        for (int j = 0; j < 2; j++) {
            lengths[j] = content[i++];
            if (lengths[j] & 0x80) {
                lengths[j] = (lengths[j] & 0x7f) << 24 | (size_t)content[i] << 16 |
                             (size_t)content[i + 1] << 8 | content[i + 2];
                i += 3;
            }
        }
        written +=
            (size_t)sprintf(text + written, "%s%.*s=%.*s", written > 0 ? "&" : "", (int)lengths[0],
                            content + i, (int)lengths[1], content + i + lengths[0]);
        i += lengths[0] + lengths[1];
    }
    return text;
}

static usher_fastcgi_param_t param(const char *name, const char *value) {
    return (usher_fastcgi_param_t){name, {(const uint8_t *)value, strlen(value)}};
}

static void test_insert(void) {
    static const char stdin_record[] = "\1\5\0\1\0\2\0\0hi";
    static char program[5000];
    memset(program, 'p', sizeof program - 1);
    program[0] = '/';
    const usher_fastcgi_param_t params[] = {param("USHER_PROGRAM", program),
                                            param("USHER_PREFIX", "")};
    char *wanted = malloc(sizeof program + 100);
    sprintf(wanted, "USHER_PROGRAM=%s&USHER_PREFIX=&A=1&B=", program);
    static const size_t rooms[] = {1, 3, 65535};
    for (size_t i = 0; i < sizeof rooms / sizeof rooms[0]; i++) {
        head_t *head = build(LIST("A=1", "B="), rooms[i], 5);
        put(head, stdin_record, sizeof stdin_record - 1);
        size_t size = usher_fastcgi_insert_size(params, 2), length = head->length + size;
        uint8_t *copy = malloc(length);
        ok(usher_fastcgi_insert(head->bytes, head->length, params, 2, copy),
           "two parameters before those in records of %zu bytes", rooms[i]);
        is_str(read_back(copy, length), wanted, "they come first");
        ok(memcmp(copy, head->bytes, 16) == 0 && size % 8 == 0 &&
               memcmp(copy + 16 + size, head->bytes + 16, head->length - 16) == 0,
           "all else is as it was, and where it was within 8 bytes");
        free(copy);
    }
    free(wanted);

    head_t *head = build(LIST("A=1"), 65535, 0);
    uint8_t copy[200];
    usher_fastcgi_param_t one = param("NAME", "value");
    bool refused = true;
    for (size_t length = 0; length < 16; length++)
        refused = !usher_fastcgi_insert(head->bytes, length, &one, 1, copy) && refused;
    ok(refused, "a BEGIN_REQUEST that is cut anywhere is refused");
    head->bytes[1] = 4;
    ok(!usher_fastcgi_insert(head->bytes, head->length, &one, 1, copy),
       "another record in its place is refused");

    static char longest[65535 - 4 - 1 - 4 + 2];
    memset(longest, 'v', sizeof longest - 2);
    one = param("NAME", longest);
    is_int((long)usher_fastcgi_insert_size(&one, 1), 8 + 65536, "a full record");
    longest[sizeof longest - 2] = 'v';
    one = param("NAME", longest);
    is_int((long)usher_fastcgi_insert_size(&one, 1), 0, "one byte more than a record holds");
    head = build(LIST("A=1"), 65535, 0);
    ok(!usher_fastcgi_insert(head->bytes, head->length, &one, 1, copy), "is refused");
}

int main(void) {
    test_insert();
    test_whose();
    test_broken();
    test_noise();
    return done_testing();
}
