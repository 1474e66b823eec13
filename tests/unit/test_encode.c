/* Values as PostgreSQL's binary COPY carries them: bytes that its receive functions read, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/destinations/postgres/encode.h"

/* The field as hexadecimal digits, or "! " and why not. The caller frees. */
static char *encoded(const PgColumn *column, const Value *value)
{
    Buffer bytes = { 0 }, text = { 0 };
    const char *why = encode_value(&bytes, column, value);
    if (why)
        assert_int_equal(buffer_length(&bytes), 0);
    buffer_printf(&text, "%s%s", why ? "! " : "", why ? why : "");
    for (size_t i = 0; i < buffer_length(&bytes); i++)
        buffer_printf(&text, "%02x", buffer_bytes(&bytes)[i]);
    buffer_clear(&bytes);
    return buffer_take_string(&text);
}

static void check(const PgColumn *column, Value value, const char *expected)
{
    char *is = encoded(column, &value);
    assert_string_equal(is, expected);
    free(is);
}

static Value text_of(ValueTag tag, const char *text)
{
    return (Value){ .tag = tag, .text = { text, (uint32_t)strlen(text) } };
}

static Value integer(int64_t value)
{
    return (Value){ .tag = VALUE_INTEGER, .integer = value };
}

#define SMALL "! does not fit into a smallint"
#define MEDIUM "! does not fit into an integer, which has 32 bits there; make the column a bigint"

static void test_integers(void **state)
{
    const PgColumn two = { .type = PG_INT2 }, four = { .type = PG_INT4 }, eight = { .type = PG_INT8 };
    check(&two, integer(-32768), "000000028000");
    check(&two, integer(32767), "000000027fff");
    check(&two, integer(32768), SMALL);
    check(&two, integer(-32769), SMALL);
    check(&four, integer(INT32_MIN), "0000000480000000");
    check(&four, integer(INT32_MAX), "000000047fffffff");
    check(&four, integer(INT64_C(2147483648)), MEDIUM);
    check(&four, integer(INT64_C(-2147483649)), MEDIUM);
    check(&eight, integer(INT64_MIN), "000000088000000000000000");
    check(&eight, integer(-2), "00000008fffffffffffffffe");
    check(&eight, (Value){ .tag = VALUE_NULL }, "ffffffff");
    check(&eight, (Value){ .tag = VALUE_ABSENT }, "ffffffff");
}

static void test_floats_and_booleans(void **state)
{
    const PgColumn single = { .type = PG_FLOAT4 }, twice = { .type = PG_FLOAT8 }, boolean = { .type = PG_BOOL };
    check(&twice, (Value){ .tag = VALUE_FLOAT, .number = 1.5 }, "000000083ff8000000000000");
    check(&single, (Value){ .tag = VALUE_FLOAT, .number = 0.1 }, "000000043dcccccd");
    check(&single, (Value){ .tag = VALUE_FLOAT, .number = 1e39 }, "! does not fit into a real");
    check(&boolean, (Value){ .tag = VALUE_TRUE }, "0000000101");
    check(&boolean, (Value){ .tag = VALUE_FALSE }, "0000000100");
}

#define SCALE "! has more digits after the point than its column keeps"
#define PRECISION "! has more digits before the point than its column keeps"

static void test_decimals(void **state)
{
    /* length, ndigits, weight, sign, dscale, digits */
    static const struct {
        const char *text, *expected;
    } cases[] = {
        { "0", "00000008"
               "0000"
               "ffff"
               "0000"
               "0000" },
        { "-0.00", "00000008"
                   "0000"
                   "ffff"
                   "0000"
                   "0002" },
        { "1", "0000000a"
               "0001"
               "0000"
               "0000"
               "0000"
               "0001" },
        { "-10000", "0000000c"
                    "0002"
                    "0001"
                    "4000"
                    "0000"
                    "0001"
                    "0000" },
        { "12345.6", "0000000e"
                     "0003"
                     "0001"
                     "0000"
                     "0001"
                     "0001"
                     "0929"
                     "1770" },
        { "0.00012", "0000000c"
                     "0002"
                     "ffff"
                     "0000"
                     "0005"
                     "0001"
                     "07d0" },
        { "007.10", "0000000c"
                    "0002"
                    "0000"
                    "0000"
                    "0002"
                    "0007"
                    "03e8" },
    };
    const PgColumn any = { .type = PG_NUMERIC };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        check(&any, text_of(VALUE_DECIMAL, cases[i].text), cases[i].expected);

    const PgColumn sized = { .type = PG_NUMERIC, .sized = true, .precision = 5, .scale = 2 };
    check(&sized, text_of(VALUE_DECIMAL, "999.9900"),
          "0000000c"
          "0002"
          "0000"
          "0000"
          "0004"
          "03e7"
          "26ac");
    check(&sized, text_of(VALUE_DECIMAL, "0.001"), SCALE);
    check(&sized, text_of(VALUE_DECIMAL, "1000"), PRECISION);
    check(&sized, text_of(VALUE_DECIMAL, "0001.5"),
          "0000000c"
          "0002"
          "0000"
          "0000"
          "0001"
          "0001"
          "1388");
}

