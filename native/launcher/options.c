/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
            "                          usher where there is such a user, else nobody\n",
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

void options_parse(int count, char **words, launch_options_t *options) {
    static const struct option known[] = {
        {"runtime-dir", required_argument, NULL, 'r'}, {"node", required_argument, NULL, 'n'},
        {"usherd", required_argument, NULL, 'u'},      {"mode", required_argument, NULL, 'm'},
        {"config", required_argument, NULL, 'c'},      {"log", required_argument, NULL, 'l'},
        {"user", required_argument, NULL, 'a'},        {NULL, 0, NULL, 0},
    };
    *options = (launch_options_t){.mode = MODE_EMBEDDED};
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
        default:
            usage("unknown option, or one without its value");
        }
    }
    if (optind < count)
        usage("only options are understood");
    if (options->runtime_dir == NULL || options->node == NULL || options->usherd == NULL)
        usage("--runtime-dir, --node and --usherd are required");
}
