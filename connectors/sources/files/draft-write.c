/*
 * The draft as a person would write it: what is the default is left out, what was decided without being certain has a
 * comment, and every text that YAML could take for something else stands in quotes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "connectors/sources/files/draft.h"
#include "lib/basics/text.h"
#include "lib/formats/key.h"

#define NAME_MAX_BYTES 63 /* of a column or table: what PostgreSQL allows */

/* --- YAML --- */

static bool is_word(const char *text, size_t n)
{
    static const char *const special[] = { "true", "false", "null", "yes", "no", "on", "off", "y", "n" };
    if (n == 0 || (text[0] >= '0' && text[0] <= '9'))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
              (text[i] >= '0' && text[i] <= '9') || text[i] == '_'))
            return false;
    for (size_t i = 0; i < ELEMENTSOF(special); i++)
        if (strcasecmp(special[i], text) == 0)
            return false;
    return true;
}

/* The code point at TEXT, of valid UTF-8. */
static uint32_t decode(const char *text, size_t *ret_length)
{
    const unsigned char *at = (const unsigned char *)text;
    *ret_length = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
    if (*ret_length == 1)
        return at[0];
    uint32_t code = at[0] & (0xffu >> (*ret_length + 1));
    for (size_t i = 1; i < *ret_length; i++)
        code = code << 6 | (at[i] & 0x3f);
    return code;
}

/* In double quotes unless it is a plain word. What YAML does not print, and what an editor would not show, is escaped.
 */
static void put_text(Buffer *to, const char *text, size_t n)
{
    if (is_word(text, n)) {
        buffer_append(to, text, n);
        return;
    }
    buffer_append_string(to, "\"");
    for (size_t i = 0, length; i < n; i += length) {
        uint32_t code = decode(text + i, &length);
        if (code == '"' || code == '\\')
            buffer_printf(to, "\\%c", (int)code);
        else if (code == '\t')
            buffer_append_string(to, "\\t");
        else if (code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || code == 0xfeff ||
                 (code >= 0xfff0 && code <= 0xffff) || (code >= 0x200b && code <= 0x200f))
            buffer_printf(to, "\\u%04X", code);
        else
            buffer_append(to, text + i, length);
    }
    buffer_append_string(to, "\"");
}

static void put_string(Buffer *to, const char *text)
{
    put_text(to, text, strlen(text));
}

/* --- names --- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* "Order ID" → "order_id". Letters beyond ASCII stay. */
static char *make_name(const char *text, size_t n, const char *fallback)
{
    Buffer name = { 0 };
    bool gap = false;
    for (size_t i = 0; i < n && buffer_length(&name) < NAME_MAX_BYTES - 4; i++) {
        char c = lower(text[i]);
        bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80 || c == '_';
        if (letter && buffer_length(&name) == 0 && c >= '0' && c <= '9')
            buffer_append_string(&name, "_");
        if (letter && gap && buffer_length(&name) > 0)
            buffer_append_string(&name, "_");
        if (letter)
            buffer_append(&name, &c, 1);
        gap = !letter;
    }
    if (buffer_length(&name) == 0)
        buffer_append_string(&name, fallback);
    name.end = name.begin + utf8_valid_length((const char *)buffer_bytes(&name), buffer_length(&name));
    return buffer_take_string(&name);
}

static bool is_taken(const Draft *draft, size_t before, const char *name)
{
    static const char *const ours[] = { "_id", "_source_file_hash", "_ingested_at" };
    for (size_t i = 0; i < ELEMENTSOF(ours); i++)
        if (strcasecmp(ours[i], name) == 0)
            return true;
    if (strncasecmp(name, "_fivetran_", 10) == 0)
        return true;
    for (size_t i = 0; i < before; i++)
        if (draft->columns[i].dest && strcasecmp(draft->columns[i].dest, name) == 0)
            return true;
    return false;
}

static void name_column(const Draft *draft, size_t i)
{
    DraftColumn *column = &draft->columns[i];
    char position[32];
    snprintf(position, sizeof(position), "column_%zu", i + 1);
    _cleanup_(freep) char *name = column->name ? make_name(column->name, column->length, position) : xstrdup(position);
    column->dest = xstrdup(name);
    for (unsigned number = 2; is_taken(draft, i, column->dest); number++) {
        free(column->dest);
        column->dest = xasprintf("%s_%u", name, number);
    }
}

