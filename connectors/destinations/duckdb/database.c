/*
 * The database file: DuckDB's library loaded, the file opened inside the sandbox, and failures put into words.
 *
 * DuckDB locks the file for as long as a process has it open, with a POSIX lock, which any close() of any descriptor of
 * that file gives up (fcntl(2)). So this program never opens the file itself, neither before nor after the library: it
 * looks at names only. A lock that another process holds is not waited for: it is an interactive session as a rule, and
 * stays for hours.
 *
 * DuckDB makes, renames and removes files beside the database (.wal, .wal.checkpoint, .tmp), so the sandbox's rule is
 * on the folder, unlike SQLite's. Inside the library, file access but for the database, extensions and further changes
 * of settings are switched off.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "connectors/destinations/duckdb/keyed.h"
#include "lib/basics/text.h"

#define MEMORY_LIMIT (UINT64_C(512) << 20)
#define THREADS_MAX 4
#define UNFINISHED ".wherry-unfinished" /* after its name: a database that is being made */
#define IDLE_NS 200000                  /* between two looks at a task that another thread works on */

/* --- before the sandbox --- */

/* The path that DuckDB will use: symbolic links resolved, so that the WAL lies beside the real file. */
static int resolve_path(const char *path, char **ret, Error *error)
{
    *ret = realpath(path, NULL);
    if (*ret)
        return 0;
    struct stat status;
    if (errno == ENOENT && lstat(path, &status) == 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "database \"%s\" is a symbolic link to a file that does not exist; create it or remove the "
                         "link",
                         path);
    if (errno != ENOENT)
        return error_set_errno(error, errno == EACCES ? ERROR_TEMPORARY : ERROR_CONFIGURATION, errno,
                               "cannot open database \"%s\"", path);
    const char *slash = strrchr(path, '/');
    _cleanup_(freep) char *folder = slash > path ? xstrndup(path, (size_t)(slash - path)) : xstrdup("/");
    _cleanup_(freep) char *real = realpath(folder, NULL);
    if (!real)
        return error_set_errno(error, errno == EACCES ? ERROR_TEMPORARY : ERROR_CONFIGURATION, errno,
                               "the folder of database \"%s\" cannot be used; create it", path);
    *ret = xasprintf("%s/%s", strcmp(real, "/") == 0 ? "" : real, slash + 1);
    return 0;
}

