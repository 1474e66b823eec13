#pragma once
/*
 * Configuration: wherry.yaml and pipelines.d/NAME.yaml, checked against the key tables.
 *
 * A checked connection is a small struct plus one compact JSON text (defaults filled in, paths absolute, secrets still
 * as references), so that ten thousand of them fit in memory; the YAML documents are freed at once. Errors carry file,
 * line and column.
 *
 * The JSON of a connection; every key is there unless marked "absent":
 *
 *   {"name": "orders",
 *    "frequency": 900,                  seconds; 0: manual
 *    "paused": false,
 *    "write_mode": "append",            append | truncate | cdc
 *    "retry_cap": 3,
 *    "max_value_size": 16777216,        bytes
 *    "stall_timeout": 1800,             seconds; 0: off
 *    "commit_interval": 1,              seconds; 0: each checkpoint
 *    -- where the source emits operations (not files):
 *    "naming": "normalised",            normalised | source
 *    "history": false,
 *    "on_schema_change": "allow_all",   allow_all | allow_columns | block_all; of files absent where not given
 *    "strip_nul": false,
 *    -- always:
 *    "log_level": "info",               debug | info | notice | warning | error
 *    "log_table": false,
 *    "sandbox": {"mode": "default",     default | strict
 *                "memory": 268435456,   bytes; absent: the program's own bound
 *                "ports": [443]},       absent: any
 *    "source": {"type": "files",
 *               "dir": "/srv/incoming", absolute, not necessarily there
 *               "file_pattern": "*.csv", a glob on names; "*" where the file gives none
 *               "watch": false,
 *               "duckdb_library": "/opt/libduckdb.so"},   for parquet; absent where not given
 *    or, of an exec source:
 *    "source": {"type": "exec",
 *               "command": ["/srv/emit.py", "--all"],   the program's path where it was written with a "/"
 *               "configuration": {…},   {} where the file gives none
 *               "folder": "/srv"},      of the pipeline file
 *    -- what a files source adds at the top:
 *    "format": "csv",                   csv | ndjson | fixed_width | parquet
 *    "csv": {"delimiter": ",",          one ASCII character; "csv" is absent for other formats
 *            "quote": "\"",
 *            "header": true,
 *            "null": "NA",              the text that stands for NULL; absent: none
 *            "empty": "null"},          null | keep
 *    "source_manifest": "optional",     disabled | optional | required
 *    "encoding": "utf-8",               a name that iconv knows, as the file writes it
 *    "dest_table": "orders",
 *    "columns": [{"source": "id",       a name; with csv.header false an integer, the 1-based position
 *                 "dest": "order_id",
 *                 "type": "integer",    as column_type_name()
 *                 "required": true,
 *                 "start": 1,           fixed_width only, else absent: 1-based
 *                 "width": 8,
 *                 "encrypt": {"algorithm": "aes-256-gcm", "key": …},   absent, or one of them; the key a reference,
 *                 "hash": {"algorithm": "hmac-sha256", "key": …}}],    and base64 text for the worker
 *    "quarantine": {"dir": "/srv/bad",  absolute; "quarantine" is absent where a bad row fails its file
 *                   "max_invalid_fraction": 0.01,   at least one of the two is there
 *                   "max_invalid_rows": 100},
 *    "cdc": {"keys": ["id"],            absent but for write_mode cdc; columns, as "source" names them
 *            "operation_column": "op",  a field of the file
 *            "sequence_by": "changed",  a column, as "source" names it
 *            "operations": {"insert": ["c"], "update": ["u"], "delete": ["d"]}},
 *    -- always:
 *    "destination": {"type": "sqlite",
 *                    "path": "/var/lib/wherry/orders.db",   absolute; from `url` or `path`
 *                    "journal_mode": "wal",                 wal | truncate; absent: an existing database keeps its own
 *                    "busy_timeout": 60}}                   seconds
 *    -- or {"type": "postgres", "url", "password", "sslmode", "sslrootcert", "sslcert", "sslkey", "passfile": absent
 *           where not given, "schema": "public", "connect_timeout", "lock_timeout", "statement_timeout": seconds
 *           (0: none), "strip_nul": false, "environment": {"DATABASE_URL": null or text, "PGHOST": …, of wherryd's
 *           own}}
 *    -- or {"type": "duckdb", "path": "/srv/shop.duckdb", "schema": "main", "memory_limit": bytes; "threads",
 *           "duckdb_library": absent where not given}
 *
 * The worker gets all of it but "name" and "destination", plus {"connection", "run_id", "full", "requeued"} (a list of
 * the hashes of files whose quarantined rows are to be loaded; only with "quarantine"). The writer gets
 * {"connection", "run_id", "full", "files", "write_mode", "dest_table", "history", "on_schema_change", "strip_nul",
 * "commit_interval", "max_value_size", "sandbox", "log_table", "destination"}, as far as the connection has them
 * ("files": true where the source is files), "tables" (a list of names) where a full sync was asked for of these alone,
 * and "asked_as" (what wherryctl is told of it) where that is a file and no connection of a daemon. Both get
 * "debug": true where a person debugs a connector.
 *
 * Secret references stand in the JSON as {"$secret": {"kind": "env"|"file"|"credential"|"json", "name": "…"}} and are
 * resolved
 * when a sync starts.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/basics/error.h"
#include "lib/basics/mask.h"

/* What tells a changed file from an unchanged one. All zero: never taken for unchanged. */
typedef struct ConfigStamp {
    uint64_t inode;
    int64_t size;
    int64_t modified_ns, changed_ns;
} ConfigStamp;

