/*
 * What the two programs of a sync say, and what is done about it. A program is not trusted to follow the protocol:
 * every frame is held against a table of who may send it and when, and a frame out of turn ends the sync like garbage
 * does.
 *
 * Whatever text a program sends is foreign twice over: it may hold a secret that the program was given, so it is
 * masked, and it may be made to look like something else, which the log's escaping prevents. Lines are limited in rate,
 * and what is left out is counted and said.
 *
 * The ledger's decisions are ledger.h's; here they are only carried: the worker asks, the ledger answers or sends to
 * the writer, and what a commit changes in state.db (ledger row, cached state) is written in one transaction before the
 * next frame is looked at.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/wherryd/sync-internal.h"
#include "daemon/wherryd/sync-plan.h"
#include "lib/basics/text.h"

/* --- text --- */

char *sync_masked(const Sync *sync, const char *text, size_t n)
{
    /* A NUL would end the text for everyone after this. */
    _cleanup_(freep) char *escaped = n > 0 && memchr(text, 0, n) ? text_escape(text, n) : NULL;
    if (escaped) {
        text = escaped;
        n = strlen(escaped);
    }
    char *masked = mask_apply(sync->mask, text, n);
    return masked ? masked : xstrndup(text, n);
}

static char *masked_text(const Sync *sync, FrameText text)
{
    return sync_masked(sync, text.data, text.length);
}

/* For the control interface, whose JSON holds no foreign bytes. */
static char *printable_text(const Sync *sync, FrameText text)
{
    _cleanup_(freep) char *masked = masked_text(sync, text);
    return text_escape(masked, strlen(masked));
}

static void add_warning(Sync *sync, const char *text)
{
    RunRecord *record = sync->record;
    if (record->warning_count > SYNC_WARNINGS_MAX)
        return;
    record->warnings = xrealloc(record->warnings, (record->warning_count + 1) * sizeof *record->warnings);
    record->warnings[record->warning_count] = record->warning_count == SYNC_WARNINGS_MAX
                                                  ? xstrdup("… and more; see the log")
                                                  : text_escape(text, strlen(text));
    record->warning_count++;
}

void sync_warn(Sync *sync, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    _cleanup_(freep) char *message = NULL;
    if (vasprintf(&message, format, arguments) < 0)
        message = NULL;
    va_end(arguments);
    if (!message)
        return;
    _cleanup_(freep) char *masked = sync_masked(sync, message, strlen(message));
    add_warning(sync, masked);
    log_message(LOG_WARNING, &sync->context, "%s", masked);
    sync_line(sync, LOG_WARNING, NULL, LINE_OURS, masked, strlen(masked));
}

/* Whether one more line may be said now. */
static bool within_limit(Side *side)
{
    LogLimit *limit = &side->limit;
    int64_t now = (int64_t)uv_now(side->sync->options.loop);
    int64_t gained = (now - limit->refilled_ms) * LOG_PER_SECOND / 1000;
    if (gained > 0) {
        limit->left = (uint32_t)MIN_OF(limit->left + gained, (int64_t)LOG_BURST);
        limit->refilled_ms = now;
    }
    if (limit->left == 0) {
        limit->suppressed++;
        return false;
    }
    limit->left--;
    sync_say_suppressed(side);
    return true;
}

void sync_take_line(Side *side, const char *text, size_t n)
{
    if (!within_limit(side))
        return;
    _cleanup_(freep) char *masked = sync_masked(side->sync, text, n);
    log_text(LOG_INFO, &side->sync->context, masked, strlen(masked));
    sync_line(side->sync, LOG_INFO, NULL, LINE_PRINTED, masked, strlen(masked));
}

/* --- the ledger --- */

static int add_hash(const FileRecord *file, void *userdata)
{
    json_array_append_new(userdata, json_string(file->hash));
    return 0;
}

/* The worker is told of which files the quarantined rows are to be loaded. */
static int add_requeued(Sync *sync, Error *error)
{
    if (!sync->config->quarantine_dir)
        return 0;
    json_t *hashes = json_array();
    int r = store_sidecars_requeued(sync->options.store, sync->record->connection, add_hash, hashes, error);
    json_object_set_new(sync->worker_begin, "requeued", hashes);
    if (sync->plan && json_array_size(hashes) > 0) {
        size_t count = json_array_size(hashes);
        _cleanup_(freep) char *note =
            xasprintf("the corrected rows of %zu file%s would be loaded from %s sidecar%s", count,
                      count == 1 ? "" : "s", count == 1 ? "its" : "their", count == 1 ? "" : "s");
        sync_plan_note(sync, note);
    }
    return r;
}

