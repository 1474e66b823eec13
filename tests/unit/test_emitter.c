/*
 * The emitter without a worker: what it would put on the pipe is written down as text, one line for each table, row and
 * truncate: `table 0 orders! id*:LONG! note:STRING` (! declared, * key), `upsert 0 1 "a" -` (- absent).
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/worker/emitter.h"
#include "tests/unit/frame-feeding.h"

/* --- the worker's part --- */

struct Worker {
    Buffer trace, frames, log;
    RowsWriter rows;
    bool open;
    uint16_t table;
    Operation operation;
    size_t columns[8]; /* of each table */
    bool plan;
};

static void print_value(Buffer *to, const Value *value)
{
    char text[TIMESTAMP_TEXT_MAX];
    switch (value->tag) {
    case VALUE_NULL:
        buffer_append_string(to, " null");
        break;
    case VALUE_ABSENT:
        buffer_append_string(to, " -");
        break;
    case VALUE_FALSE:
    case VALUE_TRUE:
        buffer_append_string(to, value->tag == VALUE_TRUE ? " true" : " false");
        break;
    case VALUE_INTEGER:
        buffer_printf(to, " %lld", (long long)value->integer);
        break;
    case VALUE_FLOAT:
        buffer_printf(to, " %.17gf", value->number);
        break;
    case VALUE_DATE:
        buffer_printf(to, " %.*s", (int)date_format(value->days, text), text);
        break;
    case VALUE_TIMESTAMP:
        buffer_printf(to, " %.*s", (int)timestamp_format(&value->timestamp, text), text);
        break;
    default: {
        static const char *const quotes[] = {
            [VALUE_STRING] = "\"", [VALUE_DECIMAL] = "#", [VALUE_JSON] = "|", [VALUE_BINARY] = "="
        };
        const char *quote = quotes[value->tag];
        buffer_printf(to, " %s%.*s%s", quote, (int)value->text.length, value->text.data, quote);
    }
    }
}

static void close_rows(Worker *worker)
{
    if (!worker->open)
        return;
    worker->open = false;
    rows_end(&worker->rows);
    _cleanup_(error_clear) Error error = { 0 };
    FrameReader reader;
    frame_reader_init(&reader, FRAME_PAYLOAD_MAX);
    while (buffer_length(&worker->frames) > 0)
        feed_frames(&reader, &worker->frames);
    Frame frame;
    while (frame_reader_next(&reader, &frame, &error) == 0) {
        static const char *const names[] = {
            [OPERATION_UPSERT] = "upsert", [OPERATION_UPDATE] = "update", [OPERATION_DELETE] = "delete"
        };
        RowCursor cursor = row_cursor(&frame);
        for (uint32_t i = 0; i < frame.rows.count; i++) {
            buffer_printf(&worker->trace, "%s %u", names[frame.rows.operation], frame.rows.table);
            for (size_t k = 0; k < worker->columns[frame.rows.table]; k++) {
                Value value;
                assert_true(row_cursor_value(&cursor, &value));
                print_value(&worker->trace, &value);
            }
            buffer_append_string(&worker->trace, "\n");
        }
        assert_ptr_equal(cursor.next, cursor.end);
    }
    assert_int_equal(error.kind, ERROR_NONE);
    frame_reader_clear(&reader);
    buffer_reset(&worker->frames);
}

int worker_table(Worker *worker, uint16_t id, const char *name, uint8_t flags, const FrameColumn *columns, size_t count,
                 Error *error)
{
    close_rows(worker);
    assert_true(id < ELEMENTSOF(worker->columns));
    worker->columns[id] = count;
    buffer_printf(&worker->trace, "table %u %s%s", id, name, flags & TABLE_DECLARED ? "!" : "");
    for (size_t i = 0; i < count; i++) {
        char kind[KIND_NAME_MAX];
        Kind shown = { columns[i].type, columns[i].precision, columns[i].scale };
        buffer_printf(&worker->trace, " %.*s%s:%s%s", (int)columns[i].name.length, columns[i].name.data,
                      columns[i].flags & COLUMN_KEY ? "*" : "", kind_name(shown, kind),
                      columns[i].flags & COLUMN_UNTYPED    ? "?"
                      : columns[i].flags & COLUMN_DECLARED ? "!"
                                                           : "");
    }
    buffer_append_string(&worker->trace, "\n");
    return 0;
}

