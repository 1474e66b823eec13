#pragma once
/* What a files connection's configuration says, as this source needs it. */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "connectors/sources/files/protect.h"
#include "lib/basics/error.h"
#include "lib/formats/value.h"

typedef enum FileFormat { FORMAT_CSV, FORMAT_NDJSON, FORMAT_FIXED_WIDTH, FORMAT_PARQUET } FileFormat;

typedef struct FileColumn {
    char *source; /* owned; name in the file; the position as text where `position` is set */
    char *dest;   /* owned; name in the destination */
    ColumnType type;
    bool required;
    uint32_t position; /* CSV without a header: 1-based; 0: by name */
    uint32_t start;    /* fixed width: first character, 0-based */
    uint32_t width;
    bool protected; /* encrypted or hashed: its plain value is written down nowhere */
} FileColumn;

typedef enum ManifestPolicy { MANIFEST_OPTIONAL, MANIFEST_REQUIRED, MANIFEST_DISABLED } ManifestPolicy;

typedef struct Changes Changes; /* changes.h */

typedef struct FilesSettings {
    char *dir;          /* owned; absolute */
    char *file_pattern; /* owned; NULL: every name */
    char *dest_table;   /* owned */
    char *encoding;     /* owned */
    FileFormat format;
    ManifestPolicy manifest; /* source_manifest */
    FileColumn *columns;
    size_t column_count;
    bool has_protected;   /* one of them is protected */
    Protector *protector; /* owned; NULL: none is */
    char delimiter, quote;
    bool header;
    bool keep_empty;         /* empty text in a string or binary column is kept, not NULL */
    char *null_text;         /* owned; unquoted CSV text that stands for NULL; NULL: none */
    uint32_t max_value_size; /* bytes of one value */
    Changes *changes;        /* owned; write_mode cdc, and then the last column is the operation; NULL: another */
    bool append, truncate;   /* write_mode */
    bool quarantine;         /* bad rows are set aside; else the next three mean nothing */
    char *quarantine_dir;    /* owned; absolute */
    double max_invalid_fraction;
    uint64_t max_invalid_rows;
    char *connection;     /* owned; its name */
    char *duckdb_library; /* owned; NULL: wherever it is */
    uint64_t memory;      /* that the sync may use; 0: not said */
} FilesSettings;

/* From BEGIN's configuration, whose shape daemon/wherryd/config.h writes down. */
int files_settings_parse(const json_t *configuration, FilesSettings *ret, Error *error);
void files_settings_clear(FilesSettings *settings);

/* Whether the field called NAME (NULL: any field) feeds a column whose plain value must not be written down. Where
 * there is any, no error quotes what a file holds: a shifted row shows its values under the names of other columns. */
bool files_settings_protect(const FilesSettings *settings, const char *name);

/* The longest record (line, CSV row) that is read: room for a few values of the largest size. */
size_t files_settings_record_max(const FilesSettings *settings);
