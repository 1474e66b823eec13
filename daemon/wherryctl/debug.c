/*
 * wherryctl debug: one sync of a connector's project into files/warehouse.db (DuckDB, schema "tester"), with all that
 * it says. Everything is what a deployed connection has: the builder makes the environment, wherryd runs the one
 * pipeline file that is written here, in the same sandbox. Only the state is handed on by file, files/state.json, so
 * that a person can read and change it; and what the programs tell is put into the words that people know from
 * Fivetran's tester.
 *
 * What is not the project's lies below the user's state folder: the environment, the pipeline file, wherryd's own
 * state.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/wherryctl/client.h"
#include "daemon/wherryctl/print.h"
#include "daemon/wherryctl/project.h"
#include "lib/basics/buffer.h"
#include "lib/basics/hash.h"
#include "lib/basics/path.h"
#include "lib/basics/text.h"
#include "lib/system/paths.h"

#define CONNECTION "tester"
#define PROGRESS "SYNC PROGRESS: "
#define CHANGE "[SchemaChange]: "
#define CHECKPOINT "Checkpoint: "
#define LINE_PREFIX_PARTS 3 /* time, level, connection */

typedef struct Debug {
    const Options *options;
    Project project;
    char *configuration; /* the path */
    char *folder;        /* of what is kept for this project */
    char *files, *state_path, *pipeline;
    char *environment;
    const char *naming; /* NULL: as by default */
    json_t *state;      /* to begin with */
    json_t *calls;      /* as the worker counted them */
    unsigned changes;   /* of tables */
    json_t *run;        /* as wherryd reports it */
} Debug;

static void debug_clear(Debug *debug)
{
    project_clear(&debug->project);
    free(debug->configuration);
    free(debug->folder);
    free(debug->files);
    free(debug->state_path);
    free(debug->pipeline);
    free(debug->environment);
    json_decref(debug->state);
    json_decref(debug->calls);
    json_decref(debug->run);
}

/* --- what it begins with --- */

static int read_configuration(Debug *debug, Error *error)
{
    const char *variable = getenv("FIVETRAN_CONFIGURATION"), *given = debug->options->configuration;
    bool readable = false;
    json_t *configuration;
    if (!given && variable && *variable)
        given = variable;
    if (given) {
        debug->configuration = project_find_file(&debug->project, given);
    } else {
        debug->configuration = path_join(debug->project.folder, "configuration.json");
        if (access(debug->configuration, F_OK) < 0)
            return error_set(error, ERROR_CONFIGURATION,
                             "configuration is required: there is no configuration.json in \"%s\"; make one (\"{}\" "
                             "where nothing is needed), or name it with --configuration",
                             debug->project.folder);
    }
    if (project_read_configuration(debug->configuration, &configuration, &readable, error) < 0)
        return -1;
    json_decref(configuration);
    if (readable)
        fprintf(stderr, "wherryctl: warning: \"%s\" can be read by every user of this machine; chmod 600 it\n",
                debug->configuration);
    return 0;
}

static int read_state(Debug *debug, Error *error)
{
    const char *variable = getenv("FIVETRAN_STATE"), *given = debug->options->state_file;
    json_error_t problem;
    if (!given && variable && *variable)
        given = variable;
    _cleanup_(freep) char *path = given ? project_find_file(&debug->project, given) : xstrdup(debug->state_path);
    if (!given && access(path, F_OK) < 0) {
        debug->state = json_object();
        return 0;
    }
    if (access(path, R_OK) < 0)
        return error_set_errno(error, ERROR_CONFIGURATION, errno, "the state \"%s\" cannot be read", path);
    debug->state = json_load_file(path, JSON_REJECT_DUPLICATES, &problem);
    if (!debug->state)
        return error_set(error, ERROR_CONFIGURATION, "%s:%d:%d: invalid state; this is not JSON: %s", path,
                         problem.line, problem.column, problem.text);
    return json_is_object(debug->state)
               ? 0
               : error_set(error, ERROR_CONFIGURATION, "%s: invalid state; it must be a JSON object", path);
}

