/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "launcher/credentials.h"
#include "launcher/state.h"

#define SOCKET_MODE 0660

/* ---- UNIX: whose directories? -------------------------------------------------------------- */

/* Only we may put, replace and remove things of ours in it. */
static bool is_ours_alone(const char *folder) {
    struct stat status;
    return lstat(folder, &status) == 0 && S_ISDIR(status.st_mode) &&
           (status.st_uid == 0 || status.st_uid == geteuid()) &&
           ((status.st_mode & 022) == 0 || (status.st_mode & S_ISVTX) != 0);
}

/* Make `path` canonical but for its last name, and see whether all directories on the way are ours
 * alone. */
static int resolve(char path[PATH_MAX], bool *trusted, failure_t *failure) {
    char folder[PATH_MAX];
    char *slash = strrchr(path, '/');
    const char *name = slash + 1;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return fail(failure, "listen", EINVAL, "socket %s: not the path of a file", path);
    *slash = '\0';
    if (realpath(slash == path ? "/" : path, folder) == NULL)
        return fail(failure, "listen", errno, "directory %s of socket %s: %s",
                    slash == path ? "/" : path, name, strerror(errno));
    char resolved[PATH_MAX];
    int length =
        snprintf(resolved, sizeof(resolved), "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name);
    if (length >= PATH_MAX)
        return fail(failure, "listen", ENAMETOOLONG, "socket %s: its path is too long", name);
    *trusted = is_ours_alone("/");
    for (char *at = resolved + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        *trusted = *trusted && is_ours_alone(resolved);
        *at = '/';
    }
    memcpy(path, resolved, (size_t)length + 1);
    return 0;
}

/* ---- UNIX: binding ------------------------------------------------------------------------- */

/* 0 when nothing is in the way (any more). */
static int clear_way(const char *path, const struct sockaddr_un *name, failure_t *failure) {
    struct stat status;
    if (lstat(path, &status) < 0)
        return errno == ENOENT
                   ? 0
                   : fail(failure, "bind", errno, "socket %s: %s", path, strerror(errno));
    if (!S_ISSOCK(status.st_mode))
        return fail(failure, "bind", EEXIST, "socket %s: a file that is no socket has this name",
                    path);
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return fail(failure, "socket", errno, "socket for %s: %s", path, strerror(errno));
    int error = connect(probe, (const struct sockaddr *)name, sizeof(*name)) == 0 ? 0 : errno;
    close(probe);
    if (error == ENOENT)
        return 0;
    if (error != ECONNREFUSED)
        return fail(failure, "bind", EADDRINUSE, "socket %s: %s", path,
                    error == EACCES ? "it belongs to somebody else"
                                    : "another program listens there");
    if (unlink(path) < 0 && errno != ENOENT)
        return fail(failure, "bind", errno, "socket %s, at which nobody listens: remove it: %s",
                    path, strerror(errno));
    return 0;
}

static int bind_file(address_t *address, const struct sockaddr_un *name, failure_t *failure) {
    if (clear_way(address->path, name, failure) < 0)
        return -1;
    mode_t mask = umask(0777 & ~SOCKET_MODE);
    int result = bind(address->fd, (const struct sockaddr *)name, sizeof(*name));
    int error = errno;
    umask(mask);
    if (result < 0)
        return fail(failure, "bind", error, "bind %s as uid %u: %s", address->path,
                    (unsigned)geteuid(), strerror(error));
    struct stat status;
    const spawn_user_t *user = &address->user;
    if ((user->is_other && !address->as_user && lchown(address->path, user->uid, user->gid) < 0) ||
        lstat(address->path, &status) < 0) {
        error = errno;
        unlink(address->path);
        return fail(failure, "bind", error, "socket %s: %s", address->path, strerror(error));
    }
    address->device = status.st_dev;
    address->inode = status.st_ino;
    return 0;
}

static int listen_unix(address_t *address, const char *path, failure_t *failure) {
    char resolved[PATH_MAX];
    bool trusted = false;
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (path[0] != '/' || strlen(path) >= PATH_MAX)
        return fail(failure, "listen", EINVAL, "socket %s: an absolute path is expected", path);
    strcpy(resolved, path);
    if (resolve(resolved, &trusted, failure) < 0)
        return -1;
    if (strlen(resolved) >= sizeof(name.sun_path))
        return fail(failure, "bind", ENAMETOOLONG,
                    "socket path %s has %zu bytes, the system allows %zu", resolved,
                    strlen(resolved), sizeof(name.sun_path) - 1);
    strcpy(name.sun_path, resolved);
    address->as_user = !trusted;
    address->path = strdup(resolved);
    address->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (address->path == NULL || address->fd < 0)
        return fail(failure, "socket", errno, "socket for %s: %s", resolved, strerror(errno));
    if (!address->as_user)
        return bind_file(address, &name, failure);
    if (credentials_take(&address->user) < 0)
        return fail(failure, "user", errno, "become uid %u for socket %s: %s",
                    (unsigned)address->user.uid, resolved, strerror(errno));
    int result = bind_file(address, &name, failure);
    credentials_give_back(&address->user);
    return result;
}

/* ---- TCP ----------------------------------------------------------------------------------- */

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} inet_name_t;

