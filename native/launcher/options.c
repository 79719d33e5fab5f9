/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WATCHDOG_MS 15000

static const char *const mode_names[] = {"embedded", "external", "run"};

const char *mode_name(launch_mode_t mode) {
    return mode_names[mode];
}

static void usage(const char *problem) {
    fprintf(stderr,
            "usher-launcher: %s\n"
            "usage: usher-launcher --runtime-dir DIR --node PATH --usherd PATH\n"
            "           [--mode embedded|external|run] [--config FILE] [--log FILE]\n"
            "           [--user NAME]  whom a launcher that is root makes the manager; default:\n"
            "                          usher where there is such a user, else nobody\n"
            "           [--watchdog-ms N]  a manager that says nothing for so long is killed and\n"
            "                              started again: 100 to 3600000, default 15000\n"
            "       usher-launcher --version\n",
            problem);
    exit(2);
}

static launch_mode_t parse_mode(const char *text) {
    for (size_t i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
        if (strcmp(text, mode_names[i]) == 0)
            return (launch_mode_t)i;
    }
    usage("--mode is embedded, external or run");
    return MODE_EMBEDDED;
}

/* The launcher works in "/": paths are made absolute before. */
static const char *absolute(const char *path) {
    if (path == NULL || path[0] == '/')
        return path;
    char *folder = getcwd(NULL, 0), *result;
    if (folder == NULL || asprintf(&result, "%s/%s", folder, path) < 0)
        usage("a relative path was given and the current directory cannot be found");
    free(folder);
    return result;
}

static int64_t number(const char *text, int64_t minimum, int64_t maximum, const char *problem) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < minimum || value > maximum)
        usage(problem);
    return value;
}

/* What the launcher gives to itself: no word of a person. */
static int64_t own_number(const char *text, int64_t maximum) {
    return number(text, 0, maximum, "an option that only the launcher itself uses is no number");
}

static void print_version(void) {
    printf("usher-launcher %s\n", USHER_RELEASE);
    exit(0);
}

size_t options_words(const launch_options_t *options, const char *words[OPTIONS_WORDS_MAX]) {
    static char watchdog_ms[24];
    snprintf(watchdog_ms, sizeof(watchdog_ms), "%lld", (long long)options->watchdog_ms);
    const char *const pairs[][2] = {
        {"--runtime-dir", options->runtime_dir},
        {"--node", options->node},
        {"--usherd", options->usherd},
        {"--mode", mode_name(options->mode)},
        {"--config", options->config},
        {"--log", options->log},
        {"--user", options->user},
        {"--watchdog-ms", watchdog_ms},
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (pairs[i][1] == NULL)
            continue;
        words[count++] = pairs[i][0];
        words[count++] = pairs[i][1];
    }
    return count;
}

void options_parse(int count, char **words, launch_options_t *options) {
    static const struct option known[] = {
        {"runtime-dir", required_argument, NULL, 'r'},
        {"node", required_argument, NULL, 'n'},
        {"usherd", required_argument, NULL, 'u'},
        {"mode", required_argument, NULL, 'm'},
        {"config", required_argument, NULL, 'c'},
        {"log", required_argument, NULL, 'l'},
        {"watchdog-ms", required_argument, NULL, 'w'},
        {"version", no_argument, NULL, 'v'},
        {"standby-of", required_argument, NULL, 'S'},
        {"revivals", required_argument, NULL, 'R'},
        {"revived-since", required_argument, NULL, 'N'},
        {"upgraded", no_argument, NULL, 'U'},
        {"former-standby", required_argument, NULL, 'F'},
        {"file-limit", required_argument, NULL, 'L'},
        {"user", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    *options = (launch_options_t){.mode = MODE_EMBEDDED, .watchdog_ms = WATCHDOG_MS};
    int letter;
    while ((letter = getopt_long(count, words, "", known, NULL)) != -1) {
        switch (letter) {
        case 'r':
            options->runtime_dir = absolute(optarg);
            break;
        case 'n':
            options->node = strchr(optarg, '/') != NULL ? absolute(optarg) : optarg;
            break;
        case 'u':
            options->usherd = absolute(optarg);
            break;
        case 'm':
            options->mode = parse_mode(optarg);
            break;
        case 'c':
            options->config = absolute(optarg);
            break;
        case 'l':
            options->log = absolute(optarg);
            break;
        case 'a':
            options->user = optarg;
            break;
        case 'w':
            options->watchdog_ms = number(optarg, 100, 3600000, "--watchdog-ms: 100 to 3600000");
            break;
        case 'v':
            print_version();
            break;
        case 'S':
            options->standby_of = (pid_t)own_number(optarg, INT32_MAX);
            break;
        case 'R':
            options->revivals = own_number(optarg, INT32_MAX);
            break;
        case 'N':
            options->revived_since_ns = (uint64_t)own_number(optarg, INT64_MAX);
            break;
        case 'U':
            options->upgraded = true;
            break;
        case 'F':
            options->former_standby = (pid_t)own_number(optarg, INT32_MAX);
            break;
        case 'L':
            options->file_limit = own_number(optarg, INT64_MAX);
            break;
        default:
            usage("unknown option, or one without its value");
        }
    }
    if (optind < count)
        usage("only options are understood");
    if (options->runtime_dir == NULL || options->node == NULL || options->usherd == NULL)
        usage("--runtime-dir, --node and --usherd are required");
}