int sync_open_ledger(Sync *sync, Error *error)
{
    if (!sync_has_worker(sync) || strcmp(sync->config->source, "files") != 0)
        return 0;
    sync->record->has_files = true;
    LedgerOptions options = { .connection = sync->record->connection,
                              .asked_as = sync->options.asked_as,
                              .run_id = sync->record->run_id,
                              .retry_cap = sync->config->retry_cap,
                              .full = sync->options.full,
                              .ordered = !sync->config->append,
                              .plan = sync->options.task == SYNC_PLAN,
                              .quarantine_dir = sync->config->quarantine_dir };
    if (add_requeued(sync, error) < 0)
        return -1;
    return ledger_start(sync->options.store, &options, &sync->record->files, &sync->ledger, error);
}

/* The file that the worker crashed on: nobody has said so, and were it no attempt, the file would keep those after it
 * from their turn for ever. Nothing is counted where the writer has reported the file meanwhile. */
static void count_crash(Sync *sync)
{
    _cleanup_(error_clear) Error error = {};
    _cleanup_(freep) char *why = error_format(&sync->worker.error), *note = NULL;
    if (ledger_file_done(sync->ledger, sync->loading_hash, FILE_END_FAILED, 0, 0, frame_text(why), &note, &error) ==
            0 &&
        note)
        sync_warn(sync, "%s", note);
}

/* Any other file that was on its way when the sync ended early is not processed by anyone now. */
void sync_close_ledger(Sync *sync)
{
    if (!sync->ledger)
        return;
    if (sync->crashed && !sync->plan)
        count_crash(sync);
    sync->ledger = ledger_free(sync->ledger);
    int64_t reclaimed;
    if (strcmp(sync->record->outcome, "succeeded") != 0)
        (void)store_files_reclaim(sync->options.store, sync->record->connection, &reclaimed, NULL);
}

static void fail_for_store(Sync *sync, Error *error)
{
    sync_abort(sync, "failed", error);
}

/* What does not keep to the protocol is not asked to end. */
static void fail_and_kill(Side *side, Error *error)
{
    sync_fail_side(side, error);
    side->ended_by_us = true;
    program_kill(&side->program);
}

static void fail_side_with(Side *side, const char *message)
{
    Error error = {};
    error_set(&error, ERROR_INTERNAL, "the %s broke the protocol: %s", side->program.role, message);
    fail_and_kill(side, &error);
}

/* ERROR_INTERNAL: what the program said makes no sense; anything else is state.db's. */
static void fail_for_ledger(Side *side, Error *error)
{
    if (error->kind == ERROR_INTERNAL)
        fail_and_kill(side, error);
    else
        fail_for_store(side->sync, error);
}

static void count_failed_file(Sync *sync, const char *message)
{
    if (sync->files_failed++ == 0)
        sync->first_failure = xstrdup(message);
}

/* A warning that a program's words brought about: as bounded in rate as its own lines. */
static void warn_within_limit(Side *side, const char *message, bool repeat)
{
    if (!repeat && within_limit(side)) {
        sync_warn(side->sync, "%s", message);
        return;
    }
    _cleanup_(freep) char *masked = sync_masked(side->sync, message, strlen(message));
    add_warning(side->sync, masked);
}

static void say_note(Sync *sync, const LedgerAnswer *answer)
{
    if (sync->plan && answer->verdict != LEDGER_ASK_WRITER) {
        bool load = answer->verdict == LEDGER_LOAD;
        const char *reason = !answer->note && !load && answer->loaded ? "its content is loaded already" : answer->note;
        sync_plan_action(sync, load ? "load" : "skip", reason);
        return;
    }
    if (answer->note)
        warn_within_limit(&sync->worker, answer->note, answer->repeat && !(sync->options.once && answer->left_out));
}

