/*
 * Removing a database that others may have found meanwhile is only safe under SQLite's own lock: the caretaker takes
 * the exclusive one (https://sqlite.org/lockingv3.html; all lock bytes at once), sees that the file is still empty and
 * still the one under that name, and unlinks it before it lets go. Who waited for the lock finds its file moved
 * (SQLITE_READONLY_DBMOVED) instead of writing into nowhere. If anything is not so, the file stays: empty, harmless.
 */
#include "connectors/destinations/sqlite/caretaker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/basics/buffer.h"
#include "lib/system/sandbox.h"
#include "lib/system/spawn.h"

#define LOCK_BYTES_START 0x40000000 /* PENDING_BYTE, RESERVED_BYTE and the 510 shared ones */
#define LOCK_BYTES 512

struct Caretaker {
    pid_t pid;
    int pipe; /* its end tells the child that the writer has ended */
};

static void remove_if_empty(const char *const *files, size_t count)
{
    _cleanup_(close_fdp) int fd = open(files[0], O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LOCK_BYTES_START, .l_len = LOCK_BYTES };
    struct stat open_file, named;
    if (fd < 0 || fcntl(fd, F_SETLK, &lock) < 0 || fstat(fd, &open_file) < 0 || lstat(files[0], &named) < 0)
        return;
    if (open_file.st_size != 0 || open_file.st_ino != named.st_ino || open_file.st_dev != named.st_dev)
        return;
    for (size_t i = count; i > 0; i--)
        unlink(files[i - 1]);
}

static _Noreturn void live(const char *folder, const char *const *files, size_t count, int pipe_end)
{
    /* Nothing of the writer's but the pipe: neither its socket nor the operations, whose ends must be seen. */
    if (dup2(pipe_end, FD_CONTROL) < 0 || spawn_close_from(FD_CONTROL + 1) < 0)
        _exit(1);
    SandboxPath paths[] = { { folder, SANDBOX_CREATE }, { files[0], SANDBOX_READ | SANDBOX_WRITE } };
    SandboxPolicy policy = { .paths = paths, .path_count = ELEMENTSOF(paths) };
    unsigned layers;
    if (sandbox_enter(&policy, &layers, NULL) < 0)
        _exit(1);
    char byte;
    ssize_t n;
    do
        n = read(FD_CONTROL, &byte, 1);
    while (n > 0 || (n < 0 && errno == EINTR));
    remove_if_empty(files, count);
    _exit(0);
}

int caretaker_start(const char *folder, const char *const *files, size_t count, Caretaker **ret, Error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot make a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        close_fd(ends[1]);
        live(folder, files, count, ends[0]);
    }
    close_fd(ends[0]);
    if (pid < 0) {
        int errnum = errno;
        close_fd(ends[1]);
        return error_set_errno(error, ERROR_TEMPORARY, errnum, "cannot start a process");
    }
    *ret = xmalloc(sizeof(**ret));
    **ret = (Caretaker){ .pid = pid, .pipe = ends[1] };
    return 0;
}

Caretaker *caretaker_finish(Caretaker *caretaker)
{
    if (!caretaker)
        return NULL;
    close_fd(caretaker->pipe);
    while (waitpid(caretaker->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    free(caretaker);
    return NULL;
}
