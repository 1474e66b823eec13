#pragma once
/*
 * One sync: a worker, a writer, the pipe between them, and their supervision from spawn to the last process's end. It
 * says how it went in a RunRecord; when to run and what follows is the manager's.
 */
#include <jansson.h>
#include <uv.h>

#include "daemon/wherryd/config.h"
#include "daemon/wherryd/store.h"
#include "daemon/wherryd/tree.h"

#define SYNC_END_BOUND_MS (10 * 1000) /* from CANCEL, or the last thing that a program had to say, to SIGKILL */
#define SYNC_PROGRESS_INTERVAL_MS 100 /* at most this often is progress handed on */
#define SYNC_WARNINGS_MAX 100         /* kept in the run's record; all are logged */
#define SYNC_PROCESSES_MAX 256        /* of one sync, grandchildren included */
#define SYNC_FILES_OPEN_MAX \
    32768 /* files that a worker was told to load and the writer has not reported: more than the pipe holds */
#define SYNC_WORKER_PAYLOAD_MAX (1u << 20) /* of a worker's frames on its socket: none of them is large */

typedef enum SyncTask {
    SYNC_LOAD,
    SYNC_GET_STATE, /* a writer alone: what it reports on opening */
    SYNC_SET_STATE, /* a writer alone: commits a state under a new epoch */
    SYNC_PLAN,      /* as SYNC_LOAD, but nothing is done: what would be is told */
} SyncTask;

typedef struct SyncProgress {
    uint64_t rows, bytes, bytes_total; /* bytes_total 0: unknown */
    const char *file;                  /* NULL: none */
    const char *phase;
} SyncProgress;

typedef struct SyncResult {
    ErrorKind kind;    /* why it failed; ERROR_NONE: it did not, or only files did */
    const char *state; /* SYNC_GET_STATE: JSON */
    json_t *plan;      /* SYNC_PLAN; borrowed; NULL: it could not even begin */
    bool unresolved;   /* its configuration was refused before anything was started */
} SyncResult;

typedef struct Sync Sync;
typedef struct SyncOptions {
    uv_loop_t *loop;
    Store *store;
    Trees *trees;
    const char *libexec_dir;
    ConnectionConfig *config; /* a reference is taken */
    RunRecord *record;        /* run_id, connection, trigger given; the rest is filled in; outlives the sync */
    SyncTask task;
    bool full;
    json_t *tables;          /* borrowed; of a full sync: only these; NULL: all */
    const char *asked_as;    /* what a person tells wherryctl to mean this connection; outlives the sync */
    bool once;               /* a person is looking, who has not seen what earlier syncs said */
    const char *debug_state; /* a connector is debugged: it begins with this state (JSON), and the writer tells more */
    const json_t *state;     /* SYNC_SET_STATE; NULL: back to {} */
    void (*progress)(const SyncProgress *progress, void *userdata);
    /* Once, never from within sync_start(); SYNC is invalid afterwards. */
    void (*finished)(const SyncResult *result, void *userdata);
    void *userdata;
} SyncOptions;

Sync *sync_start(const SyncOptions *options); /* what goes wrong is told through `finished` */
void sync_cancel(Sync *sync, const char *reason /* NULL: cancelled by a person */);
void sync_kill(Sync *sync); /* the bound of someone else has passed: no more waiting */
/* Ends it without a word (the daemon itself is ending). */
void sync_abandon(Sync *sync);
