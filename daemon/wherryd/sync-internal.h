#pragma once
/* What sync.c (supervision: states and events), sync-frames.c (what the programs say) and sync-lines.c (what becomes of
 * the lines among it) share. */
#include "daemon/wherryd/ledger.h"
#include "daemon/wherryd/log.h"
#include "daemon/wherryd/program.h"
#include "daemon/wherryd/sync.h"

typedef enum SyncState {
    STAY = 0, /* in the table only */
    OPENING,  /* the writer opens its destination; the worker waits for BEGIN */
    RUNNING,  /* the worker streams */
    DRAINING, /* the worker is gone; the writer takes what is left in the pipe */
    ENDING,   /* all is said; the processes have until the deadline to end */
    KILLED,   /* they were ended; the kernel has yet to say so */
    FINISHED,
    _SYNC_STATE_MAX,
} SyncState;

typedef enum SyncEvent {
    WRITER_OPENED,
    WORKER_DONE,   /* it says that it has sent everything */
    WORKER_FAILED, /* it says why it cannot go on, or what it says makes no sense */
    WORKER_CLOSED, /* its socket has ended */
    WORKER_EXITED,
    WRITER_DONE,
    WRITER_FAILED,
    WRITER_CLOSED,
    WRITER_EXITED,
    ABORT, /* cancelled, stalled, out of memory … */
    DEADLINE,
    _SYNC_EVENT_MAX,
} SyncEvent;

/* Lines that one program may log: a burst, then so many a second. */
#define LOG_BURST 2000
#define LOG_PER_SECOND 200
typedef struct LogLimit {
    uint32_t left;
    uint64_t suppressed;
    int64_t refilled_ms;
} LogLimit;

typedef struct Side {
    Sync *sync;
    Program program;
    bool is_writer;
    bool hello, done;
    bool ended_by_us;
    Error error; /* the first that it told, or why it ended */
    LogLimit limit;
} Side;

struct Sync {
    SyncOptions options;
    ConnectionConfig *config;
    RunRecord *record;
    LogContext context;
    Mask *mask;
    Tree *tree;
    Ledger *ledger; /* NULL: not a sync of files */
    json_t *worker_begin;

    SyncState state;
    Side worker, writer;
    bool dispatching;
    uv_timer_t tick;
    uint32_t tick_ms;
    unsigned ticks;
    int64_t deadline_ms; /* monotonic; 0: none */
    int64_t moved_ms;    /* when something last moved */
    int64_t started_ms;
    bool writer_failed_first;

    const char *forced_outcome; /* "cancelled", "stalled", "failed"; NULL: what the programs say decides */
    Error reason;               /* with it */

    bool asked; /* the writer has a FILE_SEEN to answer, of: */
    uint8_t asked_hash[SHA256_SIZE];
    uint64_t sequence;     /* committed last */
    char *committed_state; /* SYNC_GET_STATE */
    bool secret_in_state;  /* somebody was told */
    json_t *plan;          /* SYNC_PLAN: what was told so far; else NULL */
    json_t *planned_file;  /* the one that is asked about, of the plan's; NULL: it is not shown */
    size_t plan_left_out;  /* files that are not shown */
    bool unresolved;       /* see SyncResult */
    uint64_t memory_limit;

    bool log_table;          /* the writer takes lines for one */
    bool lines_ended;        /* and has been told of the last */
    uint64_t lines_left_out; /* since the last that it took */

    uint64_t rows, bytes, bytes_total;
    char *file, *phase;
    int64_t progress_at_ms;

    int64_t files_failed;
    uint32_t files_open; /* told to load, not reported yet */
    char *loading;       /* the last of them; printable */
    uint8_t loading_hash[SHA256_SIZE];
    bool crashed; /* the worker, while it read that one */
    char *first_failure;
    unsigned unreleased; /* programs and the timer */
};

/* sync.c */
void sync_dispatch(Sync *sync, SyncEvent event);
void sync_abort(Sync *sync, const char *outcome, Error *reason /* moved */);
void sync_fail_side(Side *side, Error *error /* moved */); /* keeps the first, and dispatches */
static inline bool sync_has_worker(const Sync *sync)
{
    return sync->options.task == SYNC_LOAD || sync->options.task == SYNC_PLAN;
}
static inline void sync_moved(Sync *sync)
{
    sync->moved_ms = (int64_t)uv_now(sync->options.loop);
}

/* The error of a sync in which both programs have said all; NULL: none. The caller frees. */
char *sync_failure(const Sync *sync);

/* sync-lines.c */
#define LINE_CONNECTOR "connector_sdk" /* a source's own word, in Fivetran's words, as the next */
#define LINE_OURS "library"
#define LINE_PRINTED "output"
/* TEXT is masked. LEVEL: of sync_level(); NULL: as PRIORITY says. */
void sync_line(Sync *sync, int priority, const char *level, const char *origin, const char *text, size_t n);
/* What a connector calls LEVEL, where it is one of Fivetran's; else NULL. */
const char *sync_level(FrameText level);
void sync_end_lines(Sync *sync); /* once nothing can follow */
void sync_say_suppressed(Side *side);

/* sync-frames.c */
void sync_take_frame(Side *side, const Frame *frame);
void sync_take_line(Side *side, const char *text, size_t n);
int sync_open_ledger(Sync *sync, Error *error);
void sync_close_ledger(Sync *sync);
char *sync_masked(const Sync *sync, const char *text, size_t n);           /* the caller frees */
void sync_warn(Sync *sync, const char *format, ...) _public_printf_(2, 3); /* log and record */
