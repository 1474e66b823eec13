/*
 * Fixed-width lines as Filedge slices them: positions count characters, not bytes; a slice is stripped as Python's
 * str.strip() does; a line that is blank is skipped, one that ends before the last column is an error, and what stands
 * behind the last column is nobody's. Lines end with LF, CRLF or CR.
 *
 * Most lines are ASCII, where the character is the byte and a slice is two additions. Others are walked once from left
 * to right, because columns are declared in that order.
 */
#include <string.h>

#include "connectors/sources/files/reader.h"
#include "lib/basics/buffer.h"

typedef struct FixedWidthReader {
    FileReader reader; /* first: a FileReader * is a FixedWidthReader * */
    const char *line;  /* the last one read, in the input */
    size_t length;
    size_t required_length; /* characters a line must have */
    const FileColumn *last_column;
} FixedWidthReader;

/* Length of the whitespace character at TEXT, 0 if it is none: str.isspace() of Python. */
static size_t space_length(const char *text, const char *end)
{
    unsigned char first = (unsigned char)*text;
    if (first == ' ' || (first >= '\t' && first <= '\r') || (first >= 0x1c && first <= 0x1f))
        return 1;
    if (first < 0xc2 || end - text < 2)
        return 0;
    if (first == 0xc2 && ((unsigned char)text[1] == 0x85 || (unsigned char)text[1] == 0xa0))
        return 2;
    if (end - text < 3)
        return 0;
    static const char *const wide[] = { "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9",
                                        "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80" };
    if (memcmp(text, "\xe2\x80", 2) == 0 && (unsigned char)text[2] <= 0x8a)
        return 3;
    for (size_t i = 0; i < ELEMENTSOF(wide); i++)
        if (memcmp(text, wide[i], 3) == 0)
            return 3;
    return 0;
}

static void strip(const char **begin, const char **end)
{
    while (*begin < *end) {
        size_t n = space_length(*begin, *end);
        if (n == 0)
            break;
        *begin += n;
    }
    while (*begin < *end) {
        const char *last = *end - 1;
        while (last > *begin && ((unsigned char)*last & 0xc0) == 0x80)
            last--;
        if (space_length(last, *end) == 0)
            break;
        *end = last;
    }
}

static bool is_ascii(const char *text, size_t n)
{
    for (; n >= 8; text += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, text, sizeof(word));
        if (word & UINT64_C(0x8080808080808080))
            return false;
    }
    for (; n > 0; text++, n--)
        if ((unsigned char)*text & 0x80)
            return false;
    return true;
}

/* COUNT characters further, at most to END. */
static const char *skip_characters(const char *text, const char *end, size_t count)
{
    while (count > 0 && text < end) {
        text++;
        while (text < end && ((unsigned char)*text & 0xc0) == 0x80)
            text++;
        count--;
    }
    return text;
}

static size_t count_characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

static int line_too_short(const FixedWidthReader *fixed, size_t characters, Error *error)
{
    _cleanup_(freep) char *why = xasprintf("the line has %zu characters, but the column ends at character %zu",
                                           characters, fixed->required_length);
    return reader_fail(&fixed->reader, fixed->last_column->source, NULL, 0, why, error);
}

static int put_line(const FixedWidthReader *fixed, const char *line, size_t n, RowsWriter *rows, Error *error)
{
    const FilesSettings *settings = fixed->reader.settings;
    bool ascii = is_ascii(line, n);
    size_t characters = ascii ? n : count_characters(line, n);
    if (characters < fixed->required_length)
        return line_too_short(fixed, characters, error);
    const char *end = line + n, *at = line;
    size_t at_character = 0;
    for (size_t i = 0; i < settings->column_count; i++) {
        const FileColumn *column = &settings->columns[i];
        const char *from, *to;
        if (ascii) {
            from = line + column->start;
            to = from + column->width;
        } else {
            if (column->start < at_character) {
                at = line;
                at_character = 0;
            }
            from = at = skip_characters(at, end, column->start - at_character);
            at_character = column->start;
            to = skip_characters(from, end, column->width);
        }
        strip(&from, &to);
        if (reader_put_text(&fixed->reader, column, from, (size_t)(to - from), rows, error) < 0)
            return -1;
    }
    return 0;
}

static bool is_blank(const char *line, size_t n)
{
    const char *end = line + n;
    strip(&line, &end);
    return line == end;
}

