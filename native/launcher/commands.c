/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/directory.h"
#include "launcher/endpoints.h"
#include "launcher/files.h"
#include "launcher/instances.h"
#include "launcher/link.h"
#include "launcher/log.h"
#include "launcher/loop.h"
#include "launcher/manager.h"
#include "launcher/memory.h"
#include "launcher/own_log.h"
#include "launcher/pages.h"
#include "launcher/permit.h"
#include "launcher/spawn.h"
#include "launcher/start.h"
#include "launcher/stop.h"
#include "launcher/upgrade.h"
#include "os/os.h"

#define ID_MAX ((int64_t)1 << 53) /* the manager counts in doubles */
#define FINISH_RETRY_NS (20 * NS_PER_MS)
#define DAY_MS 86400000

static void refuse(int64_t id, const failure_t *failure) {
    link_send(message_begin_failed(id, failure));
}

static void answer(const char *verb, int64_t id) {
    message_t *message = message_begin(verb);
    message_add_number(message, "id", id);
    link_send(message);
}

/* 0 when the field is missing or wrong: no id is. */
static int64_t id_in(const message_t *message, const char *name) {
    int64_t id;
    return message_number(message, name, 1, ID_MAX, &id) == 0 ? id : 0;
}

/* ---- endpoints ----------------------------------------------------------------------------- */

static endpoint_t *bind_endpoint(const message_t *message, int64_t id, failure_t *failure) {
    int64_t backlog = 0;
    endpoint_request_t request = {.id = id,
                                  .name = message_text_or(message, "name", ""),
                                  .tag = message_text_or(message, "tag", ""),
                                  .listen = message_text(message, "listen")};
    if ((request.listen != NULL && permit_listen(message, failure) < 0) ||
        message_optional_number(message, "backlog", 0, INT_MAX, &backlog, failure) < 0 ||
        spawn_find_user(message_text(message, "user"), message_text(message, "group"),
                        &request.owner, failure) < 0)
        return NULL;
    request.backlog = (int)backlog;
    endpoint_t *endpoint = endpoint_bind(&request, failure);
    const char *cursor = NULL, *server;
    while (endpoint != NULL && (server = message_next(message, "server", &cursor)) != NULL) {
        if (endpoint_link(endpoint, server, failure) < 0) {
            endpoint_close(endpoint, NULL);
            endpoint = NULL;
        }
    }
    return endpoint;
}

static void run_bind(const message_t *message, int64_t id) {
    failure_t failure;
    const endpoint_t *endpoint = bind_endpoint(message, id, &failure);
    if (endpoint == NULL) {
        refuse(id, &failure);
        return;
    }
    message_t *bound = message_begin("bound");
    message_add_number(bound, "id", id);
    message_add_number(bound, "inode", endpoint->inode);
    link_send(bound);
}

static void run_link(const message_t *message, int64_t id) {
    failure_t failure;
    endpoint_t *endpoint = endpoint_require(id, &failure);
    if (endpoint == NULL ||
        endpoint_link(endpoint, message_text_or(message, "server", ""), &failure) < 0)
        refuse(id, &failure);
    else
        answer("linked", id);
}

static refusal_answer_t refusal_in(const message_t *message) {
    int64_t seconds = 1;
    message_number(message, "retry_after_s", 0, DAY_MS, &seconds);
    return (refusal_answer_t){.reason = message_text_or(message, "refusal", ""),
                              .retry_after_s = (uint32_t)seconds,
                              .page = message_text(message, "page")};
}

static void run_close(const message_t *message, int64_t id) {
    endpoint_t *endpoint = endpoint_find(id);
    refusal_answer_t refusal = refusal_in(message);
    if (endpoint != NULL)
        endpoint_close(endpoint, message_text(message, "refusal") != NULL ? &refusal : NULL);
    answer("closed", id);
}

/* Where a program lives it may accept first, and we would wait for the next one to come. */
static void run_refuse(const message_t *message, int64_t id) {
    const endpoint_t *endpoint = endpoint_find(id);
    refusal_answer_t refusal = refusal_in(message);
    if (endpoint != NULL && !instances_live_on(id))
        endpoint_refuse(endpoint, &refusal);
}

/* ---- instances ----------------------------------------------------------------------------- */

