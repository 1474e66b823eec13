/* What the readers of all formats share: how they are made, and how they say what is wrong. */
#include "connectors/sources/files/reader.h"

#include "connectors/sources/files/changes.h"

FileReader *file_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json)
{
    switch (settings->format) {
    case FORMAT_NDJSON:
        return ndjson_reader_new(settings, input, json);
    case FORMAT_FIXED_WIDTH:
        return fixed_width_reader_new(settings, input, json);
    case FORMAT_CSV:
    default:
        return csv_reader_new(settings, input, json);
    }
}

FileReader *file_reader_free(FileReader *reader)
{
    if (reader)
        reader->free(reader);
    return NULL;
}

int reader_fail(const FileReader *reader, const char *column, const char *value, size_t value_length, const char *why,
                Error *error)
{
    error_set(error, ERROR_DATA, "%s", why);
    if (value && !files_settings_protect(reader->settings, NULL))
        error_at_value(error, value, value_length);
    return reader_place(reader, column, error);
}

int reader_place(const FileReader *reader, const char *column, Error *error)
{
    error_at_row(error, reader->line, reader->row);
    return column ? error_at_column(error, column) : -1;
}

int reader_bad_row(FileReader *reader, RowsWriter *rows, size_t mark, Error *error)
{
    _cleanup_(error_clear) Error why = { 0 };
    rows_rewind(rows, mark);
    /* Only bad data is the row's own: a lost key or a full disk would spoil the next one as well. */
    if (!reader->bad_rows || error->kind != ERROR_DATA)
        return -1;
    error_move(&why, error);
    reader->bad++;
    return reader->bad_rows->take(reader->bad_rows->context, reader, &why, error);
}

int reader_put_null(const FileReader *reader, const FileColumn *column, const char *why, RowsWriter *rows, Error *error)
{
    if (column->required)
        return reader_fail(reader, column->source, NULL, 0, why, error);
    rows_put_null(rows);
    return 0;
}

static int protect_row(const FileReader *reader, RowsWriter *rows, size_t mark, Error *error)
{
    const FilesSettings *settings = reader->settings;
    size_t column = 0;
    const char *why = NULL;
    if (protector_row(settings->protector, rows, mark, settings->max_value_size, &column, &why) == 0)
        return 0;
    return reader_fail(reader, settings->columns[column].source, NULL, 0, why, error);
}

static int change_row(const FileReader *reader, RowsWriter *rows, size_t mark, Error *error)
{
    const FilesSettings *settings = reader->settings;
    size_t column = 0;
    Value value;
    const char *why = NULL;
    if (changes_row(settings->changes, settings, rows, mark, &column, &value, &why) == 0)
        return 0;
    bool shown = value.tag == VALUE_STRING;
    return reader_fail(reader, settings->columns[column].source, shown ? value.text.data : NULL,
                       shown ? value.text.length : 0, why, error);
}

int reader_finish_row(const FileReader *reader, RowsWriter *rows, size_t mark, Error *error)
{
    const FilesSettings *settings = reader->settings;
    if (settings->changes && change_row(reader, rows, mark, error) < 0)
        return -1;
    return settings->protector ? protect_row(reader, rows, mark, error) : 0;
}
