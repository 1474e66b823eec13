/*
 * What a hostile program tries, one small function each, and their table at the end. Raw system calls where the C
 * library would get in between (it caches, retries, or refuses by itself).
 */
#include "tests/integration/sandbox-attempts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "lib/basics/buffer.h"

#define PROTOCOL_MPTCP 262

/* The path of NAME beside the file outside. */
static const char *beside(const Target *target, const char *name)
{
    static char path[PATH_MAX];
    const char *slash = strrchr(target->outside, '/');
    snprintf(path, sizeof path, "%.*s/%s", (int)(slash - target->outside), target->outside, name);
    return path;
}

/* --- files --- */

ATTEMPT(open_outside)
{
    return opened(open(target->outside, O_RDONLY));
}
ATTEMPT(open_outside_for_writing)
{
    return opened(open(target->outside, O_WRONLY));
}
ATTEMPT(open_through_link)
{
    return opened(open(joined(target->inside, "link"), O_RDONLY));
}
ATTEMPT(open_dotdot)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/../../../../../../../../etc/passwd", target->inside);
    return opened(open(path, O_RDONLY));
}
ATTEMPT(create_outside)
{
    return opened(open(beside(target, "new"), O_WRONLY | O_CREAT | O_EXCL, 0600));
}
ATTEMPT(list_outside)
{
    return opened(open(beside(target, "."), O_RDONLY | O_DIRECTORY));
}
ATTEMPT(open_passwd)
{
    return opened(open("/etc/passwd", O_RDONLY));
}
ATTEMPT(open_daemon_environment)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)target->victim);
    return opened(open(path, O_RDONLY));
}
ATTEMPT(open_daemon_memory)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)target->victim);
    return opened(open(path, O_RDWR));
}
ATTEMPT(open_cgroup)
{
    return opened(open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY));
}
ATTEMPT(truncate_outside)
{
    return result(truncate(target->outside, 0));
}
ATTEMPT(chmod_outside)
{
    return result(chmod(target->outside, 0666));
}
ATTEMPT(chown_outside)
{
    return result(chown(target->outside, (uid_t)-1, (gid_t)-1));
}
ATTEMPT(utime_outside)
{
    return result(utimensat(AT_FDCWD, target->outside, NULL, 0));
}
ATTEMPT(setxattr_outside)
{
    return result(setxattr(target->outside, "user.wherry", "1", 1, 0));
}
ATTEMPT(remove_outside)
{
    return result(unlink(target->outside));
}
ATTEMPT(rename_outside)
{
    return result(rename(target->outside, beside(target, "renamed")));
}
ATTEMPT(mkdir_outside)
{
    return result(mkdir(beside(target, "folder"), 0700));
}
ATTEMPT(link_outside)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/linked", target->inside);
    return result(link(target->outside, path));
}
ATTEMPT(symlink_inside)
{
    return result(symlink("/etc/passwd", joined(target->inside, "symlink")));
}
ATTEMPT(mknod_inside)
{
    return result(mknod(joined(target->inside, "node"), S_IFCHR | 0600, 0));
}
ATTEMPT(mkfifo_inside)
{
    return result(mkfifo(joined(target->inside, "fifo"), 0600));
}
ATTEMPT(write_inside)
{
    return opened(open(joined(target->inside, "file"), O_WRONLY));
}
ATTEMPT(create_inside)
{
    return opened(open(joined(target->inside, "new"), O_WRONLY | O_CREAT, 0600));
}
ATTEMPT(remove_inside)
{
    return result(unlink(joined(target->inside, "spare")));
}
ATTEMPT(open_by_handle)
{
    return result(syscall(SYS_open_by_handle_at, AT_FDCWD, NULL, O_RDONLY));
}
ATTEMPT(inotify)
{
    return opened((int)syscall(SYS_inotify_init1, 0));
}
ATTEMPT(fanotify)
{
    return opened((int)syscall(SYS_fanotify_init, 0, 0));
}

