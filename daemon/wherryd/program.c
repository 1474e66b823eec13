/*
 * A program of a sync is foreign ground: it may send garbage, stop reading, print without end, or die and leave a
 * grandchild holding its socket. All of that is met here with bounds, so that the supervision above deals in a few
 * plain events. The order that it can rely on: whatever the program said before it ended is delivered before its end
 * is, although the kernel may report the two the other way round.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "daemon/wherryd/program.h"

#define LOG_READ_SIZE 65536

static void on_control(uv_poll_t *poll, int status, int events);

static void stop_reading(Program *program)
{
    program->reading = false;
    program->control_events = 0;
    if (program->control_fd >= 0)
        uv_poll_stop(&program->control_poll);
}

static void poll_control(Program *program)
{
    int events = (program->reading ? UV_READABLE : 0) | (buffer_length(&program->output) > 0 ? UV_WRITABLE : 0);
    if (events == program->control_events)
        return; /* libuv would take it out of the epoll set and put it in again */
    program->control_events = events;
    if (events == 0)
        uv_poll_stop(&program->control_poll);
    else
        uv_poll_start(&program->control_poll, events, on_control);
}

static void broken(Program *program, Error *error)
{
    stop_reading(program);
    buffer_reset(&program->output);
    program->events->broken(program, error);
}

/* Sends what the socket takes. What it refuses for good is dropped: the end of the process tells the rest. */
static void flush(Program *program)
{
    while (buffer_length(&program->output) > 0) {
        ssize_t n = send(program->control_fd, buffer_bytes(&program->output), buffer_length(&program->output),
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            buffer_reset(&program->output);
            return;
        }
        buffer_consume(&program->output, (size_t)n);
    }
}

void program_send(Program *program, const Frame *frame)
{
    if (program->control_fd < 0 || !program->reading)
        return;
    if (buffer_length(&program->output) > PROGRAM_OUTPUT_MAX) {
        _cleanup_(error_clear) Error error = {};
        error_set(&error, ERROR_INTERNAL, "the %s does not read what it is told", program->role);
        broken(program, &error);
        return;
    }
    frame_encode(&program->output, frame);
    flush(program);
    poll_control(program);
}

/* Delivers the frames that are complete. */
static void deliver(Program *program)
{
    while (program->reading) {
        _cleanup_(error_clear) Error error = {};
        Frame frame;
        int r = frame_reader_next(&program->reader, &frame, &error);
        if (r == FRAME_E_MORE)
            return;
        if (r < 0) {
            error_prefix(&error, "the %s broke the protocol: ", program->role);
            error.kind = ERROR_INTERNAL;
            broken(program, &error);
            return;
        }
        program->events->frame(program, &frame);
    }
}

/* One read. Returns the number of bytes, 0 where there is nothing now or never again. */
static size_t read_control(Program *program)
{
    size_t room;
    uint8_t *at = frame_reader_reserve(&program->reader, &room);
    ssize_t n = recv(program->control_fd, at, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        stop_reading(program);
        program->events->closed(program);
        return 0;
    }
    frame_reader_added(&program->reader, (size_t)n);
    deliver(program);
    return (size_t)n;
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    Program *program = poll->data;
    if (status < 0 || (events & UV_READABLE))
        read_control(program);
    if (program->closing || program->control_fd < 0)
        return;
    if (events & UV_WRITABLE)
        flush(program);
    poll_control(program);
}

static void end_line(Program *program)
{
    size_t n = buffer_length(&program->line);
    if (n > 0 && buffer_bytes(&program->line)[n - 1] == '\r')
        n--;
    if (n > 0)
        program->events->line(program, (const char *)buffer_bytes(&program->line), n);
    buffer_reset(&program->line);
    program->line_cut = false;
}

static void take_output(Program *program, const char *text, size_t n)
{
    while (n > 0) {
        const char *newline = memchr(text, '\n', n);
        size_t length = newline ? (size_t)(newline - text) : n;
        size_t room = PROGRAM_LINE_MAX - buffer_length(&program->line);
        if (!program->line_cut)
            buffer_append(&program->line, text, MIN_OF(length, room));
        if (length > room && !program->line_cut) {
            buffer_append_string(&program->line, "…");
            program->line_cut = true;
        }
        if (!newline)
            return;
        end_line(program);
        text += length + 1;
        n -= length + 1;
    }
}

static size_t read_log(Program *program)
{
    char bytes[LOG_READ_SIZE];
    ssize_t n = read(program->log_fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) {
        uv_poll_stop(&program->log_poll);
        return 0;
    }
    take_output(program, bytes, (size_t)n);
    return (size_t)n;
}

static void on_log(uv_poll_t *poll, int status, int events)
{
    read_log(poll->data);
}

