/*
 * The ledger's rows: one for each content (SHA-256) of a connection ever seen, and, for each name, which content it had
 * last. The second is what lets a person speak of a file by name, and what makes a failure disappear from sight when a
 * repaired file has taken its name.
 */
#include <assert.h>
#include <stdio.h>

#include "daemon/wherryd/store-private.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"

const char *file_state_name(FileState state)
{
    static const char *const names[] = { "PENDING", "PROCESSING", "COMMITTED", "FAILED" };
    return (unsigned)state < ELEMENTSOF(names) ? names[state] : "UNKNOWN";
}

void file_record_clear(FileRecord *file)
{
    free(file->name);
    free(file->sidecar);
    free(file->error);
    free(file->last_run_id);
    *file = (FileRecord){ 0 };
}

/* INDEXED BY: without statistics the planner would walk all files of a connection, of which there may be millions, to
 * find the few that failed. */
#define FILE_COLUMNS                                                                                     \
    "SELECT files.name, files.hash, state, forced, attempts, rows, error, run_id, updated_ms, doubted, " \
    "quarantined, sidecar, requeued FROM files "
#define OF_CONNECTION "connection = (SELECT id FROM connections WHERE name = ?1)"
/* whose name has no newer content */
#define SHOWN_FAILED                                                                                 \
    "state = 3 AND EXISTS (SELECT 1 FROM file_names WHERE file_names.connection = files.connection " \
    "AND file_names.name = files.name AND file_names.hash = files.hash)"

static FileRecord file_of(const Statement *row)
{
    FileRecord file = {
        .name = xstrdup(statement_text(row, 0)),
        .state = (FileState)statement_integer(row, 2),
        .forced = statement_integer(row, 3) != 0,
        .attempts = (uint32_t)statement_integer(row, 4),
        .rows = statement_integer(row, 5),
        .error = xstrdup(statement_text(row, 6)),
        .last_run_id = xstrdup(statement_text(row, 7)),
        .updated_ms = statement_integer(row, 8),
        .doubted = statement_integer(row, 9) != 0,
        .quarantined = statement_integer(row, 10),
        .sidecar = xstrdup(statement_text(row, 11)),
        .requeued = statement_integer(row, 12) != 0,
    };
    const uint8_t *hash = sqlite3_column_blob(row->handle, 1);
    if (hash && sqlite3_column_bytes(row->handle, 1) == SHA256_SIZE)
        sha256_text(hash, file.hash);
    return file;
}

/* Binds the digest itself; the bytes must outlive the statement. */
static int bind_hash(Store *store, Statement *statement, int parameter, const char *hash,
                     uint8_t digest[static SHA256_SIZE], Error *error)
{
    if (!sha256_from_text(hash, digest))
        return error_set(error, ERROR_INTERNAL, "state database \"%s\": \"%.80s\" is not a hash", store->path, hash);
    statement_bind_blob(statement, parameter, digest, SHA256_SIZE);
    return 0;
}

int store_file_get(Store *store, const char *connection, const char *hash, FileRecord *ret, Error *error)
{
    static const char sql[] = FILE_COLUMNS "WHERE " OF_CONNECTION " AND hash = ?2";
    uint8_t digest[SHA256_SIZE];
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    if (bind_hash(store, &statement, 2, hash, digest, error) < 0)
        return -1;
    int r = statement_step(store, &statement, error);
    if (r > 0)
        *ret = file_of(&statement);
    return r < 0 ? -1 : r > 0 ? 0 : STORE_E_NOT_FOUND;
}

/* What waited under NAME to be loaded, and has gone for HASH: nothing will ever come of it, so that it must not be
 * listed as waiting. A requeued content that the destination has is just that again. A content that another name has
 * still waits. */
