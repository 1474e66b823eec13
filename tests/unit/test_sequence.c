/* The grammar of the op pipe: every frame in every state, and what may be in a frame. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/writer/sequence.h"

#define MAX_VALUE 64

static const SequenceRules everything = { .files = true,
                                          .rows = true,
                                          .operations = ~0u,
                                          .truncate = true,
                                          .changes = true,
                                          .max_value_size = MAX_VALUE,
                                          .destination = "destination-test" };

static FrameColumn columns_all[] = {
    { { "id", 2 }, COLUMN_INTEGER, COLUMN_KEY | COLUMN_DECLARED },
    { { "needed", 6 }, COLUMN_STRING, COLUMN_REQUIRED },
    { { "note", 4 }, COLUMN_STRING, 0 },
};

static Frame hello_frame(void)
{
    return (Frame){ .type = FRAME_HELLO,
                    .hello = { .magic = FRAME_MAGIC, .version = FRAME_VERSION, .program = frame_text("source-test") } };
}

static Frame table_frame(uint16_t id, const char *name, FrameColumn *columns, uint32_t count)
{
    return (Frame){ .type = FRAME_TABLE,
                    .table = { .id = id, .name = frame_text(name), .columns = columns, .column_count = count } };
}

/* --- ROWS made as a worker makes them --- */

typedef struct Rows {
    Buffer buffer;
    RowsWriter writer;
} Rows;

static RowsWriter *rows_open(Rows *rows, uint16_t table, Operation operation)
{
    buffer_reset(&rows->buffer);
    rows->writer = rows_begin(&rows->buffer, table, operation);
    return &rows->writer;
}

static Frame rows_frame(Rows *rows)
{
    FrameReader reader;
    Frame frame;
    rows_end(&rows->writer);
    frame_reader_init(&reader, FRAME_PAYLOAD_MAX);
    size_t n = buffer_length(&rows->buffer), room;
    while (buffer_length(&reader.buffer) < n) {
        uint8_t *at = frame_reader_reserve(&reader, &room);
        size_t part = MIN_OF(room, n - buffer_length(&reader.buffer));
        memcpy(at, buffer_bytes(&rows->buffer) + buffer_length(&reader.buffer), part);
        frame_reader_added(&reader, part);
    }
    assert_int_equal(frame_reader_next(&reader, &frame, NULL), 0);
    /* The view moves to our own buffer, which outlives the reader. */
    frame.rows.data = buffer_bytes(&rows->buffer) + (frame.rows.data - reader.buffer.data);
    frame_reader_clear(&reader);
    return frame;
}

static Frame good_row(Rows *rows, uint16_t table, Operation operation)
{
    RowsWriter *writer = rows_open(rows, table, operation);
    rows_put_integer(writer, 1);
    rows_put_text(writer, VALUE_STRING, "x", 1);
    rows_put_null(writer);
    rows_row_done(writer);
    return rows_frame(rows);
}

/* --- every frame in every state --- */

static Frame frame_of(FrameType type, Rows *rows)
{
    switch (type) {
    case FRAME_HELLO:
        return hello_frame();
    case FRAME_TABLE:
        return table_frame(0, "t", columns_all, ELEMENTSOF(columns_all));
    case FRAME_ROWS:
        return good_row(rows, 0, OPERATION_INSERT);
    case FRAME_CHECKPOINT:
        return (Frame){ .type = type, .checkpoint = { .number = 1, .state = frame_text("{}") } };
    case FRAME_FILE_BEGIN:
        return (Frame){ .type = type, .file = { .name = frame_text("a.csv") } };
    case FRAME_FILE_END:
        return (Frame){ .type = type, .file_end = { .outcome = FILE_END_LOADED } };
    default:
        return (Frame){ .type = type };
    }
}

static void bring_to(Sequence *sequence, SequenceState state)
{
    Rows rows = { 0 };
    static const FrameType path[] = { FRAME_HELLO, FRAME_TABLE, FRAME_FILE_BEGIN };
    size_t steps = state == SEQUENCE_START ? 0 : state == SEQUENCE_IN_FILE ? 3 : 2;
    sequence_init(sequence, &everything);
    for (size_t i = 0; i < steps; i++) {
        Frame frame = frame_of(path[i], &rows);
        assert_int_equal(sequence_next(sequence, &frame, NULL), 0);
    }
    if (state == SEQUENCE_ENDED) {
        Frame end = { .type = FRAME_END };
        assert_int_equal(sequence_next(sequence, &end, NULL), 0);
    }
    assert_int_equal(sequence->state, state);
}

