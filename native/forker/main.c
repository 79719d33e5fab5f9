/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher-forker: starts the programs of a CGI gateway. It exists because a runtime with threads and a
 * large memory is slow to fork, and because one socket for all programs costs the gateway less than
 * three pipes for each.
 *
 *   usher-forker [--limit NAME=N …] [--path-check suexec|roots --root DIR …]
 *
 * With roots only programs below them are started. Descriptor 3 is the gateway (protocol.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "forker/link.h"
#include "forker/loop.h"
#include "forker/programs.h"
#include "forker/protocol.h"
#include "forker/start.h"
#include "os/os.h"

#define EXIT_USAGE 64
/* We stand still while one begins; what runs must not wait for many of them. */
#define STARTS_PER_TURN 2

static int complain(const char *text) {
    fprintf(stderr,
            "usher-forker: %s\nusage: usher-forker [--limit NAME=N …] "
            "[--path-check suexec|roots --root DIR …]\n",
            text);
    return -1;
}

/* NAME=VALUE as a block of an .allow file has it. */
static int add_rule(start_rules_t *rules, const char *name, const char *value) {
    char *line;
    if (asprintf(&line, "%s=%s", name, value) < 0)
        return complain("no memory");
    rules->rules[rules->rule_count++] = line;
    rules->checks_paths = true;
    return 0;
}

static int read_options(int argc, char **argv, start_rules_t *rules) {
    failure_t failure;
    bool has_root = false;
    rules->rules = calloc((size_t)argc, sizeof(*rules->rules));
    if (rules->rules == NULL)
        return complain("no memory");
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1]; /* argv ends with NULL */
        if (value == NULL)
            return complain("a value is missing");
        if (strcmp(name, "--limit") == 0) {
            if (limits_add(&rules->limits, value, &failure) < 0)
                return complain(failure.text);
        } else if (strcmp(name, "--path-check") == 0) {
            if (strcmp(value, "suexec") != 0 && strcmp(value, "roots") != 0)
                return complain("--path-check is suexec or roots");
            if (add_rule(rules, "path-check", value) < 0)
                return -1;
        } else if (strcmp(name, "--root") == 0) {
            has_root = true;
            if (add_rule(rules, "root", value) < 0)
                return -1;
        } else {
            return complain("an option is unknown");
        }
    }
    return rules->checks_paths && !has_root ? complain("--path-check without --root") : 0;
}

/* Out of the gateway's process group: who kills that must not take from us the time to kill what
 * runs. Descriptors that are not ours would be every program's. */
static int settle(void) {
    if (setpgid(0, 0) < 0 && getpgrp() != getpid())
        return -1;
    return usher_os_close_range(FORKER_LINK_FD + 1, ~0u);
}

static void handle_frames(void) {
    frame_t frame;
    for (int starts = 0; starts < STARTS_PER_TURN && link_next(&frame);) {
        if (frame.type == FRAME_START) {
            programs_start(&frame);
            starts++;
        } else {
            programs_tell(&frame);
        }
    }
}

int main(int argc, char **argv) {
    static start_rules_t rules;
    if (read_options(argc, argv, &rules) < 0)
        return EXIT_USAGE;
    if (settle() < 0 || loop_open() < 0 || start_prepare(&rules) < 0 ||
        link_open(FORKER_LINK_FD) < 0) {
        fprintf(stderr, "usher-forker: %s\n", strerror(errno));
        return 1;
    }
    int wait_ms = -1;
    while (!link_has_ended()) {
        loop_turn(link_has_next() ? 0 : wait_ms);
        link_flush(); /* what has ended does not wait for what starts */
        handle_frames();
        wait_ms = link_flush();
        programs_bury();
    }
    programs_kill();
    return 0;
}
