#pragma once
/* What the parts of the configuration module share: see config.h for what they are for. */
#include "daemon/wherryd/config.h"
#include "daemon/wherryd/keys.h"
#include "daemon/wherryd/yaml.h"
#include "lib/basics/path.h"

/* --- config-value.c: one value, as its key wants it --- */
typedef struct ValueContext {
    Problems *problems;
    bool secrets; /* secret references may stand here */
    bool partial; /* what is required may be elsewhere */
    bool typed;   /* a map's "type" is read by somebody else */
} ValueContext;

/* NODE as KEY's type has it afterwards; JSON null after a problem. */
json_t *value_read(const ValueContext *context, const Key *key, const YamlNode *node);
/* KEY's default; NULL: none. */
json_t *value_fallback(const Key *key);
/* A map checked against TABLES (up to the first NULL): unknown and missing keys reported, defaults filled in. */
json_t *value_read_map(const ValueContext *context, const Key *const *tables, const YamlNode *map);
/* Without a table: YAML's own meaning of plain words and numbers. */
json_t *value_read_any(const ValueContext *context, const YamlNode *node);

/* --- config-connection.c: one connection --- */
typedef struct LoadContext {
    const YamlNode *defaults;   /* of wherry.yaml; NULL: none */
    const json_t *destinations; /* checked; by name */
    const char *state_folder;   /* STATE_DIR/daemon, canonical; NULL: not checked */
    const char *lend_dir;       /* absolute; NULL: none */
    bool lendable;              /* the file stands alone, so that a folder may be lent to it */
    PathCache *paths;
} LoadContext;

/* The connection in FILE, or NULL where PROBLEMS has errors. */
ConnectionConfig *connection_check(const LoadContext *context, const char *name, YamlFile *file, Problems *problems);
/* A destination of wherry.yaml; the reference is the caller's, NULL after a problem. */
json_t *destination_check(const LoadContext *context, const YamlNode *node, Problems *problems);

/* --- config-daemon.c: wherry.yaml --- */
/* Defaults and destinations into CONTEXT, settings into RET. Absent: all defaults. FILE must outlive the use of
 * CONTEXT. */
void daemon_check(LoadContext *context, YamlFile *file, DaemonConfig *ret, Problems *problems);
void daemon_config_defaults(DaemonConfig *ret);
uint32_t daemon_cores(void); /* that this process may use */

/* --- config.c --- */
uint32_t config_log_level(const char *name); /* syslog priority */
