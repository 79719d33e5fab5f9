/* SPDX-License-Identifier: Apache-2.0 */
/* ?json: the fields of `usher status --json` that the channel tells, and some of its own. */
#include <string.h>

#include "status/rows.h"

#define SCHEMA 1u /* of `usher status --json` */

static void put_string(usher_text_t *text, const char *name, const char *value) {
    usher_put(text, "\"");
    usher_put(text, name);
    usher_put(text, "\":\"");
    usher_put_json(text, value, strlen(value));
    usher_put(text, "\"");
}

static void put_number(usher_text_t *text, const char *name, uint64_t number) {
    usher_put(text, "\"");
    usher_put(text, name);
    usher_put(text, "\":");
    usher_put_number(text, number);
}

static void put_comma(usher_text_t *text) {
    usher_put(text, ",");
}

/* ---- head -------------------------------------------------------------------------------- */

static void put_manager(usher_text_t *text, const usher_manager_look_t *manager) {
    usher_put(text, "{");
    put_number(text, "pid", manager->pid);
    put_comma(text);
    put_string(text, "state", usher_status_manager(manager));
    put_comma(text);
    put_number(text, "silentMs", manager->silent_ms);
    usher_put(text, "}");
}

static void write_head(usher_text_t *text, const usher_status_head_t *head) {
    const usher_status_facts_t *facts = head->facts;
    usher_put(text, "{");
    put_number(text, "schema", SCHEMA);
    put_comma(text);
    put_string(text, "version", USHER_RELEASE);
    put_comma(text);
    if (head->has_channel) {
        usher_put(text, "\"problem\":null,");
        put_string(text, "runtimeDir", head->server.runtime_dir);
        usher_put(text, ",\"manager\":");
        put_manager(text, &head->manager);
    } else {
        put_string(text, "problem", facts->problem);
        usher_put(text, ",\"runtimeDir\":null,\"manager\":null");
    }
    usher_put(text, ",\"servers\":[{");
    if (head->has_channel) {
        put_string(text, "name", head->server.name);
        put_comma(text);
        put_number(text, "generation", head->server.generation);
        put_comma(text);
        put_number(text, "workers", head->server.workers);
        put_comma(text);
    }
    put_string(text, "kind", facts->server_kind);
    put_comma(text);
    put_string(text, "version", facts->server_version);
    usher_put(text, "}],\"classes\":[");
}

/* ---- classes ----------------------------------------------------------------------------- */

static const char *state_of(const usher_endpoint_look_t *endpoint, bool is_backend) {
    switch (endpoint->state) {
    case USHER_ENDPOINT_STARTING:
        return "starting";
    case USHER_ENDPOINT_DRAINING:
        return "draining";
    case USHER_ENDPOINT_DOWN:
        return "down";
    default:
        return is_backend ? "up" : "ready";
    }
}

static void put_endpoints(usher_text_t *text, const usher_class_look_t *look, bool are_backends) {
    for (uint32_t i = 0; i < look->endpoint_count; i++) {
        const usher_endpoint_look_t *endpoint = &look->endpoints[i];
        usher_put(text, i == 0 ? "{" : ",{");
        if (!are_backends) {
            put_number(text, "pid", endpoint->pid);
            put_comma(text);
        }
        put_string(text, "state", state_of(endpoint, are_backends));
        put_comma(text);
        put_number(text, "inFlight", endpoint->in_use);
        put_comma(text);
        put_number(text, "places", endpoint->places);
        usher_put(text, endpoint->hung ? ",\"hung\":true}" : ",\"hung\":false}");
    }
}

static void put_totals(usher_text_t *text, const usher_class_look_t *look) {
    usher_put(text, ",\"totals\":");
    if (!look->has_totals) {
        usher_put(text, "null");
        return;
    }
    const usher_load_t *load = &look->load;
    usher_put(text, "{");
    put_number(text, "arrivals", load->arrivals);
    put_comma(text);
    put_number(text, "admitted", load->admitted);
    put_comma(text);
    put_number(text, "finished", load->finished);
    put_comma(text);
    put_number(text, "failed", load->failed);
    put_comma(text);
    put_number(text, "aborted", load->aborted);
    put_comma(text);
    put_number(text, "refused", load->refused);
    usher_put(text, "}");
}

static void put_times(usher_text_t *text, const char *name, const uint64_t *histogram,
                      uint64_t sum_us) {
    usher_times_t times = usher_times_of(histogram, sum_us);
    usher_put(text, ",\"");
    usher_put(text, name);
    if (times.count == 0) {
        usher_put(text, "\":null");
        return;
    }
    usher_put(text, "\":{\"mean\":");
    usher_put_ms(text, times.mean_us);
    usher_put(text, ",\"median\":");
    usher_put_ms(text, times.median_us);
    usher_put(text, ",\"p99\":");
    usher_put_ms(text, times.p99_us);
    usher_put(text, "}");
}

static void put_verdict(usher_text_t *text, const usher_class_look_t *look) {
    if (look->state != USHER_CLASS_FAILED) {
        usher_put(text, ",\"failure\":null");
        return;
    }
    usher_put(text, ",\"failure\":{");
    put_number(text, "status", look->verdict_status);
    put_comma(text);
    put_number(text, "retryAfterS", look->retry_after_s);
    put_comma(text);
    put_string(text, "reason", look->reason);
    usher_put(text, "}");
}

static void write_row(usher_text_t *text, const usher_status_page_t *page) {
    const usher_class_look_t *look = &page->look;
    const usher_load_t *load = &look->load;
    bool is_external = look->kind == USHER_KIND_EXTERNAL;
    usher_put(text, page->classes == 0 ? "\n{\"name\":\"" : ",\n{\"name\":\"");
    usher_put_json(text, look->key, look->key_length);
    usher_put(text, "\",");
    put_string(text, "kind", usher_status_kind(look->kind));
    put_comma(text);
    put_string(text, "protocol", usher_status_protocol(look->protocol));
    put_comma(text);
    put_string(text, "state", usher_status_state(look->state));
    put_comma(text);
    put_number(text, "inFlight", load->in_flight);
    put_comma(text);
    put_number(text, "waiting", load->waiting);
    put_comma(text);
    put_number(text, "places", look->places);
    usher_put(text, ",\"load\":");
    usher_put_share(text, load->in_flight, look->places);
    usher_put(text, ",\"instances\":[");
    if (!is_external) {
        put_endpoints(text, look, false);
    }
    usher_put(text, "],\"backends\":[");
    if (is_external) {
        put_endpoints(text, look, true);
    }
    usher_put(text, "]");
    put_totals(text, look);
    put_times(text, "waitingMs", load->waiting_histogram, load->waiting_us);
    put_times(text, "servingMs", load->serving_histogram, load->serving_us);
    put_verdict(text, look);
    usher_put(text, "}");
}

static void write_end(usher_text_t *text, const usher_status_page_t *page) {
    usher_put(text, "\n],\"totals\":{");
    put_number(text, "classes", page->classes);
    put_comma(text);
    put_number(text, "inFlight", page->in_flight);
    put_comma(text);
    put_number(text, "waiting", page->waiting);
    put_comma(text);
    put_number(text, "arrivals", page->arrivals);
    put_comma(text);
    put_number(text, "finished", page->finished);
    put_comma(text);
    put_number(text, "failed", page->failed);
    put_comma(text);
    put_number(text, "aborted", page->aborted);
    put_comma(text);
    put_number(text, "refused", page->refused);
    usher_put(text, "}}\n");
}

const usher_status_writer_t usher_status_json = {write_head, write_row, write_end};
