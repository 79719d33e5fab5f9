/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The channel as web servers use it: a master opens it, workers attach, requests meet instances.
 * The manager's side is in manager.h. The library never logs, prints or exits.
 */
#ifndef USHER_CHANNEL_H
#define USHER_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "channel/terms.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    USHER_OK = 0,
    USHER_AGAIN = -1,     /* not now: wait and ask again */
    USHER_REFUSED = -2,   /* the request has a verdict */
    USHER_FULL = -3,      /* no free slot, entry or record */
    USHER_NOT_FOUND = -4, /* no such class, endpoint or server */
    USHER_STALE = -5,     /* the reference's generation is over */
    USHER_TIMEOUT = -6,   /* the deadline passed */
    USHER_CORRUPT = -7,   /* bytes another process wrote are not what they must be */
    USHER_VERSION = -8,   /* the file has another layout version */
    USHER_SYSTEM = -9,    /* a system call failed: error.errno_value */
    USHER_INVALID = -10,  /* an argument is out of its range */
} usher_status_t;

/* Why a cold call failed: one line that names the thing, the place and what is allowed. */
typedef struct {
    int errno_value; /* 0 = no system call was at fault */
    char text[512];
} usher_error_t;

/* A record of the table. Generation 0 is never given out, so {0, 0} refers to nothing. */
typedef struct {
    uint32_t index;
    uint32_t generation;
} usher_ref_t;

typedef struct usher_channel usher_channel_t; /* the mappings of one server */

/* 64 bits, never 0: the hash of keys and of server names. Eight bytes at a time: it stands in every
 * request's way. The same on one machine only. */
uint64_t usher_hash(const char *bytes, size_t length);

/* ---- master ------------------------------------------------------------------------------ */

/*
 * Map the channel of `server` in `runtime_dir`, creating table, places and cells (mode 0600) where
 * they are missing. Descriptors are closed: workers inherit mappings only. `runtime_dir`/channel
 * must exist. Errors: VERSION (names both versions and the file), SYSTEM, CORRUPT, INVALID (name
 * or path too long).
 */
usher_status_t usher_channel_open(const char *runtime_dir, const char *server,
                                  usher_channel_t **channel, usher_error_t *error);
void usher_channel_close(usher_channel_t *channel); /* unmaps; NULL is allowed */

/* Begin a new generation of the server's registration and return its number (≥ 1), which is above
 * `newest`, that of the registrations there are (0: none). Workers can write what the channel says of
 * it: it counts as far as several masters may have asked at a time. */
uint32_t usher_channel_next_generation(usher_channel_t *channel, uint32_t newest);

/* Wake the manager, if it sleeps. Any process that has the channel may call it. */
void usher_channel_ring(usher_channel_t *channel);

/* usher_manager_state_t as the table says it now. */
uint32_t usher_channel_manager_state(const usher_channel_t *channel);

/* ---- worker ------------------------------------------------------------------------------ */

/*
 * Claim a worker slot after the fork: lock its byte in `live_path` (an own open file description:
 * OFD lock) and mark it used. `may_block` says whether calls may sleep (Apache; from any number of
 * threads) or must return AGAIN (nginx; from one thread only). Errors: FULL (more than
 * USHER_WORKERS_MAX workers), SYSTEM, INVALID (attached already).
 */
usher_status_t usher_worker_attach(usher_channel_t *channel, const char *live_path,
                                   uint32_t generation, bool may_block, usher_error_t *error);
/* Give the slot back at an orderly exit. What it still counts is left to the manager to settle. */
void usher_worker_detach(usher_channel_t *channel);

/* Sleep until somebody calls this worker, because of a place that a request waiting in it should
 * have or a connection that it keeps; `*heard` is 0 at first. For a thread of its own in a worker that
 * may not block, which then makes the worker call usher_request_admit for those who wait and close
 * what is in the way (usher_kept_is_in_way). */
void usher_worker_sleep(usher_channel_t *channel, uint32_t *heard);

/* Start a thread that keeps right what this worker counts in shared memory, also while no request
 * comes, whatever other processes write there. It ends with usher_worker_detach. Errors: SYSTEM,
 * INVALID (no worker, or it has one). */
usher_status_t usher_worker_watch(usher_channel_t *channel, usher_error_t *error);

/* How long a request may wait for the manager to know its class: -appConnTimeout of dynamic classes,
 * until told its default, 30 s; 0 = no limit. */
void usher_channel_set_unknown_timeout(usher_channel_t *channel, uint32_t timeout_ms);

/* ---- a request --------------------------------------------------------------------------- */

typedef enum {
    USHER_WARM = 0,        /* took a place at once */
    USHER_COLD = 1,        /* waited for a class without a ready instance */
    USHER_QUEUED = 2,      /* waited for a free place */
    USHER_TURNED_DOWN = 3, /* got a verdict: "refused" in logs */
} usher_request_state_t;