/* The end of the first line in the N bytes; NULL: not among them. */
static const char *find_line_end(const char *text, size_t n)
{
    const char *feed = memchr(text, '\n', n);
    const char *carriage = memchr(text, '\r', feed ? (size_t)(feed - text) : n);
    return carriage ? carriage : feed;
}

/* The next line, without its end. */
static int next_line(FixedWidthReader *fixed, const char **ret, size_t *ret_length, Error *error)
{
    TextInput *input = fixed->reader.input;
    for (;;) {
        const char *begin = input->data + input->begin;
        size_t n = input->end - input->begin;
        const char *line_end = n > 0 ? find_line_end(begin, n) : NULL;
        size_t length = line_end ? (size_t)(line_end - begin) : n;
        /* Whether a line feed follows a carriage return is not known at the window's end. */
        bool known = line_end ? *line_end == '\n' || length + 1 < n || input->ended : input->ended && n > 0;
        if (known) {
            *ret = begin;
            *ret_length = length;
            input->begin += length + (line_end != NULL);
            if (line_end && *line_end == '\r' && length + 1 < n && line_end[1] == '\n')
                input->begin++;
            return 0;
        }
        int r = input->ended ? TEXT_INPUT_E_END : text_input_more(input, error);
        if (r == TEXT_INPUT_E_END && input->begin == input->end)
            return FILE_READER_E_END;
        if (r < 0) {
            fixed->reader.row++;
            fixed->reader.line++;
            return reader_place(&fixed->reader, NULL, error);
        }
    }
}

static int fixed_width_read(FileReader *reader, RowsWriter *rows, Error *error)
{
    FixedWidthReader *fixed = (FixedWidthReader *)reader;
    while (rows_size(rows) < FRAME_ROWS_TARGET) {
        const char *line = NULL;
        size_t length = 0;
        int r = next_line(fixed, &line, &length, error);
        if (r != 0)
            return r;
        reader->line++;
        if (is_blank(line, length))
            continue;
        reader->row++;
        size_t mark = rows_mark(rows);
        fixed->line = line;
        fixed->length = length;
        if ((put_line(fixed, line, length, rows, error) < 0 || reader_row_done(reader, rows, mark, error) < 0) &&
            reader_bad_row(reader, rows, mark, error) < 0)
            return -1;
    }
    return 0;
}

/* A line that is cut short stays a line: what is left of its last column would pass for a value. */
static void fixed_width_write_row(const FileReader *reader, Buffer *to)
{
    const FixedWidthReader *fixed = (const FixedWidthReader *)reader;
    const FilesSettings *settings = reader->settings;
    const char *end = fixed->line + fixed->length;
    if (count_characters(fixed->line, fixed->length) < fixed->required_length) {
        if (files_settings_protect(settings, NULL))
            buffer_append_string(to, "null");
        else
            json_put_string(to, fixed->line, fixed->length);
        return;
    }
    size_t written = 0;
    buffer_append_string(to, "{");
    for (size_t i = 0; i < settings->column_count; i++) {
        const FileColumn *column = &settings->columns[i];
        if (files_settings_protect(settings, column->source))
            continue;
        const char *from = skip_characters(fixed->line, end, column->start);
        const char *behind = skip_characters(from, end, column->width);
        strip(&from, &behind);
        buffer_append_string(to, written++ > 0 ? ", " : "");
        json_put_string(to, column->source, strlen(column->source));
        buffer_append_string(to, ": ");
        json_put_string(to, from, (size_t)(behind - from));
    }
    buffer_append_string(to, "}");
}

static void fixed_width_free(FileReader *reader)
{
    free(reader);
}

FileReader *fixed_width_reader_new(const FilesSettings *settings, TextInput *input, JsonMemory *json)
{
    FixedWidthReader *fixed = xcalloc(1, sizeof(*fixed));
    fixed->reader = (FileReader){ .read = fixed_width_read,
                                  .write_row = fixed_width_write_row,
                                  .free = fixed_width_free,
                                  .settings = settings,
                                  .input = input,
                                  .converter = { settings->max_value_size, json } };
    for (size_t i = 0; i < settings->column_count; i++) {
        const FileColumn *column = &settings->columns[i];
        size_t column_end = (size_t)column->start + column->width;
        if (column_end > fixed->required_length) {
            fixed->required_length = column_end;
            fixed->last_column = column;
        }
    }
    return &fixed->reader;
}
