/*
 * Tables of operations: what is there, and how it becomes what is needed.
 *
 * A key is no PRIMARY KEY here but a fact in _wherry_columns, and its columns are NOT NULL. DuckDB keeps an index whole
 * in memory, within its limit (a million keys of text do not fit 256 MiB), maintains it row by row (ten times the cost
 * of the load), and forbids to change the type of its columns; while merge.c, which joins whole batches, has no use for
 * it, and nobody else can write while the file is locked. A table that came with a PRIMARY KEY is taken with it.
 *
 * A table whose rows were changed in a transaction cannot be altered in it: COMMIT then fails with "another transaction
 * has altered this table", and so it does the other way about, unless the table was made in that transaction. So the
 * first change of such a table makes it anew, with all of its rows, under its name.
 */
#include <string.h>
#include <strings.h>

#include "connectors/destinations/duckdb/keyed.h"

#define NEW_TABLE "_wherry_new"

static Kind kind_of(const FrameColumn *column)
{
    return (Kind){ .type = column->type, .precision = column->precision, .scale = column->scale };
}

static void add_column(Table *table, const FrameColumn *column)
{
    table->columns = xrealloc(table->columns, (table->column_count + 1) * sizeof(*table->columns));
    table->columns[table->column_count] = *column;
    table->columns[table->column_count++].name =
        (FrameText){ xstrndup(column->name.data, column->name.length), column->name.length };
}

/* --- what is known --- */

KeyedTable *duck_keyed(DuckDb *self, const char *name)
{
    for (size_t i = 0; i < self->keyed_count; i++)
        if (strcasecmp(self->keyed[i]->name, name) == 0)
            return self->keyed[i];
    self->keyed = xrealloc(self->keyed, (self->keyed_count + 1) * sizeof(*self->keyed));
    KeyedTable *table = self->keyed[self->keyed_count++] = xcalloc(1, sizeof(*table));
    table->name = xstrdup(name);
    return table;
}

void duck_keyed_committed(DuckDb *self)
{
    for (size_t i = 0; i < self->keyed_count; i++)
        self->keyed[i]->state = TABLE_CLEAN;
}

void duck_keyed_reset(DuckDb *self)
{
    for (size_t i = 0; i < self->keyed_count; i++) {
        KeyedTable *table = self->keyed[i];
        for (size_t k = 0; k < ELEMENTSOF(table->sinks); k++)
            sink_clear(self, &table->sinks[k]);
        table_clear(&table->current);
        free(table->name);
        free(table);
    }
    free(self->keyed);
    self->keyed = NULL;
    self->keyed_count = 0;
}

/* --- what is there --- */

static int read_columns(DuckDb *self, Table *table, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(table->name) };
    if (duck_query(self,
                   "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE database_name ="
                   " current_database() AND schema_name = $1 AND table_name = $2 ORDER BY column_index",
                   parameters, ELEMENTSOF(parameters), &rows, "read a table's columns", error) < 0)
        return -1;
    while (rows_next(&rows)) {
        _cleanup_(freep) char *name = rows_text(&rows, 0), *type = rows_text(&rows, 1);
        Kind kind;
        if (!duck_declared_kind(type ? type : "", &kind))
            return error_set(error, ERROR_CONFIGURATION,
                             "table \"%s\" in \"%s\": column \"%s\" is %s, which is no type of a keyed table; choose "
                             "another table",
                             table->name, self->path, name, type);
        add_column(table, &(FrameColumn){ .name = frame_text(name),
                                          .type = kind.type,
                                          .precision = kind.precision,
                                          .scale = kind.scale,
                                          .flags = rows_integer(&rows, 2) ? 0 : COLUMN_REQUIRED });
    }
    return 0;
}

static void take_fact(Table *table, const char *column, const char *fact)
{
    for (size_t i = 0; i < table->column_count; i++) {
        FrameColumn *found = &table->columns[i];
        if (strcasecmp(found->name.data, column) != 0)
            continue;
        if (strcmp(fact, "key") == 0)
            found->flags = (uint8_t)((found->flags | COLUMN_KEY) & ~COLUMN_REQUIRED);
        else if (strcmp(fact, "inexact") == 0)
            found->flags |= COLUMN_INEXACT;
        else if (strcmp(fact, "decimal") == 0 && found->type == COLUMN_STRING)
            found->type = COLUMN_DECIMAL;
    }
}

