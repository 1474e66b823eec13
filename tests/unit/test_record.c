/* Runs as a person reads them and as the control interface tells them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/wherryd/record.h"

static void assert_summary(const RunRecord *run, const char *expected)
{
    _cleanup_(freep) char *summary = record_summary(run);
    assert_string_equal(summary, expected);
}

static RunRecord files_run(void)
{
    return (RunRecord){ .run_id = "01a1fd24-d9c0-7910-aa9a-202d6c1a262c",
                        .connection = (char *)"orders",
                        .trigger = (char *)"schedule",
                        .outcome = (char *)"succeeded",
                        .started_ms = 1000,
                        .finished_ms = 1400,
                        .duration_ms = 400,
                        .rows_committed = 1204,
                        .bytes_processed = 1234567,
                        .has_files = true,
                        .files = { .files_scanned = 5, .new_files = 3, .committed = 3 } };
}

static void test_summary_of_success(void **state)
{
    RunRecord run = files_run();
    assert_summary(&run, "synced 3 files, 1,204 rows, 1.2 MB in 0.4 s");
    run.files.committed = run.rows_committed = 1;
    run.bytes_processed = 999;
    run.duration_ms = 99;
    assert_summary(&run, "synced 1 file, 1 row, 999 B in 99 ms");
    run.files.committed = run.rows_committed = 0;
    assert_summary(&run, "nothing new: 5 files seen in 99 ms");
    run.has_files = false;
    run.rows_committed = 1000000;
    run.bytes_processed = 999960;
    run.duration_ms = 61000;
    assert_summary(&run, "synced 1,000,000 rows, 1.0 MB in 1 min 1 s");
    run.rows_committed = 999;
    run.bytes_processed = 1000;
    run.duration_ms = 7200000;
    assert_summary(&run, "synced 999 rows, 1.0 kB in 2h");
}

static void test_summary_of_the_rest(void **state)
{
    RunRecord run = files_run();
    run.outcome = (char *)"failed";
    run.error = (char *)"b.csv: line 2: bad";
    assert_summary(&run, "failed after 0.4 s (3 files, 1,204 rows, 1.2 MB committed): b.csv: line 2: bad");
    run.rows_committed = run.files.committed = 0;
    run.outcome = (char *)"cancelled";
    run.error = NULL;
    assert_summary(&run, "cancelled after 0.4 s");
}

static void assert_json(json_t *object, const char *key, const char *expected)
{
    _cleanup_(freep) char *text = json_dumps(json_object_get(object, key), JSON_ENCODE_ANY | JSON_REAL_PRECISION(12));
    assert_non_null(text);
    assert_string_equal(text, expected);
}

static void test_run_as_json(void **state)
{
    RunRecord run = files_run();
    char *warnings[] = { (char *)"bad \xff byte" };
    run.warnings = warnings;
    run.warning_count = 1;
    json_t *object = record_run(&run);
    assert_json(object, "outcome", "\"succeeded\"");
    assert_json(object, "started_at", "\"1970-01-01T00:00:01.000Z\"");
    assert_json(object, "duration_s", "0.4");
    assert_json(object, "error", "null");
    assert_json(object, "warnings", "[\"bad \\\\xFF byte\"]");
    assert_json(object, "files_scanned", "5");
    json_decref(object);
    run.has_files = false;
    run.outcome = NULL;
    run.finished_ms = 0;
    object = record_run(&run);
    assert_json(object, "outcome", "null");
    assert_json(object, "finished_at", "null");
    assert_json(object, "duration_s", "null");
    assert_json(object, "files_scanned", "null");
    json_decref(object);
}

static void test_progress_as_json(void **state)
{
    SyncProgress progress = { .rows = 7, .bytes = 8, .phase = "loading" };
    json_t *object = record_progress("r", &progress);
    assert_json(object, "bytes_total", "null");
    assert_json(object, "file", "null");
    assert_json(object, "phase", "\"loading\"");
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_summary_of_success),
                                        cmocka_unit_test(test_summary_of_the_rest), cmocka_unit_test(test_run_as_json),
                                        cmocka_unit_test(test_progress_as_json) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
