/* SPDX-License-Identifier: Apache-2.0 */
/* The page for people: one table, no script, nothing from elsewhere. */
#include <string.h>

#include "status/rows.h"

static const char opening[] =
    "<!DOCTYPE html>\n"
    "<html lang=\"en\">\n"
    "<head>\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<meta name=\"color-scheme\" content=\"light dark\">\n"
    "<title>Usher status</title>\n"
    "<style>\n"
    ":root{color-scheme:light dark}\n"
    "body{font:15px/1.4 system-ui,sans-serif;margin:1.5em}\n"
    "h1{font-size:1.3em}\n"
    "div{overflow-x:auto}\n"
    "table{border-collapse:collapse}\n"
    "caption{text-align:left;padding:.3em 0}\n"
    "th,td{padding:.2em .7em;border-bottom:1px solid #8886;text-align:right;white-space:nowrap;"
    "vertical-align:top}\n"
    "th{font-weight:600}\n"
    "td:first-child,th:first-child,.t{text-align:left}\n"
    "td:first-child,.r{white-space:normal;overflow-wrap:anywhere;text-align:left;min-width:12em}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:0 0 1em}\n"
    "dd{margin:0;overflow-wrap:anywhere}\n"
    ".bad{font-weight:700;color:#b00020}\n"
    "@media(prefers-color-scheme:dark){.bad{color:#ff8a80}}\n"
    "</style>\n"
    "</head>\n"
    "<body>\n"
    "<h1>Usher</h1>\n";

static const char table[] =
    "<div><table>\n"
    "<caption>Instances, places, in use and waiting: of all servers. Requests and times: of this "
    "server, since it knows the class.</caption>\n"
    "<thead><tr><th scope=\"col\">Class<th scope=\"col\" class=\"t\">Kind"
    "<th scope=\"col\" class=\"t\">State<th scope=\"col\" class=\"t\">Instances"
    "<th scope=\"col\">In use / places<th scope=\"col\">Waiting<th scope=\"col\">Requests"
    "<th scope=\"col\">Failed<th scope=\"col\">Refused<th scope=\"col\">Aborted"
    "<th scope=\"col\">Waited, ms: median, p99<th scope=\"col\">Served, ms: median, p99"
    "<th scope=\"col\" class=\"r\">Reason</tr></thead>\n"
    "<tbody>\n";

static void put_text(usher_text_t *text, const char *value) {
    usher_put_html(text, value, strlen(value));
}

/* ---- head -------------------------------------------------------------------------------- */

static void put_fact(usher_text_t *text, const char *name, const char *value) {
    usher_put(text, "<dt>");
    usher_put(text, name);
    usher_put(text, "<dd>");
    put_text(text, value);
    usher_put(text, "\n");
}

static void put_manager(usher_text_t *text, const usher_manager_look_t *manager) {
    bool is_running = manager->state == USHER_MANAGER_RUNNING && manager->answers;
    usher_put(text, is_running ? "<dt>Manager<dd>" : "<dt>Manager<dd class=\"bad\">");
    usher_put(text, usher_status_manager(manager));
    if (manager->pid != 0) {
        usher_put(text, ", pid ");
        usher_put_number(text, manager->pid);
    }
    if (manager->state == USHER_MANAGER_RUNNING && !is_running) {
        usher_put(text, ": no sign of life for ");
        usher_put_number(text, manager->silent_ms / 1000);
        usher_put(text, " s. Running programs are served; nothing is started");
    }
    usher_put(text, "\n");
}

static void write_head(usher_text_t *text, const usher_status_head_t *head) {
    const usher_status_facts_t *facts = head->facts;
    usher_put(text, opening);
    if (!head->has_channel) {
        usher_put(text, "<p class=\"bad\">");
        put_text(text, facts->problem);
        usher_put(text, "</p>\n");
    }
    usher_put(text, "<dl>\n<dt>Server<dd>");
    put_text(text, facts->server_kind);
    usher_put(text, " ");
    put_text(text, facts->server_version);
    if (head->has_channel) {
        usher_put(text, ", ");
        usher_put_number(text, head->server.workers);
        usher_put(text, head->server.workers == 1 ? " worker" : " workers");
    }
    usher_put(text, "\n");
    put_fact(text, "Usher", USHER_RELEASE);
    if (head->has_channel) {
        put_fact(text, "Runtime directory", head->server.runtime_dir);
        put_manager(text, &head->manager);
    }
    usher_put(text, "</dl>\n");
    if (head->has_channel) {
        usher_put(text, table);
    }
}

