/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process group of an instance: its leader is the program, whose pid is the number of group and
 * session. A number goes to somebody else when nobody has it any more: that of our own child not
 * before we reap it, that of a former launcher's child at any time. So nobody is signalled by such a
 * number without a look who has it.
 */
#ifndef USHER_LAUNCHER_GROUP_H
#define USHER_LAUNCHER_GROUP_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    pid_t pid;
    bool is_foreign;  /* a former launcher's child */
    bool leader_died; /* our own child: and was reaped */
    bool is_void;     /* foreign, and of another boot or container: the number says nothing */
    int pidfd;        /* of a foreign leader that lives; else -1 */
} group_t;

bool group_leader_lives(const group_t *group);
/* Does the leader or any other process of the group live? */
bool group_lives(const group_t *group);
/* -1 when there is nobody. */
int group_signal(const group_t *group, int signal);

#endif
