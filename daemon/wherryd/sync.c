/*
 * The life of one sync, as a table of states and events.
 *
 *     OPENING ──opened──▶ RUNNING ──worker gone──▶ DRAINING ──writer done──▶ ENDING ──all gone──▶ FINISHED
 *        └────────────────── anything that ends it early ──────────────────▶ ENDING ──deadline──▶ KILLED ──┘
 *
 * Both programs start at once; the worker waits for BEGIN until the writer has said what is committed. When the worker
 * fails, the writer is not told to stop: what the worker checkpointed before is good, and the writer takes it from the
 * pipe and drops the rest. When the writer fails, nothing that the worker does can matter any more. Whoever has said
 * its last word (DONE, ERROR) has until the deadline to end; after that the whole tree is ended, orphans included, and
 * no sync is over before its last process is.
 *
 * How it went is decided once, when all are gone, from what was said: without the DONE of both a sync failed,
 * whatever the exit statuses. Of several errors the one that caused the others is told: a program that merely lost its
 * partner says so with ERROR_CANCELLED.
 *
 * One timer ticks while a sync runs, for deadline, stall and memory; a short sync ends before its first tick.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "daemon/wherryd/sync-internal.h"
#include "daemon/wherryd/sync-plan.h"
#include "lib/basics/clock.h"
#include "lib/system/paths.h"

#define TICK_MS 250
#define WRITER_MEMORY (UINT64_C(256) << 20) /* of a writer, beside its destination's "memory_limit" */
#define TICK_KILLED_MS 5                    /* while the kernel ends what was killed */
#define SAMPLE_EVERY_TICKS 4                /* the process tree's memory and number */

/* --- actions --- */

static void set_tick(Sync *sync, uint32_t ms);

static void arm_deadline(Sync *sync)
{
    if (sync->deadline_ms == 0)
        sync->deadline_ms = (int64_t)uv_now(sync->options.loop) + SYNC_END_BOUND_MS;
}

static void send_cancel(Side *side)
{
    program_send(&side->program, &(Frame){ .type = FRAME_CANCEL });
}

static void begin_worker(Sync *sync)
{
    const char *debug = sync->options.debug_state;
    _cleanup_(freep) char *configuration = json_dumps(sync->worker_begin, JSON_COMPACT);
    json_decref(sync->worker_begin);
    sync->worker_begin = NULL;
    bool full = sync->options.full && !sync->ledger; /* operations from nothing; files are loaded again by hash */
    Frame begin = { .type = FRAME_BEGIN,
                    .begin = { .configuration = frame_text(configuration),
                               .state = frame_text(full    ? "{}"
                                                   : debug ? debug
                                                           : sync->committed_state) } };
    program_send(&sync->worker.program, &begin);
    free(take_ptr(sync->committed_state));
}

static void cancel_worker(Sync *sync)
{
    send_cancel(&sync->worker);
    arm_deadline(sync);
}

static void cancel_both(Sync *sync)
{
    send_cancel(&sync->worker);
    send_cancel(&sync->writer);
    arm_deadline(sync);
}

static void cancel_writer(Sync *sync)
{
    send_cancel(&sync->writer);
    arm_deadline(sync);
}

/* The writer empties the pipe and then has the word; a grandchild of the worker's may hold the pipe open, so that its
 * end tells nothing. */
static void tell_writer(Sync *sync)
{
    sync->deadline_ms = 0;
    program_send(&sync->writer.program, &(Frame){ .type = FRAME_WORKER_GONE });
}

static void tell_writer_at_end(Sync *sync)
{
    program_send(&sync->writer.program, &(Frame){ .type = FRAME_WORKER_GONE });
}

static void kill_worker(Sync *sync)
{
    sync->worker.ended_by_us = true;
    program_kill(&sync->worker.program);
}

static void kill_all(Sync *sync)
{
    sync->worker.ended_by_us = sync->writer.ended_by_us = true;
    program_kill(&sync->worker.program);
    program_kill(&sync->writer.program);
    if (sync->tree)
        tree_kill(sync->tree);
    set_tick(sync, TICK_KILLED_MS);
}

static void wait_for_end(Sync *sync)
{
    arm_deadline(sync);
}

