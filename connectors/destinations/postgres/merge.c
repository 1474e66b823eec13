/*
 * Keyed rows: COPY into a temporary table, then one statement over the set. The temporary tables live and die within
 * the transaction (ON COMMIT DROP), so a pooler may hand the next one to another server connection; nothing of them is
 * logged.
 *
 * An UPDATE's rows each say which columns they name, as the bits of a bytea. Mostly all rows of a merge name the same
 * ones, and these are then simply set; else each column that any row names is set by its bit.
 *
 * With history, what follows an operation is worked out from the active row, and ends as an UPSERT: the active row that
 * began before is closed, the new one inserted, or put in place of one that began at the same time.
 */
#include "connectors/destinations/postgres/merge.h"

#include <string.h>

#include "connectors/destinations/postgres/schema.h"

#define MASK "_wherry_mask"

/* --- slots and stages --- */

struct Stage *stages_free(struct Stage *stages)
{
    for (size_t i = 0; stages && i < _OPERATION_MAX; i++) {
        free(stages[i].name);
        free(stages[i].wanted);
        free(stages[i].mask);
        free(stages[i].first);
        free(stages[i].any);
    }
    free(stages);
    return NULL;
}

int postgres_table_for_rows(Postgres *self, const Table *table, Error *error)
{
    if (table->id < self->table_count && self->tables[table->id].stages &&
        self->tables[table->id].column_count == table->column_count)
        return 0;
    if (postgres_copy_end(self, error) < 0 || postgres_take_table(self, table->name, error) < 0)
        return -1;
    uint32_t oid;
    if (postgres_find_table(self, table->name, &oid, error) < 0)
        return -1;
    if (oid == 0)
        return error_set(error, ERROR_TEMPORARY,
                         "table \"%s\" in schema \"%s\" of %s was dropped meanwhile; the next run looks again",
                         table->name, self->schema, self->place);
    PgTable *slot = postgres_slot(self, table);
    slot->stages = xcalloc(_OPERATION_MAX, sizeof(Stage));
    return postgres_read_columns(self, table, slot, oid, error);
}

static bool is_wanted(const Table *table, size_t i, int operation)
{
    const FrameColumn *column = &table->columns[i];
    if (operation != OPERATION_DELETE || (column->flags & COLUMN_KEY))
        return true;
    return (table->flags & TABLE_HISTORY) && strcmp(column->name.data, SYSTEM_COLUMN_SYNCED) == 0;
}

/* A key's type, without any other property of the column; the planner need not know more. */
static int create_stage(Postgres *self, const Table *table, PgTable *slot, int operation, Error *error)
{
    Stage *stage = &slot->stages[operation];
    stage->name = xasprintf("_wherry_stage_%u_%d", table->id, operation);
    stage->wanted = xcalloc(table->column_count, sizeof(bool));
    stage->mask_size = operation == OPERATION_UPDATE ? (table->column_count + 7) / 8 : 0;
    stage->mask = xcalloc(1, stage->mask_size + 1);
    stage->first = xcalloc(1, stage->mask_size + 1);
    stage->any = xcalloc(1, stage->mask_size + 1);
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_printf(&sql, "CREATE TEMPORARY TABLE %s ON COMMIT DROP AS SELECT ", stage->name);
    for (size_t i = 0; i < table->column_count; i++) {
        if (!(stage->wanted[i] = is_wanted(table, i, operation)))
            continue;
        buffer_append_string(&sql, stage->column_count++ > 0 ? ", " : "");
        sql_quote(&sql, table->columns[i].name.data);
    }
    if (stage->mask_size > 0) {
        buffer_append_string(&sql, ", NULL::bytea AS " MASK);
        stage->column_count++;
    }
    buffer_append_string(&sql, " FROM ");
    quote_table(self, &sql, table->name);
    buffer_append_string(&sql, " WITH NO DATA");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return postgres_execute(self, text, "stage rows", error);
}

