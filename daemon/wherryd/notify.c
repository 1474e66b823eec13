/*
 * The service manager's view. Messages go out when something changes and not otherwise; the watchdog alone has a timer,
 * since it is what tells a waiting daemon from a stuck one: the timer's callback runs only when the loop comes round,
 * so that a loop stuck anywhere stops feeding and systemd restarts the service.
 *
 * sd_notify(3) waits, without a bound, for a service manager that does not read. Here nothing waits: what the socket
 * has no room for is kept, in order, until the loop says that there is room. A status alone is dropped instead: one
 * goes out with every sync, and the next one replaces it. What is left when the daemon ends is of no use to anyone.
 */
#include "daemon/wherryd/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "lib/basics/buffer.h"
#include "lib/basics/cleanup.h"
#include "lib/basics/clock.h"

struct Notify {
    uv_poll_t room; /* runs while messages wait */
    uv_timer_t watchdog;
    unsigned handles; /* not yet closed */
    int fd;
    struct sockaddr_un address;
    socklen_t address_length;
    Buffer waiting;    /* NUL-terminated messages that the socket had no room for, the oldest first */
    bool feed_waiting; /* of the watchdog, among them */
};

/* --- sending --- */

/* Whether MESSAGE is done with: sent, or nobody is there to have it. False: there is no room for it now. */
static bool send_message(const Notify *notify, const char *message)
{
    size_t n = strlen(message);
    for (int tries = 0; tries < 2; tries++) {
        if (send(notify->fd, message, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return true;
        if (errno == EAGAIN || errno == ENOBUFS)
            return false;
        /* a service manager that was started anew has another socket at the same place */
        if (connect(notify->fd, (const struct sockaddr *)&notify->address, notify->address_length) < 0)
            return true;
    }
    return true;
}

static void on_room(uv_poll_t *room, int status, int events)
{
    Notify *notify = room->data;
    while (buffer_length(&notify->waiting) > 0) {
        const char *message = (const char *)buffer_bytes(&notify->waiting);
        if (!send_message(notify, message))
            return;
        buffer_consume(&notify->waiting, strlen(message) + 1);
    }
    notify->feed_waiting = false;
    uv_poll_stop(room);
}

/* Sends MESSAGE, after those that wait; whether it went out at once. */
static bool send_or_keep(Notify *notify, const char *message)
{
    bool first = buffer_length(&notify->waiting) == 0;
    if (first && send_message(notify, message))
        return true;
    buffer_append(&notify->waiting, message, strlen(message) + 1);
    if (first)
        uv_poll_start(&notify->room, UV_WRITABLE, on_room);
    return false;
}

static void on_watchdog(uv_timer_t *timer)
{
    Notify *notify = timer->data;
    if (!notify->feed_waiting)
        notify->feed_waiting = !send_or_keep(notify, "WATCHDOG=1");
}

/* --- the socket --- */

static bool find_socket(Notify *notify)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if (length < 2 || length > sizeof(notify->address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return false;
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, path, length);
    if (path[0] == '@')
        notify->address.sun_path[0] = '\0';
    notify->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return true;
}

static void start_watchdog(Notify *notify)
{
    uint64_t interval_us = 0;
    if (sd_watchdog_enabled(0, &interval_us) <= 0 || interval_us == 0)
        return;
    uint64_t half_ms = MAX_OF(interval_us / 2000, (uint64_t)1);
    uv_timer_start(&notify->watchdog, on_watchdog, 0, half_ms);
}

Notify *notify_new(uv_loop_t *loop)
{
    Notify *notify = xcalloc(1, sizeof *notify);
    notify->fd = find_socket(notify) ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) : -1;
    if (notify->fd < 0) {
        free(notify);
        return NULL;
    }
    /* where nobody listens yet, the first message tries again */
    (void)connect(notify->fd, (const struct sockaddr *)&notify->address, notify->address_length);
    if (uv_poll_init(loop, &notify->room, notify->fd) < 0) {
        close(notify->fd);
        free(notify);
        return NULL;
    }
    uv_timer_init(loop, &notify->watchdog);
    notify->handles = 2;
    notify->room.data = notify->watchdog.data = notify;
    uv_unref((uv_handle_t *)&notify->room);
    uv_unref((uv_handle_t *)&notify->watchdog);
    start_watchdog(notify);
    return notify;
}

static void on_closed(uv_handle_t *handle)
{
    Notify *notify = handle->data;
    if (--notify->handles > 0)
        return;
    close(notify->fd);
    buffer_clear(&notify->waiting);
    free(notify);
}

Notify *notify_free(Notify *notify)
{
    if (notify) {
        uv_close((uv_handle_t *)&notify->room, on_closed);
        uv_close((uv_handle_t *)&notify->watchdog, on_closed);
    }
    return NULL;
}

/* --- messages --- */

void notify_ready(Notify *notify)
{
    if (notify)
        send_or_keep(notify, "READY=1");
}

void notify_reloading(Notify *notify)
{
    char message[64];
    if (!notify)
        return;
    /* MONOTONIC_USEC lets Type=notify-reload (systemd 253) match this to its request; older ones ignore it. */
    snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_monotonic_us());
    send_or_keep(notify, message);
}

void notify_stopping(Notify *notify)
{
    if (notify)
        send_or_keep(notify, "STOPPING=1\nSTATUS=stopping");
}

void notify_status(Notify *notify, size_t connections, size_t syncing)
{
    char message[128];
    if (!notify || buffer_length(&notify->waiting) > 0)
        return;
    snprintf(message, sizeof message, "STATUS=%zu connection%s, %zu syncing", connections, connections == 1 ? "" : "s",
             syncing);
    (void)send_message(notify, message);
}
