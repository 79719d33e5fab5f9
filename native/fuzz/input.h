/* SPDX-License-Identifier: Apache-2.0 */
/* An input as a list of decisions: what is asked for beyond its end is 0. */
#ifndef USHER_FUZZ_INPUT_H
#define USHER_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const uint8_t *at, *end;
} input_t;

static inline size_t input_left(const input_t *input) {
    return (size_t)(input->end - input->at);
}

static inline uint8_t input_byte(input_t *input) {
    return input->at < input->end ? *input->at++ : 0;
}

/* `bytes` of them, little-endian; at most 8. */
static inline uint64_t input_number(input_t *input, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)input_byte(input) << (8 * i);
    return value;
}

/* At most `wanted` bytes of the input itself; says how many. */
static inline size_t input_bytes(input_t *input, size_t wanted, const uint8_t **bytes) {
    size_t length = wanted < input_left(input) ? wanted : input_left(input);
    *bytes = input->at;
    input->at += length;
    return length;
}

/* All that is left, as text: it ends at its first NUL. To be freed. */
static inline char *input_text(const input_t *input) {
    size_t length = input_left(input);
    char *text = malloc(length + 1);
    memcpy(text, input->at, length);
    text[length] = '\0';
    return text;
}

/* A claim about the code under test that must hold for every input. */
#define CLAIM(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***words);

#endif
