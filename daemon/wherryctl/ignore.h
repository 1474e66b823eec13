#pragma once
/* What a .gitignore leaves out (gitignore(5)): the rules of one file, at the root of a project. */
#include <stdbool.h>

typedef struct Ignore Ignore;
Ignore *ignore_new(const char *rules); /* the file's text */
Ignore *ignore_free(Ignore *ignore);
/* PATH relative to the root, without "/" at its ends. What lies below a folder that matches is left out with it: that
 * is the caller's to see. */
bool ignore_matches(const Ignore *ignore, const char *path, bool is_folder);
