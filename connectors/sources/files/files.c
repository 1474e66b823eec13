/*
 * The files of a folder, one after another, in byte order of their names. Each is read twice: once for its hash alone,
 * by which the daemon (or the destination) says whether it is known, and once to load it. Both passes go over the same
 * open descriptor, and only if both saw the same bytes, size and modification time does the file count as loaded;
 * whatever goes wrong in between, a file that changed waits for the next run and is nobody's failure.
 *
 * What is wrong with one file is told and the next one is read: only the daemon's word, a lost writer or a broken
 * folder end the sync early.
 */
#include "connectors/sources/files/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "connectors/sources/files/changes.h"
#include "connectors/sources/files/charset.h"
#include "connectors/sources/files/file.h"
#include "connectors/sources/files/folder.h"
#include "connectors/sources/files/manifest.h"
#include "connectors/sources/files/parquet.h"
#include "connectors/sources/files/quarantine.h"
#include "connectors/sources/files/reader.h"
#include "connectors/sources/files/unpack.h"
#include "lib/basics/buffer.h"
#include "lib/basics/text.h"
#include "wherry-build.h"

#define TABLE_ID 0
#define DATA_BYTES_BASE \
    (UINT64_C(256) << 20) /* of RLIMIT_DATA, beside the largest records; xz takes up to 64 MiB of it */

typedef struct FilesSource {
    FilesSettings settings;
    SandboxPath paths[4];
    Quarantine quarantine;
    struct Parquet *parquet;          /* owned; NULL: of another format */
    uint8_t (*requeued)[SHA256_SIZE]; /* owned; hashes of files whose quarantined rows are to be loaded */
    size_t requeued_count;
    bool is_sidecar; /* the file being read */
    bool plan;       /* nothing is loaded, only told */
    int folder;      /* owned; -1: there is none */
    Folder listed;
    Charset *charset; /* owned; NULL: UTF-8 */
    JsonMemory json;
    Sha256 *sha256;       /* owned */
    FrameColumn *columns; /* owned; names are the settings' */
    uint64_t bytes_total; /* of the files that may still be loaded, and were */
    Worker *worker;       /* while reading */
    const char *phase;
    char *shown_name; /* owned; of the file being read, printable */
    char *replaced;   /* owned; the file loaded before it, with write_mode truncate; NULL: none yet */
} FilesSource;

/* --- one file --- */

static int show_progress(void *context, uint64_t bytes, Error *error)
{
    FilesSource *files = context;
    bool loading = strcmp(files->phase, "loading") == 0;
    return worker_progress(files->worker, loading ? bytes : 0, files->bytes_total, files->shown_name, files->phase,
                           error);
}

static int note(FilesSource *files, const char *name, FileNote what, const char *message, Error *error)
{
    return worker_file_note(files->worker, name, strlen(name), what, message, error);
}

/* What became of a file that cannot even be hashed. */
static int note_fault(FilesSource *files, const char *name, Error *fault, Error *error)
{
    if (fault->kind != ERROR_CHANGED && fault->kind != ERROR_TEMPORARY && fault->kind != ERROR_DATA) {
        error_move(error, fault);
        return -1;
    }
    return note(files, name, fault->kind == ERROR_CHANGED ? FILE_NOTE_WAITS : FILE_NOTE_FAILED, fault->message, error);
}

static int hash_file(FilesSource *files, DataFile *file, uint8_t ret[static SHA256_SIZE], Error *error)
{
    files->phase = "scanning";
    if (data_file_drain(file, error) < 0 || data_file_unchanged(file, error) < 0)
        return -1;
    data_file_hash(file, ret);
    return 0;
}

/* All rows of the file to the pipe. */
static int load_rows(FilesSource *files, FileReader *reader, Error *error)
{
    Operation operation = files->settings.changes ? OPERATION_UPSERT : OPERATION_INSERT;
    int r;
    do {
        r = reader->read(reader, worker_rows(files->worker, TABLE_ID, operation), error);
        if (r >= 0 && worker_flush(files->worker, error) < 0)
            return -1;
    } while (r == 0);
    return r < 0 ? -1 : 0;
}

