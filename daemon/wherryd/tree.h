#pragma once
/*
 * The processes of one sync, orphans included, and their end.
 *
 * Where the service's cgroup v2 is delegated, each sync has a cgroup of its own, which bounds it and ends it whole.
 * Elsewhere the daemon is a child subreaper: whatever a worker leaves behind becomes a child of the daemon, and is
 * found by walking down from it. Nothing here blocks; what takes time (dying) is asked for again by the caller.
 *
 *     spawn() with .cgroup = tree_cgroup_fd(tree) → tree_add() → … tree_sample() … → waitid() → tree_remove()
 *     tree_kill() until it returns 0 → tree_free()
 *
 * Every child of the daemon belongs to a tree: a child that no tree knows is an orphan of some sync and is ended.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/basics/error.h"

typedef struct Trees Trees; /* of this daemon: the delegated cgroup, or the subreaper */
typedef struct Tree Tree;   /* of one sync */

/* Once, before the first spawn, on the thread that spawns. Moves the daemon into the leaf "daemon" of a delegated
 * cgroup, and ends what a predecessor left there. */
int trees_new(Trees **ret, Error *error);
Trees *trees_free(Trees *trees); /* all of its trees must be freed */
/* How syncs are held together, for the log: "cgroup (memory, pids)", "cgroup", "subreaper". Lives as long as TREES. */
const char *trees_describe(const Trees *trees);
/* Is PID a process of one of the syncs? */
bool trees_contain(const Trees *trees, pid_t pid);
/* Reaps orphans that have ended, never what was tree_add()ed. To be called on SIGCHLD, after the roots were reaped, or
 * once a second; cheap. */
void trees_reap(Trees *trees);

/* RUN_ID names the cgroup. Limits: bytes and processes of the whole tree, 0 = none. They are enforced where the cgroup
 * has the controllers, else the caller compares them with tree_sample(). */
int tree_new(Trees *trees, const char *run_id, uint64_t memory_limit, uint64_t pids_limit, Tree **ret, Error *error);
/* For SpawnOptions.cgroup: a descriptor that stays the tree's, or -1. */
int tree_cgroup_fd(const Tree *tree);
/* A process that spawn() has just started. At most TREE_ROOTS_MAX at a time. */
#define TREE_ROOTS_MAX 8
void tree_add(Tree *tree, pid_t pid);
/* It has been reaped: its number may be another's from now on. */
void tree_remove(Tree *tree, pid_t pid);

typedef struct TreeSample {
    uint64_t resident;   /* bytes that only these processes need (anonymous and shared memory, not mapped files) */
    uint64_t peak;       /* the most that was ever seen, between samples too where the kernel keeps it */
    unsigned processes;  /* alive now */
    bool memory_limited; /* the kernel enforces the memory limit; false: compare `resident` with it */
    bool processes_limited;
    bool out_of_memory; /* the kernel ended a process of this tree for its memory limit */
} TreeSample;

void tree_sample(Tree *tree, TreeSample *ret);
/* Sends SIGKILL to all there are and reaps orphans, but not what was tree_add()ed: the caller reaps those by their
 * pidfd. 0: none is left alive; TREE_E_ALIVE: call again in a few milliseconds (or on SIGCHLD). */
enum { TREE_E_ALIVE = 1 };
int tree_kill(Tree *tree);
/* Best after tree_kill() returned 0: what is alive then is killed, and reaped by trees_reap() as an orphan. */
Tree *tree_free(Tree *tree);
DEFINE_CLEANUP(Tree, tree_free)
DEFINE_CLEANUP(Trees, trees_free)
