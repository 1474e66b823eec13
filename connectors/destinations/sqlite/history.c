/*
 * Rows whose former versions are kept: each version has the time at which it began for the last column of its key, and
 * one version of a key at most is active.
 *
 * Times are compared as text without their Z: of two that agree up to a fraction, the shorter is earlier, as "…:10" is
 * before "…:10.5"; with the Z it would be after.
 */
#include "connectors/destinations/sqlite/keyed.h"

static void put_active(Buffer *sql, const Keyed *keyed, const Table *table)
{
    sqlite_put_where_key(sql, keyed, table);
    buffer_append_string(sql, " AND \"" SYSTEM_COLUMN_ACTIVE "\"");
}

static void put_began_before(Buffer *sql, const Keyed *keyed)
{
    buffer_printf(sql, " AND rtrim(\"" SYSTEM_COLUMN_START "\", 'Z') < rtrim(?%zu, 'Z')", keyed->start + 1);
}

/* One that the same batch has ended is closed as if it had not: whether that is known here is a matter of flushes. */
static void build_close(Buffer *sql, const Keyed *keyed, const Table *table)
{
    sqlite_put_update(sql, table);
    buffer_printf(sql, "\"" SYSTEM_COLUMN_END "\" = ?%zu, \"" SYSTEM_COLUMN_ACTIVE "\" = 0", 2 * keyed->count + 1);
    sqlite_put_where_key(sql, keyed, table);
    buffer_printf(sql, " AND (\"" SYSTEM_COLUMN_ACTIVE "\" OR \"" SYSTEM_COLUMN_END "\" = ?%zu)", keyed->start + 1);
    put_began_before(sql, keyed);
}

static void build_amend(Buffer *sql, const Keyed *keyed, const Table *table)
{
    sqlite_build_update_any(sql, keyed, table);
    buffer_printf(sql, " AND \"" SYSTEM_COLUMN_ACTIVE "\" AND \"" SYSTEM_COLUMN_START "\" = ?%zu", keyed->start + 1);
}

static void build_continue(Buffer *sql, const Keyed *keyed, const Table *table)
{
    sqlite_put_columns(sql, table);
    for (size_t i = 0; i < keyed->count; i++) {
        buffer_append_string(sql, i == 0 ? " SELECT " : ", ");
        if (table->columns[i].flags & COLUMN_KEY) {
            buffer_printf(sql, "?%zu", i + 1);
            continue;
        }
        buffer_printf(sql, "iif(?%zu, ?%zu, ", keyed->count + i + 1, i + 1);
        sql_quote(sql, table->columns[i].name.data);
        buffer_append_string(sql, ")");
    }
    buffer_append_string(sql, " FROM ");
    sql_quote(sql, table->name);
    put_active(sql, keyed, table);
    put_began_before(sql, keyed);
    sqlite_put_on_conflict(sql, table);
}

static void build_end(Buffer *sql, const Keyed *keyed, const Table *table)
{
    sqlite_put_update(sql, table);
    buffer_printf(
        sql, "\"" SYSTEM_COLUMN_END "\" = ?%zu, \"" SYSTEM_COLUMN_ACTIVE "\" = 0, \"" SYSTEM_COLUMN_SYNCED "\" = ?%zu",
        keyed->start + 1, keyed->synced + 1);
    put_active(sql, keyed, table);
}

/* The version that was active before ends a millisecond before this one begins. */
static int bind_before_start(Keyed *keyed, sqlite3_stmt *statement)
{
    char *scratch = keyed->scratch + keyed->count * TIMESTAMP_TEXT_MAX;
    Timestamp end = keyed->row[keyed->start].timestamp;
    const uint32_t millisecond = 1000000;
    if (end.nanos < millisecond) {
        end.seconds--;
        end.nanos += 1000000000;
    }
    end.nanos -= millisecond;
    return sqlite3_bind_text(statement, (int)(2 * keyed->count) + 1, scratch,
                             (int)sqlite_timestamp_text(COLUMN_INSTANT, &end, scratch), SQLITE_STATIC);
}

static int close_version(Sqlite *self, Keyed *keyed, const Table *table, Error *error)
{
    sqlite3_stmt **statement = &keyed->statements[STATEMENT_CLOSE];
    if (sqlite_keyed_prepare(self, keyed, table, build_close, statement, error) < 0)
        return -1;
    int r = sqlite_bind_row(keyed, table, *statement, BIND_KEYS);
    if (r == SQLITE_OK)
        r = bind_before_start(keyed, *statement);
    return r == SQLITE_OK ? sqlite_run(*statement) : r;
}

static int update_version(Sqlite *self, Keyed *keyed, const Table *table, Error *error)
{
    static const struct {
        StatementType type;
        BuildStatement build;
    } steps[] = { { STATEMENT_AMEND, build_amend }, { STATEMENT_CONTINUE, build_continue } };
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        sqlite3_stmt **statement = &keyed->statements[steps[i].type];
        if (sqlite_keyed_prepare(self, keyed, table, steps[i].build, statement, error) < 0)
            return -1;
        int r = sqlite_bind_row(keyed, table, *statement, BIND_ALL);
        if (r == SQLITE_OK)
            r = sqlite_run(*statement);
        if (r != SQLITE_OK)
            return r;
        if (sqlite3_changes(self->database) > 0)
            return steps[i].type == STATEMENT_CONTINUE ? close_version(self, keyed, table, error) : 0;
    }
    return 0;
}

static int end_version(Sqlite *self, Keyed *keyed, const Table *table, Error *error)
{
    sqlite3_stmt **statement = &keyed->statements[STATEMENT_END];
    if (sqlite_keyed_prepare(self, keyed, table, build_end, statement, error) < 0)
        return -1;
    int r = sqlite_bind_row(keyed, table, *statement, BIND_PRESENT);
    return r == SQLITE_OK ? sqlite_run(*statement) : r;
}

int sqlite_history_row(Sqlite *self, Keyed *keyed, const Table *table, Operation operation, Error *error)
{
    if (operation == OPERATION_UPDATE)
        return update_version(self, keyed, table, error);
    if (operation == OPERATION_DELETE)
        return end_version(self, keyed, table, error);
    int r = close_version(self, keyed, table, error);
    return r == 0 ? SQLITE_E_UPSERT : r;
}
