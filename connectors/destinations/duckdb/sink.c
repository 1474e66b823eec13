/*
 * Rows into DuckDB's own shape: a chunk of columns, filled in place from the frame.
 *
 * A chunk holds up to 2,048 rows and is appended when it is full or its frame ends. Text of more than twelve bytes is
 * not copied into it: the vector points into the frame, which outlives the append. What is the same in every row (the
 * file's hash, the time) is filled in once, since nothing resets the vectors in between. The appender collects chunks
 * outside of DuckDB's memory limit, so what it has collected is flushed into the transaction every MiB.
 */
#include <math.h>
#include <string.h>

#include "connectors/destinations/duckdb/internal.h"

#define FLUSH_BYTES (1u << 20)
#define MICROSECONDS 1000000

typedef __int128 Wide;

/* --- opening and closing --- */

static int fail_appender(DuckDb *self, Sink *sink, Error *error)
{
    duckdb_error_data data = self->library->appender_error_data(sink->appender);
    duck_fail(self, data ? self->library->error_data_error_type(data) : DUCKDB_ERROR_INVALID,
              data ? self->library->error_data_message(data) : NULL, "append rows", error);
    if (data)
        self->library->destroy_error_data(&data);
    return -1;
}

static SinkColumn column_of(DuckDb *self, duckdb_logical_type type)
{
    const DuckdbLibrary *library = self->library;
    SinkColumn column = { .type = library->get_type_id(type) };
    if (column.type == DUCKDB_TYPE_DECIMAL) {
        column.is_decimal = true;
        column.type = library->decimal_internal_type(type);
        column.width = library->decimal_width(type);
        column.scale = library->decimal_scale(type);
    }
    return column;
}

static int make_chunk(DuckDb *self, Sink *sink, Error *error)
{
    const DuckdbLibrary *library = self->library;
    idx_t count = library->appender_column_count(sink->appender), capacity = library->vector_size();
    _cleanup_(freep) duckdb_logical_type *types = xcalloc(count, sizeof(*types));
    sink->columns = xcalloc(count, sizeof(*sink->columns));
    sink->column_count = count;
    for (idx_t i = 0; i < count; i++) {
        types[i] = library->appender_column_type(sink->appender, i);
        sink->columns[i] = column_of(self, types[i]);
    }
    sink->chunk = library->create_data_chunk(types, count);
    for (idx_t i = 0; i < count; i++)
        library->destroy_logical_type(&types[i]);
    if (!sink->chunk)
        return error_set(error, ERROR_INTERNAL, "DuckDB does not make a chunk of %llu columns",
                         (unsigned long long)count);
    for (idx_t i = 0; i < count; i++) {
        duckdb_vector vector = library->data_chunk_get_vector(sink->chunk, i);
        library->vector_ensure_validity_writable(vector);
        sink->columns[i].data = library->vector_get_data(vector);
        sink->columns[i].validity = library->vector_get_validity(vector);
        memset(sink->columns[i].validity, 0xff, (capacity + 63) / 64 * sizeof(uint64_t));
    }
    return 0;
}

int sink_open(DuckDb *self, Sink *sink, const char *catalog, const char *schema, const char *table,
              const char *const *names, size_t count, Error *error)
{
    const DuckdbLibrary *library = self->library;
    sink_clear(self, sink);
    if (library->appender_create_ext(self->connection, catalog, schema, table, &sink->appender) != DuckDBSuccess)
        return fail_appender(self, sink, error);
    for (size_t i = 0; i < count; i++)
        if (library->appender_add_column(sink->appender, names[i]) != DuckDBSuccess)
            return fail_appender(self, sink, error);
    return make_chunk(self, sink, error);
}

int sink_finish(DuckDb *self, Sink *sink, Error *error)
{
    if (sink->appender && self->library->appender_close(sink->appender) != DuckDBSuccess)
        return fail_appender(self, sink, error);
    sink_clear(self, sink);
    return 0;
}

void sink_clear(DuckDb *self, Sink *sink)
{
    if (sink->chunk)
        self->library->destroy_data_chunk(&sink->chunk);
    if (sink->appender)
        self->library->appender_destroy(&sink->appender);
    free(sink->columns);
    *sink = (Sink){ 0 };
}

/* --- values --- */

static inline duckdb_string_t string_at(const char *data, uint32_t length)
{
    duckdb_string_t string;
    if (length <= sizeof(string.value.inlined.inlined)) {
        memset(&string, 0, sizeof(string));
        string.value.inlined.length = length;
        if (length > 0)
            memcpy(string.value.inlined.inlined, data, length);
    } else {
        string.value.pointer.length = length;
        memcpy(string.value.pointer.prefix, data, sizeof(string.value.pointer.prefix));
        string.value.pointer.ptr = (char *)(uintptr_t)data;
    }
    return string;
}

