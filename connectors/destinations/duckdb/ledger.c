/*
 * Exactly once: rows, state and ledger marker in one transaction.
 *
 * The lock on the file keeps every other process out for as long as this one lives, so nobody comes between two of its
 * batches; the comparison of (sequence, epoch) is made all the same, against a lock that a file system does not keep.
 * After a failed statement DuckDB goes on in one of two ways: the transaction is dead, and COMMIT then says that it
 * succeeded while it rolls back; or (an error of names or types) it lives, and COMMIT would commit the rest. So any
 * failed statement ends in duck_abort(), which says ROLLBACK, and a COMMIT is believed only after the state was read
 * back.
 *
 * A commit is in the WAL or in the database file, and on disk, when COMMIT returns. What DuckDB does not write to disk
 * is the folder, in which a new database and each new WAL have their names.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "connectors/destinations/duckdb/keyed.h"
#include "lib/basics/clock.h"

static const struct {
    const char *name, *sql;
} own_tables[] = {
    { "_wherry_state",
      "CREATE TABLE IF NOT EXISTS _wherry_state (connection VARCHAR PRIMARY KEY, sequence BIGINT NOT NULL,"
      " epoch BIGINT NOT NULL, run_id VARCHAR NOT NULL, state VARCHAR NOT NULL, updated_at TIMESTAMP NOT NULL)" },
    { "_wherry_files",
      "CREATE TABLE IF NOT EXISTS _wherry_files (connection VARCHAR, content_hash VARCHAR, name VARCHAR NOT NULL,"
      " row_count BIGINT NOT NULL, run_id VARCHAR NOT NULL, committed_at TIMESTAMP NOT NULL,"
      " PRIMARY KEY (connection, content_hash))" },
    { "_wherry_tables",
      "CREATE TABLE IF NOT EXISTS _wherry_tables (table_name VARCHAR PRIMARY KEY, connection VARCHAR NOT NULL)" },
    { "_wherry_columns", "CREATE TABLE IF NOT EXISTS _wherry_columns (table_name VARCHAR, column_name VARCHAR,"
                         " fact VARCHAR, PRIMARY KEY (table_name, column_name, fact))" },
};

static int has_table(DuckDb *self, const char *name, bool *ret, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(name) };
    if (duck_query(self,
                   "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = $1"
                   " AND table_name = $2",
                   parameters, ELEMENTSOF(parameters), &rows, "read it", error) < 0)
        return -1;
    *ret = rows_next(&rows);
    return 0;
}

typedef struct StateRow {
    uint64_t sequence, epoch;
    bool found;
} StateRow;

/* Our row as it is now, and its text columns where RET is given. */
static int read_row(DuckDb *self, StateRow *ret_row, CommittedState *ret, Error *error)
{
    *ret_row = (StateRow){ 0 };
    if (!self->schema_used || has_table(self, "_wherry_state", &self->own_tables, error) < 0)
        return self->schema_used ? -1 : 0;
    if (!self->own_tables)
        return 0;
    _cleanup_(rows_clear) Rows rows = { 0 };
    if (duck_query(self, "SELECT sequence, epoch, run_id, state, updated_at FROM _wherry_state WHERE connection = $1",
                   &TEXT_PARAMETER(self->connection_name), 1, &rows, "read the state", error) < 0)
        return -1;
    ret_row->found = rows_next(&rows);
    if (!ret_row->found)
        return 0;
    ret_row->sequence = (uint64_t)rows_integer(&rows, 0);
    ret_row->epoch = (uint64_t)rows_integer(&rows, 1);
    if (ret) {
        ret->run_id = rows_text(&rows, 2);
        ret->state = rows_text(&rows, 3);
        ret->updated_us = rows_integer(&rows, 4) + 1;
    }
    return 0;
}

int duck_read_state(void *destination, CommittedState *ret, Error *error)
{
    DuckDb *self = destination;
    CommittedState state = { 0 };
    StateRow row = { 0 };
    if (self->connection && read_row(self, &row, &state, error) < 0)
        return -1;
    self->state_row = row.found;
    state.sequence = self->sequence = row.sequence;
    state.epoch = self->epoch = row.epoch;
    if (!state.run_id)
        state.run_id = xstrdup("");
    if (!state.state)
        state.state = xstrdup("{}");
    *ret = state;
    return 0;
}

int duck_file_known(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                    Error *error)
{
    DuckDb *self = destination;
    *ret = false;
    *ret_rows = 0;
    if (!self->own_tables)
        return 0;
    char text[SHA256_TEXT_SIZE];
    sha256_text(hash, text);
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->connection_name), TEXT_PARAMETER(text) };
    if (duck_query(self, "SELECT row_count FROM _wherry_files WHERE connection = $1 AND content_hash = $2", parameters,
                   ELEMENTSOF(parameters), &rows, "look for a file", error) < 0)
        return -1;
    *ret = rows_next(&rows);
    if (*ret)
        *ret_rows = (uint64_t)MAX_OF(rows_integer(&rows, 0), INT64_C(0));
    return 0;
}

