/* The keys of a DuckDB destination. */
#include <string.h>
#include <strings.h>

#include "connectors/destinations/database-file.h"

extern const ConnectorKeys destination_duckdb_keys;

static const DatabaseFile file = { .type = "duckdb",
                                   .suffix = ".duckdb",
                                   .missing = "\"path\": the database, such as /srv/warehouse/data.duckdb",
                                   .room = sizeof(".wherry-unfinished.wal.checkpoint") - 1 };

static const Key own_keys[] = {
    { .name = "url", .type = KEY_STRING, .description = "duckdb:///relative.duckdb or duckdb:////absolute.duckdb" },
    { .name = "path",
      .type = KEY_PATH,
      .description = "The database file, instead of a url; give it a folder of its own." },
    { .name = "schema", .type = KEY_NAME, .fallback = "main", .description = "The schema of the tables." },
    { .name = "duckdb_library",
      .type = KEY_PATH,
      .description = "DuckDB's library; by default the system's, then the one installed with Wherry." },
    { .name = "memory_limit",
      .type = KEY_SIZE,
      .fallback = "512M",
      .minimum = 64 << 20,
      .maximum = INT64_C(1) << 50,
      .description = "How much memory DuckDB may use before it spills to a folder beside the database." },
    { .name = "threads",
      .type = KEY_INTEGER,
      .minimum = 1,
      .maximum = 256,
      .description = "How many threads DuckDB may use; the default is one per core, and at most 4." },
    { 0 }
};

static void complete(json_t *connection, KeyReport *report)
{
    json_t *destination = json_object_get(connection, "destination");
    if (!json_is_object(destination))
        return;
    database_file_complete(&file, destination, report);
    const char *schema = json_string_value(json_object_get(destination, "schema"));
    if (schema && (strcasecmp(schema, "information_schema") == 0 || strcasecmp(schema, "pg_catalog") == 0))
        key_problem(report, "destination.schema", "\"%s\" is DuckDB's own; choose another name", schema);
}

const ConnectorKeys destination_duckdb_keys = { .type = "duckdb",
                                                .local = true,
                                                .own = own_keys,
                                                .complete = complete,
                                                .database_path = database_file_path,
                                                .whole_folder = true };
