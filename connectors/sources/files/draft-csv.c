/*
 * How a CSV file is written is told by what it looks like when it is read so: with the right delimiter nearly all rows
 * have the same number of fields, and more than one. Each candidate reads the beginning of the file with the parser
 * that will load it. Where none does, one is taken with which each row has some of the header's fields, and none has
 * more: rows may leave out their last ones.
 *
 * Whether there is a header cannot be known. A first row with a number or a date in it is none, nor is one that comes
 * again later; otherwise it is taken for one, and where no column differs from it in type, the draft says so.
 */
#include <string.h>

#include "connectors/sources/files/csv-parser.h"
#include "connectors/sources/files/draft.h"

#define AGREE_PERCENT 80 /* rows that must have as many fields as the first */

typedef struct Trial {
    uint64_t records, agreeing, fitting, quoted; /* fitting: with 2 fields or more, but not more than the first */
    size_t fields;                               /* of the first record */
    bool failed;
} Trial;

typedef struct Text {
    const char *at, *end;
} Text;

static int text_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    Text *text = context;
    *ret = MIN_OF(n, (size_t)(text->end - text->at));
    if (*ret > 0)
        memcpy(data, text->at, *ret);
    text->at += *ret;
    return 0;
}

/* Reads TEXT with this delimiter and quote. What the end of an incomplete text does to its last record is not counted.
 */
static Trial try_with(const char *text, size_t n, bool whole, char delimiter, char quote)
{
    Trial trial = { 0 };
    Text source = { text, text + n };
    CsvParser parser;
    _cleanup_(text_input_clear) TextInput input;
    _cleanup_(error_clear) Error error = { 0 };
    text_input_init(&input, (ByteStream){ text_read, &source }, 0, n + 1);
    csv_parser_init(&parser, &input, delimiter, quote, UINT32_MAX, DRAFT_COLUMNS_MAX);
    bool agrees = false, fits = false;
    int r;
    while ((r = csv_next(&parser, &error)) == 0) {
        if (trial.records++ == 0)
            trial.fields = parser.field_count;
        agrees = parser.field_count == trial.fields;
        trial.agreeing += agrees;
        fits = parser.field_count > 1 && parser.field_count <= trial.fields;
        trial.fitting += fits;
        for (size_t i = 0; i < MIN_OF(parser.field_count, (size_t)DRAFT_COLUMNS_MAX); i++)
            trial.quoted += parser.fields[i].quoted;
    }
    bool at_end = source.at == source.end && input.ended;
    trial.failed = r < 0 && (whole || !at_end);
    if (r == CSV_E_END && !whole && trial.records > 1) {
        trial.records--;
        trial.agreeing -= agrees;
        trial.fitting -= fits;
    }
    csv_parser_clear(&parser);
    return trial;
}

/* How good a trial is; 0: as good as none. */
static uint64_t score(const Trial *trial)
{
    if (trial->failed || trial->records == 0)
        return 0;
    /* agreement first, then fields; short rows before one column */
    if (trial->agreeing * 100 >= trial->records * AGREE_PERCENT)
        return 1 + (trial->fields > 1 ? 2000000 : 0) + trial->agreeing * 10000 / trial->records * 64 +
               MIN_OF(trial->fields, (size_t)63);
    return trial->fitting == trial->records ? 1000000 + MIN_OF(trial->fields, (size_t)63) : 0;
}

