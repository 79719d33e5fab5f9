/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libfcgi program that does what the query string says, word by word:
 *
 *   status=404 Gone Fishing   header=Name: value   no-type    collected for the head of the answer
 *   headers=N  ten headers X-Long-0 … X-Long-9 of N dots each
 *   env        the FastCGI parameters, then pid, requests, body_bytes, body_crc32, one per line;
 *              also what happens when nothing else is said
 *   body       the request body as it came
 *   text=T     T itself              bytes=N    N bytes, byte i being i modulo 251
 *   pid        its process id        requests   how many requests it has had, this one included
 *   flush      what was written goes out now
 *   endless    writes until nobody reads
 *   read       reads the body, and forgets it
 *   stderr=T   a line on the FastCGI error stream
 *   sleep=MS   pauses                wait=FILE  pauses until the file exists, ten minutes at most
 *   exit=N     ends with that status without a word more     abort   dies by SIGABRT
 *   raw        from here on no head is written: the text given is all there is
 *
 * When it starts, it adds a line with its process id to <program>.starts, if that file exists. With a
 * file named by NOTES in its environment, each request adds its process id and query string to that.
 * Started as `echo --start-ms N` it needs that long before its first accept; as `echo --abrupt` it
 * dies at once of TERM, whatever it does, while libfcgi would let it end its request.
 */
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 131072

typedef struct {
    FCGX_Stream *in, *out, *err;
    FCGX_ParamArray params;
    char head[HEAD_MAX];
    size_t head_length;
    bool has_type, has_redirect, is_head_written, has_spoken;
    unsigned long body_bytes;
    uint32_t body_crc32;
} request_t;

static unsigned long requests;

static void pause_ms(long ms) {
    struct timespec rest = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&rest, &rest) != 0 && errno == EINTR) {
    }
}

static uint32_t crc32(uint32_t crc, const unsigned char *bytes, size_t length) {
    static uint32_t table[256];
    if (table[1] == 0) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t entry = i;
            for (int bit = 0; bit < 8; bit++) {
                entry = (entry & 1) != 0 ? entry >> 1 ^ 0xedb88320u : entry >> 1;
            }
            table[i] = entry;
        }
    }
    crc = ~crc;
    for (size_t i = 0; i < length; i++) {
        crc = table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
    }
    return ~crc;
}

