/*
 * One value of DuckDB's into a column of ours. Nothing is rounded on the way: an integer becomes a float only where the
 * float is that integer, a decimal only where its digits fit into what every float keeps (DBL_DIG), a float becomes
 * text only with as many digits as lead back to it.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "connectors/sources/files/parquet-internal.h"
#include "lib/basics/base64.h"

#define INT128_TEXT_MAX 48
#define NUMBER_TEXT_MAX 64
#define DAY_SECONDS INT64_C(86400)
#define DAYS_MIN (-719162) /* 0001-01-01 */
#define DAYS_MAX 2932896   /* 9999-12-31 */

typedef __int128 Int128;
typedef unsigned __int128 UInt128;

static const char not_held[] = "a value that this column's type cannot hold";
static const char not_finite[] = "not a finite number";
static const char no_date[] = "a date outside the years 0001 to 9999";
static const char rounded[] = "a number that a float would round; a decimal column can hold it";
static const char too_long[] = "longer than \"max_value_size\" allows; raise it to load this value";

/* --- numbers as text --- */

static size_t magnitude_text(UInt128 value, char ret[static INT128_TEXT_MAX])
{
    char digits[INT128_TEXT_MAX];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + (int)(value % 10));
    while ((value /= 10) > 0);
    for (size_t i = 0; i < n; i++)
        ret[i] = digits[n - 1 - i];
    return n;
}

static size_t decimal_text(Int128 value, unsigned scale, char ret[static NUMBER_TEXT_MAX])
{
    char digits[INT128_TEXT_MAX];
    size_t n = magnitude_text(value < 0 ? -(UInt128)value : (UInt128)value, digits), at = 0;
    if (value < 0)
        ret[at++] = '-';
    size_t whole = n > scale ? n - scale : 0;
    if (whole == 0)
        ret[at++] = '0';
    memcpy(ret + at, digits, whole);
    at += whole;
    if (scale == 0)
        return at;
    ret[at++] = '.';
    for (size_t i = n; i < scale; i++)
        ret[at++] = '0';
    memcpy(ret + at, digits + whole, n - whole);
    return at + n - whole;
}

/* The fewest digits that lead back to the same float. */
static size_t float_text(double value, bool single, char ret[static NUMBER_TEXT_MAX])
{
    int n = 0, first = single ? FLT_DIG : DBL_DIG, last = single ? FLT_DECIMAL_DIG : DBL_DECIMAL_DIG;
    if (fabs(value) < (single ? FLT_MIN : DBL_MIN))
        first = 1; /* denormal */
    for (int digits = first; digits <= last; digits++) {
        n = snprintf(ret, NUMBER_TEXT_MAX, "%.*g", digits, value);
        if (single ? strtof(ret, NULL) == (float)value : strtod(ret, NULL) == value)
            break;
    }
    return (size_t)n;
}

static Int128 stored_integer(const ParquetVector *vector, uint64_t row)
{
    switch (vector->stored) {
    case DUCKDB_TYPE_TINYINT:
        return ((const int8_t *)vector->data)[row];
    case DUCKDB_TYPE_SMALLINT:
        return ((const int16_t *)vector->data)[row];
    case DUCKDB_TYPE_INTEGER:
        return ((const int32_t *)vector->data)[row];
    case DUCKDB_TYPE_BIGINT:
        return ((const int64_t *)vector->data)[row];
    case DUCKDB_TYPE_UTINYINT:
        return ((const uint8_t *)vector->data)[row];
    case DUCKDB_TYPE_USMALLINT:
        return ((const uint16_t *)vector->data)[row];
    case DUCKDB_TYPE_UINTEGER:
        return ((const uint32_t *)vector->data)[row];
    case DUCKDB_TYPE_UBIGINT:
        return ((const uint64_t *)vector->data)[row];
    default: {
        duckdb_hugeint huge = ((const duckdb_hugeint *)vector->data)[row];
        return (Int128)((UInt128)(uint64_t)huge.upper << 64 | huge.lower);
    }
    }
}

/* An integer or decimal of any size. */
static size_t number_text(const ParquetVector *vector, uint64_t row, char ret[static NUMBER_TEXT_MAX])
{
    if (vector->stored != DUCKDB_TYPE_UHUGEINT)
        return decimal_text(stored_integer(vector, row), vector->scale, ret);
    duckdb_uhugeint huge = ((const duckdb_uhugeint *)vector->data)[row];
    return magnitude_text((UInt128)huge.upper << 64 | huge.lower, ret);
}

