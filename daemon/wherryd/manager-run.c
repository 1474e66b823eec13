/*
 * A run from its place in the queue to its record.
 *
 * The schedule is told when a run is queued, so that nothing is queued twice, and state.db when it really starts; both
 * when it ends. What cannot be written to state.db (a full disk) is said and held in memory: the destination knows what
 * was committed, and the schedule goes on. A run that was only queued leaves no trace but an answer to whoever waits
 * for it.
 */
#include <malloc.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/wherryd/deployed.h"
#include "daemon/wherryd/log.h"
#include "daemon/wherryd/manager-internal.h"
#include "daemon/wherryd/message-id.h"
#include "daemon/wherryd/record.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"

#define RUNS_PER_TRIM 100

static uint64_t random_bits(void)
{
    uint64_t bits = 0;
    (void)!getrandom(&bits, sizeof bits, 0);
    return bits;
}

static LogContext run_context(const Run *run, const char *message_id)
{
    return (LogContext){ .connection = run->connection->name,
                         .run_id = run->record.run_id,
                         .message_id = message_id,
                         .threshold = run->connection->config ? (int)run->connection->config->log_level : 0 };
}

static void say_unwritable(const Run *run, const Error *error)
{
    LogContext context = run_context(run, MESSAGE_STATE_UNWRITABLE);
    log_message(LOG_ERR, &context, "%s", error->message);
}

bool run_is_scheduled(const Run *run)
{
    return strcmp(run->record.trigger, "manual") != 0 && strcmp(run->record.trigger, "once") != 0;
}

static void run_free(Run *run)
{
    if (run->previous)
        run->previous->next = run->next;
    else
        run->manager->runs = run->next;
    if (run->next)
        run->next->previous = run->previous;
    admission_remove(run->manager->admission, run);
    run_record_clear(&run->record);
    json_decref(run->state);
    json_decref(run->tables);
    free(run);
}

/* --- its end --- */

static ScheduleOutcome schedule_outcome(const Run *run, ErrorKind kind)
{
    if (strcmp(run->record.outcome, "succeeded") == 0)
        return SCHEDULE_SUCCEEDED;
    if (strcmp(run->record.outcome, "cancelled") == 0)
        return run->interrupted ? SCHEDULE_INTERRUPTED : SCHEDULE_CANCELLED;
    return kind == ERROR_CONFIGURATION ? SCHEDULE_FAILED_CONFIGURATION
           : kind == ERROR_HELD        ? SCHEDULE_FAILED_HELD
                                       : SCHEDULE_FAILED;
}