int postgres_stage(Postgres *self, const Table *table, PgTable *slot, int operation, Buffer *sql, Error *error)
{
    Stage *stage = &slot->stages[operation];
    if (!stage->name && create_stage(self, table, slot, operation, error) < 0)
        return -1;
    buffer_printf(sql, "pg_temp.%s", stage->name);
    return 0;
}

static int empty_stage(Postgres *self, Stage *stage, Error *error)
{
    if (!stage->filled)
        return 0;
    stage->filled = stage->mixed = false;
    memset(stage->any, 0, stage->mask_size);
    _cleanup_(freep) char *sql = xasprintf("TRUNCATE pg_temp.%s", stage->name);
    return postgres_execute(self, sql, "stage rows", error);
}

/* --- pieces of statements --- */

static bool is_start(const Table *table, size_t i)
{
    return (table->flags & TABLE_HISTORY) && strcmp(table->columns[i].name.data, SYSTEM_COLUMN_START) == 0;
}

/* "t.a = s.a AND t.b = s.b": the key, with history without COLUMN_START. */
static void put_key_equal(Buffer *sql, const Table *table)
{
    const char *separator = "";
    for (size_t i = 0; i < table->column_count; i++) {
        if (!(table->columns[i].flags & COLUMN_KEY) || is_start(table, i))
            continue;
        buffer_printf(sql, "%st.", separator);
        sql_quote(sql, table->columns[i].name.data);
        buffer_append_string(sql, " = s.");
        sql_quote(sql, table->columns[i].name.data);
        separator = " AND ";
    }
}

static void put_columns(Buffer *sql, const Table *table, const char *prefix, uint8_t flag)
{
    const char *separator = "";
    for (size_t i = 0; i < table->column_count; i++) {
        if (flag && !(table->columns[i].flags & flag))
            continue;
        buffer_printf(sql, "%s%s", separator, prefix);
        sql_quote(sql, table->columns[i].name.data);
        separator = ", ";
    }
}

static bool is_named(const Stage *stage, size_t i)
{
    return (stage->any[i / 8] & 1u << i % 8) != 0;
}

/* The value that an UPDATE leaves in column I. */
static void put_updated(Buffer *sql, const Table *table, const Stage *stage, size_t i)
{
    const char *name = table->columns[i].name.data;
    if (!is_named(stage, i)) {
        buffer_append_string(sql, "t.");
        sql_quote(sql, name);
    } else if (!stage->mixed) {
        buffer_append_string(sql, "s.");
        sql_quote(sql, name);
    } else {
        buffer_printf(sql, "CASE WHEN pg_catalog.get_bit(s." MASK ", %zu) = 1 THEN s.", i);
        sql_quote(sql, name);
        buffer_append_string(sql, " ELSE t.");
        sql_quote(sql, name);
        buffer_append_string(sql, " END");
    }
}

static int run(Postgres *self, Buffer *sql, Error *error)
{
    _cleanup_(freep) char *text = buffer_take_string(sql);
    return postgres_execute(self, text, "merge rows", error);
}

/* --- merging --- */

/* INSERT … ON CONFLICT: replaced, whole. */
static int upsert(Postgres *self, const Table *table, const Stage *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "INSERT INTO ");
    quote_table(self, &sql, table->name);
    buffer_append_string(&sql, " (");
    put_columns(&sql, table, "", 0);
    buffer_append_string(&sql, ") SELECT ");
    put_columns(&sql, table, "", 0);
    buffer_printf(&sql, " FROM pg_temp.%s ON CONFLICT (", stage->name);
    put_columns(&sql, table, "", COLUMN_KEY);
    buffer_append_string(&sql, ") DO ");
    size_t set = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].flags & COLUMN_KEY)
            continue;
        buffer_append_string(&sql, set++ == 0 ? "UPDATE SET " : ", ");
        sql_quote(&sql, table->columns[i].name.data);
        buffer_append_string(&sql, " = EXCLUDED.");
        sql_quote(&sql, table->columns[i].name.data);
    }
    if (set == 0)
        buffer_append_string(&sql, "NOTHING");
    return run(self, &sql, error);
}

