/*
 * What cannot be kept to the last digit is refused with a reason, never rounded: PostgreSQL itself would round a
 * numeric to its column's scale, and has no nanoseconds. The epoch is 2000-01-01; a numeric is digits in base 10000,
 * aligned to the decimal point.
 */
#include "connectors/destinations/postgres/encode.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define EPOCH_DAYS 10957 /* from 1970-01-01 to 2000-01-01 */
#define EPOCH_SECONDS (INT64_C(86400) * EPOCH_DAYS)
/* src/include/datatype/timestamp.h */
#define MICROSECONDS_MIN INT64_C(-211813488000000000) /* 4714-11-24 BC */
#define MICROSECONDS_END INT64_C(9223371331200000000) /* 294277-01-01 */
#define DAYS_MIN (-2451545)                           /* 4714-11-24 BC */
#define NUMERIC_WHOLE_MAX 131072                      /* digits before the point */
#define NUMERIC_SCALE_MAX 16383                       /* and after it */
#define NUMERIC_NEGATIVE 0x4000
#define JSONB_VERSION 1

const uint8_t encode_header[19] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* flags, length of its extension */

static inline void put_int64(Buffer *buffer, int64_t value)
{
    uint64_t big = __builtin_bswap64((uint64_t)value);
    uint8_t *at = buffer_reserve(buffer, 12);
    const uint32_t length = __builtin_bswap32(8);
    memcpy(at, &length, 4);
    memcpy(at + 4, &big, 8);
    buffer_added(buffer, 12);
}

static inline void put_int32(Buffer *buffer, int32_t value)
{
    encode_int32(buffer, 4);
    encode_int32(buffer, value);
}

static const char *put_integer(Buffer *buffer, PgType type, int64_t value)
{
    switch (type) {
    case PG_INT2:
        if (value < INT16_MIN || value > INT16_MAX)
            return "does not fit into a smallint";
        encode_int32(buffer, 2);
        encode_int16(buffer, (int16_t)value);
        return NULL;
    case PG_INT4:
        if (value < INT32_MIN || value > INT32_MAX)
            return "does not fit into an integer, which has 32 bits there; make the column a bigint";
        put_int32(buffer, (int32_t)value);
        return NULL;
    default:
        put_int64(buffer, value);
        return NULL;
    }
}

static const char *put_float(Buffer *buffer, PgType type, double value)
{
    if (type == PG_FLOAT8) {
        int64_t bits;
        memcpy(&bits, &value, 8);
        put_int64(buffer, bits);
        return NULL;
    }
    float single = (float)value;
    if (isinf(single) && !isinf(value))
        return "does not fit into a real";
    int32_t bits;
    memcpy(&bits, &single, 4);
    put_int32(buffer, bits);
    return NULL;
}

/* --- decimals --- */

typedef struct Decimal {
    bool negative;
    const char *whole; /* without leading zeros */
    size_t whole_count;
    const char *fraction; /* as written */
    size_t fraction_count;
    size_t significant; /* digits of the fraction without trailing zeros */
} Decimal;

static Decimal take_apart(const char *text, size_t n)
{
    Decimal decimal = { 0 };
    const char *end = text + n;
    decimal.negative = text < end && *text == '-';
    text += decimal.negative;
    while (text < end && *text == '0')
        text++;
    const char *point = memchr(text, '.', (size_t)(end - text));
    decimal.whole = text;
    decimal.whole_count = (size_t)((point ? point : end) - text);
    decimal.fraction = point ? point + 1 : end;
    decimal.fraction_count = (size_t)(end - decimal.fraction);
    decimal.significant = decimal.fraction_count;
    while (decimal.significant > 0 && decimal.fraction[decimal.significant - 1] == '0')
        decimal.significant--;
    return decimal;
}

static const char *refuse_decimal(const PgColumn *column, const Decimal *decimal)
{
    if (decimal->whole_count > NUMERIC_WHOLE_MAX)
        return "has more than 131072 digits before the point, which no numeric holds";
    if (decimal->significant > NUMERIC_SCALE_MAX)
        return "has more than 16383 digits after the point, which no numeric holds";
    if (!column->sized)
        return NULL;
    if (decimal->significant > column->scale)
        return "has more digits after the point than its column keeps";
    if (decimal->whole_count + column->scale > column->precision)
        return "has more digits before the point than its column keeps";
    return NULL;
}

/* COUNT digits at TEXT as one of base 10000, missing ones being zeros on the right. */
static uint16_t group(const char *text, size_t count, size_t width)
{
    unsigned value = 0;
    for (size_t i = 0; i < width; i++)
        value = value * 10 + (i < count ? (unsigned)(text[i] - '0') : 0);
    return (uint16_t)value;
}

