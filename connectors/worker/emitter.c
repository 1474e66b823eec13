/*
 * Rows of named values become rows of columns in a fixed order.
 *
 * A source usually names the columns of a table in the same order, row after row. So each table remembers which column
 * every field of the row before was, and a field costs one comparison of its name; only a name that is new in its place
 * is looked up. A row's fields are first only noted at their columns (each column keeps the number of the row that
 * named it last, so that nothing is cleared between rows), then the columns are put in the order that the pipe knows.
 *
 * A column is announced when its kind is known: a declared one at once, any other with its first value. The row that
 * brings a new column is converted twice, the first time for nothing but its errors, since a TABLE frame cannot be
 * taken back. Columns are only ever added at the end, so that what the pipe knows stays true.
 *
 * A row of nothing but NULL cannot be sent before its table has a column, and waits for the first; so does a
 * truncate of a table that was not declared. Where no row comes before the checkpoint, the truncate goes with the
 * table's name alone.
 */
#include "connectors/worker/emitter.h"

#include <assert.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>

#include "connectors/worker/emitter-convert.h"
#include "connectors/worker/name-map.h"
#include "connectors/worker/naming.h"

typedef struct Column {
    char *name;   /* owned; in the destination */
    char *source; /* owned; as the source calls it */
    uint32_t source_length;
    Kind kind; /* type 0: not known yet */
    uint8_t flags;
    unsigned warned; /* CONVERSION_… that were said already */
    bool announced;
    uint64_t row; /* that named it last */
    size_t field; /* of that row */
} Column;

typedef struct EmitterTable {
    char *name, *source; /* owned */
    uint32_t source_length;
    Column *columns;
    uint32_t column_count;
    uint32_t *announced; /* columns, as the pipe knows them */
    uint32_t announced_count;
    NameMap by_source, by_name; /* to columns */
    uint32_t *layout;           /* columns of the fields of the row before */
    size_t layout_count, layout_allocated;
    uint32_t key_count;
    uint64_t rows;
    bool declared;
    bool truncated; /* the pipe has yet to be told */
    bool blank;     /* a row without any value came before the first column */
    bool on_pipe;   /* as number: */
    uint16_t id;
} EmitterTable;

struct Emitter {
    Worker *worker;
    EmitterOptions options;
    bool plan; /* no rows are wanted */
    Conversion conversion;
    EmitterTable **tables;
    uint32_t table_count;
    uint16_t ids;
    NameMap by_source, by_name; /* to tables */
    EmitterTable *last;
    Buffer name; /* of a table or column, while it is made */
};

Emitter *emitter_new(Worker *worker, const EmitterOptions *options)
{
    Emitter *emitter = xcalloc(1, sizeof(*emitter));
    *emitter = (Emitter){
        .worker = worker, .options = *options, .plan = worker_plans(worker), .conversion = { .base64 = options->base64 }
    };
    return emitter;
}

static void table_free(EmitterTable *table)
{
    for (uint32_t i = 0; i < table->column_count; i++) {
        free(table->columns[i].name);
        free(table->columns[i].source);
    }
    free(table->columns);
    free(table->announced);
    free(table->layout);
    name_map_clear(&table->by_source);
    name_map_clear(&table->by_name);
    free(table->name);
    free(table->source);
    free(table);
}

Emitter *emitter_free(Emitter *emitter)
{
    if (!emitter)
        return NULL;
    for (uint32_t i = 0; i < emitter->table_count; i++)
        table_free(emitter->tables[i]);
    free(emitter->tables);
    name_map_clear(&emitter->by_source);
    name_map_clear(&emitter->by_name);
    buffer_clear(&emitter->name);
    buffer_clear(&emitter->conversion.text);
    free(emitter);
    return NULL;
}

EmitterFault emitter_fault(const Emitter *emitter)
{
    return emitter->conversion.fault;
}

/* --- places --- */

/* `table "orders": row 3, column "id": …` */
static int at_table(const EmitterTable *table, Error *error)
{
    _cleanup_(freep) char *place = xasprintf("table \"%.200s\"", table->source);
    error_at_file(error, place);
    if (table->rows > 0)
        error_at_row(error, 0, table->rows);
    return -1;
}