static void test_every_frame_in_every_state(void **state)
{
    /* -1: refused; otherwise the state it leads to. Frames of the sockets never pass. */
    static const struct {
        FrameType type;
        int next[_SEQUENCE_STATE_MAX];
    } table[] = {
        { FRAME_HELLO, { SEQUENCE_OUTSIDE, -1, -1, -1 } },
        { FRAME_TABLE, { -1, SEQUENCE_OUTSIDE, SEQUENCE_IN_FILE, -1 } },
        { FRAME_ROWS, { -1, SEQUENCE_OUTSIDE, SEQUENCE_IN_FILE, -1 } },
        { FRAME_TRUNCATE, { -1, SEQUENCE_OUTSIDE, -1, -1 } },
        { FRAME_CHECKPOINT, { -1, SEQUENCE_OUTSIDE, -1, -1 } },
        { FRAME_FILE_BEGIN, { -1, SEQUENCE_IN_FILE, -1, -1 } },
        { FRAME_FILE_END, { -1, -1, SEQUENCE_OUTSIDE, -1 } },
        { FRAME_END, { -1, SEQUENCE_ENDED, -1, -1 } },
    };
    for (unsigned type = 1; type < _FRAME_TYPE_MAX; type++)
        for (unsigned from = 0; from < _SEQUENCE_STATE_MAX; from++) {
            int expected = -1;
            for (size_t i = 0; i < ELEMENTSOF(table); i++)
                if (table[i].type == type)
                    expected = table[i].next[from];
            Sequence sequence;
            Rows rows = { 0 };
            _cleanup_(error_clear) Error error = { 0 };
            bring_to(&sequence, (SequenceState)from);
            Frame frame = frame_of((FrameType)type, &rows);
            int r = sequence_next(&sequence, &frame, &error);
            if (expected < 0) {
                assert_int_equal(r, -1);
                assert_int_equal(error.kind, ERROR_INTERNAL);
                assert_non_null(strstr(error.message, frame_type_name((FrameType)type)));
                assert_int_equal(sequence.state, from);
            } else {
                assert_int_equal(r, 0);
                assert_int_equal(sequence.state, expected);
            }
            sequence_clear(&sequence);
            buffer_clear(&rows.buffer);
        }
}

/* --- what is in them --- */

static void refused(Sequence *sequence, const Frame *frame, ErrorKind kind, const char *text)
{
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(sequence_next(sequence, frame, &error), -1);
    _cleanup_(freep) char *message = error_format(&error);
    if (!strstr(message, text))
        fail_msg("\"%s\" does not say \"%s\"", message, text);
    assert_int_equal(error.kind, kind);
}

static void accepted(Sequence *sequence, const Frame *frame)
{
    _cleanup_(error_clear) Error error = { 0 };
    if (sequence_next(sequence, frame, &error) < 0)
        fail_msg("refused: %s", error.message);
}

static void test_hello(void **state)
{
    Sequence sequence;
    sequence_init(&sequence, &everything);
    Frame frame = hello_frame();
    frame.hello.magic++;
    refused(&sequence, &frame, ERROR_INTERNAL, "magic");
    frame = hello_frame();
    frame.hello.version++;
    refused(&sequence, &frame, ERROR_INTERNAL, "version 2 of the protocol, this writer version 1");
    frame = hello_frame();
    frame.hello.features = UINT32_MAX; /* unknown ones are ignored */
    accepted(&sequence, &frame);
    sequence_clear(&sequence);
}