static int run_reader(FilesSource *files, FileReader *reader, uint64_t *ret_rows, uint64_t *ret_bad, Error *error)
{
    const BadRows bad_rows = quarantine_rows(&files->quarantine);
    reader->bad_rows = files->settings.quarantine ? &bad_rows : NULL;
    int r = load_rows(files, reader, error);
    *ret_rows = reader->row - reader->bad;
    *ret_bad = reader->bad;
    return r;
}

static int read_rows(FilesSource *files, ByteStream stream, uint64_t *ret_rows, uint64_t *ret_bad, Error *error)
{
    const FilesSettings *settings = &files->settings;
    _cleanup_(text_input_clear) TextInput input;
    text_input_init(&input, stream, 0, files_settings_record_max(settings));
    _cleanup_(file_reader_freep) FileReader *reader = files->is_sidecar
                                                          ? sidecar_reader_new(settings, &input, &files->json)
                                                          : file_reader_new(settings, &input, &files->json);
    return run_reader(files, reader, ret_rows, ret_bad, error);
}

/* Read at random, so that only a third look says whether the file stood still. */
static int load_parquet(FilesSource *files, DataFile *file, uint64_t *ret_rows, uint64_t *ret_bad, Error *error)
{
#if WHERRY_DUCKDB
    _cleanup_(file_reader_freep) FileReader *reader =
        parquet_reader_new(files->parquet, &files->settings, &files->json, file);
    int r = run_reader(files, reader, ret_rows, ret_bad, error);
    files->phase = "scanning";
    return data_file_rewind(file, r < 0 ? NULL : error) < 0 ? -1 : r;
#else
    return error_set(error, ERROR_INTERNAL, "this build reads no parquet");
#endif
}

