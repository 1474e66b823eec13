/*
 * Which server, as whom: settled before the sandbox, since what fills the gaps (service files, the name of the user
 * that the writer runs as) cannot be read inside it. What the url says goes first, then the keys of the pipeline file,
 * then libpq's environment variables, which the daemon hands over from its own environment.
 *
 * The sandbox lets through what these name and no more: certificates, keys and password files by path, the network
 * where there is a host, AF_UNIX only where the server is reached by a socket's path.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "connectors/destinations/postgres/postgres.h"

#define CONNECT_TIMEOUT_S 10
#define CONNECT_TIMEOUT_MAX_S 3600 /* as of the key, in config.c */
#define LOCK_TIMEOUT_S 60

/* Files that libpq opens when it connects. */
static const char *const file_keywords[] = { "passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir" };

/* A lost server is noticed within a minute and a half, also while nothing is sent. */
static const char *const own_defaults[][2] = {
    { "gssencmode", "disable" }, { "keepalives_idle", "30" },     { "keepalives_interval", "10" },
    { "keepalives_count", "6" }, { "tcp_user_timeout", "90000" }, { "fallback_application_name", "wherry" },
};

static const char *get(const Postgres *self, const char *keyword)
{
    for (size_t i = 0; i < self->setting_count; i++)
        if (strcmp(self->keywords[i], keyword) == 0)
            return self->values[i];
    return NULL;
}

/* KEYWORD must outlive SELF. An empty value is none, as to libpq. */
static void set(Postgres *self, const char *keyword, const char *value)
{
    if (!value || !*value)
        return;
    size_t i = 0;
    while (i < self->setting_count && strcmp(self->keywords[i], keyword) != 0)
        i++;
    if (i == SETTINGS_MAX)
        return;
    self->setting_count = MAX_OF(self->setting_count, i + 1);
    self->keywords[i] = keyword;
    free(self->values[i]);
    self->values[i] = xstrdup(value);
}

void postgres_settings_clear(Postgres *self)
{
    for (size_t i = 0; i < self->setting_count; i++) {
        explicit_bzero(self->values[i], strlen(self->values[i]));
        free(self->values[i]);
    }
    self->setting_count = 0;
}

/* SQLAlchemy's "postgresql+psycopg2://", which Filedge's files may have, as libpq writes it. */
static char *plain_url(const char *url)
{
    size_t scheme = strncmp(url, "postgresql", 10) == 0 ? 10 : strncmp(url, "postgres", 8) == 0 ? 8 : 0;
    const char *colon = strstr(url, "://");
    if (scheme == 0 || !colon || url[scheme] != '+')
        return xstrdup(url);
    return xasprintf("postgresql%s", colon);
}

/* What libpq itself says of a url that it cannot read may quote a password. */
static int parse_url(const char *url, PQconninfoOption **ret, Error *error)
{
    _cleanup_(freep) char *plain = plain_url(url);
    *ret = PQconninfoParse(plain, NULL);
    explicit_bzero(plain, strlen(plain));
    if (*ret)
        return 0;
    return error_set(
        error, ERROR_CONFIGURATION,
        "the url of the destination is neither postgresql://USER@HOST:PORT/DATABASE nor \"host=… dbname=…\" "
        "as libpq reads them (unusual characters in a password must be percent-encoded)");
}

/* Where a password is not percent-encoded, the rest of it may be taken for a host, a port or a database, and be told to
 * everyone as such: what no host, port or database looks like is refused, and not shown. */
static int refuse_odd(const PQconninfoOption *given, const char *url, Error *error)
{
    const char *authority = strstr(url, "://"), *slash = authority ? strchr(authority + 3, '/') : NULL;
    for (const PQconninfoOption *option = given; option->keyword; option++) {
        const char *value = option->val ? option->val : "";
        bool odd = false;
        if (strcmp(option->keyword, "host") == 0 || strcmp(option->keyword, "hostaddr") == 0) {
            for (const char *at = value; *at && !odd; at++) /* "@name" is a socket without a path */
                odd = *at == '@' && at > value && at[-1] != ',';
        } else if (strcmp(option->keyword, "port") == 0) {
            odd = value[strspn(value, "0123456789, ")] != '\0';
        } else if (strcmp(option->keyword, "dbname") == 0) {
            odd = strchr(value, '@') && slash && strchr(slash, '@');
        }
        if (odd)
            return error_set(error, ERROR_CONFIGURATION,
                             "the host, port or database in the url of the destination is none; in a password, \"@\", "
                             "\":\" and \"/\" must be written %%40, %%3A and %%2F");
    }
    return 0;
}

