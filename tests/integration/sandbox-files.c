/* What a hostile program tries with files: those outside of what it was granted, and those of the wrong kind inside. */
#include "tests/integration/sandbox-attempts.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

/* The path of NAME beside the file outside. */
static const char *beside(const Target *target, const char *name)
{
    static char path[PATH_MAX];
    const char *slash = strrchr(target->outside, '/');
    snprintf(path, sizeof path, "%.*s/%s", (int)(slash - target->outside), target->outside, name);
    return path;
}

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

const Attempt file_attempts[] = {
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
    LISTED(remove_outside),
    { NULL },
};