static void answer_worker(Sync *sync, const uint8_t hash[static SHA256_SIZE], const LedgerAnswer *answer)
{
    bool load = answer->verdict == LEDGER_LOAD;
    Frame frame = { .type = FRAME_FILE_VERDICT,
                    .file_verdict = { .verdict = load             ? FILE_LOAD
                                                 : answer->loaded ? FILE_SKIP
                                                                  : FILE_LEFT_OUT } };
    memcpy(frame.file_verdict.hash, hash, SHA256_SIZE);
    sync->files_open += load;
    program_send(&sync->worker.program, &frame);
}

static void take_file_seen(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    if (sync->asked) {
        fail_side_with(side, "it asks about a file while a question is open");
        return;
    }
    if (sync->files_open >= SYNC_FILES_OPEN_MAX) {
        fail_side_with(side, "it asks for more files than it sends");
        return;
    }
    Error error = {};
    LedgerAnswer answer = {};
    if (ledger_file_seen(sync->ledger, frame->file.name, frame->file.hash, &answer, &error) < 0) {
        fail_for_store(sync, &error);
        return;
    }
    if (sync->plan) {
        _cleanup_(freep) char *name = printable_text(sync, frame->file.name);
        sync_plan_seen(sync, name, frame->file.hash, frame->file.size);
    }
    say_note(sync, &answer);
    free(sync->loading);
    sync->loading = printable_text(sync, frame->file.name);
    memcpy(sync->loading_hash, frame->file.hash, SHA256_SIZE);
    if (answer.verdict == LEDGER_ASK_WRITER) {
        sync->asked = true;
        memcpy(sync->asked_hash, frame->file.hash, SHA256_SIZE);
        program_send(&sync->writer.program, frame);
    } else {
        answer_worker(sync, frame->file.hash, &answer);
    }
    ledger_answer_clear(&answer);
}

static void take_file_verdict(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    if (!sync->asked || memcmp(sync->asked_hash, frame->file_verdict.hash, SHA256_SIZE) != 0) {
        fail_side_with(side, "it answers a question that was not asked");
        return;
    }
    sync->asked = false;
    Error error = {};
    LedgerAnswer answer = {};
    if (ledger_file_verdict(sync->ledger, sync->asked_hash, frame->file_verdict.verdict,
                            (int64_t)MIN_OF(frame->file_verdict.rows, (uint64_t)INT64_MAX), &answer, &error) < 0) {
        fail_for_ledger(side, &error);
        return;
    }
    say_note(sync, &answer);
    answer_worker(sync, sync->asked_hash, &answer);
    ledger_answer_clear(&answer);
}

static void take_file_note(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    _cleanup_(freep) char *name = printable_text(sync, frame->file_note.name);
    _cleanup_(freep) char *why = printable_text(sync, frame->file_note.message);
    static const char *const states[] = { "CHANGING", "UNREADABLE", "UNREADABLE" };
    static const char *const actions[] = { "wait", "fail", "skip" };
    FileNote what = frame->file_note.what;
    _cleanup_(freep) char *message = xasprintf("%s: %s", name, why);
    if (what == FILE_NOTE_FAILED)
        count_failed_file(sync, message);
    if (sync->plan) {
        if (what != FILE_NOTE_FAILED || !sync_plan_fault(sync, name, NULL, why))
            sync_plan_file(
                sync, &(SyncPlanFile){ .name = name, .state = states[what], .action = actions[what], .reason = why });
        return;
    }
    ledger_file_note(sync->ledger, what == FILE_NOTE_FAILED);
    warn_within_limit(side, message, false);
}

/* A commit is news only once: a writer may report a file's both as FILE_DONE and as COMMITTED. */
static bool count_commit(Sync *sync, uint64_t sequence, uint64_t rows)
{
    if (sequence <= sync->sequence)
        return false;
    sync->sequence = sequence;
    sync->record->rows_committed += (int64_t)rows;
    sync->record->checkpoints++;
    return true;
}

static int record_file_done(Sync *sync, const Frame *frame, FrameText why, char **ret_note, Error *error)
{
    if (store_begin(sync->options.store, error) < 0)
        return -1;
    int r =
        ledger_file_done(sync->ledger, frame->file_done.hash, frame->file_done.outcome, (int64_t)frame->file_done.rows,
                         (int64_t)frame->file_done.quarantined, why, ret_note, error);
    if (r >= 0 && frame->file_done.outcome == FILE_END_LOADED &&
        count_commit(sync, frame->file_done.sequence, frame->file_done.rows))
        r = store_connection_put_state(sync->options.store, sync->record->connection, sync->sequence,
                                       sync->record->run_id, NULL, error);
    if (r < 0) {
        store_rollback(sync->options.store);
        return -1;
    }
    return store_commit(sync->options.store, error);
}

