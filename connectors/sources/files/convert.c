/*
 * Hot: this runs once per value. Integers and floats as tables hold them (at most 18 digits; at most 15 significant
 * digits and a small exponent) are made without the C library: the float path is Clinger's, exact because both the
 * digits and the power of ten are exact doubles and one division or multiplication rounds once ("How to read floating
 * point numbers accurately", 1990). Everything else goes to strtod_l() in the C locale, whatever the environment says.
 *
 * Grammars are Python's int() and float() without underscores, NaN and infinity: what Filedge takes, less what would
 * change its meaning on the way.
 */
#include "connectors/sources/files/convert.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/basics/base64.h"

#define DECIMAL_EXPONENT_MAX 5000 /* zeros that an exponent may add */

static const char not_integer[] = "not an integer";
static const char integer_range[] = "an integer beyond 64 bits; a decimal or string column can hold it";
static const char not_number[] = "not a number";
static const char not_finite[] = "not a finite number, which a float column needs";
static const char float_range[] = "beyond what a 64-bit float can hold; a decimal or string column can hold it";
static const char not_decimal[] = "not a decimal number";
static const char decimal_range[] = "a decimal number with an exponent beyond 5000";
static const char not_boolean[] = "not a boolean (true, 1, yes, false, 0 or no)";
static const char not_date[] = "not a date such as 2024-02-29";
static const char no_such_date[] = "no such date";
static const char not_timestamp[] = "not a timestamp such as 2024-02-29T10:20:30+01:00";
static const char too_fine[] = "more than 9 digits of a second, which a timestamp keeps; a string column can hold it";
static const char not_base64[] = "not base64 text";
static const char too_long[] = "longer than \"max_value_size\" allows; raise it to load this value";

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') <= 9;
}

static size_t digits_length(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && is_digit(text[i]))
        i++;
    return i;
}

/* What str.strip() takes off in ASCII. */
static inline bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f');
}

static inline void strip(const char **text, size_t *n)
{
    while (*n > 0 && is_space((*text)[*n - 1]))
        --*n;
    while (*n > 0 && is_space(**text)) {
        ++*text;
        --*n;
    }
}

/* --- integer --- */

/* Spaces around, a plus sign, more digits, or no integer at all. */
static const char *integer_slow(const char *text, size_t n, RowsWriter *rows)
{
    strip(&text, &n);
    bool negative = n > 0 && *text == '-';
    size_t sign = negative || (n > 0 && *text == '+');
    text += sign;
    n -= sign;
    if (n == 0 || digits_length(text, n) < n)
        return not_integer;
    uint64_t limit = (uint64_t)INT64_MAX + negative, number = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(text[i] - '0');
        if (number > (limit - digit) / 10)
            return integer_range;
        number = number * 10 + digit;
    }
    rows_put_integer(rows, (int64_t)(negative ? 0 - number : number));
    return NULL;
}

static inline const char *convert_integer(const char *text, size_t n, RowsWriter *rows)
{
    const char *at = text, *end = text + n;
    bool negative = n > 0 && *at == '-';
    at += negative;
    if (end - at < 1 || end - at > 18)
        return integer_slow(text, n, rows);
    int64_t number = 0;
    do {
        if (!is_digit(*at))
            return integer_slow(text, n, rows);
        number = number * 10 + (*at - '0');
    } while (++at < end);
    rows_put_integer(rows, negative ? -number : number);
    return NULL;
}

/* --- numbers with a fraction or an exponent --- */

typedef struct DecimalParts {
    bool negative;
    const char *whole, *fraction;
    size_t whole_length, fraction_length;
    int64_t exponent; /* as written; beyond ±DECIMAL_EXPONENT_MAX it is only known to be so */
} DecimalParts;

