/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/terms.h"
#include "launcher/directory.h"

#define NEW_NAME "page.new"

/* The folder belongs to the server's user, who may have put anything there under our name: a file
 * that is not made by this call is not written to. */
static int create(int folder) {
    unlinkat(folder, NEW_NAME, 0);
    return openat(folder, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
}

static int write_page(int folder, const char *name, const char *text) {
    size_t length = strlen(text);
    int fd = create(folder);
    if (fd < 0)
        return -1;
    /* others than the server's user cannot enter the folder */
    ssize_t written = fchmod(fd, 0444) < 0 ? -1 : write(fd, text, length);
    int error = written < 0 ? errno : ENOSPC;
    close(fd);
    if (written == (ssize_t)length && renameat(folder, NEW_NAME, folder, name) == 0)
        return 0;
    if (written == (ssize_t)length)
        error = errno;
    unlinkat(folder, NEW_NAME, 0);
    errno = error;
    return -1;
}

int page_put(const char *server, uint32_t class_index, uint32_t generation, const char *text,
             failure_t *failure) {
    char name[64];
    int folder = directory_is_server_name(server) ? directory_open_server(server) : -1;
    if (folder < 0)
        return fail(failure, "page", errno, "folder of the web server %.64s: %s", server,
                    strerror(errno));
    snprintf(name, sizeof(name), USHER_PAGE_NAME, class_index, generation);
    int result = text == NULL ? unlinkat(folder, name, 0) : write_page(folder, name, text);
    if (result < 0 && (text != NULL || errno != ENOENT))
        fail(failure, "page", errno, "%s/%.64s/%s: %s", directory_path(), server, name,
             strerror(errno));
    else
        result = 0;
    close(folder);
    return result;
}