bool worker_plans(const Worker *worker)
{
    return worker->plan;
}

int worker_enough(Worker *worker, Error *error)
{
    return error_set(error, ERROR_CANCELLED, "the plan needs no more");
}

int worker_truncate(Worker *worker, uint16_t table, Error *error)
{
    close_rows(worker);
    buffer_printf(&worker->trace, "truncate %u\n", table);
    return 0;
}

RowsWriter *worker_rows(Worker *worker, uint16_t table, Operation operation)
{
    if (worker->open && worker->table == table && worker->operation == operation)
        return &worker->rows;
    close_rows(worker);
    worker->rows = rows_begin(&worker->frames, table, operation);
    worker->open = true;
    worker->table = table;
    worker->operation = operation;
    return &worker->rows;
}

int worker_send_rows(Worker *worker, Error *error)
{
    close_rows(worker);
    return 0;
}

void worker_log(Worker *worker, int priority, const char *format, ...)
{
    char text[500];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    buffer_printf(&worker->log, "%s\n", text);
}

/* --- what a test does --- */

typedef struct Test {
    Worker worker;
    Emitter *emitter;
} Test;

static void start(Test *test, EmitterOptions options)
{
    *test = (Test){ 0 };
    test->emitter = emitter_new(&test->worker, &options);
}

static void stop(Test *test)
{
    emitter_free(test->emitter);
    buffer_clear(&test->worker.trace);
    buffer_clear(&test->worker.frames);
    buffer_clear(&test->worker.log);
}

static FrameText text(const char *string)
{
    return frame_text(string);
}

static EmitterField field(const char *name, Value value)
{
    return (EmitterField){ .name = text(name), .value = value };
}

static Value integer(int64_t number)
{
    return (Value){ .tag = VALUE_INTEGER, .integer = number };
}

static Value real(double number)
{
    return (Value){ .tag = VALUE_FLOAT, .number = number };
}

static Value tagged(ValueTag tag, const char *string)
{
    return (Value){ .tag = tag, .text = { string, (uint32_t)strlen(string) } };
}

static Value string(const char *content)
{
    return tagged(VALUE_STRING, content);
}

static const Value null = { .tag = VALUE_NULL };

#define ROW(test, operation, table, ...)                                                               \
    do {                                                                                               \
        const EmitterField row_[] = { __VA_ARGS__ };                                                   \
        _cleanup_(error_clear) Error error_ = { 0 };                                                   \
        if (emitter_row((test)->emitter, operation, text(table), row_, ELEMENTSOF(row_), &error_) < 0) \
            fail_msg("%s", error_.message);                                                            \
    } while (0)

#define REFUSED(test, operation, table, expected, ...)                                                               \
    do {                                                                                                             \
        const EmitterField row_[] = { __VA_ARGS__ };                                                                 \
        _cleanup_(error_clear) Error error_ = { 0 };                                                                 \
        assert_int_equal(emitter_row((test)->emitter, operation, text(table), row_, ELEMENTSOF(row_), &error_), -1); \
        assert_int_equal(error_.kind, ERROR_DATA);                                                                   \
        _cleanup_(freep) char *message_ = error_format(&error_);                                                     \
        assert_string_equal(message_, expected);                                                                     \
    } while (0)

static void assert_trace(Test *test, const char *expected)
{
    close_rows(&test->worker);
    _cleanup_(freep) char *trace = buffer_take_string(&test->worker.trace);
    assert_string_equal(trace ? trace : "", expected);
}

static int declare(Test *test, const char *table, const char *key, const EmitterColumn *columns, size_t count,
                   Error *error)
{
    const FrameText keys[] = { text(key ? key : "") };
    return emitter_declare(test->emitter, text(table), keys, key != NULL, columns, count, error);
}

/* --- tables and columns --- */