static void run_signal(const message_t *message, int64_t id) {
    int64_t signal;
    if (message_number(message, "signal", 1, 64, &signal) < 0 ||
        instance_signal(id, (int)signal) < 0)
        log_warn("link.signal-refused", "id", decimal(id).text, "signal",
                 message_text_or(message, "signal", "none"), NULL);
}

static void run_look(const message_t *message, int64_t id) {
    failure_t failure;
    int64_t signal;
    if (message_number(message, "signal", 1, 64, &signal) < 0)
        signal = 0;
    if (instance_look(id, (int)signal, &failure) < 0)
        refuse(id, &failure);
}

static void run_snapshot(const message_t *message, int64_t id) {
    (void)message;
    failure_t failure;
    if (instance_snapshot(id) == 0)
        return;
    fail(&failure, "instance", ENOENT, "there is no instance with id %lld", (long long)id);
    refuse(id, &failure);
}

static void run_remember(const message_t *message, int64_t id) {
    (void)id;
    const char *key = message_text_or(message, "key", "");
    if (memory_set(key, message_text(message, "text")) < 0)
        log_warn("memory.refused", "key", key, NULL);
}

static void run_forget(const message_t *message, int64_t id) {
    (void)message;
    instance_forget(id);
}

/* ---- files of the runtime directory -------------------------------------------------------- */

static void add_name(int folder, const char *name, void *message) {
    (void)folder;
    message_add(message, "name", name);
}

static void run_registrations(const message_t *message, int64_t id) {
    (void)message;
    failure_t failure;
    message_t *list = message_begin("registrations");
    message_add_number(list, "id", id);
    if (files_each(".conf", add_name, list, &failure) < 0)
        refuse(id, &failure);
    else
        link_send(list);
}

/* `descriptors`, ended by -1, are closed. */
static void answer_with(const char *verb, int64_t id, int *descriptors, size_t count) {
    message_t *message = message_begin(verb);
    message_add_number(message, "id", id);
    link_send_with(message, descriptors);
    files_close(descriptors, count);
}

static void run_registration(const message_t *message, int64_t id) {
    failure_t failure;
    int fd = files_open_registration(message_text_or(message, "name", ""), &failure);
    if (fd < 0)
        refuse(id, &failure);
    else
        answer_with("registration", id, (int[]){fd, -1}, 1);
}

static void run_attach(const message_t *message, int64_t id) {
    failure_t failure;
    int cells, live;
    if (files_open_server(message_text_or(message, "server", ""), &cells, &live, &failure) < 0)
        refuse(id, &failure);
    else
        answer_with("attached", id, (int[]){cells, live, -1}, 2);
}

static void run_remove(const message_t *message, int64_t id) {
    (void)id;
    failure_t failure;
    const char *registration = message_text(message, "registration");
    const char *server = message_text(message, "server");
    if (registration != NULL && files_remove_registration(registration, &failure) < 0)
        log_warn("remove.failed", "error", failure.text, NULL);
    if (server != NULL && files_remove_server(server, &failure) < 0)
        log_warn("remove.failed", "error", failure.text, NULL);
}

static void run_page(const message_t *message, int64_t id) {
    (void)id;
    failure_t failure;
    int64_t index = 0, generation = 0;
    const char *cursor = NULL, *server;
    if (message_number(message, "index", 0, UINT32_MAX, &index) < 0 ||
        message_number(message, "generation", 1, UINT32_MAX, &generation) < 0) {
        log_error("link.bad-message", "verb", "page", "error",
                  "index= and generation= are expected", NULL);
        return;
    }
    while ((server = message_next(message, "server", &cursor)) != NULL) {
        if (page_put(server, (uint32_t)index, (uint32_t)generation, message_text(message, "text"),
                     &failure) < 0)
            log_warn("page.failed", "error", failure.text, NULL);
    }
}

/* ---- programs' files ------------------------------------------------------------------------ */

static void run_resolve(const message_t *message, int64_t id) {
    failure_t failure;
    char real[PATH_MAX];
    if (permit_resolve(message_text_or(message, "server", ""), message_text_or(message, "path", ""),
                       real, &failure) < 0) {
        refuse(id, &failure);
        return;
    }
    message_t *resolved = message_begin("resolved");
    message_add_number(resolved, "id", id);
    message_add(resolved, "real", real);
    link_send(resolved);
}

