/*
 * Tables of operations: described from the catalog, changed by plain DDL in the batch's transaction.
 *
 * Widening rewrites a column in place, ALTER COLUMN … TYPE … USING an expression that gives what value_text() gives
 * (lib/formats/kind.h): a value's text must not depend on whether it was widened here or before it came. Only for JSON
 * there is no such expression: jsonb's own text has spaces and its keys in another order. Those values are read through
 * a cursor, written anew by the very function, and put back, so many at a time as a few megabytes hold.
 */
#include "connectors/destinations/postgres/schema.h"

#include <stdio.h>
#include <string.h>

#include "connectors/destinations/postgres/merge.h"
#include "lib/basics/clock.h"

#define REWRITE_BYTES (4 << 20)
#define REWRITE_ROWS 1000

/* --- what is there --- */

enum { C_NAME, C_OID, C_MODIFIER, C_TYPE, C_GENERATED, C_NOT_NULL, C_KEY, C_LOOSE };
static const char columns_sql[] =
    "SELECT a.attname, a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod),"
    " a.attgenerated <> '' OR a.attidentity = 'a', a.attnotnull, coalesce(a.attnum = ANY (i.indkey), false),"
    " (SELECT c.collname FROM pg_catalog.pg_collation c WHERE c.oid = a.attcollation AND NOT c.collisdeterministic)"
    " FROM pg_catalog.pg_attribute a"
    " LEFT JOIN pg_catalog.pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
    " WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

static bool is_true(const PGresult *result, int row, int column)
{
    return *PQgetvalue(result, row, column) == 't';
}

static int read_catalog(Postgres *self, uint32_t oid, PGresult **ret, Error *error)
{
    char text[16];
    snprintf(text, sizeof(text), "%u", oid);
    const char *const parameters[] = { text };
    return postgres_query(self, columns_sql, 1, parameters, ret, "read a table's columns", error);
}

static uint32_t oid_at(const PGresult *result, int row)
{
    return (uint32_t)strtoul(PQgetvalue(result, row, C_OID), NULL, 10);
}

static int32_t modifier_at(const PGresult *result, int row)
{
    return (int32_t)strtol(PQgetvalue(result, row, C_MODIFIER), NULL, 10);
}

int postgres_read_columns(Postgres *self, const Table *table, PgTable *slot, uint32_t oid, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    if (read_catalog(self, oid, &result, error) < 0)
        return -1;
    for (size_t i = 0; i < table->column_count; i++) {
        bool found = false;
        for (int row = 0; row < PQntuples(result) && !found; row++)
            found = strcmp(PQgetvalue(result, row, C_NAME), table->columns[i].name.data) == 0 &&
                    pg_column_from(oid_at(result, row), modifier_at(result, row), &slot->columns[i]);
        if (!found)
            return error_set(
                error, ERROR_TEMPORARY,
                "table \"%s\" in schema \"%s\" of %s was changed meanwhile: column \"%s\" is not what it was; "
                "the next run looks again",
                table->name, self->schema, self->place, table->columns[i].name.data);
        slot->columns[i].strip_nul = self->strip_nul;
        slot->columns[i].key = (table->columns[i].flags & COLUMN_KEY) != 0;
    }
    return 0;
}