/* Shared by reference count between the sets of successive loads: the same pointer means that nothing changed. */
typedef struct ConnectionConfig {
    unsigned references;
    char *name;
    char *path;              /* of its file */
    const char *source;      /* type; static */
    const char *destination; /* type; static */
    char *identity;          /* of the destination, for syncs that must queue; NULL: none */
    char *watch_dir;         /* files with watch: true; else NULL */
    char *quarantine_dir;    /* files whose bad rows are set aside; else NULL */
    bool append;             /* write_mode: rows of other files stay */
    char *json;              /* compact; the whole connection */
    char *warnings;          /* formatted as in ConfigSet, joined by "\n"; NULL: none */
    ConfigStamp stamp;
    uint32_t frequency_s;     /* 0: manual */
    uint32_t stall_timeout_s; /* 0: off */
    uint32_t retry_cap;
    uint32_t log_level; /* syslog priority threshold */
    bool paused;        /* starts paused */
    bool local;         /* its source and destination are local: may take the places kept for such */
} ConnectionConfig;

/* A sync that outlives a reload keeps its own reference. Loop thread only: the count is not atomic. */
ConnectionConfig *connection_config_ref(ConnectionConfig *config);
ConnectionConfig *
connection_config_free(ConnectionConfig *config); /* gives one reference up; NULL is fine; returns NULL */
DEFINE_CLEANUP(ConnectionConfig, connection_config_free)

typedef struct DaemonConfig {
    uint32_t max_syncs;   /* default: twice the cores */
    uint32_t log_level;   /* syslog priority threshold */
    json_t *destinations; /* NAME → object, checked and completed */
    json_t *defaults;     /* as written */
} DaemonConfig;

/* A broken file; the others are not affected. */
typedef struct ConfigProblem {
    char *name;    /* of the connection, printable; NULL: wherry.yaml itself */
    char *message; /* "orders.yaml:7:3: unknown key …"; several problems of one file joined by "\n" */
} ConfigProblem;

typedef struct ConfigSet {
    DaemonConfig daemon;
    ConnectionConfig **connections; /* sorted by name */
    size_t connection_count;
    ConfigProblem *problems; /* sorted by file name */
    size_t problem_count;
    char **warnings; /* "orders.yaml:9:8: warning: …" */
    size_t warning_count;
} ConfigSet;

ConfigSet *config_set_free(ConfigSet *set);
DEFINE_CLEANUP(ConfigSet, config_set_free)

/* The connection called NAME, or NULL. Borrowed. */
ConnectionConfig *config_set_find(const ConfigSet *set, const char *name);

/* Reads CONFIG_DIR/wherry.yaml (absent: defaults) and the .yaml files of CONFIG_DIR/pipelines.d and of
 * STATE_DIR/DEPLOYED_FOLDER. Fails as a whole only
 * when wherry.yaml is bad or a folder cannot be read (negative, ERROR; the message may have several lines, each with
 * its place). STATE_DIR: no destination may lie under its daemon/ folder; NULL: not checked. PREVIOUS may be NULL;
 * connections whose file and wherry.yaml did not change since are taken over from it without parsing, and those whose
 * meaning did not change keep their pointer. */
#define DEPLOYED_FOLDER "deployed/pipelines.d" /* of the state folder: files that `wherryctl deploy` wrote */
int config_load(const char *config_dir, const char *state_dir, const ConfigSet *previous, ConfigSet **ret,
                Error *error);
/* One file outside pipelines.d (`--once --file`, `check FILE`), with CONFIG_DIR/wherry.yaml where that exists. The
 * connection is called after the file: lower case, and "_" for what a name cannot hold. LEND_DIR: source directory for
 * a file without `source:`; NULL: none. Problems are in the set. */
int config_load_file(const char *config_dir, const char *state_dir, const char *path, const char *lend_dir,
                     ConfigSet **ret, Error *error);

/* The BEGIN configuration for the worker and for the writer (see above), secrets resolved (each only its own) and added
 * to MASK. ERROR_CONFIGURATION names a secret that cannot be had, never a value. */
int config_resolve(const ConnectionConfig *config, const char *run_id, bool full, Mask *mask, json_t **ret_worker,
                   json_t **ret_writer, Error *error);

/* The JSON Schema of a pipeline file, made from the key tables. The caller owns the reference. */
json_t *config_schema(void);
/* The manual page wherry-pipeline(5), made from them, too. */
char *config_manual(const char *version);
