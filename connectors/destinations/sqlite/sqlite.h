#pragma once
/*
 * Inside destination-sqlite: one database file, open for one connection. database.c opens and configures it and turns
 * SQLite's result codes into errors that a person can act on; ledger.c keeps Wherry's own tables and the transaction;
 * temporary.c gives SQLite temporary files without a folder; caretaker.c takes away what was made for nothing.
 *
 * feed.c offers a frame of rows to SQLite as a table.
 *
 * Files: table.c creates and checks their tables, rows.c inserts. Operations: kinds.c says how columns are declared and
 * describes tables, schema.c changes them, widen.c rewrites columns, declaration.c edits a CREATE TABLE; keyed.c
 * applies rows by key, history.c does so where former versions of a row are kept.
 */
#include <sqlite3.h>

#include "connectors/destinations/sqlite/caretaker.h"
#include "connectors/destinations/sqlite/temporary.h"
#include "connectors/writer/destination.h"

typedef enum JournalMode { JOURNAL_KEEP, JOURNAL_TRUNCATE, JOURNAL_WAL } JournalMode;

typedef struct Keyed Keyed; /* statements that apply operations: keyed.c */
typedef struct Feed Feed;   /* rows on their way to SQLite: feed.c */

/* Where a table stands in this batch. */
typedef struct SqliteTable {
    sqlite3_stmt *insert; /* owned; it reads FEED, and its parameters are hash and time of the file */
    Feed *feed;           /* owned */
    Keyed *keyed;         /* owned; NULL: no operation so far */
    char *name;           /* owned */
    bool build_index;     /* at commit: the table was empty when the file began */
    bool planned;         /* in a plan: the table is yet to be made */
} SqliteTable;

#define SQLITE_CACHE_KIB "8000" /* the peak of the whole program is some 12 MB, whatever the size of a load */
#define SQLITE_LIMIT_WAL "PRAGMA journal_size_limit = 67108864" /* what is kept of a -wal */
#define SQLITE_SORT_CACHE_KIB "4000"
#define SQLITE_FILES 4 /* the database, its journal, -wal and -shm */

typedef struct Sqlite {
    Writer *writer;
    Buffer *plan;       /* takes what would be executed; NULL: a sync */
    bool missing;       /* in a plan: there is no database */
    bool immutable;     /* in a plan: nobody has it open, and nothing can be made beside it */
    char *connection;   /* owned, as all strings here */
    const char *owner;  /* of the tables of the open batch */
    bool truncate, cdc; /* write_mode */
    JournalMode journal_mode;
    int64_t busy_timeout_ms;

    char *path; /* resolved: where the journal is, too */
    char *journal_path, *wal_path, *shm_path;
    SandboxPath sandbox_paths[SQLITE_FILES];
    size_t file_count;
    const char *made[SQLITE_FILES]; /* those that were not there */
    size_t made_count;
    Caretaker *caretaker; /* NULL: the database was there */
    TemporaryVfs *vfs;

    sqlite3 *database;
    bool own_tables;          /* the _wherry_… tables are there */
    bool state_row;           /* and our row in _wherry_state */
    uint64_t sequence, epoch; /* of it, as last seen */
    Buffer converted;         /* the value that wherry_convert() has at hand */
    SqliteTable *tables;      /* by id */
    size_t table_count;
    unsigned feeds_made;

    int64_t waiting_since_ms; /* for a lock */
    bool gave_up;             /* waiting for a lock */
    bool cancelled;
    const char *phase;
} Sqlite;

extern const Destination destination_sqlite;

/* --- database.c --- */
int sqlite_open(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error);
int sqlite_connect(void *destination, Error *error);
void sqlite_close(void *destination);
/* An error from result code R of the last call on the database; ATTEMPT says what was tried ("begin a transaction"). */
int sqlite_fail(Sqlite *self, int r, const char *attempt, Error *error);
int sqlite_execute(Sqlite *self, const char *sql, const char *attempt, Error *error);
int sqlite_prepare(Sqlite *self, const char *sql, sqlite3_stmt **ret, const char *attempt, Error *error);
/* Steps a statement that returns no rows, or one row at most (*ret_row; NULL: none expected). */
int sqlite_step(Sqlite *self, sqlite3_stmt *statement, bool *ret_row, const char *attempt, Error *error);
bool sqlite_is_data_fault(int r); /* of a result code: what was written is at fault, and nothing else */

