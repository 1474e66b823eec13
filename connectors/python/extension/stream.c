/*
 * The interpreter's lock is what makes this simple: nobody is in here with another, but for the moments in which a
 * thread waits for the pipe, the socket or an answer. For these it sets `busy`, lets go of the lock, waits, takes it
 * again and clears `busy`; another thread that comes meanwhile waits for that, in stream_enter(). Messages alone do not
 * wait for it, since a thread that only wants to say something should not have to until a checkpoint is taken: the
 * socket has a mutex of its own, which nobody takes while it holds the interpreter's lock.
 *
 * The pipe is non-blocking, because source-fivetran, which has it too, wants it so.
 */
#include "connectors/python/extension/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "lib/system/channel.h"

#define LOG_TEXT_MAX (16u << 10)
#define OUTPUT_KEEP (4u << 20) /* a buffer that one giant row has grown past this is given back */

struct Worker {
    bool open, ended;
    volatile bool child; /* this process is a fork of the one that began */
    Channel control;
    int operations;
    struct stat pipe; /* what `operations` is; a connector that closes descriptors may put another there */
    Buffer output;    /* frames for the pipe, the last one maybe open */
    uint64_t rows_sent, rows_told, checkpoints;
    bool broken; /* the pipe: a frame may be on it in part */

    bool busy;
    pthread_mutex_t turn; /* of busy */
    pthread_cond_t turned;
    pthread_mutex_t speaking; /* of control's output */
};

static Worker stream = { .operations = -1,
                         .turn = PTHREAD_MUTEX_INITIALIZER,
                         .turned = PTHREAD_COND_INITIALIZER,
                         .speaking = PTHREAD_MUTEX_INITIALIZER };

StreamNow stream_now;

/* --- who may --- */

static bool is_free(void)
{
    return stream.open && !stream.child && !stream.ended && !stream.broken && !stream.busy;
}

static void after_fork_in_child(void)
{
    stream.child = true;
    stream_now.free = false;
}

static void set_ended(void)
{
    stream.ended = true;
    stream_now.free = false;
}

/* With the interpreter's lock: the pipe has failed in the middle. */
static void note_broken(bool broken)
{
    stream.broken |= broken;
    stream_now.free = is_free();
}

int stream_enter_slow(void)
{
    for (;;) {
        if (__builtin_expect(stream.child, 0)) {
            PyErr_SetString(PyExc_RuntimeError, "operations belong to the process that runs update(): this one was "
                                                "forked from it; hand the rows back to it");
            return -1;
        }
        if (__builtin_expect(!stream.open || stream.ended || stream.broken, 0)) {
            PyErr_SetString(PyExc_RuntimeError,
                            !stream.open    ? "no sync is running: operations work inside of update(), when the "
                                              "connector is run by \"wherryctl run\" or wherryd"
                            : stream.broken ? "the sync has failed: nothing more can be sent"
                                            : "update() has ended: nothing more can be sent");
            return -1;
        }
        if (__builtin_expect(!stream.busy, 1))
            return 0;
        Py_BEGIN_ALLOW_THREADS;
        pthread_mutex_lock(&stream.turn);
        while (stream.busy)
            pthread_cond_wait(&stream.turned, &stream.turn);
        pthread_mutex_unlock(&stream.turn);
        Py_END_ALLOW_THREADS;
    }
}

Worker *stream_worker(void)
{
    return &stream;
}

static PyThreadState *leave(void)
{
    pthread_mutex_lock(&stream.turn);
    stream.busy = true;
    pthread_mutex_unlock(&stream.turn);
    stream_now.free = false;
    return PyEval_SaveThread();
}

static void come_back(PyThreadState *thread)
{
    PyEval_RestoreThread(thread);
    pthread_mutex_lock(&stream.turn);
    stream.busy = false;
    pthread_cond_broadcast(&stream.turned);
    pthread_mutex_unlock(&stream.turn);
    stream_now.free = is_free();
}

static int raise(Error *error)
{
    _cleanup_(freep) char *message = error_format(error);
    PyErr_SetString(PyExc_RuntimeError, message);
    error_clear(error);
    return -1;
}

/* --- the socket --- */

/* Without the interpreter's lock. */
static int say(const Frame *frame, Error *error)
{
    pthread_mutex_lock(&stream.speaking);
    int r = channel_send(&stream.control, frame, error);
    pthread_mutex_unlock(&stream.speaking);
    return r;
}

static int say_and_raise(const Frame *frame)
{
    _cleanup_(error_clear) Error error = { 0 };
    int r;
    Py_BEGIN_ALLOW_THREADS;
    r = say(frame, &error);
    Py_END_ALLOW_THREADS;
    return r < 0 ? raise(&error) : 0;
}

