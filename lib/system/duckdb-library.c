/*
 * Finding libduckdb, and its functions by name.
 *
 * Wherry is compiled against one header and runs with whatever library the system has: the C API only grows. A library
 * that is too old lacks a function; that is told by its name at once, never found out in the middle of a sync.
 */
#include "lib/system/duckdb-library.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>

#include "lib/basics/buffer.h"

#define LIBRARY "libduckdb.so"
#define HOW_TO_GET                                                                                \
    "get it with \"subprojects/fetch duckdb\" and install Wherry once more, or download it from " \
    "DuckDB's site and name it with \"duckdb_library\""

/* Relative to the running program's folder: beside it, where it was installed; below lib, in a build tree. */
static const char *const places[] = { LIBRARY, "../../lib/system/" LIBRARY, "../../../lib/system/" LIBRARY };

typedef struct Search {
    DuckdbLibrary *library;
    Buffer tried; /* "PATH: why not; …" */
} Search;

static bool try_path(Search *search, const char *path)
{
    search->library->handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (search->library->handle) {
        search->library->path = xstrdup(path);
        return true;
    }
    /* it names the path itself */
    const char *why = dlerror();
    if (buffer_length(&search->tried) > 0)
        buffer_append_string(&search->tried, "; ");
    buffer_append_string(&search->tried, why ? why : path);
    return false;
}

static bool try_places(Search *search)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n <= 0)
        return false;
    program[n] = 0;
    char *slash = strrchr(program, '/');
    if (slash)
        *slash = 0;
    for (size_t i = 0; i < ELEMENTSOF(places); i++) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", program, places[i]);
        if (access(path, F_OK) == 0 && try_path(search, path))
            return true;
    }
    return false;
}

static int find(DuckdbLibrary *library, const char *path, Error *error)
{
    Search search = { .library = library };
    bool found = path ? try_path(&search, path) : try_path(&search, LIBRARY) || try_places(&search);
    _cleanup_(freep) char *tried = buffer_take_string(&search.tried);
    if (found)
        return 0;
    if (path)
        return error_set(
            error, ERROR_CONFIGURATION,
            "DuckDB's library \"%s\" cannot be loaded: %s; correct \"duckdb_library\", or leave it out and " HOW_TO_GET,
            path, tried);
    return error_set(error, ERROR_CONFIGURATION, "DuckDB's library is not there (%s): " HOW_TO_GET, tried);
}

/* ISO C has no way from dlsym()'s object pointer to a function; POSIX has this one. */
static void *symbol(const DuckdbLibrary *library, const char *name, const char **missing)
{
    void *found = dlsym(library->handle, name);
    if (!found && !*missing)
        *missing = name;
    return found;
}

static int resolve(DuckdbLibrary *library, Error *error)
{
    const char *missing = NULL;
#define FUNCTION(name) *(void **)&library->name = symbol(library, "duckdb_" #name, &missing);
#include "lib/system/duckdb-functions.def"
#undef FUNCTION
    if (library->library_version)
        library->version = library->library_version();
    if (missing)
        return error_set(error, ERROR_CONFIGURATION, "\"%s\" (%s) cannot be used, since it has no %s: %s",
                         library->path, library->version ? library->version : "no DuckDB", missing, HOW_TO_GET);
    return 0;
}

int duckdb_library_load(const char *path, DuckdbLibrary **ret, Error *error)
{
    _cleanup_(duckdb_library_freep) DuckdbLibrary *library = xcalloc(1, sizeof(*library));
    if (find(library, path, error) < 0 || resolve(library, error) < 0)
        return -1;
    *ret = take_ptr(library);
    return 0;
}

DuckdbLibrary *duckdb_library_free(DuckdbLibrary *library)
{
    if (library) {
        free(library->path);
        free(library);
    }
    return NULL;
}
