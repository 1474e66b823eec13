/*
 * Exactly once: rows, DDL, state and ledger marker in one transaction.
 *
 * A batch locks this connection's row in _wherry_state (SELECT … FOR UPDATE under READ COMMITTED) and only then
 * compares (sequence, epoch) with what this writer saw last. The last statement before COMMIT updates that row WHERE it
 * is still so, and COMMIT is sent alone, after one row was seen to change. So that the very first batch is like any
 * other, our tables and the row, with sequence 0, are made in a small transaction of their own before the first thing
 * is written; several connections that begin in a new schema at once wait for each other there for a moment only.
 *
 * When the answer to COMMIT is lost, the truth is in that row, and nobody can know it before the old backend has let go
 * of it: so the same lock is taken again on a new connection, with the same timeout. Sequence s + 1 under our run id:
 * committed. s: not. No lock in time: unknown, and nothing is ever sent again; the next run reads what is there.
 *
 * A server whose synchronous_commit is off is told to wait for its disk all the same.
 *
 * Nothing is compiled just in time: where the planner is told which way to go, its costs are beyond all thresholds for
 * that, and compiling took ten times as long as a statement of some thousand keys.
 *
 * Lines of the log are compared with nothing. Their table is everybody's: whoever writes to it waits until those before
 * have committed.
 *
 * Whose functions and operators run is not left to the role's search_path: in a transaction it is the system's own, as
 * for logical replication; what is read outside of one names them in full.
 */
#include <string.h>
#include <syslog.h>

#include "connectors/destinations/postgres/postgres.h"
#include "lib/basics/clock.h"

#define RECONNECT_SLEEP_US 200000

static const char *const own_tables_sql[] = {
    "CREATE TABLE IF NOT EXISTS %S._wherry_state (connection text PRIMARY KEY, sequence bigint NOT NULL,"
    " epoch bigint NOT NULL, run_id text NOT NULL, state text NOT NULL, updated_at timestamp with time zone NOT NULL)",
    "CREATE TABLE IF NOT EXISTS %S._wherry_files (connection text NOT NULL, content_hash text NOT NULL,"
    " name text NOT NULL, row_count bigint NOT NULL, run_id text NOT NULL,"
    " committed_at timestamp with time zone NOT NULL, PRIMARY KEY (connection, content_hash))",
    "CREATE TABLE IF NOT EXISTS %S._wherry_tables (table_name text PRIMARY KEY, connection text NOT NULL)",
    "CREATE TABLE IF NOT EXISTS %S._wherry_columns (table_name text NOT NULL, column_name text NOT NULL,"
    " fact text NOT NULL, PRIMARY KEY (table_name, column_name, fact))",
};

/* --- reading --- */

static uint64_t number(const PGresult *result, int column)
{
    return strtoull(PQgetvalue(result, 0, column), NULL, 10);
}

static int find_own_tables(Postgres *self, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    const char *const parameters[] = { self->schema };
    if (postgres_query(
            self,
            "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            " ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
            " WHERE n.nspname OPERATOR(pg_catalog.=) $1 AND c.relname OPERATOR(pg_catalog.=) '_wherry_columns'",
            1, parameters, &result, "look for the state", error) < 0)
        return -1;
    self->own_tables = PQntuples(result) > 0;
    return 0;
}

/* Our row, and whether it is there. LOCK: "" or " FOR UPDATE". */
static int read_row(Postgres *self, const char *lock, PGresult **ret, Error *error)
{
    _cleanup_(freep) char *select = with_table(
        self,
        "SELECT sequence, epoch, run_id, state, (extract(epoch FROM updated_at) OPERATOR(pg_catalog.*) 1000000)::bigint"
        " FROM %T WHERE connection OPERATOR(pg_catalog.=) $1",
        "_wherry_state");
    _cleanup_(freep) char *sql = xasprintf("%s%s", select, lock);
    const char *const parameters[] = { self->connection };
    if (postgres_query(self, sql, 1, parameters, ret, *lock ? "lock the state" : "read the state", error) < 0)
        return -1;
    self->state_row = PQntuples(*ret) > 0;
    return 0;
}

