/*
 * The rows of a target: from the stream into the coalescer, and from there, sorted, to the destination.
 *
 * They wait with the values that they came with. Only when they are flushed, each value becomes what its column is by
 * then, and the columns of Wherry's own are filled in.
 */
#include "connectors/writer/target.h"

#include "connectors/writer/target-internal.h"
#include "lib/basics/hash.h"
#include "lib/basics/text.h"

#define ASIDE_MEMORY (1 << 20) /* of rows that were set aside, and are on their way to the destination */

size_t target_memory(const Target *target)
{
    return coalescer_memory(&target->rows) + target->rows.scratch.allocated + target->key.allocated +
           target->text.allocated;
}

/* --- taking --- */

/* SHA-1 of the values' texts, joined by commas, in the table's order of columns; upper-case hexadecimal. */
static void make_id(Target *target, char ret[static SHA1_TEXT_SIZE])
{
    buffer_reset(&target->text);
    bool first = true;
    for (size_t i = 0; i < target->live.column_count; i++) {
        if (target->live.columns[i].flags & COLUMN_SYSTEM)
            continue;
        if (!first)
            buffer_append_string(&target->text, ",");
        first = false;
        value_text(&target->columns[i].value, &target->text);
    }
    sha1_text_upper(buffer_bytes(&target->text), buffer_length(&target->text), ret);
}

static void take_key(Target *target, char id[static SHA1_TEXT_SIZE])
{
    if (target->keyless) {
        make_id(target, id);
        target->columns[target->id].value = (Value){ .tag = VALUE_STRING, .text = { id, (uint32_t)strlen(id) } };
    }
    buffer_reset(&target->key);
    for (size_t i = 0; i < target->key_count; i++) {
        size_t column = target->keys[i];
        key_append(&target->key, column_kind(&target->live.columns[column]), &target->columns[column].value);
    }
}

static int take_values(Target *target, const Table *stream, RowCursor *cursor, Error *error)
{
    for (size_t i = 0; i < target->live.column_count; i++)
        target->columns[i].value.tag = VALUE_ABSENT;
    for (size_t i = 0; i < stream->column_count; i++) {
        size_t column = target->map[i];
        TargetColumn *at = &target->columns[column];
        if (!row_cursor_value(cursor, &at->value))
            return error_set(error, ERROR_INTERNAL, "a value that was checked cannot be read");
        if (__builtin_expect(!(at->holds >> at->value.tag & 1), 0) &&
            target_take_odd_value(target, column, &at->value, error) < 0)
            return -1;
    }
    return 0;
}

/* With history: a version that differs in nothing from the one before is none. */
static bool changes_nothing(const Target *target)
{
    for (size_t i = 0; i < target->live.column_count; i++)
        if (target->columns[i].value.tag != VALUE_ABSENT && !(target->live.columns[i].flags & COLUMN_KEY))
            return false;
    return true;
}

int target_rows(Target *target, const Table *stream, const Frame *rows, uint64_t first_row, RowCursor *cursor,
                uint32_t *row, size_t memory_max, Error *error)
{
    size_t count = target->live.column_count;
    _cleanup_(freep) Value *values = xmalloc(count * sizeof(*values));
    char id[SHA1_TEXT_SIZE];
    while (*row < rows->rows.count) {
        if (take_values(target, stream, cursor, error) < 0)
            return error->kind == ERROR_INTERNAL ? -1 : error_at_row(error, 0, first_row + *row);
        take_key(target, id);
        bool only_key = rows->rows.operation == OPERATION_DELETE;
        for (size_t i = 0; i < count; i++)
            values[i] = only_key && !(target->live.columns[i].flags & COLUMN_KEY) ? (Value){ .tag = VALUE_ABSENT }
                                                                                  : target->columns[i].value;
        if (rows->rows.operation == OPERATION_UPSERT)
            coalescer_upsert(&target->rows, &target->key, values, count);
        else if (rows->rows.operation == OPERATION_DELETE)
            coalescer_delete(&target->rows, &target->key, values, count);
        else if (!target->rules->history || !changes_nothing(target))
            coalescer_update(&target->rows, &target->key, values, count, target->rules->history);
        ++*row;
        if (target_memory(target) > memory_max)
            return TARGET_E_FULL;
    }
    return 0;
}

/* --- flushing --- */

static Value boolean_value(bool value)
{
    return (Value){ .tag = value ? VALUE_TRUE : VALUE_FALSE };
}