/* A plan is whole when the writer has its tables, whatever the worker has yet to send. */
static void end_worker(Sync *sync)
{
    if (sync->options.task == SYNC_PLAN)
        send_cancel(&sync->worker);
    arm_deadline(sync);
}

typedef struct Transition {
    void (*action)(Sync *sync);
    SyncState next; /* STAY */
} Transition;

/* What is not here changes nothing. */
static const Transition transitions[_SYNC_STATE_MAX][_SYNC_EVENT_MAX] = {
    [OPENING] = {
        [WRITER_OPENED] = { begin_worker, RUNNING },
        [WORKER_FAILED] = { cancel_writer, ENDING },
        [WORKER_CLOSED] = { wait_for_end, STAY },
        [WORKER_EXITED] = { cancel_writer, ENDING },
        [WRITER_DONE] = { wait_for_end, ENDING }, /* it was asked about the state only */
        [WRITER_FAILED] = { cancel_worker, ENDING },
        [WRITER_CLOSED] = { wait_for_end, STAY },
        [WRITER_EXITED] = { cancel_worker, ENDING },
        [ABORT] = { cancel_both, ENDING },
        [DEADLINE] = { kill_all, KILLED },
    },
    [RUNNING] = {
        [WORKER_DONE] = { wait_for_end, STAY },
        [WORKER_FAILED] = { wait_for_end, STAY },
        [WORKER_CLOSED] = { wait_for_end, STAY },
        [WORKER_EXITED] = { tell_writer, DRAINING },
        [WRITER_DONE] = { end_worker, ENDING },
        [WRITER_FAILED] = { cancel_worker, ENDING },
        [WRITER_CLOSED] = { cancel_worker, ENDING },
        [WRITER_EXITED] = { cancel_worker, ENDING },
        [ABORT] = { cancel_both, ENDING },
        [DEADLINE] = { kill_worker, STAY },
    },
    [DRAINING] = {
        [WRITER_DONE] = { wait_for_end, ENDING },
        [WRITER_FAILED] = { wait_for_end, ENDING },
        [WRITER_CLOSED] = { wait_for_end, ENDING },
        [WRITER_EXITED] = { NULL, ENDING },
        [ABORT] = { cancel_writer, ENDING },
    },
    [ENDING] = {
        [WORKER_EXITED] = { tell_writer_at_end, STAY },
        [DEADLINE] = { kill_all, KILLED },
    },
};

/* --- how it went --- */

static bool is_cause(const Error *error)
{
    return error->kind != ERROR_NONE && error->kind != ERROR_CANCELLED;
}

/* Not where it ended, sooner than the daemon saw the worker dead, because the worker's operations did. */
static bool is_writers_fault(const Sync *sync)
{
    return sync->writer_failed_first && is_cause(&sync->writer.error);
}

static const Error *choose_error(const Sync *sync)
{
    const Error *worker = &sync->worker.error, *writer = &sync->writer.error;
    if (is_writers_fault(sync))
        return writer;
    if (is_cause(worker))
        return worker;
    if (is_cause(writer) || worker->kind == ERROR_NONE)
        return writer;
    return worker;
}

static bool all_done(const Sync *sync)
{
    return sync->writer.done && (sync->worker.done || sync->options.task != SYNC_LOAD);
}

/* What is held is looked at again when a run is due, which without a frequency is nobody's business. */
static char *held_message(const Sync *sync, const Error *error)
{
    _cleanup_(freep) char *message = error_format(error);
    if (error->kind != ERROR_HELD || sync->options.once)
        return take_ptr(message);
    return sync->config->frequency_s > 0 ? xasprintf("%s: the next try is at the next due time", message)
                                         : xasprintf("%s; then \"wherryctl sync %s\"", message, sync->options.asked_as);
}

typedef struct Verdict {
    const char *outcome;
    ErrorKind kind;
    char *error; /* owned by the caller; NULL: none */
} Verdict;