const char *draft_column_left_out(const DraftColumn *column)
{
    if (column->left_out || !column->name)
        return column->left_out;
    if (column->length == 0)
        return "has no name";
    if (column->length > KEY_NAME_MAX)
        return "has a name of more than 255 bytes";
    for (size_t i = 0; i < column->length; i++)
        if ((unsigned char)column->name[i] < ' ' || column->name[i] == 0x7f)
            return "has a name with control characters";
    return NULL;
}

/* --- file names --- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Of "orders-2024-01-31.csv.gz" the length of "orders-2024-01-31". */
static size_t stem_length(const char *name)
{
    const char *dot = strchr(name + 1, '.');
    /* of several dots those behind which only endings stand */
    static const char *const endings[] = { ".csv", ".tsv", ".txt", ".dat", ".json", ".ndjson", ".jsonl",
                                           ".log", ".gz",  ".zst", ".bz2", ".xz",   ".parquet" };
    size_t n = strlen(name);
    for (bool found = true; found && dot;) {
        found = false;
        for (size_t i = 0; i < ELEMENTSOF(endings) && !found; i++) {
            size_t m = strlen(endings[i]);
            if (n > m && strncasecmp(name + n - m, endings[i], m) == 0) {
                n -= m;
                found = true;
            }
        }
    }
    return n;
}

/* Without the date or number at its end, and what parts it from the rest. */
static size_t without_number(const char *name, size_t n)
{
    size_t end = n;
    bool number = false;
    while (end > 0 && ((name[end - 1] >= '0' && name[end - 1] <= '9') || strchr("-_. T", name[end - 1]))) {
        number |= name[end - 1] >= '0' && name[end - 1] <= '9';
        end--;
    }
    return number ? end : n;
}

static size_t common_prefix(const Draft *draft)
{
    const char *first = base_name(draft->paths[0]);
    size_t n = without_number(first, stem_length(first));
    for (size_t i = 1; i < draft->path_count; i++) {
        const char *name = base_name(draft->paths[i]);
        size_t k = 0;
        while (k < n && name[k] == first[k])
            k++;
        n = k;
    }
    return utf8_valid_length(first, n);
}

static size_t common_suffix(const Draft *draft, const char *first)
{
    size_t n = strlen(first) - stem_length(first);
    for (size_t i = 1; i < draft->path_count; i++) {
        const char *name = base_name(draft->paths[i]);
        size_t length = strlen(name);
        n = MIN_OF(n, length);
        while (n > 0 && strcmp(name + length - n, first + strlen(first) - n) != 0)
            n--;
    }
    return n;
}

static void put_pattern(Buffer *to, const Draft *draft)
{
    const char *first = base_name(draft->paths[0]);
    size_t prefix = common_prefix(draft), suffix = common_suffix(draft, first);
    _cleanup_(freep) char *pattern = xasprintf("%.*s*%s", (int)prefix, first, first + strlen(first) - suffix);
    /* what a pattern means by itself */
    for (size_t i = 0; pattern[i]; i++)
        if ((pattern[i] == '*' && i != prefix) || pattern[i] == '?' || pattern[i] == '[' || pattern[i] == '\\')
            pattern[i] = '?';
    put_string(to, pattern);
}

static char *table_name(const Draft *draft)
{
    const char *first = base_name(draft->paths[0]);
    char *name = make_name(first, common_prefix(draft), "data");
    /* SQLite's and our own */
    if (strncasecmp(name, "sqlite_", 7) == 0 || strncasecmp(name, "_wherry_", 8) == 0) {
        char *other = xasprintf("data_%s", name);
        free(name);
        return other;
    }
    return name;
}

/* --- the parts of the file --- */

static void put_head(Buffer *to, const Draft *draft)
{
    buffer_append_string(to, "# Drafted by wherryctl from ");
    if (draft->path_count > 1)
        buffer_printf(to, "%zu files", draft->path_count);
    else
        put_string(to, base_name(draft->paths[0]));
    if (draft->whole)
        buffer_printf(to, ", all %" PRIu64 " row%s of it.\n", draft->rows, draft->rows == 1 ? "" : "s");
    else
        buffer_printf(to,
                      ", of which %" PRIu64
                      " rows at the beginning were looked at: what follows may not hold for the rest.\n",
                      draft->rows);
    buffer_append_string(to, "# Edit it, then \"wherryctl check FILE.yaml\" and \"wherryctl run FILE.yaml\".\n");
    if (draft->long_row > 0)
        buffer_printf(
            to, "# Line %" PRIu64 " has more fields than the header: such a file is refused. Is the delimiter right?\n",
            draft->long_row);
}

