/* SPDX-License-Identifier: Apache-2.0 */
/* A request on its way to an instance: every way it can end, and what is counted. */
#include "channel_steps.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "channel_fixture.h"

#define SECOND_NS (1000 * USHER_MS_NS)

static usher_load_t loaded(fixture_t *fixture, usher_ref_t class_ref) {
    usher_load_t load = {0};
    must(usher_manager_load(fixture->manager, class_ref, &load));
    return load;
}

static uint64_t sum(const uint64_t *histogram) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < USHER_HISTOGRAM_BUCKETS; i++) {
        total += histogram[i];
    }
    return total;
}

/* ---- warm -------------------------------------------------------------------------------- */

static void test_warm(void) {
    fixture_t fixture;
    visit_t visit;
    usher_load_t load;
    char path[160];
    uint32_t indices[4], in_flight = 0;
    begin(&fixture);
    attach(&fixture, false);
    usher_class_limits_t limits = plain_limits;
    limits.flags = USHER_CLASS_KEEP_CONN;
    limits.idle_timeout_ms = 7000;
    limits.request_timeout_ms = 8000;
    usher_ref_t class_ref = add_class(&fixture, "app", limits);
    usher_ref_t endpoint = add_endpoint(&fixture, class_ref, "1.0", 1, USHER_ENDPOINT_READY);
    usher_manager_set_class(fixture.manager, class_ref, USHER_CLASS_READY, 0, 0, NULL);
    usher_manager_changed(fixture.manager, indices, 4);

    is_int(ask(fixture.channel, &visit, "app"), USHER_OK, "a request takes a place");
    is_int(visit.request.state, USHER_WARM, "it is warm");
    is_str(usher_request_state_name(visit.request.state), "warm", "and says so");
    is_int(visit.request.endpoint_ref.index, endpoint.index, "endpoint");
    snprintf(path, sizeof(path), "%s/%s/1.0", fixture.runtime_dir, SERVER);
    is_int(visit.address.ss_family, AF_UNIX, "family of its address");
    is_str(((struct sockaddr_un *)&visit.address)->sun_path, path, "path");
    is_int(visit.admission.flags, USHER_CLASS_KEEP_CONN, "flags");
    is_int(visit.admission.kind, USHER_KIND_STATIC, "kind");
    is_int(visit.admission.idle_timeout_ms, 7000, "idle timeout");
    is_int(visit.admission.request_timeout_ms, 8000, "request timeout");
    is_int(visit.admission.connect_timeout_ms, 30000, "connect timeout");
    is_int(visit.admission.pid, 4711, "pid");
    is_int(admit(fixture.channel, &visit), USHER_INVALID, "it cannot take a second place");
    is_int(usher_manager_changed(fixture.manager, indices, 4), 1, "the manager sees a change");
    must(usher_manager_in_flight(fixture.manager, endpoint, &in_flight));
    is_int(in_flight, 1, "one request at the endpoint");
    load = loaded(&fixture, class_ref);
    ok(load.arrivals == 1 && load.admitted == 1 && load.in_flight == 1 && load.finished == 0,
       "load data of a request being served");

    end(fixture.channel, &visit);
    end(fixture.channel, &visit);
    usher_request_retry(fixture.channel, &visit.request);
    is_int(admit(fixture.channel, &visit), USHER_INVALID, "it is over");
    is_int(usher_manager_changed(fixture.manager, indices, 4), 1, "the manager sees that, too");
    load = loaded(&fixture, class_ref);
    ok(load.finished == 1 && load.in_flight == 0, "it is counted once");
    ok(sum(load.waiting_histogram) == 1 && sum(load.serving_histogram) == 1, "in both histograms");
    ok(load.waiting_histogram[0] == 1, "it did not wait");
    is_int(usher_manager_changed(fixture.manager, indices, 4), 0, "then nothing changes");
    usher_worker_detach(fixture.channel);
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    finish(&fixture);
}

