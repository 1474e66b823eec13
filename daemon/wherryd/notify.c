/*
 * The service manager's view. Messages go out when something changes and not otherwise; the watchdog alone has a timer,
 * since it is what tells a waiting daemon from a stuck one: the timer's callback runs only when the loop comes round,
 * so that a loop stuck anywhere stops feeding and systemd restarts the service.
 */
#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "daemon/wherryd/notify.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"

struct Notify {
    uv_timer_t watchdog;
};

static void on_watchdog(uv_timer_t *timer)
{
    sd_notify(0, "WATCHDOG=1");
}

Notify *notify_new(uv_loop_t *loop)
{
    uint64_t interval_us = 0;
    if (sd_watchdog_enabled(0, &interval_us) <= 0 || interval_us == 0)
        return NULL;
    Notify *notify = xcalloc(1, sizeof *notify);
    uv_timer_init(loop, &notify->watchdog);
    uint64_t half_ms = MAX_OF(interval_us / 2000, (uint64_t)1);
    uv_timer_start(&notify->watchdog, on_watchdog, 0, half_ms);
    uv_unref((uv_handle_t *)&notify->watchdog);
    return notify;
}

static void on_closed(uv_handle_t *handle)
{
    free((Notify *)handle);
}

Notify *notify_free(Notify *notify)
{
    if (notify)
        uv_close((uv_handle_t *)&notify->watchdog, on_closed);
    return NULL;
}

void notify_ready(void)
{
    sd_notify(0, "READY=1");
}

void notify_reloading(void)
{
    /* MONOTONIC_USEC lets Type=notify-reload (systemd 253) match this to its request; older ones ignore it. */
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us());
}

void notify_stopping(void)
{
    sd_notify(0, "STOPPING=1\nSTATUS=stopping");
}

void notify_status(size_t connections, size_t syncing)
{
    sd_notifyf(0, "STATUS=%zu connection%s, %zu syncing", connections, connections == 1 ? "" : "s", syncing);
}
