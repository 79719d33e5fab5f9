/* SPDX-License-Identifier: Apache-2.0 */
/* The channel's files: who makes them, what is refused. */
#include <sched.h>

#include "channel_fixture.h"

static void path_of(const fixture_t *fixture, const char *name, char path[160]) {
    snprintf(path, 160, "%s/channel/%s", fixture->runtime_dir, name);
}

static void test_files(void) {
    fixture_t fixture;
    struct stat facts;
    char path[160];
    begin(&fixture);
    static const struct {
        const char *name;
        size_t bytes;
    } files[] = {{"table", sizeof(usher_table_t)},
                 {"places", sizeof(usher_places_t)},
                 {SERVER ".cells", sizeof(usher_cells_t)}};
    for (size_t i = 0; i < 3; i++) {
        path_of(&fixture, files[i].name, path);
        must(stat(path, &facts));
        is_int(facts.st_mode & 07777, 0600, "%s is its owner's only", files[i].name);
        is_int(facts.st_size, files[i].bytes, "%s has the size of its layout", files[i].name);
        ok(facts.st_blocks * 512 < 512 * 1024, "%s is sparse: %lld kB in use", files[i].name,
           (long long)facts.st_blocks / 2);
    }
    is_str(fixture.channel->cells->header.server, SERVER, "cells say whose they are");
    finish(&fixture);
}

static void test_no_descriptors(void) {
    fixture_t fixture;
    begin(&fixture);
    uint32_t found = 0;
    for (int fd = 3; fd < 64; fd++) {
        char link[64], target[256] = {0};
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof(target) - 1) > 0 && strstr(target, "/channel/")) {
            found++;
        }
    }
    is_int(found, 0, "no descriptor of the channel's files stays open");
    finish(&fixture);
}

static void write_table(fixture_t *fixture, void *unused) {
    (void)unused;
    usher_table_t *table = (usher_table_t *)(uintptr_t)fixture->channel->table;
    if (mprotect(table, 4096, PROT_READ | PROT_WRITE) == 0) {
        _exit(1); /* could be made writable */
    }
    struct sigaction plain = {.sa_handler = SIG_DFL}; /* a sanitizer would report the fault */
    sigaction(SIGSEGV, &plain, NULL);
    table->header.publication = 1;
}

static void test_read_only(void) {
    fixture_t fixture;
    begin(&fixture);
    is_int(reap(spawn(write_table, &fixture, NULL)), 256 + SIGSEGV,
           "a server can neither write the table nor make it writable");
    finish(&fixture);
}

/* ---- creation races ---------------------------------------------------------------------- */

typedef struct {
    _Atomic uint32_t go;
    _Atomic uint32_t failures;
} race_t;

static void open_all(fixture_t *fixture, void *argument) {
    race_t *race = argument;
    usher_error_t error = {0};
    char server[16];
    snprintf(server, sizeof(server), "server-%d", getpid() % 2);
    while (atomic_load(&race->go) == 0) {
        sched_yield();
    }
    usher_status_t status;
    if (getpid() % 3 == 0) {
        status = usher_manager_open(fixture->runtime_dir, &fixture->manager, &error);
    } else {
        status = usher_channel_open(fixture->runtime_dir, server, &fixture->channel, &error);
    }
    if (status != USHER_OK) {
        printf("# %s\n", error.text);
        fflush(stdout);
        atomic_fetch_add(&race->failures, 1);
        return;
    }
    if (fixture->channel) {
        usher_channel_ring(fixture->channel);
    } else {
        usher_doorbell_ring(fixture->manager->places);
    }
}

/* Entries of the channel's directory that are none of its files. */
static uint32_t drafts(const fixture_t *fixture) {
    char command[160], line[256];
    uint32_t found = 0;
    snprintf(command, sizeof(command), "ls -A %s/channel", fixture->runtime_dir);
    FILE *list = popen(command, "r");
    while (list && fgets(line, sizeof(line), list)) {
        found += strcmp(line, "table\n") != 0 && strcmp(line, "places\n") != 0 &&
                 !strstr(line, ".cells\n");
    }
    if (list) {
        pclose(list);
    }
    return found;
}