static void test_outcomes(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, true);
    usher_ref_t class_ref = add_ready_class(&fixture, "app", 1, 1);
    must(ask(fixture.channel, &visit, "app"));
    usher_request_end(fixture.channel, &visit.request, USHER_OUTCOME_FAILED);
    must(ask(fixture.channel, &visit, "app"));
    usher_request_end(fixture.channel, &visit.request, USHER_OUTCOME_ABORTED);
    must(ask(fixture.channel, &visit, "app"));
    visit.request.admitted_ns -= 5000 * 1000; /* 5 ms ago */
    end(fixture.channel, &visit);
    usher_load_t load = loaded(&fixture, class_ref);
    ok(load.failed == 1 && load.aborted == 1 && load.finished == 1, "outcomes are told apart");
    ok(load.serving_us >= 5000, "serving time is summed");
    is_int(load.serving_histogram[12], 1, "5 ms are in [2^12, 2^13) µs");
    is_int(sum(load.serving_histogram), 2, "an aborted request says nothing about serving");
    finish(&fixture);
}

static void test_addresses(void) {
    fixture_t fixture;
    visit_t visit;
    usher_ref_t ref;
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_port = htons(9000)};
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_class(&fixture, "app", plain_limits);
    usher_endpoint_address_t address = {.kind = USHER_ADDRESS_INET, .length = sizeof(inet)};
    inet_pton(AF_INET, "192.0.2.1", &inet.sin_addr);
    memcpy(address.bytes, &inet, sizeof(inet));
    must(usher_manager_add_endpoint(fixture.manager, class_ref, &address, 1, USHER_ENDPOINT_READY,
                                    0, &ref));
    must(ask(fixture.channel, &visit, "app"));
    ok(visit.address_length == sizeof(inet) && memcmp(&visit.address, &inet, sizeof(inet)) == 0,
       "an IPv4 address");
    end(fixture.channel, &visit);
    must(usher_manager_remove_endpoint(fixture.manager, ref));
    address =
        (usher_endpoint_address_t){.kind = USHER_ADDRESS_UNIX, .length = 9, .bytes = "/run/sock"};
    must(usher_manager_add_endpoint(fixture.manager, class_ref, &address, 1, USHER_ENDPOINT_READY,
                                    0, &ref));
    must(ask(fixture.channel, &visit, "app"));
    is_str(((struct sockaddr_un *)&visit.address)->sun_path, "/run/sock", "an absolute path");
    end(fixture.channel, &visit);
    must(usher_manager_remove_endpoint(fixture.manager, ref));
    address.kind = USHER_ADDRESS_SERVER_SOCKET;
    address.length = 100;
    memset(address.bytes, 'n', sizeof(address.bytes));
    must(usher_manager_add_endpoint(fixture.manager, class_ref, &address, 1, USHER_ENDPOINT_READY,
                                    0, &ref));
    is_int(ask(fixture.channel, &visit, "app"), USHER_AGAIN, "one that does not fit is not used");
    is_int(fixture.channel->places->places[ref.index].in_use, 0, "and holds no place");
    usher_request_end(fixture.channel, &visit.request, USHER_OUTCOME_ABORTED);
    finish(&fixture);
}

static void test_least_loaded(void) {
    enum { ENDPOINTS = 4, PLACES = 3 };
    fixture_t fixture;
    visit_t visits[ENDPOINTS * PLACES + 1];
    uint32_t counts[ENDPOINTS] = {0}, uneven = 0;
    begin(&fixture);
    attach(&fixture, false);
    add_ready_class(&fixture, "app", ENDPOINTS, PLACES);
    for (uint32_t i = 0; i < ENDPOINTS * PLACES; i++) {
        must(ask(fixture.channel, &visits[i], "app"));
        uneven += ++counts[visits[i].request.endpoint_ref.index] > i / ENDPOINTS + 1;
    }
    is_int(uneven, 0, "places are taken evenly");
    is_int(ask(fixture.channel, &visits[ENDPOINTS * PLACES], "app"), USHER_AGAIN, "then all wait");
    is_int(visits[ENDPOINTS * PLACES].request.state, USHER_QUEUED, "in the queue");
    uint32_t left = visits[5].request.endpoint_ref.index;
    end(fixture.channel, &visits[5]);
    is_int(admit(fixture.channel, &visits[ENDPOINTS * PLACES]), USHER_OK, "until one leaves");
    is_int(visits[ENDPOINTS * PLACES].request.endpoint_ref.index, left, "and gives its place");
    finish(&fixture);
}