static void columns_appear_with_their_first_value(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    ROW(&test, OPERATION_UPSERT, "t", field("a", integer(1)), field("b", null));
    ROW(&test, OPERATION_UPSERT, "t", field("a", integer(2)), field("b", string("x")));
    ROW(&test, OPERATION_UPSERT, "t", field("c", real(0.5)), field("a", string("late")));
    ROW(&test, OPERATION_UPSERT, "u", field("a", tagged(VALUE_JSON, "{}")));
    ROW(&test, OPERATION_UPSERT, "t", field("b", string("y")));
    assert_trace(&test, "table 0 t a:LONG\n"
                        "upsert 0 1\n"
                        "table 0 t a:LONG b:STRING\n"
                        "upsert 0 2 \"x\"\n"
                        "table 0 t a:LONG b:STRING c:DOUBLE\n"
                        "upsert 0 \"late\" - 0.5f\n"
                        "table 1 u a:JSON\n"
                        "upsert 1 |{}|\n"
                        "upsert 0 - \"y\" -\n");
    stop(&test);
}

static void declared_tables_come_at_once_with_their_keys_first(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    const EmitterColumn columns[] = { { text("Name"), { COLUMN_STRING } },
                                      { text("id"), { COLUMN_INT } },
                                      { text("price"), { COLUMN_DECIMAL, 10, 2 } } };
    assert_int_equal(declare(&test, "Orders", "id", columns, 3, NULL), 0);
    ROW(&test, OPERATION_UPSERT, "Orders", field("id", integer(1)), field("Name", integer(7)), field("New", null));
    ROW(&test, OPERATION_UPDATE, "Orders", field("id", integer(1)), field("price", string("1.50")));
    ROW(&test, OPERATION_DELETE, "Orders", field("unknown", integer(5)), field("Name", string("x")),
        field("id", integer(1)));
    assert_trace(&test, "table 0 orders! id*:INT! name:STRING! price:DECIMAL(10,2)!\n"
                        "upsert 0 1 7 -\n"
                        "update 0 1 - #1.50#\n"
                        "delete 0 1 - -\n");
    stop(&test);
}

static void a_key_without_a_type_waits_for_its_first_value(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    const EmitterColumn columns[] = { { text("n"), { COLUMN_INTEGER } } };
    assert_int_equal(declare(&test, "t", "id", columns, 1, NULL), 0);
    assert_trace(&test, "");
    ROW(&test, OPERATION_UPSERT, "t", field("n", integer(1)), field("id", string("a")));
    assert_trace(&test, "table 0 t! id*:STRING n:LONG!\nupsert 0 \"a\" 1\n");
    stop(&test);
}

static void in_a_plan_a_key_without_a_type_is_announced(void **state)
{
    Test test = { .worker.plan = true };
    test.emitter = emitter_new(&test.worker, &(EmitterOptions){ .untyped = true });
    const EmitterColumn columns[] = { { text("n"), { COLUMN_INTEGER } } };
    assert_int_equal(declare(&test, "t", "id", columns, 1, NULL), 0);
    assert_trace(&test, "table 0 t! id*:STRING? n:LONG!\n");
    /* the row that ends the plan is looked at before */
    _cleanup_(error_clear) Error error = { 0 };
    const EmitterField fields[] = { field("more", integer(1)), field("id", integer(2)) };
    assert_int_equal(emitter_row(test.emitter, OPERATION_UPSERT, text("t"), fields, 2, &error), -1);
    assert_int_equal(error.kind, ERROR_CANCELLED);
    assert_trace(&test, "table 0 t! id*:LONG n:LONG! more:LONG\n");
    error_clear(&error);
    assert_int_equal(emitter_row(test.emitter, OPERATION_UPSERT, text("t"), fields, 1, &error), -1);
    assert_int_equal(error.kind, ERROR_DATA);
    stop(&test);
}

static void truncates_keep_their_place(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    assert_int_equal(emitter_truncate(test.emitter, text("t"), NULL), 0);
    assert_trace(&test, "");
    ROW(&test, OPERATION_UPSERT, "t", field("a", integer(1)));
    assert_int_equal(emitter_truncate(test.emitter, text("t"), NULL), 0);
    ROW(&test, OPERATION_UPSERT, "t", field("a", integer(2)));
    assert_trace(&test, "table 0 t a:LONG\ntruncate 0\nupsert 0 1\ntruncate 0\nupsert 0 2\n");
    assert_int_equal(emitter_flush(test.emitter, NULL), 0);
    /* of a table that nothing else is said about, by its name */
    assert_int_equal(emitter_truncate(test.emitter, text("other"), NULL), 0);
    assert_trace(&test, "");
    assert_int_equal(emitter_flush(test.emitter, NULL), 0);
    assert_int_equal(emitter_flush(test.emitter, NULL), 0);
    assert_trace(&test, "table 1 other\ntruncate 1\n");
    ROW(&test, OPERATION_UPSERT, "other", field("a", integer(1)));
    assert_trace(&test, "table 1 other a:LONG\nupsert 1 1\n");
    stop(&test);
}

