/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/endpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher/directory.h"
#include "launcher/link.h"
#include "launcher/log.h"
#include "launcher/state.h"

#define NAME_MAX_BYTES 24
#define KIND "endpoint"

static endpoint_t *endpoints;
static int64_t highest_id;

int64_t endpoints_highest_id(void) {
    return highest_id;
}

void endpoints_note_id(int64_t id) {
    if (id > highest_id)
        highest_id = id;
}

void endpoints_list(void) {
    for (const endpoint_t *endpoint = endpoints; endpoint != NULL; endpoint = endpoint->next) {
        message_t *message = message_begin("endpoint");
        message_add_number(message, "id", endpoint->id);
        message_add(message, "name", endpoint->name);
        message_add_text(message, "tag", endpoint->tag, strlen(endpoint->tag));
        message_add_number(message, "inode", endpoint->inode);
        if (endpoint->address != NULL)
            message_add(message, "listen", endpoint->address->text);
        if (endpoint->fd < 0)
            message_add_number(message, "detached", 1);
        for (uint32_t i = 0; i < endpoint->server_count; i++)
            message_add(message, "server", endpoint->servers[i]);
        link_send(message);
    }
}

endpoint_t *endpoint_find(int64_t id) {
    endpoint_t *endpoint = endpoints;
    while (endpoint != NULL && endpoint->id != id)
        endpoint = endpoint->next;
    return endpoint;
}

endpoint_t *endpoint_require(int64_t id, failure_t *failure) {
    endpoint_t *endpoint = endpoint_find(id);
    if (endpoint == NULL)
        fail(failure, "endpoint", ENOENT, "there is no endpoint with id %lld", (long long)id);
    return endpoint;
}

bool endpoint_has_name(const char *name) {
    const endpoint_t *endpoint = endpoints;
    while (endpoint != NULL && strcmp(endpoint->name, name) != 0)
        endpoint = endpoint->next;
    return endpoint != NULL;
}

static void release(endpoint_t *endpoint) {
    if (endpoint->address != NULL)
        address_close(endpoint->address);
    else if (endpoint->fd >= 0)
        close(endpoint->fd);
    for (uint32_t i = 0; i < endpoint->server_count; i++)
        free(endpoint->servers[i]);
    free(endpoint->servers);
    free(endpoint->name);
    free(endpoint->tag);
    free(endpoint->path);
    free(endpoint);
}

/* ---- records ------------------------------------------------------------------------------- */

static int record(const endpoint_t *endpoint, failure_t *failure) {
    message_t *message = message_begin(KIND);
    message_add(message, "era", state_era());
    message_add(message, "name", endpoint->name);
    message_add_text(message, "tag", endpoint->tag, strlen(endpoint->tag));
    message_add(message, "path", endpoint->path);
    message_add_number(message, "inode", endpoint->inode);
    if (endpoint->address != NULL)
        address_describe(endpoint->address, message);
    for (uint32_t i = 0; i < endpoint->server_count; i++)
        message_add(message, "server", endpoint->servers[i]);
    return state_save(endpoint->id, message, failure);
}

/* ---- binding ------------------------------------------------------------------------------- */

