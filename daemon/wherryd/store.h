#pragma once
/*
 * The daemon's own state.db (SQLite, WAL): schedule, run history, the ledger of files and a cache of state. Deleting it
 * loses history, never data.
 *
 * Opening takes an exclusive flock on STATE_DIR/daemon/lock: one daemon at a time. What a user orders (pause, requeue)
 * is durable when the call returns; the rest is durable enough (the destination knows better). Every error names the
 * database's path; a full disk, a lock or a read-only folder is ERROR_TEMPORARY.
 *
 * Strings may hold any bytes; NULL stays NULL. Callbacks get views that hold during the call, and may call the store; a
 * callback that returns other than 0 ends the walk, which returns that value.
 */
#include <stdbool.h>
#include <stdint.h>

#include "daemon/wherryd/schedule.h"
#include "lib/basics/error.h"
#include "lib/basics/hash.h"

enum { STORE_E_LOCKED = 1, STORE_E_NOT_FOUND = 2 };

typedef struct Store Store;
/* Creates folders and tables. STORE_E_LOCKED: another daemon has STATE_DIR; ERROR says which process, and what to do. A
 * database that is not readable as ours is set aside as state.db.corrupt-TIME, and a new one begun: see
 * store_warning(). One of a later version is refused. */
int store_open(const char *state_dir, Store **ret, Error *error);
Store *store_close(Store *store); /* gives up the lock too */
DEFINE_CLEANUP(Store, store_close)
/* What opening had to do that the operator should know, for the log; NULL: nothing. Holds as long as STORE. */
const char *store_warning(const Store *store);

/* Several calls below in one transaction; nestable; without it each call is its own. Where one of them failed, the
 * outermost commit takes all of them back and fails. Nothing else may be waited for in between. */
int store_begin(Store *store, Error *error);
int store_commit(Store *store, Error *error);
void store_rollback(Store *store); /* ends the whole transaction, nested or not */

/* --- connections --- (a row is made where there is none yet) */
typedef struct StoredConnection {
    char *name;
    bool paused_known;      /* pause or resume was ordered: overrides `paused:` in the file */
    ScheduleEntry schedule; /* the persistent part */
    char *last_error;
    char *last_outcome;                 /* NULL: none */
    int64_t last_started_ms, last_rows; /* 0, -1: none */
    uint64_t sequence;                  /* committed last, as the writer reported it */
    char *run_id;                       /* that did; NULL: none */
    char *state;                        /* cache; NULL: none */
} StoredConnection;
void stored_connection_clear(StoredConnection *connection);
int store_connection_get(Store *store, const char *name, StoredConnection *ret, Error *error); /* STORE_E_NOT_FOUND */
int store_connection_put_schedule(Store *store, const char *name, const ScheduleEntry *entry, bool paused_known,
                                  bool durable, Error *error);
/* STATE NULL: keeps the cached one. Call it in one transaction with the ledger's row for the same commit. */
int store_connection_put_state(Store *store, const char *name, uint64_t sequence, const char *run_id, const char *state,
                               Error *error);
/* All at once, for start-up, by name. CONNECTION is cleared after the call; what is to be kept is taken out with
 * take_ptr(). */
int store_connection_each(Store *store, int (*each)(StoredConnection *connection, void *userdata), void *userdata,
                          Error *error);

/* --- runs --- (the fields are those of type Run in the control interface) */
typedef struct RunCounts {
    int64_t files_scanned, new_files, committed, failed, skipped, reclaimed, retried, quarantined_rows;
} RunCounts;
typedef struct RunRecord {
    char run_id[37];
    char *connection;
    char *trigger;                   /* schedule manual retry watch once */
    char *outcome;                   /* succeeded failed cancelled stalled; NULL: unfinished */
    int64_t started_ms, finished_ms; /* 0: not */
    int64_t duration_ms;             /* by the monotonic clock; -1: unknown */
    int64_t rows_committed, bytes_processed, checkpoints;
    char *error;
    char **warnings;
    size_t warning_count;
    bool has_files;
    RunCounts files;
} RunRecord;
void run_record_clear(RunRecord *run);
int store_run_started(Store *store, const RunRecord *run, Error *error);
/* Also the connection's last_* columns; keeps STORE_RUNS_KEPT per connection. A run that was never started is added. */
int store_run_finished(Store *store, const RunRecord *run, Error *error);
#define STORE_RUNS_KEPT 1000
int store_runs(Store *store, const char *connection /* NULL: all */, int64_t limit /* ≤ 0: all */,
               int (*each)(const RunRecord *run, void *userdata), void *userdata, Error *error); /* newest first */
