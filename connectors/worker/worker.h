#pragma once
/*
 * A source's view of its sync: where operations go. All calls block until taken (the pipe is the back-pressure), and
 * fail with ERROR_CANCELLED once the daemon says CANCEL or the writer is gone.
 *
 * BEGIN's configuration for a worker: {"connection", "run_id", "full", "max_value_size", "sandbox", "source": {…}, and
 * all top-level keys of the connection but its destination}, secrets resolved, defaults filled in, paths absolute: its
 * shape is written down at the top of daemon/wherryd/config.h.
 */
#include <poll.h>

#include "lib/formats/frame.h"

typedef struct Worker Worker;

typedef struct WorkerFile {
    const char *name; /* base name, bytes as they are */
    size_t name_length;
    uint8_t hash[SHA256_SIZE];
    uint64_t size;
} WorkerFile;

const char *worker_state(const Worker *worker); /* committed state, JSON */

/* A plan: BEGIN says {"plan": true}, and what would be done is only told (connectors/writer/destination.h). Tables are
 * announced as ever, but there are no rows, truncates or checkpoints: who comes to the first calls worker_enough() and
 * returns its failure, which then is the good end of read(). The emitter and worker_checkpoint() do so by themselves.
 * Files are asked about as ever; one that would be loaded begins and ends, with its table between. Nothing is made on
 * disk. */
bool worker_plans(const Worker *worker);
int worker_enough(Worker *worker, Error *error);

/* Files. worker_file_seen() asks whether to load: FILE_LOAD, FILE_SKIP (it is loaded), FILE_LEFT_OUT. */
int worker_file_seen(Worker *worker, const WorkerFile *file, FileVerdict *ret, Error *error);
int worker_file_note(Worker *worker, const char *name, size_t name_length, FileNote what, const char *message,
                     Error *error);
int worker_file_begin(Worker *worker, const WorkerFile *file, Error *error);
/* ROWS that were sent, QUARANTINED ones that were not. */
int worker_file_end(Worker *worker, FileEnd outcome, const uint8_t hash[static SHA256_SIZE], uint64_t rows,
                    uint64_t quarantined, const Error *why, Error *error);
/* Waits for what became of the file that ended last. Only LOADED means that it is committed. */
int worker_file_outcome(Worker *worker, FileEnd *ret, Error *error);
/* The quarantined rows of the file with that content are loaded, as the daemon's BEGIN asked for. */
int worker_file_retired(Worker *worker, const uint8_t hash[static SHA256_SIZE], Error *error);

int worker_table(Worker *worker, uint16_t id, const char *name, uint8_t flags, const FrameColumn *columns, size_t count,
                 Error *error);

/* The open ROWS frame for TABLE and OPERATION (another table or operation closes the one before). The pointer holds
 * until the next call on WORKER. */
RowsWriter *worker_rows(Worker *worker, uint16_t table, Operation operation);
/* After each row: sends what is gathered once it passes FRAME_ROWS_TARGET. Cheap otherwise. */
static inline int worker_row_done(Worker *worker, RowsWriter *rows, Error *error);
int worker_flush(Worker *worker, Error *error); /* sends what is open */

int worker_truncate(Worker *worker, uint16_t table, Error *error);
int worker_checkpoint(Worker *worker, const char *state, Error *error); /* returns when the writer has taken it */
/* The pipe is lent: another program of the source's has put ROWS rows on it by now, in whole frames. */
void worker_rows_lent(Worker *worker, uint64_t rows);

/* Counts source bytes; sends PROGRESS at most every 100 ms, and looks for CANCEL. Call it per block, not per row. */
int worker_progress(Worker *worker, uint64_t bytes, uint64_t bytes_total, const char *file, const char *phase,
                    Error *error);
/* Waits for an event of one of POLLED (at most WORKER_WAIT_MAX), as poll() does, and hears the daemon meanwhile. */
#define WORKER_WAIT_MAX 8
int worker_wait(Worker *worker, struct pollfd *polled, size_t count, int timeout_ms, Error *error);
void worker_log(Worker *worker, int priority, const char *format, ...) _public_printf_(3, 4);
/* A connector's own line, at the level that it calls LEVEL (NULL: as the priority says). */
void worker_log_line(Worker *worker, int priority, const char *level, const char *message);

int worker_send_rows(Worker *worker, Error *error);
static inline int worker_row_done(Worker *worker, RowsWriter *rows, Error *error)
{
    rows_row_done(rows);
    /* All frames that were gathered: a source that goes from table to table row by row makes many small ones. */
    return __builtin_expect(buffer_length(rows->buffer) >= FRAME_ROWS_TARGET, 0) ? worker_send_rows(worker, error) : 0;
}
