/* SPDX-License-Identifier: Apache-2.0 */
/* What the three formats share: each writes a head, a row for each class, and an end. */
#ifndef USHER_STATUS_ROWS_H
#define USHER_STATUS_ROWS_H

#include "status/text.h"

/* What is told before the classes. */
typedef struct {
    const usher_status_facts_t *facts;
    bool has_channel;
    usher_server_look_t server;   /* with a channel */
    usher_manager_look_t manager; /* with a channel */
} usher_status_head_t;

/* Endpoints of a class by what they do. */
typedef struct {
    uint32_t idle, busy, starting, draining, down, hung;
} usher_tally_t;

usher_tally_t usher_tally_of(const usher_class_look_t *look);

/* Words of `usher status`; "" = unknown. */
const char *usher_status_kind(uint32_t kind);
const char *usher_status_protocol(uint32_t protocol);
const char *usher_status_state(uint32_t state);
/* "running", "silent" (no sign of life for 3 s), "stopped", "absent". */
const char *usher_status_manager(const usher_manager_look_t *manager);

typedef struct {
    void (*head)(usher_text_t *text, const usher_status_head_t *head);
    void (*row)(usher_text_t *text, const usher_status_page_t *page); /* page->look */
    void (*end)(usher_text_t *text, const usher_status_page_t *page);
} usher_status_writer_t;

extern const usher_status_writer_t usher_status_html, usher_status_json, usher_status_auto;

#endif