static int at_column(const EmitterTable *table, const Column *column, Error *error)
{
    error_at_column(error, column->source);
    return at_table(table, error);
}

/* --- names --- */

/* NAME as the destination calls it, in EMITTER->name; WHAT it is, for messages. */
static int make_name(Emitter *emitter, FrameText name, bool is_table, FrameText *ret, Error *error)
{
    const char *what = is_table ? "table" : "column";
    buffer_reset(&emitter->name);
    if (emitter->options.source_names)
        buffer_append(&emitter->name, name.data, name.length);
    else
        naming_normalise(name.data, name.length, is_table, &emitter->name);
    *ret = (FrameText){ (const char *)buffer_bytes(&emitter->name), (uint32_t)buffer_length(&emitter->name) };
    if (name.length == 0)
        error_set(error, ERROR_DATA, "a %s has an empty name", what);
    else if (ret->length == 0)
        error_set(error, ERROR_DATA, "no letter of this %s's name is left as the destination would call it", what);
    else if (ret->length > FRAME_NAME_MAX)
        error_set(error, ERROR_DATA, "the name of this %s is longer than %d bytes", what, FRAME_NAME_MAX);
    else if (memchr(ret->data, 0, ret->length))
        error_set(error, ERROR_DATA, "the name of this %s holds a NUL character", what);
    else
        return 0;
    return error_at_value(error, name.data, name.length);
}

static EmitterTable *table_of(Emitter *emitter, FrameText name)
{
    EmitterTable *last = emitter->last;
    if (last && last->source_length == name.length && memcmp(last->source, name.data, name.length) == 0)
        return last;
    uint32_t number = name_map_get(&emitter->by_source, name);
    if (number != NAME_MAP_NONE)
        emitter->last = emitter->tables[number];
    return number != NAME_MAP_NONE ? emitter->last : NULL;
}

/* What else to do about two names that become one. Names that differ in case alone are one to SQLite and DuckDB, too.
 */
static const char *other_naming(const char *name, FrameText other)
{
    bool same = strlen(name) == other.length && strncasecmp(name, other.data, other.length) == 0;
    return same ? "" : ", or say \"naming: source\"";
}

static int add_table(Emitter *emitter, FrameText source, EmitterTable **ret, Error *error)
{
    FrameText name;
    if (make_name(emitter, source, true, &name, error) < 0)
        return -1;
    uint32_t other = name_map_get(&emitter->by_name, name);
    if (other != NAME_MAP_NONE) {
        error_set(error, ERROR_DATA, "tables \"%.200s\" and \"%.*s\" would both be called \"%.*s\"; rename one%s",
                  emitter->tables[other]->source, (int)MIN_OF(source.length, 200u), source.data,
                  (int)MIN_OF(name.length, 200u), name.data, other_naming(emitter->tables[other]->source, source));
        return -1;
    }
    if (emitter->table_count == FRAME_TABLES_MAX) {
        error_set(error, ERROR_DATA, "more than %d tables in one sync", FRAME_TABLES_MAX);
        return -1;
    }
    EmitterTable *table = xcalloc(1, sizeof(*table));
    table->name = xstrndup(name.data, name.length);
    table->source = xstrndup(source.data, source.length);
    table->source_length = source.length;
    name_map_put(&emitter->by_source, source, emitter->table_count);
    name_map_put(&emitter->by_name, name, emitter->table_count);
    emitter->tables = xrealloc(emitter->tables, (emitter->table_count + 1) * sizeof(EmitterTable *));
    emitter->tables[emitter->table_count++] = table;
    emitter->last = *ret = table;
    return 0;
}

static int find_table(Emitter *emitter, FrameText name, EmitterTable **ret, Error *error)
{
    *ret = table_of(emitter, name);
    return *ret ? 0 : add_table(emitter, name, ret, error);
}

