/*
 * One sync from a source's side.
 *
 * Two descriptors tie a worker to the world: the socket to the daemon, on which it is told what to do and says how it
 * goes, and the pipe to the writer, on which it puts operations. The pipe is non-blocking here although every call of
 * this interface blocks: whoever waits for room in it (a writer may merge for minutes) must still hear CANCEL, and
 * whoever waits for an answer on the socket must still notice that the writer died. So there is one place that waits,
 * wait_for_either(), and it always waits for both.
 *
 * Rows are gathered in one buffer and leave it as whole ROWS frames of about FRAME_ROWS_TARGET bytes; every other frame
 * closes the open one first, so that the order on the pipe is the order of the calls.
 */
#include "connectors/worker/worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "connectors/worker/source.h"
#include "lib/basics/clock.h"
#include "lib/system/channel.h"
#include "lib/system/spawn.h"

#define PROGRESS_INTERVAL_MS 100
#define LOG_MESSAGE_MAX (16u << 10) /* longer ones are cut */
#define OUTPUT_KEEP (4u << 20)      /* a buffer that one giant row has grown past this is given back */

struct Worker {
    Channel control;
    int operations; /* the pipe */
    char *state;
    bool plan, enough; /* see worker_plans() */
    Buffer frames;     /* other frames than ROWS on their way to the pipe */
    Buffer output;     /* the open ROWS frame */
    RowsWriter rows;
    bool rows_open;
    uint16_t rows_table;
    Operation rows_operation;
    uint64_t checkpoints, checkpoints_taken;
    uint8_t file_hash[SHA256_SIZE]; /* of the file that began last, and what became of it; 0: not known yet */
    int file_outcome;
    bool awaits_outcome;
    uint64_t rows_sent, bytes_read;
    int64_t progress_at_ms;
};

/* --- waiting --- */

static int writer_gone(Error *error)
{
    return error_set(error, ERROR_CANCELLED, "the writer is gone");
}

/* Waits until the daemon has said something or, with ROOM, the pipe takes bytes. */
static int wait_for_either(Worker *worker, bool room, Error *error)
{
    struct pollfd polled[] = { { .fd = worker->control.fd, .events = POLLIN },
                               { .fd = worker->operations, .events = room ? POLLOUT : 0 } };
    while (poll(polled, ELEMENTSOF(polled), -1) < 0)
        if (errno != EINTR)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot wait for the daemon");
    return polled[1].revents & POLLERR ? writer_gone(error) : 0;
}

enum { CONTROL_NOTHING = 1 };

/* The next frame that is an answer, dealing with the others. CONTROL_NOTHING: there is none yet. Never waits. */
static int control_next(Worker *worker, Frame *ret, Error *error)
{
    for (;;) {
        int r = frame_reader_next(&worker->control.reader, ret, error);
        if (r < 0)
            return r;
        if (r == FRAME_E_MORE) {
            struct pollfd polled = { .fd = worker->control.fd, .events = POLLIN };
            if (poll(&polled, 1, 0) <= 0)
                return CONTROL_NOTHING;
            r = channel_fill(&worker->control, error);
            if (r == CHANNEL_E_END)
                return error_set(error, ERROR_CANCELLED, "the daemon is gone");
            if (r == CHANNEL_E_NOTHING)
                return CONTROL_NOTHING;
            if (r < 0)
                return r;
            continue;
        }
        switch (ret->type) {
        case FRAME_CANCEL:
            return error_set(error, ERROR_CANCELLED, "cancelled");
        case FRAME_TAKEN:
            if (ret->taken.number != worker->checkpoints_taken + 1 || ret->taken.number > worker->checkpoints)
                return error_set(error, ERROR_INTERNAL, "the daemon confirmed checkpoint %llu, which is not the next",
                                 (unsigned long long)ret->taken.number);
            worker->checkpoints_taken = ret->taken.number;
            return 0;
        case FRAME_BEGIN:
        case FRAME_FILE_VERDICT:
            return 0;
        case FRAME_FILE_DONE:
            /* It is told of every file, and mostly does not ask. */
            if (memcmp(ret->file_done.hash, worker->file_hash, SHA256_SIZE) != 0)
                continue;
            worker->file_outcome = (int)ret->file_done.outcome;
            if (worker->awaits_outcome)
                return 0;
            continue;
        default:
            return error_set(error, ERROR_INTERNAL, "the daemon sent a frame that is not for a worker (type %d)",
                             (int)ret->type);
        }
    }
}