static int choose_folder(Debug *debug, Error *error)
{
    const char *project = debug->project.folder;
    _cleanup_(freep) char *base = NULL;
    if (debug->options->state_dir)
        base = xstrdup(debug->options->paths.state_dir);
    else if (paths_once_state_dir(&base, error) < 0)
        return -1;
    debug->folder = xasprintf("%s/debug-%016llx", base, (unsigned long long)fnv1a64(project, strlen(project)));
    return paths_make(debug->folder, 0700, error);
}

/* Asked before an environment is built, which may take a minute. */
static int check_destination(Error *error)
{
    _cleanup_(freep) char *libexec = paths_libexec(NULL);
    _cleanup_(freep) char *writer = paths_program(libexec, "destination", "duckdb");
    return access(writer, X_OK) == 0
               ? 0
               : error_set(error, ERROR_CONFIGURATION,
                           "debug writes a DuckDB file, and this wherry was built without DuckDB: there is no \"%s\"; "
                           "run \"subprojects/fetch duckdb\", then \"meson setup --reconfigure\" with the build's "
                           "folder, and build again",
                           writer);
}

static int gather(Debug *debug, const char *folder, Error *error)
{
    if (project_open(folder, &debug->project, error) < 0)
        return -1;
    debug->files = path_join(debug->project.folder, "files");
    debug->state_path = path_join(debug->files, "state.json");
    const char *naming = debug->options->naming ? debug->options->naming : getenv("FIVETRAN_NAMING");
    if (check_destination(error) < 0 || read_configuration(debug, error) < 0 || read_state(debug, error) < 0 ||
        project_naming(naming, &debug->naming, error) < 0 || paths_make(debug->files, 0777, error) < 0 ||
        choose_folder(debug, error) < 0)
        return -1;
    debug->pipeline = path_join(debug->folder, CONNECTION ".yaml");
    return 0;
}

/* --- programs --- */

/* Starts WORDS (ends with NULL); what it prints on descriptor FD of its own comes out of the stream. */
static FILE *start(const char *const *words, int fd, pid_t *ret_pid, Error *error)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        error_set_errno(error, ERROR_TEMPORARY, errno, "no pipe can be made");
        return NULL;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], fd);
    int r = posix_spawn(ret_pid, words[0], &actions, NULL, (char *const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&actions);
    close_fd(ends[1]);
    FILE *stream = r == 0 ? fdopen(ends[0], "re") : NULL;
    if (stream)
        return stream;
    close_fd(ends[0]);
    error_set_errno(error, ERROR_CONFIGURATION, r, "\"%s\" cannot be started", words[0]);
    return NULL;
}

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int build(Debug *debug, Error *error)
{
    _cleanup_(freep) char *libexec = paths_libexec(NULL);
    _cleanup_(freep) char *builder = paths_environment_builder(libexec);
    const char *words[] = { builder,
                            "--folder",
                            debug->folder,
                            "--project",
                            debug->project.folder,
                            debug->options->python ? "--python" : NULL,
                            debug->options->python,
                            NULL };
    pid_t pid;
    FILE *stream = start(words, STDOUT_FILENO, &pid, error);
    if (!stream)
        return -1;
    json_t *result = json_loadf(stream, 0, NULL);
    fclose(stream);
    int status = wait_for(pid);
    const char *why = field_text(result, "error");
    debug->environment = xstrdup(field_text(result, "environment"));
    if (why)
        error_set(error, ERROR_CONFIGURATION, "%s", why);
    else if (status != 0 || !debug->environment)
        error_set(error, ERROR_INTERNAL, "\"%s\" ended with status %d", builder, status);
    json_decref(result);
    return status == 0 && debug->environment ? 0 : -1;
}

