#pragma once
/*
 * The daemon's own state.db (SQLite, WAL): schedule, run history, the ledger of files and a cache of state. Deleting it loses history, never data.
 *
 * Opening takes an exclusive flock on STATE_DIR/daemon/lock: one daemon at a time. What a user orders (pause, requeue) is durable when
 * the call returns; the rest is durable enough (the destination knows better). Disk full is ERROR_TEMPORARY and says so with the path.
 */
#include <stdbool.h>
#include <stdint.h>

#include "daemon/wherryd/schedule.h"
#include "lib/basics/error.h"
#include "lib/basics/hash.h"

enum { STORE_E_LOCKED = 1, STORE_E_NOT_FOUND = 2 };

typedef struct Store Store;
/* Creates folders and tables. STORE_E_LOCKED: another daemon has STATE_DIR. */
int store_open(const char *state_dir, Store **ret, Error *error);
Store *store_close(Store *store);

/* Several calls below in one transaction; nestable; without it each call is its own. */
int store_begin(Store *store, Error *error);
int store_commit(Store *store, Error *error);

/* --- connections --- */
typedef struct StoredConnection {
    char *name;
    bool paused_known;  /* pause or resume was ordered: overrides `paused:` in the file */
    ScheduleEntry schedule; /* the persistent part */
    char *last_error;
    char *last_outcome; /* NULL: none */
    int64_t last_started_ms, last_rows; /* 0, -1: none */
    uint64_t sequence;  /* committed last, as the writer reported it */
    char *run_id;       /* that did; NULL: none */
    char *state;        /* cache; NULL: none */
} StoredConnection;
void stored_connection_clear(StoredConnection *connection);
int store_connection_get(Store *store, const char *name, StoredConnection *ret, Error *error); /* STORE_E_NOT_FOUND */
int store_connection_put_schedule(Store *store, const char *name, const ScheduleEntry *entry, bool paused_known, bool durable, Error *error);
int store_connection_put_state(Store *store, const char *name, uint64_t sequence, const char *run_id, const char *state, Error *error);
/* All at once, for start-up. */
int store_connection_each(Store *store, int (*each)(StoredConnection *connection, void *userdata), void *userdata, Error *error);

/* --- runs --- (the fields are those of type Run in the control interface) */
typedef struct RunCounts {
    int64_t files_scanned, new_files, committed, failed, skipped, reclaimed, retried, quarantined_rows;
} RunCounts;
typedef struct RunRecord {
    char run_id[37];
    char *connection;
    char *trigger;  /* schedule manual retry watch once */
    char *outcome;  /* succeeded failed cancelled stalled; NULL: unfinished */
    int64_t started_ms, finished_ms; /* 0: not */
    int64_t duration_ms;             /* by the monotonic clock */
    int64_t rows_committed, bytes_processed, checkpoints;
    char *error;
    char **warnings;
    size_t warning_count;
    bool has_files;
    RunCounts files;
} RunRecord;
void run_record_clear(RunRecord *run);
int store_run_started(Store *store, const RunRecord *run, Error *error);
int store_run_finished(Store *store, const RunRecord *run, Error *error); /* also the connection's last_* columns; keeps STORE_RUNS_KEPT per connection */
#define STORE_RUNS_KEPT 1000
int store_runs(Store *store, const char *connection /* NULL: all */, int64_t limit, int (*each)(const RunRecord *run, void *userdata), void *userdata, Error *error); /* newest first */
/* Runs without an end (the daemon died): marked failed with REASON. */
int store_runs_abandoned(Store *store, const char *reason, Error *error);

/* --- the ledger --- */
typedef enum FileState { FILE_STATE_PENDING, FILE_STATE_PROCESSING, FILE_STATE_COMMITTED, FILE_STATE_FAILED } FileState;
const char *file_state_name(FileState state); /* "PENDING" … */
typedef struct FileRecord {
    char *name;    /* printable */
    char hash[SHA256_TEXT_SIZE];
    FileState state;
    bool forced;   /* requeued: load although the destination has it */
    uint32_t attempts;
    int64_t rows;  /* -1: unknown */
    char *error;
    char *last_run_id;
    int64_t updated_ms;
} FileRecord;
void file_record_clear(FileRecord *file);
int store_file_get(Store *store, const char *connection, const char *hash, FileRecord *ret, Error *error); /* STORE_E_NOT_FOUND */
int store_file_put(Store *store, const char *connection, const FileRecord *file, Error *error);            /* insert or replace */
int store_files(Store *store, const char *connection, bool failed_only, int (*each)(const FileRecord *file, void *userdata), void *userdata, Error *error); /* by name */
/* PROCESSING rows of CONNECTION (whose run is over) back to PENDING; RET: how many. */
int store_files_reclaim(Store *store, const char *connection, int64_t *ret, Error *error);
/* Back to PENDING, attempts 0, forced where it was COMMITTED. By NAME (all contents ever seen under it that are the newest), or all FAILED. STORE_E_NOT_FOUND. */
int store_files_requeue(Store *store, const char *connection, const char *name /* NULL: all failed */, int64_t *ret, Error *error);
int store_files_at_cap(Store *store, const char *connection, uint32_t cap, int64_t *ret, Error *error);
