/*
 * Changes of keyed tables. A new one is WITHOUT ROWID: its rows lie in the order of the key, in which a batch comes, so
 * that neighbours in a batch are neighbours on disk, and there is no second index to keep.
 *
 * Each change is a few statements, executed in the batch's transaction or, in a plan, only told. Which column has held
 * an integer that no double holds stands in _wherry_columns, since SQLite has nowhere else to put it.
 */
#include <string.h>

#include "connectors/destinations/sqlite/sqlite.h"

static const char marks_schema[] =
    "CREATE TABLE IF NOT EXISTS _wherry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,"
    " fact TEXT NOT NULL, PRIMARY KEY (table_name, column_name, fact)) WITHOUT ROWID";

void sqlite_quote_text(Buffer *buffer, const char *text)
{
    buffer_append_string(buffer, "'");
    for (const char *c = text; *c; c++) {
        buffer_append(buffer, c, 1);
        if (*c == '\'')
            buffer_append(buffer, c, 1);
    }
    buffer_append_string(buffer, "'");
}

int sqlite_ddl(Sqlite *self, const char *sql, const char *attempt, Error *error)
{
    if (!self->plan)
        return sqlite_execute(self, sql, attempt, error);
    plan_add(self->plan, sql);
    return 0;
}

static void put_column(Buffer *sql, const FrameColumn *column)
{
    char declared[SQLITE_DECLARATION_MAX];
    sql_quote(sql, column->name.data);
    buffer_append_string(sql, " ");
    buffer_append_string(sql, sqlite_declaration(column_kind(column), declared));
    if (column->flags & COLUMN_KEY)
        buffer_append_string(sql, " NOT NULL");
}

static int create_table(Sqlite *self, const Table *table, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "CREATE TABLE ");
    sql_quote(&sql, table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? " (" : ", ");
        put_column(&sql, &table->columns[i]);
    }
    const char *separator = ", PRIMARY KEY (";
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].flags & COLUMN_KEY) {
            buffer_append_string(&sql, separator);
            sql_quote(&sql, table->columns[i].name.data);
            separator = ", ";
        }
    if (strcmp(separator, ", ") != 0)
        return error_set(error, ERROR_INTERNAL, "table \"%s\" has no key", table->name);
    buffer_append_string(&sql, ")) WITHOUT ROWID");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return sqlite_ddl(self, text, "create a table", error);
}

static int add_column(Sqlite *self, const Table *table, const FrameColumn *column, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "ALTER TABLE ");
    sql_quote(&sql, table->name);
    buffer_append_string(&sql, " ADD COLUMN ");
    put_column(&sql, column);
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return sqlite_ddl(self, text, "add a column", error);
}

static int mark_inexact(Sqlite *self, const Table *table, const FrameColumn *column, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    bool found;
    if (sqlite_has_table(self, "_wherry_columns", &found, error) < 0 ||
        (!found && sqlite_ddl(self, marks_schema, "create its own tables", error) < 0))
        return -1;
    buffer_append_string(&sql, "INSERT OR IGNORE INTO _wherry_columns (table_name, column_name, fact) VALUES (");
    sqlite_quote_text(&sql, table->name);
    buffer_append_string(&sql, ", ");
    sqlite_quote_text(&sql, column->name.data);
    buffer_append_string(&sql, ", 'inexact')");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return sqlite_ddl(self, text, "mark a column", error);
}

int sqlite_change(void *destination, const Table *table, const SchemaChange *change, Error *error)
{
    Sqlite *self = destination;
    const FrameColumn *column = &table->columns[change->column];
    if (!self->plan)
        sqlite_table_forget(self, table->name);
    switch (change->type) {
    case SCHEMA_CREATE:
        return create_table(self, table, error);
    case SCHEMA_ADD:
        return add_column(self, table, column, error);
    case SCHEMA_WIDEN:
        return sqlite_widen(self, table, change->column, error);
    case SCHEMA_INEXACT:
        return mark_inexact(self, table, column, error);
    default:
        return error_set(error, ERROR_INTERNAL, "change %d of table \"%s\" is unknown", (int)change->type, table->name);
    }
}

int sqlite_drop(void *destination, const char *name, Error *error)
{
    Sqlite *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    bool found, without_rowid;
    if (sqlite_own_table(self, name, error) < 0 || sqlite_find_table(self, name, &found, &without_rowid, error) < 0)
        return -1;
    sqlite_table_forget(self, name);
    if (found) {
        buffer_append_string(&sql, "DROP TABLE ");
        sql_quote(&sql, name);
        _cleanup_(freep) char *text = buffer_take_string(&sql);
        if (sqlite_execute(self, text, "drop a table", error) < 0)
            return -1;
    }
    if (sqlite_has_table(self, "_wherry_columns", &found, error) < 0)
        return -1;
    if (!found)
        return 0;
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    if (sqlite_prepare(self, "DELETE FROM _wherry_columns WHERE table_name = ?1 COLLATE NOCASE", &statement,
                       "drop a table", error) < 0)
        return -1;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    return sqlite_step(self, statement, NULL, "drop a table", error);
}
