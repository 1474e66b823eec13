/*
 * The way to an open state database: a folder that only the daemon may enter, the lock that makes this daemon the only
 * one, and a file that is ours and readable. What is not is set aside, never repaired and never deleted: what matters
 * is in the destinations.
 *
 * The log goes first when the database is set aside: a log left beside a new database would be replayed into it.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "daemon/wherryd/store-private.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"

#define APPLICATION_ID 0x57485259 /* "WHRY" */
#define BUSY_TIMEOUT_MS 1000      /* of someone looking in with the sqlite3 shell; the loop waits */
#define CHECKED_WHOLE_MAX (32 << 20)
#define DAMAGED_MARK "state.db.damaged"

/* Index i leads from version i to i + 1. Never change one that was released. */
static const char *const migrations[] = {
    "CREATE TABLE connections ("
    "  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    "  paused_known INTEGER NOT NULL DEFAULT 0, paused INTEGER NOT NULL DEFAULT 0,"
    "  ever_ran INTEGER NOT NULL DEFAULT 0, last_slot_ms INTEGER NOT NULL DEFAULT 0,"
    "  retry_at_ms INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,"
    "  last_error TEXT, last_outcome TEXT,"
    "  last_started_ms INTEGER NOT NULL DEFAULT 0, last_rows INTEGER NOT NULL DEFAULT -1) STRICT;"
    /* apart, since it may be large, and the row of a connection is written with every run */
    "CREATE TABLE states ("
    "  connection INTEGER PRIMARY KEY REFERENCES connections (id),"
    "  sequence INTEGER NOT NULL, run_id TEXT, state TEXT) STRICT;"
    /* number counts a connection's runs, so that pruning is a range of an index */
    "CREATE TABLE runs ("
    "  id INTEGER PRIMARY KEY, connection INTEGER NOT NULL REFERENCES connections (id), number INTEGER NOT NULL,"
    "  run_id TEXT NOT NULL UNIQUE, cause TEXT NOT NULL, outcome TEXT,"
    "  started_ms INTEGER NOT NULL, finished_ms INTEGER NOT NULL, duration_ms INTEGER NOT NULL,"
    "  rows_committed INTEGER NOT NULL, bytes_processed INTEGER NOT NULL, checkpoints INTEGER NOT NULL,"
    "  error TEXT, warnings BLOB, has_files INTEGER NOT NULL,"
    "  files_scanned INTEGER, new_files INTEGER, committed INTEGER, failed INTEGER,"
    "  skipped INTEGER, reclaimed INTEGER, retried INTEGER, quarantined_rows INTEGER,"
    "  UNIQUE (connection, number)) STRICT;"
    "CREATE INDEX runs_unfinished ON runs (id) WHERE outcome IS NULL;"
    "CREATE TABLE files ("
    "  connection INTEGER NOT NULL REFERENCES connections (id), hash BLOB NOT NULL, name TEXT NOT NULL,"
    "  state INTEGER NOT NULL, forced INTEGER NOT NULL, doubted INTEGER NOT NULL,"
    "  attempts INTEGER NOT NULL, rows INTEGER NOT NULL,"
    "  error TEXT, run_id TEXT, updated_ms INTEGER NOT NULL,"
    "  PRIMARY KEY (connection, hash)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX files_by_name ON files (connection, name);"
    "CREATE INDEX files_processing ON files (connection) WHERE state = 1;"
    "CREATE INDEX files_failed ON files (connection) WHERE state = 3;"
    /* the newest content of each name; several names may have the same */
    "CREATE TABLE file_names ("
    "  connection INTEGER NOT NULL REFERENCES connections (id), name TEXT NOT NULL, hash BLOB NOT NULL,"
    "  PRIMARY KEY (connection, name)) STRICT, WITHOUT ROWID;",
    /* rows that were set aside, in which file, and whether a user wants them loaded */
    "ALTER TABLE files ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE files ADD COLUMN sidecar TEXT;"
    "ALTER TABLE files ADD COLUMN requeued INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX files_quarantined ON files (connection) WHERE quarantined > 0;",
};
static_assert(FILE_STATE_PROCESSING == 1 && FILE_STATE_FAILED == 3, "the indexes of the ledger name these states");

static int set_errno(Error *error, int errnum, const char *what, const char *path)
{
    (void)error_set_errno(error, ERROR_TEMPORARY, errnum, "%s \"%s\"", what, path);
    if (error && (errnum == EACCES || errnum == EPERM || errnum == EROFS)) {
        _cleanup_(freep) char *message = take_ptr(error->message);
        error->message = xasprintf("%s; make it writable for wherryd, or name another --state-dir", message);
    }
    return -1;
}

static int make_folders(const char *path, Error *error)
{
    _cleanup_(freep) char *part = xstrdup(path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return set_errno(error, errno, "cannot create folder", part);
        *slash = '/';
    }
    if (mkdir(part, 0755) < 0 && errno != EEXIST)
        return set_errno(error, errno, "cannot create state directory", part);
    return 0;
}

