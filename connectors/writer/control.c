/*
 * The writer's conversation with the daemon. What comes in is only noted here (a question, CANCEL, WORKER_GONE): it
 * may arrive in the middle of a long call of the destination, from which writer_pulse() looks, and is acted on when
 * the destination is at rest. What goes out is written whole; the daemon always reads.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "connectors/writer/session.h"
#include "lib/basics/clock.h"

#define PROGRESS_INTERVAL_MS 100

int control_send(Writer *writer, const Frame *frame, Error *error)
{
    if (writer->control.fd < 0)
        return 0;
    return channel_send(&writer->control, frame, error);
}

Buffer *writer_plan(Writer *writer)
{
    return writer->plan ? &writer->planned : NULL;
}

void writer_log(Writer *writer, int priority, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    _cleanup_(freep) char *message = NULL;
    int n = vasprintf(&message, format, arguments);
    va_end(arguments);
    if (n < 0)
        abort();
    Frame frame = { .type = FRAME_LOG, .log = { .priority = (uint8_t)priority, .message = frame_text(message) } };
    control_send(writer, &frame, NULL);
}

static int take_frame(Writer *writer, const Frame *frame, Error *error)
{
    switch (frame->type) {
    case FRAME_FILE_SEEN:
        if (writer->question_count == QUESTIONS_MAX)
            return error_set(error, ERROR_INTERNAL, "the daemon asked for too many files at once");
        memcpy(writer->questions[writer->question_count++], frame->file.hash, SHA256_SIZE);
        return 0;
    case FRAME_CANCEL:
        writer->cancelled = true;
        return 0;
    case FRAME_WORKER_GONE:
        writer->worker_gone = true;
        return 0;
    case FRAME_LINE:
    case FRAME_LINES_END:
        if (writer->log_table) {
            log_table_take(writer->log_table, frame);
            return 0;
        }
        __attribute__((fallthrough));
    default:
        return error_set(error, ERROR_INTERNAL, "the daemon sent frame %s to a writer", frame_type_name(frame->type));
    }
}

static bool is_ready(int fd, short event)
{
    struct pollfd poller = { .fd = fd, .events = event };
    return poll(&poller, 1, 0) > 0;
}

int control_take(Writer *writer, Error *error)
{
    if (writer->control.fd < 0)
        return 0;
    for (;;) {
        /* First what is here already: frames may have come together with BEGIN. */
        Frame frame;
        int r;
        while ((r = frame_reader_next(&writer->control.reader, &frame, error)) == 0)
            if (take_frame(writer, &frame, error) < 0)
                return -1;
        if (r < 0)
            return -1;
        if (writer->daemon_gone || !is_ready(writer->control.fd, POLLIN))
            return 0;
        r = channel_fill(&writer->control, error);
        if (r < 0)
            return -1;
        if (r == CHANNEL_E_NOTHING)
            return 0;
        if (r == CHANNEL_E_END)
            writer->daemon_gone = true;
    }
}

int control_check(const Writer *writer, Error *error)
{
    if (writer->daemon_gone)
        return error_set(error, ERROR_CANCELLED, "the daemon is gone");
    if (writer->cancelled)
        return error_set(error, ERROR_CANCELLED, "cancelled");
    return 0;
}

int control_answer(Writer *writer, Error *error)
{
    for (size_t i = 0; i < writer->question_count; i++) {
        Frame answer = { .type = FRAME_FILE_VERDICT, .file_verdict = { .verdict = FILE_UNKNOWN } };
        memcpy(answer.file_verdict.hash, writer->questions[i], SHA256_SIZE);
        bool known;
        if (writer->destination->file_known(writer->handle, writer->questions[i], &known, &answer.file_verdict.rows,
                                            error) < 0)
            return -1;
        if (known)
            answer.file_verdict.verdict = FILE_SKIP;
        if (control_send(writer, &answer, error) < 0)
            return -1;
    }
    writer->question_count = 0;
    return 0;
}

void control_progress(Writer *writer, const char *phase)
{
    int64_t now = clock_monotonic_ms();
    if (now - writer->said_ms < PROGRESS_INTERVAL_MS)
        return;
    writer->said_ms = now;
    /* Nobody waits for this one: where the daemon is behind with reading, the next will do. */
    if (writer->control.fd >= 0 && !is_ready(writer->control.fd, POLLOUT))
        return;
    Frame frame = {
        .type = FRAME_PROGRESS,
        .progress = { .rows = writer->rows_seen, .file = frame_text(writer->file_name), .phase = frame_text(phase) }
    };
    control_send(writer, &frame, NULL);
}

bool writer_pulse(Writer *writer, const char *phase)
{
    int64_t now = clock_monotonic_ms();
    if (now - writer->said_ms >= PROGRESS_INTERVAL_MS) {
        control_progress(writer, phase);
        /* A broken conversation is found again, and reported, by the loop. */
        if (control_take(writer, NULL) < 0)
            writer->daemon_gone = true;
    }
    return writer->cancelled || writer->daemon_gone || log_table_gives_up(writer->log_table);
}
