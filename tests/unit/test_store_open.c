/*
 * What opening the state database comes to: the folders and modes it makes, the second daemon and the foreign files it
 * refuses, and the damaged database that it sets aside for a new one.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store-fixture.h"

/* What opening says; the caller frees. */
static char *refusal(int expected, ErrorKind kind)
{
    Store *store = NULL;
    Error error = { 0 };
    assert_int_equal(store_open(in_folder("state"), &store, &error), expected);
    assert_null(store);
    assert_int_equal(error.kind, kind);
    char *message = xstrdup(error.message);
    error_clear(&error);
    return message;
}

static void write_file(const char *path, const void *data, size_t n, off_t at)
{
    _cleanup_(close_fdp) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, n, at), n);
}

/* Another program with the database open. */
static void execute_elsewhere(const char *path, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    char *message = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- opening --- */

static void test_folders_and_modes(void **state)
{
    _cleanup_(store_closep) Store *store = NULL;
    Error error = { 0 };
    mode_t mask = umask(0);
    int r = store_open(in_folder("a/b/c"), &store, &error);
    umask(mask);
    assert_int_equal(r, 0);
    put_schedule(store, "orders", ran);
    static const struct {
        const char *name;
        mode_t mode;
    } expected[] = { { "a/b/c/daemon", 0700 },
                     { "a/b/c/daemon/state.db", 0600 },
                     { "a/b/c/daemon/state.db-wal", 0600 },
                     { "a/b/c/daemon/state.db-shm", 0600 },
                     { "a/b/c/daemon/lock", 0600 } };
    for (size_t i = 0; i < ELEMENTSOF(expected); i++) {
        struct stat status;
        assert_int_equal(stat(in_folder(expected[i].name), &status), 0);
        assert_int_equal(status.st_mode & 0777, expected[i].mode);
    }
    assert_null(store_warning(store));
}

static void test_open_modes_are_mended(void **state)
{
    store_close(open_store());
    assert_int_equal(chmod(in_folder("state/daemon"), 0755), 0);
    assert_int_equal(chmod(in_folder("state/daemon/state.db"), 0644), 0);
    store_close(open_store());
    struct stat status;
    assert_int_equal(stat(in_folder("state/daemon"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(in_folder("state/daemon/state.db"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_second_daemon_is_refused(void **state)
{
    Store *store = open_store();
    _cleanup_(freep) char *message = refusal(STORE_E_LOCKED, ERROR_CONFIGURATION);
    _cleanup_(freep) char *pid = xasprintf("(pid %d)", (int)getpid());
    assert_contains(message, in_folder("state"));
    assert_contains(message, pid);
    assert_contains(message, "\"wherryctl sync\"");
    put_schedule(store, "orders", ran); /* the first is not disturbed */
    store_close(store);
    store_close(open_store());
}

/* The lock goes with the process, however it ends, and what it wrote is there. */
static void test_lock_of_a_killed_daemon(void **state)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        Store *store = NULL;
        ScheduleEntry entry = ran;
        if (store_open(in_folder("state"), &store, NULL) == 0 &&
            store_connection_put_schedule(store, "orders", &entry, false, false, NULL) == 0)
            (void)!write(ready[1], "", 1);
        pause();
        _exit(1);
    }
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    _cleanup_(freep) char *message = refusal(STORE_E_LOCKED, ERROR_CONFIGURATION);
    _cleanup_(freep) char *expected = xasprintf("(pid %d)", (int)pid);
    assert_contains(message, expected);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(ready[0]);
    close(ready[1]);
    _cleanup_(store_closep) Store *store = open_store();
    _cleanup_(stored_connection_clear) StoredConnection connection = { 0 };
    assert_int_equal(store_connection_get(store, "orders", &connection, NULL), 0);
    assert_true(connection.schedule.ever_ran);
}

static void test_not_through_symbolic_links(void **state)
{
    assert_int_equal(mkdir(in_folder("state"), 0755), 0);
    assert_int_equal(mkdir(in_folder("elsewhere"), 0755), 0);
    assert_int_equal(symlink("../elsewhere", in_folder("state/daemon")), 0);
    _cleanup_(freep) char *message = refusal(-1, ERROR_TEMPORARY);
    assert_contains(message, in_folder("state/daemon"));
    assert_int_equal(unlink(in_folder("state/daemon")), 0);
    assert_int_equal(mkdir(in_folder("state/daemon"), 0700), 0);
    assert_int_equal(symlink("/etc/passwd", in_folder("state/daemon/state.db")), 0);
    _cleanup_(freep) char *second = refusal(-1, ERROR_TEMPORARY);
    assert_contains(second, in_folder("state/daemon/state.db"));
}

static void test_folder_in_its_place(void **state)
{
    store_close(open_store());
    assert_int_equal(unlink(in_folder("state/daemon/state.db")), 0);
    assert_int_equal(mkdir(in_folder("state/daemon/state.db"), 0700), 0);
    _cleanup_(freep) char *message = refusal(-1, ERROR_TEMPORARY);
    assert_contains(message, "/daemon/state.db\": is a directory");
}

static void test_file_as_state_dir(void **state)
{
    write_file(in_folder("state"), "x", 1, 0);
    _cleanup_(freep) char *message = refusal(-1, ERROR_TEMPORARY);
    assert_contains(message, "cannot create folder");
}

/* --- databases that are not ours, or damaged --- */

static size_t count_aside(const char *suffix)
{
    DIR *directory = opendir(in_folder("state/daemon"));
    assert_non_null(directory);
    size_t n = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        size_t length = strlen(entry->d_name), tail = strlen(suffix);
        n += strncmp(entry->d_name, "state.db.corrupt-", 17) == 0 && length > tail &&
             strcmp(entry->d_name + length - tail, suffix) == 0;
    }
    closedir(directory);
    return n;
}

static void assert_set_aside(const char *why)
{
    Store *store = open_store();
    assert_contains(store_warning(store), why);
    assert_contains(store_warning(store), in_folder("state/daemon/state.db.corrupt-"));
    assert_contains(store_warning(store), "data is not");
    assert_int_equal(connections_in(store), 0);
    put_schedule(store, "orders", ran);
    store_close(store);
    store = open_store(); /* and that one is fine */
    assert_null(store_warning(store));
    assert_int_equal(connections_in(store), 1);
    store_close(store);
    assert_int_equal(count_aside("Z"), 1);
}

static void test_garbage(void **state)
{
    store_close(open_store());
    char garbage[8192];
    memset(garbage, 'x', sizeof garbage);
    write_file(in_folder("state/daemon/state.db"), garbage, sizeof garbage, 0);
    assert_set_aside("file is not a database");
}

/* A log left beside a new database would be replayed into it. */
static void test_garbage_with_a_log(void **state)
{
    Store *before = open_store();
    put_schedule(before, "orders", ran);
    store_close(before); /* the first page is in the database, and not in the next log */
    pid_t pid = fork();
    if (pid == 0) { /* dies with its last words in the log */
        Store *store = NULL;
        ScheduleEntry entry = ran;
        entry.failures = 1;
        if (store_open(in_folder("state"), &store, NULL) == 0)
            (void)store_connection_put_schedule(store, "orders", &entry, false, false, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct stat status;
    assert_int_equal(stat(in_folder("state/daemon/state.db-wal"), &status), 0);
    assert_true(status.st_size > 0);
    char garbage[4096];
    memset(garbage, 'x', sizeof garbage);
    write_file(in_folder("state/daemon/state.db"), garbage, sizeof garbage, 0);
    assert_set_aside("file is not a database");
    assert_int_equal(count_aside("Z-wal"), 1);
}

static void test_truncated(void **state)
{
    Store *store = open_store();
    for (int i = 0; i < 2000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i);
        put_schedule(store, name, ran);
    }
    store_close(store);
    struct stat status;
    assert_int_equal(stat(in_folder("state/daemon/state.db"), &status), 0);
    assert_true(status.st_size > 100000);
    assert_int_equal(truncate(in_folder("state/daemon/state.db"), status.st_size / 2), 0);
    assert_set_aside("malformed");
}

/* In the ledger, which the start does not need. */
static void test_damaged_page(void **state)
{
    Store *store = open_store();
    put_schedule(store, "orders", ran);
    assert_int_equal(store_begin(store, NULL), 0);
    for (int i = 0; i < 1000; i++) {
        FileRecord file = { .name = (char *)"x.csv", .rows = -1 };
        (void)snprintf(file.hash, sizeof file.hash, "%064x", (unsigned)i);
        assert_int_equal(store_file_put(store, "orders", &file, NULL), 0);
    }
    assert_int_equal(store_commit(store, NULL), 0);
    store_close(store);
    struct stat status;
    assert_int_equal(stat(in_folder("state/daemon/state.db"), &status), 0);
    char garbage[4096];
    memset(garbage, 0xa5, sizeof garbage);
    write_file(in_folder("state/daemon/state.db"), garbage, sizeof garbage, status.st_size / 4096 / 2 * 4096);
    assert_set_aside("was damaged");
}

static void test_marked_as_damaged(void **state)
{
    store_close(open_store());
    write_file(in_folder("state/daemon/state.db.damaged"), "", 0, 0);
    assert_set_aside("found while it was in use");
}

static void test_of_another_program(void **state)
{
    store_close(open_store());
    assert_int_equal(unlink(in_folder("state/daemon/state.db")), 0);
    execute_elsewhere(in_folder("state/daemon/state.db"), "CREATE TABLE orders (id)");
    assert_set_aside("another program's database");
}

static void test_table_missing(void **state)
{
    store_close(open_store());
    execute_elsewhere(in_folder("state/daemon/state.db"), "DROP TABLE runs");
    assert_set_aside("no such table: runs");
}

static void test_later_version(void **state)
{
    store_close(open_store());
    execute_elsewhere(in_folder("state/daemon/state.db"), "PRAGMA user_version = 99");
    _cleanup_(freep) char *message = refusal(-1, ERROR_CONFIGURATION);
    assert_contains(message, "later version of wherryd (schema 99, this one knows 2)");
    assert_contains(message, in_folder("state/daemon/state.db"));
    assert_int_equal(count_aside(""), 0);
}

static void test_empty_file(void **state)
{
    store_close(open_store());
    assert_int_equal(truncate(in_folder("state/daemon/state.db"), 0), 0);
    Store *store = open_store();
    assert_null(store_warning(store));
    store_close(store);
}

/* Damage that shows only in use: the error says so, and the next start sets the database aside. */
static void test_damaged_in_use(void **state)
{
    Store *store = open_store();
    char text[2001] = "";
    memset(text, 's', 2000); /* in all more than the page cache holds */
    assert_int_equal(store_begin(store, NULL), 0);
    for (int i = 0; i < 2000; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i);
        assert_int_equal(store_connection_put_state(store, name, 1, "run", text, NULL), 0);
    }
    assert_int_equal(store_commit(store, NULL), 0);
    store_close(store);
    store = open_store();
    struct stat status;
    assert_int_equal(stat(in_folder("state/daemon/state.db"), &status), 0);
    _cleanup_(freep) char *garbage = xcalloc(1, (size_t)status.st_size);
    memset(garbage, 0xa5, (size_t)status.st_size);
    write_file(in_folder("state/daemon/state.db"), garbage, (size_t)status.st_size - 4096, 4096);
    int r = 0;
    _cleanup_(error_clear) Error error = { 0 };
    for (int i = 0; i < 2000 && r >= 0; i++) {
        _cleanup_(stored_connection_clear) StoredConnection connection = { 0 };
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i);
        r = store_connection_get(store, name, &connection, &error);
    }
    assert_failed(r, &error, ERROR_INTERNAL, "restart wherryd");
    store_close(store);
    assert_set_aside("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_folders_and_modes),
        store_test(test_open_modes_are_mended),
        store_test(test_second_daemon_is_refused),
        store_test(test_lock_of_a_killed_daemon),
        store_test(test_not_through_symbolic_links),
        store_test(test_folder_in_its_place),
        store_test(test_file_as_state_dir),
        store_test(test_garbage),
        store_test(test_garbage_with_a_log),
        store_test(test_truncated),
        store_test(test_damaged_page),
        store_test(test_marked_as_damaged),
        store_test(test_of_another_program),
        store_test(test_table_missing),
        store_test(test_later_version),
        store_test(test_empty_file),
        store_test(test_damaged_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