int postgres_read_state(void *destination, CommittedState *ret, Error *error)
{
    Postgres *self = destination;
    _cleanup_(result_clearp) PGresult *result = NULL;
    if (find_own_tables(self, error) < 0 || (self->own_tables && read_row(self, "", &result, error) < 0))
        return -1;
    if (!self->own_tables || !self->state_row || number(result, 0) == 0) {
        *ret = (CommittedState){ .run_id = xstrdup(""), .state = xstrdup("{}") };
        self->sequence = self->epoch = 0;
        return 0;
    }
    self->sequence = number(result, 0);
    self->epoch = number(result, 1);
    *ret = (CommittedState){ .sequence = self->sequence,
                             .epoch = self->epoch,
                             .run_id = xstrdup(PQgetvalue(result, 0, 2)),
                             .state = xstrdup(PQgetvalue(result, 0, 3)),
                             .updated_us = strtoll(PQgetvalue(result, 0, 4), NULL, 10) };
    return 0;
}

int postgres_file_known(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                        Error *error)
{
    Postgres *self = destination;
    *ret = false;
    *ret_rows = 0;
    if (!self->own_tables)
        return 0;
    char text[SHA256_TEXT_SIZE];
    sha256_text(hash, text);
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *sql = with_table(self,
                                            "SELECT row_count FROM %T WHERE connection OPERATOR(pg_catalog.=) $1"
                                            " AND content_hash OPERATOR(pg_catalog.=) $2",
                                            "_wherry_files");
    const char *const parameters[] = { self->connection, text };
    if (postgres_query(self, sql, 2, parameters, &result, "look for a file", error) < 0)
        return -1;
    *ret = PQntuples(result) > 0;
    if (*ret)
        *ret_rows = number(result, 0);
    return 0;
}

int postgres_files_lost(void *destination, const char *table, uint64_t *ret, Error *error)
{
    Postgres *self = destination;
    *ret = 0;
    if (!self->own_tables)
        return 0;
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *sql =
        with_table(self,
                   "SELECT CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                   " ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE n.nspname OPERATOR(pg_catalog.=) $1"
                   " AND c.relname OPERATOR(pg_catalog.=) $2) THEN 0 ELSE (SELECT pg_catalog.count(*) FROM %T"
                   " WHERE connection OPERATOR(pg_catalog.=) $3) END",
                   "_wherry_files");
    const char *const parameters[] = { self->schema, table, self->connection };
    if (postgres_query(self, sql, ELEMENTSOF(parameters), parameters, &result, "look for a table", error) < 0)
        return -1;
    *ret = number(result, 0);
    return 0;
}

/* --- beginning --- */

static int begin_transaction(Postgres *self, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_printf(&sql,
                  /* not READ WRITE: whoever says default_transaction_read_only means us, too */
                  "BEGIN ISOLATION LEVEL READ COMMITTED%s;"
                  "SET LOCAL lock_timeout = '%llds'; SET LOCAL statement_timeout = '%llds';"
                  "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL TimeZone = 'UTC';"
                  "SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL extra_float_digits = 1;"
                  "SET LOCAL standard_conforming_strings = on; SET LOCAL row_security = off;"
                  "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL jit = off;",
                  self->plan ? " READ ONLY" : "", (long long)self->lock_timeout_s,
                  (long long)self->statement_timeout_s);
    /* Other systems refuse it (no POLLRDHUP). */
    if (self->version >= 140000)
        buffer_append_string(&sql, "SELECT pg_catalog.set_config('client_connection_check_interval', '5s', true)"
                                   " WHERE pg_catalog.version() LIKE '%linux%';");
    buffer_append_string(&sql, "SELECT pg_catalog.set_config('synchronous_commit', 'on', true)"
                               " WHERE pg_catalog.current_setting('synchronous_commit') = 'off'");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return postgres_execute(self, text, BEGIN_ATTEMPT, error);
}

static int other_run(Postgres *self, const PGresult *row, Error *error)
{
    unsigned long long sequence = self->state_row ? number(row, 0) : 0, epoch = self->state_row ? number(row, 1) : 0;
    return error_set(error, ERROR_TEMPORARY,
                     "%s: connection \"%s\" was written by another run meanwhile (sequence %llu, epoch %llu; this run "
                     "knows %llu, %llu); the next run goes on from there",
                     self->place, self->connection, sequence, epoch, (unsigned long long)self->sequence,
                     (unsigned long long)self->epoch);
}

