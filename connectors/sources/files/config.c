/*
 * The keys of a files source. The names, the types and the defaults are Filedge's, so that its pipeline files work
 * unchanged; `source:`, `csv:` and the types decimal, json and binary are ours. No parser is linked here: the daemon
 * includes this file and must not know how a CSV file is read.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "connectors/sources/files/encoding.h"
#include "lib/basics/path.h"
#include "lib/formats/key.h"
#include "lib/formats/value.h"

extern const ConnectorKeys source_files_keys;

#define POSITION_MAX 65535  /* of a column in a row */
#define COLUMNS_MAX 4096    /* duplicates are looked for one by one */
#define WIDTH_MAX (1 << 20) /* of a fixed-width column, and the last place where one may start */

static const char *const formats[] = { "csv", "ndjson", "fixed_width", "parquet", NULL };
static const KeyLater formats_later[] = { { "excel", "save the sheet as CSV" }, { 0 } };
static const char *const write_modes[] = { "append", "truncate", "cdc", NULL };
static const char *const empties[] = { "null", "keep", NULL };
static const char *const tab[] = { "tab", NULL };
static const char *const types[] = { "string",  "integer", "float", "date",   "timestamp",
                                     "boolean", "decimal", "json",  "binary", NULL };
static const char *const manifest_policies[] = { "disabled", "optional", "required", NULL };

static const Key own_keys[] = { { .name = "dir",
                                  .type = KEY_PATH,
                                  .required = true,
                                  .description = "The folder to read; subfolders are not looked at." },
                                { .name = "file_pattern",
                                  .type = KEY_STRING,
                                  .fallback = "*",
                                  .description = "Only files whose name matches this shell pattern." },
                                { .name = "watch",
                                  .type = KEY_BOOLEAN,
                                  .fallback = "false",
                                  .description = "Also load a file as soon as it arrives." },
                                { .name = "duckdb_library",
                                  .type = KEY_PATH,
                                  .description = "DuckDB's library, which reads parquet; by default the system's, then "
                                                 "the one installed with Wherry." },
                                { 0 } };

static const Key csv_keys[] = {
    { .name = "delimiter",
      .type = KEY_CHARACTER,
      .choices = tab,
      .fallback = ",",
      .description = "What separates the values of a row: one ASCII character, or tab." },
    { .name = "quote", .type = KEY_CHARACTER, .fallback = "\"", .description = "What encloses a value." },
    { .name = "header",
      .type = KEY_BOOLEAN,
      .fallback = "true",
      .description = "Whether the first row names the columns; where not, a column's source is its position." },
    { .name = "null", .type = KEY_STRING, .description = "The text that stands for NULL, such as NA." },
    { .name = "empty",
      .type = KEY_ENUM,
      .choices = empties,
      .fallback = "null",
      .description = "Whether an empty value is NULL or stays empty text." },
    { 0 }
};

static const char *const ciphers[] = { "aes-256-gcm", NULL };
static const char *const hashes[] = { "hmac-sha256", NULL };

static const Key encrypt_keys[] = { { .name = "algorithm",
                                      .type = KEY_ENUM,
                                      .required = true,
                                      .choices = ciphers,
                                      .description = "AES-256-GCM, with a random nonce for each value." },
                                    { .name = "key",
                                      .type = KEY_SECRET,
                                      .required = true,
                                      .minimum = 32,
                                      .maximum = 32,
                                      .description = "Where the 32 bytes of the key are: env:NAME (base64), "
                                                     "secrets:/path, !env, !file or !credential." },
                                    { 0 } };

static const Key hash_keys[] = { { .name = "algorithm",
                                   .type = KEY_ENUM,
                                   .required = true,
                                   .choices = hashes,
                                   .description = "HMAC-SHA256: equal values have equal hashes." },
                                 { .name = "key",
                                   .type = KEY_SECRET,
                                   .required = true,
                                   .minimum = 32,
                                   .description = "Where the key, of 32 bytes or more, is: env:NAME (base64), "
                                                  "secrets:/path, !env, !file or !credential." },
                                 { 0 } };