static void test_table_names(void **state)
{
    static const struct {
        FrameText name;
        const char *text;
    } bad[] = {
        { { "", 0 }, "bad table name" },
        { { "a\0b", 3 }, "bad table name" },
        { { "a\xff", 2 }, "bad table name" },
        { { "_wherry_state", 13 }, "reserved table name" },
        { { "_WHERRY_files", 13 }, "reserved table name" },
    };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        Frame frame = table_frame(1, "", columns_all, 1);
        frame.table.name = bad[i].name;
        refused(&sequence, &frame, ERROR_INTERNAL, bad[i].text);
    }
    Frame frame = table_frame(2, "u", columns_all, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "table number 2 comes before number 1");
    frame = table_frame(0, "u", columns_all, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "another name for a known table");
    frame = table_frame(1, "t", columns_all, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "two numbers for table");
    frame = table_frame(1, "u", columns_all, 1);
    accepted(&sequence, &frame);
    sequence_clear(&sequence);

    SequenceRules rules = everything;
    rules.only_table = "orders";
    sequence_init(&sequence, &rules);
    frame = hello_frame();
    accepted(&sequence, &frame);
    frame = table_frame(0, "neighbour", columns_all, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "this connection has no table \"neighbour\"");
    frame = table_frame(0, "orders", columns_all, 1);
    accepted(&sequence, &frame);
    sequence_clear(&sequence);
}

static void test_columns(void **state)
{
    FrameColumn twice[] = { { { "a", 1 }, COLUMN_STRING }, { { "b", 1 }, COLUMN_STRING }, { { "a", 1 }, COLUMN_DATE } };
    FrameColumn reserved[] = { { { "_wherry_x", 9 }, COLUMN_STRING } };
    FrameColumn nul[] = { { { "a\0", 2 }, COLUMN_STRING } };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    Frame frame = table_frame(0, "t", twice, 3);
    refused(&sequence, &frame, ERROR_INTERNAL, "two columns called \"a\"");
    frame = table_frame(0, "t", reserved, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "reserved column name");
    frame = table_frame(0, "t", nul, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "bad column name");
    frame = table_frame(0, "t", twice, 0);
    refused(&sequence, &frame, ERROR_INTERNAL, "no columns");
    FrameColumn untyped[] = { { { "a", 1 }, COLUMN_STRING, COLUMN_KEY | COLUMN_UNTYPED } };
    FrameColumn no_key[] = { { { "a", 1 }, COLUMN_STRING, COLUMN_UNTYPED } };
    frame = table_frame(0, "t", untyped, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "a column without a type, other than a key's in a plan, in table \"t\"");
    sequence.rules.untyped = true;
    frame = table_frame(0, "t", no_key, 1);
    refused(&sequence, &frame, ERROR_INTERNAL, "a column without a type, other than a key's in a plan, in table \"t\"");
    frame = table_frame(0, "t", untyped, 1);
    accepted(&sequence, &frame);
    frame = table_frame(0, "t", twice, 2); /* replaces */
    accepted(&sequence, &frame);
    assert_int_equal(sequence_table(&sequence, 0)->column_count, 2);
    assert_string_equal(sequence_table(&sequence, 0)->columns[1].name.data, "b");
    sequence_clear(&sequence);
}

static void test_rows_need_their_table(void **state)
{
    Sequence sequence;
    Rows rows = { 0 };
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    Frame frame = good_row(&rows, 1, OPERATION_INSERT);
    refused(&sequence, &frame, ERROR_INTERNAL, "rows for table number 1 of 1");
    frame = (Frame){ .type = FRAME_TRUNCATE, .truncate = { .table = 1 } };
    refused(&sequence, &frame, ERROR_INTERNAL, "rows for table number 1 of 1");
    frame = (Frame){ .type = FRAME_TRUNCATE, .truncate = { .table = 0 } };
    accepted(&sequence, &frame);
    sequence_clear(&sequence);
    buffer_clear(&rows.buffer);
}

