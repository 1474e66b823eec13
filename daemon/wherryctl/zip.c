/*
 * Each file has a header before its bytes and an entry in the directory at the end. Times are the earliest that the
 * format knows, so that the same project gives the same archive.
 */
#include "daemon/wherryctl/zip.h"

#include <errno.h>
#include <stdint.h>

#define VERSION 20                 /* 2.0: folders */
#define MADE_BY (3 << 8 | VERSION) /* on Unix: modes are there */
#define UTF8_NAMES (1 << 11)
#define DATE_1980 (1 << 5 | 1)

static void put16(Buffer *buffer, unsigned value)
{
    const uint8_t bytes[] = { (uint8_t)value, (uint8_t)(value >> 8) };
    buffer_append(buffer, bytes, sizeof(bytes));
}

static void put32(Buffer *buffer, uint32_t value)
{
    put16(buffer, value & 0xffff);
    put16(buffer, value >> 16);
}

/* CRC-32 of ISO 3309, as APPNOTE 4.4.7 has it. */
static uint32_t crc32_of(const uint8_t *bytes, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc;
}

/* What the header of a file and its entry in the directory share. */
static void put_common(Buffer *to, uint32_t crc, uint32_t size, size_t name_length)
{
    put16(to, VERSION);
    put16(to, UTF8_NAMES);
    put16(to, 0); /* stored */
    put16(to, 0);
    put16(to, DATE_1980);
    put32(to, crc);
    put32(to, size);
    put32(to, size);
    put16(to, (unsigned)name_length);
    put16(to, 0);
}

static int read_all(int fd, Buffer *ret)
{
    for (;;) {
        ssize_t n = read(fd, buffer_reserve(ret, 65536), 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        buffer_added(ret, (size_t)n);
    }
}

static void emit(Zip *zip, const Buffer *bytes)
{
    fwrite(buffer_bytes(bytes), 1, buffer_length(bytes), zip->file);
    zip->offset += buffer_length(bytes);
}

int zip_add(Zip *zip, const char *name, int fd, bool executable, Error *error)
{
    _cleanup_(buffer_clear) Buffer content = { 0 };
    _cleanup_(buffer_clear) Buffer header = { 0 };
    size_t length = strlen(name);
    if (read_all(fd, &content) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "\"%s\" cannot be read", name);
    uint32_t crc = crc32_of(buffer_bytes(&content), buffer_length(&content));
    uint32_t size = (uint32_t)buffer_length(&content);

    put32(&zip->directory, 0x02014b50);
    put16(&zip->directory, MADE_BY);
    put_common(&zip->directory, crc, size, length);
    put16(&zip->directory, 0); /* comment */
    put16(&zip->directory, 0); /* disk */
    put16(&zip->directory, 0);
    put32(&zip->directory, (uint32_t)(executable ? 0100755 : 0100644) << 16);
    put32(&zip->directory, (uint32_t)zip->offset);
    buffer_append(&zip->directory, name, length);

    put32(&header, 0x04034b50);
    put_common(&header, crc, size, length);
    buffer_append(&header, name, length);
    emit(zip, &header);
    emit(zip, &content);
    zip->count++;
    return 0;
}

void zip_finish(Zip *zip)
{
    uint32_t begin = (uint32_t)zip->offset, size = (uint32_t)buffer_length(&zip->directory);
    _cleanup_(buffer_clear) Buffer end = { 0 };
    emit(zip, &zip->directory);
    put32(&end, 0x06054b50);
    put32(&end, 0);
    put16(&end, zip->count);
    put16(&end, zip->count);
    put32(&end, size);
    put32(&end, begin);
    put16(&end, 0);
    emit(zip, &end);
    buffer_clear(&zip->directory);
}
