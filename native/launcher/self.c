/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/self.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORDS_MAX 40

static char path[PATH_MAX];

static bool is_this_program(const char *candidate) {
    struct stat own, other;
    return stat("/proc/self/exe", &own) == 0 && stat(candidate, &other) == 0 &&
           own.st_dev == other.st_dev && own.st_ino == other.st_ino;
}

/* The name it was started by may lead through symbolic links that an upgrade turns. */
void self_remember(const char *started_by) {
    if (started_by[0] == '/' && strlen(started_by) < sizeof(path) && is_this_program(started_by)) {
        strcpy(path, started_by);
        return;
    }
    static const char deleted[] = " (deleted)";
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = '\0';
    char *end = length > (ssize_t)sizeof(deleted) ? path + length - (sizeof(deleted) - 1) : path;
    if (strcmp(end, deleted) == 0)
        *end = '\0';
}

const char *self_path(void) {
    return path[0] != '\0' ? path : NULL;
}

int self_become(const char *name, const launch_options_t *options, const char *const *further) {
    const char *words[WORDS_MAX] = {name};
    size_t count = 1 + options_words(options, words + 1);
    for (; *further != NULL && count < WORDS_MAX - 1; further++)
        words[count++] = *further;
    words[count] = NULL;
    errno = ENOENT;
    if (path[0] != '\0') /* execv() promises not to write to the list */
        execv(path, (char *const *)(uintptr_t)words);
    return -1;
}
