/* The coalescer against a model that keeps every key's row as it goes, also where rows are set aside in between; and
 * keys in order. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "connectors/writer/aside.h"

#define KEYS 50
#define COLUMNS 4 /* the key is the first */
#define STEPS 2000

typedef struct Model {
    bool known, replaced;
    CoalescedFate fate;
    Value values[COLUMNS];
} Model;

static const Kind whole = { .type = COLUMN_INTEGER };

static Value random_cell(void)
{
    long choice = random() % 3;
    if (choice == 2)
        return (Value){ .tag = VALUE_INTEGER, .integer = random() };
    return (Value){ .tag = choice ? VALUE_NULL : VALUE_ABSENT };
}

static void model_step(Model *model, Operation operation, const Value *row, bool history)
{
    bool is_new = !model->known;
    model->known = true;
    if (operation == OPERATION_UPSERT || is_new)
        memcpy(model->values, row, sizeof(model->values));
    else if (operation == OPERATION_UPDATE && !(history && model->fate == FATE_DELETED))
        for (size_t i = 0; i < COLUMNS; i++)
            if (row[i].tag != VALUE_ABSENT)
                model->values[i] = row[i];
    if (operation == OPERATION_UPSERT)
        model->replaced = true;
    if (operation != OPERATION_UPDATE)
        model->fate = operation == OPERATION_UPSERT ? FATE_LIVES : FATE_DELETED;
}

/* The rows are those of the keys from KEY on; the key after the last of them. */
static int compare_from(int key, const Coalescer *coalescer, const Model *models)
{
    for (size_t at = 0; at < coalescer->row_count; key++) {
        const Model *model = &models[key];
        assert_true(key < KEYS);
        if (!model->known)
            continue;
        const CoalescedRow *row = &coalescer->rows[at++];
        assert_int_equal(row->kind, model->replaced ? COALESCED_REPLACE : COALESCED_MODIFY);
        assert_int_equal(row->fate, model->fate);
        RowCursor cursor = { row->values, row->values + row->values_length };
        for (size_t i = 0; i < COLUMNS; i++) {
            Value value = { .tag = VALUE_ABSENT };
            assert_true(i >= row->columns || row_cursor_value(&cursor, &value));
            assert_int_equal(value.tag, model->values[i].tag);
            if (value.tag == VALUE_INTEGER)
                assert_int_equal(value.integer, model->values[i].integer);
        }
        assert_ptr_equal(cursor.next, cursor.end);
    }
    return key;
}

static void check_rest(int key, const Model *models)
{
    for (; key < KEYS; key++)
        assert_false(models[key].known);
}

/* One random operation, of rows that have COUNT columns. */
static void step(Coalescer *coalescer, Model *models, size_t count, bool history)
{
    _cleanup_(buffer_clear) Buffer key = { 0 };
    Operation operation = OPERATION_UPSERT + (Operation)(random() % 3);
    long number = random() % KEYS;
    Value row[COLUMNS] = { { .tag = VALUE_INTEGER, .integer = number - KEYS / 2 } };
    for (size_t i = 1; i < COLUMNS; i++)
        row[i] = i < count && operation != OPERATION_DELETE ? random_cell() : (Value){ .tag = VALUE_ABSENT };
    key_append(&key, whole, &row[0]);
    if (operation == OPERATION_UPSERT)
        coalescer_upsert(coalescer, &key, row, count);
    else if (operation == OPERATION_UPDATE)
        coalescer_update(coalescer, &key, row, count, history);
    else
        coalescer_delete(coalescer, &key, row, count);
    model_step(&models[number], operation, row, history);
}

static void run_model(bool history)
{
    Coalescer coalescer = { 0 };
    for (int flush = 0; flush < 30; flush++) {
        Model models[KEYS] = { 0 };
        for (int i = 0; i < STEPS; i++)
            step(&coalescer, models, i < STEPS / 2 ? 2 : COLUMNS, history); /* the table grows as it goes */
        assert_true(coalescer_memory(&coalescer) > 0);
        coalescer_sort(&coalescer);
        check_rest(compare_from(0, &coalescer, models), models);
        coalescer_reset(&coalescer);
        assert_int_equal(coalescer_memory(&coalescer), 0);
    }
    coalescer_clear(&coalescer);
}

/* Thousands of tables share the memory of a batch. */
static void test_a_few_rows_take_little(void **state)
{
    Coalescer coalescer = { 0 };
    _cleanup_(buffer_clear) Buffer key = { 0 };
    Value row = { .tag = VALUE_INTEGER, .integer = 1 };
    key_append(&key, whole, &row);
    coalescer_upsert(&coalescer, &key, &row, 1);
    assert_in_range(coalescer_memory(&coalescer), 1, 8 << 10);
    coalescer_clear(&coalescer);
}