int store_prepare_folder(Store *store, const char *state_dir, Error *error)
{
    if (make_folders(state_dir, error) < 0)
        return -1;
    if (mkdir(store->folder, 0700) < 0 && errno != EEXIST)
        return set_errno(error, errno, "cannot create folder", store->folder);
    store->folder_fd = open(store->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (store->folder_fd < 0)
        return set_errno(error, errno, "cannot open folder", store->folder);
    struct stat status;
    if (fstat(store->folder_fd, &status) < 0)
        return set_errno(error, errno, "cannot look at folder", store->folder);
    if ((status.st_mode & 07777) != 0700 && fchmod(store->folder_fd, 0700) < 0)
        return set_errno(error, errno, "cannot make private the folder", store->folder);
    return 0;
}

int store_lock(Store *store, const char *state_dir, Error *error)
{
    char pid[24] = "";
    store->lock_fd = openat(store->folder_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        return set_errno(error, errno, "cannot open the lock in", store->folder);
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        int length = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
        /* only for the message of a second daemon: a full disk does not matter here */
        if (ftruncate(store->lock_fd, 0) < 0 || pwrite(store->lock_fd, pid, (size_t)length, 0) < 0)
            return 0;
        return 0;
    }
    if (errno != EWOULDBLOCK)
        return set_errno(error, errno, "cannot lock", store->folder);
    ssize_t length = pread(store->lock_fd, pid, sizeof pid - 1, 0);
    long other = length > 0 ? strtol(pid, NULL, 10) : 0;
    _cleanup_(freep) char *which = other > 0 ? xasprintf(" (pid %ld)", other) : xstrdup("");
    (void)error_set(error, ERROR_CONFIGURATION,
                    "state directory \"%s\" is in use by another wherryd%s; have a daemon run a connection with "
                    "\"wherryctl sync\", wait for the end of a \"wherryctl run\", or name another --state-dir",
                    state_dir, which);
    return STORE_E_LOCKED;
}

/* Created before SQLite would, with the mode that its log inherits, and never through a symbolic link. */
static int create_file(Store *store, Error *error)
{
    _cleanup_(close_fdp) int fd = openat(store->folder_fd, "state.db", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return set_errno(error, errno, "cannot open state database", store->path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "state database \"%s\" is not a regular file; move it away",
                         store->path);
    if ((status.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0)
        return set_errno(error, errno, "cannot make private the state database", store->path);
    return 0;
}

/* --- opening; a positive result is DAMAGED, and *RET_WHY says why --- */

enum { DAMAGED = 1 };

static int sqlite_result(Store *store, int result, char **ret_why, Error *error)
{
    int code = result & 0xff;
    if (result == SQLITE_OK)
        return 0;
    /* SQLITE_ERROR: our own schema's version, but a table is missing */
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB || code == SQLITE_ERROR) {
        free(*ret_why);
        *ret_why = xstrdup(sqlite3_errmsg(store->db));
        return DAMAGED;
    }
    return store_failed(store, error);
}

/* Runs SQL; the first column of the first row in *RET (NULL: do not care; owned), "" where there is none. */
static int query(Store *store, const char *sql, char **ret, char **ret_why, Error *error)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);
    if (result == SQLITE_OK) {
        result = sqlite3_step(statement);
        if (ret && (result == SQLITE_ROW || result == SQLITE_DONE)) {
            const char *text = result == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
            *ret = xstrdup(text ? text : "");
        }
        result = result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
    }
    int r = sqlite_result(store, result, ret_why, error);
    sqlite3_finalize(statement);
    return r;
}

static int query_integer(Store *store, const char *sql, int64_t *ret, char **ret_why, Error *error)
{
    _cleanup_(freep) char *text = NULL;
    int r = query(store, sql, &text, ret_why, error);
    *ret = text ? strtoll(text, NULL, 10) : 0;
    return r;
}

static int migrate(Store *store, int64_t version, char **ret_why, Error *error)
{
    for (; version < (int64_t)ELEMENTSOF(migrations); version++) {
        _cleanup_(freep) char *sql =
            xasprintf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d; PRAGMA user_version = %" PRId64 "; COMMIT;",
                      migrations[version], APPLICATION_ID, version + 1);
        int r = sqlite_result(store, sqlite3_exec(store->db, sql, NULL, NULL, NULL), ret_why, error);
        if (r != 0)
            return r;
    }
    return 0;
}

static int check_version(Store *store, char **ret_why, Error *error)
{
    int64_t application, version, tables;
    int r = query_integer(store, "PRAGMA application_id", &application, ret_why, error);
    if (r == 0)
        r = query_integer(store, "PRAGMA user_version", &version, ret_why, error);
    if (r == 0)
        r = query_integer(store, "SELECT count(*) FROM sqlite_schema", &tables, ret_why, error);
    if (r != 0)
        return r;
    if (application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0)) {
        *ret_why = xstrdup("it is another program's database");
        return DAMAGED;
    }
    if (version > (int64_t)ELEMENTSOF(migrations))
        return error_set(error, ERROR_CONFIGURATION,
                         "state database \"%s\" was written by a later version of wherryd (schema %" PRId64
                         ", this one knows %zu); install that version, or move the file away: history is lost, data "
                         "is not",
                         store->path, version, ELEMENTSOF(migrations));
    return migrate(store, version, ret_why, error);
}

