/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page: what the channel tells is what is shown, other people's bytes are harmless in each
 * format, a class is never shown with what its record's former class counted, and whatever workers
 * write into shared memory, a page has an end.
 */
#include "channel_steps.h"

#include <ctype.h>

#include "channel_fixture.h"
#include "scribble.h"
#include "status/text.h"

static const usher_status_facts_t facts = {
    .server_kind = "nginx", .server_version = "1.2.3", .problem = "there is <none>"};

static char shown[32u << 20];
static usher_status_page_t page;

/* The whole page, read in pieces of `step` bytes. */
static const char *show_in(const usher_channel_t *channel, usher_status_format_t format,
                           size_t step) {
    size_t length = 0, bytes;
    usher_status_begin(&page, channel, &facts, format);
    while ((bytes = usher_status_write(&page, shown + length, step)) > 0) {
        length += bytes;
        if (length + step >= sizeof(shown)) {
            fixture_bail("a page without an end", TAP_PLACE);
        }
    }
    shown[length] = '\0';
    return shown;
}

static const char *show(const usher_channel_t *channel, usher_status_format_t format) {
    return show_in(channel, format, 4096);
}

#define has(text, part, ...)                                    \
    do {                                                        \
        if (!ok(strstr((text), (part)) != NULL, __VA_ARGS__)) { \
            printf("# no %s in %.3000s\n", (part), (text));     \
        }                                                       \
    } while (0)

/* ---- JSON, as far as it must be right ----------------------------------------------------- */

static const char *skip_string(const char *at) {
    for (at++; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20) {
            return NULL;
        }
        at += *at == '\\' && at[1] != '\0';
    }
    return at + 1;
}

/* Strings end, brackets agree, and nothing follows. */
static bool is_json(const char *at) {
    char open[16];
    size_t depth = 0;
    while (*at != '\0') {
        if (*at == '"') {
            if ((at = skip_string(at)) == NULL) {
                return false;
            }
            continue;
        }
        if (*at == '{' || *at == '[') {
            if (depth == sizeof(open)) {
                return false;
            }
            open[depth++] = *at == '{' ? '}' : ']';
        } else if (*at == '}' || *at == ']') {
            if (depth == 0 || open[--depth] != *at) {
                return false;
            }
        } else if (*at == ',' && (at[1] == ',' || at[1] == ']' || at[1] == '}')) {
            return false;
        }
        at++;
    }
    return depth == 0;
}

/* ---- what is shown ------------------------------------------------------------------------ */

static void serve(fixture_t *fixture, const char *key, uint32_t times, usher_outcome_t outcome) {
    for (uint32_t i = 0; i < times; i++) {
        visit_t visit;
        must(ask(fixture->channel, &visit, key));
        usher_request_end(fixture->channel, &visit.request, outcome);
    }
}

