/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/limits.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int resource;
} names[LIMITS_MAX] = {
    {"nofile", RLIMIT_NOFILE}, {"nproc", RLIMIT_NPROC}, {"core", RLIMIT_CORE},
    {"cpu", RLIMIT_CPU},       {"as", RLIMIT_AS},       {"data", RLIMIT_DATA},
    {"fsize", RLIMIT_FSIZE},   {"stack", RLIMIT_STACK}, {"memlock", RLIMIT_MEMLOCK}};

static bool find_resource(const char *name, size_t length, int *resource) {
    for (size_t i = 0; i < LIMITS_MAX; i++) {
        if (strlen(names[i].name) == length && strncmp(names[i].name, name, length) == 0) {
            *resource = names[i].resource;
            return true;
        }
    }
    return false;
}

/* A number, also with a point and with K, M or G, as long as it comes out whole. */
static bool parse_value(const char *text, rlim_t *value) {
    if (strcmp(text, "unlimited") == 0) {
        *value = RLIM_INFINITY;
        return true;
    }
    size_t digits = strspn(text, "0123456789.");
    if (text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    double number = strtod(text, &end); /* digits and a point only: nothing of a locale's */
    if (end != text + digits)
        return false;
    static const char units[] = "KMG";
    const char *unit = *end == '\0' ? NULL : strchr(units, *end & ~0x20);
    if (*end != '\0' && (unit == NULL || end[1] != '\0'))
        return false;
    for (int i = 0; unit != NULL && i <= unit - units; i++)
        number *= 1024;
    if (number > 9e15) /* beyond that a double is not exact, and it is no limit either */
        return false;
    *value = (rlim_t)number;
    return (double)*value == number;
}

int limits_add(limits_t *limits, const char *text, failure_t *failure) {
    const char *equals = strchr(text, '=');
    limit_t limit = {.text = text};
    if (equals == NULL || !find_resource(text, (size_t)(equals - text), &limit.resource) ||
        !parse_value(equals + 1, &limit.value))
        return fail(failure, "limit", EINVAL,
                    "limit %s: NAME=N is expected, NAME one of nofile, nproc, core, cpu, as, data, "
                    "fsize, stack, memlock, N a number, with K, M or G, or unlimited",
                    text);
    size_t at = 0;
    while (at < limits->count && limits->list[at].resource != limit.resource)
        at++;
    limits->list[at] = limit;
    if (at == limits->count)
        limits->count++;
    return 0;
}

int limits_apply(const limits_t *limits, failure_t *failure) {
    for (size_t i = 0; i < limits->count; i++) {
        const limit_t *limit = &limits->list[i];
        struct rlimit value = {.rlim_cur = limit->value, .rlim_max = limit->value}, now;
        if (setrlimit((__rlimit_resource_t)limit->resource, &value) == 0)
            continue;
        int error = errno;
        if (error == EPERM && getrlimit((__rlimit_resource_t)limit->resource, &now) == 0)
            return fail(failure, "limit", error,
                        "limit %s: more than the %llu that this manager itself may have",
                        limit->text, (unsigned long long)now.rlim_max);
        return fail(failure, "limit", error, "limit %s: %s", limit->text, strerror(error));
    }
    return 0;
}

void limits_read(rlim_t values[LIMITS_MAX]) {
    for (size_t i = 0; i < LIMITS_MAX; i++) {
        struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
        getrlimit((__rlimit_resource_t)names[i].resource, &limit);
        values[i] = limit.rlim_cur;
    }
}

const char *limits_name(size_t index) {
    return names[index].name;
}
