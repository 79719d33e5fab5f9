/* SPDX-License-Identifier: Apache-2.0 */
/* ?auto: a line for each value, for scripts; classes are numbered as mod_proxy numbers balancers. */
#include <string.h>

#include "status/rows.h"

static void put_line(usher_text_t *text, const char *name, const char *value) {
    usher_put(text, name);
    usher_put(text, ": ");
    usher_put_line(text, value, strlen(value));
    usher_put(text, "\n");
}

static void put_number(usher_text_t *text, const char *name, uint64_t number) {
    usher_put(text, name);
    usher_put(text, ": ");
    usher_put_number(text, number);
    usher_put(text, "\n");
}

static void write_head(usher_text_t *text, const usher_status_head_t *head) {
    const usher_status_facts_t *facts = head->facts;
    put_line(text, "ServerKind", facts->server_kind);
    put_line(text, "ServerVersion", facts->server_version);
    put_line(text, "UsherVersion", USHER_RELEASE);
    if (!head->has_channel) {
        put_line(text, "Problem", facts->problem);
        return;
    }
    put_line(text, "RuntimeDir", head->server.runtime_dir);
    put_line(text, "ServerName", head->server.name);
    put_number(text, "ServerGeneration", head->server.generation);
    put_number(text, "ServerWorkers", head->server.workers);
    put_line(text, "ManagerState", usher_status_manager(&head->manager));
    put_number(text, "ManagerPid", head->manager.pid);
    put_number(text, "ManagerSilentMs", head->manager.silent_ms);
}

/* ---- classes ----------------------------------------------------------------------------- */

static void begin_line(usher_text_t *text, const usher_status_page_t *page, const char *name) {
    usher_put(text, "Class[");
    usher_put_number(text, page->classes);
    usher_put(text, "]");
    usher_put(text, name);
    usher_put(text, ": ");
}

static void put_class_word(usher_text_t *text, const usher_status_page_t *page, const char *name,
                           const char *value, size_t length) {
    begin_line(text, page, name);
    usher_put_line(text, value, length);
    usher_put(text, "\n");
}

static void put_class_number(usher_text_t *text, const usher_status_page_t *page, const char *name,
                             uint64_t number) {
    begin_line(text, page, name);
    usher_put_number(text, number);
    usher_put(text, "\n");
}

static void put_class_ms(usher_text_t *text, const usher_status_page_t *page, const char *name,
                         uint64_t us) {
    begin_line(text, page, name);
    usher_put_ms(text, us);
    usher_put(text, "\n");
}

static void put_class_totals(usher_text_t *text, const usher_status_page_t *page) {
    const usher_load_t *load = &page->look.load;
    if (!page->look.has_totals) {
        return;
    }
    put_class_number(text, page, "Arrivals", load->arrivals);
    put_class_number(text, page, "Admitted", load->admitted);
    put_class_number(text, page, "Finished", load->finished);
    put_class_number(text, page, "Failed", load->failed);
    put_class_number(text, page, "Aborted", load->aborted);
    put_class_number(text, page, "Refused", load->refused);
    usher_times_t waiting = usher_times_of(load->waiting_histogram, load->waiting_us);
    if (waiting.count > 0) {
        put_class_ms(text, page, "WaitingMeanMs", waiting.mean_us);
        put_class_ms(text, page, "WaitingMedianMs", waiting.median_us);
        put_class_ms(text, page, "WaitingP99Ms", waiting.p99_us);
    }
    usher_times_t serving = usher_times_of(load->serving_histogram, load->serving_us);
    if (serving.count > 0) {
        put_class_ms(text, page, "ServingMeanMs", serving.mean_us);
        put_class_ms(text, page, "ServingMedianMs", serving.median_us);
        put_class_ms(text, page, "ServingP99Ms", serving.p99_us);
    }
}

static void write_row(usher_text_t *text, const usher_status_page_t *page) {
    const usher_class_look_t *look = &page->look;
    usher_tally_t tally = usher_tally_of(look);
    const char *kind = usher_status_kind(look->kind);
    const char *protocol = usher_status_protocol(look->protocol);
    const char *state = usher_status_state(look->state);
    put_class_word(text, page, "Name", look->key, look->key_length);
    put_class_word(text, page, "Kind", kind, strlen(kind));
    put_class_word(text, page, "Protocol", protocol, strlen(protocol));
    put_class_word(text, page, "State", state, strlen(state));
    put_class_number(text, page, "Idle", tally.idle);
    put_class_number(text, page, "Busy", tally.busy);
    put_class_number(text, page, "Starting", tally.starting);
    put_class_number(text, page, "Draining", tally.draining);
    put_class_number(text, page, "Down", tally.down);
    put_class_number(text, page, "Hung", tally.hung);
    put_class_number(text, page, "Places", look->places);
    put_class_number(text, page, "InFlight", look->load.in_flight);
    put_class_number(text, page, "Waiting", look->load.waiting);
    begin_line(text, page, "Load");
    usher_put_share(text, look->load.in_flight, look->places);
    usher_put(text, "\n");
    put_class_totals(text, page);
    if (look->state == USHER_CLASS_FAILED) {
        put_class_number(text, page, "FailureStatus", look->verdict_status);
        put_class_number(text, page, "FailureRetryAfterS", look->retry_after_s);
        put_class_word(text, page, "FailureReason", look->reason, strlen(look->reason));
    }
}

static void write_end(usher_text_t *text, const usher_status_page_t *page) {
    put_number(text, "Classes", page->classes);
    put_number(text, "InFlight", page->in_flight);
    put_number(text, "Waiting", page->waiting);
    put_number(text, "Arrivals", page->arrivals);
    put_number(text, "Finished", page->finished);
    put_number(text, "Failed", page->failed);
    put_number(text, "Aborted", page->aborted);
    put_number(text, "Refused", page->refused);
}

const usher_status_writer_t usher_status_auto = {write_head, write_row, write_end};
