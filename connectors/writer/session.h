#pragma once
/*
 * Inside the writer library: one sync's state, shared by the conversation with the daemon (control.c), the operations
 * (apply.c) and the loop (writer.c).
 */
#include "connectors/writer/sequence.h"
#include "connectors/writer/spool.h"
#include "connectors/writer/target.h"
#include "lib/system/channel.h"

/* The daemon passes on one question at a time; more than this many waiting is not our daemon. */
#define QUESTIONS_MAX 64

typedef struct LogTable LogTable; /* log-table.c */

struct Writer {
    const Destination *destination;
    void *handle;    /* of the destination; NULL before open */
    Channel control; /* fd -1: nobody listens (fuzzing) */
    Sequence sequence;
    const char *run_id;
    bool files;
    int64_t commit_interval_ms;

    /* apply.c */
    CommittedState known; /* what the destination holds */
    Batch batch;
    bool in_batch;
    uint8_t *ensured; /* per table */
    size_t ensured_count;
    char *file_name;      /* of the open file, printable */
    bool replaces;        /* write_mode truncate */
    char *passed_over;    /* a file that was not loaded, printable; NULL: none, or it was spoken of */
    bool looked_for_lost; /* whether the table of files is still there */
    char *deferred_state; /* taken, not yet committed; NULL: none */
    bool deferred_clean;  /* nothing was written since */
    size_t looked_ahead;  /* writer.c: how far behind it, for where it may be written on */
    int64_t batch_began_ms;
    uint64_t rows_seen;
    uint64_t rows_committed;

    bool plan;            /* nothing is to be done, only said: */
    Buffer planned;       /* statements of the open batch, each with its NUL */
    Buffer told;          /* and of those before */
    bool file_is_planned; /* a file was: those after it find the table as it leaves it */

    /* operations.c: outside files */
    TargetRules rules;
    const json_t *drop_tables; /* names, borrowed; NULL: none */
    bool full;
    size_t coalesce_memory;
    uint64_t set_aside_max; /* bytes */
    Aside *aside;           /* NULL: nothing can be set aside */
    Target **targets;       /* per table; NULL: not needed yet */
    bool *stale;            /* per table: the worker has described it since */
    Table *declared;        /* per table, until it is looked at: as the worker described it first */
    size_t target_count;
    bool batch_changed; /* something was done in the open batch */
    int64_t sync_began_us;

    /* changes.c: write_mode cdc */
    int changes_fd; /* -1: another write mode */
    Spool *changes; /* of the open file */
    Buffer change_order, change_payload;

    /* debug.c: a person debugs a connector */
    bool debug;
    uint64_t calls[_OPERATION_MAX], truncates, checkpoints; /* calls: rows, by operation */

    char *prefix;        /* owned; of the names of all tables; NULL: none */
    LogTable *log_table; /* log-table.c; NULL: nobody wants it */

    /* control.c */
    bool cancelled;
    bool worker_gone;
    bool daemon_gone;
    int64_t said_ms; /* the last PROGRESS */
    uint8_t questions[QUESTIONS_MAX][SHA256_SIZE];
    size_t question_count;
};

/* --- control.c --- */
int control_send(Writer *writer, const Frame *frame, Error *error);
/* Takes what the daemon has sent, without waiting. */
int control_take(Writer *writer, Error *error);
int control_answer(Writer *writer, Error *error);         /* the questions that wait */
void control_progress(Writer *writer, const char *phase); /* at most every 100 ms */
int control_check(const Writer *writer, Error *error);    /* ERROR_CANCELLED where the daemon said so or is gone */

/* --- apply.c --- */
/* Checks and applies one frame of the pipe. ERROR ends the sync; the caller aborts. */
int apply_operation(Writer *writer, const Frame *frame, Error *error);
/* Commits a checkpoint that was merged with later ones, once its time has come. RET_MS: when to go on; -1: not before
 * there are operations. */
int apply_deferred(Writer *writer, int *ret_ms, Error *error);
/* Whether a checkpoint waits for its commit, and nothing came after it. */
bool apply_waits(const Writer *writer);
int apply_settle(Writer *writer, Error *error);                   /* commits the one that waits, if there is one */
int apply_state(Writer *writer, const char *state, Error *error); /* set_state */
void apply_abort(Writer *writer);
int apply_plan_tell(Writer *writer, Error *error); /* what an open batch would do, but what was told before */
void apply_clear(Writer *writer);

/* --- operations.c: what an open batch is given outside files --- */
void operations_open(Writer *writer);               /* before the sandbox */
void operations_table(Writer *writer, uint16_t id); /* TABLE */
int operations_rows(Writer *writer, const Frame *frame, Error *error);
int operations_truncate(Writer *writer, uint16_t id, Error *error);
bool operations_pending(const Writer *writer); /* tables that were described and not looked at yet */
/* All tables as described, all rows that wait: into the destination's transaction. */
int operations_flush(Writer *writer, Error *error);
/* At the end of a full sync, after a flush: what was not seen is deleted. */
int operations_delete_unseen(Writer *writer, Error *error);
void operations_say_undropped(Writer *writer); /* at the end: tables to be dropped that never came */
void operations_reset(Writer *writer);

/* --- changes.c: files of changes --- */
int changes_open(Writer *writer, Error *error); /* before the sandbox */
/* Takes rows of the open file; TABLE as the worker describes it. */
int changes_rows(Writer *writer, const Table *table, const Frame *rows, Error *error);
/* At the end of the file: each key's latest row into the destination. */
int changes_apply(Writer *writer, const Table *table, Error *error);
void changes_reset(Writer *writer); /* forgets what was taken */
void changes_clear(Writer *writer);
/* TABLE without what the destination does not see. Borrows from it. */
static inline Table changes_visible(const Table *table)
{
    Table visible = *table;
    if (visible.column_count > 1 && visible.columns[visible.column_count - 1].flags & COLUMN_IS_DELETED)
        visible.column_count--;
    return visible;
}

/* --- log-table.c: the sync's log as a table --- */
#define LOG_TABLE "connector_sdk_log"
LogTable *log_table_new(const char *prefix); /* of the name; NULL: none */
LogTable *log_table_free(LogTable *log);
void log_table_take(LogTable *log, const Frame *frame); /* LINE, LINES_END */
/* After the last word: waits for the last line, and writes them all. What fails is a warning. */
void log_table_finish(Writer *writer);
void log_table_plan(Writer *writer);          /* instead: into `planned` */
bool log_table_gives_up(const LogTable *log); /* NULL: no */

/* debug.c: tells what the source emits, where BEGIN says "debug": true. */
void debug_begin(Writer *writer, const json_t *configuration); /* after the rules are set */
void debug_frame(Writer *writer, const Frame *frame);          /* each operation, before it is done */
void debug_end(Writer *writer);
