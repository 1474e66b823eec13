/*
 * Tables of files: made with the Filedge reference's types, or checked against the configuration to the letter. Nothing
 * is ever migrated: a table with other columns is refused with what differs. An "_id" is not added, since a serial
 * primary key costs half as much as the load itself, and accepted where Filedge made one.
 *
 * Rows are found by the hash of their file when it is loaded again, so there is an index on it. A B-tree over a
 * constant key makes a load two and a half times as slow, and logs as many bytes as the rows do; rows of one file lie
 * together, so a BRIN with a Bloom filter per megabyte of the table (PostgreSQL 14) does as well: made after the first
 * load, and at later commits told to look at the ranges that are new, which nobody else might do. The planner takes
 * scattered hashes for scattered rows, hence enable_seqscan while we delete.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "connectors/destinations/postgres/merge.h"
#include "connectors/destinations/postgres/postgres.h"

#define COLUMN_ID "_id"
#define COLUMN_HASH "_source_file_hash"
#define COLUMN_TIME "_ingested_at"
#define INDEX_SUFFIX "_source_file_hash_idx"
/* As many files per megabyte of the table are told apart; 2.4 KB of index. */
#define BLOOM_DISTINCT "2048"

void postgres_tables_reset(Postgres *self)
{
    for (size_t i = 0; i < self->table_count; i++) {
        PgTable *slot = &self->tables[i];
        slot->stages = stages_free(slot->stages);
        free(slot->name);
        free(slot->columns);
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
    bool build_index = slot->build_index, summarize = slot->summarize; /* outlive a second TABLE */
    stages_free(slot->stages);
    free(slot->name);
    free(slot->columns);
    *slot = (PgTable){ .name = xstrdup(table->name),
                       .columns = xcalloc(table->column_count, sizeof(PgColumn)),
                       .column_count = table->column_count,
                       .build_index = build_index,
                       .summarize = summarize };
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

static int check_file_names(const Table *table, Error *error)
{
    static const char *const own[] = { COLUMN_ID, COLUMN_HASH, COLUMN_TIME, NULL };
    if (table->column_count > COLUMNS_MAX - 2)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%s\" has %zu columns; PostgreSQL's have at most %d, of which two are ours",
                         table->name, table->column_count, COLUMNS_MAX);
    for (size_t i = 0; i < table->column_count; i++)
        if (is_one_of(table->columns[i].name.data, own))
            return error_set(error, ERROR_CONFIGURATION,
                             "table \"%s\": column \"%s\" is one that Wherry adds; give yours another name",
                             table->name, table->columns[i].name.data);
    return 0;
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

typedef struct Guard {
    const Table *table;
    bool is_file;
    PgTable *slot;
    bool *found; /* per column of the configuration */
    bool found_own[3];
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

static char *type_text(const FrameColumn *column)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    pg_type_put(&text, column->type, column->precision, column->scale);
    return buffer_take_string(&text);
}

/* The columns of a row of columns_sql. */
enum { THERE_NAME, THERE_OID, THERE_MODIFIER, THERE_TYPE, THERE_GENERATED, THERE_DEFAULT };
static const char columns_sql[] =
    "SELECT a.attname, a.atttypid, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod),"
    " a.attgenerated <> '' OR a.attidentity = 'a', a.atthasdef OR a.attidentity <> ''"
    " FROM pg_catalog.pg_attribute a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped"
    " ORDER BY a.attnum";

static bool is_true(const PGresult *result, int row, int column)
{
    return *PQgetvalue(result, row, column) == 't';
}

/* One of those that Wherry, or Filedge, adds; false: it is none. */
static bool compare_own(Guard *guard, const PGresult *result, int row, bool known, const PgColumn *there)
{
    static const struct {
        const char *name;
        PgType type, narrow;
        const char *text;
    } own[] = { { COLUMN_ID, PG_INT8, PG_INT4, "bigint" },
                { COLUMN_HASH, PG_TEXT, PG_TEXT, "text" },
                { COLUMN_TIME, PG_TIMESTAMPTZ, PG_TIMESTAMPTZ, "timestamp with time zone" } };
    const char *name = PQgetvalue(result, row, THERE_NAME), *type = PQgetvalue(result, row, THERE_TYPE);
    for (size_t i = 0; guard->is_file && i < ELEMENTSOF(own); i++) {
        if (strcmp(name, own[i].name) != 0)
            continue;
        guard->found_own[i] = true;
        if (!known || (there->type != own[i].type && there->type != own[i].narrow))
            differ(guard, "column \"%s\" is %s there, %s here", name, type, own[i].text);
        else if (i == 0 && !is_true(result, row, THERE_DEFAULT))
            differ(guard, "column \"" COLUMN_ID "\" has no default there: nobody fills it");
        return true;
    }
    return false;
}

static void compare_column(Guard *guard, const PGresult *result, int row)
{
    const char *name = PQgetvalue(result, row, THERE_NAME), *type = PQgetvalue(result, row, THERE_TYPE);
    uint32_t oid = (uint32_t)strtoul(PQgetvalue(result, row, THERE_OID), NULL, 10);
    PgColumn there = { 0 };
    bool known = pg_column_from(oid, (int32_t)strtol(PQgetvalue(result, row, THERE_MODIFIER), NULL, 10), &there);
    if (compare_own(guard, result, row, known, &there))
        return;
    for (size_t i = 0; i < guard->table->column_count; i++) {
        const FrameColumn *column = &guard->table->columns[i];
        if (strcmp(name, column->name.data) != 0)
            continue;
        guard->found[i] = true;
        there.strip_nul = guard->slot->columns[i].strip_nul;
        guard->slot->columns[i] = there;
        _cleanup_(freep) char *here = type_text(column);
        if (is_true(result, row, THERE_GENERATED))
            differ(guard, "column \"%s\" is generated there", name);
        else if (!known || !pg_type_fits_file(column->type, oid, &there))
            differ(guard, "column \"%s\" is %s there, %s here", name, type, here);
        return;
    }
    differ(guard, "extra column \"%s\" (%s)", name, type);
}

static void compare_missing(Guard *guard)
{
    static const char *const own[] = { NULL, COLUMN_HASH " (text)", COLUMN_TIME " (timestamp with time zone)" };
    for (size_t i = 0; i < guard->table->column_count; i++) {
        _cleanup_(freep) char *type = type_text(&guard->table->columns[i]);
        if (!guard->found[i])
            differ(guard, "missing column \"%s\" (%s)", guard->table->columns[i].name.data, type);
    }
    for (size_t i = 1; guard->is_file && i < ELEMENTSOF(own); i++)
        if (!guard->found_own[i])
            differ(guard, "missing column %s", own[i]);
}

static int compare_table(Postgres *self, Guard *guard, uint32_t oid, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *text = xasprintf("%u", oid);
    const char *const parameters[] = { text };
    if (postgres_query(self, columns_sql, 1, parameters, &result, "read a table's columns", error) < 0)
        return -1;
    for (int row = 0; row < PQntuples(result); row++)
        compare_column(guard, result, row);
    compare_missing(guard);
    if (buffer_length(&guard->differences) == 0)
        return 0;
    _cleanup_(freep) char *differences = buffer_take_string(&guard->differences);
    return error_set(error, ERROR_CONFIGURATION,
                     "table \"%s\" in schema \"%s\" of %s has other columns than the configuration: %s; change one of "
                     "them, or choose another table",
                     guard->table->name, self->schema, self->place, differences);
}

/* Locked first, as the load will lock it: what is checked here stays so. */
static int guard_table(Postgres *self, const Table *table, PgTable *slot, uint32_t oid, bool is_file, Error *error)
{
    _cleanup_(freep) char *lock = with_table(self, "LOCK TABLE %T IN ROW EXCLUSIVE MODE", table->name);
    Guard guard = { .table = table, .is_file = is_file, .slot = slot };
    self->phase = "waiting for a lock";
    int r = postgres_execute(self, lock, "lock a table", error);
    self->phase = "loading";
    if (r < 0)
        return -1;
    _cleanup_(freep) bool *found = guard.found = xcalloc(table->column_count, sizeof(*found));
    r = compare_table(self, &guard, oid, error);
    buffer_clear(&guard.differences);
    return r;
}

/* --- making --- */

static int create_table(Postgres *self, const Table *table, bool is_file, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "CREATE TABLE ");
    quote_table(self, &sql, table->name);
    for (size_t i = 0; i < table->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? " (" : ", ");
        quote(&sql, table->columns[i].name.data);
        buffer_append_string(&sql, " ");
        pg_type_put(&sql, table->columns[i].type, table->columns[i].precision, table->columns[i].scale);
    }
    buffer_append_string(
        &sql, is_file ? ", " COLUMN_HASH " text NOT NULL, " COLUMN_TIME " timestamp with time zone NOT NULL)" : ")");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return postgres_execute(self, text, "create a table", error);
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
        (batch->is_file && check_file_names(table, error) < 0) || postgres_lock(self, error) < 0 ||
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
    if (batch->is_file)
        encode_file_fields(self, batch);
    return oid > 0 ? guard_table(self, table, slot, oid, batch->is_file, error)
                   : create_table(self, table, batch->is_file, error);
}

