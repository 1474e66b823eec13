/*
 * A sidecar counts only once its file is committed, and the file's commit counts it. Of two things that cannot happen
 * at once the sidecar comes first: a sidecar too many is replaced by the next try, rows that are nowhere would be lost.
 * What is under the temporary name belongs to nobody, so that whoever takes the folder next removes it.
 *
 * The folder has an owner, written down in it, since two connections that read the same file would call their sidecars
 * the same. The lock on that note keeps out a second sync of the connection, by another daemon or by hand.
 *
 * Limits are held against what is known: too many rows as soon as they are, too large a part of them at the end.
 */
#include "connectors/sources/files/quarantine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "lib/basics/file.h"
#include "lib/basics/path.h"
#include "lib/formats/sidecar.h"

#define OWNER_NAME ".wherry-quarantine"
#define OWNER_MAX 512
#define OUTPUT_SIZE (64u << 10)
#define TEMPORARY_SUFFIX ".tmp"
#define LOADED_SUFFIX ".loaded"

static int failed(const Quarantine *quarantine, int errnum, const char *what, Error *error)
{
    bool denied = errnum == EACCES || errnum == EPERM || errnum == EROFS;
    return error_set_errno(error, ERROR_TEMPORARY, errnum, "%s in \"%s\" (\"quarantine.dir\")%s", what,
                           quarantine->path, denied ? ", where the user that runs wherryd must be able to write" : "");
}

/* --- the folder --- */

/* Makes durable that PATH is in its folder, where that may be read. */
static int sync_above(const char *path)
{
    return file_sync_folder_of(path) < 0 && errno != EACCES ? -1 : 0;
}

static int make_folders(const Quarantine *quarantine, Error *error)
{
    _cleanup_(freep) char *part = xstrdup(quarantine->path);
    for (char *slash = strchr(part + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash)
            *slash = '\0';
        if (mkdir(part, 0770) == 0 ? sync_above(part) < 0 : errno != EEXIST)
            return failed(quarantine, errno, "cannot make the folder", error);
        if (!slash)
            return 0;
        *slash = '/';
    }
}

static int sync_folder(const Quarantine *quarantine, Error *error)
{
    if (fsync(quarantine->folder) < 0 && errno != EINVAL)
        return failed(quarantine, errno, "cannot make durable what was written", error);
    return 0;
}

static int take_folder(Quarantine *quarantine, const char *connection, Error *error)
{
    char owner[OWNER_MAX + 1];
    quarantine->owner = openat(quarantine->folder, OWNER_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0660);
    if (quarantine->owner < 0)
        return failed(quarantine, errno, "cannot write", error);
    if (flock(quarantine->owner, LOCK_EX | LOCK_NB) < 0)
        return error_set(error, ERROR_TEMPORARY, "another sync writes to \"%s\" (\"quarantine.dir\")",
                         quarantine->path);
    ssize_t n = pread(quarantine->owner, owner, OWNER_MAX, 0);
    if (n < 0)
        return failed(quarantine, errno, "cannot read \"" OWNER_NAME "\"", error);
    owner[n] = '\0';
    owner[strcspn(owner, "\n")] = '\0';
    if (*owner != '\0' && strcmp(owner, connection) != 0)
        return error_set(error, ERROR_CONFIGURATION,
                         "\"%s\" (\"quarantine.dir\") holds the bad rows of connection \"%s\": give each connection a "
                         "folder of its own, or delete \"" OWNER_NAME "\" in it if that one is no more",
                         quarantine->path, owner);
    if (*owner != '\0')
        return 0;
    _cleanup_(freep) char *line = xasprintf("%s\n", connection);
    if (ftruncate(quarantine->owner, 0) < 0 || file_write_all(quarantine->owner, line, strlen(line)) < 0 ||
        fsync(quarantine->owner) < 0)
        return failed(quarantine, errno, "cannot write", error);
    return sync_folder(quarantine, error);
}

