/* Calls destination-sqlite through its table of functions, and is the writer library that those call back. */
#include "tests/unit/sqlite-fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- what the writer library would be --- */

bool cancel;
bool writer_pulse(Writer *writer, const char *phase)
{
    return cancel;
}
Buffer *writer_plan(Writer *writer)
{
    return NULL;
}
void writer_log(Writer *writer, int priority, const char *format, ...)
{
}
void table_clear(Table *table)
{
    free(table->name);
    for (size_t i = 0; i < table->column_count; i++)
        free((char *)table->columns[i].name.data);
    free(table->columns);
    *table = (Table){ 0 };
}

/* --- a database in a folder of its own --- */

const Kind decimal_10_2 = { .type = COLUMN_DECIMAL, .precision = 10, .scale = 2 };

static char folder[] = "/tmp/wherry-sqlite-XXXXXX";
char path[64];
Sqlite *self;
Batch batch;

void ok(int r, Error *error)
{
    if (r < 0)
        fail_msg("%s", error->message);
}

void start(const char *connection)
{
    SandboxPolicy policy = { 0 };
    void *opened;
    CommittedState state = { 0 };
    json_t *configuration =
        json_pack("{s:s, s:{s:s, s:i}}", "connection", connection, "destination", "path", path, "busy_timeout", 1);
    OK(destination_sqlite.open(&opened, NULL, configuration, &policy, &error));
    json_decref(configuration);
    self = opened;
    OK(destination_sqlite.connect(self, &error));
    OK(destination_sqlite.read_state(self, &state, &error));
    batch = (Batch){ .sequence = state.sequence + 1, .epoch = 1, .run_id = "run" };
    free(state.run_id);
    free(state.state);
    OK(destination_sqlite.begin(self, &batch, &error));
}

void stop(void)
{
    if (self)
        destination_sqlite.close(self);
    self = NULL;
}

void commit(void)
{
    OK(destination_sqlite.commit(self, &batch, &error));
    stop();
    start("orders");
}

int sqlite_set_up(void **state)
{
    cancel = false;
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/t.db", folder);
    start("orders");
    return 0;
}

int sqlite_tear_down(void **state)
{
    static const char *const suffixes[] = { "", "-journal", "-wal", "-shm" };
    char file[80];
    stop();
    for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
        snprintf(file, sizeof(file), "%s%s", path, suffixes[i]);
        unlink(file);
    }
    return rmdir(folder);
}

