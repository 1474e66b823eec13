/*
 * The state database and the disk: what it says where that is full, read-only or locked, what it has made sure is on
 * it, and how much of it the log takes.
 *
 * fsync() and fdatasync() are counted by defining them here, in front of the C library's: SQLite calls these.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store-fixture.h"

static size_t syncs;

int fsync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

/* --- a disk that is full, a folder that cannot be written, a lock --- */

static void test_file_size_limit(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    put_schedule(store, "orders", ran);
    struct rlimit limit, before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 64 << 10;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    _cleanup_(freep) char *state_text = xcalloc(1, 200001);
    memset(state_text, 's', 200000);
    _cleanup_(error_clear) Error error = { 0 };
    int r = store_connection_put_state(store, "orders", 7, "run", state_text, &error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_failed(r, &error, ERROR_TEMPORARY, "large");
    /* nothing of it is there, and the store goes on */
    _cleanup_(stored_connection_clear) StoredConnection connection = { 0 };
    assert_int_equal(store_connection_get(store, "orders", &connection, NULL), 0);
    assert_null(connection.state);
    assert_int_equal(store_connection_put_state(store, "orders", 7, "run", state_text, NULL), 0);
}

/* In a process with mounts of its own; 77: not allowed here. */
static int on_tmpfs(int (*body)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 ||
            mkdir(in_folder("state"), 0755) < 0 || mount("tmpfs", in_folder("state"), "tmpfs", 0, "size=300k") < 0)
            _exit(77);
        _exit(body());
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int says_disk_full(int result, const Error *error)
{
    if (result == -1 && error->kind == ERROR_TEMPORARY && strstr(error->message, "the disk is full") &&
        strstr(error->message, "/state/daemon/state.db\""))
        return 0;
    fprintf(stderr, "result %d, message %s\n", result, error->message ? error->message : "none");
    return 1;
}

static int disk_full_in_use(void)
{
    Store *store = NULL;
    Error error = { 0 };
    ScheduleEntry entry = ran;
    if (store_open(in_folder("state"), &store, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    char *text = xcalloc(1, 400001);
    memset(text, 's', 400000);
    int r = store_connection_put_schedule(store, "orders", &entry, false, true, &error);
    if (r == 0)
        r = store_connection_put_state(store, "orders", 7, "run", text, &error);
    if (says_disk_full(r, &error) != 0)
        return 1;
    StoredConnection connection = { 0 };
    if (store_connection_get(store, "orders", &connection, NULL) != 0 || !connection.schedule.ever_ran ||
        connection.state)
        return 2;
    entry.failures = 3; /* small things still fit */
    if (store_connection_put_schedule(store, "orders", &entry, false, true, NULL) != 0)
        return 3;
    stored_connection_clear(&connection);
    store_close(store);
    free(text);
    error_clear(&error);
    return 0;
}

static int disk_full_at_open(void)
{
    char *fill = xcalloc(1, 300 << 10);
    int fd = open(in_folder("state/fill"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    for (ssize_t n = 300 << 10; (n = write(fd, fill, (size_t)n)) > 0;)
        ;
    close(fd);
    free(fill);
    Store *store = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    return says_disk_full(store_open(in_folder("state"), &store, &error), &error);
}

static int read_only(void)
{
    Store *store = NULL;
    _cleanup_(error_clear) Error error = { 0 };
    if (store_open(in_folder("state"), &store, &error) != 0)
        return 1;
    store_close(store);
    if (mount("none", in_folder("state"), "none", MS_REMOUNT | MS_RDONLY, NULL) < 0)
        return 77;
    int r = store_open(in_folder("state"), &store, &error);
    if (r == -1 && error.kind == ERROR_TEMPORARY && strstr(error.message, "/state/daemon") &&
        strcasestr(error.message, "read-only") && strstr(error.message, "--state-dir"))
        return 0;
    fprintf(stderr, "result %d, message %s\n", r, error.message ? error.message : "none");
    return 1;
}

static void run_on_tmpfs(int (*body)(void))
{
    int status = on_tmpfs(body);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

static void test_disk_full_in_use(void **state)
{
    run_on_tmpfs(disk_full_in_use);
}

static void test_disk_full_at_open(void **state)
{
    run_on_tmpfs(disk_full_at_open);
}

static void test_read_only(void **state)
{
    run_on_tmpfs(read_only);
}

static void test_locked_by_another_program(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    sqlite3 *other;
    assert_int_equal(sqlite3_open(in_folder("state/daemon/state.db"), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    _cleanup_(error_clear) Error error = { 0 };
    ScheduleEntry entry = ran;
    int r = store_connection_put_schedule(store, "orders", &entry, false, false, &error);
    assert_failed(r, &error, ERROR_TEMPORARY, "is locked; end the other program");
    _cleanup_(error_clear) Error second = { 0 };
    assert_failed(store_begin(store, &second), &second, ERROR_TEMPORARY, "is locked");
    sqlite3_close(other);
    put_schedule(store, "orders", ran);
}

/* --- durability --- */

static void test_orders_are_durable(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    ScheduleEntry entry = ran;
    put_schedule(store, "orders", entry);
    size_t before = syncs;
    for (int i = 0; i < 50; i++)
        put_schedule(store, "orders", entry);
    assert_int_equal(syncs, before); /* routine costs none */
    entry.paused = true;
    assert_int_equal(store_connection_put_schedule(store, "orders", &entry, true, true, NULL), 0);
    assert_int_equal(syncs, before + 1);
    /* in a transaction: when it commits, not before */
    before = syncs;
    assert_int_equal(store_begin(store, NULL), 0);
    assert_int_equal(store_connection_put_schedule(store, "orders", &entry, true, true, NULL), 0);
    assert_int_equal(syncs, before);
    assert_int_equal(store_commit(store, NULL), 0);
    assert_int_equal(syncs, before + 1);
    int64_t n;
    assert_int_equal(store_files_requeue(store, "orders", NULL, &n, NULL), 0);
    assert_int_equal(syncs, before + 2);
}

/* The log is bounded however much is written. */
static void test_log_is_bounded(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    for (int i = 0; i < 20000; i++) {
        ScheduleEntry entry = { .ever_ran = true, .last_slot_ms = i };
        char name[16];
        (void)snprintf(name, sizeof name, "c%d", i % 100);
        put_schedule(store, name, entry);
    }
    struct stat status;
    assert_int_equal(stat(in_folder("state/daemon/state.db-wal"), &status), 0);
    assert_true(status.st_size < 8 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(test_file_size_limit),
        store_test(test_disk_full_in_use),
        store_test(test_disk_full_at_open),
        store_test(test_read_only),
        store_test(test_locked_by_another_program),
        store_test(test_orders_are_durable),
        store_test(test_log_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
