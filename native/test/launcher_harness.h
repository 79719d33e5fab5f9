/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the real usher-launcher in a directory of its own, with a manager that hands its end of the
 * link to the test (launcher_helper.c): the test speaks the protocol itself. Whatever goes wrong in
 * the harness ends the test program.
 */
#ifndef USHER_TEST_LAUNCHER_HARNESS_H
#define USHER_TEST_LAUNCHER_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PACKET_DESCRIPTORS_MAX 4

/* For what takes a fraction of a second on an idle machine. */
#define PATIENCE_MS 30000

typedef struct packet packet_t;
struct packet {
    packet_t *next;
    int descriptors[PACKET_DESCRIPTORS_MAX]; /* that came with it; -1 behind the last */
    size_t length;
    char bytes[]; /* verb\0name=value\0… */
};

typedef struct {
    char base[64];    /* scratch directory, removed by launcher_remove */
    char runtime[96]; /* base/run */
    char log[96];     /* base/log: what the launcher wrote to stderr */
    char meeting[96]; /* base/bin/meeting, as usherd: where managers meet the test */
    int meeting_fd;
    pid_t pid;         /* of the launcher; 0 = reaped */
    pid_t manager_pid; /* of the manager that was met last */
    int manager_fd;    /* closed to let it exit */
    int link;          /* the manager's end of the link */
    int control_fd;    /* that came with hello */
    packet_t *queue;   /* received, not yet expected */
    bool asks_first;   /* `tell` writes no registration that allows what it tells */
    char *allowed;     /* what that registration says so far */
} launcher_t;

/* Paths of the programs, where everybody may run them. */
const char *launcher_program(void);
const char *helper_program(void);

void launcher_prepare(launcher_t *launcher);
/* Further options of the command line, ended by NULL. */
void launcher_start(launcher_t *launcher, const char *const *options);
/* Meet the next manager; false when none comes within `timeout_ms`. Its lists are in the queue. */
bool launcher_meet(launcher_t *launcher, int timeout_ms);
/* prepare, start in this mode, meet. */
void launcher_open(launcher_t *launcher, const char *mode);
/* Wait status of the launcher; -1 when it does not end in time. */
int launcher_wait(launcher_t *launcher, int timeout_ms);
/* Let go of the link and let the manager exit. */
void launcher_leave(launcher_t *launcher);
/* quit, wait, remove. Gives whether it exited with 0. */
bool launcher_close(launcher_t *launcher);
/* Kill what is left and remove the scratch directory. */
void launcher_remove(launcher_t *launcher);

/* Send verb and fields, "name=value" each, ended by NULL. A launcher that is root finds a
 * registration that allows it, unless `asks_first`. */
void tell(launcher_t *launcher, const char *verb, ...) __attribute__((sentinel));
/* The same for a message made by the caller; and anything, which nobody allows. */
void tell_whole(launcher_t *launcher, const char *bytes, size_t length);
void tell_bytes(launcher_t *launcher, const char *bytes, size_t length);
/* "name=" with a formatted value; valid until 16 calls later. */
const char *f(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Install a gateway's program of this text beside usherd; NULL = of no text, which does for the
 * helper. Its path, for everybody to read. */
const char *install_gateway(launcher_t *launcher, const char *name, const char *text);

/* Write servers/NAME (SERVER.GENERATION.allow) as a registering web server does. */
void allow(launcher_t *launcher, const char *name, const char *text);

/* The next packet with this verb and id (0 = any), taken out of the queue; NULL after
 * `timeout_ms`. Valid, with its descriptors, until 64 packets later. */
const packet_t *hear_within(launcher_t *launcher, const char *verb, int id, int timeout_ms);
/* The same within PATIENCE_MS, or the test program ends. */
const packet_t *hear(launcher_t *launcher, const char *verb, int id);
/* Its first descriptor, from now on the caller's; -1 = it has none. */
int take_descriptor(const packet_t *packet);
const char *field(const packet_t *packet, const char *name);      /* NULL = missing */
long long number_field(const packet_t *packet, const char *name); /* -1 = missing */
size_t count_field(const packet_t *packet, const char *name);

/* Connect to a socket and read all it says, at most `timeout_ms`; NULL when that fails. Valid until
 * the next call. */
const char *converse(const char *path, int timeout_ms);
int connect_to(const char *path);
const char *read_all(int fd, int timeout_ms);
/* A whole file; "" when it cannot be read. Valid until the next call. */
const char *read_text(const char *path);
const char *in_runtime(const launcher_t *launcher, const char *name); /* its path */
bool exists(const char *path);
void make_file(const char *path, const char *content, unsigned mode);
int count_open_files(pid_t pid);
bool is_alive(pid_t pid);
/* Wait until `condition` holds; the value is whether it did within `timeout_ms`. */
#define comes_true(condition, timeout_ms)                    \
    ({                                                       \
        uint64_t until_ = now_ms() + (timeout_ms);           \
        bool holds_ = false;                                 \
        while (!(holds_ = (condition)) && now_ms() < until_) \
            sleep_ms(2);                                     \
        holds_;                                              \
    })
uint64_t now_ms(void);
void sleep_ms(unsigned ms);

/* Run a suite as root and as nobody, or just as who we are. */
#define run_for_users(suite)                                     \
    do {                                                         \
        suite();                                                 \
        int counts_[2] = {tap_count, tap_failures};              \
        if (geteuid() == 0 && become_nobody_in_child(counts_)) { \
            tap_count = counts_[0], tap_failures = counts_[1];   \
            suite();                                             \
            leave_child((int[2]){tap_count, tap_failures});      \
        }                                                        \
        tap_count = counts_[0], tap_failures = counts_[1];       \
    } while (0)
bool become_nobody_in_child(int counts[2]); /* true in the child; the parent waits for it */
void leave_child(const int counts[2]);

#endif