/* What became of it, and nothing of the destination's words. */
static void tell_worker(Sync *sync, const Frame *frame)
{
    Frame outcome = { .type = FRAME_FILE_DONE, .file_done = { .outcome = frame->file_done.outcome } };
    memcpy(outcome.file_done.hash, frame->file_done.hash, SHA256_SIZE);
    program_send(&sync->worker.program, &outcome);
}

static void take_file_done(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    _cleanup_(freep) char *why = printable_text(sync, frame->file_done.error), *note = NULL;
    /* ABORTED is not the file's fault, so it counts no attempt, but it is not loaded: that must not go unsaid. */
    bool failed = frame->file_done.outcome == FILE_END_FAILED || frame->file_done.outcome == FILE_END_ABORTED;
    if (failed)
        count_failed_file(sync, why);
    if (sync->plan) {
        if (frame->file_done.outcome != FILE_END_LOADED && sync_plan_fault(sync, NULL, frame->file_done.hash, why) &&
            !failed)
            sync_plan_action(sync, "wait", NULL);
        sync->files_open -= sync->files_open > 0;
        tell_worker(sync, frame);
        return;
    }
    if (failed && within_limit(side)) {
        log_message(LOG_ERR, &sync->context, "%s", why);
        sync_line(sync, LOG_ERR, NULL, LINE_OURS, why, strlen(why));
    }
    if (sync->files_open > 0)
        sync->files_open--;
    Error error = {};
    if (record_file_done(sync, frame, frame_text(why), &note, &error) < 0) {
        fail_for_ledger(side, &error);
        return;
    }
    if (note)
        sync_warn(sync, "%s", note);
    tell_worker(sync, frame);
}

static void take_file_retired(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    char hash[SHA256_TEXT_SIZE];
    Error error = {};
    sha256_text(frame->file_retired.hash, hash);
    if (store_sidecar_retired(sync->options.store, sync->record->connection, hash, &error) < 0)
        fail_for_store(sync, &error);
}

/* --- commits --- */

static void put_state(Sync *sync, uint64_t sequence, const char *run_id, const char *state)
{
    Error error = {};
    if (store_connection_put_state(sync->options.store, sync->record->connection, sequence, run_id, state, &error) < 0)
        fail_for_store(sync, &error);
}

static bool holds_secret(const Sync *sync, const char *text)
{
    char *masked = mask_apply(sync->mask, text, strlen(text));
    bool holds = masked != NULL;
    free(masked);
    return holds;
}

static void take_opened(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    Error error = {};
    if (sync->state >= ENDING)
        return; /* it was on its way when the sync ended */
    if (sync->state != OPENING || sync->committed_state) {
        fail_side_with(side, "it opened twice");
        return;
    }
    sync->sequence = frame->opened.sequence;
    sync->committed_state =
        frame->opened.state.length > 0 ? xstrndup(frame->opened.state.data, frame->opened.state.length) : xstrdup("{}");
    sync->secret_in_state = holds_secret(sync, sync->committed_state);
    if (sync->ledger && ledger_opened(sync->ledger, frame->opened.sequence, frame->opened.run_id, &error) < 0) {
        fail_for_store(sync, &error);
        return;
    }
    if (sync_has_worker(sync))
        sync_dispatch(sync, WRITER_OPENED);
}

static void take_plan(Side *side, const Frame *frame)
{
    _cleanup_(freep) char *sql = masked_text(side->sync, frame->plan.statement);
    sync_plan_statement(side->sync, sql);
}

static void take_taken(Side *side, const Frame *frame)
{
    program_send(&side->sync->worker.program, frame);
}

/* A state lies in the destination as it is, for all to read who read that. Once: the next sync finds it there. */
static void warn_of_secrets(Sync *sync, const char *state)
{
    if (sync->secret_in_state || !holds_secret(sync, state))
        return;
    sync->secret_in_state = true;
    _cleanup_(buffer_clear) Buffer keys = { 0 };
    json_t *object = json_loads(state, 0, NULL), *value;
    const char *key;
    json_object_foreach (object, key, value) {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        if (holds_secret(sync, key) || (text && holds_secret(sync, text)))
            buffer_printf(&keys, "%s\"%s\"", buffer_length(&keys) > 0 ? ", " : " in ", key);
        free(text);
    }
    json_decref(object);
    _cleanup_(freep) char *where = buffer_take_string(&keys);
    sync_warn(sync,
              "the state holds a secret%s: in the destination it is no secret any more; have the source leave it out",
              where);
}