static void a_row_of_nulls_waits_for_a_column(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    ROW(&test, OPERATION_UPSERT, "t", field("a", null));
    ROW(&test, OPERATION_UPSERT, "t", field("a", null), field("b", null));
    assert_trace(&test, "");
    ROW(&test, OPERATION_UPSERT, "t", field("b", integer(1)));
    ROW(&test, OPERATION_UPSERT, "t", field("a", null));
    assert_trace(&test, "table 0 t b:LONG\nupsert 0 -\nupsert 0 1\nupsert 0 -\n");
    stop(&test);
}

static void a_refused_row_leaves_nothing_behind(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    const EmitterColumn columns[] = { { text("id"), { COLUMN_INT } }, { text("d"), { COLUMN_DATE } } };
    assert_int_equal(declare(&test, "t", "id", columns, 2, NULL), 0);
    ROW(&test, OPERATION_UPSERT, "t", field("id", integer(1)));
    REFUSED(&test, OPERATION_UPSERT, "t",
            "table \"t\": row 2, column \"d\": this is not a date such as 2024-02-29: \"soon\"",
            field("id", integer(2)), field("d", string("soon")));
    REFUSED(&test, OPERATION_UPSERT, "t",
            "table \"t\": row 3, column \"d\": this is not a date such as 2024-02-29: \"soon\"",
            field("id", integer(3)), field("fresh", integer(1)), field("d", string("soon")));
    ROW(&test, OPERATION_UPSERT, "t", field("id", integer(4)), field("d", string("2024-2-9")));
    assert_trace(&test, "table 0 t! id*:INT! d:NAIVE_DATE!\nupsert 0 1 -\nupsert 0 4 2024-02-09\n");
    stop(&test);
}

static void large_frames_are_sent_whatever_the_table(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    static char wide[1000];
    memset(wide, 'x', sizeof(wide) - 1);
    for (int i = 0; i < 1000; i++) {
        ROW(&test, OPERATION_UPSERT, i % 2 ? "a" : "b", field("w", string(wide)));
        assert_true(buffer_length(&test.worker.frames) < FRAME_ROWS_TARGET + 2000);
    }
    stop(&test);
}

/* --- refusals --- */

static void what_no_table_takes_is_refused_by_name(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ .max_value_size = 10 });
    const EmitterColumn columns[] = { { text("id"), { COLUMN_INTEGER } } };
    assert_int_equal(declare(&test, "t", "id", columns, 1, NULL), 0);
    REFUSED(&test, OPERATION_UPSERT, "t", "table \"t\": row 1, column \"id\": a column of the primary key is missing",
            field("a", integer(1)));
    REFUSED(&test, OPERATION_UPSERT, "t", "table \"t\": row 2, column \"id\": a column of the primary key is NULL",
            field("id", null));
    REFUSED(&test, OPERATION_DELETE, "t", "table \"t\": row 3, column \"id\": a column of the primary key is NULL",
            field("id", null));
    REFUSED(&test, OPERATION_UPDATE, "free",
            "table \"free\": row 1: an update needs a table with a primary key, and this one declares none",
            field("id", integer(1)));
    REFUSED(&test, OPERATION_DELETE, "free",
            "table \"free\": row 2: a delete needs a table with a primary key, and this one declares none",
            field("id", integer(1)));
    REFUSED(&test, OPERATION_UPSERT, "t", "table \"t\": row 4, column \"id\": the row names the column twice",
            field("id", integer(1)), field("id", integer(2)));
    REFUSED(&test, OPERATION_UPSERT, "t",
            "table \"t\": row 5: columns \"userID\" and \"user_id\" would both be called \"user_id\"; rename one, or "
            "say \"naming: source\"",
            field("id", integer(1)), field("userID", integer(1)), field("user_id", integer(2)));
    REFUSED(&test, OPERATION_UPSERT, "T", "tables \"t\" and \"T\" would both be called \"t\"; rename one",
            field("id", integer(1)));
    REFUSED(&test, OPERATION_UPSERT, "😀",
            "no letter of this table's name is left as the destination would call it: \"😀\"", field("a", integer(1)));
    REFUSED(&test, OPERATION_UPSERT, "", "a table has an empty name: \"\"", field("a", integer(1)));
    REFUSED(&test, OPERATION_UPSERT, "t",
            "table \"t\": row 6: no letter of this column's name is left as the destination would call it: \"😀\"",
            field("id", integer(1)), field("😀", integer(1)));
    REFUSED(&test, OPERATION_UPSERT, "t",
            "table \"t\": row 7, column \"note\": the value has 11 bytes, more than \"max_value_size\" allows (10)",
            field("id", integer(1)), field("note", string("01234567890")));
    stop(&test);
}

