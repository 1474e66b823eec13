/*
 * DuckDB reads the file, in memory, on this one thread, with nothing but the file open to it: external access is off
 * but for one path, and the configuration is locked before the first byte is looked at. The path is that of our own
 * descriptor, so that what DuckDB opens by name is the inode that was hashed, whatever has taken its name since. Each
 * file gets a database of its own: nothing that one file leaves in a cache can turn up in the next.
 *
 * The result is streamed: a chunk holds at most 2,048 rows, and its vectors are read where they lie.
 */
#include <errno.h>
#include <string.h>

#include "connectors/sources/files/parquet-internal.h"
#include "lib/basics/text.h"

#define MAGIC_LENGTH 4
#define MESSAGE_MAX 400
#define ERROR_CLASS_MAX 40 /* "Invalid Input Error: " */
#define NO_VECTOR SIZE_MAX

struct Parquet {
    DuckdbLibrary *duckdb; /* owned */
    uint64_t memory;
};

/* A column as the file declares it, or a part of a nested one. DuckDB calls one of two that differ in case "a_1". */
typedef struct Field {
    char *name; /* owned */
    size_t children;
    enum { LOSS_NONE, LOSS_DIGITS, LOSS_NANOSECONDS } loss; /* what DuckDB would read without a word */
} Field;

typedef struct ParquetReader {
    FileReader reader; /* first: a FileReader * is a ParquetReader * */
    Parquet *parquet;  /* not owned */
    const DuckdbLibrary *duckdb;
    DataFile *file; /* not owned */
    char *path;     /* owned; as DuckDB is told it */
    bool begun;
    duckdb_database database;
    duckdb_connection connection;
    duckdb_prepared_statement statement;
    duckdb_pending_result pending;
    duckdb_result result;
    bool has_result;
    duckdb_data_chunk chunk; /* NULL: none is open */
    uint64_t chunk_rows, next;
    ParquetVector *vectors; /* owned; what is selected */
    size_t vector_count;
    size_t *columns; /* owned; of each column of the settings its vector, or NO_VECTOR */
    Field *fields;   /* owned; the file's own columns, in order */
    size_t field_count;
    uint64_t told; /* bytes of the file that progress knows of */
} ParquetReader;

int parquet_open(const char *library, uint64_t memory, Parquet **ret, Error *error)
{
    Parquet *parquet = xcalloc(1, sizeof(*parquet));
    parquet->memory = memory;
    if (duckdb_library_load(library, &parquet->duckdb, error) < 0) {
        parquet_free(parquet);
        return error_prefix(error, "format parquet is read by DuckDB: ");
    }
    *ret = parquet;
    return 0;
}

Parquet *parquet_free(Parquet *parquet)
{
    if (!parquet)
        return NULL;
    duckdb_library_free(parquet->duckdb);
    free(parquet);
    return NULL;
}

/* --- DuckDB's words --- */

/* The first line without "Invalid Error: ", with the file's own name for the path that only we know. */
static char *tidy(const ParquetReader *parquet, const char *message)
{
    Buffer text = { 0 };
    const char *colon = strstr(message, " Error: ");
    if (colon && memchr(message, '\n', (size_t)(colon - message)) == NULL && colon - message < ERROR_CLASS_MAX)
        message = colon + strlen(" Error: ");
    size_t n = strcspn(message, "\n"), length = strlen(parquet->path);
    for (size_t i = 0; i < n;) {
        if (n - i >= length && memcmp(message + i, parquet->path, length) == 0) {
            buffer_append_string(&text, parquet->file->name);
            i += length;
        } else {
            buffer_append(&text, message + i++, 1);
        }
    }
    char *shown = text_escape_shortened((const char *)buffer_bytes(&text), buffer_length(&text), MESSAGE_MAX);
    buffer_clear(&text);
    return shown;
}

