/* destination-sqlite: rows into a SQLite database, exactly once. See sqlite.h. */
#include "connectors/destinations/sqlite/sqlite.h"

static const Destination destination_sqlite = {
    .program = "destination-sqlite",
    .operations = OPERATION_BIT(OPERATION_INSERT),
    .open = sqlite_open,
    .connect = sqlite_connect,
    .read_state = sqlite_read_state,
    .file_known = sqlite_file_known,
    .begin = sqlite_begin,
    .ensure_table = sqlite_ensure_table,
    .file_begin = sqlite_file_begin,
    .write = sqlite_write,
    .commit = sqlite_commit,
    .abort = sqlite_abort,
    .close = sqlite_close,
};

int main(int argc, char *argv[])
{
    return writer_main(argc, argv, &destination_sqlite);
}
