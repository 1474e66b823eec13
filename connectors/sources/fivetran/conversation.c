/*
 * Nothing here waits for the module: what is said to it lies in the channel's output until its socket takes it, and it
 * is heard only as far as bytes are there. A module that says nothing, or does not listen, stops only itself.
 *
 * A checkpoint is put on the pipe by this side, after the rows that the module has put there itself: it has said so
 * only when they were written, and puts nothing there until it is answered.
 */
#include "connectors/sources/fivetran/conversation.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <syslog.h>

#define PAYLOAD_MAX (16u << 20) /* a state, the longest that is said */
#define TAKE_MAX 1000           /* frames at once, before the daemon and the process are looked after */

void conversation_init(Conversation *conversation, int fd)
{
    *conversation = (Conversation){ 0 };
    fcntl(fd, F_SETFL, O_NONBLOCK);
    channel_init(&conversation->channel, fd, PAYLOAD_MAX);
}

void conversation_clear(Conversation *conversation)
{
    close_fd(conversation->channel.fd);
    channel_clear(&conversation->channel);
    error_clear(&conversation->failure);
}

bool conversation_has_output(const Conversation *conversation)
{
    return buffer_length(&conversation->channel.output) > 0;
}

void conversation_send(Conversation *conversation)
{
    Buffer *output = &conversation->channel.output;
    while (buffer_length(output) > 0) {
        ssize_t n = send(conversation->channel.fd, buffer_bytes(output), buffer_length(output), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            buffer_reset(output); /* it does not want to know */
        if (n < 0)
            return;
        buffer_consume(output, (size_t)n);
    }
}

static void say(Conversation *conversation, const Frame *frame)
{
    frame_encode(&conversation->channel.output, frame);
    conversation_send(conversation);
}

int conversation_begin(Conversation *conversation, const char *configuration, const char *state, Error *error)
{
    Frame frame = { .type = FRAME_BEGIN,
                    .begin = { .configuration = frame_text(configuration), .state = frame_text(state) } };
    say(conversation, &frame);
    return 0;
}

static char *text_of(FrameText text)
{
    return xstrndup(text.data, text.length);
}

static int take_checkpoint(Conversation *conversation, Worker *worker, const Frame *frame, Error *error)
{
    _cleanup_(freep) char *state = text_of(frame->checkpoint.state);
    if (worker_checkpoint(worker, state, error) < 0)
        return -1;
    say(conversation, &(Frame){ .type = FRAME_TAKEN, .taken = { .number = frame->checkpoint.number } });
    return 0;
}

static int take_frame(Conversation *conversation, Worker *worker, const Frame *frame, Error *error)
{
    bool ended = conversation->done || conversation->failure.kind != ERROR_NONE;
    if (frame->type == FRAME_LOG) {
        _cleanup_(freep) char *message = text_of(frame->log.message);
        _cleanup_(freep) char *level = text_of(frame->log.level);
        worker_log_line(worker, frame->log.priority, level, message);
        return 0;
    }
    if (ended && frame->type != FRAME_ERROR)
        return 0; /* threads that go on after the end */
    switch (frame->type) {
    case FRAME_PROGRESS:
        worker_rows_lent(worker, frame->progress.rows);
        return worker_progress(worker, 0, 0, NULL, "loading", error);
    case FRAME_CHECKPOINT:
        return take_checkpoint(conversation, worker, frame, error);
    case FRAME_ERROR: {
        _cleanup_(freep) char *message = text_of(frame->error.message);
        if (conversation->failure.kind == ERROR_NONE)
            error_set(&conversation->failure, frame->error.kind, "%s", message);
        return 0;
    }
    case FRAME_DONE:
        conversation->done = true;
        worker_rows_lent(worker, frame->done.rows);
        return 0;
    default:
        return error_set(error, ERROR_TEMPORARY, "the connector said something on descriptor 3 that is not for it (%s)",
                         frame_type_name(frame->type));
    }
}

int conversation_take(Conversation *conversation, Worker *worker, Error *error)
{
    Channel *channel = &conversation->channel;
    for (unsigned count = 0; channel->fd >= 0 && count < TAKE_MAX; count++) {
        Frame frame;
        int r = frame_reader_next(&channel->reader, &frame, error);
        if (r == FRAME_E_MORE) {
            r = channel_fill(channel, error);
            if (r == CHANNEL_E_NOTHING)
                return 0;
            if (r == CHANNEL_E_END)
                channel->fd = close_fd(channel->fd);
        } else if (r == 0) {
            r = take_frame(conversation, worker, &frame, error);
        } else {
            error_prefix(error, "the connector wrote to descriptor 3, which is not its: ");
        }
        if (r < 0)
            return -1;
    }
    return 0;
}
