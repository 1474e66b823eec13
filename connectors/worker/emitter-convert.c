/*
 * What Fivetran's SDK does to a value on its way into a declared column, with its own measures: its two encodings
 * accept different things, so that here both are accepted. Where it would lose digits without a word, nothing is lost:
 * a number too large for the column is sent as it is, and the writer widens the column. The one exception is a column
 * declared FLOAT, whose values are singles: each travels as the double that is nearest to the single's shortest text,
 * so that 0.1 is 0.1 everywhere.
 *
 * Dates and times as text are what Python's strptime() takes: "%Y-%m-%d", then T or a space, "%H:%M:%S", up to six
 * digits of a fraction, and a zone exactly where the column has one.
 */
#include "connectors/worker/emitter-convert.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

#include "lib/basics/base64.h"
#include "lib/formats/json-text.h"

#define DECIMAL_EXPONENT_MAX 10000 /* 1e10000 is written out as so many digits */
#define NUMBER_TEXT_MAX 400        /* of a number that is read as a float */
#define SECONDS_PER_DAY 86400

/* --- errors --- */

/* The value, for the message. */
static void show_value(const Value *value, Error *error)
{
    char text[32];
    switch (value->tag) {
    case VALUE_INTEGER:
        error_at_value(error, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)value->integer));
        break;
    case VALUE_FLOAT:
        error_at_value(error, text, (size_t)snprintf(text, sizeof(text), "%.17g", value->number));
        break;
    case VALUE_FALSE:
    case VALUE_TRUE:
        error_at_value(error, value->tag == VALUE_TRUE ? "true" : "false", value->tag == VALUE_TRUE ? 4 : 5);
        break;
    case VALUE_STRING:
    case VALUE_DECIMAL:
    case VALUE_JSON:
        error_at_value(error, value->text.data, value->text.length);
        break;
    default:
        break;
    }
}

static int refuse(Conversion *conversion, EmitterFault fault, const Value *value, const char *message, Error *error)
{
    conversion->fault = fault;
    error_set(error, ERROR_DATA, "%s", message);
    show_value(value, error);
    return -1;
}

static int wrong_type(Conversion *conversion, const Value *value, const char *message, Error *error)
{
    return refuse(conversion, EMITTER_FAULT_TYPE, value, message, error);
}

static int wrong_value(Conversion *conversion, const Value *value, const char *message, Error *error)
{
    return refuse(conversion, EMITTER_FAULT_VALUE, value, message, error);
}

/* --- numbers as text --- */

/* TEXT without the white space around it. */
static void trim(const char **text, size_t *n)
{
    while (*n > 0 && isspace((unsigned char)**text))
        (*text)++, (*n)--;
    while (*n > 0 && isspace((unsigned char)(*text)[*n - 1]))
        (*n)--;
}

enum { NUMBER_GOOD, NUMBER_BAD, NUMBER_LARGE };

/* As Python's int() reads it: a sign, digits, single underscores between them. */
static int parse_integer(const char *text, size_t n, int64_t *ret)
{
    trim(&text, &n);
    bool minus = n > 0 && *text == '-', sign = n > 0 && (*text == '-' || *text == '+');
    int64_t value = 0;
    bool large = false, digit = false;
    for (size_t i = sign; i < n; i++) {
        if (text[i] == '_' && digit && i + 1 < n) {
            digit = false;
            continue;
        }
        if (!isdigit((unsigned char)text[i]))
            return NUMBER_BAD;
        digit = true;
        int by = minus ? '0' - text[i] : text[i] - '0';
        large |= __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, by, &value);
    }
    *ret = value;
    return !digit ? NUMBER_BAD : large ? NUMBER_LARGE : NUMBER_GOOD;
}

typedef struct DecimalParts {
    bool minus;
    const char *digits; /* with one point among them, or none */
    size_t count;
    long exponent;
} DecimalParts;