/* Waits for the next answer. */
static int control_wait(Worker *worker, Frame *ret, Error *error)
{
    for (;;) {
        int r = control_next(worker, ret, error);
        if (r != CONTROL_NOTHING)
            return r;
        if (wait_for_either(worker, false, error) < 0)
            return -1;
    }
}

/* Takes what the daemon may have said meanwhile; nothing that it may say unasked is an answer. */
static int control_look(Worker *worker, Error *error)
{
    Frame frame;
    int r = control_next(worker, &frame, error);
    if (r == 0)
        return error_set(error, ERROR_INTERNAL, "the daemon answered a question that was not asked");
    return r == CONTROL_NOTHING ? 0 : r;
}

/* --- the pipe --- */

static int pipe_write(Worker *worker, const void *data, size_t n, Error *error)
{
    const uint8_t *bytes = data;
    while (n > 0) {
        ssize_t written = write(worker->operations, bytes, n);
        if (written >= 0) {
            bytes += written;
            n -= (size_t)written;
        } else if (errno == EAGAIN) {
            if (wait_for_either(worker, true, error) < 0 || control_look(worker, error) < 0)
                return -1;
        } else if (errno == EPIPE) {
            return writer_gone(error);
        } else if (errno != EINTR) {
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot write to the writer");
        }
    }
    return 0;
}

int worker_send_rows(Worker *worker, Error *error)
{
    if (!worker->rows_open)
        return 0;
    worker->rows_open = false;
    worker->rows_sent += worker->rows.count;
    rows_end(&worker->rows);
    size_t length = buffer_length(&worker->output);
    if (length > FRAME_HEADER_SIZE + (size_t)FRAME_PAYLOAD_MAX)
        return error_set(error, ERROR_DATA, "a row takes more than %u MiB: load fewer or smaller columns",
                         FRAME_PAYLOAD_MAX >> 20);
    int r = pipe_write(worker, buffer_bytes(&worker->output), length, error);
    buffer_reset(&worker->output);
    if (worker->output.allocated > OUTPUT_KEEP)
        buffer_clear(&worker->output);
    return r;
}

int worker_flush(Worker *worker, Error *error)
{
    return worker_send_rows(worker, error);
}

static int pipe_send(Worker *worker, const Frame *frame, Error *error)
{
    if (worker_send_rows(worker, error) < 0)
        return -1;
    buffer_reset(&worker->frames);
    frame_encode(&worker->frames, frame);
    return pipe_write(worker, buffer_bytes(&worker->frames), buffer_length(&worker->frames), error);
}

RowsWriter *worker_rows(Worker *worker, uint16_t table, Operation operation)
{
    if (worker->rows_open && worker->rows_table == table && worker->rows_operation == operation)
        return &worker->rows;
    if (worker->rows_open) {
        /* Both frames stay in the buffer and leave together: nothing can fail here. */
        worker->rows_sent += worker->rows.count;
        rows_end(&worker->rows);
    }
    worker->rows = rows_begin(&worker->output, table, operation);
    worker->rows_open = true;
    worker->rows_table = table;
    worker->rows_operation = operation;
    return &worker->rows;
}