static int failed(const ParquetReader *parquet, duckdb_error_type type, const char *message, Error *error)
{
    _cleanup_(freep) char *shown = tidy(parquet, message ? message : "no details");
    if (type == DUCKDB_ERROR_OUT_OF_MEMORY)
        return error_set(error, ERROR_TEMPORARY,
                         "DuckDB needs more than %llu MiB of memory to read this file; allow more with \"sandbox: "
                         "{memory: …}\", of which it gets half (%s)",
                         (unsigned long long)(parquet->parquet->memory >> 20), shown);
    return error_set(error, ERROR_DATA, "cannot be read as a parquet file: %s", shown);
}

static int result_failed(ParquetReader *parquet, duckdb_result *result, Error *error)
{
    int r = failed(parquet, parquet->duckdb->result_error_type(result), parquet->duckdb->result_error(result), error);
    parquet->duckdb->destroy_result(result);
    return r;
}

/* --- the database --- */

static int run(ParquetReader *parquet, const char *sql, Error *error)
{
    duckdb_result result;
    if (parquet->duckdb->query(parquet->connection, sql, &result) == DuckDBSuccess) {
        parquet->duckdb->destroy_result(&result);
        return 0;
    }
    error_set(error, ERROR_INTERNAL, "DuckDB %s refuses \"%s\": %s", parquet->duckdb->version, sql,
              parquet->duckdb->result_error(&result));
    parquet->duckdb->destroy_result(&result);
    return -1;
}

static int open_database(ParquetReader *parquet, Error *error)
{
    const DuckdbLibrary *duckdb = parquet->duckdb;
    static const char *const settings[][2] = { { "threads", "1" },
                                               { "temp_directory", "" },
                                               { "autoinstall_known_extensions", "false" },
                                               { "autoload_known_extensions", "false" } };
    duckdb_config config;
    char *why = NULL;
    if (duckdb->create_config(&config) != DuckDBSuccess)
        return error_set(error, ERROR_INTERNAL, "DuckDB cannot be configured");
    bool good = true;
    for (size_t i = 0; i < ELEMENTSOF(settings); i++)
        good &= duckdb->set_config(config, settings[i][0], settings[i][1]) == DuckDBSuccess;
    _cleanup_(freep) char *memory = xasprintf("%lluMiB", (unsigned long long)(parquet->parquet->memory >> 20));
    good &= duckdb->set_config(config, "memory_limit", memory) == DuckDBSuccess;
    good = good && duckdb->open_ext(NULL, &parquet->database, config, &why) == DuckDBSuccess;
    duckdb->destroy_config(&config);
    if (!good) {
        error_set(error, ERROR_INTERNAL, "DuckDB %s cannot be started: %s", duckdb->version,
                  why ? why : "a setting is not known");
        duckdb->free(why);
        return -1;
    }
    if (duckdb->connect(parquet->database, &parquet->connection) != DuckDBSuccess)
        return error_set(error, ERROR_INTERNAL, "DuckDB %s cannot be connected to", duckdb->version);
    _cleanup_(freep) char *allow = xasprintf("SET allowed_paths = ['%s']", parquet->path);
    if (run(parquet, allow, error) < 0 || run(parquet, "SET enable_external_access = false", error) < 0 ||
        run(parquet, "SET lock_configuration = true", error) < 0)
        return -1;
    return 0;
}

/* --- what the file declares --- */

/* Decimals of more digits than DuckDB has become floats; where nanoseconds are an instant, microseconds. */
static const char fields_query[] =
    "SELECT CAST(name AS VARCHAR), CAST(coalesce(num_children, 0) AS BIGINT), CAST(CASE WHEN precision > 38 THEN 1"
    " WHEN contains(logical_type, 'isAdjustedToUTC=1') AND contains(logical_type, 'NANOS=NanoSeconds') THEN 2"
    " WHEN starts_with(logical_type, 'TimeType') AND contains(logical_type, 'NANOS=NanoSeconds') THEN 2"
    " ELSE 0 END AS BIGINT) FROM parquet_schema('%s')";

static void fields_free(Field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(fields[i].name);
    free(fields);
}

