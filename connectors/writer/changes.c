/*
 * Files of changes (write_mode cdc): of all rows of a key the one with the greatest sequence counts; the table gets
 * that row instead of the one it has, or, where it is a deletion, none (SCD type 1).
 *
 * Which row is the latest is known only at the end of the file, so rows are sorted by key and sequence in a spool, in
 * bounded memory, and applied from there: a chunk of keys is deleted, then their rows inserted, chunk by chunk. Two
 * rows of a key with the same sequence have no order, and fail the file.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "connectors/writer/session.h"
#include "lib/basics/text.h"

#define CHANGES_MEMORY (6 << 20)
#define SHOWN_MAX 100 /* bytes of a value in a message */

int changes_open(Writer *writer, Error *error)
{
    writer->changes_fd = spool_open_file();
    if (writer->changes_fd < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno,
                               "cannot create a temporary file in /var/tmp or /tmp, where changes are sorted");
    writer->changes = spool_new(writer->changes_fd, CHANGES_MEMORY);
    return 0;
}

void changes_reset(Writer *writer)
{
    if (writer->changes)
        spool_reset(writer->changes);
    buffer_clear(&writer->change_order);
    buffer_clear(&writer->change_payload);
}

void changes_clear(Writer *writer)
{
    writer->changes = spool_free(writer->changes);
    buffer_clear(&writer->change_order);
    buffer_clear(&writer->change_payload);
    writer->changes_fd = close_fd(writer->changes_fd);
}

/* --- taking --- */

/* A row in the spool is sorted by its key and its sequence. What it carries: which row of the file it is, how much of
 * the order is the key, whether it deletes, and its values. */
typedef struct Change {
    uint64_t row;
    uint32_t key_length;
    uint32_t is_deleted;
} Change;

static Kind kind_of_column(const FrameColumn *column)
{
    return (Kind){ .type = column->type, .precision = column->precision, .scale = column->scale };
}

static int take_row(Writer *writer, const Table *table, RowCursor *cursor, const Value *values, const uint8_t *start,
                    uint64_t row, Error *error)
{
    Buffer *order = &writer->change_order, *payload = &writer->change_payload;
    Table visible = changes_visible(table);
    Change change = { .row = row };
    buffer_reset(order);
    for (size_t i = 0; i < visible.column_count; i++)
        if (visible.columns[i].flags & COLUMN_KEY)
            key_append(order, kind_of_column(&visible.columns[i]), &values[i]);
    change.key_length = (uint32_t)buffer_length(order);
    for (size_t i = 0; i < visible.column_count; i++)
        if (visible.columns[i].flags & COLUMN_SEQUENCE)
            order_append(order, kind_of_column(&visible.columns[i]), &values[i]);
    change.is_deleted = visible.column_count < table->column_count && values[visible.column_count].tag == VALUE_TRUE;
    buffer_reset(payload);
    buffer_append(payload, &change, sizeof(change));
    buffer_append(payload, start, (size_t)(cursor->next - start));
    SpoolRecord record = { .order = buffer_bytes(order),
                           .order_length = (uint32_t)buffer_length(order),
                           .payload = buffer_bytes(payload),
                           .payload_length = (uint32_t)buffer_length(payload) };
    return spool_add(writer->changes, &record, error);
}

int changes_rows(Writer *writer, const Table *table, const Frame *rows, Error *error)
{
    _cleanup_(freep) Value *values = xmalloc(table->column_count * sizeof(*values));
    RowCursor cursor = row_cursor(rows);
    for (uint32_t row = 0; row < rows->rows.count; row++) {
        const uint8_t *start = cursor.next;
        for (size_t i = 0; i < table->column_count; i++)
            if (!row_cursor_value(&cursor, &values[i]))
                return error_set(error, ERROR_INTERNAL, "a value that was checked cannot be read");
        if (take_row(writer, table, &cursor, values, start, writer->batch.rows + row + 1, error) < 0)
            return -1;
    }
    return 0;
}

/* --- applying --- */

/* Rows on their way to the destination: frames without their headers. */
typedef struct Chunk {
    Buffer deletes, inserts, text;
    RowsWriter delete_rows, insert_rows;
    uint64_t *delete_numbers, *insert_numbers; /* rows of the file, for errors */
    size_t allocated;
} Chunk;

static void chunk_clear(Chunk *chunk)
{
    buffer_clear(&chunk->deletes);
    buffer_clear(&chunk->inserts);
    buffer_clear(&chunk->text);
    free(chunk->delete_numbers);
    free(chunk->insert_numbers);
}

static Change change_of(const SpoolRecord *record)
{
    Change change;
    assert(record->payload_length >= sizeof(change));
    memcpy(&change, record->payload, sizeof(change));
    return change;
}

static void add_change(Chunk *chunk, const Table *visible, const SpoolRecord *record)
{
    Change change = change_of(record);
    RowCursor cursor = { .next = record->payload + sizeof(change), .end = record->payload + record->payload_length };
    if (chunk->delete_rows.count == chunk->allocated) {
        chunk->allocated = chunk->allocated ? chunk->allocated * 2 : 256;
        chunk->delete_numbers = xrealloc(chunk->delete_numbers, chunk->allocated * sizeof(*chunk->delete_numbers));
        chunk->insert_numbers = xrealloc(chunk->insert_numbers, chunk->allocated * sizeof(*chunk->insert_numbers));
    }
    chunk->delete_numbers[chunk->delete_rows.count] = change.row;
    chunk->insert_numbers[chunk->insert_rows.count] = change.row;
    for (size_t i = 0; i < visible->column_count; i++) {
        Value value, absent = { .tag = VALUE_ABSENT };
        if (!row_cursor_value(&cursor, &value))
            abort(); /* what was put can be taken */
        /* A destination that keeps text tells 1.0 from 1.00, and a moment in one zone from the same in another. */
        buffer_reset(&chunk->text);
        if (visible->columns[i].flags & COLUMN_KEY) {
            value = value_convert(&value, kind_of_column(&visible->columns[i]), &chunk->text);
            if (value.tag == VALUE_TIMESTAMP && value.timestamp.offset != TIMESTAMP_NAIVE)
                value.timestamp.offset = 0;
        }
        rows_put_value(&chunk->delete_rows, visible->columns[i].flags & COLUMN_KEY ? &value : &absent);
        if (!change.is_deleted)
            rows_put_value(&chunk->insert_rows, &value);
    }
    rows_row_done(&chunk->delete_rows);
    if (!change.is_deleted)
        rows_row_done(&chunk->insert_rows);
}

