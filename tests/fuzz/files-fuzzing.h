#pragma once
/*
 * What the fuzz targets of the file readers share. Every input is read twice, once whole and once in blocks of a size
 * that the input says: both must give the same rows and the same verdict, whatever they are.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/sources/files/reader.h"
#include "lib/basics/buffer.h"
#include "tests/unit/frame-feeding.h"

typedef struct FuzzSource {
    const uint8_t *data;
    size_t n, piece;
} FuzzSource;

static inline int fuzz_source_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    FuzzSource *source = context;
    *ret = MIN_OF(MIN_OF(source->piece, n), source->n);
    if (*ret > 0)
        memcpy(data, source->data, *ret);
    source->data += *ret;
    source->n -= *ret;
    return 0;
}

/* Every value of the frame must be well-formed; its bytes go to RET. */
static inline void fuzz_check_rows(Buffer *frames, size_t columns, Buffer *ret)
{
    FrameReader reader;
    frame_reader_init(&reader, FRAME_PAYLOAD_MAX);
    while (buffer_length(frames) > 0) {
        feed_frames(&reader, frames);
        Frame frame;
        while (frame_reader_next(&reader, &frame, NULL) == 0) {
            RowCursor cursor = row_cursor(&frame);
            Value value;
            for (size_t i = 0; i < frame.rows.count * columns; i++)
                assert(row_cursor_value(&cursor, &value) && value.tag != VALUE_ABSENT);
            assert(cursor.next == cursor.end);
            buffer_append(ret, frame.rows.data, frame.rows.length);
        }
    }
    frame_reader_clear(&reader);
}

/* 0 or -1 as the reader ended; its rows in RET. */
static inline int fuzz_read(const FilesSettings *settings, const uint8_t *data, size_t n, size_t block, Buffer *ret)
{
    FuzzSource source = { .data = data, .n = n, .piece = block };
    TextInput input;
    JsonMemory json;
    Error error = { 0 };
    Buffer frames = { 0 };
    text_input_init(&input, (ByteStream){ fuzz_source_read, &source }, block, files_settings_record_max(settings));
    json_memory_init(&json);
    FileReader *reader = file_reader_new(settings, &input, &json);
    int r;
    do {
        RowsWriter rows = rows_begin(&frames, 0, OPERATION_INSERT);
        r = reader->read(reader, &rows, &error);
        rows_end(&rows);
        fuzz_check_rows(&frames, settings->column_count, ret);
    } while (r == 0);
    assert((r < 0) == (error.kind != ERROR_NONE));
    if (r < 0)
        free(error_format(&error));
    file_reader_free(reader);
    text_input_clear(&input);
    json_memory_clear(&json);
    buffer_clear(&frames);
    error_clear(&error);
    return r < 0 ? -1 : 0;
}

typedef struct FuzzAside {
    JsonMemory *json;
    Buffer lines;
} FuzzAside;

/* A line as the quarantine writes it; the row must be JSON, whatever it was. */
static inline int fuzz_take_bad_row(void *context, const FileReader *reader, const Error *why, Error *error)
{
    FuzzAside *aside = context;
    Buffer row = { 0 };
    assert(why->kind == ERROR_DATA);
    reader->write_row(reader, &row);
    assert(!json_validate(aside->json, (const char *)buffer_bytes(&row), buffer_length(&row)) ||
           reader->settings->format == FORMAT_NDJSON); /* what is nested too deeply is that there, too */
    assert(!memchr(buffer_bytes(&row), '\n', buffer_length(&row)));
    buffer_append_string(&aside->lines, "{\"row_number\": 7, \"row\": ");
    buffer_append(&aside->lines, buffer_bytes(&row), buffer_length(&row));
    buffer_append_string(&aside->lines, "}\n");
    buffer_clear(&row);
    return 0;
}

/* Reads on past bad rows. The sidecar that they make, uncorrected, must not hold one that can be loaded. */
static inline void fuzz_read_aside(const FilesSettings *settings, const uint8_t *data, size_t n, bool sidecar)
{
    FuzzSource source = { .data = data, .n = n, .piece = n + 64 };
    TextInput input;
    JsonMemory json;
    Error error = { 0 };
    Buffer frames = { 0 }, ignored = { 0 };
    text_input_init(&input, (ByteStream){ fuzz_source_read, &source }, n + 64, files_settings_record_max(settings));
    json_memory_init(&json);
    FuzzAside aside = { .json = &json };
    const BadRows bad_rows = { .take = fuzz_take_bad_row, .context = &aside };
    FileReader *reader =
        sidecar ? sidecar_reader_new(settings, &input, &json) : file_reader_new(settings, &input, &json);
    reader->bad_rows = &bad_rows;
    int r;
    do {
        RowsWriter rows = rows_begin(&frames, 0, OPERATION_INSERT);
        r = reader->read(reader, &rows, &error);
        rows_end(&rows);
        fuzz_check_rows(&frames, settings->column_count, &ignored);
        buffer_reset(&ignored);
    } while (r == 0);
    if (sidecar)
        assert(r < 0 || reader->bad == reader->row);
    else
        fuzz_read_aside(settings, buffer_bytes(&aside.lines), buffer_length(&aside.lines), true);
    file_reader_free(reader);
    text_input_clear(&input);
    json_memory_clear(&json);
    buffer_clear(&frames);
    buffer_clear(&ignored);
    buffer_clear(&aside.lines);
    error_clear(&error);
}

static inline void fuzz_read_twice(const FilesSettings *settings, const uint8_t *data, size_t n, size_t block)
{
    Buffer whole = { 0 }, parts = { 0 };
    int expected = fuzz_read(settings, data, n, n + 64, &whole);
    int r = fuzz_read(settings, data, n, 1 + block, &parts);
    assert(r == expected && buffer_length(&whole) == buffer_length(&parts));
    assert(buffer_length(&whole) == 0 ||
           memcmp(buffer_bytes(&whole), buffer_bytes(&parts), buffer_length(&whole)) == 0);
    buffer_clear(&whole);
    buffer_clear(&parts);
    /* without a header the columns would have to be called by their positions */
    if (settings->format != FORMAT_CSV || settings->header)
        fuzz_read_aside(settings, data, n, false);
}

/* One column of every type, none required, so that reading goes far. */
#define FUZZ_COLUMN(name, kind, number)                                                                       \
    {                                                                                                         \
        .source = (char *)(name), .type = (kind), .position = (number), .start = 3 * ((number)-1), .width = 3 \
    }
static FileColumn fuzz_columns[] = {
    FUZZ_COLUMN("s", COLUMN_STRING, 1),  FUZZ_COLUMN("i", COLUMN_INTEGER, 2), FUZZ_COLUMN("f", COLUMN_FLOAT, 3),
    FUZZ_COLUMN("b", COLUMN_BOOLEAN, 4), FUZZ_COLUMN("d", COLUMN_DATE, 5),    FUZZ_COLUMN("t", COLUMN_TIMESTAMP, 6),
    FUZZ_COLUMN("n", COLUMN_DECIMAL, 7), FUZZ_COLUMN("j", COLUMN_JSON, 8),    FUZZ_COLUMN("x", COLUMN_BINARY, 9),
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