static void test_creation_races(void) {
    enum { ROUNDS = 20, CHILDREN = 12 };
    race_t *race = share(sizeof(*race));
    uint32_t lost = 0, left = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        fixture_t fixture;
        pid_t pids[CHILDREN];
        usher_error_t error = {0};
        make_runtime_dir(&fixture);
        atomic_store(&race->go, 0);
        for (uint32_t i = 0; i < CHILDREN; i++) {
            pids[i] = spawn(open_all, &fixture, race);
        }
        atomic_store(&race->go, 1);
        for (uint32_t i = 0; i < CHILDREN; i++) {
            must(reap(pids[i]) == 0 ? 0 : -1);
        }
        must(usher_channel_open(fixture.runtime_dir, SERVER, &fixture.channel, &error));
        lost += fixture.channel->places->header.doorbell != CHILDREN;
        left += drafts(&fixture);
        finish(&fixture);
    }
    is_int(race->failures, 0, "all of %d racing masters and managers open the channel", CHILDREN);
    is_int(lost, 0, "all of them have the same files");
    is_int(left, 0, "no draft is left behind");
}

/* ---- refusals ---------------------------------------------------------------------------- */

static void patch(const fixture_t *fixture, const char *name, off_t offset, const void *bytes,
                  size_t length) {
    char path[160];
    path_of(fixture, name, path);
    int fd = open(path, O_WRONLY);
    must(fd);
    must(pwrite(fd, bytes, length, offset) == (ssize_t)length ? 0 : -1);
    close(fd);
}

static usher_status_t reopen(fixture_t *fixture, usher_error_t *error) {
    usher_channel_close(fixture->channel);
    fixture->channel = NULL;
    return usher_channel_open(fixture->runtime_dir, SERVER, &fixture->channel, error);
}

static void test_versions(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    usher_manager_t *manager = NULL;
    char expected[512];
    uint32_t version = USHER_LAYOUT_VERSION + 1;
    begin(&fixture);
    patch(&fixture, "table", offsetof(usher_table_header_t, version), &version, sizeof(version));
    is_int(reopen(&fixture, &error), USHER_VERSION, "another layout version of the table");
    snprintf(expected, sizeof(expected),
             "%s/channel/table has layout version %u, this module speaks %u: install the same "
             "version of both, then restart the manager",
             fixture.runtime_dir, version, USHER_LAYOUT_VERSION);
    is_str(error.text, expected, "is explained");
    is_int(usher_manager_open(fixture.runtime_dir, &manager, &error), USHER_VERSION,
           "the manager is told so, too");
    version = USHER_LAYOUT_VERSION;
    patch(&fixture, "table", offsetof(usher_table_header_t, version), &version, sizeof(version));
    is_int(reopen(&fixture, &error), USHER_OK, "the right one is opened");
    finish(&fixture);
}

/* Workers can write these headers: neither masters nor managers fall for what they say. */
static void test_headers(void) {
    static const char *const files[] = {"places", SERVER ".cells"};
    fixture_t fixture;
    usher_error_t error = {0};
    uint64_t garbage[11];
    memset(garbage, 0xa5, sizeof(garbage));
    begin(&fixture);
    for (uint32_t i = 0; i < 2; i++) {
        patch(&fixture, files[i], 0, garbage, sizeof(garbage));
        is_int(reopen(&fixture, &error), USHER_OK, "%s with a damaged header is opened", files[i]);
        patch(&fixture, files[i], 0, garbage, sizeof(garbage));
        usher_manager_close(fixture.manager);
        must(usher_manager_open(fixture.runtime_dir, &fixture.manager, &error));
        is_int(usher_manager_attach_server(fixture.manager, SERVER, fixture.live_path,
                                           &fixture.server, &error),
               USHER_OK, "the manager opens it as well");
    }
    const usher_cells_header_t *cells = &fixture.channel->cells->header;
    const usher_places_header_t *places = &fixture.channel->places->header;
    ok(places->magic == USHER_PLACES_MAGIC && places->total_bytes == sizeof(usher_places_t) &&
           cells->magic == USHER_CELLS_MAGIC && cells->workers_max == USHER_WORKERS_MAX &&
           cells->version == USHER_LAYOUT_VERSION && strcmp(cells->server, SERVER) == 0,
       "and they are right again");
    finish(&fixture);
}

