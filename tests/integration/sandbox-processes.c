/* What a hostile program tries with memory that it could execute, processes of its own, and the daemon's. */
#include "tests/integration/sandbox-attempts.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

ATTEMPT(map_writable_executable)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? errno : 0;
}
ATTEMPT(make_executable)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? errno : result(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}

static int child_exits(pid_t pid)
{
    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : result(waitpid(pid, NULL, 0));
}

ATTEMPT(fork)
{
    return child_exits(fork());
}
ATTEMPT(vfork)
{
#ifdef SYS_vfork
    pid_t pid = vfork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : 0;
#else
    return child_exits((pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0));
#endif
}
ATTEMPT(clone3)
{
    struct clone_args arguments = { .exit_signal = SIGCHLD };
    return child_exits((pid_t)syscall(SYS_clone3, &arguments, sizeof arguments));
}
ATTEMPT(clone_user_namespace)
{
    return child_exits((pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
}
ATTEMPT(clone_sibling)
{
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        _exit(0);
    return pid < 0 ? errno : 0;
}
/* Stays behind, in a session of its own, if it can. */
ATTEMPT(outlive)
{
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0) {
        if (fork() == 0) {
            setsid();
            sleep(30);
        }
        _exit(0);
    }
    return result(waitpid(pid, NULL, 0));
}
ATTEMPT(setsid)
{
    return result(setsid());
}
ATTEMPT(setpgid)
{
    return result(setpgid(0, getpgid(getppid())));
}
/* Every setsid() of a group's leader fails: a child that is none shows whether it may. */
ATTEMPT(setsid_of_child)
{
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0)
        _exit(setsid() < 0 ? errno : 0);
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}
ATTEMPT(clear_parent_death_signal)
{
    return result(prctl(PR_SET_PDEATHSIG, 0));
}
ATTEMPT(become_dumpable)
{
    return result(prctl(PR_SET_DUMPABLE, 1));
}
ATTEMPT(become_subreaper)
{
    return result(prctl(PR_SET_CHILD_SUBREAPER, 1));
}
ATTEMPT(signal_daemon)
{
    return result(kill(target->victim, SIGWINCH)); /* ignored by default */
}
ATTEMPT(signal_daemon_thread)
{
    return result(syscall(SYS_tgkill, target->victim, target->victim, SIGWINCH));
}
ATTEMPT(signal_daemon_tkill)
{
    return result(syscall(SYS_tkill, target->victim, SIGWINCH));
}
ATTEMPT(signal_daemon_queue)
{
    siginfo_t info = { .si_signo = SIGWINCH, .si_code = SI_QUEUE };
    return result(syscall(SYS_rt_sigqueueinfo, target->victim, SIGWINCH, &info));
}
ATTEMPT(signal_daemon_pidfd)
{
    int fd = (int)syscall(SYS_pidfd_open, target->victim, 0);
    if (fd < 0)
        return errno;
    return result(syscall(SYS_pidfd_send_signal, fd, SIGWINCH, NULL, 0));
}
/* The kernel would send SIGIO on our behalf. */
ATTEMPT(signal_daemon_owner)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return errno;
    return result(fcntl(fds[0], F_SETOWN, target->victim));
}
ATTEMPT(signal_everyone)
{
    return result(kill(-1, 0));
}
ATTEMPT(ptrace_daemon)
{
    return result(ptrace(PTRACE_SEIZE, target->victim, NULL, NULL));
}
ATTEMPT(ptrace_self)
{
    return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}
ATTEMPT(read_daemon_memory)
{
    char byte;
    struct iovec local = { &byte, 1 }, remote = { &byte, 1 };
    return result(process_vm_readv(target->victim, &local, 1, &remote, 1, 0));
}
ATTEMPT(write_daemon_memory)
{
    char byte;
    struct iovec local = { &byte, 0 }, remote = { &byte, 0 };
    return result(process_vm_writev(target->victim, &local, 1, &remote, 1, 0));
}
ATTEMPT(take_daemon_descriptor)
{
    return result(syscall(SYS_pidfd_getfd, -1, 0, 0));
}
ATTEMPT(compare_daemon)
{
    return result(syscall(SYS_kcmp, getpid(), target->victim, 0, 0, 0));
}
ATTEMPT(limit_daemon)
{
    struct rlimit limit = { 1024, RLIM_INFINITY };
    return result(prlimit(target->victim, RLIMIT_CORE, NULL, &limit));
}
ATTEMPT(raise_own_limit)
{
    struct rlimit limit = { 0, 0 };
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return errno;
    limit.rlim_max++;
    return result(setrlimit(RLIMIT_NOFILE, &limit));
}
ATTEMPT(slow_daemon)
{
    return result(setpriority(PRIO_PROCESS, (id_t)target->victim, getpriority(PRIO_PROCESS, (id_t)target->victim)));
}
ATTEMPT(pin_daemon)
{
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    return result(sched_setaffinity(target->victim, sizeof set, &set));
}
ATTEMPT(change_user)
{
    return result(syscall(SYS_setresuid, -1, -1, -1));
}
ATTEMPT(change_groups)
{
    return result(syscall(SYS_setgroups, 0, NULL));
}

const Attempt process_attempts[] = {
    LISTED(map_writable_executable),
    LISTED(make_executable),
    LISTED(fork),
    LISTED(vfork),
    LISTED(clone3),
    LISTED(clone_user_namespace),
    LISTED(clone_sibling),
    LISTED(outlive),
    LISTED(setsid),
    LISTED(setpgid),
    LISTED(setsid_of_child),
    LISTED(clear_parent_death_signal),
    LISTED(become_dumpable),
    LISTED(become_subreaper),
    LISTED(signal_daemon),
    LISTED(signal_daemon_thread),
    LISTED(signal_daemon_tkill),
    LISTED(signal_daemon_queue),
    LISTED(signal_daemon_pidfd),
    LISTED(signal_daemon_owner),
    LISTED(signal_everyone),
    ENDS(ptrace_daemon),
    ENDS(ptrace_self),
    ENDS(read_daemon_memory),
    ENDS(write_daemon_memory),
    ENDS(take_daemon_descriptor),
    ENDS(compare_daemon),
    LISTED(limit_daemon),
    LISTED(raise_own_limit),
    LISTED(slow_daemon),
    LISTED(pin_daemon),
    LISTED(change_user),
    LISTED(change_groups),
    { NULL },
};
