/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters renamed in place: whose, in how many records, and what is no request at all. */
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

int main(void) {
    test_whose();
    test_broken();
    test_noise();
    return done_testing();
}