/* --- the index, and what a file replaces --- */

/* "orders_source_file_hash_idx"; of a long name so much that it fits, and a hash of the whole. */
static char *index_name(const char *table)
{
    size_t n = strlen(table), room = NAME_MAX_BYTES - strlen(INDEX_SUFFIX);
    if (n <= room)
        return xasprintf("%s" INDEX_SUFFIX, table);
    room -= 9;
    while (room > 0 && ((unsigned char)table[room] & 0xc0) == 0x80)
        room--;
    return xasprintf("%.*s_%08x" INDEX_SUFFIX, (int)room, table, (unsigned)fnv1a64(table, n));
}

/* Whether an index begins with the hash, and whether it is a BRIN. */
static int find_index(Postgres *self, const char *table, bool *ret_found, bool *ret_brin, char **ret_name, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    const char *const parameters[] = { self->schema, table };
    if (postgres_query(self,
                       "SELECT m.amname = 'brin', i.indexrelid::regclass FROM pg_catalog.pg_index i"
                       " JOIN pg_catalog.pg_class t ON t.oid = i.indrelid"
                       " JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace"
                       " JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid"
                       " JOIN pg_catalog.pg_am m ON m.oid = x.relam"
                       " JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]"
                       " WHERE n.nspname = $1 AND t.relname = $2 AND a.attname = '" COLUMN_HASH "'"
                       " AND i.indisvalid AND i.indpred IS NULL ORDER BY 1 LIMIT 1",
                       2, parameters, &result, "look for an index", error) < 0)
        return -1;
    *ret_found = PQntuples(result) > 0;
    *ret_brin = *ret_found && is_true(result, 0, 0);
    if (*ret_found)
        *ret_name = xstrdup(PQgetvalue(result, 0, 1));
    return 0;
}