static Wide power_of_ten(unsigned exponent)
{
    Wide power = 1;
    while (exponent-- > 0)
        power *= 10;
    return power;
}

static int refuse(const char *why, Error *error)
{
    return error_set(error, ERROR_DATA, "%s", why);
}

static int store_decimal(const SinkColumn *column, idx_t row, Wide number, Error *error)
{
    Wide bound = power_of_ten(column->width);
    if (number >= bound || number <= -bound)
        return error_set(error, ERROR_DATA, "too large for DECIMAL(%u,%u)", column->width, column->scale);
    switch (column->type) {
    case DUCKDB_TYPE_SMALLINT:
        ((int16_t *)column->data)[row] = (int16_t)number;
        return 0;
    case DUCKDB_TYPE_INTEGER:
        ((int32_t *)column->data)[row] = (int32_t)number;
        return 0;
    case DUCKDB_TYPE_BIGINT:
        ((int64_t *)column->data)[row] = (int64_t)number;
        return 0;
    default:
        memcpy((uint8_t *)column->data + row * sizeof(number), &number, sizeof(number));
        return 0;
    }
}

static int put_decimal(const SinkColumn *column, idx_t row, const char *text, uint32_t length, Error *error)
{
    const char *end = text + length;
    bool negative = text < end && *text == '-', point = false;
    unsigned digits = 0, scale = 0;
    Wide number = 0;
    for (text += negative; text < end; text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        unsigned digit = (unsigned)(*text - '0');
        if (point && scale == column->scale) {
            if (digit != 0)
                return error_set(error, ERROR_DATA, "more than %u digits after the point, which DECIMAL(%u,%u) has",
                                 column->scale, column->width, column->scale);
            continue;
        }
        digits += digits > 0 || digit > 0;
        if (digits > column->width)
            return error_set(error, ERROR_DATA, "too large for DECIMAL(%u,%u)", column->width, column->scale);
        number = number * 10 + digit;
        scale += point;
    }
    if (digits + (column->scale - scale) > column->width && number != 0)
        return error_set(error, ERROR_DATA, "too large for DECIMAL(%u,%u)", column->width, column->scale);
    number *= power_of_ten(column->scale - scale);
    return store_decimal(column, row, negative ? -number : number, error);
}

static int put_integer(const SinkColumn *column, idx_t row, int64_t integer, Error *error)
{
    if (column->is_decimal) {
        char text[24];
        return put_decimal(column, row, text, (uint32_t)snprintf(text, sizeof(text), "%lld", (long long)integer),
                           error);
    }
    switch (column->type) {
    case DUCKDB_TYPE_BIGINT:
        ((int64_t *)column->data)[row] = integer;
        return 0;
    case DUCKDB_TYPE_INTEGER:
        if (integer < INT32_MIN || integer > INT32_MAX)
            return refuse("outside the range of INTEGER, which the column is there", error);
        ((int32_t *)column->data)[row] = (int32_t)integer;
        return 0;
    case DUCKDB_TYPE_SMALLINT:
        if (integer < INT16_MIN || integer > INT16_MAX)
            return refuse("outside the range of SMALLINT, which the column is there", error);
        ((int16_t *)column->data)[row] = (int16_t)integer;
        return 0;
    case DUCKDB_TYPE_DOUBLE:
        ((double *)column->data)[row] = (double)integer;
        return 0;
    default:
        return error_set(error, ERROR_INTERNAL, "an integer in a column of another type");
    }
}

static int put_number(const SinkColumn *column, idx_t row, double number, Error *error)
{
    if (column->type == DUCKDB_TYPE_DOUBLE)
        ((double *)column->data)[row] = number;
    else if (column->type == DUCKDB_TYPE_FLOAT)
        ((float *)column->data)[row] = (float)number;
    else
        return error_set(error, ERROR_INTERNAL, "a float in a column of another type");
    return 0;
}

/* TIMESTAMP: wall-clock time, or UTC where the value has an offset. TIMESTAMPTZ: the instant; without an offset, UTC.
 */
static int put_timestamp(const SinkColumn *column, idx_t row, const Timestamp *value, Error *error)
{
    if (column->type != DUCKDB_TYPE_TIMESTAMP && column->type != DUCKDB_TYPE_TIMESTAMP_TZ)
        return error_set(error, ERROR_INTERNAL, "a timestamp in a column of another type");
    if (value->nanos % 1000 != 0)
        return refuse(
            "more than 6 digits of a second, where DuckDB's timestamps hold 6; round it at its source, or make the "
            "column a string",
            error);
    Wide us = (Wide)value->seconds * MICROSECONDS + value->nanos / 1000;
    if (us >= INT64_MAX || us <= -INT64_MAX)
        return refuse("outside the range of DuckDB's timestamps", error);
    ((int64_t *)column->data)[row] = (int64_t)us;
    return 0;
}