static int store_end(Run *run, Error *error)
{
    Store *store = run->manager->store;
    Connection *connection = run->connection;
    if (store_begin(store, error) < 0)
        return -1;
    if (store_run_finished(store, &run->record, error) < 0 ||
        store_connection_put_schedule(store, connection->name, &connection->schedule, connection->paused_known, false,
                                      error) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

static void log_end(const Run *run)
{
    static const struct {
        const char *outcome, *message_id;
        int priority;
    } ends[] = { { "succeeded", MESSAGE_SYNC_SUCCEEDED, LOG_INFO },
                 { "failed", MESSAGE_SYNC_FAILED, LOG_ERR },
                 { "cancelled", MESSAGE_SYNC_CANCELLED, LOG_NOTICE },
                 { "stalled", MESSAGE_SYNC_STALLED, LOG_ERR } };
    _cleanup_(freep) char *summary = record_summary(&run->record);
    for (size_t i = 0; i < ELEMENTSOF(ends); i++)
        if (strcmp(ends[i].outcome, run->record.outcome) == 0) {
            LogContext context = run_context(run, ends[i].message_id);
            log_message(ends[i].priority, &context, "%s", summary);
        }
}

static const char *interned_outcome(const char *outcome)
{
    static const char *const outcomes[] = { "succeeded", "failed", "cancelled", "stalled" };
    for (size_t i = 0; i < ELEMENTSOF(outcomes); i++)
        if (strcmp(outcomes[i], outcome) == 0)
            return outcomes[i];
    return NULL;
}

static void remember(Run *run)
{
    Connection *connection = run->connection;
    free(connection->last_error);
    connection->last_error = xstrdup(run->record.error);
    connection->last_outcome = interned_outcome(run->record.outcome);
    connection->last_started_ms = run->record.started_ms;
    connection->last_rows = run->record.rows_committed;
    if (!run->unstarted)
        connection_count_at_cap(connection);
}

static void once_remember(Run *run, json_t *record)
{
    Manager *manager = run->manager;
    if (strcmp(run->record.outcome, "succeeded") != 0 && manager->once_status == 0)
        manager->once_status = 1;
    json_array_append(manager->once_runs, record);
    if (!manager->options.once_run)
        return;
    _cleanup_(freep) char *summary = record_summary(&run->record);
    manager->options.once_run(run->record.connection, summary, manager->options.userdata);
}

/* What came while it ran is the next run's. */
static void follow_up(Connection *connection)
{
    Manager *manager = connection->manager;
    if (connection->removed) {
        _cleanup_(freep) char *name = xstrdup(connection->name);
        connection_free(connection);
        deployed_sweep(manager, name);
        return;
    }
    if (connection->watch_pending && !manager->stopping && !connection->schedule.paused && connection->config) {
        connection->watch_pending = false;
        run_queue(connection, "watch", SYNC_LOAD, false);
        return;
    }
    manager_reschedule(connection);
    manager_arm(manager);
}

/* The record is complete; everything else about the run ends here. Frees RUN. */
static void run_end(Run *run, ErrorKind kind, bool log)
{
    Manager *manager = run->manager;
    Connection *connection = run->connection;
    if (log && !manager->options.once)
        log_end(run);
    schedule_finished(&connection->schedule, clock_wall_ms(), schedule_outcome(run, kind), run->manual, random_bits());
    _cleanup_(error_clear) Error error = {};
    /* What was only queued is as due as it was, and the thousands that may be queued must not hold up the end. */
    bool leaves_trace = !run->unstarted || !run->interrupted;
    if (leaves_trace && store_end(run, &error) < 0)
        say_unwritable(run, &error);
    remember(run);

    json_t *record = manager->options.once || manager_is_heard(manager) ? record_run(&run->record) : NULL;
    if (manager->options.once)
        once_remember(run, record);
    connection->run = NULL;
    run_free(run);
    if (record)
        manager_emit(manager, MANAGER_EVENT_RUN, connection->name, record);
    manager_emit_connection(connection);
    manager_status(manager);
    follow_up(connection);
    run_pump(manager);
    manager_run_gone(manager);
}

/* A question to a writer, an order, or a plan: no part of the history. */
static void run_end_state(Run *run, const SyncResult *result)
{
    Manager *manager = run->manager;
    Connection *connection = run->connection;
    ManagerStateCallback callback = run->callback;
    void *userdata = run->userdata;
    json_error_t problem;
    json_t *state = result->plan    ? json_incref(result->plan)
                    : result->state ? json_loads(result->state, JSON_DECODE_ANY, &problem)
                                    : NULL;
    _cleanup_(error_clear) Error error = {};
    bool good = result->plan || strcmp(run->record.outcome, "succeeded") == 0;
    if (!good)
        error_set(&error, result->kind == ERROR_NONE ? ERROR_INTERNAL : result->kind, "%s",
                  run->record.error ? run->record.error : "the writer ended without an answer");
    if (good && result->state && !state) { /* an integer beyond 64 bits, or a NUL: no message can hold it */
        good = false;
        error_set(&error, ERROR_DATA, "the state cannot be shown: %s; syncs go on from it as it is", problem.text);
    }
    connection->run = NULL;
    connection->schedule.running = false;
    run_free(run);
    callback(good ? state : NULL, good ? NULL : &error, userdata);
    json_decref(state);
    manager_emit_connection(connection);
    follow_up(connection);
    run_pump(manager);
    manager_run_gone(manager);
}

static void on_finished(const SyncResult *result, void *userdata)
{
    Run *run = userdata;
    Manager *manager = run->manager;
    run->sync = NULL;
    manager->syncing--;
    /* A wave of runs leaves holes in the heap. Once it is over, and not after each: it takes a millisecond or more. */
    if (++manager->ended_since_trim >= RUNS_PER_TRIM && manager->syncing == 0) {
        manager->ended_since_trim = 0;
        malloc_trim(0);
    }
    /* As where the file had been refused when it was read. */
    if (result->unresolved && manager->once_status == 0)
        manager->once_status = 2;
    if (run->task == SYNC_LOAD)
        run_end(run, result->kind, true);
    else
        run_end_state(run, result);
}

static void on_progress(const SyncProgress *progress, void *userdata)
{
    Run *run = userdata;
    if (manager_is_heard(run->manager))
        manager_emit(run->manager, MANAGER_EVENT_PROGRESS, run->connection->name,
                     record_progress(run->record.run_id, progress));
}

void run_drop(Run *run, const char *reason)
{
    int64_t now = clock_wall_ms();
    if (run->record.started_ms == 0)
        run->record.started_ms = now;
    run->unstarted = true;
    run->record.finished_ms = now;
    run->record.outcome = xstrdup("cancelled");
    run->record.error = xasprintf("%s before it started", reason);
    if (run->task == SYNC_LOAD)
        run_end(run, ERROR_CANCELLED, false);
    else
        run_end_state(run, &(SyncResult){ .kind = ERROR_CANCELLED });
}

/* --- its beginning --- */

static int store_start(Run *run, Error *error)
{
    Store *store = run->manager->store;
    Connection *connection = run->connection;
    if (store_begin(store, error) < 0)
        return -1;
    if (store_run_started(store, &run->record, error) < 0 ||
        store_connection_put_schedule(store, connection->name, &connection->schedule, connection->paused_known, false,
                                      error) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, error);
}

static void run_refuse(Run *run, const Error *error)
{
    run->record.finished_ms = clock_wall_ms();
    run->record.outcome = xstrdup("failed");
    run->record.error = xstrdup(error->message);
    if (run->task == SYNC_LOAD)
        run_end(run, error->kind, true);
    else
        run_end_state(run, &(SyncResult){ .kind = error->kind });
}

static void run_begin(Run *run)
{
    Manager *manager = run->manager;
    Connection *connection = run->connection;
    _cleanup_(error_clear) Error error = {};
    run->record.started_ms = clock_wall_ms();
    if (!connection->config)
        error_set(&error, ERROR_CONFIGURATION, "%s", connection->problem);
    else if (run->task == SYNC_LOAD)
        (void)store_start(run, &error);
    if (error.kind != ERROR_NONE) {
        run_refuse(run, &error);
        return;
    }
    if (run->task == SYNC_LOAD && !manager->options.once) {
        LogContext context = run_context(run, MESSAGE_SYNC_STARTED);
        log_message(LOG_INFO, &context, "sync started (%s)", run->record.trigger);
    }
    SyncOptions options = { .loop = manager->loop,
                            .store = manager->store,
                            .trees = manager->trees,
                            .libexec_dir = manager->options.libexec_dir,
                            .config = connection->config,
                            .record = &run->record,
                            .task = run->task,
                            .full = run->full,
                            .tables = run->tables,
                            .asked_as = connection_asked_as(connection),
                            .once = manager->options.once,
                            .debug_state = manager->options.once_debug_state,
                            .state = run->state,
                            .progress = on_progress,
                            .finished = on_finished,
                            .userdata = run };
    run->sync = sync_start(&options);
    manager->syncing++;
    manager_emit_connection(connection);
    manager_status(manager);
}

/* Ends of runs come back here; the outermost call does the work. */
void run_pump(Manager *manager)
{
    if (manager->pumping || manager->stopping)
        return;
    manager->pumping = true;
    for (Run *run; (run = admission_next(manager->admission));)
        run_begin(run);
    manager->pumping = false;
}

Run *run_queue(Connection *connection, const char *trigger, SyncTask task, bool full)
{
    Manager *manager = connection->manager;
    Run *run = xcalloc(1, sizeof *run);
    *run = (Run){ .manager = manager, .connection = connection, .task = task, .full = full, .next = manager->runs };
    if (manager->runs)
        manager->runs->previous = run;
    manager->runs = run;
    uuid7(run->record.run_id);
    run->record.connection = xstrdup(connection->name);
    run->record.trigger = xstrdup(trigger);
    /* Files that arrive do not stand for the sync that is due. */
    run->manual = strcmp(trigger, "schedule") != 0 && strcmp(trigger, "retry") != 0;
    connection->run = run;
    if (task == SYNC_LOAD)
        schedule_started(&connection->schedule, clock_wall_ms(), run->manual);
    heap_remove(&manager->due, &connection->due);
    admission_add(manager->admission, run, connection->config ? connection->config->identity : NULL,
                  connection->config ? connection->config->local : true);
    manager_emit_connection(connection);
    return run;
}
