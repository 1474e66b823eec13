/*
 * The database file: found, made where it is missing, opened inside the sandbox, and its failures put into words.
 *
 * The sandbox binds to files, not to their folder, so whatever SQLite will open by name must exist before: the
 * database and its journal, or its -wal and -shm. SQLite takes an empty file for none (it neither plays an empty
 * journal back nor opens an empty -wal), so making them writes nothing. From this follow the journal modes that are
 * possible here: PERSIST and TRUNCATE, which are DELETE without the unlink and can be used on any rollback-journal
 * database (only WAL is stored in the file), and WAL. A rollback journal is the default for new databases: a load in
 * WAL mode writes every page twice and takes half as long again (1 M rows of 16 columns: 4.0–4.4 s against 2.6), and
 * its -wal grows to the size of the data (237 MB); but with a rollback journal readers are shut out once the cache
 * spills (after some 30,000 such rows) until the commit. Who has readers that must never wait sets
 * `journal_mode: wal`.
 *
 * Of the two rollback modes it is PERSIST, which commits by making the journal's header void. Freeing a journal of
 * some hundred megabytes takes a tenth of the time that such a transaction takes; it is done once, at the end, when
 * the rows are there for all to see.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "connectors/destinations/sqlite/sqlite.h"
#include "lib/basics/clock.h"

#define PAGE_SIZE "16384" /* of new databases: a load is 10 to 20 % faster than with 4096 */
#define JOURNAL_KEPT (1 << 20)
#define BUSY_TIMEOUT_S 60
#define BUSY_SLEEP_MAX_US 25000
#define PROGRESS_STEPS 50000 /* of SQLite's virtual machine between two looks for CANCEL: 1 to 5 ms */
#define HEADER_SIZE 100

/* --- before the sandbox --- */

/* The path that SQLite itself will use: symbolic links resolved, so that the journal lies beside the real file. */
static int resolve_path(const char *path, char **ret, Error *error)
{
    *ret = realpath(path, NULL);
    if (*ret)
        return 0;
    if (errno != ENOENT)
        return error_set_errno(error, errno == EACCES ? ERROR_TEMPORARY : ERROR_CONFIGURATION, errno,
                               "cannot open database \"%s\"", path);
    struct stat status;
    if (lstat(path, &status) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "database \"%s\" is a symbolic link to a file that does not exist; create it or remove the "
                         "link",
                         path);
    const char *slash = strrchr(path, '/');
    _cleanup_(freep) char *folder = slash && slash > path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
    _cleanup_(freep) char *real = realpath(folder, NULL);
    if (!real)
        return error_set_errno(error, errno == EACCES ? ERROR_TEMPORARY : ERROR_CONFIGURATION, errno,
                               "the folder of database \"%s\" cannot be used; create it", path);
    *ret = xasprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, slash ? slash + 1 : path);
    return 0;
}

/* Whoever may read or write the database must be able to use its companions, and nobody else: as SQLite does, they get
 * its mode and, where we have the right to give them away, its owner. A group that is not ours to give stays ours. */
static void make_alike(int fd, const struct stat *database)
{
    (void)!fchown(fd, geteuid() == 0 ? database->st_uid : (uid_t)-1, database->st_gid);
    (void)!fchmod(fd, database->st_mode & 0777);
}

/* Opens PATH for writing, making it where it is missing: the database (LIKE is NULL) as the operator's umask has it, a
 * companion like the database. *RET_NEW tells. */
static int touch(const char *path, const struct stat *like, bool *ret_new, Error *error)
{
    *ret_new = false;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, like ? 0600 : 0666);
        *ret_new = fd >= 0;
        if (fd >= 0 && like)
            make_alike(fd, like);
    }
    if (fd >= 0)
        return fd;
    if (errno == ENOSPC || errno == EDQUOT)
        return error_set(error, ERROR_TEMPORARY, "disk full: cannot create \"%s\"; free some space", path);
    if (errno == EISDIR)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is a folder, not a database", path);
    if (errno == EROFS)
        return error_set(error, ERROR_TEMPORARY, "\"%s\" is on a read-only file system", path);
    if (errno == EACCES || errno == EPERM)
        return error_set(error, ERROR_TEMPORARY,
                         "no right to write \"%s\"; give uid %u write access to it and to its folder", path,
                         (unsigned)geteuid());
    return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot open \"%s\" for writing", path);
}

