/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un listener;
static socklen_t listener_length; /* 0 = nobody listens */

void notify_open(void) {
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path == NULL ? 0 : strlen(path);
    if (length > 1 && length < sizeof(listener.sun_path) && (path[0] == '/' || path[0] == '@')) {
        listener.sun_family = AF_UNIX;
        memcpy(listener.sun_path, path, length);
        if (path[0] == '@') /* an abstract name, which has no NUL at its end */
            listener.sun_path[0] = '\0';
        listener_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    }
    unsetenv("NOTIFY_SOCKET");
}

static void notify(const char *state) {
    int fd = listener_length == 0 ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&listener,
           listener_length);
    close(fd);
}

void notify_ready(void) {
    notify("READY=1");
}

void notify_stopping(void) {
    notify("STOPPING=1");
}
