/* What the readers of all formats share: how they are made, and how they say what is wrong. */
#include "connectors/sources/files/reader.h"

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
    if (value)
        error_at_value(error, value, value_length);
    return reader_place(reader, column, error);
}

int reader_place(const FileReader *reader, const char *column, Error *error)
{
    error_at_row(error, reader->line, reader->row);
    return column ? error_at_column(error, column) : -1;
}

int reader_put_null(const FileReader *reader, const FileColumn *column, const char *why, RowsWriter *rows, Error *error)
{
    if (column->required)
        return reader_fail(reader, column->source, NULL, 0, why, error);
    rows_put_null(rows);
    return 0;
}
