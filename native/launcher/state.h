/* SPDX-License-Identifier: Apache-2.0 */
/*
 * <runtime>/state/: what a next launcher must know when this one is killed. One file per endpoint,
 * instance and manager, named KIND-ID, in the form of a message (message.h) whose verb is its kind.
 * A record is replaced as a whole, so it is never seen half written.
 */
#ifndef USHER_LAUNCHER_STATE_H
#define USHER_LAUNCHER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launcher/message.h"
#include "launcher/spawn.h"

/* Make the folder where it is missing. */
int state_open(failure_t *failure);
int state_fd(void);
pid_t state_owner(void); /* the launcher that opened it, also when its child asks */

/* Pids and clocks mean something only in the life of the system that gave them: this names it. */
const char *state_era(void);

typedef struct {
    char text[48];
} state_name_t;

/* KIND-ID, the name of a file. */
state_name_t state_name(const char *kind, int64_t id);
/* The ids after which files of a kind are named, sorted; to be freed. */
int64_t *state_list(const char *kind, size_t *count);

/* Its kind is the message's verb. */
int state_save(int64_t id, const message_t *record, failure_t *failure);
/* The same where nothing can be done about a failure but to tell it. */
void state_save_or_log(int64_t id, const message_t *record);
void state_remove(const char *kind, int64_t id);

/* Call `on_record` for each record of a kind, lowest id first; -1: it makes no sense, is logged and
 * left alone. Gives the highest id that a file is named after, 0 = none. */
int64_t state_read_all(const char *kind, int (*on_record)(int64_t id, const message_t *record));
/* Everything has ended. */
void state_clear(void);

void state_add_user(message_t *record, const spawn_user_t *user);
int state_user(const message_t *record, spawn_user_t *user);

#endif
