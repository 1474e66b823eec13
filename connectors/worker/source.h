#pragma once
/*
 * What a source implements. One folder under connectors/sources is one program in libexec/wherry: its main() is
 * `return worker_main(argc, argv, &source_x);`.
 *
 * The worker library does the rest: early lockdown, HELLO and BEGIN, the sandbox, the op pipe, progress, CANCEL, END,
 * and reporting the error.
 */
#include <jansson.h>

#include "connectors/worker/worker.h"
#include "lib/system/sandbox.h"

typedef struct Source {
    const char *program; /* "source-files" */
    /* Everything that must be open or loaded before the sandbox, and what the sandbox must leave possible. The policy's
     * paths must live as long as *RET. */
    int (*open)(void **ret, const json_t *configuration, SandboxPolicy *policy, Error *error);
    int (*check)(void *source,
                 Error *error); /* inside the sandbox: can it be read? A missing folder of files is fine. */
    int (*read)(void *source, Worker *worker, Error *error);
    void (*close)(void *source);
} Source;

int worker_main(int argc, char *argv[], const Source *source);
