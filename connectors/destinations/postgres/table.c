/*
 * Tables of files: made with the Filedge reference's types, or checked against the configuration to the letter. Nothing
 * is ever migrated but by `on_schema_change`: a table with other columns is refused with what differs. An "_id" is not
 * added, since a serial primary key costs half as much as the load itself, and accepted where Filedge made one.
 */
#include <string.h>

#include "connectors/destinations/postgres/merge.h"
#include "connectors/destinations/postgres/postgres.h"
#include "connectors/writer/guard.h"

void postgres_tables_reset(Postgres *self)
{
    for (size_t i = 0; i < self->table_count; i++) {
        PgTable *slot = &self->tables[i];
        slot->stages = stages_free(slot->stages);
        free(slot->name);
        free(slot->columns);
        buffer_clear(&slot->file.at_commit);
        *slot = (PgTable){ 0 };
    }
    self->file_fields_size = 0;
}

PgTable *postgres_slot(Postgres *self, const Table *table)
{
    if (table->id >= self->table_count) {
        size_t count = table->id + 1u;
        self->tables = xrealloc(self->tables, count * sizeof(*self->tables));
        memset(self->tables + self->table_count, 0, (count - self->table_count) * sizeof(*self->tables));
        self->table_count = count;
    }
    PgTable *slot = &self->tables[table->id];
    FileTable file = slot->file; /* outlives a second TABLE */
    stages_free(slot->stages);
    free(slot->name);
    free(slot->columns);
    *slot = (PgTable){ .name = xstrdup(table->name),
                       .columns = xcalloc(table->column_count, sizeof(PgColumn)),
                       .column_count = table->column_count,
                       .file = file };
    return slot;
}

/* --- names --- */

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

int postgres_check_names(const Table *table, Error *error)
{
    static const char *const system_columns[] = { "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", NULL };
    if (strlen(table->name) > NAME_MAX_BYTES)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\": PostgreSQL's names have at most %d bytes; choose a shorter one", table->name,
                         NAME_MAX_BYTES);
    if (table->column_count > COLUMNS_MAX)
        return error_set(error, ERROR_CONFIGURATION, "table \"%s\" has %zu columns; PostgreSQL's have at most %d",
                         table->name, table->column_count, COLUMNS_MAX);
    for (size_t i = 0; i < table->column_count; i++) {
        const char *name = table->columns[i].name.data;
        if (strlen(name) > NAME_MAX_BYTES)
            return error_set(error, ERROR_CONFIGURATION,
                             "table \"%s\": column \"%s\": PostgreSQL's names have at most %d bytes; choose a shorter "
                             "one",
                             table->name, name, NAME_MAX_BYTES);
        if (is_one_of(name, system_columns))
            return error_set(error, ERROR_CONFIGURATION,
                             "table \"%s\": \"%s\" is a column that PostgreSQL itself has in every table; give yours "
                             "another name",
                             table->name, name);
    }
    return 0;
}

/* What Wherry, or Filedge, adds to tables of files. */
static void put_type(Buffer *text, const FrameColumn *column)
{
    pg_type_put(text, column->type, column->precision, column->scale);
}

enum { OWN_ID, OWN_HASH, OWN_TIME };
static const GuardOwn own_columns[] = {
    [OWN_ID] = { COLUMN_ID, "bigint", NULL },
    [OWN_HASH] = { COLUMN_HASH, "text", COLUMN_HASH " (text)" },
    [OWN_TIME] = { COLUMN_TIME, "timestamp with time zone", COLUMN_TIME " (timestamp with time zone)" },
};
static const GuardRules guard_rules = { .own = own_columns,
                                        .own_count = ELEMENTSOF(own_columns),
                                        .put_type = put_type };

static int check_file_names(const Table *table, Error *error)
{
    if (table->column_count > COLUMNS_MAX - 2)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" has %zu columns; PostgreSQL's have at most %d, of which two are ours",
                         table->name, table->column_count, COLUMNS_MAX);
    return guard_check_names(&guard_rules, table, "PostgreSQL", error);
}

