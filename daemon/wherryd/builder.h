#pragma once
/*
 * One running build-environment: the program, the tree of processes below it, its lines and its result. It ends with
 * everything that it started.
 */
#include <jansson.h>
#include <uv.h>

#include "daemon/wherryd/tree.h"
#include "lib/basics/error.h"

#define BUILDER_BOUND_MS (30 * 60 * 1000)      /* then it is ended */
#define BUILDER_MEMORY_MAX (UINT64_C(4) << 30) /* compiling a package may take much */
#define BUILDER_PROCESSES_MAX 512

typedef struct Builder Builder;
typedef struct BuilderOptions {
    uv_loop_t *loop;
    Trees *trees;
    const char *libexec_dir;
    const char *folder, *project; /* absolute */
    const char *python;           /* NULL: any */
    const char *const *keep;      /* environments in use; ends with NULL */
    void (*line)(const char *text, size_t n, void *userdata);
    /* Once, never from within builder_start(). RESULT is the program's (borrowed), or NULL and ERROR says why. */
    void (*done)(const json_t *result, const Error *error, void *userdata);
    void *userdata;
} BuilderOptions;

int builder_start(const BuilderOptions *options, Builder **ret, Error *error);
void builder_kill(Builder *builder);    /* `done` is called as for any other end */
void builder_abandon(Builder *builder); /* the daemon is ending: killed, and nothing is called any more */
