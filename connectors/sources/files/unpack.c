/*
 * gzip has its own unpacker (gunzip.c says why). The others are libarchive's filters without an archive: its "raw"
 * format is one entry that holds the unpacked bytes. Only the filter that the file needs is registered, so that a gzip
 * inside a gzip stays what it is.
 *
 * Unpacking streams, so that a bomb costs no memory; what it could fill is the destination's disk. Real tables shrink
 * five- to fiftyfold, and gzip cannot exceed 1032: past a gibibyte, more than a thousandfold is refused.
 */
#include "connectors/sources/files/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "connectors/sources/files/gunzip.h"
#include "lib/basics/buffer.h"

#define PACKED_BLOCK_SIZE (64u << 10)

typedef struct CompressionType {
    const char *suffix;
    const char *name;
    const char *magic;
    size_t magic_length;
    bool told_by_magic;               /* no text begins so */
    int filter;                       /* libarchive's code */
    int (*support)(struct archive *); /* not by its code, which would link every filter there is */
} CompressionType;

static const CompressionType types[] = {
    [COMPRESSION_GZIP] = { ".gz", "gzip", "\x1f\x8b", 2, true, 0, NULL },
    [COMPRESSION_ZSTD] = { ".zst", "zstd", "\x28\xb5\x2f\xfd", 4, true, ARCHIVE_FILTER_ZSTD,
                           archive_read_support_filter_zstd },
    [COMPRESSION_BZIP2] = { ".bz2", "bzip2", "BZh", 3, false, ARCHIVE_FILTER_BZIP2, archive_read_support_filter_bzip2 },
    [COMPRESSION_XZ] = { ".xz", "xz",
                         "\xfd"
                         "7zXZ\0",
                         6, true, ARCHIVE_FILTER_XZ, archive_read_support_filter_xz },
};

struct Unpacker {
    Gunzip *gunzip;          /* owned; or */
    struct archive *archive; /* owned */
    const struct CompressionType *type;
    ByteStream source;
    bool opened, ended;
    uint64_t packed_size, packed, unpacked;
    Error error; /* of the source, kept while libarchive unwinds */
    uint8_t block[PACKED_BLOCK_SIZE];
};

int compression_detect(const char *name, const void *first, size_t n, Compression *ret, Error *error)
{
    size_t length = strlen(name);
    for (size_t i = COMPRESSION_GZIP; i < ELEMENTSOF(types); i++) {
        const CompressionType *type = &types[i];
        size_t suffix = strlen(type->suffix);
        bool named = length > suffix && strcasecmp(name + length - suffix, type->suffix) == 0;
        bool looks = n >= type->magic_length && memcmp(first, type->magic, type->magic_length) == 0;
        if (named && !looks)
            return error_set(error, ERROR_DATA, "named \"%s\" but does not begin as %s data does%s", type->suffix,
                             type->name, n == 0 ? ": the file is empty" : "");
        if (looks && (named || type->told_by_magic)) {
            *ret = (Compression)i;
            return 0;
        }
    }
    *ret = COMPRESSION_NONE;
    return 0;
}

static la_ssize_t read_packed(struct archive *archive, void *context, const void **ret)
{
    Unpacker *unpacker = context;
    size_t n;
    *ret = unpacker->block;
    if (unpacker->source.read(unpacker->source.context, unpacker->block, sizeof(unpacker->block), &n,
                              &unpacker->error) < 0) {
        archive_set_error(archive, EIO, "reading failed");
        return -1;
    }
    unpacker->packed += n;
    return (la_ssize_t)n;
}