static void declarations_are_checked(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    const EmitterColumn twice[] = { { text("a"), { COLUMN_INT } }, { text("a"), { COLUMN_INT } } };
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(declare(&test, "twice", NULL, twice, 2, &error), -1);
    _cleanup_(freep) char *message = error_format(&error);
    assert_string_equal(message, "table \"twice\": column \"a\": the column is declared twice");
    error_clear(&error);
    assert_int_equal(declare(&test, "t", NULL, twice, 1, NULL), 0);
    assert_int_equal(declare(&test, "t", NULL, twice, 1, &error), -1);
    assert_string_equal(error.message, "the table is declared twice");
    error_clear(&error);
    ROW(&test, OPERATION_UPSERT, "used", field("a", integer(1)));
    assert_int_equal(declare(&test, "used", NULL, twice, 1, &error), -1);
    assert_string_equal(error.message, "the table is declared after its first operation");
    stop(&test);
}

static void naming_source_keeps_names(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ .source_names = true });
    ROW(&test, OPERATION_UPSERT, "My Table", field("userID", integer(1)), field("user_id", integer(2)));
    assert_trace(&test, "table 0 My Table userID:LONG user_id:LONG\nupsert 0 1 2\n");
    stop(&test);
}

/* --- declared kinds --- */

typedef struct Case {
    Kind kind;
    Value value;
    const char *exact;
    const char *expected; /* as printed; or "!" and the message */
    EmitterFault fault;
} Case;

static void check_case(const Case *one)
{
    Test test;
    start(&test, (EmitterOptions){ .base64 = true });
    const EmitterColumn columns[] = { { text("c"), one->kind } };
    assert_int_equal(declare(&test, "t", NULL, columns, 1, NULL), 0);
    buffer_reset(&test.worker.trace);
    EmitterField only = field("c", one->value);
    if (one->exact)
        only.exact = text(one->exact);
    _cleanup_(error_clear) Error error = { 0 };
    int r = emitter_row(test.emitter, OPERATION_UPSERT, text("t"), &only, 1, &error);
    if (one->expected[0] == '!') {
        assert_int_equal(r, -1);
        assert_string_equal(error.message, one->expected + 1);
        assert_int_equal(emitter_fault(test.emitter), one->fault);
    } else {
        assert_int_equal(r, 0);
        _cleanup_(freep) char *line = xasprintf("upsert 0 %s\n", one->expected);
        assert_trace(&test, line);
    }
    stop(&test);
}

#define TYPE EMITTER_FAULT_TYPE
#define VALUE EMITTER_FAULT_VALUE

