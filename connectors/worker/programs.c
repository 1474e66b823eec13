/*
 * An interpreter outside the system's folders (a virtual environment, pyenv, a language's own installer) is a file in
 * PREFIX/bin whose libraries are in PREFIX/lib; a virtual environment's is a link to another one, whose libraries are
 * needed as well. Of PREFIX itself nothing more is let in: it may be somebody's home.
 */
#include "connectors/worker/programs.h"

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "lib/basics/buffer.h"
#include "lib/basics/path.h"

#define SHEBANG_MAX 256 /* the kernel reads no more */
#define INTERPRETERS_MAX 4

static const char *const system_folders[] = { "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" };
/* Settings without secrets (who signs on to ODBC is in odbc.ini); the patterns are glob(7)'s. */
static const char *const system_files[] = { "/etc/ld.so.cache",  "/etc/python3*",     "/etc/perl",
                                            "/etc/ruby*",        "/etc/java*",        "/etc/R",
                                            "/etc/mime.types",   "/etc/alternatives", "/etc/inputrc",
                                            "/etc/locale.alias", "/etc/*-release",    "/etc/debian_version",
                                            "/etc/odbcinst.ini" };
static const char *const kernel_files[] = { "/dev/zero",
                                            "/dev/full",
                                            "/dev/random",
                                            "/proc/cpuinfo",
                                            "/proc/meminfo",
                                            "/proc/stat",
                                            "/proc/sys/kernel/osrelease",
                                            "/proc/sys/vm/overcommit_memory",
                                            "/sys/devices/system/cpu",
                                            "/sys/fs/cgroup" };

void program_paths_add(ProgramPaths *list, const char *path, unsigned access)
{
    list->paths = xrealloc(list->paths, (list->count + 1) * sizeof(*list->paths));
    list->paths[list->count++] = (SandboxPath){ .path = xstrdup(path), .access = access };
}

void program_paths_clear(ProgramPaths *list)
{
    for (size_t i = 0; i < list->count; i++)
        free((char *)(uintptr_t)list->paths[i].path);
    free(list->paths);
    *list = (ProgramPaths){ 0 };
}

void program_paths_add_system(ProgramPaths *list)
{
    for (size_t i = 0; i < ELEMENTSOF(system_folders); i++)
        program_paths_add(list, system_folders[i], SANDBOX_READ | SANDBOX_EXECUTE);
    for (size_t i = 0; i < ELEMENTSOF(kernel_files); i++)
        program_paths_add(list, kernel_files[i], SANDBOX_READ);
    for (size_t i = 0; i < ELEMENTSOF(system_files); i++) {
        glob_t found = { 0 };
        if (glob(system_files[i], GLOB_NOSORT, NULL, &found) == 0)
            for (size_t k = 0; k < found.gl_pathc; k++)
                program_paths_add(list, found.gl_pathv[k], SANDBOX_READ);
        globfree(&found);
    }
}

char *program_find(const char *name)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        char *file = xasprintf("%.*s/%s", (int)n, path, name);
        if (access(file, X_OK) == 0)
            return file;
        free(file);
        path += n + (path[n] == ':');
    }
    return NULL;
}

/* FILE, the libraries beside its folder where that is called "bin", and the file of a virtual environment. */
static void add_interpreter(ProgramPaths *list, const char *file)
{
    static const char *const beside[] = { "lib", "lib64", "share", "pyvenv.cfg" };
    program_paths_add(list, file, SANDBOX_READ | SANDBOX_EXECUTE);
    _cleanup_(freep) char *folder = path_folder(file);
    _cleanup_(freep) char *prefix = path_folder(folder);
    const char *last = strrchr(folder, '/');
    if (!last || strcmp(last, "/bin") != 0 || strcmp(prefix, "/") == 0)
        return;
    for (size_t i = 0; i < ELEMENTSOF(beside); i++) {
        _cleanup_(freep) char *path = path_join(prefix, beside[i]);
        program_paths_add(list, path, SANDBOX_READ | SANDBOX_EXECUTE);
    }
}

/* What the first line of FILE names after "#!", the program that env(1) is asked for included; NULL: nothing. */
static char *interpreter_of(const char *file, char **ret_argument)
{
    char line[SHEBANG_MAX + 1];
    _cleanup_(close_fdp) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? read(fd, line, SHEBANG_MAX) : -1;
    *ret_argument = NULL;
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return NULL;
    line[n] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    const char *path = line + 2 + strspn(line + 2, " \t");
    size_t length = strcspn(path, " \t");
    const char *argument = path + length + strspn(path + length, " \t");
    if (strncmp(argument, "-S", 2) == 0)
        argument += 2 + strspn(argument + 2, " \t");
    if (*argument && *argument != '-')
        *ret_argument = xstrndup(argument, strcspn(argument, " \t"));
    return length > 0 ? xstrndup(path, length) : NULL;
}

void program_paths_add_program(ProgramPaths *list, const char *program)
{
    char *file = xstrdup(program);
    for (unsigned i = 0; file && i < INTERPRETERS_MAX; i++) {
        add_interpreter(list, file);
        char real[PATH_MAX];
        if (realpath(file, real) && strcmp(real, file) != 0)
            add_interpreter(list, real);
        _cleanup_(freep) char *argument = NULL;
        char *interpreter = interpreter_of(file, &argument);
        const char *last = interpreter ? strrchr(interpreter, '/') : NULL;
        if (last && strcmp(last, "/env") == 0 && argument) {
            free(interpreter);
            interpreter = strchr(argument, '/') ? xstrdup(argument) : program_find(argument);
        }
        free(file);
        file = interpreter;
    }
    free(file);
}
