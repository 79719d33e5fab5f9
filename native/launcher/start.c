/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/start.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "launcher/endpoints.h"
#include "launcher/files.h"
#include "launcher/gateway.h"
#include "launcher/instances.h"
#include "launcher/link.h"
#include "launcher/permit.h"
#include "launcher/secret.h"
#include "os/os.h"

#define START_TIMEOUT_MS 60000
#define DAY_MS 86400000
#define GATEWAY_WORDS 2 /* node and its script, before the arguments */

/* What has to be given back, whatever becomes of it. */
typedef struct {
    instance_request_t request;
    const char **arguments, **environment;
    checked_path_t checked;
    gateway_t gateway;
    int ends[2];                            /* the gateway's end of its link, and the manager's */
    int inherited[SPAWN_INHERITED_MAX + 1]; /* descriptors 3 and 4 of a gateway */
    int secret;
} start_t;

/* ---- lists --------------------------------------------------------------------------------- */

/* The values of a repeated field behind `ahead` free places, as a list that ends in NULL; NULL
 * without memory. They stay in the message. */
static const char **list_of(const message_t *message, const char *name, size_t ahead) {
    size_t count = ahead;
    const char *cursor = NULL, *value;
    while (message_next(message, name, &cursor) != NULL)
        count++;
    const char **list = calloc(count + 1, sizeof(*list));
    count = ahead;
    cursor = NULL;
    while (list != NULL && (value = message_next(message, name, &cursor)) != NULL)
        list[count++] = value;
    return list;
}

static int add_lists(const message_t *message, start_t *start, size_t ahead, failure_t *failure) {
    start->arguments = list_of(message, "arg", ahead);
    start->environment = list_of(message, "env", 0);
    if (start->arguments == NULL || start->environment == NULL)
        return fail(failure, "memory", ENOMEM, "no memory for arguments");
    start->request.program.arguments = start->arguments;
    start->request.program.environment = start->environment;
    return 0;
}

static int add_limits(const message_t *message, limits_t *limits, failure_t *failure) {
    const char *cursor = NULL, *limit;
    while ((limit = message_next(message, "limit", &cursor)) != NULL) {
        if (limits_add(limits, limit, failure) < 0)
            return -1;
    }
    return 0;
}

/* ---- programs ------------------------------------------------------------------------------ */

static int add_program(const message_t *message, start_t *start, failure_t *failure) {
    if (message_text(message, "secret") != NULL)
        return fail(failure, "message", EINVAL, "secret= is for gateways only");
    if (start->checked.folder >= 0)
        start->request.program.checked = &start->checked;
    return add_lists(message, start, 0, failure);
}

/* Its secret is opened with all rights that the launcher has, which its user has not. */
static int add_gateway(const message_t *message, const char *name, start_t *start,
                       failure_t *failure) {
    const char *secret = message_text(message, "secret");
    if (gateway_find(name, &start->gateway, failure) < 0 ||
        add_lists(message, start, GATEWAY_WORDS, failure) < 0)
        return -1;
    start->arguments[0] = start->gateway.node;
    start->arguments[1] = start->request.program.script = start->gateway.script;
    if (secret != NULL && (start->secret = secret_open(secret, failure)) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, start->ends) < 0)
        return fail(failure, "link", errno, "link to the gateway: %s", strerror(errno));
    start->request.link_end = start->ends[1];
    start->inherited[0] = start->ends[0];
    start->inherited[1] = start->secret;
    start->inherited[2] = -1;
    start->request.program.inherited = start->inherited;
    return 0;
}

/* ---- both ---------------------------------------------------------------------------------- */

/* What it serves on: an endpoint, or, as a service, what it makes itself. */
static int add_endpoint(const message_t *message, instance_request_t *request, failure_t *failure) {
    const char *service = message_text(message, "service");
    int64_t endpoint = 0;
    if (service != NULL) {
        request->program.listener = -1;
        if (strcmp(service, "1") == 0 && message_text(message, "endpoint") == NULL &&
            message_text(message, "gateway") == NULL)
            return 0;
        return fail(failure, "message", EINVAL,
                    "service=1 is expected, without endpoint= and gateway=");
    }
    message_number(message, "endpoint", 1, INT64_MAX, &endpoint);
    request->endpoint = endpoint_require(endpoint, failure);
    if (request->endpoint == NULL)
        return -1;
    request->program.listener = request->endpoint->fd;
    return 0;
}

static int add_rest(const message_t *message, instance_request_t *request, failure_t *failure) {
    int64_t nice = 0;
    request->start_timeout_ms = START_TIMEOUT_MS;
    request->tag = message_text_or(message, "tag", "");
    request->program.cwd = message_text_or(message, "cwd", "/");
    if (add_endpoint(message, request, failure) < 0 ||
        message_optional_number(message, "nice", -40, 40, &nice, failure) < 0 ||
        message_optional_number(message, "start_timeout_ms", 0, DAY_MS, &request->start_timeout_ms,
                                failure) < 0)
        return -1;
    request->log = message_text(message, "log");
    if (request->log != NULL && request->log[0] != '/')
        return fail(failure, "log", EINVAL, "log %s: an absolute path is expected", request->log);
    if (add_limits(message, &request->program.limits, failure) < 0)
        return -1;
    request->program.may_gain_privileges =
        strcmp(message_text_or(message, "setuid", "0"), "1") == 0;
    request->program.nice = (int)nice;
    return spawn_find_user(message_text(message, "user"), message_text(message, "group"),
                           &request->program.user, failure);
}

static int run(const message_t *message, start_t *start, failure_t *failure) {
    const char *gateway = message_text(message, "gateway");
    if (permit_start(message, &start->checked, failure) < 0)
        return -1;
    start->request.permitted_ns = usher_os_now_ns();
    if ((gateway == NULL ? add_program(message, start, failure)
                         : add_gateway(message, gateway, start, failure)) < 0 ||
        add_rest(message, &start->request, failure) < 0)
        return -1;
    start->request.user_found_ns = usher_os_now_ns();
    return instance_start(&start->request, failure);
}

void start_run(const message_t *message, int64_t id) {
    failure_t failure;
    start_t start = {.request = {.id = id, .link_end = -1},
                     .checked = {.folder = -1},
                     .ends = {-1, -1},
                     .secret = -1};
    if (run(message, &start, &failure) < 0)
        link_send(message_begin_failed(id, &failure));
    free(start.arguments);
    free(start.environment);
    files_close(start.ends, 2);
    files_close(&start.secret, 1);
    files_close(&start.checked.folder, 1);
}
