#pragma once
/* One alarm at a wall-clock time, which also rings when the clock was set. */
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "lib/basics/error.h"

typedef struct WallClock WallClock;
/* JUMPED: the clock was set; the alarm must be set again. */
typedef void (*WallClockCallback)(bool jumped, void *userdata);
int wall_clock_new(uv_loop_t *loop, WallClockCallback callback, void *userdata, WallClock **ret, Error *error);
WallClock *wall_clock_free(WallClock *clock);
void wall_clock_set(WallClock *clock, int64_t due_ms); /* INT64_MAX: none, but jumps still ring */