static int write_json(const char *path, const json_t *value, Error *error)
{
    _cleanup_(freep) char *temporary = xasprintf("%s.new", path);
    FILE *file = fopen(temporary, "we");
    bool bad =
        !file || json_dumpf(value, file, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) < 0 || putc('\n', file) == EOF;
    if (file && fclose(file) != 0)
        bad = true;
    if (!bad && rename(temporary, path) == 0)
        return 0;
    error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be written", path);
    unlink(temporary);
    return -1;
}

static void put_line(FILE *file, const char *key, const char *tag, const char *value)
{
    json_t *text = value ? json_string(value) : NULL;
    char *json = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    if (json)
        fprintf(file, "%s: %s%s\n", key, tag, json);
    free(json);
    json_decref(text);
}

/* LEVEL: from which on it logs. Each checkpoint is committed: what fails after it shall not take it along. */
static int write_pipeline(const Debug *debug, const char *level, Error *error)
{
    _cleanup_(freep) char *database = path_join(debug->files, "warehouse.db");
    FILE *file = fopen(debug->pipeline, "we");
    if (!file)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be written", debug->pipeline);
    fprintf(file, "frequency: manual\nlog_level: %s\ncommit_interval: 0\n", level);
    put_line(file, "naming", "", debug->naming);
    fputs("source:\n  type: fivetran\n", file);
    put_line(file, "  project", "", debug->project.folder);
    put_line(file, "  environment", "", debug->environment);
    put_line(file, "  configuration", "!json ", debug->configuration);
    fputs("destination:\n  type: duckdb\n  schema: " CONNECTION "\n", file);
    put_line(file, "  path", "", database);
    bool bad = ferror(file);
    return fclose(file) != 0 || bad
               ? error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be written", debug->pipeline)
               : 0;
}

/* --- what it says --- */

/* LINE of wherryd's log behind its time, level and connection, which are shown shorter. */
static void say_line(Debug *debug, char *line)
{
    char *parts[LINE_PREFIX_PARTS], *rest = line;
    for (size_t i = 0; i < LINE_PREFIX_PARTS; i++)
        parts[i] = strsep(&rest, " ");
    if (!rest || strcmp(parts[2], CONNECTION ":") != 0) {
        for (size_t i = 0; i + 1 < LINE_PREFIX_PARTS && parts[i + 1]; i++)
            parts[i][strlen(parts[i])] = ' '; /* as it was */
        printf("%s%s%s\n", line, rest ? " " : "", rest ? rest : "");
        return;
    }
    if (strncmp(rest, PROGRESS, strlen(PROGRESS)) == 0) {
        json_decref(debug->calls);
        debug->calls = json_loads(rest + strlen(PROGRESS), 0, NULL);
    } else if (strncmp(rest, CHANGE, strlen(CHANGE)) == 0) {
        debug->changes++;
        printf(CHANGE CONNECTION ".%s\n", rest + strlen(CHANGE));
    } else if (strncmp(rest, CHECKPOINT, strlen(CHECKPOINT)) == 0) {
        puts(rest);
    } else if (strncmp(rest, "sandbox: ", 9) != 0) { /* is the daemon's business */
        const char *time = strchr(parts[0], 'T');
        printf("%.12s %-8s %s\n", time ? time + 1 : parts[0], parts[1], rest);
    }
    fflush(stdout);
}

static void say_calls(const Debug *debug)
{
    static const char *const names[] = { "Upserts", "Updates", "Deletes", "Truncates", "SchemaChanges", "Checkpoints" };
    puts("SYNC PROGRESS:\nOperation       | Calls\n----------------+------------");
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        bool changes = strcmp(names[i], "SchemaChanges") == 0;
        printf("%-15s | %lld\n", names[i],
               changes ? (long long)debug->changes : (long long)field_integer(debug->calls, names[i], 0));
    }
}

