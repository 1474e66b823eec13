/*
 * The op pipe is written by a program that runs foreign code, so it is hostile input. This checker stands between the
 * frame codec, which only knows shapes, and the destination, which should only know good rows. Which frame may follow
 * is one table, state by frame type; what may be in it is one function per type. The walk over the values of ROWS is
 * the hot part (some 4 ns a value): each column's permitted tags are a bit set, so that type, NULL and ABSENT are one
 * test.
 */
#include "connectors/writer/sequence.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "lib/basics/text.h"

#define RESERVED_PREFIX "_wherry_"
#define FRAME_BIT(type) (1u << (type))

static const unsigned allowed[_SEQUENCE_STATE_MAX] = {
    [SEQUENCE_START] = FRAME_BIT(FRAME_HELLO),
    [SEQUENCE_OUTSIDE] = FRAME_BIT(FRAME_TABLE) | FRAME_BIT(FRAME_ROWS) | FRAME_BIT(FRAME_TRUNCATE) |
                         FRAME_BIT(FRAME_CHECKPOINT) | FRAME_BIT(FRAME_FILE_BEGIN) | FRAME_BIT(FRAME_END),
    [SEQUENCE_IN_FILE] = FRAME_BIT(FRAME_TABLE) | FRAME_BIT(FRAME_ROWS) | FRAME_BIT(FRAME_FILE_END),
    [SEQUENCE_ENDED] = 0,
};

static const char *const places[_SEQUENCE_STATE_MAX] = {
    [SEQUENCE_START] = "before HELLO",
    [SEQUENCE_OUTSIDE] = "outside a file",
    [SEQUENCE_IN_FILE] = "inside a file",
    [SEQUENCE_ENDED] = "after END",
};

static const char *const operation_names[_OPERATION_MAX] = {
    [OPERATION_INSERT] = "insert",
    [OPERATION_UPSERT] = "upsert",
    [OPERATION_UPDATE] = "update",
    [OPERATION_DELETE] = "delete",
};

void committed_state_clear(CommittedState *state)
{
    free(state->run_id);
    free(state->state);
    *state = (CommittedState){ 0 };
}

void sequence_init(Sequence *sequence, const SequenceRules *rules)
{
    *sequence = (Sequence){ .rules = *rules };
}

void table_clear(Table *table)
{
    free(table->name);
    for (size_t i = 0; i < table->column_count; i++)
        free((char *)table->columns[i].name.data);
    free(table->columns);
    *table = (Table){ 0 };
}

Table table_copy(const Table *table)
{
    Table copy = { .id = table->id, .flags = table->flags, .name = xstrdup(table->name) };
    copy.columns = xcalloc(table->column_count + 1, sizeof(*copy.columns));
    for (; copy.column_count < table->column_count; copy.column_count++) {
        FrameColumn *column = &copy.columns[copy.column_count];
        *column = table->columns[copy.column_count];
        column->name.data = xstrdup(column->name.data);
    }
    return copy;
}

static void sequence_table_clear(SequenceTable *table)
{
    table_clear(&table->table);
    for (size_t i = 0; i < _OPERATION_MAX; i++)
        free(table->accepts[i]);
    *table = (SequenceTable){ 0 };
}

void sequence_clear(Sequence *sequence)
{
    for (size_t i = 0; i < sequence->table_count; i++) {
        sequence_table_clear(sequence->tables[i]);
        free(sequence->tables[i]);
    }
    free(sequence->tables);
    *sequence = (Sequence){ 0 };
}

const Table *sequence_table(const Sequence *sequence, uint16_t id)
{
    assert(id < sequence->table_count);
    return &sequence->tables[id]->table;
}

static int refuse_name(Error *error, const char *what, FrameText name)
{
    _cleanup_(freep) char *shown = text_escape_shortened(name.data, name.length, ERROR_VALUE_MAX);
    return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: %s \"%s\"", what, shown);
}

static bool name_is_good(FrameText name)
{
    return name.length > 0 && memchr(name.data, 0, name.length) == NULL &&
           utf8_valid_length(name.data, name.length) == name.length;
}

static bool name_is_reserved(FrameText name)
{
    size_t n = strlen(RESERVED_PREFIX);
    return name.length >= n && strncasecmp(name.data, RESERVED_PREFIX, n) == 0;
}

static bool text_equals(FrameText text, const char *string)
{
    return strlen(string) == text.length && memcmp(text.data, string, text.length) == 0;
}

/* --- HELLO, TABLE --- */

