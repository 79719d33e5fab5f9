/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that a former launcher left, of another version or broken off: they are whole and of their
 * kind, or passed over. First byte: odd spoils the name as well; then what stands in the file.
 */
#include <fcntl.h>
#include <unistd.h>

#include "input.h"
#include "launcher/directory.h"
#include "launcher/log.h"
#include "launcher/state.h"

static char folder[] = "/dev/shm/usher-fuzz-XXXXXX";
static int folder_fd = -1;
static size_t records;

/* ---- what state.c calls in the launcher ---------------------------------------------------- */

int directory_fd(void) {
    return folder_fd;
}

const char *directory_path(void) {
    return folder;
}

int directory_open_folder(const char *name) {
    return openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void log_warn(const char *event, ...) {
    CLAIM(event[0] != '\0');
}

void log_error(const char *event, ...) {
    CLAIM(event[0] != '\0');
}

/* -------------------------------------------------------------------------------------------- */

static int on_record(int64_t id, const message_t *record) {
    spawn_user_t user;
    CLAIM(id >= 1 && message_is_whole(record));
    CLAIM(strcmp(message_verb(record), "instance") == 0);
    if (state_user(record, &user) == 0)
        CLAIM(strnlen(user.name, sizeof(user.name)) < sizeof(user.name));
    records++;
    return message_text(record, "tag") == NULL ? -1 : 0;
}

static void remove_folder(void) {
    unlinkat(folder_fd, "state", AT_REMOVEDIR);
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *count, char ***words) {
    failure_t failure;
    (void)count, (void)words;
    CLAIM(mkdtemp(folder) != NULL);
    folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLAIM(folder_fd >= 0 && state_open(&failure) == 0);
    atexit(remove_folder);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char name[40] = "instance-7";
    input_t input = {data, data + size};
    if (input_byte(&input) % 2 == 1) {
        const uint8_t *bytes;
        size_t length = input_bytes(&input, 22, &bytes);
        memcpy(name + strlen("instance-"), bytes, length);
        name[strlen("instance-") + length] = '\0';
        if (strchr(name, '/') != NULL)
            return 0;
    }
    int fd = openat(state_fd(), name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CLAIM(fd >= 0);
    CLAIM(write(fd, input.at, input_left(&input)) == (ssize_t)input_left(&input));
    close(fd);
    records = 0;
    int64_t highest = state_read_all("instance", on_record);
    CLAIM(records <= 1 && (highest >= 1 || records == 0));
    unlinkat(state_fd(), name, 0);
    return 0;
}