static void test_values(void) {
    fixture_t fixture;
    visit_t visit;
    begin(&fixture);
    usher_manager_beat(fixture.manager);
    attach(&fixture, true);
    usher_class_limits_t limits = plain_limits;
    limits.flags = USHER_CLASS_KEEP_CONN | USHER_CLASS_CGI << USHER_CLASS_PROTOCOL_SHIFT;
    usher_ref_t app = add_ready_class(&fixture, "app", 2, 3);
    must(usher_manager_set_limits(fixture.manager, app, &limits));
    add_endpoint(&fixture, app, "9.0", 3, USHER_ENDPOINT_STARTING);
    usher_ref_t leaving = add_endpoint(&fixture, app, "8.0", 3, USHER_ENDPOINT_READY);
    must(usher_manager_set_endpoint(fixture.manager, leaving, USHER_ENDPOINT_DRAINING, 4711));
    usher_ref_t broken = add_class(&fixture, "broken", plain_limits);
    must(usher_manager_set_class(fixture.manager, broken, USHER_CLASS_FAILED, 503, 7,
                                 "[k1] exited with status 3"));
    serve(&fixture, "app", 5, USHER_OUTCOME_FINISHED);
    serve(&fixture, "app", 2, USHER_OUTCOME_FAILED);
    serve(&fixture, "app", 1, USHER_OUTCOME_ABORTED);
    is_int(ask(fixture.channel, &visit, "broken"), USHER_REFUSED, "broken is refused");
    must(ask(fixture.channel, &visit, "app"));

    const char *json = show(fixture.channel, USHER_STATUS_JSON);
    ok(is_json(json), "JSON");
    has(json, "\"servers\":[{\"name\":\"" SERVER "\"", "the server");
    has(json, "\"workers\":1,\"kind\":\"nginx\",\"version\":\"1.2.3\"", "its version");
    has(json, "\"state\":\"running\",\"silentMs\":", "the manager");
    has(json,
        "{\"name\":\"app\",\"kind\":\"static\",\"protocol\":\"cgi\",\"state\":\"ready\","
        "\"inFlight\":1,\"waiting\":0,\"places\":6,\"load\":0.166,\"instances\":[{\"pid\":4711,",
        "a class");
    has(json,
        "\"totals\":{\"arrivals\":9,\"admitted\":9,\"finished\":5,\"failed\":2,\"aborted\":1,"
        "\"refused\":0},\"waitingMs\":{",
        "what it counted");
    has(json, "\"state\":\"starting\"", "an instance that starts");
    has(json, "\"state\":\"draining\"", "one that leaves");
    has(json,
        "\"failure\":{\"status\":503,\"retryAfterS\":7,\"reason\":\"[k1] exited with status 3\"}",
        "why it failed");
    has(json, "\"totals\":{\"classes\":2,\"inFlight\":1,\"waiting\":0,\"arrivals\":10,", "all");

    const char *text = show(fixture.channel, USHER_STATUS_AUTO);
    has(text, "\nClass[0]Name: app\nClass[0]Kind: static\nClass[0]Protocol: cgi\n", "lines");
    has(text, "\nClass[0]Idle: 1\nClass[0]Busy: 1\nClass[0]Starting: 1\nClass[0]Draining: 1\n",
        "instances");
    has(text, "\nClass[0]Finished: 5\nClass[0]Failed: 2\n", "counts");
    has(text, "\nClass[1]FailureReason: [k1] exited with status 3\n", "a reason");
    has(text, "\nManagerState: running\n", "the manager");

    const char *html = show(fixture.channel, USHER_STATUS_HTML);
    has(html, "<bdi>app</bdi><td class=\"t\">static, cgi<td class=\"t\">ready", "a row");
    has(html, "<td class=\"t\">1 idle, 1 busy, 1 starting, 1 draining<td>1 / 6<td>0<td>9<td>2",
        "its instances and counts");
    has(html, "exited with status 3", "the reason");
    ok(strstr(html, "<script") == NULL, "no script");

    size_t length = strlen(json = show(fixture.channel, USHER_STATUS_AUTO));
    ok(strlen(show_in(fixture.channel, USHER_STATUS_AUTO, 1)) + 8 > length, "byte by byte");
    end(fixture.channel, &visit);
    usher_worker_detach(fixture.channel);
    finish(&fixture);
}

static void test_manager(void) {
    fixture_t fixture;
    begin(&fixture);
    _Atomic uint64_t *seen = &fixture.manager->table->header.manager_seen_ns;
    has(show(fixture.channel, USHER_STATUS_AUTO), "ManagerState: running\n", "it beats");
    atomic_fetch_sub(seen, 60000 * USHER_MS_NS);
    has(show(fixture.channel, USHER_STATUS_AUTO), "ManagerState: silent\n", "it was killed");
    has(show(fixture.channel, USHER_STATUS_HTML), "no sign of life for 60 s", "the page says so");
    atomic_store(seen, UINT64_MAX);
    has(show(fixture.channel, USHER_STATUS_AUTO), "ManagerSilentMs: 0\n", "of another moment");
    usher_manager_set_state(fixture.manager, USHER_MANAGER_STOPPED, 0);
    has(show(fixture.channel, USHER_STATUS_AUTO), "ManagerState: stopped\n", "it was stopped");
    finish(&fixture);

    has(show(NULL, USHER_STATUS_JSON), "\"problem\":\"there is \\u003cnone>\",\"runtimeDir\":null",
        "without a channel");
    ok(is_json(shown), "JSON");
    has(show(NULL, USHER_STATUS_HTML), "<p class=\"bad\">there is &lt;none&gt;</p>", "as HTML");
    has(show(NULL, USHER_STATUS_AUTO), "\nProblem: there is <none>\n", "as lines");
}

