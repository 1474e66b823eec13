/*
 * Writing keyed batches: rows wait in temporary tables, one per operation, filled by the appender, and are applied by a
 * few statements that join each with the table as a whole.
 *
 * An UPSERT is DELETE and INSERT, since a whole row replaces a whole row; an UPDATE sets each column to the staged
 * value where a mask says that there is one. A staging table's columns are c0, c1, … and m0, m1, … so that no name of
 * the table's own can meet one of ours.
 *
 * A file of changes comes in small chunks of keys to delete and rows to insert. A join reads all of the table's keys,
 * so what these chunks hold waits until the file ends: each key comes once in it, and the chunks may as well be one.
 * Temporary tables that outgrow DuckDB's memory limit lie on disk.
 */
#include <string.h>

#include "connectors/destinations/duckdb/keyed.h"

#define MILLISECOND "INTERVAL 1 MILLISECOND"

typedef struct Merge {
    DuckDb *self;
    const Table *table;
    bool history;
    size_t start;      /* COLUMN_START's place; none: SIZE_MAX */
    const Batch *file; /* of changes; else NULL */
} Merge;

static bool is_named(const Table *table, size_t i, const char *name)
{
    return strcmp(table->columns[i].name.data, name) == 0;
}

static size_t place_of(const Table *table, const char *name)
{
    size_t i = 0;
    while (i < table->column_count && !is_named(table, i, name))
        i++;
    return i;
}

static char *staging_name(const DuckDb *self, const KeyedTable *keyed, Operation operation)
{
    size_t i = 0;
    while (self->keyed[i] != keyed)
        i++;
    return xasprintf("_wherry_stage_%zu_%d", i, (int)operation);
}

/* --- staging --- */

static int open_stage(DuckDb *self, KeyedTable *keyed, const Table *table, Operation operation, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    _cleanup_(freep) char *stage = staging_name(self, keyed, operation);
    bool masked = operation == OPERATION_UPDATE;
    bool keys_only = operation == OPERATION_DELETE && !(table->flags & TABLE_HISTORY);
    const char *separator = "";
    buffer_printf(&sql, "CREATE TEMP TABLE \"%s\" AS SELECT ", stage);
    for (size_t i = 0; i < table->column_count; i++) {
        if (keys_only && !(table->columns[i].flags & COLUMN_KEY))
            continue;
        buffer_append_string(&sql, separator);
        sql_quote(&sql, table->columns[i].name.data);
        buffer_printf(&sql, masked ? " AS c%zu, true AS m%zu" : " AS c%zu", i, i);
        separator = ", ";
    }
    buffer_append_string(&sql, " FROM ");
    sql_quote(&sql, table->name);
    buffer_append_string(&sql, " LIMIT 0");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    if (duck_execute(self, text, "make a staging table", error) < 0)
        return -1;
    keyed->staged[operation] = true;
    Sink *sink = &keyed->sinks[operation];
    if (sink_open(self, sink, "temp", "main", stage, NULL, 0, error) < 0)
        return -1;
    sink->masked = masked;
    sink->keys_only = keys_only;
    return 0;
}

int duck_stage(DuckDb *self, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    KeyedTable *keyed = duck_keyed(self, table->name);
    Operation operation = rows->rows.operation;
    if (!keyed->staged[operation] && open_stage(self, keyed, table, operation, error) < 0)
        return -1;
    if (self->deferred && keyed->current.column_count == 0)
        keyed->current = table_copy(table);
    return sink_rows(self, &keyed->sinks[operation], table, rows, first_row, error);
}

/* --- statements --- */

static void put_column(Buffer *sql, const Merge *merge, size_t i)
{
    sql_quote(sql, merge->table->columns[i].name.data);
}

/* " FROM stage AS s WHERE t.key = s.key …"; with history the key is without COLUMN_START. */
static void put_join(Buffer *sql, const Merge *merge, const char *keyword, const char *stage)
{
    const char *separator = " WHERE ";
    buffer_printf(sql, " %s temp.main.\"%s\" AS s", keyword, stage);
    for (size_t i = 0; i < merge->table->column_count; i++) {
        if (!(merge->table->columns[i].flags & COLUMN_KEY) || i == merge->start)
            continue;
        buffer_printf(sql, "%st.", separator);
        put_column(sql, merge, i);
        buffer_printf(sql, " = s.c%zu", i);
        separator = " AND ";
    }
}

static void put_table(Buffer *sql, const Merge *merge, const char *before)
{
    buffer_append_string(sql, before);
    sql_quote(sql, merge->table->name);
    buffer_append_string(sql, " AS t");
}

static int run(const Merge *merge, Buffer *sql, uint64_t *ret_changed, Error *error)
{
    _cleanup_(freep) char *text = buffer_take_string(sql);
    return duck_run(merge->self, text, NULL, 0, ret_changed, "merge rows", error);
}

