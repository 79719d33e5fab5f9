/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/manager_user.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launcher/credentials.h"
#include "launcher/log.h"
#include "os/os.h"

#define OWN_USER "usher"
#define SHARED_USER "nobody"
#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
#define ENVIRONMENT_MAX 64

static spawn_user_t unprivileged;

int manager_user_open(const launch_options_t *options, failure_t *failure) {
    const char *name = options->user != NULL        ? options->user
                       : getpwnam(OWN_USER) != NULL ? OWN_USER
                                                    : SHARED_USER;
    if (geteuid() != 0) {
        unprivileged = (spawn_user_t){0};
        return 0;
    }
    if (spawn_find_user(name, NULL, &unprivileged, failure) < 0)
        return -1;
    if (strcmp(name, SHARED_USER) == 0)
        log_warn("manager.shares-user", "user", name, "error",
                 "other programs of this user can disturb the manager: create a user \"" OWN_USER
                 "\" (useradd --system " OWN_USER ") or say --user",
                 NULL);
    return 0;
}

/* ---- can it read its program? -------------------------------------------------------------- */

/* As who we are for the moment; what is missing is nobody's fault here. */
static bool may(const char *path, int mode) {
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 || errno != EACCES;
}

/* A name without a slash is looked for in PATH. */
static bool may_execute(const char *program) {
    const char *path = getenv("PATH");
    char file[PATH_MAX];
    if (strchr(program, '/') != NULL)
        return may(program, X_OK);
    for (path = path != NULL ? path : DEFAULT_PATH; *path != '\0'; path += *path == ':') {
        size_t length = strcspn(path, ":");
        snprintf(file, sizeof(file), "%.*s/%s", (int)length, path, program);
        if (faccessat(AT_FDCWD, file, X_OK, AT_EACCESS) == 0)
            return true;
        path += length;
    }
    return false;
}

/* usherd is bin/usherd of a package; with what it loads it must be open to the user. */
static bool finds_unreadable(const launch_options_t *options, char unreadable[PATH_MAX]) {
    static const struct {
        const char *name;
        int mode;
    } parts[] = {{"package.json", R_OK},
                 {"dist/manager/main.js", R_OK},
                 {"build/addon.node", R_OK},
                 {"node_modules", R_OK | X_OK}};
    char package[PATH_MAX];
    snprintf(unreadable, PATH_MAX, "%s", options->node);
    if (!may_execute(options->node))
        return true;
    snprintf(unreadable, PATH_MAX, "%s", options->usherd);
    if (!may(options->usherd, R_OK) || realpath(options->usherd, package) == NULL)
        return true;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(package, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        int length = snprintf(unreadable, PATH_MAX, "%s/%s", package, parts[i].name);
        if (length >= PATH_MAX || !may(unreadable, parts[i].mode))
            return true;
    }
    return false;
}

void manager_user_choose(const launch_options_t *options, spawn_user_t *user) {
    char unreadable[PATH_MAX];
    *user = unprivileged;
    if (!user->is_other)
        return;
    const char *error = NULL;
    if (credentials_take(user) < 0) {
        error = strerror(errno);
        snprintf(unreadable, sizeof(unreadable), "%s", options->usherd);
    } else {
        if (finds_unreadable(options, unreadable))
            error = "this file or a directory on the way to it cannot be read by that user";
        credentials_give_back(user);
    }
    if (error == NULL)
        return;
    log_error("manager.privileged", "user", user->name, "path", unreadable, "error", error,
              "remedy", "it runs as root: install Usher where everyone may read it", NULL);
    *user = (spawn_user_t){0};
}

/* ---- in its process ------------------------------------------------------------------------ */

int manager_user_become(const spawn_user_t *user, failure_t *failure) {
    spawn_user_t alone = *user;
    alone.name[0] = '\0'; /* no supplementary groups */
    umask(077);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* it knows programs' environments */
    if (spawn_become(&alone, failure) < 0)
        return -1;
    if (usher_os_set_no_new_privs() < 0)
        return fail(failure, "setuid", errno, "forbid new privileges: %s", strerror(errno));
    return 0;
}

static bool is_kept(const char *variable) {
    static const char *const names[] = {"PATH=", "LANG=", "LC_", "TZ=", "JOURNAL_STREAM="};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

char **manager_user_environment(void) {
    static char *kept[ENVIRONMENT_MAX];
    size_t count = 0;
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
        if (is_kept(*variable) && count < ENVIRONMENT_MAX - 1)
            kept[count++] = *variable;
    }
    kept[count] = NULL;
    return kept;
}