static int describe_column(Postgres *self, const char *table, const PGresult *result, int row, FrameColumn *ret,
                           Error *error)
{
    const char *name = PQgetvalue(result, row, C_NAME), *type = PQgetvalue(result, row, C_TYPE);
    Kind kind;
    if (is_true(result, row, C_GENERATED))
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" in schema \"%s\" of %s: column \"%s\" is generated, which Wherry cannot write; "
                         "choose another table",
                         table, self->schema, self->place, name);
    if (!pg_kind_from(oid_at(result, row), modifier_at(result, row), &kind))
        return error_set(
            error, ERROR_CONFIGURATION,
            "table \"%s\" in schema \"%s\" of %s: column \"%s\" is of type %s, which Wherry does not write; "
            "change it, or choose another table",
            table, self->schema, self->place, name, type);
    /* One key to the server, and two to whoever compares bytes: which of their operations came last would be lost. */
    if (is_true(result, row, C_KEY) && !PQgetisnull(result, row, C_LOOSE))
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" in schema \"%s\" of %s: column \"%s\" is part of the key, and by its collation "
                         "\"%s\" texts that differ can be equal; give it a deterministic one, or choose another table",
                         table, self->schema, self->place, name, PQgetvalue(result, row, C_LOOSE));
    uint8_t flags = is_true(result, row, C_KEY) ? COLUMN_KEY : is_true(result, row, C_NOT_NULL) ? COLUMN_REQUIRED : 0;
    *ret = (FrameColumn){ .name = frame_text(xstrdup(name)),
                          .type = kind.type,
                          .flags = flags,
                          .precision = kind.precision,
                          .scale = kind.scale };
    return 0;
}

static int read_marks(Postgres *self, Table *table, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *sql =
        with_table(self, "SELECT column_name FROM %T WHERE table_name = $1 AND fact = 'inexact'", "_wherry_columns");
    const char *const parameters[] = { table->name };
    if (!self->own_tables)
        return 0;
    if (postgres_query(self, sql, 1, parameters, &result, "read a table's columns", error) < 0)
        return -1;
    for (int row = 0; row < PQntuples(result); row++)
        for (size_t i = 0; i < table->column_count; i++)
            if (strcmp(table->columns[i].name.data, PQgetvalue(result, row, 0)) == 0)
                table->columns[i].flags |= COLUMN_INEXACT;
    return 0;
}

int postgres_describe(void *destination, const char *name, Table *ret, bool *ret_found, Error *error)
{
    Postgres *self = destination;
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(table_clear) Table table = { 0 };
    uint32_t oid;
    *ret_found = false;
    if (postgres_copy_end(self, error) < 0 || postgres_own_table(self, name, error) < 0 ||
        postgres_find_table(self, name, &oid, error) < 0)
        return -1;
    if (oid == 0)
        return 0;
    if (read_catalog(self, oid, &result, error) < 0)
        return -1;
    table.name = xstrdup(name);
    table.columns = xcalloc((size_t)PQntuples(result) + 1, sizeof(FrameColumn));
    for (int row = 0; row < PQntuples(result); row++) {
        if (describe_column(self, name, result, row, &table.columns[row], error) < 0)
            return -1;
        table.column_count++;
    }
    if (read_marks(self, &table, error) < 0)
        return -1;
    *ret = table;
    *ret_found = true;
    table = (Table){ 0 };
    return 0;
}

int postgres_has_inexact(void *destination, const char *table, const char *column, bool *ret, Error *error)
{
    Postgres *self = destination;
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *sql = sql_find_inexact(self->schema, table, column);
    if (postgres_copy_end(self, error) < 0 ||
        postgres_query(self, sql, 0, NULL, &result, "look at a column", error) < 0)
        return -1;
    *ret = PQntuples(result) > 0;
    return 0;
}

int postgres_take_table(Postgres *self, const char *name, Error *error)
{
    return postgres_lock(self, error) < 0 ? -1 : postgres_own_table(self, name, error);
}

/* --- changing --- */

static void put_create(Postgres *self, Buffer *sql, const Table *table)
{
    buffer_append_string(sql, "CREATE TABLE ");
    quote_table(self, sql, table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        const FrameColumn *column = &table->columns[i];
        buffer_append_string(sql, i == 0 ? " (" : ", ");
        sql_quote(sql, column->name.data);
        buffer_append_string(sql, " ");
        pg_type_put(sql, column->type, column->precision, column->scale);
    }
    size_t keys = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        if (!(table->columns[i].flags & COLUMN_KEY))
            continue;
        buffer_append_string(sql, keys++ == 0 ? ", PRIMARY KEY (" : ", ");
        sql_quote(sql, table->columns[i].name.data);
    }
    buffer_append_string(sql, keys > 0 ? "))" : ")");
}

