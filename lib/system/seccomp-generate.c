/*
 * Writes the seccomp filters as C, at build time.
 *
 * libseccomp needs 0.75 ms to build a filter, a worker's whole start takes four: so the filters are built here, one for
 * each combination of what a policy can ask for, and a program only installs a constant array. What is refused answers
 * EPERM; what no honest program of ours ever calls ends the process. System calls newer than this list answer ENOSYS,
 * so that a newer C library falls back to the older call instead of giving up.
 *
 * Two kinds of program are told apart. A native one (our own C) runs no program, makes threads but no processes,
 * signals nobody but itself and never has memory that is both writable and executable. One that may execute is a
 * foreign interpreter and its children: its signals are bounded by Landlock's scope, its processes by the process group
 * that it cannot leave. Neither can change what Landlock does not see: modes, owners, times and sizes by path
 * (truncate() is outside Landlock before Linux 6.2, chmod() and its like are to this day), a signal sent by the kernel
 * on behalf of fcntl(F_SETOWN), a datagram to a socket path from a socketpair().
 *
 * Arguments are compared only to let a call pass, never to refuse it: the kernel looks at 32 bits of most of them, and
 * a comparison that refuses could be slipped past with the other 32.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/basics/cleanup.h"
#include "lib/system/seccomp-profiles.h"

/* Stands for the process's own id, which is put in when the filter is installed. No pid is that large (PID_MAX_LIMIT).
 */
#define OWN_PID UINT32_C(0x7f5eed01)

/* The first number that libseccomp 2.5 (Debian 12) has no name for: cachestat. Numbers are the same on all
 * architectures from 424 on. */
#define FIRST_UNKNOWN_SYSCALL 451
#define X32_SYSCALL_BIT UINT32_C(0x40000000)

#define NAMESPACE_FLAGS \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define SOCKET_TYPE_MASK 0xf

typedef struct Generator {
    scmp_filter_ctx filter;
    uint32_t architecture;
    unsigned profile; /* SECCOMP_… of seccomp-profiles.h */
    unsigned number;  /* of its profile */
    bool sanitized;
} Generator;

/* --- what is allowed --- */

static const char *const allowed[] = {
    /* files, by descriptor and through Landlock by path */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
    "close", "close_range", "dup", "dup2", "dup3", "open", "openat", "openat2", "creat", "fstat", "stat", "lstat",
    "newfstatat", "statx", "statfs", "fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat",
    "getdents", "getdents64", "getcwd", "chdir", "fchdir", "umask", "unlink", "unlinkat", "rename", "renameat",
    "renameat2", "mkdir", "mkdirat", "rmdir", "ftruncate", "fallocate", "flock", "fsync", "fdatasync",
    "sync_file_range", "fadvise64", "readahead", "sendfile", "copy_file_range", "splice",
    /* memory */
    "brk", "munmap", "mremap", "madvise", "msync", "mincore", "membarrier",
    /* threads, and oneself */
    "futex", "set_robust_list", "set_tid_address", "rseq", "sched_yield", "sched_getaffinity", "sched_getparam",
    "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getcpu", "arch_prctl", "exit",
    "exit_group", "wait4", "waitid", "getpid", "gettid", "getppid", "getpgrp", "getpgid", "getsid", "getuid", "geteuid",
    "getgid", "getegid", "getresuid", "getresgid", "getgroups", "getrusage", "getrlimit", "getpriority", "capget",
    "sysinfo", "uname", "getrandom",
    /* signals received */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending", "rt_sigsuspend", "rt_sigtimedwait",
    "sigaltstack", "pause", "restart_syscall", "signalfd4",
    /* time */
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "times", "getitimer",
    "setitimer", "alarm", "timer_create", "timer_settime", "timer_gettime", "timer_getoverrun", "timer_delete",
    "timerfd_create", "timerfd_settime", "timerfd_gettime",
    /* waiting, and pipes */
    "poll", "ppoll", "select", "pselect6", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
    "epoll_pwait2", "eventfd", "eventfd2", "pipe", "pipe2",
    /* the sockets that it was given */
    "recvfrom", "recvmsg", "recvmmsg", "shutdown", "getsockopt", "getsockname", "getpeername", NULL
};

/* Where something may be written: SQLite gives its journals the database's mode and owner. */
static const char *const allowed_writing[] = { "fchmod", "fchown", NULL };

