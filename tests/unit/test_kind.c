/* The lattice of kinds as a lattice, and that a value's text does not depend on its way to STRING. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/formats/kind.h"

static const Kind kinds[] = {
    { .type = COLUMN_BOOLEAN },
    { .type = COLUMN_SHORT },
    { .type = COLUMN_INT },
    { .type = COLUMN_INTEGER },
    { .type = COLUMN_DECIMAL },
    { .type = COLUMN_DECIMAL, .precision = 5, .scale = 2 },
    { .type = COLUMN_DECIMAL, .precision = 38, .scale = 0 },
    { .type = COLUMN_DECIMAL, .precision = 38, .scale = 37 },
    { .type = COLUMN_REAL },
    { .type = COLUMN_FLOAT },
    { .type = COLUMN_DATE },
    { .type = COLUMN_DATETIME },
    { .type = COLUMN_INSTANT },
    { .type = COLUMN_BINARY },
    { .type = COLUMN_STRING },
    { .type = COLUMN_JSON },
};

static void assert_kind(Kind is, Kind wanted)
{
    char is_name[KIND_NAME_MAX], wanted_name[KIND_NAME_MAX];
    assert_string_equal(kind_name(is, is_name), kind_name(wanted, wanted_name));
}

static void test_join_is_a_join(void **state)
{
    for (size_t i = 0; i < ELEMENTSOF(kinds); i++) {
        assert_kind(kind_join(kinds[i], kinds[i]), kinds[i]);
        assert_kind(kind_join(kinds[i], (Kind){ 0 }), kinds[i]);
        assert_kind(kind_join((Kind){ 0 }, kinds[i]), kinds[i]);
        for (size_t k = 0; k < ELEMENTSOF(kinds); k++) {
            Kind both = kind_join(kinds[i], kinds[k]);
            assert_kind(kind_join(kinds[k], kinds[i]), both);
            assert_kind(kind_join(both, kinds[i]), both);
            for (size_t m = 0; m < ELEMENTSOF(kinds); m++)
                assert_kind(kind_join(both, kinds[m]), kind_join(kinds[i], kind_join(kinds[k], kinds[m])));
        }
    }
}

static void test_joins(void **state)
{
    static const struct {
        const char *a, *b, *join;
    } cases[] = {
        { "SHORT", "INT", "INT" },
        { "INT", "LONG", "LONG" },
        { "LONG", "DECIMAL", "DECIMAL" },
        { "SHORT", "FLOAT", "DOUBLE" },
        { "FLOAT", "DOUBLE", "DOUBLE" },
        { "LONG", "DOUBLE", "DOUBLE" },
        { "DECIMAL", "DOUBLE", "STRING" },
        { "NAIVE_DATE", "NAIVE_DATETIME", "NAIVE_DATETIME" },
        { "NAIVE_DATETIME", "UTC_DATETIME", "STRING" },
        { "BOOLEAN", "INT", "STRING" },
        { "JSON", "STRING", "STRING" },
        { "xml", "string", "STRING" },
        { "BINARY", "STRING", "STRING" },
    };
    char name[KIND_NAME_MAX];
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        Kind a, b;
        assert_true(kind_from_name(cases[i].a, &a));
        assert_true(kind_from_name(cases[i].b, &b));
        assert_string_equal(kind_name(kind_join(a, b), name), cases[i].join);
    }
    Kind decimal = { COLUMN_DECIMAL, 5, 2 };
    assert_string_equal(kind_name(kind_join(decimal, (Kind){ COLUMN_INT }), name), "DECIMAL(12,2)");
    assert_string_equal(kind_name(kind_join(decimal, (Kind){ COLUMN_DECIMAL, 4, 4 }), name), "DECIMAL(7,4)");
    assert_string_equal(kind_name(kind_join(decimal, (Kind){ COLUMN_DECIMAL, 38, 0 }), name), "DECIMAL");
    Kind kind;
    assert_false(kind_from_name("TIMESTAMP", &kind));
    assert_false(kind_from_name("INTEGER", &kind));
}

static Value text_value(ValueTag tag, const char *text)
{
    return (Value){ .tag = tag, .text = { text, (uint32_t)strlen(text) } };
}

static Value moment(int64_t seconds, uint32_t nanos, int16_t offset)
{
    return (Value){ .tag = VALUE_TIMESTAMP, .timestamp = { seconds, nanos, offset } };
}

/* A value of every tag; RANDOM makes it another one each time. */
static Value random_value(void)
{
    static const char *const decimals[] = { "0", "-0.00", "12.50", "-1", "99999999999999999999", "0.001", "1e9" };
    static const char *const documents[] = { "{\"b\": 1, \"a\": [1.0, null]}", "[]", "\"x\"", "1e5",
                                             "{\"a\":1,\"a\":2}" };
    switch (random() % 12) {
    case 0:
        return (Value){ .tag = VALUE_TRUE };
    case 1:
        return (Value){ .tag = VALUE_INTEGER, .integer = random() % 200000 - 100000 };
    case 2:
        return (Value){ .tag = VALUE_INTEGER, .integer = (int64_t)((uint64_t)random() << 33 | (uint64_t)random()) };
    case 3:
        return (Value){ .tag = VALUE_FLOAT, .number = (double)(random() % 1000) / 8 };
    case 4:
        return (Value){ .tag = VALUE_FLOAT, .number = (double)random() / 7e12 };
    case 5:
        return (Value){ .tag = VALUE_DATE, .days = (int32_t)(random() % 40000) };
    case 6:
        return moment(random(), (uint32_t)(random() % 1000000000), TIMESTAMP_NAIVE);
    case 7:
        return moment((random() % 20000) * 86400, 0, random() % 2 ? TIMESTAMP_NAIVE : 0);
    case 8:
        return text_value(VALUE_DECIMAL, decimals[random() % 6]);
    case 9:
        return text_value(VALUE_JSON, documents[random() % 5]);
    case 10:
        return text_value(VALUE_BINARY, "a\xff");
    default:
        return text_value(VALUE_STRING, "text");
    }
}

