/*
 * Types are found by elimination, with the loader's own converters. Where several are left, the narrower one is taken:
 * boolean, integer, decimal, float, date, timestamp, json, and string when nothing else is left. Against that stands
 * what would be lost: a number with leading zeros or a plus sign is a code or a telephone number, and stays text.
 *
 * In JSON a value has a kind of its own, so that text which looks like a number stays text there.
 */
#include "connectors/sources/files/draft-column.h"

#include <string.h>

#define BIT(type) (1u << (type))
#define NUMBERS (BIT(COLUMN_INTEGER) | BIT(COLUMN_DECIMAL) | BIT(COLUMN_FLOAT))
#define MOMENTS (BIT(COLUMN_DATE) | BIT(COLUMN_TIMESTAMP))

/* What the values look like. */
enum {
    LEADING_ZERO = 1 << 0, /* 007 */
    PLUS = 1 << 1,
    EXPONENT = 1 << 2,
    FRACTION = 1 << 3,
    WORD = 1 << 4,           /* of a boolean: anything but 0 and 1 */
    NOT_LOCAL_DATE = 1 << 5, /* anything but 31.01.2024 and the like */
    CONTAINER = 1 << 6,      /* an object or array of JSON */
    JSON_KINDS = 3 << 7,
    JSON_TEXT = 1 << 7,
    JSON_OTHER = 1 << 8,
    NOT_COMMA_NUMBER = 1 << 9, /* anything but 7, 1,5 and 1.234,50 */
    COMMA = 1 << 10,
};

const char *const null_markers[NULL_MARKERS] = { "NA", "N/A", "n/a", "NULL", "null", "None", "NaN", "nan", "\\N", "-" };

void draft_column_init(DraftColumn *column, const char *name, size_t n)
{
    *column = (DraftColumn){ .possible = BIT(COLUMN_BOOLEAN) | NUMBERS | MOMENTS | BIT(COLUMN_JSON) };
    if (name) {
        column->name = xstrndup(name, n);
        column->length = n;
    }
}

void draft_column_clear(DraftColumn *column)
{
    free(column->name);
    free(column->dest);
    *column = (DraftColumn){ 0 };
}

/* --- one value --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool converts(Inferrer *inferrer, ColumnType type, const char *text, size_t n)
{
    buffer_reset(&inferrer->scratch);
    RowsWriter rows = rows_begin(&inferrer->scratch, 0, OPERATION_INSERT);
    return convert_text_typed(&inferrer->converter, type, text, n, &rows) == NULL;
}

/* 31.01.2024, 1/31/24: dates that no converter reads, because nobody knows which is the month. */
static bool is_local_date(const char *text, size_t n)
{
    size_t digits = 0, separators = 0;
    for (size_t i = 0; i < n; i++) {
        digits += is_digit(text[i]);
        separators += text[i] == '.' || text[i] == '/' || text[i] == '-';
    }
    return separators == 2 && digits >= 4 && digits <= 8 && digits + separators == n;
}

/* What is a number where the comma parts the fraction: 7; -1,5; 1.234,50. */
static bool is_comma_number(const char *text, size_t n)
{
    size_t i = n > 0 && (*text == '-' || *text == '+'), commas = 0;
    if (i == n || !is_digit(text[i]) || !is_digit(text[n - 1]))
        return false;
    for (; i < n; i++) {
        if (!is_digit(text[i]) && text[i] != ',' && (text[i] != '.' || commas > 0))
            return false;
        commas += text[i] == ',';
    }
    return commas <= 1;
}