static void take_committed(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    if (!count_commit(sync, frame->committed.sequence, frame->committed.rows))
        return;
    _cleanup_(freep) char *state = NULL;
    if (frame->committed.state.length > 0)
        state = xstrndup(frame->committed.state.data, frame->committed.state.length);
    if (state)
        warn_of_secrets(sync, state);
    put_state(sync, sync->sequence, sync->record->run_id, state);
}

/* --- how it goes --- */

static void take_hello(Side *side, const Frame *frame)
{
    if (side->hello || frame->hello.magic != FRAME_MAGIC) {
        fail_side_with(side, "its HELLO is not one");
        return;
    }
    if (frame->hello.version != FRAME_VERSION) {
        Error error = {};
        error_set(&error, ERROR_CONFIGURATION,
                  "the %s speaks version %u of the protocol, wherryd version %d: install one release of both",
                  side->program.role, frame->hello.version, FRAME_VERSION);
        fail_and_kill(side, &error);
        return;
    }
    side->hello = true;
}

static void take_log(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    static const char *const names[] = {
        "emergency", "alert", "critical", "error", "warning", "notice", "info", "debug"
    };
    int priority = MIN_OF(frame->log.priority, LOG_DEBUG);
    if (!within_limit(side))
        return;
    _cleanup_(freep) char *message = masked_text(sync, frame->log.message);
    _cleanup_(freep) char *table = frame->log.table.length > 0 ? printable_text(sync, frame->log.table) : NULL;
    if (sync->plan && priority <= LOG_NOTICE) {
        _cleanup_(freep) char *shown = text_escape(message, strlen(message));
        sync_plan_note(sync, shown);
    }
    if (sync->plan)
        return;
    if (priority <= LOG_WARNING)
        add_warning(sync, message);
    LogContext context = sync->context;
    const char *level = sync_level(frame->log.level);
    context.connector_level = level ? level : names[priority];
    context.table = table;
    log_text(priority, &context, message, strlen(message));
    bool ours = side->is_writer || sync->ledger;
    sync_line(sync, priority, level, ours ? LINE_OURS : LINE_CONNECTOR, message, strlen(message));
}

static void replace(char **field, char *value)
{
    free(*field);
    *field = value;
}

/* A worker says so after each block that it has hashed, which counts for nothing else yet. */
static bool is_scanning(const Frame *frame)
{
    static const char scanning[] = "scanning";
    return frame->progress.phase.length == sizeof scanning - 1 &&
           memcmp(frame->progress.phase.data, scanning, sizeof scanning - 1) == 0;
}

static void take_progress(Side *side, const Frame *frame)
{
    Sync *sync = side->sync;
    /* A worker must move something; a writer that merges for minutes says that it still does. */
    bool moved = side->is_writer || frame->progress.rows > sync->rows || frame->progress.bytes > sync->bytes ||
                 frame->progress.bytes_total != sync->bytes_total || is_scanning(frame);
    if (moved)
        sync_moved(sync);
    sync->rows = MAX_OF(sync->rows, frame->progress.rows);
    sync->bytes = MAX_OF(sync->bytes, frame->progress.bytes);
    if (!side->is_writer)
        sync->bytes_total = frame->progress.bytes_total;
    if (frame->progress.file.length > 0 || !side->is_writer)
        replace(&sync->file, frame->progress.file.length > 0 ? printable_text(sync, frame->progress.file) : NULL);
    if (frame->progress.phase.length > 0)
        replace(&sync->phase, printable_text(sync, frame->progress.phase));
    sync->record->bytes_processed = (int64_t)sync->bytes;
    int64_t now = (int64_t)uv_now(sync->options.loop);
    if (!sync->options.progress || now - sync->progress_at_ms < SYNC_PROGRESS_INTERVAL_MS)
        return;
    sync->progress_at_ms = now;
    sync->options.progress(&(SyncProgress){ .rows = sync->rows,
                                            .bytes = sync->bytes,
                                            .bytes_total = sync->bytes_total,
                                            .file = sync->file,
                                            .phase = sync->phase ? sync->phase : "starting" },
                           sync->options.userdata);
}

