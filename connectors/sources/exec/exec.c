/*
 * The worker locks itself down and then starts the program, which so runs under the same rules: it may read and execute
 * the system's programs, its interpreter and its own folder, write to a private folder for temporary files, and use the
 * network; nothing else of the machine. It is in the worker's process group, which it cannot leave, and dies with the
 * worker.
 *
 * Three pipes lead to it. On stdin it gets one line of JSON, BEGIN, and then the end; a program that does not read it
 * is fine. What it prints on stdout are operations (line.h), and reading them waits for the writer, so that a program
 * that is faster than the destination waits too. What it prints on stderr is handed on to the log, and its last line
 * remembered: that is mostly why it failed.
 *
 * It is over when the program has ended, not when its pipes are closed: a child that it left behind may hold these open
 * for ever, and a program may close them early. What lies in the pipes at that moment still counts. Whatever goes
 * wrong, the program is told to end with SIGTERM and has a few seconds to do so (worker/child.h); what it left behind
 * is ended by the daemon, with the sync.
 */
#include "connectors/sources/exec/exec.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "connectors/sources/exec/line.h"
#include "connectors/worker/child.h"
#include "connectors/worker/programs.h"
#include "connectors/worker/scratch.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"

#define EXEC_PIPE_SIZE (1 << 20)
#define EXEC_READ_SIZE (256u << 10)
#define EXEC_BUFFER_KEEP (4u << 20)
#define EXEC_DESCRIPTORS 1024
#define PIPELINES_FOLDER "pipelines.d"

typedef struct ExecSource {
    char **arguments; /* owned; NULL-terminated */
    char *shown;      /* the program, for messages */
    char *program;    /* absolute */
    char *folder;     /* that it starts in */
    char *begin;      /* the JSON of BEGIN, but for the state */
    EmitterOptions options;
    uint64_t line_max;
    ProgramPaths paths;
    Scratch *scratch;

    /* while it runs */
    Child child;
    int input, output; /* our ends of its pipes; -1: closed */
    Buffer to_write, lines;
    size_t scanned; /* of LINES: no end of a line before */
} ExecSource;

/* --- before the sandbox --- */

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int bad(const char *key, Error *error)
{
    return error_set(error, ERROR_CONFIGURATION, "the configuration from the daemon has no usable \"%s\"", key);
}

static int read_command(ExecSource *exec, const json_t *source, Error *error)
{
    const json_t *command = json_object_get(source, "command");
    size_t count = json_array_size(command);
    exec->folder = xstrdup(text_at(source, "folder"));
    if (!exec->folder)
        return bad("folder", error);
    exec->arguments = xcalloc(count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        exec->arguments[i] = xstrdup(json_string_value(json_array_get(command, i)));
        if (!exec->arguments[i])
            return bad("command", error);
    }
    return count > 0 ? 0 : bad("command", error);
}

static int find_program(ExecSource *exec, Error *error)
{
    const char *name = exec->arguments[0];
    exec->shown = text_escape_shortened(name, strlen(name), 200);
    exec->program = strchr(name, '/') ? xstrdup(name) : program_find(name);
    if (!exec->program)
        return error_set(error, ERROR_CONFIGURATION,
                         "there is no program \"%s\" on the path (%s); name its path, such as ./%s", exec->shown,
                         getenv("PATH"), exec->shown);
    struct stat status;
    if (stat(exec->program, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot run \"%s\"", exec->shown);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, "cannot run \"%s\": it is not a file", exec->shown);
    if (access(exec->program, X_OK) < 0)
        return error_set(error, ERROR_CONFIGURATION, "cannot run \"%s\": it is not executable; chmod +x it",
                         exec->shown);
    return 0;
}

/* BEGIN as the program gets it, without its closing brace: the state follows as it is. */
static void make_begin(ExecSource *exec, const json_t *configuration)
{
    const json_t *source = json_object_get(configuration, "source");
    json_t *begin = json_object();
    json_object_set(begin, "configuration", json_object_get(source, "configuration"));
    static const char *const keys[] = { "connection", "run_id", "full", "max_value_size" };
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        json_t *value = json_object_get(configuration, keys[i]);
        if (value)
            json_object_set(begin, keys[i], value);
    }
    exec->begin = json_dumps(begin, JSON_COMPACT);
    assert(exec->begin);
    exec->begin[strlen(exec->begin) - 1] = '\0';
    json_decref(begin);
}

