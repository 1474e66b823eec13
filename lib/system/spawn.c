/*
 * Starting a program from a daemon that may be large.
 *
 * fork() copies the page tables of the whole daemon, which for 40 MB costs more than the rest of the start. So the
 * child borrows the parent's memory until it executes, as in posix_spawn(): clone(CLONE_VM | CLONE_VFORK) on a stack of
 * its own, while the spawning thread waits. Being in the parent's memory, the child may only make system calls: no
 * malloc, no stdio, no lock. In exchange it can say exactly which step failed, by writing into the caller's struct.
 * posix_spawn() itself will not do, since it cannot set a parent-death signal nor enter a cgroup.
 *
 * The parent-death signal is set before anything else and the parent is looked at after it: whichever way a dying
 * parent and the child race, the child ends. All signals are blocked over the clone, so that no handler of the parent
 * ever runs in the child; the child clears the handlers before it unblocks.
 */
#include "lib/system/spawn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/basics/cleanup.h"
#include "lib/system/sandbox-layers.h"

#define STACK_SIZE (64 << 10)

typedef struct Child {
    const SpawnOptions *options;
    const char *const *environment;
    pid_t parent;
    const char *failed; /* the step that failed, if any */
    int errnum;
} Child;

static const char *const default_environment[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                                   "LANG=C.UTF-8", "TZ=UTC", NULL };

/* Parses a descriptor's number from /proc/self/fd; -1 for "." and "..". */
CHILD_FUNCTION static int descriptor_number(const char *name)
{
    int number = 0;
    if (*name < '0' || *name > '9')
        return -1;
    for (; *name >= '0' && *name <= '9'; name++)
        number = number * 10 + (*name - '0');
    return number;
}

/* Kernels before 5.9, and filters that know no close_range: what /proc/self/fd lists, without malloc. Closing while
 * listing may skip entries, so it starts over until a pass closes nothing. */
CHILD_FUNCTION static int close_listed(int first)
{
    for (;;) {
        int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0)
            return -1;
        bool closed = false;
        union {
            struct dirent64 align;
            char bytes[2048];
        } entries;
        long n;
        while ((n = syscall(SYS_getdents64, dir, entries.bytes, sizeof entries.bytes)) > 0) {
            for (long at = 0; at < n;) {
                const struct dirent64 *entry = (const struct dirent64 *)(entries.bytes + at);
                int fd = descriptor_number(entry->d_name);
                at += entry->d_reclen;
                if (fd >= first && fd != dir)
                    closed |= close(fd) == 0;
            }
        }
        close(dir);
        if (!closed)
            return 0;
    }
}

CHILD_FUNCTION int spawn_close_from(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, UINT_MAX, 0) == 0)
        return 0;
    return close_listed(first);
}

/* Moves the parent's descriptors to where the child wants them. Sources that lie among the targets are first moved
 * above them, so that no dup2() overwrites one that is still needed. */
CHILD_FUNCTION static const char *place_descriptors(const SpawnOptions *options)
{
    int count = (int)options->descriptor_count;
    int null = -1;
    int moved[SPAWN_DESCRIPTORS_MAX];
    for (int i = 0; i < count; i++) {
        int fd = options->descriptors[i];
        if (fd < 0) {
            if (null < 0) {
                int opened = open("/dev/null", O_RDWR | O_CLOEXEC);
                if (opened < 0)
                    return "open \"/dev/null\" for";
                null = fcntl(opened, F_DUPFD_CLOEXEC, count);
            }
            fd = null;
        } else if (fd < count && fd != i) {
            fd = fcntl(fd, F_DUPFD_CLOEXEC, count);
        }
        if (fd < 0)
            return "place the descriptors of";
        moved[i] = fd;
    }
    for (int i = 0; i < count; i++) {
        if (moved[i] != i ? dup2(moved[i], i) < 0 : fcntl(i, F_SETFD, 0) < 0)
            return "place the descriptors of";
    }
    return spawn_close_from(count) < 0 ? "close the other descriptors of" : NULL;
}

