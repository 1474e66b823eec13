/*
 * A draft is made of data, which wherryctl does not read: it opens the files with its user's rights and becomes the
 * source's program, which looks at them locked into a sandbox. Their descriptors follow standard error one by one,
 * their paths stand on the command line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/wherryctl/commands.h"
#include "lib/basics/buffer.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"

#define FD_FIRST 3
#define FILES_MAX 16

static int refuse(const char *file, const char *why)
{
    _cleanup_(freep) char *shown = text_escape(file, strlen(file));
    fprintf(stderr, "wherryctl: %s: %s\n", shown, why);
    return EXIT_WRONG_USE;
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* FILE as the folder's true path and its own name: a link to a file is called what the link is called. */
static char *absolute_path(const char *file)
{
    _cleanup_(freep) char *folder = path_folder(file);
    _cleanup_(freep) char *real = realpath(folder, NULL);
    const char *slash = strrchr(file, '/');
    return real ? path_join(real, slash ? slash + 1 : file) : NULL;
}

static int check_name(const char *file)
{
    if (utf8_valid_length(file, strlen(file)) < strlen(file))
        return refuse(file, "a pipeline file cannot hold this path, which is not UTF-8; rename the file");
    if (ends_with(file, ".tmp") || ends_with(file, ".manifest.json"))
        return refuse(file, "files of this name are never loaded; rename it");
    return 0;
}

/* Opens FILE as descriptor FD. */
static int open_as(const char *file, int fd)
{
    struct stat info;
    int opened = open(file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (opened < 0)
        return refuse(file, error_errno_text(errno));
    if (fstat(opened, &info) < 0 || !S_ISREG(info.st_mode))
        return refuse(file, "not a regular file");
    /* dup2() onto itself would leave it close-on-exec */
    int copy = fcntl(opened, F_DUPFD_CLOEXEC, FD_FIRST + FILES_MAX);
    close(opened);
    int r = copy < 0 ? -1 : dup2(copy, fd);
    if (copy >= 0)
        close(copy);
    return r < 0 ? refuse(file, error_errno_text(errno)) : 0;
}

static int become_source(const char **arguments)
{
    _cleanup_(freep) char *libexec = paths_libexec(NULL);
    _cleanup_(freep) char *program = paths_program(libexec, "source", "files");
    arguments[0] = program;
    fflush(stdout);
    execv(program, (char *const *)arguments);
    fprintf(stderr, "wherryctl: \"%s\" cannot be started: %s\n", program, error_errno_text(errno));
    return EXIT_FAILED;
}

int command_draft(const Options *options, char *const *names, size_t count)
{
    const char *arguments[FILES_MAX + 3] = { NULL, "--draft" };
    if (count > FILES_MAX) {
        fprintf(stderr, "wherryctl: %zu files; a draft is made from at most %d, of the same kind\n", count, FILES_MAX);
        return EXIT_WRONG_USE;
    }
    int status = EXIT_DONE;
    for (size_t i = 0; i < count && status == EXIT_DONE; i++) {
        arguments[i + 2] = absolute_path(names[i]);
        if (!arguments[i + 2])
            status = refuse(names[i], error_errno_text(errno));
        else if (check_name(arguments[i + 2]) != 0 || open_as(names[i], FD_FIRST + (int)i) != 0)
            status = EXIT_WRONG_USE;
    }
    if (status == EXIT_DONE)
        status = become_source(arguments);
    for (size_t i = 0; i < count; i++)
        free((char *)arguments[i + 2]);
    return status;
}
