/*
 * Tables of files: made, or checked against the configuration to the letter. Nothing is ever migrated but by
 * `on_schema_change`: a table with other columns is refused with what differs.
 *
 * A new table has the columns as configured, _source_file_hash and _ingested_at. Filedge's `_id` from a sequence is not
 * made (it costs an index that is kept in memory), but taken where it is there, as is its INTEGER where a new table has
 * BIGINT: a number that does not fit is then an error that names its row. A decimal column may be any DECIMAL(p,s).
 */
#include <string.h>
#include <strings.h>

#include "connectors/destinations/duckdb/internal.h"
#include "connectors/writer/guard.h"

#define COLUMN_ID "_id"

static const char *sql_type(ColumnType type)
{
    switch (type) {
    case COLUMN_INTEGER:
        return "BIGINT";
    case COLUMN_SHORT:
        return "SMALLINT";
    case COLUMN_INT:
        return "INTEGER";
    case COLUMN_FLOAT:
        return "DOUBLE";
    case COLUMN_REAL:
        return "FLOAT";
    case COLUMN_BOOLEAN:
        return "BOOLEAN";
    case COLUMN_DATE:
        return "DATE";
    case COLUMN_TIMESTAMP:
    case COLUMN_DATETIME:
        return "TIMESTAMP";
    case COLUMN_INSTANT:
        return "TIMESTAMP WITH TIME ZONE";
    case COLUMN_DECIMAL:
        return "DECIMAL(38,10)";
    case COLUMN_JSON:
        return "JSON";
    case COLUMN_BINARY:
        return "BLOB";
    default:
        return "VARCHAR";
    }
}

/* A column of a file that is of TYPE in the configuration may be THERE. */
static bool type_fits(ColumnType type, const char *there)
{
    if (strcmp(there, sql_type(type)) == 0)
        return true;
    if (type == COLUMN_INTEGER)
        return strcmp(there, "INTEGER") == 0 || strcmp(there, "SMALLINT") == 0;
    if (type == COLUMN_DECIMAL)
        return strncmp(there, "DECIMAL(", 8) == 0;
    if (type == COLUMN_JSON)
        return strcmp(there, "VARCHAR") == 0;
    return type == COLUMN_TIMESTAMP && strcmp(there, "TIMESTAMP WITH TIME ZONE") == 0;
}

/* --- the schema guard --- */

static void put_type(Buffer *text, const FrameColumn *column)
{
    buffer_append_string(text, sql_type(column->type));
}

enum { OWN_ID, OWN_HASH, OWN_TIME };
static const GuardOwn own_columns[] = {
    [OWN_ID] = { COLUMN_ID, "BIGINT", NULL },
    [OWN_HASH] = { COLUMN_HASH, "VARCHAR", "\"" COLUMN_HASH "\" (VARCHAR)" },
    [OWN_TIME] = { COLUMN_TIME, "TIMESTAMP", "\"" COLUMN_TIME "\" (TIMESTAMP)" },
};
static const GuardRules guard_rules = {
    .ignore_case = true, .own = own_columns, .own_count = ELEMENTSOF(own_columns), .put_type = put_type
};

static bool own_type_fits(size_t own, const char *there)
{
    return own == OWN_ID || strcmp(there, own_columns[own].type) == 0 ||
           (own == OWN_TIME && strcmp(there, "TIMESTAMP WITH TIME ZONE") == 0);
}

static void compare_column(Guard *guard, const char *name, const char *type, bool has_default)
{
    size_t i;
    GuardPlace place = guard_find(guard, name, type, &i);
    if (place == GUARD_EXTRA)
        return;
    if (place == GUARD_OWN ? !own_type_fits(i, type) : !type_fits(guard->table->columns[i].type, type))
        guard_differs_in_type(guard, place, i, name, type);
    else if (place == GUARD_OWN && i == OWN_ID && !has_default)
        guard_differs(guard, "column \"" COLUMN_ID "\" has no default (nextval of a sequence) there");
}

static void put_column(Buffer *sql, const FrameColumn *column)
{
    sql_quote(sql, column->name.data);
    if (column->type == COLUMN_DECIMAL && column->precision > 0)
        buffer_printf(sql, " DECIMAL(%u,%u)", column->precision, column->scale);
    else
        buffer_printf(sql, " %s", sql_type(column->type));
}

static int add_column(DuckDb *self, const Table *table, size_t i, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "ALTER TABLE ");
    sql_quote(&sql, table->name);
    buffer_append_string(&sql, " ADD COLUMN ");
    put_column(&sql, &table->columns[i]);
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return duck_ddl(self, text, "add a column", error);
}

static int compare_collations(DuckDb *self, Guard *guard, const char *there, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    bool any;
    if (duck_collations(self, there, &any, &rows, error) < 0)
        return -1;
    while (any && rows_next(&rows)) {
        _cleanup_(freep) char *name = rows_text(&rows, 0), *collation = rows_text(&rows, 1);
        for (size_t i = 0; i < guard->table->column_count; i++)
            if (strcasecmp(guard->table->columns[i].name.data, name) == 0)
                guard_collates(guard, i, name, collation);
    }
    return 0;
}

