/*
 * SQLite asks its VFS for a temporary file by opening one without a name. The shim hands out one of a few files that
 * were opened nameless (O_TMPFILE) beforehand, and takes it back, emptied, at close. Everything else is the platform
 * VFS's own, except that a journal which may not be unlinked, because the sandbox gives no right on the folder, is
 * emptied instead: to SQLite an empty journal is none (https://sqlite.org/tempfiles.html, journal_mode=TRUNCATE).
 *
 * Four files: the sorter of an index build has two at a time (runs, and the merge of runs), a statement journal is
 * one, and one is to spare.
 */
#include "connectors/destinations/sqlite/temporary.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/basics/buffer.h"
#include "lib/basics/path.h"

#define TEMPORARY_FILES 4
#define TEMPORARY_SECTOR 4096

struct TemporaryVfs {
    sqlite3_vfs base; /* a copy of the parent's, its functions still reading its own pAppData; first */
    sqlite3_vfs *parent;
    int files[TEMPORARY_FILES];
    bool in_use[TEMPORARY_FILES];
    bool registered;
};

typedef struct TemporaryFile {
    sqlite3_file base; /* first */
    int fd;
    bool *in_use;
} TemporaryFile;

static int failed_write(void)
{
    return errno == ENOSPC || errno == EDQUOT ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int temporary_close(sqlite3_file *base)
{
    TemporaryFile *file = (TemporaryFile *)base;
    *file->in_use = false;
    return ftruncate(file->fd, 0) == 0 ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static int temporary_read(sqlite3_file *base, void *data, int n, sqlite3_int64 offset)
{
    TemporaryFile *file = (TemporaryFile *)base;
    size_t have = 0, wanted = (size_t)n;
    while (have < wanted) {
        ssize_t r = pread(file->fd, (char *)data + have, wanted - have, offset + (off_t)have);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return SQLITE_IOERR_READ;
        if (r == 0) {
            memset((char *)data + have, 0, wanted - have);
            return SQLITE_IOERR_SHORT_READ;
        }
        have += (size_t)r;
    }
    return SQLITE_OK;
}

static int temporary_write(sqlite3_file *base, const void *data, int n, sqlite3_int64 offset)
{
    TemporaryFile *file = (TemporaryFile *)base;
    size_t done = 0, wanted = (size_t)n;
    while (done < wanted) {
        ssize_t r = pwrite(file->fd, (const char *)data + done, wanted - done, offset + (off_t)done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return failed_write();
        done += (size_t)r;
    }
    return SQLITE_OK;
}

static int temporary_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    return ftruncate(((TemporaryFile *)base)->fd, size) == 0 ? SQLITE_OK : SQLITE_IOERR_TRUNCATE;
}

static int temporary_sync(sqlite3_file *base, int flags)
{
    return SQLITE_OK; /* nobody reads it after a crash */
}

static int temporary_size(sqlite3_file *base, sqlite3_int64 *ret)
{
    struct stat status;
    if (fstat(((TemporaryFile *)base)->fd, &status) < 0)
        return SQLITE_IOERR_FSTAT;
    *ret = status.st_size;
    return SQLITE_OK;
}

static int temporary_lock(sqlite3_file *base, int level)
{
    return SQLITE_OK;
}

static int temporary_reserved(sqlite3_file *base, int *ret)
{
    *ret = 0;
    return SQLITE_OK;
}

static int temporary_control(sqlite3_file *base, int operation, void *argument)
{
    return SQLITE_NOTFOUND;
}

static int temporary_sector(sqlite3_file *base)
{
    return TEMPORARY_SECTOR;
}

static int temporary_characteristics(sqlite3_file *base)
{
    return 0;
}

static const sqlite3_io_methods temporary_methods = {
    .iVersion = 1,
    .xClose = temporary_close,
    .xRead = temporary_read,
    .xWrite = temporary_write,
    .xTruncate = temporary_truncate,
    .xSync = temporary_sync,
    .xFileSize = temporary_size,
    .xLock = temporary_lock,
    .xUnlock = temporary_lock,
    .xCheckReservedLock = temporary_reserved,
    .xFileControl = temporary_control,
    .xSectorSize = temporary_sector,
    .xDeviceCharacteristics = temporary_characteristics,
};

static int vfs_open(sqlite3_vfs *base, const char *name, sqlite3_file *ret, int flags, int *ret_flags)
{
    TemporaryVfs *vfs = (TemporaryVfs *)base;
    if (name)
        return vfs->parent->xOpen(base, name, ret, flags, ret_flags);
    ret->pMethods = NULL;
    for (size_t i = 0; i < TEMPORARY_FILES; i++) {
        if (vfs->in_use[i])
            continue;
        TemporaryFile *file = (TemporaryFile *)ret;
        vfs->in_use[i] = true;
        *file = (TemporaryFile){ .base = { &temporary_methods }, .fd = vfs->files[i], .in_use = &vfs->in_use[i] };
        if (ret_flags)
            *ret_flags = flags;
        return SQLITE_OK;
    }
    return SQLITE_CANTOPEN;
}

static int vfs_delete(sqlite3_vfs *base, const char *name, int sync_folder)
{
    TemporaryVfs *vfs = (TemporaryVfs *)base;
    int r = vfs->parent->xDelete(base, name, sync_folder);
    if (r != SQLITE_IOERR_DELETE)
        return r;
    _cleanup_(close_fdp) int fd = open(name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && ftruncate(fd, 0) == 0 && fsync(fd) == 0 ? SQLITE_OK : r;
}

int temporary_vfs_new(const char *folder, TemporaryVfs **ret, Error *error)
{
    TemporaryVfs *vfs = xcalloc(1, sizeof(*vfs));
    for (size_t i = 0; i < TEMPORARY_FILES; i++)
        vfs->files[i] = -1;
    for (size_t i = 0; i < TEMPORARY_FILES; i++) {
        vfs->files[i] = path_open_nameless(folder);
        if (vfs->files[i] < 0) {
            error_set_errno(error, ERROR_TEMPORARY, errno, "cannot create a temporary file in \"%s\"", folder);
            temporary_vfs_free(vfs);
            return -1;
        }
    }
    *ret = vfs;
    return 0;
}

int temporary_vfs_register(TemporaryVfs *vfs)
{
    vfs->parent = sqlite3_vfs_find(NULL);
    assert(vfs->parent);
    vfs->base = *vfs->parent;
    vfs->base.pNext = NULL;
    vfs->base.zName = TEMPORARY_VFS_NAME;
    vfs->base.szOsFile = MAX_OF(vfs->parent->szOsFile, (int)sizeof(TemporaryFile));
    vfs->base.xOpen = vfs_open;
    vfs->base.xDelete = vfs_delete;
    int r = sqlite3_vfs_register(&vfs->base, 0);
    vfs->registered = r == SQLITE_OK;
    return r;
}

TemporaryVfs *temporary_vfs_free(TemporaryVfs *vfs)
{
    if (!vfs)
        return NULL;
    if (vfs->registered)
        sqlite3_vfs_unregister(&vfs->base);
    for (size_t i = 0; i < TEMPORARY_FILES; i++)
        close_fd(vfs->files[i]);
    free(vfs);
    return NULL;
}
