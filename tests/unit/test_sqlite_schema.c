/*
 * What the columns of destination-sqlite's tables are declared as, what is made of the declarations of others, and how
 * a table changes: added columns, marks, widening with all that a person has made around the table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/destinations/sqlite/declaration.h"
#include "tests/unit/sqlite-fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_declarations_come_back),
        cmocka_unit_test(test_declarations_of_others),
        cmocka_unit_test(test_editing_a_declaration),
        TEST(test_describe),
        TEST(test_what_is_refused),
        TEST(test_columns_are_added),
        TEST(test_marks),
        TEST(test_widening),
        TEST(test_widening_keeps_what_is_around),
        TEST(test_widening_by_declaration),
        TEST(test_widening_is_part_of_the_transaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