static void test_starting(void) {
    fixture_t fixture;
    visit_t first, second, third;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_class(&fixture, "app", plain_limits);
    usher_ref_t starting = add_endpoint(&fixture, class_ref, "1.0", 1, USHER_ENDPOINT_STARTING);
    is_int(ask(fixture.channel, &first, "app"), USHER_OK, "a starting endpoint lends its place");
    is_int(first.request.state, USHER_COLD, "the request is cold");
    is_int(ask(fixture.channel, &second, "app"), USHER_AGAIN, "the next one waits");
    is_int(second.request.state, USHER_COLD, "cold as well");
    usher_ref_t ready = add_endpoint(&fixture, class_ref, "2.0", 2, USHER_ENDPOINT_READY);
    end(fixture.channel, &first);
    is_int(admit(fixture.channel, &second), USHER_OK, "a ready one is there");
    is_int(second.request.endpoint_ref.index, ready.index, "and goes before");
    is_int(ask(fixture.channel, &first, "app"), USHER_OK, "its other place");
    is_int(ask(fixture.channel, &third, "app"), USHER_AGAIN,
           "a class with a ready endpoint does not lend the starting one's");
    must(usher_manager_set_endpoint(fixture.manager, starting, USHER_ENDPOINT_DOWN, 0));
    is_int(admit(fixture.channel, &third), USHER_AGAIN, "nor one that is down");
    must(usher_manager_set_endpoint(fixture.manager, starting, USHER_ENDPOINT_DRAINING, 0));
    is_int(admit(fixture.channel, &third), USHER_AGAIN, "nor one that drains");
    must(usher_manager_set_endpoint(fixture.manager, starting, USHER_ENDPOINT_READY, 0));
    is_int(admit(fixture.channel, &third), USHER_OK, "but one that is ready");
    finish(&fixture);
}

/* ---- the queue --------------------------------------------------------------------------- */

static void test_queue_limit(void) {
    fixture_t fixture;
    visit_t served, waiting, refused;
    char expected[256];
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_ready_class(&fixture, "app", 1, 1);
    usher_class_limits_t limits = plain_limits;
    limits.queue_limit = 1;
    must(usher_manager_set_limits(fixture.manager, class_ref, &limits));
    must(ask(fixture.channel, &served, "app"));
    is_int(ask(fixture.channel, &waiting, "app"), USHER_AGAIN, "one may wait");
    is_int(usher_worker_waiting(fixture.channel, class_ref), 1, "its worker counts it");
    is_int(ask(fixture.channel, &refused, "app"), USHER_REFUSED, "a second one may not");
    is_int(refused.request.state, USHER_TURNED_DOWN, "it is turned down");
    is_int(refused.request.verdict_status, 503, "with 503");
    is_int(refused.request.retry_after_s, 1, "and Retry-After");
    snprintf(expected, sizeof(expected), "the class is full: 1 requests wait (queue-limit 1)");
    is_str(refused.request.reason, expected, "reason");
    is_int(admit(fixture.channel, &refused), USHER_REFUSED, "asking again changes nothing");
    end(fixture.channel, &refused);
    usher_load_t load = loaded(&fixture, class_ref);
    ok(load.waiting == 1 && load.refused == 1 && load.arrivals == 3, "all of that is counted");
    usher_request_end(fixture.channel, &waiting.request, USHER_OUTCOME_ABORTED);
    load = loaded(&fixture, class_ref);
    ok(load.waiting == 0 && load.aborted == 1, "an abort leaves the queue");
    limits.queue_limit = 0;
    must(usher_manager_set_limits(fixture.manager, class_ref, &limits));
    is_int(ask(fixture.channel, &refused, "app"), USHER_REFUSED, "queue-limit 0: none may wait");
    end(fixture.channel, &served);
    usher_ref_t cold = add_class(&fixture, "cold", limits);
    is_int(ask(fixture.channel, &waiting, "cold"), USHER_AGAIN, "but for the first instance");
    is_int(loaded(&fixture, cold).waiting, 1, "which the manager is told");
    finish(&fixture);
}