int postgres_find_table(Postgres *self, const char *name, uint32_t *ret_oid, Error *error)
{
    static const struct {
        char kind;
        const char *name;
    } others[] = { { 'v', "view" },           { 'm', "materialized view" },
                   { 'f', "foreign table" },  { 'S', "sequence" },
                   { 'i', "index" },          { 'I', "index" },
                   { 'c', "composite type" }, { 't', "TOAST table" } };
    _cleanup_(result_clearp) PGresult *result = NULL;
    const char *const parameters[] = { self->schema, name };
    *ret_oid = 0;
    if (postgres_query(self,
                       "SELECT c.oid, c.relkind FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                       " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2",
                       2, parameters, &result, "look for a table", error) < 0)
        return -1;
    if (PQntuples(result) == 0)
        return 0;
    char kind = *PQgetvalue(result, 0, 1);
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        if (others[i].kind == kind)
            return error_set(error, ERROR_CONFIGURATION,
                             "\"%s\" in schema \"%s\" of %s is a %s, not a table; choose another name", name,
                             self->schema, self->place, others[i].name);
    *ret_oid = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    return 0;
}

/* --- the schema guard --- */

/* The columns of a row of columns_sql. */
enum { THERE_NAME, THERE_OID, THERE_MODIFIER, THERE_TYPE, THERE_GENERATED, THERE_DEFAULT, THERE_LOOSE };
static const char columns_sql[] =
    "SELECT a.attname, a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod),"
    " a.attgenerated <> '' OR a.attidentity = 'a', a.atthasdef OR a.attidentity <> '',"
    " (SELECT c.collname FROM pg_catalog.pg_collation c WHERE c.oid = a.attcollation AND NOT c.collisdeterministic)"
    " FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped"
    " ORDER BY a.attnum";

static bool is_true(const PGresult *result, int row, int column)
{
    return *PQgetvalue(result, row, column) == 't';
}

/* One of those that Wherry, or Filedge, adds. */
static void compare_own(Guard *guard, size_t i, const PGresult *result, int row, const PgColumn *there)
{
    static const PgType types[][2] = { [OWN_ID] = { PG_INT8, PG_INT4 },
                                       [OWN_HASH] = { PG_TEXT, PG_TEXT },
                                       [OWN_TIME] = { PG_TIMESTAMPTZ, PG_TIMESTAMPTZ } };
    if (!there || (there->type != types[i][0] && there->type != types[i][1]))
        guard_differs_in_type(guard, GUARD_OWN, i, PQgetvalue(result, row, THERE_NAME),
                              PQgetvalue(result, row, THERE_TYPE));
    else if (i == OWN_ID && !is_true(result, row, THERE_DEFAULT))
        guard_differs(guard, "column \"" COLUMN_ID "\" has no default there: nobody fills it");
}

static void compare_column(Guard *guard, PgTable *slot, const PGresult *result, int row)
{
    const char *name = PQgetvalue(result, row, THERE_NAME), *type = PQgetvalue(result, row, THERE_TYPE);
    uint32_t oid = (uint32_t)strtoul(PQgetvalue(result, row, THERE_OID), NULL, 10);
    PgColumn there = { 0 };
    bool known = pg_column_from(oid, (int32_t)strtol(PQgetvalue(result, row, THERE_MODIFIER), NULL, 10), &there);
    size_t i;
    GuardPlace place = guard_find(guard, name, type, &i);
    if (place == GUARD_OWN)
        compare_own(guard, i, result, row, known ? &there : NULL);
    if (place != GUARD_TABLE)
        return;
    there.strip_nul = slot->columns[i].strip_nul;
    slot->columns[i] = there;
    if (is_true(result, row, THERE_GENERATED))
        guard_differs(guard, "column \"%s\" is generated there", name);
    else if (!known || !pg_type_fits_file(guard->table->columns[i].type, oid, &there))
        guard_differs_in_type(guard, place, i, name, type);
    else if (!PQgetisnull(result, row, THERE_LOOSE))
        guard_collates(guard, i, name, PQgetvalue(result, row, THERE_LOOSE));
}

