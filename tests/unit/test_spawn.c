/* Starting programs: the descriptors, signals, environment and group they get, and what is said when it fails. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "lib/basics/buffer.h"
#include "lib/system/spawn.h"

static int end_of(Process *process)
{
    struct pollfd poller = { .fd = process->pidfd, .events = POLLIN };
    assert_int_equal(poll(&poller, 1, 20000), 1); /* the pidfd tells the end */
    siginfo_t info = { 0 };
    assert_int_equal(waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED), 0);
    close(process->pidfd);
    return info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
}

/* What `sh -c SCRIPT` prints. */
static char *output_of(const char *script, const SpawnOptions *more)
{
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    const char *argv[] = { "sh", "-c", script, NULL };
    SpawnOptions options = { .cgroup = -1 };
    if (more)
        options = *more;
    int descriptors[8] = { -1, pipe_fds[1], pipe_fds[1] };
    for (size_t i = 3; i < options.descriptor_count; i++)
        descriptors[i] = options.descriptors[i];
    options.path = "/bin/sh";
    options.argv = argv;
    options.descriptors = descriptors;
    options.descriptor_count = options.descriptor_count > 3 ? options.descriptor_count : 3;
    Process process;
    Error error = { 0 };
    if (spawn(&options, &process, &error) < 0)
        fail_msg("%s", error.message);
    close(pipe_fds[1]);
    Buffer output = { 0 };
    ssize_t n;
    while ((n = read(pipe_fds[0], buffer_reserve(&output, 4096), 4096)) > 0)
        buffer_added(&output, (size_t)n);
    close(pipe_fds[0]);
    assert_int_equal(end_of(&process), 0);
    return buffer_take_string(&output);
}

static void environment_is_exact(void **state)
{
    setenv("WHERRY_TEST_SECRET", "hunter22", 1);
    _cleanup_(freep) char *scrubbed = output_of("tr '\\0' '\\n' < /proc/self/environ", NULL);
    assert_string_equal(scrubbed, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
                                  "LANG=C.UTF-8\nTZ=UTC\n");
    const char *given[] = { "A=1", NULL };
    _cleanup_(freep) char *own = output_of("/usr/bin/tr '\\0' '\\n' < /proc/self/environ",
                                           &(SpawnOptions){ .environment = given, .cgroup = -1 });
    assert_string_equal(own, "A=1\n");
    unsetenv("WHERRY_TEST_SECRET");
}

static void other_descriptors_are_closed(void **state)
{
    int left_open[3]; /* without close-on-exec, as a careless library leaves them */
    for (int i = 0; i < 3; i++)
        left_open[i] = open("/dev/null", O_RDONLY);
    _cleanup_(freep) char *fds =
        output_of("for i in 0 1 2 3 4 5 6 7 8 9; do [ -e /proc/$$/fd/$i ] && echo $i; done; true", NULL);
    assert_string_equal(fds, "0\n1\n2\n");
    for (int i = 0; i < 3; i++)
        close(left_open[i]);
}

/* Makes a file that holds TEXT and whose descriptor is exactly NUMBER. */
static void file_at(int number, const char *text)
{
    char path[] = "/tmp/wherry-spawn-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    if (fd == number) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        return;
    }
    assert_int_equal(dup3(fd, number, O_CLOEXEC), number);
    close(fd);
}

/* Targets that are each other's sources: 3 ← 4, 4 ← 5, 5 ← 3, 6 ← 6, 7 ← nothing. */
static void descriptors_change_places(void **state)
{
    file_at(3, "three");
    file_at(4, "four");
    file_at(5, "five");
    file_at(6, "six");
    int descriptors[] = { -1, -1, -1, 4, 5, 3, 6, -1 };
    _cleanup_(freep) char *output =
        output_of("for i in 3 4 5 6 7; do echo \"$(cat <&$i)\"; done",
                  &(SpawnOptions){ .descriptors = descriptors, .descriptor_count = 8, .cgroup = -1 });
    assert_string_equal(output, "four\nfive\nthree\nsix\n\n");
    for (int fd = 3; fd <= 6; fd++) {
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC); /* untouched here */
        close(fd);
    }
}

