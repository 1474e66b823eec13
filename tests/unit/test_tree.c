/*
 * Ending a sync's processes, however they try to stay: real processes, this program as the daemon. Under a delegated
 * cgroup (WHERRY_TEST_CGROUP names one that the test may enter) the same cases run a second time with it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <cmocka.h>

#include "daemon/wherryd/tree.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/system/spawn.h"

static Trees *trees;
static int runs;

typedef struct Run {
    Tree *tree;
    Process process;
    int output; /* of everything in the tree: ends when the last of it is gone */
} Run;

static Run start(const char *program, const char *const *argv, uint64_t memory_limit)
{
    Run run = { 0 };
    Error error = { 0 };
    char run_id[32];
    snprintf(run_id, sizeof run_id, "test-%d-%d", (int)getpid(), ++runs);
    if (tree_new(trees, run_id, memory_limit, 0, &run.tree, &error) < 0)
        fail_msg("%s", error.message);
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    int descriptors[] = { -1, pipe_fds[1], -1 };
    SpawnOptions options = { .path = program,
                             .argv = argv,
                             .descriptors = descriptors,
                             .descriptor_count = 3,
                             .cgroup = tree_cgroup_fd(run.tree) };
    if (spawn(&options, &run.process, &error) < 0)
        fail_msg("%s", error.message);
    tree_add(run.tree, run.process.pid);
    close(pipe_fds[1]);
    run.output = pipe_fds[0];
    return run;
}

static Run start_script(const char *script)
{
    const char *argv[] = { "sh", "-c", script, NULL };
    return start("/bin/sh", argv, 0);
}

/* Waits until the tree has said "ready" N times. */
static void wait_ready(Run *run, int n)
{
    char c;
    while (n > 0) {
        assert_int_equal(read(run->output, &c, 1), 1);
        n -= c == '\n';
    }
}

static void reap_root(Run *run)
{
    siginfo_t info;
    assert_int_equal(waitid(P_PIDFD, (id_t)run->process.pidfd, &info, WEXITED), 0);
    close(run->process.pidfd);
    tree_remove(run->tree, run->process.pid);
}

/* Kills until it is told that none is left, and then holds that against the pipe, which nobody may have open any more.
 */
static void expect_end(Run *run)
{
    int64_t deadline = clock_monotonic_ms() + 10000;
    while (tree_kill(run->tree) != 0) {
        assert_true(clock_monotonic_ms() < deadline);
        usleep(1000);
    }
    char rest[256];
    struct pollfd poller = { .fd = run->output, .events = POLLIN };
    do {
        assert_int_equal(poll(&poller, 1, 0), 1);
    } while (read(run->output, rest, sizeof rest) > 0);
    assert_true(poller.revents & POLLHUP);
    close(run->output);
    run->tree = tree_free(run->tree);
}

static void ends_a_single_process(void **state)
{
    Run run = start_script("echo; exec sleep 60");
    wait_ready(&run, 1);
    tree_kill(run.tree);
    reap_root(&run);
    expect_end(&run);
}

static void an_unreaped_root_is_not_alive(void **state)
{
    Run run = start_script("echo; exec sleep 60");
    wait_ready(&run, 1);
    int64_t deadline = clock_monotonic_ms() + 10000;
    while (tree_kill(run.tree) != 0)
        assert_true(clock_monotonic_ms() < deadline);
    siginfo_t info;
    assert_int_equal(waitid(P_PIDFD, (id_t)run.process.pidfd, &info, WEXITED | WNOHANG), 0);
    assert_int_equal(info.si_pid, run.process.pid); /* left for us to reap */
    tree_remove(run.tree, run.process.pid);
    close(run.process.pidfd);
    expect_end(&run);
}

static void ends_children_and_grandchildren(void **state)
{
    Run run = start_script("(sleep 60 & echo; sleep 60) & (sleep 60 & echo; wait) & wait");
    wait_ready(&run, 2);
    tree_kill(run.tree);
    reap_root(&run);
    expect_end(&run);
}

static void ends_orphans_of_a_dead_root(void **state)
{
    Run run = start_script("(sleep 60 & echo) & wait $!; exit 0");
    wait_ready(&run, 1);
    reap_root(&run);
    TreeSample sample;
    tree_sample(run.tree, &sample);
    assert_int_equal(sample.processes, 1);
    expect_end(&run);
}

/* A new session and group each, parents gone: only the walk down from the subreaper finds them. */
#define ESCAPE "setsid sh -c 'setsid sh -c \"echo; sleep 60\" & exit' & "

