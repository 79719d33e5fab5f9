/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STEP "gateway"
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"

static const launch_options_t *options;

void gateway_open(const launch_options_t *launch_options) {
    options = launch_options;
}

bool gateway_is_name(const char *name) {
    return strcmp(name, "cgi") == 0 || strcmp(name, "ajp") == 0;
}

/* As execvp() finds usherd's: exec of a gateway takes a path. */
static int find_node(char node[PATH_MAX], failure_t *failure) {
    const char *name = options->node, *path = getenv("PATH");
    if (strchr(name, '/') != NULL) {
        if (snprintf(node, PATH_MAX, "%s", name) < PATH_MAX)
            return 0;
        return fail(failure, STEP, ENAMETOOLONG, "node %s: its path is too long", name);
    }
    for (path = path != NULL ? path : DEFAULT_PATH; *path != '\0'; path += *path == ':') {
        size_t length = strcspn(path, ":");
        if (path[0] == '/' &&
            snprintf(node, PATH_MAX, "%.*s/%s", (int)length, path, name) < PATH_MAX &&
            access(node, X_OK) == 0)
            return 0;
        path += length;
    }
    return fail(failure, STEP, ENOENT, "node: there is no program %s in the directories of PATH",
                name);
}

/* usherd is PACKAGE/bin/usherd, perhaps behind a symbolic link that an upgrade turns. */
static int find_script(const char *name, char script[PATH_MAX], failure_t *failure) {
    char package[PATH_MAX];
    if (realpath(options->usherd, package) == NULL)
        return fail(failure, STEP, errno, "%s, beside which gateways are: %s", options->usherd,
                    strerror(errno));
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(package, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    if (snprintf(script, PATH_MAX, "%s/dist/gateways/%s/main.js", package, name) < PATH_MAX)
        return 0;
    return fail(failure, STEP, ENAMETOOLONG, "gateway %s: the path of its program is too long",
                name);
}

int gateway_find(const char *name, gateway_t *gateway, failure_t *failure) {
    if (!gateway_is_name(name))
        return fail(failure, STEP, EINVAL, "gateway=%.40s: cgi or ajp is expected", name);
    return find_node(gateway->node, failure) < 0 || find_script(name, gateway->script, failure) < 0
               ? -1
               : 0;
}