PyObject *stream_begin(int control, int operations)
{
    _cleanup_(error_clear) Error error = { 0 };
    Frame frame = { 0 };
    int r;
    if (stream.open) {
        PyErr_SetString(PyExc_RuntimeError, "the sync has begun already");
        return NULL;
    }
    /* not for programs that the connector starts */
    if (fcntl(control, F_SETFD, FD_CLOEXEC) < 0 || fcntl(operations, F_SETFD, FD_CLOEXEC) < 0 ||
        fstat(operations, &stream.pipe) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    channel_init(&stream.control, control, FRAME_CONTROL_MAX);
    stream.operations = operations;
    Py_BEGIN_ALLOW_THREADS;
    r = channel_receive(&stream.control, &frame, &error);
    Py_END_ALLOW_THREADS;
    if (r == CHANNEL_E_END || (r == 0 && frame.type != FRAME_BEGIN)) {
        PyErr_SetString(PyExc_RuntimeError, "source-fivetran did not begin with BEGIN");
        return NULL;
    }
    if (r < 0) {
        raise(&error);
        return NULL;
    }
    pthread_atfork(NULL, NULL, after_fork_in_child);
    stream.open = true;
    stream_now.free = true;
    return Py_BuildValue("s#s#", frame.begin.configuration.data, (Py_ssize_t)frame.begin.configuration.length,
                         frame.begin.state.data, (Py_ssize_t)frame.begin.state.length);
}

int stream_log(int priority, const char *message, Py_ssize_t n, const char *level)
{
    if (!stream.open || stream.child)
        return 0;
    uint32_t length = (uint32_t)MIN_OF((size_t)n, (size_t)LOG_TEXT_MAX);
    return say_and_raise(&(Frame){
        .type = FRAME_LOG,
        .log = { .priority = (uint8_t)priority, .message = { message, length }, .level = frame_text(level) } });
}

/* --- the pipe --- */

static int pipe_write(const uint8_t *bytes, size_t n, Error *error)
{
    struct stat now;
    if (fstat(stream.operations, &now) < 0 || now.st_dev != stream.pipe.st_dev || now.st_ino != stream.pipe.st_ino)
        return error_set(error, ERROR_INTERNAL,
                         "descriptor %d, on which rows go to the writer, was closed by the connector or a library",
                         stream.operations);
    while (n > 0) {
        ssize_t written = write(stream.operations, bytes, n);
        if (written >= 0) {
            bytes += written;
            n -= (size_t)written;
        } else if (errno == EAGAIN) {
            struct pollfd polled = { .fd = stream.operations, .events = POLLOUT };
            if (poll(&polled, 1, -1) < 0 && errno != EINTR)
                return error_set_errno(error, ERROR_INTERNAL, errno, "cannot wait for the writer");
        } else if (errno == EPIPE) {
            return error_set(error, ERROR_CANCELLED, "the writer is gone");
        } else if (errno != EINTR) {
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot write to the writer");
        }
    }
    return 0;
}

static void close_rows(void)
{
    if (!stream_now.rows_open)
        return;
    stream_now.rows_open = false;
    stream.rows_sent += stream_now.rows.count;
    rows_end(&stream_now.rows);
}

static Frame progress(void)
{
    stream.rows_told = stream.rows_sent;
    return (Frame){ .type = FRAME_PROGRESS, .progress = { .rows = stream.rows_sent, .phase = frame_text("loading") } };
}

/* The emitter and the fast path call this with the interpreter's lock, between two rows. */
int worker_send_rows(Worker *worker, Error *error)
{
    close_rows();
    size_t length = buffer_length(&worker->output);
    if (length == 0)
        return 0;
    if (length > FRAME_HEADER_SIZE + (size_t)FRAME_PAYLOAD_MAX) {
        buffer_clear(&worker->output);
        note_broken(true);
        return error_set(error, ERROR_DATA, "a row takes more than %u MiB", FRAME_PAYLOAD_MAX >> 20);
    }
    int r;
    PyThreadState *thread = leave();
    r = pipe_write(buffer_bytes(&worker->output), length, error);
    come_back(thread);
    note_broken(r < 0);
    buffer_reset(&worker->output);
    if (worker->output.allocated > OUTPUT_KEEP)
        buffer_clear(&worker->output);
    return r;
}

RowsWriter *worker_rows(Worker *worker, uint16_t table, Operation operation)
{
    StreamNow *now = &stream_now;
    if (now->rows_open && now->rows_table == table && now->rows_operation == operation)
        return &now->rows;
    close_rows();
    now->rows = rows_begin(&worker->output, table, operation);
    now->rows_open = true;
    now->rows_table = table;
    now->rows_operation = operation;
    return &now->rows;
}

static int put_frame(Worker *worker, const Frame *frame, Error *error)
{
    close_rows();
    frame_encode(&worker->output, frame);
    return buffer_length(&worker->output) >= FRAME_ROWS_TARGET ? worker_send_rows(worker, error) : 0;
}

int worker_table(Worker *worker, uint16_t id, const char *name, uint8_t flags, const FrameColumn *columns, size_t count,
                 Error *error)
{
    Frame frame = { .type = FRAME_TABLE,
                    .table = { .id = id,
                               .flags = flags,
                               .name = frame_text(name),
                               .column_count = (uint32_t)count,
                               .columns = (FrameColumn *)(uintptr_t)columns } };
    return put_frame(worker, &frame, error);
}

/* A plan is ended by the writer, at the first row that comes. */
bool worker_plans(const Worker *worker)
{
    return false;
}

int worker_enough(Worker *worker, Error *error)
{
    return error_set(error, ERROR_INTERNAL, "a plan has no rows");
}

int worker_truncate(Worker *worker, uint16_t table, Error *error)
{
    return put_frame(worker, &(Frame){ .type = FRAME_TRUNCATE, .truncate = { .table = table } }, error);
}

void worker_log(Worker *worker, int priority, const char *format, ...)
{
    _cleanup_(freep) char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    int r = vasprintf(&message, format, arguments);
    va_end(arguments);
    if (r < 0)
        return;
    Frame frame = { .type = FRAME_LOG, .log = { .priority = (uint8_t)priority, .message = frame_text(message) } };
    /* In the middle of a row: nobody else may come in. */
    PyThreadState *thread = leave();
    (void)say(&frame, NULL);
    come_back(thread);
}

int stream_flush(void)
{
    _cleanup_(error_clear) Error error = { 0 };
    if (stream_enter() < 0)
        return -1;
    return worker_send_rows(&stream, &error) < 0 ? raise(&error) : 0;
}

int stream_tick(void)
{
    if (!stream.open || stream.ended || stream.broken || stream.child || stream.busy)
        return 0;
    if (stream_flush() < 0)
        return -1;
    if (stream.rows_sent == stream.rows_told)
        return 0;
    Frame frame = progress();
    return say_and_raise(&frame);
}

/* --- checkpoints, and the end --- */

static int await_taken(uint64_t number, Error *error)
{
    Frame frame;
    int r = channel_receive(&stream.control, &frame, error);
    if (r == CHANNEL_E_END)
        return error_set(error, ERROR_CANCELLED, "the worker is gone");
    if (r == 0 && (frame.type != FRAME_TAKEN || frame.taken.number != number))
        return error_set(error, ERROR_INTERNAL, "the worker answered a checkpoint with something else");
    return r;
}

int stream_checkpoint(const char *state, Py_ssize_t n)
{
    _cleanup_(error_clear) Error error = { 0 };
    if (stream_enter() < 0)
        return -1;
    close_rows();
    Frame told = progress();
    Frame frame = { .type = FRAME_CHECKPOINT,
                    .checkpoint = { .number = ++stream.checkpoints, .state = { state, (uint32_t)n } } };
    PyThreadState *thread = leave();
    int r = pipe_write(buffer_bytes(&stream.output), buffer_length(&stream.output), &error);
    if (r == 0)
        r = say(&told, &error);
    if (r == 0)
        r = say(&frame, &error);
    if (r == 0)
        r = await_taken(frame.checkpoint.number, &error);
    come_back(thread);
    buffer_reset(&stream.output);
    note_broken(r < 0);
    return r < 0 ? raise(&error) : 0;
}

int stream_end(void)
{
    if (stream_flush() < 0)
        return -1;
    set_ended();
    return say_and_raise(&(Frame){ .type = FRAME_DONE, .done = { .rows = stream.rows_sent } });
}

int stream_fail(int kind, const char *message, Py_ssize_t n)
{
    if (!stream.open || stream.child)
        return 0;
    /* what came before is there, as far as it can be: the writer does not keep it */
    if (!stream.ended && !stream.broken && !stream.busy && stream_flush() < 0)
        PyErr_Clear();
    set_ended();
    uint32_t length = (uint32_t)MIN_OF((size_t)n, (size_t)LOG_TEXT_MAX);
    return say_and_raise(
        &(Frame){ .type = FRAME_ERROR, .error = { .kind = (ErrorKind)kind, .message = { message, length } } });
}
