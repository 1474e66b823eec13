/*
 * The parser keeps nothing between two looks at the input: a record that is not complete yet is parsed again from its
 * first byte once there is more (input.c says why that is cheap). So every position in a file is like every other, and
 * the only state is where the next record begins.
 *
 * Unquoted fields, most of any file, are found by the bit masks of scan.h: about ten bytes of field cost one shift and
 * one bit scan. A quoted field is walked with memchr() from quote to quote, which also skips over what the masks saw
 * inside it. Doubled quotes are undone in place, once the record is known to be complete.
 */
#include <string.h>

#include "connectors/sources/files/csv-parser.h"
#include "lib/basics/buffer.h"

void csv_parser_init(CsvParser *parser, TextInput *input, char delimiter, char quote, uint32_t value_max,
                     size_t field_max)
{
    *parser = (CsvParser){ .input = input,
                           .delimiter = delimiter,
                           .quote = quote,
                           .value_max = value_max,
                           .field_max = field_max,
                           /* One more for fields that nobody wants. Memory that no field touches is never had. */
                           .fields = xmalloc((field_max + 1) * sizeof(CsvField)),
                           .next_line = 1,
                           .rescan = true };
}

void csv_parser_clear(CsvParser *parser)
{
    free(parser->fields);
    *parser = (CsvParser){ 0 };
}

/* How looking for a record in the window ended. */
typedef enum Outcome {
    RECORD_COMPLETE,
    RECORD_UNFINISHED, /* the window ended first */
    RECORD_WRONG
} Outcome;

typedef struct Record {
    char *end;           /* complete: one past its line end */
    char *field;         /* unfinished: where the open field begins */
    bool in_quotes;      /* unfinished: its quote is not closed */
    bool doubled;        /* some field has doubled quotes */
    uint64_t line_feeds; /* inside quoted fields */
} Record;

/* Fields beyond the last that is wanted all land in one place behind it. */
static inline void keep_field(CsvParser *parser, size_t i, char *text, size_t length, bool quoted)
{
    parser->fields[MIN_OF(i, parser->field_max)] =
        (CsvField){ .text = text, .length = (uint32_t)length, .quoted = quoted };
}

/* Line ends in a quoted field: LF, CRLF and CR each count once. */
static uint64_t count_lines(const char *text, const char *end)
{
    uint64_t count = 0;
    size_t n = (size_t)(end - text);
    if (!memchr(text, '\n', n) && !memchr(text, '\r', n))
        return 0;
    for (; text < end; text++)
        count += *text == '\n' || (*text == '\r' && (text + 1 == end || text[1] != '\n'));
    return count;
}

/* The closing quote of the field whose opening quote is at START; NULL: not in the window. */
static char *closing_quote(const CsvParser *parser, char *start, char *end, bool *doubled)
{
    for (char *at = start + 1; (at = memchr(at, parser->quote, (size_t)(end - at)));) {
        /* At the window's end it may yet turn out to be the first of two; but then the record is not complete either.
         */
        if (at + 1 == end || at[1] != parser->quote)
            return at;
        *doubled = true;
        at += 2;
    }
    return NULL;
}

/* The end of the quoted field at START: the delimiter or line end behind its closing quote, or END. */
static Outcome quoted_field(CsvParser *parser, Scanner *scanner, char *start, char *end, Record *record, char **ret,
                            Error *error)
{
    char *closing = closing_quote(parser, start, end, &record->doubled);
    if (!closing) {
        record->in_quotes = true;
        return RECORD_UNFINISHED;
    }
    char *behind = closing + 1;
    if (behind < end && *behind != parser->delimiter && *behind != '\n' && *behind != '\r') {
        error_set(error, ERROR_DATA, "text after a closing quote; a quote inside a quoted field is written twice");
        error_at_value(error, start, (size_t)(behind + 1 - start));
        return RECORD_WRONG;
    }
    /* Most quoted text has neither delimiter nor line end: the mask tells without looking again. */
    if (scanner_hits_before(scanner, closing))
        record->line_feeds += count_lines(start, closing);
    scanner_skip_to(scanner, behind);
    if (behind < end)
        (void)scanner_next(scanner);
    *ret = behind;
    return RECORD_COMPLETE;
}

/* The carriage return at BEHIND ends the record; so does a line feed that follows, which the window may not show yet.
 */
static Outcome carriage_return(CsvParser *parser, Scanner *scanner, char *behind, char *end, Record *record)
{
    if (behind + 1 == end && !parser->input->ended)
        return RECORD_UNFINISHED;
    if (behind + 1 < end && behind[1] == '\n') {
        behind++;
        (void)scanner_next(scanner);
    }
    record->end = behind + 1;
    return RECORD_COMPLETE;
}