static int add_column(Emitter *emitter, EmitterTable *table, FrameText source, uint32_t *ret, Error *error)
{
    FrameText name;
    if (make_name(emitter, source, false, &name, error) < 0)
        return at_table(table, error);
    uint32_t other = name_map_get(&table->by_name, name);
    if (other != NAME_MAP_NONE) {
        error_set(error, ERROR_DATA, "columns \"%.200s\" and \"%.*s\" would both be called \"%.*s\"; rename one%s",
                  table->columns[other].source, (int)MIN_OF(source.length, 200u), source.data,
                  (int)MIN_OF(name.length, 200u), name.data, other_naming(table->columns[other].source, source));
        return at_table(table, error);
    }
    if (table->column_count == FRAME_COLUMNS_MAX) {
        error_set(error, ERROR_DATA, "more than %d columns", FRAME_COLUMNS_MAX);
        return at_table(table, error);
    }
    uint32_t number = table->column_count++;
    table->columns = xrealloc(table->columns, table->column_count * sizeof(Column));
    table->columns[number] = (Column){ .name = xstrndup(name.data, name.length),
                                       .source = xstrndup(source.data, source.length),
                                       .source_length = source.length };
    name_map_put(&table->by_source, source, number);
    name_map_put(&table->by_name, name, number);
    *ret = number;
    return 0;
}

/* --- what the pipe knows --- */

static FrameColumn described(const Column *column)
{
    FrameColumn frame = { .name = frame_text(column->name),
                          .type = column->kind.type,
                          .flags = column->flags,
                          .precision = column->kind.precision,
                          .scale = column->kind.scale };
    if (frame.type == 0) {
        frame.type = COLUMN_STRING;
        frame.flags |= COLUMN_UNTYPED;
    }
    return frame;
}

static int put_table(Emitter *emitter, EmitterTable *table, const FrameColumn *columns, size_t count, Error *error)
{
    if (!table->on_pipe)
        table->id = emitter->ids++;
    table->on_pipe = true;
    return worker_table(emitter->worker, table->id, table->name, table->declared ? TABLE_DECLARED : 0, columns, count,
                        error);
}

static int send_table(Emitter *emitter, EmitterTable *table, Error *error)
{
    _cleanup_(freep) FrameColumn *columns = xcalloc((size_t)table->announced_count + 1, sizeof(FrameColumn));
    for (uint32_t i = 0; i < table->announced_count; i++)
        columns[i] = described(&table->columns[table->announced[i]]);
    if (put_table(emitter, table, columns, table->announced_count, error) < 0)
        return -1;
    if (!table->truncated)
        return 0;
    table->truncated = false;
    return worker_truncate(emitter->worker, table->id, error);
}

/* For a plan: the table as far as it is declared. It is announced again, whole, once the kinds of its key are known. */
static int announce_untyped(Emitter *emitter, EmitterTable *table, Error *error)
{
    _cleanup_(freep) FrameColumn *columns = xcalloc((size_t)table->column_count + 1, sizeof(FrameColumn));
    size_t count = 0;
    for (uint32_t i = 0; i < table->column_count; i++)
        if (table->columns[i].kind.type != 0 || (table->columns[i].flags & COLUMN_KEY))
            columns[count++] = described(&table->columns[i]);
    return put_table(emitter, table, columns, count, error);
}

/* Adds the columns whose kind is known by now. Where a key's is not, no row can come before it is. */
static int announce(Emitter *emitter, EmitterTable *table, Error *error)
{
    for (uint32_t i = 0; i < table->column_count; i++)
        if ((table->columns[i].flags & COLUMN_KEY) && table->columns[i].kind.type == 0)
            return emitter->options.untyped ? announce_untyped(emitter, table, error) : 0;
    uint32_t before = table->announced_count;
    table->announced = xrealloc(table->announced, ((size_t)table->column_count + 1) * sizeof(uint32_t));
    for (uint32_t i = 0; i < table->column_count; i++) {
        Column *column = &table->columns[i];
        if (column->announced || column->kind.type == 0)
            continue;
        column->announced = true;
        table->announced[table->announced_count++] = i;
    }
    return table->announced_count > before ? send_table(emitter, table, error) : 0;
}

/* --- declarations --- */

