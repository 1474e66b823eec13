#pragma once
/*
 * SQLite's temporary files (the sorter of an index build, statement journals) without a folder.
 *
 * They are descriptors of nameless files in the database's folder, opened before the sandbox: inside it, the writer has
 * no right to create a file anywhere. Nothing is left behind, however the writer ends.
 */
#include <sqlite3.h>

#include "lib/basics/error.h"

typedef struct TemporaryVfs TemporaryVfs;
/* The platform's VFS with temporary files in FOLDER. Registered by temporary_vfs_register(), under TEMPORARY_VFS_NAME.
 */
int temporary_vfs_new(const char *folder, TemporaryVfs **ret, Error *error);
TemporaryVfs *temporary_vfs_free(TemporaryVfs *vfs); /* unregisters; the database is closed before */
int temporary_vfs_register(TemporaryVfs *vfs);       /* an SQLite result code */
#define TEMPORARY_VFS_NAME "wherry"