static int add_column(Postgres *self, const Table *table, size_t i, Error *error)
{
    const FrameColumn *column = &table->columns[i];
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "ALTER TABLE ");
    quote_table(self, &sql, table->name);
    buffer_append_string(&sql, " ADD COLUMN ");
    sql_quote(&sql, column->name.data);
    buffer_append_string(&sql, " ");
    pg_type_put(&sql, column->type, column->precision, column->scale);
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return postgres_ddl(self, text, "add a column", error);
}

static int compare_table(Postgres *self, const Table *table, PgTable *slot, uint32_t oid, Error *error)
{
    _cleanup_(guard_clear) Guard guard = guard_begin(&guard_rules, table);
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *text = xasprintf("%u", oid);
    _cleanup_(freep) char *where = xasprintf("in schema \"%s\" of %s", self->schema, self->place);
    const char *const parameters[] = { text };
    if (postgres_query(self, columns_sql, 1, parameters, &result, "read a table's columns", error) < 0)
        return -1;
    for (int row = 0; row < PQntuples(result); row++)
        compare_column(&guard, slot, result, row);
    for (size_t i; guard_next_to_add(&guard, self->writer, &i);)
        if (add_column(self, table, i, error) < 0)
            return -1;
    return guard_end(&guard, where, error);
}

/* Locked first, as the load will lock it: what is checked here stays so. */
static int guard_table(Postgres *self, const Table *table, PgTable *slot, uint32_t oid, Error *error)
{
    if (self->plan)
        return compare_table(self, table, slot, oid, error);
    _cleanup_(freep) char *lock = with_table(self, "LOCK TABLE %T IN ROW EXCLUSIVE MODE", table->name);
    self->phase = "waiting for a lock";
    int r = postgres_execute(self, lock, "lock a table", error);
    self->phase = "loading";
    return r < 0 ? -1 : compare_table(self, table, slot, oid, error);
}

/* --- making --- */

static int create_table(Postgres *self, const Table *table, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    if (guard_may_create(self->writer, table, error) < 0)
        return -1;
    buffer_append_string(&sql, "CREATE TABLE ");
    quote_table(self, &sql, table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? " (" : ", ");
        sql_quote(&sql, table->columns[i].name.data);
        buffer_append_string(&sql, " ");
        pg_type_put(&sql, table->columns[i].type, table->columns[i].precision, table->columns[i].scale);
    }
    buffer_append_string(&sql, ", " COLUMN_HASH " text NOT NULL, " COLUMN_TIME " timestamp with time zone NOT NULL)");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return postgres_ddl(self, text, "create a table", error);
}

/* What is the same for every row of a file. */
static void encode_file_fields(Postgres *self, const Batch *batch)
{
    char hash[SHA256_TEXT_SIZE];
    sha256_text(batch->file_hash, hash);
    _cleanup_(buffer_clear) Buffer fields = { 0 };
    encode_bytes(&fields, hash, SHA256_TEXT_SIZE - 1);
    encode_instant_us(&fields, batch->started_us);
    self->file_fields_size = buffer_length(&fields);
    memcpy(self->file_fields, buffer_bytes(&fields), MIN_OF(self->file_fields_size, sizeof(self->file_fields)));
}

int postgres_ensure_table(void *destination, const Table *table, const Batch *batch, Error *error)
{
    Postgres *self = destination;
    uint32_t oid;
    if (postgres_copy_end(self, error) < 0 || postgres_check_names(table, error) < 0 ||
        check_file_names(table, error) < 0 || postgres_lock(self, error) < 0 ||
        postgres_own_table(self, table->name, error) < 0 || postgres_find_table(self, table->name, &oid, error) < 0)
        return -1;
    PgTable *slot = postgres_slot(self, table);
    for (size_t i = 0; i < table->column_count; i++) {
        const FrameColumn *column = &table->columns[i];
        slot->columns[i] = (PgColumn){ .type = pg_type_of(column->type),
                                       .sized = column->precision > 0,
                                       .precision = column->precision,
                                       .scale = column->scale,
                                       .strip_nul = self->strip_nul };
    }
    encode_file_fields(self, batch);
    slot->file.is_new |= oid == 0;
    return oid > 0 ? guard_table(self, table, slot, oid, error) : create_table(self, table, error);
}