static Verdict judge(const Sync *sync)
{
    /* A cancel or a stall that came too late is none; but what could not be recorded did not go well, however complete.
     */
    bool unrecorded = sync->forced_outcome && strcmp(sync->forced_outcome, "failed") == 0;
    if (all_done(sync) && !unrecorded) {
        if (sync->files_failed == 0)
            return (Verdict){ "succeeded", ERROR_NONE, NULL };
        char *error = sync->files_failed == 1 ? xstrdup(sync->first_failure)
                                              : xasprintf("%lld files%s; the first: %s", (long long)sync->files_failed,
                                                          sync->plan ? "" : " failed", sync->first_failure);
        return (Verdict){ "failed", ERROR_DATA, error };
    }
    const Error *error = sync->forced_outcome ? &sync->reason : choose_error(sync);
    _cleanup_(freep) char *message =
        error->kind == ERROR_NONE ? xstrdup("the sync ended without saying why") : held_message(sync, error);
    return (Verdict){ sync->forced_outcome ? sync->forced_outcome : "failed",
                      error->kind == ERROR_NONE ? ERROR_INTERNAL : error->kind,
                      sync_masked(sync, message, strlen(message)) };
}

char *sync_failure(const Sync *sync)
{
    return judge(sync).error;
}

static ErrorKind decide(Sync *sync)
{
    RunRecord *record = sync->record;
    Verdict verdict = judge(sync);
    record->error = verdict.error;
    record->outcome = xstrdup(verdict.outcome);
    record->finished_ms = clock_wall_ms();
    record->duration_ms = clock_monotonic_ms() - sync->started_ms;
    return verdict.kind;
}

static void sync_free(Sync *sync)
{
    connection_config_free(sync->config);
    mask_free(sync->mask);
    json_decref(sync->worker_begin);
    json_decref(sync->plan);
    error_clear(&sync->reason);
    error_clear(&sync->worker.error);
    error_clear(&sync->writer.error);
    free(sync->committed_state);
    free(sync->loading);
    free(sync->first_failure);
    free(sync->file);
    free(sync->phase);
    free(sync);
}

static void release(Sync *sync)
{
    if (--sync->unreleased == 0)
        sync_free(sync);
}

static void on_tick_closed(uv_handle_t *handle)
{
    release(handle->data);
}

/* Handles close in the loop's own time; the sync is over for everyone else. */
static void close_all(Sync *sync)
{
    sync->state = FINISHED;
    sync->unreleased = 3;
    uv_close((uv_handle_t *)&sync->tick, on_tick_closed);
    sync->tree = tree_free(sync->tree);
    program_close(&sync->worker.program);
    program_close(&sync->writer.program);
}

static void finish(Sync *sync)
{
    sync_say_suppressed(&sync->worker);
    sync_say_suppressed(&sync->writer);
    ErrorKind kind = decide(sync);
    sync_close_ledger(sync);
    _cleanup_(freep) char *state = take_ptr(sync->committed_state);
    json_t *plan = sync->plan ? sync_plan_end(sync, sync->record->error, all_done(sync)) : NULL;
    SyncOptions options = sync->options;
    SyncResult result = { .kind = kind, .state = state, .plan = plan, .unresolved = sync->unresolved };
    close_all(sync);
    options.finished(&result, options.userdata);
    json_decref(plan);
}

/* All have ended, and what they left behind too. */
static void finish_if_over(Sync *sync)
{
    if (sync->state == FINISHED || program_is_alive(&sync->worker.program) || program_is_alive(&sync->writer.program))
        return;
    if (sync->tree && tree_kill(sync->tree) == TREE_E_ALIVE) {
        set_tick(sync, TICK_KILLED_MS);
        return;
    }
    finish(sync);
}

void sync_dispatch(Sync *sync, SyncEvent event)
{
    static const Transition nothing;
    if (event == WRITER_FAILED || event == WRITER_EXITED)
        sync->writer_failed_first |= !is_cause(&sync->worker.error);
    const Transition *transition = sync->state < FINISHED ? &transitions[sync->state][event] : &nothing;
    if (transition->next != STAY)
        sync->state = transition->next;
    if (transition->action)
        transition->action(sync);
    sync_end_lines(sync);
}

/* --- events --- */

void sync_fail_side(Side *side, Error *error)
{
    if (side->error.kind == ERROR_NONE)
        error_move(&side->error, error);
    else
        error_clear(error);
    sync_dispatch(side->sync, side->is_writer ? WRITER_FAILED : WORKER_FAILED);
}