int duck_files_lost(void *destination, const char *table, uint64_t *ret, Error *error)
{
    DuckDb *self = destination;
    *ret = 0;
    if (!self->own_tables)
        return 0;
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(table),
                                     TEXT_PARAMETER(self->connection_name) };
    if (duck_query(self,
                   "SELECT CASE WHEN EXISTS (SELECT 1 FROM information_schema.tables WHERE table_catalog ="
                   " current_database() AND table_schema = $1 AND lower(table_name) = lower($2)) THEN 0"
                   " ELSE (SELECT count(*) FROM _wherry_files WHERE connection = $3) END",
                   parameters, ELEMENTSOF(parameters), &rows, "look for a table", error) < 0)
        return -1;
    *ret = rows_next(&rows) ? (uint64_t)rows_integer(&rows, 0) : 0;
    return 0;
}

static int make_own_tables(DuckDb *self, Error *error)
{
    if (!self->schema_used && duck_use_schema(self, true, error) < 0)
        return -1;
    for (size_t i = 0; i < ELEMENTSOF(own_tables); i++) {
        bool found;
        if (has_table(self, own_tables[i].name, &found, error) < 0 ||
            (!found && duck_ddl(self, own_tables[i].sql, "create its own tables", error) < 0))
            return -1;
    }
    self->own_tables |= !self->plan; /* in this transaction: the first batch, too, takes its tables */
    return 0;
}

int duck_begin(void *destination, const Batch *batch, Error *error)
{
    DuckDb *self = destination;
    self->deferred = self->cdc && !batch->log;
    self->owner = batch->log ? LOG_TABLE_OWNER : self->connection_name;
    if (!self->connection && duck_open_database(self, true, error) < 0)
        return -1;
    if (duck_execute(self, "BEGIN TRANSACTION", "begin a transaction", error) < 0)
        return -1;
    self->in_transaction = true;
    StateRow row;
    if (read_row(self, &row, NULL, error) < 0)
        return -1;
    if (!batch->log && (row.sequence != self->sequence || row.epoch != self->epoch || row.found != self->state_row))
        return error_set(error, ERROR_TEMPORARY,
                         "database \"%s\": connection \"%s\" was written by another run meanwhile (sequence %llu, "
                         "epoch %llu; this run knows %llu, %llu); the next run goes on from there",
                         self->path, self->connection_name, (unsigned long long)row.sequence,
                         (unsigned long long)row.epoch, (unsigned long long)self->sequence,
                         (unsigned long long)self->epoch);
    return make_own_tables(self, error);
}

int duck_own_table(DuckDb *self, const char *name, bool take, Error *error)
{
    if (self->plan && !self->own_tables)
        return 0;
    _cleanup_(rows_clear) Rows rows = { 0 };
    if (duck_query(self, "SELECT table_name, connection FROM _wherry_tables WHERE lower(table_name) = lower($1)",
                   &TEXT_PARAMETER(name), 1, &rows, "look for a table's owner", error) < 0)
        return -1;
    while (rows_next(&rows)) {
        _cleanup_(freep) char *there = rows_text(&rows, 0), *owner = rows_text(&rows, 1);
        if (!there || strcasecmp(there, name) != 0)
            continue;
        if (owner && strcmp(owner, self->owner) == 0)
            return 0;
        _cleanup_(freep) char *place = xasprintf("\"%s\"", self->path);
        return refuse_owner(name, place, owner ? owner : "", self->owner, error);
    }
    if (!take || self->plan)
        return 0;
    const Parameter parameters[] = { TEXT_PARAMETER(name), TEXT_PARAMETER(self->owner) };
    return duck_run(self, "INSERT INTO _wherry_tables (table_name, connection) VALUES ($1, $2)", parameters,
                    ELEMENTSOF(parameters), NULL, "take a table", error);
}

int duck_find_table(DuckDb *self, const char *name, char **ret, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(name) };
    *ret = NULL;
    if (duck_query(self,
                   "SELECT table_name, table_type FROM information_schema.tables WHERE table_catalog ="
                   " current_database() AND table_schema = $1 AND lower(table_name) = lower($2)",
                   parameters, ELEMENTSOF(parameters), &rows, "look for a table", error) < 0)
        return -1;
    while (rows_next(&rows)) {
        _cleanup_(freep) char *there = rows_text(&rows, 0), *type = rows_text(&rows, 1);
        if (!there || strcasecmp(there, name) != 0)
            continue;
        if (type && strcmp(type, "BASE TABLE") != 0)
            return error_set(error, ERROR_CONFIGURATION, "\"%s\" in \"%s\" is a view, not a table; choose another name",
                             name, self->path);
        *ret = take_ptr(there);
        return 0;
    }
    return 0;
}

