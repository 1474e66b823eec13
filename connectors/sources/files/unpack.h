#pragma once
/* Decompression of .gz .zst .bz2 .xz as a ByteStream over another one, by libarchive, with a bound on what a bomb may
 * become. */
#include <stdint.h>

#include "connectors/sources/files/input.h"

typedef enum Compression {
    COMPRESSION_NONE,
    COMPRESSION_GZIP,
    COMPRESSION_ZSTD,
    COMPRESSION_BZIP2,
    COMPRESSION_XZ
} Compression;

#define COMPRESSION_MAGIC_MAX 6

/* By the name's ending, checked against the first bytes, of which there are N (all of them if fewer than
 * COMPRESSION_MAGIC_MAX). Without such an ending by the first bytes alone where these cannot be text. ERROR_DATA where
 * the name promises what the bytes are not. */
int compression_detect(const char *name, const void *first, size_t n, Compression *ret, Error *error);

/* Unpacking stops with an error past UNPACK_FREE bytes at more than UNPACK_RATIO_MAX times the packed size. */
#define UNPACK_FREE (UINT64_C(1) << 30)
#define UNPACK_RATIO_MAX 1000

typedef struct Unpacker Unpacker;
/* SOURCE gives the packed bytes, PACKED_SIZE of them. */
int unpacker_new(Unpacker **ret, ByteStream source, Compression compression, uint64_t packed_size, Error *error);
Unpacker *unpacker_free(Unpacker *unpacker);
DEFINE_CLEANUP(Unpacker, unpacker_free)
ByteStream unpacker_stream(Unpacker *unpacker);
