/*
 * The schedule under a virtual clock: thousands of connections, a year, clocks that jump, daemons that die, and an
 * oracle that knows nothing of how the schedule computes its times. It learns each connection's phase from its first
 * slot and from then on demands: every slot is where the phase puts it and the latest that has passed, none is served
 * twice, none of the connections waits longer than it may, never two runs of one at once, every retry within its bound.
 * Admission decides what starts, as in the daemon.
 *
 * Sampled by default; WHERRY_TEST_FULL=1 simulates 10,000 connections for a year. WHERRY_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/wherryd/admission.h"
#include "daemon/wherryd/schedule.h"
#include "lib/basics/buffer.h"
#include "lib/basics/hash.h"
#include "tests/unit/schedule-times.h"

#define NONE INT64_MAX
#define RUN_MAX (750 * SECOND)
#define MAX_SYNCS 24
#define CORES 8
#define IDENTITIES 20 /* shared by every 25th connection */

#define demand(condition, simulation, index, ...)                 \
    do {                                                          \
        if (!(condition))                                         \
            complain(simulation, index, #condition, __VA_ARGS__); \
    } while (0)

/* --- a heap of indexes by time, each index in it at most once --- */

typedef struct Heap {
    int64_t *time;      /* by index; NONE: not in the heap */
    uint32_t *items;    /* heap order */
    uint32_t *position; /* by index */
    uint32_t count;
} Heap;

static void heap_init(Heap *heap, uint32_t n)
{
    heap->time = xcalloc(n, sizeof *heap->time);
    heap->items = xcalloc(n, sizeof *heap->items);
    heap->position = xcalloc(n, sizeof *heap->position);
    for (uint32_t i = 0; i < n; i++)
        heap->time[i] = NONE;
}

static void heap_clear(Heap *heap)
{
    free(heap->time);
    free(heap->items);
    free(heap->position);
}

static void heap_place(Heap *heap, uint32_t at, uint32_t item)
{
    heap->items[at] = item;
    heap->position[item] = at;
}

static void heap_settle(Heap *heap, uint32_t at)
{
    uint32_t item = heap->items[at];
    int64_t time = heap->time[item];
    for (; at > 0 && heap->time[heap->items[(at - 1) / 2]] > time; at = (at - 1) / 2)
        heap_place(heap, at, heap->items[(at - 1) / 2]);
    for (uint32_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && heap->time[heap->items[child + 1]] < heap->time[heap->items[child]])
            child++;
        if (heap->time[heap->items[child]] >= time)
            break;
        heap_place(heap, at, heap->items[child]);
    }
    heap_place(heap, at, item);
}

static void heap_set(Heap *heap, uint32_t item, int64_t time)
{
    int64_t before = heap->time[item];
    heap->time[item] = time;
    if (before == NONE && time != NONE) {
        heap_place(heap, heap->count++, item);
        heap_settle(heap, heap->count - 1);
    } else if (before != NONE && time == NONE) {
        uint32_t at = heap->position[item];
        uint32_t last = heap->items[--heap->count];
        if (last != item) {
            heap_place(heap, at, last);
            heap_settle(heap, at);
        }
    } else if (time != NONE) {
        heap_settle(heap, heap->position[item]);
    }
}

static int64_t heap_first(const Heap *heap)
{
    return heap->count > 0 ? heap->time[heap->items[0]] : NONE;
}

/* --- the simulated daemon --- */

typedef struct Connection {
    char name[24];
    ScheduleEntry entry;
    ScheduleEntry stored; /* what state.db has: survives a restart */
    bool queued, started, manual;
    int64_t queued_real;
    size_t queued_behind;
    int64_t failing_until; /* every run fails */
    int64_t configured_at; /* when the configuration is mended; NONE: it is fine */
    /* the oracle's own */
    int64_t phase;   /* -1: not seen yet */
    int64_t label;   /* of the last slot served; 0: none */
    bool label_void; /* the clock was set back by more than a frequency before it */
    bool ran;
    int64_t deadline; /* real time by which it must have been queued again; NONE: none */
} Connection;