/* Made where it is missing, and left to the sandbox. */
static int add_file(Sqlite *self, const char *path, const struct stat *like, Error *error)
{
    bool is_new;
    _cleanup_(close_fdp) int fd = touch(path, like, &is_new, error);
    if (fd < 0)
        return -1;
    if (is_new)
        self->made[self->made_count++] = path;
    self->sandbox_paths[self->file_count++] = (SandboxPath){ path, SANDBOX_READ | SANDBOX_WRITE };
    return 0;
}

/* New names in the folder must survive a crash as well: SQLite cannot open the folder later, to sync it. */
static int sync_folder(const char *folder, Error *error)
{
    _cleanup_(close_fdp) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot write folder \"%s\" to disk", folder);
    return 0;
}

/* *RET_WAL where its header says that it is in WAL mode. */
static int inspect_database(const Sqlite *self, struct stat *ret_status, bool *ret_wal, Error *error)
{
    /* Closed before SQLite opens it: closing any descriptor of a file drops this process's locks on it. */
    _cleanup_(close_fdp) int fd = open(self->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    uint8_t header[HEADER_SIZE] = { 0 };
    if (fd < 0 || fstat(fd, ret_status) < 0) {
        error_set_errno(error, ERROR_TEMPORARY, errno, "cannot open \"%s\"", self->path);
        return -1;
    }
    if (!S_ISREG(ret_status->st_mode))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not a regular file", self->path);
    if (pread(fd, header, sizeof(header), 0) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot read \"%s\"", self->path);
    /* https://sqlite.org/fileformat2.html#file_format_version_numbers: 2 is WAL */
    *ret_wal = header[18] == 2;
    return 0;
}

/* The database and, of its companions, what is there: a plan reads, and makes nothing. */
static int find_files(Sqlite *self, Error *error)
{
    const char *const paths[SQLITE_FILES] = { self->path, self->journal_path, self->wal_path, self->shm_path };
    struct stat database;
    bool is_wal;
    if (access(self->path, F_OK) < 0 && errno == ENOENT) {
        self->missing = true;
        return 0;
    }
    if (inspect_database(self, &database, &is_wal, error) < 0)
        return -1;
    for (size_t i = 0; i < SQLITE_FILES; i++)
        if (access(paths[i], F_OK) == 0)
            self->sandbox_paths[self->file_count++] = (SandboxPath){ paths[i], SANDBOX_READ };
    /* Whoever reads in WAL mode needs both, and would make them. */
    self->immutable = is_wal && (access(self->wal_path, F_OK) < 0 || access(self->shm_path, F_OK) < 0);
    return 0;
}

/* All that SQLite will want to open, by the mode the database is in and the one it is to have. */
static int make_files(Sqlite *self, const char *folder, Error *error)
{
    bool is_wal = false;
    struct stat database;
    if (add_file(self, self->path, NULL, error) < 0 || inspect_database(self, &database, &is_wal, error) < 0)
        return -1;
    if ((!is_wal || self->journal_mode == JOURNAL_TRUNCATE) && add_file(self, self->journal_path, &database, error) < 0)
        return -1;
    if ((is_wal || self->journal_mode == JOURNAL_WAL) &&
        (add_file(self, self->wal_path, &database, error) < 0 || add_file(self, self->shm_path, &database, error) < 0))
        return -1;
    if (self->made_count == 0)
        return 0;
    if (sync_folder(folder, error) < 0)
        return -1;
    return self->made[0] == self->path ? caretaker_start(folder, self->made, self->made_count, &self->caretaker, error)
                                       : 0;
}

static JournalMode journal_mode_from(const char *text)
{
    if (!text)
        return JOURNAL_KEEP;
    return strcmp(text, "wal") == 0 ? JOURNAL_WAL : JOURNAL_TRUNCATE;
}

int sqlite_open(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    const json_t *own = json_object_get(configuration, "destination");
    const char *path = json_string_value(json_object_get(own, "path"));
    const char *mode = json_string_value(json_object_get(configuration, "write_mode"));
    const json_t *timeout = json_object_get(own, "busy_timeout");
    if (!path || path[0] != '/')
        return error_set(error, ERROR_CONFIGURATION, "the destination has no absolute path");
    Sqlite *self = xcalloc(1, sizeof(*self));
    *ret = self;
    self->writer = writer;
    self->plan = writer_plan(writer);
    self->phase = "loading";
    self->connection = xstrdup(json_string_value(json_object_get(configuration, "connection")));
    self->truncate = mode && strcmp(mode, "truncate") == 0;
    self->cdc = mode && strcmp(mode, "cdc") == 0;
    self->journal_mode = journal_mode_from(json_string_value(json_object_get(own, "journal_mode")));
    self->busy_timeout_ms = 1000 * (json_is_integer(timeout) ? json_integer_value(timeout) : BUSY_TIMEOUT_S);
    if (resolve_path(path, &self->path, error) < 0)
        return -1;
    self->journal_path = xasprintf("%s-journal", self->path);
    self->wal_path = xasprintf("%s-wal", self->path);
    self->shm_path = xasprintf("%s-shm", self->path);
    size_t length = (size_t)(strrchr(self->path, '/') - self->path);
    _cleanup_(freep) char *folder = length > 0 ? xstrndup(self->path, length) : xstrdup("/");
    if ((self->plan ? find_files(self, error) : make_files(self, folder, error)) < 0 ||
        temporary_vfs_new(folder, &self->vfs, error) < 0)
        return -1;
    policy->paths = self->sandbox_paths;
    policy->path_count = self->file_count;
    return 0;
}

/* --- inside it --- */

/* A lock is waited for with short sleeps that grow, within sight of the daemon. */
static int on_busy(void *userdata, int count)
{
    Sqlite *self = userdata;
    int64_t now = clock_monotonic_ms();
    if (count == 0)
        self->waiting_since_ms = now;
    if (self->gave_up || now - self->waiting_since_ms >= self->busy_timeout_ms) {
        self->gave_up = true;
        return 0;
    }
    if (writer_pulse(self->writer, "waiting for a lock")) {
        self->cancelled = true;
        return 0;
    }
    usleep((useconds_t)MIN_OF(500 << MIN_OF(count, 10), BUSY_SLEEP_MAX_US));
    return 1;
}

static int on_progress(void *userdata)
{
    Sqlite *self = userdata;
    if (writer_pulse(self->writer, self->phase))
        self->cancelled = true;
    return self->cancelled;
}

/* Rollback-journal modes are this connection's own choice; a database in WAL mode is left in it. */
static int use_own_mode(Sqlite *self, Error *error)
{
    _cleanup_(sqlite_finalizep) sqlite3_stmt *statement = NULL;
    bool row = false;
    if (sqlite_prepare(self, "PRAGMA journal_mode", &statement, "open it", error) < 0 ||
        sqlite_step(self, statement, &row, "open it", error) < 0)
        return -1;
    const char *mode = row ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (mode && strcmp(mode, "wal") == 0)
        return sqlite_execute(self, SQLITE_LIMIT_WAL, "open it", error);
    sqlite3_reset(statement);
    return sqlite_execute(self, "PRAGMA journal_mode = PERSIST", "open it", error);
}

static int configure(Sqlite *self, Error *error)
{
    static const char *const pragmas[] = {
        "PRAGMA page_size = " PAGE_SIZE, /* only where there is no page yet */
        "PRAGMA trusted_schema = OFF",   "PRAGMA mmap_size = 0",
        "PRAGMA temp_store = FILE",      "PRAGMA cache_size = -" SQLITE_CACHE_KIB,
        "PRAGMA synchronous = FULL",
    };
    sqlite3_extended_result_codes(self->database, 1);
    sqlite3_busy_handler(self->database, on_busy, self);
    sqlite3_progress_handler(self->database, PROGRESS_STEPS, on_progress, self);
    sqlite3_db_config(self->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    /* A -wal that may not be unlinked must be empty when nobody has the database open. */
    int persist = 1;
    sqlite3_file_control(self->database, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
    for (size_t i = 0; i < ELEMENTSOF(pragmas); i++)
        if (sqlite_execute(self, pragmas[i], "open it", error) < 0)
            return -1;
    if (sqlite_register_functions(self, error) < 0)
        return -1;
    return self->plan ? 0 : use_own_mode(self, error);
}

/* "file:/srv/100%25.db?immutable=1" */
static char *immutable_uri(const char *path)
{
    _cleanup_(buffer_clear) Buffer uri = { 0 };
    buffer_append_string(&uri, "file:");
    for (const char *c = path; *c; c++)
        buffer_printf(&uri, strchr("%?#", *c) ? "%%%02x" : "%c", (unsigned char)*c);
    buffer_append_string(&uri, "?immutable=1");
    return buffer_take_string(&uri);
}

/* For a plan. A database that is not there is an empty one. */
static int open_to_look(Sqlite *self)
{
    if (self->missing)
        return sqlite3_open_v2(":memory:", &self->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    _cleanup_(freep) char *uri = self->immutable ? immutable_uri(self->path) : NULL;
    return sqlite3_open_v2(uri ? uri : self->path, &self->database,
                           SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                               (uri ? SQLITE_OPEN_URI : 0),
                           TEMPORARY_VFS_NAME);
}

int sqlite_connect(void *destination, Error *error)
{
    Sqlite *self = destination;
    /* One thread, and nobody asks for memory statistics: no mutex around every bind and every allocation. */
    sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (sqlite3_initialize() != SQLITE_OK || temporary_vfs_register(self->vfs) != SQLITE_OK)
        return error_set(error, ERROR_INTERNAL, "SQLite cannot start");
    int r = self->plan ? open_to_look(self)
                       : sqlite3_open_v2(self->path, &self->database,
                                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
                                         TEMPORARY_VFS_NAME);
    if (r != SQLITE_OK)
        return sqlite_fail(self, r, "open it", error);
    return configure(self, error);
}

/* To SQLite this is deleting it, which it does under its lock, and temporary.c makes emptying of. Where others have the
 * lock, it is left to the next run. */
static void shrink_journal(Sqlite *self)
{
    struct stat journal;
    if (self->database && !self->plan && sqlite3_get_autocommit(self->database) &&
        stat(self->journal_path, &journal) == 0 && journal.st_size > JOURNAL_KEPT)
        sqlite3_exec(self->database, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
}

void sqlite_close(void *destination)
{
    Sqlite *self = destination;
    sqlite_tables_reset(self);
    shrink_journal(self);
    free(self->tables);
    sqlite3_close_v2(self->database);
    buffer_clear(&self->converted);
    temporary_vfs_free(self->vfs);
    caretaker_finish(self->caretaker);
    free(self->connection);
    free(self->path);
    free(self->journal_path);
    free(self->wal_path);
    free(self->shm_path);
    free(self);
}

/* --- statements and their failures --- */

static int fail_io(Sqlite *self, int r, const char *attempt, Error *error)
{
    int errnum = sqlite3_system_errno(self->database);
    if ((r & 0xff) == SQLITE_FULL || errnum == ENOSPC || errnum == EDQUOT)
        return error_set(error, ERROR_TEMPORARY,
                         "disk full: database \"%s\" cannot grow; free some space (all of this batch was rolled back)",
                         self->path);
    if (errnum != 0)
        return error_set_errno(error, ERROR_TEMPORARY, errnum, "database \"%s\": cannot %s: %s", self->path, attempt,
                               sqlite3_errmsg(self->database));
    return error_set(error, ERROR_TEMPORARY, "database \"%s\": cannot %s: %s (%d)", self->path, attempt,
                     sqlite3_errmsg(self->database), r);
}

static int fail_busy(Sqlite *self, Error *error)
{
    int64_t waited = clock_monotonic_ms() - self->waiting_since_ms;
    return error_set(error, ERROR_TEMPORARY,
                     "database \"%s\" is locked by another program; waited %lld.%lld s for it (`busy_timeout`)",
                     self->path, (long long)(waited / 1000), (long long)(waited % 1000 / 100));
}

bool sqlite_is_data_fault(int r)
{
    return (r & 0xff) == SQLITE_CONSTRAINT || (r & 0xff) == SQLITE_MISMATCH || (r & 0xff) == SQLITE_TOOBIG;
}

/* A table that was there when the sync began. Our own are another matter: nothing makes them again. */
static const char *dropped_table(const char *message)
{
    static const char prefix[] = "no such table: ";
    if (strncmp(message, prefix, sizeof(prefix) - 1) != 0)
        return NULL;
    const char *name = message + sizeof(prefix) - 1;
    name += strncmp(name, "main.", 5) == 0 ? 5 : 0;
    return strncmp(name, "_wherry_", 8) == 0 ? NULL : name;
}

int sqlite_fail(Sqlite *self, int r, const char *attempt, Error *error)
{
    const char *message = sqlite3_errmsg(self->database);
    if (self->cancelled)
        return error_set(error, ERROR_CANCELLED, "cancelled");
    /* What SQLite makes of a journal that is not there and may not be made. */
    if (r == SQLITE_READONLY_DIRECTORY)
        r = SQLITE_CANTOPEN;
    if (sqlite_is_data_fault(r))
        return error_set(error, ERROR_DATA, "%s", message);
    const char *dropped = dropped_table(message);
    if (r == SQLITE_ERROR && dropped)
        return error_set(error, ERROR_TEMPORARY,
                         "table \"%s\" in \"%s\" was dropped meanwhile; the next run looks again", dropped, self->path);
    switch (r & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return fail_busy(self, error);
    case SQLITE_FULL:
    case SQLITE_IOERR:
        return fail_io(self, r, attempt, error);
    case SQLITE_READONLY:
        return error_set(error, ERROR_TEMPORARY, "database \"%s\" is read-only: cannot %s; make the file writable",
                         self->path, attempt);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return error_set(error, ERROR_TEMPORARY,
                         "database \"%s\": cannot %s: it or its journal cannot be opened (another program may have "
                         "removed the journal just now): %s",
                         self->path, attempt, message);
    case SQLITE_NOTADB:
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not an SQLite database", self->path);
    case SQLITE_CORRUPT:
        return error_set(error, ERROR_CONFIGURATION,
                         "database \"%s\" is damaged: cannot %s: %s; restore it, or see sqlite3's `.recover`",
                         self->path, attempt, message);
    case SQLITE_NOMEM:
        return error_set(error, ERROR_TEMPORARY, "database \"%s\": cannot %s: out of memory", self->path, attempt);
    default:
        return error_set(error, ERROR_CONFIGURATION, "database \"%s\": cannot %s: %s", self->path, attempt, message);
    }
}

int sqlite_prepare(Sqlite *self, const char *sql, sqlite3_stmt **ret, const char *attempt, Error *error)
{
    int r = sqlite3_prepare_v3(self->database, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
    return r == SQLITE_OK ? 0 : sqlite_fail(self, r, attempt, error);
}

int sqlite_step(Sqlite *self, sqlite3_stmt *statement, bool *ret_row, const char *attempt, Error *error)
{
    int r = sqlite3_step(statement);
    if (r != SQLITE_DONE && r != SQLITE_ROW)
        return sqlite_fail(self, r, attempt, error);
    if (ret_row)
        *ret_row = r == SQLITE_ROW;
    return 0;
}

int sqlite_execute(Sqlite *self, const char *sql, const char *attempt, Error *error)
{
    int r = sqlite3_exec(self->database, sql, NULL, NULL, NULL);
    return r == SQLITE_OK ? 0 : sqlite_fail(self, r, attempt, error);
}
