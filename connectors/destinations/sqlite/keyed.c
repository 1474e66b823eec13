/*
 * Rows by key. They come sorted and each key once, so they are executed as they come: the pages that neighbours in a
 * batch share are in the cache, and merge() has nothing left to do. Upserts are one statement per frame (feed.c), what
 * else there is one per row.
 *
 * An update names the columns that it sets, and others stay as they are: for triggers and indexes, too, which a column
 * that is set to itself would touch. So each set of named columns has a statement of its own, for the first few sets of
 * a batch; rows of any further one take a statement that decides column by column.
 *
 * Parameters: ?1 … ?n are the values of a row, ?n+1 … ?2n whether each is there, ?2n+1 a millisecond before its start
 * (history.c).
 */
#include "connectors/destinations/sqlite/keyed.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static size_t find_column(const Table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (strcasecmp(table->columns[i].name.data, name) == 0)
            return i;
    return COLUMN_NONE;
}

size_t sqlite_timestamp_text(ColumnType type, const Timestamp *timestamp, char *ret)
{
    if (type == COLUMN_TIMESTAMP || timestamp->offset == TIMESTAMP_NAIVE)
        return timestamp_format(timestamp, ret);
    Timestamp plain = { .seconds = timestamp->seconds, .nanos = timestamp->nanos, .offset = TIMESTAMP_NAIVE };
    size_t n = timestamp_format(&plain, ret);
    ret[n] = 'Z';
    return n + 1;
}

/* --- what is prepared --- */

Keyed *sqlite_keyed_free(Keyed *keyed)
{
    if (!keyed)
        return NULL;
    for (size_t i = 0; i < _STATEMENT_MAX; i++)
        sqlite3_finalize(keyed->statements[i]);
    for (size_t i = 0; i < keyed->update_count; i++) {
        sqlite3_finalize(keyed->updates[i].statement);
        free(keyed->updates[i].mask);
    }
    feed_free(keyed->feed);
    free(keyed->row);
    free(keyed->scratch);
    free(keyed->mask);
    free(keyed);
    return NULL;
}

static Keyed *keyed_of(Sqlite *self, const Table *table)
{
    if (table->id < self->table_count && self->tables[table->id].keyed &&
        self->tables[table->id].keyed->count == table->column_count)
        return self->tables[table->id].keyed;
    /* A table of files has its slot, and in it what inserts. */
    SqliteTable *slot = table->id < self->table_count && self->tables[table->id].insert
                            ? &self->tables[table->id]
                            : sqlite_table_slot(self, table);
    Keyed *keyed = slot->keyed = xcalloc(1, sizeof(*keyed));
    keyed->count = table->column_count;
    keyed->mask_size = (table->column_count + 7) / 8;
    keyed->row = xcalloc(table->column_count, sizeof(*keyed->row));
    keyed->mask = xcalloc(keyed->mask_size, 1);
    keyed->scratch = xmalloc((table->column_count + 1) * TIMESTAMP_TEXT_MAX);
    keyed->history = table->flags & TABLE_HISTORY;
    keyed->synced = find_column(table, SYSTEM_COLUMN_SYNCED);
    keyed->deleted = find_column(table, SYSTEM_COLUMN_DELETED);
    keyed->start = keyed->history ? find_column(table, SYSTEM_COLUMN_START) : COLUMN_NONE;
    keyed->end = find_column(table, SYSTEM_COLUMN_END);
    keyed->active = find_column(table, SYSTEM_COLUMN_ACTIVE);
    return keyed;
}

/* --- statements --- */

bool sqlite_is_key(const Keyed *keyed, const Table *table, size_t column)
{
    return (table->columns[column].flags & COLUMN_KEY) && column != keyed->start;
}