static void on_exit_readable(uv_poll_t *poll, int status, int events)
{
    Program *program = poll->data;
    program->how_ended.si_pid = 0;
    if (waitid(P_PIDFD, (id_t)program->pidfd, &program->how_ended, WEXITED | WNOHANG) < 0 ||
        program->how_ended.si_pid == 0)
        return;
    uv_poll_stop(&program->exit_poll);
    for (size_t n = 1, total = 0; n > 0 && total < PROGRAM_DRAIN_MAX && program->reading; total += n)
        n = read_control(program);
    for (size_t n = 1, total = 0; n > 0 && total < PROGRAM_DRAIN_MAX; total += n)
        n = read_log(program);
    end_line(program);
    stop_reading(program);
    program->exited = true;
    program->events->exited(program);
}

static int watch(Program *program, uv_loop_t *loop, uv_poll_t *poll, int fd, uv_poll_cb callback, Error *error)
{
    int r = uv_poll_init(loop, poll, fd);
    if (r < 0)
        return error_set(error, ERROR_TEMPORARY, "the %s cannot be watched: %s", program->role, uv_strerror(r));
    poll->data = program;
    program->handles++;
    uv_poll_start(poll, UV_READABLE, callback);
    return 0;
}

/* The three descriptors of the daemon's side and, for the spawn, of the other. */
static int make_descriptors(Program *program, int *ret_control, int *ret_log, Error *error)
{
    int pair[2], output[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no socket for the %s can be made", program->role);
    program->control_fd = pair[0];
    *ret_control = pair[1];
    if (pipe2(output, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no pipe for the %s can be made", program->role);
    program->log_fd = output[0];
    *ret_log = output[1];
    /* Only our ends: the descriptions are not shared, so the program's own stay blocking. */
    fcntl(program->control_fd, F_SETFL, O_NONBLOCK);
    fcntl(program->log_fd, F_SETFL, O_NONBLOCK);
    return 0;
}

int program_start(Program *program, const ProgramOptions *options, Error *error)
{
    *program = (Program){ .role = options->role,
                          .events = options->events,
                          .userdata = options->userdata,
                          .pidfd = -1,
                          .control_fd = -1,
                          .log_fd = -1 };
    frame_reader_init(&program->reader, options->payload_max);

    _cleanup_(close_fdp) int control = -1, log = -1;
    if (make_descriptors(program, &control, &log, error) < 0)
        return -1;
    size_t n = 0;
    while (options->arguments && options->arguments[n])
        n++;
    _cleanup_(freep) const char **argv = xcalloc(n + 2, sizeof(char *));
    argv[0] = options->title;
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = options->arguments[i];
    const int descriptors[] = { -1, log, log, control, options->operations };
    SpawnOptions spawn_options = { .path = options->path,
                                   .argv = argv,
                                   .environment = options->environment,
                                   .descriptors = descriptors,
                                   .descriptor_count = ELEMENTSOF(descriptors),
                                   .cgroup = options->cgroup };
    Process process;
    if (spawn(&spawn_options, &process, error) < 0)
        return -1;
    program->pid = process.pid;
    program->pidfd = process.pidfd;
    program->reading = true;
    if (watch(program, options->loop, &program->exit_poll, program->pidfd, on_exit_readable, error) < 0)
        return -1;
    if (watch(program, options->loop, &program->control_poll, program->control_fd, on_control, error) < 0)
        return -1;
    program->control_events = UV_READABLE;
    return watch(program, options->loop, &program->log_poll, program->log_fd, on_log, error);
}

void program_kill(Program *program)
{
    if (program_is_alive(program))
        syscall(SYS_pidfd_send_signal, program->pidfd, SIGKILL, NULL, 0);
}

static void released(Program *program)
{
    frame_reader_clear(&program->reader);
    buffer_clear(&program->output);
    buffer_clear(&program->line);
    if (program->events)
        program->events->released(program);
}

static void on_handle_closed(uv_handle_t *handle)
{
    Program *program = handle->data;
    if (--program->handles == 0)
        released(program);
}

void program_close(Program *program)
{
    if (program->closing)
        return;
    program->closing = true;
    program->reading = false;
    uv_poll_t *polls[] = { &program->exit_poll, &program->control_poll, &program->log_poll };
    unsigned handles = program->handles;
    assert(handles <= ELEMENTSOF(polls));
    for (unsigned i = 0; i < handles; i++)
        uv_close((uv_handle_t *)polls[i], on_handle_closed);
    program->pidfd = close_fd(program->pidfd);
    program->control_fd = close_fd(program->control_fd);
    program->log_fd = close_fd(program->log_fd);
    if (handles == 0)
        released(program);
}

char *program_describe_end(const Program *program)
{
    int number = program->how_ended.si_status;
    if (program->how_ended.si_code == CLD_EXITED)
        return xasprintf("ended with status %d", number);
    const char *name = sigabbrev_np(number);
    return name ? xasprintf("was killed by SIG%s", name) : xasprintf("was killed by signal %d", number);
}
