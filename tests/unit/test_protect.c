/* Protected columns: the layout, what goes in, that nothing plain stays in the frame, and what keys are refused. That
 * an independent implementation reads it is in tests/integration/test_protect.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "connectors/sources/files/protect.h"
#include "lib/basics/base64.h"

static const uint8_t key[PROTECTOR_KEY_SIZE] = "0123456789abcdef0123456789abcdef";

/* --- what goes in --- */

static void expect_text(Value value, const char *expected)
{
    Buffer text = { 0 };
    python_text(&value, &text);
    char *shown = buffer_take_string(&text);
    assert_string_equal(shown, expected);
    free(shown);
}

/* Each as Python 3.11 prints it. */
static void test_floats(void **state)
{
    static const struct {
        double number;
        const char *text;
    } cases[] = {
        { 0, "0.0" },
        { -0.0, "-0.0" },
        { 1, "1.0" },
        { 1.5, "1.5" },
        { -12.25, "-12.25" },
        { 100, "100.0" },
        { 0.1, "0.1" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { 1.0 / 3, "0.3333333333333333" },
        { 0.0001, "0.0001" },
        { 0.00012345, "0.00012345" },
        { 0.00001, "1e-05" },
        { 1.5e-7, "1.5e-07" },
        { 1e15, "1000000000000000.0" },
        { 123456789012345680.0, "1.2345678901234568e+17" },
        { 9999999999999998.0, "9999999999999998.0" },
        { 1e16, "1e+16" },
        { 1e22, "1e+22" },
        { 1e23, "1e+23" },
        { 9007199254740993.0, "9007199254740992.0" },
        { 0x1p-44, "5.684341886080802e-14" }, /* the neighbour of what rounding to 16 digits gives */
        { 0x1p-1074, "5e-324" },
        { 0x1.fffffffffffffp1023, "1.7976931348623157e+308" },
        { 0x1p-1022, "2.2250738585072014e-308" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        expect_text((Value){ .tag = VALUE_FLOAT, .number = cases[i].number }, cases[i].text);
}

static void test_other_values(void **state)
{
    expect_text((Value){ .tag = VALUE_NULL }, "");
    expect_text((Value){ .tag = VALUE_TRUE }, "True");
    expect_text((Value){ .tag = VALUE_FALSE }, "False");
    expect_text((Value){ .tag = VALUE_INTEGER, .integer = INT64_MIN }, "-9223372036854775808");
    expect_text((Value){ .tag = VALUE_DATE, .days = 19753 }, "2024-01-31");
    Timestamp naive = { .seconds = 1706696430, .offset = TIMESTAMP_NAIVE };
    expect_text((Value){ .tag = VALUE_TIMESTAMP, .timestamp = naive }, "2024-01-31T10:20:30");
    Timestamp zoned = { .seconds = 1706696430, .nanos = 500000000, .offset = 90 };
    expect_text((Value){ .tag = VALUE_TIMESTAMP, .timestamp = zoned }, "2024-01-31T11:50:30.500000+01:30");
    expect_text((Value){ .tag = VALUE_STRING, .text = { "Café", 5 } }, "Café");
    expect_text((Value){ .tag = VALUE_DECIMAL, .text = { "1.50", 4 } }, "1.50");
}

/* --- rows --- */

/* The values of the row at MARK, back from the frame. */
static RowCursor row_at(const RowsWriter *rows, size_t mark)
{
    return (RowCursor){ rows->buffer->data + rows->start + mark, rows->buffer->data + rows->buffer->end };
}

static void put_person(RowsWriter *rows, const char *secret)
{
    rows_put_integer(rows, 7);
    rows_put_text(rows, VALUE_STRING, secret, strlen(secret));
    if (*secret)
        rows_put_text(rows, VALUE_STRING, secret, strlen(secret));
    else
        rows_put_null(rows);
    rows_put_boolean(rows, true);
}

static Protector *protect_person(void)
{
    Protector *protector = protector_new(4);
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(protector_add(protector, 1, PROTECTION_ENCRYPT, key, sizeof(key), &error), 0);
    assert_int_equal(protector_add(protector, 2, PROTECTION_HASH, key, sizeof(key), &error), 0);
    return protector;
}

static void test_a_row(void **state)
{
    Protector *protector = protect_person();
    Buffer buffer = { 0 };
    RowsWriter rows = rows_begin(&buffer, 0, OPERATION_INSERT);
    put_person(&rows, "before");
    rows_row_done(&rows);
    size_t mark = rows_mark(&rows), column = 0;
    const char *why = NULL;
    put_person(&rows, "abc");
    assert_int_equal(protector_row(protector, &rows, mark, 1000, &column, &why), 0);
    RowCursor cursor = row_at(&rows, mark);
    Value value;
    assert_true(row_cursor_value(&cursor, &value) && value.tag == VALUE_INTEGER && value.integer == 7);
    assert_true(row_cursor_value(&cursor, &value) && value.tag == VALUE_STRING);
    uint8_t bytes[64];
    size_t n;
    assert_true(base64_decode(value.text.data, value.text.length, bytes, &n));
    assert_int_equal(n, 1 + 12 + 16 + 3);
    assert_int_equal(bytes[0], 1);
    assert_true(row_cursor_value(&cursor, &value) && value.tag == VALUE_STRING);
    /* hmac.new(b"0123456789abcdef0123456789abcdef", b"abc", "sha256") in Python */
    assert_memory_equal(value.text.data, "pgyFmmgnxepXakjY02hnL7/kZnxqknQoKEoMs4WcwdY=", 44);
    assert_true(row_cursor_value(&cursor, &value) && value.tag == VALUE_TRUE);
    assert_ptr_equal(cursor.next, cursor.end);
    buffer_clear(&buffer);
    protector_free(protector);
}

/* NULL is protected as empty text, and no two encryptions look alike. */
static void test_null_and_nonces(void **state)
{
    enum { ROWS = 1000 }; /* more than one draw of nonces */
    Protector *protector = protect_person();
    Buffer buffer = { 0 };
    RowsWriter rows = rows_begin(&buffer, 0, OPERATION_INSERT);
    static char seen[ROWS][40];
    for (size_t i = 0; i < ROWS; i++) {
        size_t mark = rows_mark(&rows), column = 0;
        const char *why = NULL;
        put_person(&rows, "");
        assert_int_equal(protector_row(protector, &rows, mark, 1000, &column, &why), 0);
        RowCursor cursor = row_at(&rows, mark);
        Value value;
        row_cursor_value(&cursor, &value);
        assert_true(row_cursor_value(&cursor, &value) && value.tag == VALUE_STRING && value.text.length == 40);
        memcpy(seen[i], value.text.data, 40);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(seen[k], seen[i], 40);
        assert_true(row_cursor_value(&cursor, &value) && value.tag == VALUE_STRING);
        /* of b"" */
        assert_memory_equal(value.text.data, "eWzTB4rxRjZ1PSaztVVUIv9Vo+Jhz4R7SOlTcbm9CqI=", 44);
    }
    buffer_clear(&buffer);
    protector_free(protector);
}

/* A hash is shorter than what it stands for: nothing of that stays behind it in the buffer. */
static void test_nothing_plain_is_left(void **state)
{
    char secret[400];
    memset(secret, 's', sizeof(secret) - 1);
    secret[sizeof(secret) - 1] = '\0';
    Protector *protector = protector_new(4);
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(protector_add(protector, 1, PROTECTION_HASH, key, sizeof(key), &error), 0);
    assert_int_equal(protector_add(protector, 2, PROTECTION_HASH, key, sizeof(key), &error), 0);
    Buffer buffer = { 0 };
    buffer_reserve(&buffer, 4096);
    RowsWriter rows = rows_begin(&buffer, 0, OPERATION_INSERT);
    size_t mark = rows_mark(&rows), column = 0;
    const char *why = NULL;
    put_person(&rows, secret);
    size_t plain_end = buffer.end;
    assert_int_equal(protector_row(protector, &rows, mark, 1000, &column, &why), 0);
    assert_true(buffer.end < plain_end);
    assert_null(memmem(buffer.data, plain_end, "sssss", 5));
    buffer_clear(&buffer);
    protector_free(protector);
}

static void test_a_result_that_is_too_long(void **state)
{
    Protector *protector = protect_person();
    Buffer buffer = { 0 };
    RowsWriter rows = rows_begin(&buffer, 0, OPERATION_INSERT);
    size_t mark = rows_mark(&rows), column = 0;
    const char *why = NULL;
    put_person(&rows, "abcd");
    assert_int_equal(protector_row(protector, &rows, mark, 43, &column, &why), -1);
    assert_int_equal(column, 1);
    assert_string_equal(why, "longer than \"max_value_size\" allows once it is protected; raise it to load this value");
    assert_null(memmem(buffer.data, buffer.end, "abcd", 4));
    buffer_clear(&buffer);
    protector_free(protector);
}

static void test_keys(void **state)
{
    static const struct {
        ProtectionKind kind;
        size_t n;
        const char *said;
    } cases[] = {
        { PROTECTION_ENCRYPT, 16, "the key of a protected column has 16 bytes; it needs 32" },
        { PROTECTION_ENCRYPT, 33, "the key of a protected column has 33 bytes; it needs 32" },
        { PROTECTION_HASH, 31, "the key of a protected column has 31 bytes; it needs at least 32" },
        { PROTECTION_ENCRYPT, 32, NULL },
        { PROTECTION_HASH, 32, NULL },
        { PROTECTION_HASH, 64, NULL },
    };
    uint8_t long_key[64] = { 1 };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Protector *protector = protector_new(1);
        _cleanup_(error_clear) Error error = { 0 };
        int r = protector_add(protector, 0, cases[i].kind, long_key, cases[i].n, &error);
        assert_int_equal(r, cases[i].said ? -1 : 0);
        if (cases[i].said)
            assert_string_equal(error.message, cases[i].said);
        protector_free(protector);
    }
}

/* --- base64 --- */

static void test_base64(void **state)
{
    static const char *const pairs[][2] = { { "", "" },        { "f", "Zg==" },        { "fo", "Zm8=" },
                                            { "foo", "Zm9v" }, { "foob", "Zm9vYg==" }, { "\xfb\xff\xfe", "+//+" } };
    for (size_t i = 0; i < ELEMENTSOF(pairs); i++) {
        size_t n = strlen(pairs[i][0]), length = strlen(pairs[i][1]), back;
        char text[16];
        uint8_t bytes[16];
        assert_int_equal(base64_length(n), length);
        base64_encode(pairs[i][0], n, text);
        assert_memory_equal(text, pairs[i][1], length);
        assert_true(base64_decode(text, length, bytes, &back));
        assert_int_equal(back, n);
        assert_memory_equal(bytes, pairs[i][0], n);
    }
    static const char *const wrong[] = { "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zm9v\n", "Zm-v", "Zg==Zg==" };
    for (size_t i = 0; i < ELEMENTSOF(wrong); i++) {
        uint8_t bytes[16];
        size_t n;
        assert_false(base64_decode(wrong[i], strlen(wrong[i]), bytes, &n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_other_values),
        cmocka_unit_test(test_a_row),
        cmocka_unit_test(test_null_and_nonces),
        cmocka_unit_test(test_nothing_plain_is_left),
        cmocka_unit_test(test_a_result_that_is_too_long),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_base64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
