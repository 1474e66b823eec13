#pragma once
/*
 * What the sandbox of a source that runs programs must let it reach: the system's programs and libraries, the program
 * itself with its interpreter, temporary files. Name lookup and certificates come with the network, /dev/null and the
 * time zones with every sandbox.
 */
#include "lib/system/sandbox.h"

typedef struct ProgramPaths {
    SandboxPath *paths; /* owned, with their names */
    size_t count;
} ProgramPaths;

void program_paths_add(ProgramPaths *list, const char *path, unsigned access);
/* What every program needs: /usr, /bin, /lib and the like to read and execute, the settings of interpreters in /etc. */
void program_paths_add_system(ProgramPaths *list);
/* PROGRAM and, where it begins with "#!", its interpreter with its libraries. */
void program_paths_add_program(ProgramPaths *list, const char *program);
void program_paths_clear(ProgramPaths *list);

/* The file that NAME (without "/") is on the path of a worker's environment; NULL: none. The caller frees. */
char *program_find(const char *name);