static void detect_writing(Draft *draft, const char *text, size_t n, bool whole)
{
    static const char delimiters[] = { ',', ';', '\t', '|' };
    static const char quotes[] = { '"', '\'' };
    uint64_t best = 0, quoted = 0;
    size_t best_fields = 0;
    char broken = '\0'; /* a delimiter with which the file has columns, but is wrong further on */
    draft->delimiter = ',';
    draft->quote = '"';
    for (size_t q = 0; q < ELEMENTSOF(quotes); q++)
        for (size_t d = 0; d < ELEMENTSOF(delimiters); d++) {
            Trial trial = try_with(text, n, whole, delimiters[d], quotes[q]);
            uint64_t points = score(&trial);
            /* An apostrophe may stand anywhere: it quotes only where it must, and nothing else does. */
            if (q > 0 && (quoted > 0 || trial.quoted == 0))
                continue;
            if (q == 0 && trial.failed && trial.fields > 1 && !broken)
                broken = delimiters[d];
            if (points > best || (q > 0 && points == best && points > 0)) {
                best = points;
                best_fields = trial.fields;
                draft->delimiter = delimiters[d];
                draft->quote = quotes[q];
                quoted = q == 0 ? trial.quoted : 0;
            }
        }
    /* Read in one column a broken file is not broken: better to say what is wrong with it. */
    if (best_fields < 2 && broken) {
        draft->delimiter = broken;
        draft->quote = '"';
    }
}

/* Copies of the first record's fields. */
typedef struct FirstRow {
    char **fields;
    size_t *lengths;
    size_t count;
} FirstRow;

static void first_row_clear(FirstRow *first)
{
    for (size_t i = 0; i < first->count; i++)
        free(first->fields[i]);
    free(first->fields);
    free(first->lengths);
}

static void first_row_take(FirstRow *first, const CsvParser *parser)
{
    first->count = MIN_OF(parser->field_count, (size_t)DRAFT_COLUMNS_MAX);
    first->fields = xcalloc(first->count, sizeof(char *));
    first->lengths = xcalloc(first->count, sizeof(size_t));
    for (size_t i = 0; i < first->count; i++) {
        first->lengths[i] = parser->fields[i].length;
        first->fields[i] = xstrndup(parser->fields[i].text, first->lengths[i]);
    }
}

static bool same_row(const FirstRow *first, const CsvParser *parser)
{
    if (parser->field_count != first->count)
        return false;
    for (size_t i = 0; i < first->count; i++)
        if (parser->fields[i].length != first->lengths[i] ||
            memcmp(parser->fields[i].text, first->fields[i], first->lengths[i]) != 0)
            return false;
    return true;
}

static bool may_be_header(Draft *draft, const FirstRow *first)
{
    bool named = false;
    for (size_t i = 0; i < first->count; i++) {
        if (!draft_may_be_name(&draft->inferrer, first->fields[i], first->lengths[i]))
            return false;
        named |= first->lengths[i] > 0;
    }
    return named;
}

static void detect_header(Draft *draft, const char *text, size_t n)
{
    Text source = { text, text + n };
    CsvParser parser;
    _cleanup_(first_row_clear) FirstRow first = { 0 };
    _cleanup_(text_input_clear) TextInput input;
    text_input_init(&input, (ByteStream){ text_read, &source }, 0, n + 1);
    csv_parser_init(&parser, &input, draft->delimiter, draft->quote, UINT32_MAX, DRAFT_COLUMNS_MAX);
    draft->header = true;
    draft->header_unsure = true;
    for (uint64_t record = 0; csv_next(&parser, NULL) == 0; record++) {
        if (record == 0) {
            first_row_take(&first, &parser);
            draft->header = may_be_header(draft, &first);
            continue;
        }
        if (first.count > 1 && same_row(&first, &parser))
            draft->header = false;
        /* What could not be a name either tells the rows from the header. */
        for (size_t i = 0; draft->header_unsure && i < MIN_OF(parser.field_count, first.count); i++)
            draft->header_unsure = draft_may_be_name(&draft->inferrer, parser.fields[i].text, parser.fields[i].length);
    }
    csv_parser_clear(&parser);
}

void draft_csv_detect(Draft *draft, const char *text, size_t n, bool whole)
{
    detect_writing(draft, text, n, whole);
    detect_header(draft, text, n);
}

/* --- rows --- */