/* The record at the window's beginning. SCANNER stands there, and afterwards at the next one if this is complete. */
static inline Outcome find_record(CsvParser *parser, Scanner *scanner, Record *record, Error *error)
{
    const TextInput *input = parser->input;
    char *at = input->data + input->begin, *end = input->data + input->end;
    const char delimiter = parser->delimiter, quote = parser->quote;
    for (size_t count = 0;; count++) {
        char *behind;
        record->field = at;
        parser->field_count = count;
        if (at < end && *at == quote) {
            Outcome outcome = quoted_field(parser, scanner, at, end, record, &behind, error);
            if (outcome != RECORD_COMPLETE)
                return outcome;
            keep_field(parser, count, at + 1, (size_t)(behind - at - 2), true);
        } else {
            behind = (char *)scanner_next(scanner);
            keep_field(parser, count, at, (size_t)(behind - at), false);
        }
        if (behind < end && *behind == delimiter) {
            at = behind + 1;
            continue;
        }
        record->end = behind + 1;
        if (behind == end) {
            if (!input->ended)
                return RECORD_UNFINISHED;
            record->end = end;
        } else if (*behind == '\r' && carriage_return(parser, scanner, behind, end, record) != RECORD_COMPLETE) {
            return RECORD_UNFINISHED;
        }
        parser->field_count = count + 1;
        return RECORD_COMPLETE;
    }
}

static void undouble_quotes(CsvParser *parser)
{
    for (size_t i = 0; i < MIN_OF(parser->field_count, parser->field_max); i++) {
        CsvField *field = &parser->fields[i];
        if (!field->quoted)
            continue;
        char *end = field->text + field->length;
        char *to = memchr(field->text, parser->quote, field->length);
        if (!to)
            continue;
        for (char *from = to; from < end; from++) {
            if (*from == parser->quote)
                from++;
            *to++ = *from;
        }
        field->length = (uint32_t)(to - field->text);
    }
}

static bool is_blank(const CsvParser *parser)
{
    return parser->field_count == 1 && parser->field_max > 0 && parser->fields[0].length == 0 &&
           !parser->fields[0].quoted;
}

static int fail_at(CsvParser *parser, const Record *record)
{
    parser->open_field = parser->field_count;
    parser->open_offset = (size_t)(record->field - parser->input->data);
    return -1;
}

/* The window ended within a record: what is open may be too long already, or be all that comes. */
static int get_more(CsvParser *parser, const Record *record, Error *error)
{
    TextInput *input = parser->input;
    size_t offset = (size_t)(record->field - (input->data + input->begin));
    size_t open = input->end - input->begin - offset;
    if (open > parser->value_max) {
        error_set(error, ERROR_DATA,
                  record->in_quotes
                      ? "a quoted field longer than \"max_value_size\" allows; is its closing quote missing?"
                      : "a field longer than \"max_value_size\" allows; raise it to load this value");
        error_at_value(error, record->field, open);
        return fail_at(parser, record);
    }
    if (input->ended) {
        error_set(error, ERROR_DATA, "the file ends within a quoted field: its closing quote is missing");
        error_at_value(error, record->field, open);
        return fail_at(parser, record);
    }
    if (text_input_more(input, error) < 0)
        return fail_at(parser, &(Record){ .field = input->data + input->begin + offset });
    return 0; /* at the end too: what is there is then all, and complete unless a quote is open */
}

int csv_next(CsvParser *parser, Error *error)
{
    TextInput *input = parser->input;
    for (;;) {
        parser->line = parser->next_line;
        if (input->begin == input->end) {
            int r = input->ended ? TEXT_INPUT_E_END : text_input_more(input, error);
            parser->field_count = 0;
            parser->open_field = 0;
            parser->open_offset = input->begin;
            parser->rescan = true;
            if (r == TEXT_INPUT_E_END)
                return CSV_E_END;
            if (r < 0)
                return -1;
        }
        if (parser->rescan)
            parser->scanner = scanner_at(input->data + input->begin, input->data + input->end, parser->delimiter);
        parser->rescan = false;
        Record record = { 0 };
        Scanner scanner = parser->scanner; /* in registers while it is at work */
        Outcome outcome = find_record(parser, &scanner, &record, error);
        parser->scanner = scanner;
        if (outcome == RECORD_WRONG)
            return fail_at(parser, &record);
        if (outcome == RECORD_UNFINISHED) {
            parser->rescan = true;
            if (get_more(parser, &record, error) < 0)
                return -1;
            continue;
        }
        input->begin = (size_t)(record.end - input->data);
        parser->next_line += 1 + record.line_feeds;
        if (is_blank(parser))
            continue;
        if (record.doubled)
            undouble_quotes(parser);
        return 0;
    }
}