static const char *put_decimal(Buffer *buffer, const PgColumn *column, const char *text, size_t n)
{
    Decimal decimal = take_apart(text, n);
    const char *why = refuse_decimal(column, &decimal);
    if (why)
        return why;
    size_t scale = decimal.fraction_count;
    if (scale > NUMERIC_SCALE_MAX)
        scale = NUMERIC_SCALE_MAX; /* the rest are zeros */
    size_t whole_groups = (decimal.whole_count + 3) / 4, fraction_groups = (decimal.significant + 3) / 4;
    encode_int32(buffer, (int32_t)(8 + 2 * (whole_groups + fraction_groups)));
    encode_int16(buffer, (int16_t)(uint16_t)(whole_groups + fraction_groups));
    encode_int16(buffer, (int16_t)((int)whole_groups - 1));
    bool zero = decimal.whole_count + decimal.significant == 0;
    encode_int16(buffer, decimal.negative && !zero ? NUMERIC_NEGATIVE : 0);
    encode_int16(buffer, (int16_t)scale);
    const char *at = decimal.whole;
    for (size_t left = decimal.whole_count; left > 0;) {
        size_t width = left % 4 ? left % 4 : 4;
        encode_int16(buffer, (int16_t)group(at, width, width));
        at += width;
        left -= width;
    }
    at = decimal.fraction;
    for (size_t i = 0; i < fraction_groups; i++, at += 4)
        encode_int16(buffer, (int16_t)group(at, decimal.significant - 4 * i, 4));
    return NULL;
}

/* --- dates and times --- */

static const char *put_date(Buffer *buffer, int32_t days)
{
    if (days < DAYS_MIN + EPOCH_DAYS)
        return "is before 4714-11-24 BC, where PostgreSQL's calendar begins";
    put_int32(buffer, days - EPOCH_DAYS);
    return NULL;
}

static const char *put_timestamp(Buffer *buffer, const Timestamp *timestamp)
{
    if (timestamp->nanos % 1000 != 0)
        return "has more than 6 digits of a second, and PostgreSQL keeps 6; a string column holds it";
    int64_t us;
    if (__builtin_sub_overflow(timestamp->seconds, EPOCH_SECONDS, &us) || __builtin_mul_overflow(us, 1000000, &us) ||
        __builtin_add_overflow(us, timestamp->nanos / 1000, &us) || us < MICROSECONDS_MIN || us >= MICROSECONDS_END)
        return "is outside of PostgreSQL's calendar (4714 BC to 294276); a string column holds it";
    put_int64(buffer, us);
    return NULL;
}

void encode_instant_us(Buffer *buffer, int64_t us)
{
    put_int64(buffer, us - EPOCH_SECONDS * 1000000);
}

/* --- text --- */

static const char *put_without_nul(Buffer *buffer, const char *data, size_t n)
{
    uint8_t *at = buffer_reserve(buffer, 4 + n), *to = at + 4;
    for (size_t i = 0; i < n; i++)
        if (data[i] != '\0')
            *to++ = (uint8_t)data[i];
    uint32_t length = __builtin_bswap32((uint32_t)(to - at - 4));
    memcpy(at, &length, 4);
    buffer_added(buffer, (size_t)(to - at));
    return NULL;
}

static bool is_longer(const char *data, size_t n, uint32_t characters_max)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)data[i] & 0xc0) != 0x80;
    return count > characters_max;
}

static const char *put_text(Buffer *buffer, const PgColumn *column, const char *data, size_t n)
{
    if (column->length_max > 0 && n > column->length_max && is_longer(data, n, column->length_max))
        return "has more characters than its column keeps";
    if (memchr(data, '\0', n)) {
        if (column->strip_nul && column->key)
            return "holds a NUL character, which PostgreSQL's text cannot; in a key strip_nul does not leave it out, "
                   "since two keys could become one";
        if (column->strip_nul)
            return put_without_nul(buffer, data, n);
        return "holds a NUL character, which PostgreSQL's text cannot; set strip_nul: true to leave it out";
    }
    encode_bytes(buffer, data, n);
    return NULL;
}

/* "\u0000" with an odd number of backslashes before the u. */
static bool escapes_nul(const char *text, size_t n)
{
    const char *at = text, *end = text + n;
    while ((at = memmem(at, (size_t)(end - at), "\\u0000", 6))) {
        const char *first = at;
        while (first > text && first[-1] == '\\')
            first--;
        if ((at - first) % 2 == 0)
            return true;
        at += 6;
    }
    return false;
}

static const char *put_json(Buffer *buffer, PgType type, const char *data, size_t n)
{
    if (type == PG_JSON) {
        encode_bytes(buffer, data, n);
        return NULL;
    }
    if (escapes_nul(data, n))
        return "holds \\u0000, which PostgreSQL's jsonb cannot; declare the column as a string";
    encode_int32(buffer, (int32_t)n + 1);
    *buffer_reserve(buffer, 1) = JSONB_VERSION;
    buffer_added(buffer, 1);
    buffer_append(buffer, data, n);
    return NULL;
}

const char *encode_value(Buffer *buffer, const PgColumn *column, const Value *value)
{
    switch (value->tag) {
    case VALUE_FALSE:
    case VALUE_TRUE: {
        uint8_t byte = value->tag == VALUE_TRUE;
        encode_bytes(buffer, &byte, 1);
        return NULL;
    }
    case VALUE_INTEGER:
        return put_integer(buffer, column->type, value->integer);
    case VALUE_FLOAT:
        return put_float(buffer, column->type, value->number);
    case VALUE_DATE:
        return put_date(buffer, value->days);
    case VALUE_TIMESTAMP:
        return put_timestamp(buffer, &value->timestamp);
    case VALUE_STRING:
        return put_text(buffer, column, value->text.data, value->text.length);
    case VALUE_DECIMAL:
        return put_decimal(buffer, column, value->text.data, value->text.length);
    case VALUE_JSON:
        return put_json(buffer, column->type, value->text.data, value->text.length);
    case VALUE_BINARY:
        encode_bytes(buffer, value->text.data, value->text.length);
        return NULL;
    default:
        encode_int32(buffer, -1);
        return NULL;
    }
}