/* [+-] (digits [. [digits]] | . digits) [(e|E) [+-] digits] */
static bool decimal_split(const char *text, size_t n, DecimalParts *ret)
{
    DecimalParts parts = { 0 };
    const char *end = text + n;
    if (text < end && (*text == '-' || *text == '+'))
        parts.negative = *text++ == '-';
    parts.whole = text;
    parts.whole_length = digits_length(text, (size_t)(end - text));
    text += parts.whole_length;
    if (text < end && *text == '.') {
        parts.fraction = ++text;
        parts.fraction_length = digits_length(text, (size_t)(end - text));
        text += parts.fraction_length;
    }
    if (parts.whole_length + parts.fraction_length == 0)
        return false;
    if (text < end && (*text == 'e' || *text == 'E')) {
        text++;
        bool negative = text < end && *text == '-';
        if (text < end && (*text == '-' || *text == '+'))
            text++;
        size_t length = digits_length(text, (size_t)(end - text));
        if (length == 0)
            return false;
        for (size_t i = 0; i < length; i++)
            if (parts.exponent <= DECIMAL_EXPONENT_MAX)
                parts.exponent = parts.exponent * 10 + (text[i] - '0');
        if (negative)
            parts.exponent = -parts.exponent;
        text += length;
    }
    *ret = parts;
    return text == end;
}

static bool all_zeros(const char *digits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (digits[i] != '0')
            return false;
    return true;
}

static bool decimal_is_zero(const DecimalParts *parts)
{
    return all_zeros(parts->whole, parts->whole_length) && all_zeros(parts->fraction, parts->fraction_length);
}

/* Appends the number without an exponent. */
static void decimal_write(Buffer *to, const DecimalParts *parts)
{
    _cleanup_(buffer_clear) Buffer digits = { 0 };
    buffer_append(&digits, parts->whole, parts->whole_length);
    buffer_append(&digits, parts->fraction, parts->fraction_length);
    const uint8_t *from = buffer_bytes(&digits);
    int64_t length = (int64_t)buffer_length(&digits);
    int64_t point = (int64_t)parts->whole_length + parts->exponent; /* digits before the point */
    int64_t skip = 0;
    if (parts->exponent != 0)
        while (skip < MIN_OF(length, point) - 1 && from[skip] == '0')
            skip++;
    if (parts->negative)
        buffer_append(to, "-", 1);
    if (point <= 0)
        buffer_append(to, "0", 1);
    else
        buffer_append(to, from + skip, (size_t)(MIN_OF(point, length) - skip));
    for (int64_t i = length; i < point; i++)
        buffer_append(to, "0", 1);
    if (point >= length)
        return;
    buffer_append(to, ".", 1);
    for (int64_t i = point; i < 0; i++)
        buffer_append(to, "0", 1);
    buffer_append(to, from + MAX_OF(point, 0), (size_t)(length - MAX_OF(point, 0)));
}

static const char *convert_decimal(const char *text, size_t n, RowsWriter *rows)
{
    DecimalParts parts;
    strip(&text, &n);
    if (!decimal_split(text, n, &parts))
        return not_decimal;
    if (parts.exponent == 0 && *text != '+' && parts.whole_length > 0 &&
        (!parts.fraction || parts.fraction_length > 0) && is_digit(text[n - 1]) &&
        (size_t)(parts.negative + parts.whole_length + parts.fraction_length + (parts.fraction != NULL)) == n) {
        rows_put_text(rows, VALUE_DECIMAL, text, n);
        return NULL;
    }
    if (parts.exponent > DECIMAL_EXPONENT_MAX || parts.exponent < -DECIMAL_EXPONENT_MAX)
        return decimal_range;
    _cleanup_(buffer_clear) Buffer written = { 0 };
    decimal_write(&written, &parts);
    rows_put_text(rows, VALUE_DECIMAL, (const char *)buffer_bytes(&written), buffer_length(&written));
    return NULL;
}

static const char *convert_integral_number(const char *text, size_t n, RowsWriter *rows)
{
    DecimalParts parts;
    if (memchr(text, '.', n) == NULL && memchr(text, 'e', n) == NULL && memchr(text, 'E', n) == NULL)
        return convert_integer(text, n, rows);
    if (!decimal_split(text, n, &parts) || parts.exponent < -DECIMAL_EXPONENT_MAX)
        return not_integer;
    if (parts.exponent > DECIMAL_EXPONENT_MAX)
        return decimal_is_zero(&parts) ? not_integer : integer_range;
    _cleanup_(buffer_clear) Buffer written = { 0 };
    decimal_write(&written, &parts);
    const char *digits = (const char *)buffer_bytes(&written);
    size_t length = buffer_length(&written);
    const char *point = memchr(digits, '.', length);
    size_t whole = point ? (size_t)(point - digits) : length;
    if (point && !all_zeros(point + 1, length - whole - 1))
        return not_integer;
    return convert_integer(digits, whole, rows);
}