static void take_fields(ParquetReader *parquet, duckdb_data_chunk chunk)
{
    const DuckdbLibrary *duckdb = parquet->duckdb;
    ParquetVector vectors[3] = { { .shape = SHAPE_TEXT } };
    size_t count = duckdb->data_chunk_get_size(chunk), n;
    for (idx_t i = 0; i < ELEMENTSOF(vectors); i++)
        parquet_bind(parquet->duckdb, &vectors[i], duckdb->data_chunk_get_vector(chunk, i));
    parquet->fields = xrealloc(parquet->fields, (parquet->field_count + count) * sizeof(*parquet->fields));
    for (size_t row = 0; row < count; row++) {
        const char *name = parquet_is_null(&vectors[0], row) ? "" : parquet_text(&vectors[0], row, &n);
        parquet->fields[parquet->field_count++] = (Field){ .name = *name ? xstrndup(name, n) : xstrdup(""),
                                                           .children = (size_t)((const int64_t *)vectors[1].data)[row],
                                                           .loss = (int)((const int64_t *)vectors[2].data)[row] };
    }
}

/* Of the tree that is listed depth first, the columns only: each with the worst of its parts. */
static int keep_columns(ParquetReader *parquet, Error *error)
{
    Field *fields = parquet->fields;
    size_t columns = parquet->field_count > 0 ? fields[0].children : 0, at = 1;
    _cleanup_(freep) Field *kept = xcalloc(MIN_OF(columns, parquet->field_count) + 1, sizeof(*kept));
    size_t count = 0;
    for (; count < columns && at < parquet->field_count; count++) {
        kept[count] = fields[at];
        kept[count].name = xstrdup(fields[at].name);
        size_t left = fields[at++].children;
        for (; left > 0 && at < parquet->field_count; left--, at++) {
            left += fields[at].children;
            kept[count].loss = MAX_OF(kept[count].loss, fields[at].loss);
        }
    }
    fields_free(parquet->fields, parquet->field_count);
    parquet->fields = take_ptr(kept);
    parquet->field_count = count;
    if (count == columns)
        return 0;
    return error_set(error, ERROR_DATA, "cannot be read as a parquet file: its schema names more columns than it has");
}

static int read_fields(ParquetReader *parquet, Error *error)
{
    const DuckdbLibrary *duckdb = parquet->duckdb;
    duckdb_result result;
    _cleanup_(freep) char *sql = xasprintf(fields_query, parquet->path);
    if (duckdb->query(parquet->connection, sql, &result) != DuckDBSuccess)
        return result_failed(parquet, &result, error);
    for (duckdb_data_chunk chunk; (chunk = duckdb->fetch_chunk(result)); duckdb->destroy_data_chunk(&chunk))
        take_fields(parquet, chunk);
    duckdb->destroy_result(&result);
    return keep_columns(parquet, error);
}

static const char *loss_of(const Field *field)
{
    switch (field->loss) {
    case LOSS_DIGITS:
        return "a decimal of more than 38 digits, of which some would be lost; write it with fewer digits, or as text";
    case LOSS_NANOSECONDS:
        return "nanoseconds in UTC, which would be cut to microseconds; write it in microseconds (PyArrow: "
               "coerce_timestamps=\"us\"), or without a time zone";
    default:
        return NULL;
    }
}

/* --- columns --- */

static void put_identifier(Buffer *sql, const char *name)
{
    buffer_append(sql, "\"", 1);
    for (; *name; name++)
        buffer_append(sql, *name == '"' ? "\"\"" : name, *name == '"' ? 2 : 1);
    buffer_append(sql, "\"", 1);
}

static int file_lacks(const ParquetReader *parquet, const FileColumn *column, Error *error)
{
    Buffer names = { 0 };
    for (size_t i = 0; i < parquet->field_count && buffer_length(&names) < 200; i++)
        buffer_printf(&names, "%s\"%.60s\"", i > 0 ? ", " : "", parquet->fields[i].name);
    if (buffer_length(&names) >= 200)
        buffer_append_string(&names, ", …");
    _cleanup_(freep) char *text = buffer_take_string(&names);
    error_set(error, ERROR_DATA,
              column ? "the file lacks this required column: it has %s"
                     : "the file has none of the "
                       "columns: it has %s",
              text);
    return column ? error_at_column(error, column->source) : -1;
}