/* Calls EACH with the names in the folder until it returns other than 0. */
static int each_name(const Quarantine *quarantine, int (*each)(int folder, const char *name, void *userdata),
                     void *userdata, Error *error)
{
    int own = openat(quarantine->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own >= 0 ? fdopendir(own) : NULL;
    if (!stream) {
        int errnum = errno;
        if (own >= 0)
            close_fd(own);
        return failed(quarantine, errnum, "cannot list the files", error);
    }
    const struct dirent *entry;
    int r = 0;
    errno = 0;
    while (r == 0 && (entry = readdir(stream)))
        r = each(quarantine->folder, entry->d_name, userdata);
    int errnum = errno;
    closedir(stream);
    return r == 0 && errnum != 0 ? failed(quarantine, errnum, "cannot list the files", error) : 0;
}

static int remove_temporary(int folder, const char *name, void *userdata)
{
    static const char tail[] = SIDECAR_SUFFIX TEMPORARY_SUFFIX;
    size_t n = strlen(name);
    if (name[0] == '.' && n > sizeof(tail) && strcmp(name + n - (sizeof(tail) - 1), tail) == 0)
        unlinkat(folder, name, 0);
    errno = 0;
    return 0;
}

int quarantine_open(Quarantine *quarantine, const FilesSettings *settings, Error *error)
{
    quarantine->path = xstrdup(settings->quarantine_dir);
    quarantine->settings = settings;
    if (make_folders(quarantine, error) < 0)
        return -1;
    quarantine->folder = open(quarantine->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (quarantine->folder < 0)
        return failed(quarantine, errno, "cannot open the folder", error);
    if (take_folder(quarantine, settings->connection, error) < 0)
        return -1;
    return each_name(quarantine, remove_temporary, NULL, error);
}

void quarantine_close(Quarantine *quarantine)
{
    quarantine_end(quarantine);
    quarantine->folder = close_fd(quarantine->folder);
    quarantine->owner = close_fd(quarantine->owner);
    buffer_clear(&quarantine->output);
    free(take_ptr(quarantine->path));
}

/* --- a file's sidecar --- */

void quarantine_begin(Quarantine *quarantine, const char *name, const uint8_t hash[static SHA256_SIZE], bool limited)
{
    quarantine_end(quarantine);
    quarantine->name = sidecar_name(name, hash);
    memcpy(quarantine->hash, hash, SHA256_SIZE);
    quarantine->temporary = xasprintf(".%s" TEMPORARY_SUFFIX, quarantine->name);
    quarantine->limited = limited;
}

static int flush(Quarantine *quarantine, Error *error)
{
    Buffer *output = &quarantine->output;
    if (file_write_all(quarantine->sidecar, buffer_bytes(output), buffer_length(output)) < 0)
        return failed(quarantine, errno, "cannot write bad rows", error);
    buffer_reset(output);
    return 0;
}

static int take_row(void *context, const FileReader *reader, const Error *why, Error *error)
{
    Quarantine *quarantine = context;
    Buffer *output = &quarantine->output;
    if (!quarantine->first)
        quarantine->first = error_format(why);
    quarantine->count++;
    if (quarantine->limited && quarantine->count > quarantine->settings->max_invalid_rows)
        return error_set(error, ERROR_DATA,
                         "more than %llu bad rows, which is what \"quarantine.max_invalid_rows\" allows; the first: %s",
                         (unsigned long long)quarantine->settings->max_invalid_rows, quarantine->first);
    if (quarantine->sidecar < 0) {
        quarantine->sidecar = openat(quarantine->folder, quarantine->temporary,
                                     O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0660);
        if (quarantine->sidecar < 0)
            return failed(quarantine, errno, "cannot write bad rows", error);
    }
    /* The place stands in fields of its own. */
    const Error plain = { .kind = why->kind, .message = why->message, .value = why->value };
    _cleanup_(freep) char *text = error_format(&plain);
    const char *column = why->column ? why->column : "";
    buffer_printf(output, "{\"row_number\": %llu, \"column\": ",
                  (unsigned long long)(reader->number > 0 ? reader->number : reader->row));
    json_put_string(output, column, strlen(column));
    buffer_append_string(output, ", \"error\": ");
    json_put_string(output, text, strlen(text));
    buffer_append_string(output, ", \"row\": ");
    reader->write_row(reader, output);
    buffer_append_string(output, "}\n");
    return buffer_length(output) < OUTPUT_SIZE ? 0 : flush(quarantine, error);
}

BadRows quarantine_rows(Quarantine *quarantine)
{
    return (BadRows){ .take = take_row, .context = quarantine };
}

/* A quotient is the double nearest to the fraction that was written, so that 29 of 100 are not more than 0.29. */
static int check_fraction(const Quarantine *quarantine, uint64_t rows, Error *error)
{
    double limit = quarantine->settings->max_invalid_fraction;
    if (!quarantine->limited || rows == 0 || (double)quarantine->count / (double)rows <= limit)
        return 0;
    return error_set(error, ERROR_DATA,
                     "%llu of %llu rows are bad, more than \"quarantine.max_invalid_fraction\" (%g) allows; the first: "
                     "%s",
                     (unsigned long long)quarantine->count, (unsigned long long)rows, limit, quarantine->first);
}

/* One of the same content under another name, from a try that was cut off. */
static int remove_other(int folder, const char *name, void *userdata)
{
    const Quarantine *quarantine = userdata;
    if (sidecar_is_of(name, quarantine->hash) && strcmp(name, quarantine->name) != 0)
        unlinkat(folder, name, 0);
    errno = 0;
    return 0;
}

int quarantine_publish(Quarantine *quarantine, uint64_t rows, Error *error)
{
    if (quarantine->count == 0) {
        /* of a try that failed, or of a configuration under which they were bad */
        if (unlinkat(quarantine->folder, quarantine->name, 0) < 0 && errno != ENOENT)
            return failed(quarantine, errno, "cannot remove an old file", error);
        return 0;
    }
    if (check_fraction(quarantine, rows, error) < 0 || flush(quarantine, error) < 0)
        return -1;
    if (fsync(quarantine->sidecar) < 0)
        return failed(quarantine, errno, "cannot make durable what was written", error);
    if (renameat(quarantine->folder, quarantine->temporary, quarantine->folder, quarantine->name) < 0)
        return failed(quarantine, errno, "cannot rename a file", error);
    quarantine->published = true;
    if (each_name(quarantine, remove_other, quarantine, error) < 0)
        return -1;
    return sync_folder(quarantine, error);
}

char *quarantine_sidecar_path(const Quarantine *quarantine)
{
    return path_join(quarantine->path, quarantine->name);
}

void quarantine_withdraw(Quarantine *quarantine)
{
    if (quarantine->published)
        unlinkat(quarantine->folder, quarantine->name, 0);
    quarantine->published = false;
}

void quarantine_end(Quarantine *quarantine)
{
    if (quarantine->sidecar >= 0 && !quarantine->published)
        unlinkat(quarantine->folder, quarantine->temporary, 0);
    quarantine->sidecar = close_fd(quarantine->sidecar);
    free(take_ptr(quarantine->name));
    free(take_ptr(quarantine->temporary));
    free(take_ptr(quarantine->first));
    buffer_reset(&quarantine->output);
    quarantine->published = false;
    quarantine->count = 0;
}

/* --- sidecars that are to be loaded --- */

typedef struct Wanted {
    const uint8_t *hash;
    char *name;
} Wanted;

static int keep_wanted(int folder, const char *name, void *userdata)
{
    Wanted *wanted = userdata;
    if (!sidecar_is_of(name, wanted->hash))
        return 0;
    wanted->name = xstrdup(name);
    return 1;
}

int quarantine_find(const Quarantine *quarantine, const uint8_t hash[static SHA256_SIZE], char **ret, Error *error)
{
    Wanted wanted = { .hash = hash };
    if (each_name(quarantine, keep_wanted, &wanted, error) < 0)
        return -1;
    *ret = wanted.name;
    return 0;
}

int quarantine_retire(const Quarantine *quarantine, const char *name, Error *error)
{
    _cleanup_(freep) char *loaded = xasprintf("%s" LOADED_SUFFIX, name);
    /* The values that a person has added are no more for keeping than those that were left out. */
    int r = quarantine->settings->has_protected ? unlinkat(quarantine->folder, name, 0)
                                                : renameat(quarantine->folder, name, quarantine->folder, loaded);
    if (r < 0 && errno != ENOENT)
        return failed(quarantine, errno, "cannot rename a loaded file", error);
    return sync_folder(quarantine, error);
}
