/* destination-duckdb: rows into a DuckDB database, exactly once. See internal.h. */
#include "connectors/destinations/duckdb/keyed.h"

static int duck_write(void *destination, const Table *table, const Frame *rows, uint64_t first_row, Error *error)
{
    const DuckDb *self = destination;
    if (rows->rows.operation == OPERATION_INSERT && !self->cdc)
        return duck_write_file(destination, table, rows, first_row, error);
    return duck_stage(destination, table, rows, first_row, error);
}

static const Destination destination_duckdb = {
    .program = "destination-duckdb",
    .operations = OPERATION_BIT(OPERATION_INSERT) | OPERATION_BIT(OPERATION_UPSERT) | OPERATION_BIT(OPERATION_UPDATE) |
                  OPERATION_BIT(OPERATION_DELETE),
    .names_ignore_case = true,
    .decimal_digits_max = 38,
    .open = duck_open,
    .connect = duck_connect,
    .read_state = duck_read_state,
    .file_known = duck_file_known,
    .files_lost = duck_files_lost,
    .begin = duck_begin,
    .ensure_table = duck_ensure_table,
    .file_begin = duck_file_begin,
    .write = duck_write,
    .describe = duck_describe,
    .has_inexact = duck_has_inexact,
    .change = duck_change,
    .merge = duck_merge,
    .soft_delete = duck_soft_delete,
    .drop = duck_drop,
    .expire = duck_expire,
    .commit = duck_commit,
    .abort = duck_abort,
    .close = duck_close,
};

int main(int argc, char *argv[])
{
    return writer_main(argc, argv, &destination_duckdb);
}
