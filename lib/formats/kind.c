/*
 * The lattice of column kinds. The order within a family (whole numbers, floats, dates) is a rank; whatever crosses
 * families is STRING, but for whole numbers that meet decimals or floats.
 */
#include "lib/formats/kind.h"

#include <stdio.h>
#include <strings.h>

static const struct {
    const char *name;
    ColumnType type;
} names[] = {
    { "BOOLEAN", COLUMN_BOOLEAN },
    { "SHORT", COLUMN_SHORT },
    { "INT", COLUMN_INT },
    { "LONG", COLUMN_INTEGER },
    { "DECIMAL", COLUMN_DECIMAL },
    { "FLOAT", COLUMN_REAL },
    { "DOUBLE", COLUMN_FLOAT },
    { "NAIVE_DATE", COLUMN_DATE },
    { "NAIVE_DATETIME", COLUMN_DATETIME },
    { "UTC_DATETIME", COLUMN_INSTANT },
    { "BINARY", COLUMN_BINARY },
    { "STRING", COLUMN_STRING },
    { "JSON", COLUMN_JSON },
    { "XML", COLUMN_STRING },
    { "TIMESTAMP", COLUMN_TIMESTAMP },
};

const char *kind_name(Kind kind, char ret[static KIND_NAME_MAX])
{
    const char *name = "unknown";
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (names[i].type == kind.type) {
            name = names[i].name;
            break;
        }
    if (kind.type == COLUMN_DECIMAL && kind.precision > 0)
        snprintf(ret, KIND_NAME_MAX, "%s(%u,%u)", name, kind.precision, kind.scale);
    else
        snprintf(ret, KIND_NAME_MAX, "%s", name);
    return ret;
}

bool kind_from_name(const char *name, Kind *ret)
{
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (names[i].type != COLUMN_TIMESTAMP && strcasecmp(names[i].name, name) == 0) {
            *ret = (Kind){ .type = names[i].type };
            return true;
        }
    return false;
}

static unsigned whole_digits(ColumnType type)
{
    return type == COLUMN_SHORT ? 5 : type == COLUMN_INT ? 10 : 19;
}

/* A whole number's kind as the decimal that holds all of it. */
static Kind as_decimal(Kind kind)
{
    if (kind.type == COLUMN_DECIMAL)
        return kind;
    return (Kind){ .type = COLUMN_DECIMAL, .precision = (uint8_t)whole_digits(kind.type) };
}

static Kind join_decimals(Kind a, Kind b)
{
    if (a.precision == 0 || b.precision == 0)
        return (Kind){ .type = COLUMN_DECIMAL };
    int whole = MAX_OF(a.precision - a.scale, b.precision - b.scale), scale = MAX_OF(a.scale, b.scale);
    if (whole + scale > DECIMAL_DIGITS_MAX)
        return (Kind){ .type = COLUMN_DECIMAL };
    return (Kind){ .type = COLUMN_DECIMAL, .precision = (uint8_t)(whole + scale), .scale = (uint8_t)scale };
}

static bool kind_is_float(Kind kind)
{
    return kind.type == COLUMN_REAL || kind.type == COLUMN_FLOAT;
}

static Kind join_wholes(Kind a, Kind b)
{
    return whole_digits(a.type) >= whole_digits(b.type) ? a : b;
}

static bool kind_is_day(Kind kind)
{
    return kind.type == COLUMN_DATE || kind.type == COLUMN_DATETIME;
}

Kind kind_join(Kind a, Kind b)
{
    if (a.type == 0 || kind_equal(a, b))
        return b;
    if (b.type == 0)
        return a;
    bool a_exact = kind_is_whole(a) || a.type == COLUMN_DECIMAL, b_exact = kind_is_whole(b) || b.type == COLUMN_DECIMAL;
    if (kind_is_whole(a) && kind_is_whole(b))
        return join_wholes(a, b);
    if (a_exact && b_exact)
        return join_decimals(as_decimal(a), as_decimal(b));
    if ((kind_is_float(a) || kind_is_whole(a)) && (kind_is_float(b) || kind_is_whole(b)))
        return (Kind){ .type = COLUMN_FLOAT };
    if (kind_is_day(a) && kind_is_day(b))
        return (Kind){ .type = COLUMN_DATETIME };
    return (Kind){ .type = COLUMN_STRING };
}