static void test_operations_by_capability(void **state)
{
    static const char *const names[] = { NULL, "insert", "upsert", "update", "delete" };
    Rows rows = { 0 };
    SequenceRules rules = everything;
    rules.operations = OPERATION_BIT(OPERATION_INSERT);
    rules.truncate = false;
    Sequence sequence;
    sequence_init(&sequence, &rules);
    Frame frame = hello_frame();
    accepted(&sequence, &frame);
    frame = table_frame(0, "t", columns_all, ELEMENTSOF(columns_all));
    accepted(&sequence, &frame);
    for (unsigned i = OPERATION_INSERT; i < _OPERATION_MAX; i++) {
        frame = good_row(&rows, 0, (Operation)i);
        _cleanup_(freep) char *text = xasprintf("destination-test cannot %s rows yet (table \"t\")", names[i]);
        if (i == OPERATION_INSERT)
            accepted(&sequence, &frame);
        else
            refused(&sequence, &frame, ERROR_CONFIGURATION, text);
    }
    frame = (Frame){ .type = FRAME_TRUNCATE };
    refused(&sequence, &frame, ERROR_CONFIGURATION, "cannot truncate");
    sequence_clear(&sequence);

    /* Without a key a row is told by all of its values, which only an upsert has. */
    for (unsigned i = OPERATION_UPSERT; i < _OPERATION_MAX; i++) {
        bring_to(&sequence, SEQUENCE_OUTSIDE);
        frame = table_frame(0, "t", columns_all + 1, 1);
        accepted(&sequence, &frame);
        RowsWriter *writer = rows_open(&rows, 0, (Operation)i);
        rows_put_text(writer, VALUE_STRING, "x", 1);
        rows_row_done(writer);
        frame = rows_frame(&rows);
        if (i == OPERATION_UPSERT)
            accepted(&sequence, &frame);
        else
            refused(&sequence, &frame, ERROR_DATA, "table \"t\" has no primary key: its rows cannot be");
        sequence_clear(&sequence);
    }
    buffer_clear(&rows.buffer);
}

static void test_files_or_rows_by_rule(void **state)
{
    static const FrameType loose[] = { FRAME_ROWS, FRAME_TRUNCATE, FRAME_CHECKPOINT };
    Rows rows = { 0 };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    sequence.rules.rows = false;
    for (size_t i = 0; i < ELEMENTSOF(loose); i++) {
        Frame frame = frame_of(loose[i], &rows);
        refused(&sequence, &frame, ERROR_INTERNAL, "outside a file");
    }
    sequence.rules.rows = true;
    sequence.rules.files = false;
    Frame frame = frame_of(FRAME_FILE_BEGIN, &rows);
    refused(&sequence, &frame, ERROR_INTERNAL, "FILE_BEGIN");
    sequence_clear(&sequence);
    buffer_clear(&rows.buffer);
}

static void test_null_and_absent(void **state)
{
    /* Columns: key, required, neither. Which may be NULL, which ABSENT. */
    static const struct {
        Operation operation;
        bool null[3], absent[3];
    } table[] = {
        { OPERATION_INSERT, { false, false, true }, { false, false, true } },
        { OPERATION_UPSERT, { false, false, true }, { false, false, true } },
        { OPERATION_UPDATE, { false, false, true }, { false, true, true } },
        { OPERATION_DELETE, { false, true, true }, { false, true, true } },
    };
    Rows rows = { 0 };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    for (size_t i = 0; i < ELEMENTSOF(table); i++)
        for (size_t column = 0; column < 3; column++)
            for (int absent = 0; absent < 2; absent++) {
                RowsWriter *writer = rows_open(&rows, 0, table[i].operation);
                for (size_t k = 0; k < 3; k++)
                    if (k == column && absent)
                        rows_put_absent(writer);
                    else if (k == column)
                        rows_put_null(writer);
                    else if (k == 0)
                        rows_put_integer(writer, 1);
                    else
                        rows_put_text(writer, VALUE_STRING, "x", 1);
                rows_row_done(writer);
                Frame frame = rows_frame(&rows);
                bool good = absent ? table[i].absent[column] : table[i].null[column];
                if (good)
                    accepted(&sequence, &frame);
                else
                    refused(&sequence, &frame, ERROR_DATA,
                            column == 0 ? "column \"id\": no value, but it is part of the key"
                                        : "column \"needed\": no value, but the column is required");
            }
    sequence_clear(&sequence);
    buffer_clear(&rows.buffer);
}

