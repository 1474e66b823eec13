/*
 * The keyed tables of destination-sqlite, through its table of functions, against a real database file: what columns
 * are declared as and mean, every value back byte for byte, changes of tables, and rows by key with and without
 * history.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "connectors/destinations/sqlite/declaration.h"
#include "connectors/destinations/sqlite/sqlite.h"

/* --- what the writer library would be --- */

static bool cancel;
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

#define KIND(t) ((Kind){ .type = (t) })
static const Kind decimal_10_2 = { .type = COLUMN_DECIMAL, .precision = 10, .scale = 2 };

static char folder[] = "/tmp/wherry-sqlite-XXXXXX";
static char path[64];
static Sqlite *self;
static Batch batch;

static void ok(int r, Error *error)
{
    if (r < 0)
        fail_msg("%s", error->message);
}

#define OK(call)                                    \
    do {                                            \
        _cleanup_(error_clear) Error error = { 0 }; \
        ok((call), &error);                         \
    } while (false)

#define REFUSED(call, wanted, text)                                        \
    do {                                                                   \
        _cleanup_(error_clear) Error error = { 0 };                        \
        assert_int_equal((call), -1);                                      \
        if (!strstr(error.message, (text)))                                \
            fail_msg("\"%s\" does not say \"%s\"", error.message, (text)); \
        assert_int_equal(error.kind, (wanted));                            \
    } while (false)

static void start(const char *connection)
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

static void stop(void)
{
    if (self)
        destination_sqlite.close(self);
    self = NULL;
}

/* The next run: whatever it knows, it has from the database. */
static void commit(void)
{
    OK(destination_sqlite.commit(self, &batch, &error));
    stop();
    start("orders");
}

static int set_up(void **state)
{
    cancel = false;
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/t.db", folder);
    start("orders");
    return 0;
}

static int tear_down(void **state)
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