static void test_queue_timeout(void) {
    fixture_t fixture;
    visit_t served, waiting;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_ready_class(&fixture, "app", 1, 1);
    usher_class_limits_t limits = plain_limits;
    limits.queue_timeout_ms = 60000;
    limits.connect_timeout_ms = 1;
    must(usher_manager_set_limits(fixture.manager, class_ref, &limits));
    must(ask(fixture.channel, &served, "app"));
    is_int(ask(fixture.channel, &waiting, "app"), USHER_AGAIN, "waits for a place");
    pause_ms(5);
    is_int(admit(fixture.channel, &waiting), USHER_AGAIN,
           "appConnTimeout is not about a class that is ready");
    waiting.request.queued_ns -= 60 * SECOND_NS;
    is_int(admit(fixture.channel, &waiting), USHER_REFUSED, "queue-timeout is");
    is_str(waiting.request.reason,
           "the class is full: waited 60000 ms for a place (queue-timeout), all 1 places of its 1 "
           "instances are in use",
           "reason");
    ok(loaded(&fixture, class_ref).waiting == 0, "it left the queue");
    finish(&fixture);
}

/* ---- no instance ------------------------------------------------------------------------- */

static void ask_late(fixture_t *fixture, visit_t *visit, const char *key) {
    is_int(ask(fixture->channel, visit, key), USHER_AGAIN, "%s: waits", key);
    visit->request.arrived_ns -= 31 * SECOND_NS;
    is_int(admit(fixture->channel, visit), USHER_REFUSED, "%s: not for ever", key);
    is_int(visit->request.verdict_status, 503, "%s: 503", key);
}

static void test_connect_timeout(void) {
    fixture_t fixture;
    visit_t visit;
    char expected[256];
    begin(&fixture);
    attach(&fixture, false);
    add_class(&fixture, "cold", plain_limits);
    ask_late(&fixture, &visit, "cold");
    is_str(visit.request.reason,
           "there is no instance: none was started within 30000 ms (appConnTimeout)",
           "reason: the manager did not start one");
    usher_ref_t starting = add_class(&fixture, "starting", plain_limits);
    usher_manager_set_class(fixture.manager, starting, USHER_CLASS_STARTING, 0, 0, NULL);
    ask_late(&fixture, &visit, "starting");
    is_str(visit.request.reason,
           "the class is starting: no instance was ready within 30000 ms (appConnTimeout)",
           "reason: the program is not ready");
    ask_late(&fixture, &visit, "/unknown");
    is_str(visit.request.reason,
           "the manager said nothing about it within 30000 ms (appConnTimeout)",
           "reason: no answer");

    usher_table_header_t *header = &fixture.manager->table->header;
    header->manager_seen_ns = usher_os_now_ns() - 4 * SECOND_NS;
    ask_late(&fixture, &visit, "cold");
    snprintf(expected, sizeof(expected),
             "no manager answers in %s: there was no instance for 30000 ms (appConnTimeout)",
             fixture.runtime_dir);
    is_str(visit.request.reason, expected, "reason: a manager not seen for 4 s");
    ask_late(&fixture, &visit, "/unknown");
    snprintf(expected, sizeof(expected),
             "no manager answers in %s: waited 30000 ms for it (appConnTimeout)",
             fixture.runtime_dir);
    is_str(visit.request.reason, expected, "the same for an unknown class");
    usher_manager_beat(fixture.manager);
    ask_late(&fixture, &visit, "/unknown");
    ok(!strstr(visit.request.reason, "no manager"), "a manager that beats answers");
    usher_channel_set_unknown_timeout(fixture.channel, 60000);
    must(ask(fixture.channel, &visit, "/patient") == USHER_AGAIN ? 0 : -1);
    visit.request.arrived_ns -= 31 * SECOND_NS;
    is_int(admit(fixture.channel, &visit), USHER_AGAIN, "an unknown class may have more time");
    usher_channel_set_unknown_timeout(fixture.channel, 0);
    visit.request.arrived_ns -= 3600 * SECOND_NS;
    is_int(admit(fixture.channel, &visit), USHER_AGAIN, "or all the time");

    usher_class_limits_t limits = plain_limits;
    limits.connect_timeout_ms = 0;
    add_class(&fixture, "patient", limits);
    is_int(ask(fixture.channel, &visit, "patient"), USHER_AGAIN, "without appConnTimeout");
    visit.request.arrived_ns -= 3600 * SECOND_NS;
    is_int(admit(fixture.channel, &visit), USHER_AGAIN, "it waits for a verdict");
    finish(&fixture);
}

