/*
 * The keys of a PostgreSQL destination. What the file does not say, DATABASE_URL and libpq's own variables may, in the
 * daemon's environment: they are listed here as references that are looked up when a sync starts, like secrets.
 */
#include <stdio.h>
#include <string.h>

#include "lib/basics/buffer.h"
#include "lib/formats/key.h"

extern const ConnectorKeys destination_postgres_keys;

#define POSTGRES_NAME_MAX 63
#define POSTGRES_COLUMNS_MAX 1598 /* 1600, of which two are ours */

static const char *const ssl_modes[] = { "disable", "allow", "prefer", "require", "verify-ca", "verify-full", NULL };
static const char *const off[] = { "off", NULL };

static const Key own_keys[] = {
    { .name = "url",
      .type = KEY_STRING,
      .description = "postgresql://USER@HOST:PORT/DATABASE or \"host=… dbname=…\"; by default DATABASE_URL, or libpq's "
                     "PGHOST and so on, of wherryd's environment." },
    { .name = "password", .type = KEY_STRING, .description = "Instead of one in the url: !env, !file or !credential." },
    { .name = "schema",
      .type = KEY_NAME,
      .fallback = "public",
      .description = "The schema of the tables; made where it is missing." },
    { .name = "sslmode",
      .type = KEY_ENUM,
      .choices = ssl_modes,
      .description = "As libpq's; verify-full is what keeps a stranger out." },
    { .name = "sslrootcert", .type = KEY_PATH, .description = "Whom to trust; by default whom the system trusts." },
    { .name = "sslcert", .type = KEY_PATH, .description = "The client's certificate." },
    { .name = "sslkey", .type = KEY_PATH, .description = "And its key." },
    { .name = "passfile", .type = KEY_PATH, .description = "A password file, as libpq's .pgpass." },
    { .name = "connect_timeout",
      .type = KEY_DURATION,
      .fallback = "10s",
      .minimum = 1,
      .maximum = 3600,
      .description = "How long to wait for a connection, per host; unless it is set, the url or "
                     "PGCONNECT_TIMEOUT may say so." },
    { .name = "lock_timeout",
      .type = KEY_DURATION,
      .fallback = "60s",
      .minimum = 1,
      .maximum = 86400,
      .description = "How long to wait for a lock that somebody else holds." },
    { .name = "statement_timeout",
      .type = KEY_DURATION,
      .choices = off,
      .fallback = "off",
      .minimum = 1,
      .maximum = 86400,
      .description = "End a statement that takes longer." },
    { .name = "strip_nul",
      .type = KEY_BOOLEAN,
      .fallback = "false",
      .description =
          "Leave out the NUL characters in text that a program emits, which PostgreSQL cannot hold; else they "
          "are an error, as always in files and in keys." },
    { 0 }
};

/* https://www.postgresql.org/docs/current/libpq-envars.html, without what only chooses how messages look. */
static const char *const variables[] = {
    "DATABASE_URL",
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "PGPASSFILE",
    "PGCHANNELBINDING",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGSSLMODE",
    "PGSSLCERT",
    "PGSSLKEY",
    "PGSSLROOTCERT",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLSNI",
    "PGREQUIREPEER",
    "PGGSSENCMODE",
    "PGKRBSRVNAME",
    "PGTARGETSESSIONATTRS",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLCERTMODE",
    "PGREQUIREAUTH",
    "PGLOADBALANCEHOSTS",
    "PGGSSLIB",
    "PGGSSDELEGATION",
    "PGCONNECT_TIMEOUT",
};

static void complete_environment(json_t *destination)
{
    json_t *environment = json_object();
    for (size_t i = 0; i < ELEMENTSOF(variables); i++)
        json_object_set_new(environment, variables[i],
                            json_pack("{s:{s:s, s:s}}", "$secret", "kind", "variable", "name", variables[i]));
    json_object_set_new(destination, "environment", environment);
}

/* A url that is given as a reference is seen when a sync starts. */
static void check_url(const json_t *destination, KeyReport *report)
{
    const char *url = json_string_value(json_object_get(destination, "url"));
    if (!url)
        return;
    bool uri = strncmp(url, "postgresql://", 13) == 0 || strncmp(url, "postgres://", 11) == 0 ||
               (strncmp(url, "postgresql+", 11) == 0 && strstr(url, "://")) ||
               (strncmp(url, "postgres+", 9) == 0 && strstr(url, "://"));
    if (!uri && (strstr(url, "://") || !strchr(url, '=')))
        key_problem(report, "destination.url",
                    "the url of a postgres destination is postgresql://USER@HOST:PORT/DATABASE or \"host=… dbname=…\"");
    if (json_is_string(json_object_get(destination, "password")))
        key_warning(report, "destination.password",
                    "\"password\" is written out; !env, !file or !credential keep it out of here");
}

static void check_name(const char *name, const char *path, KeyReport *report)
{
    if (name && strlen(name) > POSTGRES_NAME_MAX)
        key_problem(report, path, "longer than a name may be in PostgreSQL (%d bytes)", POSTGRES_NAME_MAX);
}

static void complete(json_t *connection, KeyReport *report)
{
    json_t *destination = json_object_get(connection, "destination"), *column;
    const json_t *columns = json_object_get(connection, "columns");
    if (json_is_object(destination)) {
        check_url(destination, report);
        check_name(json_string_value(json_object_get(destination, "schema")), "destination.schema", report);
        complete_environment(destination);
    }
    check_name(json_string_value(json_object_get(connection, "dest_table")), "dest_table", report);
    size_t i;
    json_array_foreach ((json_t *)columns, i, column) {
        char path[64];
        snprintf(path, sizeof(path), "columns[%zu].dest", i);
        check_name(json_string_value(json_object_get(column, "dest")), path, report);
    }
    if (json_array_size(columns) > POSTGRES_COLUMNS_MAX)
        key_problem(report, "columns", "more than %d columns, which is all that a PostgreSQL table holds",
                    POSTGRES_COLUMNS_MAX);
}

const ConnectorKeys destination_postgres_keys = { .type = "postgres", .own = own_keys, .complete = complete };