static int lock_row(Postgres *self, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    self->phase = "waiting for a lock";
    if (read_row(self, " FOR UPDATE", &result, error) < 0)
        return -1;
    self->phase = "loading";
    if (!self->state_row || number(result, 0) != self->sequence || number(result, 1) != self->epoch)
        return other_run(self, result, error);
    self->locked = true;
    return 0;
}

/* Whoever does the same in this schema at this moment goes first. */
static int wait_for_others(Postgres *self, const char *what, Error *error)
{
    const char *const parameters[] = { what, self->schema };
    return postgres_query(
        self, "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1::text || $2::text, 0))", 2,
        parameters, NULL, "wait for others", error);
}

static int lock_batch(Postgres *self, Error *error)
{
    if (!self->batch->log)
        return lock_row(self, error);
    self->phase = "waiting for a lock";
    if (wait_for_others(self, "wherry log ", error) < 0)
        return -1;
    self->phase = "loading";
    self->locked = true;
    return 0;
}

int postgres_begin(void *destination, const Batch *batch, Error *error)
{
    Postgres *self = destination;
    self->batch = batch;
    self->owner = batch->log ? LOG_TABLE_OWNER : self->connection;
    self->locked = false;
    if (!self->server && postgres_connect(self, error) < 0)
        return -1;
    if (begin_transaction(self, error) < 0)
        return -1;
    if (self->plan)
        return 0;
    if (batch->log)
        return self->own_tables ? lock_batch(self, error) : postgres_lock(self, error);
    /* Else there is nothing to compare with yet: see postgres_lock(). */
    return self->own_tables && self->state_row ? lock_batch(self, error) : 0;
}

/* --- our own tables --- */

static int create_schema(Postgres *self, Error *error)
{
    _cleanup_(result_clearp) PGresult *found = NULL;
    const char *const parameters[] = { self->schema };
    if (postgres_query(self, "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", 1, parameters, &found,
                       "look for the schema", error) < 0)
        return -1;
    if (PQntuples(found) > 0)
        return 0;
    _cleanup_(freep) char *sql = with_table(self, "CREATE SCHEMA IF NOT EXISTS %S", "");
    return postgres_ddl(self, sql, "create the schema", error);
}

static int make_own_tables(Postgres *self, Error *error)
{
    if (create_schema(self, error) < 0)
        return -1;
    for (size_t i = 0; i < ELEMENTSOF(own_tables_sql); i++) {
        _cleanup_(freep) char *sql = with_table(self, own_tables_sql[i], "");
        if (postgres_ddl(self, sql, "create its own tables", error) < 0)
            return -1;
    }
    return 0;
}

static int create_own_tables(Postgres *self, Error *error)
{
    _cleanup_(freep) char *row = with_table(
        self, "INSERT INTO %T VALUES ($1, 0, 0, '', '{}', to_timestamp(0)) ON CONFLICT DO NOTHING", "_wherry_state");
    const char *const connection[] = { self->connection };
    if (begin_transaction(self, error) < 0 || wait_for_others(self, "wherry ", error) < 0 ||
        find_own_tables(self, error) < 0)
        return -1;
    if (!self->own_tables && make_own_tables(self, error) < 0)
        return -1;
    if (postgres_query(self, row, 1, connection, NULL, "write the state", error) < 0)
        return -1;
    return postgres_execute(self, "COMMIT", "create its own tables", error);
}

int postgres_lock(Postgres *self, Error *error)
{
    if (self->locked)
        return 0;
    if (self->plan) {
        self->locked = true;
        return self->own_tables ? 0 : make_own_tables(self, error);
    }
    /* The transaction has read at most: it begins anew. */
    if (postgres_execute(self, "ROLLBACK", BEGIN_ATTEMPT, error) < 0 || create_own_tables(self, error) < 0)
        return -1;
    self->own_tables = self->state_row = true;
    return begin_transaction(self, error) < 0 ? -1 : lock_batch(self, error);
}