/* A single or a double. */
static double float_of(const ParquetVector *vector, uint64_t row)
{
    return vector->shape == SHAPE_SINGLE ? ((const float *)vector->data)[row] : ((const double *)vector->data)[row];
}

static const char *put_number(const Converter *converter, ColumnType type, const char *text, size_t n, RowsWriter *rows)
{
    switch (type) {
    case COLUMN_FLOAT:
        return convert_float_keeps(text, n) ? convert_number(converter, type, text, n, rows) : rounded;
    case COLUMN_INTEGER:
    case COLUMN_DECIMAL:
    case COLUMN_STRING:
    case COLUMN_JSON:
        return convert_number(converter, type, text, n, rows);
    case COLUMN_BOOLEAN:
        return n == 1 && (*text == '0' || *text == '1') ? convert_boolean(type, *text == '1', rows) : not_held;
    default:
        return not_held;
    }
}

static const char *put_integer(const Converter *converter, ColumnType type, int64_t value, RowsWriter *rows)
{
    char text[NUMBER_TEXT_MAX];
    if (type == COLUMN_INTEGER) {
        rows_put_integer(rows, value);
        return NULL;
    }
    if (type == COLUMN_FLOAT && (Int128)(double)value == value) {
        rows_put_float(rows, (double)value);
        return NULL;
    }
    if (type == COLUMN_FLOAT)
        return rounded;
    return put_number(converter, type, text, decimal_text(value, 0, text), rows);
}

static const char *put_float(const Converter *converter, ColumnType type, const ParquetVector *vector, uint64_t row,
                             RowsWriter *rows)
{
    char text[NUMBER_TEXT_MAX];
    double value = float_of(vector, row);
    if (!isfinite(value))
        return not_finite;
    switch (type) {
    case COLUMN_FLOAT:
        rows_put_float(rows, value);
        return NULL;
    case COLUMN_INTEGER:
        /* 2^63 is a float, the largest integer is not. */
        if (value < -0x1p63 || value >= 0x1p63 || value != (double)(int64_t)value)
            return "a number that is not an integer of 64 bits";
        rows_put_integer(rows, (int64_t)value);
        return NULL;
    case COLUMN_DECIMAL:
    case COLUMN_STRING:
    case COLUMN_JSON:
        return convert_number(converter, type, text, float_text(value, vector->shape == SHAPE_SINGLE, text), rows);
    default:
        return not_held;
    }
}

/* --- dates and times --- */

static bool date_of(const ParquetVector *vector, uint64_t row, int32_t *ret)
{
    *ret = ((const duckdb_date *)vector->data)[row].days;
    return *ret >= DAYS_MIN && *ret <= DAYS_MAX;
}

static bool timestamp_of(const ParquetVector *vector, uint64_t row, Timestamp *ret)
{
    int64_t ticks = ((const int64_t *)vector->data)[row], per_second = vector->per_second;
    int64_t seconds = ticks / per_second, rest = ticks % per_second;
    if (rest < 0) {
        seconds--;
        rest += per_second;
    }
    *ret = (Timestamp){ .seconds = seconds,
                        .nanos = (uint32_t)(rest * (1000000000 / per_second)),
                        .offset = vector->offset };
    return seconds >= DAYS_MIN * DAY_SECONDS && seconds < (DAYS_MAX + 1) * DAY_SECONDS;
}

static const char *put_date(ColumnType type, int32_t days, RowsWriter *rows)
{
    char text[DATE_TEXT_MAX];
    switch (type) {
    case COLUMN_DATE:
        rows_put_date(rows, days);
        return NULL;
    case COLUMN_TIMESTAMP:
        rows_put_timestamp(rows, &(Timestamp){ .seconds = days * DAY_SECONDS, .offset = TIMESTAMP_NAIVE });
        return NULL;
    case COLUMN_STRING:
        rows_put_text(rows, VALUE_STRING, text, date_format(days, text));
        return NULL;
    default:
        return not_held;
    }
}

static const char *put_timestamp(ColumnType type, const Timestamp *value, RowsWriter *rows)
{
    char text[TIMESTAMP_TEXT_MAX];
    switch (type) {
    case COLUMN_TIMESTAMP:
        rows_put_timestamp(rows, value);
        return NULL;
    case COLUMN_DATE:
        /* How others write a column of dates. */
        if (value->offset != TIMESTAMP_NAIVE || value->nanos != 0 || value->seconds % DAY_SECONDS != 0)
            return "a timestamp with a time of day, which a date column would lose";
        rows_put_date(rows, (int32_t)(value->seconds / DAY_SECONDS));
        return NULL;
    case COLUMN_STRING:
        rows_put_text(rows, VALUE_STRING, text, timestamp_format(value, text));
        return NULL;
    default:
        return not_held;
    }
}

