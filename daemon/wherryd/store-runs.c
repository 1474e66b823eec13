/*
 * The history of runs. A connection's runs are numbered from 1, so that the one to drop is known without counting. Runs
 * without an outcome are few and have an index of their own, for the start after a crash.
 *
 * Warnings lie in one blob, each ended by a NUL byte: they may hold any other byte.
 */
#include <stdio.h>

#include "daemon/wherryd/store-private.h"
#include "lib/basics/buffer.h"

void run_record_clear(RunRecord *run)
{
    free(run->connection);
    free(run->trigger);
    free(run->outcome);
    free(run->error);
    for (size_t i = 0; i < run->warning_count; i++)
        free(run->warnings[i]);
    free(run->warnings);
    *run = (RunRecord){ 0 };
}

static int touch_connection(Store *store, int64_t connection, int64_t started_ms, Error *error)
{
    static const char sql[] = "UPDATE connections SET last_started_ms = ?2 WHERE id = ?1";
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_integer(&statement, 1, connection);
    statement_bind_integer(&statement, 2, started_ms);
    return statement_run(store, &statement, error);
}

static int prune(Store *store, int64_t connection, Error *error)
{
    static const char sql[] = "DELETE FROM runs WHERE connection = ?1 AND number <= (SELECT max(number) FROM runs "
                              "WHERE connection = ?1) - ?2";
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_integer(&statement, 1, connection);
    statement_bind_integer(&statement, 2, STORE_RUNS_KEPT);
    return statement_run(store, &statement, error);
}

