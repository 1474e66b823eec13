/* The history of runs: what it keeps of one, in which order, how many of them, and what becomes of those cut short. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/store-fixture.h"

static RunRecord run_named(const char *run_id, const char *connection, int64_t started_ms)
{
    RunRecord run = { .connection = (char *)connection, .trigger = (char *)"schedule", .started_ms = started_ms };
    (void)snprintf(run.run_id, sizeof run.run_id, "%s", run_id);
    return run;
}

static int see_run(const RunRecord *run, void *userdata)
{
    Seen *seen = userdata;
    size_t length = strlen(seen->text);
    seen->count++;
    if (length < sizeof seen->text - 100)
        (void)snprintf(seen->text + length, sizeof seen->text - length, "%s:%s:%s ", run->run_id, run->connection,
                       run->outcome ? run->outcome : "-");
    return 0;
}

static int check_whole_run(const RunRecord *run, void *userdata)
{
    assert_string_equal(run->run_id, "r1");
    assert_string_equal(run->connection, "orders");
    assert_string_equal(run->trigger, "manual");
    assert_string_equal(run->outcome, "failed");
    assert_string_equal(run->error, "bad \xfe thing");
    assert_int_equal(run->started_ms, 1000);
    assert_int_equal(run->finished_ms, 3000);
    assert_int_equal(run->duration_ms, 1999);
    assert_int_equal(run->rows_committed, INT64_C(1) << 40);
    assert_int_equal(run->bytes_processed, 77);
    assert_int_equal(run->checkpoints, 5);
    assert_int_equal(run->warning_count, 5);
    assert_string_equal(run->warnings[0], "first");
    assert_string_equal(run->warnings[1], "");
    assert_string_equal(run->warnings[4], "fifth \xff");
    assert_true(run->has_files);
    assert_int_equal(run->files.files_scanned, 1);
    assert_int_equal(run->files.quarantined_rows, 8);
    return 0;
}

static void test_run(void **state)
{
    Store *store = open_store();
    RunRecord run = run_named("r1", "orders", 1000);
    run.trigger = (char *)"manual";
    assert_int_equal(store_run_started(store, &run, NULL), 0);
    Seen seen = { 0 };
    assert_int_equal(store_runs(store, "orders", 0, see_run, &seen, NULL), 0);
    assert_string_equal(seen.text, "r1:orders:- ");
    char *warnings[] = { (char *)"first", (char *)"", (char *)"third", (char *)"fourth", (char *)"fifth \xff" };
    run.outcome = (char *)"failed";
    run.error = (char *)"bad \xfe thing";
    run.finished_ms = 3000;
    run.duration_ms = 1999;
    run.rows_committed = INT64_C(1) << 40;
    run.bytes_processed = 77;
    run.checkpoints = 5;
    run.warnings = warnings;
    run.warning_count = 5;
    run.has_files = true;
    run.files = (RunCounts){ 1, 2, 3, 4, 5, 6, 7, 8 };
    assert_int_equal(store_run_finished(store, &run, NULL), 0);
    store_close(store);
    store = open_store();
    assert_int_equal(store_runs(store, NULL, 10, check_whole_run, NULL, NULL), 0);
    _cleanup_(stored_connection_clear) StoredConnection connection = { 0 };
    assert_int_equal(store_connection_get(store, "orders", &connection, NULL), 0);
    assert_string_equal(connection.last_outcome, "failed");
    assert_string_equal(connection.last_error, "bad \xfe thing");
    assert_int_equal(connection.last_started_ms, 1000);
    assert_int_equal(connection.last_rows, INT64_C(1) << 40);
    store_close(store);
}

static void test_runs_are_ordered_and_limited(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    static const char *const names[] = { "a", "b", "a", "b", "a" };
    for (int i = 0; i < 5; i++) {
        char run_id[8];
        (void)snprintf(run_id, sizeof run_id, "r%d", i);
        RunRecord run = run_named(run_id, names[i], 5000 - i); /* the clock went back: order is that of starting */
        run.outcome = (char *)"succeeded";
        assert_int_equal(i % 2 ? store_run_started(store, &run, NULL) : 0, 0);
        assert_int_equal(store_run_finished(store, &run, NULL), 0); /* also where it was never started */
    }
    Seen all = { 0 }, two = { 0 }, of_b = { 0 }, none = { 0 };
    assert_int_equal(store_runs(store, NULL, 0, see_run, &all, NULL), 0);
    assert_string_equal(all.text, "r4:a:succeeded r3:b:succeeded r2:a:succeeded r1:b:succeeded r0:a:succeeded ");
    assert_int_equal(store_runs(store, NULL, 2, see_run, &two, NULL), 0);
    assert_string_equal(two.text, "r4:a:succeeded r3:b:succeeded ");
    assert_int_equal(store_runs(store, "b", 5, see_run, &of_b, NULL), 0);
    assert_string_equal(of_b.text, "r3:b:succeeded r1:b:succeeded ");
    assert_int_equal(store_runs(store, "nobody", 5, see_run, &none, NULL), 0);
    assert_int_equal(none.count, 0);
}

