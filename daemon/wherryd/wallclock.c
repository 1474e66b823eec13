/*
 * Due times are wall-clock times, and the wall clock is set now and then: by NTP, by an operator, after a suspend. A
 * timer that counts a span would ring at the wrong time ever after. The kernel has the right thing: an absolute timer
 * on CLOCK_REALTIME that is cancelled, and so becomes readable, whenever the clock jumps (timerfd_create(2),
 * TFD_TIMER_CANCEL_ON_SET). Nothing wakes in between.
 */
#include <errno.h>
#include <sys/timerfd.h>

#include "daemon/wherryd/wallclock.h"
#include "lib/basics/buffer.h"

struct WallClock {
    uv_poll_t poll;
    int fd;
    int64_t due_ms;
    bool jumped; /* seen while setting the timer, not told yet */
    WallClockCallback callback;
    void *userdata;
};

/* An alarm that is far away keeps the watch on jumps armed even where nothing is due. */
#define FAR_AWAY_S INT64_C(4000000000)

void wall_clock_set(WallClock *clock, int64_t due_ms)
{
    if (due_ms == clock->due_ms)
        return;
    clock->due_ms = due_ms;
    struct itimerspec when = { .it_value = { .tv_sec = FAR_AWAY_S } };
    if (due_ms <= 0)
        when.it_value = (struct timespec){ .tv_nsec = 1 }; /* 0 would disarm it */
    else if (due_ms / 1000 < FAR_AWAY_S)
        when.it_value = (struct timespec){ .tv_sec = due_ms / 1000, .tv_nsec = due_ms % 1000 * 1000000 };
    int r = timerfd_settime(clock->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
    if (r < 0 && errno == ECANCELED) {
        /* The clock was set since the last read. The timer is armed all the same, but has forgotten it: read() will not
         * say so any more (fs/timerfd.c, timerfd_canceled() and timerfd_setup()). So it rings at once. */
        clock->jumped = true;
        clock->due_ms = -1;
        when.it_value = (struct timespec){ .tv_nsec = 1 };
        timerfd_settime(clock->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    WallClock *clock = poll->data;
    uint64_t count;
    bool jumped = clock->jumped;
    jumped |= read(clock->fd, &count, sizeof count) < 0 && errno == ECANCELED;
    clock->jumped = false;
    clock->due_ms = -1; /* spent: the next setting goes to the kernel whatever it is */
    clock->callback(jumped, clock->userdata);
}

int wall_clock_new(uv_loop_t *loop, WallClockCallback callback, void *userdata, WallClock **ret, Error *error)
{
    int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no timer can be made");
    WallClock *clock = xcalloc(1, sizeof *clock);
    *clock = (WallClock){ .fd = fd, .due_ms = -1, .callback = callback, .userdata = userdata };
    int r = uv_poll_init(loop, &clock->poll, fd);
    if (r < 0) {
        close_fd(fd);
        free(clock);
        return error_set(error, ERROR_TEMPORARY, "no timer can be watched: %s", uv_strerror(r));
    }
    clock->poll.data = clock;
    uv_poll_start(&clock->poll, UV_READABLE, on_readable);
    wall_clock_set(clock, INT64_MAX);
    *ret = clock;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

WallClock *wall_clock_free(WallClock *clock)
{
    if (!clock)
        return NULL;
    uv_close((uv_handle_t *)&clock->poll, on_closed);
    close_fd(clock->fd);
    return NULL;
}