static int declare_column(Emitter *emitter, EmitterTable *table, const EmitterColumn *declared, Error *error)
{
    uint32_t number = name_map_get(&table->by_source, declared->name);
    if (number == NAME_MAP_NONE && add_column(emitter, table, declared->name, &number, error) < 0)
        return -1;
    Column *column = &table->columns[number];
    if (column->kind.type != 0) {
        error_set(error, ERROR_DATA, "the column is declared twice");
        return at_column(table, column, error);
    }
    column->kind = declared->kind;
    column->flags |= COLUMN_DECLARED;
    return 0;
}

int emitter_declare(Emitter *emitter, FrameText name, const FrameText *keys, size_t key_count,
                    const EmitterColumn *columns, size_t column_count, Error *error)
{
    EmitterTable *table = table_of(emitter, name);
    if (table) {
        error_set(error, ERROR_DATA,
                  table->declared ? "the table is declared twice" : "the table is declared after its first operation");
        return at_table(table, error);
    }
    if (add_table(emitter, name, &table, error) < 0)
        return -1;
    table->declared = true;
    for (size_t i = 0; i < key_count; i++) {
        uint32_t number = name_map_get(&table->by_source, keys[i]);
        if (number != NAME_MAP_NONE)
            continue; /* named twice */
        if (add_column(emitter, table, keys[i], &number, error) < 0)
            return -1;
        table->columns[number].flags |= COLUMN_KEY;
        table->key_count++;
    }
    for (size_t i = 0; i < column_count; i++)
        if (declare_column(emitter, table, &columns[i], error) < 0)
            return -1;
    return announce(emitter, table, error);
}

/* --- rows --- */

static bool is_null(const Value *value)
{
    return value->tag == VALUE_NULL || value->tag == VALUE_ABSENT;
}

/* The column of the field in PLACE of its row, by the row before where that had the same name there. */
static int find_column(Emitter *emitter, EmitterTable *table, size_t place, FrameText name, uint32_t *ret, Error *error)
{
    if (place < table->layout_count) {
        const Column *column = &table->columns[table->layout[place]];
        if (column->source_length == name.length && memcmp(column->source, name.data, name.length) == 0) {
            *ret = table->layout[place];
            return 0;
        }
    }
    *ret = name_map_get(&table->by_source, name);
    if (*ret == NAME_MAP_NONE && add_column(emitter, table, name, ret, error) < 0)
        return -1;
    if (place >= table->layout_allocated) {
        table->layout_allocated = MAX_OF(2 * table->layout_allocated, place + 16);
        table->layout = xrealloc(table->layout, table->layout_allocated * sizeof(uint32_t));
    }
    if (place > table->layout_count) /* a field before was left out */
        return 0;
    table->layout[place] = *ret;
    table->layout_count = MAX_OF(table->layout_count, place + 1);
    return 0;
}

/* Notes at each column which field is its; RET_NEW: one has its first value. */
static int note_fields(Emitter *emitter, EmitterTable *table, Operation operation, const EmitterField *fields,
                       size_t count, bool *ret_new, Error *error)
{
    *ret_new = false;
    for (size_t i = 0; i < count; i++) {
        uint32_t number;
        if (operation == OPERATION_DELETE && name_map_get(&table->by_source, fields[i].name) == NAME_MAP_NONE)
            continue;
        if (find_column(emitter, table, i, fields[i].name, &number, error) < 0)
            return -1;
        Column *column = &table->columns[number];
        if (column->row == table->rows) {
            error_set(error, ERROR_DATA, "the row names the column twice");
            return at_column(table, column, error);
        }
        column->row = table->rows;
        column->field = i;
        *ret_new |= !column->announced && !is_null(&fields[i].value) &&
                    (operation != OPERATION_DELETE || (column->flags & COLUMN_KEY));
    }
    return 0;
}