static void test_runs_are_pruned(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    RunRecord other = run_named("other", "b", 1);
    assert_int_equal(store_run_started(store, &other, NULL), 0);
    assert_int_equal(store_begin(store, NULL), 0);
    for (int i = 0; i < STORE_RUNS_KEPT + 50; i++) {
        char run_id[16];
        (void)snprintf(run_id, sizeof run_id, "r%d", i);
        RunRecord run = run_named(run_id, "a", i);
        run.outcome = (char *)"succeeded";
        assert_int_equal(store_run_started(store, &run, NULL), 0);
        assert_int_equal(store_run_finished(store, &run, NULL), 0);
    }
    assert_int_equal(store_commit(store, NULL), 0);
    Seen of_a = { 0 }, all = { 0 };
    assert_int_equal(store_runs(store, "a", 0, see_run, &of_a, NULL), 0);
    assert_int_equal(of_a.count, STORE_RUNS_KEPT);
    assert_int_equal(strncmp(of_a.text, "r1049:a", 7), 0);
    assert_int_equal(store_runs(store, NULL, 0, see_run, &all, NULL), 0);
    assert_int_equal(all.count, STORE_RUNS_KEPT + 1);
}

static int see_abandoned(const char *connection, const char *trigger, void *userdata)
{
    Seen *seen = userdata;
    size_t length = strlen(seen->text);
    (void)snprintf(seen->text + length, sizeof seen->text - length, "%s:%s ", connection, trigger);
    return 0;
}

static void test_abandoned_runs(void **state)
{
    Store *store = open_store();
    RunRecord done = run_named("done", "a", 1), dead = run_named("dead", "a", 2), dead2 = run_named("dead2", "b", 3);
    done.outcome = (char *)"succeeded";
    dead2.trigger = (char *)"manual";
    assert_int_equal(store_run_finished(store, &done, NULL), 0);
    assert_int_equal(store_run_started(store, &dead, NULL), 0);
    assert_int_equal(store_run_started(store, &dead2, NULL), 0);
    store_close(store);
    store = open_store();
    Seen abandoned = { 0 }, runs = { 0 }, again = { 0 };
    assert_int_equal(store_runs_abandoned(store, "the daemon ended", see_abandoned, &abandoned, NULL), 0);
    assert_string_equal(abandoned.text, "a:schedule b:manual ");
    assert_int_equal(store_runs(store, NULL, 0, see_run, &runs, NULL), 0);
    assert_string_equal(runs.text, "dead2:b:failed dead:a:failed done:a:succeeded ");
    assert_int_equal(store_runs_abandoned(store, "the daemon ended", see_abandoned, &again, NULL), 0);
    assert_string_equal(again.text, "");
    _cleanup_(stored_connection_clear) StoredConnection connection = { 0 };
    assert_int_equal(store_connection_get(store, "a", &connection, NULL), 0);
    assert_string_equal(connection.last_outcome, "failed");
    assert_string_equal(connection.last_error, "the daemon ended");
    store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_run),
        store_test(test_runs_are_ordered_and_limited),
        store_test(test_runs_are_pruned),
        store_test(test_abandoned_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