int unpacker_new(Unpacker **ret, ByteStream source, Compression compression, uint64_t packed_size, Error *error)
{
    Unpacker *unpacker = xcalloc(1, sizeof(*unpacker));
    unpacker->source = source;
    unpacker->packed_size = packed_size;
    unpacker->type = &types[compression];
    *ret = unpacker;
    if (compression == COMPRESSION_GZIP) {
        unpacker->gunzip = gunzip_new(source);
        return 0;
    }
    unpacker->archive = archive_read_new();
    /* ARCHIVE_WARN says that the library was built without this filter and would run a program for it. */
    if (!unpacker->archive || types[compression].support(unpacker->archive) != ARCHIVE_OK ||
        archive_read_support_format_raw(unpacker->archive) != ARCHIVE_OK ||
        archive_read_support_format_empty(unpacker->archive) != ARCHIVE_OK) {
        *ret = unpacker_free(unpacker);
        return error_set(error, ERROR_CONFIGURATION, "this system's libarchive cannot unpack %s",
                         types[compression].name);
    }
    return 0;
}

Unpacker *unpacker_free(Unpacker *unpacker)
{
    if (!unpacker)
        return NULL;
    gunzip_free(unpacker->gunzip);
    if (unpacker->archive)
        archive_read_free(unpacker->archive);
    error_clear(&unpacker->error);
    free(unpacker);
    return NULL;
}

static int unpack_failed(Unpacker *unpacker, Error *error)
{
    if (unpacker->error.kind != ERROR_NONE) {
        error_move(error, &unpacker->error);
        return -1;
    }
    const char *why = archive_error_string(unpacker->archive);
    return error_set(error, ERROR_DATA, "cannot be unpacked: the %s data is damaged or cut short (%s)",
                     unpacker->type->name, why ? why : "no details");
}

/* libarchive reads on until a filter says that its stream ended; what stands behind that would be lost in silence. */
static int check_trailing(Unpacker *unpacker, Error *error)
{
    int64_t used = archive_filter_bytes(unpacker->archive, -1);
    uint8_t byte;
    size_t n = 0;
    if (unpacker->packed == (uint64_t)used && unpacker->source.read(unpacker->source.context, &byte, 1, &n, error) < 0)
        return -1;
    if (unpacker->packed != (uint64_t)used || n > 0)
        return error_set(error, ERROR_DATA, "other bytes follow the packed data: is the file damaged?");
    return 0;
}

static int unpacker_open(Unpacker *unpacker, Error *error)
{
    struct archive_entry *entry;
    if (archive_read_open(unpacker->archive, unpacker, NULL, read_packed, NULL) != ARCHIVE_OK)
        return unpack_failed(unpacker, error);
    unpacker->opened = true;
    int r = archive_read_next_header(unpacker->archive, &entry);
    if (r == ARCHIVE_EOF)
        unpacker->ended = true;
    else if (r != ARCHIVE_OK || archive_filter_code(unpacker->archive, 0) != unpacker->type->filter)
        /* A beginning that the filter does not know is passed on as it is. */
        return unpack_failed(unpacker, error);
    return 0;
}

static int archive_read_some(Unpacker *unpacker, void *data, size_t n, size_t *ret, Error *error)
{
    if (!unpacker->opened && unpacker_open(unpacker, error) < 0)
        return -1;
    la_ssize_t got = unpacker->ended ? 0 : archive_read_data(unpacker->archive, data, n);
    if (got < 0)
        return unpack_failed(unpacker, error);
    if (got == 0 && !unpacker->ended) {
        unpacker->ended = true;
        if (check_trailing(unpacker, error) < 0)
            return -1;
    }
    *ret = (size_t)got;
    return 0;
}

static int unpacker_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    Unpacker *unpacker = context;
    if ((unpacker->gunzip ? gunzip_read(unpacker->gunzip, data, n, ret, error)
                          : archive_read_some(unpacker, data, n, ret, error)) < 0)
        return -1;
    unpacker->unpacked += *ret;
    if (unpacker->unpacked > UNPACK_FREE && unpacker->unpacked / UNPACK_RATIO_MAX > unpacker->packed_size)
        return error_set(error, ERROR_DATA,
                         "unpacks to more than %d times its size, as a decompression bomb does; if it is meant, put "
                         "the unpacked file here instead",
                         UNPACK_RATIO_MAX);
    return 0;
}

ByteStream unpacker_stream(Unpacker *unpacker)
{
    return (ByteStream){ .read = unpacker_read, .context = unpacker };
}
