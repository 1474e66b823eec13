/*
 * What write() leaves undone, and what fsync() of a file leaves out: a signal or a full pipe ends a write early, and a
 * new name is on disk only once its folder is.
 */
#include "lib/basics/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/basics/cleanup.h"
#include "lib/basics/path.h"

int file_write_all(int fd, const void *data, size_t n)
{
    for (const char *at = data; n > 0;) {
        ssize_t written = write(fd, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        at += written;
        n -= (size_t)written;
    }
    return 0;
}

int file_sync_folder_of(const char *path)
{
    _cleanup_(freep) char *folder = path_folder(path);
    _cleanup_(close_fdp) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return fsync(fd) < 0 && errno != EINVAL ? -1 : 0;
}