/* A float's text is the shortest that is exact, and may have an exponent, which numeric takes away; trailing zeros go
 * with a pattern, since trim_scale() came with PostgreSQL 13. */
#define PLAIN_NUMBER                                                                                         \
    "pg_catalog.regexp_replace(pg_catalog.regexp_replace(C::text::numeric::text, '(\\.[0-9]*?)0+$', '\\1')," \
    " '\\.$', '')"

#define SIXTEEN_DIGITS                         \
    "pg_catalog.round(C::text::numeric, 16 - " \
    "pg_catalog.length(pg_catalog.trunc(pg_catalog.abs(C::text::numeric))::text))"

/* The text of a column C of kind FROM, as value_text() gives it; times that it has no text for, since Wherry writes
 * none such, get PostgreSQL's (infinity, BC). NULL: of JSON, where it is rewritten afterwards. */
static const char *text_of(ColumnType from)
{
    switch (from) {
    case COLUMN_FLOAT:
        /* A whole number within 64 bits has its own digits, however few would tell it from its neighbours. Of larger
         * ones PostgreSQL's shortest text is not always the shortest: it takes none that lies just between two doubles,
         * such as 1e23. So 15 digits are tried (the cast to numeric), and 16. */
        return "CASE WHEN pg_catalog.abs(C) < 9223372036854775808 AND C = pg_catalog.trunc(C) THEN C::bigint::text"
               " WHEN pg_catalog.abs(C) < 1e10 OR pg_catalog.abs(C) > 1e300 THEN " PLAIN_NUMBER
               " WHEN C::numeric::double precision = C THEN C::numeric::text"
               " WHEN " SIXTEEN_DIGITS "::double precision = C THEN " SIXTEEN_DIGITS "::text ELSE " PLAIN_NUMBER " END";
    case COLUMN_DECIMAL:
    case COLUMN_REAL:
        return PLAIN_NUMBER;
    case COLUMN_DATETIME:
        return "CASE WHEN C = pg_catalog.date_trunc('day', C) THEN C::date::text WHEN C < '0001-01-01' THEN"
               " pg_catalog.regexp_replace(C::text, ' ', 'T') ELSE pg_catalog.replace(C::text, ' ',"
               " 'T') || CASE WHEN pg_catalog.strpos(C::text, '.') = 0 THEN '' ELSE pg_catalog.repeat('0',"
               " 7 - pg_catalog.length(pg_catalog.substr(C::text, pg_catalog.strpos(C::text, '.')))) END END";
    case COLUMN_INSTANT:
        return "CASE WHEN NOT pg_catalog.isfinite(C) THEN C::text WHEN C < '0001-01-01Z' THEN"
               " pg_catalog.regexp_replace((C AT TIME ZONE 'UTC')::text, ' (.*)( BC)$', 'T\\1Z\\2') ELSE"
               " pg_catalog.replace((C AT TIME ZONE 'UTC')::text, ' ', 'T') || CASE WHEN pg_catalog.strpos((C AT TIME"
               " ZONE 'UTC')::text, '.') = 0 THEN '' ELSE pg_catalog.repeat('0', 7 - pg_catalog.length("
               "pg_catalog.substr((C AT TIME ZONE 'UTC')::text, pg_catalog.strpos((C AT TIME ZONE 'UTC')::text, '.'))))"
               " END || 'Z' END";
    case COLUMN_BINARY:
        return "pg_catalog.replace(pg_catalog.encode(C, 'base64'), E'\\n', '')";
    default:
        return "C::text";
    }
}

