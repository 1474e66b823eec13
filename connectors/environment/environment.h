#pragma once
/*
 * One environment: a virtual environment of Python with what a project requires, in a folder of its own below
 * FOLDER/environments. build.c decides whether one is needed and keeps the books; install.c, a second process inside
 * the sandbox, makes it.
 */
#include <stdbool.h>

#include "connectors/worker/interpreter.h"
#include "lib/basics/error.h"

typedef struct BuildOptions {
    const char *folder;      /* absolute: what is kept between builds */
    const char *project;     /* absolute */
    const char *python;      /* as the connection says; NULL: any */
    const char *const *keep; /* environments that others use; ends with NULL */
    char **environment;      /* of this program, as it was started */
} BuildOptions;

typedef struct Built {
    char *folder;  /* absolute */
    char *python;  /* its interpreter */
    char *version; /* "3.12.4" */
    bool cached;   /* was there already */
} Built;
void built_clear(Built *built); /* for _cleanup_ too */

/* Says what it does on stderr, line by line. ERROR quotes the installer. */
int environment_build(const BuildOptions *options, Built *ret, Error *error);

typedef struct InstallOptions {
    const char *environment, *cache, *project, *requirements; /* absolute */
    const char *interpreter;                                  /* absolute */
    const char *uv;                                           /* NULL: pip */
    bool ensurepip;                                           /* the interpreter has no pip of its own */
    bool requests;                                            /* besides */
} InstallOptions;
/* In a process of its own: enters the sandbox and installs. Returns the exit status. */
int environment_install(const InstallOptions *options);
