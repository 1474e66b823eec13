/* The keys of a SQLite destination. */
#include <string.h>
#include <strings.h>

#include "connectors/destinations/database-file.h"

extern const ConnectorKeys destination_sqlite_keys;

#define SQLITE_COLUMNS_MAX 1997 /* SQLITE_MAX_COLUMN is 2000; three are ours */

static const DatabaseFile file = { .type = "sqlite",
                                   .suffix = ".db",
                                   .missing = "\"url\": the database, such as sqlite:////var/lib/wherry/data.db" };
static const char *const journal_modes[] = { "wal", "truncate", NULL };
static const char *const zero[] = { "0", NULL };

static const Key own_keys[] = {
    { .name = "url", .type = KEY_STRING, .description = "sqlite:///relative.db or sqlite:////absolute.db" },
    { .name = "path", .type = KEY_PATH, .description = "The database file, instead of a url." },
    { .name = "journal_mode",
      .type = KEY_ENUM,
      .choices = journal_modes,
      .description = "wal or truncate; by default an existing database keeps its own." },
    { .name = "busy_timeout",
      .type = KEY_DURATION,
      .choices = zero,
      .fallback = "60s",
      .maximum = 86400,
      .description = "How long to wait while another program has the database locked." },
    { .name = "schema",
      .type = KEY_NAME,
      .description = "SQLite has no schemas: with \"shop\" the table orders is called shop_orders." },
    { 0 }
};

static bool begins_with(const char *text, const char *prefix)
{
    return text && strncasecmp(text, prefix, strlen(prefix)) == 0;
}

/* Tables are called SCHEMA_TABLE. */
static void check_schema(const char *schema, KeyReport *report)
{
    static const char *const kept[] = { "sqlite", "_wherry" };
    for (size_t i = 0; i < ELEMENTSOF(kept); i++)
        if (begins_with(schema, kept[i]) && strchr("_", schema[strlen(kept[i])]))
            key_problem(report, "destination.schema",
                        "tables whose names begin with \"%s_\" are kept for others; choose another name", kept[i]);
}

static void complete(json_t *connection, KeyReport *report)
{
    const char *table = json_string_value(json_object_get(connection, "dest_table"));
    json_t *destination = json_object_get(connection, "destination");
    const char *schema = json_string_value(json_object_get(destination, "schema"));
    if (json_is_object(destination))
        database_file_complete(&file, destination, report);
    check_schema(schema, report);
    if (!schema && begins_with(table, "sqlite_"))
        key_problem(report, "dest_table",
                    "tables whose names begin with \"sqlite_\" are SQLite's own; choose another name");
    if (json_array_size(json_object_get(connection, "columns")) > SQLITE_COLUMNS_MAX)
        key_problem(report, "columns", "more than %d columns, which is all that a SQLite table holds",
                    SQLITE_COLUMNS_MAX);
}

const ConnectorKeys destination_sqlite_keys = {
    .type = "sqlite", .local = true, .own = own_keys, .complete = complete, .database_path = database_file_path
};