static const char *const allowed_executing[] = { "execve", "execveat", "fork", "vfork", "kill", "tgkill", "tkill",
                                                 "pidfd_open", "mmap", "mprotect", "mlock", "munlock", "mlock2", "link",
                                                 "linkat", "symlink", "symlinkat", "set_mempolicy", "get_mempolicy",
                                                 /* what is started enters one ruleset more */
                                                 "landlock_add_rule", "landlock_restrict_self",
                                                 /* ls(1) and cp(1) complain aloud where these are refused */
                                                 "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr",
                                                 "flistxattr", NULL };

static const char *const allowed_networking[] = { "connect", NULL };
static const char *const allowed_listening[] = { "bind", "listen", "accept", "accept4", NULL };

/* Never right in a program of ours, and nothing that a library would try out: the process ends. */
static const char *const killed[] = { "ptrace",
                                      "process_vm_readv",
                                      "process_vm_writev",
                                      "mount",
                                      "umount2",
                                      "pivot_root",
                                      "chroot",
                                      "move_mount",
                                      "open_tree",
                                      "fsopen",
                                      "fsconfig",
                                      "fsmount",
                                      "fspick",
                                      "mount_setattr",
                                      "setns",
                                      "unshare",
                                      "bpf",
                                      "perf_event_open",
                                      "userfaultfd",
                                      "add_key",
                                      "request_key",
                                      "keyctl",
                                      "io_uring_setup",
                                      "io_uring_enter",
                                      "io_uring_register",
                                      "kexec_load",
                                      "kexec_file_load",
                                      "init_module",
                                      "finit_module",
                                      "delete_module",
                                      "create_module",
                                      "reboot",
                                      "swapon",
                                      "swapoff",
                                      "acct",
                                      "quotactl",
                                      "quotactl_fd",
                                      "nfsservctl",
                                      "vhangup",
                                      "syslog",
                                      "lookup_dcookie",
                                      "iopl",
                                      "ioperm",
                                      "modify_ldt",
                                      "open_by_handle_at",
                                      "fanotify_init",
                                      "fanotify_mark",
                                      "pidfd_getfd",
                                      "kcmp",
                                      "process_madvise",
                                      "process_mrelease",
                                      "move_pages",
                                      "migrate_pages",
                                      "settimeofday",
                                      "clock_settime",
                                      "clock_adjtime",
                                      "adjtimex",
                                      "sethostname",
                                      "setdomainname",
                                      "uselib",
                                      "ustat",
                                      "sysfs",
                                      "_sysctl",
                                      NULL };

/* The same, where the program is foreign: interpreters and their libraries do try these. */
static const char *const refused_executing[] = { "ptrace",
                                                 "process_vm_readv",
                                                 "process_vm_writev",
                                                 "unshare",
                                                 "setns",
                                                 "chroot",
                                                 "mount",
                                                 "umount2",
                                                 "keyctl",
                                                 "add_key",
                                                 "request_key",
                                                 "perf_event_open",
                                                 "userfaultfd",
                                                 "bpf",
                                                 "syslog",
                                                 "kcmp",
                                                 "process_madvise",
                                                 "move_pages",
                                                 "migrate_pages",
                                                 "modify_ldt",
                                                 "pidfd_getfd",
                                                 NULL };

/* What foreign programs insist on, as copying a file does, and Landlock does not see: they are told that it was done.
 * What they make is their user's alone already, by its umask and its folder. */
static const char *const pretended[] = { "chmod",  "fchmodat",  "chown",    "lchown",    "fchownat",  "utime",
                                         "utimes", "futimesat", "setxattr", "lsetxattr", "fsetxattr", NULL };

/* Falls back to an older way. */
static const char *const absent[] = { "clone3", "futex_waitv", NULL };
static const char *const absent_executing[] = { "io_uring_setup", "io_uring_enter", "io_uring_register", NULL };

static const uint64_t fcntl_commands[] = { F_DUPFD,     F_DUPFD_CLOEXEC, F_GETFD,      F_SETFD,      F_GETFL,
                                           F_SETFL,     F_GETLK,         F_SETLK,      F_SETLKW,     F_OFD_GETLK,
                                           F_OFD_SETLK, F_OFD_SETLKW,    F_GETPIPE_SZ, F_SETPIPE_SZ, F_GET_SEALS };