/* --- float --- */

static locale_t c_locale(void)
{
    static locale_t locale; /* made once, never changed, lives as long as the program */
    if (!locale)
        locale = newlocale(LC_ALL_MASK, "C", NULL);
    return locale;
}

static const char *float_slow(const char *text, size_t n, RowsWriter *rows)
{
    DecimalParts parts;
    strip(&text, &n);
    if (!decimal_split(text, n, &parts)) {
        size_t sign = n > 0 && (*text == '-' || *text == '+');
        bool named =
            (n - sign == 3 && (strncasecmp(text + sign, "nan", 3) == 0 || strncasecmp(text + sign, "inf", 3) == 0)) ||
            (n - sign == 8 && strncasecmp(text + sign, "infinity", 8) == 0);
        return named ? not_finite : not_number;
    }
    char small[128];
    _cleanup_(freep) char *large = n < sizeof(small) ? NULL : xmalloc(n + 1);
    char *copy = large ? large : small;
    memcpy(copy, text, n);
    copy[n] = '\0';
    double number = strtod_l(copy, NULL, c_locale());
    /* Python makes 0.0 of what is too small: that would be a value lost. */
    if (!isfinite(number) || (number == 0 && !decimal_is_zero(&parts)))
        return float_range;
    rows_put_float(rows, number);
    return NULL;
}

static const char *convert_float(const char *text, size_t n, RowsWriter *rows)
{
    static const double powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
    const char *at = text, *end = text + n;
    bool negative = n > 0 && *at == '-';
    at += negative;
    /* [-]digits[.digits] with at most 15 digits, or 16 and no point: then the conversion alone rounds. */
    if (end - at < 1 || end - at > 16 || !is_digit(*at) || !is_digit(end[-1]))
        return float_slow(text, n, rows);
    uint64_t number = 0;
    for (; at < end && is_digit(*at); at++)
        number = number * 10 + (uint64_t)(*at - '0');
    size_t fraction = 0;
    if (at < end && *at == '.') {
        fraction = (size_t)(end - ++at);
        for (; at < end && is_digit(*at); at++)
            number = number * 10 + (uint64_t)(*at - '0');
    }
    if (at < end)
        return float_slow(text, n, rows);
    assert(fraction < ELEMENTSOF(powers));
    double value = (double)number / powers[fraction];
    rows_put_float(rows, negative ? -value : value);
    return NULL;
}

/* The digits from the first to the last that is not 0, in front of an exponent. */
static size_t copy_significant(const char *text, size_t n, char *ret)
{
    size_t count = 0, last = 0;
    for (size_t i = 0; i < n && text[i] != 'e' && text[i] != 'E'; i++) {
        if (!is_digit(text[i]) || (count == 0 && text[i] == '0'))
            continue;
        ret[count++] = text[i];
        if (text[i] != '0')
            last = count;
    }
    return last;
}

bool convert_float_keeps(const char *text, size_t n)
{
    char given[128], again[64], digits[64];
    if (n >= sizeof(given))
        return false;
    size_t wanted = copy_significant(text, n, given);
    char copy[128];
    memcpy(copy, text, n);
    copy[n] = '\0';
    double number = strtod_l(copy, NULL, c_locale());
    for (int precision = DBL_DIG; precision <= DBL_DECIMAL_DIG; precision++) {
        size_t length = (size_t)snprintf(again, sizeof(again), "%.*g", precision, number);
        size_t found = copy_significant(again, length, digits);
        if (found == wanted && memcmp(digits, given, found) == 0)
            return true;
    }
    return false;
}

/* --- the others --- */

static const char *convert_boolean_text(const char *text, size_t n, RowsWriter *rows)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        { "true", true }, { "false", false }, { "1", true }, { "0", false }, { "yes", true }, { "no", false }
    };
    strip(&text, &n);
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (strlen(words[i].word) == n && strncasecmp(words[i].word, text, n) == 0) {
            rows_put_boolean(rows, words[i].value);
            return NULL;
        }
    return not_boolean;
}

static const char *convert_date(const char *text, size_t n, RowsWriter *rows)
{
    int32_t days;
    if (!date_parse(text, n, &days)) {
        bool shaped = n == 10 && text[4] == '-' && text[7] == '-' && digits_length(text, 4) == 4 &&
                      digits_length(text + 5, 2) == 2 && digits_length(text + 8, 2) == 2;
        return shaped ? no_such_date : not_date;
    }
    rows_put_date(rows, days);
    return NULL;
}

