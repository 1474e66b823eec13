/*
 * What foreign code may say on the connector's socket, in pieces: it is taken or refused, nothing comes after the end
 * that it told, and each checkpoint that the writer took is answered once, in order.
 */
#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "connectors/sources/fivetran/conversation.h"

#define SAID_MAX (32 << 10) /* what a socket takes at once */
#define PAYLOAD_MAX (16u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct Worker {
    const Conversation *conversation;
    unsigned checkpoints;
};

int worker_checkpoint(Worker *worker, const char *state, Error *error)
{
    assert(!worker->conversation->done && worker->conversation->failure.kind == ERROR_NONE);
    if (strcmp(state, "refused") == 0)
        return error_set(error, ERROR_DATA, "a state must be a JSON object");
    worker->checkpoints++;
    return 0;
}

int worker_progress(Worker *worker, uint64_t bytes, uint64_t bytes_total, const char *file, const char *phase,
                    Error *error)
{
    assert(!worker->conversation->done);
    return 0;
}

void worker_rows_lent(Worker *worker, uint64_t rows)
{
}

void worker_log_line(Worker *worker, int priority, const char *level, const char *message)
{
    assert(priority >= 0 && priority <= 7 && level && message);
}

/* Answers on FD; how many there are. */
static unsigned count_answers(int fd)
{
    Channel answers;
    Frame frame;
    unsigned count = 0;
    channel_init(&answers, fd, PAYLOAD_MAX);
    int filled = channel_fill(&answers, NULL);
    while (filled == 0) {
        for (int r; (r = frame_reader_next(&answers.reader, &frame, NULL)) != FRAME_E_MORE; count++)
            assert(r == 0 && frame.type == FRAME_TAKEN);
        filled = channel_fill(&answers, NULL);
    }
    channel_clear(&answers);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Conversation conversation;
    Worker worker = { .conversation = &conversation };
    Error error = { 0 };
    int ends[2], r = 0;
    if (size < 1 || size > SAID_MAX)
        return 0;
    size_t piece = data[0] ? data[0] : size;
    assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    conversation_init(&conversation, ends[0]);
    for (size_t at = 1; r == 0 && at < size; at += piece) {
        ssize_t n = send(ends[1], data + at, MIN_OF(piece, size - at), MSG_NOSIGNAL);
        assert(n > 0);
        r = conversation_take(&conversation, &worker, &error);
    }
    if (r == 0) {
        shutdown(ends[1], SHUT_WR);
        r = conversation_take(&conversation, &worker, &error);
    }
    assert((r < 0) == (error.kind != ERROR_NONE));
    assert(r < 0 || conversation.channel.fd < 0);
    if (r < 0) /* else the socket is closed */
        conversation_send(&conversation);
    assert(!conversation_has_output(&conversation) || r < 0);
    assert(count_answers(ends[1]) <= worker.checkpoints);
    conversation_clear(&conversation);
    close_fd(ends[1]);
    error_clear(&error);
    return 0;
}
