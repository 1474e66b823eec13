/*
 * The folder is $TMPDIR's, which is /tmp as the environment was scrubbed. Whoever made it holds a lock on it, the
 * child too; so a folder that can be locked is one whose sync was killed, with all its processes. Or one that was just
 * made: another sync that starts at that moment removes it then, and whoever made it makes another.
 *
 * Everything is removed by descriptors, never following a link: what is inside was made by a foreign program, which
 * may even be changing it meanwhile.
 */
#include "connectors/worker/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/system/sandbox.h"
#include "lib/system/spawn.h"

#define SCRATCH_ROOT "/tmp"
#define SCRATCH_PREFIX "wherry-scratch-"
#define PATH_SIZE sizeof(SCRATCH_ROOT "/" SCRATCH_PREFIX "XXXXXX")
#define TRIES 100 /* sweeps that are in the way */

struct Scratch {
    char *path;
    pid_t keeper;
    int pipe; /* its end tells the keeper that the worker has ended */
};

/* Removes what syncs of this user left that were killed. */
static void sweep(void)
{
    int root = open(SCRATCH_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = root >= 0 ? fdopendir(root) : NULL;
    if (!stream) {
        close_fd(root);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(stream));) {
        struct stat status;
        if (strncmp(entry->d_name, SCRATCH_PREFIX, strlen(SCRATCH_PREFIX)) != 0)
            continue;
        _cleanup_(close_fdp) int fd = openat(root, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0)
            path_remove_tree(root, entry->d_name);
    }
    closedir(stream);
}

/* The child: nothing of the worker's but the pipe and the lock, and no right but to remove. */
static _Noreturn void keep(const char *path, int lock, int pipe_end)
{
    int lock_copy = fcntl(lock, F_DUPFD_CLOEXEC, FD_OPERATIONS + 1);
    if (lock_copy < 0 || dup2(pipe_end, FD_CONTROL) < 0 || dup2(lock_copy, FD_OPERATIONS) < 0 ||
        spawn_close_from(FD_OPERATIONS + 1) < 0)
        _exit(1);
    SandboxPath paths[] = { { SCRATCH_ROOT, SANDBOX_READ | SANDBOX_CREATE } };
    SandboxPolicy policy = { .paths = paths, .path_count = ELEMENTSOF(paths) };
    unsigned layers;
    if (sandbox_enter(&policy, &layers, NULL) < 0)
        _exit(1);
    char byte;
    ssize_t n;
    do
        n = read(FD_CONTROL, &byte, 1);
    while (n > 0 || (n < 0 && errno == EINTR));
    int root = open(SCRATCH_ROOT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0)
        path_remove_tree(root, path + strlen(SCRATCH_ROOT "/"));
    _exit(0);
}

/* 0: RET_LOCK is held on the new folder PATH. 1: a sweep came between making and locking it, and has it removed. */
static int make_locked(char path[static PATH_SIZE], int *ret_lock, Error *error)
{
    struct stat locked, named;
    strcpy(path, SCRATCH_ROOT "/" SCRATCH_PREFIX "XXXXXX");
    if (!mkdtemp(path))
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot make a folder for temporary files in \"%s\"",
                               SCRATCH_ROOT);
    _cleanup_(close_fdp) int lock = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno == ENOENT || errno == EWOULDBLOCK)
            return 1;
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot keep the folder \"%s\"", path);
    }
    if (fstat(lock, &locked) < 0 || lstat(path, &named) < 0 || locked.st_ino != named.st_ino)
        return 1;
    *ret_lock = take_fd(&lock);
    return 0;
}

int scratch_new(Scratch **ret, Error *error)
{
    sweep();
    char path[PATH_SIZE];
    _cleanup_(close_fdp) int lock = -1;
    int ends[2], r = 1;
    for (unsigned tries = 0; r == 1 && tries < TRIES; tries++)
        r = make_locked(path, &lock, error);
    if (r < 0)
        return -1;
    if (r == 1 || pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, r == 1 ? EBUSY : errno, "cannot keep the folder \"%s\"", path);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_IGN); /* it is in the group of those who are told to end */
        close_fd(ends[1]);
        keep(path, lock, ends[0]);
    }
    close_fd(ends[0]);
    if (pid < 0) {
        int errnum = errno;
        close_fd(ends[1]);
        rmdir(path);
        return error_set_errno(error, ERROR_TEMPORARY, errnum, "cannot start a process");
    }
    *ret = xmalloc(sizeof(**ret));
    **ret = (Scratch){ .path = xstrdup(path), .keeper = pid, .pipe = ends[1] };
    return 0;
}

const char *scratch_path(const Scratch *scratch)
{
    return scratch->path;
}

Scratch *scratch_free(Scratch *scratch)
{
    if (!scratch)
        return NULL;
    close_fd(scratch->pipe);
    while (waitpid(scratch->keeper, NULL, 0) < 0 && errno == EINTR) {
    }
    free(scratch->path);
    free(scratch);
    return NULL;
}