/* --- programs and executable memory --- */

ATTEMPT(execve)
{
    char name[] = "true", *argv[] = { name, NULL }, *environment[] = { NULL };
    return result(execve("/bin/true", argv, environment));
}
ATTEMPT(execveat)
{
    char name[] = "true", *argv[] = { name, NULL }, *environment[] = { NULL };
    return result(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, environment, 0));
}
ATTEMPT(execute_memory_file)
{
    int fd = (int)syscall(SYS_memfd_create, "program", 0);
    if (fd < 0)
        return errno;
    if (write(fd, "#!/bin/true\n", 12) < 0)
        return errno;
    char name[] = "true", *argv[] = { name, NULL }, *environment[] = { NULL };
    return result(syscall(SYS_execveat, fd, "", argv, environment, AT_EMPTY_PATH));
}
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

/* --- processes --- */

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
    return result(setrlimit(RLIMIT_CORE, &limit));
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

/* The effective user id that a set-user-id program gets. */
ATTEMPT(setuid_program)
{
    int fds[2];
    if (pipe(fds) < 0)
        return errno;
    pid_t pid = fork();
    if (pid < 0)
        return errno;
    if (pid == 0) {
        dup2(fds[1], 1);
        execl(target->setuid, "id", "-u", NULL);
        _exit(errno);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], ret, size - 1);
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    ret[n > 0 ? n - 1 : 0] = '\0';
    return 0;
}

/* --- sockets --- */

static int try_socket(int family, int type, int protocol)
{
    return opened(socket(family, type, protocol));
}

ATTEMPT(socket_inet)
{
    return try_socket(AF_INET, SOCK_STREAM, 0);
}
ATTEMPT(socket_inet6)
{
    return try_socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP);
}
ATTEMPT(socket_udp)
{
    return try_socket(AF_INET, SOCK_DGRAM, 0);
}
ATTEMPT(socket_mptcp)
{
    return try_socket(AF_INET, SOCK_STREAM, PROTOCOL_MPTCP);
}
ATTEMPT(socket_raw)
{
    return try_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}
ATTEMPT(socket_ping)
{
    return try_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}
ATTEMPT(socket_netlink)
{
    return try_socket(AF_NETLINK, SOCK_RAW, 0);
}
ATTEMPT(socket_packet)
{
    return try_socket(AF_PACKET, SOCK_RAW, 0);
}
ATTEMPT(socket_vsock)
{
    return try_socket(AF_VSOCK, SOCK_STREAM, 0);
}
ATTEMPT(socket_crypto)
{
    return try_socket(AF_ALG, SOCK_SEQPACKET, 0);
}
ATTEMPT(socket_unix)
{
    return try_socket(AF_UNIX, SOCK_STREAM, 0);
}
ATTEMPT(socket_unix_datagram)
{
    return try_socket(AF_UNIX, SOCK_DGRAM, 0);
}
/* The type's upper bits are flags: they must not hide another type. */
ATTEMPT(socket_unix_flags)
{
    return try_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int connect_unix(const struct sockaddr_un *address, socklen_t length)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int r = result(connect(fd, (const struct sockaddr *)address, length));
    close(fd);
    return r;
}

ATTEMPT(connect_control_socket)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", target->socket);
    return connect_unix(&address, sizeof address);
}
ATTEMPT(connect_abstract_socket)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t length = strlen(target->abstract);
    memcpy(address.sun_path + 1, target->abstract, length);
    return connect_unix(&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length));
}
/* A datagram socketpair may send to any socket's path: the journal's, the service manager's. */
ATTEMPT(datagram_to_path)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) < 0)
        return errno;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s", target->datagram);
    return result(sendto(fds[0], "x", 1, 0, (struct sockaddr *)&address, sizeof address));
}

