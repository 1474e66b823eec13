/*
 * Who belongs to a sync, and how all of them are ended.
 *
 * With a delegated cgroup the kernel knows: membership is inherited and cannot be shed, and one write ends the group.
 * Without, the daemon is a child subreaper, so that every process a sync leaves behind is a descendant of the daemon at
 * any time, and a walk of /proc finds them all. A descendant belongs to the tree whose root it descends from. An
 * orphan, a child of ours that we did not spawn, belongs to the tree whose root's process group or session it is in (a
 * sandboxed program cannot leave it), else to the tree it was seen in before. One that matches none has taken pains to
 * get away, and is ended as soon as it is seen.
 *
 * A walk is not atomic: a process may be missed that was born while its parent died. A tree therefore counts as empty
 * after two walks in a row that found nothing, or when the daemon has no child at all, which waitid() tells exactly and
 * without walking. The processes that were spawned here are asked for by waitid() too, since /proc hides them where it
 * is mounted with hidepid (they are not dumpable).
 */
#include "daemon/wherryd/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/wherryd/cgroup.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"

/* How long tree_sample() may rely on the walk of another tree's sample. */
#define WALK_FRESH_MS 50
#define WALK_NEVER (-WALK_FRESH_MS)

typedef enum OwnerKind {
    OWNER_UNDECIDED,
    OWNER_OTHER, /* not a descendant of ours */
    OWNER_SELF,  /* the daemon */
    OWNER_TREE,
    OWNER_STRAY,   /* an orphan of no tree that we know */
    OWNER_FOREIGN, /* a child that the daemon was born with, and what descends from it */
} OwnerKind;

typedef struct Owner {
    OwnerKind kind;
    Tree *tree; /* of OWNER_TREE */
} Owner;

typedef struct Entry {
    pid_t pid, parent, group, session;
    bool alive; /* not a zombie */
    Owner owner;
} Entry;

struct Tree {
    Trees *trees;
    Tree *next;
    char *run_id;
    pid_t roots[TREE_ROOTS_MAX];  /* spawned and not reaped yet; 0: free */
    pid_t groups[TREE_ROOTS_MAX]; /* the process groups of all roots there were */
    size_t group_count;
    pid_t *seen; /* in the last walk */
    size_t seen_count;
    int cgroup;            /* the folder, or -1 */
    int cgroup_procs;      /* cgroup.procs for the child to enter by, or -1 */
    uint64_t memory_limit; /* 0: none */
    bool memory_limited, pids_limited;
    bool empty; /* tree_kill() has found none left */
    uint64_t peak;
};

struct Trees {
    CgroupRoot cgroup;
    char *description;
    Tree *first;
    Entry *entries; /* the last walk, by pid */
    Entry **stack;  /* as many */
    size_t count, allocated;
    int64_t walked_at_ms;
    pid_t *foreign;
    size_t foreign_count;
    bool strays; /* the last walk saw some alive */
};

/* --- reading /proc --- */

/* "pid (name) state parent group session …"; the name may hold anything, so the last parenthesis counts. */
static bool parse_stat(const char *text, Entry *ret)
{
    const char *at = strrchr(text, ')');
    char state;
    if (!at || sscanf(at + 1, " %c %d %d %d", &state, &ret->parent, &ret->group, &ret->session) != 4)
        return false;
    ret->alive = state != 'Z' && state != 'X';
    return true;
}

static ssize_t read_process_file(int proc, pid_t pid, const char *name, char *buffer, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "%d/%s", pid, name);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, buffer, size - 1);
    close(fd);
    if (n >= 0)
        buffer[n] = '\0';
    return n;
}

static bool read_entry(int proc, pid_t pid, Entry *ret)
{
    char text[512];
    *ret = (Entry){ .pid = pid };
    return read_process_file(proc, pid, "stat", text, sizeof text) > 0 && parse_stat(text, ret);
}

static void add_entry(Trees *trees, const Entry *entry)
{
    if (trees->count == trees->allocated) {
        trees->allocated = trees->allocated ? trees->allocated * 2 : 512;
        trees->entries = xrealloc(trees->entries, trees->allocated * sizeof trees->entries[0]);
        trees->stack = xrealloc(trees->stack, trees->allocated * sizeof trees->stack[0]);
    }
    trees->entries[trees->count++] = *entry;
}

