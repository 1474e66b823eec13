/* The ledger of files: their states, requeueing by name and by failure, doubt, and what a large ledger costs. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store-fixture.h"

/* HASH: 64 times one digit. */
static void put_file(Store *store, const char *connection, const char *name, char digit, FileState file_state,
                     uint32_t attempts)
{
    FileRecord file = {
        .name = (char *)name, .state = file_state, .attempts = attempts, .rows = -1, .error = (char *)"e"
    };
    memset(file.hash, digit, sizeof file.hash - 1);
    assert_int_equal(store_file_put(store, connection, &file, NULL), 0);
}

static FileRecord get_file(Store *store, const char *connection, char digit)
{
    char hash[SHA256_TEXT_SIZE] = "";
    FileRecord file = { 0 };
    memset(hash, digit, sizeof hash - 1);
    assert_int_equal(store_file_get(store, connection, hash, &file, NULL), 0);
    assert_string_equal(file.hash, hash);
    return file;
}

static void assert_file(Store *store, char digit, FileState file_state, uint32_t attempts, bool forced)
{
    _cleanup_(file_record_clear) FileRecord file = get_file(store, "a", digit);
    assert_string_equal(file_state_name(file.state), file_state_name(file_state));
    assert_int_equal(file.attempts, attempts);
    assert_int_equal(file.forced, forced);
}

static int see_file(const FileRecord *file, void *userdata)
{
    Seen *seen = userdata;
    size_t length = strlen(seen->text);
    (void)snprintf(seen->text + length, sizeof seen->text - length, "%s=%c:%s ", file->name, file->hash[0],
                   file_state_name(file->state));
    return 0;
}

static void assert_files(Store *store, bool failed_only, const char *expected)
{
    Seen seen = { 0 };
    assert_int_equal(store_files(store, "a", failed_only, see_file, &seen, NULL), 0);
    assert_string_equal(seen.text, expected);
}

