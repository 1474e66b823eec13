/*
 * Two names may be one file, and the file may not be there yet. path_canonical() answers for such names too: it asks
 * the kernel for the deepest folder that exists and appends the rest as text. A symbolic link whose target does not
 * exist is followed by hand, since whoever creates the file through it will create the target.
 */
#include "lib/basics/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/basics/buffer.h"

#define REMOVE_DEPTH_MAX 100 /* of folders that are removed; a deeper one stays */
#define LINKS_MAX 40         /* as the kernel's own bound, see path_resolution(7) */

char *path_join(const char *folder, const char *path)
{
    if (path[0] == '/')
        return xstrdup(path);
    size_t n = strlen(folder);
    return xasprintf("%s%s%s", folder, n > 0 && folder[n - 1] == '/' ? "" : "/", path);
}

char *path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* Where the link PATH leads, as an absolute name, or NULL: no link. */
static char *link_target(const char *path)
{
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        return NULL;
    target[n] = '\0';
    _cleanup_(freep) char *folder = path_folder(path);
    return path_join(folder, target);
}

static char *append(const char *folder, const char *name)
{
    if (strcmp(name, ".") == 0 || *name == '\0')
        return xstrdup(folder);
    return strcmp(name, "..") == 0 ? path_folder(folder) : path_join(folder, name);
}

static char *canonical(const char *path, int links)
{
    char *real = realpath(path, NULL);
    if (real)
        return real;
    if (strcmp(path, "/") == 0)
        return xstrdup("/");
    _cleanup_(freep) char *trimmed = xstrdup(path);
    for (size_t n = strlen(trimmed); n > 1 && trimmed[n - 1] == '/'; n--)
        trimmed[n - 1] = '\0';
    _cleanup_(freep) char *target = links > 0 ? link_target(trimmed) : NULL;
    if (target)
        return canonical(target, links - 1);
    _cleanup_(freep) char *folder = path_folder(trimmed);
    _cleanup_(freep) char *resolved = canonical(folder, links);
    return append(resolved, strrchr(trimmed, '/') + 1);
}

char *path_canonical(const char *path)
{
    bool resolvable = path && path[0] == '/' && strlen(path) < PATH_MAX;
    return resolvable ? canonical(path, LINKS_MAX) : xstrdup(path ? path : "");
}

char *path_canonical_cached(PathCache *cache, const char *path)
{
    const char *name = strrchr(path, '/');
    struct stat status;
    bool simple = path[0] == '/' && name[1] && strcmp(name, "/.") != 0 && strcmp(name, "/..") != 0;
    if (!simple || (lstat(path, &status) == 0 && S_ISLNK(status.st_mode)))
        return path_canonical(path);
    _cleanup_(freep) char *folder = path_folder(path);
    if (!cache->folder || strcmp(cache->folder, folder) != 0) {
        path_cache_clear(cache);
        cache->canonical = path_canonical(folder);
        cache->folder = take_ptr(folder);
    }
    return path_join(cache->canonical, name + 1);
}

void path_cache_clear(PathCache *cache)
{
    free(cache->folder);
    free(cache->canonical);
    *cache = (PathCache){ 0 };
}

bool path_is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    if (strcmp(folder, "/") == 0)
        return true;
    return strncmp(path, folder, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* Not every file system has O_TMPFILE. */
int path_open_nameless(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    _cleanup_(freep) char *name = xasprintf("%s/.wherry-XXXXXX", folder);
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    return fd;
}

/* Empties the folder FD, which is closed. */
static void empty(int fd, unsigned depth)
{
    DIR *stream = depth < REMOVE_DEPTH_MAX ? fdopendir(fd) : NULL;
    if (!stream) {
        close_fd(fd);
        return;
    }
    for (const struct dirent *entry; (entry = readdir(stream));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) == 0 || (errno != EISDIR && errno != EPERM))
            continue;
        int below = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            empty(below, depth + 1);
        unlinkat(fd, entry->d_name, AT_REMOVEDIR);
    }
    closedir(stream);
}

void path_remove_tree(int root, const char *name)
{
    if (unlinkat(root, name, 0) == 0 || (errno != EISDIR && errno != EPERM))
        return;
    int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        empty(fd, 0);
    unlinkat(root, name, AT_REMOVEDIR);
}
