/* The frame codec: what goes in comes out, byte by byte and in any cut; nothing malformed gets through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "lib/formats/frame.h"

static FrameText text(const char *string)
{
    return frame_text(string);
}

static void fill_hash(uint8_t *hash, uint8_t seed)
{
    for (size_t i = 0; i < SHA256_SIZE; i++)
        hash[i] = (uint8_t)(seed + i);
}

static FrameColumn test_columns[] = {
    { { "id", 2 }, COLUMN_INTEGER, COLUMN_DECLARED | COLUMN_KEY },
    { { "naïve", 6 }, COLUMN_STRING, 0 },
    { { "", 0 }, COLUMN_BINARY, COLUMN_REQUIRED },
};

/* One of every type but ROWS, with every field in use. */
static size_t sample_frames(Frame ret[_FRAME_TYPE_MAX])
{
    size_t n = 0;
    for (FrameType type = 1; type < _FRAME_TYPE_MAX; type++) {
        Frame frame = { .type = type };
        switch (type) {
        case FRAME_HELLO:
            frame.hello.magic = FRAME_MAGIC;
            frame.hello.version = FRAME_VERSION;
            frame.hello.features = 0x80000001;
            frame.hello.program = text("source-files");
            break;
        case FRAME_TABLE:
            frame.table.id = 7;
            frame.table.flags = TABLE_DECLARED;
            frame.table.name = text("orders");
            frame.table.column_count = 3;
            frame.table.columns = test_columns;
            break;
        case FRAME_ROWS:
            continue;
        case FRAME_TRUNCATE:
            frame.truncate.table = 4095;
            break;
        case FRAME_CHECKPOINT:
            frame.checkpoint.number = UINT64_MAX;
            frame.checkpoint.state = text("{\"cursor\":1}");
            break;
        case FRAME_FILE_BEGIN:
        case FRAME_FILE_SEEN:
            fill_hash(frame.file.hash, 3);
            frame.file.size = 1ull << 40;
            frame.file.name = (FrameText){ "a\nb\xff\0c", 6 };
            break;
        case FRAME_FILE_END:
            frame.file_end.outcome = FILE_END_FAILED;
            fill_hash(frame.file_end.hash, 9);
            frame.file_end.rows = 1;
            frame.file_end.quarantined = 2;
            frame.file_end.error = text("row 3: bad");
            break;
        case FRAME_BEGIN:
            frame.begin.configuration = text("{}");
            frame.begin.state = text("[]");
            break;
        case FRAME_OPENED:
            frame.opened.sequence = 5;
            frame.opened.epoch = 6;
            frame.opened.run_id = text("run");
            frame.opened.state = text("{}");
            break;
        case FRAME_LOG:
            frame.log.priority = 7;
            frame.log.message = text("hello");
            frame.log.table = text("t");
            frame.log.level = text("severe");
            break;
        case FRAME_PROGRESS:
            frame.progress.rows = 1;
            frame.progress.bytes = 2;
            frame.progress.bytes_total = 3;
            frame.progress.file = text("f");
            frame.progress.phase = text("loading");
            break;
        case FRAME_ERROR:
            frame.error.kind = ERROR_TEMPORARY;
            frame.error.message = text("disk full");
            break;
        case FRAME_TAKEN:
            frame.taken.number = 11;
            break;
        case FRAME_COMMITTED:
            frame.committed.sequence = 12;
            frame.committed.rows = 13;
            frame.committed.state = text("{}");
            break;
        case FRAME_FILE_VERDICT:
            fill_hash(frame.file_verdict.hash, 1);
            frame.file_verdict.verdict = FILE_SKIP;
            frame.file_verdict.rows = 77;
            break;
        case FRAME_FILE_NOTE:
            frame.file_note.what = FILE_NOTE_SKIPPED;
            frame.file_note.name = text("x.csv");
            frame.file_note.message = text("permission denied");
            break;
        case FRAME_FILE_DONE:
            frame.file_done.outcome = FILE_END_LOADED;
            fill_hash(frame.file_done.hash, 200);
            frame.file_done.rows = 1;
            frame.file_done.quarantined = 2;
            frame.file_done.sequence = 3;
            frame.file_done.error = text("");
            break;
        case FRAME_FILE_RETIRED:
            fill_hash(frame.file_retired.hash, 5);
            break;
        case FRAME_PLAN:
            frame.plan.statement = text("CREATE TABLE t (a INTEGER)");
            break;
        case FRAME_LINE:
            frame.line.time_us = 14;
            frame.line.level = text("WARNING");
            frame.line.origin = text("connector_sdk");
            frame.line.message = text("slow");
            break;
        case FRAME_DONE:
            frame.done.rows = 1;
            frame.done.bytes = 2;
            break;
        case FRAME_END:
        case FRAME_CANCEL:
        case FRAME_WORKER_GONE:
        case FRAME_LINES_END:
        case _FRAME_TYPE_MAX:
            break;
        }
        ret[n++] = frame;
    }
    return n;
}

