/*
 * CSV records to rows. The header is resolved once to one field number per column; after that a row is a walk over the
 * columns, each of which takes its field where it lies.
 *
 * Filedge's rules: a row shorter than the header lacks its last columns, empty text is NULL. Beyond them, what it would
 * load as something else than the file means is refused: a row longer than the header, a header that names a wanted
 * column twice, and a header line that stands again between the rows (two files joined).
 */
#include <string.h>

#include "connectors/sources/files/csv-parser.h"
#include "connectors/sources/files/reader.h"
#include "lib/basics/buffer.h"

#define HEADER_FIELDS_MAX 16384
#define NO_FIELD SIZE_MAX

typedef struct CsvReader {
    FileReader reader; /* first: a FileReader * is a CsvReader * */
    CsvParser parser;
    bool in_order; /* the last row has at most the header's fields and is not the header itself */
    bool header_read;
    size_t header_count; /* fields of the header; without one HEADER_FIELDS_MAX */
    char **header;       /* owned; NULL without one */
    size_t *fields;      /* owned; of each column; NO_FIELD: the header lacks it */
    size_t first_header_length;
    size_t null_length; /* of settings->null_text */
} CsvReader;

static const char *field_name(const CsvReader *csv, size_t field, char ret_position[static 24])
{
    if (csv->header && field < csv->header_count)
        return csv->header[field];
    snprintf(ret_position, 24, "%zu", field + 1);
    return ret_position;
}

/* An error of the parser, which knows the field that it is in. */
static int parser_failed(CsvReader *csv, Error *error)
{
    char position[24];
    const CsvParser *parser = &csv->parser;
    const TextInput *input = parser->input;
    bool in_record = parser->open_field > 0 || parser->open_offset < input->end + text_input_has_bad_byte(input);
    csv->reader.line = parser->line;
    csv->reader.row += csv->header_read;
    if (files_settings_protect(csv->reader.settings, NULL))
        error_at_value(error, NULL, 0);
    else if (!error->value && parser->open_offset < input->end + text_input_has_bad_byte(input))
        error_at_value(error, input->data + parser->open_offset,
                       input->end + text_input_has_bad_byte(input) - parser->open_offset);
    return reader_place(&csv->reader,
                        csv->header_read && in_record ? field_name(csv, parser->open_field, position) : NULL, error);
}

/* --- the header --- */

static size_t find_in_header(const CsvReader *csv, const char *name, size_t from)
{
    for (size_t i = from; i < csv->header_count; i++)
        if (strcmp(csv->header[i], name) == 0)
            return i;
    return NO_FIELD;
}

/* "id", "name" … for a message. */
static char *describe_header(const CsvReader *csv)
{
    Buffer text = { 0 };
    /* Without a header it is the first row that was taken for one. */
    if (files_settings_protect(csv->reader.settings, NULL))
        return xasprintf("%zu other%s", csv->header_count, csv->header_count == 1 ? "" : "s");
    for (size_t i = 0; i < csv->header_count && buffer_length(&text) < 200; i++)
        buffer_printf(&text, "%s\"%.60s\"", i > 0 ? ", " : "", csv->header[i]);
    if (buffer_length(&text) >= 200)
        buffer_append_string(&text, ", …");
    return buffer_take_string(&text);
}

static int column_not_in_header(const CsvReader *csv, const char *column, Error *error)
{
    _cleanup_(freep) char *names = describe_header(csv);
    if (column)
        error_set(error, ERROR_DATA,
                  "the header lacks this required column: it has %s; a file without a header needs \"csv: {header: "
                  "false}\"",
                  names);
    else
        error_set(error, ERROR_DATA,
                  "the header has none of the columns: it has %s; a file without a header needs \"csv: {header: "
                  "false}\"",
                  names);
    return reader_place(&csv->reader, column, error);
}

