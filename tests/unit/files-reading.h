#pragma once
/* Reads a text with a reader of the files source, in pieces of any size, and shows the rows as text that a test can
 * compare. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "connectors/sources/files/reader.h"
#include "lib/basics/buffer.h"
#include "tests/unit/frame-feeding.h"

typedef struct Pieces {
    const char *data;
    size_t n, at;
    size_t piece; /* bytes a read gives at most; 0: at random */
    unsigned seed;
} Pieces;

static inline int pieces_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    Pieces *pieces = context;
    size_t wanted = pieces->piece > 0 ? pieces->piece : 1 + (size_t)rand_r(&pieces->seed) % 40;
    size_t got = MIN_OF(MIN_OF(wanted, n), pieces->n - pieces->at);
    if (got > 0)
        memcpy(data, pieces->data + pieces->at, got);
    pieces->at += got;
    *ret = got;
    return 0;
}

static inline void show_value(Buffer *to, const Value *value)
{
    char text[TIMESTAMP_TEXT_MAX];
    switch (value->tag) {
    case VALUE_NULL:
        buffer_append_string(to, "NULL");
        break;
    case VALUE_FALSE:
    case VALUE_TRUE:
        buffer_append_string(to, value->tag == VALUE_TRUE ? "true" : "false");
        break;
    case VALUE_INTEGER:
        buffer_printf(to, "%lld", (long long)value->integer);
        break;
    case VALUE_FLOAT:
        buffer_printf(to, "%.17g", value->number);
        break;
    case VALUE_DATE:
        buffer_append(to, text, date_format(value->days, text));
        break;
    case VALUE_TIMESTAMP:
        buffer_append(to, text, timestamp_format(&value->timestamp, text));
        break;
    default:
        buffer_append_string(to, value->tag == VALUE_STRING    ? "'"
                                 : value->tag == VALUE_DECIMAL ? "d'"
                                 : value->tag == VALUE_JSON    ? "j'"
                                                               : "b'");
        buffer_append(to, value->text.data, value->text.length);
        buffer_append_string(to, "'");
    }
}

/* Takes the rows out of BUFFER (ROWS frames) and shows them, one a line, values between bars. */
static inline uint64_t show_rows(Buffer *to, Buffer *frames, size_t columns)
{
    FrameReader reader;
    uint64_t count = 0;
    frame_reader_init(&reader, FRAME_PAYLOAD_MAX);
    while (buffer_length(frames) > 0) {
        feed_frames(&reader, frames);
        Frame frame;
        while (frame_reader_next(&reader, &frame, NULL) == 0) {
            RowCursor cursor = row_cursor(&frame);
            for (uint32_t row = 0; row < frame.rows.count; row++) {
                for (size_t i = 0; i < columns; i++) {
                    Value value;
                    assert_true(row_cursor_value(&cursor, &value));
                    assert_true(value.tag != VALUE_ABSENT);
                    buffer_append_string(to, i > 0 ? "|" : "");
                    show_value(to, &value);
                }
                buffer_append_string(to, "\n");
                count++;
            }
            assert_ptr_equal(cursor.next, cursor.end);
        }
    }
    frame_reader_clear(&reader);
    return count;
}

/* All rows, then the error if there is one, as one string. BLOCK as of text_input_init(), PIECE as above. */
static inline char *read_text(const FilesSettings *settings, const char *data, size_t n, size_t block, size_t piece)
{
    Pieces pieces = { .data = data, .n = n, .piece = piece, .seed = (unsigned)(n + block) };
    TextInput input;
    JsonMemory json;
    Error error = { 0 };
    Buffer frames = { 0 }, shown = { 0 };
    text_input_init(&input, (ByteStream){ pieces_read, &pieces }, block, files_settings_record_max(settings));
    json_memory_init(&json);
    FileReader *reader = file_reader_new(settings, &input, &json);
    int r;
    uint64_t rows = 0;
    do {
        RowsWriter writer = rows_begin(&frames, 0, OPERATION_INSERT);
        r = reader->read(reader, &writer, &error);
        rows_end(&writer);
        rows += show_rows(&shown, &frames, settings->column_count);
    } while (r == 0);
    if (r < 0) {
        char *text = error_format(&error);
        buffer_append_string(&shown, text);
        assert_int_equal(error.kind, ERROR_DATA);
        free(text);
    } else {
        assert_int_equal(rows, reader->row);
    }
    file_reader_free(reader);
    text_input_clear(&input);
    json_memory_clear(&json);
    buffer_clear(&frames);
    error_clear(&error);
    return buffer_take_string(&shown);
}

static inline void assert_reads(const FilesSettings *settings, const char *data, const char *expected)
{
    static const size_t blocks[] = { 0, 1, 7, 64, 65 };
    for (size_t i = 0; i < ELEMENTSOF(blocks); i++) {
        char *shown = read_text(settings, data, strlen(data), blocks[i], i % 2 == 0 ? 1000000 : 0);
        assert_string_equal(shown, expected);
        free(shown);
    }
}

typedef struct Case {
    const char *text, *expected;
} Case;

static inline void assert_cases(const FilesSettings *settings, const Case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_reads(settings, cases[i].text, cases[i].expected);
}
