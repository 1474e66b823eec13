/*
 * One question, asked by every program that an operator starts: where do things live here? Three answers compete, and
 * the first that applies wins: what the command line said, what the machine's install says (systemd's variables, then
 * the fixed folders), and, for a user on a machine without an install, what the XDG base directory specification says.
 * Wherryd and wherryctl must come to the same answer without talking to each other, so that the rule stands here once.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/basics/buffer.h"
#include "lib/system/paths.h"
#include "wherry-build.h"

#define SYSTEM_CONFIG_DIR "/etc/wherry"
#define SYSTEM_STATE_DIR "/var/lib/wherry"
#define SYSTEM_RUNTIME_DIR "/run/wherry"

void paths_clear(Paths *paths)
{
    free(paths->config_dir);
    free(paths->state_dir);
    free(paths->runtime_dir);
    *paths = (Paths){};
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The root user and a service of systemd's have the system's folders; a user has them where there are any. */
static bool is_system(void)
{
    return geteuid() == 0 || getenv("STATE_DIRECTORY") || getenv("RUNTIME_DIRECTORY") || is_folder(SYSTEM_CONFIG_DIR) ||
           is_folder(SYSTEM_RUNTIME_DIR);
}

/* An absolute path in variable NAME, else NULL: the XDG specification tells to ignore relative ones. Of a list, the
 * first. */
static char *from_environment(const char *name)
{
    const char *value = getenv(name);
    if (!value || value[0] != '/')
        return NULL;
    return xstrndup(value, strcspn(value, ":"));
}

static int from_xdg(const char *variable, const char *below_home, const char *last, char **ret, Error *error)
{
    _cleanup_(freep) char *base = from_environment(variable);
    if (base) {
        *ret = xasprintf("%s/%s", base, last);
        return 0;
    }
    _cleanup_(freep) char *home = from_environment("HOME");
    if (!home)
        return error_set(error, ERROR_CONFIGURATION,
                         "neither %s nor HOME is set to an absolute path; say where with an option", variable);
    *ret = xasprintf("%s/%s/%s", home, below_home, last);
    return 0;
}

/* realpath() wants what exists; a state folder may not exist yet, and its parents may be symbolic links on purpose. */
static int make_absolute(char **path, Error *error)
{
    assert(*path);
    if ((*path)[0] == '/')
        return 0;
    if ((*path)[0] == 0)
        return error_set(error, ERROR_CONFIGURATION, "a folder's path is empty");
    char here[PATH_MAX];
    if (!getcwd(here, sizeof here))
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the current folder cannot be read");
    char *absolute = xasprintf("%s/%s", here, *path);
    free(*path);
    *path = absolute;
    return 0;
}

static int resolve_runtime_dir(bool system, Paths *paths, Error *error)
{
    paths->runtime_dir = from_environment("RUNTIME_DIRECTORY");
    if (paths->runtime_dir)
        return 0;
    if (system) {
        paths->runtime_dir = xstrdup(SYSTEM_RUNTIME_DIR);
        return 0;
    }
    _cleanup_(freep) char *base = from_environment("XDG_RUNTIME_DIR");
    if (base) {
        paths->runtime_dir = xasprintf("%s/wherry", base);
        return 0;
    }
    /* No session (cron, a container): a private folder of the user's own, never one in /tmp that another user could
     * have made first. */
    return from_xdg("XDG_STATE_HOME", ".local/state", "wherry/run", &paths->runtime_dir, error);
}