static void put_environment(const json_t *environment)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)environment, name, value)
        if (strncmp(name, "PG", 2) == 0 && json_is_string(value))
            setenv(name, json_string_value(value), 1);
}

static void drop_environment(const json_t *environment)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)environment, name, value)
        if (strncmp(name, "PG", 2) == 0)
            unsetenv(name);
}

static bool names_a_server(const json_t *environment)
{
    static const char *const enough[] = { "PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE" };
    for (size_t i = 0; i < ELEMENTSOF(enough); i++)
        if (json_is_string(json_object_get(environment, enough[i])))
            return true;
    return false;
}

static char *unusable_message(const char *service)
{
    const char *const keywords[] = { "service", "sslmode", NULL }, *const values[] = { service, "none", NULL };
    PGconn *attempt = PQconnectStartParams(keywords, values, 0);
    char *message = xstrdup(attempt ? PQerrorMessage(attempt) : "");
    PQfinish(attempt);
    return message;
}

/* PQconndefaults() keeps to itself that it did not find a service, or its file. An attempt to connect tells, and an
 * sslmode that there is not ends it before it leaves this machine: with a sound service it fails as without any. */
static int check_service(Error *error)
{
    const char *service = getenv("PGSERVICE");
    if (!service || !*service)
        return 0;
    _cleanup_(freep) char *name = xstrdup(service);
    _cleanup_(freep) char *with = unusable_message(name);
    unsetenv("PGSERVICE");
    _cleanup_(freep) char *without = unusable_message(NULL);
    setenv("PGSERVICE", name, 1);
    if (strcmp(with, without) == 0)
        return 0;
    return error_set(error, ERROR_CONFIGURATION, "the service \"%s\" of the destination: %.*s", name,
                     (int)strcspn(with, "\n"), with);
}

static int gather(Postgres *self, const json_t *own, Error *error)
{
    static const char *const keys[] = { "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile", "password" };
    const json_t *environment = json_object_get(own, "environment");
    const char *url = json_string_value(json_object_get(own, "url"));
    if (!url)
        url = json_string_value(json_object_get(environment, "DATABASE_URL"));
    if (!url && !names_a_server(environment))
        return error_set(error, ERROR_CONFIGURATION,
                         "the postgres destination has no \"url\", and neither DATABASE_URL nor PGHOST is set in "
                         "wherryd's environment");
    PQconninfoOption *given = NULL;
    if (parse_url(url ? url : "", &given, error) < 0)
        return -1;
    if (refuse_odd(given, url ? url : "", error) < 0) {
        PQconninfoFree(given);
        return -1;
    }
    for (PQconninfoOption *option = given; option->keyword; option++)
        if (strcmp(option->keyword, "service") == 0 && option->val)
            setenv("PGSERVICE", option->val, 1);
    if (check_service(error) < 0) {
        PQconninfoFree(given);
        return -1;
    }
    PQconninfoOption *defaults = PQconndefaults();
    /* What a service says is in them; it cannot be looked up again inside the sandbox. */
    for (PQconninfoOption *option = defaults; option && option->keyword; option++)
        if (strncmp(option->keyword, "service", 7) != 0)
            set(self, option->keyword, option->val);
    for (size_t i = 0; i < ELEMENTSOF(own_defaults); i++)
        if (!get(self, own_defaults[i][0]) || strcmp(own_defaults[i][0], "gssencmode") == 0)
            set(self, own_defaults[i][0], own_defaults[i][1]);
    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        set(self, keys[i], json_string_value(json_object_get(own, keys[i])));
    for (PQconninfoOption *option = given; option->keyword; option++)
        if (option->val && strcmp(option->keyword, "service") != 0)
            for (PQconninfoOption *name = defaults; name && name->keyword; name++)
                if (strcmp(name->keyword, option->keyword) == 0)
                    set(self, name->keyword, option->val);
    /* The names in DEFAULTS are libpq's own constants, and outlive it. */
    PQconninfoFree(given);
    PQconninfoFree(defaults);
    return 0;
}

/* sslmode verify-ca and verify-full need to know whom to trust: by default, whom the system trusts. */
static void trust_system(Postgres *self)
{
    static const char *const bundles[] = { "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt" };
    const char *mode = get(self, "sslmode"), *certificates = get(self, "sslrootcert");
    if (!mode || strncmp(mode, "verify-", 7) != 0 || (certificates && strcmp(certificates, "system") != 0))
        return;
    for (size_t i = 0; i < ELEMENTSOF(bundles); i++)
        if (access(bundles[i], R_OK) == 0) {
            set(self, "sslrootcert", bundles[i]);
            return;
        }
}

