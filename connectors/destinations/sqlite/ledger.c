/*
 * Exactly once: rows, state and ledger marker in one transaction.
 *
 * A batch takes the write lock first (BEGIN IMMEDIATE) and only then compares (sequence, epoch) with what this writer
 * saw last, so nobody can come in between; the update at the end repeats the comparison in its WHERE and must change
 * exactly one row before COMMIT is sent. SQLite rolls back by itself after some failures (a full disk, an I/O error)
 * and then takes COMMIT for a mistake, or worse, for the end of a transaction that a later statement began: so any
 * failed statement ends in sqlite_abort(), and COMMIT is only sent where the transaction is still open. A COMMIT that
 * succeeded is on disk (synchronous=FULL).
 */
#include <string.h>

#include "connectors/destinations/sqlite/sqlite.h"
#include "lib/basics/clock.h"

static const char *const own_schema[] = {
    "CREATE TABLE IF NOT EXISTS _wherry_state (connection TEXT PRIMARY KEY NOT NULL, sequence INTEGER NOT NULL,"
    " epoch INTEGER NOT NULL, run_id TEXT NOT NULL, state TEXT NOT NULL, updated_at TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS _wherry_files (connection TEXT NOT NULL, content_hash TEXT NOT NULL,"
    " name TEXT NOT NULL, row_count INTEGER NOT NULL, run_id TEXT NOT NULL, committed_at TEXT NOT NULL,"
    " PRIMARY KEY (connection, content_hash)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS _wherry_tables (table_name TEXT PRIMARY KEY NOT NULL, connection TEXT NOT NULL)"
    " WITHOUT ROWID",
};

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_STATIC);
}

int sqlite_has_table(Sqlite *self, const char *name, bool *ret, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    if (sqlite_prepare(self, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", &statement, "read it",
                       error) < 0)
        return -1;
    bind_text(statement, 1, name);
    return sqlite_step(self, statement, ret, "read it", error);
}

/* Our row as it is now, and its text columns where RET is given. */
static int read_row(Sqlite *self, uint64_t *ret_sequence, uint64_t *ret_epoch, bool *ret_found, CommittedState *ret,
                    Error *error)
{
    *ret_sequence = *ret_epoch = 0;
    if (sqlite_has_table(self, "_wherry_state", &self->own_tables, error) < 0)
        return -1;
    *ret_found = false;
    if (!self->own_tables)
        return 0;
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    if (sqlite_prepare(self,
                       "SELECT sequence, epoch, run_id, state, updated_at FROM _wherry_state WHERE connection = ?1",
                       &statement, "read the state", error) < 0)
        return -1;
    bind_text(statement, 1, self->connection);
    if (sqlite_step(self, statement, ret_found, "read the state", error) < 0)
        return -1;
    if (!*ret_found)
        return 0;
    *ret_sequence = (uint64_t)sqlite3_column_int64(statement, 0);
    *ret_epoch = (uint64_t)sqlite3_column_int64(statement, 1);
    if (ret) {
        const char *run_id = (const char *)sqlite3_column_text(statement, 2);
        const char *state = (const char *)sqlite3_column_text(statement, 3);
        ret->run_id = xstrdup(run_id ? run_id : "");
        ret->state = xstrdup(state ? state : "{}");
        const char *updated = (const char *)sqlite3_column_text(statement, 4);
        int64_t updated_ms;
        if (updated && rfc3339_ms_parse(updated, &updated_ms))
            ret->updated_us = (updated_ms + 1) * 1000; /* it was cut to the millisecond */
    }
    return 0;
}

int sqlite_read_state(void *destination, CommittedState *ret, Error *error)
{
    Sqlite *self = destination;
    CommittedState state = { 0 };
    if (read_row(self, &self->sequence, &self->epoch, &self->state_row, &state, error) < 0)
        return -1;
    state.sequence = self->sequence;
    state.epoch = self->epoch;
    if (!state.run_id)
        state.run_id = xstrdup("");
    if (!state.state)
        state.state = xstrdup("{}");
    *ret = state;
    return 0;
}