void sql(const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(self->database, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
}

void query(const char *text, const char *expected)
{
    sqlite3_stmt *statement;
    Buffer found = { 0 };
    if (sqlite3_prepare_v2(self->database, text, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(self->database));
    while (sqlite3_step(statement) == SQLITE_ROW) {
        if (buffer_length(&found) > 0)
            buffer_append_string(&found, "\n");
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            const char *value = (const char *)sqlite3_column_text(statement, i);
            buffer_append_string(&found, i > 0 ? "|" : "");
            buffer_append_string(&found, value ? value : "~");
        }
    }
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    char *content = buffer_take_string(&found);
    assert_string_equal(content, expected);
    free(content);
}

/* --- tables and rows --- */

void add(Made *made, const char *name, Kind kind, uint8_t flags)
{
    assert_true(made->table.column_count < COLUMNS_MAX);
    made->table.columns = made->columns;
    made->columns[made->table.column_count++] = (FrameColumn){
        .name = frame_text(name), .type = kind.type, .precision = kind.precision, .scale = kind.scale, .flags = flags
    };
}

void change(const Made *made, SchemaChangeType type, size_t column)
{
    SchemaChange asked = { .type = type, .column = column };
    OK(destination_sqlite.change(self, &made->table, &asked, &error));
}

void make_plain(Made *made)
{
    *made = (Made){ .table = { .name = (char *)"t" } };
    add(made, "a", KIND(COLUMN_INTEGER), COLUMN_KEY);
    add(made, "x", KIND(COLUMN_STRING), 0);
    add(made, "b", KIND(COLUMN_STRING), COLUMN_KEY);
    add(made, "y", KIND(COLUMN_INTEGER), 0);
    change(made, SCHEMA_CREATE, 0);
}

char *plan(const Made *made, SchemaChangeType type, size_t column)
{
    SchemaChange asked = { .type = type, .column = column };
    Buffer statements = { 0 }, text = { 0 };
    self->plan = &statements;
    OK(destination_sqlite.change(self, &made->table, &asked, &error));
    self->plan = NULL;
    const char *at = (const char *)buffer_bytes(&statements), *end = at + buffer_length(&statements);
    for (; at < end; at += strlen(at) + 1)
        buffer_printf(&text, "%s;\n", at);
    buffer_clear(&statements);
    return buffer_take_string(&text);
}

void described(const char *name, const char *expected)
{
    Table table = { 0 };
    bool found;
    Buffer text = { 0 };
    OK(destination_sqlite.describe(self, name, &table, &found, &error));
    for (size_t i = 0; found && i < table.column_count; i++) {
        char kind[KIND_NAME_MAX];
        const FrameColumn *column = &table.columns[i];
        buffer_printf(&text, "%s%s %s%s%s%s", i > 0 ? ", " : "", column->name.data,
                      kind_name(column_kind(column), kind), column->flags & COLUMN_KEY ? " key" : "",
                      column->flags & COLUMN_REQUIRED ? " required" : "",
                      column->flags & COLUMN_INEXACT ? " inexact" : "");
    }
    char *content = found ? buffer_take_string(&text) : xstrdup("none");
    buffer_clear(&text);
    table_clear(&table);
    assert_string_equal(content, expected);
    free(content);
}

Value integer(int64_t i)
{
    return (Value){ .tag = VALUE_INTEGER, .integer = i };
}
Value real(double number)
{
    return (Value){ .tag = VALUE_FLOAT, .number = number };
}
Value bytes(ValueTag tag, const char *data, size_t n)
{
    return (Value){ .tag = tag, .text = { data, (uint32_t)n } };
}
Value string(const char *text)
{
    return bytes(VALUE_STRING, text, strlen(text));
}
Value day(int32_t days)
{
    return (Value){ .tag = VALUE_DATE, .days = days };
}
Value moment(int64_t seconds, uint32_t nanos, int16_t offset)
{
    return (Value){ .tag = VALUE_TIMESTAMP, .timestamp = { seconds, nanos, offset } };
}
const Value null = { .tag = VALUE_NULL }, absent = { .tag = VALUE_ABSENT }, yes = { .tag = VALUE_TRUE },
            no = { .tag = VALUE_FALSE };

int try_put(const Made *made, Operation operation, const Value *values, size_t row_count, Error *error)
{
    Buffer buffer = { 0 };
    RowsWriter writer = rows_begin(&buffer, made->table.id, operation);
    for (size_t i = 0; i < row_count; i++) {
        for (size_t k = 0; k < made->table.column_count; k++)
            rows_put_value(&writer, &values[i * made->table.column_count + k]);
        rows_row_done(&writer);
    }
    rows_end(&writer);
    /* header, then u16 table, u8 operation, u8 0, u32 rows */
    size_t head = FRAME_HEADER_SIZE + 8;
    Frame frame = { .type = FRAME_ROWS,
                    .rows = { .table = made->table.id,
                              .operation = operation,
                              .count = (uint32_t)row_count,
                              .data = buffer_bytes(&buffer) + head,
                              .length = (uint32_t)(buffer_length(&buffer) - head) } };
    int r = destination_sqlite.write(self, &made->table, &frame, 1, error);
    if (r == 0)
        r = destination_sqlite.merge(self, &made->table, error);
    buffer_clear(&buffer);
    return r;
}

void put(const Made *made, Operation operation, const Value *values, size_t row_count)
{
    OK(try_put(made, operation, values, row_count, &error));
}
