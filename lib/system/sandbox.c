/*
 * Putting on the layers, in the only order that works: what needs rights first, what takes them away last.
 *
 *     early, before any input:  parent-death signal → own process group → signals, core, dumpable, environment →
 * descriptors then, with the secrets:   umask → rlimits → no_new_privs → capabilities → Landlock → seccomp
 *
 * no_new_privs lets an ordinary user have the two that follow. Landlock opens the granted paths, so seccomp comes after
 * it. Landlock binds the calling thread only, hence the process must still have one thread. Where a layer is missing,
 * the others are put on all the same, and the caller is told; `strict` makes that an error, before anything foreign was
 * read.
 *
 * RLIMIT_DATA bounds what malloc() can take; shared anonymous memory escapes it, so it is a backstop behind the cgroup
 * and the daemon's sampling. RLIMIT_AS would break threads, RLIMIT_NPROC counts per user and would starve the
 * neighbours.
 */
#include "lib/system/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/basics/buffer.h"
#include "lib/system/sandbox-layers.h"
#include "lib/system/spawn.h"
#include "wherry-build.h"

#define DESCRIPTORS_DEFAULT 256

#if WHERRY_SANITIZED
/* LeakSanitizer traces the process at its end, which the sandbox refuses. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif

/* spawn() has set the signal and looked at the parent already; a set-id program's exec clears it, and a person at a
 * debugger never set it. Then the daemon may have died in between, which shows in its end of our socket being closed.
 */
static int die_with_parent(Error *error)
{
    int number = 0;
    if (prctl(PR_GET_PDEATHSIG, &number) == 0 && number == SIGKILL)
        return 0;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot set the parent-death signal");
    struct pollfd poller = { .fd = FD_CONTROL };
    if (poll(&poller, 1, 0) == 1 && (poller.revents & POLLHUP))
        _exit(1);
    return 0;
}

