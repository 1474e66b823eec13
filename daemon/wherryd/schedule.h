#pragma once
/*
 * When is a connection due? A pure module: no clock, no memory of its own, no I/O. The daemon keeps one ScheduleEntry per connection
 * (and its persistent part in state.db), asks schedule_due(), and reports what happened.
 *
 * - never ran: due at once (schedule_added(), schedule_resumed());
 * - then at phase + k · frequency, the phase being a hash of the name spread over the frequency; a late daemon runs a missed sync once;
 * - a failed one is retried after a backoff with full jitter (30 s doubling up to min(frequency, 1 h)), unless the failure was one
 *   of configuration; manual ones are not retried;
 * - never twice for the same slot, whatever the wall clock does; a clock set back does not make it wait longer than one frequency.
 *
 * Times are wall-clock milliseconds.
 */
#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_NEVER INT64_MAX
#define SCHEDULE_BACKOFF_FIRST_MS (30 * 1000)
#define SCHEDULE_BACKOFF_MAX_MS (3600 * 1000)

typedef enum ScheduleOutcome { SCHEDULE_SUCCEEDED, SCHEDULE_FAILED, SCHEDULE_FAILED_CONFIGURATION, SCHEDULE_CANCELLED } ScheduleOutcome;

typedef struct ScheduleEntry {
    /* configuration */
    uint64_t phase_hash;  /* fnv1a64(name) */
    uint32_t frequency_s; /* 0: manual */
    /* persistent */
    bool paused;
    bool ever_ran;        /* a run has started at least once since it was added */
    int64_t last_slot_ms; /* the due time that the last scheduled start served; 0: none */
    int64_t retry_at_ms;  /* 0: no retry waits */
    uint32_t failures;    /* in a row */
    /* volatile */
    bool running;         /* queued or running: not due */
    bool waits_for_configuration;
} ScheduleEntry;

/* The next due time (in the past: due now), or SCHEDULE_NEVER. */
int64_t schedule_due(const ScheduleEntry *entry, int64_t now_ms);
/* The due time after a run would finish now and succeed: what `status` shows as next run while one is running. */
int64_t schedule_next_slot(const ScheduleEntry *entry, int64_t now_ms);
/* A run starts (is queued) now: consumes the slot that is due, and a retry that is. MANUAL runs consume neither. */
void schedule_started(ScheduleEntry *entry, int64_t now_ms, bool manual);
/* RANDOM: uniform 64 bits, for the jitter. MANUAL runs of a paused or manual connection schedule no retry. */
void schedule_finished(ScheduleEntry *entry, int64_t now_ms, ScheduleOutcome outcome, bool manual, uint64_t random);
void schedule_paused(ScheduleEntry *entry);
void schedule_resumed(ScheduleEntry *entry, int64_t now_ms);
void schedule_reconfigured(ScheduleEntry *entry, uint32_t frequency_s, int64_t now_ms); /* new frequency or new file content */