static int check_keys(const EmitterTable *table, Operation operation, const EmitterField *fields, Error *error)
{
    if (table->key_count == 0 && operation != OPERATION_UPSERT) {
        error_set(error, ERROR_DATA, "%s needs a table with a primary key, and this one declares none",
                  operation == OPERATION_UPDATE ? "an update" : "a delete");
        return at_table(table, error);
    }
    for (uint32_t i = 0; i < table->key_count; i++) {
        const Column *column = &table->columns[i]; /* keys are declared first */
        assert(column->flags & COLUMN_KEY);
        bool there = column->row == table->rows;
        if (there && !is_null(&fields[column->field].value))
            continue;
        error_set(error, ERROR_DATA,
                  there ? "a column of the primary key is NULL" : "a column of the primary key is missing");
        return at_column(table, column, error);
    }
    return 0;
}

static void warn(Emitter *emitter, const EmitterTable *table, Column *column)
{
    unsigned news = emitter->conversion.notes & ~column->warned;
    column->warned |= news;
    char kind[KIND_NAME_MAX];
    if (news & CONVERSION_WIDENS)
        worker_log(emitter->worker, LOG_WARNING,
                   "table \"%s\": column \"%s\": a value is out of the range of %s, which the column was declared; it "
                   "becomes wider",
                   table->source, column->source, kind_name(column->kind, kind));
    if (news & CONVERSION_NOT_FINITE)
        worker_log(emitter->worker, LOG_WARNING,
                   "table \"%s\": column \"%s\": numbers that are not finite (NaN, infinity) become NULL",
                   table->source, column->source);
}

/* The column's value of this row. */
static int convert(Emitter *emitter, const EmitterTable *table, Column *column, const EmitterField *field, Value *ret,
                   Error *error)
{
    Conversion *conversion = &emitter->conversion;
    conversion->notes = 0;
    int r = column->flags & COLUMN_DECLARED ? conversion_apply(conversion, column->kind, field, ret, error)
                                            : conversion_natural(conversion, field, ret, error);
    if (r < 0)
        return at_column(table, column, error);
    if (conversion->notes)
        warn(emitter, table, column);
    uint64_t most = emitter->options.max_value_size;
    if (ret->tag >= VALUE_STRING && most > 0 && ret->text.length > most) {
        conversion->fault = EMITTER_FAULT_VALUE;
        error_set(error, ERROR_DATA, "the value has %u bytes, more than \"max_value_size\" allows (%llu)",
                  ret->text.length, (unsigned long long)most);
        return at_column(table, column, error);
    }
    if ((column->flags & COLUMN_KEY) && is_null(ret)) {
        error_set(error, ERROR_DATA, "a column of the primary key is not a finite number");
        return at_column(table, column, error);
    }
    return 0;
}

/* Converts the row for its errors alone, then announces its new columns. */
static int add_new(Emitter *emitter, EmitterTable *table, Operation operation, const EmitterField *fields, Error *error)
{
    Value value;
    for (int learn = 0; learn < 2; learn++)
        for (uint32_t i = 0; i < table->column_count; i++) {
            Column *column = &table->columns[i];
            bool counts = operation != OPERATION_DELETE || (column->flags & COLUMN_KEY);
            if (column->row != table->rows || !counts)
                continue;
            if (convert(emitter, table, column, &fields[column->field], &value, error) < 0)
                return -1;
            if (learn && column->kind.type == 0)
                column->kind = kind_of_value(&value);
        }
    return announce(emitter, table, error);
}

/* Rows of nothing but NULL have all the same _fivetran_id: one stands for them. */
static int put_blank(Emitter *emitter, EmitterTable *table, Error *error)
{
    RowsWriter *rows = worker_rows(emitter->worker, table->id, OPERATION_UPSERT);
    for (uint32_t i = 0; i < table->announced_count; i++)
        rows_put_absent(rows);
    table->blank = false;
    return worker_row_done(emitter->worker, rows, error);
}

static int put_row(Emitter *emitter, EmitterTable *table, Operation operation, const EmitterField *fields, Error *error)
{
    RowsWriter *rows = worker_rows(emitter->worker, table->id, operation);
    size_t mark = rows_mark(rows);
    for (uint32_t i = 0; i < table->announced_count; i++) {
        Column *column = &table->columns[table->announced[i]];
        Value value;
        if (column->row != table->rows || (operation == OPERATION_DELETE && !(column->flags & COLUMN_KEY))) {
            rows_put_absent(rows);
        } else if (convert(emitter, table, column, &fields[column->field], &value, error) < 0) {
            rows_rewind(rows, mark);
            return -1;
        } else {
            rows_put_value(rows, &value);
        }
    }
    return worker_row_done(emitter->worker, rows, error);
}

