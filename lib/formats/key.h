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

#include "lib/basics/cleanup.h"

#define KEY_NAME_MAX 255 /* bytes of a table's or column's name */

typedef enum KeyType {
    KEY_STRING,    /* text; inside `source:` and `destination:` also a secret reference */
    KEY_NAME,      /* of a table or column: 1 … KEY_NAME_MAX bytes without control characters */
    KEY_FIELD,     /* a field of the input: a name, or (a bare number) a 1-based position, an integer afterwards */
    KEY_CHARACTER, /* a string of exactly one ASCII character */
    KEY_BOOLEAN,
    KEY_INTEGER,   /* minimum … maximum */
    KEY_NUMBER,    /* a fraction: minimum … maximum */
    KEY_DURATION,  /* [0-9]+(s|m|h|d), in seconds afterwards: minimum … maximum */
    KEY_FREQUENCY, /* a duration of at least 1 s, or "manual" (0 afterwards) */
    KEY_SIZE,      /* bytes: [0-9]+[KMG]?, binary units: minimum … maximum */
    KEY_ENUM,      /* one of `choices` */
    KEY_SECRET,    /* key material, by reference only: env:NAME (base64) or secrets:/absolute/path (its bytes less one
                      newline    at the end) as Filedge writes it, or !env (base64), !file, !credential. minimum … maximum
                      bytes;    maximum 0: any. Base64 once resolved */
    KEY_PATH,      /* local; relative to the file's folder; absolute afterwards */
    KEY_LIST,      /* of maps described by `fields`, or without these of `items` (minimum … maximum are theirs) */
    KEY_MAP,       /* described by `fields`; a single word is short for its first field */
    KEY_CONNECTOR, /* `source`, `destination`: described by the ConnectorKeys that its "type" names */
    KEY_ANY,       /* passed through as it is (a connector's own configuration) */
} KeyType;

/* A word that is known from Filedge or planned, refused by name. */
typedef struct KeyLater {
    const char *word;    /* NULL ends a list */
    const char *instead; /* what to do now; NULL: nothing to say */
} KeyLater;

typedef struct Key Key;
struct Key {
    const char *name; /* NULL ends a table */
    KeyType type;
    bool required;
    bool shorthand;             /* KEY_MAP: a word stands for a map with just its first field */
    const char *fallback;       /* the default, as a file would write it; NULL: absent */
    const char *const *choices; /* KEY_ENUM; also words that another type may have besides ("off", which is 0
                                   afterwards, for a duration; "tab" for a character): NULL-terminated */
    int64_t minimum, maximum;   /* maximum 0: none */
    const Key *fields;          /* KEY_MAP, KEY_LIST */
    KeyType items;              /* KEY_LIST without fields */
    const KeyLater *later;      /* words of an enumeration (or "true" of a boolean) that are not supported yet */
    const char *not_yet;        /* the whole key is not supported yet: what to do instead ("" where there is nothing) */
    const char *no_effect;      /* accepted and left out: the warning's reason ("" where there is nothing to warn of) */
    const char *description;    /* one sentence, for the schema and the manual */
};

/* How complete() speaks to the parser. PATH names a key of the connection: "columns[2].type". A value that was given
 * but is bad has been reported already, and is JSON null in the object. */
typedef struct KeyReport KeyReport;
struct KeyReport {
    const char *folder; /* of the file: what relative paths are relative to; absolute */
    void (*say)(KeyReport *report, bool warning, const char *path, const char *message);
    bool (*given)(KeyReport *report, const char *path); /* written in the file itself, not filled in? */
};
void key_problem(KeyReport *report, const char *path, const char *format, ...) _public_printf_(3, 4);
void key_warning(KeyReport *report, const char *path, const char *format, ...) _public_printf_(3, 4);

typedef struct ConnectorKeys {
    const char *type; /* "files", "sqlite" */
    bool local;       /* needs no network */
    bool operations;  /* a source that emits upserts and the like: its connections have `operation_keys` too */
    bool own_schema;  /* a source: its tables lie in a schema called after the connection, where none is named */
    const Key *own;   /* inside `source:` or `destination:` */
    const Key *top;   /* at the top level of a connection with this source or destination; may be NULL */
    /* Checks what a table cannot say, and completes CONNECTION (the whole object, defaults filled in): paths absolute,
     * aliases settled. Called a second time it changes nothing. For a destination of wherry.yaml CONNECTION has nothing
     * but "destination". NULL: nothing to check. */
    void (*complete)(json_t *connection, KeyReport *report);
    /* The plain file that is written, borrowed from CONNECTION: syncs into the same one run one after another, and none
     * may lie under the daemon's own state. NULL function or result: no such file. */
    const char *(*database_path)(const json_t *connection);
    uint64_t memory;   /* a source: what it may use where `sandbox: {memory: …}` does not say; 0: what it likes */
    bool whole_folder; /* the writer may reach all that lies in database_path's folder */
} ConnectorKeys;
