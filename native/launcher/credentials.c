/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/credentials.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "launcher/log.h"

#define GROUPS_MAX 1024

static gid_t own_groups[GROUPS_MAX];
static int own_group_count;
static gid_t own_gid;

/* A launcher that cannot become itself again must not go on. */
static void restore(void) {
    if (seteuid(0) < 0 || setegid(own_gid) < 0 ||
        setgroups((size_t)own_group_count, own_groups) < 0) {
        log_error("launcher.failed", "step", "credentials", "error", strerror(errno), NULL);
        abort();
    }
}

int credentials_take(const spawn_user_t *user) {
    if (!user->is_other)
        return 0;
    gid_t groups[GROUPS_MAX] = {user->gid};
    int count = GROUPS_MAX;
    /* more than fit are cut: fewer rights, not more */
    if (user->name[0] == '\0')
        count = 1;
    else if (getgrouplist(user->name, user->gid, groups, &count) < 0)
        count = GROUPS_MAX;
    own_gid = getegid();
    own_group_count = getgroups(GROUPS_MAX, own_groups);
    if (own_group_count < 0)
        return -1;
    if (setgroups((size_t)count, groups) == 0 && setegid(user->gid) == 0 && seteuid(user->uid) == 0)
        return 0;
    int error = errno;
    restore();
    errno = error;
    return -1;
}

void credentials_give_back(const spawn_user_t *user) {
    if (!user->is_other)
        return;
    int error = errno;
    restore();
    errno = error;
}
