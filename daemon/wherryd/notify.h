#pragma once
/* What systemd is told (sd_notify(3)), and its watchdog. Nothing of it waits for systemd to read. */
#include <stddef.h>
#include <uv.h>

typedef struct Notify Notify;
/* NULL, with which the rest does nothing, where NOTIFY_SOCKET is not set. With WatchdogSec=, a timer at half of it; it
 * is fed by the loop itself, so that a loop that hangs starves it. */
Notify *notify_new(uv_loop_t *loop);
Notify *notify_free(Notify *notify);
void notify_ready(Notify *notify);
void notify_reloading(Notify *notify);
void notify_stopping(Notify *notify);
void notify_status(Notify *notify, size_t connections, size_t syncing);