static void test_decimals_at_their_limits(void **state)
{
    const PgColumn any = { .type = PG_NUMERIC };
    char *text = malloc(150000);
    memset(text, '9', 150000);
    Value value = { .tag = VALUE_DECIMAL, .text = { text, 131073 } };
    check(&any, value, "! has more than 131072 digits before the point, which no numeric holds");
    text[0] = '0';
    text[1] = '.';
    value.text.length = 2 + 16384;
    check(&any, value, "! has more than 16383 digits after the point, which no numeric holds");
    /* zeros at the end are no digits */
    memset(text + 2, '0', 20000);
    value.text.length = 20000;
    check(&any, value,
          "00000008"
          "0000"
          "ffff"
          "0000"
          "3fff");
    free(text);
}

#define CALENDAR "! is outside of PostgreSQL's calendar (4714 BC to 294276); a string column holds it"

static Value moment(int64_t seconds, uint32_t nanos)
{
    return (Value){ .tag = VALUE_TIMESTAMP, .timestamp = { .seconds = seconds, .nanos = nanos } };
}

static void test_dates_and_times(void **state)
{
    const PgColumn date = { .type = PG_DATE }, time = { .type = PG_TIMESTAMPTZ };
    check(&date, (Value){ .tag = VALUE_DATE, .days = 10957 }, "0000000400000000");
    check(&date, (Value){ .tag = VALUE_DATE, .days = 0 }, "00000004ffffd533");
    check(&date, (Value){ .tag = VALUE_DATE, .days = -2440588 }, "00000004ffda97a7");
    check(&date, (Value){ .tag = VALUE_DATE, .days = -2440589 },
          "! is before 4714-11-24 BC, where PostgreSQL's calendar begins");
    check(&time, moment(946684800, 0), "000000080000000000000000");
    check(&time, moment(946684799, 999999000), "00000008ffffffffffffffff");
    check(&time, moment(0, 1),
          "! has more than 6 digits of a second, and PostgreSQL keeps 6; a string column holds it");
    check(&time, moment(-210866803200, 0), "00000008fd0f7cc1411fa000");
    check(&time, moment(-210866803201, 999999000), CALENDAR);
    check(&time, moment(9224318015999, 999999000), "000000087fffff5bb3b29fff");
    check(&time, moment(9224318016000, 0), CALENDAR);
    check(&time, moment(INT64_MAX, 0), CALENDAR);
    check(&time, moment(INT64_MIN, 0), CALENDAR);
}

static void test_text(void **state)
{
    const PgColumn text = { .type = PG_TEXT }, strip = { .type = PG_TEXT, .strip_nul = true };
    const Value nul = { .tag = VALUE_STRING, .text = { "\0a\0b\0", 5 } };
    check(&text, text_of(VALUE_STRING, "ab"), "000000026162");
    check(&text, text_of(VALUE_STRING, ""), "00000000");
    check(&text, nul, "! holds a NUL character, which PostgreSQL's text cannot; set strip_nul: true to leave it out");
    check(&strip, nul, "000000026162");
    check(&(PgColumn){ .type = PG_BYTEA }, (Value){ .tag = VALUE_BINARY, .text = { "\0\xff", 2 } }, "0000000200ff");
}

#define ESCAPED "! holds \\u0000, which PostgreSQL's jsonb cannot; declare the column as a string"

static void test_json(void **state)
{
    const PgColumn json = { .type = PG_JSON }, jsonb = { .type = PG_JSONB };
    check(&jsonb, text_of(VALUE_JSON, "{}"), "00000003017b7d");
    check(&json, text_of(VALUE_JSON, "{}"), "000000027b7d");
    check(&jsonb, text_of(VALUE_JSON, "\"\\u0000\""), ESCAPED);
    check(&jsonb, text_of(VALUE_JSON, "\"\\\\\\u0000\""), ESCAPED);
    check(&jsonb, text_of(VALUE_JSON, "\"\\\\u0000\""), "0000000a01225c5c753030303022");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_floats_and_booleans),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_decimals_at_their_limits),
        cmocka_unit_test(test_dates_and_times),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
