/*
 * The service manager's view. Messages go out when something changes and not otherwise; the watchdog alone has a timer,
 * since it is what tells a waiting daemon from a stuck one: the timer's callback runs only when the loop comes round,
 * so that a loop stuck anywhere stops feeding and systemd restarts the service.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "daemon/wherryd/notify.h"
#include "lib/basics/buffer.h"
#include "lib/basics/cleanup.h"
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

/* sd_notify() waits for a service manager that is slow to read: right for the few messages above, which must arrive,
 * but a status goes out with every sync and the next one replaces it. So it is sent without waiting, and dropped
 * instead. */
static void notify_without_waiting(const char *message)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = path ? strlen(path) : 0;
    if (length < 2 || length > sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    _cleanup_(close_fdp) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)sendto(fd, message, strlen(message), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

void notify_status(size_t connections, size_t syncing)
{
    char message[128];
    snprintf(message, sizeof message, "STATUS=%zu connection%s, %zu syncing", connections, connections == 1 ? "" : "s",
             syncing);
    notify_without_waiting(message);
}