static void signals_are_reset(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    sigset_t set, before, after;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, &before);
    /* grep itself, not the shell, which ignores and resets on its own account */
    _cleanup_(freep) char *output = output_of("exec grep -E 'Sig(Blk|Ign)' /proc/self/status", NULL);
    assert_string_equal(output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    sigprocmask(SIG_SETMASK, &before, &after);
    assert_true(sigismember(&after, SIGTERM)); /* and here they are as they were */
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    assert_ptr_equal(action.sa_handler, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
}

static void has_its_own_group(void **state)
{
    _cleanup_(freep) char *output = output_of("read -r a b c d e f < /proc/self/stat; echo $(($$ == e)) $e", NULL);
    assert_memory_equal(output, "1 ", 2);
    assert_int_not_equal(atoi(output + 2), getpgrp());
}

/* A parent that is killed takes its child along. */
static void dies_with_its_parent(void **state)
{
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        const char *argv[] = { "sleep", "60", NULL };
        int descriptors[] = { -1, pipe_fds[1], -1 }; /* held open while sleep lives */
        Process process;
        SpawnOptions options = {
            .path = "/bin/sleep", .argv = argv, .descriptors = descriptors, .descriptor_count = 3, .cgroup = -1
        };
        if (spawn(&options, &process, NULL) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    close(pipe_fds[1]);
    int status;
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_true(WIFSIGNALED(status));
    struct pollfd poller = { .fd = pipe_fds[0] };
    assert_int_equal(poll(&poller, 1, 10000), 1);
    assert_true(poller.revents & POLLHUP);
    close(pipe_fds[0]);
}

static void expect_failure(const char *path, ErrorKind kind, const char *message)
{
    const char *argv[] = { "x", NULL };
    SpawnOptions options = { .path = path, .argv = argv, .cgroup = -1 };
    Process process = { 0 };
    Error error = { 0 };
    assert_int_equal(spawn(&options, &process, &error), -1);
    assert_string_equal(error.message, message);
    assert_int_equal(error.kind, kind);
    error_clear(&error);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
    assert_int_equal(errno, ECHILD);
}

/* valgrind makes a fork of a clone in shared memory: then a failed exec shows as exit status 127 only. */
static bool under_valgrind(void)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && !found && fgets(line, sizeof line, maps))
        found = strstr(line, "vgpreload") != NULL;
    if (maps)
        fclose(maps);
    return found;
}

static void failures_are_told(void **state)
{
    if (under_valgrind())
        skip();
    expect_failure("/nonexistent/source-files", ERROR_CONFIGURATION,
                   "program \"/nonexistent/source-files\" is missing: wherry was built without it or is not "
                   "installed completely; \"Installing\" in its README says what each needs");
    char path[] = "/tmp/wherry-spawn-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "text\n", 5), 5);
    close(fd);
    _cleanup_(freep) char *denied = xasprintf("cannot execute program \"%s\": permission denied", path);
    expect_failure(path, ERROR_CONFIGURATION, denied);
    chmod(path, 0755);
    _cleanup_(freep) char *format = xasprintf("cannot execute program \"%s\": exec format error", path);
    expect_failure(path, ERROR_CONFIGURATION, format);
    int busy = open(path, O_WRONLY);
    _cleanup_(freep) char *text = xasprintf("cannot execute program \"%s\": text file busy", path);
    expect_failure(path, ERROR_TEMPORARY, text);
    close(busy);
    unlink(path);
}

static void cgroup_that_refuses_is_told(void **state)
{
    if (under_valgrind())
        skip();
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    const char *argv[] = { "true", NULL };
    SpawnOptions options = { .path = "/bin/true", .argv = argv, .cgroup = full };
    Process process;
    Error error = { 0 };
    assert_int_equal(spawn(&options, &process, &error), -1);
    assert_string_equal(error.message, "cannot enter the cgroup for program \"/bin/true\": no space left on device");
    error_clear(&error);
    close(full);
}

static void close_from_spares_the_lower(void **state)
{
    pid_t child = fork();
    if (child == 0) {
        int low = fcntl(0, F_DUPFD, 10), high = fcntl(0, F_DUPFD, 40);
        int r = spawn_close_from(20);
        _exit(r == 0 && fcntl(low, F_GETFD) >= 0 && fcntl(high, F_GETFD) < 0 ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(environment_is_exact),        cmocka_unit_test(other_descriptors_are_closed),
        cmocka_unit_test(descriptors_change_places),   cmocka_unit_test(signals_are_reset),
        cmocka_unit_test(has_its_own_group),           cmocka_unit_test(dies_with_its_parent),
        cmocka_unit_test(failures_are_told),           cmocka_unit_test(cgroup_that_refuses_is_told),
        cmocka_unit_test(close_from_spares_the_lower),
    };
    return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