static void test_verdict_over(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t failed = add_class(&fixture, "failed", plain_limits);
    must(usher_manager_set_class(fixture.manager, failed, USHER_CLASS_FAILED, 503, 2, "it broke"));
    usher_ref_t refused = add_class(&fixture, "refused", plain_limits);
    must(usher_manager_set_class(fixture.manager, refused, USHER_CLASS_REFUSED, 403, 0, "no"));
    usher_manager_beat(fixture.manager);
    usher_table_header_t *header = &fixture.manager->table->header;
    is_int(ask(fixture.channel, &visit, "failed"), USHER_REFUSED, "what has failed is refused");
    is_int(visit.request.retry_after_s, 2, "for 2 s");
    header->manager_seen_ns = usher_os_now_ns() - 2 * SECOND_NS;
    is_int(ask(fixture.channel, &visit, "failed"), USHER_REFUSED,
           "by a manager that was seen 2 s ago as well");
    header->manager_seen_ns = usher_os_now_ns() - 4 * SECOND_NS;
    is_int(ask(fixture.channel, &visit, "failed"), USHER_AGAIN,
           "after that time requests wait for a manager that says nothing");
    is_int(ask(fixture.channel, &visit, "refused"), USHER_REFUSED, "what may not be stays refused");
    usher_manager_beat(fixture.manager);
    is_int(ask(fixture.channel, &visit, "failed"), USHER_REFUSED, "one that answers decides");
    must(usher_manager_set_class(fixture.manager, failed, USHER_CLASS_COLD, 0, 0, NULL));
    is_int(ask(fixture.channel, &visit, "failed"), USHER_AGAIN, "and lifts it itself");
    finish(&fixture);
}

static void test_stopped(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    add_class(&fixture, "cold", plain_limits);
    add_ready_class(&fixture, "warm", 1, 1);
    usher_manager_set_state(fixture.manager, USHER_MANAGER_STOPPED, 0);
    is_int(usher_channel_manager_state(fixture.channel), USHER_MANAGER_STOPPED, "told");
    is_int(ask(fixture.channel, &visit, "cold"), USHER_REFUSED, "a cold request gets 503 at once");
    is_str(visit.request.reason, "there is no instance and the manager was stopped", "reason");
    is_int(ask(fixture.channel, &visit, "/unknown"), USHER_REFUSED, "an unknown one as well");
    is_int(ask(fixture.channel, &visit, "warm"), USHER_OK, "what runs is served");
    is_int(ask(fixture.channel, &visit, "warm"), USHER_AGAIN, "and waited for");
    finish(&fixture);
}

static void test_verdicts(void) {
    fixture_t fixture;
    visit_t visit;
    char text[400];
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t ref = add_class(&fixture, "app", plain_limits);
    is_int(ask(fixture.channel, &visit, "app"), USHER_AGAIN, "waits for a start");
    must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_FAILED, 503, 7,
                                 "app: exit status 1\nImportError"));
    is_int(admit(fixture.channel, &visit), USHER_REFUSED, "the start failed");
    is_int(visit.request.verdict_status, 503, "status");
    is_int(visit.request.retry_after_s, 7, "Retry-After");
    is_str(visit.request.reason, "app: exit status 1 ImportError", "reason, on one line");
    is_int(loaded(&fixture, ref).refused, 1, "counted");
    must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_REFUSED, 403, 0, "outside"));
    is_int(ask(fixture.channel, &visit, "app"), USHER_REFUSED, "may not be served");
    is_int(visit.request.verdict_status, 403, "status");
    must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_REFUSED, 200, 0, NULL));
    is_int(ask(fixture.channel, &visit, "app"), USHER_REFUSED, "a verdict that is none");
    is_int(visit.request.verdict_status, 503, "is 503");

    memset(text, 'a', sizeof(text));
    text[254] = '\xc3'; /* ä begins at the last byte that fits */
    text[255] = '\xa4';
    text[399] = '\0';
    must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_FAILED, 503, 0, text));
    must(ask(fixture.channel, &visit, "app") == USHER_REFUSED ? 0 : -1);
    is_int(strlen(visit.request.reason), 254, "a long reason is cut between characters");

    finish(&fixture);
}