static void sql(const char *text)
{
    char *message = NULL;
    if (sqlite3_exec(self->database, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
}

/* All rows: columns separated by "|", rows by newlines; NULL is "~". */
static void query(const char *text, const char *expected)
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

#define COLUMNS_MAX 24
typedef struct Made {
    Table table;
    FrameColumn columns[COLUMNS_MAX];
} Made;

static void add(Made *made, const char *name, Kind kind, uint8_t flags)
{
    assert_true(made->table.column_count < COLUMNS_MAX);
    made->table.columns = made->columns;
    made->columns[made->table.column_count++] = (FrameColumn){
        .name = frame_text(name), .type = kind.type, .precision = kind.precision, .scale = kind.scale, .flags = flags
    };
}

static void change(const Made *made, SchemaChangeType type, size_t column)
{
    SchemaChange asked = { .type = type, .column = column };
    OK(destination_sqlite.change(self, &made->table, &asked, &error));
}

static char *plan(const Made *made, SchemaChangeType type, size_t column)
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

/* "a LONG key, b STRING" as describe() tells it. */
static void described(const char *name, const char *expected)
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

static Value integer(int64_t i)
{
    return (Value){ .tag = VALUE_INTEGER, .integer = i };
}
static Value real(double number)
{
    return (Value){ .tag = VALUE_FLOAT, .number = number };
}
static Value bytes(ValueTag tag, const char *data, size_t n)
{
    return (Value){ .tag = tag, .text = { data, (uint32_t)n } };
}
static Value string(const char *text)
{
    return bytes(VALUE_STRING, text, strlen(text));
}
static Value day(int32_t days)
{
    return (Value){ .tag = VALUE_DATE, .days = days };
}
static Value moment(int64_t seconds, uint32_t nanos, int16_t offset)
{
    return (Value){ .tag = VALUE_TIMESTAMP, .timestamp = { seconds, nanos, offset } };
}
static const Value null = { .tag = VALUE_NULL }, absent = { .tag = VALUE_ABSENT }, yes = { .tag = VALUE_TRUE },
                   no = { .tag = VALUE_FALSE };

static void put_value(RowsWriter *rows, const Value *value)
{
    switch (value->tag) {
    case VALUE_NULL:
        rows_put_null(rows);
        break;
    case VALUE_ABSENT:
        rows_put_absent(rows);
        break;
    case VALUE_FALSE:
    case VALUE_TRUE:
        rows_put_boolean(rows, value->tag == VALUE_TRUE);
        break;
    case VALUE_INTEGER:
        rows_put_integer(rows, value->integer);
        break;
    case VALUE_FLOAT:
        rows_put_float(rows, value->number);
        break;
    case VALUE_DATE:
        rows_put_date(rows, value->days);
        break;
    case VALUE_TIMESTAMP:
        rows_put_timestamp(rows, &value->timestamp);
        break;
    default:
        rows_put_text(rows, value->tag, value->text.data, value->text.length);
    }
}

/* ROWS rows of COUNT values; returns what write() and merge() say. */
static int try_put(const Made *made, Operation operation, const Value *values, size_t row_count, Error *error)
{
    Buffer buffer = { 0 };
    RowsWriter writer = rows_begin(&buffer, made->table.id, operation);
    for (size_t i = 0; i < row_count; i++) {
        for (size_t k = 0; k < made->table.column_count; k++)
            put_value(&writer, &values[i * made->table.column_count + k]);
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

static void put(const Made *made, Operation operation, const Value *values, size_t row_count)
{
    OK(try_put(made, operation, values, row_count, &error));
}
#define PUT(made, operation, ...)                            \
    put((made), (operation), (const Value[]){ __VA_ARGS__ }, \
        sizeof((const Value[]){ __VA_ARGS__ }) / sizeof(Value) / (made)->table.column_count)

/* --- declarations --- */

static void test_declarations_come_back(void **state)
{
    static const struct {
        Kind kind;
        const char *declared;
    } table[] = {
        { { COLUMN_STRING }, "TEXT" },
        { { COLUMN_SHORT }, "SMALLINT" },
        { { COLUMN_INT }, "INT" },
        { { COLUMN_INTEGER }, "BIGINT" },
        { { COLUMN_REAL }, "FLOAT" },
        { { COLUMN_FLOAT }, "DOUBLE" },
        { { COLUMN_BOOLEAN }, "BOOLEAN" },
        { { COLUMN_DATE }, "DATE" },
        { { COLUMN_DATETIME }, "DATETIME" },
        { { COLUMN_INSTANT }, "TIMESTAMP" },
        { { COLUMN_DECIMAL }, "DECIMAL_TEXT" },
        { { COLUMN_DECIMAL, 10, 2 }, "DECIMAL_TEXT(10,2)" },
        { { COLUMN_JSON }, "JSON_TEXT" },
        { { COLUMN_BINARY }, "BLOB" },
        { { COLUMN_TIMESTAMP }, "TIMESTAMP_TEXT" },
        { { COLUMN_DECIMAL, 38, 38 }, "DECIMAL_TEXT(38,38)" },
        { { COLUMN_DECIMAL, 5, 0 }, "DECIMAL_TEXT(5,0)" },
    };
    for (size_t i = 0; i < ELEMENTSOF(table); i++) {
        char text[SQLITE_DECLARATION_MAX];
        Kind kind;
        assert_string_equal(sqlite_declaration(table[i].kind, text), table[i].declared);
        assert_true(sqlite_declared_kind(table[i].declared, &kind));
        assert_true(kind_equal(kind, table[i].kind));
    }
}

static void test_declarations_of_others(void **state)
{
    static const struct {
        const char *declared;
        ColumnType type; /* 0: none */
    } table[] = {
        { "integer", COLUMN_INTEGER },
        { "REAL", COLUMN_FLOAT },
        { "double  precision", COLUMN_FLOAT },
        { "VARCHAR(255)", COLUMN_STRING },
        { "character varying ( 20 )", COLUMN_STRING },
        { "bool", COLUMN_BOOLEAN },
        { "decimal_text( 10 , 2 )", COLUMN_DECIMAL },
        { "decimal_text(7)", COLUMN_DECIMAL },
        { "DECIMAL(10,2)", 0 },
        { "NUMERIC", 0 },
        { "JSON", 0 },
        { "", 0 },
        { "DECIMAL_TEXT(39,2)", 0 },
        { "DECIMAL_TEXT(2,3)", 0 },
        { "DECIMAL_TEXT(x)", 0 },
        { "DECIMAL_TEXT(1,2,3)", 0 },
        { "GEOMETRY", 0 },
        { "ANY", 0 },
    };
    for (size_t i = 0; i < ELEMENTSOF(table); i++) {
        Kind kind = { 0 };
        if (sqlite_declared_kind(table[i].declared, &kind) != (table[i].type != 0) || kind.type != table[i].type)
            fail_msg("\"%s\" is taken for %d", table[i].declared, (int)kind.type);
    }
}

static void test_editing_a_declaration(void **state)
{
    static const struct {
        const char *sql, *name, *expected; /* NULL: refused */
        const char *declared[4];
        size_t count;
    } table[] = {
        { "CREATE TABLE t (a INT, b TEXT)", NULL, "CREATE TABLE t (a BIGINT, b TEXT)", { "BIGINT", NULL }, 2 },
        { "CREATE TABLE t(a,b)", "\"n\"", "CREATE TABLE \"n\"(a TEXT,b TEXT)", { "TEXT", "TEXT" }, 2 },
        { "CREATE TABLE \"t (\"\" x\" (\"a,b\" DECIMAL_TEXT(1,2) NOT NULL DEFAULT (1), [c] INT CHECK (c IN (1, 2)),"
          " PRIMARY KEY (\"a,b\")) WITHOUT ROWID",
          "t",
          "CREATE TABLE t (\"a,b\" TEXT NOT NULL DEFAULT (1), [c] BIGINT CHECK (c IN (1, 2)),"
          " PRIMARY KEY (\"a,b\")) WITHOUT ROWID",
          { "TEXT", "BIGINT" },
          2 },
        { "CREATE TABLE t (a /* a, ( */ double precision -- b INT,\n COLLATE nocase, 'q' int, unique (a))",
          NULL,
          "CREATE TABLE t (a TEXT -- b INT,\n COLLATE nocase, 'q' int, unique (a))",
          { "TEXT", NULL },
          2 },
        { "CREATE TABLE t (a INT, b INT)", NULL, NULL, { "TEXT" }, 1 },
        { "CREATE TABLE t (a INT)", NULL, NULL, { "TEXT", NULL }, 2 },
        { "CREATE TABLE t (a INT", NULL, NULL, { "TEXT" }, 1 },
        { "CREATE TABLE t AS SELECT 1", NULL, NULL, { "TEXT" }, 1 },
        { "CREATE TABLE t (a INT, PRIMARY KEY (a))", NULL, NULL, { "TEXT", "TEXT" }, 2 },
        { "CREATE VIRTUAL TABLE t USING x (a)", NULL, NULL, { "TEXT" }, 1 },
        { "CREATE TABLE t (\"a", NULL, NULL, { "TEXT" }, 1 },
        { "", NULL, NULL, { "TEXT" }, 1 },
    };
    for (size_t i = 0; i < ELEMENTSOF(table); i++) {
        char *edited = declaration_edit(table[i].sql, table[i].name, table[i].declared, table[i].count);
        if (!table[i].expected && edited)
            fail_msg("\"%s\" became \"%s\"", table[i].sql, edited);
        if (table[i].expected)
            assert_string_equal(edited ? edited : "refused", table[i].expected);
        free(edited);
    }
}

/* --- values --- */

/* Every kind in every form that an affinity could touch; each is read back, by value and by storage class. */
static void test_values_come_back_as_they_were(void **state)
{
    Made made = { .table = { .name = (char *)"t" } };
    static const char forty[] = "1234567890123456789012345678901234567890.5";
    add(&made, "id", KIND(COLUMN_INTEGER), COLUMN_KEY);
    add(&made, "s", KIND(COLUMN_STRING), 0);
    add(&made, "n", KIND(COLUMN_DECIMAL), 0);
    add(&made, "j", KIND(COLUMN_JSON), 0);
    add(&made, "x", KIND(COLUMN_BINARY), 0);
    add(&made, "i", KIND(COLUMN_INTEGER), 0);
    add(&made, "f", KIND(COLUMN_FLOAT), 0);
    add(&made, "r", KIND(COLUMN_REAL), 0);
    add(&made, "b", KIND(COLUMN_BOOLEAN), 0);
    add(&made, "d", KIND(COLUMN_DATE), 0);
    add(&made, "t", KIND(COLUMN_DATETIME), 0);
    add(&made, "z", KIND(COLUMN_INSTANT), 0);
    add(&made, "p", decimal_10_2, 0);
    change(&made, SCHEMA_CREATE, 0);
    PUT(&made, OPERATION_UPSERT, integer(1), string("1e5"), bytes(VALUE_DECIMAL, forty, sizeof(forty) - 1),
        bytes(VALUE_JSON, "1.0", 3), bytes(VALUE_BINARY, "12", 2), integer(INT64_MIN), real(1e300), real(0.5), yes,
        day(19782), moment(86400, 0, TIMESTAMP_NAIVE), moment(0, 1, 0), bytes(VALUE_DECIMAL, "1.5", 3),
        /* row 2 */
        integer(2), string("007"), bytes(VALUE_DECIMAL, "10", 2), bytes(VALUE_JSON, "1e400", 5),
        bytes(VALUE_BINARY, "", 0), integer(INT64_MAX), real(3), real(7), no, day(-719162),
        moment(0, 500000000, TIMESTAMP_NAIVE), moment(0, 0, 330), bytes(VALUE_DECIMAL, "-0.01", 5),
        /* row 3 */
        integer(3), bytes(VALUE_STRING, "\0 a", 3), null, bytes(VALUE_JSON, "\"2024\"", 6),
        bytes(VALUE_BINARY, "\0\xff", 2), null, null, null, null, null, null, null, null);
    query("SELECT s, n, j, hex(x), i, f, r, b, d, t, z, p FROM t WHERE id < 3 ORDER BY id",
          "1e5|1234567890123456789012345678901234567890.5|1.0|3132|-9223372036854775808|1.0e+300|0.5|1|2024-02-29|"
          "1970-01-02T00:00:00|1970-01-01T00:00:00.000000001Z|1.5\n"
          "007|10|1e400||9223372036854775807|3.0|7.0|0|0001-01-01|1970-01-01T00:00:00.500000|1970-01-01T00:00:00Z|"
          "-0.01");
    query("SELECT hex(s), n, j, hex(x), p FROM t WHERE id = 3", "002061|~|\"2024\"|00FF|~");
    query("SELECT DISTINCT typeof(id), typeof(s), typeof(n), typeof(j), typeof(x), typeof(i), typeof(f), typeof(r),"
          " typeof(b), typeof(d), typeof(t), typeof(z), typeof(p) FROM t WHERE id < 3",
          "integer|text|text|text|blob|integer|real|real|integer|text|text|text|text");
    commit();
    described("t", "id LONG key, s STRING, n DECIMAL, j JSON, x BINARY, i LONG, f DOUBLE, r FLOAT, b BOOLEAN, "
                   "d NAIVE_DATE, t NAIVE_DATETIME, z UTC_DATETIME, p DECIMAL(10,2)");
    query("SELECT sql FROM sqlite_schema WHERE name = 't'",
          "CREATE TABLE \"t\" (\"id\" BIGINT NOT NULL, \"s\" TEXT, \"n\" DECIMAL_TEXT, \"j\" JSON_TEXT, \"x\" BLOB, "
          "\"i\" BIGINT, \"f\" DOUBLE, \"r\" FLOAT, \"b\" BOOLEAN, \"d\" DATE, \"t\" DATETIME, \"z\" TIMESTAMP, "
          "\"p\" DECIMAL_TEXT(10,2), PRIMARY KEY (\"id\")) WITHOUT ROWID");
}

/* Keys of every kind are found again, by update and by delete. */
static void test_keys_of_every_kind(void **state)
{
    static const Value keys[][2] = {
        { { VALUE_INTEGER, { .integer = -1 } }, { VALUE_INTEGER, { .integer = 5 } } },
        { { VALUE_FLOAT, { .number = 0.1 } }, { VALUE_FLOAT, { .number = 5 } } },
        { { VALUE_FALSE }, { VALUE_TRUE } },
        { { VALUE_DATE, { .days = 0 } }, { VALUE_DATE, { .days = 1 } } },
        { { VALUE_TIMESTAMP, { .timestamp = { 0, 0, TIMESTAMP_NAIVE } } },
          { VALUE_TIMESTAMP, { .timestamp = { 1, 0, TIMESTAMP_NAIVE } } } },
        { { VALUE_TIMESTAMP, { .timestamp = { 0, 0, 0 } } }, { VALUE_TIMESTAMP, { .timestamp = { 0, 5000, 0 } } } },
        { { VALUE_STRING, { .text = { "1", 1 } } }, { VALUE_STRING, { .text = { "1\0", 2 } } } },
        { { VALUE_STRING, { .text = { "", 0 } } }, { VALUE_STRING, { .text = { "1.0", 3 } } } },
        { { VALUE_DECIMAL, { .text = { "1", 1 } } }, { VALUE_DECIMAL, { .text = { "1.5", 3 } } } },
        { { VALUE_BINARY, { .text = { "", 0 } } }, { VALUE_BINARY, { .text = { "1", 1 } } } },
    };
    static const ColumnType types[] = { COLUMN_INTEGER, COLUMN_FLOAT,  COLUMN_BOOLEAN, COLUMN_DATE,    COLUMN_DATETIME,
                                        COLUMN_INSTANT, COLUMN_STRING, COLUMN_STRING,  COLUMN_DECIMAL, COLUMN_BINARY };
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        Made made = { .table = { .name = (char *)"t" } };
        add(&made, "k\"", KIND(types[i]), COLUMN_KEY);
        add(&made, "v", KIND(COLUMN_INTEGER), 0);
        change(&made, SCHEMA_CREATE, 0);
        PUT(&made, OPERATION_UPSERT, keys[i][0], integer(1), keys[i][1], integer(2));
        PUT(&made, OPERATION_UPSERT, keys[i][0], integer(3));
        PUT(&made, OPERATION_UPDATE, keys[i][1], integer(4));
        query("SELECT group_concat(v) FROM (SELECT v FROM t ORDER BY v)", "3,4");
        PUT(&made, OPERATION_DELETE, keys[i][0], absent);
        query("SELECT v FROM t", "4");
        OK(destination_sqlite.drop(self, "t", &error));
    }
}

/* --- rows --- */

static void make_plain(Made *made)
{
    *made = (Made){ .table = { .name = (char *)"t" } };
    add(made, "a", KIND(COLUMN_INTEGER), COLUMN_KEY);
    add(made, "x", KIND(COLUMN_STRING), 0);
    add(made, "b", KIND(COLUMN_STRING), COLUMN_KEY);
    add(made, "y", KIND(COLUMN_INTEGER), 0);
    change(made, SCHEMA_CREATE, 0);
}

static void test_operations(void **state)
{
    Made made;
    make_plain(&made);
    PUT(&made, OPERATION_UPSERT, integer(1), string("one"), string("a"), integer(10), integer(1), string("two"),
        string("b"), integer(20), integer(2), null, string("a"), null);
    PUT(&made, OPERATION_UPSERT, integer(1), null, string("b"), integer(21), integer(3), string("new"), string(""),
        null);
    PUT(&made, OPERATION_UPDATE, integer(1), absent, string("a"), null, integer(2), string("set"), string("a"), absent,
        integer(9), string("nobody"), string("a"), integer(1));
    PUT(&made, OPERATION_UPDATE, integer(3), absent, string(""), absent);
    query("SELECT a, b, x, y FROM t ORDER BY a, b", "1|a|one|~\n1|b|~|21\n2|a|set|~\n3||new|~");
    PUT(&made, OPERATION_DELETE, integer(1), absent, string("b"), absent, integer(7), absent, string("b"), absent);
    query("SELECT a, b FROM t ORDER BY a, b", "1|a\n2|a\n3|");
}

/* More sets of columns than have statements of their own. */
static void test_updates_of_many_sets_of_columns(void **state)
{
    enum { COUNT = 7, SETS = 1 << (COUNT - 1) };
    Made made = { .table = { .name = (char *)"t" } };
    char names[COUNT][8];
    Value row[COUNT];
    add(&made, "id", KIND(COLUMN_INTEGER), COLUMN_KEY);
    for (size_t i = 1; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "c%zu", i);
        add(&made, names[i], KIND(COLUMN_STRING), 0);
    }
    change(&made, SCHEMA_CREATE, 0);
    for (int set = 0; set < SETS; set++) {
        row[0] = integer(set);
        for (int i = 1; i < COUNT; i++)
            row[i] = string("old");
        put(&made, OPERATION_UPSERT, row, 1);
    }
    for (int set = 0; set < SETS; set++) {
        row[0] = integer(set);
        for (int i = 1; i < COUNT; i++)
            row[i] = set >> (i - 1) & 1 ? i == 1 ? null : string("new") : absent;
        put(&made, OPERATION_UPDATE, row, 1);
    }
    query("SELECT count(*) FROM t WHERE c1 IS NOT iif(id & 1, NULL, 'old') OR c2 <> iif(id & 2, 'new', 'old')"
          " OR c3 <> iif(id & 4, 'new', 'old') OR c4 <> iif(id & 8, 'new', 'old') OR c5 <> iif(id & 16, 'new', 'old')"
          " OR c6 <> iif(id & 32, 'new', 'old')",
          "0");
}

/* An update touches the columns that it names, and no other: not for triggers either. */
static void test_updates_and_triggers(void **state)
{
    Made made;
    make_plain(&made);
    sql("CREATE TABLE seen (what TEXT); CREATE TRIGGER g AFTER UPDATE OF x ON t BEGIN INSERT INTO seen VALUES (new.x);"
        " END");
    PUT(&made, OPERATION_UPSERT, integer(1), string("one"), string("a"), integer(10));
    PUT(&made, OPERATION_UPDATE, integer(1), absent, string("a"), integer(11));
    query("SELECT count(*) FROM seen", "0");
    PUT(&made, OPERATION_UPDATE, integer(1), string("two"), string("a"), integer(11));
    query("SELECT what FROM seen", "two");
}

static void test_a_row_that_its_table_refuses(void **state)
{
    Made made;
    make_plain(&made);
    sql("DROP TABLE t; CREATE TABLE t (a BIGINT, x TEXT CHECK (x <> 'bad'), b TEXT, y INTEGER, PRIMARY KEY (a, b))");
    const Value rows[] = {
        integer(7), string("good"), string("k"), null, integer(8), string("bad"), string("k"), null
    };
    _cleanup_(error_clear) Error error = { 0 };
    assert_int_equal(try_put(&made, OPERATION_UPSERT, rows, 2, &error), -1);
    assert_int_equal(error.kind, ERROR_DATA);
    assert_string_equal(error.message, "CHECK constraint failed: x <> 'bad'");
    assert_int_equal(error.row, 2); /* from which the library knows the key */
}

static void test_soft_delete(void **state)
{
    Made made = { .table = { .name = (char *)"t" } };
    add(&made, "id", KIND(COLUMN_INTEGER), COLUMN_KEY);
    add(&made, SYSTEM_COLUMN_SYNCED, KIND(COLUMN_INSTANT), COLUMN_SYSTEM);
    add(&made, SYSTEM_COLUMN_DELETED, KIND(COLUMN_BOOLEAN), COLUMN_SYSTEM);
    change(&made, SCHEMA_CREATE, 0);
    PUT(&made, OPERATION_UPSERT, integer(1), moment(10, 0, 0), no, integer(2), moment(10, 500000000, 0), no, integer(3),
        moment(11, 0, 0), no, integer(4), null, null, integer(5), moment(1, 0, 0), yes);
    OK(destination_sqlite.soft_delete(self, &made.table, 10500000, 99, &error));
    query("SELECT id, _fivetran_synced, _fivetran_deleted FROM t ORDER BY id",
          "1|1970-01-01T00:00:10Z|1\n2|1970-01-01T00:00:10.500000Z|0\n3|1970-01-01T00:00:11Z|0\n4|~|1\n"
          "5|1970-01-01T00:00:01Z|1");
    OK(destination_sqlite.soft_delete(self, &made.table, INT64_MAX, 99, &error));
    query("SELECT sum(_fivetran_deleted) FROM t", "5");
}

/* --- changes --- */

static void test_describe(void **state)
{
    described("t", "none");
    sql("CREATE TABLE t (a INTEGER, b VARCHAR(10) NOT NULL, c REAL, PRIMARY KEY (a, c))");
    described("t", "a LONG key, b STRING required, c DOUBLE key");
    described("T", "a LONG key, b STRING required, c DOUBLE key");
    sql("CREATE TABLE w (a INT PRIMARY KEY) WITHOUT ROWID");
    described("w", "a INT key");
}

static void refused(const char *name, const char *text)
{
    Table table = { 0 };
    bool found;
    REFUSED(destination_sqlite.describe(self, name, &table, &found, &error), ERROR_CONFIGURATION, text);
}

static void test_what_is_refused(void **state)
{
    sql("CREATE VIEW v AS SELECT 1; CREATE TABLE g (a INT PRIMARY KEY, b AS (a + 1));"
        "CREATE TABLE n (a INT PRIMARY KEY, price NUMERIC(10,2)); CREATE TABLE e (a);"
        "INSERT INTO _wherry_tables VALUES ('other', 'their')");
    refused("v", "\"v\" in \"");
    refused("v", "is a view, not a table; choose another name");
    refused("g", "column \"b\" is generated, so nothing can be written to it");
    refused("n", "column \"price\" is declared as \"NUMERIC(10,2)\", which is no type of a keyed table");
    refused("e", "column \"a\" is declared as \"\"");
    refused("OTHER", "belongs to connection \"their\": connection \"orders\" must not write to it");
    refused("sqlite_stat1", "names that begin with \"sqlite_\" are SQLite's own");
    REFUSED(destination_sqlite.drop(self, "other", &error), ERROR_CONFIGURATION, "belongs to connection \"their\"");
    REFUSED(destination_sqlite.drop(self, "v", &error), ERROR_CONFIGURATION, "is a view");
}

static void test_columns_are_added(void **state)
{
    Made made;
    make_plain(&made);
    PUT(&made, OPERATION_UPSERT, integer(1), string("one"), string("a"), integer(10));
    add(&made, "new \"one\"", decimal_10_2, 0);
    change(&made, SCHEMA_ADD, 4);
    PUT(&made, OPERATION_UPSERT, integer(2), string("two"), string("a"), integer(10), bytes(VALUE_DECIMAL, "1.5", 3));
    query("SELECT * FROM t", "1|one|a|10|~\n2|two|a|10|1.5");
    commit();
    described("t", "a LONG key, x STRING, b STRING key, y LONG, new \"one\" DECIMAL(10,2)");
}

static void test_marks(void **state)
{
    Made made;
    make_plain(&made);
    change(&made, SCHEMA_INEXACT, 3);
    change(&made, SCHEMA_INEXACT, 3);
    commit();
    described("t", "a LONG key, x STRING, b STRING key, y LONG inexact");
    OK(destination_sqlite.drop(self, "t", &error));
    OK(destination_sqlite.drop(self, "t", &error)); /* is not there */
    described("t", "none");
    query("SELECT count(*) FROM _wherry_columns", "0");
    query("SELECT connection FROM _wherry_tables WHERE table_name = 't'", "orders");
    make_plain(&made);
    described("t", "a LONG key, x STRING, b STRING key, y LONG");
}

/* Every widening there is, of values that could lose something on the way. */
static void test_widening(void **state)
{
    static const struct {
        Kind from, to;
        const char *stored, *expected, *type;
    } table[] = {
        { { COLUMN_SHORT }, { COLUMN_INTEGER }, "-5", "-5", "integer" },
        { { COLUMN_INTEGER }, { COLUMN_DECIMAL }, "9223372036854775807", "9223372036854775807", "text" },
        { { COLUMN_INTEGER }, { COLUMN_FLOAT }, "12", "12.0", "real" },
        { { COLUMN_INTEGER }, { COLUMN_STRING }, "12", "12", "text" },
        { { COLUMN_REAL }, { COLUMN_FLOAT }, "0.1", "0.1", "real" },
        { { COLUMN_FLOAT }, { COLUMN_STRING }, "1e25", "10000000000000000000000000", "text" },
        { { COLUMN_FLOAT }, { COLUMN_STRING }, "5.0", "5", "text" },
        { { COLUMN_FLOAT }, { COLUMN_STRING }, "1e-7", "0.0000001", "text" },
        { { COLUMN_DECIMAL, 3, 1 }, { COLUMN_DECIMAL, 40, 0 }, "'12.5'", "12.5", "text" },
        { { COLUMN_DECIMAL }, { COLUMN_STRING }, "'1.10'", "1.1", "text" },
        { { COLUMN_BOOLEAN }, { COLUMN_STRING }, "1", "true", "text" },
        { { COLUMN_BOOLEAN }, { COLUMN_STRING }, "0", "false", "text" },
        { { COLUMN_DATE }, { COLUMN_DATETIME }, "'2024-02-29'", "2024-02-29T00:00:00", "text" },
        { { COLUMN_DATETIME }, { COLUMN_STRING }, "'2024-02-29T00:00:00'", "2024-02-29", "text" },
        { { COLUMN_DATETIME }, { COLUMN_STRING }, "'2024-02-29 10:00:00'", "2024-02-29T10:00:00", "text" },
        { { COLUMN_INSTANT }, { COLUMN_STRING }, "'2024-02-29T00:00:00Z'", "2024-02-29T00:00:00Z", "text" },
        { { COLUMN_JSON }, { COLUMN_STRING }, "'{\"b\": 1.0, \"a\": 2}'", "{\"a\":2,\"b\":1.0}", "text" },
        { { COLUMN_BINARY }, { COLUMN_STRING }, "x'00ff'", "AP8=", "text" },
        { { COLUMN_BINARY }, { COLUMN_STRING }, "x''", "", "text" },
        { { COLUMN_INTEGER }, { COLUMN_STRING }, "NULL", "~", "null" },
        /* what others may have stored, and SQLite does not mind */
        { { COLUMN_DATE }, { COLUMN_DATETIME }, "'soon'", "soon", "text" },
        { { COLUMN_BOOLEAN }, { COLUMN_STRING }, "2", "2", "text" },
        { { COLUMN_SHORT }, { COLUMN_INTEGER }, "'many'", "many", "text" },
    };
    for (size_t i = 0; i < ELEMENTSOF(table); i++) {
        Made made = { .table = { .name = (char *)"t" } };
        char text[160];
        Kind to = table[i].to.precision > DECIMAL_DIGITS_MAX ? KIND(COLUMN_DECIMAL) : table[i].to;
        add(&made, "id", KIND(COLUMN_INTEGER), COLUMN_KEY);
        add(&made, "v", table[i].from, 0);
        change(&made, SCHEMA_CREATE, 0);
        snprintf(text, sizeof(text), "INSERT INTO t VALUES (1, %s)", table[i].stored);
        sql(text);
        made.columns[1].type = to.type;
        made.columns[1].precision = to.precision;
        made.columns[1].scale = to.scale;
        change(&made, SCHEMA_WIDEN, 1);
        snprintf(text, sizeof(text), "%s|%s", table[i].expected, table[i].type);
        query("SELECT v, typeof(v) FROM t", text);
        query("PRAGMA integrity_check", "ok");
        OK(destination_sqlite.drop(self, "t", &error));
    }
}

/* What a person has made around a table stays: indexes, triggers, views, constraints; and one pass does for all. */
static void test_widening_keeps_what_is_around(void **state)
{
    Made made = { .table = { .name = (char *)"t" } };
    sql("CREATE TABLE seen (what);"
        "CREATE TABLE t (id INT NOT NULL, a SMALLINT DEFAULT 7 CHECK (a > 0), b DATE, c TEXT COLLATE NOCASE UNIQUE,"
        " PRIMARY KEY (id)) WITHOUT ROWID;"
        "CREATE INDEX \"i \"\"1\" ON t (a,\n b) WHERE a > 1; CREATE VIEW v AS SELECT a, b FROM t;"
        "CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO seen VALUES (new.a); END;"
        "CREATE TABLE child (t_id INT REFERENCES t (id));"
        "CREATE TRIGGER h AFTER INSERT ON child BEGIN UPDATE t SET c = 'x' WHERE id = new.t_id; END;"
        "INSERT INTO t VALUES (1, 5, '2024-02-29', 'A'), (10, 6, NULL, 'b'), (2, 8, NULL, NULL)");
    add(&made, "id", KIND(COLUMN_STRING), COLUMN_KEY); /* keys, too: in the order of text now */
    add(&made, "a", KIND(COLUMN_FLOAT), 0);
    add(&made, "b", KIND(COLUMN_DATETIME), 0);
    add(&made, "c", KIND(COLUMN_STRING), 0);
    add(&made, "later", KIND(COLUMN_STRING), 0);
    char *first = plan(&made, SCHEMA_WIDEN, 0), *second = plan(&made, SCHEMA_WIDEN, 1);
    assert_non_null(strstr(first, "CREATE TABLE \"_wherry_widening\" (id TEXT NOT NULL, a DOUBLE DEFAULT 7"));
    assert_non_null(strstr(first, "\"b\", 'DATE', 'DATETIME')"));
    assert_non_null(strstr(first, ";\nALTER TABLE \"_wherry_widening\" RENAME TO \"t\";\n"));
    assert_non_null(strstr(first, ";\nCREATE INDEX \"i \"\"1\" ON t (a,\n b) WHERE a > 1;\n"));
    assert_string_equal(second, "");
    free(first);
    free(second);
    described("t", "id INT key, a SHORT, b NAIVE_DATE, c STRING"); /* a plan does nothing */
    change(&made, SCHEMA_WIDEN, 0);
    change(&made, SCHEMA_WIDEN, 1);
    change(&made, SCHEMA_WIDEN, 2);
    change(&made, SCHEMA_ADD, 4);
    query("SELECT * FROM t", "1|5.0|2024-02-29T00:00:00|A|~\n10|6.0|~|b|~\n2|8.0|~|~|~");
    query("SELECT what FROM seen", "5\n6\n8"); /* copying is no insert of anyone */
    sql("INSERT INTO t (id, c) VALUES ('k', 'C'); INSERT INTO child VALUES ('k')");
    query("SELECT what FROM seen WHERE what = 7", "7.0");
    query("SELECT c FROM t WHERE id = 'k'", "x");
    query("SELECT count(*) FROM v", "4");
    query(
        "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE type IN ('index', 'trigger', 'view')"
        " AND sql IS NOT NULL ORDER BY name)",
        "g h i \"1 v");
    query("SELECT sql FROM sqlite_schema WHERE name = 'child'", "CREATE TABLE child (t_id INT REFERENCES t (id))");
    assert_int_equal(sqlite3_exec(self->database, "INSERT INTO t (id, a) VALUES ('l', 0)", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT_CHECK);
    query("PRAGMA integrity_check", "ok");
    commit();
    described("t", "id STRING key, a DOUBLE, b NAIVE_DATETIME, c STRING, later STRING");
    query("SELECT count(*) FROM v", "4");
}

/* Where the values stay as they are, only the declaration is written: no row moves. */
static void test_widening_by_declaration(void **state)
{
    Made made = { .table = { .name = (char *)"o'brien" } };
    sqlite3 *other;
    add(&made, "id", KIND(COLUMN_SHORT), COLUMN_KEY);
    add(&made, "n", ((Kind){ COLUMN_DECIMAL, 3, 1 }), 0);
    change(&made, SCHEMA_CREATE, 0);
    PUT(&made, OPERATION_UPSERT, integer(1), bytes(VALUE_DECIMAL, "12.5", 4));
    commit();
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "SELECT * FROM \"o'brien\"", NULL, NULL, NULL), SQLITE_OK);
    made.columns[0].type = COLUMN_INTEGER;
    made.columns[1].precision = 20;
    char *text = plan(&made, SCHEMA_WIDEN, 0);
    assert_non_null(strstr(text, "UPDATE sqlite_schema SET sql = 'CREATE TABLE \"o''brien\" (\"id\" BIGINT NOT NULL, "
                                 "\"n\" DECIMAL_TEXT(20,1), PRIMARY KEY (\"id\")) WITHOUT ROWID'"));
    free(text);
    query("SELECT rootpage > 0 FROM sqlite_schema WHERE name = 'o''brien'", "1");
    sql("CREATE TEMP TABLE before AS SELECT rootpage FROM main.sqlite_schema WHERE name = 'o''brien'");
    change(&made, SCHEMA_WIDEN, 0);
    change(&made, SCHEMA_WIDEN, 1);
    query("SELECT s.rootpage = b.rootpage FROM main.sqlite_schema s, before b WHERE s.name = 'o''brien'", "1");
    PUT(&made, OPERATION_UPSERT, integer(1L << 40), bytes(VALUE_DECIMAL, "1234567890.5", 12));
    /* and the schema is out of reach again */
    assert_int_not_equal(
        sqlite3_exec(self->database, "UPDATE sqlite_schema SET sql = '' WHERE name = 'x'", NULL, NULL, NULL),
        SQLITE_OK);
    commit();
    described("o'brien", "id LONG key, n DECIMAL(20,1)");
    query("SELECT * FROM \"o'brien\"", "1|12.5\n1099511627776|1234567890.5");
    query("PRAGMA integrity_check", "ok");
    /* another program that had the old schema goes on with the new one */
    destination_sqlite.abort(self);
    sqlite3_stmt *statement;
    assert_int_equal(
        sqlite3_prepare_v2(other, "SELECT type FROM pragma_table_info('o''brien') WHERE cid = 0", -1, &statement, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), "BIGINT");
    sqlite3_finalize(statement);
    sqlite3_close(other);
}

/* A change that is rolled back leaves nothing, and a cancelled one is no error of the data. */
static void test_widening_is_part_of_the_transaction(void **state)
{
    Made made;
    make_plain(&made);
    sql("WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 30000)"
        " INSERT INTO t SELECT i, 'x', 'b', i FROM s");
    commit();
    made.columns[3].type = COLUMN_STRING;
    change(&made, SCHEMA_WIDEN, 3);
    destination_sqlite.abort(self);
    OK(destination_sqlite.begin(self, &batch, &error));
    described("t", "a LONG key, x STRING, b STRING key, y LONG");
    cancel = true;
    SchemaChange asked = { .type = SCHEMA_WIDEN, .column = 3 };
    REFUSED(destination_sqlite.change(self, &made.table, &asked, &error), ERROR_CANCELLED, "cancelled");
    cancel = false;
    stop();
    start("orders");
    described("t", "a LONG key, x STRING, b STRING key, y LONG");
    query("SELECT count(*), sum(y) FROM t", "30000|450015000");
}

/* --- history --- */

enum { H_ID, H_X, H_Y, H_START, H_END, H_ACTIVE, H_SYNCED };

static void make_history(Made *made)
{
    *made = (Made){ .table = { .name = (char *)"h", .flags = TABLE_HISTORY } };
    add(made, "id", KIND(COLUMN_INTEGER), COLUMN_KEY);
    add(made, "x", KIND(COLUMN_STRING), 0);
    add(made, "y", KIND(COLUMN_STRING), 0);
    add(made, SYSTEM_COLUMN_START, KIND(COLUMN_INSTANT), COLUMN_KEY | COLUMN_SYSTEM);
    add(made, SYSTEM_COLUMN_END, KIND(COLUMN_INSTANT), COLUMN_SYSTEM);
    add(made, SYSTEM_COLUMN_ACTIVE, KIND(COLUMN_BOOLEAN), COLUMN_SYSTEM);
    add(made, SYSTEM_COLUMN_SYNCED, KIND(COLUMN_INSTANT), COLUMN_SYSTEM);
    change(made, SCHEMA_CREATE, 0);
}

static void version(const Made *made, Operation operation, int64_t id, Value x, Value y, int64_t at)
{
    bool delete = operation == OPERATION_DELETE;
    const Value row[] = {
        integer(id),     x, y, moment(at, 0, 0), delete ? absent : moment(9999, 0, 0), delete ? absent : yes,
        moment(at, 0, 0)
    };
    put(made, operation, row, 1);
}

#define VERSIONS                                                                                 \
    "SELECT id, x, y, substr(_fivetran_start, 18), substr(_fivetran_end, 12), _fivetran_active," \
    " substr(_fivetran_synced, 18) FROM h ORDER BY id, _fivetran_start"

static void test_history(void **state)
{
    Made made;
    make_history(&made);
    version(&made, OPERATION_UPSERT, 1, string("a"), string("b"), 10);
    version(&made, OPERATION_UPSERT, 2, string("p"), null, 10);
    version(&made, OPERATION_UPSERT, 1, string("c"), null, 20);
    version(&made, OPERATION_UPDATE, 2, absent, string("q"), 20);
    version(&made, OPERATION_UPDATE, 3, string("nobody"), null, 20);
    query(VERSIONS, "1|a|b|10Z|00:00:19.999000Z|0|10Z\n1|c|~|20Z|02:46:39Z|1|20Z\n"
                    "2|p|~|10Z|00:00:19.999000Z|0|10Z\n2|p|q|20Z|02:46:39Z|1|20Z");
    /* in the same instant again: the version is replaced, or amended */
    version(&made, OPERATION_UPSERT, 1, null, string("d"), 20);
    version(&made, OPERATION_UPDATE, 2, string("r"), absent, 20);
    query(VERSIONS, "1|a|b|10Z|00:00:19.999000Z|0|10Z\n1|~|d|20Z|02:46:39Z|1|20Z\n"
                    "2|p|~|10Z|00:00:19.999000Z|0|10Z\n2|r|q|20Z|02:46:39Z|1|20Z");
    version(&made, OPERATION_DELETE, 1, absent, absent, 30);
    version(&made, OPERATION_UPDATE, 1, string("gone"), absent, 31);
    version(&made, OPERATION_UPSERT, 1, string("back"), null, 32);
    query(VERSIONS, "1|a|b|10Z|00:00:19.999000Z|0|10Z\n1|~|d|20Z|00:00:30Z|0|30Z\n1|back|~|32Z|02:46:39Z|1|32Z\n"
                    "2|p|~|10Z|00:00:19.999000Z|0|10Z\n2|r|q|20Z|02:46:39Z|1|20Z");
    OK(destination_sqlite.soft_delete(self, &made.table, 32000000, 33000000, &error));
    query("SELECT id, substr(_fivetran_end, 12) FROM h WHERE _fivetran_active", "1|02:46:39Z");
    query("SELECT substr(_fivetran_end, 12) FROM h WHERE id = 2 AND x = 'r'", "00:00:33Z");
}

/* Fractions of a second: "…:10.5Z" is after "…:10Z", though not as text. */
static void test_history_by_fractions(void **state)
{
    Made made;
    make_history(&made);
    Value row[] = { integer(1), string("a"), null, moment(10, 0, 0), null, yes, moment(10, 0, 0) };
    put(&made, OPERATION_UPSERT, row, 1);
    row[H_X] = string("b");
    row[H_START] = moment(10, 500000000, 0);
    put(&made, OPERATION_UPSERT, row, 1);
    query("SELECT x, _fivetran_end, _fivetran_active FROM h ORDER BY x", "a|1970-01-01T00:00:10.499000Z|0\nb|~|1");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_declarations_come_back),
        cmocka_unit_test(test_declarations_of_others),
        cmocka_unit_test(test_editing_a_declaration),
        TEST(test_values_come_back_as_they_were),
        TEST(test_keys_of_every_kind),
        TEST(test_operations),
        TEST(test_updates_of_many_sets_of_columns),
        TEST(test_updates_and_triggers),
        TEST(test_a_row_that_its_table_refuses),
        TEST(test_soft_delete),
        TEST(test_describe),
        TEST(test_what_is_refused),
        TEST(test_columns_are_added),
        TEST(test_marks),
        TEST(test_widening),
        TEST(test_widening_keeps_what_is_around),
        TEST(test_widening_by_declaration),
        TEST(test_widening_is_part_of_the_transaction),
        TEST(test_history),
        TEST(test_history_by_fractions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