static void test_against_the_model(void **state)
{
    srandom(1);
    run_model(false);
    run_model(true);
}

/* --- rows that are set aside --- */

enum { TABLES = 2 };
static const uint16_t tables[TABLES] = { 7, 300 };

static int put_all(Aside *aside, Coalescer *coalescers)
{
    int r = aside_begin(aside);
    for (int t = 0; t < TABLES && r == 0; t++) {
        coalescer_sort(&coalescers[t]);
        r = aside_put(aside, tables[t], &coalescers[t]);
    }
    if (r == 0)
        r = aside_end(aside);
    for (int t = 0; t < TABLES && r == 0; t++)
        coalescer_reset(&coalescers[t]);
    return r;
}

/* How many pieces they came in. */
static int take_all(Aside *aside, Model (*models)[KEYS], bool history, size_t memory)
{
    Error error = { 0 };
    int pieces = 0;
    assert_int_equal(aside_sort(aside, &error), 0);
    for (int t = 0; t < TABLES; t++) {
        int key = 0, r;
        Coalescer rows = { 0 };
        for (; (r = aside_next(aside, tables[t], history, memory, &rows, &error)) == 0; pieces++) {
            assert_false(rows.unordered);
            key = compare_from(key, &rows, models[t]);
            coalescer_reset(&rows);
        }
        assert_int_equal(r, ASIDE_E_END);
        check_rest(key, models[t]);
        coalescer_clear(&rows);
    }
    aside_reset(aside);
    assert_true(aside_is_empty(aside));
    return pieces;
}

static void run_aside(bool history, int steps, size_t memory)
{
    Aside *aside = aside_new(memfd_create("aside", MFD_CLOEXEC), UINT64_MAX);
    Coalescer coalescers[TABLES] = { 0 };
    for (int round = 0; round < 10; round++) {
        Model models[TABLES][KEYS] = { 0 };
        for (int i = 0; i < steps; i++) {
            int t = (int)(random() % TABLES);
            step(&coalescers[t], models[t], i < steps / 2 ? 2 : COLUMNS, history);
            if (random() % 100 == 0)
                assert_int_equal(put_all(aside, coalescers), 0);
        }
        assert_int_equal(put_all(aside, coalescers), 0);
        assert_false(aside_is_empty(aside));
        int pieces = take_all(aside, models, history, memory);
        assert_true(memory > 1 ? pieces == TABLES : pieces > TABLES * KEYS / 2);
    }
    for (int t = 0; t < TABLES; t++)
        coalescer_clear(&coalescers[t]);
    aside_free(aside);
}

static void test_rows_that_are_set_aside(void **state)
{
    srandom(2);
    for (int history = 0; history < 2; history++) {
        run_aside(history, STEPS, 1);
        run_aside(history, STEPS, 1 << 20);
        run_aside(history, 10 * STEPS, 1 << 20); /* more runs than are merged at once */
    }
}

