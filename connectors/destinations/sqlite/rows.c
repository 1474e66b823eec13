/*
 * Inserting: the hot path. Values go from the frame as they lie, without a copy (feed.c); what is the same for every
 * row of a file (hash, time) is bound once, since bindings outlive sqlite3_reset().
 */
#include "connectors/destinations/sqlite/feed.h"
#include "lib/basics/clock.h"

int sqlite_bind_file(const SqliteTable *slot, const Table *table, const Batch *batch, Error *error)
{
    char hash[SHA256_TEXT_SIZE], time[RFC3339_US_SIZE];
    sha256_text(batch->file_hash, hash);
    rfc3339_us(batch->started_us, time);
    if (sqlite3_bind_text(slot->insert, 1, hash, -1, SQLITE_TRANSIENT) != SQLITE_OK ||
        sqlite3_bind_text(slot->insert, 2, time, -1, SQLITE_TRANSIENT) != SQLITE_OK)
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
    if (feed_run(slot->feed, slot->insert, rows, first_row, error) < 0)
        return -1;
    /* A spill that could not have its lock is not an error to SQLite, which goes on in ever more memory. */
    return self->gave_up ? sqlite_fail_row(self, SQLITE_BUSY, first_row, error) : 0;
}
