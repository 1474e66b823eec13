#pragma once
/*
 * Configuration: wherry.yaml and pipelines.d/NAME.yaml, checked against the key tables.
 *
 * A checked connection is a small struct plus one compact JSON text (defaults filled in, paths absolute, secrets still as references), so that ten thousand of
 * them fit in memory; libfyaml's documents are freed at once. Errors carry file, line and column.
 *
 * Secret references stand in the JSON as {"$secret": {"kind": "env"|"file"|"credential", "name": "…"}} and are resolved when a sync starts.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/basics/error.h"
#include "lib/basics/mask.h"

typedef struct ConnectionConfig {
    char *name;
    char *path;             /* of its file */
    char *source;           /* type */
    char *destination;      /* type */
    char *identity;         /* of the destination, for syncs that must queue; NULL: none */
    char *watch_dir;        /* files with watch: true; else NULL */
    char *json;             /* compact; the whole connection */
    uint32_t frequency_s;   /* 0: manual */
    uint32_t stall_timeout_s; /* 0: off */
    uint32_t retry_cap;
    uint32_t log_level;     /* syslog priority threshold */
    bool paused;            /* starts paused */
    bool local;             /* its source and destination are local: may take the places kept for such */
} ConnectionConfig;

void connection_config_free(ConnectionConfig *config);

typedef struct DaemonConfig {
    uint32_t max_syncs;
    uint32_t log_level;
    json_t *destinations; /* NAME → object */
    json_t *defaults;
} DaemonConfig;

typedef struct ConfigProblem {
    char *name;    /* of the connection; NULL: wherry.yaml itself */
    char *message; /* formatted, with file:line:column; several problems of one file joined by "\n" */
} ConfigProblem;

typedef struct ConfigSet {
    DaemonConfig daemon;
    ConnectionConfig **connections; /* sorted by name */
    size_t connection_count;
    ConfigProblem *problems; /* broken files; the others are not affected */
    size_t problem_count;
    char **warnings;         /* "orders.yaml:9:8: warning: …" */
    size_t warning_count;
} ConfigSet;

void config_set_free(ConfigSet *set);
DEFINE_CLEANUP(ConfigSet, config_set_free)

/* Reads CONFIG_DIR/wherry.yaml (absent: defaults) and CONFIG_DIR/pipelines.d/ *.yaml. Never fails as a whole except when wherry.yaml is bad or CONFIG_DIR
 * unreadable (negative, ERROR). STATE_DIR: no destination may lie under its daemon/ folder. PREVIOUS may be NULL; files unchanged since (inode, size, mtime) are taken over from it
 * without parsing. */
int config_load(const char *config_dir, const char *state_dir, const ConfigSet *previous, ConfigSet **ret, Error *error);
/* One file outside pipelines.d (`--once --file`, `check FILE`). LEND_DIR: source directory for a file without `source:`; NULL: none. Problems are in the set. */
int config_load_file(const char *config_dir, const char *state_dir, const char *path, const char *lend_dir, ConfigSet **ret, Error *error);

/* The BEGIN configuration for the worker and for the writer, secrets resolved (each only its own) and added to MASK. ERROR_CONFIGURATION names a secret
 * that cannot be had, never a value. */
int config_resolve(const ConnectionConfig *config, const char *run_id, bool full, Mask *mask, json_t **ret_worker, json_t **ret_writer, Error *error);

/* The JSON Schema of a pipeline file, made from the key tables. The caller owns the reference. */
json_t *config_schema(void);