/* The digits of a decimal's text before the point (without leading zeros) and after it (without trailing ones). */
static void count_digits(const char *text, size_t n, unsigned *ret_whole, unsigned *ret_scale)
{
    const char *end = text + n;
    if (text < end && (*text == '-' || *text == '+'))
        text++;
    while (text < end && *text == '0')
        text++;
    const char *point = memchr(text, '.', (size_t)(end - text));
    *ret_whole = (unsigned)((point ? point : end) - text);
    if (point)
        while (end > point + 1 && end[-1] == '0')
            end--;
    *ret_scale = point ? (unsigned)(end - point - 1) : 0;
}

static Kind kind_of_decimal(const Value *value)
{
    unsigned whole, scale;
    count_digits(value->text.data, value->text.length, &whole, &scale);
    if (whole + scale > DECIMAL_DIGITS_MAX)
        return (Kind){ .type = COLUMN_DECIMAL };
    return (Kind){ .type = COLUMN_DECIMAL, .precision = (uint8_t)MAX_OF(whole + scale, 1u), .scale = (uint8_t)scale };
}

Kind kind_of_value(const Value *value)
{
    static const ColumnType types[_VALUE_TAG_MAX] = {
        [VALUE_FALSE] = COLUMN_BOOLEAN, [VALUE_TRUE] = COLUMN_BOOLEAN,  [VALUE_INTEGER] = COLUMN_INTEGER,
        [VALUE_FLOAT] = COLUMN_FLOAT,   [VALUE_DATE] = COLUMN_DATE,     [VALUE_STRING] = COLUMN_STRING,
        [VALUE_JSON] = COLUMN_JSON,     [VALUE_BINARY] = COLUMN_BINARY,
    };
    if (value->tag == VALUE_DECIMAL)
        return kind_of_decimal(value);
    if (value->tag == VALUE_TIMESTAMP)
        return (Kind){ .type = value->timestamp.offset == TIMESTAMP_NAIVE ? COLUMN_DATETIME : COLUMN_INSTANT };
    return (Kind){ .type = types[value->tag] };
}

static bool decimal_fits(Kind kind, const Value *value)
{
    if (kind.precision == 0)
        return true;
    unsigned whole, scale;
    count_digits(value->text.data, value->text.length, &whole, &scale);
    return scale <= kind.scale && whole <= (unsigned)(kind.precision - kind.scale);
}

/* 10 to the number of digits before the point; 0: any 64-bit integer fits. */
static bool integer_fits_decimal(Kind kind, int64_t integer)
{
    unsigned whole = (unsigned)(kind.precision - kind.scale);
    if (kind.precision == 0 || whole >= 19)
        return true;
    int64_t bound = 1;
    for (unsigned i = 0; i < whole; i++)
        bound *= 10;
    return integer > -bound && integer < bound;
}

static bool integer_fits(Kind kind, int64_t integer)
{
    switch (kind.type) {
    case COLUMN_SHORT:
        return integer >= INT16_MIN && integer <= INT16_MAX;
    case COLUMN_INT:
        return integer >= INT32_MIN && integer <= INT32_MAX;
    case COLUMN_INTEGER:
        return true;
    case COLUMN_DECIMAL:
        return integer_fits_decimal(kind, integer);
    case COLUMN_REAL:
        return integer >= -(1 << 24) && integer <= 1 << 24;
    case COLUMN_FLOAT:
        return integer_is_exact(integer);
    default:
        return false;
    }
}

/* The single nearest to the double has the same shortest decimal text: what a FLOAT column holds loses nothing. */
static bool float_is_single(double number)
{
    char text[32];
    double nearest = (double)(float)number;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, nearest);
        if (strtof(text, NULL) == (float)number)
            return strtod(text, NULL) == number;
    }
    return false;
}

bool kind_holds(Kind kind, const Value *value)
{
    if (value->tag == VALUE_NULL || value->tag == VALUE_ABSENT || kind.type == COLUMN_STRING)
        return true;
    switch (value->tag) {
    case VALUE_INTEGER:
        return integer_fits(kind, value->integer);
    case VALUE_FLOAT:
        return kind.type == COLUMN_FLOAT || (kind.type == COLUMN_REAL && float_is_single(value->number));
    case VALUE_DECIMAL:
        return kind.type == COLUMN_DECIMAL && decimal_fits(kind, value);
    case VALUE_DATE:
        return kind.type == COLUMN_DATE || kind.type == COLUMN_DATETIME;
    case VALUE_TIMESTAMP:
        return kind.type == COLUMN_TIMESTAMP ||
               kind.type == (value->timestamp.offset == TIMESTAMP_NAIVE ? COLUMN_DATETIME : COLUMN_INSTANT);
    default:
        return column_type_accepts(kind.type, value->tag);
    }
}
