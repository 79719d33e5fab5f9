/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words between the CGI gateway and its forker, over one stream socket, descriptor 3 of the
 * forker. Each frame is three numbers of 32 bits in the machine's byte order, `length` of what
 * follows, `type`, `program`, and then `length` bytes. The gateway numbers programs, and uses no
 * number twice. ts/gateways/cgi/frames.ts is the other end.
 *
 * A stream has a window: its sender may be FORKER_WINDOW_BYTES ahead of the credit it was given.
 * stdout and stderr of a program share one.
 *
 * gateway → forker
 *   START          flags, number of arguments, number of variables (32 bits each), then all of them,
 *                  each ended by NUL. The first argument is the program's absolute path; it runs in
 *                  the directory it stands in.
 *   STDIN          bytes for it
 *   STDIN_END
 *   OUTPUT_CREDIT  so many bytes (32 bits) more of its output may come
 *   SIGNAL         a number (32 bits): sent to its process group
 *   CLOSE          nothing more of its output is wanted: its pipes are closed, no ends are told
 *
 * forker → gateway
 *   STARTED        pid (32 bits), also the number of its process group
 *   FAILED         errno (32 bits), then step and text, each ended by NUL. It is the last of this
 *                  program. Steps: missing, path, pipe, fork, limit, cwd, exec …
 *   STDIN_CREDIT   so many bytes (32 bits) were taken
 *   STDIN_CLOSED   the program reads no more; what still comes for it is dropped
 *   STDOUT, STDERR bytes
 *   STDOUT_END, STDERR_END
 *   EXITED         exit status, signal (32 bits each; one of them is 0, both for success)
 *
 * A program is forgotten when its exit was told and its two ends were, or CLOSE came. Until then its
 * process group is nobody else's. Frames for an unknown program are passed over: it has just ended.
 *
 * Output waits up to FORKER_HOLD_MS for what comes right after it, so that a small answer, its end
 * and the exit are one piece for the gateway. When the socket ends every program is killed.
 */
#ifndef USHER_FORKER_PROTOCOL_H
#define USHER_FORKER_PROTOCOL_H

#include <stdint.h>

#define FORKER_LINK_FD 3
#define FORKER_WINDOW_BYTES (256u << 10)
#define FORKER_FRAME_MAX (8u << 20) /* of any frame's content: more than exec takes */
#define FORKER_HOLD_MS 1

typedef struct {
    uint32_t length, type, program;
} frame_header_t;

enum {
    FRAME_START = 1,
    FRAME_STDIN,
    FRAME_STDIN_END,
    FRAME_OUTPUT_CREDIT,
    FRAME_SIGNAL,
    FRAME_CLOSE
};

enum {
    FRAME_STARTED = 16,
    FRAME_FAILED,
    FRAME_STDIN_CREDIT,
    FRAME_STDIN_CLOSED,
    FRAME_STDOUT,
    FRAME_STDERR,
    FRAME_STDOUT_END,
    FRAME_STDERR_END,
    FRAME_EXITED
};

/* flags of START: without it stdin is empty */
#define START_HAS_STDIN 1u

#endif