/* The end of what has not ended: the last millisecond of the year 9999. */
static Value end_of_time(void)
{
    return (Value){ .tag = VALUE_TIMESTAMP,
                    .timestamp = { .seconds = INT64_C(253402300799), .nanos = 999000000, .offset = 0 } };
}

static void set_history(Target *target, const CoalescedRow *row, Operation operation, const Batch *batch)
{
    Value now = value_instant(batch->started_us);
    target->columns[target->start].value = now;
    target->columns[target->end].value = (Value){ .tag = VALUE_ABSENT };
    target->columns[target->active].value = (Value){ .tag = VALUE_ABSENT };
    if (operation == OPERATION_DELETE)
        return;
    bool over = row->fate == FATE_DELETED;
    target->columns[target->end].value = over ? now : end_of_time();
    target->columns[target->active].value = boolean_value(!over);
}

/* Whether anything but the key is named: an update of nothing and a delete only say what becomes of the row. */
static bool names_nothing(const Target *target, const CoalescedRow *row)
{
    RowCursor cursor = { .next = row->values, .end = row->values + row->values_length };
    Value value;
    for (size_t i = 0; i < row->columns && row_cursor_value(&cursor, &value); i++)
        if (value.tag != VALUE_ABSENT && !(target->live.columns[i].flags & COLUMN_KEY))
            return false;
    return true;
}

static Operation operation_of(const Target *target, const CoalescedRow *row)
{
    if (row->kind == COALESCED_REPLACE)
        return OPERATION_UPSERT;
    if (target->rules->history && row->fate == FATE_DELETED && names_nothing(target, row))
        return OPERATION_DELETE;
    return OPERATION_UPDATE;
}

static void load_row(Target *target, const CoalescedRow *row, Operation operation, const Batch *batch)
{
    RowCursor cursor = { .next = row->values, .end = row->values + row->values_length };
    ValueTag absent = operation == OPERATION_UPSERT ? VALUE_NULL : VALUE_ABSENT;
    for (size_t i = 0; i < target->live.column_count; i++) {
        Value *value = &target->columns[i].value;
        value->tag = VALUE_ABSENT;
        if (i < row->columns && !row_cursor_value(&cursor, value))
            abort(); /* what was put can be taken */
        if (value->tag == VALUE_ABSENT)
            value->tag = absent;
    }
    target->columns[target->synced].value = value_instant(batch->started_us);
    if (target->rules->history)
        set_history(target, row, operation, batch);
    else
        target->columns[target->deleted].value =
            row->fate == FATE_AS_IT_IS ? (Value){ .tag = VALUE_ABSENT } : boolean_value(row->fate == FATE_DELETED);
}

static void put_row(Target *target, RowsWriter *rows)
{
    for (size_t i = 0; i < target->live.column_count; i++) {
        buffer_reset(&target->text);
        Value value = value_convert(&target->columns[i].value, column_kind(&target->live.columns[i]), &target->text);
        rows_put_value(rows, &value);
    }
    rows_row_done(rows);
}

/* A destination counts the rows of a frame; a person wants to know which row, and has only its key. */
static int fail_row(const Target *target, const CoalescedRow *row, Error *error)
{
    _cleanup_(buffer_clear) Buffer shown = { 0 };
    RowCursor cursor = { .next = row->values, .end = row->values + row->values_length };
    Value value;
    for (size_t i = 0; i < row->columns && row_cursor_value(&cursor, &value); i++)
        if ((target->live.columns[i].flags & COLUMN_KEY) && value.tag != VALUE_ABSENT) {
            buffer_append_string(&shown, buffer_length(&shown) > 0 ? ", " : "");
            value_text(&value, &shown);
        }
    _cleanup_(freep) char *text =
        text_escape_shortened((const char *)buffer_bytes(&shown), buffer_length(&shown), ERROR_VALUE_MAX);
    error_at_row(error, 0, 0);
    return error_prefix(error, "table \"%s\", the row with key (%s): ", target->live.name, text);
}

typedef struct Emission {
    Buffer buffer;
    RowsWriter rows;
    size_t *numbers; /* of the rows in this frame, in the coalescer */
    size_t allocated;
} Emission;

