#pragma once
/*
 * Inside destination-duckdb: one database file, open for one connection. database.c loads the library, opens the file,
 * runs statements and turns DuckDB's failures into errors that a person can act on; ledger.c keeps Wherry's own tables
 * and the transaction; sink.c fills data chunks from frames; file-table.c makes and checks tables of files; kinds.c
 * says what columns of operations are there; keyed-table.c changes them, merge.c writes them.
 */
#include "connectors/writer/destination.h"
#include "lib/system/duckdb-library.h"

/* What every row of a file has beside the columns of the configuration. */
#define COLUMN_HASH "_source_file_hash"
#define COLUMN_TIME "_ingested_at"

/* What a statement's $1, $2 … are. */
typedef struct Parameter {
    enum { PARAMETER_NULL, PARAMETER_TEXT, PARAMETER_INTEGER, PARAMETER_TIMESTAMP } type;
    const char *text;
    int64_t integer; /* or microseconds since 1970 */
} Parameter;

#define TEXT_PARAMETER(value) ((Parameter){ .type = PARAMETER_TEXT, .text = (value) })
#define INTEGER_PARAMETER(value) ((Parameter){ .type = PARAMETER_INTEGER, .integer = (int64_t)(value) })
#define TIMESTAMP_PARAMETER(value) ((Parameter){ .type = PARAMETER_TIMESTAMP, .integer = (value) })

/* The rows of a query, one after another. */
typedef struct Rows {
    const DuckdbLibrary *library;
    duckdb_result result;
    duckdb_data_chunk chunk;
    idx_t next, count; /* in the chunk */
} Rows;

/* One column of a chunk that is filled. */
typedef struct SinkColumn {
    duckdb_type type; /* as it is stored: of a decimal that of its integer */
    bool is_decimal;
    uint8_t width, scale; /* of a decimal */
    void *data;
    uint64_t *validity;
} SinkColumn;

/* Where rows go: an appender, and the chunk that it is given. */
typedef struct Sink {
    duckdb_appender appender;
    duckdb_data_chunk chunk;
    SinkColumn *columns; /* owned */
    size_t column_count; /* of the table's, without what is added */
    bool masked;         /* after each of the columns' values comes a BOOLEAN: it is given */
    bool keys_only;      /* its columns are those of the table's key */
    size_t unflushed;    /* bytes */
} Sink;

/* Columns with the statement that would make their table, and what only it tells of one: by which collation it is
 * compared ("nocase.noaccent"; '' for bytes). Their data_type is VARCHAR alone. */
#define DUCK_COLUMNS "duckdb_columns() JOIN duckdb_tables() USING (database_name, schema_name, table_name)"
#define DUCK_COLLATION                                                                       \
    "regexp_replace(regexp_extract(sql, '[(,] ?(' || regexp_escape(column_name) || '|\"' ||" \
    " regexp_escape(replace(column_name, '\"', '\"\"')) || '\") VARCHAR COLLATE ([\\w.]+)', 2), '^(?i:c|posix)$', '')"

typedef struct KeyedTable KeyedTable; /* keyed.h */

typedef struct DuckDb {
    Writer *writer;
    Buffer *plan; /* takes what would be executed; NULL: a sync */
    bool missing; /* in a plan: there is no database, but an empty one in memory */
    char *use;    /* in a plan: what is to be said before the first statement; NULL: nothing, or it was */
    const DuckdbLibrary *library; /* owned */
    char *connection_name;        /* owned, as all strings here */
    const char *owner;            /* of the tables of the open batch */
    bool truncate, cdc;           /* write_mode */
    bool files;
    char *path;   /* resolved: where the WAL is, too */
    char *folder; /* of it */
    char *schema;
    char *catalog;
    uint64_t memory_limit;
    unsigned threads;
    int folder_fd;
    mode_t umask; /* the operator's, before the sandbox */
    SandboxPath sandbox_paths[3];

    duckdb_database database;
    duckdb_connection connection;
    bool schema_used; /* it is there, and unqualified names mean it */
    bool schema_made; /* in this transaction */
    bool in_transaction;
    bool own_tables;          /* the _wherry_… tables are there */
    bool state_row;           /* and our row in _wherry_state */
    uint64_t sequence, epoch; /* of it, as last seen */

    const Batch *batch;               /* of files: the one that is open */
    bool deferred;                    /* rows of the open batch are merged at the end of their file (cdc) */
    char file_hash[SHA256_TEXT_SIZE]; /* its file's: sinks point to it */
    Sink *sinks;                      /* of tables of files, by id */
    size_t sink_count;
    KeyedTable **keyed; /* owned, and each */
    size_t keyed_count;
} DuckDb;

