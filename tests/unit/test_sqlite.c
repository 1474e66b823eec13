/*
 * The rows of destination-sqlite's keyed tables, against a real database file: every value back byte for byte, rows by
 * key, and history.
 */
#include <stdio.h>
#include <string.h>

#include "tests/unit/sqlite-fixture.h"

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
    const struct CMUnitTest tests[] = {
        TEST(test_values_come_back_as_they_were),
        TEST(test_keys_of_every_kind),
        TEST(test_operations),
        TEST(test_updates_of_many_sets_of_columns),
        TEST(test_updates_and_triggers),
        TEST(test_a_row_that_its_table_refuses),
        TEST(test_soft_delete),
        TEST(test_history),
        TEST(test_history_by_fractions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