/* The file's bytes through whatever unpacks and decodes them into a reader. */
static int load_text(FilesSource *files, DataFile *file, uint64_t *ret_rows, uint64_t *ret_bad, Error *error)
{
    if (files->is_sidecar)
        return read_rows(files, data_file_stream(file), ret_rows, ret_bad, error);
    uint8_t first[COMPRESSION_MAGIC_MAX];
    ssize_t n = pread(file->fd, first, sizeof(first), 0);
    if (n < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read");
    Compression compression;
    if (compression_detect(file->name, first, (size_t)n, &compression, error) < 0)
        return -1;
    if (files->settings.format == FORMAT_PARQUET && compression != COMPRESSION_NONE)
        return error_set(error, ERROR_DATA,
                         "a compressed parquet file, which cannot be read where it lies: unpack it first (parquet "
                         "compresses its columns itself)");
    if (files->settings.format == FORMAT_PARQUET)
        return load_parquet(files, file, ret_rows, ret_bad, error);
    ByteStream stream = data_file_stream(file);
    _cleanup_(unpacker_freep) Unpacker *unpacker = NULL;
    if (compression != COMPRESSION_NONE) {
        if (unpacker_new(&unpacker, stream, compression, file->size, error) < 0)
            return -1;
        stream = unpacker_stream(unpacker);
    }
    if (files->charset)
        stream = charset_stream(files->charset, stream);
    return read_rows(files, stream, ret_rows, ret_bad, error);
}

/* Whether what was loaded is what was hashed. Reads what a reader that gave up has left. */
static int compare_passes(DataFile *file, const uint8_t expected[static SHA256_SIZE], Error *error)
{
    uint8_t hash[SHA256_SIZE];
    if (data_file_drain(file, error) < 0 || data_file_unchanged(file, error) < 0)
        return -1;
    data_file_hash(file, hash);
    if (memcmp(hash, expected, SHA256_SIZE) != 0)
        return error_set(error, ERROR_CHANGED,
                         "still being written: its content changed while it was read and it waits for the next run");
    return 0;
}

static FileEnd end_of(const Error *fault)
{
    return fault->kind == ERROR_DATA      ? FILE_END_FAILED
           : fault->kind == ERROR_CHANGED ? FILE_END_CHANGED
                                          : FILE_END_ABORTED;
}

/* All rows were read and the file stood still: the bad ones get their sidecar. */
static int publish_bad_rows(FilesSource *files, uint64_t rows, uint64_t bad, Error *error)
{
    if (!files->settings.quarantine)
        return 0;
    if (files->is_sidecar && bad > 0 && rows == 0)
        return error_set(error, ERROR_DATA, "none of its rows can be loaded yet; the first: %s",
                         files->quarantine.first);
    return quarantine_publish(&files->quarantine, rows + bad, error);
}

/* A sidecar stays only where its file is committed; and one that was loaded goes. */
static int settle_bad_rows(FilesSource *files, uint64_t rows, uint64_t bad, bool *ret_loaded, Error *error)
{
    FileEnd outcome;
    if (bad == 0 && !files->is_sidecar)
        return 0;
    if (worker_file_outcome(files->worker, &outcome, error) < 0)
        return -1;
    *ret_loaded = outcome == FILE_END_LOADED;
    if (!*ret_loaded) {
        quarantine_withdraw(&files->quarantine);
    } else if (bad > 0) {
        _cleanup_(freep) char *path = quarantine_sidecar_path(&files->quarantine);
        _cleanup_(freep) char *shown = text_escape(path, strlen(path));
        worker_log(files->worker, LOG_WARNING, "%s: %llu of %llu rows are bad and were set aside in \"%s\"%s%s%s",
                   files->shown_name, (unsigned long long)bad, (unsigned long long)(rows + bad), shown,
                   files->settings.append ? "; correct them there, then \"wherryctl requeue " : "",
                   files->settings.append ? files->settings.connection : "",
                   files->settings.append ? " --quarantined\"" : "");
    }
    return 0;
}

/* What the file's producer says of it, where that is asked for. A file whose manifest is missing or wrong waits for it,
 * or is loaded all the same: source_manifest says which. */
static int read_manifest(FilesSource *files, const char *name, Manifest *ret, Error *error)
{
    bool required = files->settings.manifest == MANIFEST_REQUIRED;
    if (files->settings.manifest == MANIFEST_DISABLED || files->is_sidecar)
        return 0;
    _cleanup_(error_clear) Error why = { 0 };
    int r = manifest_read(files->folder, name, ret, &why);
    if (r == 0) {
        worker_log(files->worker, LOG_INFO, "%s comes from %s", files->shown_name, ret->source);
        return 0;
    }
    if (r == MANIFEST_E_MISSING && required)
        return error_set(error, ERROR_TEMPORARY,
                         "there is no \"%s.manifest.json\" beside it, which \"source_manifest: required\" waits for",
                         files->shown_name);
    if (r < 0 && required)
        return error_set(error, ERROR_TEMPORARY, "its manifest \"%s.manifest.json\" is not one: %s", files->shown_name,
                         why.message);
    if (r < 0)
        worker_log(files->worker, LOG_WARNING, "the manifest \"%s.manifest.json\" is not one: %s", files->shown_name,
                   why.message);
    return 0;
}

/* A file of fewer rows than were written into it was cut off on its way. */
static int check_record_count(FilesSource *files, const Manifest *manifest, uint64_t rows, Error *error)
{
    if (!manifest->counted || manifest->record_count == rows)
        return 0;
    _cleanup_(freep) char *what =
        xasprintf("the file has %llu row%s, but its manifest says %llu", (unsigned long long)rows, rows == 1 ? "" : "s",
                  (unsigned long long)manifest->record_count);
    if (files->settings.manifest == MANIFEST_REQUIRED)
        return error_set(error, ERROR_DATA, "%s: is it cut off?", what);
    worker_log(files->worker, LOG_WARNING, "%s: %s", files->shown_name, what);
    return 0;
}

/* With write_mode truncate each file takes the place of the one before. In one sync that is rarely meant. */
static void say_replacement(FilesSource *files)
{
    if (files->replaced)
        worker_log(
            files->worker, LOG_WARNING,
            "\"%s\" replaces the rows of \"%s\", which came with the same sync: with \"write_mode: truncate\" the "
            "last file in order of names is what stays",
            files->shown_name, files->replaced);
    free(files->replaced);
    files->replaced = xstrdup(files->shown_name);
}

/* The writer is told that the file would come, and nothing of it. */
static int plan_file(FilesSource *files, const DataFile *file, const WorkerFile *known, Error *error)
{
    _cleanup_(error_clear) Error fault = { 0 };
    _cleanup_(manifest_clear) Manifest manifest = { 0 };
    if (read_manifest(files, file->name, &manifest, &fault) < 0)
        return note(files, file->name, FILE_NOTE_FAILED, fault.message, error);
    return worker_file_begin(files->worker, known, error) < 0 ||
                   worker_table(files->worker, TABLE_ID, files->settings.dest_table, TABLE_DECLARED, files->columns,
                                files->settings.column_count, error) < 0
               ? -1
               : worker_file_end(files->worker, FILE_END_LOADED, known->hash, 0, 0, NULL, error);
}

static int load_file(FilesSource *files, DataFile *file, const WorkerFile *known, bool *ret_loaded, Error *error)
{
    _cleanup_(error_clear) Error fault = { 0 }, changed = { 0 };
    _cleanup_(manifest_clear) Manifest manifest = { 0 };
    uint64_t rows = 0, bad = 0;
    files->phase = "loading";
    const FilesSettings *settings = &files->settings;
    if (data_file_rewind(file, error) < 0 || worker_file_begin(files->worker, known, error) < 0 ||
        worker_table(files->worker, TABLE_ID, settings->dest_table, TABLE_DECLARED, files->columns,
                     settings->column_count, error) < 0)
        return -1;
    if (settings->quarantine)
        quarantine_begin(&files->quarantine, file->name, known->hash, !files->is_sidecar);
    if (read_manifest(files, file->name, &manifest, &fault) == 0 && load_text(files, file, &rows, &bad, &fault) == 0)
        check_record_count(files, &manifest, rows + bad, &fault);
    if (fault.kind == ERROR_CANCELLED || fault.kind == ERROR_INTERNAL || fault.kind == ERROR_CONFIGURATION) {
        error_move(error, &fault);
        return -1;
    }
    /* A fault in a file that did not stand still is not the file's. */
    if (fault.kind == ERROR_NONE || fault.kind == ERROR_DATA)
        compare_passes(file, known->hash, &changed);
    if (changed.kind == ERROR_CANCELLED || changed.kind == ERROR_INTERNAL) {
        error_move(error, &changed);
        return -1;
    }
    if (fault.kind == ERROR_NONE && changed.kind == ERROR_NONE)
        publish_bad_rows(files, rows, bad, &fault);
    Error *why = changed.kind != ERROR_NONE ? &changed : fault.kind != ERROR_NONE ? &fault : NULL;
    if (why)
        error_at_file(why, file->name);
    if (worker_file_end(files->worker, why ? end_of(why) : FILE_END_LOADED, known->hash, why ? 0 : rows, why ? 0 : bad,
                        why, error) < 0 ||
        (!why && settle_bad_rows(files, rows, bad, ret_loaded, error) < 0))
        return -1;
    quarantine_end(&files->quarantine);
    if (files->settings.truncate && !why)
        say_replacement(files);
    return 0;
}

/* RET_LOADED: the file is in the destination; told only of sidecars. */
static int read_open_file(FilesSource *files, DataFile *file, bool *ret_loaded, Error *error)
{
    *ret_loaded = false;
    _cleanup_(error_clear) Error fault = { 0 };
    WorkerFile known = { .name = file->name, .name_length = strlen(file->name), .size = file->size };
    file->progress = show_progress;
    file->context = files;
    if (hash_file(files, file, known.hash, &fault) < 0)
        return note_fault(files, file->name, &fault, error);
    FileVerdict verdict;
    if (worker_file_seen(files->worker, &known, &verdict, error) < 0)
        return -1;
    if (verdict != FILE_LOAD) {
        *ret_loaded = verdict == FILE_SKIP;
        files->bytes_total -= MIN_OF(file->size, files->bytes_total);
        return 0;
    }
    return files->plan ? plan_file(files, file, &known, error) : load_file(files, file, &known, ret_loaded, error);
}

/* PARENT: NULL, or the hash of the file whose sidecar this is. */
static int read_file(FilesSource *files, int folder, const char *name, const uint8_t *parent, bool *ret_loaded,
                     Error *error)
{
    _cleanup_(error_clear) Error fault = { 0 };
    _cleanup_(freep) char *why = NULL;
    int fd;
    free(files->shown_name);
    files->shown_name = text_escape(name, strlen(name));
    *ret_loaded = false;
    switch (folder_open_file(folder, name, parent || files->settings.file_pattern, &fd, &why)) {
    case FOLDER_IGNORED:
        worker_log(files->worker, LOG_DEBUG, "\"%s\" is not a file: ignored", files->shown_name);
        return 0;
    case FOLDER_NOTE:
        return note(files, name, FILE_NOTE_SKIPPED, why, error);
    case FOLDER_BROKEN:
        return note(files, name, FILE_NOTE_FAILED, why, error);
    case FOLDER_FILE:
        break;
    }
    DataFile file;
    if (data_file_open(&file, fd, name, files->sha256, &fault) < 0)
        return note_fault(files, name, &fault, error);
    file.salt = parent;
    file.at_random = files->settings.format == FORMAT_PARQUET && !parent;
    files->is_sidecar = parent != NULL;
    int r = data_file_rewind(&file, error);
    if (parent)
        files->bytes_total += file.size;
    if (r == 0)
        r = read_open_file(files, &file, ret_loaded, error);
    data_file_close(&file);
    return r;
}

/* The sidecar of the file with that content, as a user has ordered. */
static int read_sidecar(FilesSource *files, const uint8_t hash[static SHA256_SIZE], Error *error)
{
    _cleanup_(freep) char *name = NULL;
    bool loaded;
    if (quarantine_find(&files->quarantine, hash, &name, error) < 0)
        return -1;
    if (name) {
        if (read_file(files, files->quarantine.folder, name, hash, &loaded, error) < 0)
            return -1;
        if (!loaded)
            return 0; /* was told; the order stands */
        if (quarantine_retire(&files->quarantine, name, error) < 0)
            return -1;
    }
    /* Without a sidecar: it was loaded and the daemon not told, or somebody has removed it. */
    return worker_file_retired(files->worker, hash, error);
}

/* --- the source --- */

static void files_close(void *source)
{
    FilesSource *files = source;
    close_fd(files->folder);
    folder_clear(&files->listed);
    quarantine_close(&files->quarantine);
#if WHERRY_DUCKDB
    parquet_free(files->parquet);
#endif
    free(files->requeued);
    charset_free(files->charset);
    json_memory_clear(&files->json);
    sha256_free(files->sha256);
    free(files->columns);
    free(files->shown_name);
    free(files->replaced);
    files_settings_clear(&files->settings);
    free(files);
}

static int open_folder(FilesSource *files, Error *error)
{
    const char *dir = files->settings.dir;
    files->folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->folder >= 0 || errno == ENOENT)
        return 0;
    if (errno == ENOTDIR)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" is not a folder: set \"source.dir\" to one", dir);
    if (errno == EACCES || errno == EPERM)
        return error_set(error, ERROR_TEMPORARY,
                         "cannot read the folder \"%s\": permission denied; let the user that runs wherryd read it",
                         dir);
    return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot open the folder \"%s\"", dir);
}

