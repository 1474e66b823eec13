#pragma once
/*
 * Takes a database file away again that was made for a sync which then wrote nothing.
 *
 * The file must exist before the sandbox, which binds to it, and the sandbox leaves the writer no right to remove it.
 * So a child of the writer waits outside of it, holding no input and no right but that on the folder, until the writer
 * ends, in whatever way.
 */
#include <stddef.h>

#include "lib/basics/error.h"

typedef struct Caretaker Caretaker;
/* FILES[0] is the database, just made; all are in FOLDER and removed only together with it. */
int caretaker_start(const char *folder, const char *const *files, size_t count, Caretaker **ret, Error *error);
Caretaker *caretaker_finish(Caretaker *caretaker); /* waits for it; the database is closed before */
