/*
 * The worker locks itself down and starts the connection's Python inside of that, with Wherry's module first on its
 * path. The connector may read its project, its environment and the system's programs and libraries, run programs,
 * write to a private folder for temporary files, and use the network, listening on ports of its own included (an SSH
 * tunnel's end); nothing else of the machine.
 *
 * The interpreter has two descriptors of ours: the pipe to the writer, on which the module puts rows by itself, and a
 * socket for the rest (conversation.h). This process stays: it hears the daemon, puts checkpoints and END on the pipe,
 * hands on what is printed, knows how the interpreter ended whatever the connector did to it, and clears away.
 *
 * HELLO is on the pipe before the interpreter starts and END only after the module said that all rows are there, so
 * that a sync whose connector died is never taken for whole. What the connector may write to the pipe by itself is held
 * against the protocol by the writer, as is everything that comes from a worker.
 */
#include "connectors/sources/fivetran/fivetran.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>

#include "connectors/sources/fivetran/conversation.h"
#include "connectors/worker/child.h"
#include "connectors/worker/interpreter.h"
#include "connectors/worker/programs.h"
#include "connectors/worker/scratch.h"
#include "lib/basics/clock.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/formats/configuration.h"

#define DESCRIPTORS_MAX 4096
#define LEAVE_MS 10000 /* what the interpreter may take to end after the connector has */
#define CONNECTOR "connector.py"
#define MODULE "python/fivetran_connector_sdk"

typedef struct FivetranSource {
    char *project, *python, *environment; /* owned; the interpreter, its virtual environment or NULL */
    char *module;                         /* owned; the folder that is put on the path */
    char *connection;                     /* owned */
    char *begin;                          /* owned; JSON */
    ProgramPaths paths;
    Scratch *scratch;
    Child child;
    Conversation conversation;
    bool talking;
    bool debug;          /* a person debugs it */
    uint64_t memory;     /* what the daemon bounds; 0: nothing */
    int64_t leave_at_ms; /* by then it must have ended; 0: not told to yet */
} FivetranSource;

/* --- before the sandbox --- */

static const char *text_at(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static int check_project(const FivetranSource *source, Error *error)
{
    struct stat status;
    _cleanup_(freep) char *file = path_join(source->project, CONNECTOR);
    _cleanup_(freep) char *shown = text_escape_shortened(source->project, strlen(source->project), 200);
    if (stat(source->project, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot use the project \"%s\"", shown);
    if (stat(file, &status) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the project \"%s\" has no " CONNECTOR, shown);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_CONFIGURATION, CONNECTOR " in the project \"%s\" is not a file", shown);
    return 0;
}

/* Installed beside this program; in a build, two folders up. */
static int find_module(FivetranSource *source, Error *error)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0)
        return error_set_errno(error, ERROR_INTERNAL, errno, "cannot find this program");
    self[n] = '\0';
    _cleanup_(freep) char *here = path_folder(self);
    _cleanup_(freep) char *above = path_folder(here);
    _cleanup_(freep) char *connectors = path_folder(above);
    const char *const places[] = { here, connectors };
    for (size_t i = 0; i < ELEMENTSOF(places); i++) {
        _cleanup_(freep) char *module = path_join(places[i], MODULE);
        if (access(module, R_OK | X_OK) == 0) {
            source->module = path_folder(module);
            return 0;
        }
    }
    return error_set(error, ERROR_CONFIGURATION, "the module fivetran_connector_sdk is not installed beside \"%s\"",
                     self);
}

/* What the path has is taken as it is: asking it who it is takes longer than a small sync. It says so itself where it
 * is not served. */
static int find_installed(FivetranSource *source, const char *wanted, Error *error)
{
    _cleanup_(freep) char *name = wanted ? xasprintf("python%s", wanted) : xstrdup("python3");
    if (wanted && wanted[0] == '/')
        source->python = access(wanted, X_OK) == 0 ? xstrdup(wanted) : NULL;
    else if (!strchr(name, '/'))
        source->python = program_find(name);
    if (source->python)
        return 0;
    _cleanup_(interpreter_clear) Interpreter interpreter = { 0 };
    if (interpreter_find(wanted, NULL, NULL, &interpreter, error) < 0)
        return -1;
    source->python = xstrdup(interpreter.path);
    return 0;
}