int paths_resolve(Paths *paths, Error *error)
{
    bool system = is_system();
    if (!paths->config_dir) {
        if (system)
            paths->config_dir = xstrdup(SYSTEM_CONFIG_DIR);
        else if (from_xdg("XDG_CONFIG_HOME", ".config", "wherry", &paths->config_dir, error) < 0)
            return -1;
    }
    if (!paths->state_dir)
        paths->state_dir = from_environment("STATE_DIRECTORY");
    if (!paths->state_dir) {
        if (system)
            paths->state_dir = xstrdup(SYSTEM_STATE_DIR);
        else if (from_xdg("XDG_STATE_HOME", ".local/state", "wherry", &paths->state_dir, error) < 0)
            return -1;
    }
    if (!paths->runtime_dir && resolve_runtime_dir(system, paths, error) < 0)
        return -1;
    if (make_absolute(&paths->config_dir, error) < 0 || make_absolute(&paths->state_dir, error) < 0 ||
        make_absolute(&paths->runtime_dir, error) < 0)
        return -1;
    return 0;
}

int paths_once_state_dir(char **ret, Error *error)
{
    return from_xdg("XDG_STATE_HOME", ".local/state", "wherry/once", ret, error);
}

/* The folder of the running executable, without a slash at its end; NULL where /proc does not say. */
static char *executable_folder(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return NULL;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *slash = 0;
    return xstrdup(path);
}

/* FOLDER/BELOW where that is there and may be executed (or entered), else NULL. */
static char *if_there(const char *folder, const char *below)
{
    char *path = xasprintf("%s/%s", folder, below);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return NULL;
}

/* PATH (taken over) as realpath() has it; what is not there stays as it is, for a message that names it. */
static char *resolved(char *path)
{
    char *real = realpath(path, NULL);
    if (!real)
        return path;
    free(path);
    return real;
}

char *paths_libexec(const char *option)
{
    if (option)
        return resolved(xstrdup(option));
    _cleanup_(freep) char *folder = executable_folder();
    char *found = folder ? if_there(folder, "../libexec/wherry") : NULL;
    if (!found && folder) {
        /* <build>/daemon/wherryd/wherryd */
        found = if_there(folder, "../../connectors");
        if (found && !is_folder(found)) {
            free(found);
            found = NULL;
        }
    }
    return found ? resolved(found) : xstrdup(WHERRY_LIBEXEC_DIR);
}

char *paths_program(const char *libexec, const char *kind, const char *type)
{
    char *flat = xasprintf("%s/%s-%s", libexec, kind, type);
    if (access(flat, F_OK) == 0)
        return flat;
    char *nested = xasprintf("%s/%ss/%s/%s-%s", libexec, kind, type, kind, type);
    if (access(nested, F_OK) == 0) {
        free(flat);
        return nested;
    }
    free(nested);
    return flat;
}

char *paths_environment_builder(const char *libexec)
{
    char *nested = xasprintf("%s/environment/build-environment", libexec);
    if (access(nested, F_OK) == 0)
        return nested;
    free(nested);
    return xasprintf("%s/build-environment", libexec);
}

char *paths_wherryd(void)
{
    _cleanup_(freep) char *folder = executable_folder();
    static const char *const places[] = { "wherryd", "../sbin/wherryd", "../wherryd/wherryd" };
    for (size_t i = 0; folder && i < ELEMENTSOF(places); i++) {
        char *found = if_there(folder, places[i]);
        if (found && !is_folder(found))
            return found;
        free(found);
    }
    return xstrdup(WHERRY_SBIN_DIR "/wherryd");
}

int paths_make(const char *path, unsigned mode, Error *error)
{
    _cleanup_(freep) char *copy = xstrdup(path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(copy, 0755) < 0 && errno != EEXIST && !is_folder(copy))
            return error_set_errno(error, errno == ENOSPC ? ERROR_TEMPORARY : ERROR_CONFIGURATION, errno,
                                   "folder \"%s\" cannot be made", copy);
        *slash = '/';
    }
    if (mkdir(copy, mode) < 0 && !(errno == EEXIST && is_folder(copy)))
        return error_set_errno(error, errno == ENOSPC ? ERROR_TEMPORARY : ERROR_CONFIGURATION, errno,
                               "folder \"%s\" cannot be made", copy);
    return 0;
}
