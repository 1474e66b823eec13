/* The schedule's single facts: slots, missed ones, clocks set back, retries, manual runs, new frequencies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/wherryd/schedule.h"
#include "lib/basics/buffer.h"
#include "lib/basics/hash.h"
#include "tests/unit/schedule-times.h"

static ScheduleEntry hourly(int64_t last_slot_ms)
{
    return (ScheduleEntry){
        .phase_hash = fnv1a64("orders", 6), .frequency_s = 3600, .ever_ran = true, .last_slot_ms = last_slot_ms
    };
}

/* A connection that has just served a slot, which is returned. */
static int64_t served(ScheduleEntry *entry)
{
    *entry = hourly(START);
    int64_t slot = schedule_due(entry, START);
    schedule_started(entry, slot, false);
    schedule_finished(entry, slot + SECOND, SCHEDULE_SUCCEEDED, false, 0);
    assert_int_equal(entry->last_slot_ms, slot);
    assert_int_equal(schedule_due(entry, slot + SECOND), slot + HOUR);
    return slot;
}

static void test_never_ran(void **state)
{
    ScheduleEntry entry = { .phase_hash = 7, .frequency_s = 86400 };
    assert_int_equal(schedule_due(&entry, START), START);
    entry.paused = true;
    assert_true(schedule_due(&entry, START) == SCHEDULE_NEVER);
    schedule_resumed(&entry, START + DAY);
    assert_int_equal(schedule_due(&entry, START + DAY), START + DAY);
    schedule_started(&entry, START + DAY, false);
    assert_true(schedule_due(&entry, START + DAY) == SCHEDULE_NEVER);
    int64_t next = schedule_next_slot(&entry, START + DAY);
    assert_true(next > START + DAY && next <= START + 2 * DAY);
    schedule_finished(&entry, START + DAY, SCHEDULE_SUCCEEDED, false, 0);
    assert_int_equal(schedule_due(&entry, START + DAY), next);
}

static void test_never_ran_before_1970(void **state)
{
    ScheduleEntry entry = { .phase_hash = 7, .frequency_s = 3600 };
    schedule_started(&entry, -5 * DAY, false);
    schedule_finished(&entry, -5 * DAY, SCHEDULE_SUCCEEDED, false, 0);
    int64_t due = schedule_due(&entry, -5 * DAY);
    assert_true(due > -5 * DAY && due <= -5 * DAY + HOUR);
}

static void test_missed_once(void **state)
{
    ScheduleEntry entry;
    int64_t slot = served(&entry), now = slot + 7 * HOUR + 5 * MINUTE;
    assert_int_equal(schedule_due(&entry, now), slot + HOUR);
    schedule_started(&entry, now, false);
    schedule_finished(&entry, now + SECOND, SCHEDULE_SUCCEEDED, false, 0);
    assert_int_equal(schedule_due(&entry, now + SECOND), slot + 8 * HOUR);
}

static void test_clock_back(void **state)
{
    ScheduleEntry entry;
    int64_t slot = served(&entry);
    /* a little: the slot stays served */
    assert_int_equal(schedule_due(&entry, slot - 200), slot + HOUR);
    assert_int_equal(schedule_due(&entry, slot + 10), slot + HOUR);
    assert_int_equal(schedule_due(&entry, slot - 59 * MINUTE), slot + HOUR);
    /* by days: at the next slot of the new time, and it comes although asked again and again */
    int64_t now = slot - 3 * DAY - 10 * MINUTE;
    assert_int_equal(schedule_due(&entry, now), slot - 3 * DAY);
    assert_int_equal(schedule_due(&entry, slot - 3 * DAY + 5), slot - 3 * DAY);
    schedule_started(&entry, slot - 3 * DAY + 5, false);
    schedule_finished(&entry, slot - 3 * DAY + 6, SCHEDULE_SUCCEEDED, false, 0);
    assert_int_equal(schedule_due(&entry, slot - 3 * DAY + 6), slot - 3 * DAY + HOUR);
}

