/*
 * Landlock: which files can be reached, which TCP ports, and that signals and abstract sockets end at our own door.
 *
 * A ruleset handles every right that the kernel knows, and then grants what the policy names: what is handled and not
 * granted is refused. The kernel's ABI number says what it knows, and a ruleset that handles more than that is refused
 * whole, so the masks are cut to it. Rules bind inodes, not names: a path that does not exist yet cannot be granted,
 * and a file that somebody replaces is out of reach from then on.
 *
 * The system calls are made raw and the constants carried here, because Debian 12's headers end at ABI 2. Landlock does
 * not see chmod(), chown(), utime(), stat() nor connect() to a socket's path, nor truncate() before ABI 3: these rest
 * on seccomp.
 *
 * A program that is started may read what the kernel tells of it in /proc/self, as libraries do to find their limits.
 * These files are there, and can be granted, only once the process is; and a process can give to those that it starts
 * only what it has. So one that may start programs has all of /proc, of which the kernel keeps memory, environment and
 * descriptors of processes outside the sandbox to itself, and what it starts enters a second ruleset, without that.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/basics/cleanup.h"
#include "lib/system/sandbox-layers.h"
#include "lib/system/spawn.h"
#include "wherry-build.h"

/* linux/landlock.h as of 6.15; the numbers are the same on every architecture. */
#define CREATE_RULESET 444
#define ADD_RULE 445
#define RESTRICT_SELF 446
#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2
#define ABI_MAX 7

#define FS_EXECUTE (UINT64_C(1) << 0)
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_DIR (UINT64_C(1) << 4)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_DIR (UINT64_C(1) << 7)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_ABI_1 ((UINT64_C(1) << 13) - 1)
#define FS_REFER (UINT64_C(1) << 13)     /* ABI 2: rename and link between folders */
#define FS_TRUNCATE (UINT64_C(1) << 14)  /* ABI 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* ABI 5 */
#define FS_MAKE_SYM (UINT64_C(1) << 12)
#define FS_OF_FILES (FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE | FS_IOCTL_DEV)
#define NET_BIND_TCP (UINT64_C(1) << 0)               /* ABI 4 */
#define NET_CONNECT_TCP (UINT64_C(1) << 1)            /* ABI 4 */
#define SCOPE_ABSTRACT_UNIX_SOCKET (UINT64_C(1) << 0) /* ABI 6 */
#define SCOPE_SIGNAL (UINT64_C(1) << 1)               /* ABI 6 */

#define DNS_PORT 53

typedef struct RulesetAttributes {
    uint64_t handled_fs;
    uint64_t handled_net; /* ABI 4 */
    uint64_t scoped;      /* ABI 6 */
} RulesetAttributes;

typedef struct __attribute__((packed)) PathAttributes {
    uint64_t allowed;
    int32_t parent;
} PathAttributes;

typedef struct PortAttributes {
    uint64_t allowed;
    uint64_t port;
} PortAttributes;

/* What every program of ours needs, whatever its connection names: none of it is a secret, none of it can be changed.
 */
static const SandboxPath common_paths[] = {
    { "/dev/null", SANDBOX_READ | SANDBOX_WRITE },
    { "/dev/urandom", SANDBOX_READ },
    { "/etc/localtime", SANDBOX_READ },
    { "/usr/share/zoneinfo", SANDBOX_READ },
    /* the C library's character sets: iconv() loads them when first asked */
    { "/usr/lib/x86_64-linux-gnu/gconv", SANDBOX_READ },
    { "/usr/lib/aarch64-linux-gnu/gconv", SANDBOX_READ },
    { "/usr/lib64/gconv", SANDBOX_READ },
#if WHERRY_SANITIZED
    { "/proc/self", SANDBOX_READ }, /* the sanitizers read their own maps when they report */
#endif
};