static void check_tags(SequenceState place)
{
    Rows rows = { 0 };
    for (unsigned type = COLUMN_STRING; type < _COLUMN_TYPE_MAX; type++)
        for (unsigned tag = VALUE_FALSE; tag < _VALUE_TAG_MAX; tag++) {
            FrameColumn column = { { "c", 1 }, (ColumnType)type, 0 };
            Sequence sequence;
            bring_to(&sequence, place);
            uint16_t id = (uint16_t)sequence.table_count;
            Frame frame = table_frame(id, "of one column", &column, 1);
            accepted(&sequence, &frame);
            RowsWriter *writer = rows_open(&rows, id, OPERATION_INSERT);
            static const Timestamp moment = { 0 };
            switch (tag) {
            case VALUE_FALSE:
            case VALUE_TRUE:
                rows_put_boolean(writer, tag == VALUE_TRUE);
                break;
            case VALUE_INTEGER:
                rows_put_integer(writer, INT64_MIN);
                break;
            case VALUE_FLOAT:
                rows_put_float(writer, 1.5);
                break;
            case VALUE_DATE:
                rows_put_date(writer, 0);
                break;
            case VALUE_TIMESTAMP:
                rows_put_timestamp(writer, &moment);
                break;
            default:
                rows_put_text(writer, (ValueTag)tag, "1", 1);
            }
            rows_row_done(writer);
            frame = rows_frame(&rows);
            if (place == SEQUENCE_OUTSIDE || column_type_accepts((ColumnType)type, (ValueTag)tag))
                accepted(&sequence, &frame);
            else
                refused(&sequence, &frame, ERROR_INTERNAL, column_type_name((ColumnType)type));
            sequence_clear(&sequence);
        }
    buffer_clear(&rows.buffer);
}

/* One value in a table of one column of TYPE; TEXT NULL: accepted. */
static void one_value(ColumnType type, void (*put)(RowsWriter *writer, const void *value), const void *value,
                      const char *text)
{
    Rows rows = { 0 };
    FrameColumn column = { { "c", 1 }, type, 0 };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    Frame frame = table_frame(0, "t", &column, 1);
    accepted(&sequence, &frame);
    RowsWriter *writer = rows_open(&rows, 0, OPERATION_INSERT);
    put(writer, value);
    rows_row_done(writer);
    frame = rows_frame(&rows);
    if (text)
        refused(&sequence, &frame, ERROR_DATA, text);
    else
        accepted(&sequence, &frame);
    sequence_clear(&sequence);
    buffer_clear(&rows.buffer);
}

static void put_number(RowsWriter *writer, const void *value)
{
    rows_put_float(writer, *(const double *)value);
}
static void put_days(RowsWriter *writer, const void *value)
{
    rows_put_date(writer, *(const int32_t *)value);
}
static void put_moment(RowsWriter *writer, const void *value)
{
    rows_put_timestamp(writer, value);
}
static void put_string(RowsWriter *writer, const void *value)
{
    rows_put_text(writer, VALUE_STRING, value, strlen(value));
}
static void put_json(RowsWriter *writer, const void *value)
{
    rows_put_text(writer, VALUE_JSON, value, strlen(value));
}
static void put_decimal(RowsWriter *writer, const void *value)
{
    rows_put_text(writer, VALUE_DECIMAL, value, strlen(value));
}
static void put_binary(RowsWriter *writer, const void *value)
{
    rows_put_text(writer, VALUE_BINARY, value, strlen(value));
}

/* In a file a value is of its column's type. Outside, the column becomes what its values are. */
static void test_tags_by_type(void **state)
{
    check_tags(SEQUENCE_IN_FILE);
    check_tags(SEQUENCE_OUTSIDE);
}

