#pragma once
/*
 * A YAML file as a tree that keeps the place of everything, so that whoever checks it can point at line and column.
 *
 * Hostile files are bounded: bytes, depth, values (aliases counted at every use) and keys of one map. Aliases share the
 * node they name; `<<: *alias` adds the keys that are not there. Only plain text, lists and maps with text keys remain;
 * what a plain scalar means (number, true, null) is for the reader of that key to say. Lines and columns are 1-based,
 * columns in characters.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/wherryd/problems.h"

#define YAML_BYTES_MAX (1u << 20)
#define YAML_DEPTH_MAX 32
#define YAML_VALUES_MAX 100000
#define YAML_KEYS_MAX 4096 /* of one map: duplicates are looked for one by one */
#define YAML_ANCHORS_MAX 256

typedef enum YamlKind { YAML_TEXT, YAML_LIST, YAML_MAP } YamlKind;
typedef enum YamlReference { YAML_PLAIN_VALUE, YAML_ENV, YAML_FILE, YAML_CREDENTIAL, YAML_JSON } YamlReference;

typedef struct YamlFile YamlFile;
typedef struct YamlNode YamlNode;

typedef struct YamlEntry {
    YamlNode *key; /* always text */
    YamlNode *value;
} YamlEntry;

struct YamlNode {
    const YamlFile *file; /* for places, and what a relative path is relative to */
    uint32_t line, column;
    YamlKind kind;
    YamlReference reference; /* !env, !file, !credential, !json */
    bool plain;              /* text without quotes */
    uint32_t values;         /* of the tree that begins here */
    uint32_t count;          /* of items or entries; of bytes of text */
    union {
        const char *text; /* valid UTF-8 without NUL, ends with one */
        YamlNode **items;
        YamlEntry *entries;
    };
};

struct YamlFile {
    const char *name;   /* as messages show it; borrowed */
    const char *folder; /* absolute; borrowed */
    YamlNode *root;     /* NULL: cannot be read, or empty */
    void *memory;       /* of all nodes */
};

/* Parses TEXT into FILE (name and folder set by the caller). Without a root there is a problem, or the file is empty;
 * with one there may still be problems (duplicate keys). Nothing refers to TEXT afterwards. */
void yaml_parse(YamlFile *file, const char *text, size_t n, Problems *problems);
void yaml_clear(YamlFile *file);

/* A node made by hand, living as long as FILE. */
YamlNode *yaml_text(YamlFile *file, const char *text, uint32_t line, uint32_t column);
void *yaml_allocate(YamlFile *file, size_t n);

const YamlNode *yaml_get(const YamlNode *map, const char *key); /* NULL: not there, or no map */
bool yaml_is_null(const YamlNode *node);                        /* nothing, ~ or null without quotes */
/* problems_add() at NODE. */
#define yaml_problem(problems, node, ...) \
    problems_add(problems, false, (node)->file->name, (node)->line, (node)->column, __VA_ARGS__)
#define yaml_warning(problems, node, ...) \
    problems_add(problems, true, (node)->file->name, (node)->line, (node)->column, __VA_ARGS__)
