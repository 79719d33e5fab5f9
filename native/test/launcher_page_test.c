/* SPDX-License-Identifier: Apache-2.0 */
/* Error pages: put into the folders of web servers, replaced, taken away; and what clients are told
 * where there is none. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/channel.h"
#include "launcher_harness.h"
#include "tap.h"

static launcher_t l;

static void make_server(const char *name) {
    mkdir(in_runtime(&l, name), 0700);
    make_file(in_runtime(&l, f("%s/live", name)), "", 0600);
}

static bool says(const char *path, const char *text) {
    return comes_true(strcmp(read_text(path), text) == 0, PATIENCE_MS);
}

static void test_files(void) {
    const char *page = in_runtime(&l, "nginx-1/page.3.7");
    tell(&l, "page", "index=3", "generation=7", "server=nginx-1", "server=apache-2", "text=<p>one",
         NULL);
    ok(says(page, "<p>one") && says(in_runtime(&l, "apache-2/page.3.7"), "<p>one"),
       "a page stands in each server's folder");
    struct stat status;
    ok(stat(page, &status) == 0 && (status.st_mode & 07777) == 0444 && status.st_uid == geteuid(),
       "whoever may enter the folder may read it, nobody but the launcher's user writes it");

    symlink("../victim", in_runtime(&l, "nginx-1/page.new"));
    tell(&l, "page", "index=3", "generation=7", "server=nginx-1", "text=<p>two", NULL);
    ok(says(page, "<p>two"), "it is replaced");
    ok(!exists(in_runtime(&l, "victim")), "and nothing is written where a link leads");

    tell(&l, "page", "index=3", "generation=7", "server=nginx-1", NULL);
    ok(comes_true(!exists(page), PATIENCE_MS), "without a text it goes");
    tell(&l, "page", "index=3", "generation=7", "server=nginx-1", "server=nobody-9", "server=../x",
         "text=x", NULL);
    ok(says(page, "x"), "a server that is not there costs the others nothing");
    ok(!exists(f("%s/x", l.base)), "no name leads out of the directory");
    tell(&l, "page", "index=x", "generation=7", "server=nginx-1", "text=y", NULL);
    tell(&l, "page", "index=3", "generation=0", "server=nginx-1", "text=y", NULL);
    tell(&l, "page", "index=4", "generation=1", "server=nginx-1", "text=z", NULL);
    ok(says(in_runtime(&l, "nginx-1/page.4.1"), "z") && says(page, "x"),
       "what names no class is passed over");
}

static void test_next_manager(void) {
    launcher_leave(&l);
    ok(launcher_meet(&l, PATIENCE_MS), "another manager comes");
    hear(&l, "welcome", 0);
    ok(!exists(in_runtime(&l, "nginx-1/page.3.7")) && exists(in_runtime(&l, "nginx-1/live")),
       "the pages of the former one are gone");
}

static void test_texts(void) {
    char text[256];
    usher_refused_text("[k41x2mz3q] class \"x\": no", text, sizeof(text));
    is_str(text,
           "503 Service Unavailable\n\nThe program that serves this cannot be started now (start "
           "k41x2mz3q).\n",
           "clients are told the id");
    const char *const others[] = {"class", "[]", "[K41] x", "[k41", "[0123456789abcdef] x", ""};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        usher_refused_text(others[i], text, sizeof(text));
        is_str(text, "503 Service Unavailable\n", "\"%s\" has none", others[i]);
    }
}

static void suite(void) {
    launcher_open(&l, "run");
    make_server("nginx-1");
    make_server("apache-2");
    test_files();
    test_next_manager();
    ok(launcher_close(&l), "the launcher ends");
}

int main(void) {
    test_texts();
    run_for_users(suite);
    return done_testing();
}