static int limit(int resource, const char *name, uint64_t value, Error *error)
{
    struct rlimit now;
    if (getrlimit(resource, &now) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read %s", name);
    /* what is already lower stays */
    rlim_t wanted = MIN_OF((rlim_t)value, now.rlim_max);
    struct rlimit limits = { .rlim_cur = wanted, .rlim_max = wanted };
    if (setrlimit(resource, &limits) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot set %s", name);
    return 0;
}

static int scrub_environment(Error *error)
{
    if (clearenv() != 0 || setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1) < 0 ||
        setenv("LANG", "C.UTF-8", 1) < 0 || setenv("TZ", "UTC", 1) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot clear the environment");
    return 0;
}

int sandbox_early(int keep, Error *error)
{
    if (die_with_parent(error) < 0)
        return -1;
    if (getpgrp() != getpid() && setpgid(0, 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot make a process group");
    /* A closed pipe and a full file are answers of write(), not reasons to die without a word. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    if (limit(RLIMIT_CORE, "the limit of core files", 0, error) < 0)
        return -1;
    if (prctl(PR_SET_DUMPABLE, 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot hide the memory from other processes");
    if (scrub_environment(error) < 0)
        return -1;
    if (spawn_close_from(keep) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot close the other descriptors");
    return 0;
}

static int set_limits(const SandboxPolicy *policy, Error *error)
{
    unsigned descriptors = policy->descriptors > 0 ? policy->descriptors : DESCRIPTORS_DEFAULT;
    if (limit(RLIMIT_NOFILE, "the limit of open files", descriptors, error) < 0)
        return -1;
    if (policy->file_bytes > 0 && limit(RLIMIT_FSIZE, "the limit of file sizes", policy->file_bytes, error) < 0)
        return -1;
    if (!WHERRY_SANITIZED && policy->data_bytes > 0 &&
        limit(RLIMIT_DATA, "the limit of memory", policy->data_bytes, error) < 0)
        return -1;
    return 0;
}

/* A daemon run by root has programs run by root. Of what makes root more than a user they keep what reading and writing
 * other people's files takes, within Landlock's rules. */
static int drop_capabilities(Error *error)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
    const uint32_t kept = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER | 1u << CAP_CHOWN;
    if (syscall(SYS_capget, &header, data) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read the capabilities");
    data[0].effective &= kept;
    data[0].permitted &= kept;
    data[0].inheritable = 0;
    data[1] = (struct __user_cap_data_struct){ 0 };
    if (syscall(SYS_capset, &header, data) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot drop the capabilities");
    /* fails on kernels before 4.3, which have no ambient ones */
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return 0;
}

static int require_one_thread(Error *error)
{
    struct stat st;
    if (stat("/proc/self/task", &st) == 0 && st.st_nlink > 3)
        return error_set(error, ERROR_INTERNAL, "the sandbox must be entered before threads are started; there are %lu",
                         (unsigned long)st.st_nlink - 2);
    return 0;
}

static unsigned wanted_layers(const SandboxPolicy *policy)
{
    unsigned layers = SANDBOX_SECCOMP | SANDBOX_LANDLOCK_FILES;
    if (policy->network != SANDBOX_NETWORK_NONE && policy->ports)
        layers |= SANDBOX_LANDLOCK_TCP;
    return layers;
}

static int require_layers(unsigned layers, const SandboxPolicy *policy, Error *error)
{
    if ((wanted_layers(policy) & ~layers) == 0)
        return 0;
    _cleanup_(freep) char *description = sandbox_describe(layers, policy);
    return error_set(
        error, ERROR_CONFIGURATION,
        "\"sandbox: strict\" cannot be kept on this system: %s; use a newer kernel or leave \"strict\" out",
        description);
}

int sandbox_enter(const SandboxPolicy *policy, unsigned *ret_layers, Error *error)
{
    unsigned layers = 0, added = 0;
    if (require_one_thread(error) < 0)
        return -1;
    /* Not earlier: what is made before, such as a new database, is as open as the operator's umask has it. */
    umask(077);
    if (set_limits(policy, error) < 0)
        return -1;
    /* Every kernel since 3.5 has it, and an ordinary user gets none of the others without. */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return error_set(error, ERROR_CONFIGURATION,
                         "this system refuses no_new_privs, without which there is no sandbox");
    layers |= SANDBOX_NO_NEW_PRIVS;
    if (drop_capabilities(error) < 0)
        return -1;
    if (landlock_enter(policy, &added, error) < 0)
        return -1;
    layers |= added;
    if (seccomp_enter(policy, &added, error) < 0)
        return -1;
    layers |= added;
    if (policy->strict && require_layers(layers, policy, error) < 0)
        return -1;
    *ret_layers = layers;
    return 0;
}

static void append_item(Buffer *buffer, const char *separator, const char *text)
{
    if (buffer_length(buffer) > 0)
        buffer_append_string(buffer, separator);
    buffer_append_string(buffer, text);
}

char *sandbox_describe(unsigned layers, const SandboxPolicy *policy)
{
    static const struct {
        SandboxLayer layer;
        const char *name, *needs;
    } landlock[] = {
        { SANDBOX_LANDLOCK_FILES, "files", "landlock for files (needs linux 5.19 with landlock enabled)" },
        { SANDBOX_LANDLOCK_TCP, "tcp", "landlock for tcp ports (needs linux 6.7)" },
        { SANDBOX_LANDLOCK_SCOPES, "scopes", "landlock for signals (needs linux 6.12)" },
    };
    _cleanup_(buffer_clear) Buffer held = { 0 };
    _cleanup_(buffer_clear) Buffer rules = { 0 };
    _cleanup_(buffer_clear) Buffer missing = { 0 };
    unsigned wanted = wanted_layers(policy);
    /* Without the scope, seccomp lets a native program signal nobody; one that runs programs must be able to. */
    if (policy->may_execute)
        wanted |= SANDBOX_LANDLOCK_SCOPES;

    if (layers & SANDBOX_NO_NEW_PRIVS)
        append_item(&held, ", ", "no_new_privs");
    if (layers & SANDBOX_SECCOMP)
        append_item(&held, ", ", "seccomp");
    else
        append_item(&missing, ", ", "seccomp");
    for (size_t i = 0; i < ELEMENTSOF(landlock); i++) {
        if (layers & landlock[i].layer)
            append_item(&rules, ", ", landlock[i].name);
        else if (wanted & landlock[i].layer)
            append_item(&missing, ", ", landlock[i].needs);
    }
    if (buffer_length(&rules) > 0) {
        _cleanup_(freep) char *names = buffer_take_string(&rules);
        append_item(&held, ", ", "landlock (");
        buffer_printf(&held, "%s)", names);
    }
    if (buffer_length(&held) == 0)
        buffer_append_string(&held, "none");
    if (buffer_length(&missing) > 0) {
        struct utsname kernel;
        _cleanup_(freep) char *names = buffer_take_string(&missing);
        buffer_printf(&held, "; missing: %s; the kernel is %s", names,
                      uname(&kernel) == 0 ? kernel.release : "unknown");
    }
    return buffer_take_string(&held);
}