static bool split_decimal(const char *text, size_t n, DecimalParts *ret)
{
    trim(&text, &n);
    *ret = (DecimalParts){ .minus = n > 0 && *text == '-' };
    if (n > 0 && (*text == '-' || *text == '+'))
        text++, n--;
    ret->digits = text;
    size_t points = 0;
    while (ret->count < n && (isdigit((unsigned char)text[ret->count]) || text[ret->count] == '.'))
        points += text[ret->count++] == '.';
    if (points > 1 || ret->count == points)
        return false;
    if (ret->count == n)
        return true;
    if (text[ret->count] != 'e' && text[ret->count] != 'E')
        return false;
    int64_t exponent;
    const char *rest = text + ret->count + 1;
    size_t left = n - ret->count - 1;
    if (left == 0 || isspace((unsigned char)*rest) || memchr(rest, '_', left))
        return false;
    int r = parse_integer(rest, left, &exponent);
    if (r == NUMBER_BAD)
        return false;
    ret->exponent = r == NUMBER_LARGE ? DECIMAL_EXPONENT_MAX + 1 : (long)exponent;
    return true;
}

static void put_zeros(Buffer *text, size_t n)
{
    if (n > 0)
        memset(buffer_reserve(text, n), '0', n);
    buffer_added(text, n);
}

/* The digits with the point moved by the exponent: [-]digits[.digits]. */
static void put_decimal(Buffer *text, const DecimalParts *parts)
{
    const char *point = memchr(parts->digits, '.', parts->count);
    size_t whole = point ? (size_t)(point - parts->digits) : parts->count;
    _cleanup_(buffer_clear) Buffer digits = { 0 };
    buffer_append(&digits, parts->digits, whole);
    if (point)
        buffer_append(&digits, point + 1, parts->count - whole - 1);
    long place = (long)whole + parts->exponent; /* of the point among the digits */
    const char *all = (const char *)buffer_bytes(&digits);
    size_t count = buffer_length(&digits);
    if (parts->minus)
        buffer_append_string(text, "-");
    if (place <= 0) {
        buffer_append_string(text, "0.");
        put_zeros(text, (size_t)-place);
        buffer_append(text, all, count);
    } else if ((size_t)place >= count) {
        buffer_append(text, all, count);
        put_zeros(text, (size_t)place - count);
    } else {
        buffer_append(text, all, (size_t)place);
        buffer_append_string(text, ".");
        buffer_append(text, all + place, count - (size_t)place);
    }
}

static Value text_value(Conversion *conversion, ValueTag tag)
{
    return (
        Value){ .tag = tag,
                .text = { (const char *)buffer_bytes(&conversion->text), (uint32_t)buffer_length(&conversion->text) } };
}

/* --- one kind after the other --- */

static int to_boolean(Conversion *conversion, const Value *value, Value *ret, Error *error)
{
    bool truth;
    if (value->tag == VALUE_INTEGER)
        truth = value->integer != 0;
    else if (value->tag == VALUE_FLOAT)
        truth = value->number != 0;
    else if (value->tag == VALUE_STRING && value->text.length == 1 && (*value->text.data | 1) == '1')
        truth = *value->text.data == '1';
    else
        return wrong_type(conversion, value, "a BOOLEAN is true, false, a number, or the text 0 or 1", error);
    *ret = (Value){ .tag = truth ? VALUE_TRUE : VALUE_FALSE };
    return 0;
}

static int whole_number(Conversion *conversion, const Value *value, int64_t *ret, Error *error)
{
    static const char beyond[] = "the number is beyond 64 bits";
    switch (value->tag) {
    case VALUE_INTEGER:
        *ret = value->integer;
        return 0;
    case VALUE_FALSE:
    case VALUE_TRUE:
        *ret = value->tag == VALUE_TRUE;
        return 0;
    case VALUE_FLOAT:
        if (!(value->number >= -0x1p63 && value->number < 0x1p63))
            return wrong_value(conversion, value, beyond, error);
        if (value->number != (double)(int64_t)value->number)
            return wrong_value(conversion, value, "the number has a fraction, which a whole number has not", error);
        *ret = (int64_t)value->number;
        return 0;
    case VALUE_DECIMAL:
    case VALUE_STRING: {
        int r = parse_integer(value->text.data, value->text.length, ret);
        if (r == NUMBER_BAD)
            return wrong_value(conversion, value, "this is not a whole number", error);
        return r == NUMBER_LARGE ? wrong_value(conversion, value, beyond, error) : 0;
    }
    default:
        return wrong_type(conversion, value, "a whole number is needed here", error);
    }
}

