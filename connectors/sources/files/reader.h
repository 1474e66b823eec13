#pragma once
/*
 * A reader turns the text of one file into rows of the destination's columns. One constructor per format; all of them
 * read a TextInput, know the settings, and say of every error line, row, column and value.
 */
#include "connectors/sources/files/convert.h"
#include "connectors/sources/files/input.h"
#include "connectors/sources/files/settings.h"

typedef struct FileReader FileReader;

/* Where rows go that cannot be loaded, so that the others can. */
typedef struct BadRows {
    /* WHY is what is wrong with the row at which READER stands; its write_row() shows it, until this returns. */
    int (*take)(void *context, const FileReader *reader, const Error *why, Error *error);
    void *context; /* not owned */
} BadRows;

enum { FILE_READER_E_END = 1 };

struct FileReader {
    /* Adds whole rows to ROWS until its frame is full (FRAME_ROWS_TARGET), or the file ends: FILE_READER_E_END. After a
     * negative return ROWS holds the rows before the bad one. */
    int (*read)(FileReader *reader, RowsWriter *rows, Error *error);
    /* Appends the row that was read last as a JSON value: an object by the names that the file gives its fields, or,
     * where the row cannot be taken apart, what stands there (an array of fields, or the line as text). What a
     * protected column may hold is left out. */
    void (*write_row)(const FileReader *reader, Buffer *to);
    void (*free)(FileReader *reader);
    const BadRows *bad_rows;       /* not owned; NULL: a bad row is the file's error; set before the first read */
    const FilesSettings *settings; /* not owned */
    TextInput *input;              /* not owned */
    Converter converter;
    uint64_t line;   /* where the record that is being read begins; 1-based */
    uint64_t row;    /* data rows begun */
    uint64_t bad;    /* of these, given to bad_rows */
    uint64_t number; /* of the row in the file that it first came in; 0: as `row` */
};

FileReader *csv_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json);
FileReader *ndjson_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json);
FileReader *fixed_width_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json);
/* Reads what quarantine.h has written, whatever the format that it came from. */
FileReader *sidecar_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json);
FileReader *file_reader_new(const FilesSettings *settings, TextInput *input,
                            JsonMemory *json); /* by settings->format */
FileReader *file_reader_free(FileReader *reader);
DEFINE_CLEANUP(FileReader, file_reader_free)

/* --- for the readers themselves --- */

/* ERROR_DATA at the reader's line and row. COLUMN and VALUE may be NULL; VALUE is not shown where columns are
 * protected. */
int reader_fail(const FileReader *reader, const char *column, const char *value, size_t value_length, const char *why,
                Error *error);
/* Adds line, row and COLUMN to an error from the input. */
int reader_place(const FileReader *reader, const char *column, Error *error);
/* What to do with the row that failed with ERROR and was half put since MARK. 0: it was set aside, and the next may
 * come; negative: the file has failed. */
int reader_bad_row(FileReader *reader, RowsWriter *rows, size_t mark, Error *error);
/* Once all columns of a row were put, from MARK on: makes a change of it, and protects the columns that are to be. */
int reader_finish_row(const FileReader *reader, RowsWriter *rows, size_t mark, Error *error);
static inline int reader_row_done(const FileReader *reader, RowsWriter *rows, size_t mark, Error *error)
{
    const FilesSettings *settings = reader->settings;
    if (__builtin_expect(settings->protector != NULL || settings->changes != NULL, 0) &&
        reader_finish_row(reader, rows, mark, error) < 0)
        return -1;
    rows_row_done(rows);
    return 0;
}
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
