/* SPDX-License-Identifier: Apache-2.0 */
/* A page, piece by piece. */
#include <string.h>

#include "status/rows.h"

enum { STAGE_HEAD, STAGE_CLASSES, STAGE_END, STAGE_DONE };

static const usher_status_writer_t *const writers[] = {
    [USHER_STATUS_HTML] = &usher_status_html,
    [USHER_STATUS_JSON] = &usher_status_json,
    [USHER_STATUS_AUTO] = &usher_status_auto,
};

/* The page has a style of its own and nothing else; nobody but who asked may keep or frame it. */
const usher_status_header_t usher_status_headers[] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
                                "form-action 'none'; frame-ancestors 'none'"},
    {NULL, NULL},
};

/* ---- words ------------------------------------------------------------------------------- */

usher_status_format_t usher_status_format(const char *query, size_t length) {
    for (size_t at = 0; at < length;) {
        const char *word = query + at;
        const char *end = memchr(word, '&', length - at);
        size_t bytes = end ? (size_t)(end - word) : length - at;
        if (bytes == 4 && memcmp(word, "json", 4) == 0) {
            return USHER_STATUS_JSON;
        }
        if (bytes == 4 && memcmp(word, "auto", 4) == 0) {
            return USHER_STATUS_AUTO;
        }
        at += bytes + 1;
    }
    return USHER_STATUS_HTML;
}

const char *usher_status_type(usher_status_format_t format) {
    return format == USHER_STATUS_JSON   ? "application/json"
           : format == USHER_STATUS_AUTO ? "text/plain; charset=utf-8"
                                         : "text/html; charset=utf-8";
}

#define WORD_OF(words, number) ((number) < sizeof(words) / sizeof(*(words)) ? (words)[number] : "")

const char *usher_status_kind(uint32_t kind) {
    static const char *const words[] = {"", "static", "dynamic", "external"};
    return WORD_OF(words, kind);
}

const char *usher_status_protocol(uint32_t protocol) {
    static const char *const words[] = {"", "fastcgi", "cgi", "ajp", "ajp12"};
    return WORD_OF(words, protocol);
}

const char *usher_status_state(uint32_t state) {
    static const char *const words[] = {"", "cold", "starting", "ready", "failed"};
    return WORD_OF(words, state);
}

const char *usher_status_manager(const usher_manager_look_t *manager) {
    switch (manager->state) {
    case USHER_MANAGER_STOPPED:
        return "stopped";
    case USHER_MANAGER_RUNNING:
        return manager->answers ? "running" : "silent";
    default:
        return "absent";
    }
}

usher_tally_t usher_tally_of(const usher_class_look_t *look) {
    usher_tally_t tally = {0};
    for (uint32_t i = 0; i < look->endpoint_count; i++) {
        const usher_endpoint_look_t *endpoint = &look->endpoints[i];
        tally.hung += endpoint->hung;
        tally.starting += endpoint->state == USHER_ENDPOINT_STARTING;
        tally.draining += endpoint->state == USHER_ENDPOINT_DRAINING;
        tally.down += endpoint->state == USHER_ENDPOINT_DOWN;
        tally.idle += endpoint->state == USHER_ENDPOINT_READY && endpoint->in_use == 0;
        tally.busy += endpoint->state == USHER_ENDPOINT_READY && endpoint->in_use > 0;
    }
    return tally;
}

/* ---- pieces ------------------------------------------------------------------------------ */

void usher_status_begin(usher_status_page_t *page, const usher_channel_t *channel,
                        const usher_status_facts_t *facts, usher_status_format_t format) {
    memset(page, 0, offsetof(usher_status_page_t, look)); /* the rest is filled before it is read */
    page->channel = channel;
    page->facts = *facts;
    page->format = format;
}

static void write_head(usher_status_page_t *page, usher_text_t *text) {
    usher_status_head_t head = {.facts = &page->facts, .has_channel = page->channel != NULL};
    if (page->channel) {
        usher_look_at_server(page->channel, &head.server);
        usher_look_at_manager(page->channel, &head.manager);
    }
    writers[page->format]->head(text, &head);
}

static void add_to_totals(usher_status_page_t *page) {
    const usher_load_t *load = &page->look.load;
    page->in_flight += load->in_flight;
    page->waiting += load->waiting;
    page->arrivals += load->arrivals;
    page->finished += load->finished;
    page->failed += load->failed;
    page->aborted += load->aborted;
    page->refused += load->refused;
}

/* False: there are no more classes. */
static bool write_class(usher_status_page_t *page, usher_text_t *text) {
    uint32_t count = page->channel ? usher_look_count(page->channel) : 0;
    while (page->next < count) {
        if (usher_look_at_class(page->channel, page->next++, &page->look) == USHER_OK) {
            add_to_totals(page);
            writers[page->format]->row(text, page);
            page->classes++;
            return true;
        }
    }
    return false;
}

static void write_piece(usher_status_page_t *page) {
    usher_text_t text = {.at = page->piece, .end = page->piece + sizeof(page->piece)};
    if (page->stage == STAGE_HEAD) {
        write_head(page, &text);
        page->stage = STAGE_CLASSES;
    } else if (page->stage == STAGE_CLASSES && !write_class(page, &text)) {
        page->stage = STAGE_END;
    }
    if (page->stage == STAGE_END) {
        writers[page->format]->end(&text, page);
        page->stage = STAGE_DONE;
    }
    page->length = (size_t)(text.at - page->piece);
    page->sent = 0;
}

size_t usher_status_write(usher_status_page_t *page, char *buffer, size_t size) {
    size_t written = 0;
    while (written < size) {
        if (page->sent == page->length) {
            if (page->stage == STAGE_DONE) {
                break;
            }
            write_piece(page);
        }
        size_t bytes = page->length - page->sent;
        bytes = bytes < size - written ? bytes : size - written;
        memcpy(buffer + written, page->piece + page->sent, bytes);
        page->sent += bytes;
        written += bytes;
    }
    return written;
}