static int to_whole(Conversion *conversion, Kind kind, const Value *value, Value *ret, Error *error)
{
    int64_t integer;
    if (whole_number(conversion, value, &integer, error) < 0)
        return -1;
    if (kind.type != COLUMN_INTEGER && (integer < INT32_MIN || integer > INT32_MAX))
        return wrong_value(conversion, value, "the number is beyond 32 bits; declare the column LONG", error);
    if (kind.type == COLUMN_SHORT && (integer < INT16_MIN || integer > INT16_MAX))
        conversion->notes |= CONVERSION_WIDENS;
    *ret = (Value){ .tag = VALUE_INTEGER, .integer = integer };
    return 0;
}

static int to_decimal(Conversion *conversion, const EmitterField *field, Value *ret, Error *error)
{
    const Value *value = &field->value;
    DecimalParts parts;
    if (value->tag == VALUE_INTEGER || value->tag == VALUE_DECIMAL) {
        *ret = *value;
        return 0;
    }
    FrameText text = value->tag == VALUE_FLOAT ? field->exact : (FrameText){ value->text.data, value->text.length };
    if ((value->tag != VALUE_FLOAT && value->tag != VALUE_STRING) || text.length == 0)
        return wrong_type(conversion, value, "a DECIMAL is text of digits, or a whole number", error);
    if (!split_decimal(text.data, text.length, &parts))
        return wrong_value(conversion, value, "this is not a decimal number", error);
    if (labs(parts.exponent) > DECIMAL_EXPONENT_MAX)
        return wrong_value(conversion, value, "the number's exponent is too large", error);
    put_decimal(&conversion->text, &parts);
    *ret = text_value(conversion, VALUE_DECIMAL);
    return 0;
}

/* As Python's float() reads it, NaN and infinities too. */
static bool parse_float(const char *text, size_t n, double *ret)
{
    trim(&text, &n);
    if (n == 0 || n >= NUMBER_TEXT_MAX)
        return false;
    char number[NUMBER_TEXT_MAX], *end;
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '_' && i > 0 && i + 1 < n && isdigit((unsigned char)text[i - 1]) &&
            isdigit((unsigned char)text[i + 1]))
            continue;
        if (!isdigit((unsigned char)text[i]) && !strchr("+-.eEinfatyINFATY", text[i]))
            return false; /* strtod() would take hexadecimal */
        number[length++] = text[i];
    }
    number[length] = '\0';
    *ret = strtod(number, &end);
    return *end == '\0';
}

/* The double nearest to the shortest text of the single nearest to NUMBER. */
static double as_single(double number)
{
    char text[32];
    float single = (float)number;
    if ((double)single == number)
        return number;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)single);
        if (strtof(text, NULL) == single)
            break;
    }
    return strtod(text, NULL);
}

static int too_large(Conversion *conversion, const Value *value, Error *error)
{
    return wrong_value(conversion, value, "the number is too large for a float; declare the column DECIMAL", error);
}

int conversion_natural(Conversion *conversion, const EmitterField *field, Value *ret, Error *error)
{
    *ret = field->value;
    if (field->value.tag != VALUE_FLOAT || isfinite(field->value.number))
        return 0;
    if (field->exact.length > 0)
        return too_large(conversion,
                         &(Value){ .tag = VALUE_DECIMAL, .text = { field->exact.data, field->exact.length } }, error);
    conversion->notes |= CONVERSION_NOT_FINITE;
    *ret = (Value){ .tag = VALUE_NULL };
    return 0;
}

/* What is infinite without a digit says so itself. */
static bool has_digit(const Value *value)
{
    for (uint32_t i = 0; i < value->text.length; i++)
        if (isdigit((unsigned char)value->text.data[i]))
            return true;
    return false;
}

static int to_float(Conversion *conversion, Kind kind, const EmitterField *field, Value *ret, Error *error)
{
    const Value *value = &field->value;
    double number;
    bool text = value->tag == VALUE_STRING || value->tag == VALUE_DECIMAL;
    if (value->tag == VALUE_INTEGER && kind.type == COLUMN_FLOAT) {
        *ret = *value; /* the writer knows whether all of them are exact */
        return 0;
    }
    if (value->tag == VALUE_INTEGER)
        number = (double)value->integer;
    else if (value->tag == VALUE_FLOAT)
        number = value->number;
    else if (value->tag == VALUE_FALSE || value->tag == VALUE_TRUE)
        number = value->tag == VALUE_TRUE;
    else if (!text)
        return wrong_type(conversion, value, "a number is needed here", error);
    else if (!parse_float(value->text.data, value->text.length, &number))
        return wrong_value(conversion, value, "this is not a number", error);
    if (text && isinf(number) && has_digit(value))
        return too_large(conversion, value, error);
    EmitterField found = { .value = { .tag = VALUE_FLOAT, .number = number }, .exact = field->exact };
    if (kind.type == COLUMN_REAL && isfinite(number)) {
        if (isinf((float)number))
            conversion->notes |= CONVERSION_WIDENS;
        else
            found.value.number = as_single(number);
    }
    return conversion_natural(conversion, &found, ret, error);
}

