/*
 * What a file finds in its table: the rows that it replaces, and the indexes by which they are found.
 *
 * Rows are found by the hash of their file when it is loaded again, so there is an index on it. A B-tree over a
 * constant key makes a load two and a half times as slow, and logs as many bytes as the rows do; rows of one file lie
 * together, so a BRIN with a Bloom filter per megabyte of the table (PostgreSQL 14) does as well: made after the first
 * load, and at later commits told to look at the ranges that are new, which nobody else might do. The planner takes
 * scattered hashes for scattered rows, hence enable_seqscan while we delete.
 *
 * Files of changes find rows by their keys, so there is an index on these, too: made after the first load, which finds
 * the table empty and need not delete, since a key comes only once in what a file leaves.
 *
 * Only the owner of a table makes indexes on it. Where that is somebody else, theirs are used, and a warning names the
 * one that is missing.
 */
#include <string.h>
#include <syslog.h>

#include "connectors/destinations/postgres/postgres.h"

#define HASH_INDEX_SUFFIX "_source_file_hash_idx"
#define KEY_INDEX_SUFFIX "_key_idx"
/* As many files per megabyte of the table are told apart; 2.4 KB of index. */
#define BLOOM_DISTINCT "2048"
#define BLOOM_VERSION 140000

/* --- indexes --- */

typedef struct Index {
    bool found;
    bool brin;
    bool owned; /* the table: by a role that we are a member of */
} Index;

/* One that begins with COLUMNS (an array's text, by bytes ascending), in any order. Any kind of index finds a hash;
 * keys need a B-tree. */
static int find_index(Postgres *self, const char *table, const char *columns, bool of_keys, Index *ret, Error *error)
{
    static const char sql[] =
        "SELECT pg_catalog.pg_has_role(t.relowner, 'USAGE'), x.amname IS NOT NULL, x.amname = 'brin'"
        " FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace"
        " LEFT JOIN LATERAL (SELECT m.amname FROM pg_catalog.pg_index i"
        " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam"
        " WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND (NOT $4 OR m.amname = 'btree')"
        " AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\")"
        " FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid"
        " AND a.attnum = ANY ((i.indkey::int2[])[0:cardinality($3::text[]) - 1])) = $3::text[]"
        " ORDER BY m.amname = 'brin' LIMIT 1) x ON true WHERE n.nspname = $1 AND t.relname = $2";
    _cleanup_(result_clearp) PGresult *result = NULL;
    const char *const parameters[] = { self->schema, table, columns, of_keys ? "t" : "f" };
    *ret = (Index){ .owned = true }; /* a table that is not there yet, in a plan, will be ours */
    if (postgres_query(self, sql, 4, parameters, &result, "look for an index", error) < 0)
        return -1;
    if (PQntuples(result) > 0)
        *ret = (Index){ .owned = *PQgetvalue(result, 0, 0) == 't',
                        .found = *PQgetvalue(result, 0, 1) == 't',
                        .brin = *PQgetvalue(result, 0, 2) == 't' };
    return 0;
}

/* "orders_source_file_hash_idx"; of a long name so much that it fits, and a hash of the whole. */
static char *index_name(const char *table, const char *suffix)
{
    size_t n = strlen(table), room = NAME_MAX_BYTES - strlen(suffix);
    if (n <= room)
        return xasprintf("%s%s", table, suffix);
    room -= 9;
    while (room > 0 && ((unsigned char)table[room] & 0xc0) == 0x80)
        room--;
    return xasprintf("%.*s_%08x%s", (int)room, table, (unsigned)fnv1a64(table, n), suffix);
}

static void put_create_index(const Postgres *self, Buffer *sql, const char *table, const char *suffix)
{
    _cleanup_(freep) char *name = index_name(table, suffix);
    buffer_append_string(sql, "CREATE INDEX IF NOT EXISTS ");
    sql_quote(sql, name);
    buffer_append_string(sql, " ON ");
    quote_table(self, sql, table);
}