/* ---- classes ----------------------------------------------------------------------------- */

static void put_count(usher_text_t *text, uint32_t count, const char *what, bool *any) {
    if (count > 0) {
        usher_put(text, *any ? ", " : "");
        usher_put_number(text, count);
        usher_put(text, " ");
        usher_put(text, what);
        *any = true;
    }
}

static void put_instances(usher_text_t *text, const usher_class_look_t *look) {
    usher_tally_t tally = usher_tally_of(look);
    bool any = false;
    usher_put(text, "<td class=\"t\">");
    put_count(text, tally.idle, "idle", &any);
    put_count(text, tally.busy, "busy", &any);
    put_count(text, tally.starting, "starting", &any);
    put_count(text, tally.draining, "draining", &any);
    put_count(text, tally.down, "down", &any);
    put_count(text, tally.hung, "hung", &any);
    usher_put(text, any ? "" : "none");
}

static void put_cell(usher_text_t *text, bool is_known, uint64_t number) {
    usher_put(text, "<td>");
    if (is_known) {
        usher_put_number(text, number);
    } else {
        usher_put(text, "–");
    }
}

static void put_times(usher_text_t *text, const uint64_t *histogram, uint64_t sum_us) {
    usher_times_t times = usher_times_of(histogram, sum_us);
    usher_put(text, "<td>");
    if (times.count == 0) {
        usher_put(text, "–");
        return;
    }
    usher_put_ms(text, times.median_us);
    usher_put(text, ", ");
    usher_put_ms(text, times.p99_us);
}

static void write_row(usher_text_t *text, const usher_status_page_t *page) {
    const usher_class_look_t *look = &page->look;
    const usher_load_t *load = &look->load;
    const char *protocol = usher_status_protocol(look->protocol);
    usher_put(text, "<tr><td><bdi>");
    usher_put_html(text, look->key, look->key_length);
    usher_put(text, "</bdi><td class=\"t\">");
    usher_put(text, usher_status_kind(look->kind));
    usher_put(text, protocol[0] != '\0' ? ", " : "");
    usher_put(text, protocol);
    usher_put(text,
              look->state == USHER_CLASS_FAILED ? "<td class=\"t bad\">" : "<td class=\"t\">");
    usher_put(text, usher_status_state(look->state));
    put_instances(text, look);
    put_cell(text, true, load->in_flight);
    usher_put(text, " / ");
    usher_put_number(text, look->places);
    put_cell(text, true, load->waiting);
    put_cell(text, look->has_totals, load->arrivals);
    put_cell(text, look->has_totals, load->failed);
    put_cell(text, look->has_totals, load->refused);
    put_cell(text, look->has_totals, load->aborted);
    put_times(text, load->waiting_histogram, load->waiting_us);
    put_times(text, load->serving_histogram, load->serving_us);
    usher_put(text, "<td class=\"r\"><bdi>");
    put_text(text, look->reason);
    usher_put(text, "</bdi></tr>\n");
}

static void write_end(usher_text_t *text, const usher_status_page_t *page) {
    if (page->channel) {
        usher_put(text, "</tbody>\n<tfoot><tr><th scope=\"row\">");
        usher_put_number(text, page->classes);
        usher_put(text, page->classes == 1 ? " class" : " classes");
        usher_put(text, "<td class=\"t\"><td class=\"t\"><td class=\"t\">");
        put_cell(text, true, page->in_flight);
        put_cell(text, true, page->waiting);
        put_cell(text, true, page->arrivals);
        put_cell(text, true, page->failed);
        put_cell(text, true, page->refused);
        put_cell(text, true, page->aborted);
        usher_put(text, "<td><td><td class=\"r\"></tr></tfoot>\n</table></div>\n");
    }
    usher_put(text, "</body>\n</html>\n");
}

const usher_status_writer_t usher_status_html = {write_head, write_row, write_end};