static void test_retry_across_clock_back(void **state)
{
    ScheduleEntry entry;
    int64_t slot = served(&entry);
    entry.frequency_s = 86400;
    schedule_finished(&entry, slot, SCHEDULE_FAILED, false, UINT64_MAX);
    assert_int_equal(schedule_due(&entry, slot), slot + 30 * SECOND);
    int64_t due = schedule_due(&entry, slot - 5 * DAY);
    assert_int_equal(due, slot - 5 * DAY + HOUR);
    assert_int_equal(schedule_due(&entry, slot - 5 * DAY + MINUTE), due);
}

static void test_backoff(void **state)
{
    ScheduleEntry entry = hourly(START);
    entry.frequency_s = 86400;
    static const int64_t seconds[] = { 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600 };
    for (size_t i = 0; i < ELEMENTSOF(seconds); i++) {
        schedule_started(&entry, START, false);
        schedule_finished(&entry, START, SCHEDULE_FAILED, false, UINT64_MAX);
        assert_int_equal(entry.retry_at_ms - START, seconds[i] * SECOND);
        entry.failures--;
        schedule_finished(&entry, START, SCHEDULE_FAILED, false, 0);
        assert_int_equal(entry.retry_at_ms - START, SCHEDULE_BACKOFF_FLOOR_MS);
        entry.failures--;
        schedule_finished(&entry, START, SCHEDULE_FAILED, false, UINT64_MAX / 2);
        assert_int_equal(entry.retry_at_ms - START, seconds[i] * SECOND / 2);
    }
    entry.failures = UINT32_MAX;
    schedule_finished(&entry, START, SCHEDULE_FAILED, false, UINT64_MAX);
    assert_int_equal(entry.failures, UINT32_MAX);
    assert_int_equal(entry.retry_at_ms - START, HOUR);
    schedule_started(&entry, START + HOUR, false);
    schedule_finished(&entry, START + HOUR, SCHEDULE_SUCCEEDED, false, 0);
    assert_int_equal(entry.failures, 0);
    assert_int_equal(entry.retry_at_ms, 0);
}

/* A minutely one retries within 30 s, then its next slot is as soon as the backoff. */
static void test_backoff_of_frequent(void **state)
{
    ScheduleEntry entry = hourly(START);
    entry.frequency_s = 60;
    schedule_finished(&entry, START, SCHEDULE_FAILED, false, UINT64_MAX);
    assert_int_equal(entry.retry_at_ms - START, 30 * SECOND);
    schedule_started(&entry, START + 30 * SECOND, false);
    schedule_finished(&entry, START + 200 * SECOND, SCHEDULE_FAILED, false, UINT64_MAX);
    assert_int_equal(entry.retry_at_ms, 0);
    int64_t due = schedule_due(&entry, START + 200 * SECOND);
    assert_true(due > START + 200 * SECOND && due <= START + 260 * SECOND);
}

static void test_configuration_error(void **state)
{
    ScheduleEntry entry;
    int64_t slot = served(&entry);
    schedule_started(&entry, slot + HOUR, false);
    schedule_finished(&entry, slot + HOUR, SCHEDULE_FAILED_CONFIGURATION, false, 1);
    assert_true(schedule_due(&entry, slot + 5 * DAY) == SCHEDULE_NEVER);
    /* a run by hand that is cancelled changes nothing */
    schedule_started(&entry, slot + 2 * HOUR, true);
    schedule_finished(&entry, slot + 2 * HOUR, SCHEDULE_CANCELLED, true, 1);
    assert_true(schedule_due(&entry, slot + 5 * DAY) == SCHEDULE_NEVER);
    /* a restart tries once, at once */
    ScheduleEntry restarted = entry;
    restarted.waits_for_configuration = false;
    assert_int_equal(schedule_due(&restarted, slot + 2 * HOUR), slot + 2 * HOUR);
    schedule_reconfigured(&entry, 3600, slot + 3 * HOUR);
    assert_int_equal(schedule_due(&entry, slot + 3 * HOUR), slot + 3 * HOUR);
}