static int run(Debug *debug, Error *error)
{
    _cleanup_(freep) char *wherryd = paths_wherryd();
    _cleanup_(freep) char *state = path_join(debug->folder, "state.json");
    _cleanup_(freep) char *state_dir = path_join(debug->folder, "run");
    _cleanup_(freep) char *report = path_join(debug->folder, "report.json");
    _cleanup_(freep) char *line = NULL;
    size_t room = 0;
    if (write_json(state, debug->state, error) < 0)
        return -1;
    const char *words[] = { wherryd,   "--once",        "--file", debug->pipeline, "--state-dir",
                            state_dir, "--debug-state", state,    "--json",        NULL };
    /* its report goes to a file: the pipe is the log's */
    fflush(stdout);
    int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    int fd = open(report, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (saved < 0 || fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "\"%s\" cannot be written", report);
    pid_t pid;
    FILE *stream = start(words, STDERR_FILENO, &pid, error);
    dup2(saved, STDOUT_FILENO);
    close_fd(saved);
    close_fd(fd);
    if (!stream)
        return -1;
    signal(SIGINT, SIG_IGN); /* it is asked to end, and tells how it went */
    for (ssize_t n; (n = getline(&line, &room, stream)) >= 0;) {
        if (n > 0 && line[n - 1] == '\n')
            line[n - 1] = '\0';
        say_line(debug, line);
    }
    fclose(stream);
    int status = wait_for(pid);
    debug->run = json_load_file(report, 0, NULL);
    if (debug->run)
        return 0;
    return error_set(error, ERROR_CONFIGURATION, "the sync could not be started (status %d)", status);
}

/* --- afterwards --- */

/* What the destination has committed becomes files/state.json. */
static int keep_state(const Debug *debug, Error *error)
{
    _cleanup_(freep) char *state_dir = path_join(debug->folder, "run");
    Options options = *debug->options;
    json_t *reply;
    if (write_pipeline(debug, "info", error) < 0)
        return -1;
    options.file = debug->pipeline;
    options.state_dir = state_dir;
    if (client_ask(&options, "GetState", client_parameters(debug->pipeline), NULL, &reply, error) != 0)
        return -1;
    int r = write_json(debug->state_path, json_object_get(reply, "state"), error);
    json_decref(reply);
    return r;
}

static int conclude(const Debug *debug, Error *error)
{
    const char *outcome = field_text(debug->run, "outcome"), *why = field_text(debug->run, "error");
    bool good = outcome && strcmp(outcome, "succeeded") == 0;
    if (field_integer(debug->run, "checkpoints", 0) > 0 && keep_state(debug, error) < 0)
        return -1;
    say_calls(debug);
    if (good) {
        puts("Sync SUCCEEDED");
        return EXIT_DONE;
    }
    _cleanup_(freep) char *lines = printable_lines(why ? why : outcome ? outcome : "it did not end");
    printf("Sync FAILED: %s\n", lines);
    return EXIT_FAILED;
}

int command_debug(const Options *options, char *const *arguments, size_t count)
{
    _cleanup_(error_clear) Error error = { 0 };
    _cleanup_(debug_clear) Debug debug = { .options = options };
    if (gather(&debug, count > 0 ? arguments[0] : NULL, &error) < 0)
        return say_error(EXIT_WRONG_USE, &error);
    if (build(&debug, &error) < 0 || write_pipeline(&debug, "debug", &error) < 0) {
        printf("Sync FAILED: %s\n", error.message);
        return EXIT_FAILED;
    }
    char *state = json_dumps(debug.state, JSON_REAL_PRECISION(17));
    printf("Previous state:\n%s\n", state ? state : "{}");
    free(state);
    if (run(&debug, &error) < 0)
        return say_error(EXIT_WRONG_USE, &error);
    int status = conclude(&debug, &error);
    return status < 0 ? say_error(EXIT_FAILED, &error) : status;
}
