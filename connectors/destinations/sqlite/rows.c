/*
 * Inserting: the hot path. Values are bound from the frame as they lie, without a copy; what is the same for every row
 * of a file (hash, time) is bound once, since bindings outlive sqlite3_reset().
 */
#include <string.h>

#include "connectors/destinations/sqlite/sqlite.h"
#include "lib/basics/clock.h"

int sqlite_bind_file(SqliteTable *slot, const Table *table, const Batch *batch, Error *error)
{
    char hash[SHA256_TEXT_SIZE], time[RFC3339_US_SIZE];
    sha256_text(batch->file_hash, hash);
    rfc3339_us(batch->started_us, time);
    int at = (int)table->column_count + 1;
    if (sqlite3_bind_text(slot->insert, at, hash, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_bind_text(slot->insert, at + 1, time, -1, SQLITE_TRANSIENT) != SQLITE_OK)
        return error_set(error, ERROR_INTERNAL, "cannot bind the file of table \"%s\"", table->name);
    return 0;
}

int sqlite_fail_row(Sqlite *self, int r, uint64_t row, Error *error)
{
    sqlite_fail(self, r, "write a row", error);
    if (error && error->kind == ERROR_DATA)
        error_at_row(error, 0, row);
    return -1;
}

int sqlite_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    Sqlite *self = destination;
    if (rows->rows.operation != OPERATION_INSERT)
        return sqlite_write_keyed(self, table, rows, first_row, error);
    const SqliteTable *slot = &self->tables[table->id];
    sqlite3_stmt *insert = slot->insert;
    RowCursor cursor = row_cursor(rows);
    Value value = { 0 };
    for (uint32_t row = 0; row < rows->rows.count; row++) {
        for (size_t i = 0; i < table->column_count; i++) {
            int r = row_cursor_value(&cursor, &value)
                        ? sqlite_bind_value(insert, (int)i + 1, &value, slot->scratch + i * TIMESTAMP_TEXT_MAX)
                        : SQLITE_MISUSE;
            if (r != SQLITE_OK) {
                sqlite_fail_row(self, r, first_row + row, error);
                return error_at_column(error, table->columns[i].name.data);
            }
        }
        int r = sqlite3_step(insert);
        sqlite3_reset(insert);
        if (r != SQLITE_DONE)
            return sqlite_fail_row(self, r, first_row + row, error);
    }
    /* A spill that could not have its lock is not an error to SQLite, which goes on in ever more memory. */
    return self->gave_up ? sqlite_fail_row(self, SQLITE_BUSY, first_row, error) : 0;
}