static void describe_columns(FilesSource *files)
{
    const FilesSettings *settings = &files->settings;
    files->columns = xcalloc(settings->column_count, sizeof(FrameColumn));
    for (size_t i = 0; i < settings->column_count; i++) {
        const FileColumn *column = &settings->columns[i];
        files->columns[i] =
            (FrameColumn){ .name = frame_text(column->dest),
                           .type = column->protected ? COLUMN_STRING : column->type,
                           .flags = (uint8_t)(COLUMN_DECLARED | (column->required ? COLUMN_REQUIRED : 0)) };
        if (settings->changes)
            files->columns[i].flags |= changes_flags(settings->changes, i);
        if (files->columns[i].flags & COLUMN_IS_DELETED)
            files->columns[i].type = COLUMN_BOOLEAN;
    }
}

/* DuckDB gets half of what the sync may use where that is said. */
static int open_parquet(FilesSource *files, SandboxPolicy *policy, Error *error)
{
    policy->data_bytes = DATA_BYTES_BASE + 4 * (uint64_t)files_settings_record_max(&files->settings);
    if (files->settings.format != FORMAT_PARQUET)
        return 0;
#if WHERRY_DUCKDB
    /* DuckDB looks for its group's limits, and ends the process where such a file is there and cannot be read. */
    files->paths[policy->path_count++] = (SandboxPath){ .path = "/proc/self/cgroup", .access = SANDBOX_READ };
    files->paths[policy->path_count++] = (SandboxPath){ .path = "/sys/fs/cgroup", .access = SANDBOX_READ };
    uint64_t memory = files->settings.memory > 0 ? files->settings.memory / 2 : PARQUET_MEMORY_DEFAULT;
    policy->data_bytes += 2 * memory; /* what it takes beside its own count */
    return parquet_open(files->settings.duckdb_library, memory, &files->parquet, error);
#else
    return error_set(
        error, ERROR_CONFIGURATION,
        "this wherry was built without DuckDB, which reads parquet files; run \"subprojects/fetch duckdb\", "
        "then \"meson setup --reconfigure\" with the build's folder, and build again");
#endif
}