static struct sockaddr_in loopback(const Target *target)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)target->port),
                                 .sin_addr = { htonl(INADDR_LOOPBACK) } };
}

static int tcp_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

ATTEMPT(connect_port)
{
    struct sockaddr_in address = loopback(target);
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(connect(fd, (struct sockaddr *)&address, sizeof address));
}
ATTEMPT(connect_port_fastopen)
{
    struct sockaddr_in address = loopback(target);
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&address, sizeof address));
}
ATTEMPT(connect_port_fastopen_message)
{
    struct sockaddr_in address = loopback(target);
    char byte = 0;
    struct iovec data = { &byte, 1 };
    struct msghdr message = { .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1 };
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(sendmsg(fd, &message, MSG_FASTOPEN));
}
ATTEMPT(connect_port_fastopen_messages)
{
    struct sockaddr_in address = loopback(target);
    char byte = 0;
    struct iovec data = { &byte, 1 };
    struct mmsghdr message = {
        .msg_hdr = { .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &data, .msg_iovlen = 1 }
    };
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    return result(sendmmsg(fd, &message, 1, MSG_FASTOPEN));
}
/* What is kept from fast open must not keep from sending at all. */
ATTEMPT(send_fastopen_on_pair)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return errno;
    return result(send(fds[0], "x", 1, MSG_FASTOPEN));
}
ATTEMPT(listen)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = tcp_socket();
    if (fd < 0)
        return errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return errno;
    return result(listen(fd, 1));
}
/* Without bind() the kernel picks the port, and Landlock sees nothing. */
ATTEMPT(listen_without_bind)
{
    int fd = tcp_socket();
    return fd < 0 ? errno : result(listen(fd, 1));
}

/* --- the kernel --- */