static int find_python(FivetranSource *source, const json_t *settings, Error *error)
{
    const char *environment = text_at(settings, "environment");
    if (!environment)
        return find_installed(source, text_at(settings, "python"), error);
    source->environment = xstrdup(environment);
    source->python = path_join(environment, "bin/python");
    if (access(source->python, X_OK) == 0)
        return 0;
    int errnum = errno;
    char target[PATH_MAX];
    ssize_t n = readlink(source->python, target, sizeof(target) - 1);
    if (errnum != ENOENT || n < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errnum, "cannot run \"%s\"", source->python);
    return error_set(
        error, ERROR_CONFIGURATION,
        "the environment \"%s\" was made for a Python that is gone (\"%.*s\"); make it anew, or deploy the "
        "connection again",
        environment, (int)n, target);
}

/* What the module is told: the connection's keys, without what is not its business. */
static void make_begin(FivetranSource *source, const json_t *configuration)
{
    static const char *const keys[] = {
        "connection", "run_id", "full", "max_value_size", "naming", "log_level", "plan"
    };
    json_t *begin = json_object();
    json_object_set(begin, "configuration", json_object_get(json_object_get(configuration, "source"), "configuration"));
    json_object_set_new(begin, "project", json_string(source->project));
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        json_t *value = json_object_get(configuration, keys[i]);
        if (value)
            json_object_set(begin, keys[i], value);
    }
    json_t *ports = json_object_get(json_object_get(configuration, "sandbox"), "ports");
    if (ports)
        json_object_set(begin, "ports", ports);
    source->begin = json_dumps(begin, JSON_COMPACT);
    json_decref(begin);
}

static void add_paths(FivetranSource *source)
{
    ProgramPaths *paths = &source->paths;
    program_paths_add(paths, source->project, SANDBOX_READ | SANDBOX_EXECUTE);
    program_paths_add(paths, source->module, SANDBOX_READ | SANDBOX_EXECUTE);
    if (source->environment)
        program_paths_add(paths, source->environment, SANDBOX_READ | SANDBOX_EXECUTE);
    program_paths_add_program(paths, source->python);
    program_paths_add_system(paths);
    /* semaphores of multiprocessing lie there, and nowhere else */
    program_paths_add(paths, "/dev/shm", SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE);
    program_paths_add(paths, scratch_path(source->scratch),
                      SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE | SANDBOX_LINK | SANDBOX_EXECUTE);
}

static int fivetran_open(void **ret, const json_t *configuration, SandboxPolicy *policy, Error *error)
{
    FivetranSource *source = xcalloc(1, sizeof(*source));
    child_init(&source->child);
    *ret = source;
    const json_t *settings = json_object_get(configuration, "source");
    const char *project = text_at(settings, "project");
    source->project = project ? realpath(project, NULL) : NULL; /* as the connector's tracebacks show it */
    if (project && !source->project)
        source->project = xstrdup(project);
    source->connection = xstrdup(text_at(configuration, "connection"));
    source->debug = json_is_true(json_object_get(configuration, "debug"));
    source->memory = (uint64_t)json_integer_value(json_object_get(json_object_get(configuration, "sandbox"), "memory"));
    if (!source->project || !source->connection)
        return error_set(error, ERROR_CONFIGURATION, "the configuration from the daemon has no usable \"project\"");
    signal(SIGTERM, SIG_IGN);                                          /* for the interpreter, whose group is ours */
    const json_t *values = json_object_get(settings, "configuration"); /* a file's are not known before a sync */
    if ((values && configuration_check(values, error) < 0) || check_project(source, error) < 0 ||
        find_module(source, error) < 0 || find_python(source, settings, error) < 0 ||
        scratch_new(&source->scratch, error) < 0)
        return -1;
    make_begin(source, configuration);
    add_paths(source);
    policy->paths = source->paths.paths;
    policy->path_count = source->paths.count;
    policy->network = SANDBOX_NETWORK_LOOPBACK_LISTEN;
    policy->may_execute = true;
    policy->descriptors = DESCRIPTORS_MAX;
    return 0;
}