static int give_up_waiting(Store *store, int64_t connection, const char *name, const char *hash, Error *error)
{
#define WAITED_UNDER_NAME                                                                                  \
    "connection = ?1 AND name = ?2 AND hash <> ?3 AND state = 0 AND NOT EXISTS (SELECT 1 FROM file_names " \
    "WHERE file_names.connection = files.connection AND file_names.hash = files.hash)"
    static const char *const sql[] = {
        "DELETE FROM files INDEXED BY files_by_name WHERE forced = 0 AND " WAITED_UNDER_NAME,
        /* doubted: the destination is asked before that is relied upon */
        "UPDATE files INDEXED BY files_by_name SET state = 2, forced = 0, doubted = 1 WHERE forced <> 0 "
        "AND " WAITED_UNDER_NAME,
    };
    for (size_t i = 0; i < ELEMENTSOF(sql); i++) {
        uint8_t digest[SHA256_SIZE];
        _cleanup_(statement_done) Statement statement = { 0 };
        if (statement_get(store, sql[i], &statement, error) < 0)
            return -1;
        statement_bind_integer(&statement, 1, connection);
        statement_bind_text(&statement, 2, name);
        if (bind_hash(store, &statement, 3, hash, digest, error) < 0 || statement_run(store, &statement, error) < 0)
            return -1;
    }
    return 0;
}

static int note_name(Store *store, int64_t connection, const char *name, const char *hash, bool *ret_news, Error *error)
{
    static const char sql[] = "INSERT INTO file_names (connection, name, hash) VALUES (?1, ?2, ?3) "
                              "ON CONFLICT (connection, name) DO UPDATE SET hash = excluded.hash "
                              "WHERE hash <> excluded.hash";
    uint8_t digest[SHA256_SIZE];
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_integer(&statement, 1, connection);
    statement_bind_text(&statement, 2, name);
    if (bind_hash(store, &statement, 3, hash, digest, error) < 0 || statement_run(store, &statement, error) < 0)
        return -1;
    bool news = sqlite3_changes(store->db) > 0;
    if (ret_news)
        *ret_news = news;
    return news ? give_up_waiting(store, connection, name, hash, error) : 0;
}

