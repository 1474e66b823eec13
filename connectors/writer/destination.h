#pragma once
/*
 * What a destination implements. One folder under connectors/destinations is one program in libexec/wherry: its main()
 * is `return writer_main(argc, argv, &destination_x);`. No other code knows a destination's name.
 *
 * The writer library does the rest: early lockdown, HELLO and BEGIN, the sandbox, checking the order and the content of
 * the frames (sequence.h: what write() is given is well-formed, typed as its table says, and bounded), FILE_SEEN,
 * WORKER_GONE, CANCEL, reporting. The protocol of a batch is always
 *
 *     begin → (ensure_table | file_begin | write | truncate)* → commit | abort
 *
 * `begin` takes the lock and compares (sequence, epoch) with what was last seen (read_state, or the batch committed
 * before), or fails with ERROR_TEMPORARY "… was written by another run". `commit` writes rows, DDL, state and ledger
 * marker in one transaction, only after the compare-and-swap was seen to change one row, and returns after the data is
 * on disk. After any failed call but abort and close, the library calls abort.
 *
 * A batch with `log` set holds lines of the sync's log and nothing else: it belongs to no sequence. Its begin compares
 * nothing, its commit writes no state and no marker, and the table that it describes is LOG_TABLE_OWNER's in place of
 * the connection's: several connections write to it at once, and a destination that lets them makes them wait for each
 * other in begin. There is at most one, after all others, whatever became of them.
 *
 * Inside a batch that is a file, an error of kind ERROR_DATA is that file's own: it is rolled back and reported as
 * failed, and the sync goes on with the next file. Every other kind ends the sync.
 *
 * BEGIN's configuration for a writer stands at the top of daemon/wherryd/config.h. Two keys ask for something else than
 * a sync: {"get_state": true} answers OPENED and DONE; {"set_state": {…} or null} commits that state ("{}" for null)
 * under a new epoch and answers OPENED, COMMITTED, DONE. Neither reads the pipe. {"get_state": true} may be given
 * together with neither "files" nor a run id. {"plan": true} reads the pipe up to the
 * first row and does nothing: see writer_plan().
 */
#include <jansson.h>
#include <string.h>

#include "lib/formats/frame.h"
#include "lib/formats/kind.h"
#include "lib/system/sandbox.h"

typedef struct Writer Writer; /* what the library offers to a destination */

/* For long calls (a wait for a lock, an index build): says at most every 100 ms that work goes on in PHASE, and looks
 * for CANCEL. True: give up with ERROR_CANCELLED. Costs one clock reading when called too often. */
bool writer_pulse(Writer *writer, const char *phase);
void writer_log(Writer *writer, int priority, const char *format, ...) _public_printf_(3, 4);

/* Where BEGIN says {"plan": true}: what takes the statements that would be executed (plan_add()). NULL: a sync.
 *
 * A destination that plans writes nothing and keeps nobody waiting: open() makes no file, connect() opens for reading
 * alone where there is such a thing, begin() takes no lock that others would wait for. Then begin, describe and change,
 * or ensure_table and file_begin, and commit are called as in a sync. Each goes the same way, but a statement that
 * would change the schema (DDL, and what a change of it takes) is not executed but added, in the same order; there is
 * one function for both, through which all of them go. What a sync would only read is read, what it would delete or
 * insert is left out, and what it would make is not there. commit() adds what it would make, and rolls back. There are
 * no rows, and of the files only the first is asked about. So that a plan has nothing to say where nothing changes, a
 * statement that would change nothing (IF NOT EXISTS) is not executed either. */
Buffer *writer_plan(Writer *writer);
static inline void plan_add(Buffer *plan, const char *statement)
{
    buffer_append(plan, statement, strlen(statement) + 1);
}

typedef struct CommittedState {
    uint64_t sequence; /* 0: never written */
    uint64_t epoch;
    char *run_id;       /* owned */
    char *state;        /* owned; JSON */
    int64_t updated_us; /* when, wall clock; 0: never */
} CommittedState;

void committed_state_clear(CommittedState *state); /* for _cleanup_ too */

typedef struct Table {
    uint16_t id;
    uint8_t flags;
    char *name;           /* owned; valid UTF-8 without NUL, never _wherry_… */
    FrameColumn *columns; /* owned, names too; distinct names, valid UTF-8 without NUL */
    size_t column_count;  /* at least 1, in what a destination is given */
} Table;

void table_clear(Table *table); /* for _cleanup_ too */
Table table_copy(const Table *table);

