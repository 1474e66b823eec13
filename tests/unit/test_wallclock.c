/*
 * The alarm on the wall clock. The clock of the machine cannot be set for a test, so the kernel's answer to setting the
 * timer after a jump is put in: ECANCELED, with the timer armed all the same, and read() saying nothing of it any more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "lib/basics/clock.h"

static bool kernel_saw_a_jump;

static int settime_after_a_jump(int fd, int flags, const struct itimerspec *value, struct itimerspec *old)
{
    int r = (int)syscall(SYS_timerfd_settime, fd, flags, value, old);
    if (r == 0 && kernel_saw_a_jump) {
        kernel_saw_a_jump = false;
        errno = ECANCELED;
        return -1;
    }
    return r;
}

#define timerfd_settime settime_after_a_jump
#include "daemon/wherryd/wallclock.c"

#define HOUR_MS (3600 * 1000)
#define PATIENCE_MS 5000

typedef struct World {
    uv_loop_t loop;
    uv_timer_t patience;
    WallClock *clock;
    unsigned rings;
    bool jumped;
} World;

static void on_ring(bool jumped, void *userdata)
{
    World *world = userdata;
    world->rings++;
    world->jumped = jumped;
    uv_stop(&world->loop);
}

static void on_patience(uv_timer_t *timer)
{
    World *world = timer->data;
    uv_stop(&world->loop);
}

static int set_up(void **state)
{
    World *world = xcalloc(1, sizeof *world);
    kernel_saw_a_jump = false;
    *state = world;
    uv_loop_init(&world->loop);
    uv_timer_init(&world->loop, &world->patience);
    world->patience.data = world;
    return wall_clock_new(&world->loop, on_ring, world, &world->clock, NULL);
}

static int tear_down(void **state)
{
    World *world = *state;
    wall_clock_free(world->clock);
    uv_close((uv_handle_t *)&world->patience, NULL);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    int r = uv_loop_close(&world->loop);
    free(world);
    return r;
}

/* Until the alarm has rung, or MS have passed. */
static void run_for(World *world, uint64_t ms)
{
    uv_update_time(&world->loop);
    uv_timer_start(&world->patience, on_patience, ms, 0);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    uv_timer_stop(&world->patience);
}

static void test_rings_when_due(void **state)
{
    World *world = *state;
    int64_t due = clock_wall_ms() + 30;
    wall_clock_set(world->clock, due);
    run_for(world, PATIENCE_MS);
    assert_int_equal(world->rings, 1);
    assert_false(world->jumped);
    assert_true(clock_wall_ms() >= due);
    /* once, until it is set anew: to the same time, too */
    run_for(world, 20);
    assert_int_equal(world->rings, 1);
    wall_clock_set(world->clock, due);
    run_for(world, PATIENCE_MS);
    assert_int_equal(world->rings, 2);
}

static void test_far_away_is_silent(void **state)
{
    World *world = *state;
    wall_clock_set(world->clock, clock_wall_ms() + HOUR_MS);
    run_for(world, 20);
    wall_clock_set(world->clock, INT64_MAX);
    run_for(world, 20);
    assert_int_equal(world->rings, 0);
    wall_clock_set(world->clock, 0); /* long past */
    run_for(world, PATIENCE_MS);
    assert_int_equal(world->rings, 1);
}

/* The jump came between the last ring and this setting: nobody else will tell of it. */
static void test_a_jump_that_setting_swallowed_is_told(void **state)
{
    World *world = *state;
    kernel_saw_a_jump = true;
    wall_clock_set(world->clock, clock_wall_ms() + HOUR_MS);
    assert_false(kernel_saw_a_jump); /* the timer was really set */
    run_for(world, PATIENCE_MS);
    assert_int_equal(world->rings, 1);
    assert_true(world->jumped);
    /* told once; and the alarm that the manager then sets is not mistaken for the one it has */
    int64_t due = clock_wall_ms() + 30;
    wall_clock_set(world->clock, due);
    run_for(world, PATIENCE_MS);
    assert_int_equal(world->rings, 2);
    assert_false(world->jumped);
}

#define clock_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        clock_test(test_rings_when_due),
        clock_test(test_far_away_is_silent),
        clock_test(test_a_jump_that_setting_swallowed_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
