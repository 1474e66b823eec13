#pragma once
/* The parts of frame.h that run once per value. Include frame.h, not this. Little-endian hosts only (amd64, arm64):
 * memcpy is the codec. */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the frame codec copies integers as they lie");

static inline bool row_cursor_take(RowCursor *cursor, void *ret, size_t n)
{
    if ((size_t)(cursor->end - cursor->next) < n)
        return false;
    memcpy(ret, cursor->next, n);
    cursor->next += n;
    return true;
}

static inline bool row_cursor_value(RowCursor *cursor, Value *ret)
{
    if (cursor->next == cursor->end)
        return false;
    uint8_t tag = *cursor->next++;
    ret->tag = (ValueTag)tag;
    switch (tag) {
    case VALUE_NULL:
    case VALUE_ABSENT:
    case VALUE_FALSE:
    case VALUE_TRUE:
        return true;
    case VALUE_INTEGER:
        return row_cursor_take(cursor, &ret->integer, 8);
    case VALUE_FLOAT:
        return row_cursor_take(cursor, &ret->number, 8);
    case VALUE_DATE:
        return row_cursor_take(cursor, &ret->days, 4);
    case VALUE_TIMESTAMP:
        return row_cursor_take(cursor, &ret->timestamp.seconds, 8) &&
               row_cursor_take(cursor, &ret->timestamp.nanos, 4) &&
               row_cursor_take(cursor, &ret->timestamp.offset, 2) && ret->timestamp.nanos < 1000000000;
    case VALUE_STRING:
    case VALUE_DECIMAL:
    case VALUE_JSON:
    case VALUE_BINARY: {
        uint32_t length;
        if (!row_cursor_take(cursor, &length, 4) || (size_t)(cursor->end - cursor->next) < length)
            return false;
        ret->text.data = (const char *)cursor->next;
        ret->text.length = length;
        cursor->next += length;
        return true;
    }
    default:
        return false;
    }
}

static inline void rows_put_tag(RowsWriter *rows, ValueTag tag)
{
    *buffer_reserve(rows->buffer, 1) = (uint8_t)tag;
    buffer_added(rows->buffer, 1);
}
static inline void rows_put_null(RowsWriter *rows)
{
    rows_put_tag(rows, VALUE_NULL);
}
static inline void rows_put_absent(RowsWriter *rows)
{
    rows_put_tag(rows, VALUE_ABSENT);
}
static inline void rows_put_boolean(RowsWriter *rows, bool value)
{
    rows_put_tag(rows, value ? VALUE_TRUE : VALUE_FALSE);
}
static inline void rows_put_integer(RowsWriter *rows, int64_t value)
{
    uint8_t *at = buffer_reserve(rows->buffer, 9);
    at[0] = VALUE_INTEGER;
    memcpy(at + 1, &value, 8);
    buffer_added(rows->buffer, 9);
}
static inline void rows_put_float(RowsWriter *rows, double value)
{
    uint8_t *at = buffer_reserve(rows->buffer, 9);
    at[0] = VALUE_FLOAT;
    memcpy(at + 1, &value, 8);
    buffer_added(rows->buffer, 9);
}
static inline void rows_put_date(RowsWriter *rows, int32_t days)
{
    uint8_t *at = buffer_reserve(rows->buffer, 5);
    at[0] = VALUE_DATE;
    memcpy(at + 1, &days, 4);
    buffer_added(rows->buffer, 5);
}
static inline void rows_put_timestamp(RowsWriter *rows, const Timestamp *value)
{
    uint8_t *at = buffer_reserve(rows->buffer, 15);
    at[0] = VALUE_TIMESTAMP;
    memcpy(at + 1, &value->seconds, 8);
    memcpy(at + 9, &value->nanos, 4);
    memcpy(at + 13, &value->offset, 2);
    buffer_added(rows->buffer, 15);
}
static inline void rows_put_text(RowsWriter *rows, ValueTag tag, const char *data, size_t length)
{
    uint32_t n = (uint32_t)length;
    uint8_t *at = buffer_reserve(rows->buffer, 5 + length);
    at[0] = (uint8_t)tag;
    memcpy(at + 1, &n, 4);
    if (length > 0)
        memcpy(at + 5, data, length);
    buffer_added(rows->buffer, 5 + length);
}
static inline void rows_put_value(RowsWriter *rows, const Value *value)
{
    switch (value->tag) {
    case VALUE_INTEGER:
        rows_put_integer(rows, value->integer);
        break;
    case VALUE_FLOAT:
        rows_put_float(rows, value->number);
        break;
    case VALUE_DATE:
        rows_put_date(rows, value->days);
        break;
    case VALUE_TIMESTAMP:
        rows_put_timestamp(rows, &value->timestamp);
        break;
    case VALUE_STRING:
    case VALUE_DECIMAL:
    case VALUE_JSON:
    case VALUE_BINARY:
        rows_put_text(rows, value->tag, value->text.data, value->text.length);
        break;
    default:
        rows_put_tag(rows, value->tag);
        break;
    }
}