static const SandboxPath network_paths[] = {
    /* name lookup, with the modules that nsswitch.conf may name */
    { "/etc/resolv.conf", SANDBOX_READ },
    { "/run/systemd/resolve", SANDBOX_READ },
    { "/run/NetworkManager/resolv.conf", SANDBOX_READ },
    { "/etc/hosts", SANDBOX_READ },
    { "/etc/host.conf", SANDBOX_READ },
    { "/etc/nsswitch.conf", SANDBOX_READ },
    { "/etc/gai.conf", SANDBOX_READ },
    { "/etc/services", SANDBOX_READ },
    { "/etc/protocols", SANDBOX_READ },
    { "/etc/ld.so.cache", SANDBOX_READ },
    { "/lib", SANDBOX_READ },
    { "/lib64", SANDBOX_READ },
    { "/usr/lib", SANDBOX_READ },
    { "/usr/lib64", SANDBOX_READ },
    /* certificates */
    { "/etc/ssl/certs", SANDBOX_READ },
    { "/etc/ssl/openssl.cnf", SANDBOX_READ },
    { "/etc/pki/tls", SANDBOX_READ },
    { "/etc/pki/ca-trust", SANDBOX_READ },
    { "/etc/ca-certificates", SANDBOX_READ },
    { "/etc/crypto-policies", SANDBOX_READ },
    { "/usr/share/ca-certificates", SANDBOX_READ },
    { "/usr/local/share/ca-certificates", SANDBOX_READ },
};

/* What a started program enters; -1: none may be started, or there is no Landlock. */
static int programs_ruleset = -1;

static uint64_t handled_fs(int abi)
{
    uint64_t rights = FS_ABI_1;
    if (abi >= 2)
        rights |= FS_REFER;
    if (abi >= 3)
        rights |= FS_TRUNCATE;
    if (abi >= 5)
        rights |= FS_IOCTL_DEV;
    return rights;
}

static uint64_t rights_of(unsigned access)
{
    uint64_t rights = 0;
    if (access & SANDBOX_READ)
        rights |= FS_READ_FILE | FS_READ_DIR;
    if (access & SANDBOX_WRITE)
        rights |= FS_WRITE_FILE | FS_TRUNCATE;
    if (access & SANDBOX_CREATE)
        rights |= FS_MAKE_REG | FS_MAKE_DIR | FS_REMOVE_FILE | FS_REMOVE_DIR | FS_REFER;
    if (access & SANDBOX_EXECUTE)
        rights |= FS_EXECUTE;
    if (access & SANDBOX_LINK)
        rights |= FS_MAKE_SYM;
    return rights;
}

static bool is_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == EACCES;
}

static int add_path(int ruleset, uint64_t handled, const SandboxPath *path, Error *error)
{
    _cleanup_(close_fdp) int fd = open(path->path, O_PATH | O_CLOEXEC);
    if (fd < 0) {
        if (is_absent(errno))
            return 0;
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot let \"%s\" into the sandbox", path->path);
    }
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot let \"%s\" into the sandbox", path->path);
    uint64_t rights = rights_of(path->access) & handled;
    if (!S_ISDIR(st.st_mode))
        rights &= FS_OF_FILES;
    if (rights == 0)
        return 0;
    PathAttributes attributes = { .allowed = rights, .parent = fd };
    if (syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, &attributes, 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot let \"%s\" into the sandbox", path->path);
    return 0;
}

static int add_paths(int ruleset, uint64_t handled, const SandboxPath *paths, size_t count, Error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (add_path(ruleset, handled, &paths[i], error) < 0)
            return -1;
    }
    return 0;
}