static void put_widen(Postgres *self, Buffer *sql, const Table *table, const SchemaChange *change)
{
    const FrameColumn *column = &table->columns[change->column];
    const char *using = "C";
    if (column->type == COLUMN_STRING)
        using = text_of(change->from.type);
    else if (column->type == COLUMN_FLOAT && change->from.type == COLUMN_REAL)
        using = "C::text"; /* the double nearest to its text, not to its bits */
    buffer_append_string(sql, "ALTER TABLE ");
    quote_table(self, sql, table->name);
    buffer_append_string(sql, " ALTER COLUMN ");
    sql_quote(sql, column->name.data);
    buffer_append_string(sql, " TYPE ");
    pg_type_put(sql, column->type, column->precision, column->scale);
    buffer_append_string(sql, " USING (");
    for (const char *at = using; *at; at++) {
        bool alone = *at == 'C' && (at == using || strchr(" (", at[-1])) && (at[1] == '\0' || strchr(" :,)", at[1]));
        if (alone)
            sql_quote(sql, column->name.data);
        else
            buffer_append(sql, at, 1);
    }
    buffer_append_string(sql, ")::");
    pg_type_put(sql, column->type, column->precision, column->scale);
}

static void put_add(Postgres *self, Buffer *sql, const Table *table, const FrameColumn *column)
{
    buffer_append_string(sql, "ALTER TABLE ");
    quote_table(self, sql, table->name);
    buffer_append_string(sql, " ADD COLUMN ");
    sql_quote(sql, column->name.data);
    buffer_append_string(sql, " ");
    pg_type_put(sql, column->type, column->precision, column->scale);
}

static int set_mark(Postgres *self, const Table *table, const FrameColumn *column, Error *error)
{
    _cleanup_(freep) char *sql =
        with_table(self, "INSERT INTO %T VALUES ($1, $2, 'inexact') ON CONFLICT DO NOTHING", "_wherry_columns");
    const char *const parameters[] = { table->name, column->name.data };
    return postgres_query(self, sql, 2, parameters, NULL, "mark a column", error);
}

static int clear_marks(Postgres *self, const char *name, Error *error)
{
    _cleanup_(freep) char *sql = with_table(self, "DELETE FROM %T WHERE table_name = $1", "_wherry_columns");
    const char *const parameters[] = { name };
    return postgres_query(self, sql, 1, parameters, NULL, "forget a table's marks", error);
}

/* What was staged for the columns as they were is gone; merge() has taken it. */
static int forget_stages(Postgres *self, const Table *table, Error *error)
{
    if (table->id >= self->table_count)
        return 0;
    PgTable *slot = &self->tables[table->id];
    for (size_t i = 0; slot->stages && i < _OPERATION_MAX; i++) {
        if (!slot->stages[i].name)
            continue;
        _cleanup_(freep) char *sql = xasprintf("DROP TABLE pg_temp.%s", slot->stages[i].name);
        if (postgres_execute(self, sql, "stage rows", error) < 0)
            return -1;
    }
    slot->stages = stages_free(slot->stages);
    return 0;
}

/* --- JSON that becomes text --- */

static int put_back(Postgres *self, const char *update, const PGresult *rows, Error *error)
{
    _cleanup_(buffer_clear) Buffer parts = { 0 }, places = { 0 }, texts = { 0 }, canonical = { 0 };
    buffer_append_string(&parts, "{");
    buffer_append_string(&places, "{");
    buffer_append_string(&texts, "{");
    for (int row = 0; row < PQntuples(rows); row++) {
        buffer_reset(&canonical);
        json_canonical(PQgetvalue(rows, row, 2), (size_t)PQgetlength(rows, row, 2), &canonical);
        put_element(&parts, PQgetvalue(rows, row, 0), (size_t)PQgetlength(rows, row, 0));
        put_element(&places, PQgetvalue(rows, row, 1), (size_t)PQgetlength(rows, row, 1));
        put_element(&texts, (const char *)buffer_bytes(&canonical), buffer_length(&canonical));
    }
    buffer_append_string(&parts, "}");
    buffer_append_string(&places, "}");
    buffer_append_string(&texts, "}");
    _cleanup_(freep) char *part = buffer_take_string(&parts), *place = buffer_take_string(&places),
                          *text = buffer_take_string(&texts);
    const char *const parameters[] = { part, place, text };
    return postgres_query(self, update, 3, parameters, NULL, "rewrite a column", error);
}