static void test_values(void **state)
{
    double numbers[] = { NAN, INFINITY, -INFINITY, 0.0, -1e308 };
    for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
        one_value(COLUMN_FLOAT, put_number, &numbers[i], i < 3 ? "column \"c\": a number that is not finite" : NULL);

    int32_t days[] = { -719163, 2932897, INT32_MIN, INT32_MAX, -719162, 2932896 };
    for (size_t i = 0; i < ELEMENTSOF(days); i++)
        one_value(COLUMN_DATE, put_days, &days[i], i < 4 ? "a date outside the years 0001 to 9999" : NULL);

    const int64_t first = INT64_C(-719162) * 86400, last = INT64_C(2932897) * 86400 - 1;
    Timestamp bad[] = { { first - 1, 0, TIMESTAMP_NAIVE },
                        { last + 1, 0, 0 },
                        { INT64_MIN, 0, -60 },
                        { INT64_MAX, 0, 60 },
                        { 0, 0, 24 * 60 },
                        { 0, 0, -24 * 60 },
                        { first, 0, -1 },
                        { last, 0, 1 } };
    Timestamp good[] = { { first, 0, TIMESTAMP_NAIVE }, { last, 999999999, 0 }, { 0, 0, 1439 }, { 0, 0, -1439 } };
    for (size_t i = 0; i < ELEMENTSOF(bad); i++)
        one_value(COLUMN_TIMESTAMP, put_moment, &bad[i], "a timestamp outside the years 0001 to 9999");
    for (size_t i = 0; i < ELEMENTSOF(good); i++)
        one_value(COLUMN_TIMESTAMP, put_moment, &good[i], NULL);

    one_value(COLUMN_STRING, put_string, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x9a\xa3", NULL);
    one_value(COLUMN_STRING, put_string, "plain \xff", "column \"c\": text that is not UTF-8: \"plain \\xFF\"");
    one_value(COLUMN_STRING, put_string, "\xed\xa0\x80", "not UTF-8");
    one_value(COLUMN_JSON, put_json, "\"\xc3\"", "not UTF-8");
    one_value(COLUMN_BINARY, put_binary, "\xff\xfe", NULL);

    static const char *const decimals[] = { "0", "-1.50", "123456789012345678901234567890.123", "00.1" };
    static const char *const others[] = { "", "-", ".5", "5.", "1e5", "+1", "1.2.3", " 1", "1 ", "NaN", "--1" };
    for (size_t i = 0; i < ELEMENTSOF(decimals); i++)
        one_value(COLUMN_DECIMAL, put_decimal, decimals[i], NULL);
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        one_value(COLUMN_DECIMAL, put_decimal, others[i], "not a decimal number");

    char longest[MAX_VALUE + 2] = "";
    memset(longest, 'x', MAX_VALUE);
    one_value(COLUMN_STRING, put_string, longest, NULL);
    longest[MAX_VALUE] = 'x';
    one_value(COLUMN_STRING, put_string, longest, "a value over `max_value_size`");
    one_value(COLUMN_BINARY, put_binary, longest, "a value over `max_value_size`");
    one_value(COLUMN_JSON, put_json, "[1e40]", NULL);
    one_value(COLUMN_JSON, put_json, "[1e40,1e-40]",
              "column \"c\": JSON over `max_value_size` once its numbers are written without exponents");
}

static void test_row_bytes_are_exact(void **state)
{
    Rows rows = { 0 };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    Frame frame = good_row(&rows, 0, OPERATION_INSERT);
    for (uint32_t cut = 1; cut < frame.rows.length; cut++) {
        Frame shorter = frame;
        shorter.rows.length -= cut;
        refused(&sequence, &shorter, ERROR_INTERNAL, "malformed value in row 1 of 1");
    }
    RowsWriter *writer = rows_open(&rows, 0, OPERATION_INSERT);
    rows_put_integer(writer, 1);
    rows_put_text(writer, VALUE_STRING, "x", 1);
    rows_put_null(writer);
    rows_put_null(writer);
    rows_row_done(writer);
    frame = rows_frame(&rows);
    refused(&sequence, &frame, ERROR_INTERNAL, "1 bytes left over after 1 rows");
    frame = good_row(&rows, 0, OPERATION_INSERT);
    frame.rows.count = 2;
    refused(&sequence, &frame, ERROR_INTERNAL, "malformed value in row 2 of 2");
    sequence_clear(&sequence);
    buffer_clear(&rows.buffer);
}

static void test_row_numbers_count_in_the_file(void **state)
{
    Rows rows = { 0 };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_IN_FILE);
    for (int i = 0; i < 3; i++) {
        Frame frame = good_row(&rows, 0, OPERATION_INSERT);
        accepted(&sequence, &frame);
    }
    RowsWriter *writer = rows_open(&rows, 0, OPERATION_INSERT);
    rows_put_integer(writer, 1);
    rows_put_text(writer, VALUE_STRING, "x", 1);
    rows_put_null(writer);
    rows_row_done(writer);
    rows_put_null(writer);
    rows_put_null(writer);
    rows_put_null(writer);
    rows_row_done(writer);
    Frame frame = rows_frame(&rows);
    refused(&sequence, &frame, ERROR_DATA, "row 5, column \"id\"");
    sequence_clear(&sequence);
    buffer_clear(&rows.buffer);
}