static unsigned signs_of(const char *text, size_t n)
{
    unsigned signs = 0;
    while (n > 0 && (*text == ' ' || *text == '\t'))
        text++, n--;
    const char *at = text, *end = text + n;
    at += n > 0 && (*at == '-' || *at == '+');
    if (n > 0 && *text == '+')
        signs |= PLUS;
    if (end - at >= 2 && at[0] == '0' && is_digit(at[1]))
        signs |= LEADING_ZERO;
    if (memchr(text, 'e', n) || memchr(text, 'E', n))
        signs |= EXPONENT;
    if (memchr(text, '.', n))
        signs |= FRACTION;
    if (memchr(text, ',', n))
        signs |= COMMA;
    if (n != 1 || (*text != '0' && *text != '1'))
        signs |= WORD;
    return signs | (is_local_date(text, n) ? 0 : NOT_LOCAL_DATE) | (is_comma_number(text, n) ? 0 : NOT_COMMA_NUMBER);
}

/* Takes away what TEXT cannot be, of TYPES; the others stay as they are. */
static void eliminate(DraftColumn *column, Inferrer *inferrer, unsigned types, const char *text, size_t n)
{
    for (ColumnType type = COLUMN_INTEGER; type <= COLUMN_JSON; type++)
        if ((column->possible & types & BIT(type)) && !converts(inferrer, type, text, n))
            column->possible &= ~BIT(type);
}

static size_t find_marker(const char *text, size_t n)
{
    size_t i = 0;
    while (i < NULL_MARKERS && (strlen(null_markers[i]) != n || memcmp(null_markers[i], text, n) != 0))
        i++;
    return i;
}

void draft_column_field(DraftColumn *column, Inferrer *inferrer, const char *text, size_t n, bool quoted)
{
    if (n == 0) {
        column->nulls++;
        return;
    }
    size_t marker = quoted ? NO_MARKER : find_marker(text, n);
    if (marker < NULL_MARKERS) {
        column->markers[marker]++;
        return;
    }
    column->values++;
    column->signs |= signs_of(text, n);
    if (*text != '{' && *text != '[')
        column->possible &= ~BIT(COLUMN_JSON);
    eliminate(column, inferrer, ~0u, text, n);
}

static void take_number(DraftColumn *column, Inferrer *inferrer, const char *text, size_t n)
{
    column->possible &= NUMBERS | BIT(COLUMN_JSON);
    for (ColumnType type = COLUMN_INTEGER; type <= COLUMN_DECIMAL; type++) {
        buffer_reset(&inferrer->scratch);
        RowsWriter rows = rows_begin(&inferrer->scratch, 0, OPERATION_INSERT);
        if ((column->possible & NUMBERS & BIT(type)) && convert_number(&inferrer->converter, type, text, n, &rows))
            column->possible &= ~BIT(type);
    }
    column->signs |= signs_of(text, n) | JSON_OTHER;
}

void draft_column_json(DraftColumn *column, Inferrer *inferrer, yyjson_val *value)
{
    const char *text = yyjson_get_str(value);
    size_t n = yyjson_get_len(value);
    if (yyjson_is_null(value) || (yyjson_is_str(value) && n == 0)) {
        column->nulls++;
        return;
    }
    column->values++;
    if (yyjson_is_str(value)) {
        column->possible &= MOMENTS | BIT(COLUMN_JSON);
        column->signs |= signs_of(text, n) | JSON_TEXT;
        eliminate(column, inferrer, MOMENTS, text, n);
    } else if (yyjson_is_raw(value)) {
        take_number(column, inferrer, yyjson_get_raw(value), n);
    } else if (yyjson_is_bool(value)) {
        column->possible &= BIT(COLUMN_BOOLEAN) | BIT(COLUMN_JSON);
        column->signs |= WORD | JSON_OTHER;
    } else {
        column->possible &= BIT(COLUMN_JSON);
        column->signs |= CONTAINER;
    }
}

/* --- all values --- */

static bool is_possible(const DraftColumn *column, ColumnType type)
{
    return column->possible & BIT(type);
}

