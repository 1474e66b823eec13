/* Text to typed values: Filedge's meaning of each type, the limits, and the exactness of numbers. */
#include "tests/unit/files-reading.h"

#include <float.h>
#include <inttypes.h>

static JsonMemory json;
static const Converter converter = { .max_value_size = 1000, .json = &json };

typedef const char *Convert(const Converter *converter, ColumnType type, const char *text, size_t n, RowsWriter *rows);

/* The value as it is shown, or "! " and why not. The text lies in memory of exactly its size, so that reading past it
 * is seen. */
static char *convert_with(Convert *convert, ColumnType type, const char *text, size_t n)
{
    Buffer frames = { 0 }, shown = { 0 };
    char *exact = malloc(n > 0 ? n : 1);
    memcpy(exact, text, n);
    RowsWriter rows = rows_begin(&frames, 0, OPERATION_INSERT);
    size_t before = rows_size(&rows);
    const char *why = convert(&converter, type, exact, n, &rows);
    if (why) {
        assert_int_equal(rows_size(&rows), before);
        buffer_printf(&shown, "! %s", why);
    } else {
        rows_row_done(&rows);
        rows_end(&rows);
        show_rows(&shown, &frames, 1);
        shown.end--; /* the line feed */
    }
    free(exact);
    buffer_clear(&frames);
    return buffer_take_string(&shown);
}

static char *convert_any(ColumnType type, const char *text)
{
    return convert_with(convert_text_typed, type, text, strlen(text));
}

#define INTEGER_RANGE "! an integer beyond 64 bits; a decimal or string column can hold it"
#define FLOAT_RANGE "! beyond what a 64-bit float can hold; a decimal or string column can hold it"
#define NOT_FINITE "! not a finite number, which a float column needs"
#define NOT_BOOLEAN "! not a boolean (true, 1, yes, false, 0 or no)"
#define NOT_DATE "! not a date such as 2024-02-29"
#define TOO_FINE "! more than 9 digits of a second, which a timestamp keeps; a string column can hold it"
#define NOT_TIMESTAMP "! not a timestamp such as 2024-02-29T10:20:30+01:00"