static int check_file(const DuckDb *self, Error *error)
{
    struct stat status;
    if (stat(self->path, &status) < 0)
        return errno == ENOENT
                   ? 0
                   : error_set_errno(error, ERROR_TEMPORARY, errno, "cannot open database \"%s\"", self->path);
    if (S_ISDIR(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is a folder, not a database", self->path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not a regular file", self->path);
    return 0;
}

static int open_folder(DuckDb *self, Error *error)
{
    size_t length = (size_t)(strrchr(self->path, '/') - self->path);
    self->folder = length > 0 ? xstrndup(self->path, length) : xstrdup("/");
    self->folder_fd = open(self->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->folder_fd < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot open the folder of database \"%s\"", self->path);
    self->sandbox_paths[0] =
        (SandboxPath){ self->folder, self->plan ? SANDBOX_READ : SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE };
    /* DuckDB looks for its group's limits, and ends the process where such a file is there and cannot be read. */
    self->sandbox_paths[1] = (SandboxPath){ "/proc/self/cgroup", SANDBOX_READ };
    self->sandbox_paths[2] = (SandboxPath){ "/sys/fs/cgroup", SANDBOX_READ };
    return 0;
}

static unsigned default_threads(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return (unsigned)MAX_OF(1, MIN_OF(count, THREADS_MAX));
}

static int64_t integer_of(const json_t *object, const char *key, int64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

int duck_open(void **ret, Writer *writer, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    const json_t *own = json_object_get(configuration, "destination");
    const char *path = json_string_value(json_object_get(own, "path"));
    const char *mode = json_string_value(json_object_get(configuration, "write_mode"));
    const char *schema = json_string_value(json_object_get(own, "schema"));
    if (!path || path[0] != '/')
        return error_set(error, ERROR_CONFIGURATION, "the destination has no absolute path");
    DuckDb *self = xcalloc(1, sizeof(*self));
    *ret = self;
    self->writer = writer;
    self->plan = writer_plan(writer);
    self->folder_fd = -1;
    umask(self->umask = umask(077));
    self->connection_name = xstrdup(json_string_value(json_object_get(configuration, "connection")));
    self->truncate = mode && strcmp(mode, "truncate") == 0;
    self->cdc = mode && strcmp(mode, "cdc") == 0;
    self->files = json_is_true(json_object_get(configuration, "files"));
    self->schema = xstrdup(schema ? schema : "main");
    self->memory_limit = (uint64_t)integer_of(own, "memory_limit", MEMORY_LIMIT);
    self->threads = (unsigned)integer_of(own, "threads", default_threads());
    DuckdbLibrary *library;
    if (duckdb_library_load(json_string_value(json_object_get(own, "duckdb_library")), &library, error) < 0)
        return -1;
    self->library = library;
    if (resolve_path(path, &self->path, error) < 0 || check_file(self, error) < 0 || open_folder(self, error) < 0)
        return -1;
    policy->paths = self->sandbox_paths;
    policy->path_count = ELEMENTSOF(self->sandbox_paths);
    return 0;
}

/* --- failures --- */

/* 'Conflicting lock is held in /usr/bin/duckdb (PID 4711). See also …' → "/usr/bin/duckdb (pid 4711)" */
static char *lock_holder(const char *message)
{
    static const char before[] = "lock is held in ", pid[] = "PID ";
    const char *holder = strstr(message, before), *number = strstr(message, pid);
    if (!number)
        return xstrdup("another process");
    number += strlen(pid);
    int digits = (int)strspn(number, "0123456789");
    if (!holder || holder > number)
        return xasprintf("the process with pid %.*s", digits, number);
    holder += strlen(before);
    const char *end = strstr(holder, " (PID ");
    if (!end || end == holder)
        return xasprintf("the process with pid %.*s", digits, number);
    _cleanup_(freep) char *program = text_escape(holder, (size_t)(end - holder));
    return xasprintf("%s (pid %.*s)", program, digits, number);
}

static int fail_memory(const DuckDb *self, const char *message, const char *attempt, Error *error)
{
    return error_set(error, ERROR_TEMPORARY,
                     "database \"%s\": cannot %s within %llu MiB of memory; raise \"memory_limit\" of the destination: "
                     "%s",
                     self->path, attempt, (unsigned long long)(self->memory_limit >> 20), message);
}

/* What the system or the file refuses, whatever DuckDB calls it: a COMMIT that fails is a "TransactionContext Error".
 */
static int fail_io(const DuckDb *self, const char *message, const char *attempt, Error *error)
{
    if (strstr(message, "Could not set lock on file")) {
        _cleanup_(freep) char *holder = lock_holder(message);
        return error_set(error, ERROR_HELD, "database \"%s\" is open in %s; close it there", self->path, holder);
    }
    /* what it takes for a database of SQLite's or another program, it would open with an extension */
    if (strstr(message, "not a valid DuckDB database file") || strstr(message, "Loading external extensions"))
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not a DuckDB database", self->path);
    if (strstr(message, "No space left on device") || strstr(message, "Disk quota exceeded"))
        return error_set(error, ERROR_TEMPORARY,
                         "disk full: database \"%s\" cannot grow; free some space (all of this batch was rolled back)",
                         self->path);
    if (strstr(message, "Permission denied") || strstr(message, "Read-only file system"))
        return error_set(error, ERROR_TEMPORARY,
                         "database \"%s\": cannot %s: no right to write it; give uid %u write access to it and to its "
                         "folder",
                         self->path, attempt, (unsigned)geteuid());
    if (strstr(message, "Trying to read a database file with version number"))
        return error_set(error, ERROR_CONFIGURATION,
                         "database \"%s\" was written by a DuckDB of another age than the library in use, \"%s\" (%s): "
                         "%s; install a newer one and name it with \"duckdb_library\"",
                         self->path, self->library->path, self->library->version, message);
    if (strstr(message, "could not allocate block") || strstr(message, "failed to pin block"))
        return fail_memory(self, message, attempt, error);
    if (strstr(message, "Corrupt database file") || strstr(message, "Could not read enough bytes"))
        return error_set(error, ERROR_TEMPORARY, "database \"%s\" is damaged; put back a copy of it: cannot %s: %s",
                         self->path, attempt, message);
    return error_set(error, ERROR_TEMPORARY, "database \"%s\": cannot %s: %s", self->path, attempt, message);
}

/* DuckDB's first line without "Constraint Error: ": what follows are hints for who types SQL. */
static char *short_message(const char *message)
{
    const char *colon = strstr(message, " Error: ");
    if (colon && colon - message < 40)
        message = colon + strlen(" Error: ");
    return text_escape(message, strcspn(message, "\n"));
}

int duck_fail(DuckDb *self, duckdb_error_type type, const char *message, const char *attempt, Error *error)
{
    _cleanup_(freep) char *text = short_message(message ? message : "it does not say why");
    switch (type) {
    case DUCKDB_ERROR_INTERRUPT:
        return error_set(error, ERROR_CANCELLED, "cancelled");
    case DUCKDB_ERROR_IO:
    case DUCKDB_ERROR_PERMISSION:
    case DUCKDB_ERROR_FATAL:
    case DUCKDB_ERROR_INTERNAL:
    case DUCKDB_ERROR_TRANSACTION:
        return fail_io(self, text, attempt, error);
    case DUCKDB_ERROR_OUT_OF_MEMORY:
        return fail_memory(self, text, attempt, error);
    case DUCKDB_ERROR_CONSTRAINT:
    case DUCKDB_ERROR_CONVERSION:
    case DUCKDB_ERROR_OUT_OF_RANGE:
    case DUCKDB_ERROR_INVALID_INPUT:
        return error_set(error, ERROR_DATA, "DuckDB cannot %s: %s", attempt, text);
    default:
        return error_set(error, ERROR_CONFIGURATION, "database \"%s\": cannot %s: %s", self->path, attempt, text);
    }
}

/* A pending statement and duckdb_open_ext() give no type, only "IO Error: …". */
static int fail_text(DuckDb *self, const char *message, const char *attempt, Error *error)
{
    static const struct {
        const char *prefix;
        duckdb_error_type type;
    } types[] = {
        { "IO Error", DUCKDB_ERROR_IO },
        { "Permission Error", DUCKDB_ERROR_PERMISSION },
        { "Out of Memory Error", DUCKDB_ERROR_OUT_OF_MEMORY },
        { "Constraint Error", DUCKDB_ERROR_CONSTRAINT },
        { "Conversion Error", DUCKDB_ERROR_CONVERSION },
        { "Out of Range Error", DUCKDB_ERROR_OUT_OF_RANGE },
        { "Invalid Input Error", DUCKDB_ERROR_INVALID_INPUT },
        { "INTERRUPT Error", DUCKDB_ERROR_INTERRUPT },
        { "TransactionContext Error", DUCKDB_ERROR_TRANSACTION },
        { "FATAL Error", DUCKDB_ERROR_FATAL },
        { "INTERNAL Error", DUCKDB_ERROR_INTERNAL },
    };
    duckdb_error_type type = DUCKDB_ERROR_BINDER;
    message = message ? message : "it does not say why";
    for (size_t i = 0; i < ELEMENTSOF(types); i++)
        if (strncmp(message, types[i].prefix, strlen(types[i].prefix)) == 0)
            type = types[i].type;
    return duck_fail(self, type, message, attempt, error);
}

/* --- opening --- */

static int set_options(DuckDb *self, const char *path, duckdb_config config, Error *error)
{
    _cleanup_(freep) char *memory = xasprintf("%lluKiB", (unsigned long long)(self->memory_limit >> 10));
    _cleanup_(freep) char *threads = xasprintf("%u", self->threads);
    const struct {
        const char *name, *value;
    } options[] = {
        { "access_mode", path && self->plan ? "READ_ONLY" : "READ_WRITE" },
        { "memory_limit", memory },
        { "threads", threads },
        { "enable_external_access", "false" },
        { "autoinstall_known_extensions", "false" },
        { "autoload_known_extensions", "false" },
        { "allow_persistent_secrets", "false" },
        { "lock_configuration", "true" }, /* the last one */
    };
    for (size_t i = 0; i < ELEMENTSOF(options); i++)
        if (self->library->set_config(config, options[i].name, options[i].value) != DuckDBSuccess)
            return error_set(error, ERROR_CONFIGURATION, "DuckDB's library \"%s\" (%s) has no setting \"%s\" = %s",
                             self->library->path, self->library->version, options[i].name, options[i].value);
    return 0;
}

/* PATH NULL: an empty database in memory. */
static int open_file(DuckDb *self, const char *path, Error *error)
{
    const DuckdbLibrary *library = self->library;
    duckdb_config config;
    if (library->create_config(&config) != DuckDBSuccess)
        return error_set(error, ERROR_INTERNAL, "DuckDB cannot start");
    char *message = NULL;
    int r = set_options(self, path, config, error);
    if (r == 0 && library->open_ext(path, &self->database, config, &message) != DuckDBSuccess)
        r = fail_text(self, message, "open it", error);
    library->free(message);
    library->destroy_config(&config);
    return r;
}

/* DuckDB refuses a file of which only a part was written when its maker died: a new one is made whole under another
 * name first, which is Wherry's alone. Where somebody else was quicker, theirs stays. */
static int make_database(DuckDb *self, Error *error)
{
    _cleanup_(freep) char *path = xasprintf("%s" UNFINISHED, self->path);
    _cleanup_(freep) char *wal = xasprintf("%s.wal", path);
    unlink(path);
    unlink(wal);
    if (open_file(self, path, error) < 0)
        return -1;
    self->library->close(&self->database);
    if (renameat2(AT_FDCWD, path, AT_FDCWD, self->path, RENAME_NOREPLACE) < 0) {
        int errnum = errno;
        unlink(path);
        if (errnum != EEXIST)
            return error_set_errno(error, ERROR_TEMPORARY, errnum, "cannot make database \"%s\"", self->path);
    }
    if (fsync(self->folder_fd) < 0 && errno != EINVAL)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot write folder \"%s\" to disk", self->folder);
    return 0;
}

static int open_database(DuckDb *self, const char *path, Error *error)
{
    if (open_file(self, path, error) < 0)
        return -1;
    if (self->library->connect(self->database, &self->connection) != DuckDBSuccess)
        return error_set(error, ERROR_INTERNAL, "DuckDB cannot connect to its own database");
    return 0;
}

static int schema_exists(DuckDb *self, bool *ret, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    if (duck_query(self, "SELECT 1 FROM duckdb_schemas() WHERE database_name = current_database() AND schema_name = $1",
                   &TEXT_PARAMETER(self->schema), 1, &rows, "look for its schema", error) < 0)
        return -1;
    *ret = rows_next(&rows);
    return 0;
}

static int read_catalog(DuckDb *self, Error *error)
{
    _cleanup_(rows_clear) Rows rows = { 0 };
    if (duck_query(self, "SELECT current_database()", NULL, 0, &rows, "open it", error) < 0)
        return -1;
    self->catalog = rows_next(&rows) ? rows_text(&rows, 0) : NULL;
    if (self->catalog)
        return 0;
    error_set(error, ERROR_INTERNAL, "DuckDB does not know its own database");
    return -1;
}

/* Unqualified names mean our schema from here on: "a.b" is ambiguous where a schema is called like its database. */
int duck_use_schema(DuckDb *self, bool create, Error *error)
{
    bool exists;
    if (schema_exists(self, &exists, error) < 0)
        return -1;
    if (!exists && !create)
        return 0;
    _cleanup_(buffer_clear) Buffer name = { 0 };
    sql_quote(&name, self->catalog);
    buffer_append_string(&name, ".");
    sql_quote(&name, self->schema);
    _cleanup_(freep) char *qualified = buffer_take_string(&name);
    _cleanup_(freep) char *make = xasprintf("CREATE SCHEMA %s", qualified);
    _cleanup_(freep) char *use = xasprintf("USE %s", qualified);
    if (!exists && duck_ddl(self, make, "create its schema", error) < 0)
        return -1;
    if (self->plan && strcmp(self->schema, "main") != 0) {
        free(self->use);
        self->use = xstrdup(use);
    }
    if (self->plan && (!exists || self->missing)) {
        self->schema_used = exists;
        return 0;
    }
    if (duck_execute(self, use, "use its schema", error) < 0)
        return -1;
    self->schema_used = true;
    self->schema_made = !exists;
    return 0;
}

int duck_open_database(DuckDb *self, bool create, Error *error)
{
    struct stat status = { 0 };
    bool missing = stat(self->path, &status) < 0 && errno == ENOENT, look = missing && self->plan;
    if (missing && !create && !look)
        return 0;
    /* A new database is as open as the operator's umask has it; what DuckDB makes beside one, as that is. */
    umask(missing ? self->umask : ~status.st_mode & 0777);
    if ((missing && !look && make_database(self, error) < 0) ||
        open_database(self, look ? NULL : self->path, error) < 0 || read_catalog(self, error) < 0)
        return -1;
    self->missing = look;
    if (look) {
        /* As DuckDB would call it. */
        const char *name = strrchr(self->path, '/') + 1;
        free(self->catalog);
        self->catalog = xstrndup(name, strcspn(name, "."));
    }
    return duck_use_schema(self, false, error);
}

int duck_connect(void *destination, Error *error)
{
    return duck_open_database(destination, false, error);
}

void duck_close(void *destination)
{
    DuckDb *self = destination;
    duck_keyed_reset(self);
    if (self->connection)
        self->library->disconnect(&self->connection);
    if (self->database)
        self->library->close(&self->database);
    close_fd(self->folder_fd);
    duckdb_library_free((DuckdbLibrary *)self->library);
    free(self->sinks);
    free(self->connection_name);
    free(self->path);
    free(self->folder);
    free(self->schema);
    free(self->catalog);
    free(self->use);
    free(self);
}

/* --- statements --- */

static int bind(DuckDb *self, duckdb_prepared_statement statement, const Parameter *parameters, size_t count)
{
    const DuckdbLibrary *library = self->library;
    duckdb_state state = DuckDBSuccess;
    for (idx_t i = 0; i < count && state == DuckDBSuccess; i++) {
        const Parameter *parameter = &parameters[i];
        if (parameter->type == PARAMETER_INTEGER)
            state = library->bind_int64(statement, i + 1, parameter->integer);
        else if (parameter->type == PARAMETER_TIMESTAMP)
            state = library->bind_timestamp(statement, i + 1, (duckdb_timestamp){ parameter->integer });
        else if (parameter->type == PARAMETER_TEXT && parameter->text)
            state = library->bind_varchar_length(statement, i + 1, parameter->text, strlen(parameter->text));
        else
            state = library->bind_null(statement, i + 1);
    }
    return state == DuckDBSuccess ? 0 : -1;
}

/* Runs a pending statement task by task, so that a cancel is heard and the daemon sees that work goes on. */
static duckdb_state work(DuckDb *self, duckdb_pending_result pending, bool *ret_cancelled)
{
    const DuckdbLibrary *library = self->library;
    for (;;) {
        duckdb_pending_state state = library->pending_execute_task(pending);
        if (state == DUCKDB_PENDING_ERROR)
            return DuckDBError;
        if (library->pending_execution_is_finished(state))
            return DuckDBSuccess;
        if (writer_pulse(self->writer, self->in_transaction ? "writing" : "opening")) {
            *ret_cancelled = true;
            library->interrupt(self->connection);
            return DuckDBError;
        }
        if (state == DUCKDB_PENDING_NO_TASKS_AVAILABLE)
            nanosleep(&(struct timespec){ .tv_nsec = IDLE_NS }, NULL);
    }
}

static int run_prepared(DuckDb *self, duckdb_prepared_statement statement, duckdb_result *ret, const char *attempt,
                        Error *error)
{
    const DuckdbLibrary *library = self->library;
    duckdb_pending_result pending = NULL;
    bool cancelled = false;
    duckdb_state state = library->pending_prepared(statement, &pending);
    if (state == DuckDBSuccess)
        state = work(self, pending, &cancelled);
    int r = 0;
    if (cancelled)
        r = error_set(error, ERROR_CANCELLED, "cancelled");
    else if (state != DuckDBSuccess)
        r = fail_text(self, library->pending_error(pending), attempt, error);
    else if (library->execute_pending(pending, ret) != DuckDBSuccess)
        r = duck_fail(self, library->result_error_type(ret), library->result_error(ret), attempt, error);
    library->destroy_pending(&pending);
    return r;
}

static int run(DuckDb *self, const char *sql, const Parameter *parameters, size_t count, duckdb_result *ret,
               const char *attempt, Error *error)
{
    const DuckdbLibrary *library = self->library;
    duckdb_prepared_statement statement = NULL;
    int r;
    if (library->prepare(self->connection, sql, &statement) != DuckDBSuccess) {
        r = fail_text(self, library->prepare_error(statement), attempt, error);
    } else if (bind(self, statement, parameters, count) < 0) {
        r = error_set(error, ERROR_INTERNAL, "DuckDB does not take the values to %s", attempt);
    } else {
        r = run_prepared(self, statement, ret, attempt, error);
    }
    library->destroy_prepare(&statement);
    return r;
}

int duck_run(DuckDb *self, const char *sql, const Parameter *parameters, size_t count, uint64_t *ret_changed,
             const char *attempt, Error *error)
{
    duckdb_result result = { 0 };
    int r = run(self, sql, parameters, count, &result, attempt, error);
    if (r == 0 && ret_changed)
        *ret_changed = self->library->rows_changed(&result);
    self->library->destroy_result(&result);
    return r;
}

int duck_execute(DuckDb *self, const char *sql, const char *attempt, Error *error)
{
    return duck_run(self, sql, NULL, 0, NULL, attempt, error);
}

int duck_ddl(DuckDb *self, const char *sql, const char *attempt, Error *error)
{
    if (!self->plan)
        return duck_execute(self, sql, attempt, error);
    if (self->use)
        plan_add(self->plan, self->use);
    free(take_ptr(self->use));
    plan_add(self->plan, sql);
    return 0;
}

int duck_query(DuckDb *self, const char *sql, const Parameter *parameters, size_t count, Rows *ret, const char *attempt,
               Error *error)
{
    *ret = (Rows){ .library = self->library };
    return run(self, sql, parameters, count, &ret->result, attempt, error);
}

bool rows_next(Rows *rows)
{
    while (rows->next == rows->count) {
        rows->library->destroy_data_chunk(&rows->chunk);
        rows->chunk = rows->library->fetch_chunk(rows->result);
        if (!rows->chunk)
            return false;
        rows->next = 0;
        rows->count = rows->library->data_chunk_get_size(rows->chunk);
    }
    rows->next++;
    return true;
}

static void *value_at(const Rows *rows, idx_t column, size_t size)
{
    duckdb_vector vector = rows->library->data_chunk_get_vector(rows->chunk, column);
    const uint64_t *validity = rows->library->vector_get_validity(vector);
    idx_t row = rows->next - 1;
    if (validity && !(validity[row / 64] >> row % 64 & 1))
        return NULL;
    return (uint8_t *)rows->library->vector_get_data(vector) + row * size;
}

char *rows_text(const Rows *rows, idx_t column)
{
    const duckdb_string_t *text = value_at(rows, column, sizeof(*text));
    if (!text)
        return NULL;
    uint32_t length = text->value.inlined.length;
    return xstrndup(
        length <= sizeof(text->value.inlined.inlined) ? text->value.inlined.inlined : text->value.pointer.ptr, length);
}

int64_t rows_integer(const Rows *rows, idx_t column)
{
    duckdb_vector vector = rows->library->data_chunk_get_vector(rows->chunk, column);
    duckdb_logical_type type = rows->library->vector_get_column_type(vector);
    bool is_boolean = rows->library->get_type_id(type) == DUCKDB_TYPE_BOOLEAN;
    rows->library->destroy_logical_type(&type);
    const void *value = value_at(rows, column, is_boolean ? sizeof(bool) : sizeof(int64_t));
    if (!value)
        return 0;
    return is_boolean ? *(const bool *)value : *(const int64_t *)value;
}

void rows_clear(Rows *rows)
{
    if (!rows->library)
        return;
    rows->library->destroy_data_chunk(&rows->chunk);
    rows->library->destroy_result(&rows->result);
}