static int fivetran_check(void *source, Error *error)
{
    return 0;
}

/* --- starting --- */

static int spawn_python(FivetranSource *source, int socket, Error *error)
{
    /* read by any Python that there is, even one that cannot load the module */
    static const char program[] =
        "import sys; sys.path.insert(0, sys.argv[1]); flags = getattr(sys, 'abiflags', '')\n"
        "if sys.version_info < (3, 10) or sys.implementation.name != 'cpython' or 't' in flags:\n"
        "    sys.exit('%s %d.%d%s (\"%s\") is not served: name a CPython from 3.10 to 3.14 with \"python:\"'\n"
        "             % ((sys.implementation.name,) + tuple(sys.version_info[:2]) + (flags, sys.executable)))\n"
        "from fivetran_connector_sdk._runner import main; main()";
    const char *const arguments[] = { source->python, "-I", "-B", "-c", program, source->module, NULL };
    const char *scratch = scratch_path(source->scratch);
    _cleanup_(freep) char *bin = source->environment ? path_join(source->environment, "bin:") : xstrdup("");
    _cleanup_(freep) char *path = xasprintf("PATH=%s%s", bin, getenv("PATH"));
    _cleanup_(freep) char *home = xasprintf("HOME=%s", scratch);
    _cleanup_(freep) char *temporary = xasprintf("TMPDIR=%s", scratch);
    /* Fivetran's own debug says these, and connectors ask for them. */
    bool debug = source->debug;
    _cleanup_(freep) char *id =
        xasprintf("FIVETRAN_CONNECTION_ID=%s", debug ? "test_connection_id" : source->connection);
    _cleanup_(freep) char *name =
        xasprintf("FIVETRAN_CONNECTION_NAME=%s", debug ? "test_connection_name" : source->connection);
    const char *const environment[] = { path,
                                        "LANG=C.UTF-8",
                                        "TZ=UTC",
                                        home,
                                        temporary,
                                        "USER=wherry", /* there is no passwd file that would tell */
                                        "LOGNAME=wherry",
                                        id,
                                        name,
                                        debug ? "FIVETRAN_GROUP_ID=test_group_id" : "FIVETRAN_GROUP_ID=wherry",
                                        debug ? "FIVETRAN_DEPLOYMENT_MODEL=local_debug"
                                              : "FIVETRAN_DEPLOYMENT_MODEL=wherry",
                                        NULL };
    int descriptors[] = { -1, STDOUT_FILENO, -1, socket, FD_OPERATIONS };
    SpawnOptions options = { .path = source->python,
                             .argv = arguments,
                             .environment = environment,
                             .descriptor_count = ELEMENTSOF(descriptors),
                             .cgroup = -1,
                             .same_group = true };
    return child_start(&source->child, CONNECTOR, &options, descriptors, error);
}

static int start(FivetranSource *source, const char *state, Error *error)
{
    int ends[2];
    if (chdir(source->project) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "cannot go to the project \"%s\"", source->project);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no socket for the connector can be made");
    conversation_init(&source->conversation, ends[0]);
    source->talking = true;
    int r = spawn_python(source, ends[1], error);
    close_fd(ends[1]);
    if (r < 0)
        return -1;
    int begun = conversation_begin(&source->conversation, source->begin, state, error);
    explicit_bzero(source->begin, strlen(source->begin));
    return begun;
}

/* --- while it runs --- */

/* After its last word it ends by itself, or is ended. Milliseconds left, -1: any. */
static int time_left(FivetranSource *source)
{
    const Conversation *conversation = &source->conversation;
    if (!conversation->done && conversation->failure.kind == ERROR_NONE)
        return -1;
    int64_t now = clock_monotonic_ms();
    if (source->leave_at_ms == 0)
        source->leave_at_ms = now + LEAVE_MS;
    return (int)MAX_OF(source->leave_at_ms - now, (int64_t)0);
}