static int guard_table(DuckDb *self, const Table *table, const char *there, Error *error)
{
    _cleanup_(guard_clear) Guard guard = guard_begin(&guard_rules, table);
    _cleanup_(rows_clear) Rows rows = { 0 };
    _cleanup_(freep) char *where = xasprintf("in \"%s\"", self->path);
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(there) };
    if (duck_query(self,
                   "SELECT column_name, data_type, column_default IS NOT NULL FROM duckdb_columns() WHERE"
                   " database_name = current_database() AND schema_name = $1 AND table_name = $2 ORDER BY column_index",
                   parameters, ELEMENTSOF(parameters), &rows, "read a table's columns", error) < 0)
        return -1;
    while (rows_next(&rows)) {
        _cleanup_(freep) char *name = rows_text(&rows, 0), *type = rows_text(&rows, 1);
        compare_column(&guard, name ? name : "", type ? type : "", rows_integer(&rows, 2) != 0);
    }
    if (self->cdc && compare_collations(self, &guard, there, error) < 0)
        return -1;
    for (size_t i; guard_next_to_add(&guard, self->writer, &i);)
        if (add_column(self, table, i, error) < 0)
            return -1;
    return guard_end(&guard, where, error);
}

/* --- making --- */

static int create_table(DuckDb *self, const Table *table, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (guard_may_create(self->writer, table, error) < 0)
        return -1;
    buffer_append_string(&sql, "CREATE TABLE ");
    sql_quote(&sql, table->name);
    buffer_append_string(&sql, " (");
    for (size_t i = 0; i < table->column_count; i++) {
        put_column(&sql, &table->columns[i]);
        buffer_append_string(&sql, ", ");
    }
    buffer_append_string(&sql, "\"" COLUMN_HASH "\" VARCHAR NOT NULL, \"" COLUMN_TIME "\" TIMESTAMP NOT NULL)");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return duck_ddl(self, text, "create a table", error);
}

static Sink *sink_of(DuckDb *self, uint16_t id)
{
    if (id >= self->sink_count) {
        size_t count = id + 1u;
        self->sinks = xrealloc(self->sinks, count * sizeof(*self->sinks));
        memset(self->sinks + self->sink_count, 0, (count - self->sink_count) * sizeof(*self->sinks));
        self->sink_count = count;
    }
    return &self->sinks[id];
}

int duck_ensure_table(void *destination, const Table *table, const Batch *batch, Error *error)
{
    DuckDb *self = destination;
    _cleanup_(freep) char *there = NULL;
    if (guard_check_names(&guard_rules, table, "DuckDB", error) < 0 ||
        duck_own_table(self, table->name, true, error) < 0 || duck_find_table(self, table->name, &there, error) < 0)
        return -1;
    /* what was appended under the columns before must be in the table before it is looked at */
    if (sink_finish(self, sink_of(self, table->id), error) < 0)
        return -1;
    return there ? guard_table(self, table, there, error) : create_table(self, table, error);
}

static int open_sink(DuckDb *self, const Table *table, const Batch *batch, Error *error)
{
    size_t count = table->column_count;
    _cleanup_(freep) const char **names = xcalloc(count + 2, sizeof(*names));
    for (size_t i = 0; i < count; i++)
        names[i] = table->columns[i].name.data;
    names[count] = COLUMN_HASH;
    names[count + 1] = COLUMN_TIME;
    Sink *sink = sink_of(self, table->id);
    if (sink_open(self, sink, self->catalog, self->schema, table->name, names, count + 2, error) < 0)
        return -1;
    sha256_text(batch->file_hash, self->file_hash);
    sink_fill_text(self, sink, count, self->file_hash, strlen(self->file_hash));
    sink_fill_timestamp(self, sink, count + 1, batch->started_us);
    return 0;
}

/* The rows of this content, or all of them, go; in the same transaction. */
int duck_file_begin(void *destination, const Table *table, const Batch *batch, Error *error)
{
    DuckDb *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    self->batch = batch;
    if (self->cdc || self->plan)
        return 0; /* see duck_merge_file() */
    buffer_append_string(&sql, "DELETE FROM ");
    sql_quote(&sql, table->name);
    if (!self->truncate)
        buffer_append_string(&sql, " WHERE \"" COLUMN_HASH "\" = $1");
    char hash[SHA256_TEXT_SIZE];
    sha256_text(batch->file_hash, hash);
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return duck_run(self, text, &TEXT_PARAMETER(hash), self->truncate ? 0 : 1, NULL, "delete rows", error);
}

int duck_write_file(DuckDb *self, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    Sink *sink = sink_of(self, table->id);
    if (!sink->appender && open_sink(self, table, self->batch, error) < 0)
        return -1;
    return sink_rows(self, sink, table, rows, first_row, error);
}

int duck_finish_files(DuckDb *self, Error *error)
{
    for (size_t i = 0; i < self->sink_count; i++)
        if (sink_finish(self, &self->sinks[i], error) < 0)
            return -1;
    return 0;
}

void duck_reset_files(DuckDb *self)
{
    for (size_t i = 0; i < self->sink_count; i++)
        sink_clear(self, &self->sinks[i]);
}
