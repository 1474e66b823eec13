#pragma once
/* The precompiled filters: made by seccomp-generate.c at build time, installed by seccomp.c. Private to the sandbox. */
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

/* A profile's number is the sum of what its program may do; of the last two at most one. */
enum {
    SECCOMP_UNIX = 1 << 0,
    SECCOMP_EXECUTE = 1 << 1, /* and be told that modes, owners and times by path were changed */
    SECCOMP_WRITE = 1 << 2,   /* change mode and owner of files that it has open */
    SECCOMP_OUTBOUND = 1 << 3,
    SECCOMP_LISTEN = 1 << 4, /* outbound, and listen */
    SECCOMP_PROFILES = 24,
};

#define SECCOMP_OWN_PID_MAX 4

typedef struct SeccompProfile {
    const struct sock_filter *filter;
    uint16_t length;
    uint16_t own_pid[SECCOMP_OWN_PID_MAX]; /* the instructions that compare with the process's own id */
    uint16_t own_pid_count;
} SeccompProfile;

extern const SeccompProfile seccomp_profiles[SECCOMP_PROFILES];