static int read_facts(DuckDb *self, Table *table, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(table->name) };
    if (duck_query(self,
                   "SELECT column_name, fact FROM _wherry_columns WHERE lower(table_name) = lower($2) UNION ALL"
                   " SELECT unnest(constraint_column_names), 'key' FROM duckdb_constraints() WHERE database_name ="
                   " current_database() AND schema_name = $1 AND table_name = $2 AND constraint_type = 'PRIMARY KEY'",
                   parameters, ELEMENTSOF(parameters), &rows, "read a table's key", error) < 0)
        return -1;
    while (rows_next(&rows)) {
        _cleanup_(freep) char *column = rows_text(&rows, 0), *fact = rows_text(&rows, 1);
        if (column && fact)
            take_fact(table, column, fact);
    }
    return 0;
}

/* One key to the library, and two to whoever compares bytes: which of their operations came last would be lost. */
static int check_collations(DuckDb *self, const Table *table, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    bool any;
    if (duck_collations(self, table->name, &any, &rows, error) < 0)
        return -1;
    while (any && rows_next(&rows)) {
        _cleanup_(freep) char *name = rows_text(&rows, 0), *collation = rows_text(&rows, 1);
        for (size_t i = 0; i < table->column_count; i++)
            if (strcmp(table->columns[i].name.data, name) == 0 && (table->columns[i].flags & COLUMN_KEY))
                return error_set(
                    error, ERROR_CONFIGURATION,
                    "table \"%s\" in \"%s\": column \"%s\" is part of the key, and by its collation "
                    "\"%s\" texts that differ can be equal; declare it without one, or choose another table",
                    table->name, self->path, name, collation);
    }
    return 0;
}

int duck_describe(void *destination, const char *name, Table *ret, bool *ret_found, Error *error)
{
    DuckDb *self = destination;
    _cleanup_(freep) char *there = NULL;
    *ret_found = false;
    if (!self->connection || !self->schema_used)
        return 0;
    if (self->own_tables && duck_own_table(self, name, self->in_transaction, error) < 0)
        return -1;
    if (duck_find_table(self, name, &there, error) < 0)
        return -1;
    KeyedTable *keyed = duck_keyed(self, name);
    table_clear(&keyed->current);
    if (!there)
        return 0;
    _cleanup_(table_clear) Table table = { .name = xstrdup(there) };
    if (read_columns(self, &table, error) < 0 || (self->own_tables && read_facts(self, &table, error) < 0) ||
        check_collations(self, &table, error) < 0)
        return -1;
    keyed->current = table_copy(&table);
    *ret = table;
    table = (Table){ 0 };
    *ret_found = true;
    return 0;
}

int duck_has_inexact(void *destination, const char *table, const char *column, bool *ret, Error *error)
{
    DuckDb *self = destination;
    _cleanup_(freep) char *sql = sql_find_inexact(NULL, table, column);
    _cleanup_(rows_clear) Rows rows = { 0 };
    if (duck_query(self, sql, NULL, 0, &rows, "look at a column", error) < 0)
        return -1;
    *ret = rows_next(&rows);
    return 0;
}

/* --- facts --- */

static int set_fact(DuckDb *self, const char *table, const char *column, const char *fact, bool is_so, Error *error)
{
    const Parameter parameters[] = { TEXT_PARAMETER(table), TEXT_PARAMETER(column), TEXT_PARAMETER(fact) };
    const char *sql = is_so ? "INSERT INTO _wherry_columns (table_name, column_name, fact) VALUES ($1, $2, $3)"
                              " ON CONFLICT DO NOTHING"
                            : "DELETE FROM _wherry_columns WHERE lower(table_name) = lower($1) AND lower(column_name) ="
                              " lower($2) AND fact = $3";
    return duck_run(self, sql, parameters, ELEMENTSOF(parameters), NULL, "note a column's facts", error);
}