/* A handler would be cleared by exec anyway, but could run in the parent's memory between unblocking and exec; an
 * ignored signal (SIGPIPE) would stay ignored. */
CHILD_FUNCTION static void reset_signals(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL); /* fails for SIGKILL, SIGSTOP and the C library's own */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

CHILD_FUNCTION static const char *prepare_and_execute(const Child *child)
{
    const SpawnOptions *options = child->options;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return "set the parent-death signal of";
    if (getppid() != child->parent)
        _exit(127); /* nobody is left to tell */
    if (!options->same_group && setpgid(0, 0) < 0)
        return "make a process group for";
    /* The whole of the new process moves: it has one thread, and "0" means the writer. */
    if (options->cgroup >= 0 && write(options->cgroup, "0", 1) != 1)
        return "enter the cgroup for";
    if (landlock_enter_program() < 0)
        return "enter the sandbox of";
    const char *failed = place_descriptors(options);
    if (failed)
        return failed;
    reset_signals();
    /* execve() promises not to write through these (POSIX); its type predates const. */
    execve(options->path, (char *const *)(uintptr_t)options->argv, (char *const *)(uintptr_t)child->environment);
    return "execute";
}

CHILD_FUNCTION static int child_main(void *userdata)
{
    Child *child = userdata;
    const char *failed = prepare_and_execute(child);
    child->errnum = errno;
    child->failed = failed;
    _exit(127);
}

static int child_failed(const Child *child, Error *error)
{
    const char *path = child->options->path;
    switch (child->errnum) {
    case ENOENT:
        return error_set(error, ERROR_CONFIGURATION,
                         "program \"%s\" is missing: wherry was built without it or is not installed completely; "
                         "\"Installing\" in its README says what each needs",
                         path);
    case EACCES:
    case ENOEXEC:
    case ENOTDIR:
    case EISDIR:
    case ELIBBAD:
        return error_set_errno(error, ERROR_CONFIGURATION, child->errnum, "cannot %s program \"%s\"", child->failed,
                               path);
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case ETXTBSY:
    case EIO:
        return error_set_errno(error, ERROR_TEMPORARY, child->errnum, "cannot %s program \"%s\"", child->failed, path);
    default:
        return error_set_errno(error, ERROR_INTERNAL, child->errnum, "cannot %s program \"%s\"", child->failed, path);
    }
}

static pid_t clone_blocked(Child *child, void *stack, int *pidfd)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid =
        clone(child_main, (char *)stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, child, pidfd);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

int spawn(const SpawnOptions *options, Process *ret, Error *error)
{
    if (options->descriptor_count > SPAWN_DESCRIPTORS_MAX)
        return error_set(error, ERROR_INTERNAL, "%zu descriptors for program \"%s\", at most %d are possible",
                         options->descriptor_count, options->path, SPAWN_DESCRIPTORS_MAX);
    void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot start program \"%s\"", options->path);

    Child child = { .options = options,
                    .environment = options->environment ? options->environment : default_environment,
                    .parent = getpid() };
    _cleanup_(close_fdp) int pidfd = -1;
    pid_t pid = clone_blocked(&child, stack, &pidfd);
    int saved = errno;
    munmap(stack, STACK_SIZE);
    if (pid < 0)
        return error_set_errno(error, saved == EAGAIN || saved == ENOMEM ? ERROR_TEMPORARY : ERROR_INTERNAL, saved,
                               "cannot start program \"%s\"", options->path);
    if (child.failed) {
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return child_failed(&child, error);
    }
    if (pidfd < 0) /* kernels before 5.2, valgrind */
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        saved = errno;
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return error_set_errno(error, ERROR_TEMPORARY, saved, "cannot watch program \"%s\"", options->path);
    }
    *ret = (Process){ .pid = pid, .pidfd = take_fd(&pidfd) };
    return 0;
}