static int compare_entries(const void *a, const void *b)
{
    const Entry *left = a, *right = b;
    return (left->pid > right->pid) - (left->pid < right->pid);
}

static void read_processes(Trees *trees)
{
    trees->count = 0;
    DIR *dir = opendir("/proc");
    if (!dir)
        return;
    const struct dirent *item;
    while ((item = readdir(dir))) {
        Entry entry;
        if (isdigit((unsigned char)item->d_name[0]) && read_entry(dirfd(dir), atoi(item->d_name), &entry))
            add_entry(trees, &entry);
    }
    closedir(dir);
    if (trees->count > 1)
        qsort(trees->entries, trees->count, sizeof trees->entries[0], compare_entries);
}

/* --- deciding whose a process is --- */

static Entry *find_entry(const Trees *trees, pid_t pid)
{
    if (trees->count == 0)
        return NULL;
    const Entry key = { .pid = pid };
    return bsearch(&key, trees->entries, trees->count, sizeof key, compare_entries);
}

static bool contains(const pid_t *pids, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (pids[i] == pid)
            return true;
    }
    return false;
}

static Tree *tree_of_root(const Trees *trees, pid_t pid)
{
    for (Tree *tree = trees->first; tree; tree = tree->next) {
        if (contains(tree->roots, TREE_ROOTS_MAX, pid))
            return tree;
    }
    return NULL;
}

static Owner owner_of_child(const Trees *trees, const Entry *child)
{
    Tree *tree = tree_of_root(trees, child->pid);
    if (tree)
        return (Owner){ OWNER_TREE, tree };
    if (contains(trees->foreign, trees->foreign_count, child->pid))
        return (Owner){ OWNER_FOREIGN };
    for (tree = trees->first; tree; tree = tree->next) {
        if (contains(tree->groups, tree->group_count, child->group) ||
            contains(tree->groups, tree->group_count, child->session) ||
            contains(tree->seen, tree->seen_count, child->pid))
            return (Owner){ OWNER_TREE, tree };
    }
    /* A daemon that was born with children gets their orphans too, and cannot tell these from ours. */
    return (Owner){ trees->foreign_count > 0 ? OWNER_FOREIGN : OWNER_STRAY };
}

/* Climbs to an ancestor whose owner is decided, then hands that down. Without recursion: a hostile chain may be long.
 */
static void decide(Trees *trees, Entry *entry)
{
    size_t depth = 0;
    while (entry && entry->owner.kind == OWNER_UNDECIDED && depth < trees->count) {
        trees->stack[depth++] = entry;
        entry = find_entry(trees, entry->parent);
    }
    Owner owner = { OWNER_OTHER };
    if (entry && entry->owner.kind != OWNER_UNDECIDED)
        owner = entry->owner;
    while (depth > 0) {
        Entry *below = trees->stack[--depth];
        if (owner.kind == OWNER_SELF)
            owner = owner_of_child(trees, below);
        below->owner = owner;
    }
}

static bool belongs_to(const Entry *entry, const Tree *tree)
{
    return entry->owner.kind == OWNER_TREE && entry->owner.tree == tree;
}

static void remember(Trees *trees)
{
    for (Tree *tree = trees->first; tree; tree = tree->next)
        tree->seen_count = 0;
    for (size_t i = 0; i < trees->count; i++) {
        if (trees->entries[i].owner.kind != OWNER_TREE)
            continue;
        Tree *tree = trees->entries[i].owner.tree;
        if ((tree->seen_count & (tree->seen_count - 1)) == 0) /* grows at powers of two */
            tree->seen = xrealloc(tree->seen, (tree->seen_count ? tree->seen_count * 2 : 1) * sizeof tree->seen[0]);
        tree->seen[tree->seen_count++] = trees->entries[i].pid;
    }
}

static void kill_strays(Trees *trees)
{
    trees->strays = false;
    for (size_t i = 0; i < trees->count; i++) {
        const Entry *entry = &trees->entries[i];
        if (entry->owner.kind != OWNER_STRAY || !entry->alive)
            continue;
        kill(entry->pid, SIGKILL);
        trees->strays = true;
    }
}