static bool is_socket(const char *host)
{
    return host[0] == '/' || host[0] == '@';
}

static void find_network(Postgres *self, SandboxPolicy *policy)
{
    const char *host = get(self, "host"), *address = get(self, "hostaddr");
    self->host_count = 1;
    for (const char *at = address ? address : host ? host : ""; *at; at++)
        self->host_count += *at == ',';
    if (address)
        policy->network = SANDBOX_NETWORK_OUTBOUND;
    if (!host && !address)
        policy->unix_sockets = true; /* where libpq was built to look */
    _cleanup_(freep) char *hosts = xstrdup(host && !address ? host : "");
    char *rest = hosts, *one;
    while (*hosts && (one = strsep(&rest, ","))) {
        if (*one == '\0' || is_socket(one))
            policy->unix_sockets = true;
        else
            policy->network = SANDBOX_NETWORK_OUTBOUND;
    }
}

/* libpq passes over a password file that it does not like, and then misses the password. */
static int check_file(const char *keyword, const char *path, Error *error)
{
    struct stat status;
    if (path[0] != '/')
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s\", the %s of the destination, must be given with its whole path", path, keyword);
    if (access(path, R_OK) < 0 || stat(path, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot read \"%s\", the %s of the destination", path,
                               keyword);
    if (strcmp(keyword, "passfile") == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)))
        return error_set(
            error, ERROR_CONFIGURATION,
            "others may read or write \"%s\", the passfile of the destination, and libpq does not use such "
            "a file: chmod 600 it",
            path);
    return 0;
}

/* What is no path: "system" asks for the system's certificates, "engine:key" for one out of a token. */
static bool is_file(const char *keyword, const char *value)
{
    return (strcmp(keyword, "sslrootcert") != 0 || strcmp(value, "system") != 0) &&
           (strcmp(keyword, "sslkey") != 0 || value[0] == '/' || !strchr(value, ':'));
}

static int find_files(Postgres *self, SandboxPolicy *policy, Error *error)
{
    for (size_t i = 0; i < ELEMENTSOF(file_keywords); i++) {
        const char *path = get(self, file_keywords[i]);
        if (!path || !is_file(file_keywords[i], path))
            continue;
        if (check_file(file_keywords[i], path, error) < 0)
            return -1;
        self->paths[self->path_count++] = (SandboxPath){ path, SANDBOX_READ };
    }
    policy->paths = self->paths;
    policy->path_count = self->path_count;
    return 0;
}

static char *describe_place(const Postgres *self)
{
    const char *host = get(self, "hostaddr"), *port = get(self, "port"), *database = get(self, "dbname");
    if (get(self, "host"))
        host = get(self, "host");
    if (!database)
        database = get(self, "user");
    if (!port || strcmp(port, "5432") == 0)
        return xasprintf("database \"%s\" on \"%s\"", database ? database : "", host ? host : "the local socket");
    return xasprintf("database \"%s\" on \"%s:%s\"", database ? database : "", host ? host : "the local socket", port);
}

static int64_t seconds_of(const json_t *own, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(own, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

/* The url's or libpq's own, where the key beside it says nothing else; without end is none that is bounded. */
static void take_connect_timeout(Postgres *self)
{
    const char *asked = get(self, "connect_timeout");
    long seconds = asked ? strtol(asked, NULL, 10) : 0;
    if (self->connect_timeout_s == CONNECT_TIMEOUT_S && seconds > 0)
        self->connect_timeout_s = MIN_OF(seconds, CONNECT_TIMEOUT_MAX_S);
}

int postgres_settings(Postgres *self, const json_t *own, SandboxPolicy *policy, Error *error)
{
    const json_t *environment = json_object_get(own, "environment");
    self->connect_timeout_s = seconds_of(own, "connect_timeout", CONNECT_TIMEOUT_S);
    self->lock_timeout_s = seconds_of(own, "lock_timeout", LOCK_TIMEOUT_S);
    self->statement_timeout_s = seconds_of(own, "statement_timeout", 0);
    put_environment(environment);
    int r = gather(self, own, error);
    drop_environment(environment);
    unsetenv("PGSERVICE");
    if (r < 0)
        return -1;
    set(self, "client_encoding", "UTF8");
    take_connect_timeout(self);
    trust_system(self);
    find_network(self, policy);
    self->place = describe_place(self);
    return find_files(self, policy, error);
}