static void test_external(void) {
    fixture_t fixture;
    usher_ref_t ref, host;
    begin(&fixture);
    usher_class_identity_t identity = {
        .kind = USHER_KIND_EXTERNAL, .key = "hosts", .key_length = 5};
    usher_endpoint_address_t address = {
        .kind = USHER_ADDRESS_UNIX, .length = 12, .bytes = "/secret/sock"};
    must(usher_manager_add_class(fixture.manager, &identity, &plain_limits, &ref));
    must(usher_manager_add_endpoint(fixture.manager, ref, &address, 8, USHER_ENDPOINT_DOWN, 0,
                                    &host));
    must(usher_manager_add_endpoint(fixture.manager, ref, &address, 8, USHER_ENDPOINT_READY, 0,
                                    &host));
    must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_READY, 0, 0, NULL));
    has(show(fixture.channel, USHER_STATUS_JSON),
        "\"instances\":[],\"backends\":[{\"state\":\"down\",\"inFlight\":0,\"places\":8,"
        "\"hung\":false},{\"state\":\"up\",",
        "backends");
    ok(strstr(shown, "secret") == NULL, "no addresses");
    finish(&fixture);
}

/* Of other servers and refusals nothing is shown. */
static void test_hidden(void) {
    fixture_t fixture;
    usher_ref_t ref;
    begin(&fixture);
    usher_class_identity_t identity = {.kind = USHER_KIND_STATIC, .key = "others", .key_length = 6};
    identity.server_id = usher_hash("apache-test", strlen("apache-test"));
    must(usher_manager_add_class(fixture.manager, &identity, &plain_limits, &ref));
    identity.server_id = usher_hash(SERVER, strlen(SERVER));
    identity.key = "mine";
    identity.key_length = 4;
    must(usher_manager_add_class(fixture.manager, &identity, &plain_limits, &ref));
    ref = add_class(&fixture, "/scanned.php", plain_limits);
    must(
        usher_manager_set_class(fixture.manager, ref, USHER_CLASS_REFUSED, 404, 0, "no such file"));
    has(show(fixture.channel, USHER_STATUS_AUTO), "Class[0]Name: mine\n", "a class of this server");
    ok(strstr(shown, "others") == NULL, "none of another server");
    ok(strstr(shown, "scanned") == NULL, "no refusal");
    finish(&fixture);
}

/* ---- whose counts ------------------------------------------------------------------------- */

static void test_bases(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    begin(&fixture);
    attach(&fixture, true);
    usher_ref_t first = add_ready_class(&fixture, "first", 1, 4);
    serve(&fixture, "first", 3, USHER_OUTCOME_FINISHED);
    has(show(fixture.channel, USHER_STATUS_AUTO), "Class[0]Finished: 3\n", "the first class");
    usher_ref_t endpoint = {.index = 0, .generation = 1};
    must(usher_manager_remove_endpoint(fixture.manager, endpoint));
    must(usher_manager_remove_class(fixture.manager, first));
    usher_ref_t second = add_ready_class(&fixture, "second", 1, 4);
    is_int(second.index, first.index, "another one in its place");
    has(show(fixture.channel, USHER_STATUS_AUTO), "Class[0]Finished: 0\n", "begins with nothing");
    ok(strstr(shown, "WaitingMedianMs") == NULL, "no times either");
    serve(&fixture, "second", 2, USHER_OUTCOME_FINISHED);
    has(show(fixture.channel, USHER_STATUS_AUTO), "Class[0]Finished: 2\n", "counts its own");

    usher_manager_close(fixture.manager);
    must(usher_manager_open(fixture.runtime_dir, &fixture.manager, &error));
    has(show(fixture.channel, USHER_STATUS_AUTO), "Class[0]Finished: 2\n", "without a manager");
    must(usher_manager_attach_server(fixture.manager, SERVER, fixture.live_path, &fixture.server,
                                     &error));
    serve(&fixture, "second", 1, USHER_OUTCOME_FINISHED);
    has(show(fixture.channel, USHER_STATUS_AUTO), "Class[0]Finished: 3\n", "and with the next one");

    atomic_store(&fixture.channel->cells->bases[second.index].generation, 4711);
    has(show(fixture.channel, USHER_STATUS_JSON), "\"totals\":null,\"waitingMs\":null",
        "without a base nothing is known");
    usher_manager_detach_server(fixture.manager, fixture.server);
    must(usher_manager_attach_server(fixture.manager, SERVER, fixture.live_path, &fixture.server,
                                     &error));
    has(show(fixture.channel, USHER_STATUS_AUTO), "Class[0]Finished: 0\n", "until there is one");
    usher_worker_detach(fixture.channel);
    finish(&fixture);
}

