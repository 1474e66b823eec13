/*
 * The keys of a SQLite destination. `url` is SQLAlchemy's form, which Filedge's pipeline files use: three slashes and a
 * relative path, four and an absolute one. `path` says the same plainly.
 */
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/formats/key.h"

extern const ConnectorKeys destination_sqlite_keys;

#define SQLITE_COLUMNS_MAX 1997 /* SQLITE_MAX_COLUMN is 2000; three are ours */
#define URL_PREFIX "sqlite:///"

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

/* The path in URL, or NULL after a problem. */
static const char *url_path(const json_t *value, KeyReport *report)
{
    const char *url = json_string_value(value), *at = "destination.url";
    if (!url) {
        if (json_is_object(value))
            key_problem(report, at, "the url of a sqlite destination holds no secret: write it out");
        return NULL;
    }
    const char *path = url + strlen(URL_PREFIX);
    if (strcmp(url, "sqlite://") == 0 || strcmp(url, URL_PREFIX) == 0 || strstr(url, ":memory:"))
        key_problem(report, at, "a database in memory is gone when the sync ends; name a file");
    else if (strncmp(url, URL_PREFIX, strlen(URL_PREFIX)) != 0)
        key_problem(report, at, "the url of a sqlite destination is sqlite:///relative.db or sqlite:////absolute.db");
    else if (strchr(path, '?'))
        key_problem(report, at, "parameters after \"?\" are not supported; leave them out");
    else
        return path;
    return NULL;
}

static void complete_path(json_t *destination, KeyReport *report)
{
    const json_t *url = json_object_get(destination, "url"), *path = json_object_get(destination, "path");
    if (url && path) {
        key_problem(report, "destination.path", "\"path\" and \"url\" name the database twice; keep one");
    } else if (url) {
        const char *relative = url_path(url, report);
        char *absolute = relative ? path_join(report->folder, relative) : NULL;
        json_object_set_new(destination, "path", absolute ? json_string(absolute) : json_null());
        free(absolute);
    } else if (!path) {
        key_problem(report, "destination",
                    "missing key \"url\": the database, such as sqlite:////var/lib/wherry/data.db");
    }
    json_object_del(destination, "url");
    const char *file = json_string_value(json_object_get(destination, "path"));
    const char *at = url ? "destination.url" : "destination.path";
    if (file && file[strlen(file) - 1] == '/')
        key_problem(report, at, "the database is a file, not a folder");
    else if (file && strlen(file) >= PATH_MAX)
        key_problem(report, at, "longer than a path may be (%d bytes)", PATH_MAX - 1);
}

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
        complete_path(destination, report);
    check_schema(schema, report);
    if (!schema && begins_with(table, "sqlite_"))
        key_problem(report, "dest_table",
                    "tables whose names begin with \"sqlite_\" are SQLite's own; choose another name");
    if (json_array_size(json_object_get(connection, "columns")) > SQLITE_COLUMNS_MAX)
        key_problem(report, "columns", "more than %d columns, which is all that a SQLite table holds",
                    SQLITE_COLUMNS_MAX);
}

static const char *database_path(const json_t *connection)
{
    return json_string_value(json_object_get(json_object_get(connection, "destination"), "path"));
}

const ConnectorKeys destination_sqlite_keys = {
    .type = "sqlite", .local = true, .own = own_keys, .complete = complete, .database_path = database_path
};
