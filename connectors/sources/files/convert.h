#pragma once
/*
 * Text to typed values, with Filedge's meaning of each type.
 *
 *   string     as it is                           boolean    true 1 yes, false 0 no, in any case, spaces around
 *   integer    64 bits, spaces around             date       YYYY-MM-DD or YYYYMMDD, a possible one
 *   float      finite, spaces around              timestamp  ISO 8601, with or without zone
 *   decimal    any length; 1.5e3 becomes 1500     json       one valid value, kept as written
 *   binary     base64, strictly
 *
 * Every function puts one value into ROWS and returns NULL, or puts nothing and returns why not (a static text that
 * follows the place in an error). Nothing is rounded but what a float must round.
 */
#include "connectors/sources/files/json.h"
#include "lib/formats/frame.h"

typedef struct Converter {
    uint32_t max_value_size;
    JsonMemory *json; /* not owned */
} Converter;

const char *convert_text_typed(const Converter *converter, ColumnType type, const char *text, size_t n,
                               RowsWriter *rows);
static inline const char *convert_text(const Converter *converter, ColumnType type, const char *text, size_t n,
                                       RowsWriter *rows)
{
    /* Most values of most tables, and nothing to convert. */
    if (type == COLUMN_STRING && n <= converter->max_value_size) {
        rows_put_text(rows, VALUE_STRING, text, n);
        return NULL;
    }
    return convert_text_typed(converter, type, text, n, rows);
}
/* For a number as JSON writes it: an integer column takes 1.0 and 1e3 too, because they are integers. */
const char *convert_number(const Converter *converter, ColumnType type, const char *text, size_t n, RowsWriter *rows);
/* Whether the float nearest to this number is written with the same digits, so that nothing of it is lost. */
bool convert_float_keeps(const char *text, size_t n);
/* A JSON true or false. */
const char *convert_boolean(ColumnType type, bool value, RowsWriter *rows);
