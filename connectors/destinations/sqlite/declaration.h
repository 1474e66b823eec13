#pragma once
/* A CREATE TABLE statement, as SQLite keeps it, with other types in it. */
#include <stddef.h>

/* SQL with other types: DECLARED has one per column, NULL where it stays as it is. NAME (quoted) replaces the table's,
 * where it is not NULL. NULL: it could not be taken apart, or has not COUNT columns. The caller frees. */
char *declaration_edit(const char *sql, const char *name, const char *const *declared, size_t count);
