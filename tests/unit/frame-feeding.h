#pragma once
/* Frames that lie in memory, for a reader that takes what comes from a pipe. */
#include <string.h>

#include "lib/basics/buffer.h"
#include "lib/formats/frame.h"

/* Gives READER as many of FRAMES' bytes as it has room for, and takes them out of there. */
static inline void feed_frames(FrameReader *reader, Buffer *frames)
{
    size_t room;
    uint8_t *at = frame_reader_reserve(reader, &room);
    size_t n = MIN_OF(room, buffer_length(frames));
    memcpy(at, buffer_bytes(frames), n);
    frame_reader_added(reader, n);
    buffer_consume(frames, n);
}