/* A timestamp, but for the digits of its second after the ninth. */
static bool is_too_fine(const char *text, size_t n)
{
    char plain[64];
    Timestamp timestamp;
    size_t kept = 0;
    while (kept < n && text[kept] != '.' && text[kept] != ',')
        kept++;
    size_t digits = kept < n ? digits_length(text + kept + 1, n - kept - 1) : 0;
    kept += 1 + 9;
    if (digits <= 9 || n - (digits - 9) > sizeof(plain))
        return false;
    size_t rest = n - kept - (digits - 9);
    memcpy(plain, text, kept);
    memcpy(plain + kept, text + n - rest, rest);
    return timestamp_parse(plain, kept + rest, &timestamp);
}

static const char *convert_timestamp(const char *text, size_t n, RowsWriter *rows)
{
    Timestamp timestamp;
    if (!timestamp_parse(text, n, &timestamp))
        return is_too_fine(text, n) ? too_fine : not_timestamp;
    rows_put_timestamp(rows, &timestamp);
    return NULL;
}

static const char *convert_binary(const char *text, size_t n, RowsWriter *rows)
{
    size_t length = 0;
    uint8_t *at = buffer_reserve(rows->buffer, 5 + n);
    if (!base64_decode(text, n, at + 5, &length))
        return not_base64;
    uint32_t written = (uint32_t)length;
    *at = VALUE_BINARY;
    memcpy(at + 1, &written, sizeof(written));
    buffer_added(rows->buffer, 5 + length);
    return NULL;
}

/* --- by type --- */

static const char *put_checked(const Converter *converter, ValueTag tag, const char *text, size_t n, RowsWriter *rows)
{
    if (n > converter->max_value_size)
        return too_long;
    rows_put_text(rows, tag, text, n);
    return NULL;
}

static const char *convert_json(const Converter *converter, const char *text, size_t n, RowsWriter *rows)
{
    if (n > converter->max_value_size)
        return too_long;
    const char *why = json_validate(converter->json, text, n);
    return why ? why : put_checked(converter, VALUE_JSON, text, n, rows);
}

const char *convert_text_typed(const Converter *converter, ColumnType type, const char *text, size_t n,
                               RowsWriter *rows)
{
    switch (type) {
    case COLUMN_STRING:
        return put_checked(converter, VALUE_STRING, text, n, rows);
    case COLUMN_INTEGER:
        return convert_integer(text, n, rows);
    case COLUMN_FLOAT:
        return convert_float(text, n, rows);
    case COLUMN_BOOLEAN:
        return convert_boolean_text(text, n, rows);
    case COLUMN_DATE:
        return convert_date(text, n, rows);
    case COLUMN_TIMESTAMP:
        return convert_timestamp(text, n, rows);
    case COLUMN_DECIMAL:
        return n > converter->max_value_size ? too_long : convert_decimal(text, n, rows);
    case COLUMN_JSON:
        return convert_json(converter, text, n, rows);
    case COLUMN_BINARY:
        return n / 4 * 3 > converter->max_value_size ? too_long : convert_binary(text, n, rows);
    default:
        return "of a column type that files cannot fill";
    }
}

const char *convert_number(const Converter *converter, ColumnType type, const char *text, size_t n, RowsWriter *rows)
{
    if (type == COLUMN_INTEGER)
        return convert_integral_number(text, n, rows);
    if (type == COLUMN_JSON)
        return put_checked(converter, VALUE_JSON, text, n, rows);
    if (type == COLUMN_BINARY)
        return not_base64;
    return convert_text(converter, type, text, n, rows);
}

const char *convert_boolean(ColumnType type, bool value, RowsWriter *rows)
{
    const char *text = value ? "true" : "false";
    switch (type) {
    case COLUMN_BOOLEAN:
        rows_put_boolean(rows, value);
        return NULL;
    case COLUMN_JSON:
        rows_put_text(rows, VALUE_JSON, text, strlen(text));
        return NULL;
    case COLUMN_STRING:
        rows_put_text(rows, VALUE_STRING, text, strlen(text));
        return NULL;
    default:
        return "a boolean, which this column's type cannot hold";
    }
}
