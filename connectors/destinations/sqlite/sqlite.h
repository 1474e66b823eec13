#pragma once
/*
 * Inside destination-sqlite: one database file, open for one connection. database.c opens and configures it and turns
 * SQLite's result codes into errors that a person can act on; ledger.c keeps Wherry's own tables and the transaction;
 * table.c creates and checks tables; rows.c inserts; temporary.c gives SQLite temporary files without a folder;
 * caretaker.c takes away what was made for nothing.
 */
#include <sqlite3.h>

#include "connectors/destinations/sqlite/caretaker.h"
#include "connectors/destinations/sqlite/temporary.h"
#include "connectors/writer/destination.h"

typedef enum JournalMode { JOURNAL_KEEP, JOURNAL_TRUNCATE, JOURNAL_WAL } JournalMode;

/* Where a table stands in this batch. */
typedef struct SqliteTable {
    sqlite3_stmt *insert; /* owned */
    char *name;           /* owned */
    char *scratch;        /* owned: dates and timestamps of one row as text */
    bool build_index;     /* at commit: the table was empty when the file began */
} SqliteTable;

#define SQLITE_CACHE_KIB "8000" /* the peak of the whole program is some 12 MB, whatever the size of a load */
#define SQLITE_SORT_CACHE_KIB "4000"
#define SQLITE_FILES 4 /* the database, its journal, -wal and -shm */

typedef struct Sqlite {
    Writer *writer;
    char *connection; /* owned, as all strings here */
    bool truncate;    /* write_mode */
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
    SqliteTable *tables;      /* by id */
    size_t table_count;

    int64_t waiting_since_ms; /* for a lock */
    bool gave_up;             /* waiting for a lock */
    bool cancelled;
    const char *phase;
} Sqlite;

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
/* "name" quoted as an identifier. */
void sqlite_quote(Buffer *buffer, const char *name);

static inline void sqlite_finalizep(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
}

/* --- ledger.c --- */
int sqlite_read_state(void *destination, CommittedState *ret, Error *error);
int sqlite_file_known(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                      Error *error);
int sqlite_begin(void *destination, const Batch *batch, Error *error);
int sqlite_commit(void *destination, const Batch *batch, Error *error);
void sqlite_abort(void *destination);
/* Makes TABLE this connection's, or fails where it is another's. */
int sqlite_own_table(Sqlite *self, const Table *table, Error *error);

/* --- table.c --- */
int sqlite_ensure_table(void *destination, const Table *table, const Batch *batch, Error *error);
int sqlite_file_begin(void *destination, const Table *table, const Batch *batch, Error *error);
int sqlite_build_indexes(Sqlite *self, Error *error);
void sqlite_tables_reset(Sqlite *self);

/* --- rows.c --- */
int sqlite_bind_file(SqliteTable *slot, const Table *table, const Batch *batch, Error *error);
int sqlite_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
