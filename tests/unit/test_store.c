/*
 * The state database on a real file system: what it keeps over a restart, what it refuses, what it sets aside, and what
 * it says when the disk is full.
 *
 * fsync() and fdatasync() are counted by defining them here, in front of the C library's: SQLite calls these.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/wherryd/store.h"
#include "lib/basics/buffer.h"

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

/* --- a folder for each test --- */

static char folder[64];

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)chmod(path, 0700);
    return remove(path);
}

static int set_up(void **state)
{
    (void)snprintf(folder, sizeof folder, "/tmp/wherry-store-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Valid until the fourth call after it. */
static const char *in_folder(const char *name)
{
    static char paths[4][512];
    static size_t turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static Store *open_store(void)
{
    Store *store = NULL;
    Error error = { 0 };
    int r = store_open(in_folder("state"), &store, &error);
    if (r != 0)
        fail_msg("store_open() is %d: %s", r, error.message);
    return store;
}

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

static void assert_contains(const char *text, const char *part)
{
    if (!text || !strcasestr(text, part))
        fail_msg("\"%s\" does not contain \"%s\"", text ? text : "(null)", part);
}

static void assert_failed(int result, const Error *error, ErrorKind kind, const char *part)
{
    assert_int_equal(result, -1);
    assert_int_equal(error->kind, kind);
    assert_contains(error->message, part);
    assert_contains(error->message, "/daemon/state.db\"");
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

static void put_schedule(Store *store, const char *name, ScheduleEntry entry)
{
    assert_int_equal(store_connection_put_schedule(store, name, &entry, false, false, NULL), 0);
}

static const ScheduleEntry ran = {
    .ever_ran = true, .last_slot_ms = 123456789012, .retry_at_ms = SCHEDULE_NEVER, .failures = UINT32_MAX
};

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

static int count_connection(StoredConnection *connection, void *userdata)
{
    ++*(size_t *)userdata;
    return 0;
}

static size_t connections_in(Store *store)
{
    size_t n = 0;
    assert_int_equal(store_connection_each(store, count_connection, &n, NULL), 0);
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

/* --- runs --- */

static RunRecord run_named(const char *run_id, const char *connection, int64_t started_ms)
{
    RunRecord run = { .connection = (char *)connection, .trigger = (char *)"schedule", .started_ms = started_ms };
    (void)snprintf(run.run_id, sizeof run.run_id, "%s", run_id);
    return run;
}

typedef struct Seen {
    char text[4096];
    size_t count;
} Seen;

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

/* --- the ledger --- */

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

/* What is asked after each run costs what it finds, not what the ledger holds. */
static void test_large_ledger(void **state)
{
    _cleanup_(store_closep) Store *store = open_store();
    assert_int_equal(store_begin(store, NULL), 0);
    for (int i = 0; i < 30000; i++) {
        char name[16];
        FileRecord file = { .name = name, .state = FILE_STATE_COMMITTED, .rows = -1 };
        (void)snprintf(name, sizeof name, "%d.csv", i);
        (void)snprintf(file.hash, sizeof file.hash, "%064x", (unsigned)i);
        assert_int_equal(store_file_put(store, "a", &file, NULL), 0);
    }
    assert_int_equal(store_commit(store, NULL), 0);
    put_file(store, "a", "bad.csv", 'f', FILE_STATE_FAILED, 3);
    clock_t begin = clock();
    for (int i = 0; i < 1000; i++) {
        int64_t n;
        assert_int_equal(store_files_at_cap(store, "a", 3, &n, NULL), 0);
        assert_int_equal(n, 1);
        assert_int_equal(store_files_reclaim(store, "a", &n, NULL), 0);
        assert_files(store, true, "bad.csv=f:FAILED ");
        assert_int_equal(store_files_requeue(store, "a", "77.csv", &n, NULL), 0);
        assert_int_equal(n, 1);
    }
    assert_true((double)(clock() - begin) / CLOCKS_PER_SEC < 3); /* a walk through them all takes a minute */
}

#define store_test(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

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
        store_test(test_file_size_limit),
        store_test(test_disk_full_in_use),
        store_test(test_disk_full_at_open),
        store_test(test_read_only),
        store_test(test_locked_by_another_program),
        store_test(test_orders_are_durable),
        store_test(test_log_is_bounded),
        store_test(test_transaction),
        store_test(test_failure_takes_all_back),
        store_test(test_connection),
        store_test(test_callbacks_may_call_the_store),
        store_test(test_run),
        store_test(test_runs_are_ordered_and_limited),
        store_test(test_runs_are_pruned),
        store_test(test_abandoned_runs),
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