static void run_identify(const message_t *message, int64_t id) {
    failure_t failure;
    struct stat status;
    char identity[96] = "", real[PATH_MAX];
    const char *path = message_text_or(message, "path", "");
    if (permit_identify(path, &failure) < 0) {
        refuse(id, &failure);
        return;
    }
    bool is_there = stat(path, &status) == 0;
    if (is_there)
        snprintf(identity, sizeof(identity), "%ju.%ju.%lld%09ld.%jd", (uintmax_t)status.st_dev,
                 (uintmax_t)status.st_ino, (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
                 (intmax_t)status.st_size);
    message_t *identified = message_begin("identified");
    message_add_number(identified, "id", id);
    message_add(identified, "identity", identity);
    if (is_there && realpath(path, real) != NULL)
        message_add(identified, "real", real);
    link_send(identified);
}

/* ---- the manager itself -------------------------------------------------------------------- */

static void on_finish_due(alarm_t *alarm) {
    if (directory_try_finish() == 0)
        link_send(message_begin("last-look"));
    else
        alarm_set(alarm, usher_os_now_ns() + FINISH_RETRY_NS);
}

static alarm_t finish_alarm = {.on_due = on_finish_due};

static void run_finish(const message_t *message, int64_t id) {
    (void)message, (void)id;
    on_finish_due(&finish_alarm);
}

static void run_resume(const message_t *message, int64_t id) {
    (void)message, (void)id;
    commands_reset();
}

void commands_reset(void) {
    alarm_cancel(&finish_alarm);
    directory_resume();
}

static void run_reopen(const message_t *message, int64_t id) {
    (void)message;
    failure_t failure;
    int reopened = own_log_reopen(&failure);
    if (reopened < 0) {
        refuse(id, &failure);
        return;
    }
    message_t *answer = message_begin("reopened");
    message_add_number(answer, "id", id);
    if (own_log_path() != NULL)
        message_add(answer, "path", own_log_path());
    link_send_with(answer, (int[]){reopened > 0 ? STDERR_FILENO : -1, -1});
}

static void run_config(const message_t *message, int64_t id) {
    (void)message;
    failure_t failure;
    int fd = manager_reread_config(&failure);
    if (fd < 0)
        refuse(id, &failure);
    else
        answer_with("configured", id, (int[]){fd, -1}, 1);
}

static void run_ready(const message_t *message, int64_t id) {
    (void)message, (void)id;
    manager_is_ready();
}

static void run_quit(const message_t *message, int64_t id) {
    (void)id;
    stop_now(strcmp(message_text_or(message, "remove", "0"), "1") == 0);
}

static void run_alive(const message_t *message, int64_t id) {
    (void)message, (void)id;
    manager_is_alive();
}

static void run_upgrade(const message_t *message, int64_t id) {
    (void)message, (void)id;
    upgrade_begin();
}

/* ---- all of them --------------------------------------------------------------------------- */

static const struct {
    const char *verb;
    void (*run)(const message_t *message, int64_t id);
    bool needs_id;
} commands[] = {
    {"refuse", run_refuse, true},
    {"bind", run_bind, true},
    {"link", run_link, true},
    {"close", run_close, true},
    {"start", start_run, true},
    {"signal", run_signal, true},
    {"look", run_look, true},
    {"snapshot", run_snapshot, true},
    {"forget", run_forget, true},
    {"registrations", run_registrations, true},
    {"registration", run_registration, true},
    {"attach", run_attach, true},
    {"remove", run_remove, false},
    {"resolve", run_resolve, true},
    {"identify", run_identify, true},
    {"page", run_page, false},
    {"remember", run_remember, false},
    {"reopen", run_reopen, true},
    {"config", run_config, true},
    {"ready", run_ready, false},
    {"finish", run_finish, false},
    {"resume", run_resume, false},
    {"quit", run_quit, false},
    {"alive", run_alive, false},
    {"upgrade", run_upgrade, false},
};

void commands_run(const message_t *message) {
    const char *verb = message_verb(message);
    int64_t id = id_in(message, "id");
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].verb, verb) != 0)
            continue;
        if (commands[i].needs_id && id == 0)
            log_error("link.bad-message", "verb", verb, "error", "without a valid id", NULL);
        else
            commands[i].run(message, id);
        return;
    }
    log_error("link.bad-message", "verb", verb, "error", "unknown verb", NULL);
}