static void whole_numbers_are_converted(void **state)
{
    const Case cases[] = {
        { { COLUMN_INT }, integer(-2147483648), NULL, "-2147483648" },
        { { COLUMN_INT }, integer(2147483648), NULL, "!the number is beyond 32 bits; declare the column LONG", VALUE },
        { { COLUMN_SHORT }, integer(40000), NULL, "40000" },
        { { COLUMN_SHORT },
          integer(3000000000),
          NULL,
          "!the number is beyond 32 bits; declare the column LONG",
          VALUE },
        { { COLUMN_INTEGER }, string(" 1_000 "), NULL, "1000" },
        { { COLUMN_INTEGER }, string("-9223372036854775808"), NULL, "-9223372036854775808" },
        { { COLUMN_INTEGER }, string("9223372036854775808"), NULL, "!the number is beyond 64 bits", VALUE },
        { { COLUMN_INTEGER },
          tagged(VALUE_DECIMAL, "9223372036854775808"),
          NULL,
          "!the number is beyond 64 bits",
          VALUE },
        { { COLUMN_INTEGER }, string("1__0"), NULL, "!this is not a whole number", VALUE },
        { { COLUMN_INTEGER }, string("1_"), NULL, "!this is not a whole number", VALUE },
        { { COLUMN_INTEGER }, string(""), NULL, "!this is not a whole number", VALUE },
        { { COLUMN_INTEGER }, string("1.5"), NULL, "!this is not a whole number", VALUE },
        { { COLUMN_INTEGER }, real(42.0), NULL, "42" },
        { { COLUMN_INTEGER }, real(42.5), NULL, "!the number has a fraction, which a whole number has not", VALUE },
        { { COLUMN_INTEGER }, real(1e19), NULL, "!the number is beyond 64 bits", VALUE },
        { { COLUMN_INTEGER }, { .tag = VALUE_TRUE }, NULL, "1" },
        { { COLUMN_INT }, tagged(VALUE_JSON, "[]"), NULL, "!a whole number is needed here", TYPE },
        { { COLUMN_BOOLEAN }, integer(42), NULL, "true" },
        { { COLUMN_BOOLEAN }, real(0), NULL, "false" },
        { { COLUMN_BOOLEAN }, string("0"), NULL, "false" },
        { { COLUMN_BOOLEAN }, string("1"), NULL, "true" },
        { { COLUMN_BOOLEAN }, string("true"), NULL, "!a BOOLEAN is true, false, a number, or the text 0 or 1", TYPE },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check_case(&cases[i]);
}

static void other_numbers_are_converted(void **state)
{
    const Case cases[] = {
        { { COLUMN_DECIMAL, 5, 2 }, string("1.10"), NULL, "#1.10#" },
        { { COLUMN_DECIMAL, 5, 2 }, string("123456.789"), NULL, "#123456.789#" }, /* the writer widens */
        { { COLUMN_DECIMAL, 5, 2 }, integer(7), NULL, "7" },
        { { COLUMN_DECIMAL, 5, 2 }, tagged(VALUE_DECIMAL, "123456789012345678901"), NULL, "#123456789012345678901#" },
        { { COLUMN_DECIMAL }, string("-1.5E+3"), NULL, "#-1500#" },
        { { COLUMN_DECIMAL }, string("1.5e-3"), NULL, "#0.0015#" },
        { { COLUMN_DECIMAL }, string("125e-2"), NULL, "#1.25#" },
        { { COLUMN_DECIMAL }, string(".5"), NULL, "#0.5#" },
        { { COLUMN_DECIMAL }, string("+5."), NULL, "#5#" },
        { { COLUMN_DECIMAL }, string("abc"), NULL, "!this is not a decimal number", VALUE },
        { { COLUMN_DECIMAL }, string("NaN"), NULL, "!this is not a decimal number", VALUE },
        { { COLUMN_DECIMAL }, string("1e"), NULL, "!this is not a decimal number", VALUE },
        { { COLUMN_DECIMAL }, string("1.2.3"), NULL, "!this is not a decimal number", VALUE },
        { { COLUMN_DECIMAL }, string("."), NULL, "!this is not a decimal number", VALUE },
        { { COLUMN_DECIMAL }, string("1e10001"), NULL, "!the number's exponent is too large", VALUE },
        { { COLUMN_DECIMAL }, string("1e99999999999999999999"), NULL, "!the number's exponent is too large", VALUE },
        { { COLUMN_DECIMAL }, real(1.1), NULL, "!a DECIMAL is text of digits, or a whole number", TYPE },
        { { COLUMN_DECIMAL }, real(1.1), "1.10", "#1.10#" },
        { { COLUMN_DECIMAL }, { .tag = VALUE_TRUE }, NULL, "!a DECIMAL is text of digits, or a whole number", TYPE },
        { { COLUMN_REAL }, real(0.1), NULL, "0.10000000000000001f" },
        { { COLUMN_REAL }, real(42.42), NULL, "42.420000000000002f" },
        { { COLUMN_REAL }, real(1.0 / 3), NULL, "0.33333333999999998f" }, /* cut, as declared */
        { { COLUMN_REAL }, integer(16777217), NULL, "16777216f" },
        { { COLUMN_REAL }, real(1e39), NULL, "9.9999999999999994e+38f" }, /* out of range: the writer widens */
        { { COLUMN_FLOAT }, integer(9007199254740993), NULL, "9007199254740993" },
        { { COLUMN_FLOAT }, string(" 1_0.5 "), NULL, "10.5f" },
        { { COLUMN_FLOAT },
          string("-1e400"),
          NULL,
          "!the number is too large for a float; declare the column DECIMAL",
          VALUE },
        { { COLUMN_FLOAT },
          real(INFINITY),
          "1e400",
          "!the number is too large for a float; declare the column DECIMAL",
          VALUE },
        { { COLUMN_STRING },
          real(INFINITY),
          "1e400",
          "!the number is too large for a float; declare the column DECIMAL",
          VALUE },
        { { COLUMN_DECIMAL }, real(INFINITY), "1e3", "#1000#" },
        { { COLUMN_FLOAT }, string("0x10"), NULL, "!this is not a number", VALUE },
        { { COLUMN_FLOAT }, string("NaN"), NULL, "null" },
        { { COLUMN_FLOAT }, string("-Infinity"), NULL, "null" },
        { { COLUMN_FLOAT }, real(NAN), NULL, "null" },
        { { COLUMN_FLOAT }, { .tag = VALUE_TRUE }, NULL, "1f" },
        { { COLUMN_FLOAT }, tagged(VALUE_JSON, "{}"), NULL, "!a number is needed here", TYPE },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check_case(&cases[i]);
}

static void dates_and_times_are_converted(void **state)
{
    static const char no_zone[] = "!this is not a time without a zone, such as 2024-02-29T12:30:00";
    static const char zone[] = "!this is not a time with its zone, such as 2024-02-29T12:30:00Z";
    static const char too_fine[] =
        "!this time has more than 6 digits of a second, which are all that is kept; a STRING holds it";
    static const char date[] = "!this is not a date such as 2024-02-29";
    const Value day = { .tag = VALUE_DATE, .days = 19782 };
    const Value naive = { .tag = VALUE_TIMESTAMP, .timestamp = { 1709164800, 0, TIMESTAMP_NAIVE } };
    const Value late = { .tag = VALUE_TIMESTAMP, .timestamp = { 1709164800 - 3600, 0, 120 } };
    const Case cases[] = {
        { { COLUMN_DATE }, string("2024-2-9"), NULL, "2024-02-09" },
        { { COLUMN_DATE }, day, NULL, "2024-02-29" },
        { { COLUMN_DATE }, late, NULL, "2024-02-29" }, /* the local day */
        { { COLUMN_DATE }, string("2024-02-30"), NULL, date, VALUE },
        { { COLUMN_DATE }, string("2024-02-29T00:00:00"), NULL, date, VALUE },
        { { COLUMN_DATE }, string(" 2024-02-29"), NULL, date, VALUE },
        { { COLUMN_DATE }, integer(1), NULL, "!a NAIVE_DATE is a date, or text such as 2024-02-29", TYPE },
        { { COLUMN_DATETIME }, string("2024-02-29 1:2:3"), NULL, "2024-02-29T01:02:03" },
        { { COLUMN_DATETIME }, string("2024-02-29T01:02:03.5"), NULL, "2024-02-29T01:02:03.500000" },
        { { COLUMN_DATETIME }, string("2024-02-29T01:02:03.1234567"), NULL, too_fine, VALUE },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:03.1234567Z"), NULL, too_fine, VALUE },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:034Z"), NULL, zone, VALUE },
        { { COLUMN_DATETIME }, string("2024-02-29T01:02:03Z"), NULL, no_zone, VALUE },
        { { COLUMN_DATETIME }, string("2024-02-29"), NULL, no_zone, VALUE },
        { { COLUMN_DATETIME }, day, NULL, "2024-02-29T00:00:00" },
        { { COLUMN_DATETIME }, late, NULL, "2024-02-28T23:00:00" }, /* in UTC */
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:03Z"), NULL, "2024-02-29T01:02:03+00:00" },
        { { COLUMN_INSTANT }, string("2024-02-29 01:02:03.25+0530"), NULL, "2024-02-29T01:02:03.250000+05:30" },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:03-05:30"), NULL, "2024-02-29T01:02:03-05:30" },
        { { COLUMN_INSTANT }, naive, NULL, "2024-02-29T00:00:00+00:00" },
        { { COLUMN_INSTANT }, day, NULL, "2024-02-29T00:00:00+00:00" },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:03"), NULL, zone, VALUE },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:03z"), NULL, zone, VALUE },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:03+05"), NULL, zone, VALUE },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:03 +00:00"), NULL, zone, VALUE },
        { { COLUMN_INSTANT }, string("2024-02-29T01:02:60Z"), NULL, zone, VALUE },
        { { COLUMN_INSTANT }, integer(1), NULL, zone, TYPE },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check_case(&cases[i]);
}

