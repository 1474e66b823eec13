#pragma once
/*
 * Locks this process down for good, before it reads foreign bytes: no_new_privs, Landlock, seccomp, rlimits.
 *
 * The policy names everything that stays possible; the rest is refused. Layers that this kernel lacks are left out and
 * reported, or refused where `strict`. Order and traps: see sandbox.c.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/basics/error.h"

typedef enum SandboxLayer {
    SANDBOX_NO_NEW_PRIVS = 1 << 0, /* always: an error where it is refused */
    SANDBOX_SECCOMP = 1 << 1,
    SANDBOX_LANDLOCK_FILES = 1 << 2, /* ABI 2 or later */
    SANDBOX_LANDLOCK_TCP = 1 << 3,   /* ABI 4; only where ports are given */
    SANDBOX_LANDLOCK_SCOPES = 1 << 4 /* ABI 6: signals and abstract sockets */
} SandboxLayer;

typedef enum SandboxAccess {
    SANDBOX_READ = 1 << 0,   /* a file, or all below a folder: open for reading, list */
    SANDBOX_WRITE = 1 << 1,  /* open for writing, truncate */
    SANDBOX_CREATE = 1 << 2, /* a folder: make, rename and remove regular files and folders in it */
    SANDBOX_EXECUTE = 1 << 3,
    SANDBOX_LINK = 1 << 4 /* a folder: make symbolic links in it */
} SandboxAccess;

typedef struct SandboxPath {
    const char *path; /* absolute; one that does not exist is left out */
    unsigned access;  /* SandboxAccess */
} SandboxPath;

typedef enum SandboxNetwork {
    SANDBOX_NETWORK_NONE,     /* no socket() at all */
    SANDBOX_NETWORK_OUTBOUND, /* INET, INET6; TCP and UDP; no listen */
    SANDBOX_NETWORK_LOOPBACK_LISTEN
} SandboxNetwork;

typedef struct SandboxPolicy {
    const SandboxPath *paths;
    size_t path_count;
    SandboxNetwork network;
    bool unix_sockets; /* a destination whose URL names one */
    /* A source that runs programs; otherwise execve is refused. Programs insist on chmod(), chown() and utime() by
     * path, which Landlock cannot bound: they answer that they succeeded and change nothing. */
    bool may_execute;
    const uint16_t *ports; /* with outbound network: only these and 53; NULL: all */
    size_t port_count;
    uint64_t data_bytes;  /* RLIMIT_DATA; 0: not set (sanitizer builds never set it) */
    uint64_t file_bytes;  /* RLIMIT_FSIZE; 0: none of our own */
    unsigned descriptors; /* RLIMIT_NOFILE; 0: 256 */
    bool strict;          /* a missing layer is an error */
} SandboxPolicy;

/* To be called first thing in main() of a worker or writer: parent-death signal (and ends at once where the parent is
 * gone), own process group, not dumpable, core 0, an environment of PATH, LANG=C.UTF-8, TZ=UTC and
 * `WHERRY_*` test hooks only where built with them, every descriptor from KEEP on closed. */
int sandbox_early(int keep, Error *error);
/* What "sandbox" in CONFIGURATION says, over what POLICY holds already. RET_PORTS: its list of ports, where there is
 * one, which the caller frees after sandbox_enter(). */
void sandbox_configure(SandboxPolicy *policy, const json_t *configuration, uint16_t **ret_ports);
/* Irrevocable. RET_LAYERS: those that hold, for sandbox_describe(). Strict and a layer missing: ERROR_CONFIGURATION
 * naming it. */
int sandbox_enter(const SandboxPolicy *policy, unsigned *ret_layers, Error *error);
/* "no_new_privs, seccomp, landlock (files, scopes)"; what is missing with why. The caller frees. */
char *sandbox_describe(unsigned layers, const SandboxPolicy *policy);
