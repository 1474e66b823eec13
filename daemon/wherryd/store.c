/*
 * One SQLite connection in WAL mode, used by the loop's thread alone. Routine writes cost no fsync: after a crash of
 * the daemon they are all there, after a loss of power the last few may not be, which is harmless, since the
 * destination knows what it committed and the cache's sequence number goes back together with the ledger. What a user
 * ordered is made durable by syncing the write-ahead log after the commit.
 *
 * Statements are prepared at first use and kept, found by the address of their text. A walk whose callback runs the
 * same statement gets a second, passing one.
 *
 * This file has the plumbing and the connections; store_open.c the way there, store_runs.c and store_files.c the rest.
 */
#include "daemon/wherryd/store.h"

#include <assert.h>
#include <errno.h>

#include "daemon/wherryd/store-private.h"
#include "lib/basics/buffer.h"

int store_open(const char *state_dir, Store **ret, Error *error)
{
    _cleanup_(store_closep) Store *store = xcalloc(1, sizeof *store);
    store->folder_fd = store->lock_fd = -1;
    store->folder = xasprintf("%s/daemon", state_dir);
    store->path = xasprintf("%s/state.db", store->folder);
    int r = store_prepare_folder(store, state_dir, error);
    if (r == 0)
        r = store_lock(store, state_dir, error);
    if (r == 0)
        r = store_open_database(store, error);
    if (r != 0)
        return r;
    *ret = take_ptr(store);
    return 0;
}

Store *store_close(Store *store)
{
    if (!store)
        return NULL;
    for (size_t i = 0; i < store->cached_count; i++)
        sqlite3_finalize(store->cached[i].handle);
    sqlite3_close(store->db);
    close_fd(store->lock_fd);
    close_fd(store->folder_fd);
    free(store->warning);
    free(store->folder);
    free(store->path);
    free(store);
    return NULL;
}

const char *store_warning(const Store *store)
{
    return store->warning;
}

static bool is_disk_full(int code, int errnum)
{
    return code == SQLITE_FULL || errnum == ENOSPC || errnum == EDQUOT;
}

static sqlite3_file *log_file(Store *store)
{
    sqlite3_file *log = NULL;
    (void)sqlite3_file_control(store->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
    return log && log->pMethods ? log : NULL;
}

/* Why reading or writing failed: of the last statement, else (a COMMIT does not say) of the log. */
static int system_errno(Store *store)
{
    int errnum = sqlite3_system_errno(store->db);
    sqlite3_file *log = errnum == 0 && store->wal ? log_file(store) : NULL;
    if (log)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &errnum);
    return errnum;
}

