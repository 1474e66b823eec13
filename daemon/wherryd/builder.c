/*
 * The builder prints its result as the last thing it does. Packages print lines, too, so that only the very last line
 * that looks like a result is taken for it, and what it names is looked at by whoever asked.
 */
#include "daemon/wherryd/builder.h"

#include <string.h>

#include "daemon/wherryd/program.h"
#include "lib/basics/buffer.h"
#include "lib/basics/clock.h"
#include "lib/system/paths.h"

#define WORDS_MAX 256

struct Builder {
    BuilderOptions options;
    Program program;
    Tree *tree;
    uv_timer_t timer;
    char *result; /* the last line that may be it */
    bool timed_out, abandoned;
    unsigned unreleased;
};

static void release(Builder *builder)
{
    if (--builder->unreleased > 0)
        return;
    free(builder->result);
    free(builder);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_released(Program *program)
{
    release(program->userdata);
}

static void close_all(Builder *builder)
{
    builder->unreleased = 2;
    uv_close((uv_handle_t *)&builder->timer, on_timer_closed);
    program_close(&builder->program);
}

static void on_line(Program *program, const char *text, size_t n)
{
    Builder *builder = program->userdata;
    if (n > 0 && text[0] == '{') {
        free(builder->result);
        builder->result = xstrndup(text, n);
        return;
    }
    if (!builder->abandoned)
        builder->options.line(text, n, builder->options.userdata);
}

static void on_frame(Program *program, const Frame *frame)
{
}

static void on_broken(Program *program, Error *error)
{
    error_clear(error); /* it has no business with the socket */
}

static void on_closed(Program *program)
{
}

static void decide(Builder *builder, json_t **ret, Error *error)
{
    const siginfo_t *end = &builder->program.how_ended;
    json_t *result = builder->result ? json_loads(builder->result, 0, NULL) : NULL;
    const char *failed = json_string_value(json_object_get(result, "error"));
    bool good = end->si_code == CLD_EXITED && end->si_status == 0 &&
                json_is_string(json_object_get(result, "environment")) &&
                json_is_string(json_object_get(result, "python")) && json_is_string(json_object_get(result, "version"));
    if (builder->timed_out) {
        error_set(error, ERROR_TEMPORARY, "the environment was not built within %d minutes", BUILDER_BOUND_MS / 60000);
    } else if (good) {
        *ret = json_incref(result);
    } else if (failed) {
        bool configuration = json_is_true(json_object_get(result, "configuration"));
        error_set(error, configuration ? ERROR_CONFIGURATION : ERROR_TEMPORARY, "%s", failed);
    } else {
        _cleanup_(freep) char *how = program_describe_end(&builder->program);
        error_set(error, ERROR_INTERNAL, "build-environment %s", how);
    }
    json_decref(result);
}

static void on_exited(Program *program)
{
    Builder *builder = program->userdata;
    _cleanup_(error_clear) Error error = { 0 };
    json_t *result = NULL;
    tree_remove(builder->tree, program->pid);
    builder->tree = tree_free(builder->tree);
    decide(builder, &result, &error);
    if (!builder->abandoned)
        builder->options.done(result, &error, builder->options.userdata);
    json_decref(result);
    close_all(builder);
}

static const ProgramEvents events = { .frame = on_frame,
                                      .line = on_line,
                                      .broken = on_broken,
                                      .closed = on_closed,
                                      .exited = on_exited,
                                      .released = on_released };

void builder_kill(Builder *builder)
{
    if (builder->tree)
        tree_kill(builder->tree);
    program_kill(&builder->program);
}

void builder_abandon(Builder *builder)
{
    builder->abandoned = true;
    builder_kill(builder);
    builder->tree = tree_free(builder->tree);
    if (builder->unreleased == 0)
        close_all(builder);
}

static void on_timer(uv_timer_t *timer)
{
    Builder *builder = timer->data;
    builder->timed_out = true;
    builder_kill(builder);
}

static int start(Builder *builder, Error *error)
{
    const BuilderOptions *options = &builder->options;
    char id[UUID_TEXT_SIZE];
    const char *words[WORDS_MAX + 1] = { "--folder", options->folder, "--project", options->project };
    size_t n = 4;
    if (options->python) {
        words[n++] = "--python";
        words[n++] = options->python;
    }
    for (const char *const *keep = options->keep; *keep && n + 2 <= WORDS_MAX; keep++) {
        words[n++] = "--keep";
        words[n++] = *keep;
    }
    words[n] = NULL;
    uuid7(id);
    if (tree_new(options->trees, id, BUILDER_MEMORY_MAX, BUILDER_PROCESSES_MAX, &builder->tree, error) < 0)
        return -1;
    _cleanup_(freep) char *path = paths_environment_builder(options->libexec_dir);
    const ProgramOptions program = { .loop = options->loop,
                                     .role = "builder",
                                     .path = path,
                                     .title = "build-environment",
                                     .arguments = words,
                                     .environment = (const char *const *)environ,
                                     .operations = -1,
                                     .cgroup = tree_cgroup_fd(builder->tree),
                                     .payload_max = 1024,
                                     .events = &events,
                                     .userdata = builder };
    int r = program_start(&builder->program, &program, error);
    if (builder->program.pid > 0)
        tree_add(builder->tree, builder->program.pid);
    return r;
}

int builder_start(const BuilderOptions *options, Builder **ret, Error *error)
{
    Builder *builder = xcalloc(1, sizeof(*builder));
    builder->options = *options;
    builder->program = (Program){ .events = &events, .userdata = builder, .pidfd = -1, .control_fd = -1, .log_fd = -1 };
    uv_timer_init(options->loop, &builder->timer);
    builder->timer.data = builder;
    if (start(builder, error) < 0) {
        builder_abandon(builder);
        return -1;
    }
    uv_timer_start(&builder->timer, on_timer, BUILDER_BOUND_MS, 0);
    *ret = builder;
    return 0;
}