static void put_sample_row(RowsWriter *rows)
{
    rows_put_null(rows);
    rows_put_absent(rows);
    rows_put_boolean(rows, true);
    rows_put_boolean(rows, false);
    rows_put_integer(rows, INT64_MIN);
    rows_put_float(rows, -0.1);
    rows_put_date(rows, -719162);
    rows_put_timestamp(rows, &(Timestamp){ -1, 999999999, 90 });
    rows_put_text(rows, VALUE_STRING, "a\0b", 3);
    rows_put_text(rows, VALUE_DECIMAL, "123456789012345678901234567890.5", 32);
    rows_put_text(rows, VALUE_JSON, "{}", 2);
    rows_put_text(rows, VALUE_BINARY, NULL, 0);
    rows_row_done(rows);
}

#define SAMPLE_VALUES 12

static void encode_all(Buffer *buffer)
{
    Frame frames[_FRAME_TYPE_MAX];
    size_t n = sample_frames(frames);
    for (size_t i = 0; i < n; i++)
        frame_encode(buffer, &frames[i]);
    RowsWriter rows = rows_begin(buffer, 7, OPERATION_UPSERT);
    put_sample_row(&rows);
    size_t mark = rows_mark(&rows);
    rows_put_integer(&rows, 5); /* a row that turns out to be bad */
    rows_rewind(&rows, mark);
    put_sample_row(&rows);
    rows_end(&rows);
    RowsWriter empty = rows_begin(buffer, 8, OPERATION_INSERT);
    rows_end(&empty);
}

static void check_rows(const Frame *frame)
{
    assert_int_equal(frame->rows.table, 7);
    assert_int_equal(frame->rows.operation, OPERATION_UPSERT);
    assert_int_equal(frame->rows.count, 2);
    RowCursor cursor = row_cursor(frame);
    Value values[SAMPLE_VALUES];
    for (uint32_t row = 0; row < 2; row++)
        for (size_t i = 0; i < SAMPLE_VALUES; i++)
            assert_true(row_cursor_value(&cursor, &values[i]));
    assert_ptr_equal(cursor.next, cursor.end);
    assert_false(row_cursor_value(&cursor, &values[0]));
    assert_int_equal(values[0].tag, VALUE_NULL);
    assert_int_equal(values[1].tag, VALUE_ABSENT);
    assert_int_equal(values[2].tag, VALUE_TRUE);
    assert_int_equal(values[3].tag, VALUE_FALSE);
    assert_int_equal(values[4].integer, INT64_MIN);
    assert_true(values[5].number == -0.1);
    assert_int_equal(values[6].days, -719162);
    assert_int_equal(values[7].timestamp.seconds, -1);
    assert_int_equal(values[7].timestamp.nanos, 999999999);
    assert_int_equal(values[7].timestamp.offset, 90);
    assert_int_equal(values[8].text.length, 3);
    assert_memory_equal(values[8].text.data, "a\0b", 3);
    assert_int_equal(values[9].tag, VALUE_DECIMAL);
    assert_int_equal(values[10].tag, VALUE_JSON);
    assert_int_equal(values[11].tag, VALUE_BINARY);
    assert_int_equal(values[11].text.length, 0);
}