static void every_type_and_its_limits(void **state)
{
    static const struct {
        ColumnType type;
        const char *text, *expected;
    } cases[] = {
        { COLUMN_STRING, "a b ", "'a b '" },
        { COLUMN_INTEGER, "0", "0" },
        { COLUMN_INTEGER, "-0", "0" },
        { COLUMN_INTEGER, "+7", "7" },
        { COLUMN_INTEGER, " 42\t", "42" },
        { COLUMN_INTEGER, "007", "7" },
        { COLUMN_INTEGER, "9223372036854775807", "9223372036854775807" },
        { COLUMN_INTEGER, "-9223372036854775808", "-9223372036854775808" },
        { COLUMN_INTEGER, "9223372036854775808", INTEGER_RANGE },
        { COLUMN_INTEGER, "-9223372036854775809", INTEGER_RANGE },
        { COLUMN_INTEGER, "18446744073709551616", INTEGER_RANGE },
        { COLUMN_INTEGER, "00000000000000000000000000000000000001", "1" },
        { COLUMN_INTEGER, "999999999999999999", "999999999999999999" },
        { COLUMN_INTEGER, "1.0", "! not an integer" },
        { COLUMN_INTEGER, "1_000", "! not an integer" },
        { COLUMN_INTEGER, "0x10", "! not an integer" },
        { COLUMN_INTEGER, "--1", "! not an integer" },
        { COLUMN_INTEGER, "-", "! not an integer" },
        { COLUMN_INTEGER, " ", "! not an integer" },
        { COLUMN_INTEGER, "1 2", "! not an integer" },
        { COLUMN_INTEGER, "12345678901234567x", "! not an integer" },
        { COLUMN_FLOAT, "1.5", "1.5" },
        { COLUMN_FLOAT, "-1.5", "-1.5" },
        { COLUMN_FLOAT, "-0.0", "-0" },
        { COLUMN_FLOAT, "+1.", "1" },
        { COLUMN_FLOAT, ".5", "0.5" },
        { COLUMN_FLOAT, " 1e3 ", "1000" },
        { COLUMN_FLOAT, "9007199254740993", "9007199254740992" }, /* 2^53 + 1, to even */
        { COLUMN_FLOAT, "123456789012345.6", "123456789012345.59" },
        { COLUMN_FLOAT, "1.7976931348623157e308", "1.7976931348623157e+308" },
        { COLUMN_FLOAT, "5e-324", "4.9406564584124654e-324" },
        { COLUMN_FLOAT, "0e400", "0" },
        { COLUMN_FLOAT, "1e400", FLOAT_RANGE },
        { COLUMN_FLOAT, "-1e400", FLOAT_RANGE },
        { COLUMN_FLOAT, "1e-400", FLOAT_RANGE },
        { COLUMN_FLOAT, "1e99999999999999999999", FLOAT_RANGE },
        { COLUMN_FLOAT, "nan", NOT_FINITE },
        { COLUMN_FLOAT, "-Infinity", NOT_FINITE },
        { COLUMN_FLOAT, "inf", NOT_FINITE },
        { COLUMN_FLOAT, "1,5", "! not a number" },
        { COLUMN_FLOAT, "0x1p3", "! not a number" },
        { COLUMN_FLOAT, "1.2.3", "! not a number" },
        { COLUMN_FLOAT, ".", "! not a number" },
        { COLUMN_FLOAT, "1e", "! not a number" },
        { COLUMN_FLOAT, "-", "! not a number" },
        { COLUMN_BOOLEAN, "TRUE", "true" },
        { COLUMN_BOOLEAN, " yes ", "true" },
        { COLUMN_BOOLEAN, "1", "true" },
        { COLUMN_BOOLEAN, "False", "false" },
        { COLUMN_BOOLEAN, "no", "false" },
        { COLUMN_BOOLEAN, "0", "false" },
        { COLUMN_BOOLEAN, "t", NOT_BOOLEAN },
        { COLUMN_BOOLEAN, "01", NOT_BOOLEAN },
        { COLUMN_BOOLEAN, "truer", NOT_BOOLEAN },
        { COLUMN_DATE, "2024-02-29", "2024-02-29" },
        { COLUMN_DATE, "20240229", "2024-02-29" },
        { COLUMN_DATE, "2023-02-29", "! no such date" },
        { COLUMN_DATE, "2024-13-01", "! no such date" },
        { COLUMN_DATE, "29.02.2024", NOT_DATE },
        { COLUMN_DATE, " 2024-02-29", NOT_DATE },
        { COLUMN_TIMESTAMP, "2024-02-29T10:20:30.5+01:00", "2024-02-29T10:20:30.500000+01:00" },
        { COLUMN_TIMESTAMP, "2024-02-29 10:20", "2024-02-29T10:20:00" },
        { COLUMN_TIMESTAMP, "2024-02-30T10:20:30", NOT_TIMESTAMP },
        { COLUMN_TIMESTAMP, "yesterday", NOT_TIMESTAMP },
        { COLUMN_TIMESTAMP, "2024-02-29T10:20:30.1234567890", "2024-02-29T10:20:30.123456789" },
        { COLUMN_TIMESTAMP, "2024-02-29T10:20:30.1234567891", TOO_FINE },
        { COLUMN_TIMESTAMP, "2024-02-29 10:20:30,00000000000001+01:00", TOO_FINE },
        { COLUMN_TIMESTAMP, "2024-02-30T10:20:30.1234567891", NOT_TIMESTAMP },
        { COLUMN_TIMESTAMP, "2024-02-29T10:20:30.123456789x", NOT_TIMESTAMP },
        { COLUMN_TIMESTAMP, "12.1234567891", NOT_TIMESTAMP },
        { COLUMN_DECIMAL, "1.50", "d'1.50'" },
        { COLUMN_DECIMAL, "-123456789012345678901234567890.123456789012345678901234567890",
          "d'-123456789012345678901234567890.123456789012345678901234567890'" },
        { COLUMN_DECIMAL, " +1.5 ", "d'1.5'" },
        { COLUMN_DECIMAL, ".5", "d'0.5'" },
        { COLUMN_DECIMAL, "-.5", "d'-0.5'" },
        { COLUMN_DECIMAL, "5.", "d'5'" },
        { COLUMN_DECIMAL, "1.5e3", "d'1500'" },
        { COLUMN_DECIMAL, "1.5E-3", "d'0.0015'" },
        { COLUMN_DECIMAL, "-1.2345e2", "d'-123.45'" },
        { COLUMN_DECIMAL, "12e0", "d'12'" },
        { COLUMN_DECIMAL, "0.5e1", "d'5'" },
        { COLUMN_DECIMAL, "00.05e1", "d'0.5'" },
        { COLUMN_DECIMAL, "1e5001", "! a decimal number with an exponent beyond 5000" },
        { COLUMN_DECIMAL, "1e-99999999999", "! a decimal number with an exponent beyond 5000" },
        { COLUMN_DECIMAL, "1,5", "! not a decimal number" },
        { COLUMN_DECIMAL, "NaN", "! not a decimal number" },
        { COLUMN_DECIMAL, "1.5x", "! not a decimal number" },
        { COLUMN_DECIMAL, "-", "! not a decimal number" },
        { COLUMN_JSON, "{\"a\": [1, 2.50, 12345678901234567890123]}",
          "j'{\"a\": [1, 2.50, 12345678901234567890123]}'" },
        { COLUMN_JSON, " null ", "j' null '" },
        { COLUMN_JSON, "{\"a\":1", "! not valid JSON" },
        { COLUMN_JSON, "{} {}", "! not valid JSON" },
        { COLUMN_JSON, "[1,]", "! not valid JSON" },
        { COLUMN_JSON, "NaN", "! not valid JSON" },
        { COLUMN_BINARY, "aGVsbG8=", "b'hello'" },
        { COLUMN_BINARY, "aGVsbG8h", "b'hello!'" },
        { COLUMN_BINARY, "", "b''" },
        { COLUMN_BINARY, "aGVsbG8", "! not base64 text" },
        { COLUMN_BINARY, "aGVsbG9=", "! not base64 text" }, /* bits that the padding drops */
        { COLUMN_BINARY, "aGV bG8=", "! not base64 text" },
        { COLUMN_BINARY, "a===", "! not base64 text" },
        { COLUMN_BINARY, "=aaa", "! not base64 text" },
        { COLUMN_BINARY, "aGVsbG8_", "! not base64 text" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char *shown = convert_any(cases[i].type, cases[i].text);
        assert_string_equal(shown, cases[i].expected);
        free(shown);
    }
}

static void numbers_from_json(void **state)
{
    static const struct {
        ColumnType type;
        const char *text, *expected;
    } cases[] = {
        { COLUMN_INTEGER, "12", "12" },
        { COLUMN_INTEGER, "12.0", "12" },
        { COLUMN_INTEGER, "1.2e1", "12" },
        { COLUMN_INTEGER, "120e-1", "12" },
        { COLUMN_INTEGER, "-1e3", "-1000" },
        { COLUMN_INTEGER, "9223372036854775808", INTEGER_RANGE },
        { COLUMN_INTEGER, "1e19", INTEGER_RANGE },
        { COLUMN_INTEGER, "1e999999", INTEGER_RANGE },
        { COLUMN_INTEGER, "1.5", "! not an integer" },
        { COLUMN_INTEGER, "1e-1", "! not an integer" },
        { COLUMN_STRING, "1.50", "'1.50'" },
        { COLUMN_DECIMAL, "123456789012345678901234567890.10", "d'123456789012345678901234567890.10'" },
        { COLUMN_JSON, "1e400", "j'1e400'" },
        { COLUMN_BOOLEAN, "1", "true" },
        { COLUMN_BOOLEAN, "2", NOT_BOOLEAN },
        { COLUMN_DATE, "20240229", "2024-02-29" },
        { COLUMN_BINARY, "1234", "! not base64 text" },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        char *shown = convert_with(convert_number, cases[i].type, cases[i].text, strlen(cases[i].text));
        assert_string_equal(shown, cases[i].expected);
        free(shown);
    }
}

static void long_values_are_refused(void **state)
{
    static const ColumnType types[] = { COLUMN_STRING, COLUMN_DECIMAL, COLUMN_JSON };
    char text[1002];
    memset(text, '1', sizeof(text));
    for (size_t i = 0; i < ELEMENTSOF(types); i++) {
        char *shown = convert_with(convert_text_typed, types[i], text, 1001);
        assert_string_equal(shown, "! longer than \"max_value_size\" allows; raise it to load this value");
        free(shown);
        shown = convert_with(convert_text_typed, types[i], text, 1000);
        assert_int_not_equal(shown[0], '!');
        free(shown);
    }
    char deep[1000];
    memset(deep, '[', 500);
    memset(deep + 500, ']', 500);
    char *shown = convert_with(convert_text_typed, COLUMN_JSON, deep, 1000);
    assert_int_equal(shown[0], 'j');
    free(shown);
}

static void json_depth_is_bounded(void **state)
{
    char deep[2 * (JSON_DEPTH_MAX + 1)];
    memset(deep, '[', JSON_DEPTH_MAX + 1);
    memset(deep + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    assert_string_equal(json_validate(&json, deep, sizeof(deep)), "JSON nested too deeply (more than 512 levels)");
    assert_null(json_validate(&json, deep + 1, sizeof(deep) - 2));
    /* Many side by side are not deep. */
    char wide[3 * 2000 + 1];
    size_t n = 0;
    wide[n++] = '[';
    for (int i = 0; i < 1999; i++)
        n += (size_t)sprintf(wide + n, "%s[]", i > 0 ? "," : "");
    wide[n++] = ']';
    assert_null(json_validate(&json, wide, n));
}

static void integers_go_both_ways(void **state)
{
    unsigned seed = 1;
    for (int round = 0; round < 50000; round++) {
        uint64_t bits = 0;
        for (int i = 0; i < 5; i++)
            bits = bits << 15 ^ (uint64_t)rand_r(&seed);
        int64_t number = (int64_t)bits >> rand_r(&seed) % 64;
        char text[32];
        snprintf(text, sizeof(text), "%" PRId64, number);
        char *shown = convert_any(COLUMN_INTEGER, text);
        assert_string_equal(shown, text);
        free(shown);
    }
}

/* Whatever way a float is written, it is the double that strtod() makes of it. */
static void floats_are_the_nearest(void **state)
{
    unsigned seed = 1;
    for (int round = 0; round < 100000; round++) {
        char text[64], expected[64];
        int digits = rand_r(&seed) % 19, fraction = rand_r(&seed) % 19, n = 0;
        if (rand_r(&seed) % 2)
            text[n++] = '-';
        text[n++] = (char)('0' + rand_r(&seed) % 10);
        for (int i = 0; i < digits; i++)
            text[n++] = (char)('0' + rand_r(&seed) % 10);
        if (fraction > 0)
            text[n++] = '.';
        for (int i = 0; i < fraction; i++)
            text[n++] = (char)('0' + rand_r(&seed) % 10);
        if (rand_r(&seed) % 4 == 0)
            n += sprintf(text + n, "e%d", rand_r(&seed) % 400 - 200);
        text[n] = '\0';
        snprintf(expected, sizeof(expected), "%.17g", strtod(text, NULL));
        char *shown = convert_any(COLUMN_FLOAT, text);
        assert_string_equal(shown, expected);
        free(shown);
    }
}

/* A decimal with an exponent is the same number without one. */
static void decimals_keep_their_value(void **state)
{
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        /* Integers of up to 15 digits times a power of ten are exact in 80 bits of a long double up to 10^27. */
        long long whole = (long long)rand_r(&seed) * (rand_r(&seed) % 1000);
        int exponent = rand_r(&seed) % 12;
        char text[64], expected[64];
        snprintf(text, sizeof(text), "%llde%d", whole, exponent);
        snprintf(expected, sizeof(expected), "d'%lld", whole);
        if (whole != 0)
            for (int i = 0; i < exponent; i++)
                strcat(expected, "0");
        char *shown = convert_any(COLUMN_DECIMAL, text);
        if (whole != 0) {
            strcat(expected, "'");
            assert_string_equal(shown, expected);
        }
        free(shown);
        /* And back: divided again, nothing but zeros behind the point. */
        snprintf(text, sizeof(text), "%lld%.*se-%d", whole, exponent, "000000000000", exponent);
        shown = convert_with(convert_number, COLUMN_INTEGER, text, strlen(text));
        snprintf(expected, sizeof(expected), "%lld", whole);
        assert_string_equal(shown, expected);
        free(shown);
    }
}

static int set_up(void **state)
{
    json_memory_init(&json);
    return 0;
}

static int tear_down(void **state)
{
    json_memory_clear(&json);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_its_limits), cmocka_unit_test(numbers_from_json),
        cmocka_unit_test(long_values_are_refused),   cmocka_unit_test(json_depth_is_bounded),
        cmocka_unit_test(integers_go_both_ways),     cmocka_unit_test(floats_are_the_nearest),
        cmocka_unit_test(decimals_keep_their_value),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
