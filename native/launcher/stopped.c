/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/stopped.h"

#include <stdio.h>
#include <unistd.h>

#include "channel/manager.h"

int stopped_tell_workers(const char *runtime_dir, failure_t *failure) {
    char table[4200];
    snprintf(table, sizeof(table), "%s/channel/table", runtime_dir);
    if (access(table, F_OK) < 0)
        return 0; /* no web server has come so far: nobody to tell */
    usher_manager_t *channel;
    usher_error_t error;
    if (usher_manager_open(runtime_dir, &channel, &error) != USHER_OK)
        return fail(failure, "channel", error.errno_value, "%.400s", error.text);
    usher_manager_set_state(channel, USHER_MANAGER_STOPPED, 0);
    usher_manager_close(channel);
    return 0;
}
