/*
 * The time line of a connection is cut into slots, phase + k · frequency. A scheduled start serves the latest slot that
 * has passed, which is remembered; the connection is due again at the first slot after it. That one number carries
 * nearly everything: slots missed in whatever way (daemon down, paused, a long run) are behind it and collapse into one
 * run, and a slot served stays served when the clock is set back a little. Set back by more than a frequency, the
 * remembered slot says nothing any more and is replaced by the current one.
 *
 * Beside the slots there is at most one retry, an absolute time; whichever comes first is due, and either start
 * consumes both.
 */
#include "daemon/wherryd/schedule.h"

static int64_t frequency_ms(const ScheduleEntry *entry)
{
    return (int64_t)entry->frequency_s * 1000;
}

/* The hash of similar names differs mostly in few bits; spread them over all (the finalizer of splitmix64), then scale
 * to the frequency. */
static int64_t phase_ms(const ScheduleEntry *entry)
{
    uint64_t bits = entry->phase_hash;
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    bits ^= bits >> 31;
    return (int64_t)(((unsigned __int128)bits * (uint64_t)frequency_ms(entry)) >> 64);
}

/* The latest slot that is not after TIME; TIME may lie before 1970. */
static int64_t slot_at(const ScheduleEntry *entry, int64_t time_ms)
{
    int64_t since_phase = time_ms - phase_ms(entry), frequency = frequency_ms(entry);
    int64_t into_slot = since_phase % frequency;
    return time_ms - (into_slot < 0 ? into_slot + frequency : into_slot);
}

static int64_t slot_after(const ScheduleEntry *entry, int64_t time_ms)
{
    return slot_at(entry, time_ms) + frequency_ms(entry);
}

/* What the slots up to now were for has been tried, or is not wanted. */
static void consume_slots(ScheduleEntry *entry, int64_t now_ms)
{
    int64_t slot = slot_at(entry, now_ms);
    if (entry->last_slot_ms < slot)
        entry->last_slot_ms = slot;
}

static int64_t backoff_limit(const ScheduleEntry *entry)
{
    return frequency_ms(entry) < SCHEDULE_BACKOFF_MAX_MS ? frequency_ms(entry) : SCHEDULE_BACKOFF_MAX_MS;
}

/* Brings times that lie impossibly far ahead, because the clock was set back since, to what they would be at most. This
 * has to be remembered: a due time computed anew from a moving now would move along and never come. */
static void settle(ScheduleEntry *entry, int64_t now_ms)
{
    if (entry->last_slot_ms == 0 ? entry->ever_ran : entry->last_slot_ms - now_ms > frequency_ms(entry))
        entry->last_slot_ms = slot_at(entry, now_ms);
    if (entry->retry_at_ms != SCHEDULE_NEVER && entry->retry_at_ms - now_ms > backoff_limit(entry))
        entry->retry_at_ms = now_ms + backoff_limit(entry);
}

int64_t schedule_due(ScheduleEntry *entry, int64_t now_ms)
{
    if (entry->frequency_s == 0 || entry->paused || entry->running || entry->waits_for_configuration)
        return SCHEDULE_NEVER;
    settle(entry, now_ms);
    if (!entry->ever_ran || entry->retry_at_ms == SCHEDULE_NEVER)
        return now_ms;
    int64_t slot = slot_after(entry, entry->last_slot_ms);
    return entry->retry_at_ms != 0 && entry->retry_at_ms < slot ? entry->retry_at_ms : slot;
}

int64_t schedule_next_slot(const ScheduleEntry *entry, int64_t now_ms)
{
    ScheduleEntry after = *entry;
    after.ever_ran = true;
    schedule_finished(&after, now_ms, SCHEDULE_SUCCEEDED, false, 0);
    return schedule_due(&after, now_ms);
}

void schedule_started(ScheduleEntry *entry, int64_t now_ms, bool manual)
{
    entry->running = true;
    entry->ever_ran = true;
    if (entry->frequency_s == 0)
        return;
    settle(entry, now_ms);
    if (manual)
        return;
    consume_slots(entry, now_ms);
    entry->retry_at_ms = 0;
}

/* Full jitter: uniform from nothing up to the backoff ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015),
 * so that those that failed together do not come back together. */
static int64_t retry_time(const ScheduleEntry *entry, int64_t now_ms, uint64_t random)
{
    uint32_t doublings = entry->failures - 1 < 16 ? entry->failures - 1 : 16;
    int64_t backoff = (int64_t)SCHEDULE_BACKOFF_FIRST_MS << doublings;
    if (backoff > SCHEDULE_BACKOFF_MAX_MS)
        backoff = SCHEDULE_BACKOFF_MAX_MS;
    if (backoff >= frequency_ms(entry))
        return 0; /* the next slot is as soon */
    int64_t delay = (int64_t)(((unsigned __int128)random * (uint64_t)(backoff + 1)) >> 64);
    return now_ms + (delay < SCHEDULE_BACKOFF_FLOOR_MS ? SCHEDULE_BACKOFF_FLOOR_MS : delay);
}

void schedule_finished(ScheduleEntry *entry, int64_t now_ms, ScheduleOutcome outcome, bool manual, uint64_t random)
{
    bool waited = entry->waits_for_configuration, retries = entry->frequency_s != 0 && !(manual && entry->paused);
    entry->running = false;
    if (outcome == SCHEDULE_INTERRUPTED) {
        if (!manual && retries && !waited)
            entry->retry_at_ms = now_ms;
        return;
    }
    /* Slots that passed during a run that failed or was cancelled must not start the next one at once: that would
     * defeat the backoff, and the order. */
    if (entry->frequency_s != 0 && outcome != SCHEDULE_SUCCEEDED) {
        settle(entry, now_ms);
        consume_slots(entry, now_ms);
    }
    if (outcome == SCHEDULE_CANCELLED) {
        entry->retry_at_ms = waited && entry->retry_at_ms == SCHEDULE_NEVER ? SCHEDULE_NEVER : 0;
        return;
    }
    entry->waits_for_configuration = outcome == SCHEDULE_FAILED_CONFIGURATION;
    entry->retry_at_ms = 0;
    if (outcome == SCHEDULE_SUCCEEDED) {
        entry->failures = 0;
        return;
    }
    entry->failures += entry->failures < UINT32_MAX;
    if (retries && outcome != SCHEDULE_FAILED_HELD)
        entry->retry_at_ms =
            outcome == SCHEDULE_FAILED_CONFIGURATION ? SCHEDULE_NEVER : retry_time(entry, now_ms, random);
}

void schedule_paused(ScheduleEntry *entry)
{
    entry->paused = true;
}

void schedule_resumed(ScheduleEntry *entry, int64_t now_ms)
{
    entry->paused = false;
    if (entry->frequency_s != 0)
        settle(entry, now_ms);
}

void schedule_reconfigured(ScheduleEntry *entry, uint32_t frequency_s, int64_t now_ms)
{
    if (frequency_s != entry->frequency_s) {
        bool due = false;
        if (entry->frequency_s != 0 && entry->ever_ran) {
            settle(entry, now_ms);
            due = slot_after(entry, entry->last_slot_ms) <= now_ms;
        }
        entry->frequency_s = frequency_s;
        if (frequency_s != 0 && entry->ever_ran) /* just before the current slot keeps due what was */
            entry->last_slot_ms = slot_at(entry, now_ms) - (due ? 1 : 0);
    }
    entry->waits_for_configuration = false;
    entry->retry_at_ms = frequency_s != 0 && entry->failures > 0 ? now_ms : 0;
}