static int insert_staged(const Merge *merge, const char *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    const Batch *file = merge->file;
    buffer_append_string(&sql, "INSERT INTO ");
    sql_quote(&sql, merge->table->name);
    for (size_t i = 0; i < merge->table->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? " (" : ", ");
        put_column(&sql, merge, i);
    }
    buffer_append_string(&sql, file ? ", \"" COLUMN_HASH "\", \"" COLUMN_TIME "\"" : "");
    for (size_t i = 0; i < merge->table->column_count; i++)
        buffer_printf(&sql, i == 0 ? ") SELECT s.c%zu" : ", s.c%zu", i);
    buffer_printf(&sql, "%s FROM temp.main.\"%s\" AS s", file ? ", $1, $2" : "", stage);
    if (!file)
        return run(merge, &sql, NULL, error);
    char hash[SHA256_TEXT_SIZE];
    sha256_text(file->file_hash, hash);
    const Parameter parameters[] = { TEXT_PARAMETER(hash), TIMESTAMP_PARAMETER(file->started_us) };
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return duck_run(merge->self, text, parameters, ELEMENTSOF(parameters), NULL, "merge rows", error);
}

static int delete_staged(const Merge *merge, const char *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    put_table(&sql, merge, "DELETE FROM ");
    put_join(&sql, merge, "USING", stage);
    return run(merge, &sql, NULL, error);
}

static int update_staged(const Merge *merge, const char *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    const char *separator = " SET ";
    put_table(&sql, merge, "UPDATE ");
    for (size_t i = 0; i < merge->table->column_count; i++) {
        if (merge->table->columns[i].flags & COLUMN_KEY)
            continue;
        buffer_append_string(&sql, separator);
        put_column(&sql, merge, i);
        buffer_printf(&sql, " = CASE WHEN s.m%zu THEN s.c%zu ELSE t.", i, i);
        put_column(&sql, merge, i);
        buffer_append_string(&sql, " END");
        separator = ", ";
    }
    if (strcmp(separator, " SET ") == 0)
        return 0;
    put_join(&sql, merge, "FROM", stage);
    return run(merge, &sql, NULL, error);
}

/* --- with history --- */

/* The active rows that began before the staged ones end a millisecond before these begin. So do those that the same
 * batch has ended: whether that is known here is a matter of flushes. */
static int close_versions(const Merge *merge, const char *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    put_table(&sql, merge, "UPDATE ");
    buffer_printf(&sql,
                  " SET \"" SYSTEM_COLUMN_END "\" = s.c%zu - " MILLISECOND ", \"" SYSTEM_COLUMN_ACTIVE "\" = false",
                  merge->start);
    put_join(&sql, merge, "FROM", stage);
    buffer_printf(&sql,
                  " AND (t.\"" SYSTEM_COLUMN_ACTIVE "\" OR t.\"" SYSTEM_COLUMN_END
                  "\" = s.c%zu) AND t.\"" SYSTEM_COLUMN_START "\" < s.c%zu",
                  merge->start, merge->start);
    return run(merge, &sql, NULL, error);
}

static int replace_versions(const Merge *merge, const char *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (close_versions(merge, stage, error) < 0)
        return -1;
    put_table(&sql, merge, "DELETE FROM ");
    put_join(&sql, merge, "USING", stage);
    buffer_printf(&sql, " AND t.\"" SYSTEM_COLUMN_START "\" = s.c%zu", merge->start);
    return run(merge, &sql, NULL, error) < 0 ? -1 : insert_staged(merge, stage, error);
}

/* The active rows of the staged keys, with the staged values, replace these: then they are an UPSERT. */
static int update_versions(const Merge *merge, const char *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    _cleanup_(freep) char *whole = xasprintf("%s_whole", stage);
    buffer_printf(&sql, "CREATE TEMP TABLE \"%s\" AS SELECT ", whole);
    for (size_t i = 0; i < merge->table->column_count; i++) {
        if (merge->table->columns[i].flags & COLUMN_KEY) {
            buffer_printf(&sql, "%ss.c%zu AS c%zu", i > 0 ? ", " : "", i, i);
            continue;
        }
        buffer_printf(&sql, "%sCASE WHEN s.m%zu THEN s.c%zu ELSE t.", i > 0 ? ", " : "", i, i);
        put_column(&sql, merge, i);
        buffer_printf(&sql, " END AS c%zu", i);
    }
    put_table(&sql, merge, " FROM ");
    put_join(&sql, merge, ",", stage);
    buffer_printf(&sql, " AND t.\"" SYSTEM_COLUMN_ACTIVE "\" AND t.\"" SYSTEM_COLUMN_START "\" <= s.c%zu",
                  merge->start);
    if (run(merge, &sql, NULL, error) < 0 || replace_versions(merge, whole, error) < 0)
        return -1;
    buffer_printf(&sql, "DROP TABLE temp.main.\"%s\"", whole);
    return run(merge, &sql, NULL, error);
}

static int end_versions(const Merge *merge, const char *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    put_table(&sql, merge, "UPDATE ");
    buffer_printf(&sql,
                  " SET \"" SYSTEM_COLUMN_END "\" = s.c%zu, \"" SYSTEM_COLUMN_ACTIVE
                  "\" = false, \"" SYSTEM_COLUMN_SYNCED "\" = s.c%zu",
                  merge->start, place_of(merge->table, SYSTEM_COLUMN_SYNCED));
    put_join(&sql, merge, "FROM", stage);
    buffer_append_string(&sql, " AND t.\"" SYSTEM_COLUMN_ACTIVE "\"");
    return run(merge, &sql, NULL, error);
}

