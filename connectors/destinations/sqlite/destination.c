/* The table of functions that the writer library calls. See sqlite.h. */
#include "connectors/destinations/sqlite/sqlite.h"

#define COLUMNS_MAX 2000 /* SQLITE_MAX_COLUMN (https://sqlite.org/limits.html) */

const Destination destination_sqlite = {
    .program = "destination-sqlite",
    .operations = OPERATION_BIT(OPERATION_INSERT) | OPERATION_BIT(OPERATION_UPSERT) | OPERATION_BIT(OPERATION_UPDATE) |
                  OPERATION_BIT(OPERATION_DELETE),
    .names_ignore_case = true,
    .schema_is_prefix = true,
    .columns_max = COLUMNS_MAX,
    .open = sqlite_open,
    .connect = sqlite_connect,
    .read_state = sqlite_read_state,
    .file_known = sqlite_file_known,
    .files_lost = sqlite_files_lost,
    .begin = sqlite_begin,
    .ensure_table = sqlite_ensure_table,
    .file_begin = sqlite_file_begin,
    .write = sqlite_write,
    .describe = sqlite_describe,
    .has_inexact = sqlite_has_inexact,
    .change = sqlite_change,
    .merge = sqlite_merge,
    .soft_delete = sqlite_soft_delete,
    .drop = sqlite_drop,
    .expire = sqlite_expire,
    .commit = sqlite_commit,
    .abort = sqlite_abort,
    .close = sqlite_close,
};