static int emit_frame(Target *target, const Coalescer *rows, Emission *emission, Operation operation, Error *error)
{
    if (emission->rows.count == 0)
        return 0;
    Frame frame = { .type = FRAME_ROWS,
                    .rows = { .table = target->live.id,
                              .operation = operation,
                              .count = emission->rows.count,
                              .data = buffer_bytes(&emission->buffer),
                              .length = (uint32_t)buffer_length(&emission->buffer) } };
    int r = target->rules->destination->write(target->rules->handle, &target->live, &frame, 1, error);
    if (r < 0 && error && error->row > 0 && error->row <= emission->rows.count)
        fail_row(target, &rows->rows[emission->numbers[error->row - 1]], error);
    buffer_reset(&emission->buffer);
    emission->rows.count = 0;
    return r;
}

static int emit_row(Target *target, const Coalescer *rows, Emission *emission, size_t number, Operation operation,
                    Error *error)
{
    if (emission->rows.count == emission->allocated) {
        emission->allocated = emission->allocated ? emission->allocated * 2 : 256;
        emission->numbers = xrealloc(emission->numbers, emission->allocated * sizeof(*emission->numbers));
    }
    emission->numbers[emission->rows.count] = number;
    put_row(target, &emission->rows);
    if (buffer_length(&emission->buffer) < FRAME_ROWS_TARGET)
        return 0;
    return emit_frame(target, rows, emission, operation, error);
}

static int emit_operation(Target *target, const Coalescer *rows, Emission *emission, Operation operation,
                          const Batch *batch, Error *error)
{
    for (size_t i = 0; i < rows->row_count; i++) {
        const CoalescedRow *row = &rows->rows[i];
        if (operation_of(target, row) != operation)
            continue;
        load_row(target, row, operation, batch);
        if (emit_row(target, rows, emission, i, operation, error) < 0)
            return -1;
    }
    return emit_frame(target, rows, emission, operation, error);
}

/* Sorted rows: to the destination. */
static int emit_rows(Target *target, const Coalescer *rows, const Batch *batch, Error *error)
{
    static const Operation order[] = { OPERATION_UPSERT, OPERATION_UPDATE, OPERATION_DELETE };
    Emission emission = { 0 };
    emission.rows.buffer = &emission.buffer;
    int r = 0;
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(order); i++)
        r = emit_operation(target, rows, &emission, order[i], batch, error);
    buffer_clear(&emission.buffer);
    free(emission.numbers);
    return r;
}

static int merge(Target *target, Error *error)
{
    return target->rules->destination->merge(target->rules->handle, &target->live, error);
}

static int flush_aside(Target *target, Aside *aside, const Batch *batch, bool *ret_changed, Error *error)
{
    _cleanup_(coalescer_clear) Coalescer rows = { 0 };
    bool any = false;
    for (;;) {
        int r = aside_next(aside, target->live.id, target->rules->history, ASIDE_MEMORY, &rows, error);
        if (r == ASIDE_E_END)
            return any ? merge(target, error) : 0;
        *ret_changed = any = true;
        if (r < 0 || emit_rows(target, &rows, batch, error) < 0 || (r == ASIDE_E_SPLIT && merge(target, error) < 0))
            return -1;
        coalescer_clear(&rows);
    }
}

bool target_is_unordered(const Target *target)
{
    return target->rows.unordered;
}

int target_set_aside(Target *target, Aside *aside)
{
    coalescer_sort(&target->rows);
    return aside_put(aside, target->live.id, &target->rows);
}

void target_forget(Target *target)
{
    coalescer_reset(&target->rows);
    /* There may be thousands of tables: none keeps what its largest row needed. */
    buffer_clear(&target->rows.scratch);
    buffer_clear(&target->text);
    buffer_clear(&target->key);
}

int target_flush(Target *target, Aside *aside, const Batch *batch, bool *ret_changed, Error *error)
{
    if (target_change(target, ret_changed, error) < 0 ||
        (aside && flush_aside(target, aside, batch, ret_changed, error) < 0))
        return -1;
    int r = 0;
    if (target->rows.row_count > 0) {
        *ret_changed = true;
        coalescer_sort(&target->rows);
        r = emit_rows(target, &target->rows, batch, error);
        if (r == 0)
            r = merge(target, error);
    }
    target_forget(target);
    return r;
}

int target_soft_delete(Target *target, const Batch *batch, int64_t before_us, Error *error)
{
    if (!target->there)
        return 0;
    return target->rules->destination->soft_delete(target->rules->handle, &target->live, before_us, batch->started_us,
                                                   error);
}