static const Key column_keys[] = {
    { .name = "source",
      .type = KEY_FIELD,
      .required = true,
      .description = "The field of the file: its name, or its position." },
    { .name = "dest", .type = KEY_NAME, .description = "The column of the table; by default called as its source." },
    { .name = "type", .type = KEY_ENUM, .required = true, .choices = types, .description = "The type of the values." },
    { .name = "required",
      .type = KEY_BOOLEAN,
      .fallback = "true",
      .description = "Whether a missing, null or empty value is an error." },
    { .name = "start",
      .type = KEY_INTEGER,
      .minimum = 1,
      .maximum = WIDTH_MAX,
      .description = "fixed_width: the first character's place in the line, from 1." },
    { .name = "width",
      .type = KEY_INTEGER,
      .minimum = 1,
      .maximum = WIDTH_MAX,
      .description = "fixed_width: how many characters." },
    { .name = "encrypt",
      .type = KEY_MAP,
      .fields = encrypt_keys,
      .description = "Only the encrypted value is written, as text." },
    { .name = "hash",
      .type = KEY_MAP,
      .fields = hash_keys,
      .description = "Only the value's keyed hash is written, as text." },
    { 0 }
};

static const Key quarantine_keys[] = {
    { .name = "enabled",
      .type = KEY_BOOLEAN,
      .required = true,
      .description = "Whether bad rows are set aside; else one fails its whole file." },
    { .name = "dir", .type = KEY_PATH, .description = "The folder for files with bad rows; this connection's alone." },
    { .name = "max_invalid_fraction",
      .type = KEY_NUMBER,
      .maximum = 1,
      .description = "A file with a larger part of bad rows fails." },
    { .name = "max_invalid_rows", .type = KEY_INTEGER, .description = "A file with more bad rows fails." },
    { 0 }
};

static const Key operations_keys[] = {
    { .name = "insert", .type = KEY_LIST, .items = KEY_STRING, .required = true, .description = "A new row's words." },
    { .name = "update",
      .type = KEY_LIST,
      .items = KEY_STRING,
      .required = true,
      .description = "A changed row's words." },
    { .name = "delete",
      .type = KEY_LIST,
      .items = KEY_STRING,
      .required = true,
      .description = "A removed row's words." },
    { 0 }
};

static const Key cdc_keys[] = {
    { .name = "keys",
      .type = KEY_LIST,
      .items = KEY_STRING,
      .required = true,
      .description = "The columns, as the file names them, that tell rows apart." },
    { .name = "operation_column",
      .type = KEY_STRING,
      .required = true,
      .description = "The field that says what happened to the row; it need not be one of the columns." },
    { .name = "sequence_by",
      .type = KEY_STRING,
      .required = true,
      .description = "The column, as the file names it, whose greatest value is a key's latest row." },
    { .name = "operations",
      .type = KEY_MAP,
      .fields = operations_keys,
      .required = true,
      .description = "What the field's values mean." },
    { 0 }
};

static const Key top_keys[] = {
    { .name = "file_pattern", .type = KEY_STRING, .description = "The same as file_pattern in the source." },
    { .name = "format",
      .type = KEY_ENUM,
      .required = true,
      .choices = formats,
      .later = formats_later,
      .description = "How the files are written; .gz, .zst, .bz2 and .xz are unpacked." },
    { .name = "csv", .type = KEY_MAP, .fields = csv_keys, .fallback = "", .description = "How the CSV is written." },
    { .name = "encoding",
      .type = KEY_STRING,
      .fallback = "utf-8",
      .description = "The files' character encoding, as iconv calls it." },
    { .name = "dest_table", .type = KEY_NAME, .required = true, .description = "The table that rows go to." },
    { .name = "write_mode",
      .type = KEY_ENUM,
      .choices = write_modes,
      .fallback = "append",
      .description =
          "Keep the rows of other files (append), hold the newest file's alone (truncate), or apply changes (cdc)." },
    { .name = "columns",
      .type = KEY_LIST,
      .required = true,
      .fields = column_keys,
      .description = "The columns of the table." },
    { .name = "retry_cap",
      .type = KEY_INTEGER,
      .fallback = "3",
      .minimum = 1,
      .maximum = 1000000,
      .description = "How often a bad file is tried before it waits for `wherryctl requeue`." },
    { .name = "batch_size",
      .type = KEY_INTEGER,
      .minimum = 1,
      .maximum = INT64_MAX,
      .no_effect = "each file is one transaction",
      .description = "Filedge's; has no effect." },
    { .name = "stale_timeout_minutes",
      .type = KEY_INTEGER,
      .minimum = 1,
      .maximum = INT64_MAX,
      .no_effect = "a file left by a sync that died is taken up again at once",
      .description = "Filedge's; has no effect." },
    { .name = "source_manifest",
      .type = KEY_ENUM,
      .choices = manifest_policies,
      .fallback = "optional",
      .description =
          "Whether NAME.manifest.json, which says where a file comes from, is looked for, and must be there." },
    { .name = "quarantine",
      .type = KEY_MAP,
      .fields = quarantine_keys,
      .description = "Set bad rows aside and load the others; at least one limit." },
    { .name = "cdc",
      .type = KEY_MAP,
      .fields = cdc_keys,
      .description = "What each row of a file of changes changes (write_mode cdc)." },
    { .name = "excel", .not_yet = "save the sheet as CSV" },
    { 0 }
};

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static void complete_source(json_t *connection, KeyReport *report)
{
    json_t *source = json_object_get(connection, "source"), *outer = json_object_get(connection, "file_pattern");
    if (json_is_string(outer) && report->given(report, "source.file_pattern")) {
        if (report->given(report, "file_pattern"))
            key_problem(report, "file_pattern", "\"file_pattern\" stands in \"source\" too; keep one");
    } else if (json_is_string(outer)) {
        json_object_set(source, "file_pattern", outer);
    }
    const char *pattern = text_of(source, "file_pattern");
    const char *where = json_is_string(outer) ? "file_pattern" : "source.file_pattern";
    json_object_del(connection, "file_pattern");
    if (pattern && !*pattern)
        key_problem(report, where, "\"file_pattern\" is empty; write * for all files");
    else if (pattern && strchr(pattern, '/'))
        key_problem(report, where, "\"file_pattern\" matches names of files; put the folder in \"dir\"");
}

