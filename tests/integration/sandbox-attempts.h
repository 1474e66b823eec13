#pragma once
/*
 * What a hostile program would try once it runs inside our sandbox, by name; and what an honest one needs.
 *
 * An attempt says how it went as a word: "done" where it succeeded, else the error's name ("EACCES"), or a
 * value that it read. What is harmless only because it is refused is tried in a way that does no harm if it is not:
 * signals that are ignored, addresses and magic numbers that are wrong.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

typedef struct Target {
    const char *inside;   /* a folder that the policy grants; holds "file" and "link" → OUTSIDE */
    const char *outside;  /* a file that it does not grant; its folder neither */
    const char *socket;   /* a stream socket's path outside */
    const char *datagram; /* a datagram socket's path outside */
    const char *abstract; /* an abstract stream socket's name */
    const char *setuid;   /* a program that prints its effective user id; set-user-id root */
    pid_t victim;         /* the daemon */
    int port;             /* something listens there on 127.0.0.1 */
} Target;

typedef struct Attempt {
    const char *name;
    /* 0, or an errno; or the word in RET, of SIZE bytes */
    int (*try)(const Target *target, char *ret, size_t size);
    bool ends; /* refused by the end of the process: to be tried alone */
} Attempt;

/* Each ends with a name of NULL. */
extern const Attempt honest_attempts[]; /* what it is, and what must go on working */
extern const Attempt file_attempts[], process_attempts[], socket_attempts[], kernel_attempts[];
extern const Attempt program_attempts[]; /* where these succeed, nothing after them does */
const Attempt *attempt_first(void);
const Attempt *attempt_next(const Attempt *attempt); /* NULL after the last */
const Attempt *attempt_find(const char *name);
/* Tries it, and writes "name: word". */
void attempt_report(const Attempt *attempt, const Target *target, char *ret, size_t size);

/* --- for the attempts themselves: raw system calls where the C library would get in between (it caches, retries, or
 * refuses by itself) --- */

#define ATTEMPT(name) static int try_##name(const Target *target, char *ret, size_t size)
/* clang-format off */
#define LISTED(name) { #name, try_##name, false }
#define ENDS(name) { #name, try_##name, true }
/* clang-format on */

static inline int result(long r)
{
    return r < 0 ? errno : 0;
}

/* For calls that give a descriptor. */
static inline int opened(int fd)
{
    if (fd < 0)
        return errno;
    close(fd);
    return 0;
}

static inline const char *joined(const char *folder, const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}