static const uint64_t ioctl_requests[] = {
    TCGETS,    0x802c542a /* TCGETS2, with which newer C libraries ask isatty() */,
    FIONREAD,  FIONBIO,
    FIOCLEX,   FIONCLEX,
    TIOCGWINSZ
};
/* Not PR_SET_PDEATHSIG (outlives the daemon; but see add_processes()), PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER,
 * PR_SET_MM. */
static const uint64_t prctl_options[] = { PR_SET_NAME,         PR_GET_NAME,    PR_GET_DUMPABLE, PR_CAPBSET_READ,
                                          PR_GET_NO_NEW_PRIVS, PR_GET_SECCOMP, 0x53564d41 /* PR_SET_VMA: names */ };
static const uint64_t socket_option_levels[] = { SOL_SOCKET, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_IP, IPPROTO_IPV6 };

_Noreturn static void fail(const char *what, const char *name, int errnum)
{
    fprintf(stderr, "seccomp-generate: %s \"%s\": %s\n", what, name, strerror(errnum));
    exit(1);
}

/* Adds a rule; a call that the architecture does not have (arm64 has no open()) is passed over. */
static void rule(const Generator *generator, uint32_t action, const char *name, unsigned count,
                 const struct scmp_arg_cmp *conditions)
{
    int number = seccomp_syscall_resolve_name_arch(generator->architecture, name);
    if (number == __NR_SCMP_ERROR)
        return; /* removed long ago, and not in libseccomp's tables any more */
    if (number < 0)
        return;
    int r = seccomp_rule_add_array(generator->filter, action, number, count, conditions);
    if (r < 0)
        fail("cannot add a rule for", name, -r);
}

