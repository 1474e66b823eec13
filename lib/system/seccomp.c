/*
 * Installs the precompiled filter that fits a policy.
 *
 * The filters are constant but for one thing: a native program may signal itself (abort() does), so its own process id
 * is put into a copy of the filter. SECCOMP_FILTER_FLAG_TSYNC covers threads that a library may have started.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/system/sandbox-layers.h"
#include "lib/system/seccomp-profiles.h"

#define FILTER_MAX 1024

static unsigned policy_profile(const SandboxPolicy *policy)
{
    unsigned profile = 0;
    if (policy->unix_sockets)
        profile |= SECCOMP_UNIX;
    if (policy->may_execute)
        profile |= SECCOMP_EXECUTE;
    for (size_t i = 0; i < policy->path_count; i++) {
        if (policy->paths[i].access & (SANDBOX_WRITE | SANDBOX_CREATE))
            profile |= SECCOMP_WRITE;
    }
    switch (policy->network) {
    case SANDBOX_NETWORK_NONE:
        break;
    case SANDBOX_NETWORK_OUTBOUND:
        profile |= SECCOMP_OUTBOUND;
        break;
    case SANDBOX_NETWORK_LOOPBACK_LISTEN:
        profile |= SECCOMP_LISTEN;
        break;
    }
    return profile;
}

int seccomp_enter(const SandboxPolicy *policy, unsigned *ret_layers, Error *error)
{
    const SeccompProfile *profile = &seccomp_profiles[policy_profile(policy)];
    struct sock_filter filter[FILTER_MAX];
    if (profile->length > FILTER_MAX)
        return error_set(error, ERROR_INTERNAL, "the system call filter has %u instructions", profile->length);
    memcpy(filter, profile->filter, profile->length * sizeof filter[0]);
    for (size_t i = 0; i < profile->own_pid_count; i++)
        filter[profile->own_pid[i]].k = (uint32_t)getpid();

    struct sock_fprog program = { .len = profile->length, .filter = filter };
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0 ||
        /* Service filters without the group @sandbox refuse seccomp(2), and allow this older way. */
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0) {
        *ret_layers = SANDBOX_SECCOMP;
        return 0;
    }
    if (errno == EINVAL || errno == ENOSYS || errno == EPERM) { /* a kernel without it, or a container's filter */
        *ret_layers = 0;
        return 0;
    }
    return error_set_errno(error, ERROR_INTERNAL, errno, "cannot install the system call filter");
}