static void test_destination_held_by_another_program(void **state)
{
    ScheduleEntry entry;
    int64_t slot = served(&entry), next = schedule_next_slot(&entry, slot + SECOND);
    schedule_started(&entry, slot, false);
    schedule_finished(&entry, slot + SECOND, SCHEDULE_FAILED_HELD, false, 1);
    assert_int_equal(schedule_due(&entry, slot + 2 * SECOND), next);
    assert_int_equal(entry.failures, 1);
}

static void test_manual(void **state)
{
    ScheduleEntry entry = { .phase_hash = 7 };
    assert_true(schedule_due(&entry, START) == SCHEDULE_NEVER);
    schedule_started(&entry, START, true);
    schedule_finished(&entry, START, SCHEDULE_FAILED, true, 1);
    assert_true(schedule_due(&entry, START) == SCHEDULE_NEVER && entry.failures == 1);
    assert_true(schedule_next_slot(&entry, START) == SCHEDULE_NEVER);
    schedule_finished(&entry, START, SCHEDULE_FAILED_CONFIGURATION, true, 1);
    assert_true(schedule_due(&entry, START) == SCHEDULE_NEVER);
    /* becomes hourly: tried at once, since it is failing; had it not failed, at its next slot */
    ScheduleEntry failing = entry;
    schedule_reconfigured(&failing, 3600, START);
    assert_int_equal(schedule_due(&failing, START), START);
    entry.failures = 0;
    schedule_reconfigured(&entry, 3600, START);
    int64_t due = schedule_due(&entry, START);
    assert_true(due > START && due <= START + HOUR);
}

static void test_manual_of_paused(void **state)
{
    ScheduleEntry entry = { .phase_hash = 7, .frequency_s = 3600, .paused = true };
    schedule_started(&entry, START, true);
    schedule_finished(&entry, START + 1, SCHEDULE_FAILED, true, 1);
    assert_true(entry.paused && entry.retry_at_ms == 0);
    schedule_resumed(&entry, START + 2); /* ran by hand, and no slot passed since */
    int64_t due = schedule_due(&entry, START + 2);
    assert_true(due > START + 2 && due <= START + HOUR);
}

static void test_cancelled_and_interrupted(void **state)
{
    ScheduleEntry entry;
    int64_t slot = served(&entry), now = slot + 3 * HOUR + 10 * MINUTE;
    schedule_started(&entry, slot + HOUR, false); /* runs past two slots */
    ScheduleEntry interrupted = entry;
    schedule_finished(&entry, now, SCHEDULE_CANCELLED, false, 1);
    assert_int_equal(schedule_due(&entry, now), slot + 4 * HOUR);
    schedule_finished(&interrupted, now, SCHEDULE_INTERRUPTED, false, 1);
    assert_true(schedule_due(&interrupted, now) <= now);
    assert_int_equal(interrupted.failures, 0);
}

static void test_frequency_changed(void **state)
{
    ScheduleEntry entry;
    int64_t slot = served(&entry);
    schedule_reconfigured(&entry, 60, slot + 30 * MINUTE); /* not due, though dozens of the new slots have passed */
    int64_t due = schedule_due(&entry, slot + 30 * MINUTE);
    assert_true(due > slot + 30 * MINUTE && due <= slot + 31 * MINUTE);
    schedule_reconfigured(&entry, 86400, due); /* due, and stays so */
    assert_true(schedule_due(&entry, due) <= due);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_never_ran),
        cmocka_unit_test(test_never_ran_before_1970),
        cmocka_unit_test(test_missed_once),
        cmocka_unit_test(test_clock_back),
        cmocka_unit_test(test_retry_across_clock_back),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_backoff_of_frequent),
        cmocka_unit_test(test_configuration_error),
        cmocka_unit_test(test_destination_held_by_another_program),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_manual_of_paused),
        cmocka_unit_test(test_cancelled_and_interrupted),
        cmocka_unit_test(test_frequency_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