typedef struct Simulation {
    Connection *connections;
    uint32_t count;
    uint64_t seed, random;
    int64_t real, offset; /* wall clock = real + offset */
    int64_t end;
    Heap due;      /* wall clock */
    Heap finishes; /* real; also the end of a bad configuration where nothing runs */
    Admission *admission;
    bool calm; /* no disturbances, no failures */
    int64_t next_disturbance;
    uint64_t digest; /* of all that happened */
    /* counted */
    uint64_t runs, retries, slots, jumps, restarts, resumes, made_up, longest_queue;
    double jitter_sum;
    uint64_t jitter_count, backoff_deepest;
    uint32_t *minutes; /* queued per minute, where calm */
} Simulation;

static int64_t wall(const Simulation *simulation)
{
    return simulation->real + simulation->offset;
}

static void complain(const Simulation *simulation, const Connection *c, const char *condition, const char *what)
{
    fprintf(stderr,
            "seed %" PRIu64 ": %s: %s\n  %s, frequency %" PRIu32 " s, real %" PRId64 ", wall %" PRId64
            ", label %" PRId64 ", last slot %" PRId64 ", retry at %" PRId64 ", failures %" PRIu32 ", deadline %" PRId64
            "\n",
            simulation->seed, what, condition, c->name, c->entry.frequency_s, simulation->real, wall(simulation),
            c->label, c->entry.last_slot_ms, c->entry.retry_at_ms, c->entry.failures, c->deadline);
    fail();
}

