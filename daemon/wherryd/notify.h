#pragma once
/* What systemd is told (sd_notify(3)), and its watchdog; nothing of it does anything where NOTIFY_SOCKET is not set. */
#include <stddef.h>
#include <uv.h>

typedef struct Notify Notify;
/* With WatchdogSec=, a timer at half of it; it is fed by the loop itself, so that a loop that hangs starves it. */
Notify *notify_new(uv_loop_t *loop);
Notify *notify_free(Notify *notify);
void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
void notify_status(size_t connections, size_t syncing);