static void test_half_written_reason(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t ref = add_class(&fixture, "app", plain_limits);
    must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_FAILED, 503, 0, "reason"));
    fixture.manager->table->classes[ref.index].reason_sequence++;
    is_int(ask(fixture.channel, &visit, "app"), USHER_REFUSED, "a verdict half written");
    ok(strstr(visit.request.reason, "cannot be served"), "is told without its reason: %s",
       visit.request.reason);
    finish(&fixture);
}

/* ---- changes under way ------------------------------------------------------------------- */

static void test_replaced_class(void) {
    fixture_t fixture;
    visit_t visit, served;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t old = add_class(&fixture, "app", plain_limits);
    is_int(ask(fixture.channel, &visit, "app"), USHER_AGAIN, "waits for a class");
    must(usher_manager_remove_class(fixture.manager, old));
    is_int(admit(fixture.channel, &visit), USHER_AGAIN, "that is removed");
    is_int(fixture.channel->places->gates[old.index].waiting, 0, "its queue is left");
    is_int(visit.request.class_ref.generation, 0, "the class is unknown now");
    add_class(&fixture, "another", plain_limits);
    add_ready_class(&fixture, "app", 1, 1);
    is_int(admit(fixture.channel, &visit), USHER_OK, "and found again");
    end(fixture.channel, &visit);

    usher_ref_t going = add_ready_class(&fixture, "going", 1, 1);
    must(ask(fixture.channel, &served, "going"));
    must(usher_manager_remove_endpoint(fixture.manager, served.request.endpoint_ref));
    must(usher_manager_remove_class(fixture.manager, going));
    usher_ref_t next = add_ready_class(&fixture, "next", 1, 1);
    is_int(next.index, going.index, "a record used again while a request is still served");
    usher_endpoint_info_t info;
    uint32_t endpoint = (uint32_t)fixture.manager->table->classes[next.index].endpoints[0] - 1;
    must(usher_manager_endpoint(fixture.manager, endpoint, &info));
    ok(info.ref.index != served.request.endpoint_ref.index,
       "an endpoint record that still counts a request is left alone");
    end(fixture.channel, &served);
    usher_load_t load = loaded(&fixture, next);
    ok(load.finished == 0 && load.in_flight == 0, "what ends late is not the next class's");
    usher_worker_detach(fixture.channel);
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    finish(&fixture);
}

static fixture_t *acting;
static usher_ref_t acting_on;

static void drain_now(const char *name) {
    (void)name;
    must(usher_manager_set_endpoint(acting->manager, acting_on, USHER_ENDPOINT_DRAINING, 0));
}

static void remove_now(const char *name) {
    (void)name;
    must(usher_manager_remove_endpoint(acting->manager, acting_on));
}

/* The state changes at each step of taking a place: taken before or not at all. */
static void test_changes_while_taking(void (*change)(const char *), const char *what) {
    uint32_t taken = 0, refused = 0, leaks = 0;
    for (uint32_t at = 1; at < 20; at++) {
        fixture_t fixture;
        visit_t visit;
        begin(&fixture);
        attach(&fixture, false);
        usher_ref_t class_ref = add_class(&fixture, "app", plain_limits);
        acting_on = add_endpoint(&fixture, class_ref, "1.0", 1, USHER_ENDPOINT_READY);
        acting = &fixture;
        must(usher_request_begin(fixture.channel, &visit.request, "app", 3));
        step_action = change;
        arm_steps(at, 0);
        usher_status_t status = admit(fixture.channel, &visit);
        bool done = step_count < at;
        arm_steps(0, 0);
        step_action = NULL;
        uint32_t cells = usher_sum_cells(fixture.manager, acting_on.index);
        taken += status == USHER_OK;
        refused += status == USHER_AGAIN;
        leaks += cells != (status == USHER_OK);
        usher_request_end(fixture.channel, &visit.request, USHER_OUTCOME_ABORTED);
        usher_worker_detach(fixture.channel);
        settle(&fixture);
        leaks += find_leak(fixture.channel) != NULL;
        finish(&fixture);
        if (done) {
            break;
        }
    }
    ok(taken > 0 && refused > 0 && leaks == 0,
       "%s at each step: %u taken and counted, %u not, %u leaks", what, taken, refused, leaks);
}