/* Re-encodes what was decoded: equal bytes mean that every field went both ways. */
static void every_frame_survives_every_cut(void **state)
{
    _cleanup_(buffer_clear) Buffer wire = { 0 };
    encode_all(&wire);
    for (size_t step = 1; step < buffer_length(&wire) + 1; step = step < 40 ? step + 1 : step * 2) {
        FrameReader reader;
        frame_reader_init(&reader, FRAME_CONTROL_MAX);
        _cleanup_(buffer_clear) Buffer again = { 0 };
        _cleanup_(error_clear) Error error = { 0 };
        size_t given = 0, frames = 0;
        while (given < buffer_length(&wire)) {
            size_t room, n = MIN_OF(step, buffer_length(&wire) - given);
            uint8_t *at = frame_reader_reserve(&reader, &room);
            n = MIN_OF(n, room);
            memcpy(at, buffer_bytes(&wire) + given, n);
            frame_reader_added(&reader, n);
            given += n;
            Frame frame;
            int r;
            while ((r = frame_reader_next(&reader, &frame, &error)) == 0) {
                frames++;
                if (frame.type == FRAME_ROWS) {
                    check_rows(&frame);
                    RowsWriter rows = rows_begin(&again, frame.rows.table, frame.rows.operation);
                    buffer_append(&again, frame.rows.data, frame.rows.length);
                    rows.count = frame.rows.count;
                    rows_end(&rows);
                } else {
                    frame_encode(&again, &frame);
                }
            }
            assert_int_equal(r, FRAME_E_MORE);
        }
        assert_int_equal(frames, _FRAME_TYPE_MAX - 1);
        assert_int_equal(buffer_length(&again), buffer_length(&wire));
        assert_memory_equal(buffer_bytes(&again), buffer_bytes(&wire), buffer_length(&wire));
        frame_reader_clear(&reader);
    }
}

static void what_lies_ahead(void **state)
{
    _cleanup_(buffer_clear) Buffer wire = { 0 };
    RowsWriter rows = rows_begin(&wire, 0, OPERATION_UPSERT);
    rows_end(&rows);
    frame_encode(&wire, &(Frame){ .type = FRAME_TRUNCATE });
    size_t before = buffer_length(&wire);
    frame_encode(&wire, &(Frame){ .type = FRAME_CHECKPOINT, .checkpoint = { .state = frame_text("{}") } });
    FrameReader reader;
    frame_reader_init(&reader, 1 << 20);
    size_t offset = 0;
    for (size_t n = 0; n < buffer_length(&wire); n++) {
        size_t room;
        assert_false(frame_reader_has(&reader, 1u << FRAME_CHECKPOINT, &offset));
        *frame_reader_reserve(&reader, &room) = buffer_bytes(&wire)[n];
        frame_reader_added(&reader, 1);
    }
    assert_int_equal(offset, before); /* it goes on there */
    assert_true(frame_reader_has(&reader, 1u << FRAME_CHECKPOINT | 1u << FRAME_END, &offset));
    offset = 0;
    assert_false(frame_reader_has(&reader, 1u << FRAME_END, &offset));
    assert_int_equal(offset, buffer_length(&wire));
    for (size_t i = 0; i < FRAME_HEADER_SIZE; i++) {
        size_t room;
        *frame_reader_reserve(&reader, &room) = 0xff;
        frame_reader_added(&reader, 1);
    }
    assert_true(frame_reader_has(&reader, 1u << FRAME_END, &offset)); /* no frame: whoever reads on is told */
    frame_reader_clear(&reader);
}

static int decode(const uint8_t *data, size_t n, Frame *frame, char **ret_message)
{
    FrameReader reader;
    frame_reader_init(&reader, 1 << 20);
    size_t room;
    _cleanup_(error_clear) Error error = { 0 };
    memcpy(frame_reader_reserve(&reader, &room), data, n);
    frame_reader_added(&reader, n);
    int r = frame_reader_next(&reader, frame, &error);
    if (ret_message)
        *ret_message = r < 0 ? error_format(&error) : NULL;
    frame_reader_clear(&reader);
    return r;
}

