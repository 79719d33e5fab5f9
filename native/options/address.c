/* SPDX-License-Identifier: Apache-2.0 */
#include "options/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include "options/options.h"
#include "options/text.h"

#define ADDRESS_MAX 256 /* bytes of host:port, of a path less, with its NUL */
#define ROUTE_MAX 63
#define WEIGHT_MAX 100

/* A whole number from 1 to `most`, of `length` digits. */
static bool is_number(const char *text, size_t length, unsigned most) {
    unsigned number = 0;
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)text[i]))
            return false;
        number = number * 10 + (unsigned)(text[i] - '0');
        if (number > most)
            return false;
    }
    return number >= 1;
}

static bool is_port(const char *text) {
    return is_number(text, strlen(text), UINT16_MAX);
}

/* host:port or [v6]:port. A host of digits and points must be an address. */
static bool is_host(const char *text) {
    char host[ADDRESS_MAX];
    struct in6_addr address;
    bool bracketed = *text == '[';
    const char *end = bracketed ? strchr(text, ']') : strchr(text, ':');
    if (end == NULL)
        return false;
    const char *begin = text + bracketed;
    size_t length = (size_t)(end - begin);
    if (length == 0 || length >= sizeof host || end[bracketed] != ':')
        return false;
    memcpy(host, begin, length);
    host[length] = '\0';
    if (!is_port(end + bracketed + 1))
        return false;
    if (bracketed)
        return inet_pton(AF_INET6, host, &address) == 1;
    if (strspn(host, "0123456789.") == length)
        return inet_pton(AF_INET, host, &address) == 1;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)host[i]) && strchr("._-", host[i]) == NULL)
            return false;
    return host[0] != '-' && host[0] != '.';
}

/* A port, or an address (no name: nobody is asked) and a port. */
bool usher_is_listen(const char *text) {
    struct in_addr address;
    char host[INET_ADDRSTRLEN];
    if (is_port(text))
        return true;
    if (*text == '[')
        return is_host(text);
    size_t length = strcspn(text, ":");
    if (text[length] == '\0' || length >= sizeof host)
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    return inet_pton(AF_INET, host, &address) == 1 && is_port(text + length + 1);
}

int usher_loopback_check(const char *text, char *error, size_t error_size) {
    char quoted[USHER_QUOTED_MAX];
    bool is_loopback = strncmp(text, "127.", 4) == 0 || strncmp(text, "[::1]:", 6) == 0;
    if (is_loopback && usher_is_listen(text))
        return 0;
    usher_text_quote(text, strlen(text), quoted, sizeof quoted);
    return usher_text_fail(error, error_size,
                           "%s: expected a loopback address and a port, 127.0.0.1:PORT or "
                           "[::1]:PORT",
                           quoted);
}

/* ---- HOST ------------------------------------------------------------------------------------- */

size_t usher_host_address_length(const char *text) {
    return strcspn(text, ",");
}

bool usher_host_is_plain(const char *text) {
    return text[usher_host_address_length(text)] == '\0' && strncmp(text, "unix:", 5) != 0;
}

static int check_address(const char *text, size_t length, char *expected, size_t size) {
    char address[ADDRESS_MAX + sizeof ":65535"];
    struct sockaddr_un *unix_address = NULL;
    if (length > 5 && strncmp(text, "unix:/", 6) == 0) {
        if (length - 5 < sizeof unix_address->sun_path)
            return 0;
        return usher_text_fail(expected, size, "the path has %zu bytes, a socket's at most %zu",
                               length - 5, sizeof unix_address->sun_path - 1);
    }
    if (length < sizeof address) {
        memcpy(address, text, length);
        address[length] = '\0';
        if (is_host(address))
            return 0;
    }
    return usher_text_fail(expected, size,
                           "expected host:port or [IPv6 address]:port with a port from 1 to 65535, "
                           "or unix:/path");
}

static bool is_route(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("._-", text[i]) == NULL)
            return false;
    return length >= 1 && length <= ROUTE_MAX;
}

static bool is_activation(const char *text, size_t length) {
    static const char *const words[] = {"active", "disabled", "stopped"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == length && strncmp(words[i], text, length) == 0)
            return true;
    return false;
}

/* NAME=VALUE of `length` bytes: the attribute's bit, 0 when it is none. */
static unsigned read_attribute(const char *text, size_t length) {
    const char *sign = memchr(text, '=', length);
    if (sign == NULL)
        return 0;
    size_t name = (size_t)(sign - text), value = length - name - 1;
    if (name == 5 && strncmp(text, "route", 5) == 0)
        return is_route(sign + 1, value) ? 1 : 0;
    if (name == 6 && strncmp(text, "weight", 6) == 0)
        return is_number(sign + 1, value, WEIGHT_MAX) ? 2 : 0;
    if (name == 10 && strncmp(text, "activation", 10) == 0)
        return is_activation(sign + 1, value) ? 4 : 0;
    return 0;
}

int usher_host_check(const char *text, char *expected, size_t size) {
    size_t length = usher_host_address_length(text);
    unsigned seen = 0;
    if (check_address(text, length, expected, size) < 0)
        return -1;
    for (text += length; *text == ','; text += length) {
        text++;
        length = strcspn(text, ",");
        unsigned attribute = read_attribute(text, length);
        if (attribute == 0 || (seen & attribute) != 0)
            return usher_text_fail(expected, size,
                                   "behind the address expected ,route=NAME (letters, digits and . "
                                   "_ -; at most %d) ,weight=N (1 to %d) and ,activation=active, "
                                   "disabled or stopped, each at most once",
                                   ROUTE_MAX, WEIGHT_MAX);
        seen |= attribute;
    }
    return 0;
}