static void walk(Trees *trees)
{
    read_processes(trees);
    Entry *self = find_entry(trees, getpid());
    if (self)
        self->owner.kind = OWNER_SELF;
    for (size_t i = 0; i < trees->count; i++)
        decide(trees, &trees->entries[i]);
    remember(trees);
    kill_strays(trees);
    trees->walked_at_ms = clock_monotonic_ms();
}

/* --- all trees --- */

/* Those alive before the first spawn are not ours to end. */
static void note_foreign_children(Trees *trees)
{
    read_processes(trees);
    for (size_t i = 0; i < trees->count; i++) {
        if (trees->entries[i].parent != getpid())
            continue;
        trees->foreign = xrealloc(trees->foreign, (trees->foreign_count + 1) * sizeof trees->foreign[0]);
        trees->foreign[trees->foreign_count++] = trees->entries[i].pid;
    }
}

/* waitid() with WNOWAIT: looks and leaves. ECHILD: there is no such child, alive or dead. */
static int look_at_child(idtype_t type, id_t id, pid_t *ret_ended)
{
    siginfo_t info = { 0 };
    int r = waitid(type, id, &info, WEXITED | WNOHANG | WNOWAIT);
    *ret_ended = r == 0 ? info.si_pid : 0;
    return r;
}

static bool has_no_child(void)
{
    pid_t ended;
    return look_at_child(P_ALL, 0, &ended) < 0 && errno == ECHILD;
}

int trees_new(Trees **ret, Error *error)
{
    _cleanup_(trees_freep) Trees *trees = xcalloc(1, sizeof *trees);
    if (cgroup_root_open(&trees->cgroup)) {
        const char *separator = trees->cgroup.memory && trees->cgroup.pids ? ", " : "";
        if (trees->cgroup.memory || trees->cgroup.pids)
            trees->description = xasprintf("cgroup (%s%s%s)", trees->cgroup.memory ? "memory" : "", separator,
                                           trees->cgroup.pids ? "pids" : "");
        else
            trees->description = xstrdup("cgroup");
    } else {
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot become the parent of orphaned processes");
        trees->description = xstrdup("subreaper");
        if (!has_no_child())
            note_foreign_children(trees);
    }
    *ret = take_ptr(trees);
    return 0;
}

Trees *trees_free(Trees *trees)
{
    if (!trees)
        return NULL;
    cgroup_root_close(&trees->cgroup);
    free(trees->description);
    free(trees->entries);
    free(trees->stack);
    free(trees->foreign);
    free(trees);
    return NULL;
}

const char *trees_describe(const Trees *trees)
{
    return trees->description;
}

static bool is_in_sync_cgroup(const Trees *trees, int proc, pid_t pid)
{
    char text[4096];
    if (trees->cgroup.fd < 0 || read_process_file(proc, pid, "cgroup", text, sizeof text) <= 0)
        return false;
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return false;
    const char *path = strchr(line, '/');
    const char *root = strcmp(trees->cgroup.path, "/") == 0 ? "" : trees->cgroup.path;
    size_t length = strlen(root);
    return path && strncmp(path, root, length) == 0 && strncmp(path + length, "/sync-", 6) == 0;
}

bool trees_contain(const Trees *trees, pid_t pid)
{
    if (tree_of_root(trees, pid))
        return true;
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return false;
    bool found = is_in_sync_cgroup(trees, proc, pid);
    /* The chain may change while it is climbed; it cannot be longer than there are numbers. */
    for (unsigned steps = 0; !found && steps < 65536 && pid > 1 && pid != getpid(); steps++) {
        Entry entry;
        if (!read_entry(proc, pid, &entry))
            break;
        pid = entry.parent;
        found = pid == getpid();
    }
    close(proc);
    return found;
}

void trees_reap(Trees *trees)
{
    pid_t ended;
    /* Stops at one that somebody waits for by its pidfd; what lies behind it is reaped the next time. */
    while (look_at_child(P_ALL, 0, &ended) == 0 && ended > 0 && !tree_of_root(trees, ended))
        waitpid(ended, NULL, WNOHANG);
}