static void ends_double_forks_with_setsid(void **state)
{
    Run run = start_script(ESCAPE ESCAPE "wait; exec sleep 60");
    wait_ready(&run, 2);
    reap_root((kill(run.process.pid, SIGKILL), &run));
    expect_end(&run);
}

/* Those that got away are ended while another sync runs, which stays. */
static void spares_the_neighbour(void **state)
{
    Run neighbour = start_script("(sleep 60 & echo) & sleep 60 & wait");
    Run run = start_script("(sleep 60 & echo) & " ESCAPE "wait");
    wait_ready(&neighbour, 1);
    wait_ready(&run, 2);
    kill(run.process.pid, SIGKILL);
    reap_root(&run);
    expect_end(&run);
    TreeSample sample;
    usleep(60000);
    tree_sample(neighbour.tree, &sample);
    assert_int_equal(sample.processes, 3);
    tree_kill(neighbour.tree);
    reap_root(&neighbour);
    expect_end(&neighbour);
}

static void outruns_a_fork_bomb(void **state)
{
    Run run = start_script("echo; f() { f & f & sleep 60; }; ulimit -u 2000; f");
    wait_ready(&run, 1);
    usleep(20000);
    tree_kill(run.tree);
    reap_root(&run);
    expect_end(&run);
}

static void samples_memory_and_keeps_the_peak(void **state)
{
    const char *argv[] = { "python3", "-c",
                           "import mmap\nm = mmap.mmap(-1, 64 << 20)\nm.write(b'x' * (32 << 20))\n"
                           "b = b'y' * (32 << 20)\nprint(flush=True)\ninput()",
                           NULL };
    Run run = start("/usr/bin/python3", argv, 0);
    TreeSample sample;
    int64_t deadline = clock_monotonic_ms() + 20000;
    do { /* stdin is empty: it ends by itself after the line */
        tree_sample(run.tree, &sample);
        usleep(1000);
        assert_true(clock_monotonic_ms() < deadline);
    } while (sample.processes == 0 || sample.resident < (60 << 20));
    uint64_t peak = sample.resident; /* private and shared anonymous memory both count */
    reap_root(&run);
    usleep(60000);
    tree_sample(run.tree, &sample);
    assert_int_equal(sample.processes, 0);
    assert_int_equal(sample.resident, 0);
    assert_true(sample.peak >= peak);
    expect_end(&run);
}