int sqlite_file_known(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                      Error *error)
{
    Sqlite *self = destination;
    *ret = false;
    *ret_rows = 0;
    if (!self->own_tables)
        return 0;
    char text[SHA256_TEXT_SIZE];
    sha256_text(hash, text);
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    if (sqlite_prepare(self, "SELECT row_count FROM _wherry_files WHERE connection = ?1 AND content_hash = ?2",
                       &statement, "look for a file", error) < 0)
        return -1;
    bind_text(statement, 1, self->connection);
    bind_text(statement, 2, text);
    if (sqlite_step(self, statement, ret, "look for a file", error) < 0)
        return -1;
    if (*ret)
        *ret_rows = (uint64_t)MAX_OF(sqlite3_column_int64(statement, 0), (sqlite3_int64)0);
    return 0;
}

int sqlite_files_lost(void *destination, const char *table, uint64_t *ret, Error *error)
{
    Sqlite *self = destination;
    *ret = 0;
    if (!self->own_tables)
        return 0;
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    bool row;
    if (sqlite_prepare(self,
                       "SELECT CASE WHEN EXISTS (SELECT 1 FROM sqlite_schema WHERE type IN ('table', 'view')"
                       " AND name = ?1 COLLATE NOCASE) THEN 0"
                       " ELSE (SELECT count(*) FROM _wherry_files WHERE connection = ?2) END",
                       &statement, "look for a table", error) < 0)
        return -1;
    bind_text(statement, 1, table);
    bind_text(statement, 2, self->connection);
    if (sqlite_step(self, statement, &row, "look for a table", error) < 0)
        return -1;
    *ret = row ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    return 0;
}

/* Best effort: a mode can only change while nobody else has the database open, and a load is worth more than a mode. */
static int change_journal_mode(Sqlite *self, Error *error)
{
    if (self->journal_mode == JOURNAL_KEEP)
        return 0;
    const char *wanted = self->journal_mode == JOURNAL_WAL ? "wal" : "persist";
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    _cleanup_(freep) char *sql = xasprintf("PRAGMA journal_mode = %s", wanted);
    if (sqlite_prepare(self, sql, &statement, "set its journal mode", error) < 0)
        return -1;
    int r = sqlite3_step(statement);
    if (r != SQLITE_ROW && (r & 0xff) != SQLITE_BUSY)
        return sqlite_fail(self, r, "set its journal mode", error);
    const char *is = r == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (!is || strcmp(is, wanted) != 0)
        writer_log(self->writer, 5, "database \"%s\" keeps its journal mode: others have it open", self->path);
    self->gave_up = false;
    bool wal = self->journal_mode == JOURNAL_WAL;
    self->journal_mode = JOURNAL_KEEP;
    return wal ? sqlite_execute(self, SQLITE_LIMIT_WAL, "set its journal mode", error) : 0;
}

int sqlite_begin(void *destination, const Batch *batch, Error *error)
{
    Sqlite *self = destination;
    self->owner = batch->log ? LOG_TABLE_OWNER : self->connection;
    if (!self->plan && change_journal_mode(self, error) < 0)
        return -1;
    if (sqlite_execute(self, self->plan ? "BEGIN" : "BEGIN IMMEDIATE", "begin a transaction", error) < 0)
        return -1;
    uint64_t sequence, epoch;
    bool found;
    if (read_row(self, &sequence, &epoch, &found, NULL, error) < 0)
        return -1;
    if (!batch->log && (sequence != self->sequence || epoch != self->epoch || found != self->state_row))
        return error_set(error, ERROR_TEMPORARY,
                         "database \"%s\": connection \"%s\" was written by another run meanwhile (sequence %llu, "
                         "epoch %llu; this run knows %llu, %llu); the next run goes on from there",
                         self->path, self->connection, (unsigned long long)sequence, (unsigned long long)epoch,
                         (unsigned long long)self->sequence, (unsigned long long)self->epoch);
    for (size_t i = 0; !self->own_tables && i < ELEMENTSOF(own_schema); i++)
        if (sqlite_ddl(self, own_schema[i], "create its own tables", error) < 0)
            return -1;
    return 0;
}

int sqlite_own_table(Sqlite *self, const char *table, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *find = NULL, *insert = NULL;
    bool found;
    if (self->plan && !self->own_tables)
        return 0;
    if (sqlite_prepare(self, "SELECT connection FROM _wherry_tables WHERE table_name = ?1 COLLATE NOCASE", &find,
                       "look for a table's owner", error) < 0)
        return -1;
    bind_text(find, 1, table);
    if (sqlite_step(self, find, &found, "look for a table's owner", error) < 0)
        return -1;
    if (found) {
        const char *owner = (const char *)sqlite3_column_text(find, 0);
        if (owner && strcmp(owner, self->owner) == 0)
            return 0;
        _cleanup_(freep) char *place = xasprintf("\"%s\"", self->path);
        return refuse_owner(table, place, owner ? owner : "", self->owner, error);
    }
    if (self->plan)
        return 0;
    if (sqlite_prepare(self, "INSERT INTO _wherry_tables (table_name, connection) VALUES (?1, ?2)", &insert,
                       "take a table", error) < 0)
        return -1;
    bind_text(insert, 1, table);
    bind_text(insert, 2, self->owner);
    return sqlite_step(self, insert, NULL, "take a table", error);
}