static void text_bytes_and_json_are_converted(void **state)
{
    const Case cases[] = {
        { { COLUMN_STRING }, integer(5), NULL, "5" },
        { { COLUMN_STRING }, tagged(VALUE_JSON, "[1]"), NULL, "|[1]|" },
        { { COLUMN_BINARY }, string("aGk="), NULL, "=hi=" },
        { { COLUMN_BINARY }, tagged(VALUE_BINARY, "hi"), NULL, "=hi=" },
        { { COLUMN_BINARY }, string("hi"), NULL, "!the value of a BINARY is base64, which this is not", VALUE },
        { { COLUMN_BINARY }, integer(1), NULL, "!a BINARY takes bytes", TYPE },
        { { COLUMN_JSON }, string("a\"\\\n\x01z"), NULL, "|\"a\\\"\\\\\\n\\u0001z\"|" },
        { { COLUMN_JSON }, integer(5), NULL, "|5|" },
        { { COLUMN_JSON }, real(0.1), NULL, "|0.1|" },
        { { COLUMN_JSON }, { .tag = VALUE_FALSE }, NULL, "|false|" },
        { { COLUMN_JSON }, tagged(VALUE_DECIMAL, "123456789012345678901"), NULL, "|123456789012345678901|" },
        { { COLUMN_JSON },
          tagged(VALUE_BINARY, "hi"),
          NULL,
          "!JSON holds no bytes, dates and times; send them as text",
          TYPE },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check_case(&cases[i]);
}

static void what_is_lost_or_widened_is_said_once(void **state)
{
    Test test;
    start(&test, (EmitterOptions){ 0 });
    const EmitterColumn columns[] = { { text("s"), { COLUMN_SHORT } } };
    assert_int_equal(declare(&test, "t", NULL, columns, 1, NULL), 0);
    for (int i = 0; i < 2; i++)
        ROW(&test, OPERATION_UPSERT, "t", field("s", integer(40000)), field("n", real(INFINITY)));
    _cleanup_(freep) char *log = buffer_take_string(&test.worker.log);
    assert_string_equal(log, "table \"t\": column \"s\": a value is out of the range of SHORT, which the column was "
                             "declared; it becomes wider\n"
                             "table \"t\": column \"n\": numbers that are not finite (NaN, infinity) become NULL\n");
    assert_trace(&test, "table 0 t! s:SHORT!\nupsert 0 40000\nupsert 0 40000\n");
    stop(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_appear_with_their_first_value),
        cmocka_unit_test(declared_tables_come_at_once_with_their_keys_first),
        cmocka_unit_test(a_key_without_a_type_waits_for_its_first_value),
        cmocka_unit_test(in_a_plan_a_key_without_a_type_is_announced),
        cmocka_unit_test(truncates_keep_their_place),
        cmocka_unit_test(a_row_of_nulls_waits_for_a_column),
        cmocka_unit_test(a_refused_row_leaves_nothing_behind),
        cmocka_unit_test(large_frames_are_sent_whatever_the_table),
        cmocka_unit_test(what_no_table_takes_is_refused_by_name),
        cmocka_unit_test(declarations_are_checked),
        cmocka_unit_test(naming_source_keeps_names),
        cmocka_unit_test(whole_numbers_are_converted),
        cmocka_unit_test(other_numbers_are_converted),
        cmocka_unit_test(dates_and_times_are_converted),
        cmocka_unit_test(text_bytes_and_json_are_converted),
        cmocka_unit_test(what_is_lost_or_widened_is_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