/* JSON of a JSON file takes every value, so that it is meant only where something is nested. */
static ColumnType type_of_nothing_else(const DraftColumn *column, const char **ret_comment)
{
    bool in_json = column->signs & (JSON_KINDS | CONTAINER);
    if (is_possible(column, COLUMN_JSON) && (!in_json || (column->signs & CONTAINER)))
        return COLUMN_JSON;
    if (!(column->signs & NOT_LOCAL_DATE))
        *ret_comment = "dates that are not written as 2024-01-31: kept as text";
    else if ((column->signs & COMMA) && !(column->signs & NOT_COMMA_NUMBER))
        *ret_comment = "numbers with a decimal comma: kept as text";
    else if ((column->signs & JSON_KINDS) == JSON_KINDS || (in_json && !(column->signs & JSON_TEXT)))
        *ret_comment = "values of several kinds: kept as text";
    return COLUMN_STRING;
}

static ColumnType number_type(const DraftColumn *column, const char **ret_comment)
{
    if (column->signs & (LEADING_ZERO | PLUS)) {
        *ret_comment = column->signs & LEADING_ZERO ? "numbers with leading zeros: kept as text"
                                                    : "numbers with a plus sign: kept as text";
        return COLUMN_STRING;
    }
    if (is_possible(column, COLUMN_FLOAT) && (column->signs & EXPONENT))
        return COLUMN_FLOAT;
    if (is_possible(column, COLUMN_INTEGER)) {
        if (!(column->signs & WORD))
            *ret_comment = "only 0 and 1: boolean?";
        else if (is_possible(column, COLUMN_DATE))
            *ret_comment = "all could be dates: date?";
        return COLUMN_INTEGER;
    }
    if (!is_possible(column, COLUMN_DECIMAL))
        return COLUMN_FLOAT;
    if (!(column->signs & FRACTION))
        *ret_comment = "integers beyond 64 bits";
    else if (is_possible(column, COLUMN_FLOAT))
        *ret_comment = "exact; float is faster to compute with";
    return COLUMN_DECIMAL;
}

static bool has_other_markers(const DraftColumn *column, size_t marker)
{
    for (size_t i = 0; i < NULL_MARKERS; i++)
        if (i != marker && column->markers[i] > 0)
            return true;
    return false;
}

ColumnType draft_column_type(const DraftColumn *column, size_t marker, const char **ret_comment)
{
    *ret_comment = NULL;
    if (has_other_markers(column, marker)) {
        *ret_comment = "words such as NA or NULL stand here: if they mean no value, see \"null\" of \"csv\"";
        return COLUMN_STRING;
    }
    if (column->values == 0) {
        *ret_comment = "no value was seen";
        return COLUMN_STRING;
    }
    if (is_possible(column, COLUMN_BOOLEAN) && (column->signs & WORD))
        return COLUMN_BOOLEAN;
    if (column->possible & NUMBERS)
        return number_type(column, ret_comment);
    if (is_possible(column, COLUMN_DATE))
        return COLUMN_DATE;
    return is_possible(column, COLUMN_TIMESTAMP) ? COLUMN_TIMESTAMP : type_of_nothing_else(column, ret_comment);
}

uint64_t draft_column_nulls(const DraftColumn *column, size_t marker)
{
    return column->nulls + (marker < NULL_MARKERS ? column->markers[marker] : 0);
}

size_t draft_choose_marker(const DraftColumn *columns, size_t count)
{
    size_t best = NO_MARKER, best_score = 0;
    for (size_t marker = 0; marker < NULL_MARKERS; marker++) {
        size_t score = 0;
        for (size_t i = 0; i < count; i++) {
            const char *comment;
            score += columns[i].markers[marker] > 0 && columns[i].values > 0 &&
                     draft_column_type(&columns[i], marker, &comment) != COLUMN_STRING;
        }
        if (score > best_score) {
            best = marker;
            best_score = score;
        }
    }
    return best;
}

bool draft_may_be_name(Inferrer *inferrer, const char *text, size_t n)
{
    static const ColumnType types[] = { COLUMN_BOOLEAN, COLUMN_DECIMAL, COLUMN_TIMESTAMP };
    if (n == 0)
        return true;
    if (*text == '{' || *text == '[' || find_marker(text, n) < NULL_MARKERS)
        return false;
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        if (converts(inferrer, types[i], text, n))
            return false;
    return true;
}
