/*
 * The daemon has checked and completed the configuration already, so that what does not fit here is a defect between
 * two programs of ours, not a user's mistake: the messages name the key and nothing more.
 */
#include "connectors/sources/files/settings.h"

#include "connectors/sources/files/changes.h"

#include <string.h>

#include "lib/basics/base64.h"
#include "lib/basics/buffer.h"

#define MAX_VALUE_SIZE_DEFAULT (16u << 20)
#define RECORD_MAX (512u << 20)

static int bad(const char *key, Error *error)
{
    return error_set(error, ERROR_CONFIGURATION, "the configuration from the daemon has no usable \"%s\"", key);
}

static const char *text_at(const json_t *object, const char *key, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : fallback;
}

static bool flag_at(const json_t *object, const char *key, bool fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

static int format_parse(const char *name, FileFormat *ret, Error *error)
{
    static const char *const names[] = {
        [FORMAT_CSV] = "csv",
        [FORMAT_NDJSON] = "ndjson",
        [FORMAT_FIXED_WIDTH] = "fixed_width",
        [FORMAT_PARQUET] = "parquet",
    };
    for (size_t i = 0; name && i < ELEMENTSOF(names); i++)
        if (strcmp(name, names[i]) == 0) {
            *ret = (FileFormat)i;
            return 0;
        }
    return bad("format", error);
}

static int column_place(FileColumn *column, const json_t *object, const FilesSettings *settings, Error *error)
{
    const json_t *source = json_object_get(object, "source");
    if (settings->format == FORMAT_CSV && !settings->header) {
        json_int_t position =
            json_is_integer(source) ? json_integer_value(source) : atoll(text_at(object, "source", "0"));
        if (position < 1 || position > UINT16_MAX)
            return bad("columns.source", error);
        column->position = (uint32_t)position;
        column->source = xasprintf("%u", column->position);
        return 0;
    }
    column->source = xstrdup(json_string_value(source));
    if (!column->source)
        return bad("columns.source", error);
    if (settings->format == FORMAT_FIXED_WIDTH) {
        json_int_t start = json_integer_value(json_object_get(object, "start"));
        json_int_t width = json_integer_value(json_object_get(object, "width"));
        if (start < 1 || start > INT32_MAX || width < 1 || width > INT32_MAX)
            return bad("columns.start", error);
        column->start = (uint32_t)start - 1;
        column->width = (uint32_t)width;
    }
    return 0;
}

/* `encrypt` and `hash`; the daemon sends their keys as base64. */
static int column_protection(const json_t *object, size_t i, FilesSettings *settings, Error *error)
{
    static const char *const names[] = { [PROTECTION_ENCRYPT] = "encrypt", [PROTECTION_HASH] = "hash" };
    for (ProtectionKind kind = PROTECTION_ENCRYPT; kind <= PROTECTION_HASH; kind++) {
        const json_t *map = json_object_get(object, names[kind]);
        if (!map)
            continue;
        const char *text = text_at(map, "key", "");
        size_t n = strlen(text), length = 0;
        _cleanup_(freep) uint8_t *key = xmalloc(n / 4 * 3 + 1);
        if (!base64_decode(text, n, key, &length))
            return bad(names[kind], error);
        if (!settings->protector)
            settings->protector = protector_new(settings->column_count);
        int r = protector_add(settings->protector, i, kind, key, length, error);
        explicit_bzero(key, length);
        if (r < 0)
            return r;
    }
    return 0;
}

static int columns_parse(const json_t *list, bool is_changes, FilesSettings *settings, Error *error)
{
    size_t count = json_array_size(list);
    if (count == 0)
        return bad("columns", error);
    settings->column_count = count + is_changes; /* one more for the operation */
    settings->columns = xcalloc(settings->column_count, sizeof(FileColumn));
    for (size_t i = 0; i < count; i++) {
        const json_t *object = json_array_get(list, i);
        FileColumn *column = &settings->columns[i];
        column->dest = xstrdup(text_at(object, "dest", NULL));
        column->type = column_type_from_name(text_at(object, "type", ""));
        column->required = flag_at(object, "required", true);
        column->protected = json_object_get(object, "encrypt") || json_object_get(object, "hash");
        settings->has_protected |= column->protected;
        if (!column->dest || column->type == 0)
            return bad("columns", error);
        if (column_place(column, object, settings, error) < 0 || column_protection(object, i, settings, error) < 0)
            return -1;
    }
    return 0;
}

static int quarantine_parse(const json_t *quarantine, FilesSettings *settings, Error *error)
{
    if (!json_is_object(quarantine))
        return 0;
    const json_t *fraction = json_object_get(quarantine, "max_invalid_fraction");
    const json_t *rows = json_object_get(quarantine, "max_invalid_rows");
    settings->quarantine = true;
    settings->quarantine_dir = xstrdup(text_at(quarantine, "dir", NULL));
    if (!settings->quarantine_dir)
        return bad("quarantine.dir", error);
    settings->max_invalid_fraction = json_is_number(fraction) ? json_number_value(fraction) : 1;
    settings->max_invalid_rows = json_is_integer(rows) ? (uint64_t)json_integer_value(rows) : UINT64_MAX;
    return 0;
}

static int settings_fill(const json_t *configuration, FilesSettings *settings, Error *error)
{
    const json_t *source = json_object_get(configuration, "source"), *csv = json_object_get(configuration, "csv");
    settings->dir = xstrdup(text_at(source, "dir", NULL));
    if (!settings->dir)
        return bad("source.dir", error);
    const char *pattern = text_at(source, "file_pattern", "*");
    settings->file_pattern = strcmp(pattern, "*") == 0 ? NULL : xstrdup(pattern);
    settings->dest_table = xstrdup(text_at(configuration, "dest_table", NULL));
    if (!settings->dest_table)
        return bad("dest_table", error);
    settings->encoding = xstrdup(text_at(configuration, "encoding", "utf-8"));
    if (format_parse(text_at(configuration, "format", NULL), &settings->format, error) < 0)
        return -1;

    const char *manifest = text_at(configuration, "source_manifest", "optional");
    settings->manifest = strcmp(manifest, "required") == 0   ? MANIFEST_REQUIRED
                         : strcmp(manifest, "disabled") == 0 ? MANIFEST_DISABLED
                                                             : MANIFEST_OPTIONAL;

    const char *delimiter = text_at(csv, "delimiter", ","), *quote = text_at(csv, "quote", "\"");
    if (strlen(delimiter) != 1 || (unsigned char)*delimiter > 0x7f || *delimiter == *quote || *delimiter == '\n' ||
        *delimiter == '\r')
        return bad("csv.delimiter", error);
    if (strlen(quote) != 1 || (unsigned char)*quote > 0x7f || *quote == '\n' || *quote == '\r')
        return bad("csv.quote", error);
    settings->delimiter = *delimiter;
    settings->quote = *quote;
    settings->header = flag_at(csv, "header", true);
    settings->null_text = xstrdup(text_at(csv, "null", NULL));
    settings->keep_empty = strcmp(text_at(csv, "empty", "null"), "keep") == 0;

    const json_t *size = json_object_get(configuration, "max_value_size");
    json_int_t bytes = json_is_integer(size) ? json_integer_value(size) : MAX_VALUE_SIZE_DEFAULT;
    if (bytes < 1)
        return bad("max_value_size", error);
    settings->max_value_size = (uint32_t)MIN_OF(bytes, (json_int_t)RECORD_MAX);
    const char *write_mode = text_at(configuration, "write_mode", "append");
    settings->append = strcmp(write_mode, "append") == 0;
    settings->truncate = strcmp(write_mode, "truncate") == 0;
    settings->duckdb_library = xstrdup(text_at(source, "duckdb_library", NULL));
    settings->memory =
        (uint64_t)json_integer_value(json_object_get(json_object_get(configuration, "sandbox"), "memory"));
    settings->connection = xstrdup(text_at(configuration, "connection", ""));
    if (quarantine_parse(json_object_get(configuration, "quarantine"), settings, error) < 0)
        return -1;
    const json_t *cdc = json_object_get(configuration, "cdc");
    if (columns_parse(json_object_get(configuration, "columns"), cdc != NULL, settings, error) < 0)
        return -1;
    if (cdc && !(settings->changes = changes_parse(cdc, settings)))
        return bad("cdc", error);
    return 0;
}

int files_settings_parse(const json_t *configuration, FilesSettings *ret, Error *error)
{
    FilesSettings settings = { 0 };
    if (settings_fill(configuration, &settings, error) < 0) {
        files_settings_clear(&settings);
        return -1;
    }
    *ret = settings;
    return 0;
}

void files_settings_clear(FilesSettings *settings)
{
    for (size_t i = 0; i < settings->column_count; i++) {
        free(settings->columns[i].source);
        free(settings->columns[i].dest);
    }
    free(settings->columns);
    protector_free(settings->protector);
    changes_free(settings->changes);
    free(settings->dir);
    free(settings->file_pattern);
    free(settings->dest_table);
    free(settings->encoding);
    free(settings->null_text);
    free(settings->quarantine_dir);
    free(settings->connection);
    free(settings->duckdb_library);
    *settings = (FilesSettings){ 0 };
}

bool files_settings_protect(const FilesSettings *settings, const char *name)
{
    if (!settings->has_protected || !name)
        return settings->has_protected;
    for (size_t i = 0; i < settings->column_count; i++)
        if (settings->columns[i].protected && strcmp(settings->columns[i].source, name) == 0)
            return true;
    return false;
}

size_t files_settings_record_max(const FilesSettings *settings)
{
    /* Eight: a value written as \uXXXX escapes takes six times its size, and a row may hold more than one value. */
    uint64_t wanted = UINT64_C(8) * settings->max_value_size + (1u << 20);
    return (size_t)MIN_OF(wanted, (uint64_t)RECORD_MAX);
}
