/*
 * Rows in: COPY … FROM STDIN (FORMAT binary), the hot path. Values go from the frame into one buffer as the server
 * wants them, and from there to libpq in pieces; the hash and the time of a file's rows are encoded once per file.
 *
 * The server says what it dislikes only when a COPY ends, so one ends after some tens of megabytes and the next begins
 * (a round trip): a constraint that the first row breaks is not found out at the end of a file of a hundred gigabytes.
 */
#include <string.h>

#include "connectors/destinations/postgres/merge.h"
#include "connectors/destinations/postgres/postgres.h"

#define PIECE (128 << 10)
#define COPY_BYTES_MAX (64 << 20)

/* --- the stream --- */

static int flush_socket(Postgres *self, Error *error)
{
    int r;
    while ((r = PQflush(self->server)) > 0) {
        if (postgres_wait(self, true, 0, error) < 0)
            return -1;
        if (!PQconsumeInput(self->server))
            return postgres_fail(self, NULL, "send rows", error);
    }
    return r < 0 ? postgres_fail(self, NULL, "send rows", error) : 0;
}

static int send_piece(Postgres *self, Error *error)
{
    Buffer *buffer = &self->copy.buffer;
    size_t n = buffer_length(buffer);
    if (n == 0)
        return 0;
    int r;
    /* Handed over in parts that fit libpq's own buffer: a value of many megabytes is not kept twice. */
    for (size_t done = 0; done < n;) {
        size_t part = MIN_OF(n - done, (size_t)PIECE);
        while ((r = PQputCopyData(self->server, (const char *)buffer_bytes(buffer) + done, (int)part)) == 0)
            if (flush_socket(self, error) < 0)
                return -1;
        if (r < 0)
            return postgres_fail(self, NULL, "send rows", error);
        done += part;
        if (flush_socket(self, error) < 0)
            return -1;
    }
    self->copy.bytes += n;
    buffer_reset(buffer);
    if (buffer->allocated > 4 * PIECE)
        buffer_clear(buffer);
    return 0;
}

int postgres_copy_end(Postgres *self, Error *error)
{
    if (!self->copy.open)
        return 0;
    buffer_append(&self->copy.buffer, ENCODE_TRAILER, 2);
    if (send_piece(self, error) < 0)
        return -1;
    int r;
    while ((r = PQputCopyEnd(self->server, NULL)) == 0)
        if (flush_socket(self, error) < 0)
            return -1;
    if (r < 0)
        return postgres_fail(self, NULL, "insert rows", error);
    if (flush_socket(self, error) < 0 || postgres_result(self, NULL, "insert rows", error) < 0)
        return -1;
    self->copy.open = false;
    return 0;
}

/* Whether the rows of a file bring its hash and time with them. */
static bool sends_file(const Postgres *self, const PgTable *slot)
{
    return self->file_fields_size > 0 && !slot->file.defaults;
}

static int copy_begin(Postgres *self, const Table *table, int operation, uint64_t first_row, Error *error)
{
    PgTable *slot = &self->tables[table->id];
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    buffer_append_string(&sql, "COPY ");
    if (operation == OPERATION_INSERT)
        quote_table(self, &sql, table->name);
    else if (postgres_stage(self, table, slot, operation, &sql, error) < 0)
        return -1;
    for (size_t i = 0; operation == OPERATION_INSERT && i < table->column_count; i++) {
        buffer_append_string(&sql, i == 0 ? " (" : ", ");
        sql_quote(&sql, table->columns[i].name.data);
    }
    if (operation == OPERATION_INSERT)
        buffer_append_string(&sql, sends_file(self, slot) ? ", " COLUMN_HASH ", " COLUMN_TIME ")" : ")");
    buffer_append_string(&sql, " FROM STDIN (FORMAT binary)");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    if (postgres_execute(self, text, "insert rows", error) < 0)
        return -1;
    self->copy.open = true;
    self->copy.table = table->id;
    self->copy.operation = operation;
    self->copy.first_row = first_row;
    self->copy.bytes = 0;
    buffer_reset(&self->copy.buffer);
    buffer_append(&self->copy.buffer, encode_header, sizeof(encode_header));
    return 0;
}

