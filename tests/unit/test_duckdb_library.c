/* Finding and loading DuckDB's library: the real one, none, and one that is something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/system/duckdb-library.h"

static void test_the_real_one_runs_a_query(void **state)
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(duckdb_library_freep) DuckdbLibrary *duckdb = NULL;
    int r = duckdb_library_load(NULL, &duckdb, &error);
    if (r < 0)
        fail_msg("%s", error.message);
    assert_non_null(strstr(duckdb->path, "libduckdb.so"));
    assert_int_equal(duckdb->version[0], 'v');

    duckdb_database database;
    duckdb_connection connection;
    duckdb_result result;
    assert_int_equal(duckdb->open_ext(":memory:", &database, NULL, NULL), DuckDBSuccess);
    assert_int_equal(duckdb->connect(database, &connection), DuckDBSuccess);
    assert_int_equal(duckdb->query(connection, "SELECT 6 * 7::BIGINT", &result), DuckDBSuccess);
    duckdb_data_chunk chunk = duckdb->fetch_chunk(result);
    assert_non_null(chunk);
    assert_int_equal(*(int64_t *)duckdb->vector_get_data(duckdb->data_chunk_get_vector(chunk, 0)), 42);
    duckdb->destroy_data_chunk(&chunk);
    duckdb->destroy_result(&result);
    /* what it throws inside comes out as an error */
    assert_int_equal(duckdb->query(connection, "SELECT 1 / 'x'::INTEGER", &result), DuckDBError);
    assert_non_null(strstr(duckdb->result_error(&result), "Could not convert string 'x'"));
    duckdb->destroy_result(&result);
    duckdb->disconnect(&connection);
    duckdb->close(&database);
}

static void assert_refused(const char *path, const char *message)
{
    _cleanup_(error_clear) Error error = { 0 };
    DuckdbLibrary *duckdb = NULL;
    assert_int_equal(duckdb_library_load(path, &duckdb, &error), -1);
    assert_null(duckdb);
    assert_int_equal(error.kind, ERROR_CONFIGURATION);
    if (!strstr(error.message, message))
        fail_msg("\"%s\" is not in \"%s\"", message, error.message);
}

static void test_a_path_that_is_not_there(void **state)
{
    assert_refused("/nowhere/libduckdb.so",
                   "DuckDB's library \"/nowhere/libduckdb.so\" cannot be loaded: /nowhere/libduckdb.so: cannot open "
                   "shared object file: No such file or directory");
}

static void test_another_library(void **state)
{
    assert_refused("libm.so.6", "\"libm.so.6\" (no DuckDB) cannot be used, since it has no duckdb_library_version: get "
                                "it with \"subprojects/fetch duckdb\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_real_one_runs_a_query),
        cmocka_unit_test(test_a_path_that_is_not_there),
        cmocka_unit_test(test_another_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