void sqlite_put_where_key(Buffer *sql, const Keyed *keyed, const Table *table)
{
    const char *separator = " WHERE ";
    for (size_t i = 0; i < keyed->count; i++)
        if (sqlite_is_key(keyed, table, i)) {
            buffer_append_string(sql, separator);
            sql_quote(sql, table->columns[i].name.data);
            buffer_printf(sql, " = ?%zu", i + 1);
            separator = " AND ";
        }
}

static void put_insert(Buffer *sql, const char *insert, const Table *table)
{
    buffer_append_string(sql, insert);
    sql_quote(sql, table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        buffer_append_string(sql, i == 0 ? " (" : ", ");
        sql_quote(sql, table->columns[i].name.data);
    }
    buffer_append_string(sql, ")");
}

void sqlite_put_columns(Buffer *sql, const Table *table)
{
    put_insert(sql, "INSERT INTO ", table);
}

void sqlite_put_on_conflict(Buffer *sql, const Table *table)
{
    const char *separator = " ON CONFLICT (";
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].flags & COLUMN_KEY) {
            buffer_append_string(sql, separator);
            sql_quote(sql, table->columns[i].name.data);
            separator = ", ";
        }
    separator = ") DO UPDATE SET ";
    for (size_t i = 0; i < table->column_count; i++)
        if (!(table->columns[i].flags & COLUMN_KEY)) {
            buffer_append_string(sql, separator);
            sql_quote(sql, table->columns[i].name.data);
            buffer_append_string(sql, " = excluded.");
            sql_quote(sql, table->columns[i].name.data);
            separator = ", ";
        }
    if (separator[0] == ')')
        buffer_append_string(sql, ") DO NOTHING");
}

static void build_upserts(Buffer *sql, const Keyed *keyed, const Table *table)
{
    put_insert(sql, feed_insert(keyed->feed), table);
    feed_put_select(sql, keyed->feed, "");
    sqlite_put_on_conflict(sql, table);
}

static void build_upsert(Buffer *sql, const Keyed *keyed, const Table *table)
{
    sqlite_put_columns(sql, table);
    for (size_t i = 0; i < keyed->count; i++)
        buffer_printf(sql, "%s?%zu", i == 0 ? " VALUES (" : ", ", i + 1);
    buffer_append_string(sql, ")");
    sqlite_put_on_conflict(sql, table);
}

static void build_delete(Buffer *sql, const Keyed *keyed, const Table *table)
{
    buffer_append_string(sql, "DELETE FROM ");
    sql_quote(sql, table->name);
    sqlite_put_where_key(sql, keyed, table);
}

void sqlite_put_update(Buffer *sql, const Table *table)
{
    buffer_append_string(sql, "UPDATE ");
    sql_quote(sql, table->name);
    buffer_append_string(sql, " SET ");
}

/* "c" = iif(?there, ?value, "c") */
void sqlite_build_update_any(Buffer *sql, const Keyed *keyed, const Table *table)
{
    const char *separator = "";
    sqlite_put_update(sql, table);
    for (size_t i = 0; i < keyed->count; i++)
        if (!(table->columns[i].flags & COLUMN_KEY)) {
            buffer_append_string(sql, separator);
            sql_quote(sql, table->columns[i].name.data);
            buffer_printf(sql, " = iif(?%zu, ?%zu, ", keyed->count + i + 1, i + 1);
            sql_quote(sql, table->columns[i].name.data);
            buffer_append_string(sql, ")");
            separator = ", ";
        }
    sqlite_put_where_key(sql, keyed, table);
}

/* Of the columns in the mask. */
static void build_update(Buffer *sql, const Keyed *keyed, const Table *table)
{
    const char *separator = "";
    sqlite_put_update(sql, table);
    for (size_t i = 0; i < keyed->count; i++)
        if (mask_has(keyed, i)) {
            buffer_append_string(sql, separator);
            sql_quote(sql, table->columns[i].name.data);
            buffer_printf(sql, " = ?%zu", i + 1);
            separator = ", ";
        }
    sqlite_put_where_key(sql, keyed, table);
}