static void test_files(void **state)
{
    Store *store = open_store();
    FileRecord none = { 0 };
    assert_int_equal(
        store_file_get(store, "a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &none, NULL),
        STORE_E_NOT_FOUND);
    put_file(store, "a", "b.csv", '1', FILE_STATE_COMMITTED, 0);
    put_file(store, "a", "a\\xff.csv", '2', FILE_STATE_FAILED, 3);
    put_file(store, "other", "b.csv", '1', FILE_STATE_FAILED, 1); /* the same content is another file there */
    assert_files(store, false, "a\\xff.csv=2:FAILED b.csv=1:COMMITTED ");
    assert_files(store, true, "a\\xff.csv=2:FAILED ");
    FileRecord changed = get_file(store, "a", '2');
    changed.state = FILE_STATE_COMMITTED;
    changed.rows = 12;
    changed.forced = changed.doubted = true;
    free(changed.last_run_id);
    changed.last_run_id = xstrdup("run");
    changed.updated_ms = 99;
    assert_int_equal(store_file_put(store, "a", &changed, NULL), 0);
    file_record_clear(&changed);
    store_close(store);
    store = open_store();
    changed = get_file(store, "a", '2');
    assert_string_equal(changed.name, "a\\xff.csv");
    assert_string_equal(changed.error, "e");
    assert_string_equal(changed.last_run_id, "run");
    assert_true(changed.rows == 12 && changed.forced && changed.doubted && changed.updated_ms == 99);
    file_record_clear(&changed);
    store_close(store);
}

static void test_reclaim(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    put_file(store, "a", "1", '1', FILE_STATE_PROCESSING, 2);
    put_file(store, "a", "2", '2', FILE_STATE_PROCESSING, 0);
    put_file(store, "a", "3", '3', FILE_STATE_COMMITTED, 0);
    put_file(store, "b", "1", '1', FILE_STATE_PROCESSING, 0);
    int64_t n;
    assert_int_equal(store_files_reclaim(store, "a", &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_file(store, '1', FILE_STATE_PENDING, 2, false);
    assert_file(store, '3', FILE_STATE_COMMITTED, 0, false);
    _cleanup_(file_record_clear) FileRecord other = get_file(store, "b", '1');
    assert_int_equal(other.state, FILE_STATE_PROCESSING);
    assert_int_equal(store_files_reclaim(store, "a", &n, NULL), 0);
    assert_int_equal(n, 0);
}

static void test_requeue_by_name(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    int64_t n;
    assert_int_equal(store_files_requeue(store, "a", "orders.csv", &n, NULL), STORE_E_NOT_FOUND);
    put_file(store, "a", "orders.csv", '1', FILE_STATE_COMMITTED, 0); /* last week's */
    put_file(store, "a", "orders.csv", '2', FILE_STATE_COMMITTED, 1); /* today's */
    assert_int_equal(store_files_requeue(store, "a", "orders.csv", &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_file(store, '1', FILE_STATE_COMMITTED, 0, false);
    assert_file(store, '2', FILE_STATE_PENDING, 0, true);
    assert_int_equal(store_files_requeue(store, "a", "orders.csv", &n, NULL), 0); /* again: still forced */
    assert_file(store, '2', FILE_STATE_PENDING, 0, true);
    /* the older content comes back under the name */
    bool news;
    assert_int_equal(store_file_seen(store, "a", "orders.csv",
                                     "1111111111111111111111111111111111111111111111111111111111111111", &news, NULL),
                     0);
    assert_true(news);
    assert_int_equal(store_files_requeue(store, "a", "orders.csv", &n, NULL), 0);
    assert_file(store, '1', FILE_STATE_PENDING, 0, true);
}

static void test_requeue_by_another_name(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    int64_t n;
    bool news;
    const char *hash = "1111111111111111111111111111111111111111111111111111111111111111";
    put_file(store, "a", "orders.csv", '1', FILE_STATE_COMMITTED, 0);
    assert_int_equal(store_file_seen(store, "a", "orders.csv", hash, &news, NULL), 0);
    assert_false(news);
    assert_int_equal(store_file_seen(store, "a", "copy.csv", hash, &news, NULL), 0);
    assert_true(news);
    assert_int_equal(store_file_seen(store, "a", "copy.csv", hash, &news, NULL), 0);
    assert_false(news);
    assert_int_equal(store_files_requeue(store, "a", "copy.csv", &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_file(store, '1', FILE_STATE_PENDING, 0, true);
    put_file(store, "a", "orders.csv", '1', FILE_STATE_PROCESSING, 0); /* being loaded: left to its run */
    assert_int_equal(store_files_requeue(store, "a", "copy.csv", &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_file(store, '1', FILE_STATE_PROCESSING, 0, false);
}

static void test_requeue_all_failed(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    int64_t n;
    put_file(store, "a", "1.csv", '1', FILE_STATE_FAILED, 3);
    put_file(store, "a", "2.csv", '2', FILE_STATE_FAILED, 1);
    put_file(store, "a", "3.csv", '3', FILE_STATE_COMMITTED, 0);
    put_file(store, "b", "1.csv", '1', FILE_STATE_FAILED, 3);
    assert_int_equal(store_files_requeue(store, "a", NULL, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_file(store, '1', FILE_STATE_PENDING, 0, false);
    assert_file(store, '2', FILE_STATE_PENDING, 0, false);
    assert_file(store, '3', FILE_STATE_COMMITTED, 0, false);
    _cleanup_(file_record_clear) FileRecord file = get_file(store, "a", '1'), other = get_file(store, "b", '1');
    assert_null(file.error);
    assert_int_equal(other.state, FILE_STATE_FAILED);
    assert_int_equal(store_files_requeue(store, "a", NULL, &n, NULL), 0);
    assert_int_equal(n, 0);
}

/* Once a repaired file has taken its name, a failure is history. */
static void test_failed_is_superseded(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    int64_t n;
    put_file(store, "a", "1.csv", '1', FILE_STATE_FAILED, 3);
    put_file(store, "a", "2.csv", '2', FILE_STATE_FAILED, 1);
    assert_int_equal(store_files_at_cap(store, "a", 3, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_int_equal(store_files_at_cap(store, "a", 0, &n, NULL), 0); /* counts as 1 */
    assert_int_equal(n, 2);
    put_file(store, "a", "1.csv", '4', FILE_STATE_COMMITTED, 0);
    assert_files(store, true, "2.csv=2:FAILED ");
    assert_int_equal(store_files_at_cap(store, "a", 3, &n, NULL), 0);
    assert_int_equal(n, 0);
    assert_int_equal(store_files_requeue(store, "a", NULL, &n, NULL), 0);
    assert_int_equal(n, 1);
    assert_file(store, '1', FILE_STATE_FAILED, 3, false);
}

static void test_doubt(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    put_file(store, "a", "1.csv", '1', FILE_STATE_COMMITTED, 0);
    put_file(store, "a", "2.csv", '2', FILE_STATE_COMMITTED, 0);
    put_file(store, "b", "1.csv", '1', FILE_STATE_COMMITTED, 0);
    assert_int_equal(store_files_doubt(store, "a", NULL), 0);
    assert_int_equal(
        store_file_trust(store, "a", "2222222222222222222222222222222222222222222222222222222222222222", NULL), 0);
    _cleanup_(file_record_clear) FileRecord one = get_file(store, "a", '1'), two = get_file(store, "a", '2'),
                                            other = get_file(store, "b", '1');
    assert_true(one.doubted);
    assert_false(two.doubted || other.doubted);
}

enum { STEPS = 100 };
static uint64_t steps;

static int count_steps(void *context)
{
    steps += STEPS;
    return 0;
}

/* An entry point of an extension: SQLite calls it for each database that is opened. */
static int count_steps_of(sqlite3 *database, char **error, const struct sqlite3_api_routines *routines)
{
    sqlite3_progress_handler(database, STEPS, count_steps, NULL);
    return SQLITE_OK;
}

/* What is asked after each run costs what it finds, in steps of SQLite's machine, not what the ledger holds. */
static void test_large_ledger(void **state)
{
    enum { LEDGER = 30000, RUNS = 100 };
    assert_int_equal(sqlite3_auto_extension((void (*)(void))count_steps_of), SQLITE_OK);
    _cleanup_(store_closep) Store *store = open_store();
    sqlite3_reset_auto_extension();
    assert_int_equal(store_begin(store, NULL), 0);
    for (int i = 0; i < LEDGER; i++) {
        char name[16];
        FileRecord file = { .name = name, .state = FILE_STATE_COMMITTED, .rows = -1 };
        (void)snprintf(name, sizeof name, "%d.csv", i);
        (void)snprintf(file.hash, sizeof file.hash, "%064x", (unsigned)i);
        assert_int_equal(store_file_put(store, "a", &file, NULL), 0);
    }
    assert_int_equal(store_commit(store, NULL), 0);
    assert_true(steps > LEDGER); /* they are counted */
    put_file(store, "a", "bad.csv", 'f', FILE_STATE_FAILED, 3);
    steps = 0;
    for (int i = 0; i < RUNS; i++) {
        int64_t n;
        assert_int_equal(store_files_at_cap(store, "a", 3, &n, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(store_files_reclaim(store, "a", &n, NULL), 0);
        assert_files(store, true, "bad.csv=f:FAILED ");
        assert_int_equal(store_files_requeue(store, "a", "77.csv", &n, NULL), 0);
        assert_int_equal(n, 1);
    }
    assert_in_range(steps, 1, RUNS * 2000); /* a walk through them all is 100,000 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_files),
        store_test(test_reclaim),
        store_test(test_requeue_by_name),
        store_test(test_requeue_by_another_name),
        store_test(test_requeue_all_failed),
        store_test(test_failed_is_superseded),
        store_test(test_doubt),
        store_test(test_large_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
