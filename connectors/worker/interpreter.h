#pragma once
/*
 * Which Python there is. A connection names a version ("3.12"), the path of an interpreter, or nothing; versions 3.10
 * to 3.14 are served. An interpreter is asked who it is by running it, so that a name is never trusted: this happens
 * before the sandbox, with programs that the operator installed.
 */
#include <stdbool.h>

#include "lib/basics/error.h"

#define PYTHON_MINOR_MIN 10
#define PYTHON_MINOR_MAX 14

typedef struct Interpreter {
    char *path;    /* absolute, links resolved: the installed program, not a virtual environment's link to it */
    char *prefix;  /* that it was installed under */
    char *version; /* "3.12.4" */
    bool has_pip;  /* one that installs into other environments (22.3 or later) */
    bool has_ensurepip;
} Interpreter;
void interpreter_clear(Interpreter *interpreter); /* for _cleanup_ too */

/* WANTED: "3.12", an absolute path, or NULL: python3 of the search path where that is served, else the newest. Looks in
 * SEARCH_PATH (as $PATH; NULL: the system's), and below HOME (NULL: not) and the usual places. ERROR_CONFIGURATION
 * lists what is there. */
int interpreter_find(const char *wanted, const char *search_path, const char *home, Interpreter *ret, Error *error);
