#pragma once
/*
 * Where Wherry's folders and programs are, for wherryd and wherryctl alike.
 *
 * The system's folders are /etc/wherry, $STATE_DIRECTORY or /var/lib/wherry, and $RUNTIME_DIRECTORY or /run/wherry. An
 * ordinary user on a machine without a system install (neither /etc/wherry nor /run/wherry) has the XDG ones:
 * $XDG_CONFIG_HOME/wherry, $XDG_STATE_HOME/wherry and $XDG_RUNTIME_DIR/wherry.
 */
#include "lib/basics/error.h"

typedef struct Paths {
    char *config_dir;
    char *state_dir;
    char *runtime_dir;
} Paths;

/* Fills in those that are NULL; what an option gave (owned too) stays, made absolute. All are absolute afterwards. */
int paths_resolve(Paths *paths, Error *error);
void paths_clear(Paths *paths); /* for _cleanup_ too */

/* The state folder of a run without a daemon (`wherryd --once --file`, `wherryctl run`): $XDG_STATE_HOME/wherry/once.
 * The caller frees. */
int paths_once_state_dir(char **ret, Error *error);

/* The folder of the source and destination programs: OPTION (--libexec-dir) where given, else ../libexec/wherry beside
 * the executable, else the build tree's, else where they were installed. The caller frees. */
char *paths_libexec(const char *option);
/* The program KIND-TYPE ("source", "files") in LIBEXEC, which is flat or laid out as a build tree. Need not exist. The
 * caller frees. */
char *paths_program(const char *libexec, const char *kind, const char *type);
/* The program that builds environments, in LIBEXEC as above. The caller frees. */
char *paths_environment_builder(const char *libexec);
/* wherryd as seen from another program of ours: beside it, in ../sbin, in the build tree, or where it was installed.
 * The caller frees. */
char *paths_wherryd(void);

/* Creates PATH and its parents, MODE for the last one; fine where it exists. */
int paths_make(const char *path, unsigned mode, Error *error);