int store_failed(Store *store, Error *error)
{
    int code = sqlite3_errcode(store->db) & 0xff;
    int errnum = code == SQLITE_IOERR || code == SQLITE_CANTOPEN ? system_errno(store) : 0;
    const char *path = store->path;
    store->failed = true;
    if (is_disk_full(code, errnum))
        return error_set(error, ERROR_TEMPORARY, "state database \"%s\": the disk is full; make room on it", path);
    switch (code) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(error, ERROR_TEMPORARY,
                         "state database \"%s\" is locked; end the other program that has it open", path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return error_set(error, ERROR_TEMPORARY,
                         "state database \"%s\" cannot be written; make it and its folder writable for wherryd", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        store_mark_damaged(store);
        return error_set(error, ERROR_INTERNAL,
                         "state database \"%s\" is damaged (%s); restart wherryd, which sets it aside and begins a new "
                         "one: history is lost, data is not",
                         path, sqlite3_errmsg(store->db));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        if (errnum != 0)
            return error_set_errno(error, ERROR_TEMPORARY, errnum, "state database \"%s\": %s", path,
                                   sqlite3_errmsg(store->db));
        __attribute__((fallthrough));
    case SQLITE_NOMEM:
        return error_set(error, ERROR_TEMPORARY, "state database \"%s\": %s", path, sqlite3_errmsg(store->db));
    default:
        return error_set(error, ERROR_INTERNAL, "state database \"%s\": %s", path, sqlite3_errmsg(store->db));
    }
}

/* --- statements --- */

int statement_get(Store *store, const char *sql, Statement *ret, Error *error)
{
    size_t i = 0;
    while (i < store->cached_count && store->cached[i].sql != sql)
        i++;
    bool known = i < store->cached_count;
    if (known && !sqlite3_stmt_busy(store->cached[i].handle)) {
        *ret = (Statement){ .handle = store->cached[i].handle, .cached = true };
        return 0;
    }
    sqlite3_stmt *handle = NULL;
    unsigned flags = known ? 0 : SQLITE_PREPARE_PERSISTENT;
    if (sqlite3_prepare_v3(store->db, sql, -1, flags, &handle, NULL) != SQLITE_OK)
        return store_failed(store, error);
    if (!known) {
        assert(store->cached_count < STORE_STATEMENTS_MAX);
        store->cached[store->cached_count].sql = sql;
        store->cached[store->cached_count++].handle = handle;
    }
    *ret = (Statement){ .handle = handle, .cached = !known };
    return 0;
}

void statement_done(Statement *statement)
{
    if (!statement->cached) {
        sqlite3_finalize(statement->handle);
    } else {
        sqlite3_reset(statement->handle);
        sqlite3_clear_bindings(statement->handle);
    }
    *statement = (Statement){ 0 };
}

static void bound(Statement *statement, int result)
{
    if (statement->result == SQLITE_OK)
        statement->result = result;
}

void statement_bind_integer(Statement *statement, int parameter, int64_t value)
{
    bound(statement, sqlite3_bind_int64(statement->handle, parameter, value));
}

void statement_bind_text(Statement *statement, int parameter, const char *text)
{
    bound(statement,
          text ? sqlite3_bind_text64(statement->handle, parameter, text, strlen(text), SQLITE_STATIC, SQLITE_UTF8)
               : sqlite3_bind_null(statement->handle, parameter));
}

void statement_bind_blob(Statement *statement, int parameter, const void *data, size_t n)
{
    bound(statement, n > 0 ? sqlite3_bind_blob64(statement->handle, parameter, data, n, SQLITE_STATIC)
                           : sqlite3_bind_null(statement->handle, parameter));
}

int statement_step(Store *store, Statement *statement, Error *error)
{
    if (statement->result != SQLITE_OK)
        return store_failed(store, error);
    switch (sqlite3_step(statement->handle)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return store_failed(store, error);
    }
}

int statement_run(Store *store, Statement *statement, Error *error)
{
    int r;
    while ((r = statement_step(store, statement, error)) > 0)
        ;
    return r;
}

/* --- transactions --- */

static int execute(Store *store, const char *sql, Error *error)
{
    _cleanup_(statement_done) Statement statement = { 0 };
    return statement_get(store, sql, &statement, error) < 0 ? -1 : statement_run(store, &statement, error);
}

/* Under synchronous=NORMAL a commit is in the log's file but not synced; this is what FULL would have added. */
static int sync_log(Store *store, Error *error)
{
    if (!store->wal)
        return 0; /* synchronous is FULL then */
    sqlite3_file *log = log_file(store);
    if (!log)
        return error_set(error, ERROR_INTERNAL, "state database \"%s\": no write-ahead log to sync", store->path);
    if (log->pMethods->xSync(log, SQLITE_SYNC_NORMAL) == SQLITE_OK)
        return 0;
    return error_set(error, ERROR_TEMPORARY, "state database \"%s\": cannot be synced to disk; look at the disk",
                     store->path);
}

int store_make_durable(Store *store, Error *error)
{
    if (store->depth == 0)
        return sync_log(store, error);
    store->durable = true;
    return 0;
}

int store_begin(Store *store, Error *error)
{
    static const char sql[] = "BEGIN IMMEDIATE";
    if (store->depth == 0) {
        if (execute(store, sql, error) < 0)
            return -1;
        store->failed = store->durable = false;
    }
    store->depth++;
    return 0;
}

void store_rollback(Store *store)
{
    static const char sql[] = "ROLLBACK";
    store->depth = 0;
    if (!sqlite3_get_autocommit(store->db)) /* some errors have rolled back already */
        (void)execute(store, sql, NULL);
    store->failed = store->durable = false;
}

int store_commit(Store *store, Error *error)
{
    static const char sql[] = "COMMIT";
    assert(store->depth > 0);
    if (store->depth > 1) {
        store->depth--;
        return 0;
    }
    if (store->failed || sqlite3_get_autocommit(store->db)) {
        store_rollback(store);
        return error_set(error, ERROR_TEMPORARY, "state database \"%s\": taken back, since a part of it failed before",
                         store->path);
    }
    if (execute(store, sql, error) < 0) {
        store_rollback(store);
        return -1;
    }
    store->depth = 0;
    return store->durable ? sync_log(store, error) : 0;
}

int store_end(Store *store, int result, Error *error)
{
    if (result >= 0) {
        int r = store_commit(store, error);
        return r < 0 ? r : result;
    }
    store->failed = true;
    if (store->depth > 1)
        store->depth--;
    else
        store_rollback(store);
    return result;
}

/* --- connections --- */

void stored_connection_clear(StoredConnection *connection)
{
    free(connection->name);
    free(connection->last_error);
    free(connection->last_outcome);
    free(connection->run_id);
    free(connection->state);
    *connection = (StoredConnection){ 0 };
}

int store_connection_id(Store *store, const char *name, int64_t *ret, Error *error)
{
    static const char find[] = "SELECT id FROM connections WHERE name = ?1";
    static const char add[] = "INSERT INTO connections (name) VALUES (?1)";
    _cleanup_(statement_done) Statement found = { 0 }, added = { 0 };
    if (statement_get(store, find, &found, error) < 0)
        return -1;
    statement_bind_text(&found, 1, name);
    int r = statement_step(store, &found, error);
    if (r > 0)
        *ret = statement_integer(&found, 0);
    if (r != 0)
        return r < 0 ? -1 : 0;
    if (statement_get(store, add, &added, error) < 0)
        return -1;
    statement_bind_text(&added, 1, name);
    if (statement_run(store, &added, error) < 0)
        return -1;
    *ret = sqlite3_last_insert_rowid(store->db);
    return 0;
}

#define CONNECTION_COLUMNS                                                                                         \
    "SELECT name, paused_known, paused, ever_ran, last_slot_ms, retry_at_ms, failures, last_error, last_outcome, " \
    "last_started_ms, last_rows, ifnull(sequence, 0), run_id, state "                                              \
    "FROM connections LEFT JOIN states ON states.connection = connections.id "

static StoredConnection connection_of(const Statement *row)
{
    return (StoredConnection){
        .name = xstrdup(statement_text(row, 0)),
        .paused_known = statement_integer(row, 1) != 0,
        .schedule = { .paused = statement_integer(row, 2) != 0,
                      .ever_ran = statement_integer(row, 3) != 0,
                      .last_slot_ms = statement_integer(row, 4),
                      .retry_at_ms = statement_integer(row, 5),
                      .failures = (uint32_t)statement_integer(row, 6) },
        .last_error = xstrdup(statement_text(row, 7)),
        .last_outcome = xstrdup(statement_text(row, 8)),
        .last_started_ms = statement_integer(row, 9),
        .last_rows = statement_integer(row, 10),
        .sequence = (uint64_t)statement_integer(row, 11),
        .run_id = xstrdup(statement_text(row, 12)),
        .state = xstrdup(statement_text(row, 13)),
    };
}

int store_connection_get(Store *store, const char *name, StoredConnection *ret, Error *error)
{
    static const char sql[] = CONNECTION_COLUMNS "WHERE name = ?1";
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, name);
    int r = statement_step(store, &statement, error);
    if (r > 0)
        *ret = connection_of(&statement);
    return r < 0 ? -1 : r > 0 ? 0 : STORE_E_NOT_FOUND;
}

