#pragma once
/*
 * A connector's project: the folder with connector.py. What of it is packed: not hidden files, not files/ (what debug
 * wrote), not configuration.json, not what .gitignore names, no virtual environments and no __pycache__.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/basics/error.h"

#define PROJECT_BYTES_MAX (UINT64_C(200) << 20)
#define PROJECT_FILES_MAX 20000

typedef struct ProjectFile {
    char *path; /* relative, with "/" */
    uint64_t size;
    bool executable;
} ProjectFile;

typedef struct Project {
    char *folder;       /* absolute, links resolved */
    ProjectFile *files; /* sorted by path */
    size_t count;
    uint64_t bytes;
} Project;
void project_clear(Project *project); /* for _cleanup_ too */

/* FOLDER (NULL: the current one) holds connector.py; else ERROR. Lists no files yet. */
int project_open(const char *folder, Project *ret, Error *error);
/* Lists what is packed. CONFIGURATION: a file that is not, wherever it lies; NULL: none. */
int project_list(Project *project, const char *configuration, Error *error);
/* One of its files, open for reading, seen to be a file of the project still; -1 and ERROR. */
int project_open_file(const Project *project, const ProjectFile *file, Error *error);

/* PATH's JSON, checked as a connector's configuration. RET_READABLE: every user may read it. */
int project_read_configuration(const char *path, json_t **ret, bool *ret_readable, Error *error);
/* What "--naming" or its variable says, in Fivetran's words or ours, as the key "naming" has it; NULL: nothing. */
int project_naming(const char *given, const char **ret, Error *error);
/* PATH where there is such a file, else the one in the project. The caller frees. */
char *project_find_file(const Project *project, const char *path);
