#pragma once
/* File names as text, and where they lead. All results are malloc'ed. */
#include <stdbool.h>

char *path_join(const char *folder, const char *path); /* PATH itself where it is absolute; no component is touched */
char *path_folder(const char *path); /* what stands before the last "/"; "." or "/" where nothing does */
/* Where the absolute PATH leads: symbolic links (dangling ones too), "." and ".." resolved as far as something is
 * there, the rest appended as text. */
char *path_canonical(const char *path);
/* The same for many files: remembers where the last one's folder led. Zeroed at first; path_cache_clear() frees. */
typedef struct PathCache {
    char *folder, *canonical;
} PathCache;
char *path_canonical_cached(PathCache *cache, const char *path);
void path_cache_clear(PathCache *cache);
bool path_is_below(const char *path, const char *folder); /* or FOLDER itself; both canonical */
/* Removes NAME in the open folder ROOT with all below it, as far as that can be removed; follows no link. */
void path_remove_tree(int root, const char *name);
/* A new file in FOLDER that has no name and is gone when it is closed, for reading and writing; -1 with errno. */
int path_open_nameless(const char *folder);