static void test_damage(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    char path[160];
    uint64_t magic = 42;
    uint32_t buckets = 4;
    begin(&fixture);
    patch(&fixture, "table", 0, &magic, sizeof(magic));
    is_int(reopen(&fixture, &error), USHER_CORRUPT, "a table with another magic");
    printf("# %s\n", error.text);
    path_of(&fixture, "table", path);
    must(unlink(path));
    is_int(reopen(&fixture, &error), USHER_OK, "is made anew once it was removed");

    patch(&fixture, "table", offsetof(usher_table_header_t, buckets), &buckets, sizeof(buckets));
    is_int(reopen(&fixture, &error), USHER_CORRUPT, "a table with other limits");
    path_of(&fixture, "table", path);
    must(unlink(path));

    path_of(&fixture, SERVER ".cells", path);
    must(truncate(path, 8192));
    is_int(reopen(&fixture, &error), USHER_CORRUPT, "cells that were cut off");
    printf("# %s\n", error.text);
    must(truncate(path, 3));
    is_int(reopen(&fixture, &error), USHER_CORRUPT, "cells without a header");
    must(unlink(path));
    must(symlink("/etc/passwd", path));
    is_int(reopen(&fixture, &error), USHER_SYSTEM, "a symbolic link is not followed");
    is_int(error.errno_value, ELOOP, "and that is said");
    finish(&fixture);
}

static void test_names(void) {
    fixture_t fixture;
    usher_error_t error = {0};
    char text[256];
    make_runtime_dir(&fixture);
    const char *dir = fixture.runtime_dir;
    usher_channel_t **channel = &fixture.channel;
    is_int(usher_channel_open(dir, "", channel, &error), USHER_INVALID, "a server without a name");
    is_int(usher_channel_open(dir, "a/b", channel, &error), USHER_INVALID, "a name with a slash");
    is_int(usher_channel_open(dir, "..", channel, &error), USHER_INVALID, "a name with dots");
    memset(text, 'x', sizeof(text));
    text[64] = '\0';
    is_int(usher_channel_open(dir, text, channel, &error), USHER_INVALID, "a name of 64 bytes");
    text[0] = '/';
    text[64] = 'x';
    text[120] = '\0';
    is_int(usher_channel_open(text, SERVER, channel, &error), USHER_INVALID,
           "a directory too long for sockets");
    is_int(usher_channel_open("run", SERVER, channel, &error), USHER_INVALID,
           "a relative directory");
    is_int(usher_channel_open("/nonexistent", SERVER, channel, &error), USHER_SYSTEM,
           "a directory that is missing");
    is_int(error.errno_value, ENOENT, "errno says so");
    ok(strstr(error.text, "/nonexistent/channel/table") != NULL, "and the text: %s", error.text);
    is_int(usher_channel_open(dir, SERVER, channel, NULL), USHER_OK, "no error wanted");
    is_int(usher_channel_next_generation(*channel, 0), 1, "the first generation");
    is_int(usher_channel_next_generation(*channel, 0), 2, "the next one");
    is_int(usher_channel_next_generation(*channel, 2), 3, "also once that has registered");
    (*channel)->cells->header.generation = 4000000000u;
    is_int(usher_channel_next_generation(*channel, 3), 4, "not what a worker wrote, too high");
    (*channel)->cells->header.generation = 1;
    is_int(usher_channel_next_generation(*channel, 4), 5, "or too low");
    finish(&fixture);
}

int main(void) {
    test_files();
    test_no_descriptors();
    test_read_only();
    test_creation_races();
    test_versions();
    test_headers();
    test_damage();
    test_names();
    return done_testing();
}
