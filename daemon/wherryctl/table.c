/*
 * Cells are gathered first, since a column is as wide as its widest cell, and printed once all are known. Widths are
 * terminal columns, not bytes: names may be of any script. What comes from outside is escaped on its way in, so that no
 * file name or error message can move the cursor.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "daemon/wherryctl/table.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"

#define GAP 2
#define LAST_COLUMN_MIN 16 /* so much of the last column is shown even on a narrow terminal */
#define ELLIPSIS "…"

typedef struct Cell {
    char *text;
    size_t width;
    Style style;
} Cell;

struct Table {
    size_t columns;
    bool right[16];
    Buffer cells; /* of Cell; the headers are the first row */
};

size_t text_fit(const char *text, size_t width)
{
    mbstate_t state = { 0 };
    const char *at = text, *end = text + strlen(text);
    size_t columns = 0;

    while (at < end) {
        wchar_t character;
        size_t n = mbrtowc(&character, at, (size_t)(end - at), &state);
        if (n == 0 || n > (size_t)(end - at)) /* escaped text is UTF-8, so this is only for other locales */
            return (size_t)(at - text);
        int w = wcwidth(character);
        if (columns + (w > 0 ? (size_t)w : 0) > width)
            break;
        columns += w > 0 ? (size_t)w : 0;
        at += n;
    }
    return (size_t)(at - text);
}

size_t text_width(const char *text)
{
    mbstate_t state = { 0 };
    size_t columns = 0, left = strlen(text);

    while (left > 0) {
        wchar_t character;
        size_t n = mbrtowc(&character, text, left, &state);
        if (n == 0 || n > left)
            return columns + left;
        int w = wcwidth(character);
        columns += w > 0 ? (size_t)w : 0;
        text += n;
        left -= n;
    }
    return columns;
}

unsigned terminal_width(FILE *file)
{
    struct winsize size = { 0 };
    if (!isatty(fileno(file)))
        return 0;
    return ioctl(fileno(file), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool terminal_has_colour(FILE *file)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(file)) && !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
}

const char *style_begin(Style style)
{
    switch (style) {
    case STYLE_GOOD:
        return "\x1b[32m";
    case STYLE_BAD:
        return "\x1b[31m";
    case STYLE_WARNING:
        return "\x1b[33m";
    case STYLE_ACTIVE:
        return "\x1b[36m";
    case STYLE_FAINT:
        return "\x1b[2m";
    default:
        return "\x1b[0m";
    }
}

Table *table_new(const char *const *headers)
{
    Table *table = xcalloc(1, sizeof(Table));
    for (; headers[table->columns]; table->columns++)
        table->right[table->columns] = headers[table->columns][0] == '>';
    for (size_t i = 0; i < table->columns; i++)
        table_add(table, headers[i] + table->right[i], STYLE_FAINT);
    return table;
}

static size_t cell_count(const Table *table)
{
    return buffer_length(&table->cells) / sizeof(Cell);
}

static Cell *cell(const Table *table, size_t i)
{
    return (Cell *)buffer_bytes(&table->cells) + i;
}

Table *table_free(Table *table)
{
    if (!table)
        return NULL;
    for (size_t i = 0; i < cell_count(table); i++)
        free(cell(table, i)->text);
    buffer_clear(&table->cells);
    free(table);
    return NULL;
}

void table_add(Table *table, const char *text, Style style)
{
    if (!text)
        text = "";
    size_t n = strcspn(text, "\n");
    _cleanup_(freep) char *escaped = text_escape(text, n);
    Cell added = { .text = xasprintf("%s%s", escaped, text[n] ? " " ELLIPSIS : ""), .style = style };
    added.width = text_width(added.text);
    buffer_append(&table->cells, &added, sizeof(added));
}

static void print_spaces(FILE *file, size_t n)
{
    fprintf(file, "%*s", (int)n, "");
}

static void print_cell(FILE *file, const Cell *c, size_t room, bool colour)
{
    bool cut = c->width > room;
    size_t bytes = cut ? text_fit(c->text, room - 1) : strlen(c->text);
    if (colour && c->style != STYLE_NONE)
        fputs(style_begin(c->style), file);
    fprintf(file, "%.*s%s", (int)bytes, c->text, cut ? ELLIPSIS : "");
    if (colour && c->style != STYLE_NONE)
        fputs(style_begin(STYLE_NONE), file);
}

void table_print(const Table *table, FILE *file)
{
    size_t widths[ELEMENTSOF(table->right)] = { 0 }, count = cell_count(table), before_last = 0;
    size_t last = table->columns - 1, width = terminal_width(file);
    bool colour = terminal_has_colour(file);

    for (size_t i = 0; i < count; i++)
        widths[i % table->columns] = MAX_OF(widths[i % table->columns], cell(table, i)->width);
    for (size_t i = 0; i < last; i++)
        before_last += widths[i] + GAP;
    size_t room = width == 0 ? SIZE_MAX : MAX_OF(width - MIN_OF(width, before_last), (size_t)LAST_COLUMN_MIN);

    for (size_t i = 0; i < count; i++) {
        const Cell *c = cell(table, i);
        size_t column = i % table->columns;
        bool row_goes_on = false; /* spaces at the end of a line are not printed */
        for (size_t j = column + 1; j < table->columns; j++)
            row_goes_on |= cell(table, i - column + j)->width > 0;
        if (table->right[column])
            print_spaces(file, widths[column] - c->width);
        print_cell(file, c, column == last ? room : SIZE_MAX, colour);
        if (row_goes_on)
            print_spaces(file, (table->right[column] ? 0 : widths[column] - c->width) + GAP);
        if (column == last)
            fputc('\n', file);
    }
}