/* --- one tree --- */

int tree_new(Trees *trees, const char *run_id, uint64_t memory_limit, uint64_t pids_limit, Tree **ret, Error *error)
{
    int cgroup = -1, procs = -1;
    if (trees->cgroup.fd >= 0) {
        cgroup = cgroup_make(&trees->cgroup, run_id, memory_limit, pids_limit);
        if (cgroup < 0)
            return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot make a cgroup for run \"%s\"", run_id);
        procs = openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC);
        if (procs < 0) {
            int saved = errno;
            close(cgroup);
            cgroup_remove(&trees->cgroup, run_id);
            return error_set_errno(error, ERROR_TEMPORARY, saved, "cannot use the cgroup of run \"%s\"", run_id);
        }
    }
    Tree *tree = xcalloc(1, sizeof *tree);
    *tree = (Tree){
        .trees = trees,
        .next = trees->first,
        .run_id = xstrdup(run_id),
        .cgroup = cgroup,
        .cgroup_procs = procs,
        .memory_limit = memory_limit,
        .memory_limited = cgroup >= 0 && trees->cgroup.memory && memory_limit > 0,
        .pids_limited = cgroup >= 0 && trees->cgroup.pids && pids_limit > 0,
    };
    trees->first = tree;
    trees->walked_at_ms = WALK_NEVER;
    *ret = tree;
    return 0;
}

int tree_cgroup_fd(const Tree *tree)
{
    return tree->cgroup_procs;
}

/* A group's number may be another's once the group is empty: where there is no room left, the oldest is forgotten. */
static void add_group(Tree *tree, pid_t group)
{
    if (tree->group_count == TREE_ROOTS_MAX) {
        memmove(tree->groups, tree->groups + 1, (TREE_ROOTS_MAX - 1) * sizeof tree->groups[0]);
        tree->group_count--;
    }
    tree->groups[tree->group_count++] = group;
}

void tree_add(Tree *tree, pid_t pid)
{
    for (size_t i = 0; i < TREE_ROOTS_MAX; i++) {
        if (tree->roots[i] == 0) {
            tree->roots[i] = pid;
            tree->empty = false;
            add_group(tree, pid);
            return;
        }
    }
    abort(); /* TREE_ROOTS_MAX is the caller's to keep */
}

void tree_remove(Tree *tree, pid_t pid)
{
    for (size_t i = 0; i < TREE_ROOTS_MAX; i++) {
        if (tree->roots[i] == pid)
            tree->roots[i] = 0;
    }
}