/* A small database is checked whole, of a large one only what the start needs: the rest is found when it is read. */
static int check_content(Store *store, char **ret_why, Error *error)
{
    struct stat status;
    if (fstatat(store->folder_fd, "state.db", &status, 0) == 0 && status.st_size <= CHECKED_WHOLE_MAX) {
        _cleanup_(freep) char *verdict = NULL;
        int r = query(store, "PRAGMA quick_check(1)", &verdict, ret_why, error);
        if (r == 0 && verdict && strcmp(verdict, "ok") != 0) {
            *ret_why = take_ptr(verdict);
            return DAMAGED;
        }
        if (r != 0)
            return r;
    }
    return query(store,
                 "SELECT sum(length(name) + failures + last_slot_ms) + (SELECT sum(length(state)) FROM states) + "
                 "(SELECT count(*) FROM runs WHERE outcome IS NULL) FROM connections",
                 NULL, ret_why, error);
}

static int set_modes(Store *store, char **ret_why, Error *error)
{
    _cleanup_(freep) char *mode = NULL;
    int r = query(store, "PRAGMA journal_mode = WAL", &mode, ret_why, error);
    if (r != 0)
        return r;
    store->wal = mode && strcmp(mode, "wal") == 0; /* some file systems cannot share memory */
    const char *sql = store->wal ? "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000;"
                                   "PRAGMA journal_size_limit = 4194304; PRAGMA cache_size = -1024"
                                 : "PRAGMA synchronous = FULL; PRAGMA cache_size = -1024";
    return sqlite_result(store, sqlite3_exec(store->db, sql, NULL, NULL, NULL), ret_why, error);
}

static int try_open(Store *store, char **ret_why, Error *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
    int r = sqlite_result(store, sqlite3_open_v2(store->path, &store->db, flags, NULL), ret_why, error);
    if (r == 0)
        r = sqlite_result(store, sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS), ret_why, error);
    if (r == 0 && faccessat(store->folder_fd, DAMAGED_MARK, F_OK, 0) == 0) {
        *ret_why = xstrdup("found while it was in use");
        r = DAMAGED;
    }
    if (r == 0)
        r = set_modes(store, ret_why, error);
    if (r == 0)
        r = check_version(store, ret_why, error);
    if (r == 0)
        r = check_content(store, ret_why, error);
    return r;
}

void store_mark_damaged(Store *store)
{
    close_fd(openat(store->folder_fd, DAMAGED_MARK, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
}

static int move_aside(Store *store, const char *suffix, const char *time, Error *error)
{
    _cleanup_(freep) char *from = xasprintf("state.db%s", suffix);
    _cleanup_(freep) char *to = xasprintf("state.db.corrupt-%s%s", time, suffix);
    if (renameat(store->folder_fd, from, store->folder_fd, to) == 0 || errno == ENOENT)
        return 0;
    return set_errno(error, errno, "cannot set aside the damaged state database", store->path);
}

static int set_aside(Store *store, const char *why, Error *error)
{
    char now[RFC3339_MS_SIZE];
    rfc3339_ms(clock_wall_ms(), now);
    (void)sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* keep the log as it is, too */
    sqlite3_close(store->db);
    store->db = NULL;
    if (move_aside(store, "-wal", now, error) < 0 || move_aside(store, "-shm", now, error) < 0 ||
        move_aside(store, "", now, error) < 0)
        return -1;
    (void)unlinkat(store->folder_fd, DAMAGED_MARK, 0);
    store->warning =
        xasprintf("state database \"%s\" was damaged (%s); it is set aside as \"%s.corrupt-%s\" and a new one "
                  "begun: history and what was paused by command are lost, data is not",
                  store->path, why, store->path, now);
    return 0;
}

int store_open_database(Store *store, Error *error)
{
    _cleanup_(freep) char *why = NULL;
    int r = create_file(store, error);
    if (r == 0)
        r = try_open(store, &why, error);
    if (r == DAMAGED) {
        r = set_aside(store, why, error);
        if (r == 0)
            r = create_file(store, error);
        if (r == 0)
            r = try_open(store, &why, error);
        if (r == DAMAGED)
            return error_set(error, ERROR_INTERNAL, "state database \"%s\" cannot be made anew: %s", store->path, why);
    }
    /* the file's name is to last as the orders in it do */
    if (r == 0 && fsync(store->folder_fd) < 0 && errno != EINVAL)
        return set_errno(error, errno, "cannot sync folder", store->folder);
    return r;
}