/* --- rows --- */

static int fail_value(const char *why, const Table *table, size_t column, const Value *value, uint64_t row,
                      Operation operation, Error *error)
{
    _cleanup_(buffer_clear) Buffer text = { 0 };
    value_text(value, &text);
    if (operation == OPERATION_INSERT)
        error_set(error, ERROR_DATA, "table \"%s\": %s", table->name, why);
    else
        error_set(error, ERROR_DATA, "%s", why); /* the library says which table and key */
    error_at_row(error, 0, row);
    error_at_column(error, table->columns[column].name.data);
    return error_at_value(error, (const char *)buffer_bytes(&text), buffer_length(&text));
}

static int put_row(Postgres *self, const Table *table, const PgTable *slot, RowCursor *cursor, uint64_t row,
                   Error *error)
{
    Buffer *buffer = &self->copy.buffer;
    const PgColumn *columns = slot->columns;
    bool with_file = sends_file(self, slot);
    size_t count = table->column_count + (with_file ? 2 : 0);
    encode_int16(buffer, (int16_t)count);
    for (size_t i = 0; i < table->column_count; i++) {
        Value value = { 0 };
        if (!row_cursor_value(cursor, &value))
            return error_set(error, ERROR_INTERNAL, "a row that ends too early");
        const char *why = encode_value(buffer, &columns[i], &value);
        if (why)
            return fail_value(why, table, i, &value, row, OPERATION_INSERT, error);
    }
    if (with_file)
        buffer_append(buffer, self->file_fields, self->file_fields_size);
    return 0;
}

/* As much of a row to be staged as its operation needs: of a DELETE its key, of an UPDATE also which columns it names.
 */
static int put_staged(Postgres *self, const Table *table, const PgTable *slot, Operation operation, RowCursor *cursor,
                      uint64_t row, Error *error)
{
    Buffer *buffer = &self->copy.buffer;
    Stage *stage = &slot->stages[operation];
    encode_int16(buffer, (int16_t)stage->column_count);
    stage_row_begin(stage);
    for (size_t i = 0; i < table->column_count; i++) {
        Value value = { 0 };
        if (!row_cursor_value(cursor, &value))
            return error_set(error, ERROR_INTERNAL, "a row that ends too early");
        if (!stage->wanted[i])
            continue;
        if (value.tag != VALUE_ABSENT)
            stage_row_names(stage, i);
        const char *why = encode_value(buffer, &slot->columns[i], &value);
        if (why)
            return fail_value(why, table, i, &value, row, operation, error);
    }
    stage_row_end(stage, buffer);
    return 0;
}

int postgres_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    Postgres *self = destination;
    Copy *copy = &self->copy;
    Operation operation = rows->rows.operation;
    if (operation == OPERATION_DELETE && self->cdc && self->tables[table->id].file.is_empty)
        return 0; /* there is nothing that changes could replace */
    if (operation != OPERATION_INSERT && postgres_table_for_rows(self, table, error) < 0)
        return -1;
    if (copy->open && (copy->table != table->id || copy->operation != (int)operation || copy->bytes > COPY_BYTES_MAX) &&
        postgres_copy_end(self, error) < 0)
        return -1;
    if (!copy->open && copy_begin(self, table, operation, first_row, error) < 0)
        return -1;
    PgTable *slot = &self->tables[table->id];
    RowCursor cursor = row_cursor(rows);
    for (uint32_t row = 0; row < rows->rows.count; row++) {
        int r = operation == OPERATION_INSERT ? put_row(self, table, slot, &cursor, first_row + row, error)
                                              : put_staged(self, table, slot, operation, &cursor, row + 1, error);
        if (r < 0 || (buffer_length(&copy->buffer) >= PIECE && send_piece(self, error) < 0))
            return -1;
    }
    return 0;
}