static int check_hello(const Frame *frame, Error *error)
{
    if (frame->hello.magic != FRAME_MAGIC)
        return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: HELLO has the wrong magic number");
    if (frame->hello.version != FRAME_VERSION)
        return error_set(error, ERROR_INTERNAL,
                         "the worker speaks version %u of the protocol, this writer version %u; install both programs "
                         "from one build",
                         frame->hello.version, FRAME_VERSION);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const FrameText *first = a, *second = b;
    int r = memcmp(first->data, second->data, MIN_OF(first->length, second->length));
    return r ? r : (first->length > second->length) - (first->length < second->length);
}

static bool size_is_good(const FrameColumn *column)
{
    if (column->type != COLUMN_DECIMAL || column->precision == 0)
        return column->precision == 0 && column->scale == 0;
    return column->precision <= DECIMAL_DIGITS_MAX && column->scale <= column->precision;
}

static int check_columns(const Sequence *sequence, const Frame *frame, Error *error)
{
    uint32_t count = frame->table.column_count;
    /* Outside files a table may be known by its name alone, for a TRUNCATE. */
    if (count == 0 && sequence->rules.files)
        return refuse_name(error, "no columns in table", frame->table.name);
    _cleanup_(freep) FrameText *names = xmalloc((count + 1) * sizeof(*names));
    for (uint32_t i = 0; i < count; i++) {
        names[i] = frame->table.columns[i].name;
        if (!name_is_good(names[i]))
            return refuse_name(error, "bad column name", names[i]);
        if (name_is_reserved(names[i]))
            return refuse_name(error, "reserved column name", names[i]);
    }
    qsort(names, count, sizeof(*names), compare_names);
    for (uint32_t i = 0; i < count; i++) {
        const FrameColumn *column = &frame->table.columns[i];
        if (column->flags & (COLUMN_SEQUENCE | COLUMN_IS_DELETED) && !sequence->rules.changes)
            return refuse_name(error, "marks of changes, outside a file of changes, in table", frame->table.name);
        if (column->flags & COLUMN_IS_DELETED && (i + 1 < count || i == 0 || column->type != COLUMN_BOOLEAN))
            return refuse_name(error, "a mark of deletion that is not a boolean last of all, in table",
                               frame->table.name);
        if (column->flags & COLUMN_UNTYPED && !(sequence->rules.untyped && column->flags & COLUMN_KEY))
            return refuse_name(error, "a column without a type, other than a key's in a plan, in table",
                               frame->table.name);
        if (!size_is_good(column))
            return refuse_name(error, "an impossible size of a decimal in table", frame->table.name);
    }
    for (uint32_t i = 1; i < count; i++)
        if (compare_names(&names[i - 1], &names[i]) == 0)
            return refuse_name(error, "a table has two columns called", names[i]);
    return 0;
}

static int check_table_name(const Sequence *sequence, const Frame *frame, Error *error)
{
    FrameText name = frame->table.name;
    uint16_t id = frame->table.id;
    if (!name_is_good(name))
        return refuse_name(error, "bad table name", name);
    if (name_is_reserved(name))
        return refuse_name(error, "reserved table name", name);
    const char *log_table = sequence->rules.log_table;
    if (log_table && name.length == strlen(log_table) && strncasecmp(name.data, log_table, name.length) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "table \"%.*s\" has the name of the table of log lines: leave out `log_table: true`, or give "
                         "the table another name",
                         (int)name.length, name.data);
    if (sequence->rules.only_table && !text_equals(name, sequence->rules.only_table))
        return refuse_name(error, "this connection has no table", name);
    if (id > sequence->table_count)
        return error_set(error, ERROR_INTERNAL,
                         "the worker broke the protocol: table number %u comes before number %zu", id,
                         sequence->table_count);
    size_t prefix = sequence->rules.prefix ? strlen(sequence->rules.prefix) : 0;
    for (size_t i = 0; i < sequence->table_count; i++)
        if ((i == id) != text_equals(name, sequence->tables[i]->table.name + prefix))
            return refuse_name(error, i == id ? "another name for a known table" : "two numbers for table", name);
    return 0;
}