/* Not the root, and nothing that holds pipelines.d, where other connections' secrets may be. */
static void add_folder(ExecSource *exec, const char *folder)
{
    _cleanup_(freep) char *real = path_canonical(folder), *own = path_canonical(exec->folder);
    bool is_pipelines = strcmp(strrchr(real, '/') + 1, PIPELINES_FOLDER) == 0;
    bool above = strcmp(strrchr(own, '/') + 1, PIPELINES_FOLDER) == 0 && path_is_below(own, real);
    if (strcmp(real, "/") != 0 && !is_pipelines && !above)
        program_paths_add(&exec->paths, folder, SANDBOX_READ | SANDBOX_EXECUTE);
}

/* PATH is the program's own, or a script of its: its folder comes along, for what lies beside it. */
static void add_own(ExecSource *exec, const char *path)
{
    char real[PATH_MAX];
    const char *places[] = { path, realpath(path, real) };
    for (size_t i = 0; i < ELEMENTSOF(places) && places[i]; i++) {
        _cleanup_(freep) char *folder = path_folder(places[i]);
        add_folder(exec, folder);
    }
}

/* An argument that is the path of a file or folder is meant to be read: by its full name just that, by a relative one
 * (["python3", "emit.py"]) as the program itself. */
static void add_argument(ExecSource *exec, const char *argument)
{
    _cleanup_(freep) char *path = path_join(exec->folder, argument);
    struct stat status;
    if (!*argument || stat(path, &status) < 0)
        return;
    if (S_ISDIR(status.st_mode)) {
        add_folder(exec, path);
    } else if (S_ISREG(status.st_mode)) {
        if (argument[0] != '/')
            add_own(exec, path);
        program_paths_add(&exec->paths, path, SANDBOX_READ | SANDBOX_EXECUTE);
    }
}

static void add_paths(ExecSource *exec)
{
    add_own(exec, exec->program);
    for (size_t i = 1; exec->arguments[i]; i++)
        add_argument(exec, exec->arguments[i]);
    program_paths_add_program(&exec->paths, exec->program);
    program_paths_add_system(&exec->paths);
    program_paths_add(&exec->paths, scratch_path(exec->scratch),
                      SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE | SANDBOX_LINK);
}

static int exec_open(void **ret, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    ExecSource *exec = xcalloc(1, sizeof(*exec));
    exec->input = exec->output = -1;
    child_init(&exec->child);
    *ret = exec;
    const char *naming = text_at(configuration, "naming");
    json_int_t most = json_integer_value(json_object_get(configuration, "max_value_size"));
    exec->line_max = most > 0 ? (uint64_t)most : 16 << 20;
    exec->options = (EmitterOptions){ .source_names = naming && strcmp(naming, "source") == 0,
                                      .base64 = true,
                                      .max_value_size = exec->line_max };
    signal(SIGTERM, SIG_IGN); /* for the program, whose group is ours */
    if (read_command(exec, json_object_get(configuration, "source"), error) < 0 || find_program(exec, error) < 0 ||
        scratch_new(&exec->scratch, error) < 0)
        return -1;
    make_begin(exec, configuration);
    add_paths(exec);
    policy->paths = exec->paths.paths;
    policy->path_count = exec->paths.count;
    policy->network = SANDBOX_NETWORK_OUTBOUND;
    policy->may_execute = true;
    policy->descriptors = EXEC_DESCRIPTORS;
    return 0;
}

static int exec_check(void *source, Error *error)
{
    return 0;
}

/* --- starting --- */