int sqlite_keyed_prepare(Sqlite *self, const Keyed *keyed, const Table *table, BuildStatement build, sqlite3_stmt **ret,
                         Error *error)
{
    if (*ret)
        return 0;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    build(&sql, keyed, table);
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return sqlite_prepare(self, text, ret, "write rows", error);
}

/* --- values --- */

static int bind_one(const Keyed *keyed, const Table *table, sqlite3_stmt *statement, size_t i)
{
    const Value *value = &keyed->row[i];
    char *scratch = keyed->scratch + i * TIMESTAMP_TEXT_MAX;
    int at = (int)i + 1;
    switch (value->tag) {
    case VALUE_FALSE:
    case VALUE_TRUE:
        return sqlite3_bind_int64(statement, at, value->tag == VALUE_TRUE);
    case VALUE_INTEGER:
        return sqlite3_bind_int64(statement, at, value->integer);
    case VALUE_FLOAT:
        return sqlite3_bind_double(statement, at, value->number);
    case VALUE_DATE:
        return sqlite3_bind_text(statement, at, scratch, (int)date_format(value->days, scratch), SQLITE_STATIC);
    case VALUE_TIMESTAMP:
        return sqlite3_bind_text(statement, at, scratch,
                                 (int)sqlite_timestamp_text(table->columns[i].type, &value->timestamp, scratch),
                                 SQLITE_STATIC);
    case VALUE_STRING:
    case VALUE_DECIMAL:
    case VALUE_JSON:
        return sqlite3_bind_text(statement, at, value->text.data, (int)value->text.length, SQLITE_STATIC);
    case VALUE_BINARY:
        return sqlite3_bind_blob(statement, at, value->text.data, (int)value->text.length, SQLITE_STATIC);
    default:
        return sqlite3_bind_null(statement, at);
    }
}

int sqlite_bind_row(const Keyed *keyed, const Table *table, sqlite3_stmt *statement, BindWhat what)
{
    for (size_t i = 0; i < keyed->count; i++) {
        if ((what == BIND_KEYS && !(table->columns[i].flags & COLUMN_KEY)) ||
            (what == BIND_PRESENT && keyed->row[i].tag == VALUE_ABSENT))
            continue;
        int r = bind_one(keyed, table, statement, i);
        if (r == SQLITE_OK && what == BIND_ALL)
            r = sqlite3_bind_int(statement, (int)(keyed->count + i) + 1, keyed->row[i].tag != VALUE_ABSENT);
        if (r != SQLITE_OK)
            return r;
    }
    return SQLITE_OK;
}

int sqlite_run(sqlite3_stmt *statement)
{
    int r = sqlite3_step(statement);
    sqlite3_reset(statement);
    return r == SQLITE_DONE ? SQLITE_OK : r;
}

/* --- operations --- */

static int apply_upserts(Sqlite *self, Keyed *keyed, const Table *table, const Frame *rows, uint64_t first_row,
                         Error *error)
{
    sqlite3_stmt **statement = &keyed->statements[STATEMENT_UPSERT];
    if (!keyed->feed)
        keyed->feed = feed_new(self, table, true, error);
    if (!keyed->feed || sqlite_keyed_prepare(self, keyed, table, build_upserts, statement, error) < 0)
        return -1;
    return feed_run(keyed->feed, *statement, rows, first_row, error);
}

/* A version of a row, where versions are kept. */
static int apply_upsert(Sqlite *self, Keyed *keyed, const Table *table, Error *error)
{
    sqlite3_stmt **statement = &keyed->statements[STATEMENT_UPSERT];
    if (sqlite_keyed_prepare(self, keyed, table, build_upsert, statement, error) < 0)
        return -1;
    int r = sqlite_bind_row(keyed, table, *statement, BIND_VALUES);
    if (r == SQLITE_OK)
        r = sqlite_run(*statement);
    return r == SQLITE_OK ? 0 : sqlite_fail_row(self, r, keyed->number, error);
}