static void complete_csv(json_t *connection, const char *format, KeyReport *report)
{
    json_t *csv = json_object_get(connection, "csv");
    if (format && strcmp(format, "csv") != 0) {
        if (report->given(report, "csv"))
            key_problem(report, "csv", "\"csv\" belongs to format csv, not to %s", format);
        json_object_del(connection, "csv");
        return;
    }
    const char *delimiter = text_of(csv, "delimiter"), *quote = text_of(csv, "quote");
    if (delimiter && strcmp(delimiter, "tab") == 0) {
        json_object_set_new(csv, "delimiter", json_string("\t"));
        delimiter = "\t";
    }
    if (delimiter && quote && strcmp(delimiter, quote) == 0)
        key_problem(report, report->given(report, "csv.quote") ? "csv.quote" : "csv.delimiter",
                    "\"delimiter\" and \"quote\" are the same character");
    const char *const keys[] = { "delimiter", "quote" };
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        const char *character = text_of(csv, keys[i]);
        if (character && (*character == '\n' || *character == '\r'))
            key_problem(report, i == 0 ? "csv.delimiter" : "csv.quote", "\"%s\" cannot be the end of a line", keys[i]);
    }
}

/* iconv is libc's. UTF-8 and ASCII, which nearly all are, load nothing. */
static void complete_encoding(json_t *connection, KeyReport *report)
{
    const char *encoding = text_of(connection, "encoding");
    const char *format = text_of(connection, "format");
    if (format && strcmp(format, "parquet") == 0 && report->given(report, "encoding"))
        key_problem(report, "encoding", "\"encoding\" belongs to formats of text, not to parquet");
    if (format && strcmp(format, "parquet") != 0 && report->given(report, "source.duckdb_library"))
        key_problem(report, "source.duckdb_library", "\"duckdb_library\" belongs to format parquet");
    if (!encoding || encoding_is(encoding, "utf8") || encoding_is(encoding, "utf8sig") ||
        encoding_is(encoding, "ascii"))
        return;
    iconv_t conversion = encoding_open(encoding);
    if (conversion == ENCODING_UNKNOWN)
        key_problem(report, "encoding", "no character encoding is called \"%s\"; \"iconv -l\" lists them", encoding);
    else
        iconv_close(conversion);
}

/* A problem at PART (".source", or "" for the whole) of column I. */
#define column_problem(report, i, part, ...)                       \
    ({                                                             \
        char path_[64];                                            \
        snprintf(path_, sizeof(path_), "columns[%zu]%s", i, part); \
        key_problem(report, path_, __VA_ARGS__);                   \
    })

/* What `source` of column I means depends on the format: a position only where nothing has a name. */
static void complete_field(json_t *column, size_t i, bool positions, KeyReport *report)
{
    char text[32];
    json_t *source = json_object_get(column, "source");
    if (positions && json_is_string(source)) {
        column_problem(report, i, ".source", "with \"header: false\" a column's \"source\" is its position: 1, 2, …");
    } else if (json_is_integer(source) && !positions) {
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(source));
        json_object_set_new(column, "source", json_string(text));
        source = json_object_get(column, "source");
    } else if (json_is_integer(source) &&
               (json_integer_value(source) < 1 || json_integer_value(source) > POSITION_MAX)) {
        column_problem(report, i, ".source", "\"source\" is a position from 1 to %d", POSITION_MAX);
    }
    if (json_object_get(column, "dest"))
        return;
    if (json_is_string(source))
        json_object_set(column, "dest", source);
    else if (json_is_integer(source))
        column_problem(report, i, ".source", "a column without a name needs \"dest\"");
}