int postgres_own_table(Postgres *self, const char *name, Error *error)
{
    if (!self->own_tables)
        return 0; /* nobody has any, and we have not written */
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *find = with_table(self, "SELECT connection FROM %T WHERE table_name = $1", "_wherry_tables");
    _cleanup_(freep) char *insert =
        with_table(self, "INSERT INTO %T (table_name, connection) VALUES ($1, $2)", "_wherry_tables");
    const char *const parameters[] = { name, self->owner };
    if (postgres_query(self, find, 1, parameters, &result, "look for a table's owner", error) < 0)
        return -1;
    if (PQntuples(result) == 0)
        return self->locked && !self->plan ? postgres_query(self, insert, 2, parameters, NULL, "take a table", error)
                                           : 0;
    const char *owner = PQgetvalue(result, 0, 0);
    if (strcmp(owner, self->owner) == 0)
        return 0;
    _cleanup_(freep) char *place = xasprintf("schema \"%s\" of %s", self->schema, self->place);
    return refuse_owner(name, place, owner, self->owner, error);
}

/* --- commit --- */

static int write_state(Postgres *self, const Batch *batch, Error *error)
{
    _cleanup_(freep) char *sql =
        with_table(self,
                   "UPDATE %T SET sequence = $2::bigint, epoch = $3::bigint, run_id = $4, state = coalesce($5, state),"
                   " updated_at = clock_timestamp()"
                   " WHERE connection = $1 AND sequence = $6::bigint AND epoch = $7::bigint",
                   "_wherry_state");
    _cleanup_(freep) char *sequence = xasprintf("%llu", (unsigned long long)batch->sequence);
    _cleanup_(freep) char *epoch = xasprintf("%llu", (unsigned long long)batch->epoch);
    _cleanup_(freep) char *old_sequence = xasprintf("%llu", (unsigned long long)self->sequence);
    _cleanup_(freep) char *old_epoch = xasprintf("%llu", (unsigned long long)self->epoch);
    const char *const parameters[] = { self->connection, sequence,     epoch,    batch->run_id,
                                       batch->state,     old_sequence, old_epoch };
    _cleanup_(result_clearp) PGresult *result = NULL;
    if (postgres_query(self, sql, ELEMENTSOF(parameters), parameters, &result, "write the state", error) < 0)
        return -1;
    if (strcmp(PQcmdTuples(result), "1") != 0)
        return error_set(error, ERROR_TEMPORARY, "%s: connection \"%s\" was written by another run", self->place,
                         self->connection);
    return 0;
}

static int write_file(Postgres *self, const Batch *batch, Error *error)
{
    char hash[SHA256_TEXT_SIZE];
    sha256_text(batch->file_hash, hash);
    _cleanup_(freep) char *sql =
        with_table(self,
                   "INSERT INTO %T (connection, content_hash, name, row_count, run_id, committed_at)"
                   " VALUES ($1, $2, $3, $4::bigint, $5, clock_timestamp()) ON CONFLICT (connection, content_hash)"
                   " DO UPDATE SET name = EXCLUDED.name, row_count = EXCLUDED.row_count, run_id = EXCLUDED.run_id,"
                   " committed_at = EXCLUDED.committed_at",
                   "_wherry_files");
    _cleanup_(freep) char *rows = xasprintf("%llu", (unsigned long long)batch->rows);
    const char *const parameters[] = { self->connection, hash, batch->file_name, rows, batch->run_id };
    return postgres_query(self, sql, ELEMENTSOF(parameters), parameters, NULL, "mark a file", error);
}

/* The same lock, on a new connection. */
static int ask_again(Postgres *self, const Batch *batch, bool *ret_committed, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    if (postgres_connect(self, error) < 0)
        return -1;
    self->phase = "finding out whether it was committed";
    if (begin_transaction(self, error) < 0 || read_row(self, " FOR UPDATE", &result, error) < 0 ||
        postgres_execute(self, "ROLLBACK", "end a transaction", error) < 0)
        return -1;
    *ret_committed = self->state_row && number(result, 0) == batch->sequence && number(result, 1) == batch->epoch &&
                     strcmp(PQgetvalue(result, 0, 2), batch->run_id) == 0;
    if (!*ret_committed && self->state_row && number(result, 0) != self->sequence)
        return other_run(self, result, error);
    return 0;
}