static void take_requeued(FilesSource *files, const json_t *list)
{
    size_t count = json_array_size(list);
    files->requeued = xcalloc(count + 1, sizeof(*files->requeued));
    for (size_t i = 0; i < count; i++) {
        const char *hash = json_string_value(json_array_get(list, i));
        if (hash && sha256_from_text(hash, files->requeued[files->requeued_count]))
            files->requeued_count++;
    }
}

static int open_quarantine(FilesSource *files, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    if (!files->settings.quarantine || files->plan)
        return 0;
    if (quarantine_open(&files->quarantine, &files->settings, error) < 0)
        return -1;
    take_requeued(files, json_object_get(configuration, "requeued"));
    files->paths[policy->path_count++] = (SandboxPath){ .path = files->settings.quarantine_dir,
                                                        .access = SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE };
    return 0;
}

static int files_open(void **ret, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    FilesSource *files = xcalloc(1, sizeof(*files));
    files->folder = -1;
    files->plan = json_is_true(json_object_get(configuration, "plan"));
    files->quarantine = QUARANTINE_NONE;
    files->paths[policy->path_count++] = (SandboxPath){ .access = SANDBOX_READ };
    policy->paths = files->paths;
    json_memory_init(&files->json);
    if (files_settings_parse(configuration, &files->settings, error) < 0 ||
        charset_new(&files->charset, files->settings.encoding, error) < 0 || open_folder(files, error) < 0 ||
        open_parquet(files, policy, error) < 0 || open_quarantine(files, configuration, policy, error) < 0) {
        files_close(files);
        return -1;
    }
    files->sha256 = sha256_new();
    describe_columns(files);
    files->paths[0].path = files->settings.dir;
    policy->network = SANDBOX_NETWORK_NONE;
    *ret = files;
    return 0;
}

