#pragma once
/*
 * The table of configuration keys. One row per key; from these tables the parser checks a file, `wherryd` fills in
 * defaults, and the editor schema (etc/pipeline.schema.json) and the manual page are made.
 *
 * General keys stand in daemon/wherryd/keys.c; a source's or destination's own keys in the config.c of its folder,
 * which links no driver, as `const ConnectorKeys source_files_keys` and `destination_sqlite_keys`.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/basics/error.h"

typedef enum KeyType {
    KEY_STRING,
    KEY_TEXT1, /* a string of exactly one ASCII character */
    KEY_BOOLEAN,
    KEY_INTEGER,   /* minimum … maximum */
    KEY_NUMBER,    /* a fraction: minimum … maximum */
    KEY_DURATION,  /* [0-9]+(s|m|h|d), in seconds afterwards */
    KEY_FREQUENCY, /* a duration of at least 1 s, or "manual" (0 afterwards) */
    KEY_SIZE,      /* bytes: [0-9]+[KMG]?, binary units */
    KEY_ENUM,      /* one of `choices` */
    KEY_PATH,      /* relative to the file's folder; absolute afterwards */
    KEY_LIST,      /* of strings, or of maps described by `fields` */
    KEY_MAP,       /* described by `fields` */
    KEY_ANY,       /* passed through as it is (a connector's own configuration) */
} KeyType;

typedef struct Key Key;
struct Key {
    const char *name; /* NULL ends a table */
    KeyType type;
    bool required;
    const char *fallback;       /* the default, as a file would write it; NULL: absent */
    const char *const *choices; /* KEY_ENUM; also further words a KEY_DURATION, KEY_STRING or KEY_BOOLEAN may have
                                   ("off"); NULL-terminated */
    int64_t minimum, maximum;   /* KEY_INTEGER, KEY_SIZE, KEY_DURATION; 0, 0: any non-negative */
    const Key *fields;          /* KEY_MAP, KEY_LIST */
    const char *not_yet;        /* known from Filedge or planned, refused by name: what to do instead */
    const char *description;    /* one sentence, for the schema and the manual */
};

typedef struct ConnectorKeys {
    const char *type; /* "files", "sqlite" */
    const Key *own;   /* inside `source:` or `destination:` */
    const Key *top;   /* at the top level of a connection with this source or destination */
    /* Checks what a table cannot say, and completes CONNECTION (the whole object: defaults filled in, paths absolute,
     * aliases settled). On failure names the offending key as a path in *ret_key ("columns[2].type", static or owned by
     * CONNECTION's lifetime via a static buffer), so that the parser can add line and column. NULL: nothing to check.
     */
    int (*complete)(json_t *connection, const char **ret_key, Error *error);
    /* What two connections must share for their syncs to run one after another ("sqlite:/abs/path"), malloc'ed; NULL
     * function or result: nothing. */
    char *(*identity)(const json_t *connection);
    /* Plain paths that must not lie under the daemon's own state; may be NULL. */
    const char *(*database_path)(const json_t *connection);
} ConnectorKeys;