static void replace_class_now(const char *name) {
    if (strcmp(name, "find: read") != 0) {
        step_at = step_count + 1;
        return;
    }
    must(usher_manager_remove_class(acting->manager, acting_on));
    add_class(acting, "successor", plain_limits);
}

static void replace_all_now(const char *name) {
    if (strcmp(name, "take: begun") != 0) {
        step_at = step_count + 1;
        return;
    }
    usher_endpoint_info_t info;
    must(usher_manager_endpoint(acting->manager, acting_on.index, &info));
    must(usher_manager_remove_endpoint(acting->manager, acting_on));
    must(usher_manager_remove_class(acting->manager, info.class_ref));
    usher_ref_t successor = add_class(acting, "heir", plain_limits);
    add_endpoint(acting, successor, "3.0", 1, USHER_ENDPOINT_READY);
    must(successor.index == info.class_ref.index ? 0 : -1);
}

static void replace_endpoint_now(const char *name) {
    if (strcmp(name, "address: read") != 0) {
        step_at = step_count + 1;
        return;
    }
    uint32_t class_index = acting->manager->table->endpoints[acting_on.index].class_index;
    usher_ref_t class_ref = {class_index, acting->manager->table->classes[class_index].generation};
    must(usher_manager_remove_endpoint(acting->manager, acting_on));
    add_endpoint(acting, class_ref, "2.0", 1, USHER_ENDPOINT_READY);
}

static void replace_verdict_now(const char *name) {
    if (strcmp(name, "verdict: read") != 0) {
        step_at = step_count + 1;
        return;
    }
    must(usher_manager_set_class(acting->manager, acting_on, USHER_CLASS_REFUSED, 404, 0, "new"));
}

static usher_status_t ask_while(fixture_t *fixture, visit_t *visit, usher_ref_t on,
                                void (*change)(const char *)) {
    acting = fixture;
    acting_on = on;
    step_action = change;
    arm_steps(1, 0);
    usher_status_t status = ask(fixture->channel, visit, "app");
    arm_steps(0, 0);
    step_action = NULL;
    return status;
}

/* A record is replaced between reading it and looking whose it was. */
static void test_replaced_while_reading(void) {
    fixture_t fixture;
    visit_t visit;
    char path[160];
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_class(&fixture, "app", plain_limits);
    is_int(ask_while(&fixture, &visit, class_ref, replace_class_now), USHER_AGAIN,
           "a class replaced while it is read");
    is_int(visit.request.class_ref.generation, 0, "is not taken for the one asked for");
    end(fixture.channel, &visit);

    class_ref = add_class(&fixture, "app", plain_limits);
    usher_ref_t endpoint = add_endpoint(&fixture, class_ref, "1.0", 1, USHER_ENDPOINT_READY);
    is_int(ask_while(&fixture, &visit, endpoint, replace_endpoint_now), USHER_OK,
           "an endpoint replaced while its address is read");
    endpoint = visit.request.endpoint_ref;
    snprintf(path, sizeof(path), "%s/%s/2.0", fixture.runtime_dir, SERVER);
    is_str(((struct sockaddr_un *)&visit.address)->sun_path, path, "gives the new one's");
    end(fixture.channel, &visit);

    is_int(ask_while(&fixture, &visit, endpoint, replace_all_now), USHER_AGAIN,
           "a class replaced while a place is taken");
    is_int(visit.request.class_ref.generation, 0, "does not lend its successor's places");
    end(fixture.channel, &visit);

    class_ref = add_class(&fixture, "app", plain_limits);
    must(usher_manager_set_class(fixture.manager, class_ref, USHER_CLASS_FAILED, 503, 9, "old"));
    is_int(ask_while(&fixture, &visit, class_ref, replace_verdict_now), USHER_REFUSED,
           "a verdict replaced while it is read");
    ok(visit.request.verdict_status == 404 && visit.request.retry_after_s == 0 &&
           strcmp(visit.request.reason, "new") == 0,
       "is read again");
    usher_worker_detach(fixture.channel);
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    finish(&fixture);
}

