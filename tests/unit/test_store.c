/* What the state database keeps of each connection over a restart, and its transactions. */
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store-fixture.h"

/* --- transactions --- */

static void test_transaction(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    assert_int_equal(store_begin(store, NULL), 0);
    put_schedule(store, "a", ran);
    assert_int_equal(store_begin(store, NULL), 0);
    put_schedule(store, "b", ran);
    assert_int_equal(store_commit(store, NULL), 0);
    store_rollback(store);
    assert_int_equal(connections_in(store), 0);
    assert_int_equal(store_begin(store, NULL), 0);
    put_schedule(store, "a", ran);
    assert_int_equal(store_connection_put_state(store, "b", 1, "r", "{}", NULL), 0); /* has one of its own inside */
    assert_int_equal(store_commit(store, NULL), 0);
    assert_int_equal(connections_in(store), 2);
}

static void test_failure_takes_all_back(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    _cleanup_(error_clear) Error error = { 0 }, commit_error = { 0 };
    assert_int_equal(store_begin(store, NULL), 0);
    put_schedule(store, "a", ran);
    FileRecord bad = { .name = (char *)"x.csv", .hash = "not a hash" };
    assert_int_equal(store_file_put(store, "a", &bad, &error), -1);
    assert_int_equal(error.kind, ERROR_INTERNAL);
    put_schedule(store, "b", ran); /* a caller that does not look */
    assert_failed(store_commit(store, &commit_error), &commit_error, ERROR_TEMPORARY, "taken back");
    assert_int_equal(connections_in(store), 0);
    put_schedule(store, "c", ran);
    assert_int_equal(connections_in(store), 1);
}

/* --- connections --- */

static void test_connection(void **state)
{
    Store *store = open_store();
    StoredConnection connection = { 0 };
    assert_int_equal(store_connection_get(store, "orders", &connection, NULL), STORE_E_NOT_FOUND);
    ScheduleEntry entry = ran;
    entry.paused = true;
    assert_int_equal(store_connection_put_schedule(store, "orders", &entry, true, false, NULL), 0);
    assert_int_equal(store_connection_put_state(store, "orders", UINT64_MAX, "run-1", "{\"a\": \"\xff\"}", NULL), 0);
    store_close(store);
    store = open_store();
    assert_int_equal(store_connection_get(store, "orders", &connection, NULL), 0);
    assert_string_equal(connection.name, "orders");
    assert_true(connection.paused_known && connection.schedule.paused && connection.schedule.ever_ran);
    assert_int_equal(connection.schedule.last_slot_ms, 123456789012);
    assert_true(connection.schedule.retry_at_ms == SCHEDULE_NEVER && connection.schedule.failures == UINT32_MAX);
    assert_true(connection.sequence == UINT64_MAX);
    assert_string_equal(connection.run_id, "run-1");
    assert_string_equal(connection.state, "{\"a\": \"\xff\"}");
    assert_int_equal(connection.last_rows, -1);
    assert_int_equal(connection.last_started_ms, 0);
    assert_null(connection.last_outcome);
    stored_connection_clear(&connection);
    /* no state: the cached one stays; a schedule does not touch it */
    assert_int_equal(store_connection_put_state(store, "orders", 8, NULL, NULL, NULL), 0);
    put_schedule(store, "orders", (ScheduleEntry){ 0 });
    assert_int_equal(store_connection_get(store, "orders", &connection, NULL), 0);
    assert_int_equal(connection.sequence, 8);
    assert_null(connection.run_id);
    assert_string_equal(connection.state, "{\"a\": \"\xff\"}");
    assert_false(connection.paused_known || connection.schedule.paused);
    stored_connection_clear(&connection);
    store_close(store);
}

static int each_writes(StoredConnection *connection, void *userdata)
{
    Store *store = userdata;
    _cleanup_(stored_connection_clear) StoredConnection again = { 0 };
    size_t n = 0;
    assert_int_equal(store_connection_get(store, connection->name, &again, NULL), 0);
    assert_int_equal(store_connection_each(store, count_connection, &n, NULL),
                     0); /* the same statement, inside itself */
    assert_int_equal(n, 3);
    again.schedule.failures++;
    assert_int_equal(store_connection_put_schedule(store, connection->name, &again.schedule, false, false, NULL), 0);
    return strcmp(connection->name, "b") == 0 ? 42 : 0;
}

static void test_callbacks_may_call_the_store(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    put_schedule(store, "c", (ScheduleEntry){ 0 });
    put_schedule(store, "a", (ScheduleEntry){ 0 });
    put_schedule(store, "b", (ScheduleEntry){ 0 });
    assert_int_equal(store_connection_each(store, each_writes, store, NULL), 42); /* ends where it is told to */
    static const uint32_t failures[] = { 1, 1, 0 };
    for (size_t i = 0; i < 3; i++) {
        _cleanup_(stored_connection_clear) StoredConnection connection = { 0 };
        assert_int_equal(store_connection_get(store, (const char *[]){ "a", "b", "c" }[i], &connection, NULL), 0);
        assert_int_equal(connection.schedule.failures, failures[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_transaction),
        store_test(test_failure_takes_all_back),
        store_test(test_connection),
        store_test(test_callbacks_may_call_the_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