static int put_file(Store *store, const char *connection, const FileRecord *file, Error *error)
{
    static const char sql[] =
        "INSERT INTO files (connection, hash, name, state, forced, attempts, rows, error, run_id, updated_ms, doubted, "
        "quarantined, sidecar, requeued) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) ON "
        "CONFLICT (connection, hash) DO UPDATE SET "
        "name = excluded.name, state = excluded.state, forced = excluded.forced, attempts = excluded.attempts, "
        "rows = excluded.rows, error = excluded.error, run_id = excluded.run_id, updated_ms = excluded.updated_ms, "
        "doubted = excluded.doubted, quarantined = excluded.quarantined, sidecar = excluded.sidecar, "
        "requeued = excluded.requeued";
    uint8_t digest[SHA256_SIZE];
    int64_t id;
    _cleanup_(statement_done) Statement statement = { 0 };
    if (store_connection_id(store, connection, &id, error) < 0 || statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_integer(&statement, 1, id);
    if (bind_hash(store, &statement, 2, file->hash, digest, error) < 0)
        return -1;
    statement_bind_text(&statement, 3, file->name);
    statement_bind_integer(&statement, 4, file->state);
    statement_bind_integer(&statement, 5, file->forced);
    statement_bind_integer(&statement, 6, file->attempts);
    statement_bind_integer(&statement, 7, file->rows);
    statement_bind_text(&statement, 8, file->error);
    statement_bind_text(&statement, 9, file->last_run_id);
    statement_bind_integer(&statement, 10, file->updated_ms ? file->updated_ms : clock_wall_ms());
    statement_bind_integer(&statement, 11, file->doubted);
    statement_bind_integer(&statement, 12, file->quarantined);
    statement_bind_text(&statement, 13, file->sidecar);
    statement_bind_integer(&statement, 14, file->requeued);
    if (statement_run(store, &statement, error) < 0)
        return -1;
    return note_name(store, id, file->name, file->hash, NULL, error);
}

int store_file_put(Store *store, const char *connection, const FileRecord *file, Error *error)
{
    return store_begin(store, error) < 0 ? -1 : store_end(store, put_file(store, connection, file, error), error);
}

static int see_file(Store *store, const char *connection, const char *name, const char *hash, bool *ret_news,
                    Error *error)
{
    int64_t id;
    if (store_connection_id(store, connection, &id, error) < 0)
        return -1;
    return note_name(store, id, name, hash, ret_news, error);
}

/* 1: known as such; 0: not. Looking first keeps a scan of files that are all known free of writes. */
static int name_is_known(Store *store, const char *connection, const char *name, const char *hash, Error *error)
{
    static const char sql[] = "SELECT 1 FROM file_names WHERE " OF_CONNECTION " AND name = ?2 AND hash = ?3";
    uint8_t digest[SHA256_SIZE];
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    statement_bind_text(&statement, 2, name);
    if (bind_hash(store, &statement, 3, hash, digest, error) < 0)
        return -1;
    return statement_step(store, &statement, error);
}

int store_file_seen(Store *store, const char *connection, const char *name, const char *hash, bool *ret_news,
                    Error *error)
{
    int r = name_is_known(store, connection, name, hash, error);
    if (r > 0)
        *ret_news = false;
    if (r != 0)
        return r < 0 ? -1 : 0;
    return store_begin(store, error) < 0
               ? -1
               : store_end(store, see_file(store, connection, name, hash, ret_news, error), error);
}

int store_file_replaced(Store *store, const char *connection, const FileRecord *file, bool *ret, Error *error)
{
    static const char sql[] =
        "SELECT 1 FROM files WHERE " OF_CONNECTION " AND name = ?2 AND state = 2 AND updated_ms > ?3";
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    statement_bind_text(&statement, 2, file->name);
    statement_bind_integer(&statement, 3, file->updated_ms);
    int r = statement_step(store, &statement, error);
    *ret = r > 0;
    return r < 0 ? -1 : 0;
}

/* Each of the files that SQL selects, with the connection as ?1. */
static int each_file(Store *store, const char *sql, const char *connection,
                     int (*each)(const FileRecord *file, void *userdata), void *userdata, Error *error)
{
    _cleanup_(statement_done) Statement statement = { 0 };
    int r = statement_get(store, sql, &statement, error);
    if (r < 0)
        return r;
    statement_bind_text(&statement, 1, connection);
    while ((r = statement_step(store, &statement, error)) > 0) {
        _cleanup_(file_record_clear) FileRecord file = file_of(&statement);
        r = each(&file, userdata);
        if (r != 0)
            return r;
    }
    return r;
}

int store_files(Store *store, const char *connection, bool failed_only,
                int (*each)(const FileRecord *file, void *userdata), void *userdata, Error *error)
{
    static const char all[] = FILE_COLUMNS "WHERE " OF_CONNECTION " ORDER BY name, updated_ms";
    static const char failed[] =
        FILE_COLUMNS "INDEXED BY files_failed WHERE " OF_CONNECTION " AND " SHOWN_FAILED " ORDER BY name";
    return each_file(store, failed_only ? failed : all, connection, each, userdata, error);
}

/* Runs SQL with the connection as ?1 and, where there is one, HASH as ?2. */
static int change_files(Store *store, const char *sql, const char *connection, const char *hash, Error *error)
{
    uint8_t digest[SHA256_SIZE];
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    if (hash && bind_hash(store, &statement, 2, hash, digest, error) < 0)
        return -1;
    return statement_run(store, &statement, error);
}

/* Runs an UPDATE with the connection as ?1, the time as ?2 and perhaps a name as ?3; RET: how many rows it changed. */
static int update_files(Store *store, const char *sql, const char *connection, const char *name, int64_t *ret,
                        Error *error)
{
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    statement_bind_integer(&statement, 2, clock_wall_ms());
    if (name)
        statement_bind_text(&statement, 3, name);
    if (statement_run(store, &statement, error) < 0)
        return -1;
    *ret = sqlite3_changes(store->db);
    return 0;
}

int store_files_reclaim(Store *store, const char *connection, int64_t *ret, Error *error)
{
    static const char sql[] =
        "UPDATE files INDEXED BY files_processing SET state = 0, updated_ms = ?2 WHERE " OF_CONNECTION " AND state = 1";
    return update_files(store, sql, connection, NULL, ret, error);
}

int store_files_doubt(Store *store, const char *connection, Error *error)
{
    static const char sql[] = "UPDATE files SET doubted = 1 WHERE " OF_CONNECTION " AND state = 2";
    return change_files(store, sql, connection, NULL, error);
}

int store_file_trust(Store *store, const char *connection, const char *hash, Error *error)
{
    static const char sql[] = "UPDATE files SET doubted = 0 WHERE " OF_CONNECTION " AND hash = ?2";
    return change_files(store, sql, connection, hash, error);
}

static int name_was_seen(Store *store, const char *connection, const char *name, Error *error)
{
    static const char sql[] = "SELECT 1 FROM file_names WHERE " OF_CONNECTION " AND name = ?2";
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    statement_bind_text(&statement, 2, name);
    return statement_step(store, &statement, error);
}

#define REQUEUE "SET forced = forced OR state = 2, state = 0, attempts = 0, error = NULL, updated_ms = ?2 WHERE "

int store_files_requeue(Store *store, const char *connection, const char *name, int64_t *ret, Error *error)
{
    static const char failed[] = "UPDATE files INDEXED BY files_failed " REQUEUE OF_CONNECTION " AND " SHOWN_FAILED;
    /* one that is being loaded right now is left to its run */
    static const char named[] = "UPDATE files " REQUEUE OF_CONNECTION " AND state <> 1 AND "
                                "hash = (SELECT hash FROM file_names WHERE " OF_CONNECTION " AND name = ?3)";
    if (name) {
        int r = name_was_seen(store, connection, name, error);
        if (r <= 0)
            return r < 0 ? -1 : STORE_E_NOT_FOUND;
    }
    if (update_files(store, name ? named : failed, connection, name, ret, error) < 0)
        return -1;
    return store_make_durable(store, error);
}

#define WITH_SIDECAR OF_CONNECTION " AND quarantined > 0 AND state = 2"
static_assert(FILE_STATE_COMMITTED == 2, "of others nothing is set aside");

int store_sidecars_requeue(Store *store, const char *connection, int64_t *ret, Error *error)
{
    static const char sql[] = "UPDATE files INDEXED BY files_quarantined SET requeued = 1 WHERE " WITH_SIDECAR;
    if (change_files(store, sql, connection, NULL, error) < 0)
        return -1;
    *ret = sqlite3_changes(store->db);
    return store_make_durable(store, error);
}

int store_sidecars_requeued(Store *store, const char *connection, int (*each)(const FileRecord *file, void *userdata),
                            void *userdata, Error *error)
{
    static const char sql[] =
        FILE_COLUMNS "INDEXED BY files_quarantined WHERE " WITH_SIDECAR " AND requeued ORDER BY name, updated_ms";
    return each_file(store, sql, connection, each, userdata, error);
}

/* What was tried of a sidecar before it was corrected is no failure any more, now that it is loaded. */
static int forget_tries(Store *store, const char *connection, const char *hash, Error *error)
{
    static const char sql[] =
        "DELETE FROM files INDEXED BY files_by_name WHERE " OF_CONNECTION " AND name = ?2 AND state = 3";
    _cleanup_(file_record_clear) FileRecord parent = { 0 };
    _cleanup_(statement_done) Statement statement = { 0 };
    int r = store_file_get(store, connection, hash, &parent, error);
    const char *name = parent.sidecar ? strrchr(parent.sidecar, '/') : NULL;
    if (r < 0 || !name)
        return r < 0 ? -1 : 0;
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    statement_bind_text(&statement, 2, name + 1);
    return statement_run(store, &statement, error);
}

static int retire_sidecar(Store *store, const char *connection, const char *hash, Error *error)
{
    static const char sql[] = "UPDATE files SET quarantined = 0, sidecar = NULL, requeued = 0 WHERE " OF_CONNECTION
                              " AND hash = ?2 AND requeued";
    if (forget_tries(store, connection, hash, error) < 0)
        return -1;
    return change_files(store, sql, connection, hash, error);
}

int store_sidecar_retired(Store *store, const char *connection, const char *hash, Error *error)
{
    return store_begin(store, error) < 0 ? -1 : store_end(store, retire_sidecar(store, connection, hash, error), error);
}

int store_files_at_cap(Store *store, const char *connection, uint32_t cap, int64_t *ret, Error *error)
{
    static const char sql[] = "SELECT count(*) FROM files INDEXED BY files_failed WHERE " OF_CONNECTION
                              " AND attempts >= max(?2, 1) AND " SHOWN_FAILED;
    _cleanup_(statement_done) Statement statement = { 0 };
    if (statement_get(store, sql, &statement, error) < 0)
        return -1;
    statement_bind_text(&statement, 1, connection);
    statement_bind_integer(&statement, 2, cap);
    if (statement_step(store, &statement, error) < 0)
        return -1;
    *ret = statement_integer(&statement, 0);
    return 0;
}
