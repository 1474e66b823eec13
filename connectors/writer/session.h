#pragma once
/*
 * Inside the writer library: one sync's state, shared by the conversation with the daemon (control.c), the operations
 * (apply.c) and the loop (writer.c).
 */
#include "connectors/writer/sequence.h"
#include "lib/system/channel.h"

/* The daemon passes on one question at a time; more than this many waiting is not our daemon. */
#define QUESTIONS_MAX 64

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
    char *deferred_state; /* taken, not yet committed; NULL: none */
    bool deferred_clean;  /* nothing was written since */
    int64_t batch_began_ms;
    uint64_t rows_seen;
    uint64_t rows_committed;

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
/* Commits a checkpoint that was merged with later ones, once its time has come. RET_MS: when to call again; -1: never.
 */
int apply_deferred(Writer *writer, int *ret_ms, Error *error);
int apply_state(Writer *writer, const char *state, Error *error); /* set_state */
void apply_abort(Writer *writer);
void apply_clear(Writer *writer);