/* Only with cgroup controllers: the kernel ends a tree that takes too much, and the sample says so. */
static void kernel_keeps_the_memory_limit(void **state)
{
    if (!strstr(trees_describe(trees), "memory"))
        skip();
    const char *argv[] = { "python3", "-c", "print(flush=True)\nb = b'y' * (256 << 20)\nprint()", NULL };
    Run run = start("/usr/bin/python3", argv, 64 << 20);
    wait_ready(&run, 1);
    siginfo_t info = { 0 };
    assert_int_equal(waitid(P_PIDFD, (id_t)run.process.pidfd, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(info.si_code, CLD_KILLED);
    TreeSample sample;
    tree_sample(run.tree, &sample);
    assert_true(sample.memory_limited);
    assert_true(sample.out_of_memory);
    assert_true(sample.peak > (48 << 20) && sample.peak <= (64 << 20));
    reap_root(&run);
    expect_end(&run);
}

static void knows_its_own(void **state)
{
    Run run = start_script("sleep 60 & echo $!; wait");
    char text[32] = "";
    assert_true(read(run.output, text, sizeof text - 1) > 0);
    assert_true(trees_contain(trees, run.process.pid));
    assert_true(trees_contain(trees, atoi(text)));
    assert_false(trees_contain(trees, getpid()));
    assert_false(trees_contain(trees, getppid()));
    assert_false(trees_contain(trees, 1));
    tree_kill(run.tree);
    reap_root(&run);
    expect_end(&run);
}

static void reaps_orphans_and_leaves_roots(void **state)
{
    Run run = start_script("(sleep 0.05 & echo) & wait $!; exec sleep 60");
    wait_ready(&run, 1);
    TreeSample sample;
    int64_t deadline = clock_monotonic_ms() + 20000;
    do {
        usleep(10000);
        trees_reap(trees);
        tree_sample(run.tree, &sample);
        assert_true(clock_monotonic_ms() < deadline);
    } while (sample.processes != 1); /* the root, once the orphan's sleep is over */
    kill(run.process.pid, SIGKILL);
    usleep(20000);
    trees_reap(trees);
    reap_root(&run); /* would fail had trees_reap() taken it */
    expect_end(&run);
}

static void leaves_no_child_behind(void **state)
{
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

/* Another daemon, born with a child: that child's orphans are not ours to end. */
static void spares_foreign_children(void **state)
{
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t daemon = fork();
    if (daemon == 0) {
        if (fork() == 0) {
            if (fork() == 0) {
                setsid();
                usleep(300000);
                _exit(write(pipe_fds[1], "!", 1) == 1 ? 0 : 1);
            }
            usleep(100000);
            _exit(0);
        }
        Trees *others = NULL;
        Tree *tree = NULL;
        if (trees_new(&others, NULL) < 0 || tree_new(others, "foreign", 0, 0, &tree, NULL) < 0)
            _exit(1);
        for (int i = 0; i < 40; i++) {
            tree_kill(tree);
            usleep(10000);
        }
        _exit(0);
    }
    close(pipe_fds[1]);
    char c = 0;
    assert_int_equal(read(pipe_fds[0], &c, 1), 1);
    assert_int_equal(c, '!');
    close(pipe_fds[0]);
    waitpid(daemon, NULL, 0);
}

static int setup(void **state)
{
    Error error = { 0 };
    if (trees_new(&trees, &error) < 0) {
        print_error("%s\n", error.message);
        return -1;
    }
    print_message("held together by: %s\n", trees_describe(trees));
    return 0;
}

static int teardown(void **state)
{
    trees = trees_free(trees);
    return 0;
}

static int run_all(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_a_single_process),
        cmocka_unit_test(an_unreaped_root_is_not_alive),
        cmocka_unit_test(ends_children_and_grandchildren),
        cmocka_unit_test(ends_orphans_of_a_dead_root),
        cmocka_unit_test(ends_double_forks_with_setsid),
        cmocka_unit_test(spares_the_neighbour),
        cmocka_unit_test(outruns_a_fork_bomb),
        cmocka_unit_test(samples_memory_and_keeps_the_peak),
        cmocka_unit_test(kernel_keeps_the_memory_limit),
        cmocka_unit_test(knows_its_own),
        cmocka_unit_test(reaps_orphans_and_leaves_roots),
        cmocka_unit_test(leaves_no_child_behind),
        cmocka_unit_test(spares_foreign_children),
    };
    return cmocka_run_group_tests_name(name, tests, setup, teardown);
}

/* As systemd does for Delegate=yes. NULL where it cannot be done here. */
static char *make_delegated_cgroup(void)
{
    static const char *const mounts[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    for (size_t i = 0; i < ELEMENTSOF(mounts); i++) {
        _cleanup_(freep) char *path = xasprintf("%s/wherry-test-%d", mounts[i], (int)getpid());
        _cleanup_(freep) char *kill_file = xasprintf("%s/cgroup.kill", path);
        if (mkdir(path, 0755) < 0)
            continue;
        if (access(kill_file, W_OK) == 0 && setxattr(path, "user.delegate", "1", 1, 0) == 0)
            return take_ptr(path);
        rmdir(path);
    }
    return NULL;
}

/* 1 where a sync's cgroup was left, which is then removed with what it holds. */
static int remove_cgroup(const char *path)
{
    int left = 0;
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        _cleanup_(freep) char *child = xasprintf("%s/%s", path, entry->d_name);
        _cleanup_(freep) char *kill_file = xasprintf("%s/cgroup.kill", child);
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        if (strcmp(entry->d_name, "daemon") != 0) {
            print_error("left behind: %s\n", child);
            left = 1;
        }
        int fd = open(kill_file, O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, "1", 1) == 1)
            close(fd);
        for (int tries = 0; rmdir(child) < 0 && errno == EBUSY && tries < 1000; tries++)
            usleep(1000);
    }
    if (dir)
        closedir(dir);
    return rmdir(path) < 0 ? 1 : left;
}

static int run_in_cgroup(char **path)
{
    _cleanup_(freep) char *procs = xasprintf("%s/cgroup.procs", *path);
    pid_t child = fork();
    if (child == 0) {
        int fd = open(procs, O_WRONLY | O_CLOEXEC);
        free(take_ptr(procs));
        free(take_ptr(*path));
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(1);
        close(fd);
        exit(run_all("tree in a cgroup"));
    }
    int status;
    waitpid(child, &status, 0);
    return remove_cgroup(*path) | status;
}

int main(void)
{
    _cleanup_(freep) char *cgroup = make_delegated_cgroup();
    int failed = 0;
    if (cgroup)
        failed = run_in_cgroup(&cgroup);
    else
        print_message("no cgroup can be made here: only the subreaper is tested\n");
    return run_all("tree under a subreaper") != 0 || failed != 0;
}