static void put_source(Buffer *to, const Draft *draft)
{
    const char *path = draft->paths[0], *slash = strrchr(path, '/');
    size_t n = slash && slash > path ? (size_t)(slash - path) : 1;
    buffer_append_string(to, "frequency: 6h  # or any duration from 1s, or manual\nsource:\n  type: files\n  dir: ");
    put_text(to, slash ? path : ".", n);
    buffer_append_string(to, "\n  file_pattern: ");
    put_pattern(to, draft);
    buffer_append_string(to, draft->path_count == 1 ? "  # a guess from one file's name\n" : "\n");
}

static void put_csv(Buffer *to, const Draft *draft, size_t marker)
{
    const char *separator = "";
    bool any = draft->delimiter != ',' || draft->quote != '"' || !draft->header || marker < NULL_MARKERS;
    if (any) {
        buffer_append_string(to, "csv: {");
        if (draft->delimiter == '\t')
            buffer_append_string(to, "delimiter: tab");
        else if (draft->delimiter != ',')
            buffer_printf(to, "delimiter: \"%c\"", draft->delimiter);
        separator = draft->delimiter != ',' ? ", " : "";
        if (draft->quote != '"') {
            buffer_printf(to, "%squote: \"%c\"", separator, draft->quote);
            separator = ", ";
        }
        if (!draft->header) {
            buffer_printf(to, "%sheader: false", separator);
            separator = ", ";
        }
        if (marker < NULL_MARKERS) {
            buffer_printf(to, "%snull: ", separator);
            put_string(to, null_markers[marker]);
        }
        buffer_append_string(to, "}");
    }
    if (draft->header && draft->header_unsure)
        buffer_printf(to,
                      "%s# the first row was taken for a header; else write csv: {header: false}, and positions as "
                      "sources\n",
                      any ? "  " : "");
    else if (any)
        buffer_append_string(to, draft->header ? "\n" : "  # the first row looks like data\n");
}

static void put_column(Buffer *to, Draft *draft, size_t i, size_t marker)
{
    DraftColumn *column = &draft->columns[i];
    const char *why = draft_column_left_out(column), *comment = NULL;
    if (why) {
        _cleanup_(freep) char *shown = text_escape_shortened(column->name, column->length, 80);
        buffer_printf(to, "  # left out: \"%s\" %s\n", shown, why);
        return;
    }
    name_column(draft, i);
    buffer_append_string(to, "  - {source: ");
    if (column->name)
        put_text(to, column->name, column->length);
    else
        buffer_printf(to, "%zu", i + 1);
    buffer_append_string(to, ", dest: ");
    put_string(to, column->dest);
    ColumnType type = column->stated ? column->stated : draft_column_type(column, marker, &comment);
    comment = column->stated ? column->note : comment;
    buffer_printf(to, ", type: %s", column_type_name(type));
    if (draft_column_nulls(column, marker) > 0 || draft->rows == 0)
        buffer_append_string(to, ", required: false");
    buffer_append_string(to, "}");
    if (comment)
        buffer_printf(to, "  # %s", comment);
    buffer_append_string(to, "\n");
}

char *draft_write(Draft *draft)
{
    Buffer text = { 0 };
    size_t marker = draft->format == FORMAT_CSV ? draft_choose_marker(draft->columns, draft->column_count) : NO_MARKER;
    _cleanup_(freep) char *table = table_name(draft);
    put_head(&text, draft);
    put_source(&text, draft);
    buffer_printf(&text, "format: %s\n",
                  draft->format == FORMAT_CSV       ? "csv"
                  : draft->format == FORMAT_PARQUET ? "parquet"
                                                    : "ndjson");
    if (draft->format == FORMAT_CSV)
        put_csv(&text, draft, marker);
    if (draft->format == FORMAT_CSV && draft->column_count == 1)
        buffer_append_string(&text, "# no delimiter was found; for columns told by their places there is \"format: "
                                    "fixed_width\"\n");
    if (draft->encoding)
        buffer_printf(
            &text, "encoding: %s%s\n", draft->encoding,
            draft->encoding_guessed ? "  # a guess, as it is not UTF-8: look whether its letters come out right" : "");
    buffer_append_string(&text, "dest_table: ");
    put_string(&text, table);
    buffer_append_string(&text, "\ncolumns:\n");
    for (size_t i = 0; i < draft->column_count; i++)
        put_column(&text, draft, i, marker);
    buffer_append_string(&text, "destination:\n  type: sqlite\n  path: ");
    _cleanup_(freep) char *database = xasprintf("%s.db", table);
    put_string(&text, database);
    buffer_append_string(&text, "  # in the folder of this file, or an absolute path\n");
    return buffer_take_string(&text);
}
