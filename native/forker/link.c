/* SPDX-License-Identifier: Apache-2.0 */
#include "forker/link.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "forker/buffer.h"
#include "forker/loop.h"
#include "forker/protocol.h"
#include "os/os.h"

#define READ_BYTES ((size_t)128 << 10)
#define KEPT_BYTES ((size_t)1 << 20) /* capacity that an empty buffer may keep */
#define OUTPUT_URGENT_BYTES ((size_t)32 << 10)

static watch_t link_watch;
static buffer_t in, out;
static size_t frame_taken; /* length of the frame that was given last */
static bool ended, is_urgent;
static uint64_t held_since_ns; /* when the first byte in `out` came; 0 = it is empty */

/* ---- from the gateway ---------------------------------------------------------------------- */

static void on_event(watch_t *watch, bool hung_up) {
    (void)hung_up;
    ssize_t length = read(watch->fd, buffer_reserve(&in, READ_BYTES), READ_BYTES);
    if (length > 0)
        buffer_add(&in, (size_t)length);
    else if (length == 0 || (errno != EAGAIN && errno != EINTR))
        ended = true;
}

int link_open(int fd) {
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    link_watch = (watch_t){.fd = fd, .on_event = on_event};
    return watch_change(&link_watch, true, false);
}

bool link_has_ended(void) {
    return ended;
}

static bool peek(frame_header_t *header) {
    if (buffer_length(&in) < sizeof(*header))
        return false;
    memcpy(header, buffer_head(&in), sizeof(*header));
    if (header->length > FORKER_FRAME_MAX) {
        fprintf(stderr, "usher-forker: a frame of %u bytes; at most %u are allowed\n",
                header->length, FORKER_FRAME_MAX);
        exit(1);
    }
    return buffer_length(&in) - sizeof(*header) >= header->length;
}

static void drop_taken(void) {
    if (frame_taken > 0)
        buffer_take(&in, frame_taken, KEPT_BYTES);
    frame_taken = 0;
}

bool link_has_next(void) {
    frame_header_t header;
    drop_taken();
    return peek(&header);
}

bool link_next(frame_t *frame) {
    frame_header_t header;
    drop_taken();
    if (!peek(&header))
        return false;
    *frame = (frame_t){.type = header.type,
                       .program = header.program,
                       .content = buffer_head(&in) + sizeof(header),
                       .length = header.length};
    frame_taken = sizeof(header) + header.length;
    return true;
}

/* ---- to the gateway ------------------------------------------------------------------------ */

static void queued(bool at_once) {
    if (held_since_ns == 0)
        held_since_ns = usher_os_now_ns();
    is_urgent = is_urgent || at_once || buffer_length(&out) >= OUTPUT_URGENT_BYTES;
}

void link_send(uint32_t type, uint32_t program, const void *content, size_t length, bool at_once) {
    frame_header_t header = {.length = (uint32_t)length, .type = type, .program = program};
    char *to = buffer_reserve(&out, sizeof(header) + length);
    memcpy(to, &header, sizeof(header));
    if (length > 0)
        memcpy(to + sizeof(header), content, length);
    buffer_add(&out, sizeof(header) + length);
    queued(at_once);
}

long link_send_from(int fd, uint32_t type, uint32_t program, size_t most) {
    frame_header_t header = {.type = type, .program = program};
    char *to = buffer_reserve(&out, sizeof(header) + most);
    ssize_t length = read(fd, to + sizeof(header), most);
    if (length <= 0)
        return length;
    header.length = (uint32_t)length;
    memcpy(to, &header, sizeof(header));
    buffer_add(&out, sizeof(header) + (size_t)length);
    queued(false);
    return length;
}

int link_flush(void) {
    if (buffer_length(&out) == 0)
        return -1;
    if (!is_urgent) {
        uint64_t held_ns = usher_os_now_ns() - held_since_ns;
        if (held_ns < FORKER_HOLD_MS * 1000000ull)
            return FORKER_HOLD_MS;
    }
    ssize_t length = send(link_watch.fd, buffer_head(&out), buffer_length(&out), MSG_NOSIGNAL);
    if (length > 0)
        buffer_take(&out, (size_t)length, KEPT_BYTES);
    else if (errno != EAGAIN && errno != EINTR)
        ended = true;
    bool is_left = buffer_length(&out) > 0;
    watch_change(&link_watch, true, is_left);
    is_urgent = is_left;
    if (!is_left)
        held_since_ns = 0;
    return -1;
}