static int insert_run(Store *store, const RunRecord *run, Error *error)
{
    static const char sql[] =
        "INSERT INTO runs (connection, number, run_id, cause, started_ms, finished_ms, duration_ms, rows_committed, "
        "bytes_processed, checkpoints, has_files) "
        "VALUES (?1, (SELECT ifnull(max(number), 0) + 1 FROM runs WHERE connection = ?1), ?2, ?3, ?4, 0, -1, 0, 0, 0, "
        "?5)";
    _cleanup_(statement_done) Statement statement = { 0 };
    int64_t connection;
    if (store_connection_id(store, run->connection, &connection, error) < 0 ||
        statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_integer(&statement, 1, connection);
    statement_bind_text(&statement, 2, run->run_id);
    statement_bind_text(&statement, 3, run->trigger ? run->trigger : "manual");
    statement_bind_integer(&statement, 4, run->started_ms);
    statement_bind_integer(&statement, 5, run->has_files);
    if (statement_run(store, &statement, error) < 0 || touch_connection(store, connection, run->started_ms, error) < 0)
        return -1;
    return prune(store, connection, error);
}

int store_run_started(Store *store, const RunRecord *run, Error *error)
{
    return store_begin(store, error) < 0 ? -1 : store_end(store, insert_run(store, run, error), error);
}

/* 1: done; 0: there is no such run. */
static int update_run(Store *store, const RunRecord *run, Error *error)
{
    static const char sql[] =
        "UPDATE runs SET outcome = ?2, started_ms = ?3, finished_ms = ?4, duration_ms = ?5, rows_committed = ?6, "
        "bytes_processed = ?7, checkpoints = ?8, error = ?9, warnings = ?10, has_files = ?11, files_scanned = ?12, "
        "new_files = ?13, committed = ?14, failed = ?15, skipped = ?16, reclaimed = ?17, retried = ?18, "
        "quarantined_rows = ?19 WHERE run_id = ?1";
    _cleanup_(statement_done) Statement statement = { 0 };
    _cleanup_(buffer_clear) Buffer warnings = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    for (size_t i = 0; i < run->warning_count; i++)
        buffer_append(&warnings, run->warnings[i], strlen(run->warnings[i]) + 1);
    const RunCounts *files = &run->files;
    const int64_t integers[] = { run->started_ms,     run->finished_ms,     run->duration_ms,
                                 run->rows_committed, run->bytes_processed, run->checkpoints };
    const int64_t counts[] = { files->files_scanned, files->new_files, files->committed, files->failed,
                               files->skipped,       files->reclaimed, files->retried,   files->quarantined_rows };
    statement_bind_text(&statement, 1, run->run_id);
    statement_bind_text(&statement, 2, run->outcome ? run->outcome : "failed");
    for (size_t i = 0; i < ELEMENTSOF(integers); i++)
        statement_bind_integer(&statement, 3 + (int)i, integers[i]);
    statement_bind_text(&statement, 9, run->error);
    statement_bind_blob(&statement, 10, warnings.data, warnings.end);
    statement_bind_integer(&statement, 11, run->has_files);
    for (size_t i = 0; i < ELEMENTSOF(counts); i++)
        statement_bind_integer(&statement, 12 + (int)i, counts[i]);
    return statement_run(store, &statement, error) < 0 ? -1 : sqlite3_changes(store->db) > 0;
}

static int finish_run(Store *store, const RunRecord *run, Error *error)
{
    static const char sql[] = "UPDATE connections SET last_error = ?2, last_outcome = ?3, last_started_ms = ?4, "
                              "last_rows = ?5 WHERE name = ?1";
    _cleanup_(statement_done) Statement statement = { 0 };
    int r = update_run(store, run, error);
    if (r == 0 && insert_run(store, run, error) == 0)
        r = update_run(store, run, error);
    if (r <= 0 || statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, run->connection);
    statement_bind_text(&statement, 2, run->error);
    statement_bind_text(&statement, 3, run->outcome ? run->outcome : "failed");
    statement_bind_integer(&statement, 4, run->started_ms);
    statement_bind_integer(&statement, 5, run->rows_committed);
    return statement_run(store, &statement, error);
}

int store_run_finished(Store *store, const RunRecord *run, Error *error)
{
    return store_begin(store, error) < 0 ? -1 : store_end(store, finish_run(store, run, error), error);
}

static void take_warnings(RunRecord *run, const char *bytes, size_t n)
{
    for (const char *end = bytes + n; bytes < end; bytes += strlen(bytes) + 1) {
        if ((run->warning_count & (run->warning_count + 1)) == 0) /* 0, 1, 3, 7 …: full */
            run->warnings = xrealloc(run->warnings, (2 * run->warning_count + 1) * sizeof *run->warnings);
        run->warnings[run->warning_count++] = xstrndup(bytes, strnlen(bytes, (size_t)(end - bytes)));
    }
}

static RunRecord run_of(const Statement *row)
{
    RunRecord run = {
        .connection = xstrdup(statement_text(row, 0)),
        .trigger = xstrdup(statement_text(row, 2)),
        .outcome = xstrdup(statement_text(row, 3)),
        .started_ms = statement_integer(row, 4),
        .finished_ms = statement_integer(row, 5),
        .duration_ms = statement_integer(row, 6),
        .rows_committed = statement_integer(row, 7),
        .bytes_processed = statement_integer(row, 8),
        .checkpoints = statement_integer(row, 9),
        .error = xstrdup(statement_text(row, 10)),
        .has_files = statement_integer(row, 12) != 0,
        .files = { .files_scanned = statement_integer(row, 13),
                   .new_files = statement_integer(row, 14),
                   .committed = statement_integer(row, 15),
                   .failed = statement_integer(row, 16),
                   .skipped = statement_integer(row, 17),
                   .reclaimed = statement_integer(row, 18),
                   .retried = statement_integer(row, 19),
                   .quarantined_rows = statement_integer(row, 20) },
    };
    (void)snprintf(run.run_id, sizeof run.run_id, "%s", statement_text(row, 1));
    const char *warnings = sqlite3_column_blob(row->handle, 11);
    if (warnings)
        take_warnings(&run, warnings, (size_t)sqlite3_column_bytes(row->handle, 11));
    return run;
}

#define RUN_COLUMNS                                                                                              \
    "SELECT name, runs.run_id, cause, outcome, started_ms, finished_ms, duration_ms, rows_committed, "           \
    "bytes_processed, "                                                                                          \
    "checkpoints, error, warnings, has_files, files_scanned, new_files, committed, failed, skipped, reclaimed, " \
    "retried, quarantined_rows FROM runs JOIN connections ON connections.id = runs.connection "

int store_runs(Store *store, const char *connection, int64_t limit, int (*each)(const RunRecord *run, void *userdata),
               void *userdata, Error *error)
{
    static const char all[] = RUN_COLUMNS "ORDER BY runs.id DESC LIMIT ?1";
    static const char one[] = RUN_COLUMNS "WHERE name = ?2 ORDER BY number DESC LIMIT ?1";
    _cleanup_(statement_done) Statement statement = { 0 };
    int r = statement_get(store, connection ? one : all, &statement, error);
    if (r < 0)
        return r;
    statement_bind_integer(&statement, 1, limit > 0 ? limit : -1);
    if (connection)
        statement_bind_text(&statement, 2, connection);
    while ((r = statement_step(store, &statement, error)) > 0) {
        _cleanup_(run_record_clear) RunRecord run = run_of(&statement);
        r = each(&run, userdata);
        if (r != 0)
            return r;
    }
    return r;
}

/* --- after a crash --- */

typedef struct Abandoned {
    char *connection, *trigger;
} Abandoned;

static void abandoned_free(Abandoned *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].connection);
        free(list[i].trigger);
    }
    free(list);
}