/* --- text, bytes, and what is nested --- */

const char *parquet_text(const ParquetVector *vector, uint64_t row, size_t *ret_n)
{
    const duckdb_string_t *string = &((const duckdb_string_t *)vector->data)[row];
    *ret_n = string->value.inlined.length;
    return *ret_n <= sizeof(string->value.inlined.inlined) ? string->value.inlined.inlined : string->value.pointer.ptr;
}

static bool write_quoted(Buffer *to, const char *text, size_t n)
{
    buffer_append(to, "\"", 1);
    buffer_append(to, text, n);
    buffer_append(to, "\"", 1);
    return true;
}

/* A key of a map: text as it is, anything else as the text of its JSON. */
static bool write_key(const ParquetVector *vector, uint64_t row, Buffer *to)
{
    if (vector->shape == SHAPE_TEXT)
        return parquet_write_json(vector, row, to);
    _cleanup_(buffer_clear) Buffer text = { 0 };
    if (!parquet_write_json(vector, row, &text))
        return false;
    const char *bytes = (const char *)buffer_bytes(&text);
    size_t n = buffer_length(&text), quoted = n >= 2 && bytes[0] == '"';
    json_put_string(to, bytes + quoted, n - 2 * quoted);
    return true;
}

static bool write_elements(const ParquetVector *element, uint64_t offset, uint64_t length, Buffer *to)
{
    buffer_append_string(to, "[");
    for (uint64_t i = 0; i < length; i++) {
        buffer_append_string(to, i > 0 ? ", " : "");
        if (!parquet_write_json(element, offset + i, to))
            return false;
    }
    buffer_append_string(to, "]");
    return true;
}

static bool write_map(const ParquetVector *vector, uint64_t row, Buffer *to)
{
    const duckdb_list_entry *entry = &((const duckdb_list_entry *)vector->data)[row];
    const ParquetVector *pair = &vector->children[0];
    buffer_append_string(to, "{");
    for (uint64_t i = 0; i < entry->length; i++) {
        buffer_append_string(to, i > 0 ? ", " : "");
        if (!write_key(&pair->children[0], entry->offset + i, to))
            return false;
        buffer_append_string(to, ": ");
        if (!parquet_write_json(&pair->children[1], entry->offset + i, to))
            return false;
    }
    buffer_append_string(to, "}");
    return true;
}

static bool write_struct(const ParquetVector *vector, uint64_t row, Buffer *to)
{
    buffer_append_string(to, "{");
    for (size_t i = 0; i < vector->child_count; i++) {
        const ParquetVector *child = &vector->children[i];
        buffer_append_string(to, i > 0 ? ", " : "");
        json_put_string(to, child->name, strlen(child->name));
        buffer_append_string(to, ": ");
        if (!parquet_write_json(child, row, to))
            return false;
    }
    buffer_append_string(to, "}");
    return true;
}

static bool write_base64(const char *bytes, size_t n, Buffer *to)
{
    size_t length = base64_length(n);
    buffer_append(to, "\"", 1);
    base64_encode(bytes, n, (char *)buffer_reserve(to, length));
    buffer_added(to, length);
    buffer_append(to, "\"", 1);
    return true;
}

bool parquet_write_json(const ParquetVector *vector, uint64_t row, Buffer *to)
{
    char text[TIMESTAMP_TEXT_MAX + NUMBER_TEXT_MAX];
    const char *bytes;
    size_t n;
    int32_t days;
    Timestamp timestamp;
    if (parquet_is_null(vector, row)) {
        buffer_append_string(to, "null");
        return true;
    }
    switch (vector->shape) {
    case SHAPE_BOOLEAN:
        buffer_append_string(to, ((const bool *)vector->data)[row] ? "true" : "false");
        return true;
    case SHAPE_INTEGER:
    case SHAPE_NUMBER:
        buffer_append(to, text, number_text(vector, row, text));
        return true;
    case SHAPE_SINGLE:
    case SHAPE_DOUBLE:
        if (!isfinite(float_of(vector, row)))
            return false;
        buffer_append(to, text, float_text(float_of(vector, row), vector->shape == SHAPE_SINGLE, text));
        return true;
    case SHAPE_DATE:
        return date_of(vector, row, &days) && write_quoted(to, text, date_format(days, text));
    case SHAPE_TIMESTAMP:
        return timestamp_of(vector, row, &timestamp) && write_quoted(to, text, timestamp_format(&timestamp, text));
    case SHAPE_BYTES:
        bytes = parquet_text(vector, row, &n);
        return write_base64(bytes, n, to);
    case SHAPE_TEXT:
        bytes = parquet_text(vector, row, &n);
        json_put_string(to, bytes, n);
        return true;
    case SHAPE_LIST: {
        const duckdb_list_entry *entry = &((const duckdb_list_entry *)vector->data)[row];
        return write_elements(&vector->children[0], entry->offset, entry->length, to);
    }
    case SHAPE_ARRAY:
        return write_elements(&vector->children[0], row * vector->array_size, vector->array_size, to);
    case SHAPE_MAP:
        return write_map(vector, row, to);
    case SHAPE_STRUCT:
        return write_struct(vector, row, to);
    case SHAPE_OTHER:
        break;
    }
    return false;
}