/* --- all of it --- */

static int apply(const Merge *merge, Operation operation, const char *stage, Error *error)
{
    switch (operation) {
    case OPERATION_INSERT:
        return insert_staged(merge, stage, error);
    case OPERATION_UPSERT:
        if (merge->history)
            return replace_versions(merge, stage, error);
        return delete_staged(merge, stage, error) < 0 ? -1 : insert_staged(merge, stage, error);
    case OPERATION_UPDATE:
        return merge->history ? update_versions(merge, stage, error) : update_staged(merge, stage, error);
    case OPERATION_DELETE:
        return merge->history ? end_versions(merge, stage, error) : delete_staged(merge, stage, error);
    default:
        return error_set(error, ERROR_INTERNAL, "operation %d is unknown", (int)operation);
    }
}

static int merge_stage(const Merge *merge, KeyedTable *keyed, Operation operation, Error *error)
{
    _cleanup_(freep) char *stage = staging_name(merge->self, keyed, operation);
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (sink_finish(merge->self, &keyed->sinks[operation], error) < 0 || apply(merge, operation, stage, error) < 0)
        return -1;
    keyed->staged[operation] = false;
    buffer_printf(&sql, "DROP TABLE temp.main.\"%s\"", stage);
    return run(merge, &sql, NULL, error);
}

static void now_dirty(KeyedTable *keyed)
{
    if (keyed->state == TABLE_CLEAN)
        keyed->state = TABLE_DIRTY;
}

int duck_merge(void *destination, const Table *table, Error *error)
{
    DuckDb *self = destination;
    KeyedTable *keyed = duck_keyed(self, table->name);
    if (self->deferred)
        return 0; /* it waits for the end of the file */
    Merge merge = { .self = self, .table = table, .history = table->flags & TABLE_HISTORY, .start = SIZE_MAX };
    if (merge.history)
        merge.start = place_of(table, SYSTEM_COLUMN_START);
    now_dirty(keyed);
    for (Operation operation = OPERATION_INSERT; operation < _OPERATION_MAX; operation++)
        if (keyed->staged[operation] && merge_stage(&merge, keyed, operation, error) < 0)
            return -1;
    return 0;
}

int duck_merge_file(DuckDb *self, const Batch *batch, Error *error)
{
    static const Operation order[] = { OPERATION_DELETE, OPERATION_INSERT };
    for (size_t i = 0; self->deferred && i < self->keyed_count; i++) {
        KeyedTable *keyed = self->keyed[i];
        Merge merge = { .self = self, .table = &keyed->current, .start = SIZE_MAX, .file = batch };
        for (size_t k = 0; k < ELEMENTSOF(order); k++)
            if (keyed->staged[order[k]] && merge_stage(&merge, keyed, order[k], error) < 0)
                return -1;
        table_clear(&keyed->current);
    }
    return 0;
}

int duck_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error)
{
    DuckDb *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    bool history = table->flags & TABLE_HISTORY, all = before_us == INT64_MAX;
    buffer_append_string(&sql, "UPDATE ");
    sql_quote(&sql, table->name);
    if (history)
        buffer_append_string(&sql, " SET \"" SYSTEM_COLUMN_END "\" = make_timestamptz($1), \"" SYSTEM_COLUMN_ACTIVE
                                   "\" = false WHERE \"" SYSTEM_COLUMN_ACTIVE "\"");
    else
        buffer_append_string(&sql, " SET \"" SYSTEM_COLUMN_DELETED "\" = true WHERE \"" SYSTEM_COLUMN_DELETED
                                   "\" IS DISTINCT FROM true");
    if (!all)
        buffer_printf(&sql, " AND coalesce(epoch_us(\"" SYSTEM_COLUMN_SYNCED "\") < $%d, true)", history ? 2 : 1);
    Parameter parameters[2];
    size_t count = 0;
    if (history)
        parameters[count++] = INTEGER_PARAMETER(at_us);
    if (!all)
        parameters[count++] = INTEGER_PARAMETER(before_us);
    now_dirty(duck_keyed(self, table->name));
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return duck_run(self, text, parameters, count, NULL, "truncate a table", error);
}

int duck_expire(void *destination, const Table *table, const char *key, const char *key_before, const char *column,
                int64_t before_us, Error *error)
{
    DuckDb *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "DELETE FROM ");
    sql_quote(&sql, table->name);
    buffer_append_string(&sql, " WHERE ");
    sql_quote(&sql, key);
    buffer_append_string(&sql, " < $1 AND epoch_us(");
    sql_quote(&sql, column);
    buffer_append_string(&sql, ") < $2");
    const Parameter parameters[] = { TEXT_PARAMETER(key_before), INTEGER_PARAMETER(before_us) };
    now_dirty(duck_keyed(self, table->name));
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return duck_run(self, text, parameters, ELEMENTSOF(parameters), NULL, "delete old rows", error);
}