void sync_abort(Sync *sync, const char *outcome, Error *reason)
{
    if (sync->forced_outcome || sync->state >= ENDING) {
        error_clear(reason);
        return;
    }
    sync->forced_outcome = outcome;
    error_move(&sync->reason, reason);
    sync_dispatch(sync, ABORT);
}

void sync_cancel(Sync *sync, const char *reason)
{
    Error error = {};
    error_set(&error, ERROR_CANCELLED, "%s", reason ? reason : "cancelled");
    sync_abort(sync, "cancelled", &error);
}

void sync_kill(Sync *sync)
{
    if (sync->state < KILLED) {
        sync->state = KILLED;
        kill_all(sync);
    }
}

static void on_frame(Program *program, const Frame *frame)
{
    Side *side = program->userdata;
    sync_take_frame(side, frame);
}

static void on_line(Program *program, const char *text, size_t n)
{
    Side *side = program->userdata;
    sync_moved(side->sync);
    sync_take_line(side, text, n);
}

/* What speaks garbage is not asked to end. */
static void on_broken(Program *program, Error *error)
{
    Side *side = program->userdata;
    sync_fail_side(side, error);
    side->ended_by_us = true;
    program_kill(program);
}

static void on_closed(Program *program)
{
    Side *side = program->userdata;
    sync_dispatch(side->sync, side->is_writer ? WRITER_CLOSED : WORKER_CLOSED);
}

static void set_memory_error(const Sync *sync, const TreeSample *sample, Error *error)
{
    error_set(
        error, ERROR_TEMPORARY,
        "the sync used more than its %llu MiB of memory (peak %llu MiB); allow more with \"sandbox: {memory: …}\"",
        (unsigned long long)(sync->memory_limit >> 20), (unsigned long long)(sample->peak >> 20));
}

/* What a program dies of by itself. SIGSYS is the sandbox's doing, SIGKILL the kernel's or a person's. */
static bool is_crash(const siginfo_t *end)
{
    int number = end->si_code == CLD_EXITED ? 0 : end->si_status;
    return number == SIGABRT || number == SIGSEGV || number == SIGBUS || number == SIGILL || number == SIGFPE;
}

/* Why a program that owes its DONE is gone. */
static void explain_end(Side *side)
{
    Sync *sync = side->sync;
    TreeSample sample = {};
    if (side->program.how_ended.si_code != CLD_EXITED && sync->tree)
        tree_sample(sync->tree, &sample);
    _cleanup_(freep) char *how = program_describe_end(&side->program);
    bool is_reading = !side->is_writer && sync->files_open > 0 && sync->loading;
    sync->crashed |= is_reading && !side->ended_by_us && !sync->forced_outcome && !is_writers_fault(sync) &&
                     !sample.out_of_memory && is_crash(&side->program.how_ended);
    if (sample.out_of_memory)
        set_memory_error(sync, &sample, &side->error);
    else
        error_set(&side->error, side->ended_by_us ? ERROR_CANCELLED : ERROR_INTERNAL,
                  "the %s %s before it was done%s%s%s", side->program.role, how, is_reading ? ", while it read \"" : "",
                  is_reading ? sync->loading : "", is_reading ? "\"" : "");
}

static void on_exited(Program *program)
{
    Side *side = program->userdata;
    Sync *sync = side->sync;
    const siginfo_t *end = &program->how_ended;
    if (!side->done && side->error.kind == ERROR_NONE)
        explain_end(side);
    else if (side->done && !side->ended_by_us && (end->si_code != CLD_EXITED || end->si_status != 0)) {
        _cleanup_(freep) char *how = program_describe_end(program);
        sync_warn(sync, "the %s %s after its work was done", program->role, how);
    }
    if (sync->tree)
        tree_remove(sync->tree, program->pid);
    sync_dispatch(sync, side->is_writer ? WRITER_EXITED : WORKER_EXITED);
    finish_if_over(sync);
}

static void on_released(Program *program)
{
    Side *side = program->userdata;
    release(side->sync);
}

static const ProgramEvents program_events = { .frame = on_frame,
                                              .line = on_line,
                                              .broken = on_broken,
                                              .closed = on_closed,
                                              .exited = on_exited,
                                              .released = on_released };

/* --- the clock --- */

