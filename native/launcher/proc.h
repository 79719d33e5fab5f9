/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading /proc: which processes and threads an instance has, and what each of them does. Everything
 * may be gone at the next look.
 */
#ifndef USHER_LAUNCHER_PROC_H
#define USHER_LAUNCHER_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A list of this length may not be whole. */
#define PROC_PROCESSES_MAX 1024
#define PROC_TASKS_MAX 4096 /* threads looked at in one process */

/* The file's first size − 1 bytes with a NUL; -1 with errno. */
ssize_t proc_read(const char *path, char *text, size_t size);
/* Numbers that are names in a folder: thread ids, descriptors. */
size_t proc_list_numbers(const char *path, int *numbers, size_t max);

size_t proc_list_tasks(pid_t pid, int tasks[PROC_TASKS_MAX]);
/* Up to `max` pids of a process's children. */
size_t proc_list_children(pid_t pid, pid_t *pids, size_t max);
/* The process itself first, then those below it. */
size_t proc_list_below(pid_t pid, pid_t pids[PROC_PROCESSES_MAX]);
/* These and the orphans of its process group, which have become children of the launcher. */
size_t proc_list_instance(pid_t pid, pid_t pids[PROC_PROCESSES_MAX]);

/* The socket's inode behind a descriptor, 0 when it is none (or hidden: errno EACCES). */
uint32_t proc_socket_inode(pid_t pid, int fd);
typedef struct {
    char state;
    bool is_fork; /* has not called exec since it was forked */
    pid_t parent, group, session;
    uint64_t birth; /* ticks from boot to its start: with the pid it says which process this is */
} proc_identity_t;

/* -1 when there is no such process. */
int proc_identify(pid_t pid, proc_identity_t *identity);
/* Does a process live whose group and session have this number? Looks at every process. */
bool proc_session_lives(pid_t group);
/* Which descriptor of a process is the socket with this inode; -1 when none is, or they may not be
 * looked at. */
int proc_find_socket(pid_t pid, uint32_t inode);

/* State letter and CPU time of a process (task 0) or one of its threads; '\0' when it is gone. */
char proc_state(pid_t pid, int task, unsigned long long *cpu_ticks);

typedef struct {
    long number; /* -1 = sleeps outside of any: a fault, or stopped in its own code */
    unsigned long arguments[6];
} proc_call_t;

/* What a thread that does not run just now is in. RUNNING also when it is gone. */
typedef enum { CALL_KNOWN, CALL_RUNNING, CALL_HIDDEN } proc_call_look_t;
proc_call_look_t proc_system_call(pid_t pid, int task, proc_call_t *call);

#endif