static void test_a_file_that_takes_no_more(void **state)
{
    int fd = memfd_create("aside", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    Aside *aside = aside_new(fd, UINT64_MAX);
    Coalescer coalescers[TABLES] = { 0 };
    Model models[TABLES][KEYS] = { 0 }, more[TABLES][KEYS] = { 0 };
    for (int i = 0; i < STEPS; i++)
        step(&coalescers[i % TABLES], models[i % TABLES], COLUMNS, false);
    assert_int_equal(put_all(aside, coalescers), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    for (int i = 0; i < STEPS; i++)
        step(&coalescers[i % TABLES], more[i % TABLES], COLUMNS, false);
    assert_int_equal(put_all(aside, coalescers), ASIDE_E_FULL);
    assert_int_equal(put_all(aside, coalescers), ASIDE_E_FULL);
    /* what was there is there, what was not is where it was */
    take_all(aside, models, false, 1 << 20);
    for (int t = 0; t < TABLES; t++) {
        coalescer_sort(&coalescers[t]);
        check_rest(compare_from(0, &coalescers[t], more[t]), more[t]);
        coalescer_clear(&coalescers[t]);
    }
    aside_free(aside);
}

static void test_a_bound_of_the_file(void **state)
{
    Aside *aside = aside_new(memfd_create("aside", MFD_CLOEXEC), 100);
    Coalescer coalescers[TABLES] = { 0 };
    Model models[TABLES][KEYS] = { 0 };
    for (int i = 0; i < STEPS; i++)
        step(&coalescers[i % TABLES], models[i % TABLES], COLUMNS, false);
    assert_int_equal(put_all(aside, coalescers), 0);
    assert_int_equal(put_all(aside, coalescers), ASIDE_E_FULL);
    take_all(aside, models, false, 1 << 20);
    assert_int_equal(put_all(aside, coalescers), 0); /* nothing */
    assert_true(aside_is_empty(aside));
    for (int t = 0; t < TABLES; t++)
        coalescer_clear(&coalescers[t]);
    aside_free(aside);
}

/* A large row, written over and over, in memory and in as many runs. */
static void test_one_large_row(void **state)
{
    enum { LARGE = 1 << 20, TIMES = 60 };
    Aside *aside = aside_new(memfd_create("aside", MFD_CLOEXEC), UINT64_MAX);
    Coalescer coalescer = { 0 }, rows = { 0 };
    Buffer key = { 0 };
    Error error = { 0 };
    char *large = calloc(1, LARGE + TIMES);
    Value row[2] = { { .tag = VALUE_INTEGER, .integer = 5 }, { .tag = VALUE_STRING, .text = { large, LARGE } } };
    Value absent[2] = { row[0], { .tag = VALUE_ABSENT } };
    key_append(&key, whole, &row[0]);
    for (int i = 0; i < TIMES; i++) {
        row[1].text.length = (uint32_t)(LARGE + i); /* each is larger than the one before */
        coalescer_upsert(&coalescer, &key, row, 2);
        coalescer_update(&coalescer, &key, absent, 2, false);
        assert_true(coalescer_memory(&coalescer) < 3 * LARGE);
        assert_int_equal(aside_begin(aside), 0);
        assert_int_equal(aside_put(aside, 0, &coalescer), 0);
        assert_int_equal(aside_end(aside), 0);
    }
    assert_int_equal(aside_sort(aside, &error), 0);
    assert_int_equal(aside_next(aside, 0, false, 1, &rows, &error), 0);
    assert_int_equal(rows.row_count, 1);
    assert_true(rows.rows[0].values_length > LARGE + TIMES);
    assert_true(coalescer_memory(&rows) < 3 * LARGE);
    coalescer_clear(&coalescer);
    coalescer_clear(&rows);
    buffer_clear(&key);
    free(large);
    aside_free(aside);
}

/* --- keys --- */

static int compare_keys(Kind kind, const Value *a, const Value *b)
{
    Buffer first = { 0 }, second = { 0 };
    /* followed by another part, which must not change the order of the first */
    Value after[] = { { .tag = VALUE_INTEGER, .integer = 5 }, { .tag = VALUE_INTEGER, .integer = -5 } };
    key_append(&first, kind, a);
    key_append(&first, whole, &after[0]);
    key_append(&second, kind, b);
    key_append(&second, whole, &after[1]);
    size_t n = buffer_length(&first) - 9, m = buffer_length(&second) - 9;
    bool same = n == m && memcmp(buffer_bytes(&first), buffer_bytes(&second), n) == 0;
    int r = memcmp(buffer_bytes(&first), buffer_bytes(&second), MIN_OF(n, m) + 1);
    buffer_clear(&first);
    buffer_clear(&second);
    return same ? 0 : r < 0 ? -1 : 1;
}

static void check_order(Kind kind, const Value *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            assert_int_equal(compare_keys(kind, &values[i], &values[k]), i < k ? -1 : i > k);
}

static Value text(ValueTag tag, const char *data, uint32_t n)
{
    return (Value){ .tag = tag, .text = { data, n } };
}

static void test_keys_are_in_order(void **state)
{
    const Value numbers[] = {
        { .tag = VALUE_INTEGER, .integer = INT64_MIN }, { .tag = VALUE_INTEGER, .integer = -256 },
        { .tag = VALUE_INTEGER, .integer = -1 },        { .tag = VALUE_INTEGER, .integer = 0 },
        { .tag = VALUE_INTEGER, .integer = 255 },       { .tag = VALUE_INTEGER, .integer = INT64_MAX }
    };
    check_order(whole, numbers, ELEMENTSOF(numbers));
    const Value floats[] = { { .tag = VALUE_FLOAT, .number = -1e300 }, { .tag = VALUE_FLOAT, .number = -1.5 },
                             { .tag = VALUE_INTEGER, .integer = -1 },  { .tag = VALUE_FLOAT, .number = 0 },
                             { .tag = VALUE_FLOAT, .number = 1e-300 }, { .tag = VALUE_INTEGER, .integer = 7 } };
    check_order((Kind){ COLUMN_FLOAT }, floats, ELEMENTSOF(floats));
    const Value texts[] = { text(VALUE_STRING, "", 0),   text(VALUE_STRING, "\0", 1), text(VALUE_STRING, "\0\0", 2),
                            text(VALUE_STRING, "\1", 1), text(VALUE_STRING, "a", 1),  text(VALUE_STRING, "a\0b", 3),
                            text(VALUE_STRING, "ab", 2), text(VALUE_STRING, "é", 2) };
    check_order((Kind){ COLUMN_STRING }, texts, ELEMENTSOF(texts));
    const Value times[] = { { .tag = VALUE_DATE, .days = -1 },
                            { .tag = VALUE_TIMESTAMP, .timestamp = { -1, 999999999, TIMESTAMP_NAIVE } },
                            { .tag = VALUE_DATE, .days = 0 },
                            { .tag = VALUE_TIMESTAMP, .timestamp = { 0, 1, TIMESTAMP_NAIVE } } };
    check_order((Kind){ COLUMN_DATETIME }, times, ELEMENTSOF(times));
}

static void test_decimals_are_in_order(void **state)
{
    static const char *const decimals[] = { "-1000",
                                            "-999.99",
                                            "-12.345",
                                            "-12.34",
                                            "-1",
                                            "-0.5",
                                            "-0.05",
                                            "0",
                                            "0.001",
                                            "0.01",
                                            "0.010001",
                                            "0.1",
                                            "1",
                                            "1.5",
                                            "2",
                                            "9",
                                            "10",
                                            "100",
                                            "99999999999999999999",
                                            "99999999999999999999.1" };
    Kind kind = { COLUMN_DECIMAL };
    for (size_t i = 0; i < ELEMENTSOF(decimals); i++)
        for (size_t k = 0; k < ELEMENTSOF(decimals); k++) {
            Buffer first = { 0 }, second = { 0 };
            Value a = text(VALUE_DECIMAL, decimals[i], (uint32_t)strlen(decimals[i]));
            Value b = text(VALUE_DECIMAL, decimals[k], (uint32_t)strlen(decimals[k]));
            order_append(&first, kind, &a);
            order_append(&second, kind, &b);
            int r = memcmp(buffer_bytes(&first), buffer_bytes(&second),
                           MIN_OF(buffer_length(&first), buffer_length(&second)));
            assert_int_equal((r > 0) - (r < 0), (i > k) - (i < k));
            buffer_clear(&first);
            buffer_clear(&second);
        }
}

static void test_equal_keys_are_one(void **state)
{
    const struct {
        Kind kind;
        Value a, b;
    } cases[] = {
        { { COLUMN_DECIMAL }, text(VALUE_DECIMAL, "1.50", 4), text(VALUE_DECIMAL, "01.5", 4) },
        { { COLUMN_DECIMAL }, text(VALUE_DECIMAL, "-12.0", 5), { .tag = VALUE_INTEGER, .integer = -12 } },
        { { COLUMN_DECIMAL },
          text(VALUE_DECIMAL, "123456789012345678", 18),
          { .tag = VALUE_INTEGER, .integer = 123456789012345678 } },
        { { COLUMN_DECIMAL },
          text(VALUE_DECIMAL, "9223372036854775807", 19),
          { .tag = VALUE_INTEGER, .integer = INT64_MAX } },
        { { COLUMN_DECIMAL },
          text(VALUE_DECIMAL, "-9223372036854775808", 20),
          { .tag = VALUE_INTEGER, .integer = INT64_MIN } },
        { { COLUMN_FLOAT }, { .tag = VALUE_FLOAT, .number = -0.0 }, { .tag = VALUE_INTEGER, .integer = 0 } },
        { { COLUMN_STRING }, { .tag = VALUE_INTEGER, .integer = 1 }, text(VALUE_STRING, "1", 1) },
        { { COLUMN_INSTANT },
          { .tag = VALUE_TIMESTAMP, .timestamp = { 60, 0, 60 } },
          { .tag = VALUE_TIMESTAMP, .timestamp = { 60, 0, 0 } } },
    };
    for (size_t i = 0; i < ELEMENTSOF(cases); i++)
        assert_int_equal(compare_keys(cases[i].kind, &cases[i].a, &cases[i].b), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_few_rows_take_little),  cmocka_unit_test(test_against_the_model),
        cmocka_unit_test(test_rows_that_are_set_aside), cmocka_unit_test(test_a_file_that_takes_no_more),
        cmocka_unit_test(test_a_bound_of_the_file),     cmocka_unit_test(test_one_large_row),
        cmocka_unit_test(test_keys_are_in_order),       cmocka_unit_test(test_decimals_are_in_order),
        cmocka_unit_test(test_equal_keys_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