int store_connection_each(Store *store, int (*each)(StoredConnection *connection, void *userdata), void *userdata,
                          Error *error)
{
    static const char sql[] = CONNECTION_COLUMNS "ORDER BY name";
    _cleanup_(statement_done) Statement statement = { 0 };
    int r = statement_get(store, sql, &statement, error);
    while (r >= 0 && (r = statement_step(store, &statement, error)) > 0) {
        _cleanup_(stored_connection_clear) StoredConnection connection = connection_of(&statement);
        r = each(&connection, userdata);
        if (r != 0)
            return r;
    }
    return r;
}

int store_connection_put_schedule(Store *store, const char *name, const ScheduleEntry *entry, bool paused_known,
                                  bool durable, Error *error)
{
    static const char sql[] =
        "INSERT INTO connections (name, paused_known, paused, ever_ran, last_slot_ms, retry_at_ms, failures) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (name) DO UPDATE SET paused_known = excluded.paused_known, "
        "paused = excluded.paused, ever_ran = excluded.ever_ran, last_slot_ms = excluded.last_slot_ms, "
        "retry_at_ms = excluded.retry_at_ms, failures = excluded.failures";
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, name);
    statement_bind_integer(&statement, 2, paused_known);
    statement_bind_integer(&statement, 3, entry->paused);
    statement_bind_integer(&statement, 4, entry->ever_ran);
    statement_bind_integer(&statement, 5, entry->last_slot_ms);
    statement_bind_integer(&statement, 6, entry->retry_at_ms);
    statement_bind_integer(&statement, 7, entry->failures);
    if (statement_run(store, &statement, error) < 0)
        return -1;
    return durable ? store_make_durable(store, error) : 0;
}

static int put_state(Store *store, const char *name, uint64_t sequence, const char *run_id, const char *state,
                     Error *error)
{
    static const char sql[] =
        "INSERT INTO states (connection, sequence, run_id, state) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT (connection) DO UPDATE SET sequence = excluded.sequence, run_id = excluded.run_id, "
        "state = ifnull(excluded.state, state)";
    _cleanup_(statement_done) Statement statement = { 0 };
    int64_t connection;
    if (store_connection_id(store, name, &connection, error) < 0 || statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_integer(&statement, 1, connection);
    statement_bind_integer(&statement, 2, (int64_t)sequence);
    statement_bind_text(&statement, 3, run_id);
    statement_bind_text(&statement, 4, state);
    return statement_run(store, &statement, error);
}

int store_connection_put_state(Store *store, const char *name, uint64_t sequence, const char *run_id, const char *state,
                               Error *error)
{
    return store_begin(store, error) < 0
               ? -1
               : store_end(store, put_state(store, name, sequence, run_id, state, error), error);
}
