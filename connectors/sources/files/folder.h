#pragma once
/* The files of a folder that a sync looks at: flat, in byte order of their names, less what is never data. */
#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/basics/error.h"

typedef struct Folder {
    char **names; /* owned; base names, bytes as they are */
    size_t count;
    size_t allocated;
} Folder;

/* Names in the folder open as FD that match PATTERN (a glob, NULL: all), without *.tmp and *.manifest.json. */
int folder_list(int fd, const char *pattern, Folder *ret, Error *error);
void folder_clear(Folder *folder);

typedef enum FolderEntry {
    FOLDER_FILE = 0, /* *ret_fd is open for reading, positioned at its beginning */
    FOLDER_NOTE,     /* nothing to load, *ret_why says why */
    FOLDER_BROKEN,   /* meant as a data file but not to be had, *ret_why says why */
    FOLDER_IGNORED   /* a subfolder or the like that nobody meant */
} FolderEntry;

/* Opens NAME in the folder open as FD. *ret_why: malloc'ed, or NULL. PATTERN: whether the names were asked for. */
FolderEntry folder_open_file(int fd, const char *name, bool pattern, int *ret_fd, char **ret_why);