static int take_table(Sequence *sequence, const Frame *frame, Error *error)
{
    if (check_table_name(sequence, frame, error) < 0 || check_columns(sequence, frame, error) < 0)
        return -1;
    uint16_t id = frame->table.id;
    if (id == sequence->table_count) {
        sequence->tables = xrealloc(sequence->tables, (sequence->table_count + 1) * sizeof(*sequence->tables));
        sequence->tables[sequence->table_count++] = xcalloc(1, sizeof(SequenceTable));
    }
    SequenceTable *table = sequence->tables[id];
    sequence_table_clear(table);
    size_t count = frame->table.column_count;
    table->table = (Table){
        .id = id,
        .flags = frame->table.flags,
        .name = xasprintf("%s%.*s", sequence->rules.prefix ? sequence->rules.prefix : "", (int)frame->table.name.length,
                          frame->table.name.data),
        .columns = xmalloc((count + 1) * sizeof(FrameColumn)),
        .column_count = count,
    };
    for (size_t i = 0; i < count; i++) {
        FrameColumn column = frame->table.columns[i];
        column.name.data = xstrndup(column.name.data, column.name.length);
        table->table.columns[i] = column;
    }
    return 0;
}

/* --- ROWS --- */

/* Outside files a value may be of another type than its column: the column is widened then. */
static const uint16_t *accepted_tags(SequenceTable *table, Operation operation, bool any_type)
{
    if (table->accepts[operation])
        return table->accepts[operation];
    size_t count = table->table.column_count;
    uint16_t *accepts = xcalloc(count, sizeof(*accepts));
    for (size_t i = 0; i < count; i++) {
        const FrameColumn *column = &table->table.columns[i];
        bool key = column->flags & (COLUMN_KEY | COLUMN_SEQUENCE), required = column->flags & COLUMN_REQUIRED;
        for (unsigned tag = 0; tag < _VALUE_TAG_MAX; tag++) {
            bool good = any_type || column_type_accepts(column->type, (ValueTag)tag);
            if (tag == VALUE_NULL)
                good = !key && (!required || operation == OPERATION_DELETE);
            else if (tag == VALUE_ABSENT)
                good = !key && (!required || operation == OPERATION_UPDATE || operation == OPERATION_DELETE);
            if (good)
                accepts[i] |= (uint16_t)(1u << tag);
        }
    }
    return table->accepts[operation] = accepts;
}

/* [-]digits[.digits] */
static bool decimal_is_good(const char *text, size_t n)
{
    size_t i = n > 0 && text[0] == '-', digits = i;
    while (i < n && text[i] >= '0' && text[i] <= '9')
        i++;
    if (i == digits)
        return false;
    if (i == n)
        return true;
    size_t fraction = ++i;
    if (text[fraction - 1] != '.')
        return false;
    while (i < n && text[i] >= '0' && text[i] <= '9')
        i++;
    return i == n && i > fraction;
}

/* Years 0001 to 9999, as lib/basics/calendar.h formats them. */
#define DAYS_MIN (-719162)
#define DAYS_MAX 2932896
#define DAY_SECONDS INT64_C(86400)

static bool timestamp_is_good(const Timestamp *timestamp)
{
    int64_t shift = timestamp->offset == TIMESTAMP_NAIVE ? 0 : timestamp->offset * INT64_C(60);
    int64_t minimum = DAYS_MIN * DAY_SECONDS, maximum = (DAYS_MAX + 1) * DAY_SECONDS - 1;
    if (timestamp->offset != TIMESTAMP_NAIVE && (timestamp->offset <= -24 * 60 || timestamp->offset >= 24 * 60))
        return false;
    /* It is shown in the zone it was written in: that must be a year that can be written, too. */
    return timestamp->seconds >= minimum && timestamp->seconds <= maximum && timestamp->seconds + shift >= minimum &&
           timestamp->seconds + shift <= maximum;
}

/* Whether its canonical text may be larger than that. No JSON has one that is longer by more than 256 times: of the
 * small ones none needs a look. */
static bool json_grows_over(const Value *value, uint64_t max_value_size)
{
    return value->text.length > max_value_size / 256 &&
           json_canonical_bound(value->text.data, value->text.length) > max_value_size;
}

/* Why a value is refused, or NULL. Only what its tag does not say already. */
static inline const char *value_fault(const Value *value, uint64_t max_value_size)
{
    switch (value->tag) {
    case VALUE_FLOAT:
        return isfinite(value->number) ? NULL : "a number that is not finite";
    case VALUE_DATE:
        return value->days >= DAYS_MIN && value->days <= DAYS_MAX ? NULL : "a date outside the years 0001 to 9999";
    case VALUE_TIMESTAMP:
        return timestamp_is_good(&value->timestamp) ? NULL : "a timestamp outside the years 0001 to 9999";
    case VALUE_STRING:
    case VALUE_JSON:
    case VALUE_DECIMAL:
    case VALUE_BINARY:
        if (value->text.length > max_value_size)
            return "a value over `max_value_size`";
        if (value->tag == VALUE_DECIMAL)
            return decimal_is_good(value->text.data, value->text.length) ? NULL : "not a decimal number";
        if (value->tag == VALUE_JSON && json_grows_over(value, max_value_size))
            return "JSON over `max_value_size` once its numbers are written without exponents";
        if (value->tag != VALUE_BINARY && utf8_valid_length(value->text.data, value->text.length) != value->text.length)
            return "text that is not UTF-8";
        return NULL;
    default:
        return NULL;
    }
}