/* 0: it has ended, as RET_END says. 1: it said all, and does not end. */
static int run_to_end(FivetranSource *source, Worker *worker, siginfo_t *ret_end, Error *error)
{
    Conversation *conversation = &source->conversation;
    for (;;) {
        int left = time_left(source);
        if (left == 0)
            return 1;
        short events = conversation_has_output(conversation) ? POLLIN | POLLOUT : POLLIN;
        struct pollfd polled[] = { { .fd = source->child.process.pidfd, .events = POLLIN },
                                   { .fd = source->child.errors, .events = POLLIN },
                                   { .fd = conversation->channel.fd, .events = events } };
        if (worker_wait(worker, polled, ELEMENTSOF(polled), left, error) < 0)
            return -1;
        if (polled[1].revents)
            child_read_errors(&source->child);
        if (polled[2].revents & POLLOUT)
            conversation_send(conversation);
        if (polled[2].revents && conversation_take(conversation, worker, error) < 0)
            return -1;
        if (polled[0].revents && child_has_ended(&source->child, ret_end))
            return conversation_take(conversation, worker, error); /* what it said last */
    }
}

/* A MemoryError says neither how much there was nor what can be done; a library in C that gets none just aborts. */
static void explain_memory(const FivetranSource *source, bool killed, Error *error)
{
    static const char refused[] = "MemoryError";
    struct rusage usage = { 0 };
    if (source->memory == 0 || getrusage(RUSAGE_CHILDREN, &usage) < 0)
        return;
    uint64_t peak = (uint64_t)usage.ru_maxrss << 10;
    if (strncmp(error->message, refused, strlen(refused)) != 0 && !(killed && peak >= source->memory / 4 * 3))
        return;
    _cleanup_(freep) char *message = xstrdup(error->message);
    error_set(
        error, error->kind,
        "%s; it wanted more than its %llu MiB of memory (peak %llu MiB); allow more with \"sandbox: {memory: …}\"",
        message, (unsigned long long)(source->memory >> 20), (unsigned long long)(peak >> 20));
}

/* How a sync that nothing of ours has failed went. */
static int judge(FivetranSource *source, Worker *worker, const siginfo_t *end, bool ended, Error *error)
{
    Conversation *conversation = &source->conversation;
    _cleanup_(error_clear) Error why = { 0 };
    if (conversation->failure.kind != ERROR_NONE) {
        error_move(error, &conversation->failure);
        explain_memory(source, false, error);
        return -1;
    }
    bool well = ended && child_judge(&source->child, end, &why) == 0;
    if (conversation->done) {
        if (!ended)
            worker_log(worker, LOG_WARNING,
                       "the connector has done its work but does not end: a thread or an exit handler still runs");
        else if (!well)
            worker_log(worker, LOG_WARNING, "after the connector had done its work, %s", why.message);
        return 0;
    }
    if (!well) {
        error_move(error, &why);
        explain_memory(source, ended && end->si_code != CLD_EXITED, error);
        return -1;
    }
    return error_set(error, ERROR_TEMPORARY,
                     "%s ended before update() had (by os._exit() or the like): what it sent is not kept", CONNECTOR);
}

static int fivetran_read(void *state, Worker *worker, Error *error)
{
    FivetranSource *source = state;
    siginfo_t end = { 0 };
    const char *committed = worker_state(worker);
    if (start(source, committed && *committed ? committed : "{}", error) < 0)
        return -1;
    int r = run_to_end(source, worker, &end, error);
    bool ended = !source->child.running;
    if (!ended)
        child_end(&source->child);
    return r < 0 ? -1 : judge(source, worker, &end, ended, error);
}

static void fivetran_close(void *state)
{
    FivetranSource *source = state;
    if (source->talking)
        conversation_clear(&source->conversation);
    child_clear(&source->child);
    scratch_free(source->scratch);
    program_paths_clear(&source->paths);
    free(source->project);
    free(source->python);
    free(source->environment);
    free(source->module);
    free(source->connection);
    free(source->begin);
    free(source);
}

const Source source_fivetran = { .program = "source-fivetran",
                                 .open = fivetran_open,
                                 .check = fivetran_check,
                                 .read = fivetran_read,
                                 .close = fivetran_close };
