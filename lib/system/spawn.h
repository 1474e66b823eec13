#pragma once
/*
 * Starts a program with an exact set of descriptors and a scrubbed environment, and hands back a pidfd.
 *
 * Spawned, never merely forked: nothing of the parent's locks, memory or secrets goes along. The child is its own
 * process group and dies with its parent (PR_SET_PDEATHSIG: SIGKILL).
 */
#include <sys/types.h>

#include "lib/basics/error.h"

typedef struct SpawnOptions {
    const char *path;               /* absolute */
    const char *const *argv;        /* NULL-terminated; never a secret */
    const char *const *environment; /* NULL-terminated; NULL: PATH, LANG=C.UTF-8, TZ=UTC */
    const int *descriptors;         /* descriptors[i] becomes descriptor i of the child; -1: /dev/null */
    size_t descriptor_count;        /* all others are closed in the child */
    int cgroup;                     /* descriptor of a cgroup.procs to move into, or -1 */
    bool same_group; /* in the process group of the parent: for a program of a sandbox, which keeps to it */
} SpawnOptions;

typedef struct Process {
    pid_t pid;
    int pidfd; /* owned; readable when it has ended */
} Process;

/* ERROR_TEMPORARY for EAGAIN and ENOMEM, ERROR_CONFIGURATION where the program is missing. */
int spawn(const SpawnOptions *options, Process *ret, Error *error);

#define SPAWN_DESCRIPTORS_MAX 32

/* Of functions that run in the child: AddressSanitizer would leave marks for its frames, which never return, in memory
 * that is the parent's. */
#define CHILD_FUNCTION __attribute__((no_sanitize("address")))

/* Closes every descriptor from FIRST on; async-signal-safe. */
int spawn_close_from(int first);

/* The descriptors of every source and destination program. */
enum {
    FD_LOG = 1 /* stdout and stderr */,
    FD_CONTROL = 3 /* socketpair to the daemon */,
    FD_OPERATIONS = 4 /* pipe: worker writes, writer reads */
};
#define SPAWN_PIPE_SIZE (1 << 20)
