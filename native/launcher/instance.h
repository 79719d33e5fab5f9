/* SPDX-License-Identifier: Apache-2.0 */
/* One instance from inside: for instances.c (its life), instance_table.c, instance_record.c and
 * adopt.c only. */
#ifndef USHER_LAUNCHER_INSTANCE_H
#define USHER_LAUNCHER_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "launcher/group.h"
#include "launcher/look.h"
#include "launcher/loop.h"
#include "launcher/message.h"
#include "launcher/output.h"
#include "launcher/probe.h"
#include "launcher/spawn.h"

typedef enum {
    LAUNCHING, /* forked, exec not seen */
    FAILED,    /* a step before or exec itself failed; not reaped yet, has no id any more */
    STARTING,
    READY,
    EXITED,
} instance_state_t;

typedef struct instance instance_t;
struct instance {
    instance_t *next_by_id, *next_by_pid; /* in their bucket */
    instance_t *newer, *older;            /* all of them, by age; exited ones by age of death */
    int64_t id;
    int64_t endpoint_id; /* 0 = a service */
    group_t group;
    uint64_t birth; /* of its leader (proc.h); 0 = not looked up */
    instance_state_t state;
    bool forgotten; /* only its group keeps it here */
    bool has_group; /* exited, and others of its group may live */
    char *tag;
    char *path; /* of its endpoint; empty for a service */
    char *log;  /* path of the file for its output, NULL = none, and … */
    spawn_user_t log_user;
    int link_end;        /* of a gateway: kept for the next manager while it lives; -1 = none */
    uint32_t link_inode; /* of that, to know it again; 0 = none */
    uint64_t started_ns;
    uint64_t permitted_ns, user_found_ns; /* steps before the fork; of this launcher's instances */
    spawn_facts_t facts;                  /* the same */
    uint64_t start_timeout_ns;
    uint64_t probe_interval_ns;
    uint64_t group_kill_ns; /* has_group: when KILL comes */
    bool exit_unknown;      /* it was a former launcher's child */
    int wait_status;
    int64_t lived_ms;
    int64_t rss_kb;
    int64_t cpu_us; /* of it and the children it waited for; −1 = not known */
    watch_t status_watch;
    watch_t death_watch; /* of a former launcher's child: its pidfd */
    alarm_t alarm;       /* next probe; after the exit: KILL for the group */
    probe_t probe;
    look_t look;
    output_t output;
};

/* ---- instance_table.c ---------------------------------------------------------------------- */

typedef struct {
    instance_t *oldest, *newest;
    unsigned count;
} age_list_t;

extern age_list_t instances_living, instances_exited;

instance_t *instance_find(int64_t id);
/* Among our own children that are not reaped: their pids are their own. */
instance_t *instance_find_pid(pid_t pid);
void instance_add_id(instance_t *instance);
void instance_add_pid(instance_t *instance);
void instance_remove_id(instance_t *instance);
void instance_remove_pid(instance_t *instance);
void instance_enlist(age_list_t *list, instance_t *instance);
void instance_delist(age_list_t *list, instance_t *instance);

/* ---- instance_record.c --------------------------------------------------------------------- */

/* Keep for a next launcher what it is now. */
void instance_record(instance_t *instance);
/* The same in the child, before it becomes the program. */
int instance_record_itself(const void *instance, failure_t *failure);
void instance_remove_record(const instance_t *instance);
/* What was recorded, in no table and without a process; NULL when the record is wrong. */
instance_t *instance_from_record(int64_t id, const message_t *record);
/* As records and the manager have it: a service lives and is ready, or has exited. */
const char *instance_state_word(const instance_t *instance);
/* Its endpoint, or that it is a service. */
void instance_add_endpoint(message_t *message, const instance_t *instance);
/* How it ended, and the last it wrote. */
void instance_add_exit(message_t *message, const instance_t *instance);

/* ---- instances.c --------------------------------------------------------------------------- */

/* Zeroed, with its callbacks and without descriptors; NULL without memory. */
instance_t *instance_new(int64_t id, const char *tag, const char *path);
void instance_release(instance_t *instance);
bool instance_is_service(const instance_t *instance);
/* Take over one of a former launcher's: its group says whether it lives. */
void instance_resume(instance_t *instance);

#endif