static void make_pipe(int *ret_ours, int *ret_theirs, bool to_program, bool *failed)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        *failed = true;
        return;
    }
    *ret_ours = ends[to_program];
    *ret_theirs = ends[!to_program];
    fcntl(*ret_ours, F_SETFL, O_NONBLOCK);
    if (!to_program)
        fcntl(*ret_ours, F_SETPIPE_SZ, EXEC_PIPE_SIZE); /* refused beyond the user's bound: then it is only smaller */
}

static int start_program(ExecSource *exec, Error *error)
{
    _cleanup_(close_fdp) int input = -1, output = -1;
    bool failed = false;
    make_pipe(&exec->input, &input, true, &failed);
    make_pipe(&exec->output, &output, false, &failed);
    if (failed)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "cannot make a pipe to \"%s\"", exec->shown);
    if (chdir(exec->folder) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot go to the folder \"%s\"", exec->folder);
    _cleanup_(freep) char *home = xasprintf("HOME=%s", scratch_path(exec->scratch));
    _cleanup_(freep) char *temporary = xasprintf("TMPDIR=%s", scratch_path(exec->scratch));
    _cleanup_(freep) char *path = xasprintf("PATH=%s", getenv("PATH"));
    const char *const environment[] = { path, "LANG=C.UTF-8", "TZ=UTC", home, temporary, NULL };
    int descriptors[] = { input, output, -1 };
    SpawnOptions options = { .path = exec->program,
                             .argv = (const char *const *)exec->arguments,
                             .environment = environment,
                             .descriptors = descriptors,
                             .descriptor_count = ELEMENTSOF(descriptors),
                             .cgroup = -1,
                             .same_group = true };
    Error why = { 0 };
    if (child_start(&exec->child, exec->shown, &options, descriptors, &why) < 0) {
        error_set(error, why.kind, "cannot run \"%s\": %s", exec->shown,
                  why.kind == ERROR_CONFIGURATION && strstr(why.message, "is missing")
                      ? "the interpreter in its first line is missing"
                      : why.message);
        error_clear(&why);
        return -1;
    }
    return 0;
}

/* --- its pipes --- */

static void write_input(ExecSource *exec)
{
    while (buffer_length(&exec->to_write) > 0) {
        ssize_t n = write(exec->input, buffer_bytes(&exec->to_write), buffer_length(&exec->to_write));
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0 && errno != EINTR)
            break; /* it does not want to know */
        if (n > 0)
            buffer_consume(&exec->to_write, (size_t)n);
    }
    exec->input = close_fd(exec->input);
    explicit_bzero(exec->to_write.data, exec->to_write.allocated);
    buffer_clear(&exec->to_write);
}

static int line_too_long(const ExecSource *exec, const Lines *lines, Error *error)
{
    error_set(error, ERROR_DATA, "the line is longer than \"max_value_size\" allows (%llu bytes)",
              (unsigned long long)exec->line_max);
    error_at_row(error, lines_count(lines) + 1, 0);
    return error_at_value(error, (const char *)buffer_bytes(&exec->lines), ERROR_VALUE_MAX);
}

/* All whole lines; with END, also what has no end. */
static int take_lines(ExecSource *exec, Lines *lines, bool end, Error *error)
{
    for (;;) {
        const char *text = (const char *)buffer_bytes(&exec->lines);
        size_t n = buffer_length(&exec->lines);
        const char *newline = n > exec->scanned ? memchr(text + exec->scanned, '\n', n - exec->scanned) : NULL;
        size_t length = newline ? (size_t)(newline - text) : n;
        if (length > exec->line_max)
            return line_too_long(exec, lines, error);
        if (!newline && (!end || n == 0)) {
            exec->scanned = n;
            return 0;
        }
        if (lines_take(lines, text, length, error) < 0)
            return -1;
        buffer_consume(&exec->lines, length + (newline != NULL));
        exec->scanned = 0;
    }
}