/* A manager that is killed while it makes a class leaves nothing that is told of another one. */
static fixture_t *dying;

static void publish_second(fixture_t *fixture, void *step) {
    arm_steps(*(uint32_t *)step, SIGKILL);
    add_class(fixture, "second", plain_limits);
}

static void test_killed_manager(void) {
    uint32_t at = 1, wrong = 0;
    int status = 256 + SIGKILL;
    for (; at < 40 && status == 256 + SIGKILL; at++) {
        fixture_t fixture;
        begin(&fixture);
        dying = &fixture;
        attach(&fixture, true);
        usher_ref_t first = add_ready_class(&fixture, "first", 1, 4);
        serve(&fixture, "first", 3, USHER_OUTCOME_FINISHED);
        usher_ref_t endpoint = {.index = 0, .generation = 1};
        must(usher_manager_remove_endpoint(fixture.manager, endpoint));
        must(usher_manager_remove_class(fixture.manager, first));
        status = reap(spawn(publish_second, &fixture, &at));
        show(fixture.channel, USHER_STATUS_AUTO);
        wrong += strstr(shown, "Finished: 3") != NULL || strstr(shown, "first") != NULL;
        usher_worker_detach(fixture.channel);
        finish(&fixture);
    }
    ok(at > 3 && status == 0 && wrong == 0, "killed at %u steps, %u pages are wrong", at - 2,
       wrong);
}

/* Another class comes into the record while it is read. */
static fixture_t *replaced;
static bool has_replaced;

static void replace(const char *name) {
    if (strcmp(name, "look: read") == 0 && !has_replaced) {
        has_replaced = true;
        usher_ref_t old = {0, atomic_load(&replaced->channel->table->classes[0].generation)};
        must(usher_manager_remove_class(replaced->manager, old));
        add_class(replaced, "new", plain_limits);
    }
}

static void test_replaced(void) {
    fixture_t fixture;
    begin(&fixture);
    replaced = &fixture;
    add_class(&fixture, "old", plain_limits);
    step_watch = replace;
    show(fixture.channel, USHER_STATUS_AUTO);
    step_watch = NULL;
    has(shown, "Class[0]Name: new\n", "the class that is there now");
    ok(strstr(shown, "Name: old") == NULL, "nothing of the other one");
    finish(&fixture);
}

/* ---- harmless ----------------------------------------------------------------------------- */

static void check_escape(void (*put)(usher_text_t *, const char *, size_t), const char *bytes,
                         const char *expected, const char *what) {
    char buffer[256];
    usher_text_t text = {.at = buffer, .end = buffer + sizeof(buffer) - 1};
    put(&text, bytes, strlen(bytes));
    *text.at = '\0';
    is_str(buffer, expected, "%s", what);
}

#define FFFD "\xef\xbf\xbd"

