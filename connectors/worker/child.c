/*
 * The pipe of stderr is read whenever there is something, so that no program waits for its own complaints. At its end
 * only what lies there at that moment is read: a child that it left behind may hold the pipe open for ever.
 */
#include "connectors/worker/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/basics/text.h"

#define GRACE_MS 5000 /* from SIGTERM to SIGKILL; the daemon waits twice as long */
#define READ_SIZE (256u << 10)

void child_init(Child *child)
{
    *child = (Child){ .errors = -1, .process.pidfd = -1 };
}

void child_clear(Child *child)
{
    assert(!child->running);
    close_fd(child->process.pidfd);
    close_fd(child->errors);
}

int child_start(Child *child, const char *shown, const SpawnOptions *options, int *descriptors, Error *error)
{
    int ends[2];
    child->shown = shown;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot make a pipe to \"%s\"", shown);
    child->errors = ends[0];
    fcntl(child->errors, F_SETFL, O_NONBLOCK);
    descriptors[STDERR_FILENO] = ends[1];
    SpawnOptions all = *options;
    all.descriptors = descriptors;
    int r = spawn(&all, &child->process, error);
    close_fd(ends[1]);
    child->running = r == 0;
    return r;
}

/* --- what it says --- */

/* Keeps the last line that is not empty. */
static void remember_words(Child *child, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '\n') {
            child->words_ended = child->word_count > 0;
            continue;
        }
        if (child->words_ended) {
            child->words_ended = false;
            child->word_count = 0;
        }
        if (child->word_count < sizeof(child->words))
            child->words[child->word_count++] = text[i];
    }
}

static void hand_on(const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, n);
        if (written < 0 && errno != EINTR)
            return; /* nobody listens: the daemon's end is noticed elsewhere */
        bytes += written > 0 ? written : 0;
        n -= written > 0 ? (size_t)written : 0;
    }
}

static void read_errors(Child *child, size_t most)
{
    char bytes[16 << 10];
    while (most > 0) {
        ssize_t n = read(child->errors, bytes, MIN_OF(most, sizeof(bytes)));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            child->errors = close_fd(child->errors);
            return;
        }
        remember_words(child, bytes, (size_t)n);
        hand_on(bytes, (size_t)n);
        most -= (size_t)n;
    }
}

void child_read_errors(Child *child)
{
    read_errors(child, READ_SIZE);
}

size_t child_waiting_in(int fd)
{
    int n = 0;
    return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* --- its end --- */

bool child_has_ended(Child *child, siginfo_t *ret)
{
    *ret = (siginfo_t){ 0 };
    if (waitid(P_PIDFD, (id_t)child->process.pidfd, ret, WEXITED | WNOHANG) < 0 || ret->si_pid == 0)
        return false;
    child->running = false;
    read_errors(child, child_waiting_in(child->errors));
    return true;
}

void child_end(Child *child)
{
    siginfo_t end;
    kill(0, SIGTERM);
    int64_t deadline = clock_monotonic_ms() + GRACE_MS;
    while (!child_has_ended(child, &end)) {
        int64_t left = deadline - clock_monotonic_ms();
        if (left <= 0)
            kill(child->process.pid, SIGKILL);
        struct pollfd polled[] = { { .fd = child->process.pidfd, .events = POLLIN },
                                   { .fd = child->errors, .events = POLLIN } };
        if (poll(polled, ELEMENTSOF(polled), left > 0 ? (int)left : -1) > 0 && polled[1].revents)
            child_read_errors(child);
    }
}

int child_judge(const Child *child, const siginfo_t *end, Error *error)
{
    if (end->si_code == CLD_EXITED && end->si_status == 0)
        return 0;
    _cleanup_(freep) char *words = text_escape(child->words, child->word_count);
    const char *colon = *words ? ": " : "";
    if (end->si_code == CLD_EXITED)
        return error_set(error, ERROR_TEMPORARY, "\"%s\" ended with status %d%s%s", child->shown, end->si_status, colon,
                         words);
    const char *name = sigabbrev_np(end->si_status);
    return error_set(error, ERROR_TEMPORARY, "\"%s\" was killed by SIG%s%s%s", child->shown, name ? name : "?", colon,
                     words);
}