static void complete_protection(const json_t *column, size_t i, KeyReport *report)
{
    if (json_object_get(column, "encrypt") && json_object_get(column, "hash"))
        column_problem(report, i, ".hash",
                       "a column has \"encrypt\" or \"hash\"; for both, list it twice, with two \"dest\"");
}

static void complete_place(const json_t *column, size_t i, bool fixed, KeyReport *report)
{
    const char *const parts[] = { ".start", ".width" };
    for (size_t k = 0; k < ELEMENTSOF(parts); k++) {
        bool given = json_object_get(column, parts[k] + 1) != NULL;
        if (fixed && !given)
            column_problem(report, i, "", "missing key \"%s\": a fixed_width column has \"start\" and \"width\"",
                           parts[k] + 1);
        else if (!fixed && given)
            column_problem(report, i, parts[k], "\"%s\" belongs to format fixed_width", parts[k] + 1);
    }
}

/* Where the name of column I's destination was written. */
static const char *dest_key(size_t i, KeyReport *report)
{
    char path[64];
    snprintf(path, sizeof(path), "columns[%zu].dest", i);
    return report->given(report, path) ? ".dest" : ".source";
}

static void complete_dest(const json_t *columns, size_t i, KeyReport *report)
{
    static const char *const ours[] = { "_id", "_source_file_hash", "_ingested_at" };
    const char *dest = text_of(json_array_get(columns, i), "dest");
    for (size_t k = 0; dest && k < ELEMENTSOF(ours); k++)
        if (strcasecmp(dest, ours[k]) == 0)
            column_problem(report, i, dest_key(i, report),
                           "\"%s\" is a column that wherry adds itself; choose another \"dest\"", dest);
    for (size_t k = 0; dest && k < i; k++) {
        const char *other = text_of(json_array_get(columns, k), "dest");
        if (other && strcasecmp(dest, other) == 0) {
            column_problem(report, i, dest_key(i, report),
                           "column \"%s\" stands here twice (upper and lower case are the same)", dest);
            return;
        }
    }
}

/* The folder's files would be read as data. */
static void check_quarantine_folder(const json_t *connection, const char *dir, KeyReport *report)
{
    const char *source = text_of(json_object_get(connection, "source"), "dir");
    if (!source)
        return;
    _cleanup_(freep) char *own = path_canonical(dir), *other = path_canonical(source);
    if (strcmp(own, other) == 0)
        key_problem(report, "quarantine.dir",
                    "\"dir\" is the folder that is read; name another one, such as a folder in it");
}

/* Absent afterwards where nothing is set aside. */
static void complete_quarantine(json_t *connection, KeyReport *report)
{
    json_t *quarantine = json_object_get(connection, "quarantine");
    const char *write_mode = text_of(connection, "write_mode");
    if (json_is_false(json_object_get(quarantine, "enabled"))) {
        json_object_del(connection, "quarantine");
        return;
    }
    if (!json_is_true(json_object_get(quarantine, "enabled")))
        return;
    if ((write_mode && strcmp(write_mode, "cdc") == 0) || report->given(report, "cdc"))
        key_problem(report, "quarantine",
                    "\"quarantine\" cannot be used with change data capture: a row left out would leave its key wrong");
    if (!json_object_get(quarantine, "dir"))
        key_problem(report, "quarantine", "missing key \"dir\": where bad rows are set aside");
    if (!json_object_get(quarantine, "max_invalid_fraction") && !json_object_get(quarantine, "max_invalid_rows"))
        key_problem(report, "quarantine",
                    "\"quarantine\" needs a limit: \"max_invalid_rows\", \"max_invalid_fraction\" or both");
    const char *dir = text_of(quarantine, "dir");
    if (dir)
        check_quarantine_folder(connection, dir, report);
}

static const json_t *column_from(const json_t *columns, const char *source)
{
    char text[32];
    size_t i;
    json_t *column;
    json_array_foreach ((json_t *)(uintptr_t)columns, i, column) {
        const json_t *is = json_object_get(column, "source");
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(is));
        const char *name = json_is_integer(is) ? text : json_string_value(is);
        if (name && strcmp(name, source) == 0)
            return column;
    }
    return NULL;
}

