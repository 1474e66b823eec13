#pragma once
/*
 * DuckDB's library, loaded when it is first needed: 70 MB that most installations do without.
 *
 * What is loaded is a table of the C API's functions, each with the type that duckdb.h gives it, called as
 * `duckdb->query(…)` for duckdb_query(). A function that somebody needs is one more row of duckdb-functions.def. Only
 * what links this module (meson's `duckdb`, where a build has found the header) may include this page; wherry-build.h
 * says WHERRY_DUCKDB.
 *
 * Loading runs foreign code (initialisers, no threads), so it comes before the sandbox, as dlopen() needs files that
 * the sandbox would have to name. Opening a database starts threads, so that comes after it.
 */
#include <duckdb.h>

#include "lib/basics/error.h"

typedef struct DuckdbLibrary {
    void *handle;
    char *path;          /* owned: what was loaded; "libduckdb.so" where the loader found it */
    const char *version; /* "v1.5.6" */
#define FUNCTION(name) __typeof__(&duckdb_##name) name;
#include "lib/system/duckdb-functions.def"
#undef FUNCTION
} DuckdbLibrary;

/* Loads PATH (`duckdb_library:`), or where that is NULL the first of: what the loader finds as "libduckdb.so", the one
 * installed beside the running program, the one of its build tree. The caller frees. Not there, not loadable, or
 * without a function that is needed: ERROR_CONFIGURATION that says what was tried and how to get one. */
int duckdb_library_load(const char *path, DuckdbLibrary **ret, Error *error);
/* Frees what belongs to us. The library itself stays: its threads and destructors would not survive dlclose(). */
DuckdbLibrary *duckdb_library_free(DuckdbLibrary *library);
DEFINE_CLEANUP(DuckdbLibrary, duckdb_library_free)
