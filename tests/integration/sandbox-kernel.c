/* What a hostile program asks of the kernel that no worker needs: namespaces, modules, tracing, the clock. */
#include "tests/integration/sandbox-attempts.h"

#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>

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

const Attempt kernel_attempts[] = {
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
    { NULL },
};