static int digit(char c) {
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c | 32);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Undoes percent-escapes in place; '+' stays what it is. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from == '%' && digit(from[1]) >= 0 && digit(from[2]) >= 0) {
            *to++ = (char)(digit(from[1]) << 4 | digit(from[2]));
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static void add_header(request_t *request, const char *line) {
    size_t length = strlen(line);
    if (request->head_length + length + 2 < HEAD_MAX) {
        memcpy(request->head + request->head_length, line, length);
        memcpy(request->head + request->head_length + length, "\r\n", 2);
        request->head_length += length + 2;
    }
}

static void write_head(request_t *request) {
    request->has_spoken = true;
    if (request->is_head_written) {
        return;
    }
    request->is_head_written = true;
    if (!request->has_type && !request->has_redirect) {
        add_header(request, "Content-Type: text/plain");
    }
    FCGX_PutStr(request->head, (int)request->head_length, request->out);
    FCGX_PutS("\r\n", request->out);
}

/* Reads what is left of the body; gives it back as the answer if `with_echo`. */
static void read_body(request_t *request, bool with_echo) {
    static char piece[65536];
    int length;
    while ((length = FCGX_GetStr(piece, sizeof piece, request->in)) > 0) {
        request->body_bytes += (unsigned long)length;
        request->body_crc32 =
            crc32(request->body_crc32, (const unsigned char *)piece, (size_t)length);
        if (with_echo) {
            FCGX_PutStr(piece, length, request->out);
        }
    }
}

static void write_env(request_t *request) {
    read_body(request, false);
    write_head(request);
    for (char **param = request->params; *param != NULL; param++) {
        FCGX_FPrintF(request->out, "%s\n", *param);
    }
    FCGX_FPrintF(request->out, "\npid=%d\nrequests=%lu\nbody_bytes=%lu\nbody_crc32=%08x\n",
                 (int)getpid(), requests, request->body_bytes, (unsigned)request->body_crc32);
}

static void write_bytes(request_t *request, unsigned long count) {
    static char pattern[251 * 256];
    if (pattern[1] == 0) {
        for (size_t i = 0; i < sizeof pattern; i++) {
            pattern[i] = (char)(i % 251);
        }
    }
    while (count > 0) {
        unsigned long length = count < sizeof pattern ? count : sizeof pattern;
        if (FCGX_PutStr(pattern, (int)length, request->out) < 0) {
            return;
        }
        count -= length;
    }
}

static void wait_for(const char *file) {
    for (int tries = 0; tries < 120000 && access(file, F_OK) != 0; tries++) {
        pause_ms(5);
    }
}

static void collect_header(request_t *request, const char *line) {
    if (strncasecmp(line, "content-type:", 13) == 0) {
        request->has_type = true;
    } else if (strncasecmp(line, "location:", 9) == 0) {
        request->has_redirect = true;
    }
    add_header(request, line);
}

static void add_long_headers(request_t *request, size_t dots) {
    char line[16384];
    for (int i = 0; i < 10; i++) {
        int length = snprintf(line, sizeof line, "X-Long-%d: ", i);
        if (dots < sizeof line - 32) {
            memset(line + length, '.', dots);
            line[(size_t)length + dots] = '\0';
        }
        add_header(request, line);
    }
}

static void act(request_t *request, const char *word, const char *value) {
    char line[65536];
    if (strcmp(word, "status") == 0) {
        snprintf(line, sizeof line, "Status: %s", value);
        collect_header(request, line);
    } else if (strcmp(word, "header") == 0) {
        collect_header(request, value);
    } else if (strcmp(word, "headers") == 0) {
        add_long_headers(request, strtoul(value, NULL, 10));
    } else if (strcmp(word, "no-type") == 0) {
        request->has_type = true;
    } else if (strcmp(word, "raw") == 0) {
        request->is_head_written = request->has_spoken = true;
    } else if (strcmp(word, "env") == 0) {
        write_env(request);
    } else if (strcmp(word, "body") == 0) {
        write_head(request);
        read_body(request, true);
    } else if (strcmp(word, "read") == 0) {
        read_body(request, false);
    } else if (strcmp(word, "text") == 0) {
        write_head(request);
        FCGX_PutS(value, request->out);
    } else if (strcmp(word, "bytes") == 0) {
        write_head(request);
        write_bytes(request, strtoul(value, NULL, 10));
    } else if (strcmp(word, "pid") == 0) {
        write_head(request);
        FCGX_FPrintF(request->out, "%d\n", (int)getpid());
    } else if (strcmp(word, "requests") == 0) {
        write_head(request);
        FCGX_FPrintF(request->out, "%lu\n", requests);
    } else if (strcmp(word, "flush") == 0) {
        write_head(request);
        FCGX_FFlush(request->out);
    } else if (strcmp(word, "endless") == 0) {
        write_head(request);
        while (FCGX_PutS("without end\n", request->out) >= 0 && FCGX_GetError(request->out) == 0) {
        }
    } else if (strcmp(word, "stderr") == 0) {
        FCGX_FPrintF(request->err, "%s\n", value);
        FCGX_FFlush(request->err);
    } else if (strcmp(word, "sleep") == 0) {
        pause_ms(strtol(value, NULL, 10));
    } else if (strcmp(word, "wait") == 0) {
        wait_for(value);
    } else if (strcmp(word, "exit") == 0) {
        _exit((int)strtol(value, NULL, 10));
    } else if (strcmp(word, "abort") == 0) {
        abort();
    }
}

/* Adds a line to a file that is there, whole beside those of others. */
static void add_line(const char *path, const char *line) {
    int file = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (file >= 0) {
        if (write(file, line, strlen(line)) != (ssize_t)strlen(line)) {
            perror(path);
        }
        close(file);
    }
}

static void note(const char *query) {
    const char *notes = getenv("NOTES");
    if (notes != NULL) {
        char line[4096];
        snprintf(line, sizeof line, "%d %.4000s\n", (int)getpid(), query == NULL ? "" : query);
        add_line(notes, line);
    }
}

static void answer(request_t *request) {
    const char *query = FCGX_GetParam("QUERY_STRING", request->params);
    note(query);
    char *words = strdup(query == NULL ? "" : query);
    char *rest = words;
    for (char *word; (word = strsep(&rest, "&")) != NULL;) {
        char *value = strchr(word, '=');
        if (value != NULL) {
            *value++ = '\0';
            unescape(value);
        }
        act(request, word, value == NULL ? "" : value);
    }
    free(words);

    if (!request->has_spoken && request->head_length == 0) {
        write_env(request);
    }
    write_head(request);
}

static void tell_start(const char *program) {
    char path[4096];
    char line[16];
    snprintf(path, sizeof path, "%s.starts", program);
    snprintf(line, sizeof line, "%d\n", (int)getpid());
    add_line(path, line);
}

int main(int argc, char **argv) {
    char program[4000];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        tell_start(program);
    }
    if (argc == 3 && strcmp(argv[1], "--start-ms") == 0) {
        pause_ms(strtol(argv[2], NULL, 10));
    }
    FCGX_Init();
    if (argc == 2 && strcmp(argv[1], "--abrupt") == 0) {
        signal(SIGTERM, SIG_DFL); /* FCGX_Init has set its own */
    }

    static request_t request;
    while (FCGX_Accept(&request.in, &request.out, &request.err, &request.params) >= 0) {
        requests++;
        request.head_length = 0;
        request.has_type = request.has_redirect = false;
        request.is_head_written = request.has_spoken = false;
        request.body_bytes = 0;
        request.body_crc32 = 0;
        answer(&request);
    }
    return 0;
}
