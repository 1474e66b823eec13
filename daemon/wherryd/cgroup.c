/*
 * What a service may do with its own cgroup.
 *
 * systemd marks the cgroup of a unit with Delegate=yes by an extended attribute ("user.delegate", "trusted.delegate")
 * and lets the service make groups below it. Only then do we touch it: a folder that merely happens to be writable
 * (root in a container) is somebody else's to arrange. A group with controllers for its children may not have processes
 * of its own, so the daemon moves itself into a leaf before it hands controllers down.
 *
 * Everything is done relative to the folder's descriptor, so that no path is built twice.
 */
#include "daemon/wherryd/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/basics/buffer.h"

#define DAEMON_LEAF "daemon"
#define SYNC_PREFIX "sync-"

static int write_file(int dir, const char *name, const char *text)
{
    _cleanup_(close_fdp) int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return write(fd, text, strlen(text)) < 0 ? -1 : 0;
}

static int write_number(int dir, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return write_file(dir, name, text);
}

/* Small files of the kernel's; NULL where there is none. The caller frees. */
static char *read_file(int dir, const char *name)
{
    _cleanup_(close_fdp) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    _cleanup_(buffer_clear) Buffer content = { 0 };
    ssize_t n;
    while ((n = read(fd, buffer_reserve(&content, 4096), 4096)) > 0)
        buffer_added(&content, (size_t)n);
    return n < 0 ? NULL : buffer_take_string(&content);
}

/* The number after "NAME " in lines of "name number". */
static bool find_number(const char *text, const char *name, uint64_t *ret)
{
    size_t length = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        if (*line == '\n')
            line++;
        if (strncmp(line, name, length) == 0 && line[length] == ' ') {
            *ret = strtoull(line + length + 1, NULL, 10);
            return true;
        }
    }
    return false;
}