static int files_check(void *source, Error *error)
{
    FilesSource *files = source;
    if (files->folder < 0)
        return 0;
    if (folder_list(files->folder, files->settings.file_pattern, &files->listed, error) < 0) {
        error_prefix(error, "\"%s\": ", files->settings.dir);
        return -1;
    }
    for (size_t i = 0; i < files->listed.count; i++) {
        struct stat info;
        if (fstatat(files->folder, files->listed.names[i], &info, 0) == 0 && S_ISREG(info.st_mode))
            files->bytes_total += (uint64_t)info.st_size;
    }
    return 0;
}

static int files_read(void *source, Worker *worker, Error *error)
{
    FilesSource *files = source;
    files->worker = worker;
    for (size_t i = 0; i < files->requeued_count; i++)
        if (read_sidecar(files, files->requeued[i], error) < 0)
            return -1;
    if (files->folder < 0) {
        worker_log(worker, LOG_NOTICE, "the folder \"%s\" does not exist: nothing to load", files->settings.dir);
        return 0;
    }
    for (size_t i = 0; i < files->listed.count; i++) {
        bool loaded;
        if (read_file(files, files->folder, files->listed.names[i], NULL, &loaded, error) < 0)
            return -1;
    }
    return 0;
}

const Source source_files = {
    .program = "source-files", .open = files_open, .check = files_check, .read = files_read, .close = files_close
};