static int forget_facts(DuckDb *self, const char *table, Error *error)
{
    return duck_run(self, "DELETE FROM _wherry_columns WHERE lower(table_name) = lower($1)", &TEXT_PARAMETER(table), 1,
                    NULL, "note a column's facts", error);
}

static int set_facts(DuckDb *self, const char *table, const FrameColumn *column, Error *error)
{
    const char *name = column->name.data;
    if ((column->flags & COLUMN_KEY) && set_fact(self, table, name, "key", true, error) < 0)
        return -1;
    if ((column->flags & COLUMN_INEXACT) && set_fact(self, table, name, "inexact", true, error) < 0)
        return -1;
    return duck_is_any_decimal(kind_of(column)) ? set_fact(self, table, name, "decimal", true, error) : 0;
}

/* --- what a table has besides its columns --- */

/* Of a table that somebody else made. */
typedef struct Extra {
    char **columns; /* owned, and each; of each column what stands after its type: " COLLATE nocase DEFAULT (1)" */
    size_t column_count;
    Buffer constraints; /* ", PRIMARY KEY(a), CHECK((b > 0))" */
    Buffer afterwards;  /* statements, each with its NUL: indexes, comments */
} Extra;

static void extra_clear(Extra *extra)
{
    for (size_t i = 0; i < extra->column_count; i++)
        free(extra->columns[i]);
    free(extra->columns);
    buffer_clear(&extra->constraints);
    buffer_clear(&extra->afterwards);
}

#define OF_TABLE " database_name = current_database() AND schema_name = $1 AND table_name = $2"
#define SQL_NAME(column) "'\"' || replace(" column ", '\"', '\"\"') || '\"'"
#define SQL_TEXT(column) "'''' || replace(" column ", '''', '''''') || ''''"

/* NOT NULL is a column's own: see put_declared(). */
static const char extra_query[] =
    "SELECT 1::BIGINT, CASE WHEN " DUCK_COLLATION " <> '' THEN ' COLLATE ' || " DUCK_COLLATION " ELSE '' END ||"
    " coalesce(' DEFAULT (' || column_default || ')', ''), column_index FROM " DUCK_COLUMNS " WHERE" OF_TABLE
    " UNION ALL SELECT 2, constraint_text, constraint_index FROM duckdb_constraints() WHERE" OF_TABLE
    " AND constraint_type <> 'NOT NULL'"
    " UNION ALL SELECT 3, sql, index_oid FROM duckdb_indexes() WHERE" OF_TABLE " AND sql IS NOT NULL"
    " UNION ALL SELECT 4, 'COMMENT ON TABLE ' || " SQL_NAME("table_name") " || ' IS ' || " SQL_TEXT(
        "comment") ", 0"
                   " FROM duckdb_tables() WHERE" OF_TABLE " AND comment IS NOT NULL"
                   " UNION ALL SELECT 4, 'COMMENT ON COLUMN ' || " SQL_NAME("table_name") " || '.' || " SQL_NAME(
                       "column_name") " || ' IS ' || " SQL_TEXT("comment") ", column_index FROM duckdb_columns() "
                                                                           "WHERE" OF_TABLE
                                                                           " AND comment IS NOT NULL ORDER BY 1, 3";

static int read_extra(DuckDb *self, const char *table, Extra *ret, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(table) };
    if (duck_query(self, extra_query, parameters, ELEMENTSOF(parameters), &rows, "read a table's constraints", error) <
        0)
        return -1;
    while (rows_next(&rows)) {
        _cleanup_(freep) char *text = rows_text(&rows, 1);
        int64_t part = rows_integer(&rows, 0);
        if (part == 1) {
            ret->columns = xrealloc(ret->columns, (ret->column_count + 1) * sizeof(*ret->columns));
            ret->columns[ret->column_count++] = take_ptr(text);
        } else if (part == 2 && text) {
            buffer_printf(&ret->constraints, ", %s", text);
        } else if (text) {
            buffer_append(&ret->afterwards, text, strlen(text) + 1);
        }
    }
    return 0;
}