static void take_error(Side *side, const Frame *frame)
{
    Error error = {};
    _cleanup_(freep) char *message = printable_text(side->sync, frame->error.message);
    error_set(&error, frame->error.kind == ERROR_NONE ? ERROR_INTERNAL : frame->error.kind, "%s", message);
    sync_fail_side(side, &error);
}

static void take_done(Side *side, const Frame *frame)
{
    side->done = true;
    /* A progress frame of the writer may still follow: it repeats what is known. */
    if (!side->is_writer) {
        side->sync->bytes = frame->done.bytes;
        side->sync->record->bytes_processed = (int64_t)frame->done.bytes;
    }
    sync_dispatch(side->sync, side->is_writer ? WRITER_DONE : WORKER_DONE);
}

/* --- who may say what, and when --- */

enum {
    FROM_WORKER = 1,
    FROM_WRITER = 2,
    BEFORE_HELLO = 4,
    AFTER_OPENED = 8,
    WITH_LEDGER = 16,
    AT_THE_END = 32,
    MOVES = 64,
    IN_A_PLAN = 128,
    NOT_IN_A_PLAN = 256,
};
static const struct {
    void (*take)(Side *side, const Frame *frame);
    unsigned when;
} rules[_FRAME_TYPE_MAX] = {
    [FRAME_HELLO] = { take_hello, FROM_WORKER | FROM_WRITER | BEFORE_HELLO },
    [FRAME_OPENED] = { take_opened, FROM_WRITER | MOVES },
    [FRAME_FILE_SEEN] = { take_file_seen, FROM_WORKER | AFTER_OPENED | WITH_LEDGER | MOVES },
    [FRAME_FILE_VERDICT] = { take_file_verdict, FROM_WRITER | AFTER_OPENED | WITH_LEDGER | MOVES },
    [FRAME_FILE_NOTE] = { take_file_note, FROM_WORKER | AFTER_OPENED | WITH_LEDGER | MOVES },
    [FRAME_FILE_RETIRED] = { take_file_retired, FROM_WORKER | AFTER_OPENED | WITH_LEDGER | MOVES | NOT_IN_A_PLAN },
    [FRAME_FILE_DONE] = { take_file_done, FROM_WRITER | AFTER_OPENED | WITH_LEDGER | MOVES },
    [FRAME_TAKEN] = { take_taken, FROM_WRITER | AFTER_OPENED | MOVES | NOT_IN_A_PLAN },
    [FRAME_COMMITTED] = { take_committed, FROM_WRITER | MOVES | NOT_IN_A_PLAN },
    [FRAME_PLAN] = { take_plan, FROM_WRITER | AFTER_OPENED | MOVES | IN_A_PLAN },
    [FRAME_PROGRESS] = { take_progress, FROM_WORKER | FROM_WRITER | AT_THE_END },
    [FRAME_LOG] = { take_log, FROM_WORKER | FROM_WRITER | AT_THE_END | MOVES },
    [FRAME_ERROR] = { take_error, FROM_WORKER | FROM_WRITER },
    [FRAME_DONE] = { take_done, FROM_WORKER | FROM_WRITER | MOVES },
};

static bool is_in_turn(const Side *side, unsigned when)
{
    const Sync *sync = side->sync;
    bool said_all = side->done || side->error.kind != ERROR_NONE;
    return (when & (side->is_writer ? FROM_WRITER : FROM_WORKER)) && (side->hello || (when & BEFORE_HELLO)) &&
           (!(when & (sync->plan ? NOT_IN_A_PLAN : IN_A_PLAN))) && (!(when & AFTER_OPENED) || sync->state != OPENING) &&
           (!(when & WITH_LEDGER) || sync->ledger) && (!said_all || (when & AT_THE_END));
}

void sync_take_frame(Side *side, const Frame *frame)
{
    if (side->sync->state >= KILLED)
        return;
    unsigned when = rules[frame->type].when;
    if (!is_in_turn(side, when)) {
        _cleanup_(freep) char *message = xasprintf("a frame of type %d is out of turn", (int)frame->type);
        fail_side_with(side, message);
        return;
    }
    if (when & MOVES)
        sync_moved(side->sync);
    rules[frame->type].take(side, frame);
}