static void test_checkpoints(void **state)
{
    static const char *const bad[] = { "", "[]", "1", "{", "{\"a\":}", "null", "{} x" };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_OUTSIDE);
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        Frame frame = { .type = FRAME_CHECKPOINT, .checkpoint = { .number = 1, .state = frame_text(bad[i]) } };
        refused(&sequence, &frame, ERROR_DATA, "a state must be a JSON object");
    }
    Frame frame = { .type = FRAME_CHECKPOINT, .checkpoint = { .number = 2, .state = frame_text("{}") } };
    refused(&sequence, &frame, ERROR_INTERNAL, "checkpoint 2 comes after checkpoint 0");
    frame.checkpoint.number = 1;
    frame.checkpoint.state = frame_text("{\"id\": 123456789012345678901234567890, \"s\": \"\\u0000\"}");
    accepted(&sequence, &frame);
    refused(&sequence, &frame, ERROR_INTERNAL, "checkpoint 1 comes after checkpoint 1");
    frame.checkpoint.number = 2;
    frame.checkpoint.state = (FrameText){ "{}\0", 3 };
    refused(&sequence, &frame, ERROR_DATA, "NUL");
    char large[MAX_VALUE + 2];
    memset(large, ' ', sizeof(large));
    large[0] = '{';
    large[1] = '}';
    frame.checkpoint.state = (FrameText){ large, MAX_VALUE + 1 };
    refused(&sequence, &frame, ERROR_DATA, "too large");
    frame.checkpoint.state.length = MAX_VALUE;
    accepted(&sequence, &frame);
    sequence_clear(&sequence);
}

static void test_file_ends(void **state)
{
    Rows rows = { 0 };
    Sequence sequence;
    bring_to(&sequence, SEQUENCE_IN_FILE);
    Frame frame = good_row(&rows, 0, OPERATION_INSERT);
    accepted(&sequence, &frame);
    Frame end = { .type = FRAME_FILE_END, .file_end = { .outcome = FILE_END_LOADED, .rows = 2 } };
    refused(&sequence, &end, ERROR_INTERNAL, "it counted 2 rows in a file and sent 1");
    end.file_end.rows = 1;
    end.file_end.error = frame_text("oh");
    refused(&sequence, &end, ERROR_INTERNAL, "ended well, with an error");
    end.file_end.error = frame_text("");
    end.file_end.outcome = FILE_END_FAILED;
    refused(&sequence, &end, ERROR_INTERNAL, "ended badly, without an error");
    end.file_end.outcome = FILE_END_LOADED;
    accepted(&sequence, &end);

    /* Of a file that has failed, neither values nor counts are looked at. */
    Frame begin = frame_of(FRAME_FILE_BEGIN, &rows);
    accepted(&sequence, &begin);
    sequence.dropping = true;
    RowsWriter *writer = rows_open(&rows, 0, OPERATION_INSERT);
    rows_put_null(writer);
    rows_put_null(writer);
    rows_put_null(writer);
    rows_row_done(writer);
    frame = rows_frame(&rows);
    accepted(&sequence, &frame);
    end.file_end.rows = 77;
    accepted(&sequence, &end);
    assert_false(sequence.dropping);

    begin.file.name = frame_text("");
    refused(&sequence, &begin, ERROR_INTERNAL, "a file without a name");
    sequence_clear(&sequence);
    buffer_clear(&rows.buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_frame_in_every_state),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_table_names),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_rows_need_their_table),
        cmocka_unit_test(test_operations_by_capability),
        cmocka_unit_test(test_files_or_rows_by_rule),
        cmocka_unit_test(test_null_and_absent),
        cmocka_unit_test(test_tags_by_type),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_row_bytes_are_exact),
        cmocka_unit_test(test_row_numbers_count_in_the_file),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_file_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