static void put_hash_index(const Postgres *self, Buffer *sql, const char *table)
{
    put_create_index(self, sql, table, HASH_INDEX_SUFFIX);
    buffer_append_string(sql, self->version >= BLOOM_VERSION ? " USING brin (" COLUMN_HASH
                                                               " text_bloom_ops (n_distinct_per_range = " BLOOM_DISTINCT
                                                               "))"
                                                             : " (" COLUMN_HASH ")");
}

static void put_key_index(const Postgres *self, Buffer *sql, const Table *table)
{
    const char *before = " (";
    put_create_index(self, sql, table->name, KEY_INDEX_SUFFIX);
    for (size_t i = 0; i < table->column_count; i++) {
        if (!(table->columns[i].flags & COLUMN_KEY))
            continue;
        buffer_append_string(sql, before);
        sql_quote(sql, table->columns[i].name.data);
        before = ", ";
    }
    buffer_append_string(sql, ")");
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names of the columns that tell rows apart, as find_index() wants them. */
static char *key_names(const Table *table)
{
    _cleanup_(freep) const char **names = xcalloc(table->column_count, sizeof(*names));
    _cleanup_(buffer_clear) Buffer array = { 0 };
    size_t count = 0;
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].flags & COLUMN_KEY)
            names[count++] = table->columns[i].name.data;
    qsort(names, count, sizeof(*names), compare_names);
    buffer_append_string(&array, "{");
    for (size_t i = 0; i < count; i++)
        put_element(&array, names[i], strlen(names[i]));
    buffer_append_string(&array, "}");
    return buffer_take_string(&array);
}

/* Of an index that is missing: SQL makes it, at once where the table has rows to be found by it, else at commit. */
static int add_index(Postgres *self, const Table *table, const Index *index, bool at_once, Buffer *sql,
                     const char *columns, Error *error)
{
    FileTable *file = &self->tables[table->id].file;
    _cleanup_(freep) char *text = buffer_take_string(sql);
    if (!index->owned) {
        writer_log(self->writer, LOG_WARNING,
                   "table \"%s\" in schema \"%s\" of %s is another role's, and has no index on (%s): rows to be "
                   "replaced are looked for in all of it; its owner can make one",
                   table->name, self->schema, self->place, columns);
        return 0;
    }
    if (at_once)
        return postgres_ddl(self, text, "build an index", error);
    buffer_append(&file->at_commit, text, strlen(text) + 1);
    return 0;
}

/* The ranges that are new in each partition, or the one table: an index on a partitioned table has no rows itself. */
static int summarize(Postgres *self, const char *table, Error *error)
{
    static const char sql[] =
        "WITH RECURSIVE t AS (SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"
        " UNION ALL SELECT h.inhrelid FROM pg_catalog.pg_inherits h JOIN t ON h.inhparent = t.oid)"
        " SELECT pg_catalog.brin_summarize_new_values(c.oid) FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid"
        " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_am m ON m.oid = c.relam"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]"
        " WHERE a.attname = '" COLUMN_HASH "' AND m.amname = 'brin' AND c.relkind = 'i' AND i.indisvalid"
        " AND pg_catalog.pg_has_role(c.relowner, 'USAGE')";
    const char *const parameters[] = { self->schema, table };
    return postgres_query(self, sql, 2, parameters, NULL, "bring an index up to date", error);
}

static int make_indexes(Postgres *self, const FileTable *file, Error *error)
{
    const char *at = (const char *)buffer_bytes(&file->at_commit), *end = at + buffer_length(&file->at_commit);
    for (; at < end; at += strlen(at) + 1)
        if (postgres_ddl(self, at, "build an index", error) < 0)
            return -1;
    return 0;
}

