#pragma once
/* Between keyed.c and history.c: what is prepared for one table, and how its statements are put together. */
#include "connectors/destinations/sqlite/feed.h"

#define COLUMN_NONE SIZE_MAX
#define UPDATES_MAX 16 /* statements for updates of some columns, per table */

typedef enum StatementType {
    STATEMENT_UPSERT,
    STATEMENT_UPDATE_ANY,
    STATEMENT_DELETE,
    STATEMENT_CLOSE,    /* history: the version before ends */
    STATEMENT_AMEND,    /* an update of the version that begins at the same time */
    STATEMENT_CONTINUE, /* a version like the active one, but for the columns that are there */
    STATEMENT_END,      /* a delete */
    _STATEMENT_MAX,
} StatementType;

struct Keyed {
    size_t count; /* columns */
    bool history;
    size_t synced, deleted, start, end, active; /* columns; COLUMN_NONE */
    sqlite3_stmt *statements[_STATEMENT_MAX];   /* owned, as all here; NULL: not needed so far */
    Feed *feed;                                 /* for upserts; NULL with history */
    struct {
        uint8_t *mask;
        sqlite3_stmt *statement;
    } updates[UPDATES_MAX];
    size_t update_count;
    Value *row;      /* the one at hand */
    uint64_t number; /* its own */
    uint8_t *mask;
    size_t mask_size;
    char *scratch; /* dates and timestamps of the row as text, and one more */
};

static inline bool mask_has(const Keyed *keyed, size_t column)
{
    return keyed->mask[column / 8] >> column % 8 & 1;
}

typedef void (*BuildStatement)(Buffer *sql, const Keyed *keyed, const Table *table);
typedef enum BindWhat {
    BIND_KEYS,    /* key columns */
    BIND_PRESENT, /* values that are not ABSENT */
    BIND_VALUES,  /* all values */
    BIND_ALL,     /* and whether they are there */
} BindWhat;

/* A column of the key that the library means: without a version's start. */
bool sqlite_is_key(const Keyed *keyed, const Table *table, size_t column);
void sqlite_put_update(Buffer *sql, const Table *table);  /* UPDATE "t" SET */
void sqlite_put_columns(Buffer *sql, const Table *table); /* INSERT INTO "t" ("a", "b") */
void sqlite_put_where_key(Buffer *sql, const Keyed *keyed, const Table *table);
void sqlite_put_on_conflict(Buffer *sql, const Table *table);
void sqlite_build_update_any(Buffer *sql, const Keyed *keyed, const Table *table);
int sqlite_keyed_prepare(Sqlite *self, const Keyed *keyed, const Table *table, BuildStatement build, sqlite3_stmt **ret,
                         Error *error);
int sqlite_bind_row(const Keyed *keyed, const Table *table, sqlite3_stmt *statement, BindWhat what); /* SQLite's code */
int sqlite_run(sqlite3_stmt *statement);                                                             /* likewise */

/* --- history.c --- */
enum { SQLITE_E_UPSERT = 1 << 30 }; /* what is left to do is an upsert of the row */
/* 0; -1 with ERROR; SQLITE_E_UPSERT; SQLite's code where the row itself failed. */
int sqlite_history_row(Sqlite *self, Keyed *keyed, const Table *table, Operation operation, Error *error);