/* The statement for the columns that this row names; NULL: one that takes any. */
static int find_update(Sqlite *self, Keyed *keyed, const Table *table, sqlite3_stmt **ret, Error *error)
{
    *ret = NULL;
    for (size_t i = 0; i < keyed->update_count; i++)
        if (memcmp(keyed->updates[i].mask, keyed->mask, keyed->mask_size) == 0) {
            *ret = keyed->updates[i].statement;
            return 0;
        }
    if (keyed->update_count == UPDATES_MAX)
        return 0;
    if (sqlite_keyed_prepare(self, keyed, table, build_update, ret, error) < 0)
        return -1;
    uint8_t *mask = xmalloc(keyed->mask_size);
    memcpy(mask, keyed->mask, keyed->mask_size);
    keyed->updates[keyed->update_count].mask = mask;
    keyed->updates[keyed->update_count++].statement = *ret;
    return 0;
}

static int apply_update(Sqlite *self, Keyed *keyed, const Table *table, Error *error)
{
    bool any = false;
    memset(keyed->mask, 0, keyed->mask_size);
    for (size_t i = 0; i < keyed->count; i++)
        if (keyed->row[i].tag != VALUE_ABSENT && !(table->columns[i].flags & COLUMN_KEY)) {
            keyed->mask[i / 8] |= (uint8_t)(1u << i % 8);
            any = true;
        }
    sqlite3_stmt *statement;
    BindWhat what = BIND_PRESENT;
    if (!any)
        return 0;
    if (find_update(self, keyed, table, &statement, error) < 0)
        return -1;
    if (!statement) {
        if (sqlite_keyed_prepare(self, keyed, table, sqlite_build_update_any, &keyed->statements[STATEMENT_UPDATE_ANY],
                                 error) < 0)
            return -1;
        statement = keyed->statements[STATEMENT_UPDATE_ANY];
        what = BIND_ALL;
    }
    int r = sqlite_bind_row(keyed, table, statement, what);
    if (r == SQLITE_OK)
        r = sqlite_run(statement);
    return r == SQLITE_OK ? 0 : sqlite_fail_row(self, r, keyed->number, error);
}

static int apply_delete(Sqlite *self, Keyed *keyed, const Table *table, Error *error)
{
    sqlite3_stmt **statement = &keyed->statements[STATEMENT_DELETE];
    if (sqlite_keyed_prepare(self, keyed, table, build_delete, statement, error) < 0)
        return -1;
    int r = sqlite_bind_row(keyed, table, *statement, BIND_KEYS);
    if (r == SQLITE_OK)
        r = sqlite_run(*statement);
    return r == SQLITE_OK ? 0 : sqlite_fail_row(self, r, keyed->number, error);
}

static int apply_row(Sqlite *self, Keyed *keyed, const Table *table, Operation operation, Error *error)
{
    if (keyed->history) {
        int r = sqlite_history_row(self, keyed, table, operation, error);
        if (r == SQLITE_E_UPSERT)
            return apply_upsert(self, keyed, table, error);
        return r <= 0 ? r : sqlite_fail_row(self, r, keyed->number, error);
    }
    switch (operation) {
    case OPERATION_UPDATE:
        return apply_update(self, keyed, table, error);
    case OPERATION_DELETE:
        return apply_delete(self, keyed, table, error);
    default:
        return error_set(error, ERROR_INTERNAL, "operation %d is unknown", (int)operation);
    }
}

static int apply_rows(Sqlite *self, Keyed *keyed, const Table *table, const Frame *rows, uint64_t first_row,
                      Error *error)
{
    RowCursor cursor = row_cursor(rows);
    for (uint32_t row = 0; row < rows->rows.count; row++) {
        keyed->number = first_row + row;
        for (size_t i = 0; i < keyed->count; i++)
            if (!row_cursor_value(&cursor, &keyed->row[i]))
                return error_set(error, ERROR_INTERNAL, "row %llu of table \"%s\" is broken",
                                 (unsigned long long)keyed->number, table->name);
        if (apply_row(self, keyed, table, rows->rows.operation, error) < 0)
            return -1;
    }
    return 0;
}