static int refuse_value(const Sequence *sequence, const Table *table, size_t column, const Value *value, uint64_t row,
                        const char *fault, Error *error)
{
    const FrameColumn *described = &table->columns[column];
    if (fault)
        error_set(error, ERROR_DATA, "%s", fault);
    else if (value->tag == VALUE_NULL || value->tag == VALUE_ABSENT)
        error_set(error, ERROR_DATA, "no value, but %s",
                  described->flags & COLUMN_KEY        ? "it is part of the key"
                  : described->flags & COLUMN_SEQUENCE ? "it tells which row is the latest"
                                                       : "the column is required");
    else
        error_set(error, ERROR_INTERNAL, "the worker broke the protocol: a value of another type (%d) in a %s column",
                  (int)value->tag, column_type_name(described->type));
    if (sequence->state == SEQUENCE_OUTSIDE) {
        _cleanup_(freep) char *place = xasprintf("table \"%s\"", table->name);
        error_at_file(error, place);
    }
    error_at_row(error, 0, row);
    error_at_column(error, described->name.data);
    bool text =
        value->tag >= VALUE_STRING && value->tag <= VALUE_JSON && value->text.length <= sequence->rules.max_value_size;
    if (fault && text)
        error_at_value(error, value->text.data, value->text.length);
    return -1;
}

static int check_values(const Sequence *sequence, SequenceTable *table, const Frame *frame, Error *error)
{
    const uint16_t *accepts = accepted_tags(table, frame->rows.operation, sequence->state == SEQUENCE_OUTSIDE);
    size_t columns = table->table.column_count;
    uint64_t max_value_size = sequence->rules.max_value_size;
    RowCursor cursor = row_cursor(frame);
    Value value = { 0 };
    for (uint32_t row = 0; row < frame->rows.count; row++)
        for (size_t i = 0; i < columns; i++) {
            const char *fault = NULL;
            if (__builtin_expect(!row_cursor_value(&cursor, &value), 0))
                return error_set(error, ERROR_INTERNAL,
                                 "the worker broke the protocol: malformed value in row %u of %u of a frame for table "
                                 "\"%s\"",
                                 row + 1, frame->rows.count, table->table.name);
            if (__builtin_expect(
                    !(accepts[i] >> value.tag & 1) || (fault = value_fault(&value, max_value_size)) != NULL, 0))
                return refuse_value(sequence, &table->table, i, &value, sequence->rows + row + 1, fault, error);
        }
    if (cursor.next != cursor.end)
        return error_set(error, ERROR_INTERNAL,
                         "the worker broke the protocol: %zu bytes left over after %u rows for table \"%s\"",
                         (size_t)(cursor.end - cursor.next), frame->rows.count, table->table.name);
    return 0;
}

static int check_known_table(const Sequence *sequence, uint16_t id, Error *error)
{
    if (id >= sequence->table_count)
        return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: rows for table number %u of %zu", id,
                         sequence->table_count);
    return 0;
}

static bool table_has_key(const Table *table)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].flags & COLUMN_KEY)
            return true;
    return false;
}

static int take_rows(Sequence *sequence, const Frame *frame, Error *error)
{
    if (check_known_table(sequence, frame->rows.table, error) < 0)
        return -1;
    SequenceTable *table = sequence->tables[frame->rows.table];
    Operation operation = frame->rows.operation;
    if (!(sequence->rules.operations & OPERATION_BIT(operation)))
        return error_set(error, ERROR_CONFIGURATION, "%s cannot %s rows yet (table \"%s\")",
                         sequence->rules.destination, operation_names[operation], table->table.name);
    if (table->table.column_count == 0)
        return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: rows for table \"%s\" without columns",
                         table->table.name);
    /* An upsert of a row without a key is told from others by all of its values. */
    if (operation != OPERATION_INSERT && operation != OPERATION_UPSERT && !table_has_key(&table->table))
        return error_set(error, ERROR_DATA, "table \"%s\" has no primary key: its rows cannot be %sd",
                         table->table.name, operation_names[operation]);
    if (!sequence->dropping && check_values(sequence, table, frame, error) < 0)
        return -1;
    sequence->rows += frame->rows.count;
    return 0;
}

