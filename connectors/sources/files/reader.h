#pragma once
/*
 * A reader turns the text of one file into rows of the destination's columns. One constructor per format; all of them
 * read a TextInput, know the settings, and say of every error line, row, column and value.
 */
#include "connectors/sources/files/convert.h"
#include "connectors/sources/files/input.h"
#include "connectors/sources/files/settings.h"

typedef struct FileReader FileReader;

enum { FILE_READER_E_END = 1 };

struct FileReader {
    /* Adds whole rows to ROWS until its frame is full (FRAME_ROWS_TARGET), or the file ends: FILE_READER_E_END. After a
     * negative return ROWS holds the rows before the bad one. */
    int (*read)(FileReader *reader, RowsWriter *rows, Error *error);
    void (*free)(FileReader *reader);
    const FilesSettings *settings; /* not owned */
    TextInput *input;              /* not owned */
    Converter converter;
    uint64_t line; /* where the record that is being read begins; 1-based */
    uint64_t row;  /* data rows begun */
};

FileReader *csv_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json);
FileReader *ndjson_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json);
FileReader *fixed_width_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json);
FileReader *file_reader_new(const FilesSettings *settings, TextInput *input,
                            JsonMemory *json); /* by settings->format */
FileReader *file_reader_free(FileReader *reader);
DEFINE_CLEANUP(FileReader, file_reader_free)

/* --- for the readers themselves --- */

/* ERROR_DATA at the reader's line and row. COLUMN and VALUE may be NULL. */
int reader_fail(const FileReader *reader, const char *column, const char *value, size_t value_length, const char *why,
                Error *error);
/* Adds line, row and COLUMN to an error from the input. */
int reader_place(const FileReader *reader, const char *column, Error *error);
/* NULL for a column that has no value; an error where it is required. WHY: what is wrong with a required one. */
int reader_put_null(const FileReader *reader, const FileColumn *column, const char *why, RowsWriter *rows,
                    Error *error);
/* TEXT of a column, as CSV and fixed width have it: empty text is NULL unless the settings keep it. */
static inline int reader_put_text(const FileReader *reader, const FileColumn *column, const char *text, size_t n,
                                  RowsWriter *rows, Error *error)
{
    const FilesSettings *settings = reader->settings;
    if (__builtin_expect(n == 0, 0) &&
        !(settings->keep_empty && (column->type == COLUMN_STRING || column->type == COLUMN_BINARY)))
        return reader_put_null(reader, column, "empty, but the column is required", rows, error);
    const char *why = convert_text(&reader->converter, column->type, text, n, rows);
    return __builtin_expect(why != NULL, 0) ? reader_fail(reader, column->source, text, n, why, error) : 0;
}
