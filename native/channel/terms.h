/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words of the channel that C, C++ and (through the addon) TypeScript share: limits and states.
 * Their places in memory are in layout.h.
 */
#ifndef USHER_CHANNEL_TERMS_H
#define USHER_CHANNEL_TERMS_H

#define USHER_LAYOUT_VERSION 6u

#define USHER_CLASSES_MAX 2048u        /* classes known at once */
#define USHER_ENDPOINTS_MAX 4096u      /* endpoints known at once */
#define USHER_CLASS_ENDPOINTS_MAX 256u /* endpoints of one class */
#define USHER_BELLS 1024u              /* that wake workers; two of them may share one */
#define USHER_WORKERS_MAX 1024u        /* workers of one server, old generations included */
#define USHER_START_REQUESTS_MAX 256u  /* entries of one server's start-request ring */
#define USHER_KEY_MAX 1024u            /* bytes of a class key with its NUL */
#define USHER_START_ID_MAX 16u         /* bytes of a start's id with its NUL */
#define USHER_PAGE_MAX 32768u          /* bytes of an error page */
#define USHER_PAGE_NAME "page.%u.%u"   /* its file in the server's folder: index, generation */
#define USHER_REASON_MAX 256u          /* bytes of a verdict's reason with its NUL */
#define USHER_ADDRESS_MAX 112u         /* bytes of an address; sun_path is 108 */
#define USHER_SERVER_NAME_MAX 64u      /* bytes of a server's name with its NUL */
#define USHER_COUNT_MAX 1048576u       /* requests one worker may count anywhere: more is damage */
#define USHER_HISTOGRAM_BUCKETS 24u /* bucket b counts times in [2^b, 2^(b+1)) µs; b 0: < 2 µs */

typedef enum {
    USHER_MANAGER_ABSENT = 0,  /* never ready in this runtime directory */
    USHER_MANAGER_RUNNING = 1, /* ready, or killed after having been ready */
    USHER_MANAGER_STOPPED = 2, /* stopped on purpose or given up: cold requests get 503 at once */
} usher_manager_state_t;

typedef enum {
    USHER_CLASS_FREE = 0,
    USHER_CLASS_COLD = 1,     /* no instance; a waiting request makes the manager start one */
    USHER_CLASS_STARTING = 2, /* instances are starting, none is ready */
    USHER_CLASS_READY = 3,    /* at least one instance is ready (external: at least one host up) */
    USHER_CLASS_FAILED = 4,   /* cannot start; verdict 503 until the back-off ends */
    USHER_CLASS_REFUSED = 5,  /* may not be served: verdict 403, 404 or 503; short-lived record */
    USHER_CLASS_REMOVED = 6,  /* left the configuration: look the key up again */
} usher_class_state_t;

typedef enum {
    USHER_KIND_STATIC = 1,
    USHER_KIND_DYNAMIC = 2,
    USHER_KIND_EXTERNAL = 3,
} usher_kind_t;

#define USHER_CLASS_KEEP_CONN 0x1u    /* flags: connections may be kept alive */
#define USHER_CLASS_FLUSH 0x2u        /* pass every piece of the answer on at once */
#define USHER_CLASS_NPH 0x4u          /* the answer carries its own status line */
#define USHER_CLASS_PROTOCOL_SHIFT 8u /* flags: from here four bits of usher_class_protocol_t */
#define USHER_CLASS_PROTOCOL_MASK 0xfu

/* What the programs of a class speak, for whoever shows it: to web servers all speak FastCGI. */
typedef enum {
    USHER_CLASS_UNTOLD = 0,
    USHER_CLASS_FASTCGI = 1,
    USHER_CLASS_CGI = 2,
    USHER_CLASS_AJP = 3,
    USHER_CLASS_AJP12 = 4,
} usher_class_protocol_t;

typedef enum {
    USHER_ENDPOINT_FREE = 0,
    USHER_ENDPOINT_STARTING = 1, /* listening, program not yet accepting: lends its places when
                                    the class has no ready endpoint */
    USHER_ENDPOINT_READY = 2,
    USHER_ENDPOINT_DRAINING = 3, /* no new places; retired when its cells sum to 0 */
    USHER_ENDPOINT_DOWN = 4,     /* external host that does not answer */
} usher_endpoint_state_t;

typedef enum {
    USHER_ADDRESS_SERVER_SOCKET = 1, /* a name inside <runtime dir>/<server>/ (hard link) */
    USHER_ADDRESS_UNIX = 2,          /* an absolute socket path */
    USHER_ADDRESS_INET = 3,          /* a struct sockaddr_in */
    USHER_ADDRESS_INET6 = 4,         /* a struct sockaddr_in6 */
} usher_address_kind_t;

typedef enum {
    USHER_OUTCOME_FINISHED = 1,  /* complete answer */
    USHER_OUTCOME_FAILED = 2,    /* the program broke off, was silent or refused the connection */
    USHER_OUTCOME_ABORTED = 3,   /* the client left */
    USHER_OUTCOME_TIMED_OUT = 4, /* the program did not finish within -request-timeout: it hangs */
} usher_outcome_t;

#endif