static inline void sqlite_finalizep(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

/* --- ledger.c --- */
int sqlite_read_state(void *destination, CommittedState *ret, Error *error);
int sqlite_file_known(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                      Error *error);
int sqlite_files_lost(void *destination, const char *table, uint64_t *ret, Error *error);
int sqlite_begin(void *destination, const Batch *batch, Error *error);
int sqlite_commit(void *destination, const Batch *batch, Error *error);
void sqlite_abort(void *destination);
/* Makes TABLE the batch's owner's, or fails where it is another's. */
int sqlite_own_table(Sqlite *self, const char *table, Error *error);
int sqlite_has_table(Sqlite *self, const char *name, bool *ret, Error *error); /* one of ours */

/* --- table.c --- */
int sqlite_ensure_table(void *destination, const Table *table, const Batch *batch, Error *error);
int sqlite_file_begin(void *destination, const Table *table, const Batch *batch, Error *error);
int sqlite_build_indexes(Sqlite *self, Error *error);
int sqlite_check_name(const char *table, Error *error);
/* What is there under this name: nothing (*RET_FOUND), a table, or an error: a view, a virtual table. */
int sqlite_find_table(Sqlite *self, const char *table, bool *ret_found, bool *ret_without_rowid, Error *error);
void sqlite_tables_reset(Sqlite *self);
void sqlite_table_forget(Sqlite *self, const char *name); /* what was prepared for operations */
SqliteTable *sqlite_table_slot(Sqlite *self, const Table *table);

/* --- rows.c --- */
int sqlite_bind_file(const SqliteTable *slot, const Table *table, const Batch *batch, Error *error);
int sqlite_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
int sqlite_fail_row(Sqlite *self, int r, uint64_t row, Error *error);

/* --- kinds.c --- */
#define SQLITE_DECLARATION_MAX 32
const char *sqlite_declaration(Kind kind, char ret[static SQLITE_DECLARATION_MAX]); /* "DECIMAL_TEXT(10,2)"; RET */
bool sqlite_declared_kind(const char *declared, Kind *ret);                         /* false: no kind means it */
int sqlite_describe(void *destination, const char *name, Table *ret, bool *ret_found, Error *error);
int sqlite_has_inexact(void *destination, const char *table, const char *column, bool *ret, Error *error);
int sqlite_read_columns(Sqlite *self, const char *name, Table *ret, Error *error); /* of a table that is there */

static inline Kind column_kind(const FrameColumn *column)
{
    return (Kind){ .type = column->type, .precision = column->precision, .scale = column->scale };
}

/* --- schema.c --- */
int sqlite_change(void *destination, const Table *table, const SchemaChange *change, Error *error);
int sqlite_drop(void *destination, const char *name, Error *error);
/* Executes SQL, which changes the schema, or tells it in a plan. */
int sqlite_ddl(Sqlite *self, const char *sql, const char *attempt, Error *error);
void sqlite_quote_text(Buffer *buffer, const char *text); /* 'text' as a literal */

/* --- widen.c --- */
/* Every column that is in TABLE and there, as TABLE has it. COLUMN is the one that was asked for. */
int sqlite_widen(Sqlite *self, const Table *table, size_t column, Error *error);
int sqlite_register_functions(Sqlite *self, Error *error);

/* --- keyed.c --- */
int sqlite_write_keyed(Sqlite *self, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
int sqlite_merge(void *destination, const Table *table, Error *error);
int sqlite_expire(void *destination, const Table *table, const char *key, const char *key_before, const char *column,
                  int64_t before_us, Error *error);
int sqlite_soft_delete(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error);
Keyed *sqlite_keyed_free(Keyed *keyed); /* NULL is fine; NULL */
/* As a column of TYPE keeps it: an instant in UTC with Z. At most TIMESTAMP_TEXT_MAX bytes, no NUL; the length. */
size_t sqlite_timestamp_text(ColumnType type, const Timestamp *timestamp, char *ret);
