/*
 * Everything a configuration file may say that does not belong to one source or destination. Adding a key is one row
 * here; adding a source or a destination is one entry in `connectors`. What is planned, or known from Filedge, and not
 * built yet has its row too, so that it is refused by its name and not as a typing error.
 */
#include "daemon/wherryd/keys.h"

#include <string.h>

#define YEARS_100 3153600000 /* seconds */

static const char *const off[] = { "off", NULL };
static const char *const zero[] = { "0", NULL };
static const char *const levels[] = { "debug", "info", "notice", "warning", "error", NULL };
static const char *const namings[] = { "normalised", "source", NULL };
static const char *const schema_changes[] = { "allow_all", "allow_columns", "block_all", NULL };
static const char *const sandbox_modes[] = { "default", "strict", NULL };

static const Key sandbox_keys[] = {
    { .name = "mode",
      .type = KEY_ENUM,
      .choices = sandbox_modes,
      .fallback = "default",
      .description = "Whether to run where the kernel lacks a layer of the sandbox (default) or to refuse (strict)." },
    { .name = "memory",
      .type = KEY_SIZE,
      .minimum = 16 << 20,
      .maximum = INT64_C(1) << 40,
      .description =
          "How much memory a sync may use; by default each program has a bound of its own (connectors 1G)." },
    { .name = "ports",
      .type = KEY_LIST,
      .items = KEY_INTEGER,
      .minimum = 1,
      .maximum = 65535,
      .description = "The only TCP ports to connect to, besides 53 (kernel 6.7 or later)." },
    { 0 }
};

const Key connection_keys[] = {
    { .name = "source", .type = KEY_CONNECTOR, .description = "What is read." },
    { .name = "destination",
      .type = KEY_CONNECTOR,
      .description = "Where rows go: a name from wherry.yaml, or a map." },
    { .name = "connector", .type = KEY_CONNECTOR, .description = "Filedge's word for the destination." },
    { .name = "frequency",
      .type = KEY_FREQUENCY,
      .fallback = "6h",
      .description = "How often to sync: a duration of at least 1s, or manual." },
    { .name = "paused",
      .type = KEY_BOOLEAN,
      .fallback = "false",
      .description = "Start paused; what `wherryctl resume` says is kept." },
    { .name = "max_value_size",
      .type = KEY_SIZE,
      .fallback = "16M",
      .minimum = 1 << 10,
      .maximum = 512 << 20,
      .description = "The largest single value that passes." },
    { .name = "stall_timeout",
      .type = KEY_DURATION,
      .choices = off,
      .fallback = "30m",
      .minimum = 1,
      .maximum = YEARS_100,
      .description = "End a sync that makes no progress for this long." },
    { .name = "commit_interval",
      .type = KEY_DURATION,
      .choices = zero,
      .fallback = "1s",
      .maximum = 86400,
      .description = "Merge checkpoints that come within this time; 0: commit each one." },
    { .name = "log_level",
      .type = KEY_ENUM,
      .choices = levels,
      .fallback = "info",
      .description = "Log lines below this level are dropped." },
    { .name = "sandbox",
      .type = KEY_MAP,
      .shorthand = true,
      .fields = sandbox_keys,
      .fallback = "default",
      .description = "How the sync's processes are locked down." },
    { .name = "log_table",
      .type = KEY_BOOLEAN,
      .fallback = "false",
      .description = "Keep the log lines of each sync for 7 days in the destination's table connector_sdk_log." },
    { 0 }
};

const Key operation_keys[] = {
    { .name = "naming",
      .type = KEY_ENUM,
      .choices = namings,
      .fallback = "normalised",
      .description = "Names of tables and columns as Fivetran makes them (normalised), or as the source does." },
    { .name = "history",
      .type = KEY_BOOLEAN,
      .fallback = "false",
      .description = "Keep every version of a row of a table with a key." },
    { .name = "on_schema_change",
      .type = KEY_ENUM,
      .choices = schema_changes,
      .fallback = "allow_all",
      .description = "Whether new tables and columns are added, only columns, or nothing changes." },
    { .name = "strip_nul",
      .type = KEY_BOOLEAN,
      .fallback = "false",
      .description = "Leave out NUL characters in text, which some destinations cannot hold." },
    { 0 }
};

const Key file_keys[] = { { .name = "naming", .not_yet = "leave it out: names are kept as they are" },
                          { .name = "history", .not_yet = "leave it out: tables of files keep no versions of a row" },
                          { .name = "on_schema_change",
                            .type = KEY_ENUM,
                            .choices = schema_changes,
                            .description =
                                "Add columns that the configuration has and the table lacks (allow_all; allow_columns "
                                "makes no new table), or do neither (block_all). By default a table is made where it "
                                "is missing, and one with other columns is an error that shows the difference." },
                          { 0 } };

const Key daemon_keys[] = {
    { .name = "max_syncs",
      .type = KEY_INTEGER,
      .minimum = 1,
      .maximum = 10000,
      .description = "How many syncs run at once; the default is twice the number of cores." },
    { .name = "log_level",
      .type = KEY_ENUM,
      .choices = levels,
      .fallback = "info",
      .description = "The daemon's own log lines below this level are dropped." },
    { .name = "destinations", .type = KEY_ANY, .description = "Destinations by name, for `destination: NAME`." },
    { .name = "defaults", .type = KEY_ANY, .description = "Fill in what a connection's top level does not say." },
    { 0 }
};

extern const ConnectorKeys source_exec_keys, source_files_keys, source_fivetran_keys, destination_duckdb_keys,
    destination_sqlite_keys, destination_postgres_keys;

const ConnectorKeys *const connectors[2][8] = {
    [ROLE_SOURCE] = { &source_files_keys, &source_exec_keys, &source_fivetran_keys },
    [ROLE_DESTINATION] = { &destination_sqlite_keys, &destination_postgres_keys, &destination_duckdb_keys },
};

const KeyLater connectors_later[2][8] = {
    [ROLE_SOURCE] = { { "influxdb" } },
    [ROLE_DESTINATION] = { { "bigquery" }, { "databricks" } },
};

void top_level_keys(const ConnectorKeys *const connection[2], const Key *ret[static KEY_TABLES_MAX])
{
    size_t n = 0;
    ret[n++] = connection_keys;
    ret[n++] = connection[ROLE_SOURCE] && !connection[ROLE_SOURCE]->operations ? file_keys : operation_keys;
    for (Role role = ROLE_SOURCE; role <= ROLE_DESTINATION; role++)
        for (size_t i = 0; connectors[role][i]; i++)
            if (connectors[role][i]->top && (!connection[role] || connection[role] == connectors[role][i]))
                ret[n++] = connectors[role][i]->top;
    ret[n] = NULL;
}

const ConnectorKeys *connector_keys(Role role, const char *type)
{
    for (size_t i = 0; type && connectors[role][i]; i++)
        if (strcmp(connectors[role][i]->type, type) == 0)
            return connectors[role][i];
    return NULL;
}

const char *role_name(Role role)
{
    return role == ROLE_SOURCE ? "source" : "destination";
}