/* ---- avoiding ---------------------------------------------------------------------------- */

static uint32_t unreached_at(fixture_t *fixture, uint32_t index) {
    usher_endpoint_info_t info;
    uint32_t unreached = 0;
    must(usher_manager_endpoint(fixture->manager, index, &info));
    must(usher_manager_unreached(fixture->manager, info.ref, &unreached));
    return unreached;
}

static void test_retry(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    attach(&fixture, false);
    usher_ref_t class_ref = add_ready_class(&fixture, "app", 2, 1);
    must(ask(fixture.channel, &visit, "app"));
    uint32_t first = visit.request.endpoint_ref.index;
    usher_request_retry(fixture.channel, &visit.request);
    is_int(usher_sum_cells(fixture.manager, first), 0, "a refused connection gives its place back");
    is_int(admit(fixture.channel, &visit), USHER_OK, "the other endpoint is tried");
    ok(visit.request.endpoint_ref.index != first, "not the same one");
    usher_request_retry(fixture.channel, &visit.request);
    is_int(admit(fixture.channel, &visit), USHER_AGAIN, "with both avoided it waits");
    is_int(loaded(&fixture, class_ref).waiting, 1, "in the queue");
    visit.request.avoided_ns -= 50 * USHER_MS_NS;
    is_int(admit(fixture.channel, &visit), USHER_OK, "for 50 ms");
    usher_request_retry(fixture.channel, &visit.request);
    must(admit(fixture.channel, &visit));
    usher_request_retry(fixture.channel, &visit.request);
    is_int(admit(fixture.channel, &visit), USHER_AGAIN, "and again");
    must(usher_manager_set_class(fixture.manager, class_ref, USHER_CLASS_READY, 0, 0, NULL));
    is_int(admit(fixture.channel, &visit), USHER_OK, "or until something is published");
    usher_request_retry(fixture.channel, &visit.request);
    must(admit(fixture.channel, &visit));
    usher_request_retry(fixture.channel, &visit.request);
    visit.request.arrived_ns -= 31 * SECOND_NS;
    is_int(admit(fixture.channel, &visit), USHER_REFUSED, "not longer than appConnTimeout");
    ok(strstr(visit.request.reason, "no instance took the connection"), "reason: %s",
       visit.request.reason);
    is_int(loaded(&fixture, class_ref).admitted, 1, "it was admitted once in all this");
    uint32_t unreached = unreached_at(&fixture, 0) + unreached_at(&fixture, 1);
    is_int(unreached, 6, "and each connection that failed was counted at its endpoint");
    usher_worker_detach(fixture.channel);
    settle(&fixture);
    ok(find_leak(fixture.channel) == NULL, "nothing is left: %s", find_leak(fixture.channel));
    finish(&fixture);
}

static void test_states(void) {
    is_str(usher_request_state_name(USHER_COLD), "cold", "cold");
    is_str(usher_request_state_name(USHER_QUEUED), "queued", "queued");
    is_str(usher_request_state_name(USHER_TURNED_DOWN), "refused", "refused");
}

int main(void) {
    test_warm();
    test_outcomes();
    test_addresses();
    test_least_loaded();
    test_starting();
    test_queue_limit();
    test_queue_timeout();
    test_connect_timeout();
    test_verdict_over();
    test_stopped();
    test_verdicts();
    test_half_written_reason();
    test_replaced_class();
    test_changes_while_taking(drain_now, "draining");
    test_changes_while_taking(remove_now, "removal");
    test_replaced_while_reading();
    test_retry();
    test_states();
    return done_testing();
}
