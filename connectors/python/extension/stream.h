#pragma once
/*
 * Where the operations of a Python connector go: the worker's side (connectors/worker/worker.h) as it is inside of the
 * interpreter that source-fivetran has started.
 *
 * Rows go straight to the writer, on the pipe that the interpreter has inherited. Everything else is said to
 * source-fivetran on a socket, in frames: it sends BEGIN, and is told LOG, PROGRESS, CHECKPOINT (answered by TAKEN,
 * when the writer has it), and at the end DONE or ERROR. It puts checkpoints on the pipe itself, so that their numbers,
 * and END, are in the hands of a program that the connector cannot touch.
 *
 * All of this is under the interpreter's lock. Whoever must wait gives it up, and keeps the others out meanwhile:
 * stream_enter() comes before everything that touches what is gathered. Functions that return -1 have set a Python
 * exception where they say so, else ERROR.
 */
#include "connectors/python/extension/python.h"
#include "connectors/worker/emitter.h"

/* Reads BEGIN: (configuration, state), two texts of JSON. NULL with an exception. */
PyObject *stream_begin(int control, int operations);
/* What every row looks at, in the open for it. */
typedef struct StreamNow {
    bool free; /* a sync runs in this process, and no thread waits for something of it */
    bool rows_open;
    uint16_t rows_table;
    Operation rows_operation;
    RowsWriter rows;
} StreamNow;
extern StreamNow stream_now;

/* 0, or -1 with an exception: there is no stream, it has ended, or this is another process than the one that began. */
int stream_enter_slow(void);
static inline int stream_enter(void)
{
    return __builtin_expect(stream_now.free, 1) ? 0 : stream_enter_slow();
}
Worker *stream_worker(void);
/* worker_rows(), without a call. */
static inline RowsWriter *stream_rows(uint16_t table, Operation operation)
{
    if (__builtin_expect(
            stream_now.rows_open && stream_now.rows_table == table && stream_now.rows_operation == operation, 1))
        return &stream_now.rows;
    return worker_rows(stream_worker(), table, operation);
}

int stream_flush(void);                                 /* sends what is gathered; with exception */
int stream_checkpoint(const char *state, Py_ssize_t n); /* returns when it is taken; with exception */
/* What waits for more, and what the daemon should know by now. Does nothing while another thread is at it. */
int stream_tick(void);
int stream_log(int priority, const char *message, Py_ssize_t n, const char *level); /* with exception */
int stream_end(void);                                                               /* DONE; with exception */
int stream_fail(int kind, const char *message, Py_ssize_t n);                       /* ERROR; with exception */