int postgres_finish_indexes(Postgres *self, Error *error)
{
    for (size_t i = 0; i < self->table_count; i++) {
        const PgTable *slot = &self->tables[i];
        if (make_indexes(self, &slot->file, error) < 0 ||
            (slot->file.summarize && !self->plan && summarize(self, slot->name, error) < 0))
            return -1;
    }
    return 0;
}

/* --- rows --- */

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
    return postgres_execute(self, "SET LOCAL enable_seqscan TO DEFAULT", "delete rows", error);
}

/* Not by TRUNCATE: readers would wait for the whole load, and those with an older snapshot would then see nothing. */
static int delete_all(Postgres *self, const char *table, Error *error)
{
    _cleanup_(freep) char *sql = with_table(self, "DELETE FROM %T", table);
    return postgres_execute(self, sql, "delete rows", error);
}

/* In a table that nobody sees yet, what is the same in all rows of the file need not be sent with each of them: that
 * saves the server a tenth of its work. Elsewhere it would take a lock that shuts readers out. No change of the schema,
 * as the transaction ends them, and so in no plan. */
static int set_defaults(Postgres *self, const Table *table, const Batch *batch, Error *error)
{
    FileTable *file = &self->tables[table->id].file;
    char hash[SHA256_TEXT_SIZE];
    sha256_text(batch->file_hash, hash);
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    _cleanup_(freep) char *alter = with_table(self, "ALTER TABLE %T ALTER " COLUMN_HASH, table->name);
    buffer_printf(&sql, "%s SET DEFAULT '%s', ALTER " COLUMN_TIME " SET DEFAULT ", alter, hash);
    put_instant(&sql, batch->started_us);
    _cleanup_(freep) char *set = buffer_take_string(&sql);
    if (postgres_execute(self, set, "create a table", error) < 0)
        return -1;
    file->defaults = true;
    _cleanup_(freep) char *end = xasprintf("%s DROP DEFAULT, ALTER " COLUMN_TIME " DROP DEFAULT", alter);
    buffer_append(&file->at_commit, end, strlen(end) + 1);
    return 0;
}

static int ensure_hash_index(Postgres *self, const Table *table, const Batch *batch, Error *error)
{
    FileTable *file = &self->tables[table->id].file;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    Index index;
    if (find_index(self, table->name, "{" COLUMN_HASH "}", false, &index, error) < 0)
        return -1;
    bool at_once = !index.found && !file->is_empty && !self->truncate && !self->cdc;
    file->summarize = index.found ? index.brin : at_once && self->version >= BLOOM_VERSION;
    /* An event trigger of theirs may have given the new table to another role. */
    if (file->is_new && index.owned && !self->plan && set_defaults(self, table, batch, error) < 0)
        return -1;
    if (index.found)
        return 0;
    put_hash_index(self, &sql, table->name);
    return add_index(self, table, &index, at_once, &sql, COLUMN_HASH, error);
}

static int ensure_key_index(Postgres *self, const Table *table, Error *error)
{
    FileTable *file = &self->tables[table->id].file;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    _cleanup_(freep) char *names = key_names(table);
    Index index;
    if (find_index(self, table->name, names, true, &index, error) < 0)
        return -1;
    file->by_key = index.found || index.owned;
    if (index.found)
        return 0;
    put_key_index(self, &sql, table);
    names[strlen(names) - 1] = '\0';
    return add_index(self, table, &index, !file->is_empty, &sql, names + 1, error);
}

int postgres_file_begin(void *destination, const Table *table, const Batch *batch, Error *error)
{
    Postgres *self = destination;
    FileTable *file = &self->tables[table->id].file;
    file->is_empty = file->is_new;
    if ((!file->is_empty && is_empty(self, table->name, &file->is_empty, error) < 0) ||
        ensure_hash_index(self, table, batch, error) < 0 || (self->cdc && ensure_key_index(self, table, error) < 0))
        return -1;
    if (file->is_empty || self->cdc || self->plan)
        return 0;
    return self->truncate ? delete_all(self, table->name, error) : delete_file(self, table->name, batch, error);
}