/* --- database.c --- */
int duck_open(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error);
int duck_connect(void *destination, Error *error);
void duck_close(void *destination);
/* Opens the file. Where it is missing, nothing is made but with CREATE: a look alone leaves no database behind. */
int duck_open_database(DuckDb *self, bool create, Error *error);
int duck_use_schema(DuckDb *self, bool create, Error *error);
/* An error from what DuckDB says; ATTEMPT says what was tried ("begin a transaction"). */
int duck_fail(DuckDb *self, duckdb_error_type type, const char *message, const char *attempt, Error *error);
/* Runs one statement to its end, within sight of the daemon. RET_CHANGED may be NULL. */
int duck_run(DuckDb *self, const char *sql, const Parameter *parameters, size_t count, uint64_t *ret_changed,
             const char *attempt, Error *error);
int duck_execute(DuckDb *self, const char *sql, const char *attempt, Error *error);
/* Executes SQL, which changes the schema, or tells it in a plan. */
int duck_ddl(DuckDb *self, const char *sql, const char *attempt, Error *error);
int duck_query(DuckDb *self, const char *sql, const Parameter *parameters, size_t count, Rows *ret, const char *attempt,
               Error *error);
bool rows_next(Rows *rows);                           /* to be called before the first, too */
char *rows_text(const Rows *rows, idx_t column);      /* of a VARCHAR; the caller frees; NULL for NULL */
int64_t rows_integer(const Rows *rows, idx_t column); /* of a BIGINT, TIMESTAMP or BOOLEAN; 0 for NULL */
void rows_clear(Rows *rows);                          /* for _cleanup_ too */

/* --- ledger.c --- */
int duck_read_state(void *destination, CommittedState *ret, Error *error);
int duck_file_known(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                    Error *error);
int duck_files_lost(void *destination, const char *table, uint64_t *ret, Error *error);
int duck_begin(void *destination, const Batch *batch, Error *error);
int duck_commit(void *destination, const Batch *batch, Error *error);
void duck_abort(void *destination);
/* Makes the table NAME the batch's owner's, or fails where it is another's. TAKE: also where it is nobody's. */
int duck_own_table(DuckDb *self, const char *name, bool take, Error *error);
/* What is there under NAME, whatever its case: nothing (*RET NULL) or a table, by the name that it has; a view is an
 * error. The caller frees. */
int duck_find_table(DuckDb *self, const char *name, char **ret, Error *error);

/* The columns of TABLE with a collation by which texts that differ can be equal: rows of its name and the collation.
 * False in *RET_ANY: there is none, and no RET. */
int duck_collations(DuckDb *self, const char *table, bool *ret_any, Rows *ret, Error *error);

/* --- sink.c --- */
/* Opens an appender on TABLE (of CATALOG) for COUNT columns by name, all of the table's where NAMES is NULL. */
int sink_open(DuckDb *self, Sink *sink, const char *catalog, const char *schema, const char *table,
              const char *const *names, size_t count, Error *error);
/* The same text, or timestamp, in column AT of all rows. TEXT must outlive the sink. */
void sink_fill_text(DuckDb *self, Sink *sink, size_t at, const char *text, size_t length);
void sink_fill_timestamp(DuckDb *self, Sink *sink, size_t at, int64_t us);
/* Appends the rows of a frame; TABLE's columns are the sink's first ones. */
int sink_rows(DuckDb *self, Sink *sink, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
/* Hands what was appended to the transaction, and closes. */
int sink_finish(DuckDb *self, Sink *sink, Error *error);
/* Gives up what was appended and not flushed: only inside a transaction that is rolled back afterwards. */
void sink_clear(DuckDb *self, Sink *sink);

/* --- file-table.c --- */
int duck_ensure_table(void *destination, const Table *table, const Batch *batch, Error *error);
int duck_file_begin(void *destination, const Table *table, const Batch *batch, Error *error);
int duck_write_file(DuckDb *self, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
int duck_finish_files(DuckDb *self, Error *error);
void duck_reset_files(DuckDb *self);