/* Where an index or a constraint hangs on a table, DuckDB does not change the type of its columns. */
static int is_bound(DuckDb *self, const char *table, bool *ret, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    const Parameter parameters[] = { TEXT_PARAMETER(self->schema), TEXT_PARAMETER(table) };
    if (duck_query(self,
                   "SELECT 1 FROM duckdb_constraints() WHERE" OF_TABLE " AND constraint_type <> 'NOT NULL'"
                   " UNION ALL SELECT 1 FROM duckdb_indexes() WHERE" OF_TABLE,
                   parameters, ELEMENTSOF(parameters), &rows, "read a table's constraints", error) < 0)
        return -1;
    *ret = rows_next(&rows);
    return 0;
}

/* --- statements: run, or told --- */

static int run_statement(DuckDb *self, Buffer *sql, Error *error)
{
    _cleanup_(freep) char *text = buffer_take_string(sql);
    return duck_ddl(self, text, "change a table", error);
}

static void put_declared(Buffer *sql, const FrameColumn *column)
{
    char declaration[DUCK_DECLARATION_MAX];
    sql_quote(sql, column->name.data);
    buffer_printf(sql, " %s%s", duck_declaration(kind_of(column), declaration),
                  column->flags & (COLUMN_KEY | COLUMN_REQUIRED) ? " NOT NULL" : "");
}

/* Makes TABLE under NAME, with what EXTRA has besides. */
static int create(DuckDb *self, const Table *table, const char *name, const Extra *extra, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "CREATE TABLE ");
    sql_quote(&sql, name);
    for (size_t i = 0; i < table->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? " (" : ", ");
        put_declared(&sql, &table->columns[i]);
        if (extra && i < extra->column_count && extra->columns[i])
            buffer_append_string(&sql, extra->columns[i]);
    }
    if (extra)
        buffer_append(&sql, buffer_bytes(&extra->constraints), buffer_length(&extra->constraints));
    buffer_append_string(&sql, ")");
    return run_statement(self, &sql, error);
}

static int make_afterwards(DuckDb *self, const Extra *extra, Error *error)
{
    const char *at = (const char *)buffer_bytes(&extra->afterwards), *end = at + buffer_length(&extra->afterwards);
    for (; at < end; at += strlen(at) + 1) {
        _cleanup_(buffer_clear) Buffer sql = { 0 };
        size_t n = strlen(at);
        buffer_append(&sql, at, n - (n > 0 && at[n - 1] == ';'));
        if (run_statement(self, &sql, error) < 0)
            return -1;
    }
    return 0;
}

/* --- changes --- */

/* NEXT has the columns of the table, of which WIDENED was FROM, and one more at the end where ADDED. */
static int recreate(DuckDb *self, const char *name, const Table *next, size_t widened, Kind from, bool added,
                    Error *error)
{
    _cleanup_(extra_clear) Extra extra = { 0 };
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (read_extra(self, name, &extra, error) < 0 || create(self, next, NEW_TABLE, &extra, error) < 0)
        return -1;
    buffer_append_string(&sql, "INSERT INTO \"" NEW_TABLE "\" SELECT ");
    for (size_t i = 0; i < next->column_count; i++) {
        const FrameColumn *column = &next->columns[i];
        if (i > 0)
            buffer_append_string(&sql, ", ");
        if (added && i + 1 == next->column_count)
            buffer_append_string(&sql, "NULL");
        else if (i == widened)
            duck_put_widened(&sql, column->name.data, from, kind_of(column));
        else
            sql_quote(&sql, column->name.data);
    }
    buffer_append_string(&sql, " FROM ");
    sql_quote(&sql, name);
    if (run_statement(self, &sql, error) < 0)
        return -1;
    buffer_append_string(&sql, "DROP TABLE ");
    sql_quote(&sql, name);
    if (run_statement(self, &sql, error) < 0)
        return -1;
    buffer_append_string(&sql, "ALTER TABLE \"" NEW_TABLE "\" RENAME TO ");
    sql_quote(&sql, name);
    return run_statement(self, &sql, error) < 0 ? -1 : make_afterwards(self, &extra, error);
}

