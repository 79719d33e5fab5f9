/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web-server worker with one request, driven through stdin and stdout by tests of the other side:
 *
 *   worker_helper RUNTIME_DIR SERVER LIVE_PATH
 *
 * says "attached GENERATION", then one line for each line it is told: "ring", "begin KEY", "admit",
 * "end finished|failed|aborted". Ends with its input, without detaching when killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "channel/channel.h"

static usher_channel_t *channel;
static usher_request_t request;

static void begin(const char *key) {
    static char kept[USHER_KEY_MAX]; /* borrowed by the request */
    snprintf(kept, sizeof kept, "%s", key);
    printf("begin %d\n", usher_request_begin(channel, &request, kept, strlen(kept)));
}

static void admit(void) {
    struct sockaddr_storage address;
    socklen_t length;
    usher_admission_t admission;
    usher_status_t status = usher_request_admit(channel, &request, &address, &length, &admission);
    if (status == USHER_OK && address.ss_family == AF_UNIX)
        printf("admit ok %s\n", ((struct sockaddr_un *)&address)->sun_path);
    else if (status == USHER_REFUSED)
        printf("admit refused %d %s\n", request.verdict_status, request.reason);
    else
        printf("admit %s\n", status == USHER_OK      ? "ok"
                             : status == USHER_AGAIN ? "again"
                                                     : "failed");
}

static void end(const char *outcome) {
    usher_request_end(channel, &request,
                      strcmp(outcome, "finished") == 0 ? USHER_OUTCOME_FINISHED
                      : strcmp(outcome, "failed") == 0 ? USHER_OUTCOME_FAILED
                                                       : USHER_OUTCOME_ABORTED);
    printf("end\n");
}

static void run(char *line) {
    line[strcspn(line, "\n")] = '\0';
    char *argument = strchr(line, ' ');
    argument = argument != NULL ? argument + 1 : line + strlen(line);
    if (strncmp(line, "begin", 5) == 0) {
        begin(argument);
    } else if (strncmp(line, "admit", 5) == 0) {
        admit();
    } else if (strncmp(line, "end", 3) == 0) {
        end(argument);
    } else {
        usher_channel_ring(channel);
        printf("ring\n");
    }
}

int main(int count, char **words) {
    usher_error_t error = {0};
    char line[2 * USHER_KEY_MAX];
    if (count != 4)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (usher_channel_open(words[1], words[2], &channel, &error) != USHER_OK) {
        printf("open: %s\n", error.text);
        return 1;
    }
    uint32_t generation = usher_channel_next_generation(channel, 0);
    if (usher_worker_attach(channel, words[3], generation, false, &error) != USHER_OK) {
        printf("attach: %s\n", error.text);
        return 1;
    }
    printf("attached %u\n", generation);
    while (fgets(line, sizeof line, stdin) != NULL)
        run(line);
    usher_worker_detach(channel);
    usher_channel_close(channel);
    return 0;
}