static char *text_of(const Value *value)
{
    Buffer buffer = { 0 };
    value_text(value, &buffer);
    return buffer_take_string(&buffer);
}

static bool is_inexact(const Value *value)
{
    return value->tag == VALUE_INTEGER && !integer_is_exact(value->integer);
}

static void test_a_wider_kind_keeps_the_value(void **state)
{
    srandom(1);
    for (int i = 0; i < 100000; i++) {
        Value value = random_value();
        Kind kind = kind_of_value(&value);
        assert_true(kind_holds(kind, &value));
        Kind other = kinds[(size_t)random() % ELEMENTSOF(kinds)], both = kind_join(kind, other);
        if (is_inexact(&value) && both.type == COLUMN_FLOAT) {
            assert_false(kind_holds(both, &value));
            continue;
        }
        assert_true(kind_holds(both, &value));
        Buffer scratch = { 0 };
        Value wider = value_convert(&value, both, &scratch);
        assert_true(column_type_accepts(both.type, wider.tag));
        _cleanup_(freep) char *before = text_of(&value), *after = text_of(&wider);
        assert_string_equal(before, after);
        buffer_clear(&scratch);
    }
}

static void test_texts(void **state)
{
    char least[330]; /* 5e-324, of which a text of 15 digits has the same double */
    snprintf(least, sizeof(least), "0.%0323d5", 0);
    const struct {
        Value value;
        const char *text;
    } cases[] = {
        { { .tag = VALUE_NULL }, "" },
        { { .tag = VALUE_FALSE }, "false" },
        { { .tag = VALUE_INTEGER, .integer = INT64_MIN }, "-9223372036854775808" },
        { { .tag = VALUE_FLOAT, .number = 42.42 }, "42.42" },
        { { .tag = VALUE_FLOAT, .number = 42 }, "42" },
        { { .tag = VALUE_FLOAT, .number = -0.0 }, "0" },
        { { .tag = VALUE_FLOAT, .number = 0.1 + 0.2 }, "0.30000000000000004" },
        { { .tag = VALUE_FLOAT, .number = -1.5e-7 }, "-0.00000015" },
        { { .tag = VALUE_FLOAT, .number = 0x1p-1074 }, least },
        { { .tag = VALUE_FLOAT, .number = 1e22 }, "10000000000000000000000" },
        { { .tag = VALUE_FLOAT, .number = 123456.75 }, "123456.75" },
        { text_value(VALUE_DECIMAL, "-007.500"), "-7.5" },
        { text_value(VALUE_DECIMAL, "-0.0"), "0" },
        { text_value(VALUE_DECIMAL, "0.05"), "0.05" },
        { text_value(VALUE_DECIMAL, "100"), "100" },
        { { .tag = VALUE_DATE, .days = 0 }, "1970-01-01" },
        { moment(0, 0, TIMESTAMP_NAIVE), "1970-01-01" },
        { moment(-86400, 0, TIMESTAMP_NAIVE), "1969-12-31" },
        { moment(1, 500000000, TIMESTAMP_NAIVE), "1970-01-01T00:00:01.500000" },
        { moment(0, 0, 0), "1970-01-01T00:00:00Z" },
        { moment(3600, 1, 60), "1970-01-01T01:00:00.000000001Z" },
        { text_value(VALUE_JSON, " { \"b\" : 1.0 , \"a\" : { \"d\":2,\"c\":[ 1 ] }, \"b\":3 } "),
          "{\"a\":{\"c\":[1],\"d\":2},\"b\":3}" },
        { text_value(VALUE_JSON, "\"\\u00e9\""), "\"é\"" },
        { text_value(VALUE_JSON, "NaN"), "NaN" },
        { text_value(VALUE_JSON, "[1e5,1E+2,0e7,-0,-0.00,1.50,10,-7]"), "[100000,100,0,0,0.00,1.50,10,-7]" },
        { text_value(VALUE_JSON, "[1.50e1,-2.5E-3,12.5e-1,100e-2,0.001e3,1e-1]"), "[15.0,-0.0025,1.25,1.00,1,0.1]" },
        { text_value(VALUE_JSON, "[1e999999999]"), "[1e999999999]" },
        { text_value(VALUE_BINARY, ""), "" },
        { text_value(VALUE_BINARY, "f"), "Zg==" },
        { text_value(VALUE_BINARY, "fo"), "Zm8=" },
        { text_value(VALUE_BINARY, "foo\xff"), "Zm9v/w==" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        _cleanup_(freep) char *text = text_of(&cases[i].value);
        assert_string_equal(text, cases[i].text);
    }
}

/* As deep as a line may be: the stack must hold. */
static void test_canonical_json_is_within_its_bound(void **state)
{
    static const char *const documents[] = {
        "[1e999,-1.5E-999,1E+1000,9e-1000]",
        "[1e1001,1e-99999999999999999999]",
        "{\"1e900\":\"1e900\\\\\",\"b\":1e900}",
        "[0e1000,-0.0e-1000]",
        "1e1000",
        "\"1e999",
        "[1e",
    };
    for (size_t i = 0; i < ELEMENTSOF(documents); i++) {
        _cleanup_(buffer_clear) Buffer canonical = { 0 };
        size_t n = strlen(documents[i]), bound = json_canonical_bound(documents[i], n);
        json_canonical(documents[i], n, &canonical);
        assert_true(buffer_length(&canonical) <= bound);
        assert_true(bound <= 256 * n); /* the writer looks at no value that is 256 times smaller than allowed */
    }
    assert_int_equal(json_canonical_bound("{\"1e900\":1}", 11), 11); /* no number, however it looks */
}

static void test_deep_json(void **state)
{
    enum { DEPTH = 100000 };
    char *text = malloc(2 * DEPTH + 1);
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    text[2 * DEPTH] = 0;
    Value value = text_value(VALUE_JSON, text);
    _cleanup_(freep) char *written = text_of(&value);
    assert_string_equal(written, text);
    free(text);
}

static void test_what_fits(void **state)
{
    Value largest = { .tag = VALUE_INTEGER, .integer = 99999 }, single = { .tag = VALUE_FLOAT, .number = 42.42 };
    assert_true(kind_holds((Kind){ COLUMN_DECIMAL, 7, 2 }, &largest));
    largest.integer++;
    assert_false(kind_holds((Kind){ COLUMN_DECIMAL, 7, 2 }, &largest));
    assert_true(kind_holds((Kind){ COLUMN_INT }, &largest));
    assert_false(kind_holds((Kind){ COLUMN_SHORT }, &largest));
    /* 42.42 is the shortest text of a single, too; 0.1 + 0.2 is of none */
    assert_true(kind_holds((Kind){ COLUMN_REAL }, &single));
    single.number = 0.1 + 0.2;
    assert_false(kind_holds((Kind){ COLUMN_REAL }, &single));
    /* 2^53 is exact in a single, whose shortest text is 9.007199e15: two values must not share one single */
    single.number = 9007199254740992.0;
    assert_false(kind_holds((Kind){ COLUMN_REAL }, &single));
    single.number = 9007199e9;
    assert_true(kind_holds((Kind){ COLUMN_REAL }, &single));
    Value decimal = text_value(VALUE_DECIMAL, "00123.4500");
    assert_true(kind_holds((Kind){ COLUMN_DECIMAL, 5, 2 }, &decimal));
    assert_false(kind_holds((Kind){ COLUMN_DECIMAL, 4, 2 }, &decimal));
    assert_false(kind_holds((Kind){ COLUMN_DECIMAL, 5, 1 }, &decimal));
    assert_true(integer_is_exact(INT64_C(1) << 53) && !integer_is_exact((INT64_C(1) << 53) + 1));
    assert_true(integer_is_exact(-(INT64_C(1) << 53)) && !integer_is_exact(-(INT64_C(1) << 53) - 1));
    /* a double holds these, but not their digits */
    assert_true(!integer_is_exact(INT64_C(1) << 60) && !integer_is_exact(INT64_MIN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_is_a_join),
        cmocka_unit_test(test_joins),
        cmocka_unit_test(test_a_wider_kind_keeps_the_value),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_canonical_json_is_within_its_bound),
        cmocka_unit_test(test_deep_json),
        cmocka_unit_test(test_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