/* --- commit --- */

static int write_state(Sqlite *self, const Batch *batch, const char *now, Error *error)
{
    static const char insert[] = "INSERT INTO _wherry_state (connection, sequence, epoch, run_id, state, updated_at)"
                                 " VALUES (?1, ?2, ?3, ?4, coalesce(?5, '{}'), ?6)";
    static const char update[] = "UPDATE _wherry_state SET sequence = ?2, epoch = ?3, run_id = ?4,"
                                 " state = coalesce(?5, state), updated_at = ?6"
                                 " WHERE connection = ?1 AND sequence = ?7 AND epoch = ?8";
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    if (sqlite_prepare(self, self->state_row ? update : insert, &statement, "write the state", error) < 0)
        return -1;
    bind_text(statement, 1, self->connection);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)batch->sequence);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)batch->epoch);
    bind_text(statement, 4, batch->run_id);
    bind_text(statement, 5, batch->state);
    bind_text(statement, 6, now);
    if (self->state_row) {
        sqlite3_bind_int64(statement, 7, (sqlite3_int64)self->sequence);
        sqlite3_bind_int64(statement, 8, (sqlite3_int64)self->epoch);
    }
    if (sqlite_step(self, statement, NULL, "write the state", error) < 0)
        return -1;
    if (sqlite3_changes(self->database) != 1)
        return error_set(error, ERROR_TEMPORARY, "database \"%s\": connection \"%s\" was written by another run",
                         self->path, self->connection);
    return 0;
}

static int write_file(Sqlite *self, const Batch *batch, const char *now, Error *error)
{
    char hash[SHA256_TEXT_SIZE];
    sha256_text(batch->file_hash, hash);
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    if (sqlite_prepare(self,
                       "INSERT OR REPLACE INTO _wherry_files (connection, content_hash, name, row_count, run_id,"
                       " committed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                       &statement, "mark a file", error) < 0)
        return -1;
    bind_text(statement, 1, self->connection);
    bind_text(statement, 2, hash);
    bind_text(statement, 3, batch->file_name);
    sqlite3_bind_int64(statement, 4, (sqlite3_int64)batch->rows);
    bind_text(statement, 5, batch->run_id);
    bind_text(statement, 6, now);
    return sqlite_step(self, statement, NULL, "mark a file", error);
}

int sqlite_commit(void *destination, const Batch *batch, Error *error)
{
    Sqlite *self = destination;
    char now[RFC3339_MS_SIZE];
    rfc3339_ms(clock_wall_ms(), now);
    self->phase = "committing";
    int r = sqlite_build_indexes(self, error);
    if (self->plan) {
        sqlite_abort(self);
        return r;
    }
    if (r == 0 && !batch->log)
        r = write_state(self, batch, now, error);
    if (r == 0 && batch->is_file)
        r = write_file(self, batch, now, error);
    self->phase = "loading";
    if (r < 0)
        return -1;
    sqlite_tables_reset(self);
    if (sqlite3_get_autocommit(self->database))
        return error_set(error, ERROR_TEMPORARY, "database \"%s\": SQLite has rolled the transaction back by itself",
                         self->path);
    if (sqlite_execute(self, "COMMIT", "commit", error) < 0)
        return -1;
    if (!sqlite3_get_autocommit(self->database))
        return error_set(error, ERROR_INTERNAL, "database \"%s\": the transaction is still open after COMMIT",
                         self->path);
    self->own_tables = true;
    if (batch->log)
        return 0;
    self->sequence = batch->sequence;
    self->epoch = batch->epoch;
    self->state_row = true;
    return 0;
}

void sqlite_abort(void *destination)
{
    Sqlite *self = destination;
    sqlite_tables_reset(self);
    /* Where SQLite has rolled back by itself this fails, which is fine: there is no transaction then, either. */
    if (self->database && !sqlite3_get_autocommit(self->database))
        sqlite3_exec(self->database, "ROLLBACK", NULL, NULL, NULL);
}