int worker_table(Worker *worker, uint16_t id, const char *name, uint8_t flags, const FrameColumn *columns, size_t count,
                 Error *error)
{
    if (count > FRAME_COLUMNS_MAX)
        return error_set(error, ERROR_CONFIGURATION, "table \"%s\" has %zu columns; at most %d are possible", name,
                         count, FRAME_COLUMNS_MAX);
    Frame frame = { .type = FRAME_TABLE,
                    .table = { .id = id,
                               .flags = flags,
                               .name = frame_text(name),
                               .column_count = (uint32_t)count,
                               .columns = (FrameColumn *)columns } };
    return pipe_send(worker, &frame, error);
}

int worker_truncate(Worker *worker, uint16_t table, Error *error)
{
    return pipe_send(worker, &(Frame){ .type = FRAME_TRUNCATE, .truncate = { .table = table } }, error);
}

bool worker_plans(const Worker *worker)
{
    return worker->plan;
}

int worker_enough(Worker *worker, Error *error)
{
    worker->enough = true;
    return error_set(error, ERROR_CANCELLED, "the plan needs no more");
}

int worker_checkpoint(Worker *worker, const char *state, Error *error)
{
    if (worker->plan)
        return worker_enough(worker, error);
    Frame frame = { .type = FRAME_CHECKPOINT,
                    .checkpoint = { .number = ++worker->checkpoints, .state = frame_text(state) } };
    if (pipe_send(worker, &frame, error) < 0)
        return -1;
    while (worker->checkpoints_taken < worker->checkpoints) {
        Frame answer;
        if (control_wait(worker, &answer, error) < 0)
            return -1;
        if (answer.type != FRAME_TAKEN)
            return error_set(error, ERROR_INTERNAL, "the daemon answered a checkpoint with something else");
    }
    return 0;
}

void worker_rows_lent(Worker *worker, uint64_t rows)
{
    worker->rows_sent = MAX_OF(worker->rows_sent, rows);
}

/* --- files --- */

static Frame file_frame(FrameType type, const WorkerFile *file)
{
    Frame frame = { .type = type,
                    .file = { .size = file->size,
                              .name = { .data = file->name, .length = (uint32_t)file->name_length } } };
    memcpy(frame.file.hash, file->hash, SHA256_SIZE);
    return frame;
}

int worker_file_seen(Worker *worker, const WorkerFile *file, FileVerdict *ret, Error *error)
{
    Frame question = file_frame(FRAME_FILE_SEEN, file), answer;
    if (worker_flush(worker, error) < 0 || channel_send(&worker->control, &question, error) < 0 ||
        control_wait(worker, &answer, error) < 0)
        return -1;
    if (answer.type != FRAME_FILE_VERDICT || memcmp(answer.file_verdict.hash, file->hash, SHA256_SIZE) != 0 ||
        answer.file_verdict.verdict == FILE_UNKNOWN)
        return error_set(error, ERROR_INTERNAL, "the daemon did not answer whether to load a file");
    *ret = answer.file_verdict.verdict;
    return 0;
}

int worker_file_note(Worker *worker, const char *name, size_t name_length, FileNote what, const char *message,
                     Error *error)
{
    Frame frame = { .type = FRAME_FILE_NOTE,
                    .file_note = { .what = what,
                                   .name = { .data = name, .length = (uint32_t)name_length },
                                   .message = frame_text(message) } };
    return channel_send(&worker->control, &frame, error);
}

int worker_file_begin(Worker *worker, const WorkerFile *file, Error *error)
{
    Frame frame = file_frame(FRAME_FILE_BEGIN, file);
    memcpy(worker->file_hash, file->hash, SHA256_SIZE);
    worker->file_outcome = 0;
    return pipe_send(worker, &frame, error);
}

int worker_file_end(Worker *worker, FileEnd outcome, const uint8_t hash[static SHA256_SIZE], uint64_t rows,
                    uint64_t quarantined, const Error *why, Error *error)
{
    assert((outcome == FILE_END_LOADED) == (why == NULL));
    _cleanup_(freep) char *message = why ? error_format(why) : NULL;
    Frame frame = { .type = FRAME_FILE_END,
                    .file_end = {
                        .outcome = outcome, .rows = rows, .quarantined = quarantined, .error = frame_text(message) } };
    memcpy(frame.file_end.hash, hash, SHA256_SIZE);
    return pipe_send(worker, &frame, error);
}