int emitter_row(Emitter *emitter, Operation operation, FrameText name, const EmitterField *fields, size_t count,
                Error *error)
{
    assert(operation == OPERATION_UPSERT || operation == OPERATION_UPDATE || operation == OPERATION_DELETE);
    EmitterTable *table;
    bool fresh;
    emitter->conversion.fault = EMITTER_FAULT_NONE;
    if (find_table(emitter, name, &table, error) < 0)
        return -1;
    table->rows++;
    if (note_fields(emitter, table, operation, fields, count, &fresh, error) < 0 ||
        check_keys(table, operation, fields, error) < 0 ||
        (fresh && add_new(emitter, table, operation, fields, error) < 0))
        return -1;
    if (emitter->plan)
        return worker_enough(emitter->worker, error);
    if (table->announced_count == 0) {
        table->blank = true; /* until there is a column */
        return 0;
    }
    if (table->blank && put_blank(emitter, table, error) < 0)
        return -1;
    return put_row(emitter, table, operation, fields, error);
}

int emitter_truncate(Emitter *emitter, FrameText name, Error *error)
{
    if (emitter->plan)
        return worker_enough(emitter->worker, error);
    EmitterTable *table;
    if (find_table(emitter, name, &table, error) < 0)
        return -1;
    if (table->on_pipe)
        return worker_truncate(emitter->worker, table->id, error);
    table->truncated = true;
    return 0;
}

int emitter_flush(Emitter *emitter, Error *error)
{
    for (uint32_t i = 0; i < emitter->table_count; i++) {
        if (emitter->tables[i]->truncated && send_table(emitter, emitter->tables[i], error) < 0)
            return -1;
    }
    return 0;
}

/* --- rows that a source puts itself --- */

static bool plan_name(const EmitterTable *table, FrameText name, uint32_t field, EmitterPlace *places)
{
    uint32_t number = name_map_get(&table->by_source, name);
    if (number == NAME_MAP_NONE || !table->columns[number].announced)
        return false;
    for (uint32_t i = 0; i < table->announced_count; i++)
        if (table->announced[i] == number && places[i].field == EMITTER_ABSENT) {
            places[i].field = field;
            return true;
        }
    return false; /* named twice */
}

bool emitter_plan(const Emitter *emitter, Operation operation, FrameText name, const FrameText *names, size_t count,
                  EmitterPlan *ret)
{
    uint32_t number = name_map_get(&emitter->by_source, name);
    EmitterTable *table = number != NAME_MAP_NONE ? emitter->tables[number] : NULL;
    if (!table || table->announced_count == 0 || table->truncated || table->blank || operation == OPERATION_DELETE ||
        (table->key_count == 0 && operation != OPERATION_UPSERT))
        return false;
    _cleanup_(freep) EmitterPlace *places = xcalloc(table->announced_count, sizeof(*places));
    for (uint32_t i = 0; i < table->announced_count; i++) {
        const Column *column = &table->columns[table->announced[i]];
        places[i] = (EmitterPlace){ .field = EMITTER_ABSENT,
                                    .kind = column->kind,
                                    .declared = column->flags & COLUMN_DECLARED,
                                    .key = column->flags & COLUMN_KEY };
    }
    for (size_t i = 0; i < count; i++)
        if (!plan_name(table, names[i], (uint32_t)i, places))
            return false;
    for (uint32_t i = 0; i < table->announced_count; i++)
        if (places[i].key && places[i].field == EMITTER_ABSENT)
            return false;
    *ret = (EmitterPlan){ .table = table->id,
                          .place_count = table->announced_count,
                          .places = take_ptr(places),
                          .now = &table->announced_count,
                          .rows = &table->rows };
    return true;
}