const char *usher_request_state_name(usher_request_state_t state); /* warm cold queued refused */

#define USHER_REQUEST_AVOIDS 4

/* One request on its way to an instance. Owned by the shim, which fills nothing but reads the
 * fields marked "told". Used by one thread at a time. */
typedef struct {
    const char *key; /* borrowed until usher_request_end */
    uint32_t key_length;
    usher_ref_t class_ref;    /* told: {0,0} until the class is known */
    usher_ref_t endpoint_ref; /* told while a place is held */
    uint64_t arrived_ns;
    uint64_t waiting_since_ns;   /* 0 = not in the waiting gauge */
    uint64_t admitted_ns;        /* 0 = holds no place */
    uint64_t start_requested_ns; /* 0 = not entered by this request */
    usher_request_state_t state; /* told */
    uint32_t avoids;             /* endpoints that refused a connection to this request */
    usher_ref_t avoid[USHER_REQUEST_AVOIDS];
    /* told by REFUSED */
    int verdict_status;     /* 403, 404 or 503 */
    uint32_t retry_after_s; /* 0 = no Retry-After */
    /* the library's own */
    uint32_t marks;
    uint32_t instance;            /* number of the one whose place it holds */
    uint32_t avoided_publication; /* of the table, when the last endpoint was avoided */
    uint32_t sleeps;              /* of its thread */
    uint64_t slept_ns;
    uint64_t deferred_ns; /* since when places were left to others; 0 = none yet */
    uint64_t avoided_ns;
    uint64_t decided_ns;           /* when it was admitted or refused; 0 = not yet */
    uint64_t queued_ns;            /* since when its class was ready and full */
    uint64_t lock_tried_ns;        /* since when the channel's lock could not be had */
    uint64_t deadline_ns;          /* when the next look is due at the latest; 0 = whenever */
    char reason[USHER_REASON_MAX]; /* told by REFUSED: one line for the error log */
} usher_request_t;

/* Limits of the request's class, copied when the place was taken. */
typedef struct {
    uint32_t flags;              /* USHER_CLASS_* */
    uint32_t kind;               /* usher_kind_t */
    uint32_t idle_timeout_ms;    /* 0 = the host's own */
    uint32_t request_timeout_ms; /* 0 = none */
    uint32_t connect_timeout_ms; /* 0 = until the manager's verdict */
    uint32_t pid;                /* of the instance, 0 = external */
} usher_admission_t;

/* Start a request for the class `key` (absolute path or name; 1 ≤ length < USHER_KEY_MAX).
 * INVALID: the key is too long or holds a NUL. */
usher_status_t usher_request_begin(usher_channel_t *channel, usher_request_t *request,
                                   const char *key, size_t key_length);

/*
 * Take a place at the least loaded endpoint. OK: `address` says where to connect to. AGAIN: wait
 * (usher_request_wait, or a timer) and call again; the manager has been asked for what is missing.
 * REFUSED: the verdict fields say why; the request is over and holds nothing.
 * Never blocks when the worker was attached with may_block = false.
 */
usher_status_t usher_request_admit(usher_channel_t *channel, usher_request_t *request,
                                   struct sockaddr_storage *address, socklen_t *address_length,
                                   usher_admission_t *admission);

/* Sleep until the class changes or a place comes free, at most `timeout_ms`. Workers that may
 * block only. */
void usher_request_wait(usher_channel_t *channel, usher_request_t *request, uint32_t timeout_ms);

/* connect() failed (`refused`) or found the backlog full: give the place back and avoid that
 * endpoint. Call usher_request_admit again. */
void usher_request_retry(usher_channel_t *channel, usher_request_t *request);

/* -request-timeout has passed since the place was taken, or since the last call: is the program to
 * blame? False: it was still starting then, and its time begins anew. */
bool usher_request_is_overdue(const usher_channel_t *channel, usher_request_t *request);

/* Is the instance whose place it holds in use still: not being retired, replaced or known to hang?
 * Else nobody gains from a place that is held for a program that works on for nobody. */
bool usher_request_has_use(const usher_channel_t *channel, const usher_request_t *request);

/* The request is over: gives back its place or its turn in the queue, counts the outcome. May be
 * called at any stage, and again without effect. After TIMED_OUT no place of its instance is lent to
 * anybody, until the manager has another one there. */
void usher_request_end(usher_channel_t *channel, usher_request_t *request, usher_outcome_t outcome);

/* What clients of a request that was refused with 503 for this reason are told: plain text, with the
 * id of the start that the reason is about, if it is about one. Bytes without NUL; 192 are enough. */