static int take_truncate(const Sequence *sequence, const Frame *frame, Error *error)
{
    if (check_known_table(sequence, frame->truncate.table, error) < 0)
        return -1;
    if (!sequence->rules.truncate)
        return error_set(error, ERROR_CONFIGURATION, "%s cannot truncate a table yet (table \"%s\")",
                         sequence->rules.destination, sequence->tables[frame->truncate.table]->table.name);
    return 0;
}

/* --- CHECKPOINT, FILE_BEGIN, FILE_END --- */

static int take_checkpoint(Sequence *sequence, const Frame *frame, Error *error)
{
    FrameText state = frame->checkpoint.state;
    if (frame->checkpoint.number != sequence->checkpoints + 1)
        return error_set(error, ERROR_INTERNAL,
                         "the worker broke the protocol: checkpoint %llu comes after checkpoint %llu",
                         (unsigned long long)frame->checkpoint.number, (unsigned long long)sequence->checkpoints);
    if (state.length > MIN_OF(sequence->rules.max_value_size, (uint64_t)FRAME_CONTROL_MAX / 2))
        return error_set(error, ERROR_DATA, "a state of %u bytes is too large to keep", state.length);
    if (memchr(state.data, 0, state.length))
        return error_set(error, ERROR_DATA, "a state with a NUL byte is not JSON");
    /* Integers of any size are fine here: nobody computes with a state, it is kept as its text. */
    json_error_t where;
    json_t *parsed = json_loadb(state.data, state.length, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &where);
    bool object = json_is_object(parsed), broken = parsed == NULL;
    json_decref(parsed);
    if (!object)
        return error_set(error, ERROR_DATA, "a state must be a JSON object%s%s", broken ? ": " : "",
                         broken ? where.text : "");
    sequence->checkpoints++;
    return 0;
}

static int take_file_begin(Sequence *sequence, const Frame *frame, Error *error)
{
    if (frame->file.name.length == 0)
        return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: a file without a name");
    memcpy(sequence->file_hash, frame->file.hash, SHA256_SIZE);
    sequence->rows = 0;
    sequence->dropping = false;
    sequence->state = SEQUENCE_IN_FILE;
    return 0;
}

static int take_file_end(Sequence *sequence, const Frame *frame, Error *error)
{
    bool loaded = frame->file_end.outcome == FILE_END_LOADED;
    if (loaded && !sequence->dropping && frame->file_end.rows != sequence->rows)
        return error_set(error, ERROR_INTERNAL,
                         "the worker broke the protocol: it counted %llu rows in a file and sent %llu",
                         (unsigned long long)frame->file_end.rows, (unsigned long long)sequence->rows);
    if (loaded != (frame->file_end.error.length == 0))
        return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: a file ended %s",
                         loaded ? "well, with an error" : "badly, without an error");
    sequence->dropping = false;
    sequence->state = SEQUENCE_OUTSIDE;
    return 0;
}

static bool frame_is_allowed(const Sequence *sequence, FrameType type)
{
    if (!(allowed[sequence->state] & FRAME_BIT(type)))
        return false;
    if (sequence->state != SEQUENCE_OUTSIDE)
        return true;
    if (type == FRAME_FILE_BEGIN)
        return sequence->rules.files;
    if (type == FRAME_ROWS || type == FRAME_TRUNCATE || type == FRAME_CHECKPOINT)
        return sequence->rules.rows;
    return true;
}

int sequence_next(Sequence *sequence, const Frame *frame, Error *error)
{
    if (!frame_is_allowed(sequence, frame->type))
        return error_set(error, ERROR_INTERNAL, "the worker broke the protocol: frame %s %s",
                         frame_type_name(frame->type), places[sequence->state]);
    switch (frame->type) {
    case FRAME_HELLO:
        if (check_hello(frame, error) < 0)
            return -1;
        sequence->state = SEQUENCE_OUTSIDE;
        return 0;
    case FRAME_TABLE:
        return take_table(sequence, frame, error);
    case FRAME_ROWS:
        return take_rows(sequence, frame, error);
    case FRAME_TRUNCATE:
        return take_truncate(sequence, frame, error);
    case FRAME_CHECKPOINT:
        return take_checkpoint(sequence, frame, error);
    case FRAME_FILE_BEGIN:
        return take_file_begin(sequence, frame, error);
    case FRAME_FILE_END:
        return take_file_end(sequence, frame, error);
    default:
        sequence->state = SEQUENCE_ENDED;
        return 0;
    }
}