static int to_binary(Conversion *conversion, const Value *value, Value *ret, Error *error)
{
    size_t n = value->text.length, length;
    if (value->tag != VALUE_STRING || !conversion->base64)
        return wrong_type(conversion, value, "a BINARY takes bytes", error);
    uint8_t *bytes = buffer_reserve(&conversion->text, n / 4 * 3 + 1);
    if (!base64_decode(value->text.data, n, bytes, &length))
        return wrong_value(conversion, value, "the value of a BINARY is base64, which this is not", error);
    buffer_added(&conversion->text, length);
    *ret = text_value(conversion, VALUE_BINARY);
    return 0;
}

static int to_json(Conversion *conversion, const Value *value, Value *ret, Error *error)
{
    char number[32];
    switch (value->tag) {
    case VALUE_FALSE:
    case VALUE_TRUE:
        buffer_append_string(&conversion->text, value->tag == VALUE_TRUE ? "true" : "false");
        break;
    case VALUE_INTEGER:
        buffer_printf(&conversion->text, "%lld", (long long)value->integer);
        break;
    case VALUE_FLOAT:
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(number, sizeof(number), "%.*g", digits, value->number);
            if (strtod(number, NULL) == value->number)
                break;
        }
        buffer_append_string(&conversion->text, number);
        break;
    case VALUE_DECIMAL:
        buffer_append(&conversion->text, value->text.data, value->text.length);
        break;
    case VALUE_STRING:
        json_put_string(&conversion->text, value->text.data, value->text.length);
        break;
    default:
        return wrong_type(conversion, value, "JSON holds no bytes, dates and times; send them as text", error);
    }
    *ret = text_value(conversion, VALUE_JSON);
    return 0;
}

/* --- dates and times --- */

typedef struct Text {
    const char *at, *end;
} Text;

/* From MINIMUM to MAXIMUM digits into *TO, with a zero in front where there was one of two. */
static bool take_digits(Text *text, unsigned minimum, unsigned maximum, char **to)
{
    unsigned n = 0;
    while (n < maximum && text->at + n < text->end && isdigit((unsigned char)text->at[n]))
        n++;
    if (n < minimum)
        return false;
    if (maximum == 2 && n == 1)
        *(*to)++ = '0';
    memcpy(*to, text->at, n);
    *to += n;
    text->at += n;
    return true;
}

static bool take_character(Text *text, const char *characters, char **to)
{
    if (text->at == text->end || !*text->at || !strchr(characters, *text->at))
        return false;
    *(*to)++ = *text->at++;
    return true;
}

static bool take_date(Text *text, char **to)
{
    return take_digits(text, 4, 4, to) && take_character(text, "-", to) && take_digits(text, 1, 2, to) &&
           take_character(text, "-", to) && take_digits(text, 1, 2, to);
}

static bool take_zone(Text *text, char **to)
{
    if (take_character(text, "Z", to))
        return true;
    if (!take_character(text, "+-", to) || !take_digits(text, 2, 2, to))
        return false;
    char colon[1], *skipped = colon;
    take_character(text, ":", &skipped);
    *(*to)++ = ':';
    return take_digits(text, 2, 2, to);
}

static bool parse_date(const Value *value, int32_t *ret)
{
    Text text = { value->text.data, value->text.data + value->text.length };
    char plain[32], *to = plain;
    return take_date(&text, &to) && text.at == text.end && date_parse(plain, (size_t)(to - plain), ret);
}