static int resolve_header(CsvReader *csv, Error *error)
{
    const FilesSettings *settings = csv->reader.settings;
    size_t found = 0;
    for (size_t i = 0; i < settings->column_count; i++) {
        const FileColumn *column = &settings->columns[i];
        size_t field = find_in_header(csv, column->source, 0);
        csv->fields[i] = field;
        if (field == NO_FIELD) {
            if (column->required)
                return column_not_in_header(csv, column->source, error);
            continue;
        }
        found++;
        if (find_in_header(csv, column->source, field + 1) != NO_FIELD)
            return reader_fail(&csv->reader, column->source, NULL, 0,
                               "the header names this column twice: rename one of them in the file", error);
    }
    return found > 0 ? 0 : column_not_in_header(csv, NULL, error);
}

static int read_header(CsvReader *csv, Error *error)
{
    CsvParser *parser = &csv->parser;
    int r = csv_next(parser, error);
    if (r < 0)
        return parser_failed(csv, error);
    if (r == CSV_E_END)
        return FILE_READER_E_END;
    csv->reader.line = parser->line;
    if (parser->field_count > HEADER_FIELDS_MAX)
        return reader_fail(&csv->reader, NULL, NULL, 0, "a header of more than 16384 columns", error);
    csv->header_count = parser->field_count;
    csv->header = xcalloc(csv->header_count, sizeof(char *));
    for (size_t i = 0; i < csv->header_count; i++)
        csv->header[i] = xstrndup(parser->fields[i].text, parser->fields[i].length);
    csv->first_header_length = parser->fields[0].length;
    /* A row that is too long is shown whole where bad rows are. */
    if (!csv->reader.bad_rows)
        parser->field_max = csv->header_count;
    csv->header_read = true;
    return resolve_header(csv, error);
}

/* --- rows --- */

static int row_too_long(const CsvReader *csv, Error *error)
{
    _cleanup_(freep) char *why = xasprintf(
        "the row has %zu fields, the header %zu: is a quote or a delimiter missing, or \"csv.delimiter\" wrong?",
        csv->parser.field_count, csv->header_count);
    return reader_fail(&csv->reader, NULL, NULL, 0, why, error);
}

static bool is_header_again(const CsvReader *csv)
{
    const CsvField *first = &csv->parser.fields[0];
    if (csv->header_count < 2 || csv->parser.field_count != csv->header_count ||
        first->length != csv->first_header_length)
        return false;
    for (size_t i = 0; i < csv->header_count; i++) {
        const CsvField *field = &csv->parser.fields[i];
        if (strlen(csv->header[i]) != field->length || memcmp(csv->header[i], field->text, field->length) != 0)
            return false;
    }
    return true;
}

static inline bool is_null_text(const CsvReader *csv, const CsvField *field)
{
    const char *null_text = csv->reader.settings->null_text;
    return null_text && !field->quoted && field->length == csv->null_length &&
           memcmp(field->text, null_text, csv->null_length) == 0;
}

static int put_row(CsvReader *csv, RowsWriter *rows, Error *error)
{
    const FilesSettings *settings = csv->reader.settings;
    const FileColumn *columns = settings->columns;
    size_t field_count = csv->parser.field_count;
    for (size_t i = 0; i < settings->column_count; i++) {
        size_t at = csv->fields[i];
        if (__builtin_expect(at >= field_count, 0)) {
            const char *why = "missing, but the column is required: the row is shorter than the header";
            if (reader_put_null(&csv->reader, &columns[i], why, rows, error) < 0)
                return -1;
            continue;
        }
        const CsvField *field = &csv->parser.fields[at];
        if (is_null_text(csv, field)) {
            if (reader_put_null(&csv->reader, &columns[i], "NULL, but the column is required", rows, error) < 0)
                return -1;
            continue;
        }
        if (reader_put_text(&csv->reader, &columns[i], field->text, field->length, rows, error) < 0)
            return -1;
    }
    return 0;
}

