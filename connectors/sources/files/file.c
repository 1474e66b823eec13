/*
 * A file may be written while it is read. What can be known of that from outside: two passes over the same descriptor,
 * the hash of both, and size and modification time before and after. (A read lease would tell that a writer still has
 * the file open, but only to the file's owner, and it would hold up that writer.)
 */
#include "connectors/sources/files/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/basics/buffer.h"

#define DRAIN_BLOCK_SIZE (256u << 10)

static int changed(Error *error)
{
    return error_set(error, ERROR_CHANGED,
                     "still being written: it changed while it was read and waits for the next run");
}

int data_file_open(DataFile *ret, int fd, const char *name, Sha256 *sha256, Error *error)
{
    DataFile file = { .fd = fd, .name = name, .sha256 = sha256 };
    if (fstat(fd, &file.before) < 0) {
        close_fd(fd);
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read");
    }
    file.size = (uint64_t)file.before.st_size;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    sha256_restart(sha256);
    *ret = file;
    return 0;
}

void data_file_close(DataFile *file)
{
    file->fd = close_fd(file->fd);
}

int data_file_rewind(DataFile *file, Error *error)
{
    if (lseek(file->fd, 0, SEEK_SET) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read again");
    file->read = 0;
    sha256_restart(file->sha256);
    if (file->salt)
        sha256_update(file->sha256, file->salt, SHA256_SIZE);
    return 0;
}

static int data_file_read(void *context, void *data, size_t n, size_t *ret, Error *error)
{
    DataFile *file = context;
    ssize_t got;
    do
        got = read(file->fd, data, n);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read at byte %llu",
                               (unsigned long long)file->read + 1);
    file->read += (uint64_t)got;
    /* A file that grows while it is read would never end. */
    if (file->read > file->size)
        return changed(error);
    sha256_update(file->sha256, data, (size_t)got);
    *ret = (size_t)got;
    return file->progress ? file->progress(file->context, (uint64_t)got, error) : 0;
}

ByteStream data_file_stream(DataFile *file)
{
    return (ByteStream){ .read = data_file_read, .context = file };
}

int data_file_drain(DataFile *file, Error *error)
{
    _cleanup_(freep) void *block = xmalloc(DRAIN_BLOCK_SIZE);
    size_t n = 0;
    do
        if (data_file_read(file, block, DRAIN_BLOCK_SIZE, &n, error) < 0)
            return -1;
    while (n > 0);
    return 0;
}

void data_file_hash(DataFile *file, uint8_t ret[static SHA256_SIZE])
{
    sha256_finish(file->sha256, ret);
}

int data_file_unchanged(const DataFile *file, Error *error)
{
    struct stat now;
    if (fstat(file->fd, &now) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot be read");
    const struct stat *before = &file->before;
    bool same = now.st_size == before->st_size && now.st_mtim.tv_sec == before->st_mtim.tv_sec &&
                now.st_mtim.tv_nsec == before->st_mtim.tv_nsec && file->read == file->size;
    if (file->at_random)
        same = same && now.st_ctim.tv_sec == before->st_ctim.tv_sec && now.st_ctim.tv_nsec == before->st_ctim.tv_nsec;
    return same ? 0 : changed(error);
}