/* LOST says why there was no answer; it becomes the error where the batch was not committed. */
static int resolve_commit(Postgres *self, const Batch *batch, Error *lost, Error *error)
{
    int64_t deadline = clock_monotonic_ms() + MAX_OF(self->lock_timeout_s, (int64_t)1) * 1000;
    for (;;) {
        _cleanup_(error_clear) Error why = { 0 };
        bool committed = false;
        int r = ask_again(self, batch, &committed, &why);
        if (r == 0 && committed) {
            writer_log(self->writer, LOG_NOTICE, "%s: the connection was lost while committing; it was committed",
                       self->place);
            return 0;
        }
        if (r == 0)
            return error_set(error, ERROR_TEMPORARY, "%s; it was not committed", lost->message);
        bool connected = self->server && PQstatus(self->server) == CONNECTION_OK;
        postgres_disconnect(self);
        if (why.kind != ERROR_TEMPORARY || connected || clock_monotonic_ms() >= deadline)
            return error_set(error, why.kind == ERROR_CANCELLED ? ERROR_CANCELLED : ERROR_TEMPORARY,
                             "%s; whether it was committed is not known yet (%s): the next run reads what is there",
                             lost->message, why.message);
        /* The server is away: it may be starting again. */
        usleep(RECONNECT_SLEEP_US);
        if (writer_pulse(self->writer, "waiting for the server"))
            return error_set(error, ERROR_CANCELLED, "cancelled");
    }
}

static int send_commit(Postgres *self, const Batch *batch, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(error_clear) Error lost = { 0 };
    if (postgres_query(self, "COMMIT", 0, NULL, &result, "commit", &lost) < 0) {
        /* An error that the server still told us, such as a deferred constraint, is its answer. Of lines of the log
         * nobody needs to know. */
        bool answered = lost.kind != ERROR_CANCELLED && self->server && PQstatus(self->server) == CONNECTION_OK;
        if (answered || batch->log) {
            error_move(error, &lost);
            return -1;
        }
        if (lost.kind == ERROR_CANCELLED) {
            postgres_disconnect(self);
            error_move(error, &lost);
            return -1;
        }
        return resolve_commit(self, batch, &lost, error);
    }
    if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
        return error_set(error, ERROR_TEMPORARY, "%s: the server answered COMMIT with %s", self->place,
                         PQcmdStatus(result));
    return 0;
}

int postgres_commit(void *destination, const Batch *batch, Error *error)
{
    Postgres *self = destination;
    if (postgres_copy_end(self, error) < 0 || postgres_lock(self, error) < 0)
        return -1;
    self->phase = "committing";
    int r = postgres_finish_indexes(self, error);
    if (self->plan) {
        postgres_abort(self);
        return r;
    }
    if (r == 0 && !batch->log)
        r = write_state(self, batch, error);
    if (r == 0 && batch->is_file)
        r = write_file(self, batch, error);
    if (r == 0)
        r = send_commit(self, batch, error);
    self->phase = "loading";
    if (r < 0)
        return -1;
    postgres_tables_reset(self);
    self->locked = false;
    if (batch->log)
        return 0;
    self->sequence = batch->sequence;
    self->epoch = batch->epoch;
    return 0;
}

void postgres_abort(void *destination)
{
    Postgres *self = destination;
    _cleanup_(error_clear) Error error = { 0 };
    postgres_tables_reset(self);
    self->locked = false;
    if (!self->server)
        return;
    bool copying = self->copy.open;
    self->copy.open = false;
    buffer_reset(&self->copy.buffer);
    /* Where a statement is still running, or a row half sent, the server rolls back when the connection ends. */
    if (PQstatus(self->server) != CONNECTION_OK || copying || PQtransactionStatus(self->server) == PQTRANS_ACTIVE)
        postgres_disconnect(self);
    else if (PQtransactionStatus(self->server) != PQTRANS_IDLE &&
             postgres_execute(self, "ROLLBACK", "roll back", &error) < 0)
        postgres_disconnect(self);
}