/* Runs without an end (the daemon died): marked failed with REASON; nobody knows when they ended, so finished_ms stays
 * 0. EACH (may be NULL) is told of them, after the mark, for schedule_finished(). */
int store_runs_abandoned(Store *store, const char *reason,
                         int (*each)(const char *connection, const char *trigger, void *userdata), void *userdata,
                         Error *error);

/* --- the ledger --- (decisions on it: ledger.h) */
typedef enum FileState {
    FILE_STATE_PENDING,
    FILE_STATE_PROCESSING,
    FILE_STATE_COMMITTED,
    FILE_STATE_FAILED,
    _FILE_STATE_MAX
} FileState;
const char *file_state_name(FileState state); /* "PENDING" … */
typedef struct FileRecord {
    char *name; /* printable */
    char hash[SHA256_TEXT_SIZE];
    FileState state;
    bool forced;  /* requeued: load although the destination has it */
    bool doubted; /* COMMITTED, but the destination may not have it: see store_files_doubt() */
    uint32_t attempts;
    int64_t rows;        /* -1: unknown */
    int64_t quarantined; /* rows that were set aside and are still */
    char *sidecar;       /* where; NULL: none are */
    bool requeued;       /* they are to be loaded */
    char *error;
    char *last_run_id;
    int64_t updated_ms;
} FileRecord;
void file_record_clear(FileRecord *file);
int store_file_get(Store *store, const char *connection, const char *hash, FileRecord *ret,
                   Error *error); /* STORE_E_NOT_FOUND */
/* Inserts or replaces; updated_ms of 0 means now. What waits (PENDING) under a name that has now another content is
 * given up: where it was requeued after a load it is COMMITTED again, else forgotten. */
int store_file_put(Store *store, const char *connection, const FileRecord *file, Error *error);
/* Notes that NAME was seen with this content, which makes it the newest content of that name. RET_NEWS: it was not so
 * before. */
int store_file_seen(Store *store, const char *connection, const char *name, const char *hash, bool *ret_news,
                    Error *error);
/* Whether content that FILE's name had too was loaded after FILE was. */
int store_file_replaced(Store *store, const char *connection, const FileRecord *file, bool *ret, Error *error);
/* By name, then age. FAILED_ONLY: FAILED ones whose content is still the newest under its name. */
int store_files(Store *store, const char *connection, bool failed_only,
                int (*each)(const FileRecord *file, void *userdata), void *userdata, Error *error);
/* PROCESSING rows of CONNECTION (whose run is over) back to PENDING; RET: how many. */
int store_files_reclaim(Store *store, const char *connection, int64_t *ret, Error *error);
/* The destination may have been replaced: marks COMMITTED files of CONNECTION doubted, until store_file_trust() or the
 * next put. */
int store_files_doubt(Store *store, const char *connection, Error *error);
int store_file_trust(Store *store, const char *connection, const char *hash, Error *error);
/* Back to PENDING, attempts 0, forced where it was COMMITTED. The newest content seen under NAME (which may be another
 * name of a content known already), or all that store_files(failed_only) shows: for these none is RET 0. Durable.
 * STORE_E_NOT_FOUND: no content was ever seen under NAME. */
int store_files_requeue(Store *store, const char *connection, const char *name /* NULL: all failed */, int64_t *ret,
                        Error *error);
/* Has the quarantined rows of CONNECTION's files loaded; RET: of how many files there are. Durable. */
int store_sidecars_requeue(Store *store, const char *connection, int64_t *ret, Error *error);
/* The files of which this was ordered. */
int store_sidecars_requeued(Store *store, const char *connection, int (*each)(const FileRecord *file, void *userdata),
                            void *userdata, Error *error);
/* It was done. */
int store_sidecar_retired(Store *store, const char *connection, const char *hash, Error *error);
/* How many of what store_files(failed_only) shows have used up CAP attempts. */
int store_files_at_cap(Store *store, const char *connection, uint32_t cap, int64_t *ret, Error *error);
