/* The coalescer against a model that keeps every key's row as it goes, and keys in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/writer/coalescer.h"

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

static void compare(const Coalescer *coalescer, const Model *models)
{
    size_t at = 0;
    for (int key = 0; key < KEYS; key++) {
        const Model *model = &models[key];
        if (!model->known)
            continue;
        assert_true(at < coalescer->row_count);
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
    assert_int_equal(at, coalescer->row_count);
}

static void run_model(bool history)
{
    Coalescer coalescer = { 0 };
    Buffer key = { 0 };
    for (int flush = 0; flush < 30; flush++) {
        Model models[KEYS] = { 0 };
        size_t count = 2; /* the table grows as it goes */
        for (int step = 0; step < STEPS; step++) {
            Operation operation = OPERATION_UPSERT + (Operation)(random() % 3);
            long number = random() % KEYS;
            Value row[COLUMNS] = { { .tag = VALUE_INTEGER, .integer = number - KEYS / 2 } };
            if (step == STEPS / 2)
                count = COLUMNS;
            for (size_t i = 1; i < COLUMNS; i++)
                row[i] = i < count && operation != OPERATION_DELETE ? random_cell() : (Value){ .tag = VALUE_ABSENT };
            buffer_reset(&key);
            key_append(&key, whole, &row[0]);
            if (operation == OPERATION_UPSERT)
                coalescer_upsert(&coalescer, &key, row, count);
            else if (operation == OPERATION_UPDATE)
                coalescer_update(&coalescer, &key, row, count, history);
            else
                coalescer_delete(&coalescer, &key, row, count);
            model_step(&models[number], operation, row, history);
        }
        assert_true(coalescer_memory(&coalescer) > 0);
        coalescer_sort(&coalescer);
        compare(&coalescer, models);
        coalescer_reset(&coalescer);
        assert_int_equal(coalescer_memory(&coalescer), 0);
    }
    coalescer_clear(&coalescer);
    buffer_clear(&key);
}

static void test_against_the_model(void **state)
{
    srandom(1);
    run_model(false);
    run_model(true);
}

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
        cmocka_unit_test(test_against_the_model),
        cmocka_unit_test(test_keys_are_in_order),
        cmocka_unit_test(test_decimals_are_in_order),
        cmocka_unit_test(test_equal_keys_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