DraftColumn *draft_column(Draft *draft, const char *name, size_t n)
{
    for (size_t i = 0; name && i < draft->column_count; i++)
        if (draft->columns[i].length == n && memcmp(draft->columns[i].name, name, n) == 0)
            return &draft->columns[i];
    if (draft->column_count == DRAFT_COLUMNS_MAX)
        return NULL;
    if ((draft->column_count & (draft->column_count + 1)) == 0)
        draft->columns = xrealloc(draft->columns, 2 * (draft->column_count + 1) * sizeof(DraftColumn));
    DraftColumn *column = &draft->columns[draft->column_count++];
    draft_column_init(column, name, n);
    column->nulls = draft->rows;
    return column;
}

/* The columns of this file's fields, from its header. */
static int read_header(Draft *draft, CsvParser *parser, size_t *ret_count, size_t **ret_fields, Error *error)
{
    int r = csv_next(parser, error);
    if (r != 0)
        return r;
    if (parser->field_count > DRAFT_COLUMNS_MAX)
        return error_set(error, ERROR_DATA, "%zu columns; a pipeline has at most %d", parser->field_count,
                         DRAFT_COLUMNS_MAX);
    size_t count = parser->field_count, *fields = xcalloc(count, sizeof(size_t));
    *ret_count = count;
    *ret_fields = fields;
    for (size_t i = 0; i < draft->column_count; i++)
        draft->columns[i].seen_here = false;
    for (size_t i = 0; i < count; i++) {
        DraftColumn *column = draft_column(draft, parser->fields[i].text, parser->fields[i].length);
        if (!column)
            return error_set(error, ERROR_DATA, "more than %d columns in all files", DRAFT_COLUMNS_MAX);
        if (column->seen_here)
            column->left_out = "stands in the header twice";
        column->seen_here = true;
        fields[i] = (size_t)(column - draft->columns);
    }
    return 0;
}

/* Fields without a header: the columns are as many as the longest row has. */
static int grow_columns(Draft *draft, size_t count, Error *error)
{
    while (draft->column_count < count) {
        DraftColumn *column = draft_column(draft, NULL, 0);
        if (!column)
            return error_set(error, ERROR_DATA, "a row of %zu fields; a pipeline has at most %d columns", count,
                             DRAFT_COLUMNS_MAX);
    }
    return 0;
}

static int take_row(Draft *draft, const CsvParser *parser, const size_t *fields, size_t count, Error *error)
{
    if (!fields && grow_columns(draft, parser->field_count, error) < 0)
        return -1;
    for (size_t i = 0; i < draft->column_count; i++)
        draft->columns[i].seen_here = false;
    size_t known = fields ? count : draft->column_count;
    if (fields && parser->field_count > count && draft->long_row == 0)
        draft->long_row = parser->line;
    for (size_t i = 0; i < MIN_OF(parser->field_count, known); i++) {
        DraftColumn *column = &draft->columns[fields ? fields[i] : i];
        const CsvField *field = &parser->fields[i];
        if (!column->left_out)
            draft_column_field(column, &draft->inferrer, field->text, field->length, field->quoted);
        column->seen_here = true;
    }
    for (size_t i = 0; i < draft->column_count; i++)
        draft->columns[i].nulls += !draft->columns[i].seen_here;
    draft->rows++;
    return 0;
}

int draft_csv_read(Draft *draft, TextInput *input, bool (*more)(const Draft *draft, void *context), void *context,
                   Error *error)
{
    CsvParser parser;
    _cleanup_(freep) size_t *fields = NULL;
    size_t count = 0;
    csv_parser_init(&parser, input, draft->delimiter, draft->quote, draft->inferrer.converter.max_value_size,
                    DRAFT_COLUMNS_MAX);
    int r = draft->header ? read_header(draft, &parser, &count, &fields, error) : 0;
    while (r == 0 && more(draft, context)) {
        r = csv_next(&parser, error);
        if (r == 0)
            r = take_row(draft, &parser, fields, count, error);
    }
    if (r < 0)
        error_at_row(error, parser.line, 0);
    if (r == 0)
        draft->whole = false;
    csv_parser_clear(&parser);
    return r < 0 ? -1 : 0;
}