/* --- a value --- */

static const char *put_nested(const FileReader *reader, ColumnType type, const ParquetVector *vector, uint64_t row,
                              RowsWriter *rows)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    if (type != COLUMN_JSON && type != COLUMN_STRING)
        return "a list, struct or map, which only a json or string column can hold";
    if (!parquet_write_json(vector, row, &text))
        return "a list, struct or map with a number that is not finite, or an impossible date, which JSON cannot hold";
    return convert_text(&reader->converter, type, (const char *)buffer_bytes(&text), buffer_length(&text), rows);
}

static const char *put_bytes(const FileReader *reader, ColumnType type, const char *bytes, size_t n, RowsWriter *rows)
{
    if (type != COLUMN_BINARY)
        return "binary data, which only a binary column can hold";
    if (n > reader->converter.max_value_size)
        return too_long;
    rows_put_text(rows, VALUE_BINARY, bytes, n);
    return NULL;
}

/* NULL, or why not. Text is dealt with before. */
static const char *put_typed(const FileReader *reader, ColumnType type, const ParquetVector *vector, uint64_t row,
                             RowsWriter *rows)
{
    const Converter *converter = &reader->converter;
    char text[NUMBER_TEXT_MAX];
    const char *bytes;
    size_t n;
    int32_t days;
    Timestamp timestamp;
    switch (vector->shape) {
    case SHAPE_BOOLEAN:
        return convert_boolean(type, ((const bool *)vector->data)[row], rows);
    case SHAPE_INTEGER:
        return put_integer(converter, type, (int64_t)stored_integer(vector, row), rows);
    case SHAPE_NUMBER:
        return put_number(converter, type, text, number_text(vector, row, text), rows);
    case SHAPE_SINGLE:
    case SHAPE_DOUBLE:
        return put_float(converter, type, vector, row, rows);
    case SHAPE_DATE:
        return date_of(vector, row, &days) ? put_date(type, days, rows) : no_date;
    case SHAPE_TIMESTAMP:
        return timestamp_of(vector, row, &timestamp) ? put_timestamp(type, &timestamp, rows) : no_date;
    case SHAPE_BYTES:
        bytes = parquet_text(vector, row, &n);
        return put_bytes(reader, type, bytes, n, rows);
    default:
        return put_nested(reader, type, vector, row, rows);
    }
}

int parquet_put_value(const FileReader *reader, const FileColumn *column, const ParquetVector *vector, uint64_t row,
                      RowsWriter *rows, Error *error)
{
    size_t n;
    if (vector->shape == SHAPE_TEXT) {
        const char *text = parquet_text(vector, row, &n);
        if (memchr(text, '\0', n))
            return reader_fail(reader, column->source, text, n, "a NUL character, which no text has", error);
        return reader_put_text(reader, column, text, n, rows, error);
    }
    const char *why = put_typed(reader, column->type, vector, row, rows);
    if (!why)
        return 0;
    if (vector->shape == SHAPE_BYTES) {
        const char *bytes = parquet_text(vector, row, &n);
        return reader_fail(reader, column->source, bytes, n, why, error);
    }
    _cleanup_(buffer_clear) Buffer shown = { 0 };
    const char *text = parquet_write_json(vector, row, &shown) ? (const char *)buffer_bytes(&shown) : NULL;
    n = buffer_length(&shown);
    bool quoted = text && n >= 2 && text[0] == '"'; /* a message quotes it, too */
    return reader_fail(reader, column->source, quoted ? text + 1 : text, quoted ? n - 2 : n, why, error);
}
