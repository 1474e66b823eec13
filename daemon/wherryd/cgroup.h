#pragma once
/* The delegated part of the cgroup v2 tree: finding it, one group per sync, its limits and its end. For tree.c only. */
#include <stdbool.h>
#include <stdint.h>

typedef struct CgroupRoot {
    int fd;      /* the folder that was delegated to us; -1: none was */
    char *path;  /* below the mount, as /proc/PID/cgroup has it */
    bool memory; /* controllers that its children have */
    bool pids;
} CgroupRoot;

typedef struct CgroupUsage {
    uint64_t resident;
    uint64_t peak; /* 0: unknown */
    uint64_t oom_kills;
} CgroupUsage;

/* Moves this process into the leaf "daemon" and ends what an earlier daemon left. false: nothing is delegated to us,
 * and nothing was changed. */
bool cgroup_root_open(CgroupRoot *ret);
void cgroup_root_close(CgroupRoot *root);

/* Makes NAME with its limits (0: none); its folder, or -1 with errno. */
int cgroup_make(const CgroupRoot *root, const char *name, uint64_t memory_limit, uint64_t pids_limit);
/* Ends all processes in it; asynchronous. */
void cgroup_kill(int fd);
bool cgroup_populated(int fd);
/* false where it still has processes. */
bool cgroup_remove(const CgroupRoot *root, const char *name);
bool cgroup_usage(int fd, CgroupUsage *ret); /* false without the memory controller */
/* Calls back for each process in it; returns their number. */
unsigned cgroup_each(int fd, void (*callback)(int pid, void *userdata), void *userdata);
