/* SPDX-License-Identifier: Apache-2.0 */
/* Text that ends up in a page: numbers, and other people's bytes made harmless. */
#ifndef USHER_STATUS_TEXT_H
#define USHER_STATUS_TEXT_H

#include "status/status.h"

/* Whatever does not fit is left out. */
typedef struct {
    char *at, *end;
} usher_text_t;

void usher_put(usher_text_t *text, const char *string);
void usher_put_number(usher_text_t *text, uint64_t number);
/* A share of one, with three places: "0.250". */
void usher_put_share(usher_text_t *text, uint64_t part, uint64_t whole);
/* µs as ms with three places. */
void usher_put_ms(usher_text_t *text, uint64_t us);

/* Bytes that are no UTF-8 become U+FFFD in the first two. In HTML, control characters too; in JSON they
 * are escaped, as "<" is; in a line of "key: value" they and everything but ASCII become %XX. */
void usher_put_html(usher_text_t *text, const char *bytes, size_t length);
void usher_put_json(usher_text_t *text, const char *bytes, size_t length); /* without quotes */
void usher_put_line(usher_text_t *text, const char *bytes, size_t length);

/* What is shown of a histogram of the channel; times in µs. */
typedef struct {
    uint64_t count;
    uint64_t mean_us, median_us, p99_us; /* of none: 0 */
} usher_times_t;

/* Quantiles lie between the bounds of their bucket, as if its times were spread evenly. */
usher_times_t usher_times_of(const uint64_t histogram[USHER_HISTOGRAM_BUCKETS], uint64_t sum_us);

#endif