/* From place I on. */
static size_t find_column(const ParquetReader *parquet, const char *name, size_t i)
{
    while (i < parquet->field_count && strcmp(parquet->fields[i].name, name) != 0)
        i++;
    return i;
}

/* Adds to SQL what column I of the settings needs; SCHEMA is what the file has. */
static int select_column(ParquetReader *parquet, duckdb_result *schema, size_t i, Buffer *sql, Error *error)
{
    const FileColumn *column = &parquet->reader.settings->columns[i];
    size_t at = find_column(parquet, column->source, 0);
    parquet->columns[i] = NO_VECTOR;
    if (at == parquet->field_count)
        return column->required ? file_lacks(parquet, column, error) : 0;
    ParquetVector *vector = &parquet->vectors[parquet->vector_count];
    duckdb_logical_type type = parquet->duckdb->column_logical_type(schema, at);
    const char *why = loss_of(&parquet->fields[at]);
    if (find_column(parquet, column->source, at + 1) < parquet->field_count)
        why = "the file has two columns of that name";
    if (!why)
        why = parquet_vector_describe(parquet->duckdb, type, 0, vector);
    parquet->duckdb->destroy_logical_type(&type);
    parquet->columns[i] = parquet->vector_count++;
    if (why) {
        error_set(error, ERROR_DATA, "%s", why);
        return error_at_column(error, column->source);
    }
    buffer_append_string(sql, parquet->vector_count > 1 ? ", " : "");
    bool as_text = vector->shape == SHAPE_OTHER;
    buffer_append_string(sql, as_text ? "CAST(" : "");
    put_identifier(sql, parquet->duckdb->column_name(schema, at));
    buffer_append_string(sql, as_text ? " AS VARCHAR)" : "");
    if (as_text)
        vector->shape = SHAPE_TEXT;
    return 0;
}

static int select_columns(ParquetReader *parquet, duckdb_result *schema, char **ret, Error *error)
{
    size_t count = parquet->reader.settings->column_count;
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    parquet->vectors = xcalloc(count, sizeof(*parquet->vectors));
    parquet->columns = xcalloc(count, sizeof(*parquet->columns));
    buffer_append_string(&sql, "SELECT ");
    for (size_t i = 0; i < count; i++)
        if (select_column(parquet, schema, i, &sql, error) < 0)
            return -1;
    if (parquet->vector_count == 0)
        return file_lacks(parquet, NULL, error);
    buffer_printf(&sql, " FROM read_parquet('%s')", parquet->path);
    *ret = buffer_take_string(&sql);
    return 0;
}

/* --- beginning --- */