size_t usher_refused_text(const char *reason, char *text, size_t size);
/* The page of HTML about that start, where the class has -show-errors. Its bytes; 0 = there is none. */
size_t usher_refused_page(const usher_channel_t *channel, const usher_request_t *request,
                          char page[USHER_PAGE_MAX]);

/* µs from arrival to the place, or to the verdict or now while there is none. */
uint64_t usher_request_waited_us(const usher_request_t *request);

/* Requests of this worker that wait for the class now: newcomers of a worker go behind them. */
uint32_t usher_worker_waiting(const usher_channel_t *channel, usher_ref_t class_ref);

/* ---- connections that outlive their request ---------------------------------------------- */

/* For classes with USHER_CLASS_KEEP_CONN. What a worker keeps is its own affair; how many of all
 * workers there are at an endpoint decides who may keep one, and where requests go. */

/* A request is done, and before it is ended: may its connection be kept? Then it is counted. */
bool usher_kept_add(usher_channel_t *channel, usher_ref_t endpoint);
/* It was taken for another request, or closed. */
void usher_kept_remove(usher_channel_t *channel, usher_ref_t endpoint);
/* A request that has a place there makes a new connection: call who keeps the program's threads from
 * it. A worker that is called (usher_worker_sleep) closes what it keeps where it is in the way. */
void usher_kept_call(usher_channel_t *channel, usher_ref_t endpoint);
bool usher_kept_is_in_way(const usher_channel_t *channel, usher_ref_t endpoint);

/* ---- without asking for anything --------------------------------------------------------- */

/* Does the table hold a class of this key? Else usher_request_admit will ask the manager for it. */
bool usher_class_known(const usher_channel_t *channel, const char *key, size_t key_length);
/* Requests that wait for the class now, those of all workers: a hint. */
uint32_t usher_class_waiting(const usher_channel_t *channel, usher_ref_t class_ref);

/* ---- for who shows it -------------------------------------------------------------------- */

typedef struct {
    uint64_t arrivals, admitted, finished, failed, aborted, refused; /* totals */
    uint64_t waiting_us, serving_us;                                 /* totals */
    uint32_t waiting;                                                /* now */
    uint32_t in_flight;                                              /* now, all endpoints */
    uint64_t waiting_histogram[USHER_HISTOGRAM_BUCKETS];
    uint64_t serving_histogram[USHER_HISTOGRAM_BUCKETS];
} usher_load_t;

/* None of these waits, asks or writes: they can be called without a worker's slot and with no manager.
 * What other processes write is checked; it may be older than what is shown beside it. */

typedef struct {
    uint32_t state; /* usher_manager_state_t */
    bool answers;   /* it has beaten within the last 3 s */
    uint32_t pid;   /* 0 = there never was one */
    uint64_t silent_ms;
} usher_manager_look_t;

void usher_look_at_manager(const usher_channel_t *channel, usher_manager_look_t *look);

typedef struct {
    const char *name; /* as it is registered; this and the next live as long as the channel */
    const char *runtime_dir; /* absolute */
    uint32_t generation;     /* of its newest registration */
    uint32_t workers;        /* with a slot; one that was killed until the manager sees it */
} usher_server_look_t;

void usher_look_at_server(const usher_channel_t *channel, usher_server_look_t *look);

/* One instance, or one host of an external class. */
typedef struct {
    uint32_t state; /* usher_endpoint_state_t */
    uint32_t pid;   /* 0 = external or not running */
    uint32_t places;
    uint32_t in_use; /* requests there now, of all servers */
    bool hung;       /* it gets no requests: one did not end in time */
} usher_endpoint_look_t;

typedef struct {
    uint32_t kind;     /* usher_kind_t */
    uint32_t state;    /* usher_class_state_t */
    uint32_t protocol; /* usher_class_protocol_t */
    char key[USHER_KEY_MAX];
    uint32_t key_length;
    uint32_t verdict_status; /* while FAILED */
    uint32_t retry_after_s;
    char reason[USHER_REASON_MAX]; /* '' = there is none */
    uint64_t places;               /* of endpoints that are ready */
    /* in_flight and waiting are those of all servers, as workers say it to each other; totals those
     * of this server since the class is known, which wrap at 2^32 and are 0 without `has_totals` */
    bool has_totals;
    usher_load_t load;
    uint32_t endpoint_count;
    usher_endpoint_look_t endpoints[USHER_CLASS_ENDPOINTS_MAX];
} usher_class_look_t;

/* Indices of the table to look at: 0 … this − 1. */
uint32_t usher_look_count(const usher_channel_t *channel);
/* NOT_FOUND: there is no class that this server may use, or only a short-lived refusal. */
usher_status_t usher_look_at_class(const usher_channel_t *channel, uint32_t index,
                                   usher_class_look_t *look);

#ifdef __cplusplus
}
#endif

#endif