static int write_rows(Writer *writer, const Table *visible, Operation operation, RowsWriter *rows,
                      const uint64_t *numbers, Error *error)
{
    if (rows->count == 0)
        return 0;
    Frame frame = { .type = FRAME_ROWS,
                    .rows = { .table = visible->id,
                              .operation = operation,
                              .count = rows->count,
                              .data = buffer_bytes(rows->buffer),
                              .length = (uint32_t)buffer_length(rows->buffer) } };
    int r = writer->destination->write(writer->handle, visible, &frame, 1, error);
    if (r < 0 && error && error->row > 0 && error->row <= rows->count)
        error_at_row(error, error->line, numbers[error->row - 1]);
    buffer_reset(rows->buffer);
    rows->count = 0;
    return r;
}

static int write_chunk(Writer *writer, const Table *visible, Chunk *chunk, Error *error)
{
    if (chunk->delete_rows.count == 0)
        return 0;
    if (write_rows(writer, visible, OPERATION_DELETE, &chunk->delete_rows, chunk->delete_numbers, error) < 0 ||
        writer->destination->merge(writer->handle, visible, error) < 0 ||
        write_rows(writer, visible, OPERATION_INSERT, &chunk->insert_rows, chunk->insert_numbers, error) < 0)
        return -1;
    control_progress(writer, "applying changes");
    return control_check(writer, error);
}

static bool same_bytes(const SpoolRecord *a, const SpoolRecord *b, size_t a_length, size_t b_length)
{
    return a_length == b_length && memcmp(a->order, b->order, a_length) == 0;
}

/* The values of RECORD's columns with FLAG: `id "7", part "1"`. The caller frees. */
static char *shown_values(const Table *visible, const SpoolRecord *record, unsigned flag)
{
    _cleanup_(buffer_clear) Buffer shown = { 0 }, text = { 0 };
    RowCursor cursor = { .next = record->payload + sizeof(Change), .end = record->payload + record->payload_length };
    for (size_t i = 0; i < visible->column_count; i++) {
        Value value;
        if (!row_cursor_value(&cursor, &value))
            abort(); /* what was put can be taken */
        if (!(visible->columns[i].flags & flag))
            continue;
        buffer_reset(&text);
        value = value_convert(&value, (Kind){ .type = COLUMN_STRING }, &text);
        _cleanup_(freep) char *escaped = text_escape_shortened(value.text.data, value.text.length, SHOWN_MAX);
        buffer_printf(&shown, "%s%s \"%s\"", buffer_length(&shown) > 0 ? ", " : "", visible->columns[i].name.data,
                      escaped);
    }
    return buffer_take_string(&shown);
}

static int refuse_tie(const Table *visible, const SpoolRecord *a, const SpoolRecord *b, Error *error)
{
    uint64_t first = change_of(a).row, second = change_of(b).row;
    const SpoolRecord *later = first < second ? b : a;
    _cleanup_(freep) char *key = shown_values(visible, later, COLUMN_KEY);
    _cleanup_(freep) char *sequence = shown_values(visible, later, COLUMN_SEQUENCE);
    error_set(error, ERROR_DATA,
              "the row has the same key (%s) and the same \"sequence_by\" (%s) as row %llu: which one is the latest?",
              key, sequence, (unsigned long long)MIN_OF(first, second));
    return error_at_row(error, 0, MAX_OF(first, second));
}

static int apply_sorted(Writer *writer, const Table *visible, Chunk *chunk, Error *error)
{
    SpoolRecord latest = { 0 }, record;
    int r;
    while ((r = spool_next(writer->changes, &record, error)) == 0) {
        if (latest.order) {
            if (same_bytes(&latest, &record, latest.order_length, record.order_length))
                return refuse_tie(visible, &latest, &record, error);
            if (!same_bytes(&latest, &record, change_of(&latest).key_length, change_of(&record).key_length))
                add_change(chunk, visible, &latest);
        }
        latest = record;
        if (buffer_length(&chunk->deletes) + buffer_length(&chunk->inserts) >= FRAME_ROWS_TARGET &&
            write_chunk(writer, visible, chunk, error) < 0)
            return -1;
    }
    if (r < 0)
        return -1;
    if (latest.order)
        add_change(chunk, visible, &latest);
    return write_chunk(writer, visible, chunk, error);
}

int changes_apply(Writer *writer, const Table *table, Error *error)
{
    _cleanup_(chunk_clear) Chunk chunk = { 0 };
    chunk.delete_rows.buffer = &chunk.deletes;
    chunk.insert_rows.buffer = &chunk.inserts;
    Table visible = changes_visible(table);
    if (spool_sort(writer->changes, error) < 0 || apply_sorted(writer, &visible, &chunk, error) < 0)
        return -1;
    spool_reset(writer->changes);
    return 0;
}
