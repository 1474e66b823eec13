/*
 * Tables of files: made, or checked against the configuration to the letter. Nothing is ever migrated: a table with
 * other columns is refused with what differs.
 *
 * A new table has the columns as configured, _source_file_hash and _ingested_at. Filedge's `_id` from a sequence is not
 * made (it costs an index that is kept in memory), but taken where it is there, as is its INTEGER where a new table has
 * BIGINT: a number that does not fit is then an error that names its row. A decimal column may be any DECIMAL(p,s).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "connectors/destinations/duckdb/internal.h"

#define COLUMN_ID "_id"
#define COLUMN_HASH "_source_file_hash"
#define COLUMN_TIME "_ingested_at"

static const char *const own_columns[] = { COLUMN_ID, COLUMN_HASH, COLUMN_TIME };

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

/* --- names --- */

static int check_names(const Table *table, Error *error)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const char *name = table->columns[i].name.data;
        for (size_t k = 0; k < ELEMENTSOF(own_columns); k++)
            if (strcasecmp(name, own_columns[k]) == 0)
                return error_set(error, ERROR_CONFIGURATION,
                                 "table \"%s\": column \"%s\" is one that Wherry adds; give yours another name",
                                 table->name, name);
        for (size_t k = 0; k < i; k++)
            if (strcasecmp(name, table->columns[k].name.data) == 0)
                return error_set(error, ERROR_CONFIGURATION,
                                 "table \"%s\": columns \"%s\" and \"%s\" are the same to DuckDB", table->name,
                                 table->columns[k].name.data, name);
    }
    return 0;
}

/* --- the schema guard --- */

typedef struct Guard {
    const Table *table;
    bool *found; /* per column of the configuration */
    bool found_own[ELEMENTSOF(own_columns)];
    Buffer differences;
} Guard;

static void differ(Guard *guard, const char *format, ...) _public_printf_(2, 3);
static void differ(Guard *guard, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char text[512];
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (buffer_length(&guard->differences) > 0)
        buffer_append_string(&guard->differences, "; ");
    buffer_append_string(&guard->differences, text);
}

static void compare_own(Guard *guard, size_t which, const char *name, const char *type, bool has_default)
{
    guard->found_own[which] = true;
    if (strcmp(own_columns[which], COLUMN_ID) == 0) {
        if (!has_default)
            differ(guard, "column \"" COLUMN_ID "\" has no default (nextval of a sequence) there");
    } else if (strcmp(own_columns[which], COLUMN_HASH) == 0) {
        if (strcmp(type, "VARCHAR") != 0)
            differ(guard, "column \"%s\" is %s there, VARCHAR here", name, type);
    } else if (strcmp(type, "TIMESTAMP") != 0 && strcmp(type, "TIMESTAMP WITH TIME ZONE") != 0) {
        differ(guard, "column \"%s\" is %s there, TIMESTAMP here", name, type);
    }
}

static void compare_column(Guard *guard, const char *name, const char *type, bool has_default)
{
    for (size_t k = 0; k < ELEMENTSOF(own_columns); k++)
        if (strcasecmp(name, own_columns[k]) == 0) {
            compare_own(guard, k, name, type, has_default);
            return;
        }
    for (size_t i = 0; i < guard->table->column_count; i++) {
        const FrameColumn *column = &guard->table->columns[i];
        if (strcasecmp(name, column->name.data) != 0)
            continue;
        guard->found[i] = true;
        if (!type_fits(column->type, type))
            differ(guard, "column \"%s\" is %s there, %s here", name, type, sql_type(column->type));
        return;
    }
    differ(guard, "extra column \"%s\" (%s)", name, type);
}

static void compare_missing(Guard *guard)
{
    for (size_t i = 0; i < guard->table->column_count; i++)
        if (!guard->found[i])
            differ(guard, "missing column \"%s\" (%s)", guard->table->columns[i].name.data,
                   sql_type(guard->table->columns[i].type));
    for (size_t k = 1; k < ELEMENTSOF(own_columns); k++)
        if (!guard->found_own[k])
            differ(guard, "missing column \"%s\" (%s)", own_columns[k], k == 1 ? "VARCHAR" : "TIMESTAMP");
}

static int guard_table(DuckDb *self, const Table *table, const char *there, Error *error)
{
    Guard guard = { .table = table };
    _cleanup_(freep) bool *found = guard.found = xcalloc(table->column_count, sizeof(*found));
    _cleanup_(rows_clear) Rows rows = { 0 };
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
    compare_missing(&guard);
    _cleanup_(freep) char *differences = buffer_take_string(&guard.differences);
    if (!*differences)
        return 0;
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" in \"%s\" has other columns than the configuration: %s; change one of them, or "
                     "choose another table",
                     table->name, self->path, differences);
}

/* --- making --- */

static int create_table(DuckDb *self, const Table *table, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "CREATE TABLE ");
    duck_quote(&sql, table->name);
    buffer_append_string(&sql, " (");
    for (size_t i = 0; i < table->column_count; i++) {
        const FrameColumn *column = &table->columns[i];
        duck_quote(&sql, column->name.data);
        if (column->type == COLUMN_DECIMAL && column->precision > 0)
            buffer_printf(&sql, " DECIMAL(%u,%u), ", column->precision, column->scale);
        else
            buffer_printf(&sql, " %s, ", sql_type(column->type));
    }
    buffer_append_string(&sql, "\"" COLUMN_HASH "\" VARCHAR NOT NULL, \"" COLUMN_TIME "\" TIMESTAMP NOT NULL)");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return duck_execute(self, text, "create a table", error);
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
    if (check_names(table, error) < 0 || duck_own_table(self, table->name, true, error) < 0 ||
        duck_find_table(self, table->name, &there, error) < 0)
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
    if (self->cdc)
        return 0;
    buffer_append_string(&sql, "DELETE FROM ");
    duck_quote(&sql, table->name);
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