/* Flags of a Table and its columns that never come over the pipe. */
enum { TABLE_HISTORY = 16 };
enum {
    COLUMN_SYSTEM = 16, /* one that the writer adds: _fivetran_… */
    COLUMN_INEXACT =
        32 /* has held an integer that no double holds exactly: with floats it becomes STRING, not DOUBLE */
};

/* The columns that the library adds to tables of operations. A table without a key of its own gets COLUMN_ID for key.
 * With history: COLUMN_START joins the key, and COLUMN_END and COLUMN_ACTIVE stand instead of COLUMN_DELETED. */
#define SYSTEM_COLUMN_PREFIX "_fivetran_"
#define SYSTEM_COLUMN_ID "_fivetran_id"           /* STRING */
#define SYSTEM_COLUMN_SYNCED "_fivetran_synced"   /* UTC_DATETIME */
#define SYSTEM_COLUMN_DELETED "_fivetran_deleted" /* BOOLEAN */
#define SYSTEM_COLUMN_START "_fivetran_start"     /* UTC_DATETIME */
#define SYSTEM_COLUMN_END "_fivetran_end"         /* UTC_DATETIME */
#define SYSTEM_COLUMN_ACTIVE "_fivetran_active"   /* BOOLEAN */

/* One step of DDL. Nothing is ever dropped or narrowed.
 *
 * What a destination's own types and constraints cannot say stands in _wherry_columns, beside the other tables of ours:
 * (table_name, column_name, fact), a fact being "inexact", and in DuckDB, whose keyed tables have no PRIMARY KEY, also
 * "key" and "decimal". */
typedef enum SchemaChangeType {
    SCHEMA_CREATE = 1, /* the table, with all of its columns; those with COLUMN_KEY tell rows apart */
    SCHEMA_ADD,        /* COLUMN is new: NULL in the rows that are there */
    SCHEMA_WIDEN,      /* COLUMN is of the kind FROM there: its values are rewritten, each as value_convert() would */
    SCHEMA_INEXACT,    /* COLUMN gets the mark COLUMN_INEXACT, in _wherry_columns */
} SchemaChangeType;

typedef struct SchemaChange {
    SchemaChangeType type;
    size_t column; /* in the table's columns */
    Kind from;
} SchemaChange;

typedef struct Batch {
    uint64_t sequence; /* that commit writes: the one before plus 1 */
    uint64_t epoch;    /* that commit writes: the one before, or plus 1 where a state is set by hand */
    const char *run_id;
    const char *state; /* NULL: unchanged */
    bool is_file;
    uint8_t file_hash[SHA256_SIZE];
    const char *file_name; /* printable */
    uint64_t rows;         /* so far */
    int64_t started_us;    /* wall clock, never before the connection's last commit: _ingested_at, _fivetran_synced */
    bool log;              /* see above */
} Batch;

/* "NAME" as an identifier of SQL, in any of its dialects here; for destinations. */
void sql_quote(Buffer *sql, const char *name);

/* SELECT … with a row where COLUMN of TABLE has a value that is not exact as a float. SCHEMA: or NULL. Caller frees. */
char *sql_find_inexact(const char *schema, const char *table, const char *column);

/* In _wherry_tables, where a connection's name stands: no connection is called so. */
#define LOG_TABLE_OWNER "*"
/* The error for WHO (a connection or LOG_TABLE_OWNER), that must not have TABLE of OWNER. PLACE: ""/srv/shop.db"". */
int refuse_owner(const char *table, const char *place, const char *owner, const char *who, Error *error);

#define OPERATION_BIT(operation) (1u << (operation))

