/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/look.h"

#include <signal.h>

#include "launcher/link.h"
#include "os/os.h"

#define FIRST_CHECK_NS (NS_PER_MS / 10)
#define STOPPING_MAY_TAKE_NS (200 * NS_PER_MS) /* longer only where a thread waits for a disk */

static void answer(int64_t id, bool idle) {
    message_t *message = message_begin("looked");
    message_add_number(message, "id", id);
    message_add_number(message, "idle", idle ? 1 : 0);
    link_send(message);
}

/* The signal first: it is there before any thread runs again and could accept. */
static void end(look_t *look, bool idle) {
    int64_t id = look->id;
    alarm_cancel(&look->alarm);
    look->id = 0;
    bool signalled = idle && look->signal != 0;
    if (signalled)
        group_signal(look->group, look->signal);
    group_signal(look->group, SIGCONT);
    answer(id, idle);
    if (signalled)
        look->on_signalled(look);
}

static void on_due(alarm_t *alarm) {
    look_t *look = OWNER_OF(alarm, look_t, alarm);
    uint64_t now = usher_os_now_ns();
    if (probe_is_stopped(look->probe)) {
        end(look, probe_is_idle(look->probe) && !look->is_awaited(look));
    } else if (now >= look->until_ns) {
        end(look, false);
    } else {
        look->interval_ns *= 2;
        alarm_set(alarm, now + look->interval_ns);
    }
}

void look_begin(look_t *look, const probe_t *probe, const group_t *group, int64_t id, int signal) {
    /* a busy one is not even stopped */
    if (look->id != 0 || !probe_seems_idle(probe) || group_signal(group, SIGSTOP) < 0) {
        answer(id, false);
        return;
    }
    uint64_t now = usher_os_now_ns();
    look->id = id;
    look->probe = probe;
    look->group = group;
    look->signal = signal;
    look->until_ns = now + STOPPING_MAY_TAKE_NS;
    look->interval_ns = FIRST_CHECK_NS;
    look->alarm.on_due = on_due;
    alarm_set(&look->alarm, now + FIRST_CHECK_NS);
}

void look_cancel(look_t *look) {
    if (look->id != 0)
        end(look, false);
}
