/*
 * The keys of a DuckDB destination. `url` is SQLAlchemy's form, as for SQLite: three slashes and a relative path, four
 * and an absolute one. `path` says the same plainly.
 */
#include <limits.h>
#include <string.h>
#include <strings.h>

#include "lib/basics/path.h"
#include "lib/formats/key.h"

extern const ConnectorKeys destination_duckdb_keys;

#define URL_PREFIX "duckdb:///"

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

/* The path in URL, or NULL after a problem. */
static const char *url_path(const json_t *value, KeyReport *report)
{
    const char *url = json_string_value(value), *at = "destination.url";
    if (!url) {
        if (json_is_object(value))
            key_problem(report, at, "the url of a duckdb destination holds no secret: write it out");
        return NULL;
    }
    const char *path = url + strlen(URL_PREFIX);
    if (strcmp(url, "duckdb://") == 0 || strcmp(url, URL_PREFIX) == 0 || strstr(url, ":memory:"))
        key_problem(report, at, "a database in memory is gone when the sync ends; name a file");
    else if (strncmp(url, URL_PREFIX, strlen(URL_PREFIX)) != 0)
        key_problem(report, at,
                    "the url of a duckdb destination is duckdb:///relative.duckdb or duckdb:////absolute.duckdb");
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
        key_problem(report, "destination", "missing key \"path\": the database, such as /srv/warehouse/data.duckdb");
    }
    json_object_del(destination, "url");
    const char *file = json_string_value(json_object_get(destination, "path"));
    const char *at = url ? "destination.url" : "destination.path";
    if (file && file[strlen(file) - 1] == '/')
        key_problem(report, at, "the database is a file, not a folder");
    else if (file && strlen(file) + strlen(".wherry-unfinished.wal.checkpoint") >= PATH_MAX)
        key_problem(report, at, "longer than a path may be");
}

static void complete(json_t *connection, KeyReport *report)
{
    json_t *destination = json_object_get(connection, "destination");
    if (!json_is_object(destination))
        return;
    complete_path(destination, report);
    const char *schema = json_string_value(json_object_get(destination, "schema"));
    if (schema && (strcasecmp(schema, "information_schema") == 0 || strcasecmp(schema, "pg_catalog") == 0))
        key_problem(report, "destination.schema", "\"%s\" is DuckDB's own; choose another name", schema);
}

static const char *database_path(const json_t *connection)
{
    return json_string_value(json_object_get(json_object_get(connection, "destination"), "path"));
}

const ConnectorKeys destination_duckdb_keys = { .type = "duckdb",
                                                .local = true,
                                                .own = own_keys,
                                                .complete = complete,
                                                .database_path = database_path,
                                                .whole_folder = true };