typedef struct Destination {
    const char *program;         /* "destination-sqlite" */
    unsigned operations;         /* OPERATION_BIT()s that write() applies; others are refused by name */
    bool names_ignore_case;      /* of columns and tables: "a" and "A" are one */
    bool schema_is_prefix;       /* there are no schemas: "schema" in its configuration begins the names of tables */
    unsigned name_max;           /* bytes of a name; 0: any */
    unsigned columns_max;        /* of a table */
    unsigned decimal_digits_max; /* 0: any */
    /* Before the sandbox: reads nothing foreign; creates what must exist for the rules to bind (database, journal). */
    int (*open)(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error);
    int (*connect)(void *destination, Error *error); /* inside the sandbox */
    int (*read_state)(void *destination, CommittedState *ret, Error *error);
    /* RET_ROWS: how many rows it was committed with; 0 where it is not known. */
    int (*file_known)(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                      Error *error);
    /* How many files of this connection are marked as loaded where TABLE is not there; 0 where it is. A mere look, in a
     * batch or not. */
    int (*files_lost)(void *destination, const char *table, uint64_t *ret, Error *error);
    int (*begin)(void *destination, const Batch *batch, Error *error);
    /* Creates or validates; again in each batch that touches TABLE, and when its columns were replaced. */
    int (*ensure_table)(void *destination, const Table *table, const Batch *batch, Error *error);
    /* append: delete by hash; truncate: delete all. Once per file, after ensure_table. */
    int (*file_begin)(void *destination, const Table *table, const Batch *batch, Error *error);
    /* INSERT: rows of a file. Else rows of the merge that the next merge() ends: see below.
     * FIRST_ROW: the 1-based number of the frame's first row in its file (or batch), for messages. */
    int (*write)(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error);

    /* In files of changes (write_mode cdc), TABLE has COLUMN_KEY on the columns that tell its rows apart, which the
     * table need not keep unique; ensure_table sees to an index on them, and file_begin deletes nothing. There write()
     * is given DELETE rows with only the keys' values, merge() ends these (every row of such a key is removed), and
     * then INSERT rows as ever; both again and again, but a key comes once in a file, so that all of it may as well
     * wait for commit(). */

    /* --- tables of operations; all NULL where `operations` has only INSERT ---
     *
     * The library coalesces operations per key, converts values, adds the system columns and decides which DDL is
     * needed. A destination sees plain tables: what it is given is the table as it is there, column by column in that
     * order, then those to be added. Nothing here calls ensure_table or file_begin. */

    /* Takes the table NAME for this connection, or fails where it is another's (_wherry_tables), and tells what is
     * there: *RET_FOUND, and in RET (to be freed by table_clear()) its columns in order, each with its kind, COLUMN_KEY
     * where it is in the primary key, COLUMN_REQUIRED where it is otherwise NOT NULL, COLUMN_INEXACT where marked. A
     * column of a type that no kind means, or a view, is an ERROR_CONFIGURATION that names it. */
    int (*describe)(void *destination, const char *name, Table *ret, bool *ret_found, Error *error);
    /* Whether COLUMN, of whole numbers, of a table that describe() found holds one for which integer_is_exact() is
     * false: others than Wherry, who left no mark, may have written it. sql_find_inexact() is the question. */
    int (*has_inexact)(void *destination, const char *table, const char *column, bool *ret, Error *error);
    /* Does CHANGE in the batch's transaction; TABLE is the table as it will be after all changes. */
    int (*change)(void *destination, const Table *table, const SchemaChange *change, Error *error);
    /* Applies what write() was given since the last merge() for TABLE. Rows have a value for each column of TABLE; a
     * key comes once at most; within an operation rows are sorted by key, ascending (text and bytes by bytes). UPSERT:
     * the row replaces that of its key, or is new. Nothing is ABSENT. UPDATE: the row of that key, where there is one,
     * gets the values that are not ABSENT. DELETE: the row of that key, where there is one, is removed for good. Only
     * key columns have values. With TABLE_HISTORY, the key is the one without COLUMN_START, and a row's COLUMN_START is
     * the same in all rows of a batch: T. UPSERT: the row of that key that began before T, and is active or was ended
     * at T, gets COLUMN_END = T - 1 ms and COLUMN_ACTIVE false; the new row replaces one that began at T, or is new.
     * UPDATE: as an UPSERT of the active row of that key, where there is one, with the values that are not ABSENT.
     * DELETE: the active row of that key gets COLUMN_END = T and COLUMN_ACTIVE false; COLUMN_START and COLUMN_SYNCED
     * have values, too, and COLUMN_SYNCED is set. */
    int (*merge)(void *destination, const Table *table, Error *error);
    /* For rows with COLUMN_SYNCED before BEFORE_US (INT64_MAX: all): sets COLUMN_DELETED where it is not set, and
     * leaves COLUMN_SYNCED; with history ends the active ones at AT_US. */
    int (*soft_delete)(void *destination, const Table *table, int64_t before_us, int64_t at_us, Error *error);
    int (*drop)(void *destination, const char *name, Error *error); /* where it is there; its marks, too */
    /* Removes for good the rows of TABLE whose KEY, its one column of the key and a STRING, is less than KEY_BEFORE,
     * and whose COLUMN, of UTC_DATETIME, is before BEFORE_US. */
    int (*expire)(void *destination, const Table *table, const char *key, const char *key_before, const char *column,
                  int64_t before_us, Error *error);

    int (*commit)(void *destination, const Batch *batch, Error *error);
    void (*abort)(void *destination);
    void (*close)(void *destination); /* NULL is never passed */
} Destination;

int writer_main(int argc, char *argv[], const Destination *destination);