ATTEMPT(io_uring)
{
    return result(syscall(SYS_io_uring_setup, 1, NULL));
}
ATTEMPT(bpf)
{
    return result(syscall(SYS_bpf, 0, NULL, 0));
}
ATTEMPT(mount)
{
    return result(mount("none", "/nonexistent", "tmpfs", 0, NULL));
}
ATTEMPT(umount)
{
    return result(umount2("/nonexistent", 0));
}
ATTEMPT(pivot_root)
{
    return result(syscall(SYS_pivot_root, "/nonexistent", "/nonexistent"));
}
ATTEMPT(chroot)
{
    return result(chroot("/nonexistent"));
}
ATTEMPT(unshare)
{
    return result(unshare(CLONE_NEWUSER));
}
ATTEMPT(setns)
{
    return result(setns(-1, 0));
}
ATTEMPT(keyctl)
{
    return result(syscall(SYS_keyctl, 0, -3, 0));
}
ATTEMPT(add_key)
{
    return result(syscall(SYS_add_key, "user", "wherry", "x", 1, -1));
}
ATTEMPT(kexec)
{
    return result(syscall(SYS_kexec_load, 0, 1, NULL, -1));
}
ATTEMPT(load_module)
{
    return result(syscall(SYS_finit_module, -1, "", 0));
}
ATTEMPT(reboot)
{
    return result(syscall(SYS_reboot, 0, 0, 0, NULL)); /* wrong magic numbers */
}
ATTEMPT(swapon)
{
    return result(syscall(SYS_swapon, "/nonexistent", 0));
}
ATTEMPT(perf_event)
{
    return result(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
}
ATTEMPT(userfaultfd)
{
    return opened((int)syscall(SYS_userfaultfd, 0));
}
ATTEMPT(memory_file)
{
    return opened((int)syscall(SYS_memfd_create, "x", 0));
}
ATTEMPT(personality)
{
    return result(syscall(SYS_personality, 0x0400000)); /* READ_IMPLIES_EXEC */
}
ATTEMPT(type_into_terminal)
{
    return result(syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x"));
}
/* ioctl() looks at 32 bits of its request. */
ATTEMPT(type_into_terminal_high)
{
    return result(syscall(SYS_ioctl, 0, 0x100005412, "x"));
}
ATTEMPT(install_filter)
{
    return result(syscall(SYS_seccomp, 1, 0, NULL));
}
ATTEMPT(shared_memory)
{
    return result(syscall(SYS_shmget, 0, 4096, 0600));
}
ATTEMPT(syslog)
{
    return result(syscall(SYS_syslog, 10, NULL, 0));
}
ATTEMPT(set_clock)
{
    return result(syscall(SYS_clock_settime, CLOCK_REALTIME, NULL));
}
ATTEMPT(x32_call)
{
#ifdef __x86_64__
    return result(syscall(0x40000000 | SYS_getpid));
#else
    kill(getpid(), SIGSYS); /* there is no such thing: as good as refused */
    return 0;
#endif
}
ATTEMPT(unknown_call)
{
    return result(syscall(600));
}

#define LISTED(name)             \
    {                            \
#name, try_##name, false \
    }
#define ENDS(name)              \
    {                           \
#name, try_##name, true \
    }

const Attempt hostile_attempts[] = {
    LISTED(open_outside),
    LISTED(open_outside_for_writing),
    LISTED(open_through_link),
    LISTED(open_dotdot),
    LISTED(create_outside),
    LISTED(list_outside),
    LISTED(open_passwd),
    LISTED(open_daemon_environment),
    LISTED(open_daemon_memory),
    LISTED(open_cgroup),
    LISTED(chmod_outside),
    LISTED(chown_outside),
    LISTED(utime_outside),
    LISTED(setxattr_outside),
    LISTED(link_outside),
    LISTED(rename_outside),
    LISTED(truncate_outside),
    LISTED(mkdir_outside),
    LISTED(symlink_inside),
    LISTED(mknod_inside),
    LISTED(mkfifo_inside),
    LISTED(write_inside),
    LISTED(create_inside),
    LISTED(remove_inside),
    ENDS(open_by_handle),
    LISTED(inotify),
    ENDS(fanotify),
    LISTED(execute_memory_file),
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
    LISTED(socket_inet),
    LISTED(socket_inet6),
    LISTED(socket_udp),
    LISTED(socket_mptcp),
    LISTED(socket_raw),
    LISTED(socket_ping),
    LISTED(socket_netlink),
    LISTED(socket_packet),
    LISTED(socket_vsock),
    LISTED(socket_crypto),
    LISTED(socket_unix),
    LISTED(socket_unix_datagram),
    LISTED(socket_unix_flags),
    LISTED(connect_control_socket),
    LISTED(connect_abstract_socket),
    LISTED(datagram_to_path),
    LISTED(connect_port),
    LISTED(connect_port_fastopen),
    LISTED(connect_port_fastopen_message),
    LISTED(connect_port_fastopen_messages),
    LISTED(send_fastopen_on_pair),
    LISTED(listen),
    LISTED(listen_without_bind),
    ENDS(io_uring),
    ENDS(bpf),
    ENDS(mount),
    ENDS(umount),
    ENDS(pivot_root),
    ENDS(chroot),
    ENDS(unshare),
    ENDS(setns),
    ENDS(keyctl),
    ENDS(add_key),
    ENDS(kexec),
    ENDS(load_module),
    ENDS(reboot),
    ENDS(swapon),
    ENDS(perf_event),
    ENDS(userfaultfd),
    LISTED(memory_file),
    LISTED(personality),
    LISTED(type_into_terminal),
    LISTED(type_into_terminal_high),
    LISTED(install_filter),
    LISTED(shared_memory),
    ENDS(syslog),
    ENDS(set_clock),
    ENDS(x32_call),
    LISTED(unknown_call),
    LISTED(setuid_program),
    /* last: where they succeed, nothing after them does */
    LISTED(remove_outside),
    LISTED(execve),
    LISTED(execveat),
    { NULL },
};