static int check_magic(const ParquetReader *parquet, Error *error)
{
    char first[MAGIC_LENGTH] = { 0 };
    ssize_t n = pread(parquet->file->fd, first, sizeof(first), 0);
    if (n < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read");
    if (n == MAGIC_LENGTH && memcmp(first, "PAR1", MAGIC_LENGTH) == 0)
        return 0;
    if (n == MAGIC_LENGTH && memcmp(first, "PARE", MAGIC_LENGTH) == 0)
        return error_set(error, ERROR_DATA, "an encrypted parquet file, which cannot be read");
    return error_set(error, ERROR_DATA, "not a parquet file: it does not begin with \"PAR1\"");
}

/* The columns as the file declares them, and a result of no rows with what DuckDB makes of each. */
static int read_schema(ParquetReader *parquet, duckdb_result *ret, Error *error)
{
    _cleanup_(freep) char *sql = xasprintf("SELECT * FROM read_parquet('%s') LIMIT 0", parquet->path);
    if (read_fields(parquet, error) < 0)
        return -1;
    if (parquet->duckdb->query(parquet->connection, sql, ret) != DuckDBSuccess)
        return result_failed(parquet, ret, error);
    if (parquet->duckdb->column_count(ret) == parquet->field_count)
        return 0;
    parquet->duckdb->destroy_result(ret);
    return error_set(error, ERROR_DATA, "cannot be read as a parquet file: its columns are not those that it declares");
}

static int begin(ParquetReader *parquet, Error *error)
{
    const DuckdbLibrary *duckdb = parquet->duckdb;
    _cleanup_(freep) char *sql = NULL;
    duckdb_result schema;
    if (check_magic(parquet, error) < 0 || open_database(parquet, error) < 0 ||
        read_schema(parquet, &schema, error) < 0)
        return -1;
    int r = select_columns(parquet, &schema, &sql, error);
    duckdb->destroy_result(&schema);
    if (r < 0)
        return -1;
    if (duckdb->prepare(parquet->connection, sql, &parquet->statement) != DuckDBSuccess)
        return failed(parquet, DUCKDB_ERROR_INVALID, duckdb->prepare_error(parquet->statement), error);
    if (duckdb->pending_prepared_streaming(parquet->statement, &parquet->pending) != DuckDBSuccess)
        return failed(parquet, DUCKDB_ERROR_INVALID, duckdb->pending_error(parquet->pending), error);
    if (duckdb->execute_pending(parquet->pending, &parquet->result) != DuckDBSuccess)
        return result_failed(parquet, &parquet->result, error);
    parquet->has_result = true;
    return 0;
}

/* --- rows --- */

/* The part of the file that was read is not known; its size stands for all rows, and a chunk for a step of it. */
static int tell_progress(ParquetReader *parquet, bool ended, Error *error)
{
    DataFile *file = parquet->file;
    uint64_t step = ended ? file->size - parquet->told : MIN_OF(file->size - parquet->told, file->size / 1000 + 1);
    parquet->told += step;
    return file->progress ? file->progress(file->context, step, error) : 0;
}

static int next_chunk(ParquetReader *parquet, Error *error)
{
    const DuckdbLibrary *duckdb = parquet->duckdb;
    duckdb->destroy_data_chunk(&parquet->chunk);
    parquet->next = 0;
    do {
        parquet->chunk = duckdb->fetch_chunk(parquet->result);
        if (!parquet->chunk) {
            const char *why = duckdb->result_error(&parquet->result);
            if (why && *why)
                return failed(parquet, duckdb->result_error_type(&parquet->result), why, error);
            return tell_progress(parquet, true, error) < 0 ? -1 : FILE_READER_E_END;
        }
        parquet->chunk_rows = duckdb->data_chunk_get_size(parquet->chunk);
        if (parquet->chunk_rows == 0)
            duckdb->destroy_data_chunk(&parquet->chunk);
    } while (!parquet->chunk);
    for (size_t i = 0; i < parquet->vector_count; i++)
        parquet_bind(parquet->duckdb, &parquet->vectors[i], duckdb->data_chunk_get_vector(parquet->chunk, i));
    return tell_progress(parquet, false, error);
}

static int put_row(const ParquetReader *parquet, RowsWriter *rows, Error *error)
{
    const FileReader *reader = &parquet->reader;
    const FilesSettings *settings = reader->settings;
    for (size_t i = 0; i < settings->column_count; i++) {
        const FileColumn *column = &settings->columns[i];
        const ParquetVector *vector = parquet->columns[i] == NO_VECTOR ? NULL : &parquet->vectors[parquet->columns[i]];
        int r = !vector || parquet_is_null(vector, parquet->next)
                    ? reader_put_null(reader, column, "NULL, but the column is required", rows, error)
                    : parquet_put_value(reader, column, vector, parquet->next, rows, error);
        if (r < 0)
            return -1;
    }
    return 0;
}

static int parquet_read(FileReader *reader, RowsWriter *rows, Error *error)
{
    ParquetReader *parquet = (ParquetReader *)reader;
    /* as with text: a file of nothing has no rows */
    if (parquet->file->size == 0)
        return FILE_READER_E_END;
    if (!parquet->begun && begin(parquet, error) < 0)
        return -1;
    parquet->begun = true;
    while (rows_size(rows) < FRAME_ROWS_TARGET) {
        if (!parquet->chunk || parquet->next == parquet->chunk_rows) {
            int r = next_chunk(parquet, error);
            if (r != 0)
                return r;
        }
        reader->row++;
        size_t mark = rows_mark(rows);
        if ((put_row(parquet, rows, error) < 0 || reader_row_done(reader, rows, mark, error) < 0) &&
            reader_bad_row(reader, rows, mark, error) < 0)
            return -1;
        parquet->next++;
    }
    return 0;
}

/* A value of a bad row, so that it is read back as what it is, or not at all until somebody has corrected it: a text
 * column takes no object, and of the others none takes such a text. */
static void write_field(const FileColumn *column, const ParquetVector *vector, uint64_t row, Buffer *to)
{
    _cleanup_(buffer_clear) Buffer json = { 0 };
    bool text = column->type == COLUMN_STRING;
    bool nested = vector->child_count > 0 && !parquet_is_null(vector, row);
    bool bytes = vector->shape == SHAPE_BYTES && column->type != COLUMN_BINARY && !parquet_is_null(vector, row);
    bool writable = parquet_write_json(vector, row, &json);
    const char *written = (const char *)buffer_bytes(&json);
    if (!writable)
        buffer_append_string(to, text ? "{\"not\": \"possible\"}" : "\"(not finite or not possible)\"");
    else if (bytes)
        buffer_printf(to, text ? "{\"binary\": %.*s}" : "\"(binary) %.*s", (int)(buffer_length(&json) - !text),
                      written + !text);
    else if (nested && text)
        json_put_string(to, written, buffer_length(&json));
    else
        buffer_append(to, written, buffer_length(&json));
}

static void parquet_write_row(const FileReader *reader, Buffer *to)
{
    const ParquetReader *parquet = (const ParquetReader *)reader;
    const FilesSettings *settings = reader->settings;
    size_t written = 0;
    buffer_append_string(to, "{");
    for (size_t i = 0; i < settings->column_count; i++) {
        const char *name = settings->columns[i].source;
        if (parquet->columns[i] == NO_VECTOR || files_settings_protect(settings, name))
            continue;
        buffer_append_string(to, written++ > 0 ? ", " : "");
        json_put_string(to, name, strlen(name));
        buffer_append_string(to, ": ");
        write_field(&settings->columns[i], &parquet->vectors[parquet->columns[i]], parquet->next, to);
    }
    buffer_append_string(to, "}");
}

static void parquet_reader_free(FileReader *reader)
{
    ParquetReader *parquet = (ParquetReader *)reader;
    const DuckdbLibrary *duckdb = parquet->duckdb;
    duckdb->destroy_data_chunk(&parquet->chunk);
    if (parquet->has_result)
        duckdb->destroy_result(&parquet->result);
    duckdb->destroy_pending(&parquet->pending);
    duckdb->destroy_prepare(&parquet->statement);
    duckdb->disconnect(&parquet->connection);
    duckdb->close(&parquet->database);
    parquet_vectors_free(parquet->vectors, parquet->vector_count);
    fields_free(parquet->fields, parquet->field_count);
    free(parquet->columns);
    free(parquet->path);
    free(parquet);
}

FileReader *parquet_reader_new(Parquet *parquet, const FilesSettings *settings, JsonMemory *json, DataFile *file)
{
    ParquetReader *reader = xcalloc(1, sizeof(*reader));
    reader->reader = (FileReader){ .read = parquet_read,
                                   .write_row = parquet_write_row,
                                   .free = parquet_reader_free,
                                   .settings = settings,
                                   .converter = { settings->max_value_size, json } };
    reader->parquet = parquet;
    reader->duckdb = parquet->duckdb;
    reader->file = file;
    reader->path = xasprintf("/proc/self/fd/%d", file->fd);
    return &reader->reader;
}

/* --- what a file says of itself --- */

static ColumnType pipeline_type(duckdb_type type, const char **ret_note)
{
    *ret_note = NULL;
    switch (type) {
    case DUCKDB_TYPE_BOOLEAN:
        return COLUMN_BOOLEAN;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
        return COLUMN_INTEGER;
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
    case DUCKDB_TYPE_UHUGEINT:
        *ret_note = "may be beyond 64 bits: an integer, if none of them is";
        return COLUMN_DECIMAL;
    case DUCKDB_TYPE_DECIMAL:
        return COLUMN_DECIMAL;
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
        return COLUMN_FLOAT;
    case DUCKDB_TYPE_DATE:
        return COLUMN_DATE;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
        return COLUMN_TIMESTAMP;
    case DUCKDB_TYPE_BLOB:
        return COLUMN_BINARY;
    case DUCKDB_TYPE_LIST:
    case DUCKDB_TYPE_ARRAY:
    case DUCKDB_TYPE_STRUCT:
    case DUCKDB_TYPE_MAP:
        return COLUMN_JSON;
    case DUCKDB_TYPE_VARCHAR:
        return COLUMN_STRING;
    default:
        *ret_note = "of a type that only text holds";
        return COLUMN_STRING;
    }
}

/* One BIGINT. */
static int ask_number(ParquetReader *parquet, const char *sql, int64_t *ret, Error *error)
{
    const DuckdbLibrary *duckdb = parquet->duckdb;
    duckdb_result result;
    if (duckdb->query(parquet->connection, sql, &result) != DuckDBSuccess)
        return result_failed(parquet, &result, error);
    duckdb_data_chunk chunk = duckdb->fetch_chunk(result);
    *ret = chunk && duckdb->data_chunk_get_size(chunk) > 0
               ? *(const int64_t *)duckdb->vector_get_data(duckdb->data_chunk_get_vector(chunk, 0))
               : 0;
    duckdb->destroy_data_chunk(&chunk);
    duckdb->destroy_result(&result);
    return 0;
}

/* Whether the file counts no NULL in any part of the column NAME; a nested one has parts of its own. */
static int may_be_null(ParquetReader *parquet, const char *name, bool *ret, Error *error)
{
    _cleanup_(buffer_clear) Buffer sql = { 0 };
    int64_t without = 0;
    buffer_printf(&sql,
                  "SELECT coalesce(bool_and(coalesce(stats_null_count, 1) = 0), false)::BIGINT FROM "
                  "parquet_metadata('%s') WHERE path_in_schema = '",
                  parquet->path);
    for (const char *at = name; *at; at++)
        buffer_append(&sql, *at == '\'' ? "''" : at, *at == '\'' ? 2 : 1);
    buffer_append_string(&sql, "'");
    _cleanup_(freep) char *text = buffer_take_string(&sql);
    if (ask_number(parquet, text, &without, error) < 0)
        return -1;
    *ret = !without;
    return 0;
}

static int describe_columns(ParquetReader *parquet, duckdb_result *schema,
                            int (*take)(void *context, const ParquetColumn *column, Error *error), void *context,
                            Error *error)
{
    const DuckdbLibrary *duckdb = parquet->duckdb;
    for (size_t i = 0; i < parquet->field_count; i++) {
        const Field *field = &parquet->fields[i];
        ParquetColumn column = { .name = field->name };
        column.type = pipeline_type(duckdb->column_type(schema, i), &column.note);
        if (field->loss != LOSS_NONE)
            column.note = loss_of(field);
        if (may_be_null(parquet, column.name, &column.nulls, error) < 0 || take(context, &column, error) < 0)
            return -1;
    }
    return 0;
}

int parquet_describe(Parquet *parquet, DataFile *file,
                     int (*take)(void *context, const ParquetColumn *column, Error *error), void *context,
                     uint64_t *ret_rows, Error *error)
{
    const FilesSettings none = { 0 };
    JsonMemory json = { 0 };
    FileReader *reader = parquet_reader_new(parquet, &none, &json, file);
    ParquetReader *self = (ParquetReader *)reader;
    _cleanup_(freep) char *count = xasprintf("SELECT count(*) FROM read_parquet('%s')", self->path);
    duckdb_result schema;
    int64_t rows = 0;
    int r = check_magic(self, error);
    if (r == 0)
        r = open_database(self, error);
    if (r == 0)
        r = read_schema(self, &schema, error);
    if (r == 0) {
        r = describe_columns(self, &schema, take, context, error);
        self->duckdb->destroy_result(&schema);
    }
    if (r == 0)
        r = ask_number(self, count, &rows, error);
    *ret_rows = (uint64_t)rows;
    parquet_reader_free(reader);
    return r;
}