/* Only a table's statement tells. Nearly none has a collation, which is asked for a fifth of what the columns cost. */
int duck_collations(DuckDb *self, const char *table, bool *ret_any, Rows *ret, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(table) };
    if (duck_query(self,
                   "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = $1 AND"
                   " table_name = $2 AND contains(sql, ' COLLATE ')",
                   parameters, ELEMENTSOF(parameters), &rows, "look at a table", error) < 0)
        return -1;
    *ret_any = rows_next(&rows);
    if (!*ret_any)
        return 0;
    return duck_query(self,
                      "SELECT column_name, " DUCK_COLLATION " AS compared_by FROM " DUCK_COLUMNS " WHERE"
                      " database_name = current_database() AND schema_name = $1 AND table_name = $2"
                      " AND compared_by <> ''",
                      parameters, ELEMENTSOF(parameters), ret, "look at a table's columns", error);
}

/* --- commit --- */

static int write_state(DuckDb *self, const Batch *batch, int64_t now_us, Error *error)
{
    static const char insert[] = "INSERT INTO _wherry_state (connection, sequence, epoch, run_id, state, updated_at)"
                                 " VALUES ($1, $2, $3, $4, coalesce($5, '{}'), $6)";
    static const char update[] = "UPDATE _wherry_state SET sequence = $2, epoch = $3, run_id = $4,"
                                 " state = coalesce($5, state), updated_at = $6"
                                 " WHERE connection = $1 AND sequence = $7 AND epoch = $8";
    const Parameter parameters[] = { TEXT_PARAMETER(self->connection_name), INTEGER_PARAMETER(batch->sequence),
                                     INTEGER_PARAMETER(batch->epoch),       TEXT_PARAMETER(batch->run_id),
                                     TEXT_PARAMETER(batch->state),          TIMESTAMP_PARAMETER(now_us),
                                     INTEGER_PARAMETER(self->sequence),     INTEGER_PARAMETER(self->epoch) };
    uint64_t changed = 0;
    if (duck_run(self, self->state_row ? update : insert, parameters, self->state_row ? 8 : 6, &changed,
                 "write the state", error) < 0)
        return -1;
    if (changed != 1)
        return error_set(error, ERROR_TEMPORARY, "database \"%s\": connection \"%s\" was written by another run",
                         self->path, self->connection_name);
    return 0;
}

static int write_file(DuckDb *self, const Batch *batch, int64_t now_us, Error *error)
{
    char hash[SHA256_TEXT_SIZE];
    sha256_text(batch->file_hash, hash);
    const Parameter parameters[] = { TEXT_PARAMETER(self->connection_name), TEXT_PARAMETER(hash),
                                     TEXT_PARAMETER(batch->file_name),      INTEGER_PARAMETER(batch->rows),
                                     TEXT_PARAMETER(batch->run_id),         TIMESTAMP_PARAMETER(now_us) };
    return duck_run(self,
                    "INSERT INTO _wherry_files (connection, content_hash, name, row_count, run_id, committed_at)"
                    " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO UPDATE SET name = excluded.name,"
                    " row_count = excluded.row_count, run_id = excluded.run_id, committed_at = excluded.committed_at",
                    parameters, ELEMENTSOF(parameters), NULL, "mark a file", error);
}

/* That COMMIT did not fail is not enough. */
static int verify_commit(DuckDb *self, const Batch *batch, Error *error)
{
    StateRow row;
    if (read_row(self, &row, NULL, error) < 0)
        return -1;
    if (!row.found || row.sequence != batch->sequence || row.epoch != batch->epoch)
        return error_set(error, ERROR_TEMPORARY,
                         "database \"%s\": DuckDB has rolled the transaction back, though it did not say so",
                         self->path);
    return 0;
}

int duck_commit(void *destination, const Batch *batch, Error *error)
{
    DuckDb *self = destination;
    int64_t now_us = clock_wall_us();
    if (self->plan) {
        duck_abort(self);
        return 0;
    }
    if (duck_finish_files(self, error) < 0 || duck_merge_file(self, batch, error) < 0 ||
        (!batch->log && write_state(self, batch, now_us, error) < 0) ||
        (batch->is_file && write_file(self, batch, now_us, error) < 0))
        return -1;
    if (duck_execute(self, "COMMIT", "commit", error) < 0)
        return -1;
    self->in_transaction = self->schema_made = false;
    if (!batch->log && verify_commit(self, batch, error) < 0)
        return -1;
    if (fsync(self->folder_fd) < 0 && errno != EINVAL)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot write folder \"%s\" to disk", self->folder);
    duck_keyed_committed(self);
    if (batch->log)
        return 0;
    self->sequence = batch->sequence;
    self->epoch = batch->epoch;
    self->state_row = true;
    return 0;
}

void duck_abort(void *destination)
{
    DuckDb *self = destination;
    /* before the end of the transaction: an appender that is closed may still write */
    duck_reset_files(self);
    duck_keyed_reset(self);
    if (!self->in_transaction)
        return;
    self->in_transaction = false;
    duckdb_result result;
    if (self->library->query(self->connection, "ROLLBACK", &result) != DuckDBSuccess)
        writer_log(self->writer, 4, "database \"%s\": cannot roll back: %s", self->path,
                   self->library->result_error(&result));
    self->library->destroy_result(&result);
    /* what this transaction made is gone with it */
    self->own_tables = self->state_row;
    self->schema_used &= !self->schema_made;
    self->schema_made = false;
}