/* A key, or what orders them (WHAT): its values are compared, so they must be there, and mean something. */
static void check_compared(const json_t *columns, const char *path, const char *what, const char *source,
                           KeyReport *report)
{
    const json_t *column = column_from(columns, source);
    const char *type = column ? text_of(column, "type") : NULL;
    if (!column)
        key_problem(report, path, "no column has \"source: %s\", which \"%s\" names", source, what);
    else if (type && strcmp(type, "json") == 0)
        key_problem(report, path, "column \"%s\" is json, which cannot be compared", source);
    else if (json_object_get(column, "encrypt"))
        key_problem(report, path, "column \"%s\" is encrypted, anew for each row, and cannot be compared", source);
    else if (json_object_get(column, "hash") && strcmp(what, "sequence_by") == 0)
        key_problem(report, path, "column \"%s\" is hashed, which leaves no order", source);
}

static void check_operations(const json_t *operations, KeyReport *report)
{
    static const char *const names[] = { "insert", "update", "delete" };
    _cleanup_(json_decrefp) json_t *seen = json_object();
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        char path[64];
        size_t k;
        json_t *word;
        snprintf(path, sizeof(path), "cdc.operations.%s", names[i]);
        json_array_foreach (json_object_get(operations, names[i]), k, word) {
            const char *text = json_string_value(word);
            if (text && json_object_get(seen, text))
                key_problem(report, path, "\"%s\" is listed twice", text);
            else if (text)
                json_object_set_new(seen, text, json_true());
        }
    }
}

static void complete_changes(json_t *connection, const char *format, const json_t *columns, KeyReport *report)
{
    const json_t *cdc = json_object_get(connection, "cdc");
    const char *mode = text_of(connection, "write_mode");
    bool wanted = mode && strcmp(mode, "cdc") == 0;
    if (!json_is_object(cdc)) {
        if (wanted && !cdc)
            key_problem(report, "write_mode",
                        "\"write_mode: cdc\" needs \"cdc\": keys, operation_column, sequence_by "
                        "and operations");
        return;
    }
    if (!wanted) {
        key_problem(report, "cdc", "\"cdc\" belongs to \"write_mode: cdc\"");
        return;
    }
    const json_t *keys = json_object_get(cdc, "keys");
    if (json_is_array(keys) && json_array_size(keys) == 0)
        key_problem(report, "cdc.keys", "\"keys\" is empty; list at least one column");
    for (size_t i = 0; i < json_array_size(keys); i++)
        if (json_is_string(json_array_get(keys, i)))
            check_compared(columns, "cdc.keys", "keys", json_string_value(json_array_get(keys, i)), report);
    const char *sequence = text_of(cdc, "sequence_by"), *operation = text_of(cdc, "operation_column");
    if (sequence)
        check_compared(columns, "cdc.sequence_by", "sequence_by", sequence, report);
    if (operation && format && strcmp(format, "fixed_width") == 0 && !column_from(columns, operation))
        key_problem(report, "cdc.operation_column",
                    "with fixed_width the \"operation_column\" must be one of the columns, which say where it stands");
    check_operations(json_object_get(cdc, "operations"), report);
}

static void complete(json_t *connection, KeyReport *report)
{
    const char *format = text_of(connection, "format"), *table = text_of(connection, "dest_table");
    json_t *columns = json_object_get(connection, "columns");
    complete_source(connection, report);
    complete_csv(connection, format, report);
    complete_encoding(connection, report);
    complete_quarantine(connection, report);
    if (table && strncasecmp(table, "_wherry_", 8) == 0)
        key_problem(report, "dest_table",
                    "tables whose names begin with \"_wherry_\" are wherry's own; choose another name");
    if (table && strcasecmp(table, "connector_sdk_log") == 0 && json_is_true(json_object_get(connection, "log_table")))
        key_problem(report, "dest_table",
                    "table \"%s\" is where \"log_table: true\" keeps log lines; choose another name", table);
    if (json_is_array(columns) && json_array_size(columns) == 0)
        key_problem(report, "columns", "\"columns\" is empty; list at least one column");

    bool csv = format && strcmp(format, "csv") == 0;
    bool positions = csv && json_is_false(json_object_get(json_object_get(connection, "csv"), "header"));
    if (json_array_size(columns) > COLUMNS_MAX) {
        key_problem(report, "columns", "more than %d columns", COLUMNS_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(columns); i++) {
        json_t *column = json_array_get(columns, i);
        if (!json_is_object(column))
            continue;
        complete_field(column, i, positions, report);
        complete_protection(column, i, report);
        complete_dest(columns, i, report);
        if (format)
            complete_place(column, i, strcmp(format, "fixed_width") == 0, report);
    }
    complete_changes(connection, format, columns, report);
}

const ConnectorKeys source_files_keys = {
    .type = "files", .local = true, .own = own_keys, .top = top_keys, .complete = complete
};
