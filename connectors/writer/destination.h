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
 * Inside a batch that is a file, an error of kind ERROR_DATA is that file's own: it is rolled back and reported as
 * failed, and the sync goes on with the next file. Every other kind ends the sync.
 *
 * BEGIN's configuration for a writer stands at the top of daemon/wherryd/config.h. Two keys ask for something else than
 * a sync: {"get_state": true} answers OPENED and DONE; {"set_state": {…} or null} commits that state ("{}" for null)
 * under a new epoch and answers OPENED, COMMITTED, DONE. Neither reads the pipe. {"get_state": true} may be given
 * together with neither "files" nor a run id.
 */
#include <jansson.h>

#include "lib/formats/frame.h"
#include "lib/system/sandbox.h"

typedef struct Writer Writer; /* what the library offers to a destination */

/* For long calls (a wait for a lock, an index build): says at most every 100 ms that work goes on in PHASE, and looks
 * for CANCEL. True: give up with ERROR_CANCELLED. Costs one clock reading when called too often. */
bool writer_pulse(Writer *writer, const char *phase);
void writer_log(Writer *writer, int priority, const char *format, ...) _public_printf_(3, 4);

typedef struct CommittedState {
    uint64_t sequence; /* 0: never written */
    uint64_t epoch;
    char *run_id; /* owned */
    char *state;  /* owned; JSON */
} CommittedState;

void committed_state_clear(CommittedState *state); /* for _cleanup_ too */

typedef struct Table {
    uint16_t id;
    uint8_t flags;
    char *name;           /* owned; valid UTF-8 without NUL, never _wherry_… */
    FrameColumn *columns; /* owned, names too; distinct names, valid UTF-8 without NUL */
    size_t column_count;  /* at least 1 */
} Table;

typedef struct Batch {
    uint64_t sequence; /* that commit writes: the one before plus 1 */
    uint64_t epoch;    /* that commit writes: the one before, or plus 1 where a state is set by hand */
    const char *run_id;
    const char *state; /* NULL: unchanged */
    bool is_file;
    uint8_t file_hash[SHA256_SIZE];
    const char *file_name; /* printable */
    uint64_t rows;         /* so far */
    int64_t started_us;    /* wall clock: _ingested_at */
} Batch;

#define OPERATION_BIT(operation) (1u << (operation))

typedef struct Destination {
    const char *program; /* "destination-sqlite" */
    unsigned operations; /* OPERATION_BIT()s that write() applies; others are refused by name */
    /* Before the sandbox: reads nothing foreign; creates what must exist for the rules to bind (database, journal). */
    int (*open)(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error);
    int (*connect)(void *destination, Error *error); /* inside the sandbox */
    int (*read_state)(void *destination, CommittedState *ret, Error *error);
    /* RET_ROWS: how many rows it was committed with; 0 where it is not known. */
    int (*file_known)(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, uint64_t *ret_rows,
                      Error *error);
    int (*begin)(void *destination, const Batch *batch, Error *error);
    /* Creates or validates; again in each batch that touches TABLE, and when its columns were replaced. */
    int (*ensure_table)(void *destination, const Table *table, const Batch *batch, Error *error);
    /* append: delete by hash; truncate: delete all. Once per file, after ensure_table. */
    int (*file_begin)(void *destination, const Table *table, const Batch *batch, Error *error);
    /* FIRST_ROW: the 1-based number of the frame's first row in its file (or batch), for messages. */
    int (*write)(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error);
    int (*truncate)(void *destination, const Table *table, Error *error); /* NULL: TRUNCATE is refused */
    int (*commit)(void *destination, const Batch *batch, Error *error);
    void (*abort)(void *destination);
    void (*close)(void *destination); /* NULL is never passed */
} Destination;

int writer_main(int argc, char *argv[], const Destination *destination);