static int add_port(int ruleset, uint16_t port, Error *error)
{
    PortAttributes attributes = { .allowed = NET_CONNECT_TCP, .port = port };
    if (syscall(ADD_RULE, ruleset, RULE_NET_PORT, &attributes, 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot let port %u into the sandbox", port);
    return 0;
}

static uint64_t handled_net(const SandboxPolicy *policy)
{
    switch (policy->network) {
    case SANDBOX_NETWORK_NONE:
        return NET_BIND_TCP | NET_CONNECT_TCP;
    case SANDBOX_NETWORK_OUTBOUND:
        return NET_BIND_TCP | (policy->ports ? NET_CONNECT_TCP : 0);
    case SANDBOX_NETWORK_LOOPBACK_LISTEN:
        return policy->ports ? NET_CONNECT_TCP : 0;
    }
    return NET_BIND_TCP | NET_CONNECT_TCP;
}

static int add_rules(int ruleset, const SandboxPolicy *policy, const RulesetAttributes *attributes, Error *error)
{
    uint64_t fs = attributes->handled_fs;
    if (add_paths(ruleset, fs, common_paths, ELEMENTSOF(common_paths), error) < 0 ||
        add_paths(ruleset, fs, policy->paths, policy->path_count, error) < 0)
        return -1;
    if (policy->network == SANDBOX_NETWORK_NONE)
        return 0;
    if (add_paths(ruleset, fs, network_paths, ELEMENTSOF(network_paths), error) < 0)
        return -1;
    if (!(attributes->handled_net & NET_CONNECT_TCP))
        return 0;
    for (size_t i = 0; i < policy->port_count; i++) {
        if (add_port(ruleset, policy->ports[i], error) < 0)
            return -1;
    }
    return add_port(ruleset, DNS_PORT, error);
}

static unsigned layers_of(int abi, const SandboxPolicy *policy)
{
    unsigned layers = 0;
    if (abi >= 2)
        layers |= SANDBOX_LANDLOCK_FILES;
    if (abi >= 4 && policy->ports)
        layers |= SANDBOX_LANDLOCK_TCP;
    if (abi >= 6)
        layers |= SANDBOX_LANDLOCK_SCOPES;
    return layers;
}

static int make_ruleset(const SandboxPolicy *policy, const RulesetAttributes *attributes, size_t size, int *ret,
                        Error *error)
{
    _cleanup_(close_fdp) int ruleset = (int)syscall(CREATE_RULESET, attributes, size, 0);
    if (ruleset < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot start the sandbox's rules");
    if (add_rules(ruleset, policy, attributes, error) < 0)
        return -1;
    *ret = take_fd(&ruleset);
    return 0;
}

int landlock_enter(const SandboxPolicy *policy, unsigned *ret_layers, Error *error)
{
    *ret_layers = 0;
    int abi = (int)syscall(CREATE_RULESET, NULL, 0, CREATE_RULESET_VERSION);
    if (abi <
        1) /* not built in (ENOSYS), not enabled at boot (EOPNOTSUPP), or hidden by a container's filter (EPERM) */
        return 0;
    abi = MIN_OF(abi, ABI_MAX);

    RulesetAttributes attributes = { .handled_fs = handled_fs(abi) };
    size_t size = sizeof attributes.handled_fs;
    if (abi >= 4) {
        attributes.handled_net = handled_net(policy);
        size += sizeof attributes.handled_net;
    }
    if (abi >= 6) {
        attributes.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
        size += sizeof attributes.scoped;
    }
    _cleanup_(close_fdp) int ruleset = -1;
    if (make_ruleset(policy, &attributes, size, &ruleset, error) < 0)
        return -1;
    if (policy->may_execute) {
        const SandboxPath processes = { "/proc", SANDBOX_READ };
        if (make_ruleset(policy, &attributes, size, &programs_ruleset, error) < 0 ||
            add_path(ruleset, attributes.handled_fs, &processes, error) < 0)
            return -1;
    }
    if (syscall(RESTRICT_SELF, ruleset, 0) < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot enter the sandbox's rules");
    *ret_layers = layers_of(abi, policy);
    return 0;
}

/* Not the whole folder: with it came "net", which tells of everybody's connections. */
static const char *const own_files[] = { "cgroup", "cmdline",   "comm",  "fd",   "io",           "limits", "maps",
                                         "mounts", "mountinfo", "smaps", "stat", "smaps_rollup", "statm",  "status" };

CHILD_FUNCTION int landlock_enter_program(void)
{
    if (programs_ruleset < 0)
        return 0;
    int self = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC), r = 0; /* fails where /proc is not mounted */
    for (size_t i = 0; self >= 0 && r == 0 && i < ELEMENTSOF(own_files); i++) {
        int fd = openat(self, own_files[i], O_PATH | O_CLOEXEC);
        if (fd < 0)
            continue;
        bool is_folder = strcmp(own_files[i], "fd") == 0;
        PathAttributes attributes = { .allowed = is_folder ? FS_READ_DIR : FS_READ_FILE, .parent = fd };
        r = (int)syscall(ADD_RULE, programs_ruleset, RULE_PATH_BENEATH, &attributes, 0);
        close(fd);
    }
    return r < 0 ? -1 : (int)syscall(RESTRICT_SELF, programs_ruleset, 0);
}