static int create_index(Postgres *self, const char *table, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    _cleanup_(freep) char *name = index_name(table);
    buffer_append_string(&sql, "CREATE INDEX IF NOT EXISTS ");
    quote(&sql, name);
    buffer_append_string(&sql, " ON ");
    quote_table(self, &sql, table);
    buffer_append_string(&sql, self->version >= 140000 ? " USING brin (" COLUMN_HASH
                                                         " text_bloom_ops (n_distinct_per_range = " BLOOM_DISTINCT "))"
                                                       : " (" COLUMN_HASH ")");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    return postgres_execute(self, text, "build an index", error);
}

static int summarize(Postgres *self, const char *table, Error *error)
{
    _cleanup_(freep) char *name = NULL;
    bool found, brin;
    if (find_index(self, table, &found, &brin, &name, error) < 0)
        return -1;
    if (!brin)
        return 0;
    const char *const parameters[] = { name };
    return postgres_query(self, "SELECT pg_catalog.brin_summarize_new_values($1::regclass)", 1, parameters, NULL,
                          "bring an index up to date", error);
}

int postgres_finish_indexes(Postgres *self, Error *error)
{
    for (size_t i = 0; i < self->table_count; i++) {
        const PgTable *slot = &self->tables[i];
        if ((slot->build_index && create_index(self, slot->name, error) < 0) ||
            (slot->summarize && summarize(self, slot->name, error) < 0))
            return -1;
    }
    return 0;
}

static int is_empty(Postgres *self, const char *table, bool *ret, Error *error)
{
    _cleanup_(result_clearp) PGresult *result = NULL;
    _cleanup_(freep) char *sql = with_table(self, "SELECT 1 FROM %T LIMIT 1", table);
    if (postgres_query(self, sql, 0, NULL, &result, "read a table", error) < 0)
        return -1;
    *ret = PQntuples(result) == 0;
    return 0;
}

static int delete_file(Postgres *self, const char *table, const Batch *batch, Error *error)
{
    char hash[SHA256_TEXT_SIZE];
    sha256_text(batch->file_hash, hash);
    const char *const parameters[] = { hash };
    _cleanup_(freep) char *sql = with_table(self, "DELETE FROM %T WHERE " COLUMN_HASH " = $1", table);
    if (postgres_execute(self, "SET LOCAL enable_seqscan = off", "delete rows", error) < 0 ||
        postgres_query(self, sql, 1, parameters, NULL, "delete rows", error) < 0)
        return -1;
    return postgres_execute(self, "SET LOCAL enable_seqscan = on", "delete rows", error);
}

/* Not by TRUNCATE: readers would wait for the whole load, and those with an older snapshot would then see nothing. */
static int delete_all(Postgres *self, const char *table, Error *error)
{
    _cleanup_(freep) char *sql = with_table(self, "DELETE FROM %T", table);
    return postgres_execute(self, sql, "delete rows", error);
}

int postgres_file_begin(void *destination, const Table *table, const Batch *batch, Error *error)
{
    Postgres *self = destination;
    PgTable *slot = &self->tables[table->id];
    _cleanup_(freep) char *name = NULL;
    bool empty, found, brin;
    if (is_empty(self, table->name, &empty, error) < 0 ||
        find_index(self, table->name, &found, &brin, &name, error) < 0)
        return -1;
    if (!empty && !self->truncate && !found) {
        /* Somebody dropped it. */
        if (create_index(self, table->name, error) < 0)
            return -1;
        found = true;
        brin = self->version >= 140000;
    }
    if (!empty && !self->cdc &&
        (self->truncate ? delete_all(self, table->name, error) : delete_file(self, table->name, batch, error)) < 0)
        return -1;
    slot->build_index = !found;
    slot->summarize = found && brin;
    return 0;
}