static int put_date(const SinkColumn *column, idx_t row, int32_t days, Error *error)
{
    if (column->type == DUCKDB_TYPE_DATE) {
        if (days == INT32_MAX || days <= -INT32_MAX)
            return refuse("outside the range of DuckDB's dates", error);
        ((int32_t *)column->data)[row] = days;
        return 0;
    }
    return put_timestamp(column, row, &(Timestamp){ .seconds = (int64_t)days * 86400, .offset = TIMESTAMP_NAIVE },
                         error);
}

static int put_text(const SinkColumn *column, idx_t row, const Value *value, Error *error)
{
    if (value->tag == VALUE_DECIMAL && column->is_decimal)
        return put_decimal(column, row, value->text.data, value->text.length, error);
    if (column->type != DUCKDB_TYPE_VARCHAR && column->type != DUCKDB_TYPE_BLOB)
        return error_set(error, ERROR_INTERNAL, "text in a column of another type");
    ((duckdb_string_t *)column->data)[row] = string_at(value->text.data, value->text.length);
    return 0;
}

static inline int put_value(const SinkColumn *column, idx_t row, const Value *value, Error *error)
{
    uint64_t bit = UINT64_C(1) << row % 64;
    if (value->tag == VALUE_NULL || value->tag == VALUE_ABSENT) {
        column->validity[row / 64] &= ~bit;
        return 0;
    }
    column->validity[row / 64] |= bit;
    switch (value->tag) {
    case VALUE_FALSE:
    case VALUE_TRUE:
        if (column->type != DUCKDB_TYPE_BOOLEAN)
            return error_set(error, ERROR_INTERNAL, "a boolean in a column of another type");
        ((bool *)column->data)[row] = value->tag == VALUE_TRUE;
        return 0;
    case VALUE_INTEGER:
        return put_integer(column, row, value->integer, error);
    case VALUE_FLOAT:
        return put_number(column, row, value->number, error);
    case VALUE_DATE:
        return put_date(column, row, value->days, error);
    case VALUE_TIMESTAMP:
        return put_timestamp(column, row, &value->timestamp, error);
    default:
        return put_text(column, row, value, error);
    }
}

void sink_fill_text(DuckDb *self, Sink *sink, size_t at, const char *text, size_t length)
{
    duckdb_string_t string = string_at(text, (uint32_t)length);
    for (idx_t row = 0; row < self->library->vector_size(); row++)
        ((duckdb_string_t *)sink->columns[at].data)[row] = string;
}

void sink_fill_timestamp(DuckDb *self, Sink *sink, size_t at, int64_t us)
{
    for (idx_t row = 0; row < self->library->vector_size(); row++)
        ((int64_t *)sink->columns[at].data)[row] = us;
}

/* --- rows --- */

static void describe_value(const Value *value, Error *error)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    if (value->tag == VALUE_BINARY || !error)
        return;
    value_text(value, &text);
    error_at_value(error, (const char *)buffer_bytes(&text), buffer_length(&text));
}

static int fill_row(Sink *sink, const Table *table, RowCursor *cursor, idx_t row, Error *error)
{
    size_t step = sink->masked ? 2 : 1;
    Value value = { 0 };
    SinkColumn *column = sink->columns;
    for (size_t i = 0; i < table->column_count; i++) {
        if (!row_cursor_value(cursor, &value))
            return error_set(error, ERROR_INTERNAL, "a row ends before its last column");
        if (sink->keys_only && !(table->columns[i].flags & COLUMN_KEY))
            continue;
        if (__builtin_expect(put_value(column, row, &value, error) < 0, 0)) {
            describe_value(&value, error);
            return error_at_column(error, table->columns[i].name.data);
        }
        if (sink->masked)
            ((bool *)column[1].data)[row] = value.tag != VALUE_ABSENT;
        column += step;
    }
    return 0;
}

static int append_chunk(DuckDb *self, Sink *sink, idx_t count, Error *error)
{
    self->library->data_chunk_set_size(sink->chunk, count);
    if (self->library->append_data_chunk(sink->appender, sink->chunk) != DuckDBSuccess)
        return fail_appender(self, sink, error);
    return 0;
}

int sink_rows(DuckDb *self, Sink *sink, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    RowCursor cursor = row_cursor(rows);
    idx_t capacity = self->library->vector_size(), filled = 0;
    for (uint32_t row = 0; row < rows->rows.count; row++) {
        if (filled == capacity) {
            if (append_chunk(self, sink, filled, error) < 0)
                return -1;
            filled = 0;
        }
        if (fill_row(sink, table, &cursor, filled++, error) < 0)
            return error_at_row(error, 0, first_row + row);
    }
    if (append_chunk(self, sink, filled, error) < 0)
        return -1;
    sink->unflushed += rows->rows.length;
    if (sink->unflushed < FLUSH_BYTES)
        return 0;
    sink->unflushed = 0;
    return self->library->appender_flush(sink->appender) == DuckDBSuccess ? 0 : fail_appender(self, sink, error);
}
