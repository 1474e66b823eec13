#pragma once
/* A table for people: aligned columns, the last one shortened to the terminal's width, colours only on a terminal. */
#include <stdbool.h>
#include <stdio.h>

typedef enum Style { STYLE_NONE, STYLE_GOOD, STYLE_BAD, STYLE_WARNING, STYLE_ACTIVE, STYLE_FAINT } Style;

typedef struct Table Table;
/* HEADERS ends with NULL; one that begins with ">" is of a column of numbers, aligned to the right. */
Table *table_new(const char *const *headers);
Table *table_free(Table *table);
/* The next cell, row by row. TEXT may be anything (foreign bytes are escaped, only the first line is shown), or NULL.
 */
void table_add(Table *table, const char *text, Style style);
void table_print(const Table *table, FILE *file);

size_t text_width(const char *text);             /* columns that it takes on a terminal */
size_t text_fit(const char *text, size_t width); /* bytes of it that fit into WIDTH columns */
unsigned terminal_width(FILE *file);             /* 0: not a terminal */
bool terminal_has_colour(FILE *file);            /* a terminal, and NO_COLOR is not set */
const char *style_begin(Style style);            /* the escape sequence; STYLE_NONE ends them all */