static void test_escapes(void) {
    check_escape(usher_put_html, "<b a=\"x\">'&amp;", "&lt;b a=&quot;x&quot;&gt;&#39;&amp;amp;",
                 "HTML: what has a meaning");
    check_escape(usher_put_html, "h\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
                 "h\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "HTML: letters stay");
    check_escape(usher_put_html,
                 "a\x1b[31m\n\x7f\xc2\x85"
                 "b",
                 "a" FFFD "[31m" FFFD FFFD FFFD "b", "HTML: controls");
    check_escape(usher_put_html,
                 "a\xe2\x80\xae"
                 "b\xe2\x81\xa6",
                 "a" FFFD "b" FFFD, "HTML: what turns text around");
    check_escape(usher_put_json, "a\"\\\n\x01</b>", "a\\u0022\\u005c\\u000a\\u0001\\u003c/b>",
                 "JSON: what has a meaning");
    check_escape(usher_put_json,
                 "\xff"
                 "a\xc3",
                 FFFD "a" FFFD, "JSON: no UTF-8");
    check_escape(usher_put_json, "\xed\xa0\x80\xc0\x80\xf4\x90\x80\x80",
                 FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD,
                 "JSON: surrogates, overlong, too great");
    check_escape(usher_put_line, "a b\r\nState: 50%\xc3\xa4", "a b%0D%0AState: 50%25%C3%A4",
                 "a line stays a line");

    char small[4];
    usher_text_t text = {.at = small, .end = small + sizeof(small)};
    usher_put(&text, "abc");
    usher_put(&text, "de");
    usher_put(&text, "f");
    is_int(text.at - small, 3, "what does not fit is left out, and what follows");
}

/* Every class has the longest name, of bytes that take most room, reason and all instances. */
static void test_longest(void) {
    static const struct {
        usher_status_format_t format;
        char worst;
    } cases[] = {{USHER_STATUS_HTML, '"'}, {USHER_STATUS_JSON, '\1'}, {USHER_STATUS_AUTO, '\xff'}};
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fixture_t fixture;
        char key[USHER_KEY_MAX], reason[USHER_REASON_MAX];
        usher_ref_t ref = {0, 0};
        begin(&fixture);
        memset(key, cases[i].worst, sizeof(key));
        memset(reason, cases[i].worst == '\1' ? '"' : cases[i].worst, sizeof(reason));
        key[sizeof(key) - 1] = reason[sizeof(reason) - 1] = '\0';
        ref = add_class(&fixture, key, plain_limits);
        for (uint32_t n = 0; n < USHER_CLASS_ENDPOINTS_MAX; n++) {
            usher_ref_t endpoint =
                add_endpoint(&fixture, ref, "s", UINT32_MAX, USHER_ENDPOINT_STARTING);
            must(usher_manager_set_endpoint(fixture.manager, endpoint, USHER_ENDPOINT_STARTING,
                                            UINT32_MAX));
            atomic_store(&fixture.channel->places->places[endpoint.index].in_use, USHER_COUNT_MAX);
        }
        usher_load_record_t *load = &fixture.channel->cells->workers[0].load[ref.index];
        memset(load, 0xff, sizeof(*load));
        atomic_store(&fixture.channel->cells->header.worker_slots, 1);
        atomic_store(&fixture.channel->cells->workers[0].groups[0], UINT64_MAX);
        must(usher_manager_set_class(fixture.manager, ref, USHER_CLASS_FAILED, 503, UINT32_MAX,
                                     reason));
        size_t length = strlen(show(fixture.channel, cases[i].format));
        ok(length > 6 * 1023 || cases[i].format == USHER_STATUS_AUTO, "%zu bytes", length);
        ok(page.next == 1 && page.classes == 1, "one class");
        const char *last = cases[i].format == USHER_STATUS_HTML   ? "</html>\n"
                           : cases[i].format == USHER_STATUS_JSON ? "}}\n"
                                                                  : "Refused: 4294967295\n";
        is_str(shown + length - strlen(last), last, "it ends as it should");
        if (cases[i].format == USHER_STATUS_JSON) {
            ok(is_json(shown), "JSON");
            has(shown, "\"retryAfterS\":4294967295,\"reason\":\"\\u0022", "whole");
        }
        finish(&fixture);
    }
}

static void test_times(void) {
    uint64_t histogram[USHER_HISTOGRAM_BUCKETS] = {0};
    usher_times_t times = usher_times_of(histogram, 5);
    is_int(times.count, 0, "none");
    histogram[10] = 100; /* 1024 to 2048 µs */
    times = usher_times_of(histogram, 150000);
    is_int(times.mean_us, 1500, "mean");
    is_int(times.median_us, 1536, "median: in the middle of the bucket");
    is_int(times.p99_us, 2037, "p99");
    histogram[USHER_HISTOGRAM_BUCKETS - 1] = 100;
    times = usher_times_of(histogram, 150000);
    is_int(times.p99_us, 1 << (USHER_HISTOGRAM_BUCKETS - 1), "where the last bucket begins");
}