static void check_stall(Sync *sync)
{
    int64_t limit_ms = (int64_t)sync->config->stall_timeout_s * 1000;
    if (limit_ms == 0 || (int64_t)uv_now(sync->options.loop) - sync->moved_ms < limit_ms)
        return;
    char duration[DURATION_TEXT_SIZE];
    duration_format(sync->config->stall_timeout_s, duration);
    Error error = {};
    error_set(&error, ERROR_TEMPORARY, "nothing moved for %s (\"stall_timeout\"), last while %s%s%s", duration,
              sync->phase ? sync->phase : "starting", sync->file ? " " : "", sync->file ? sync->file : "");
    sync_abort(sync, "stalled", &error);
}

static void check_tree(Sync *sync)
{
    TreeSample sample;
    tree_sample(sync->tree, &sample);
    Error error = {};
    if (sync->memory_limit > 0 && !sample.memory_limited && sample.resident > sync->memory_limit)
        set_memory_error(sync, &sample, &error);
    else if (!sample.processes_limited && sample.processes > SYNC_PROCESSES_MAX)
        error_set(&error, ERROR_INTERNAL, "ended for running %u processes; %d are allowed", sample.processes,
                  SYNC_PROCESSES_MAX);
    if (error.kind == ERROR_NONE)
        return;
    /* No grace: the machine is at stake. */
    sync_abort(sync, "failed", &error);
    sync_kill(sync);
}

static void on_tick(uv_timer_t *timer)
{
    Sync *sync = timer->data;
    sync->ticks++;
    if (sync->deadline_ms > 0 && (int64_t)uv_now(sync->options.loop) >= sync->deadline_ms) {
        sync->deadline_ms = 0;
        sync_dispatch(sync, DEADLINE);
    }
    if (sync->state < ENDING)
        check_stall(sync);
    if (sync->state < KILLED && sync->tree && sync->ticks % SAMPLE_EVERY_TICKS == 0)
        check_tree(sync);
    finish_if_over(sync);
}

static void set_tick(Sync *sync, uint32_t ms)
{
    if (sync->tick_ms == ms)
        return;
    sync->tick_ms = ms;
    uv_timer_start(&sync->tick, on_tick, ms, ms);
}

/* --- starting --- */

static int start_side(Sync *sync, Side *side, const char *kind, const char *type, int operations, Error *error)
{
    _cleanup_(freep) char *path = paths_program(sync->options.libexec_dir, kind, type);
    _cleanup_(freep) char *title = xasprintf("%s-%s %s", kind, type, sync->record->connection);
    ProgramOptions options = { .loop = sync->options.loop,
                               .role = side->is_writer ? "writer" : "worker",
                               .path = path,
                               .title = title,
                               .operations = operations,
                               .cgroup = tree_cgroup_fd(sync->tree),
                               .payload_max = side->is_writer ? FRAME_CONTROL_MAX : SYNC_WORKER_PAYLOAD_MAX,
                               .events = &program_events,
                               .userdata = side };
    int r = program_start(&side->program, &options, error);
    if (side->program.pid > 0)
        tree_add(sync->tree, side->program.pid);
    return r;
}

static void begin_writer(Sync *sync, json_t *configuration)
{
    if (sync->options.task == SYNC_GET_STATE)
        json_object_set_new(configuration, "get_state", json_true());
    else if (sync->options.task == SYNC_SET_STATE)
        json_object_set_new(configuration, "set_state",
                            sync->options.state ? json_deep_copy(sync->options.state) : json_null());
    else if (sync->options.task == SYNC_PLAN)
        json_object_set_new(configuration, "plan", json_true());
    if (sync->options.tables)
        json_object_set(configuration, "tables", sync->options.tables);
    if (strcmp(sync->options.asked_as, sync->record->connection) != 0)
        json_object_set_new(configuration, "asked_as", json_string(sync->options.asked_as));
    if (sync->options.debug_state)
        json_object_set_new(configuration, "debug", json_true());
    /* A plan tells of the table; a person who debugs has the lines before him. */
    sync->log_table = sync->options.task == SYNC_LOAD && !sync->options.debug_state &&
                      json_is_true(json_object_get(configuration, "log_table"));
    if (!sync->log_table && sync->options.task != SYNC_PLAN)
        json_object_del(configuration, "log_table");
    _cleanup_(freep) char *text = json_dumps(configuration, JSON_COMPACT);
    Frame begin = { .type = FRAME_BEGIN, .begin = { .configuration = frame_text(text) } };
    program_send(&sync->writer.program, &begin);
}

