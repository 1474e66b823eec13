/*
 * What lies in a drop folder is not all data: subfolders, pipes, sockets, links. Only what is a regular file after
 * following links is read, as Filedge does (os.path.isfile); the rest is named once in the log, because a file that is
 * silently not loaded is the worst that can happen here. A link that leads out of the folder is stopped by the sandbox,
 * whose rules show this folder only: whoever may drop a file must not be able to point at the daemon's own.
 *
 * The open must not block (a fifo) and what was opened is what counts: the kind of file is asked of the descriptor.
 */
#include "connectors/sources/files/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/basics/buffer.h"

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && memcmp(name + n - m, suffix, m) == 0;
}

static bool is_wanted(const char *name, const char *pattern)
{
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    if (ends_with(name, ".tmp") || ends_with(name, ".manifest.json"))
        return false;
    /* Python's fnmatch knows no escapes and gives a leading dot no meaning. */
    return !pattern || fnmatch(pattern, name, FNM_NOESCAPE) == 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void folder_add(Folder *folder, const char *name)
{
    if (folder->count == folder->allocated) {
        folder->allocated = MAX_OF(folder->allocated * 2, (size_t)64);
        folder->names = xrealloc(folder->names, folder->allocated * sizeof(char *));
    }
    folder->names[folder->count++] = xstrdup(name);
}

int folder_list(int fd, const char *pattern, Folder *ret, Error *error)
{
    Folder folder = { 0 };
    /* A descriptor of its own: closedir() closes it, and the position is not shared with an earlier listing. */
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own >= 0 ? fdopendir(own) : NULL;
    if (!stream) {
        int errnum = errno;
        if (own >= 0)
            close_fd(own);
        return error_set_errno(error, ERROR_TEMPORARY, errnum, "cannot list the folder");
    }
    const struct dirent *entry;
    errno = 0;
    while ((entry = readdir(stream)))
        if (is_wanted(entry->d_name, pattern))
            folder_add(&folder, entry->d_name);
    int errnum = errno;
    closedir(stream);
    if (errnum != 0) {
        folder_clear(&folder);
        return error_set_errno(error, ERROR_TEMPORARY, errnum, "cannot list the folder");
    }
    if (folder.count > 1)
        qsort(folder.names, folder.count, sizeof(char *), compare_names);
    *ret = folder;
    return 0;
}

void folder_clear(Folder *folder)
{
    for (size_t i = 0; i < folder->count; i++)
        free(folder->names[i]);
    free(folder->names);
    *folder = (Folder){ 0 };
}

static const char *kind_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a folder";
    case S_IFIFO:
        return "a named pipe";
    case S_IFSOCK:
        return "a socket";
    default:
        return "a device";
    }
}

/* Not a regular file: worth a note where the name looks like data. */
static FolderEntry not_a_file(const char *name, bool pattern, mode_t mode, char **ret_why)
{
    if (!pattern && !strchr(name + 1, '.'))
        return FOLDER_IGNORED;
    *ret_why = xasprintf("%s, not a file: not loaded", kind_name(mode));
    return FOLDER_NOTE;
}

static FolderEntry cannot_open(int errnum, bool link, char **ret_why)
{
    if (errnum == ENOENT && !link) {
        *ret_why = xstrdup("was removed before it could be read");
        return FOLDER_NOTE;
    }
    if (errnum == ENOENT)
        *ret_why = xstrdup("a symbolic link to a file that does not exist, or that lies outside the folder");
    else if (errnum == ELOOP)
        *ret_why = xstrdup("a symbolic link that leads back to itself");
    else if (link && (errnum == EACCES || errnum == EPERM))
        *ret_why = xstrdup("a symbolic link out of the folder (the sandbox does not follow it), or to a file that may "
                           "not be read: put the file itself here");
    else if (errnum == EACCES || errnum == EPERM)
        *ret_why = xstrdup("cannot be read: permission denied; let the user that runs wherryd read it");
    else
        *ret_why = xasprintf("cannot be opened: %s", strerrordesc_np(errnum));
    return FOLDER_BROKEN;
}

FolderEntry folder_open_file(int fd, const char *name, bool pattern, int *ret_fd, char **ret_why)
{
    struct stat info;
    *ret_why = NULL;
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return cannot_open(errno, false, ret_why);
    bool link = S_ISLNK(info.st_mode);
    if (!link && !S_ISREG(info.st_mode))
        return not_a_file(name, pattern, info.st_mode, ret_why);
    _cleanup_(close_fdp) int file = openat(fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file < 0)
        return cannot_open(errno, link, ret_why);
    if (fstat(file, &info) < 0)
        return cannot_open(errno, link, ret_why);
    if (!S_ISREG(info.st_mode))
        return not_a_file(name, pattern, info.st_mode, ret_why);
    *ret_fd = take_fd(&file);
    return FOLDER_FILE;
}