/* Takes what stdout has, MOST bytes of it. */
static int read_output(ExecSource *exec, Worker *worker, Lines *lines, size_t most, Error *error)
{
    while (most > 0) {
        size_t room = MIN_OF(most, (size_t)EXEC_READ_SIZE);
        ssize_t n = read(exec->output, buffer_reserve(&exec->lines, room), room);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return 0;
        if (n < 0)
            return error_set_errno(error, ERROR_INTERNAL, errno, "cannot read from \"%s\"", exec->shown);
        if (n == 0) {
            exec->output = close_fd(exec->output);
            return 0;
        }
        buffer_added(&exec->lines, (size_t)n);
        if (take_lines(exec, lines, false, error) < 0 ||
            worker_progress(worker, (uint64_t)n, 0, NULL, "loading", error) < 0)
            return -1;
        if (buffer_length(&exec->lines) == 0 && exec->lines.allocated > EXEC_BUFFER_KEEP)
            buffer_clear(&exec->lines);
        most -= (size_t)n;
    }
    return 0;
}

/* --- its life --- */

static int run_to_end(ExecSource *exec, Worker *worker, Lines *lines, siginfo_t *ret_end, Error *error)
{
    for (;;) {
        struct pollfd polled[] = { { .fd = exec->child.process.pidfd, .events = POLLIN },
                                   { .fd = exec->child.errors, .events = POLLIN },
                                   { .fd = exec->output, .events = POLLIN },
                                   { .fd = exec->input, .events = POLLOUT } };
        /* What was read is sent before waiting for more: a slow program's rows are not to be held back. */
        if (worker_flush(worker, error) < 0 || worker_wait(worker, polled, ELEMENTSOF(polled), -1, error) < 0)
            return -1;
        if (polled[3].revents)
            write_input(exec);
        if (polled[1].revents)
            child_read_errors(&exec->child);
        if (polled[2].revents && read_output(exec, worker, lines, EXEC_READ_SIZE, error) < 0)
            return -1;
        if (polled[0].revents && child_has_ended(&exec->child, ret_end))
            break;
    }
    /* As much as lies there now: what a child left behind prints has no end. */
    size_t left = child_waiting_in(exec->output);
    if (left > 0 && read_output(exec, worker, lines, left, error) < 0)
        return -1;
    return take_lines(exec, lines, true, error);
}

static int exec_read(void *source, Worker *worker, Error *error)
{
    ExecSource *exec = source;
    siginfo_t end;
    const char *state = worker_state(worker);
    exec->options.untyped = worker_plans(worker);
    _cleanup_(emitter_freep) Emitter *emitter = emitter_new(worker, &exec->options);
    _cleanup_(lines_freep) Lines *lines = lines_new(worker, emitter);
    buffer_printf(&exec->to_write, "%s,\"state\":%s}\n", exec->begin, state && *state ? state : "{}");
    if (start_program(exec, error) < 0)
        return -1;
    int r = run_to_end(exec, worker, lines, &end, error);
    if (exec->child.running) {
        exec->output = close_fd(exec->output);
        exec->input = close_fd(exec->input);
        child_end(&exec->child);
    }
    if (r >= 0)
        r = child_judge(&exec->child, &end, error);
    if (r >= 0 && exec->output >= 0) {
        struct pollfd polled = { .fd = exec->output, .events = POLLIN };
        if (poll(&polled, 1, 0) == 0 || !(polled.revents & POLLHUP))
            worker_log(worker, LOG_WARNING,
                       "\"%s\" left a process behind that holds its output open; what that prints is not taken",
                       exec->shown);
    }
    return r < 0 ? -1 : emitter_flush(emitter, error);
}

static void exec_close(void *source)
{
    ExecSource *exec = source;
    child_clear(&exec->child);
    close_fd(exec->input);
    close_fd(exec->output);
    buffer_clear(&exec->to_write);
    buffer_clear(&exec->lines);
    scratch_free(exec->scratch);
    program_paths_clear(&exec->paths);
    for (size_t i = 0; exec->arguments && exec->arguments[i]; i++)
        free(exec->arguments[i]);
    free(exec->arguments);
    free(exec->shown);
    free(exec->program);
    free(exec->folder);
    free(exec->begin);
    free(exec);
}

const Source source_exec = {
    .program = "source-exec", .open = exec_open, .check = exec_check, .read = exec_read, .close = exec_close
};