static int put_record(CsvReader *csv, RowsWriter *rows, Error *error)
{
    csv->in_order = false;
    if (csv->parser.field_count > csv->header_count)
        return row_too_long(csv, error);
    if (csv->header && is_header_again(csv))
        return reader_fail(&csv->reader, NULL, NULL, 0, "the header stands here again: are two files joined into one?",
                           error);
    csv->in_order = true;
    return put_row(csv, rows, error);
}

static int csv_read(FileReader *reader, RowsWriter *rows, Error *error)
{
    CsvReader *csv = (CsvReader *)reader;
    if (!csv->header_read) {
        int r = read_header(csv, error);
        if (r != 0)
            return r;
    }
    while (rows_size(rows) < FRAME_ROWS_TARGET) {
        int r = csv_next(&csv->parser, error);
        if (r < 0)
            return parser_failed(csv, error);
        if (r == CSV_E_END)
            return FILE_READER_E_END;
        reader->line = csv->parser.line;
        reader->row++;
        size_t mark = rows_mark(rows);
        if ((put_record(csv, rows, error) < 0 || reader_row_done(reader, rows, mark, error) < 0) &&
            reader_bad_row(reader, rows, mark, error) < 0)
            return -1;
    }
    return 0;
}

/* Without a header the fields are called by their positions, as the columns' sources are. */
static void csv_write_row(const FileReader *reader, Buffer *to)
{
    const CsvReader *csv = (const CsvReader *)reader;
    const CsvParser *parser = &csv->parser;
    size_t kept = MIN_OF(parser->field_count, parser->field_max), written = 0;
    /* Of a row that lacks fields, or has too many, nobody knows which is the protected one. */
    bool shifted = !csv->in_order || (reader->settings->header && parser->field_count < csv->header_count);
    if (shifted && files_settings_protect(reader->settings, NULL)) {
        buffer_append_string(to, "null");
        return;
    }
    buffer_append_string(to, csv->in_order ? "{" : "[");
    for (size_t i = 0; i < kept; i++) {
        char position[24];
        const char *name = field_name(csv, i, position);
        if (csv->in_order && files_settings_protect(reader->settings, name))
            continue;
        if (written++ > 0)
            buffer_append_string(to, ", ");
        if (csv->in_order) {
            json_put_string(to, name, strlen(name));
            buffer_append_string(to, ": ");
        }
        if (is_null_text(csv, &parser->fields[i]))
            buffer_append_string(to, "null");
        else
            json_put_string(to, parser->fields[i].text, parser->fields[i].length);
    }
    buffer_append_string(to, csv->in_order ? "}" : "]");
}

static void csv_free(FileReader *reader)
{
    CsvReader *csv = (CsvReader *)reader;
    csv_parser_clear(&csv->parser);
    for (size_t i = 0; csv->header && i < csv->header_count; i++)
        free(csv->header[i]);
    free(csv->header);
    free(csv->fields);
    free(csv);
}

FileReader *csv_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json)
{
    CsvReader *csv = xcalloc(1, sizeof(*csv));
    csv->reader = (FileReader){ .read = csv_read,
                                .write_row = csv_write_row,
                                .free = csv_free,
                                .settings = settings,
                                .input = input,
                                .converter = { settings->max_value_size, json } };
    csv->fields = xcalloc(settings->column_count, sizeof(size_t));
    csv->null_length = settings->null_text ? strlen(settings->null_text) : 0;
    csv->header_count = HEADER_FIELDS_MAX;
    size_t field_max = HEADER_FIELDS_MAX;
    if (!settings->header) {
        csv->header_read = true;
        field_max = 0;
        for (size_t i = 0; i < settings->column_count; i++) {
            csv->fields[i] = settings->columns[i].position - 1;
            field_max = MAX_OF(field_max, (size_t)settings->columns[i].position);
        }
        csv->header_count = SIZE_MAX;
    }
    csv_parser_init(&csv->parser, input, settings->delimiter, settings->quote, settings->max_value_size, field_max);
    return &csv->reader;
}
