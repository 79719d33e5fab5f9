/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program sends to Apache, in pieces of any size: it is told to be an answer or refused, and
 * the client never gets more body than the program sent. First byte: kind of answer, and whether what
 * follows is FastCGI or only what the records hold; second: size of the pieces.
 */
#include "mod_usher.h"

#include "fcgi_records.h"
#include "httpd_parts.h"
#include "input.h"

#include "util_script.h"

/* Reading the records of all of it at once must tell the same. */
typedef struct {
    apr_uint32_t hash;
    apr_off_t out;
    usher_fcgi_event last;
} records;

static records read_records(const char *bytes, apr_size_t size, apr_size_t pieces) {
    records told = {5381, 0, USHER_FCGI_MORE};
    usher_fcgi_reader reader;

    usher_fcgi_reader_init(&reader);
    while (size > 0) {
        apr_size_t left = size < pieces ? size : pieces;
        apr_size_t piece = left;
        char *copy = malloc(piece); /* so that its end is guarded */
        const char *in = copy, *data;
        apr_size_t length, i;

        memcpy(copy, bytes, piece);
        do {
            told.last = usher_fcgi_read(&reader, &in, &left, &data, &length);
            if (told.last == USHER_FCGI_OUT || told.last == USHER_FCGI_ERR) {
                CLAIM(length > 0 && data >= copy && data + length <= copy + piece);
                for (i = 0; i < length; i++) {
                    told.hash = told.hash * 33 + (unsigned char)data[i] + (apr_uint32_t)told.last;
                }
                told.out += told.last == USHER_FCGI_OUT ? (apr_off_t)length : 0;
            }
            CLAIM(left <= piece && in == copy + piece - left);
        } while (told.last != USHER_FCGI_MORE && told.last != USHER_FCGI_END &&
                 told.last != USHER_FCGI_BROKEN);
        free(copy);
        if (told.last != USHER_FCGI_MORE) {
            CLAIM(told.last != USHER_FCGI_BROKEN || reader.broken != NULL);
            break;
        }
        bytes += piece;
        size -= piece;
    }
    return told;
}

/* As usher_client_run does with them. OK, or what ends the call. */
static int take_piece(usher_fcgi_reader *reader, usher_answer *answer, const char *in,
                      apr_size_t left, int *has_ended) {
    const char *data;
    apr_size_t length;
    int status;

    for (;;) {
        switch (usher_fcgi_read(reader, &in, &left, &data, &length)) {
        case USHER_FCGI_OUT:
            if ((status = usher_answer_add(answer, data, length)) != OK) {
                return status;
            }
            break;
        case USHER_FCGI_OUT_END:
        case USHER_FCGI_ERR:
            break;
        case USHER_FCGI_END:
            *has_ended = 1;
            return OK;
        case USHER_FCGI_BROKEN:
            return HTTP_BAD_GATEWAY;
        case USHER_FCGI_MORE:
            return OK;
        }
    }
}

/* Records of that size around the program's output, and the end of the request. */
static char *put_into_records(const uint8_t *data, size_t size, size_t pieces, size_t *length) {
    static const char end[16] = {1, AP_FCGI_END_REQUEST, 0, 1, 0, 8};
    size_t count = size / pieces + 2;
    char *bytes = malloc(size + count * USHER_FCGI_HEADER + sizeof(end));
    char *at = bytes;

    do {
        size_t piece = size < pieces ? size : pieces;
        char header[USHER_FCGI_HEADER] = {
            1, AP_FCGI_STDOUT, 0, 1, (char)(piece >> 8), (char)piece, 0, 0};

        memcpy(at, header, sizeof(header));
        memcpy(at + sizeof(header), data, piece);
        at += sizeof(header) + piece;
        data += piece;
        size -= piece;
    } while (size > 0);
    memcpy(at, end, sizeof(end));
    *length = (size_t)(at - bytes) + sizeof(end);
    return bytes;
}

static void check_end(const usher_answer *answer, const httpd_output *output, int status) {
    CLAIM(status == OK || (status >= 200 && status <= 999));
    CLAIM(!answer->granted || !answer->denied);
    CLAIM(answer->queued >= 0);
    if (answer->protocol == USHER_PROTOCOL_AJP && !answer->is_verdict) {
        CLAIM(!apr_table_get(answer->r->err_headers_out, "X-Usher-Backend"));
    }
    if (answer->declared >= 0 && apr_table_get(answer->r->headers_out, "Content-Length")) {
        CLAIM(output->bytes <= answer->declared);
    }
}

static void pass_answer(const char *data, size_t size, unsigned kind, apr_size_t pieces) {
    apr_pool_t *pool;
    request_rec *r;
    httpd_output output;
    usher_answer answer;
    usher_fcgi_reader reader;
    int status = OK;
    int has_ended = 0;

    CLAIM(apr_pool_create(&pool, NULL) == APR_SUCCESS);
    r = httpd_make_request(pool, &output);
    r->header_only = kind >> 4 & 1;
    usher_answer_init(&answer, r, "fuzz", kind % 4 == 1);
    if (kind >> 7 & 1) {
        answer.protocol = pieces & 1 ? USHER_PROTOCOL_AJP : USHER_PROTOCOL_CGI;
    }
    if (kind % 4 >= 2) {
        usher_answer_expect_verdict(&answer, kind % 4 == 3);
    }
    if (kind >> 5 & 1) {
        apr_table_setn(r->subprocess_env, AP_TRUST_CGILIKE_CL_ENVVAR, "1");
    }
    usher_fcgi_reader_init(&reader);

    while (size > 0 && status == OK && !has_ended) {
        apr_size_t piece = size < pieces ? size : pieces;
        char *copy = malloc(piece);

        memcpy(copy, data, piece);
        status = take_piece(&reader, &answer, copy, piece, &has_ended);
        free(copy);
        data += piece;
        size -= piece;
        if (status == OK && (kind >> 2 & 1) && answer.queued > 0) {
            CLAIM(usher_answer_pass(&answer, 1 + pieces, (int)(kind >> 3 & 1)) == APR_SUCCESS);
        }
    }
    if (status == OK && has_ended) {
        status = usher_answer_finish(&answer);
    } else {
        status = usher_answer_break(&answer, status == OK ? HTTP_BAD_GATEWAY : status);
        CLAIM(output.bytes == 0 || output.has_broken);
    }
    check_end(&answer, &output, status);
    apr_pool_destroy(pool);
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    return httpd_begin();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t pieces, length;
    char *bytes;
    records whole, cut;

    if (size < 2) {
        return 0;
    }
    pieces = data[1] < 200 ? 1 + data[1] : 1 + (data[1] - 199u) * 700u;
    if (data[0] >> 6 & 1) {
        bytes = put_into_records(data + 2, size - 2, pieces, &length);
    } else {
        length = size - 2;
        bytes = malloc(size);
        memcpy(bytes, data + 2, length);
    }
    whole = read_records(bytes, length, length);
    cut = read_records(bytes, length, pieces);
    CLAIM(whole.hash == cut.hash && whole.out == cut.out && whole.last == cut.last);
    pass_answer(bytes, length, data[0], pieces);
    httpd_free_memory();
    free(bytes);
    return 0;
}