/* RET_TOO_FINE: what is wrong with it are the digits of its second. */
static bool parse_timestamp(const Value *value, bool zone, Timestamp *ret, bool *ret_too_fine)
{
    Text text = { value->text.data, value->text.data + value->text.length };
    char plain[48], *to = plain;
    if (!take_date(&text, &to) || !take_character(&text, "T ", &to) || !take_digits(&text, 1, 2, &to) ||
        !take_character(&text, ":", &to) || !take_digits(&text, 1, 2, &to) || !take_character(&text, ":", &to) ||
        !take_digits(&text, 1, 2, &to))
        return false;
    if (take_character(&text, ".", &to)) {
        if (!take_digits(&text, 1, 6, &to))
            return false;
        *ret_too_fine = text.at < text.end && isdigit((unsigned char)*text.at);
    }
    if (zone && !take_zone(&text, &to))
        return false;
    return text.at == text.end && timestamp_parse(plain, (size_t)(to - plain), ret);
}

static int32_t local_day(const Timestamp *timestamp)
{
    int64_t seconds = timestamp->seconds;
    if (timestamp->offset != TIMESTAMP_NAIVE)
        seconds += (int64_t)timestamp->offset * 60;
    int64_t days = seconds / SECONDS_PER_DAY;
    return (int32_t)(days - (seconds % SECONDS_PER_DAY < 0));
}

static int to_date(Conversion *conversion, const Value *value, Value *ret, Error *error)
{
    *ret = (Value){ .tag = VALUE_DATE };
    if (value->tag == VALUE_TIMESTAMP)
        ret->days = local_day(&value->timestamp);
    else if (value->tag != VALUE_STRING)
        return wrong_type(conversion, value, "a NAIVE_DATE is a date, or text such as 2024-02-29", error);
    else if (!parse_date(value, &ret->days))
        return wrong_value(conversion, value, "this is not a date such as 2024-02-29", error);
    return 0;
}

static int to_timestamp(Conversion *conversion, bool zone, const Value *value, Value *ret, Error *error)
{
    const char *expected = zone ? "this is not a time with its zone, such as 2024-02-29T12:30:00Z"
                                : "this is not a time without a zone, such as 2024-02-29T12:30:00";
    int16_t offset = zone ? 0 : TIMESTAMP_NAIVE;
    bool too_fine = false;
    *ret = (Value){ .tag = VALUE_TIMESTAMP };
    if (value->tag == VALUE_DATE) {
        ret->timestamp = (Timestamp){ .seconds = (int64_t)value->days * SECONDS_PER_DAY, .offset = offset };
    } else if (value->tag == VALUE_TIMESTAMP) {
        ret->timestamp = value->timestamp;
        if (!zone || value->timestamp.offset == TIMESTAMP_NAIVE)
            ret->timestamp.offset = offset;
    } else if (value->tag != VALUE_STRING) {
        return wrong_type(conversion, value, expected, error);
    } else if (!parse_timestamp(value, zone, &ret->timestamp, &too_fine)) {
        return wrong_value(
            conversion, value,
            too_fine ? "this time has more than 6 digits of a second, which are all that is kept; a STRING holds it"
                     : expected,
            error);
    }
    return 0;
}

int conversion_apply(Conversion *conversion, Kind kind, const EmitterField *field, Value *ret, Error *error)
{
    const Value *value = &field->value;
    buffer_reset(&conversion->text);
    if (value->tag == VALUE_NULL || value->tag == VALUE_ABSENT || kind.type == COLUMN_STRING ||
        (kind.type != COLUMN_REAL && column_type_accepts(kind.type, value->tag) && kind_holds(kind, value)))
        return conversion_natural(conversion, field, ret, error);
    switch (kind.type) {
    case COLUMN_BOOLEAN:
        return to_boolean(conversion, value, ret, error);
    case COLUMN_SHORT:
    case COLUMN_INT:
    case COLUMN_INTEGER:
        return to_whole(conversion, kind, value, ret, error);
    case COLUMN_DECIMAL:
        return to_decimal(conversion, field, ret, error);
    case COLUMN_REAL:
    case COLUMN_FLOAT:
        return to_float(conversion, kind, field, ret, error);
    case COLUMN_DATE:
        return to_date(conversion, value, ret, error);
    case COLUMN_DATETIME:
    case COLUMN_TIMESTAMP:
        return to_timestamp(conversion, false, value, ret, error);
    case COLUMN_INSTANT:
        return to_timestamp(conversion, true, value, ret, error);
    case COLUMN_BINARY:
        return to_binary(conversion, value, ret, error);
    case COLUMN_JSON:
        return to_json(conversion, value, ret, error);
    default:
        *ret = *value;
        return 0;
    }
}
