#pragma once
/*
 * Inside destination-postgres: one connection to one server, for one schema. settings.c reads what BEGIN says and what
 * the sandbox must know; server.c connects, runs statements within sight of the daemon, and turns SQLSTATEs into errors
 * that a person can act on; ledger.c keeps Wherry's own tables and the transaction; types.c knows PostgreSQL's types;
 * table.c creates and checks the tables of files; replace.c finds what a file replaces; schema.c knows the tables of
 * operations; copy.c streams rows in; merge.c applies staged ones; encode.c is the binary format.
 */
#include <libpq-fe.h>

#include "connectors/destinations/postgres/encode.h"
#include "connectors/writer/destination.h"

#define NAME_MAX_BYTES 63 /* NAMEDATALEN - 1 */
#define COLUMNS_MAX 1600  /* MaxHeapAttributeNumber */
#define SETTINGS_MAX 40   /* keywords of a connection */
#define SANDBOX_PATHS_MAX 16
/* The columns that Filedge adds, and we. */
#define COLUMN_ID "_id"
#define COLUMN_HASH "_source_file_hash"
#define COLUMN_TIME "_ingested_at"
#define BEGIN_ATTEMPT "begin a transaction"

/* What a batch that is a file found in its table. */
typedef struct FileTable {
    bool is_new;      /* the table: made by this batch */
    bool is_empty;    /* was, when the file began */
    bool by_key;      /* files of changes: an index finds the rows of a key */
    bool summarize;   /* at commit: there is a BRIN on the hashes, to be told of new ranges */
    bool defaults;    /* hash and time of the rows are the columns' defaults until commit, and not sent */
    Buffer at_commit; /* statements, each with its NUL: make the indexes that are missing, end the defaults */
} FileTable;

/* Where a table stands in this batch. */
typedef struct PgTable {
    char *name;        /* owned */
    PgColumn *columns; /* owned; of the table's columns, in order */
    size_t column_count;
    FileTable file;
    struct Stage *stages; /* owned; per operation; merge.c */
} PgTable;

/* A COPY … FROM STDIN that is going on. */
typedef struct Copy {
    bool open;
    uint16_t table;
    int operation;
    uint64_t first_row; /* of what this COPY was given, for messages */
    uint64_t bytes;
    Buffer buffer; /* encoded, not yet handed to libpq */
} Copy;

typedef struct Postgres {
    Writer *writer;
    Buffer *plan;              /* takes what would be executed; NULL: a sync */
    char *connection, *schema; /* owned, as all strings here */
    const char *owner;         /* of the tables of the open batch */
    bool truncate, cdc;        /* write_mode */
    bool strip_nul;
    int64_t connect_timeout_s, lock_timeout_s, statement_timeout_s;

    const char *keywords[SETTINGS_MAX + 1]; /* as PQconnectStartParams() takes them */
    char *values[SETTINGS_MAX + 1];
    size_t setting_count;
    size_t host_count;
    SandboxPath paths[SANDBOX_PATHS_MAX];
    size_t path_count;

    PGconn *server; /* NULL: not connected */
    char *place;    /* "database "shop" on "db.example.com"": how messages begin */
    int version;    /* 150004 */
    const char *phase;

    bool own_tables;          /* the _wherry_… tables are there */
    bool state_row;           /* and our row in _wherry_state */
    bool locked;              /* and locked by this transaction, or the log table is */
    uint64_t sequence, epoch; /* of it, as last seen */
    const Batch *batch;       /* that is open */
    PgTable *tables;          /* by id */
    size_t table_count;
    Copy copy;
    uint8_t file_fields[128]; /* hash and time of each row of a file, encoded */
    size_t file_fields_size;
} Postgres;

/* --- settings.c --- */
int postgres_settings(Postgres *self, const json_t *own, SandboxPolicy *policy, Error *error);
void postgres_settings_clear(Postgres *self);

/* --- server.c --- */
int postgres_open(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error);
int postgres_connect(void *destination, Error *error);
void postgres_disconnect(Postgres *self);
void postgres_close(void *destination);
static inline void result_clearp(PGresult **result)
{
    PQclear(*result);
}
/* Runs SQL, waits for its end, and returns the last result (RET NULL: not wanted). ATTEMPT says what was tried: "create
 * a table". With parameters one statement, without any number of them. */
int postgres_query(Postgres *self, const char *sql, int count, const char *const *parameters, PGresult **ret,
                   const char *attempt, Error *error);
static inline int postgres_execute(Postgres *self, const char *sql, const char *attempt, Error *error)
{
    return postgres_query(self, sql, 0, NULL, NULL, attempt, error);
}
/* Executes SQL, which changes the schema, or tells it in a plan. */
int postgres_ddl(Postgres *self, const char *sql, const char *attempt, Error *error);
/* The result of what was sent. */
int postgres_result(Postgres *self, PGresult **ret, const char *attempt, Error *error);
int postgres_fail(Postgres *self, const PGresult *result, const char *attempt, Error *error);
/* Until the socket can be read, or with WRITE also written; at most until DEADLINE_MS of the monotonic clock (0: none).
 */
int postgres_wait(Postgres *self, bool write, int64_t deadline_ms, Error *error);
void quote_table(const Postgres *self, Buffer *sql, const char *name); /* "schema"."name" */
/* Each %T of FORMAT is replaced by the quoted table NAME in our schema, each %S by the schema; the caller frees. */
char *with_table(const Postgres *self, const char *format, const char *name);
void put_instant(Buffer *sql, int64_t us);                    /* microseconds since 1970 as a literal */
void put_element(Buffer *array, const char *value, size_t n); /* to the text of an array that began with "{" */

/* --- ledger.c --- */
int postgres_read_state(void *destination, CommittedState *ret, Error *error);
int postgres_file_known(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                        Error *error);
int postgres_files_lost(void *destination, const char *table, uint64_t *ret, Error *error);
int postgres_begin(void *destination, const Batch *batch, Error *error);
/* To be called before anything is written: makes our own tables where they are missing, locks and compares. */
int postgres_lock(Postgres *self, Error *error);
int postgres_own_table(Postgres *self, const char *name, Error *error);
int postgres_commit(void *destination, const Batch *batch, Error *error);
void postgres_abort(void *destination);

/* --- types.c --- */
PgType pg_type_of(ColumnType type); /* that a new column gets */
/* "bigint", "numeric(10,2)" */
void pg_type_put(Buffer *sql, ColumnType type, uint8_t precision, uint8_t scale);
/* From pg_attribute; false: none of ours. */
bool pg_column_from(uint32_t oid, int32_t modifier, PgColumn *ret);
bool pg_kind_from(uint32_t oid, int32_t modifier, Kind *ret);
/* Whether a file's column of TYPE may lie in a column that is there as THERE: its own type, or a narrower one. */
bool pg_type_fits_file(ColumnType type, uint32_t oid, const PgColumn *there);

/* --- table.c --- */
int postgres_ensure_table(void *destination, const Table *table, const Batch *batch, Error *error);
PgTable *postgres_slot(Postgres *self, const Table *table); /* emptied */
void postgres_tables_reset(Postgres *self);
/* What stands under this name: 0 nothing, else the relation's oid; an error where it is not a table. */
int postgres_find_table(Postgres *self, const char *name, uint32_t *ret_oid, Error *error);
int postgres_check_names(const Table *table, Error *error);

/* --- replace.c --- */
int postgres_file_begin(void *destination, const Table *table, const Batch *batch, Error *error);
int postgres_finish_indexes(Postgres *self, Error *error);

/* --- copy.c --- */
int postgres_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
int postgres_copy_end(Postgres *self, Error *error);