/* Collected before the mark takes them out of the index that finds them. */
static int abandoned_list(Store *store, Abandoned **list, size_t *count, Error *error)
{
    static const char sql[] = "SELECT name, cause FROM runs JOIN connections ON connections.id = runs.connection "
                              "WHERE outcome IS NULL ORDER BY runs.id";
    _cleanup_(statement_done) Statement statement = { 0 };
    size_t allocated = 0;
    int r = statement_get(store, sql, &statement, error);
    while (r >= 0 && (r = statement_step(store, &statement, error)) > 0) {
        if (*count == allocated) {
            allocated = allocated ? 2 * allocated : 16;
            *list = xrealloc(*list, allocated * sizeof **list);
        }
        (*list)[(*count)++] = (Abandoned){ .connection = xstrdup(statement_text(&statement, 0)),
                                           .trigger = xstrdup(statement_text(&statement, 1)) };
    }
    return r;
}

static int abandoned_mark(Store *store, const char *reason, Error *error)
{
    static const char connections[] = "UPDATE connections SET last_outcome = 'failed', last_error = ?1 "
                                      "WHERE id IN (SELECT connection FROM runs WHERE outcome IS NULL)";
    static const char runs[] = "UPDATE runs SET outcome = 'failed', error = ?1 WHERE outcome IS NULL";
    const char *const sql[] = { connections, runs };
    for (size_t i = 0; i < ELEMENTSOF(sql); i++) {
        _cleanup_(statement_done) Statement statement = { 0 };
        if (statement_get(store, sql[i], &statement, error) < 0)
            return -1;
        statement_bind_text(&statement, 1, reason);
        if (statement_run(store, &statement, error) < 0)
            return -1;
    }
    return 0;
}

int store_runs_abandoned(Store *store, const char *reason,
                         int (*each)(const char *connection, const char *trigger, void *userdata), void *userdata,
                         Error *error)
{
    Abandoned *list = NULL;
    size_t count = 0;
    int r = abandoned_list(store, &list, &count, error);
    if (r == 0 && count > 0) {
        r = store_begin(store, error);
        if (r == 0)
            r = store_end(store, abandoned_mark(store, reason, error), error);
    }
    for (size_t i = 0; r == 0 && each && i < count; i++)
        r = each(list[i].connection, list[i].trigger, userdata);
    abandoned_free(list, count);
    return r;
}