static void test_query(void) {
    static const struct {
        const char *query;
        usher_status_format_t format;
    } cases[] = {{"", USHER_STATUS_HTML},      {"json", USHER_STATUS_JSON},
                 {"auto", USHER_STATUS_AUTO},  {"a=b&json", USHER_STATUS_JSON},
                 {"auto&", USHER_STATUS_AUTO}, {"jsonp", USHER_STATUS_HTML},
                 {"&&", USHER_STATUS_HTML},    {"json=1", USHER_STATUS_HTML}};
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is_int(usher_status_format(cases[i].query, strlen(cases[i].query)), cases[i].format, "?%s",
               cases[i].query);
    }
    is_int(usher_status_format(NULL, 0), USHER_STATUS_HTML, "no query");
}

/* ---- hostile writers ---------------------------------------------------------------------- */

#define PAGES 600u  /* at least, and */
#define ROUNDS 200u /* of a hundred moves each, meanwhile */

typedef struct {
    uint64_t seed;
    _Atomic uint32_t rounds;
} hostile_t;

static void scribble_all(fixture_t *fixture, void *argument) {
    hostile_t *hostile = argument;
    scribbler_t scribbler = {.table = fixture->channel->table,
                             .places = fixture->channel->places,
                             .cells = fixture->channel->cells,
                             .random = hostile->seed | 1};
    for (;;) {
        for (uint32_t i = 0; i < 100; i++) {
            scribble(&scribbler);
        }
        atomic_fetch_add(&hostile->rounds, 1);
    }
}

static void test_hostile(void) {
    fixture_t fixture;
    hostile_t *hostile = share(sizeof(*hostile));
    uint32_t wrong = 0, missing = 0, pages = 0;
    begin(&fixture);
    attach(&fixture, true);
    add_ready_class(&fixture, "one", 3, 2);
    add_ready_class(&fixture, "two", 1, 1);
    serve(&fixture, "one", 3, USHER_OUTCOME_FINISHED);
    hostile->seed = usher_os_now_ns();
    printf("# seed %llu\n", (unsigned long long)hostile->seed);
    pid_t pid = spawn(scribble_all, &fixture, hostile);
    for (; pages < PAGES || atomic_load(&hostile->rounds) < ROUNDS; pages++) {
        usher_status_format_t format = (usher_status_format_t)(pages % 3);
        const char *text = show(fixture.channel, format);
        wrong += format == USHER_STATUS_JSON && !is_json(text);
        missing += !strstr(text, "one") || !strstr(text, "two") || page.classes != 2;
    }
    kill(pid, SIGKILL);
    reap(pid);
    ok(wrong == 0 && missing == 0, "%u pages: %u are broken, %u lack a class", pages, wrong,
       missing);
    munmap(hostile, sizeof(*hostile));
    usher_worker_detach(fixture.channel);
    finish(&fixture);
}

/* ---- many --------------------------------------------------------------------------------- */

static void test_many(void) {
    fixture_t fixture;
    begin(&fixture);
    for (uint32_t i = 0; i < USHER_CLASSES_MAX; i++) {
        char key[32];
        snprintf(key, sizeof(key), "/srv/app-%u.fcgi", i);
        add_class(&fixture, key, plain_limits);
    }
    ok(is_json(show(fixture.channel, USHER_STATUS_JSON)), "JSON of %u classes", USHER_CLASSES_MAX);
    is_int(page.classes, USHER_CLASSES_MAX, "all are there");
    has(shown, "/srv/app-2047.fcgi", "the last one too");
    ok(sizeof(page) < 65536, "the page in the making takes %zu bytes", sizeof(page));
    finish(&fixture);
}

int main(void) {
    test_values();
    test_manager();
    test_external();
    test_hidden();
    test_bases();
    test_killed_manager();
    test_replaced();
    test_escapes();
    test_longest();
    test_times();
    test_query();
    test_hostile();
    test_many();
    return done_testing();
}