static bool parse_port(const char *text, uint16_t *port) {
    size_t digits = strspn(text, "0123456789");
    long value = digits > 0 && digits <= 5 && text[digits] == '\0' ? strtol(text, NULL, 10) : 0;
    *port = (uint16_t)value;
    return value >= 1 && value <= 65535;
}

/* ADDRESS:PORT or [IPv6]:PORT. */
static bool parse_inet(const char *text, inet_name_t *name, uint16_t *port) {
    char host[INET6_ADDRSTRLEN];
    bool bracketed = text[0] == '[';
    const char *begin = text + bracketed, *end = strchr(begin, bracketed ? ']' : ':');
    if (end == NULL || end[bracketed] != ':' || (size_t)(end - begin) >= sizeof(host) ||
        !parse_port(end + bracketed + 1, port))
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    if (bracketed) {
        name->v6.sin6_family = AF_INET6;
        name->v6.sin6_port = htons(*port);
        return inet_pton(AF_INET6, host, &name->v6.sin6_addr) == 1;
    }
    name->v4.sin_family = AF_INET;
    name->v4.sin_port = htons(*port);
    return inet_pton(AF_INET, host, &name->v4.sin_addr) == 1;
}

static int bind_inet(address_t *address, const inet_name_t *name, int only_v6) {
    static const int yes = 1;
    bool is_v6 = name->any.sa_family == AF_INET6;
    address->fd = socket(name->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (address->fd < 0)
        return -1;
    if (setsockopt(address->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
        (!is_v6 ||
         setsockopt(address->fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6)) == 0) &&
        bind(address->fd, &name->any, is_v6 ? sizeof(name->v6) : sizeof(name->v4)) == 0)
        return 0;
    int error = errno;
    close(address->fd);
    address->fd = -1;
    errno = error;
    return -1;
}

/* A port alone: every interface, IPv6 and IPv4; IPv4 only where there is no IPv6. */
static int bind_everywhere(address_t *address, uint16_t port) {
    inet_name_t v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
    if (bind_inet(address, &v6, 0) == 0)
        return 0;
    if (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
        return -1;
    inet_name_t v4 = {.v4 = {.sin_family = AF_INET, .sin_port = htons(port)}};
    return bind_inet(address, &v4, 0);
}

static int listen_tcp(address_t *address, const char *text, failure_t *failure) {
    inet_name_t name;
    int result;
    memset(&name, 0, sizeof(name));
    if (parse_port(text, &address->port))
        result = bind_everywhere(address, address->port);
    else if (parse_inet(text, &name, &address->port))
        result = bind_inet(address, &name, 1);
    else
        return fail(failure, "listen", EINVAL,
                    "address %s: PORT, ADDRESS:PORT or [IPv6 ADDRESS]:PORT is expected", text);
    if (result == 0)
        return 0;
    return fail(failure, "bind", errno, "bind TCP address %s: %s", text,
                errno == EACCES ? "ports below 1024 need root" : strerror(errno));
}

/* ---- both ---------------------------------------------------------------------------------- */

static int listen_at(address_t *address, int backlog, failure_t *failure) {
    const char *text = address->text;
    int result;
    if (strncmp(text, "unix:", 5) == 0)
        result = listen_unix(address, text + 5, failure);
    else if (strncmp(text, "tcp:", 4) == 0)
        result = listen_tcp(address, text + 4, failure);
    else
        return fail(failure, "listen", EINVAL, "address %s: unix:/PATH or tcp:… is expected", text);
    if (result < 0)
        return -1;
    if (listen(address->fd, backlog > 0 ? backlog : INT_MAX) == 0)
        return 0;
    fail(failure, "bind", errno, "listen on %s: %s", text, strerror(errno));
    address_remove(address);
    return -1;
}

address_t *address_listen(const char *text, const spawn_user_t *user, int backlog,
                          failure_t *failure) {
    address_t *address = calloc(1, sizeof(*address));
    if (address != NULL) {
        address->fd = -1;
        address->user = *user;
        address->text = strdup(text);
    }
    if (address == NULL || address->text == NULL) {
        free(address);
        fail(failure, "memory", ENOMEM, "address %s: no memory", text);
        return NULL;
    }
    if (listen_at(address, backlog, failure) == 0)
        return address;
    address_close(address);
    return NULL;
}

void address_describe(const address_t *address, message_t *record) {
    message_add(record, "listen", address->text);
    message_add_number(record, "port", address->port);
    state_add_user(record, &address->user);
    if (address->path == NULL)
        return;
    message_add(record, "file", address->path);
    message_add_number(record, "as_user", address->as_user);
    message_add_number(record, "file_device", (int64_t)address->device);
    message_add_number(record, "file_inode", (int64_t)address->inode);
}

static bool read_file(const message_t *record, address_t *address) {
    const char *path = message_text(record, "file");
    int64_t as_user, device, inode;
    if (path == NULL)
        return address->port != 0;
    if (message_number(record, "as_user", 0, 1, &as_user) < 0 ||
        message_number(record, "file_device", INT64_MIN, INT64_MAX, &device) < 0 ||
        message_number(record, "file_inode", INT64_MIN, INT64_MAX, &inode) < 0)
        return false;
    address->path = strdup(path);
    address->as_user = as_user != 0;
    address->device = (dev_t)device;
    address->inode = (ino_t)inode;
    return address->path != NULL;
}

address_t *address_from_record(const message_t *record) {
    int64_t port;
    address_t *address = calloc(1, sizeof(*address));
    if (address == NULL)
        return NULL;
    address->fd = -1;
    const char *text = message_text(record, "listen");
    if (text != NULL && (address->text = strdup(text)) != NULL &&
        message_number(record, "port", 0, UINT16_MAX, &port) == 0 &&
        state_user(record, &address->user) == 0) {
        address->port = (uint16_t)port;
        if (read_file(record, address))
            return address;
    }
    address_close(address);
    return NULL;
}

void address_remove(const address_t *address) {
    struct stat status;
    if (address->path == NULL || (address->as_user && credentials_take(&address->user) < 0))
        return;
    if (lstat(address->path, &status) == 0 && status.st_dev == address->device &&
        status.st_ino == address->inode)
        unlink(address->path);
    if (address->as_user)
        credentials_give_back(&address->user);
}

void address_close(address_t *address) {
    if (address->fd >= 0)
        close(address->fd);
    free(address->text);
    free(address->path);
    free(address);
}
