#pragma once
/*
 * CSV as RFC 4180 has it: records end with LF, CRLF or CR; a quoted field may hold delimiters, line ends and doubled
 * quotes. A quote inside a field that does not begin with one is a character like any other; text after a closing quote
 * and a quote that is never closed are errors. Blank lines are skipped, as Python's csv does.
 *
 * Fields lie in the input where they are: nothing is copied.
 */
#include "connectors/sources/files/input.h"
#include "connectors/sources/files/scan.h"

typedef struct CsvField {
    char *text; /* valid until the next csv_next(); unquoted */
    uint32_t length;
    bool quoted;
} CsvField;

typedef struct CsvParser {
    TextInput *input;
    char delimiter, quote;
    uint32_t value_max; /* a longer field is an error */
    size_t field_max;   /* fields beyond these are counted, not kept */
    CsvField *fields;   /* owned; of the last record */
    size_t field_count; /* all that the record has */
    uint64_t line;      /* where that record began, 1-based */
    /* private */
    Scanner scanner; /* of the window, at the next record */
    bool rescan;     /* the window has moved */
    uint64_t next_line;
    size_t open_field; /* after an error: index of the field that it is in, and its beginning */
    size_t open_offset;
} CsvParser;

void csv_parser_init(CsvParser *parser, TextInput *input, char delimiter, char quote, uint32_t value_max,
                     size_t field_max);
void csv_parser_clear(CsvParser *parser);

enum { CSV_E_END = 1 };
/* The next record that is not a blank line. An error has no place yet but is that of field `open_field` of the record
 * at `line`. */
int csv_next(CsvParser *parser, Error *error);
