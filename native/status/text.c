/* SPDX-License-Identifier: Apache-2.0 */
#include "status/text.h"

#include <stdio.h>
#include <string.h>

#define ESCAPE_BYTES 16u

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static void put_bytes(usher_text_t *text, const char *bytes, size_t length) {
    if ((size_t)(text->end - text->at) < length) {
        text->end = text->at; /* nothing behind it either */
        return;
    }
    memcpy(text->at, bytes, length);
    text->at += length;
}

void usher_put(usher_text_t *text, const char *string) {
    put_bytes(text, string, strlen(string));
}

void usher_put_number(usher_text_t *text, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    usher_put(text, digits);
}

static void put_thousandths(usher_text_t *text, uint64_t number) {
    char digits[32];
    snprintf(digits, sizeof(digits), "%llu.%03llu", (unsigned long long)(number / 1000),
             (unsigned long long)(number % 1000));
    usher_put(text, digits);
}

void usher_put_share(usher_text_t *text, uint64_t part, uint64_t whole) {
    put_thousandths(text, whole > 0 ? part * 1000 / whole : 0);
}

void usher_put_ms(usher_text_t *text, uint64_t us) {
    put_thousandths(text, us);
}

/* ---- other people's bytes ---------------------------------------------------------------- */

/* One character: its bytes and its number. Bytes that are none count one, and as U+FFFD. */
static size_t next_character(const unsigned char *bytes, size_t length, uint32_t *character) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t first = bytes[0];
    size_t more = first < 0x80                     ? 0
                  : first >= 0xc2 && first <= 0xdf ? 1
                  : first >= 0xe0 && first <= 0xef ? 2
                  : first >= 0xf0 && first <= 0xf4 ? 3
                                                   : length;
    *character = 0xfffd;
    if (more >= length) {
        return 1;
    }
    uint32_t number = more == 0 ? first : first & (0x3fu >> more);
    for (size_t i = 1; i <= more; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 1;
        }
        number = number << 6 | (bytes[i] & 0x3fu);
    }
    if (number < least[more] || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff)) {
        return 1;
    }
    *character = number;
    return more + 1;
}

/* Controls, and what reorders or hides the text beside it. */
static bool is_invisible(uint32_t character) {
    return character < 0x20 || (character >= 0x7f && character <= 0x9f) || character == 0x061c ||
           (character >= 0x200b && character <= 0x200f) ||
           (character >= 0x2028 && character <= 0x202e) ||
           (character >= 0x2060 && character <= 0x206f) || character == 0xfeff;
}

static const char *entity_of(uint32_t character) {
    switch (character) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return is_invisible(character) ? replacement : NULL;
    }
}

static const char *escape_of(uint32_t character, char escape[ESCAPE_BYTES]) {
    if (character != '"' && character != '\\' && character != '<' && character != 0x7f &&
        character >= 0x20) {
        return NULL;
    }
    snprintf(escape, ESCAPE_BYTES, "\\u%04x", character);
    return escape;
}

static void put_characters(usher_text_t *text, const char *bytes, size_t length, bool is_html) {
    for (size_t at = 0; at < length;) {
        char escape[ESCAPE_BYTES];
        uint32_t character;
        size_t width = next_character((const unsigned char *)bytes + at, length - at, &character);
        const char *instead = is_html ? entity_of(character) : escape_of(character, escape);
        if (instead == NULL && character == 0xfffd) {
            instead = replacement;
        }
        if (instead != NULL) {
            usher_put(text, instead);
        } else {
            put_bytes(text, bytes + at, width);
        }
        at += width;
    }
}

void usher_put_html(usher_text_t *text, const char *bytes, size_t length) {
    put_characters(text, bytes, length, true);
}

void usher_put_json(usher_text_t *text, const char *bytes, size_t length) {
    put_characters(text, bytes, length, false);
}

void usher_put_line(usher_text_t *text, const char *bytes, size_t length) {
    for (size_t at = 0; at < length; at++) {
        char escape[ESCAPE_BYTES];
        unsigned char byte = (unsigned char)bytes[at];
        if (byte >= 0x20 && byte < 0x7f && byte != '%') {
            put_bytes(text, bytes + at, 1);
        } else {
            snprintf(escape, sizeof(escape), "%%%02X", byte);
            usher_put(text, escape);
        }
    }
}

/* ---- histograms -------------------------------------------------------------------------- */

/* Bucket b counts [2^b, 2^(b+1)) µs, the first one from 0. Of the last one, which has no end, the
 * quantile is where it begins. */
static uint64_t quantile(const uint64_t histogram[USHER_HISTOGRAM_BUCKETS], double rank) {
    double before = 0;
    for (uint32_t b = 0; b + 1 < USHER_HISTOGRAM_BUCKETS; b++) {
        double in_bucket = (double)histogram[b];
        if (in_bucket > 0 && before + in_bucket >= rank) {
            double from = b == 0 ? 0 : (double)(UINT64_C(1) << b);
            double to = (double)(UINT64_C(1) << (b + 1));
            return (uint64_t)(from + (to - from) * (rank - before) / in_bucket);
        }
        before += in_bucket;
    }
    return UINT64_C(1) << (USHER_HISTOGRAM_BUCKETS - 1);
}

usher_times_t usher_times_of(const uint64_t histogram[USHER_HISTOGRAM_BUCKETS], uint64_t sum_us) {
    usher_times_t times = {.count = 0};
    for (uint32_t b = 0; b < USHER_HISTOGRAM_BUCKETS; b++) {
        times.count += histogram[b];
    }
    if (times.count > 0) {
        times.mean_us = sum_us / times.count;
        times.median_us = quantile(histogram, 0.5 * (double)times.count);
        times.p99_us = quantile(histogram, 0.99 * (double)times.count);
    }
    return times;
}