static bool read_number(int dir, const char *name, uint64_t *ret)
{
    _cleanup_(freep) char *text = read_file(dir, name);
    if (!text)
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

/* The path in the line "0::/path", which is version 2's. */
static char *own_path(void)
{
    _cleanup_(freep) char *text = read_file(AT_FDCWD, "/proc/self/cgroup");
    for (const char *line = text; line && *line;) {
        const char *end = strchrnul(line, '\n');
        if (strncmp(line, "0::", 3) == 0)
            return xstrndup(line + 3, (size_t)(end - line) - 3);
        line = *end ? end + 1 : end;
    }
    return NULL;
}

static int open_own(const char *path)
{
    /* the second is where systemd's hybrid layout has version 2 */
    static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    for (size_t i = 0; i < ELEMENTSOF(mounts); i++) {
        struct statfs fs;
        if (statfs(mounts[i], &fs) < 0 || fs.f_type != CGROUP2_SUPER_MAGIC)
            continue;
        _cleanup_(freep) char *full = xasprintf("%s%s", mounts[i], path);
        return open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    return -1;
}

static bool is_delegated(int fd)
{
    char value[8];
    ssize_t n = fgetxattr(fd, "user.delegate", value, sizeof value);
    if (n < 0)
        n = fgetxattr(fd, "trusted.delegate", value, sizeof value);
    return n == 1 && value[0] == '1' && faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) == 0 &&
           faccessat(fd, ".", W_OK, AT_EACCESS) == 0;
}

/* cgroup.kill came with Linux 5.14; without it a group is no better than walking /proc. */
static bool move_to_leaf(int fd)
{
    if (mkdirat(fd, DAEMON_LEAF, 0755) < 0 && errno != EEXIST)
        return false;
    if (faccessat(fd, DAEMON_LEAF "/cgroup.kill", W_OK, AT_EACCESS) == 0 &&
        write_file(fd, DAEMON_LEAF "/cgroup.procs", "0") == 0)
        return true;
    unlinkat(fd, DAEMON_LEAF, AT_REMOVEDIR);
    return false;
}

static void remove_leftovers(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (!dir) {
        if (copy >= 0)
            close(copy);
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (strncmp(entry->d_name, SYNC_PREFIX, strlen(SYNC_PREFIX)) != 0)
            continue;
        _cleanup_(close_fdp) int group = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (group >= 0)
            cgroup_kill(group);
        unlinkat(fd, entry->d_name, AT_REMOVEDIR); /* where it is not empty yet, the next daemon does it */
    }
    closedir(dir);
}

static bool controller_enable(int fd, const char *available, const char *name)
{
    _cleanup_(freep) char *command = xasprintf("+%s", name);
    return available && strstr(available, name) && write_file(fd, "cgroup.subtree_control", command) == 0;
}

bool cgroup_root_open(CgroupRoot *ret)
{
    *ret = (CgroupRoot){ .fd = -1 };
    _cleanup_(freep) char *path = own_path();
    _cleanup_(close_fdp) int fd = path ? open_own(path) : -1;
    if (fd < 0 || !is_delegated(fd) || !move_to_leaf(fd))
        return false;
    remove_leftovers(fd);
    _cleanup_(freep) char *controllers = read_file(fd, "cgroup.controllers");
    ret->memory = controller_enable(fd, controllers, "memory");
    ret->pids = controller_enable(fd, controllers, "pids");
    ret->path = take_ptr(path);
    ret->fd = take_fd(&fd);
    return true;
}

void cgroup_root_close(CgroupRoot *root)
{
    root->fd = close_fd(root->fd);
    free(root->path);
    root->path = NULL;
}

static int set_limits(const CgroupRoot *root, int fd, uint64_t memory_limit, uint64_t pids_limit)
{
    if (root->memory && memory_limit > 0) {
        if (write_number(fd, "memory.max", memory_limit) < 0)
            return -1;
        /* Else it would not end but crawl. Both are absent on some kernels (no swap accounting). */
        write_file(fd, "memory.swap.max", "0");
        write_file(fd, "memory.oom.group", "1");
    }
    if (root->pids && pids_limit > 0)
        return write_number(fd, "pids.max", pids_limit);
    return 0;
}

int cgroup_make(const CgroupRoot *root, const char *name, uint64_t memory_limit, uint64_t pids_limit)
{
    _cleanup_(freep) char *folder = xasprintf(SYNC_PREFIX "%s", name);
    if (mkdirat(root->fd, folder, 0755) < 0)
        return -1;
    _cleanup_(close_fdp) int fd = openat(root->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || set_limits(root, fd, memory_limit, pids_limit) < 0) {
        int saved = errno;
        unlinkat(root->fd, folder, AT_REMOVEDIR);
        errno = saved;
        return -1;
    }
    return take_fd(&fd);
}

void cgroup_kill(int fd)
{
    write_file(fd, "cgroup.kill", "1");
}

bool cgroup_populated(int fd)
{
    _cleanup_(freep) char *events = read_file(fd, "cgroup.events");
    uint64_t populated = 0;
    return events && find_number(events, "populated", &populated) && populated > 0;
}

bool cgroup_remove(const CgroupRoot *root, const char *name)
{
    _cleanup_(freep) char *folder = xasprintf(SYNC_PREFIX "%s", name);
    return unlinkat(root->fd, folder, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

bool cgroup_usage(int fd, CgroupUsage *ret)
{
    *ret = (CgroupUsage){ 0 };
    _cleanup_(freep) char *stat = read_file(fd, "memory.stat");
    _cleanup_(freep) char *events = read_file(fd, "memory.events");
    uint64_t anonymous, shared;
    if (!stat || !find_number(stat, "anon", &anonymous) || !find_number(stat, "shmem", &shared))
        return false;
    ret->resident = anonymous + shared;
    read_number(fd, "memory.peak", &ret->peak); /* Linux 5.19 */
    if (events)
        find_number(events, "oom_kill", &ret->oom_kills);
    return true;
}

unsigned cgroup_each(int fd, void (*callback)(int pid, void *userdata), void *userdata)
{
    _cleanup_(freep) char *list = read_file(fd, "cgroup.procs");
    unsigned count = 0;
    for (char *at = list; at && *at; count++) {
        callback((int)strtol(at, &at, 10), userdata);
        at += strspn(at, "\n");
    }
    return count;
}
