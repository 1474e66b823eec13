/*
 * gzip by zlib itself: libarchive 3.6 skips the trailer of each member ("TODO: Verify the length and CRC" in its
 * archive_read_support_filter_gzip.c), so that a flipped bit would arrive as data. What follows a member is either
 * another one, or the zeros with which tapes and some tools fill up (gzip(1) ignores them too), or an error.
 */
#include "connectors/sources/files/gunzip.h"

#include <zlib.h>

#include "lib/basics/buffer.h"

#define PACKED_BLOCK_SIZE (64u << 10)

struct Gunzip {
    ByteStream source;
    z_stream stream;
    bool in_member;
    bool padded; /* zeros were seen: only zeros may follow */
    bool ended;
    unsigned char block[PACKED_BLOCK_SIZE];
};

Gunzip *gunzip_new(ByteStream source)
{
    Gunzip *gunzip = xcalloc(1, sizeof(*gunzip));
    gunzip->source = source;
    /* 15: any window; 16: gzip and nothing else. It only fails without memory. */
    if (inflateInit2(&gunzip->stream, 15 + 16) != Z_OK)
        abort();
    gunzip->in_member = true;
    return gunzip;
}

Gunzip *gunzip_free(Gunzip *gunzip)
{
    if (!gunzip)
        return NULL;
    inflateEnd(&gunzip->stream);
    free(gunzip);
    return NULL;
}

/* Another block of packed bytes. */
static int refill(Gunzip *gunzip, Error *error)
{
    size_t n;
    if (gunzip->source.read(gunzip->source.context, gunzip->block, sizeof(gunzip->block), &n, error) < 0)
        return -1;
    gunzip->stream.next_in = gunzip->block;
    gunzip->stream.avail_in = (uInt)n;
    gunzip->ended = n == 0;
    return 0;
}

static int between_members(Gunzip *gunzip, Error *error)
{
    z_stream *stream = &gunzip->stream;
    while (stream->avail_in > 0 && *stream->next_in == 0) {
        gunzip->padded = true;
        stream->next_in++;
        stream->avail_in--;
    }
    if (stream->avail_in == 0)
        return refill(gunzip, error);
    if (gunzip->padded || *stream->next_in != 0x1f)
        return error_set(error, ERROR_DATA, "other bytes follow the packed data: is the file damaged?");
    inflateReset(stream);
    gunzip->in_member = true;
    return 0;
}

int gunzip_read(Gunzip *gunzip, void *data, size_t n, size_t *ret, Error *error)
{
    z_stream *stream = &gunzip->stream;
    uInt room = (uInt)MIN_OF(n, (size_t)UINT32_MAX);
    stream->next_out = data;
    stream->avail_out = room;
    while (stream->avail_out == room) {
        if (!gunzip->in_member && !gunzip->ended) {
            if (between_members(gunzip, error) < 0)
                return -1;
            continue;
        }
        if (gunzip->in_member && stream->avail_in == 0 && refill(gunzip, error) < 0)
            return -1;
        if (gunzip->ended && !gunzip->in_member)
            break;
        if (gunzip->ended)
            return error_set(error, ERROR_DATA, "cannot be unpacked: the gzip data is cut short");
        int r = inflate(stream, Z_NO_FLUSH);
        if (r == Z_STREAM_END)
            gunzip->in_member = false;
        else if (r != Z_OK)
            return error_set(error, ERROR_DATA, "cannot be unpacked: the gzip data is damaged (%s)",
                             stream->msg ? stream->msg : "no details");
    }
    *ret = room - stream->avail_out;
    return 0;
}