static uint64_t random_bits(Simulation *simulation)
{
    uint64_t bits = simulation->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

static int64_t random_below(Simulation *simulation, int64_t bound)
{
    return (int64_t)(((unsigned __int128)random_bits(simulation) * (uint64_t)bound) >> 64);
}

static bool chance(Simulation *simulation, int64_t per_thousand)
{
    return random_below(simulation, 1000) < per_thousand;
}

static void happened(Simulation *simulation, const Connection *c, int what)
{
    uint64_t mixed = simulation->digest ^ (uint64_t)wall(simulation) ^ (c->entry.phase_hash << 1) ^ (uint64_t)what;
    simulation->digest = (mixed << 7 | mixed >> 57) * UINT64_C(0x9e3779b97f4a7c15);
}

static int64_t frequency_of(const Connection *c)
{
    return (int64_t)c->entry.frequency_s * SECOND;
}

static bool may_run(const Connection *c)
{
    return !c->entry.paused && c->configured_at == NONE && !c->queued && !c->started;
}

static void look(Simulation *simulation, Connection *c)
{
    int64_t due = schedule_due(&c->entry, wall(simulation));
    demand(due == schedule_due(&c->entry, wall(simulation)), simulation, c, "asking twice gives two answers");
    demand(may_run(c) || due == SCHEDULE_NEVER, simulation, c, "due although running, paused or badly configured");
    demand(!may_run(c) || due != SCHEDULE_NEVER, simulation, c, "never due although nothing stands against it");
    demand(due == SCHEDULE_NEVER || due - wall(simulation) <= 2 * frequency_of(c), simulation, c, "due too late");
    heap_set(&simulation->due, (uint32_t)(c - simulation->connections), due);
}

/* The oracle's view of a scheduled start: which slot does it serve, if any? */
static void check_slot(Simulation *simulation, Connection *c, int64_t retry_at_before)
{
    int64_t now = wall(simulation), frequency = frequency_of(c), label = c->entry.last_slot_ms;
    bool ahead = label > now; /* a clock set back a little, and a retry */
    demand(ahead ? label - now <= frequency : now - label < frequency, simulation, c,
           "not the latest slot that passed");
    if (c->phase < 0)
        c->phase = label % frequency;
    demand(label % frequency == c->phase, simulation, c, "the phase moved");
    if (label == c->label && !c->label_void) {
        demand(c->ran, simulation, c, "the first run served no slot");
        demand(retry_at_before != 0 && (retry_at_before == SCHEDULE_NEVER || retry_at_before <= now), simulation, c,
               "a slot served twice");
        simulation->retries++;
    } else {
        demand(c->label_void || label > c->label, simulation, c, "went back to an earlier slot");
        if (c->label != 0 && !c->label_void && label - c->label > frequency)
            simulation->made_up++;
        simulation->slots++;
    }
    c->label = label;
    c->label_void = false;
}

static void queue_run(Simulation *simulation, Connection *c, bool manual)
{
    demand(!c->queued && !c->started, simulation, c, "two runs at once");
    demand(manual || !c->entry.paused, simulation, c, "a paused connection runs");
    demand(manual || simulation->real <= c->deadline, simulation, c, "starved");
    int64_t retry_at = c->entry.retry_at_ms, slot = c->entry.last_slot_ms;
    schedule_started(&c->entry, wall(simulation), manual);
    if (!manual)
        check_slot(simulation, c, retry_at);
    else
        demand(slot == 0 || c->entry.last_slot_ms == slot || slot - wall(simulation) > frequency_of(c), simulation, c,
               "a manual run consumed a slot");
    c->ran = c->queued = true;
    c->manual = manual;
    c->queued_real = simulation->real;
    c->queued_behind = admission_queued(simulation->admission);
    if (!manual)
        c->deadline = NONE;
    uint32_t index = (uint32_t)(c - simulation->connections);
    char identity[16];
    (void)snprintf(identity, sizeof identity, "file-%u", index % IDENTITIES);
    admission_add(simulation->admission, c, index % 25 == 0 ? identity : NULL, index % 3 == 0);
    look(simulation, c);
    happened(simulation, c, manual ? 2 : 1);
    if (simulation->minutes)
        simulation->minutes[(simulation->real - START) / MINUTE]++;
}

static int64_t run_time(Simulation *simulation, const Connection *c)
{
    if (simulation->calm)
        return 100;
    int64_t most = chance(simulation, 2) ? RUN_MAX : 3 * SECOND;
    if (c->entry.frequency_s <= 60 && chance(simulation, 20))
        most = 3 * frequency_of(c); /* longer than its frequency */
    return 1 + random_below(simulation, most < RUN_MAX ? most : RUN_MAX);
}

static void start_runs(Simulation *simulation)
{
    Connection *c;
    while ((c = admission_next(simulation->admission))) {
        demand(c->queued && !c->started, simulation, c, "started without being queued");
        /* as if only the places for remote ones served all before it, and every other of its destination came first too
         */
        int64_t bound = RUN_MAX * (int64_t)(c->queued_behind / (MAX_SYNCS - CORES) + 2 + c->queued_behind / IDENTITIES);
        demand(simulation->real - c->queued_real <= bound, simulation, c, "queued for too long");
        if ((uint64_t)(simulation->real - c->queued_real) > simulation->longest_queue)
            simulation->longest_queue = (uint64_t)(simulation->real - c->queued_real);
        c->queued = false;
        c->started = true;
        c->stored = c->entry;
        simulation->runs++;
        heap_set(&simulation->finishes, (uint32_t)(c - simulation->connections),
                 simulation->real + run_time(simulation, c));
    }
}

static ScheduleOutcome outcome_of(Simulation *simulation, const Connection *c)
{
    if (simulation->calm)
        return SCHEDULE_SUCCEEDED;
    if (simulation->real < c->failing_until)
        return SCHEDULE_FAILED;
    int64_t dice = random_below(simulation, 1000);
    return dice < 950   ? SCHEDULE_SUCCEEDED
           : dice < 985 ? SCHEDULE_FAILED
           : dice < 998 ? SCHEDULE_CANCELLED
                        : SCHEDULE_FAILED_CONFIGURATION;
}

static void check_retry(Simulation *simulation, Connection *c)
{
    int64_t now = wall(simulation), wait = schedule_due(&c->entry, now) - now;
    int64_t limit = frequency_of(c) < HOUR ? frequency_of(c) : HOUR;
    int64_t backoff = c->entry.failures <= 8 ? 30 * SECOND << (c->entry.failures - 1) : limit;
    int64_t bound = backoff < limit ? backoff : limit;
    demand(c->entry.failures > 0, simulation, c, "a failure was not counted");
    demand(wait > 0, simulation, c, "retried without a pause");
    if (c->label <= now)
        demand(wait <= (bound > SECOND ? bound : SECOND), simulation, c, "the retry is beyond its bound");
    if (c->entry.retry_at_ms == 0)
        return;
    int64_t delay = c->entry.retry_at_ms - now;
    demand(delay >= SECOND && delay <= bound, simulation, c, "the retry is outside its backoff");
    simulation->jitter_sum += (double)delay / (double)bound;
    simulation->jitter_count++;
    if (c->entry.failures > simulation->backoff_deepest)
        simulation->backoff_deepest = c->entry.failures;
}

static void finish_run(Simulation *simulation, Connection *c)
{
    ScheduleOutcome outcome = outcome_of(simulation, c);
    int64_t now = wall(simulation);
    bool manual_of_paused = c->manual && c->entry.paused;
    c->started = false;
    admission_remove(simulation->admission, c);
    schedule_finished(&c->entry, now, outcome, c->manual, random_bits(simulation));
    c->label = c->entry.last_slot_ms; /* a failure gives up the slots that passed meanwhile */
    if (outcome == SCHEDULE_FAILED_CONFIGURATION)
        c->configured_at = simulation->real + 1 + random_below(simulation, 2 * DAY);
    if (outcome == SCHEDULE_FAILED && !manual_of_paused && !c->entry.paused)
        check_retry(simulation, c);
    if (outcome == SCHEDULE_SUCCEEDED && !c->entry.paused && c->label <= now)
        demand((schedule_due(&c->entry, now) <= now) == (now - c->label >= frequency_of(c)), simulation, c,
               "a slot that passed during the run was not seen, or one that did not was");
    if (may_run(c)) {
        int64_t ahead = c->label > now ? c->label - now : 0; /* never more than a frequency: see settle() */
        c->deadline = simulation->real + frequency_of(c) + ahead;
    } else {
        c->deadline = NONE;
    }
    c->stored = c->entry;
    happened(simulation, c, 16 + (int)outcome);
    heap_set(&simulation->finishes, (uint32_t)(c - simulation->connections), c->configured_at);
    look(simulation, c);
}

static void mend_configuration(Simulation *simulation, Connection *c)
{
    c->configured_at = NONE;
    heap_set(&simulation->finishes, (uint32_t)(c - simulation->connections), NONE);
    schedule_reconfigured(&c->entry, c->entry.frequency_s, wall(simulation));
    demand(c->entry.paused || schedule_due(&c->entry, wall(simulation)) <= wall(simulation), simulation, c,
           "not tried with its new configuration");
    c->stored = c->entry;
    c->deadline = c->entry.paused ? NONE : simulation->real;
    look(simulation, c);
}

/* --- disturbances --- */

static void set_clock(Simulation *simulation)
{
    static const int64_t most[] = { 500, 500, 500, 2 * MINUTE, 2 * HOUR, 12 * HOUR, 3 * DAY, 20 * DAY };
    int64_t size = 1 + random_below(simulation, most[random_below(simulation, ELEMENTSOF(most))]);
    int64_t step = random_bits(simulation) & 1 ? size : -size;
    simulation->offset += step;
    simulation->jumps++;
    for (uint32_t i = 0; i < simulation->count; i++) {
        Connection *c = &simulation->connections[i];
        int64_t frequency = frequency_of(c);
        if (c->label - wall(simulation) > frequency)
            c->label_void = true;
        if (step < 0 && c->deadline != NONE) {
            int64_t longer = c->deadline - step, most_ever = simulation->real + 2 * frequency;
            c->deadline = longer < most_ever ? longer : most_ever;
        }
        look(simulation, c);
    }
}

/* The daemon dies, or stops cleanly, and is back some time later: what only memory knew is gone. */
static void restart(Simulation *simulation)
{
    bool clean = chance(simulation, 500);
    simulation->restarts++;
    for (uint32_t i = 0; i < simulation->count; i++) {
        Connection *c = &simulation->connections[i];
        if (clean && c->started) {
            schedule_finished(&c->entry, wall(simulation), SCHEDULE_INTERRUPTED, c->manual, 0);
            c->stored = c->entry;
        }
    }
    int64_t downtime = chance(simulation, 700) ? 5 * SECOND : random_below(simulation, 2 * DAY);
    simulation->real += downtime;
    for (uint32_t i = 0; i < simulation->count; i++) {
        Connection *c = &simulation->connections[i];
        bool was_started = c->started, was_queued = c->queued;
        if (was_started || was_queued)
            admission_remove(simulation->admission, c);
        c->queued = c->started = false;
        c->entry = (ScheduleEntry){
            .phase_hash = c->entry.phase_hash,
            .frequency_s = c->entry.frequency_s,
            .paused = c->stored.paused,
            .ever_ran = c->stored.ever_ran,
            .last_slot_ms = c->stored.last_slot_ms,
            .retry_at_ms = c->stored.retry_at_ms,
            .failures = c->stored.failures,
        };
        c->label = c->entry.last_slot_ms;
        c->ran = c->entry.ever_ran;
        c->label_void = c->label - wall(simulation) > frequency_of(c);
        c->configured_at = NONE; /* the daemon's environment may have been what was wrong: tried once at the start */
        heap_set(&simulation->finishes, i, NONE);
        if (was_started && !clean)
            schedule_finished(&c->entry, wall(simulation), SCHEDULE_FAILED, c->manual, random_bits(simulation));
        c->label = c->entry.last_slot_ms;
        int64_t now = wall(simulation), due = schedule_due(&c->entry, now);
        if (!c->entry.paused) {
            demand(!(was_started && clean && !c->manual) || due <= now, simulation, c,
                   "an interrupted run is not taken up");
            demand(c->entry.ever_ran || due <= now, simulation, c, "it never ran and is not due");
            demand(now - c->label < frequency_of(c) || due <= now, simulation, c, "a missed slot is not made up for");
        }
        c->deadline =
            c->entry.paused ? NONE : simulation->real + 2 * frequency_of(c); /* bounded below, by what is due now */
        if (due <= now)
            c->deadline = simulation->real;
        look(simulation, c);
    }
}

static void pause_or_resume(Simulation *simulation, Connection *c)
{
    int64_t now = wall(simulation);
    if (!c->entry.paused) {
        schedule_paused(&c->entry);
        c->deadline = NONE;
    } else {
        schedule_resumed(&c->entry, now);
        simulation->resumes++;
        if (may_run(c)) {
            int64_t due = schedule_due(&c->entry, now);
            demand(c->ran || due <= now, simulation, c, "never ran and is not due at resume");
            demand(c->label_void || now - c->label < frequency_of(c) || due <= now, simulation, c,
                   "a slot missed while paused is not made up for");
            c->deadline = simulation->real + (c->label > now ? 2 : 1) * frequency_of(c);
        }
    }
    c->stored.paused = c->entry.paused;
    look(simulation, c);
}

static void change_frequency(Simulation *simulation, Connection *c)
{
    static const uint32_t frequencies[] = { 6 * 3600, 12 * 3600, 24 * 3600, 3 * 3600, 7777 };
    uint32_t frequency_s = frequencies[random_below(simulation, ELEMENTSOF(frequencies))];
    int64_t now = wall(simulation);
    if (c->queued || c->started || c->configured_at != NONE || c->entry.failures > 0 || !c->entry.ever_ran ||
        frequency_s == c->entry.frequency_s)
        return;
    bool was_due = !c->entry.paused && schedule_due(&c->entry, now) <= now;
    schedule_reconfigured(&c->entry, frequency_s, now);
    if (!c->entry.paused)
        demand((schedule_due(&c->entry, now) <= now) == was_due, simulation, c, "a new frequency made it due, or not");
    c->phase = -1;
    c->label = c->entry.last_slot_ms;
    c->stored = c->entry;
    if (!c->entry.paused)
        c->deadline = simulation->real + frequency_of(c);
    look(simulation, c);
}

static void disturb(Simulation *simulation)
{
    Connection *c = &simulation->connections[random_below(simulation, simulation->count)];
    int64_t dice = random_below(simulation, 1000);
    if (dice < 20)
        set_clock(simulation);
    else if (dice < 26)
        restart(simulation);
    else if (dice < 300)
        pause_or_resume(simulation, c);
    else if (dice < 600)
        c->failing_until = simulation->real + random_below(simulation, 3 * DAY);
    else if (dice < 700)
        change_frequency(simulation, c);
    else if (!c->queued && !c->started && c->configured_at == NONE)
        queue_run(simulation, c, true);
    simulation->next_disturbance = simulation->real + 1 + random_below(simulation, 20 * MINUTE);
}

/* --- setting up and running --- */

static uint32_t mixed_frequency(Simulation *simulation)
{
    static const struct {
        int64_t per_ten_thousand;
        uint32_t seconds;
    } mix[] = { { 4000, 24 * 3600 }, { 2000, 12 * 3600 }, { 1500, 6 * 3600 }, { 800, 3 * 3600 }, { 1300, 3600 },
                { 200, 5003 },       { 150, 900 },        { 36, 300 },        { 9, 61 },         { 4, 37 } };
    int64_t dice = random_below(simulation, 10000);
    size_t i = 0;
    while (i + 1 < ELEMENTSOF(mix) && dice >= mix[i].per_ten_thousand)
        dice -= mix[i++].per_ten_thousand;
    return mix[i].seconds;
}

static void simulation_init(Simulation *simulation, uint32_t count, int64_t span, uint64_t seed, uint32_t frequency_s)
{
    *simulation = (Simulation){ .count = count, .seed = seed, .random = seed, .real = START, .end = START + span };
    simulation->connections = xcalloc(count, sizeof *simulation->connections);
    simulation->admission = admission_new(MAX_SYNCS, CORES);
    heap_init(&simulation->due, count);
    heap_init(&simulation->finishes, count);
    for (uint32_t i = 0; i < count; i++) {
        Connection *c = &simulation->connections[i];
        (void)snprintf(c->name, sizeof c->name, "orders_%u", i);
        c->entry.phase_hash = fnv1a64(c->name, strlen(c->name));
        c->entry.frequency_s = frequency_s ? frequency_s : mixed_frequency(simulation);
        c->entry.paused = !frequency_s && chance(simulation, 20);
        c->stored = c->entry;
        c->phase = -1;
        c->configured_at = NONE;
        c->deadline = c->entry.paused ? NONE : START;
        look(simulation, c);
    }
    simulation->next_disturbance = START + HOUR;
}

static void simulation_clear(Simulation *simulation)
{
    admission_free(simulation->admission);
    heap_clear(&simulation->due);
    heap_clear(&simulation->finishes);
    free(simulation->connections);
    free(simulation->minutes);
}

static void simulate(Simulation *simulation)
{
    for (;;) {
        int64_t due = heap_first(&simulation->due), next = heap_first(&simulation->finishes);
        if (due != NONE && due - simulation->offset < next)
            next = due - simulation->offset;
        if (!simulation->calm && simulation->next_disturbance < next)
            next = simulation->next_disturbance;
        if (next >= simulation->end)
            break;
        if (next > simulation->real)
            simulation->real = next;
        while (heap_first(&simulation->finishes) <= simulation->real) {
            Connection *c = &simulation->connections[simulation->finishes.items[0]];
            if (c->started)
                finish_run(simulation, c);
            else if (c->queued) /* by hand, with its bad configuration */
                heap_set(&simulation->finishes, simulation->finishes.items[0], simulation->real + SECOND);
            else
                mend_configuration(simulation, c);
        }
        while (heap_first(&simulation->due) <= wall(simulation))
            queue_run(simulation, &simulation->connections[simulation->due.items[0]], false);
        if (!simulation->calm && simulation->next_disturbance <= simulation->real)
            disturb(simulation);
        start_runs(simulation);
    }
    for (uint32_t i = 0; i < simulation->count; i++)
        demand(simulation->connections[i].deadline >= simulation->end, simulation, &simulation->connections[i],
               "starved at the end");
}

static uint64_t seed_of_test(void)
{
    const char *text = getenv("WHERRY_TEST_SEED");
    return text ? strtoull(text, NULL, 10) : 20260101;
}

static uint64_t simulate_mixed(uint32_t count, int64_t span)
{
    Simulation simulation;
    simulation_init(&simulation, count, span, seed_of_test(), 0);
    simulate(&simulation);
    print_message("seed %" PRIu64 ": %" PRIu32 " connections, %" PRId64 " days: %" PRIu64 " runs (%" PRIu64
                  " slots, %" PRIu64 " made up for missed ones, %" PRIu64 " retries), %" PRIu64 " clock jumps, %" PRIu64
                  " restarts, %" PRIu64 " resumes, longest queued %" PRIu64 " s, deepest backoff %" PRIu64 "\n",
                  simulation.seed, count, span / DAY, simulation.runs, simulation.slots, simulation.made_up,
                  simulation.retries, simulation.jumps, simulation.restarts, simulation.resumes,
                  simulation.longest_queue / 1000, simulation.backoff_deepest);
    /* the run is worth nothing where it did not get to these */
    assert_true(simulation.jumps > 10 && simulation.restarts > 1 && simulation.resumes > 10);
    assert_true(simulation.retries > 1000 && simulation.made_up > 100 && simulation.backoff_deepest >= 10);
    double jitter = simulation.jitter_sum / (double)simulation.jitter_count;
    if (jitter < 0.45 || jitter > 0.57) /* the floor of one second lifts the mean of the first backoff a little */
        fail_msg("mean of jitter %f of the backoff in %" PRIu64 " retries", jitter, simulation.jitter_count);
    uint64_t digest = simulation.digest;
    simulation_clear(&simulation);
    return digest;
}

static void test_month_of_many(void **state)
{
    simulate_mixed(10000, getenv("WHERRY_TEST_FULL") ? 365 * DAY : 30 * DAY);
}

static void test_year(void **state)
{
    simulate_mixed(1000, 365 * DAY);
}

static void test_deterministic(void **state)
{
    assert_int_equal(simulate_mixed(300, 120 * DAY), simulate_mixed(300, 120 * DAY));
}

/* Ten thousand hourly ones, left alone: after the first run, no minute has more than three times its share. */
static void test_spread(void **state)
{
    Simulation simulation;
    simulation_init(&simulation, 10000, 8 * HOUR, 1, 3600);
    simulation.calm = true;
    simulation.minutes = xcalloc(8 * 60, sizeof *simulation.minutes);
    simulate(&simulation);
    uint32_t most = 0, least = UINT32_MAX;
    for (size_t minute = 2 * 60; minute < 8 * 60; minute++) {
        most = simulation.minutes[minute] > most ? simulation.minutes[minute] : most;
        least = simulation.minutes[minute] < least ? simulation.minutes[minute] : least;
    }
    print_message("10000 hourly connections: %" PRIu32 " to %" PRIu32 " a minute\n", least, most);
    assert_true(most < 3 * 10000 / 60 && least > 10000 / 60 / 3);
    assert_int_equal(simulation.slots, 10000 + 8 * 10000); /* at once, then each slot */
    simulation_clear(&simulation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_year),
        cmocka_unit_test(test_month_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
