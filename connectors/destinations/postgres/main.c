/* destination-postgres: rows into a PostgreSQL database, exactly once. See postgres.h. */
#include "connectors/destinations/postgres/merge.h"
#include "connectors/destinations/postgres/schema.h"

static const Destination destination_postgres = {
    .program = "destination-postgres",
    .operations = OPERATION_BIT(OPERATION_INSERT) | OPERATION_BIT(OPERATION_UPSERT) | OPERATION_BIT(OPERATION_UPDATE) |
                  OPERATION_BIT(OPERATION_DELETE),
    .name_max = NAME_MAX_BYTES,
    .columns_max = COLUMNS_MAX,
    .open = postgres_open,
    .connect = postgres_connect,
    .read_state = postgres_read_state,
    .file_known = postgres_file_known,
    .files_lost = postgres_files_lost,
    .begin = postgres_begin,
    .ensure_table = postgres_ensure_table,
    .file_begin = postgres_file_begin,
    .write = postgres_write,
    .describe = postgres_describe,
    .has_inexact = postgres_has_inexact,
    .change = postgres_change,
    .merge = postgres_merge,
    .soft_delete = postgres_soft_delete,
    .drop = postgres_drop,
    .expire = postgres_expire,
    .commit = postgres_commit,
    .abort = postgres_abort,
    .close = postgres_close,
};

int main(int argc, char *argv[])
{
    return writer_main(argc, argv, &destination_postgres);
}