static uint64_t size_in(const json_t *configuration, const char *map, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(configuration, map), key));
}

/* What the pipeline says is for all of the sync. A source's own bound is for the source alone: what the destination
 * takes comes on top. */
static uint64_t memory_limit_of(const json_t *worker, const json_t *writer)
{
    uint64_t said = size_in(writer, "sandbox", "memory"), source = size_in(worker, "sandbox", "memory");
    if (said > 0 || source == 0)
        return said;
    return source + WRITER_MEMORY + size_in(writer, "destination", "memory_limit");
}

static int start_programs(Sync *sync, json_t *writer_begin, Error *error)
{
    sync->memory_limit = memory_limit_of(sync->worker_begin, writer_begin);
    if (tree_new(sync->options.trees, sync->record->run_id, sync->memory_limit, SYNC_PROCESSES_MAX, &sync->tree,
                 error) < 0)
        return -1;
    _cleanup_(close_fdp) int input = -1, output = -1;
    int operations[2];
    if (pipe2(operations, O_CLOEXEC) < 0)
        return error_set_errno(error, ERROR_TEMPORARY, errno, "no pipe between worker and writer can be made");
    input = operations[0];
    output = operations[1];
    /* An unprivileged user may be past the system's bound on pipe memory (pipe(7)); a smaller pipe is only slower. */
    fcntl(output, F_SETPIPE_SZ, SPAWN_PIPE_SIZE);
    if (start_side(sync, &sync->writer, "destination", sync->config->destination, input, error) < 0)
        return -1;
    begin_writer(sync, writer_begin);
    if (!sync_has_worker(sync))
        return 0;
    return start_side(sync, &sync->worker, "source", sync->config->source, output, error);
}

static int start(Sync *sync, Error *error)
{
    json_t *writer_begin = NULL;
    if (config_resolve(sync->config, sync->record->run_id, sync->options.full, sync->mask, &sync->worker_begin,
                       &writer_begin, error) < 0) {
        sync->unresolved = true;
        return -1;
    }
    if (sync->options.debug_state)
        json_object_set_new(sync->worker_begin, "debug", json_true());
    if (sync->options.task == SYNC_PLAN)
        sync_plan_begin(sync);
    int r = sync_open_ledger(sync, error);
    if (r >= 0)
        r = start_programs(sync, writer_begin, error);
    json_decref(writer_begin);
    return r;
}

static void init_side(Sync *sync, Side *side, bool is_writer)
{
    *side =
        (Side){ .sync = sync, .is_writer = is_writer, .limit = { .left = LOG_BURST, .refilled_ms = sync->moved_ms } };
    side->program =
        (Program){ .events = &program_events, .userdata = side, .pidfd = -1, .control_fd = -1, .log_fd = -1 };
}

Sync *sync_start(const SyncOptions *options)
{
    Sync *sync = xcalloc(1, sizeof *sync);
    sync->options = *options;
    sync->config = connection_config_ref(options->config);
    sync->record = options->record;
    sync->context = (LogContext){ .connection = options->record->connection,
                                  .run_id = options->record->run_id,
                                  .threshold = (int)options->config->log_level };
    sync->mask = mask_new();
    sync->state = OPENING;
    sync->started_ms = clock_monotonic_ms();
    sync_moved(sync);
    init_side(sync, &sync->worker, false);
    init_side(sync, &sync->writer, true);
    uv_timer_init(options->loop, &sync->tick);
    sync->tick.data = sync;

    Error error = {};
    if (start(sync, &error) < 0) {
        sync->forced_outcome = "failed";
        error_move(&sync->reason, &error);
        sync->state = KILLED;
        kill_all(sync);
        uv_timer_start(&sync->tick, on_tick, 0, TICK_KILLED_MS);
        return sync;
    }
    set_tick(sync, TICK_MS);
    return sync;
}

void sync_abandon(Sync *sync)
{
    kill_all(sync);
    close_all(sync);
}