static void put_alter(Buffer *sql, const char *name)
{
    buffer_append_string(sql, "ALTER TABLE ");
    sql_quote(sql, name);
}

static int add(DuckDb *self, KeyedTable *keyed, const FrameColumn *column, Error *error)
{
    add_column(&keyed->current, column);
    if (keyed->state == TABLE_DIRTY) {
        keyed->state = TABLE_OWN;
        return recreate(self, keyed->name, &keyed->current, SIZE_MAX, (Kind){ 0 }, true, error);
    }
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    put_alter(&sql, keyed->name);
    buffer_append_string(&sql, " ADD COLUMN ");
    put_declared(&sql, column);
    return run_statement(self, &sql, error);
}

static int widen(DuckDb *self, KeyedTable *keyed, const FrameColumn *column, Kind from, Error *error)
{
    size_t i = 0;
    while (i < keyed->current.column_count && strcasecmp(keyed->current.columns[i].name.data, column->name.data) != 0)
        i++;
    if (i == keyed->current.column_count)
        return error_set(error, ERROR_INTERNAL, "table \"%s\" has no column \"%s\" to widen", keyed->name,
                         column->name.data);
    FrameColumn *is = &keyed->current.columns[i];
    Kind to = kind_of(column);
    char old[DUCK_DECLARATION_MAX], new[DUCK_DECLARATION_MAX];
    is->type = to.type;
    is->precision = to.precision;
    is->scale = to.scale;
    if (!self->plan && duck_is_any_decimal(from) &&
        set_fact(self, keyed->name, is->name.data, "decimal", false, error) < 0)
        return -1;
    if (strcmp(duck_declaration(from, old), duck_declaration(to, new)) == 0)
        return 0;
    bool bound = false;
    if (keyed->state != TABLE_DIRTY && is_bound(self, keyed->name, &bound, error) < 0)
        return -1;
    if (keyed->state == TABLE_DIRTY || bound) {
        keyed->state = TABLE_OWN;
        return recreate(self, keyed->name, &keyed->current, i, from, false, error);
    }
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    put_alter(&sql, keyed->name);
    buffer_append_string(&sql, " ALTER COLUMN ");
    sql_quote(&sql, is->name.data);
    buffer_printf(&sql, " TYPE %s USING ", new);
    duck_put_widened(&sql, is->name.data, from, to);
    return run_statement(self, &sql, error);
}

static int make(DuckDb *self, KeyedTable *keyed, const Table *table, Error *error)
{
    table_clear(&keyed->current);
    keyed->current = table_copy(table);
    keyed->state = TABLE_OWN;
    if (create(self, table, table->name, NULL, error) < 0)
        return -1;
    /* somebody may have dropped the table that had this name before */
    if (!self->plan && forget_facts(self, keyed->name, error) < 0)
        return -1;
    for (size_t i = 0; !self->plan && i < table->column_count; i++)
        if (set_facts(self, keyed->name, &table->columns[i], error) < 0)
            return -1;
    return 0;
}

int duck_change(void *destination, const Table *table, const SchemaChange *change, Error *error)
{
    DuckDb *self = destination;
    KeyedTable *keyed = duck_keyed(self, table->name);
    const FrameColumn *column = &table->columns[change->column];
    int r = 0;
    switch (change->type) {
    case SCHEMA_CREATE:
        return make(self, keyed, table, error);
    case SCHEMA_ADD:
        r = add(self, keyed, column, error);
        break;
    case SCHEMA_WIDEN:
        r = widen(self, keyed, column, change->from, error);
        break;
    case SCHEMA_INEXACT:
        break;
    }
    return r < 0 || self->plan ? r : set_facts(self, keyed->name, column, error);
}

int duck_drop(void *destination, const char *name, Error *error)
{
    DuckDb *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "DROP TABLE IF EXISTS ");
    sql_quote(&sql, name);
    if (run_statement(self, &sql, error) < 0)
        return -1;
    table_clear(&duck_keyed(self, name)->current);
    return forget_facts(self, name, error);
}