int worker_file_outcome(Worker *worker, FileEnd *ret, Error *error)
{
    Frame frame;
    worker->awaits_outcome = true;
    int r = worker->file_outcome == 0 ? control_wait(worker, &frame, error) : 0;
    worker->awaits_outcome = false;
    if (r < 0)
        return -1;
    if (worker->file_outcome == 0)
        return error_set(error, ERROR_INTERNAL, "the daemon did not say what became of a file");
    *ret = (FileEnd)worker->file_outcome;
    return 0;
}

int worker_file_retired(Worker *worker, const uint8_t hash[static SHA256_SIZE], Error *error)
{
    Frame frame = { .type = FRAME_FILE_RETIRED };
    memcpy(frame.file_retired.hash, hash, SHA256_SIZE);
    return channel_send(&worker->control, &frame, error);
}

/* --- the daemon's ear --- */

const char *worker_state(const Worker *worker)
{
    return worker->state;
}

int worker_progress(Worker *worker, uint64_t bytes, uint64_t bytes_total, const char *file, const char *phase,
                    Error *error)
{
    worker->bytes_read += bytes;
    if (control_look(worker, error) < 0)
        return -1;
    int64_t now = clock_monotonic_ms();
    if (now - worker->progress_at_ms < PROGRESS_INTERVAL_MS)
        return 0;
    worker->progress_at_ms = now;
    Frame frame = { .type = FRAME_PROGRESS,
                    .progress = { .rows = worker->rows_sent,
                                  .bytes = worker->bytes_read,
                                  .bytes_total = bytes_total,
                                  .file = frame_text(file),
                                  .phase = frame_text(phase) } };
    return channel_send(&worker->control, &frame, error);
}

int worker_wait(Worker *worker, struct pollfd *polled, size_t count, int timeout_ms, Error *error)
{
    struct pollfd all[WORKER_WAIT_MAX + 2] = { { .fd = worker->control.fd, .events = POLLIN },
                                               { .fd = worker->operations } };
    assert(count <= WORKER_WAIT_MAX);
    if (control_look(worker, error) < 0)
        return -1;
    memcpy(all + 2, polled, count * sizeof(*polled));
    if (poll(all, count + 2, timeout_ms) < 0 && errno != EINTR)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot wait for the source");
    if (all[1].revents & POLLERR)
        return writer_gone(error);
    memcpy(polled, all + 2, count * sizeof(*polled));
    return all[0].revents ? control_look(worker, error) : 0;
}

void worker_log_line(Worker *worker, int priority, const char *level, const char *message)
{
    Frame frame = { .type = FRAME_LOG,
                    .log = {
                        .priority = (uint8_t)priority, .message = frame_text(message), .level = frame_text(level) } };
    frame.log.message.length = MIN_OF(frame.log.message.length, LOG_MESSAGE_MAX);
    /* A daemon that is gone is noticed by the next call that can say so. */
    (void)channel_send(&worker->control, &frame, NULL);
}

void worker_log(Worker *worker, int priority, const char *format, ...)
{
    _cleanup_(freep) char *message = NULL;
    va_list arguments;
    va_start(arguments, format);
    int r = vasprintf(&message, format, arguments);
    va_end(arguments);
    if (r >= 0)
        worker_log_line(worker, priority, NULL, message);
}

/* --- the program --- */

static void send_error(Worker *worker, const Error *why)
{
    _cleanup_(freep) char *message = error_format(why);
    Frame frame = { .type = FRAME_ERROR, .error = { .kind = why->kind, .message = frame_text(message) } };
    (void)channel_send(&worker->control, &frame, NULL);
}

static Frame hello_frame(const char *program)
{
    return (Frame){ .type = FRAME_HELLO,
                    .hello = { .magic = FRAME_MAGIC, .version = FRAME_VERSION, .program = frame_text(program) } };
}