/* Cutting a payload short, or making it one byte longer, must never decode: no field is optional. */
static void a_payload_of_another_length_is_refused(void **state)
{
    Frame frames[_FRAME_TYPE_MAX];
    size_t n = sample_frames(frames);
    for (size_t i = 0; i < n; i++) {
        _cleanup_(buffer_clear) Buffer wire = { 0 };
        frame_encode(&wire, &frames[i]);
        uint32_t whole = (uint32_t)(buffer_length(&wire) - FRAME_HEADER_SIZE);
        buffer_append(&wire, "\0", 1);
        for (uint32_t length = 0; length <= whole + 1; length++) {
            Frame frame;
            memcpy(buffer_bytes(&wire), &length, sizeof(length));
            int r = decode(buffer_bytes(&wire), FRAME_HEADER_SIZE + length, &frame, NULL);
            if (length == whole)
                assert_int_equal(r, 0);
            else
                assert_true(r < 0);
        }
    }
}

static void assert_refused(const uint8_t *data, size_t n, const char *expected)
{
    Frame frame;
    _cleanup_(freep) char *message = NULL;
    assert_true(decode(data, n, &frame, &message) < 0);
    assert_string_equal(message, expected);
}

static void foreign_bytes_are_refused(void **state)
{
    assert_refused((const uint8_t *)"\0\0\0\0\0\0\0\0", 8, "not a frame: unknown type 0 or reserved bytes in use");
    assert_refused((const uint8_t *)"\0\0\0\0\x08\x01\0\0", 8, "not a frame: unknown type 8 or reserved bytes in use");
    assert_refused((const uint8_t *)"\0\0\0\0\xc8\0\0\0", 8, "not a frame: unknown type 200 or reserved bytes in use");
    /* refused by its header alone: nobody waits for, or allocates, a gigabyte */
    assert_refused((const uint8_t *)"\1\0\x10\0\x03\0\0\0", 8,
                   "frame ROWS of 1048577 bytes is over the limit of 1048576 bytes");
    assert_refused((const uint8_t *)"\x08\0\0\0\x03\0\0\0\0\0\1\0\1\0\0\0", 16, "malformed frame ROWS of 8 bytes");
    assert_refused((const uint8_t *)"\x09\0\0\0\x03\0\0\0\0\0\x05\0\1\0\0\0\0", 17, "malformed frame ROWS of 9 bytes");
    /* more rows than bytes */
    assert_refused((const uint8_t *)"\x09\0\0\0\x03\0\0\0\0\0\1\0\2\0\0\0\0", 17, "malformed frame ROWS of 9 bytes");
    /* a table of 4 billion columns */
    assert_refused((const uint8_t *)"\x0b\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff", 19,
                   "malformed frame TABLE of 11 bytes");
}

static void a_cursor_never_leaves_its_frame(void **state)
{
    Buffer buffer = { 0 };
    RowsWriter rows = rows_begin(&buffer, 0, OPERATION_INSERT);
    put_sample_row(&rows);
    rows_end(&rows);
    size_t n = buffer_length(&buffer) - FRAME_HEADER_SIZE - 8;
    for (size_t length = 0; length < n; length++) {
        /* an exact allocation, so that the sanitizer sees one byte too far */
        uint8_t *data = xmalloc(length);
        memcpy(data, buffer_bytes(&buffer) + FRAME_HEADER_SIZE + 8, length);
        RowCursor cursor = { data, data + length };
        Value value;
        size_t values = 0;
        while (row_cursor_value(&cursor, &value))
            values++;
        assert_true(values < SAMPLE_VALUES);
        free(data);
    }
    uint8_t unknown[] = { _VALUE_TAG_MAX };
    uint8_t nanos[15] = { VALUE_TIMESTAMP, [9] = 0xff, [10] = 0xff, [11] = 0xff, [12] = 0xff };
    Value value;
    assert_false(row_cursor_value(&(RowCursor){ unknown, unknown + 1 }, &value));
    assert_false(row_cursor_value(&(RowCursor){ nanos, nanos + sizeof(nanos) }, &value));
    buffer_clear(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_survives_every_cut),         cmocka_unit_test(what_lies_ahead),
        cmocka_unit_test(a_payload_of_another_length_is_refused), cmocka_unit_test(foreign_bytes_are_refused),
        cmocka_unit_test(a_cursor_never_leaves_its_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