static int update(Postgres *self, const Table *table, const Stage *stage, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "UPDATE ");
    quote_table(self, &sql, table->name);
    size_t set = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        if ((table->columns[i].flags & COLUMN_KEY) || !is_named(stage, i))
            continue;
        buffer_append_string(&sql, set++ == 0 ? " t SET " : ", ");
        sql_quote(&sql, table->columns[i].name.data);
        buffer_append_string(&sql, " = ");
        put_updated(&sql, table, stage, i);
    }
    if (set == 0)
        return 0;
    buffer_printf(&sql, " FROM pg_temp.%s s WHERE ", stage->name);
    put_key_equal(&sql, table);
    return run(self, &sql, error);
}

/* Files of changes come in pieces of some thousand keys each, for tables of any size. The planner knows neither: it
 * would rather read the whole table for each piece than trust an index on a table that nobody has analyzed. */
static int remove_rows(Postgres *self, const Table *table, const PgTable *slot, const Stage *stage, Error *error)
{
    static const char *const other_ways[] = { "seqscan", "hashjoin", "mergejoin" };
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    for (size_t i = 0; slot->file.by_key && i < ELEMENTSOF(other_ways); i++)
        buffer_printf(&sql, "SET LOCAL enable_%s = off;", other_ways[i]);
    buffer_append_string(&sql, "DELETE FROM ");
    quote_table(self, &sql, table->name);
    buffer_printf(&sql, " t USING pg_temp.%s s WHERE ", stage->name);
    put_key_equal(&sql, table);
    for (size_t i = 0; slot->file.by_key && i < ELEMENTSOF(other_ways); i++)
        buffer_printf(&sql, ";SET LOCAL enable_%s TO DEFAULT", other_ways[i]);
    return run(self, &sql, error);
}

/* --- with history --- */

/* SET is what the row of each staged key gets that is as WHERE says. */
static int close_rows(Postgres *self, const Table *table, const Stage *stage, const char *set, const char *where,
                      Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "UPDATE ");
    quote_table(self, &sql, table->name);
    buffer_printf(&sql, " t SET %s FROM pg_temp.%s s WHERE ", set, stage->name);
    put_key_equal(&sql, table);
    buffer_printf(&sql, " AND %s", where);
    return run(self, &sql, error);
}

/* A row that the same batch has ended is closed as if it had not: whether that is known here is a matter of flushes. */
static int upsert_history(Postgres *self, const Table *table, const Stage *stage, Error *error)
{
    if (close_rows(self, table, stage,
                   SYSTEM_COLUMN_END " = s." SYSTEM_COLUMN_START " - interval '1 millisecond', " SYSTEM_COLUMN_ACTIVE
                                     " = false",
                   "(t." SYSTEM_COLUMN_ACTIVE " OR t." SYSTEM_COLUMN_END " = s." SYSTEM_COLUMN_START
                   ") AND t." SYSTEM_COLUMN_START " < s." SYSTEM_COLUMN_START,
                   error) < 0)
        return -1;
    return upsert(self, table, stage, error);
}

/* The rows that an UPDATE makes of the active ones are staged as UPSERTs. */
static int update_history(Postgres *self, const Table *table, PgTable *slot, Error *error)
{
    Stage *upserts = &slot->stages[OPERATION_UPSERT], *updates = &slot->stages[OPERATION_UPDATE];
    if (!upserts->name && create_stage(self, table, slot, OPERATION_UPSERT, error) < 0)
        return -1;
    if (empty_stage(self, upserts, error) < 0)
        return -1;
    upserts->filled = true;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_printf(&sql, "INSERT INTO pg_temp.%s SELECT ", upserts->name);
    for (size_t i = 0; i < table->column_count; i++) {
        buffer_append_string(&sql, i > 0 ? ", " : "");
        put_updated(&sql, table, updates, i);
    }
    buffer_append_string(&sql, " FROM ");
    quote_table(self, &sql, table->name);
    buffer_printf(&sql, " t JOIN pg_temp.%s s ON ", updates->name);
    put_key_equal(&sql, table);
    buffer_append_string(&sql, " WHERE t." SYSTEM_COLUMN_ACTIVE);
    if (run(self, &sql, error) < 0)
        return -1;
    return upsert_history(self, table, upserts, error);
}