static int receive_begin(Worker *worker, json_t **ret_configuration, Error *error)
{
    Frame frame;
    if (control_wait(worker, &frame, error) < 0)
        return -1;
    if (frame.type != FRAME_BEGIN)
        return error_set(error, ERROR_INTERNAL, "the daemon did not begin with BEGIN");
    json_error_t where;
    json_t *configuration =
        json_loadb(frame.begin.configuration.data, frame.begin.configuration.length, JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(configuration)) {
        json_decref(configuration);
        return error_set(error, ERROR_INTERNAL, "the configuration from the daemon is not a JSON object");
    }
    worker->state = xstrndup(frame.begin.state.data, frame.begin.state.length);
    worker->plan = json_is_true(json_object_get(configuration, "plan"));
    *ret_configuration = configuration;
    return 0;
}

static int enter_sandbox(Worker *worker, const SandboxPolicy *policy, Error *error)
{
    unsigned layers;
    if (sandbox_enter(policy, &layers, error) < 0)
        return -1;
    _cleanup_(freep) char *description = sandbox_describe(layers, policy);
    worker_log(worker, LOG_DEBUG, "sandbox: %s", description);
    return 0;
}

static int run_source(Worker *worker, const Source *source, void *state, Error *error)
{
    Frame hello = hello_frame(source->program), end = { .type = FRAME_END };
    if (pipe_send(worker, &hello, error) < 0 || source->check(state, error) < 0)
        return -1;
    if (source->read(state, worker, error) < 0) {
        if (!worker->enough)
            return -1;
        error_clear(error);
    }
    if (pipe_send(worker, &end, error) < 0)
        return -1;
    Frame done = { .type = FRAME_DONE, .done = { .rows = worker->rows_sent, .bytes = worker->bytes_read } };
    return channel_send(&worker->control, &done, error);
}

static int run(Worker *worker, const Source *source, Error *error)
{
    Frame hello = hello_frame(source->program);
    json_t *configuration = NULL;
    if (channel_send(&worker->control, &hello, error) < 0 || receive_begin(worker, &configuration, error) < 0)
        return -1;
    void *state = NULL;
    SandboxPolicy policy = { 0 };
    _cleanup_(freep) uint16_t *ports = NULL;
    int r = source->open(&state, configuration, &policy, error);
    if (r >= 0) {
        sandbox_configure(&policy, configuration, &ports);
        r = enter_sandbox(worker, &policy, error);
    }
    json_decref(configuration);
    if (r >= 0)
        r = run_source(worker, source, state, error);
    if (state)
        source->close(state);
    return r;
}

int worker_main(int argc, char *argv[], const Source *source)
{
    struct stat info;
    if (argc > 1 || fstat(FD_CONTROL, &info) < 0 || !S_ISSOCK(info.st_mode)) {
        fprintf(stderr, "%s is started by wherryd; to run a pipeline file by hand: wherryctl run FILE.yaml\n",
                source->program);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    _cleanup_(error_clear) Error error = { 0 };
    Worker worker = { .operations = FD_OPERATIONS, .progress_at_ms = clock_monotonic_ms() };
    channel_init(&worker.control, FD_CONTROL, FRAME_CONTROL_MAX);
    int r = sandbox_early(FD_OPERATIONS + 1, &error);
    if (r >= 0 && fcntl(FD_OPERATIONS, F_SETFL, O_NONBLOCK) < 0)
        r = error_set_errno(&error, ERROR_INTERNAL, errno, "there is no pipe to a writer on descriptor %d",
                            FD_OPERATIONS);
    if (r >= 0)
        r = run(&worker, source, &error);
    if (r < 0)
        send_error(&worker, &error);
    channel_clear(&worker.control);
    buffer_clear(&worker.frames);
    buffer_clear(&worker.output);
    free(worker.state);
    return r < 0 ? 1 : 0;
}