static bool lists(const char *const *names, const char *name)
{
    for (; *names; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

static void rules(const Generator *generator, uint32_t action, const char *const *names, const char *const *except)
{
    for (; *names; names++) {
        if (!except || !lists(except, *names))
            rule(generator, action, *names, 0, NULL);
    }
}

#define ALLOW_IF(generator, name, ...)                                                         \
    do {                                                                                       \
        const struct scmp_arg_cmp conditions_[] = { __VA_ARGS__ };                             \
        rule(generator, SCMP_ACT_ALLOW, name, (unsigned)ELEMENTSOF(conditions_), conditions_); \
    } while (0)

static void allow_values(const Generator *generator, const char *name, unsigned argument, const uint64_t *values,
                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        ALLOW_IF(generator, name, SCMP_CMP64(argument, SCMP_CMP_EQ, values[i]));
}

static void allow_socket(const Generator *generator, uint64_t family, uint64_t type, uint64_t protocol)
{
    ALLOW_IF(generator, "socket", SCMP_A0_64(SCMP_CMP_EQ, family),
             SCMP_A1_64(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, type), SCMP_A2_64(SCMP_CMP_EQ, protocol));
}

static void add_sockets(const Generator *generator)
{
    bool inet = generator->profile & (SECCOMP_OUTBOUND | SECCOMP_LISTEN);
    static const uint64_t families[] = { AF_INET, AF_INET6 };
    for (size_t i = 0; inet && i < ELEMENTSOF(families); i++) {
        /* The protocol is named, since MPTCP (262) passes Landlock's port rules unseen. */
        allow_socket(generator, families[i], SOCK_STREAM, 0);
        allow_socket(generator, families[i], SOCK_STREAM, IPPROTO_TCP);
        allow_socket(generator, families[i], SOCK_DGRAM, 0);
        allow_socket(generator, families[i], SOCK_DGRAM, IPPROTO_UDP);
    }
    if (generator->profile & SECCOMP_UNIX)
        allow_socket(generator, AF_UNIX, SOCK_STREAM, 0); /* a datagram one would reach the journal */
    if (inet || (generator->profile & SECCOMP_UNIX))
        rules(generator, SCMP_ACT_ALLOW, allowed_networking, NULL);
    if (generator->profile & SECCOMP_LISTEN)
        rules(generator, SCMP_ACT_ALLOW, allowed_listening, NULL);

    /* A connected datagram socket may still send to any path; a stream may not. */
    ALLOW_IF(generator, "socketpair", SCMP_A0_64(SCMP_CMP_EQ, AF_UNIX),
             SCMP_A1_64(SCMP_CMP_MASKED_EQ, SOCKET_TYPE_MASK, SOCK_STREAM));
    /* MSG_FASTOPEN connects without connect(), so without Landlock's port rules. */
    ALLOW_IF(generator, "sendto", SCMP_A3_64(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
    ALLOW_IF(generator, "sendmsg", SCMP_A2_64(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
    ALLOW_IF(generator, "sendmmsg", SCMP_A3_64(SCMP_CMP_MASKED_EQ, MSG_FASTOPEN, 0));
    allow_values(generator, "setsockopt", 1, socket_option_levels, inet ? ELEMENTSOF(socket_option_levels) : 1);
}

static void add_processes(const Generator *generator)
{
    const uint64_t forbidden = NAMESPACE_FLAGS | CLONE_PARENT; /* a sibling would be the daemon's child, not ours */
    if (generator->profile & SECCOMP_EXECUTE) {
        ALLOW_IF(generator, "clone", SCMP_A0_64(SCMP_CMP_MASKED_EQ, forbidden, 0));
        /* of a descriptor; by path it is pretended */
        ALLOW_IF(generator, "utimensat", SCMP_A1_64(SCMP_CMP_EQ, 0));
        const struct scmp_arg_cmp by_path = SCMP_CMP64(1, SCMP_CMP_NE, 0);
        rule(generator, SCMP_ACT_ERRNO(0), "utimensat", 1, &by_path);
        /* One's own limits, which have no room to grow. */
        ALLOW_IF(generator, "prlimit64", SCMP_A0_64(SCMP_CMP_EQ, 0));
        /* What a worker starts dies with it. Nobody can take that back: 0 is not allowed. */
        ALLOW_IF(generator, "prctl", SCMP_A0_64(SCMP_CMP_EQ, PR_SET_PDEATHSIG), SCMP_A1_64(SCMP_CMP_EQ, SIGKILL));
        return;
    }
    ALLOW_IF(generator, "clone", SCMP_A0_64(SCMP_CMP_MASKED_EQ, forbidden | CLONE_THREAD, CLONE_THREAD));
    ALLOW_IF(generator, "kill", SCMP_A0_64(SCMP_CMP_EQ, OWN_PID));
    ALLOW_IF(generator, "tgkill", SCMP_A0_64(SCMP_CMP_EQ, OWN_PID));
    /* Writable and executable exclude each other, also one after the other; mapping a library (iconv's) is neither. */
    ALLOW_IF(generator, "mmap", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    ALLOW_IF(generator, "mmap", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
    ALLOW_IF(generator, "mprotect", SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
}

static void add_rules(const Generator *generator)
{
    bool execute = generator->profile & SECCOMP_EXECUTE;
    rules(generator, SCMP_ACT_ALLOW, allowed, NULL);
    if (generator->profile & SECCOMP_WRITE)
        rules(generator, SCMP_ACT_ALLOW, allowed_writing, NULL);
    add_processes(generator);
    add_sockets(generator);
    allow_values(generator, "fcntl", 1, fcntl_commands, ELEMENTSOF(fcntl_commands));
    allow_values(generator, "ioctl", 1, ioctl_requests, ELEMENTSOF(ioctl_requests));
    allow_values(generator, "prctl", 0, prctl_options, ELEMENTSOF(prctl_options));
    /* Reading one's own limits. */
    ALLOW_IF(generator, "prlimit64", SCMP_A0_64(SCMP_CMP_EQ, 0), SCMP_A2_64(SCMP_CMP_EQ, 0));

    rules(generator, SCMP_ACT_ERRNO(ENOSYS), absent, NULL);
    if (execute) {
        rules(generator, SCMP_ACT_ERRNO(0), pretended, NULL);
        rules(generator, SCMP_ACT_ALLOW, allowed_executing, NULL);
        rules(generator, SCMP_ACT_ERRNO(ENOSYS), absent_executing, NULL);
    }
    static const char *const tried_by_sanitizers[] = { "ptrace", NULL }; /* LeakSanitizer, which then says so */
    for (const char *const *name = killed; *name; name++) {
        bool refused = (execute && (lists(refused_executing, *name) || lists(absent_executing, *name))) ||
                       (generator->sanitized && lists(tried_by_sanitizers, *name));
        if (!refused)
            rule(generator, SCMP_ACT_KILL_PROCESS, *name, 0, NULL);
    }
}

/* --- writing it down --- */

static void print_instruction(const struct sock_filter *instruction)
{
    printf("    { 0x%02x, %u, %u, 0x%08x },\n", instruction->code, instruction->jt, instruction->jf, instruction->k);
}

/* Before libseccomp's own program: the architecture, the numbers of x32, and calls that are newer than we. */
static size_t print_prefix(uint32_t audit_architecture)
{
    const struct sock_filter prefix[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, audit_architecture, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_UNKNOWN_SYSCALL, 0, 3),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_SYSCALL_BIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    for (size_t i = 0; i < ELEMENTSOF(prefix); i++)
        print_instruction(&prefix[i]);
    return ELEMENTSOF(prefix);
}

static void print_profile(const Generator *generator, uint32_t audit_architecture)
{
    FILE *file = tmpfile();
    if (!file)
        fail("cannot make", "a temporary file", errno);
    int r = seccomp_export_bpf(generator->filter, fileno(file));
    if (r < 0)
        fail("cannot export", "the filter", -r);
    rewind(file);

    printf("static const struct sock_filter filter_%u[] = {\n", generator->number);
    size_t n = print_prefix(audit_architecture);
    size_t positions[SECCOMP_OWN_PID_MAX];
    size_t position_count = 0;
    struct sock_filter instruction;
    for (; fread(&instruction, sizeof instruction, 1, file) == 1; n++) {
        if (instruction.k == OWN_PID && BPF_CLASS(instruction.code) == BPF_JMP) {
            if (position_count == SECCOMP_OWN_PID_MAX)
                fail("too many uses of", "OWN_PID", E2BIG);
            positions[position_count++] = n;
        }
        print_instruction(&instruction);
    }
    fclose(file);
    bool wants_pid = !(generator->profile & SECCOMP_EXECUTE);
    if (wants_pid != (position_count > 0))
        fail("cannot find", "OWN_PID", ENOENT);

    printf("};\n#define PROFILE_%u { filter_%u, %zu, { ", generator->number, generator->number, n);
    for (size_t i = 0; i < position_count; i++)
        printf("%zu, ", positions[i]);
    printf("}, %zu }\n", position_count);
}

static void generate(uint32_t architecture, uint32_t audit_architecture, unsigned number, bool sanitized)
{
    Generator generator = { .architecture = architecture, .profile = number, .number = number, .sanitized = sanitized };
    generator.filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!generator.filter)
        fail("cannot start", "a filter", ENOMEM);
    if (architecture != seccomp_arch_native() && (seccomp_arch_add(generator.filter, architecture) < 0 ||
                                                  seccomp_arch_remove(generator.filter, seccomp_arch_native()) < 0))
        fail("cannot set", "the architecture", EINVAL);
    if (seccomp_attr_set(generator.filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) < 0 ||
        seccomp_attr_set(generator.filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) < 0)
        fail("cannot set", "an attribute", EINVAL);
    add_rules(&generator);
    print_profile(&generator, audit_architecture);
    seccomp_release(generator.filter);
}

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: seccomp-generate x86_64|aarch64 plain|sanitized\n");
        return 2;
    }
    uint32_t architecture, audit_architecture;
    if (strcmp(argv[1], "x86_64") == 0) {
        architecture = SCMP_ARCH_X86_64;
        audit_architecture = AUDIT_ARCH_X86_64;
    } else if (strcmp(argv[1], "aarch64") == 0) {
        architecture = SCMP_ARCH_AARCH64;
        audit_architecture = AUDIT_ARCH_AARCH64;
    } else {
        fail("no filter is known for the architecture", argv[1], ENOTSUP);
    }
    bool sanitized = strcmp(argv[2], "sanitized") == 0;

    printf("/* Made by seccomp-generate. */\n#include \"lib/system/seccomp-profiles.h\"\n\n");
    for (unsigned profile = 0; profile < SECCOMP_PROFILES; profile++)
        generate(architecture, audit_architecture, profile, sanitized);
    printf("const SeccompProfile seccomp_profiles[SECCOMP_PROFILES] = {\n");
    for (unsigned profile = 0; profile < SECCOMP_PROFILES; profile++)
        printf("    PROFILE_%u,\n", profile);
    printf("};\n");
    return fflush(stdout) == 0 ? 0 : 1;
}