static uint64_t status_bytes(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

static void add_resident(int pid, void *userdata)
{
    uint64_t *resident = userdata;
    char status[4096];
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return;
    if (read_process_file(proc, pid, "status", status, sizeof status) > 0)
        *resident += status_bytes(status, "\nRssAnon:") + status_bytes(status, "\nRssShmem:");
    close(proc);
}

/* As add_resident, with what forked processes still share counted once. Takes the kernel a walk through all pages. */
static void add_share(int pid, void *userdata)
{
    uint64_t *resident = userdata;
    char rollup[4096];
    int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return;
    if (read_process_file(proc, pid, "smaps_rollup", rollup, sizeof rollup) > 0 && strstr(rollup, "\nPss_Anon:"))
        *resident += status_bytes(rollup, "\nPss_Anon:") + status_bytes(rollup, "\nPss_Shmem:");
    else
        add_resident(pid, userdata); /* it hides, or the kernel is older than 5.9 */
    close(proc);
}

static bool looks_too_large(const Tree *tree, uint64_t resident)
{
    return tree->memory_limit > 0 && resident > tree->memory_limit;
}

static void sample_cgroup(Tree *tree, TreeSample *ret)
{
    uint64_t resident = 0;
    ret->processes = cgroup_each(tree->cgroup, add_resident, &resident);
    if (!tree->memory_limited && looks_too_large(tree, resident)) {
        resident = 0;
        cgroup_each(tree->cgroup, add_share, &resident);
    }
    ret->resident = resident;
    CgroupUsage usage;
    if (!cgroup_usage(tree->cgroup, &usage))
        return;
    ret->resident = usage.resident;
    ret->out_of_memory = usage.oom_kills > 0;
    if (ret->out_of_memory)
        tree->peak = MAX_OF(tree->peak, usage.peak);
}

static unsigned each_of_walk(const Tree *tree, void (*callback)(int pid, void *userdata), uint64_t *ret_resident)
{
    const Trees *trees = tree->trees;
    unsigned count = 0;
    *ret_resident = 0;
    for (size_t i = 0; i < trees->count; i++) {
        if (!belongs_to(&trees->entries[i], tree) || !trees->entries[i].alive)
            continue;
        count++;
        callback(trees->entries[i].pid, ret_resident);
    }
    return count;
}

static void sample_walk(Tree *tree, TreeSample *ret)
{
    if (clock_monotonic_ms() - tree->trees->walked_at_ms >= WALK_FRESH_MS)
        walk(tree->trees);
    ret->processes = each_of_walk(tree, add_resident, &ret->resident);
    if (looks_too_large(tree, ret->resident))
        each_of_walk(tree, add_share, &ret->resident);
}

void tree_sample(Tree *tree, TreeSample *ret)
{
    *ret = (TreeSample){ .memory_limited = tree->memory_limited, .processes_limited = tree->pids_limited };
    if (tree->cgroup >= 0)
        sample_cgroup(tree, ret);
    else
        sample_walk(tree, ret);
    tree->peak = MAX_OF(tree->peak, ret->resident);
    ret->peak = tree->peak;
}

/* Ends the spawned ones and their process groups, which is atomic: no fork bomb outruns it. Their numbers cannot be
 * another's, because they are not reaped yet. */
static bool kill_roots(Tree *tree)
{
    bool alive = false;
    for (size_t i = 0; i < TREE_ROOTS_MAX; i++) {
        pid_t ended, root = tree->roots[i];
        if (root == 0)
            continue;
        kill(-root, SIGKILL);
        kill(root, SIGKILL);
        if (look_at_child(P_PID, (id_t)root, &ended) == 0 && ended != root)
            alive = true;
    }
    return alive;
}

/* Ends what a walk found, and reaps what is ours to reap. */
static bool kill_seen(Tree *tree)
{
    Trees *trees = tree->trees;
    bool alive = false;
    for (size_t i = 0; i < trees->count; i++) {
        const Entry *entry = &trees->entries[i];
        if (!belongs_to(entry, tree))
            continue;
        if (entry->alive) {
            if (contains(tree->groups, tree->group_count, entry->group))
                kill(-entry->group, SIGKILL);
            kill(entry->pid, SIGKILL);
            alive = true;
        } else if (entry->parent == getpid() && !contains(tree->roots, TREE_ROOTS_MAX, entry->pid)) {
            waitpid(entry->pid, NULL, WNOHANG);
        }
    }
    return alive;
}

static bool kill_all(Tree *tree)
{
    bool alive = kill_roots(tree);
    if (tree->cgroup >= 0) {
        if (!alive && !cgroup_populated(tree->cgroup))
            return false;
        cgroup_kill(tree->cgroup);
        return alive || cgroup_populated(tree->cgroup);
    }
    if (has_no_child())
        return false;
    for (int pass = 0; pass < 2; pass++) {
        walk(tree->trees);
        if (kill_seen(tree) || tree->trees->strays)
            return true;
    }
    return alive;
}

int tree_kill(Tree *tree)
{
    if (!tree->empty)
        tree->empty = !kill_all(tree);
    return tree->empty ? 0 : TREE_E_ALIVE;
}

Tree *tree_free(Tree *tree)
{
    if (!tree)
        return NULL;
    tree_kill(tree);
    for (Tree **link = &tree->trees->first; *link; link = &(*link)->next) {
        if (*link == tree) {
            *link = tree->next;
            break;
        }
    }
    tree->trees->walked_at_ms = WALK_NEVER; /* it names this tree */
    if (tree->cgroup >= 0) {
        close_fd(tree->cgroup_procs);
        close_fd(tree->cgroup);
        cgroup_remove(&tree->trees->cgroup, tree->run_id); /* if populated still, the next daemon removes it */
    }
    free(tree->run_id);
    free(tree->seen);
    free(tree);
    return NULL;
}
