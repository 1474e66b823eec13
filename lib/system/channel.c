/*
 * Frames over a descriptor: the synchronous half of the codec.
 *
 * Reading takes whatever one read() gives and hands it to the FrameReader, which says how much it has room for: the
 * whole of a large frame at once, so that a 128 KiB ROWS frame costs one or two system calls. Writing is whole or
 * failed. Both work on non-blocking descriptors too, by waiting in poll(). The other side's end comes as CHANNEL_E_END
 * when it falls between two frames and as an error when it cuts one; a writer must ignore SIGPIPE (sandbox_early()
 * does).
 */
#include "lib/system/channel.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

void channel_init(Channel *channel, int fd, uint32_t payload_max)
{
    *channel = (Channel){ .fd = fd };
    frame_reader_init(&channel->reader, payload_max);
}

void channel_clear(Channel *channel)
{
    frame_reader_clear(&channel->reader);
    buffer_clear(&channel->output);
    channel->fd = -1;
}

static int wait_for(int fd, short events, Error *error)
{
    struct pollfd poller = { .fd = fd, .events = events };
    while (poll(&poller, 1, -1) < 0) {
        if (errno != EINTR)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot wait for the other side");
    }
    return 0;
}

int channel_write(int fd, const void *data, size_t n, Error *error)
{
    const uint8_t *bytes = data;
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written >= 0) {
            bytes += written;
            n -= (size_t)written;
        } else if (errno == EAGAIN) {
            if (wait_for(fd, POLLOUT, error) < 0)
                return -1;
        } else if (errno == EPIPE || errno == ECONNRESET) {
            return error_set(error, ERROR_CANCELLED, "the other side is gone");
        } else if (errno != EINTR) {
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot write to the other side");
        }
    }
    return 0;
}

int channel_send(Channel *channel, const Frame *frame, Error *error)
{
    buffer_reset(&channel->output);
    frame_encode(&channel->output, frame);
    return channel_write(channel->fd, buffer_bytes(&channel->output), buffer_length(&channel->output), error);
}

int channel_fill(Channel *channel, Error *error)
{
    size_t room;
    uint8_t *at = frame_reader_reserve(&channel->reader, &room);
    for (;;) {
        ssize_t n = read(channel->fd, at, room);
        if (n > 0) {
            frame_reader_added(&channel->reader, (size_t)n);
            return 0;
        }
        /* A socket whose peer died with unread bytes in its queue says ECONNRESET where a pipe would say end. */
        if (n == 0 || errno == ECONNRESET)
            break;
        if (errno == EAGAIN)
            return CHANNEL_E_NOTHING;
        if (errno != EINTR)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read from the other side");
    }
    size_t left = buffer_length(&channel->reader.buffer);
    if (left > 0)
        return error_set(error, ERROR_CANCELLED, "the other side is gone, %zu bytes into a frame", left);
    return CHANNEL_E_END;
}

int channel_receive(Channel *channel, Frame *ret, Error *error)
{
    for (;;) {
        int r = frame_reader_next(&channel->reader, ret, error);
        if (r != FRAME_E_MORE)
            return r;
        r = channel_fill(channel, error);
        if (r == CHANNEL_E_NOTHING)
            r = wait_for(channel->fd, POLLIN, error);
        if (r != 0)
            return r;
    }
}