static int delete_history(Postgres *self, const Table *table, const Stage *stage, Error *error)
{
    return close_rows(self, table, stage,
                      SYSTEM_COLUMN_END " = s." SYSTEM_COLUMN_START ", " SYSTEM_COLUMN_ACTIVE
                                        " = false, " SYSTEM_COLUMN_SYNCED " = s." SYSTEM_COLUMN_SYNCED,
                      "t." SYSTEM_COLUMN_ACTIVE, error);
}

/* Each key is staged once in all, so the order of the three is nobody's concern; but an UPDATE with history uses the
 * UPSERTs' stage, and comes after them. */
int postgres_merge(void *destination, const Table *table, Error *error)
{
    Postgres *self = destination;
    if (postgres_copy_end(self, error) < 0)
        return -1;
    if (table->id >= self->table_count || !self->tables[table->id].stages)
        return 0;
    PgTable *slot = &self->tables[table->id];
    bool history = (table->flags & TABLE_HISTORY) != 0;
    Stage *deletes = &slot->stages[OPERATION_DELETE], *upserts = &slot->stages[OPERATION_UPSERT],
          *updates = &slot->stages[OPERATION_UPDATE];
    int r = 0;
    self->phase = "merging";
    if (deletes->filled)
        r = history ? delete_history(self, table, deletes, error) : remove_rows(self, table, slot, deletes, error);
    if (r == 0 && upserts->filled)
        r = history ? upsert_history(self, table, upserts, error) : upsert(self, table, upserts, error);
    if (r == 0 && updates->filled)
        r = history ? update_history(self, table, slot, error) : update(self, table, updates, error);
    if (r == 0 && (empty_stage(self, deletes, error) < 0 || empty_stage(self, upserts, error) < 0 ||
                   empty_stage(self, updates, error) < 0))
        r = -1;
    self->phase = "loading";
    return r;
}

int postgres_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error)
{
    Postgres *self = destination;
    bool history = (table->flags & TABLE_HISTORY) != 0;
    if (postgres_table_for_rows(self, table, error) < 0 || postgres_copy_end(self, error) < 0)
        return -1;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "UPDATE ");
    quote_table(self, &sql, table->name);
    if (history) {
        buffer_append_string(&sql, " SET " SYSTEM_COLUMN_ACTIVE " = false, " SYSTEM_COLUMN_END " = ");
        put_instant(&sql, at_us);
        buffer_append_string(&sql, " WHERE " SYSTEM_COLUMN_ACTIVE);
    } else {
        buffer_append_string(&sql, " SET " SYSTEM_COLUMN_DELETED " = true WHERE " SYSTEM_COLUMN_DELETED " IS NOT TRUE");
    }
    if (before_us != INT64_MAX) {
        /* A row from before Wherry took the table has no time at all. */
        buffer_append_string(&sql, " AND coalesce(" SYSTEM_COLUMN_SYNCED " < ");
        put_instant(&sql, before_us);
        buffer_append_string(&sql, ", true)");
    }
    return run(self, &sql, error);
}

int postgres_expire(void *destination, const Table *table, const char *key, const char *key_before, const char *column,
                    int64_t before_us, Error *error)
{
    Postgres *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (postgres_copy_end(self, error) < 0)
        return -1;
    buffer_append_string(&sql, "DELETE FROM ");
    quote_table(self, &sql, table->name);
    buffer_append_string(&sql, " WHERE ");
    sql_quote(&sql, key);
    buffer_append_string(&sql, " < $1 AND ");
    sql_quote(&sql, column);
    buffer_append_string(&sql, " < ");
    put_instant(&sql, before_us);
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return postgres_query(self, text, 1, &key_before, NULL, "delete old rows", error);
}