static int check_name(int64_t id, const char *name, failure_t *failure) {
    size_t length = strlen(name);
    if (length == 0 || length > NAME_MAX_BYTES || name[0] == '.' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.-") != length)
        return fail(failure, "name", EINVAL,
                    "endpoint name \"%s\": 1 to %d of a-z 0-9 . - are allowed, no . in front", name,
                    NAME_MAX_BYTES);
    for (const endpoint_t *other = endpoints; other != NULL; other = other->next) {
        if (other->id == id || strcmp(other->name, name) == 0)
            return fail(failure, "name", EEXIST, "endpoint %s (id %lld) exists already",
                        other->name, (long long)other->id);
    }
    return 0;
}

static int note_inode(endpoint_t *endpoint, failure_t *failure) {
    struct stat status;
    if (fstat(endpoint->fd, &status) < 0)
        return fail(failure, "socket", errno, "socket for %s: %s", endpoint->path, strerror(errno));
    endpoint->inode = (uint32_t)status.st_ino;
    return 0;
}

static int listen_in_runtime(endpoint_t *endpoint, int backlog, failure_t *failure) {
    if (asprintf(&endpoint->path, "%s/sockets/%s", directory_path(), endpoint->name) < 0) {
        endpoint->path = NULL;
        return fail(failure, "memory", ENOMEM, "endpoint %s: no memory", endpoint->name);
    }
    const char *path = endpoint->path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length >= sizeof(address.sun_path))
        return fail(failure, "bind", ENAMETOOLONG,
                    "socket path %s has %zu bytes, the system allows %zu", path, length,
                    sizeof(address.sun_path) - 1);
    memcpy(address.sun_path, path, length + 1);
    /* Blocking: O_NONBLOCK would be shared with the program, and libfcgi, php-cgi and Perl FCGI
     * exit when accept() says EAGAIN. */
    endpoint->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (endpoint->fd < 0)
        return fail(failure, "socket", errno, "socket for %s: %s", path, strerror(errno));
    if (note_inode(endpoint, failure) < 0)
        return -1;
    unlinkat(directory_sockets_fd(), endpoint->name, 0);
    if (bind(endpoint->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return fail(failure, "bind", errno, "bind %s: %s", path, strerror(errno));
    /* The folders it stands in say who may connect. */
    if (fchmodat(directory_sockets_fd(), endpoint->name, 0666, 0) < 0)
        return fail(failure, "bind", errno, "chmod %s: %s", path, strerror(errno));
    if (listen(endpoint->fd, backlog > 0 ? backlog : INT_MAX) < 0)
        return fail(failure, "listen", errno, "listen on %s: %s", path, strerror(errno));
    return 0;
}

static int listen_in_public(endpoint_t *endpoint, const endpoint_request_t *request,
                            failure_t *failure) {
    address_t *address =
        address_listen(request->listen, &request->owner, request->backlog, failure);
    if (address == NULL)
        return -1;
    endpoint->address = address;
    endpoint->fd = address->fd;
    endpoint->path = strdup(address->path != NULL ? address->path : address->text);
    if (endpoint->path == NULL)
        return fail(failure, "memory", ENOMEM, "endpoint %s: no memory", endpoint->name);
    return note_inode(endpoint, failure);
}

static void remove_files(const endpoint_t *endpoint) {
    if (endpoint->address != NULL)
        address_remove(endpoint->address);
    else
        unlinkat(directory_sockets_fd(), endpoint->name, 0);
}

endpoint_t *endpoint_bind(const endpoint_request_t *request, failure_t *failure) {
    if (check_name(request->id, request->name, failure) < 0)
        return NULL;
    endpoint_t *endpoint = calloc(1, sizeof(*endpoint));
    if (endpoint == NULL) {
        fail(failure, "memory", ENOMEM, "endpoint %s: no memory", request->name);
        return NULL;
    }
    endpoint->id = request->id;
    endpoint->fd = -1;
    endpoint->name = strdup(request->name);
    endpoint->tag = strdup(request->tag);
    int result;
    if (endpoint->name == NULL || endpoint->tag == NULL)
        result = fail(failure, "memory", ENOMEM, "endpoint %s: no memory", request->name);
    else if (request->listen != NULL)
        result = listen_in_public(endpoint, request, failure);
    else
        result = listen_in_runtime(endpoint, request->backlog, failure);
    if (result < 0 || record(endpoint, failure) < 0) {
        if (endpoint->name != NULL)
            remove_files(endpoint);
        release(endpoint);
        return NULL;
    }
    endpoint->next = endpoints;
    endpoints = endpoint;
    endpoints_note_id(request->id);
    return endpoint;
}

/* ---- links --------------------------------------------------------------------------------- */

static bool is_linked(const endpoint_t *endpoint, const char *server) {
    for (uint32_t i = 0; i < endpoint->server_count; i++) {
        if (strcmp(endpoint->servers[i], server) == 0)
            return true;
    }
    return false;
}

static int remember_server(endpoint_t *endpoint, const char *server) {
    char **grown = realloc(endpoint->servers, (endpoint->server_count + 1) * sizeof(*grown));
    char *name = strdup(server);
    if (grown != NULL)
        endpoint->servers = grown;
    if (grown == NULL || name == NULL) {
        free(name);
        return -1;
    }
    endpoint->servers[endpoint->server_count++] = name;
    return 0;
}

static int link_into(int folder, const char *name) {
    if (linkat(directory_sockets_fd(), name, folder, name, 0) == 0)
        return 0;
    if (errno != EEXIST)
        return -1;
    unlinkat(folder, name, 0); /* a former launcher's */
    return linkat(directory_sockets_fd(), name, folder, name, 0);
}

int endpoint_link(endpoint_t *endpoint, const char *server, failure_t *failure) {
    if (endpoint->address != NULL)
        return fail(failure, "link", EINVAL,
                    "endpoint %s has the public address %s: no links to it", endpoint->name,
                    endpoint->address->text);
    if (!directory_is_server_name(server))
        return fail(failure, "link", EINVAL, "\"%s\" cannot be the name of a web server", server);
    if (is_linked(endpoint, server))
        return 0;
    int folder = directory_open_server(server);
    if (folder < 0)
        return fail(failure, "link", errno, "folder %s/%s of the web server: %s", directory_path(),
                    server, strerror(errno));
    int result = link_into(folder, endpoint->name);
    if (result < 0)
        fail(failure, "link", errno, "link %s to %s/%s/%s: %s", endpoint->path, directory_path(),
             server, endpoint->name, strerror(errno));
    else if (remember_server(endpoint, server) < 0) {
        unlinkat(folder, endpoint->name, 0);
        result = fail(failure, "memory", ENOMEM, "endpoint %s: no memory", endpoint->name);
    } else {
        result = record(endpoint, failure);
    }
    close(folder);
    return result;
}

/* ---- closing ------------------------------------------------------------------------------- */

static void unlink_names(const endpoint_t *endpoint) {
    for (uint32_t i = 0; i < endpoint->server_count; i++) {
        int folder = directory_open_server(endpoint->servers[i]);
        if (folder < 0)
            continue;
        unlinkat(folder, endpoint->name, 0);
        close(folder);
    }
    remove_files(endpoint);
}

void endpoint_close(endpoint_t *endpoint, const refusal_answer_t *refusal) {
    endpoint_t **link = &endpoints;
    while (*link != endpoint)
        link = &(*link)->next;
    *link = endpoint->next;
    unlink_names(endpoint);
    state_remove(KIND, endpoint->id);
    /* nobody can connect any more, so whoever waits now is all there is */
    if (refusal != NULL && endpoint->fd >= 0)
        refuse_waiting(endpoint->fd, refusal);
    release(endpoint);
}

void endpoint_refuse(const endpoint_t *endpoint, const refusal_answer_t *refusal) {
    if (endpoint->fd >= 0)
        refuse_waiting(endpoint->fd, refusal);
}

void endpoints_close_all(void) {
    while (endpoints != NULL)
        endpoint_close(endpoints, NULL);
}

/* ---- of a former launcher ------------------------------------------------------------------ */

static endpoint_t *read_record(int64_t id, const message_t *record) {
    const char *name = message_text(record, "name"), *tag = message_text(record, "tag");
    const char *path = message_text(record, "path"), *era = message_text(record, "era");
    bool is_public = message_text(record, "listen") != NULL;
    int64_t inode;
    failure_t failure;
    if (name == NULL || tag == NULL || path == NULL || era == NULL ||
        message_number(record, "inode", 0, UINT32_MAX, &inode) < 0 ||
        check_name(id, name, &failure) < 0)
        return NULL;
    endpoint_t *endpoint = calloc(1, sizeof(*endpoint));
    if (endpoint == NULL)
        return NULL;
    endpoint->id = id;
    endpoint->fd = -1;
    /* inodes of sockets begin anew with the system */
    endpoint->inode = strcmp(era, state_era()) == 0 ? (uint32_t)inode : 0;
    endpoint->name = strdup(name);
    endpoint->tag = strdup(tag);
    endpoint->path = strdup(path);
    if (is_public)
        endpoint->address = address_from_record(record);
    if (endpoint->name != NULL && endpoint->tag != NULL && endpoint->path != NULL &&
        is_public == (endpoint->address != NULL))
        return endpoint;
    release(endpoint);
    return NULL;
}

int endpoint_restore(int64_t id, const message_t *record) {
    endpoint_t *endpoint = read_record(id, record);
    if (endpoint == NULL)
        return -1;
    const char *cursor = NULL, *server;
    while ((server = message_next(record, "server", &cursor)) != NULL) {
        if (directory_is_server_name(server) && !is_linked(endpoint, server))
            remember_server(endpoint, server);
    }
    endpoint->next = endpoints;
    endpoints = endpoint;
    return 0;
}

void endpoint_attach(endpoint_t *endpoint, int fd) {
    endpoint->fd = fd;
    if (endpoint->address != NULL)
        endpoint->address->fd = fd;
}

void endpoints_each_detached(void (*on_endpoint)(endpoint_t *endpoint)) {
    for (endpoint_t *endpoint = endpoints; endpoint != NULL; endpoint = endpoint->next) {
        if (endpoint->fd < 0)
            on_endpoint(endpoint);
    }
}

void endpoints_close_lost(bool (*lives_on)(int64_t id)) {
    for (endpoint_t *endpoint = endpoints, *next; endpoint != NULL; endpoint = next) {
        next = endpoint->next;
        if (endpoint->fd < 0 && !lives_on(endpoint->id))
            endpoint_close(endpoint, NULL);
    }
}
