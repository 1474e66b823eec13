/*
 * One value: the first byte says type and way. What a number becomes is held against the C library and against itself.
 */
#include <math.h>

#include "tests/fuzz/files-fuzzing.h"

/* Converted text must convert again to itself: nothing is lost or made up on the way. */
static void check_again(const Converter *converter, ColumnType type, const Value *value)
{
    Buffer frames = { 0 };
    RowsWriter rows = rows_begin(&frames, 0, OPERATION_INSERT);
    if (type == COLUMN_DECIMAL) {
        size_t before = rows_size(&rows);
        assert(!convert_text_typed(converter, type, value->text.data, value->text.length, &rows));
        const uint8_t *at = buffer_bytes(&frames) + before + 5;
        assert(rows_size(&rows) - before - 5 == value->text.length);
        assert(memcmp(at, value->text.data, value->text.length) == 0);
    } else if (type == COLUMN_FLOAT) {
        assert(isfinite(value->number));
    }
    buffer_clear(&frames);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 1)
        return 0;
    JsonMemory json;
    json_memory_init(&json);
    Converter converter = { .max_value_size = 1 << 20, .json = &json };
    ColumnType type = (ColumnType)(1 + data[0] % (_COLUMN_TYPE_MAX - 1));
    Buffer frames = { 0 };
    RowsWriter rows = rows_begin(&frames, 0, OPERATION_INSERT);
    size_t before = rows_size(&rows);
    const char *text = (const char *)data + 1;
    const char *why = data[0] & 0x80 && type != COLUMN_JSON ? convert_number(&converter, type, text, n - 1, &rows)
                                                            : convert_text(&converter, type, text, n - 1, &rows);
    if (why) {
        assert(rows_size(&rows) == before);
    } else {
        RowCursor cursor = { buffer_bytes(&frames) + before, buffer_bytes(&frames) + rows_size(&rows) };
        Value value;
        assert(row_cursor_value(&cursor, &value) && cursor.next == cursor.end);
        assert(column_type_accepts(type, value.tag));
        check_again(&converter, type, &value);
    }
    buffer_clear(&frames);
    json_memory_clear(&json);
    return 0;
}