static int rows_at_once(Postgres *self, const char *table, const char *column, unsigned *ret, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *sql = xasprintf("SELECT coalesce(max(octet_length(%s)), 0) FROM %s", column, table);
    if (postgres_query(self, sql, 0, NULL, &result, "rewrite a column", error) < 0)
        return -1;
    unsigned long largest = strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    *ret = (unsigned)MIN_OF(MAX_OF(REWRITE_BYTES / (largest + 1), 1ul), (unsigned long)REWRITE_ROWS);
    return 0;
}

static int rewrite_json(Postgres *self, const Table *table, const FrameColumn *column, Error *error)
{
    _cleanup_(buffer_clear) Buffer names = { 0 };
    quote_table(self, &names, table->name);
    _cleanup_(freep) char *t = buffer_take_string(&names);
    sql_quote(&names, column->name.data);
    _cleanup_(freep) char *c = buffer_take_string(&names);
    _cleanup_(freep) char *declare =
        xasprintf("DECLARE _wherry_rewrite NO SCROLL CURSOR FOR SELECT tableoid, ctid, %s FROM %s WHERE left(%s, 1) IN"
                  " ('{', '[', '\"')",
                  c, t, c);
    _cleanup_(freep) char *update =
        xasprintf("UPDATE %s t SET %s = n.text FROM unnest($1::oid[], $2::tid[], $3::text[]) AS n(part, place, text)"
                  " WHERE t.ctid = n.place AND t.tableoid = n.part", /* a place is one within its partition */
                  t, c);
    unsigned count;
    if (rows_at_once(self, t, c, &count, error) < 0 || postgres_execute(self, declare, "rewrite a column", error) < 0)
        return -1;
    _cleanup_(freep) char *fetch = xasprintf("FETCH %u FROM _wherry_rewrite", count);
    for (;;) {
        _cleanup_(result_clearp) PGresult *rows = NULL;
        if (postgres_query(self, fetch, 0, NULL, &rows, "rewrite a column", error) < 0)
            return -1;
        if (PQntuples(rows) == 0)
            return postgres_execute(self, "CLOSE _wherry_rewrite", "rewrite a column", error);
        if (put_back(self, update, rows, error) < 0)
            return -1;
    }
}

/* --- one step --- */

static int do_change(Postgres *self, const Table *table, const SchemaChange *change, const char *sql, Error *error)
{
    const FrameColumn *column = &table->columns[change->column];
    if (postgres_copy_end(self, error) < 0 || postgres_take_table(self, table->name, error) < 0 ||
        forget_stages(self, table, error) < 0)
        return -1;
    if (change->type == SCHEMA_INEXACT)
        return self->plan ? 0 : set_mark(self, table, column, error);
    if (change->type == SCHEMA_CREATE && !self->plan && clear_marks(self, table->name, error) < 0)
        return -1;
    if (postgres_ddl(self, sql, change->type == SCHEMA_CREATE ? "create a table" : "change a table", error) < 0)
        return -1;
    bool json = change->type == SCHEMA_WIDEN && change->from.type == COLUMN_JSON && column->type == COLUMN_STRING;
    return json && !self->plan ? rewrite_json(self, table, column, error) : 0;
}

int postgres_change(void *destination, const Table *table, const SchemaChange *change, Error *error)
{
    Postgres *self = destination;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (postgres_check_names(table, error) < 0)
        return -1;
    if (change->type == SCHEMA_CREATE)
        put_create(self, &sql, table);
    else if (change->type == SCHEMA_ADD)
        put_add(self, &sql, table, &table->columns[change->column]);
    else if (change->type == SCHEMA_WIDEN)
        put_widen(self, &sql, table, change);
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return do_change(self, table, change, text, error);
}

int postgres_drop(void *destination, const char *name, Error *error)
{
    Postgres *self = destination;
    _cleanup_(freep) char *sql = with_table(self, "DROP TABLE IF EXISTS %T", name);
    if (postgres_copy_end(self, error) < 0 || postgres_take_table(self, name, error) < 0 ||
        clear_marks(self, name, error) < 0)
        return -1;
    return postgres_execute(self, sql, "drop a table", error);
}
