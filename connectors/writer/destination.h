#pragma once
/*
 * What a destination implements. One folder under connectors/destinations is one program in libexec/wherry: its main() is
 * `return writer_main(argc, argv, &destination_x);`. No other code knows a destination's name.
 *
 * The writer library does the rest: early lockdown, HELLO and BEGIN, the sandbox, checking the order of the frames,
 * FILE_SEEN, WORKER_GONE, CANCEL, reporting. The protocol of a batch is always
 *
 *     begin → (ensure_table | file_begin | write)* → commit | abort
 *
 * `begin` takes the lock and compares (sequence, epoch) with what read_state() found, or fails with ERROR_TEMPORARY "…was written by
 * another run". `commit` writes rows, DDL, state and ledger marker in one transaction, only after the compare-and-swap was seen to change one row, and
 * returns after the data is on disk. After any failed call but abort and close, the library calls abort.
 *
 * BEGIN's configuration for a writer: {"connection", "run_id", "full", "files": true where the source is files, "write_mode",
 * "dest_table", "commit_interval", "max_value_size", "sandbox", "destination": {…}} with secrets resolved, defaults filled
 * in, paths absolute: its shape is written down at the top of daemon/wherryd/config.h.
 */
#include <jansson.h>

#include "lib/formats/frame.h"
#include "lib/system/sandbox.h"

typedef struct CommittedState {
    uint64_t sequence; /* 0: never written */
    uint64_t epoch;
    char *run_id; /* owned */
    char *state;  /* owned; JSON */
} CommittedState;

typedef struct Table {
    uint16_t id;
    char *name;
    uint8_t flags;
    FrameColumn *columns;
    size_t column_count;
    void *private; /* the destination's own: prepared statements … */
} Table;

typedef struct Batch {
    uint64_t sequence;   /* that commit writes: the one before plus 1 */
    uint64_t epoch;
    const char *run_id;
    const char *state;   /* NULL: unchanged */
    bool is_file;
    uint8_t file_hash[SHA256_SIZE];
    const char *file_name; /* printable */
    uint64_t rows;
    int64_t started_us;  /* wall clock: _ingested_at */
} Batch;

typedef struct Destination {
    const char *program; /* "destination-sqlite" */
    /* Before the sandbox: reads nothing foreign; creates what must exist for the rules to bind (database, journal). */
    int (*open)(void **ret, const json_t *configuration, SandboxPolicy *policy, Error *error);
    int (*connect)(void *destination, Error *error); /* inside the sandbox */
    int (*read_state)(void *destination, CommittedState *ret, Error *error);
    int (*file_known)(void *destination, const uint8_t hash[static SHA256_SIZE], bool *ret, Error *error);
    int (*begin)(void *destination, const Batch *batch, Error *error);
    int (*ensure_table)(void *destination, Table *table, Error *error);
    int (*file_begin)(void *destination, Table *table, const Batch *batch, Error *error); /* append: delete by hash; truncate: delete all */
    int (*write)(void *destination, Table *table, const Frame *rows, uint64_t first_row, Error *error);
    int (*commit)(void *destination, const Batch *batch, Error *error);
    void (*abort)(void *destination);
    void (*close)(void *destination);
} Destination;

int writer_main(int argc, char *argv[], const Destination *destination);
