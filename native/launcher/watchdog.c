/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/watchdog.h"

#include "launcher/link.h"
#include "launcher/loop.h"
#include "os/os.h"

#define LOOKS 5 /* within the time that is allowed */

static uint64_t limit, heard_ns, looked_ns;
static void (*handle_hung)(uint64_t silent_ns);

static void on_due(alarm_t *alarm) {
    uint64_t now = usher_os_now_ns(), interval = limit / LOOKS;
    if (now - looked_ns > 2 * interval || link_has_message())
        heard_ns = now;
    looked_ns = now;
    if (now - heard_ns > limit)
        handle_hung(now - heard_ns);
    else
        alarm_set(alarm, now + interval);
}

static alarm_t look_alarm = {.on_due = on_due};

void watchdog_open(void (*on_hung)(uint64_t silent_ns)) {
    handle_hung = on_hung;
}

void watchdog_begin(uint64_t limit_ns) {
    if (look_alarm.place != 0 && limit == limit_ns)
        return;
    limit = limit_ns;
    heard_ns = looked_ns = usher_os_now_ns();
    alarm_set(&look_alarm, heard_ns + limit / LOOKS);
}

void watchdog_heard(void) {
    heard_ns = usher_os_now_ns();
}

void watchdog_end(void) {
    alarm_cancel(&look_alarm);
}