int sqlite_write_keyed(Sqlite *self, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    Keyed *keyed = keyed_of(self, table);
    bool feed = rows->rows.operation == OPERATION_UPSERT && !keyed->history;
    if ((feed ? apply_upserts(self, keyed, table, rows, first_row, error)
              : apply_rows(self, keyed, table, rows, first_row, error)) < 0)
        return -1;
    /* A spill that could not have its lock is not an error to SQLite, which goes on in ever more memory. */
    return self->gave_up ? sqlite_fail(self, SQLITE_BUSY, "write rows", error) : 0;
}

int sqlite_merge(void *destination, const Table *table, Error *error)
{
    return 0; /* each row was applied as it came */
}

/* --- truncate, expire --- */

static size_t time_text(int64_t us, char *ret)
{
    Timestamp timestamp = { .seconds = us / 1000000,
                            .nanos = (uint32_t)(us % 1000000) * 1000,
                            .offset = TIMESTAMP_NAIVE };
    return timestamp_format(&timestamp, ret);
}

/* Times are compared without their Z: with it, "…:10.5Z" would be before "…:10Z". */
static char *soft_delete_statement(const Table *table, bool all)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    sqlite_put_update(&sql, table);
    if (table->flags & TABLE_HISTORY)
        buffer_append_string(&sql, "\"" SYSTEM_COLUMN_END "\" = ?2, \"" SYSTEM_COLUMN_ACTIVE
                                   "\" = 0 WHERE \"" SYSTEM_COLUMN_ACTIVE "\"");
    else
        buffer_append_string(&sql, "\"" SYSTEM_COLUMN_DELETED "\" = 1 WHERE \"" SYSTEM_COLUMN_DELETED "\" IS NOT 1");
    if (!all)
        buffer_append_string(&sql, " AND coalesce(rtrim(\"" SYSTEM_COLUMN_SYNCED "\", 'Z'), '') < ?1");
    return buffer_take_string(&sql);
}

int sqlite_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error)
{
    Sqlite *self = destination;
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    char before[TIMESTAMP_TEXT_MAX], at[TIMESTAMP_TEXT_MAX];
    bool all = before_us == INT64_MAX;
    _cleanup_(freep) char *sql = soft_delete_statement(table, all);
    if (sqlite_prepare(self, sql, &statement, "truncate a table", error) < 0)
        return -1;
    if (!all)
        sqlite3_bind_text(statement, 1, before, (int)time_text(before_us, before), SQLITE_STATIC);
    if (table->flags & TABLE_HISTORY) {
        size_t n = time_text(at_us, at);
        at[n++] = 'Z';
        sqlite3_bind_text(statement, 2, at, (int)n, SQLITE_STATIC);
    }
    self->phase = "truncating";
    int r = sqlite_step(self, statement, NULL, "truncate a table", error);
    self->phase = "loading";
    return r;
}

int sqlite_expire(void *destination, const Table *table, const char *key, const char *key_before, const char *column,
                  int64_t before_us, Error *error)
{
    Sqlite *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    char before[TIMESTAMP_TEXT_MAX];
    buffer_append_string(&sql, "DELETE FROM ");
    sql_quote(&sql, table->name);
    buffer_append_string(&sql, " WHERE ");
    sql_quote(&sql, key);
    buffer_append_string(&sql, " < ?1 AND rtrim(");
    sql_quote(&sql, column);
    buffer_append_string(&sql, ", 'Z') < ?2");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    if (sqlite_prepare(self, text, &statement, "delete old rows", error) < 0)
        return -1;
    sqlite3_bind_text(statement, 1, key_before, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, before, (int)time_text(before_us, before), SQLITE_STATIC);
    return sqlite_step(self, statement, NULL, "delete old rows", error);
}
