#pragma once
/*
 * When is a connection due? A pure module: no clock, no memory of its own, no I/O. The daemon keeps one ScheduleEntry
 * per connection (and its persistent part in state.db), asks schedule_due(), and reports what happened.
 *
 * - never ran: due at once, when it is added and when it is resumed;
 * - then at phase + k · frequency, its slots, the phase being a hash of the name spread over the frequency; slots that
 * passed while the daemon was down, the connection paused or its run still running are made up for by one run;
 * - a failed one is retried after a backoff with full jitter: uniform up to 30 s, 60 s, 120 s … min(frequency, 1 h), at
 * least SCHEDULE_BACKOFF_FLOOR_MS. Once the backoff would reach the frequency itself, the next slot is the retry. A run
 * that succeeds ends it. Manual connections are not retried;
 * - one that failed since another program holds its destination waits for its next slot;
 * - a configuration error waits for schedule_reconfigured(), or for the next start of the daemon (its environment may
 * have been what was wrong), which then tries once, at once;
 * - never twice for the same slot. A clock set back does not make it wait for more than one frequency longer: by up to
 * one frequency, the slot that was served stays served; by more, the clock is taken at its word, and the slots that
 * come again count anew;
 * - one that runs, or is queued, is never due.
 *
 * Times are wall-clock milliseconds.
 */
#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_NEVER INT64_MAX
#define SCHEDULE_BACKOFF_FIRST_MS (30 * 1000)
#define SCHEDULE_BACKOFF_MAX_MS (3600 * 1000)
#define SCHEDULE_BACKOFF_FLOOR_MS 1000

typedef enum ScheduleOutcome {
    SCHEDULE_SUCCEEDED,
    SCHEDULE_FAILED, /* also: stalled, and found without an end after the daemon died */
    SCHEDULE_FAILED_CONFIGURATION,
    SCHEDULE_FAILED_HELD, /* another program keeps what is needed: no retry but the next slot */
    SCHEDULE_CANCELLED,   /* by a user: the next slot is next */
    SCHEDULE_INTERRUPTED  /* by the daemon's own stop: due at once when it is back, unless manual */
} ScheduleOutcome;

typedef struct ScheduleEntry {
    /* configuration */
    uint64_t phase_hash;  /* fnv1a64(name) */
    uint32_t frequency_s; /* 0: manual */
    /* persistent */
    bool paused;
    bool ever_ran;        /* a run has started at least once since it was added */
    int64_t last_slot_ms; /* the slot that the last scheduled start served; 0: none */
    int64_t retry_at_ms;  /* 0: no retry waits; SCHEDULE_NEVER: until the configuration changes */
    uint32_t failures;    /* in a row */
    /* volatile */
    bool running;                 /* queued or running: not due */
    bool waits_for_configuration; /* its last run failed by it, in this life of the daemon */
} ScheduleEntry;

/* The next due time (not after NOW_MS: due now), or SCHEDULE_NEVER. Forgets a slot or retry that only a clock since set
 * back can have put so far ahead, hence not const; ask again when the clock was set. */
int64_t schedule_due(ScheduleEntry *entry, int64_t now_ms);
/* The due time if its run ended now and succeeded: what `status` shows as next run while one is running. */
int64_t schedule_next_slot(const ScheduleEntry *entry, int64_t now_ms);
/* A run starts (is queued) now: consumes the slot that is due, and the retry. MANUAL runs consume neither. To be stored
 * when the run really starts, so that one that was only queued when the daemon died is due again. */
void schedule_started(ScheduleEntry *entry, int64_t now_ms, bool manual);
/* RANDOM: uniform 64 bits, for the jitter. MANUAL runs of a paused or manual connection schedule no retry. To be
 * stored. */
void schedule_finished(ScheduleEntry *entry, int64_t now_ms, ScheduleOutcome outcome, bool manual, uint64_t random);
/* Both to be stored durably. Slots go on passing while paused; at most one run makes up for them after resume. */
void schedule_paused(ScheduleEntry *entry);
void schedule_resumed(ScheduleEntry *entry, int64_t now_ms);
/* Another frequency, or other content of the file: one that is failing is tried at once. A mere change of frequency
 * makes nothing due that was not. */
void schedule_reconfigured(ScheduleEntry *entry, uint32_t frequency_s, int64_t now_ms);
