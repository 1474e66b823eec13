#pragma once
/*
 * Frames over a descriptor, for the synchronous programs (worker, writer): blocking reads and whole writes, EINTR and
 * EAGAIN handled. The daemon, which never blocks, uses FrameReader and Buffer with libuv instead.
 */
#include <stdbool.h>

#include "lib/formats/frame.h"

enum { CHANNEL_E_END = 1 }; /* the other side has closed; between frames */

typedef struct Channel {
    int fd; /* not owned */
    FrameReader reader;
    Buffer output;
} Channel;

void channel_init(Channel *channel, int fd, uint32_t payload_max);
void channel_clear(Channel *channel);
/* Encodes and sends FRAME whole. ERROR_CANCELLED with "…is gone" on EPIPE or ECONNRESET. */
int channel_send(Channel *channel, const Frame *frame, Error *error);
/* Sends bytes already encoded (ROWS). */
int channel_write(int fd, const void *data, size_t n, Error *error);
/* Waits for the next frame. CHANNEL_E_END; views hold until the next receive. */
int channel_receive(Channel *channel, Frame *ret, Error *error);
/* One read() without waiting for more than there is; 0, CHANNEL_E_END, or FRAME_E_MORE+1 == 2 where nothing was there
 * (non-blocking descriptor). For programs that poll several descriptors; then take frames with
 * frame_reader_next(&channel->reader, …). */
enum { CHANNEL_E_NOTHING = 2 };
int channel_fill(Channel *channel, Error *error);
